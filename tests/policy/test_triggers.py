"""Bytes written, events and overlaps, each against the obvious loop."""

from datetime import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapsim.errors import PolicyError
from snapsim.policy.schedule import Schedule
from snapsim.policy.triggers import Event, event_times, unheard, without_overlap, written_enough
from snapsim.units import HOUR, MINUTE, SECOND

rises = st.lists(st.integers(0, 5), max_size=40)


@given(rises, st.integers(0, 12), st.integers(0, 100), st.data())
def test_written_enough_is_the_greedy_loop(rise, min_written, since, data):
    """Also where a quiet window takes a snapshot later, and where events take some whatever was written."""
    size = len(rise)
    written = since + np.cumsum(np.array(rise, dtype=np.int64))
    share = data.draw(st.lists(st.integers(0, 3), min_size=size, max_size=size))
    following = np.append(written[1:], written[-1:] + 2)
    then = written + (following - written) * np.array(share, dtype=np.int64) // 3
    forced = data.draw(st.lists(st.booleans(), min_size=size, max_size=size))
    last, wanted = since, []
    for tick, count in enumerate(written.tolist()):
        if count - last >= min_written or forced[tick]:
            wanted.append(tick)
            last = int(then[tick])
    if min_written:
        found = written_enough(
            written, min_written=min_written, since=since, written_when_taken=then, forced=forced
        )
        assert found.tolist() == wanted
    else:
        assert written_enough(written, min_written=0, since=since).size == size


@given(rises, st.integers(0, 12))
def test_one_tick_at_a_time_is_the_same(rise, min_written):
    """The real run knows one tick at a time, and what was written at the last snapshot."""
    written = np.cumsum(np.array(rise, dtype=np.int64))
    last, taken = 0, []
    for tick, count in enumerate(written.tolist()):
        if written_enough([count], min_written=min_written, since=last).size:
            taken.append(tick)
            last = count
    assert taken == written_enough(written, min_written=min_written).tolist()


def test_written_enough_refuses_counts_that_descend():
    with pytest.raises(PolicyError, match="bytes written descend at tick 2, to 1 B: give the bytes"):
        written_enough([0, 2, 1])
    with pytest.raises(PolicyError, match="bytes written descend at tick 0"):
        written_enough([1], since=2)
    with pytest.raises(PolicyError, match="min_written is -1"):
        written_enough([1], min_written=-1)


def test_events():
    events = [Event("upgrade", 30), Event("reboot", 20), Event("upgrade", 10), Event("upgrade", 30)]
    assert event_times(events, ["upgrade"]).tolist() == [10, 30]
    assert event_times(events, ["upgrade", "reboot"]).tolist() == [10, 20, 30]
    assert event_times(events, []).tolist() == []
    unheard(events, ["upgrade", "reboot", "more"])
    with pytest.raises(PolicyError, match="for event 'reboot': the events are upgrade"):
        unheard(events, ["upgrade"])
    with pytest.raises(PolicyError, match="the events are none"):
        unheard(events, [])


moments = st.lists(st.integers(0, 60), max_size=25).map(sorted)


@given(moments, st.data(), st.sampled_from(["skip", "queue"]))
def test_overlap_is_the_obvious_loop(moments, data, overlap):
    durations = data.draw(st.lists(st.integers(0, 12), min_size=len(moments), max_size=len(moments)))
    free, wanted = -(2**60), []
    for index, (moment, duration) in enumerate(zip(moments, durations, strict=True)):
        if overlap == "skip" and moment < free:
            continue
        start = max(moment, free)
        wanted.append((index, start))
        free = start + duration
    found = without_overlap(np.array(moments, dtype=np.int64), np.array(durations, dtype=np.int64), overlap)
    assert list(zip(found.which.tolist(), found.at_ns.tolist(), strict=True)) == wanted


@given(moments, st.integers(0, 12))
def test_runs_never_overlap(moments, duration):
    array = np.array(moments, dtype=np.int64)
    for overlap in ("skip", "queue"):
        at_ns = without_overlap(array, duration, overlap).at_ns
        assert np.all(np.diff(at_ns) >= duration)
    assert without_overlap(array, duration, "queue").at_ns.size == array.size


@pytest.mark.parametrize(
    ("zone", "night", "skipped"),
    [
        # two runs of 50 minutes each collide only where the clock brings wall clock times closer together
        ("Europe/Berlin", "2024-03-31T00:30Z", 1),
        ("Europe/Berlin", "2024-10-27T00:00Z", 0),
        ("Australia/Lord_Howe", "2024-10-05T14:30Z", 1),
        ("Asia/Kolkata", "2024-03-31T00:30Z", 0),
    ],
)
def test_the_night_in_which_two_jobs_move_together(zone, night, skipped):
    middle = round(datetime.fromisoformat(night).timestamp()) * SECOND
    schedule = Schedule.of(["15 2 * * *", "15 3 * * *"], timezone=zone)
    ticks = schedule.ticks(middle - 12 * HOUR, middle + 12 * HOUR)
    assert ticks.size == 2
    taken = without_overlap(ticks, 50 * MINUTE, "skip")
    assert ticks.size - taken.which.size == skipped
    queued = without_overlap(ticks, 50 * MINUTE, "queue")
    assert queued.which.size == 2
    assert (queued.at_ns != ticks).sum() == skipped


def test_what_is_refused():
    ticks = np.array([0, 1], dtype=np.int64)
    with pytest.raises(PolicyError, match='overlap is \'wait\': give "skip" or "queue"'):
        without_overlap(ticks, 1, "wait")
    with pytest.raises(PolicyError, match="duration of a snapshot is negative"):
        without_overlap(ticks, -1)
    with pytest.raises(PolicyError, match="moments have to ascend"):
        without_overlap(ticks[::-1], 1)
