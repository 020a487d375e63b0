"""Recordings of block devices.  The kernel's tracer needs root and a kernel that allows it: a stand-in for
blktrace sends the same records, and obeys the same signals."""

import os
import resource
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
import zstandard

import snapsim as ss
from snapsim.errors import RecordingError, StoreError, UsageError
from snapsim.recording import block_devices
from snapsim.recording.blktrace import finish, prepare, record
from snapsim.recording.block_devices import BlockDevice, carries, debugfs_for_tracing, described, find
from snapsim.recording.folder import read_state
from snapsim.recording.interrupts import Stop
from snapsim.recording.segments import Segments

READ, WRITE, NOTIFY, DISCARD = (1 << 16 + bit for bit in (0, 1, 10, 13))
Q, D, REQUEUE = 1, 7, 6
NUMBER = (254, 16)
DISK = BlockDevice(Path("/dev/vdx"), "vdx", NUMBER, 1 << 30, 0, queues=True)


def event(action, time_ns=0, sector=0, size=0, payload=b""):
    magic, device = 0x65617407, NUMBER[0] << 20 | NUMBER[1]
    return (
        struct.pack("=IIQQIIIIIHH", magic, 1, time_ns, sector, size, action, 7, device, 0, 0, len(payload))
        + payload
    )


STAND_IN = """#!{python}
import os, signal, struct, sys, time
over = []
signal.signal(signal.SIGINT, lambda *_: over.append(1))
open("{log}", "a").write(" ".join(sys.argv[1:]) + "\\n")
stream = open("{stream}", "rb").read()
{before}
for at in range(0, len(stream), {piece}):
    os.write(1, stream[at : at + {piece}])
    time.sleep({pause})
while not over and {wait}:
    time.sleep(0.02)
os.write(1, {last!r})
{after}
"""


@pytest.fixture
def tracer(tmp_path, monkeypatch):
    """Put a program called blktrace first, which sends a stream in pieces and waits to be interrupted."""
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)

    def place(stream, *, last=b"", piece=1000, pause=0, wait=True, before="", after=""):
        (tmp_path / "stream").write_bytes(stream)
        script = programs / "blktrace"
        script.write_text(
            STAND_IN.format(
                python=sys.executable,
                stream=tmp_path / "stream",
                log=tmp_path / "calls",
                last=last,
                piece=piece,
                pause=pause,
                wait=wait,
                before=before,
                after=after,
            )
        )
        script.chmod(0o755)
        return tmp_path / "calls"

    return place


@pytest.fixture
def machine(tmp_path):
    """Give a made-up sysfs, with a disk, a partition of it, and a mapped device on the partition."""
    sysfs = tmp_path / "sys"
    disk, part, mapped = (sysfs / "devices" / name for name in ("vdx", "vdx/vdx1", "dm-0"))
    for place, number, size in ((disk, "254:16", 2048), (part, "254:17", 1000), (mapped, "253:0", 900)):
        (place / "trace").mkdir(parents=True)
        (place / "trace" / "enable").write_text("0\n")
        (place / "size").write_text(f"{size}\n")
        (place / "slaves").mkdir()
        (sysfs / "dev" / "block").mkdir(parents=True, exist_ok=True)
        (sysfs / "dev" / "block" / number).symlink_to(place)
    (disk / "mq" / "0").mkdir(parents=True)
    (part / "partition").write_text("1\n")
    (part / "start").write_text("64\n")
    (mapped / "slaves" / "vdx1").symlink_to(part)
    return sysfs


@pytest.fixture
def allowed(monkeypatch, tmp_path):
    """Let every device be traced."""
    monkeypatch.setattr(
        "snapsim.recording.blktrace.debugfs_for_tracing", lambda _device: tmp_path / "debugfs"
    )
    return tmp_path / "debugfs"


STREAM = (
    event(NOTIFY | 1, 50, payload=struct.pack("=II", 1_700_000_000, 0))
    + event(D | WRITE, 1000, 64, 4096)
    + event(REQUEUE | WRITE, 1500, 64, 4096)
    + event(D | WRITE, 2000, 64, 4096)
    + event(D | READ, 1800, 128, 512, payload=bytes(8))
    + event(D | WRITE | DISCARD, 3000, 256, 65536)
)


