"""Dirty bitmaps of a real QEMU: what is sampled is what was written."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from snapsim.errors import RecordingError, UsageError
from snapsim.recording import bitmap_reading
from snapsim.recording.bitmaps import BitmapRecorder, clean, keep_recording, to_trace
from snapsim.recording.change_log import ChangeLog
from snapsim.recording.disks import choose, disks_of
from snapsim.recording.interrupts import Stop
from snapsim.recording.qmp import CommandRefusedError, QmpMonitor
from tests.recording.qemus import MIB, image, qemu

pytestmark = [pytest.mark.integration, pytest.mark.needs_program("qemu-system-x86_64", "qemu-img")]
GRAIN = 65536
SIZE = 64 * MIB


@pytest.fixture
def running(tmp_path, monkeypatch):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))  # for recorders of their own
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with qemu(tmp_path, {"d0": image(tmp_path / "d0.qcow2", SIZE)}) as process:
        yield process


@pytest.fixture
def monitor(running):
    found = QmpMonitor(running.socket)
    yield found
    found.close()


def started(monitor, folder, grain=GRAIN, **more):
    (disk,) = disks_of(monitor)
    return BitmapRecorder.start(monitor, disk, folder / "one.recording", grain=grain, **more)


def grains(extents, grain=GRAIN):
    return {
        block for start, length in extents for block in range(start // grain, -(-(start + length) // grain))
    }


def random_writes(running, seed, count):
    """Write, and return what was written."""
    rng = np.random.default_rng(seed)
    done = []
    for _ in range(count):
        offset = int(rng.integers(SIZE // 512 - 600)) * 512
        length = int(rng.integers(1, 600)) * 512
        running.io(f"write {offset} {length}")
        done.append((time.time_ns(), offset, length))
    return done


@pytest.mark.parametrize("grain", [512, 65536, 1 << 20])
def test_each_interval_has_what_was_written_in_it(running, monitor, tmp_path, grain):
    running.io("write 1M 100k")
    recorder = started(monitor, tmp_path, grain)
    assert grains(recorder.log.initial()) == {16, 17}
    written = []
    for interval, count in enumerate((7, 0, 1, 20)):
        written.append(random_writes(running, interval, count))
        assert recorder.sample()
    recorder.end("enough")
    recorder.close()
    log = ChangeLog.open(tmp_path / "one.recording")
    sampled = [grains(extents, grain) for extents in log.changes()]
    assert sampled == [grains([(o, n) for _, o, n in part], grain) for part in written]
    assert (log.ended, len(log.instants)) == ("enough", 5)
    assert recorder.changed == [grain * len(blocks) for blocks in sampled]
    assert not running.bitmaps()
    assert running.has_nothing_of_ours()


@pytest.mark.parametrize("size", [MIB, 8 << 30])
def test_the_end_of_a_disk_within_a_grain(tmp_path, size):
    with qemu(tmp_path, {"d0": image(tmp_path / "d0.qcow2", size + 4096)}) as running:
        monitor = QmpMonitor(running.socket)
        recorder = started(monitor, tmp_path)
        running.io(f"write {size} 4k")
        recorder.sample()
        recorder.end("enough")
        recorder.close()
        monitor.close()
        (extents,) = recorder.log.changes()
        assert extents.tolist() == [[size, 4096]]


def test_nothing_of_other_tools_is_touched(running, monitor, tmp_path):
    running.monitor.execute("block-dirty-bitmap-add", node="d0", name="backup-1", granularity=65536)
    running.monitor.execute("block-dirty-bitmap-add", node="d0", name="snapsim", granularity=65536)
    recorder = started(monitor, tmp_path)
    random_writes(running, 1, 5)
    recorder.sample()
    before = running.bitmaps()["backup-1"]
    recorder.end("enough")
    recorder.close()
    clean(monitor)
    assert running.bitmaps()["backup-1"] == before
    assert set(running.bitmaps()) == {"backup-1", "snapsim"}
    assert before["count"] == sum(recorder.changed)


def test_the_server_of_a_backup_is_not_touched(running, monitor, tmp_path):
    """A backup that is under way reads through QEMU's only NBD server."""
    server = tmp_path / "theirs.nbd"
    running.monitor.execute("nbd-server-start", addr={"type": "unix", "data": {"path": str(server)}})
    running.monitor.execute("block-export-add", type="nbd", id="theirs", node_name="d0", name="d0")
    recorder = started(monitor, tmp_path)
    running.io("write 0 4k")
    recorder.sample()
    recorder.end("enough")
    recorder.close()
    clean(monitor)
    assert recorder.changed == [GRAIN]
    assert [one["id"] for one in running.exports()] == ["theirs"]


