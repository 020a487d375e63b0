"""Jitter, missed ticks and the next one: the real run, step by step, does what the simulator does at once."""

import hashlib
from datetime import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapsim.errors import PolicyError
from snapsim.policy.due import due, jittered, next_run, planned, with_downtime
from snapsim.policy.schedule import Schedule
from snapsim.units import DAY, HOUR, MINUTE, SECOND

CATCH_UP = ("none", "once", "all")
NIGHTS = [
    ("Europe/Berlin", "2024-03-31T01:00Z"),  # 02:00 to 03:00
    ("Europe/Berlin", "2024-10-27T01:00Z"),  # 03:00 to 02:00
    ("Australia/Lord_Howe", "2024-04-06T15:00Z"),  # half an hour back
    ("Australia/Lord_Howe", "2024-10-05T15:30Z"),  # half an hour forward
    ("America/Sao_Paulo", "2018-11-04T03:00Z"),  # there was no midnight
    ("Asia/Kolkata", "2024-03-31T01:00Z"),  # never changes
    ("UTC", "2024-03-31T01:00Z"),
]
TEXTS = ["7min", "@hourly", "@daily", "30 2 * * *", "*/20 1-3 * * *", ["@daily", "*/45 * * * *"]]


def nanoseconds(text):
    return round(datetime.fromisoformat(text).timestamp()) * SECOND


def stepped(schedule, wakes, start, **options):
    """Ticks and moments that `due` gives, if it is asked at each of the moments."""
    last, found = start - 1, []
    for now in wakes:
        runs = due(schedule, last, now, **options)
        found += zip(runs.tick_ns.tolist(), runs.at_ns.tolist(), strict=True)
        if runs.at_ns.size:
            last = now
    return found


def pairs(runs):
    return list(zip(runs.tick_ns.tolist(), runs.at_ns.tolist(), strict=True))


@pytest.mark.parametrize("catch_up", CATCH_UP)
@pytest.mark.parametrize("text", TEXTS, ids=str)
@pytest.mark.parametrize(("zone", "night"), NIGHTS)
def test_minute_by_minute_is_what_the_simulator_says(zone, night, text, catch_up):
    """Three hours of the night itself are a downtime, and so is the evening before."""
    middle = nanoseconds(night)
    start, stop = middle - 8 * HOUR, middle + 6 * HOUR
    downtimes = [(start + HOUR, start + 3 * HOUR), (middle - 90 * MINUTE, middle + 90 * MINUTE)]
    schedule = Schedule.of(text, timezone=zone)
    wakes = [
        now for now in range(start, stop, MINUTE) if not any(first <= now < last for first, last in downtimes)
    ]
    simulated = planned(schedule, start, stop, downtimes=downtimes, catch_up=catch_up)
    assert stepped(schedule, wakes, start, catch_up=catch_up) == pairs(simulated)


@given(
    wakes=st.sets(st.integers(0, 3 * 24 * 60), min_size=1, max_size=60).map(sorted),
    text=st.sampled_from(TEXTS),
    zone_night=st.sampled_from(NIGHTS),
    catch_up=st.sampled_from(CATCH_UP),
    grace=st.integers(0, 300),
    jitter=st.integers(0, 200),
)
def test_whenever_one_wakes_up(wakes, text, zone_night, catch_up, grace, jitter):
    """The time between two calls is a downtime like any other."""
    zone, night = zone_night
    start = nanoseconds(night) - 36 * HOUR
    wakes = [start + minute * MINUTE for minute in wakes]
    schedule = Schedule.of(text, timezone=zone)
    options = {"catch_up": catch_up, "grace_ns": grace * MINUTE, "jitter_ns": jitter * MINUTE, "seed": "vm"}
    asleep = [(before + 1, now) for before, now in zip([start - 2, *wakes], wakes, strict=False)]
    simulated = planned(schedule, start, wakes[-1] + 1, downtimes=asleep, **options)
    assert stepped(schedule, wakes, start, **options) == pairs(simulated)


