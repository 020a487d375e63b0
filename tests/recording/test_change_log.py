"""The folder of a recording: what was appended is there, whatever came in between."""

import json
import resource

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapsim.errors import RecordingError, StoreError, UsageError
from snapsim.recording.change_log import ChangeLog, from_runs, to_runs

NOTHING = np.zeros((0, 2), np.int64)


def extents_of(blocks, grain, capacity):
    """Runs of whole blocks, the last one cut at the end of the disk."""
    marked = np.zeros(-(-capacity // grain) + 2, np.int8)
    marked[[block + 1 for block in blocks]] = 1
    edges = np.flatnonzero(np.diff(marked)).reshape(-1, 2) * grain
    ends = np.minimum(edges[:, 1], capacity)
    return np.column_stack((edges[:, 0], ends - edges[:, 0]))


@given(st.sets(st.integers(0, 40)), st.sampled_from([1, 512, 65536]), st.integers(0, 511))
def test_runs_say_what_extents_say(blocks, grain, short):
    capacity = 41 * grain - short % grain
    extents = extents_of(blocks, grain, capacity)
    runs = to_runs(extents, grain)
    assert len(runs) == 2 * len(extents)
    assert all(run > 0 for run in runs[1:])
    assert from_runs(runs, grain, capacity).tolist() == extents.tolist()


def made(folder, **more):
    return ChangeLog.create(
        folder, grain=4096, capacity=10000, instant=5, initial=np.array([[0, 4096]]), **more
    )


def test_what_is_appended_is_read_again(tmp_path):
    log = made(tmp_path / "a.recording", disk="vda")
    log.lock()
    log.append(7, np.array([[0, 4096], [8192, 1808]]))
    log.append(9, NOTHING)
    for found in (log, ChangeLog.open(tmp_path / "a.recording")):
        assert (found.instants, found.grain, found.capacity, found.ended) == ([5, 7, 9], 4096, 10000, None)
        assert [one.tolist() for one in found.changes()] == [[[0, 4096], [8192, 1808]], []]
        assert found.initial() == [(0, 4096)]
        assert found.about["disk"] == "vda"
    log.end("enough")
    log.end("once more")
    log.unlock()
    assert ChangeLog.open(tmp_path / "a.recording").ended == "enough"
    with pytest.raises(UsageError, match="exists"):
        made(tmp_path / "a.recording")


@pytest.mark.parametrize("cut", range(1, 30))
def test_a_line_cut_anywhere_is_as_if_it_had_not_been_written(tmp_path, cut):
    log = made(tmp_path / "a.recording")
    log.lock()
    log.append(7, np.array([[0, 4096]]))
    log.append(9, np.array([[4096, 4096]]))
    log.unlock()
    path = tmp_path / "a.recording" / "changes.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    log = ChangeLog.open(tmp_path / "a.recording")
    kept = 2 if cut <= len('{"time_ns":9,"runs":[1,1]}\n') else 1
    assert log.instants == [5, 7, 9][:kept]
    log.lock()
    log.append(11, NOTHING)
    log.unlock()
    assert ChangeLog.open(tmp_path / "a.recording").instants == [*[5, 7, 9][:kept], 11]


def test_a_full_disk_leaves_whole_lines(tmp_path):
    log = made(tmp_path / "a.recording")
    log.lock()
    path = tmp_path / "a.recording" / "changes.jsonl"
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, hard))
    try:
        with pytest.raises(RecordingError, match="cannot be written: File too large"):
            log.append(7, np.array([[0, 4096]]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert log.instants == [5]
    log.append(8, np.array([[0, 4096]]))
    log.unlock()
    assert ChangeLog.open(tmp_path / "a.recording").instants == [5, 8]


def test_one_recorder_at_a_time(tmp_path):
    log = made(tmp_path / "a.recording")
    log.lock()
    other = ChangeLog.open(tmp_path / "a.recording")
    with pytest.raises(RecordingError, match="being recorded by another process"):
        other.lock()
    log.unlock()
    other.lock()
    other.unlock()


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("recording.json", None, "recording.json is missing"),
        ("changes.jsonl", None, "changes.jsonl is missing"),
        ("recording.json", "{", "no recording of changes, or is damaged"),
        ("recording.json", "[]", "no recording of changes, or is damaged"),
        ("recording.json", json.dumps({"format": "snapsim changes 99"}), "no recording of changes"),
        ("changes.jsonl", "what\n", "no recording of changes, or is damaged"),
        ("changes.jsonl", '{"runs": []}\n', "no recording of changes, or is damaged"),
        ("changes.jsonl", "", "has no instant"),
    ],
)
def test_what_is_no_recording(tmp_path, file, text, message):
    made(tmp_path / "a.recording")
    path = tmp_path / "a.recording" / file
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    with pytest.raises(StoreError, match=message):
        ChangeLog.open(tmp_path / "a.recording")