def test_a_folder_in_which_qemu_may_open_nothing(running, monitor, tmp_path):
    with pytest.raises(RecordingError, match="nowhere"):
        started(monitor, tmp_path, exchange=tmp_path / "nowhere")
    assert running.has_nothing_of_ours()
    assert not (tmp_path / "one.recording").exists()


def test_intervals_that_cannot_be_read_wait_in_qemu(running, monitor, tmp_path):
    folder = tmp_path / "exchange"
    folder.mkdir()
    recorder = started(monitor, tmp_path, exchange=folder)
    folder.rmdir()
    written = []
    for interval in range(3):
        written.append(random_writes(running, interval, 3))
        assert recorder.sample()
        assert "exchange" in recorder.trouble
    assert (len(running.bitmaps()), len(recorder.log.instants)) == (4, 1)
    with pytest.raises(RecordingError, match="exchange"):
        recorder.end("enough")
    recorder.close()
    assert ChangeLog.open(tmp_path / "one.recording").ended is None
    folder.mkdir()
    recorder = BitmapRecorder.resume(monitor, tmp_path / "one.recording", exchange=folder)
    assert recorder.sample()
    assert recorder.trouble is None
    recorder.end("enough")
    recorder.close()
    seen = [grains(extents) for extents in recorder.log.changes()]
    assert seen == [*(grains([(o, n) for _, o, n in part]) for part in written), set()]
    assert not list(folder.iterdir())


def test_bitmaps_that_qemu_could_not_store_wait(running, monitor, tmp_path, monkeypatch):
    """A full disk: QEMU closes the image without them, and says so in its own log only."""
    recorder = started(monitor, tmp_path)
    running.io("write 0 4k")
    execute = monitor.execute

    def losing(command, /, **arguments):
        if command == "blockdev-del":
            with suppress(CommandRefusedError):  # after the image was closed there is none
                execute("block-dirty-bitmap-remove", node=arguments["node_name"], name="0")
        return execute(command, **arguments)

    monkeypatch.setattr(monitor, "execute", losing)
    assert recorder.sample()
    assert "could not store its bitmaps" in recorder.trouble
    monkeypatch.undo()
    running.io("write 8M 4k")
    assert recorder.sample()
    assert recorder.trouble is None
    recorder.end("enough")
    recorder.close()
    assert [grains(extents) for extents in recorder.log.changes()] == [{0}, {128}]


def test_a_disk_that_is_full_while_several_intervals_are_stored(running, monitor, tmp_path, monkeypatch):
    recorder = started(monitor, tmp_path)
    appends = ChangeLog.append
    room = [0, 1, 9]

    def full(self, instant, extents):
        if not room[0]:
            raise RecordingError("no space left")
        room[0] -= 1
        appends(self, instant, extents)

    monkeypatch.setattr(ChangeLog, "append", full)
    written = []
    for interval in range(3):
        written.append(random_writes(running, interval, 3))
        assert recorder.sample()
        room[0] = room[interval + 1] if interval < 2 else 9
        assert (recorder.trouble is None) == (interval == 2)
    assert (len(running.bitmaps()), len(recorder.log.instants)) == (1, 4)
    recorder.end("enough")
    recorder.close()
    seen = [grains(extents) for extents in recorder.log.changes()]
    assert seen == [grains([(o, n) for _, o, n in part]) for part in written]