def brute_force(ticks, downtimes, catch_up, grace):
    moments = {}
    for tick in ticks:
        at = tick
        while any(first <= at < last for first, last in downtimes):
            at += 1
        if catch_up == "all":
            moments.setdefault(at, []).append(tick)
        elif catch_up == "once" or at - tick <= grace:
            moments[at] = [tick]
    return [(tick, at) for at in sorted(moments) for tick in moments[at]]


@given(
    st.sets(st.integers(0, 60), max_size=20).map(sorted),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 15)), max_size=5),
    st.sampled_from(CATCH_UP),
    st.integers(0, 10),
)
def test_downtime_is_what_it_says(ticks, spans, catch_up, grace):
    downtimes = [(start, start + length) for start, length in spans]
    found = with_downtime(np.array(ticks, dtype=np.int64), downtimes, catch_up, grace_ns=grace)
    assert pairs(found) == brute_force(ticks, downtimes, catch_up, grace)
    assert found.max_delay_ns == max((at - tick for tick, at in pairs(found)), default=0)


def test_catching_up():
    ticks = np.arange(0, 10, dtype=np.int64) * HOUR
    downtimes = [(2 * HOUR - 1, 5 * HOUR + 1)]
    assert pairs(with_downtime(ticks, downtimes, "none"))[1:3] == [(HOUR, HOUR), (6 * HOUR, 6 * HOUR)]
    assert pairs(with_downtime(ticks, downtimes, "once"))[2:4] == [
        (5 * HOUR, 5 * HOUR + 1),
        (6 * HOUR, 6 * HOUR),
    ]
    assert pairs(with_downtime(ticks, downtimes, "none", grace_ns=1))[2] == (5 * HOUR, 5 * HOUR + 1)
    caught = with_downtime(ticks, downtimes, "all")
    assert caught.tick_ns.tolist() == ticks.tolist()
    assert caught.at_ns[2:6].tolist() == [5 * HOUR + 1] * 4


def test_month_of_yearly_ticks_is_caught_up():
    """Off on New Year's night: the yearly tick is not lost for a year."""
    schedule = Schedule.of("@yearly", timezone="Europe/Berlin")
    last, now = nanoseconds("2023-01-01T00:00+01:00"), nanoseconds("2024-02-03T12:00Z")
    assert pairs(due(schedule, last, now)) == [(nanoseconds("2024-01-01T00:00+01:00"), now)]
    assert pairs(due(schedule, last, now, "none", grace_ns=DAY)) == []
    assert due(schedule, now, now + DAY).at_ns.size == 0


def test_nothing_is_missed_before_the_first_run():
    schedule = Schedule.of("1h")
    assert pairs(due(schedule, None, 5 * HOUR)) == [(5 * HOUR, 5 * HOUR)]
    assert pairs(due(schedule, None, 5 * HOUR + MINUTE)) == []
    assert pairs(due(schedule, None, 5 * HOUR + MINUTE, grace_ns=MINUTE)) == [(5 * HOUR, 5 * HOUR + MINUTE)]


def test_a_host_that_moves_to_another_zone():
    """The midnight of the new zone is due, however soon after the old one's; none is due twice."""
    berlin, tokyo, new_york = (
        Schedule.of("@daily", timezone=zone) for zone in ("Europe/Berlin", "Asia/Tokyo", "America/New_York")
    )
    last = nanoseconds("2024-06-02T00:00+02:00")
    assert pairs(due(berlin, last, last + HOUR)) == []
    assert pairs(due(new_york, last, last + 6 * HOUR)) == [(last + 6 * HOUR, last + 6 * HOUR)]
    assert pairs(due(tokyo, last, last + 16 * HOUR)) == []
    assert pairs(due(tokyo, last, last + 17 * HOUR)) == [(last + 17 * HOUR, last + 17 * HOUR)]


def test_a_clock_that_was_put_back():
    assert due(Schedule.of("1h"), 10 * HOUR, 5 * HOUR, "all").at_ns.size == 0