def test_a_full_disk_leaves_no_folder(allowed, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(StoreError, match=r"a\.recording cannot be written: File too large"):
            prepare(DISK, tmp_path / "a.recording")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())
    assert prepare(DISK, tmp_path / "a.recording") == allowed


@pytest.mark.parametrize("piece", [1, 47, 1000])
def test_a_recording_until_it_is_interrupted(tracer, allowed, tmp_path, piece):
    calls = tracer(STREAM, piece=piece, last=event(D | WRITE, 9000, 512, 4096))
    debugfs = prepare(DISK, tmp_path / "a.recording")
    stop = Stop()
    done = record(
        DISK, tmp_path / "a.recording", debugfs=debugfs, stop=stop,
        show=lambda going: stop.ask() if going.events == 6 else None,
    )  # fmt: skip
    assert (done.events, done.why, done.dropped) == (7, "interrupted", 0)
    assert calls.read_text().split() == [
        *("-d", "/dev/vdx", "-r", str(debugfs), "-a", "issue", "-a", "requeue"),
        *("-b", "512", "-n", "8", "-o", "-"),
    ]
    trace = finish(tmp_path / "a.recording", tmp_path / "a.parquet")
    assert trace.info.source == "a"
    (batch,) = ss.read_trace(tmp_path / "a.parquet").batches()
    assert list(zip(*(part.tolist() for part in batch[:4]), strict=True)) == [
        (0, 1, 32768, 4096),
        (800, 0, 65536, 512),
        (1000, 1, 32768, 4096),
        (2000, 2, 131072, 65536),
        (8000, 1, 262144, 4096),
    ]
    assert trace.info.out_of_order == 0
    assert trace.capacity == 1 << 30
    assert trace.capacity_known
    assert trace.start_ns == 1_700_000_000 * 10**9 - 50 + 1000
    assert "sent 1 requests back" in trace.info.notes[-1]
    assert "before the first request is not known" in trace.info.notes[0]
    assert read_state(tmp_path / "a.recording")["seconds"] == done.seconds


def test_the_time_and_the_room_end_a_recording(tracer, allowed, tmp_path):
    tracer(STREAM)
    (allowed / "block" / "vdx").mkdir(parents=True)
    (allowed / "block" / "vdx" / "dropped").write_text("3\n")
    for name, options, why in (
        ("time", {"seconds": 0.3}, "the time is over"),
        ("room", {"limit_bytes": 100}, "which is its limit"),
    ):
        folder = tmp_path / name
        done = record(DISK, folder, debugfs=prepare(DISK, folder), stop=Stop(), **options)
        assert why in done.why
        assert done.dropped == 3
        trace = finish(folder, tmp_path / f"{name}.parquet")
        assert len(trace) == 4
        assert any("3 events are missing" in note for note in trace.info.notes)


def test_a_device_without_queues_and_a_partition(tracer, allowed, tmp_path):
    stream = STREAM + event(Q | WRITE, 4000, 100, 512) + event(Q | 1 << 16 + 2 | WRITE, 4500)
    calls = tracer(stream)
    part = BlockDevice(Path("/dev/vdx1"), "vdx1", NUMBER, 1 << 20, 64 * 512, queues=False)
    folder = tmp_path / "a"
    record(part, folder, debugfs=prepare(part, folder), stop=Stop(), seconds=0.3)
    assert "-a queue -b" in calls.read_text()
    (batch,) = finish(folder, tmp_path / "a.parquet").batches()
    assert list(zip(*(part.tolist() for part in batch[1:4]), strict=True)) == [(1, 36 * 512, 512), (4, 0, 0)]
    with pytest.raises(UsageError, match="choose queued"):
        prepare(part, tmp_path / "b", action="sent")
    with pytest.raises(UsageError, match="sent, queued, completed"):
        prepare(part, tmp_path / "b", action="D")
    with pytest.raises(UsageError, match="exists"):
        prepare(part, folder)