def test_an_image_that_cannot_be_found_from_here(running, tmp_path, monkeypatch, monitor):
    """QEMU was started in another folder and names its image relative to that."""
    (disk,) = disks_of(monitor)
    recorder = BitmapRecorder.start(
        monitor, disk._replace(file="d.img"), tmp_path / "one.recording", grain=GRAIN
    )
    recorder.sample()
    recorder.end("enough")
    recorder.close()
    assert recorder.log.initial() is None
    trace = to_trace(recorder.log)
    assert trace.initial is None
    assert any(
        "when it began is not known: qemu-img: Could not open 'd.img'" in note for note in trace.info.notes
    )


def test_a_snapshot_ends_the_recording_without_the_interval_it_came_in(running, monitor, tmp_path):
    recorder = started(monitor, tmp_path)
    written = random_writes(running, 1, 3)
    assert recorder.sample()
    running.io("write 0 4k")
    running.monitor.execute(
        "blockdev-snapshot-sync", node_name="d0", snapshot_file=str(tmp_path / "over.qcow2"),
        snapshot_node_name="over", format="qcow2",
    )  # fmt: skip
    running.io("write 1M 4k", "over")
    assert not recorder.sample()
    recorder.close()
    assert "writes to another image now" in recorder.log.ended
    assert [grains(extents) for extents in recorder.log.changes()] == [
        grains([(offset, length) for _, offset, length in written])
    ]
    assert not running.bitmaps()


def test_a_job_between_device_and_disk_changes_nothing(running, monitor, tmp_path):
    image(tmp_path / "backup.qcow2", SIZE)
    recorder = started(monitor, tmp_path)
    running.monitor.execute(
        "blockdev-add", driver="qcow2", node_name="target",
        file={"driver": "file", "filename": str(tmp_path / "backup.qcow2")},
    )  # fmt: skip
    running.io("write 8M 8M")
    running.monitor.execute(
        "blockdev-backup", job_id="b", device="d0", target="target", sync="full", speed=4096,
        auto_finalize=False, filter_node_name="between",
    )  # fmt: skip
    assert recorder.sample()
    running.io("write 0 4k", "between")
    assert recorder.sample()
    running.monitor.execute("block-job-cancel", device="b", force=True)
    recorder.end("enough")
    recorder.close()
    assert recorder.changed == [8 * MIB, GRAIN]


def test_quitting_ends_the_recording_and_keeps_what_it_has(running, monitor, tmp_path):
    recorder = started(monitor, tmp_path)
    running.io("write 0 4k")
    assert recorder.sample()
    running.quit()
    assert not recorder.sample()
    recorder.close()
    assert recorder.log.ended == "QEMU has quit, or closed its monitor; the last interval is left out"
    log = ChangeLog.open(tmp_path / "one.recording")
    assert [extents.tolist() for extents in log.changes()] == [[[0, GRAIN]]]


def test_quitting_while_a_bitmap_is_read_leaves_no_file(running, monitor, tmp_path, monkeypatch):
    recorder = started(monitor, tmp_path)
    opened = bitmap_reading._open

    def quits(*arguments):
        opened(*arguments)
        running.quit()

    monkeypatch.setattr(bitmap_reading, "_open", quits)
    assert not recorder.sample()
    recorder.close()
    assert "QEMU has quit" in recorder.log.ended
    assert not list((tmp_path / "temporary").iterdir())


def test_a_guest_that_has_shut_down_ends_it_with_its_last_interval(tmp_path):
    with qemu(tmp_path, {"d0": image(tmp_path / "d0.qcow2", SIZE)}, extra=["-no-shutdown"]) as running:
        monitor = QmpMonitor(running.socket)
        recorder = started(monitor, tmp_path)
        running.monitor.execute("cont")
        running.io("write 0 4k")
        assert recorder.sample()
        running.io("write 1M 4k")
        # the test stands for a guest that has powered off: QEMU has no command that does it without a guest
        recorder._status = lambda: "shutdown"
        assert not recorder.sample()
        recorder.close()
        monitor.close()
        assert recorder.log.ended == "the guest has shut down"
        assert recorder.changed == [GRAIN, GRAIN]
        assert not running.bitmaps()