@given(
    st.sampled_from(TEXTS),
    st.sampled_from(NIGHTS),
    st.integers(0, 3 * HOUR),
    st.text(max_size=5),
    st.integers(0, 2 * DAY),
)
def test_jitter_never_crosses_the_next_tick(text, zone_night, jitter, seed, cut):
    zone, night = zone_night
    schedule = Schedule.of(text, timezone=zone)
    start = nanoseconds(night) - DAY
    stop = start + 2 * DAY
    runs = jittered(schedule, start, stop, jitter_ns=jitter, seed=seed)
    ticks = schedule.ticks(start - jitter, stop + jitter + 1)
    delay = runs.at_ns - runs.tick_ns
    assert np.all((delay >= 0) & (delay <= jitter))
    following = np.append(ticks, np.iinfo(np.int64).max)[np.searchsorted(ticks, runs.tick_ns) + 1]
    assert np.all(runs.at_ns < following)
    # every tick comes once, wherever the span is cut
    pieces = [
        jittered(schedule, *span, jitter_ns=jitter, seed=seed)
        for span in ((start, start + cut), (start + cut, stop))
    ]
    assert np.concatenate([piece.at_ns for piece in pieces]).tolist() == runs.at_ns.tolist()
    inside = ticks[(ticks >= start) & (ticks < stop - jitter)]
    assert set(inside.tolist()) <= set(runs.tick_ns.tolist())


def test_jitter_spreads_and_repeats():
    schedule = Schedule.of("1h")
    options = {"jitter_ns": 10 * MINUTE, "seed": "web"}
    runs = jittered(schedule, 0, 1000 * HOUR, **options)
    assert pairs(runs) == pairs(jittered(schedule, 0, 1000 * HOUR, **options))
    delay = runs.at_ns - runs.tick_ns
    # uniform between 0 and 10 minutes: mean 5 minutes with a deviation of 10 / sqrt(12 * 1000)
    assert abs(delay.mean() - 5 * MINUTE) < 5 * 10 * MINUTE / np.sqrt(12 * runs.tick_ns.size)
    assert runs.max_delay_ns > 9 * MINUTE
    other = jittered(schedule, 0, 1000 * HOUR, jitter_ns=10 * MINUTE, seed="db")
    assert np.mean(other.at_ns[:900] == runs.at_ns[:900]) < 0.01
    assert delay.tolist() == [splitmix("web", tick) % (10 * MINUTE + 1) for tick in runs.tick_ns.tolist()]


def splitmix(seed, tick):
    """Fixed for ever: the run of another version, or on another machine, agrees."""
    bits = tick ^ int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "little")
    bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    bits = (bits ^ bits >> 27) * 0x94D049BB133111EB % 2**64
    return bits ^ bits >> 31


@given(st.sampled_from(TEXTS), st.sampled_from(NIGHTS), st.integers(0, 48 * 60), st.integers(0, HOUR))
def test_next_run(text, zone_night, minute, jitter):
    zone, night = zone_night
    schedule = Schedule.of(text, timezone=zone)
    after = nanoseconds(night) - DAY + minute * MINUTE
    runs = jittered(schedule, after, after + 3 * DAY, jitter_ns=jitter, seed="a").at_ns
    assert next_run(schedule, after, jitter_ns=jitter, seed="a") == runs[runs > after][0]


def test_next_leap_day():
    assert next_run(Schedule.of("0 0 29 2 *"), nanoseconds("2096-03-01T00:00Z")) == nanoseconds(
        "2104-02-29T00:00Z"
    )
    with pytest.raises(PolicyError, match="has no tick after 2116-"):
        next_run(Schedule.of("@yearly"), 2**62 - 1000)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"catch_up": "twice"}, 'catch_up is \'twice\': give "none", "once" or "all"'),
        ({"grace_ns": -1}, "grace is -1ns: give a duration that is not negative"),
        ({"jitter_ns": -MINUTE}, "jitter is -1min: give a duration that is not negative"),
        ({"downtimes": [(HOUR, 0)]}, "downtime from 1970-01-01T01:00:00Z to .* ends before it starts"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(PolicyError, match=message):
        planned(Schedule.of("1h"), 0, DAY, **arguments)