def test_addresses_are_shuffled_where_asked(tracer, allowed, tmp_path):
    tracer(STREAM)
    folder = tmp_path / "a"
    record(DISK, folder, debugfs=prepare(DISK, folder), stop=Stop(), seconds=0.3)
    plain = finish(folder, tmp_path / "a.parquet")
    shuffled = finish(folder, tmp_path / "b.parquet", permute=1 << 20)
    assert len(shuffled) == len(plain)
    assert any("shuffled" in note for note in shuffled.info.notes)


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("Thread 1 failed open /sys/kernel/debug/block/vdx/trace1: 1/Operation not permitted", "locked down"),
        ("BLKTRACESETUP(2) /dev/vdx failed: 16/Device or resource busy", "somebody else traces"),
        ("BLKTRACESETUP(2) /dev/vdx failed: 25/Inappropriate ioctl for device", "CONFIG_BLK_DEV_IO_TRACE"),
        ("BLKTRACESETUP(2) /dev/vdx failed: 12/Cannot allocate memory", "make them smaller"),
        ("something new", "ended with status 1: something new"),
    ],
)
def test_a_tracer_that_fails(tracer, allowed, tmp_path, told, reason):
    tracer(b"", before=f"sys.exit({told!r})")
    with pytest.raises(RecordingError, match=reason):
        record(DISK, tmp_path / "a", debugfs=prepare(DISK, tmp_path / "a"), stop=Stop())
    assert not (tmp_path / "a").exists()


def test_a_trace_that_somebody_else_ends(tracer, allowed, tmp_path):
    line = "Thread 0 failed read of /sys/kernel/debug/block/vdx/trace0: 5/Input/output error\\n"
    tracer(STREAM, before=f"os.write(2, b'{line}' * 1000)")
    done = record(DISK, tmp_path / "a", debugfs=prepare(DISK, tmp_path / "a"), stop=Stop())
    assert done.why == "blktrace cannot read any more"
    assert len(finish(tmp_path / "a", tmp_path / "a.parquet")) == 4


def test_what_was_recorded_before_the_disk_is_full_is_kept(tracer, allowed, tmp_path, monkeypatch):
    tracer(STREAM, piece=104, pause=0.5)
    real = os.write
    written = []

    def write(descriptor, data):
        if isinstance(data, memoryview):  # what goes to a segment
            written.append(len(data))
            if len(written) > 1:
                raise OSError(28, "No space left on device")
        return real(descriptor, data)

    monkeypatch.setattr("snapsim.recording.segments.os.write", write)
    folder = tmp_path / "a"
    with pytest.raises(RecordingError, match=rf"No space left on device; .*finish {folder}"):
        record(DISK, folder, debugfs=prepare(DISK, folder), stop=Stop())
    monkeypatch.undo()
    assert len(finish(folder, tmp_path / "a.parquet")) == 1


def test_a_tracer_that_fails_later_keeps_what_was_recorded(tracer, allowed, tmp_path):
    tracer(STREAM, wait=False, after="sys.exit('something failed')")
    folder = tmp_path / "a"
    with pytest.raises(RecordingError, match=rf"status 1: something failed; .*finish {folder}"):
        record(DISK, folder, debugfs=prepare(DISK, folder), stop=Stop())
    assert len(finish(folder, tmp_path / "a.parquet")) == 4


def test_a_tracer_that_ends_by_itself_or_sends_something_else(tracer, allowed, tmp_path):
    tracer(STREAM, wait=False)
    assert record(DISK, tmp_path / "a", debugfs=prepare(DISK, tmp_path / "a"), stop=Stop()).events == 6
    tracer(b"something else" * 10, wait=False)
    with pytest.raises(RecordingError, match="ended with status 0"):
        record(DISK, tmp_path / "b", debugfs=prepare(DISK, tmp_path / "b"), stop=Stop())
    with pytest.raises(RecordingError, match="is no recording"):
        finish(tmp_path, tmp_path / "c.parquet")


