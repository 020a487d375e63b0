"""The simulated agenda is what the real run takes, asked instant by instant."""

from datetime import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapsim.errors import PolicyError
from snapsim.policy.agenda import ready, simulated
from snapsim.policy.schedule import Schedule
from snapsim.policy.taking import ScheduleClass
from snapsim.policy.triggers import Event
from snapsim.types import SnapshotKind
from snapsim.units import DAY, HOUR, MINUTE, SECOND

NIGHTS = [
    ("Europe/Berlin", "2024-03-31T01:00Z"),
    ("Europe/Berlin", "2024-10-27T01:00Z"),
    ("Australia/Lord_Howe", "2024-04-06T15:00Z"),
    ("Australia/Lord_Howe", "2024-10-05T15:30Z"),
    ("Asia/Kolkata", "2024-03-31T01:00Z"),
]
STEP = 15 * MINUTE


def listed(takes):
    return [takes.take(number) for number in range(takes.time_ns.size)]


@given(
    st.sampled_from(NIGHTS),
    st.lists(st.tuples(st.integers(0, 90), st.integers(0, 30)), max_size=3),
    st.lists(st.tuples(st.sampled_from(["upgrade", "daily", "manual"]), st.integers(0, 95)), max_size=4),
    st.lists(st.integers(0, 3), min_size=97, max_size=97),
    st.tuples(st.integers(0, 4), st.integers(0, 4)),
    st.sampled_from(["once", "all", "none"]),
)
def test_the_real_run_takes_what_the_simulator_takes(night, spans, happenings, writes, least, catch_up):
    zone, middle = night
    start = round(datetime.fromisoformat(middle).timestamp()) // 900 * 900 * SECOND - 12 * HOUR
    instants = start + STEP * np.arange(96)
    classes = [
        ScheduleClass.of("hourly", "@hourly", timezone=zone, min_written=least[0], catch_up=catch_up),
        ScheduleClass.of("daily", ["30 2 * * *", "@daily"], timezone=zone, kind="full", ram=9,
                         min_written=least[1], events=["upgrade"], catch_up=catch_up),
        ScheduleClass.of("manual", kind="memory", ram=7),
    ]  # fmt: skip
    downtimes = [(start + first * STEP, start + (first + length) * STEP) for first, length in spans]
    up = [not any(first <= now < last for first, last in downtimes) for now in instants.tolist()]
    events = [Event(name, start + number * STEP) for name, number in happenings if up[number]]
    agenda = simulated(classes, instants, writes=writes, downtimes=downtimes, events=events)
    assert agenda.takes.time_ns.tolist() == instants[agenda.index].tolist()

    seen = {one.name: start - 1 for one in classes}
    since = dict.fromkeys(seen, 0)
    taken = []
    for number, now in enumerate(instants.tolist()):
        since = {name: count + writes[number] for name, count in since.items()}
        if not up[number]:
            continue
        happened = [event for event in events if event.time_ns == now]
        take = ready(classes, seen, now, written=since, events=happened)
        seen = dict.fromkeys(seen, now)
        if take is not None:
            taken.append(take)
            since |= dict.fromkeys(take.classes, 0)
    assert listed(agenda.takes) == taken


def test_a_quiet_window_moves_and_says_so():
    quarters = np.arange(17) * STEP
    writes = [0, 9, 5, 5, 7, 1, 0, 3, 8, 4, 4, 4, 4, 4, 4, 4, 4, 4]
    classes = [ScheduleClass.of("hourly", "1h", quiet="30min"), ScheduleClass.of("two", "2h")]
    agenda = simulated(classes, quarters, writes=writes)
    assert agenda.index.tolist() == [0, 1, 5, 8, 12, 16]
    assert [take.classes for take in listed(agenda.takes)] == [
        ("two",), ("hourly",), ("hourly",), ("hourly", "two"), ("hourly",), ("hourly", "two"),
    ]  # fmt: skip
    assert agenda.quiet["hourly"].saved == 4 + 1
    assert agenda.quiet.keys() == {"hourly"}
    assert agenda.max_delay_ns == STEP


