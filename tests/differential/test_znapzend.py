"""znapzend restated, against vectors worked out by hand from its rule for levels and slots.

znapzend is not packaged, so every vector says which sentence of the rule decides it.
"""

from datetime import UTC, datetime, timedelta

import pytest

from snapsim.types import Snapshot
from tests.differential.oracles.znapzend import kept


def survivors(times, plan, now, *, timezone="UTC", **attributes):
    """Return the instants (UTC) that survive; `attributes` belong to the first one."""
    snapshots = [
        Snapshot(time_ns=nanoseconds(time), attributes=attributes if n == 0 else {})
        for n, time in enumerate(times)
    ]
    keep = kept(snapshots, {"plan": plan}, now_ns=nanoseconds(now), timezone=timezone)
    return [times[index] for index in sorted(keep)]


def nanoseconds(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


def days(first, count, hours=24):
    start = datetime.fromisoformat(first)
    return [f"{start + timedelta(hours=hours * n):%Y-%m-%dT%H:%M}" for n in range(count)]


def test_the_first_of_a_slot_stays():
    # "ascending, first (oldest) in slot wins": slots of an hour begin at the full hour.
    times = ["2024-05-15T10:10", "2024-05-15T10:50", "2024-05-15T11:00"]
    assert survivors(times, "1d=>1h", "2024-05-15T12:00") == [times[0], times[2]]


def test_an_age_equal_to_the_level_still_belongs_to_it():
    # "level = smallest ret >= age": exactly a day old is in 1d; a second more is older than the largest.
    times = ["2024-05-14T11:59:59", "2024-05-14T12:00:00"]
    assert survivors(times, "1d=>1h", "2024-05-15T12:00:00") == times[1:]


def test_seven_days_are_eight_slots_in_the_middle_of_a_day():
    # Slots begin at midnight, ages are counted from noon: the eighth slot reaches into the seventh day.
    times = days("2024-05-07T13:00", 8)
    assert survivors(times, "7d=>1d", "2024-05-15T12:00") == [*times[1:]]
    times = days("2024-05-08T12:00", 8)
    assert survivors(times, "7d=>1d", "2024-05-15T12:00") == times


def test_levels_count_their_slots_apart():
    # "floor within that level": the day 05-14 is cut at 24 h of age; both parts keep their first.
    times = ["2024-05-14T06:00", "2024-05-14T09:00", "2024-05-14T18:00", "2024-05-14T19:00"]
    kept_ones = survivors(times, "1d=>12h,7d=>1d", "2024-05-15T12:00")
    # Older than a day: 06:00 and 09:00, the first of them; within it: 18:00 as the first of its half day.
    assert kept_ones == ["2024-05-14T06:00", "2024-05-14T18:00"]


def test_a_gap_opens_where_a_snapshot_grows_into_a_coarser_level():
    # The finer level kept 11:00 (first of its slot); in the coarse level 09:00 takes the day's slot first.
    times = ["2024-05-14T09:00", "2024-05-14T11:00", "2024-05-15T11:30"]
    assert survivors(times, "1h=>1h,7d=>1d", "2024-05-15T12:00") == ["2024-05-14T09:00", "2024-05-15T11:30"]


def test_weeks_begin_on_thursday():
    # "slot = floor(wallclock/interval)", and the epoch was a Thursday: Wednesday and Thursday are two slots,
    # Thursday to Wednesday is one.  2024-05-16 is a Thursday.
    times = ["2024-05-15T12:00", "2024-05-16T12:00", "2024-05-22T12:00"]
    assert survivors(times, "1y=>1w", "2024-06-01T00:00") == times[:2]


def test_a_month_is_thirty_days_from_the_epoch():
    # 30-day slots: 1970-01-31 begins the second one.  So the 30th and 31st of January 1970 are two, and the
    # 31st and the 1st of March (day 59) are one.
    times = ["1970-01-30T12:00", "1970-01-31T12:00", "1970-03-01T12:00"]
    assert survivors(times, "1y=>1month", "1970-06-01T00:00") == times[:2]


def test_days_are_those_of_the_wall():
    # "wallclock-as-epoch": 22:30 UTC is 00:30 of the next day in Berlin's summer.
    times = ["2024-05-14T21:30", "2024-05-14T22:30"]
    assert survivors(times, "7d=>1d", "2024-05-15T12:00", timezone="UTC") == times[:1]
    assert survivors(times, "7d=>1d", "2024-05-15T12:00", timezone="Europe/Berlin") == times


def test_the_hour_shown_twice_is_one_slot():
    # 00:30 and 01:30 UTC are both 02:30 on the wall of 2024-10-27.
    times = ["2024-10-27T00:30", "2024-10-27T01:30"]
    assert survivors(times, "7d=>1h", "2024-10-27T12:00", timezone="Europe/Berlin") == times[:1]
    assert survivors(times, "7d=>1h", "2024-10-27T12:00", timezone="UTC") == times


def test_ages_are_differences_of_the_wall():
    # Berlin's 2024-03-31 had 23 hours: 23 h of UTC are 24 h on the wall, so 1d ends an hour earlier.
    times = ["2024-03-30T12:59", "2024-03-30T13:00"]
    assert survivors(times, "1d=>1min", "2024-03-31T12:00", timezone="Europe/Berlin") == times[1:]
    assert survivors(times, "1d=>1min", "2024-03-31T12:00", timezone="UTC") == times


def test_the_snapshot_of_this_very_second_stays():
    # "stamp == now never dies", though the slot is taken.
    times = ["2024-05-15T12:10:00", "2024-05-15T12:20:00"]
    assert survivors(times, "1d=>1h", "2024-05-15T12:20:00") == times
    assert survivors(times, "1d=>1h", "2024-05-15T12:20:01") == times[:1]


def test_the_newest_common_one_stays_whatever_its_age():
    # "newest-common never dies", here older than every level.
    times = ["2023-01-01T00:00", "2024-05-15T11:00"]
    assert survivors(times, "7d=>1d", "2024-05-15T12:00", incremental_base=True) == times
    assert survivors(times, "7d=>1d", "2024-05-15T12:00") == times[1:]


def test_one_from_the_future_is_in_the_finest_level():
    # A negative age is below every level: the smallest one takes it.
    times = ["2024-05-15T13:10", "2024-05-15T13:20", "2024-05-15T14:00"]
    assert survivors(times, "1d=>1h,7d=>1d", "2024-05-15T12:00") == [times[0], times[2]]


def test_a_year_is_365_and_a_quarter_days():
    # Until 1y: 365 d 6 h old stays, a second older goes.
    times = ["2023-05-15T05:59:59", "2023-05-15T06:00:00"]
    assert survivors(times, "1y=>1s", "2024-05-14T12:00:00") == times[1:]


def test_a_machine_that_was_off_comes_back_with_little():
    # Levels are ages from now, not counts of what exists: after nine days off, 7d keeps nothing.
    assert survivors(days("2024-05-01T12:00", 5), "7d=>1d", "2024-05-14T13:00") == []


def test_no_snapshot():
    assert survivors([], "7d=>1d", "2024-05-15T12:00") == []


@pytest.mark.parametrize("plan", ["", "7d", "7d=>", "0d=>1h", "7x=>1h", "7d=1h"])
def test_plans_that_are_refused(plan):
    with pytest.raises(ValueError, match="no length of time"):
        survivors(["2024-05-15T11:00"], plan, "2024-05-15T12:00")
