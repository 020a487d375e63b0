"""`snapsim record blktrace`: what can be shown without a kernel that lets it trace."""

from pathlib import Path

import pytest

from snapsim.recording.block_devices import BlockDevice
from snapsim.recording.folder import write_state
from snapsim.recording.segments import Segments
from tests.recording.test_blktrace import STREAM, tracer  # noqa: F401  a fixture

DISK = BlockDevice(Path("/dev/vdx"), "vdx", (254, 16), 1 << 30, 0, queues=True)


@pytest.fixture
def a_disk(monkeypatch, tmp_path):
    """Let /dev/vdx be there, and be traced."""
    monkeypatch.setattr("snapsim.recording.block_devices.find", lambda _path: DISK)
    monkeypatch.setattr(
        "snapsim.recording.blktrace.debugfs_for_tracing", lambda _device: tmp_path / "debugfs"
    )


def test_a_recording(run, a_disk, tracer, tmp_path):  # noqa: F811
    calls = tracer(STREAM)
    done = run(
        *("record", "blktrace", "/dev/vdx", "-o", tmp_path / "a.parquet", "--for", "300ms"),
        *("--buffer", "1MiB", "--buffers", "4"),
    )
    assert done.status == 0
    assert "recording /dev/vdx for 300ms, or until Ctrl-C" in done.err
    assert "recorded 6 events" in done.err
    assert "sent 1 requests back" in done.err
    assert "requests      4" in done.out
    assert calls.read_text().split()[-6:] == ["-b", "1024", "-n", "4", "-o", "-"]
    told = run("record", "finish", tmp_path / "a.recording", "-o", tmp_path / "b.parquet", "--json").json
    assert (told["requests"], told["capacity_bytes"]) == (4, 1 << 30)
    assert run("trace", "info", tmp_path / "b.parquet").status == 0


def test_a_recording_that_records_itself_is_warned_of(run, a_disk, tracer, tmp_path, monkeypatch):  # noqa: F811
    tracer(STREAM)
    monkeypatch.setattr("snapsim.recording.block_devices.carries", lambda _device, _folder: True)
    done = run("record", "blktrace", "/dev/vdx", "-o", tmp_path / "a.parquet", "--for", "100ms")
    assert "records its own writes" in done.err


def test_a_recording_of_a_killed_recorder(run, tmp_path):
    folder = tmp_path / "a.recording"
    folder.mkdir()
    state = {"kind": "blktrace", "action": "sent", "seconds": None, "dropped": 0, "torn": 0}
    write_state(folder, state | {"device": {"name": "vdx", "capacity": 1 << 30, "start": 0}})
    segments = Segments(folder, "vdx", size=1 << 20)
    segments.add(STREAM)
    done = run("record", "finish", folder, "-o", tmp_path / "a.parquet")
    assert done.status == 0
    assert "requests      4" in done.out
    assert run("trace", "convert", folder / "vdx.blktrace.0", tmp_path / "b.parquet").status == 0


def test_what_is_refused(refused, a_disk, tmp_path):
    words = ("record", "blktrace", "/dev/vdx")
    assert "ends in .parquet" in refused(*words, "-o", tmp_path / "a.csv", status=2)
    assert "choose from sent, queued" in refused(
        *words, "-o", tmp_path / "a.parquet", "--action", "D", status=2
    )
    (tmp_path / "a.recording").mkdir()
    assert "finish that recording first" in refused(*words, "-o", tmp_path / "a.parquet", status=2)


def test_files_are_no_devices(refused, tmp_path):
    (tmp_path / "image").touch()
    told = refused("record", "blktrace", tmp_path / "image", "-o", tmp_path / "a.parquet", status=2)
    assert "snapsim record nbd" in told