def test_a_bitmap_that_somebody_removed(running, monitor, tmp_path):
    recorder = started(monitor, tmp_path)
    (name,) = running.bitmaps()
    running.monitor.execute("block-dirty-bitmap-remove", node="d0", name=name)
    assert not recorder.sample()
    recorder.close()
    assert "not found" in recorder.log.ended
    with pytest.raises(RecordingError, match="there is nothing to make of it"):
        to_trace(recorder.log)


def test_a_clock_that_steps_back(running, monitor, tmp_path, monkeypatch):
    recorder = started(monitor, tmp_path)
    began = recorder.log.instants[0]
    for seconds, place in ((-3600, "0"), (-7200, "8M")):
        monkeypatch.setattr(time, "time_ns", lambda now=began + seconds * 10**9: now)
        running.io(f"write {place} 4k")
        assert recorder.sample()
    recorder.end("enough")
    recorder.close()
    assert recorder.log.instants == [began, began + 1, began + 2]
    assert [grains(extents) for extents in recorder.log.changes()] == [{0}, {128}]


def test_a_recording_beside_another_of_the_same_disk_is_taken_up_alone(running, monitor, tmp_path):
    first = started(monitor, tmp_path)
    (tmp_path / "other").mkdir()
    other = started(monitor, tmp_path / "other")
    running.io("write 0 4k")
    first.close()
    again = BitmapRecorder.resume(monitor, tmp_path / "one.recording")
    running.io("write 8M 4k")
    again.sample()
    again.end("enough")
    again.close()
    other.sample()
    other.end("enough")
    other.close()
    assert [grains(extents) for extents in again.log.changes()] == [{0, 128}]
    assert [grains(extents) for extents in other.log.changes()] == [{0, 128}]
    assert not running.bitmaps()


def test_a_folder_for_temporary_files_that_is_open_to_others(running, monitor, tmp_path):
    recorder = started(monitor, tmp_path)
    folder = Path(tempfile.gettempdir()) / f"snapsim-{recorder.log.about['recording']}"
    folder.mkdir()
    folder.chmod(0o777)
    (folder / "theirs").touch()
    assert recorder.sample()
    assert "belongs to somebody else, or is open to others" in recorder.trouble
    (folder / "theirs").unlink()
    assert recorder.sample()
    assert recorder.trouble is None
    recorder.end("enough")
    recorder.close()


def test_two_recorders_at_one_recording(running, monitor, tmp_path):
    recorder = started(monitor, tmp_path)
    with pytest.raises(RecordingError, match="by another process"):
        BitmapRecorder.resume(monitor, tmp_path / "one.recording")
    recorder.end("enough")
    recorder.close()
    with pytest.raises(RecordingError, match=r"has ended \(enough\)"):
        BitmapRecorder.resume(monitor, tmp_path / "one.recording")
    with pytest.raises(UsageError, match="exists"):
        started(monitor, tmp_path)


@pytest.mark.parametrize("grain", [256, 3 * 512, 1 << 32])
def test_granularities_that_qemu_does_not_take(running, monitor, tmp_path, grain):
    with pytest.raises(UsageError, match="powers of two"):
        started(monitor, tmp_path, grain)


KILLED_AT = ["cut", "_make", "_open", "bitmap_extents", "carried_out", "append", "remove"]

DIES = """
import os, signal, sys
from pathlib import Path
from snapsim.recording import bitmap_reading, bitmaps, change_log
from snapsim.recording.disks import disks_of
from snapsim.recording.qmp import QmpMonitor

def dying(owner, name):
    does = getattr(owner, name)
    def then(*args, **named):
        does(*args, **named)
        os.kill(os.getpid(), signal.SIGKILL)
    setattr(owner, name, then)

monitor = QmpMonitor(Path("qmp.sock"))
recorder = bitmaps.BitmapRecorder.start(monitor, disks_of(monitor)[0], Path("one.recording"), grain=65536)
recorder.sample()
print("ready", flush=True)
sys.stdin.readline()
{
    "cut": lambda: dying(bitmaps, "cut"),
    "_make": lambda: dying(bitmap_reading, "_make"),
    "_open": lambda: dying(bitmap_reading, "_open"),
    "bitmap_extents": lambda: dying(bitmap_reading, "bitmap_extents"),
    "carried_out": lambda: dying(bitmaps, "carried_out"),
    "append": lambda: dying(change_log.ChangeLog, "append"),
    "remove": lambda: dying(bitmaps, "remove"),
}[sys.argv[1]]()
recorder.sample()
"""