KILLED = """
import sys, pathlib
from snapsim.recording import blktrace
from snapsim.recording.block_devices import BlockDevice
from snapsim.recording.interrupts import stopping
device = BlockDevice(pathlib.Path("/dev/vdx"), "vdx", (254, 16), 1 << 30, 0, queues=True)
blktrace.debugfs_for_tracing = lambda _device: pathlib.Path("/nowhere")
folder = pathlib.Path(sys.argv[1])
with stopping() as stop:
    blktrace.record(device, folder, debugfs=blktrace.prepare(device, folder), stop=stop, segment_bytes=200)
"""


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_recorder_that_is_killed_or_asked_to_end(tracer, tmp_path, signum):
    tracer(STREAM, piece=240, pause=0.5, after=f"open({str(tmp_path / 'over')!r}, 'w')")
    folder = tmp_path / "a"
    with subprocess.Popen([sys.executable, "-c", KILLED, str(folder)]) as recorder:
        try:
            wait_for(
                lambda: (folder / "vdx.blktrace.0.zst").exists() and (folder / "vdx.blktrace.1").exists()
            )
            recorder.send_signal(signum)
            recorder.wait(20)
        finally:
            recorder.kill()
    wait_for((tmp_path / "over").exists)  # nobody goes on tracing
    trace = finish(folder, tmp_path / "a.parquet")
    assert len(trace) == 4
    assert any("killed" in note for note in trace.info.notes) == (signum == signal.SIGKILL)
    # the folder is readable without the recorder, too
    first = next(folder.glob("vdx.blktrace.0*"))
    assert len(ss.read_trace(first, action="D")) == 4


def wait_for(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_segments_are_cut_between_records(tmp_path):
    segments = Segments(tmp_path, "vdx", size=100)
    stream = b"".join(event(D | WRITE, step, step * 8, 4096, bytes(step % 5)) for step in range(50))
    for at in range(0, len(stream), 7):
        segments.add(stream[at : at + 7])
    assert segments.records == 50
    segments.add(stream[:20])  # never becomes whole
    segments.close()
    found = sorted(tmp_path.iterdir(), key=lambda path: int(path.name.split(".")[2]))
    assert len(found) > 10
    assert segments.kept == sum(path.stat().st_size for path in found)
    parts = [zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes()) for path in found]
    assert all(part.startswith(b"\x07\x74\x61\x65") for part in parts)
    assert b"".join(parts) == stream


@pytest.mark.parametrize("piece", [1, 5, 48, 1000])
@pytest.mark.parametrize("torn", [bytes(48), bytes(96), event(0), event(0, 5)[:30] + bytes(18)])
def test_events_that_were_read_too_early(tmp_path, piece, torn):
    """The kernel may hand over room that another processor has taken and not yet written to."""
    segments = Segments(tmp_path, "vdx", size=1 << 20)
    events = [event(D | WRITE, step + 1, step * 8, 4096, bytes(step % 3)) for step in range(5)]
    stream = events[0] + events[1] + torn + events[2] + events[3] + torn + events[4]
    for at in range(0, len(stream), piece):
        segments.add(stream[at : at + piece])
    segments.close()
    assert segments.records == 5
    assert segments.torn == 2 * len(torn) // 48
    trace = ss.read_trace(tmp_path / "vdx.blktrace.0.zst", action="D", damage_limit=0)
    assert next(trace.batches()).offset.tolist() == [step * 4096 for step in range(5)]


def test_events_that_are_missing_are_told(tracer, allowed, tmp_path):
    tracer(STREAM + bytes(48) + event(D | READ, 4000, 8, 512))
    folder = tmp_path / "a"
    done = record(DISK, folder, debugfs=prepare(DISK, folder), stop=Stop(), seconds=0.3)
    assert (done.events, done.torn) == (7, 1)
    trace = finish(folder, tmp_path / "a.parquet")
    assert len(trace) == 5
    assert any(note.startswith("1 events are missing, as they were read") for note in trace.info.notes)


