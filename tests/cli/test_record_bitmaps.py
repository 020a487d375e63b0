"""`snapsim record bitmaps` as people run it: on a real QEMU, interrupted, killed, taken up again."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

import snapsim as ss
from tests.conftest import hear_interrupts
from tests.recording.qemus import MIB, image, qemu

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.integration, pytest.mark.needs_program("qemu-system-x86_64", "qemu-img")]
GRAIN = 65536
BITMAPS = ("record", "bitmaps", "--qmp", "qmp.sock", "-o", "disk.parquet")


@pytest.fixture
def running(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))  # for recorders of their own
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with qemu(tmp_path, {"d0": image(tmp_path / "d0.qcow2", 64 * MIB)}) as process:
        yield process


class Recorder:
    """A recorder in a process of its own."""

    def __init__(self, *options, folder="disk.recording"):
        self.log = Path(folder) / "changes.jsonl"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "snapsim.cli", *BITMAPS, *options],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=hear_interrupts,  # noqa: PLW1509  no thread is running
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip

    def samples(self):
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [json.loads(line) for line in lines]

    def wait_for(self, samples):
        end = time.monotonic() + 60
        while len(self.samples()) < samples + 1:
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < end
            time.sleep(0.02)

    def stop(self, signum):
        self.process.send_signal(signum)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


def written(trace):
    return sum(int(length) for batch in trace.batches() for length in batch.length)


def test_ctrl_c_ends_it_and_makes_the_trace(running):
    recorder = Recorder("--every", "300ms")
    recorder.wait_for(1)
    running.io("write 1M 100k")
    recorder.wait_for(len(recorder.samples()) + 1)
    running.io("write 8M 4k")
    status, out, err = recorder.stop(signal.SIGINT)
    assert (status, err) == (0, "")
    assert out.startswith(
        f"recording vd-d0 (64 MiB, {running.folder / 'd0.qcow2'}) into disk.recording, in units of 64 KiB\n"
    )
    assert "every 300ms; Ctrl-C ends it\n" in out
    assert out.endswith("192 KiB changed\n  ended: it was stopped\n")
    trace = ss.read_trace("disk.parquet")
    assert (trace.grain, written(trace)) == (GRAIN, 3 * GRAIN)
    assert not running.bitmaps()
    assert running.has_nothing_of_ours()


def test_sigterm_does_the_same_and_says_so(running):
    recorder = Recorder("--every", "300ms", "--json")
    recorder.wait_for(1)
    running.io("write 1M 100k")
    status, out, err = recorder.stop(signal.SIGTERM)
    (made,) = json.loads(out)
    assert (status, err) == (143, "")
    assert (made["trace"], made["changed_bytes"], made["ended"]) == (
        "disk.parquet",
        2 * GRAIN,
        "it was stopped",
    )
    assert not running.bitmaps()


def test_killed_then_resumed(running, run, refused):
    recorder = Recorder("--every", "300ms")
    recorder.wait_for(1)
    running.io("write 1M 4k")
    recorder.wait_for(len(recorder.samples()) + 1)
    assert recorder.stop(signal.SIGKILL)[0] == -signal.SIGKILL
    before = recorder.samples()
    running.io("write 2M 4k")

    made = run("record", "finish", "disk.recording", "-o", "early.parquet")
    assert made.status == 0
    assert "64 KiB changed\n  ended: the recorder was killed" in made.out
    assert written(ss.read_trace("early.parquet")) == GRAIN
    message = refused(*BITMAPS, status=2)
    assert message == "disk.recording exists: take it up again with --resume, or choose another name"

    again = Recorder("--every", "300ms", "--resume")
    again.wait_for(len(before) + 1)
    status, out, _ = again.stop(signal.SIGINT)
    assert status == 0
    assert out.startswith(f"going on with disk.recording, {len(before) - 1} intervals so far")
    assert recorder.samples()[: len(before)] == before
    trace = ss.read_trace("disk.parquet")
    assert written(trace) == 2 * GRAIN
    assert not running.bitmaps()


def test_killed_and_not_resumed(running, run):
    recorder = Recorder("--every", "300ms")
    recorder.wait_for(1)
    recorder.stop(signal.SIGKILL)
    running.monitor.execute("block-dirty-bitmap-add", node="d0", name="backup")
    assert len(running.bitmaps()) >= 2
    name = json.loads(Path("disk.recording/recording.json").read_text())["recording"]
    cleaned = run("record", "bitmaps", "--qmp", "qmp.sock", "--clean")
    assert cleaned.out.startswith(f"recording {name}: ")
    assert set(running.bitmaps()) == {"backup"}
    assert run("record", "bitmaps", "--qmp", "qmp.sock", "--clean", "--json").json == {}
    assert "nothing of a recorder" in run("record", "bitmaps", "--qmp", "qmp.sock", "--clean").out


def test_a_time_that_is_over(running, run):
    made = run(
        "record", "bitmaps", "--qmp", "qmp.sock", "-o", "disk.parquet", "--every", "200ms", "--for", "700ms"
    )
    assert made.status == 0
    assert made.out.endswith("0 B changed\n  ended: it has lasted as long as asked\n")
    trace = ss.read_trace("disk.parquet")
    assert 650e6 < trace.span_ns < 5e9


def test_a_trace_that_cannot_be_stored_can_be_made_later(running, run):
    recorder = Recorder("--every", "300ms")
    recorder.wait_for(1)
    theirs = Path("disk.parquet/theirs")
    theirs.mkdir(parents=True)
    status, _, err = recorder.stop(signal.SIGINT)
    assert status == 3
    assert "disk.parquet holds no stored trace. " in err
    command = "snapsim record finish disk.recording -o disk.parquet"
    assert err.endswith(f"What was recorded is there: make the trace by {command}\n")
    theirs.rmdir()
    theirs.parent.rmdir()
    assert run(*command.split()[1:]).status == 0
    assert ss.read_trace("disk.parquet").info.source == "disk"


def test_qemu_that_quits(running):
    recorder = Recorder("--every", "300ms")
    recorder.wait_for(1)
    running.io("write 1M 4k")
    recorder.wait_for(len(recorder.samples()) + 1)
    running.quit()
    out, err = recorder.process.communicate(timeout=60)
    assert (recorder.process.returncode, err) == (0, "")
    assert out.endswith("ended: QEMU has quit, or closed its monitor; the last interval is left out\n")
    assert written(ss.read_trace("disk.parquet")) == GRAIN


def test_the_disks_are_listed(tmp_path, monkeypatch, run, refused):
    monkeypatch.chdir(tmp_path)
    disks = {name: image(tmp_path / f"{name}.qcow2", 64 * MIB) for name in ("d0", "d1")}
    with qemu(tmp_path, disks) as running:
        listed = run("record", "bitmaps", "--qmp", "qmp.sock", "--list")
        assert listed.out.splitlines()[2].split() == ["vd-d0", "d0", "64", "MiB", str(disks["d0"])]
        listed = run("record", "bitmaps", "--qmp", "qmp.sock", "--list", "--json").json
        assert [one["node"] for one in listed] == ["d0", "d1"]
        message = refused(*BITMAPS, status=2)
        assert "several disks: say which one with --device, out of vd-d0 (64 MiB" in message
        recorder = Recorder(
            "--every", "300ms", "--device", "vd-d0", "--device", "d1", folder="disk-vd-d1.recording"
        )
        recorder.wait_for(1)
        running.io("write 0 1M", "d1")
        assert recorder.stop(signal.SIGINT)[0] == 0
        assert [written(ss.read_trace(f"disk-vd-{name}.parquet")) for name in disks] == [0, MIB]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "say which guest: --qmp SOCKET, or --libvirt DOMAIN"),
        (("--qmp", "qmp.sock", "--libvirt", "x"), "say which guest: --qmp SOCKET, or --libvirt DOMAIN"),
        (("--qmp", "qmp.sock"), "say which trace to make: --output NAME.parquet"),
        (("--qmp", "qmp.sock", "-o", "disk"), "--output disk: a trace's name ends in .parquet"),
        (("--qmp", "qmp.sock", "-o", "d.parquet", "--every", "0s"), "--every has to be longer than nothing"),
        (("--qmp", "qmp.sock", "-o", "d.parquet", "--every", "5m"), "minutes or months"),
        (("--qmp", "qmp.sock", "-o", "d.parquet", "--for", "1"), "has no unit"),
        (("--qmp", "qmp.sock", "-o", "d.parquet", "--granularity", "60KiB"), "powers of two from 512 B"),
        (("--qmp", "qmp.sock", "-o", "d.parquet", "--device", "sda"), "there is no disk 'sda'"),
    ],
)
def test_mistakes_are_said_before_anything_is_begun(running, refused, options, message):
    assert message in refused("record", "bitmaps", *options, status=2)
    assert not running.bitmaps()
    assert not list(running.folder.glob("*.recording"))


def test_a_recording_that_is_not_there(running, refused):
    assert "recording.json is missing" in refused(*BITMAPS, "--resume", status=3)
    assert "no QMP socket that answers" in refused(
        "record", "bitmaps", "--qmp", "nothing.sock", "-o", "disk.parquet", status=1
    )