@pytest.mark.parametrize("where", KILLED_AT)
def test_killed_anywhere_nothing_written_is_lost(running, tmp_path, where):
    (tmp_path / "dies.py").write_text(DIES)
    with subprocess.Popen(
        [sys.executable, "dies.py", where], cwd=tmp_path, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    ) as recorder:  # fmt: skip
        assert recorder.stdout.readline() == "ready\n"
        first = random_writes(running, 1, 4)
        recorder.stdin.write("\n")
        recorder.stdin.flush()
        assert recorder.wait(timeout=60) == -9
    second = random_writes(running, 2, 4)
    monitor = QmpMonitor(running.socket)
    again = BitmapRecorder.resume(monitor, tmp_path / "one.recording")
    assert again.sample()
    again.end("enough")
    again.close()
    monitor.close()
    samples = [grains(extents) for extents in again.log.changes()]
    want = [grains([(o, n) for _, o, n in part]) for part in (first, second)]
    assert samples[0] == set()
    assert samples[1:] == want  # the cut that came before the kill stands, whether it had been read or not
    assert sorted(again.log.instants) == again.log.instants
    assert not running.bitmaps()
    assert running.has_nothing_of_ours()


@pytest.mark.parametrize("where", KILLED_AT)
def test_cleaning_up_after_a_recorder_that_was_killed(running, tmp_path, where):
    (tmp_path / "dies.py").write_text(DIES)
    subprocess.run(
        [sys.executable, "dies.py", where], cwd=tmp_path, input="\n", text=True,
        stdout=subprocess.PIPE, check=False,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    assert running.bitmaps()
    monitor = QmpMonitor(running.socket)
    cleaned = clean(monitor)
    assert list(cleaned) == [ChangeLog.open(tmp_path / "one.recording").about["recording"]]
    with pytest.raises(RecordingError, match="what changed since is not known"):
        BitmapRecorder.resume(monitor, tmp_path / "one.recording")
    monitor.close()
    assert not running.bitmaps()
    assert running.has_nothing_of_ours()


def test_a_line_that_was_torn_is_written_again(running, monitor, tmp_path):
    recorder = started(monitor, tmp_path)
    recorder.sample()
    recorder.close()
    path = tmp_path / "one.recording" / "changes.jsonl"
    with path.open("a") as file:
        file.write('{"time_ns":17')
    assert len(ChangeLog.open(tmp_path / "one.recording").instants) == 2
    again = BitmapRecorder.resume(monitor, tmp_path / "one.recording")
    again.sample()
    again.end("enough")
    again.close()
    assert [set(json.loads(line)) for line in path.read_text().splitlines()] == [
        {"time_ns"}, {"time_ns", "runs"}, {"time_ns", "runs"}, {"ended"},
    ]  # fmt: skip


def test_samples_are_taken_at_multiples_of_the_interval(running, monitor, tmp_path):
    recorder = started(monitor, tmp_path)
    stop = Stop()
    every, told = 200_000_000, []
    keep_recording([recorder], stop, every_ns=every, until_ns=time.time_ns() + 900_000_000, told=told.append)
    stop.close()
    recorder.close()
    inner = recorder.log.instants[1:-1]
    assert len(inner) >= 3
    assert all(instant % every < every // 2 for instant in inner)
    assert recorder.log.ended == "it has lasted as long as asked"
    assert len(told) == len(recorder.log.instants) - 1


def test_several_disks_in_one_go(tmp_path):
    disks = {name: image(tmp_path / f"{name}.qcow2", SIZE) for name in ("d0", "d1")}
    with qemu(tmp_path, disks) as running:
        monitor = QmpMonitor(running.socket)
        found = disks_of(monitor)
        assert [one.names for one in found] == [("vd-d0", "d0"), ("vd-d1", "d1")]
        with pytest.raises(UsageError, match=r"several disks: say .* vd-d0 \(64 MiB, .*d0.qcow2\); vd-d1"):
            choose(found, None)
        with pytest.raises(UsageError, match="no disk 'vda'"):
            choose(found, "vda")
        assert choose(found, str(disks["d1"])).node == "d1"
        recorders = [
            BitmapRecorder.start(monitor, one, tmp_path / f"{one.name}.recording", grain=GRAIN)
            for one in found
        ]
        running.io("write 0 1M", "d1")
        stop = Stop()
        stop.ask()
        keep_recording(recorders, stop, every_ns=10**9)
        stop.close()
        for one in recorders:
            one.close()
        monitor.close()
        assert [one.changed for one in recorders] == [[0], [MIB]]
        assert {one.log.ended for one in recorders} == {"it was stopped"}


def test_nodes_without_a_guest(tmp_path):
    with qemu(tmp_path, {"d0": image(tmp_path / "d0.qcow2", SIZE)}, devices=False) as running:
        monitor = QmpMonitor(running.socket)
        assert disks_of(monitor)[0].names == ("d0",)
        monitor.close()


def test_a_drive_whose_node_has_no_name_of_its_own(tmp_path):
    file = image(tmp_path / "d.qcow2", SIZE)
    extra = ["-drive", f"file={file},if=virtio,id=drive0,format=qcow2"]
    with qemu(tmp_path, {}, extra=extra) as running:
        monitor = QmpMonitor(running.socket)
        recorder = started(monitor, tmp_path)
        assert recorder.disk.node.startswith("#")
        assert "drive0" in recorder.disk.names
        recorder.sample()
        recorder.end("enough")
        recorder.close()
        monitor.close()
        assert recorder.changed == [0]


def test_what_a_monitor_says_when_it_is_none(tmp_path, running, monitor):
    with pytest.raises(RecordingError, match="no QMP socket that answers"):
        QmpMonitor(tmp_path / "nothing.sock")
    with pytest.raises(CommandRefusedError, match="QEMU refused query-nothing: The command"):
        monitor.execute("query-nothing")


def test_what_is_written_while_a_sample_is_taken_is_in_the_last_one(running, monitor, tmp_path):
    """Somebody wants an end just when an interval has ended."""
    recorder = started(monitor, tmp_path)
    stop = Stop()

    def told(_):
        if not stop.wanted:
            running.io("write 1M 4k")
            stop.ask()

    keep_recording([recorder], stop, every_ns=200_000_000, told=told)
    stop.close()
    recorder.close()
    assert recorder.changed == [0, GRAIN]


def test_writes_that_go_on_while_samples_are_taken(running, monitor, tmp_path):
    """Each write is in an interval that was running while it was made; none is in none."""
    recorder = started(monitor, tmp_path)
    made, over = [], threading.Event()

    def writing():
        rng = np.random.default_rng(3)
        while not over.is_set():
            offset = int(rng.integers(SIZE // GRAIN)) * GRAIN
            issued = time.time_ns()
            running.io(f"write {offset} 512")
            made.append((issued, time.time_ns(), offset // GRAIN))

    writer = threading.Thread(target=writing)
    writer.start()
    for _ in range(25):
        assert recorder.sample()
    over.set()
    writer.join()
    assert recorder.sample()
    recorder.end("enough")
    recorder.close()
    seen = [grains(extents) for extents in recorder.log.changes()]
    instants = np.array(recorder.log.instants)
    assert len(made) > 100
    for issued, done, block in made:
        # an instant is when the cut was asked for: what came before QEMU made it is in the interval before
        first, last = (int(np.searchsorted(instants, when)) - 1 for when in (issued, done))
        assert any(block in seen[interval] for interval in range(max(first - 1, 0), last + 1))
    assert set.union(*seen) == {block for *_, block in made}


def test_the_library_may_be_missing(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "qemu.qmp", None)
    with pytest.raises(RecordingError, match=r"needs the library qemu.qmp: pip install 'snapsim\[qemu\]'"):
        QmpMonitor(tmp_path / "qmp.sock")