def test_a_segment_that_is_there_twice_counts_once(tmp_path):
    segments = Segments(tmp_path, "vdx", size=1 << 20)
    segments.add(STREAM)
    raw = (tmp_path / "vdx.blktrace.0").read_bytes()
    segments.close()
    (tmp_path / "vdx.blktrace.0").write_bytes(raw)  # killed before it was removed
    for name in ("vdx.blktrace.0", "vdx.blktrace.0.zst"):
        assert len(ss.read_trace(tmp_path / name, action="D")) == 4


def test_what_sysfs_says_of_devices(machine):
    disk = described(Path("/dev/vdx"), (254, 16), sysfs=machine)
    assert disk == BlockDevice(Path("/dev/vdx"), "vdx", (254, 16), 1 << 20, 0, queues=True)
    part = described(Path("/dev/vdx1"), (254, 17), sysfs=machine)
    assert (part.capacity, part.start, part.queues) == (512_000, 32768, True)
    assert not described(Path("/dev/dm-0"), (253, 0), sysfs=machine).queues
    with pytest.raises(UsageError, match="knows no 1:2"):
        described(Path("/dev/x"), (1, 2), sysfs=machine)
    with pytest.raises(UsageError, match="no block device"):
        find(machine)
    with pytest.raises(UsageError, match="No such file"):
        find(machine / "none")


def test_devices_of_this_machine():
    for path in Path("/dev").iterdir():
        if path.is_block_device():
            device = find(path)
            assert Path("/sys/class/block", device.name).exists()
            assert device.start % 512 == device.capacity % 512 == 0


def test_which_device_a_folder_is_on(machine, tmp_path, monkeypatch):
    mapped = machine / "dev/block/253:0"
    own = f"{os.major(tmp_path.stat().st_dev)}:{os.minor(tmp_path.stat().st_dev)}"
    (machine / "dev/block" / own).symlink_to(mapped)
    for name, number in (("vdx", (254, 16)), ("vdx1", (254, 17)), ("dm-0", (253, 0))):
        assert carries(described(Path(name), number, sysfs=machine), tmp_path, sysfs=machine)
    (machine / "devices" / "other").mkdir()
    (machine / "dev/block/8:0").symlink_to(machine / "devices" / "other")
    other = BlockDevice(Path("/dev/sda"), "other", (8, 0), 1, 0, queues=True)
    assert not carries(other, tmp_path, sysfs=machine)


def test_why_a_device_cannot_be_traced(machine, tracer, tmp_path, monkeypatch):
    tracer(b"")
    disk = described(Path("/dev/vdx"), (254, 16), sysfs=machine)
    mounts = tmp_path / "mounts"
    mounts.write_text("proc /proc proc rw 0 0\nnone /debug\\040here debugfs rw 0 0\n")

    def where(device=disk, user=0):
        return debugfs_for_tracing(device, sysfs=machine, mounts=mounts, user=user)

    assert where() == Path("/debug here")
    with pytest.raises(RecordingError, match="sudo"):
        where(user=1000)
    (machine / "kernel/security").mkdir(parents=True)
    for level, text in (
        ("integrity", "none [integrity] confidentiality"),
        ("", "[none] integrity confidentiality"),
    ):
        (machine / "kernel/security/lockdown").write_text(text + "\n")
        if level:
            with pytest.raises(RecordingError, match=r"locked down \(integrity\)"):
                where()
    mounts.write_text("proc /proc proc rw 0 0\n")
    with pytest.raises(RecordingError, match="mount -t debugfs"):
        where()
    (machine / "devices/vdx/trace/enable").write_text("1\n")
    part = described(Path("/dev/vdx1"), (254, 17), sysfs=machine)
    for device in (disk, part):
        with pytest.raises(RecordingError, match="/sys/block/vdx/trace/enable"):
            where(device)
    (machine / "devices/dm-0/trace/enable").unlink()
    (machine / "devices/dm-0/trace").rmdir()
    with pytest.raises(RecordingError, match="CONFIG_BLK_DEV_IO_TRACE"):
        where(described(Path("/dev/dm-0"), (253, 0), sysfs=machine))
    monkeypatch.setattr(block_devices.shutil, "which", lambda _name: None)
    with pytest.raises(RecordingError, match="apt-get install blktrace"):
        where()