@given(st.lists(st.integers(0, 3), min_size=98, max_size=98), st.integers(1, 8), st.integers(0, 5))
def test_bytes_are_counted_from_where_the_quiet_window_put_the_snapshot(writes, least, window):
    quarters = np.arange(97) * STEP
    one = ScheduleClass.of("hourly", "1h", quiet=window * STEP, min_written=least)
    agenda = simulated([one], quarters, writes=writes)
    written = np.cumsum(writes)
    last, wanted = 0, []
    for tick in range(0, 97, 4):
        place = min(range(tick, min(tick + min(window, 3), 96) + 1), key=lambda at: (writes[at + 1], at))
        if written[tick] - last >= least:
            wanted.append(place)
            last = written[place]
    assert agenda.index.tolist() == wanted
    assert agenda.left_out["hourly"] == 25 - len(wanted)


def test_a_quiet_window_is_counted_from_the_tick():
    """The tick at 10 past is taken at a quarter past at the earliest, and at half past at the latest."""
    quarters = np.arange(9) * STEP
    one = ScheduleClass.of("a", "10 * * * *", quiet="25min")
    agenda = simulated([one], quarters, writes=list(range(10, 0, -1)))
    assert agenda.index.tolist() == [2, 6]
    assert agenda.max_delay_ns == 20 * MINUTE


def test_ticks_during_a_snapshot_and_between_instants():
    instants = np.arange(0, 5) * HOUR
    skip = ScheduleClass.of("a", "20min", overlap="skip")
    agenda = simulated([skip], instants, duration_ns=30 * MINUTE)
    assert agenda.index.tolist() == [0, 1, 2, 3, 4]
    assert agenda.left_out["a"] == 6  # every other one of 13
    queue = ScheduleClass.of("a", "2h", overlap="queue")
    agenda = simulated([queue], instants, duration_ns=150 * MINUTE)
    # 0:00 is on time, 2:00 waits until 2:30, 4:00 until 5:00, when the trace has ended
    assert agenda.index.tolist() == [0, 3]
    assert agenda.max_delay_ns == HOUR


def test_nothing_is_taken_while_the_machine_is_down():
    instants = np.arange(0, 6) * HOUR
    # the tick is before the downtime, the instant after it would be inside
    one = ScheduleClass.of("a", "30 1 * * *")
    agenda = simulated([one], instants, downtimes=[(100 * MINUTE, 200 * MINUTE)])
    assert agenda.index.tolist() == [4]
    assert agenda.takes.take(0).kind is SnapshotKind.DISK
    down = simulated([one], instants, downtimes=[(0, DAY)], events=[Event("a", HOUR)])
    assert down.index.size == 0


def test_what_is_refused():
    instants = np.arange(3) * HOUR
    for one in (ScheduleClass.of("a", "1h", on_change=True), ScheduleClass.of("a", "1h", quiet="5min")):
        with pytest.raises(PolicyError, match="class 'a' looks at what is written: give the"):
            simulated([one], instants)
    with pytest.raises(PolicyError, match="give the bytes since its last snapshot"):
        ready([ScheduleClass.of("a", "1h", on_change=True)], {}, HOUR)
    with pytest.raises(PolicyError, match="3 instants have 4 epochs"):
        simulated([], instants, writes=[1])
    with pytest.raises(PolicyError, match="instants have to ascend"):
        simulated([], instants[::-1])
    with pytest.raises(PolicyError, match="no class takes a snapshot for event 'x'"):
        ready([ScheduleClass(name="a", schedule=Schedule.of("1h"))], {}, 0, events=[Event("x", 0)])
    assert ready([ScheduleClass.of("a", "1h")], {"a": 0}, MINUTE) is None
