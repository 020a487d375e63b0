"""zfs-autobackup's thinner restated, against vectors worked out by hand from its rule for blocks.

Every vector says which sentence of the rule decides it.
"""

from datetime import UTC, datetime, timedelta

import pytest

from snapsim.types import Snapshot
from tests.differential.oracles.zfs_autobackup import kept

NOW = "2024-05-15T12:00:00"  # a Wednesday


def nanoseconds(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


def survivors(times, thinner, now=NOW, **attributes):
    """Return the instants (UTC) that survive; `attributes` belong to the first one."""
    snapshots = [
        Snapshot(time_ns=nanoseconds(time), attributes=attributes if n == 0 else {})
        for n, time in enumerate(times)
    ]
    keep = kept(snapshots, {"thinner": thinner}, now_ns=nanoseconds(now))
    return [times[index] for index in sorted(keep)]


def days(first, count, hours=24):
    start = datetime.fromisoformat(first)
    return [f"{start + timedelta(hours=hours * n):%Y-%m-%dT%H:%M:%S}" for n in range(count)]


def test_the_oldest_of_a_block_stays():
    # "ascending (oldest)": blocks of a day begin at midnight UTC; the newest of all is kept besides.
    times = ["2024-05-13T01:00:00", "2024-05-13T23:00:00", "2024-05-14T00:00:00", "2024-05-15T11:00:00"]
    assert survivors(times, "1d1w") == [times[0], times[2], times[3]]


def test_the_age_is_closed():
    # "age <= ttl": exactly a week old is kept, a second older is not.
    times = ["2024-05-08T11:59:59", "2024-05-15T11:00:00"]
    assert survivors(times, "1d1w") == times[1:]
    times[0] = "2024-05-08T12:00:00"
    assert survivors(times, "1d1w") == times


def test_when_the_oldest_of_a_block_expires_the_next_one_takes_the_block():
    # Only those young enough take a block: 11:00 is a week and an hour old, so 13:00 is its block's first.
    times = ["2024-05-08T11:00:00", "2024-05-08T13:00:00", "2024-05-08T15:00:00", "2024-05-15T11:00:00"]
    assert survivors(times, "1d1w") == [times[1], times[3]]


def test_weeks_begin_on_thursday():
    # "epoch-aligned": 2024-05-09 is a Thursday, so the 8th is another block and the 15th is the same one.
    times = ["2024-05-08T12:00:00", "2024-05-09T00:00:00", "2024-05-14T23:00:00", "2024-05-15T11:00:00"]
    assert survivors(times, "1w1m") == [times[0], times[1], times[3]]


def test_a_month_is_thirty_days_from_the_epoch():
    # Blocks of 30 days: day 30 (1970-01-31) begins the second; 1970-03-01 is day 59, still the second.
    times = ["1970-01-30T00:00:00", "1970-01-31T00:00:00", "1970-03-01T23:59:59", "1970-03-02T00:00:00"]
    assert survivors(times, "1m1y", "1970-06-01T00:00:00") == [times[0], times[1], times[3]]


def test_rules_of_one_period_share_their_blocks():
    # "blocks shared by rules with equal p": the second of a day is not kept by the second rule.
    times = [*days("2024-05-13T01:00:00", 4, hours=6), "2024-05-15T11:00:00"]
    assert survivors(times, "1d1w,1d1m") == survivors(times, "1d1m") == [times[0], times[4]]


def test_rules_of_different_periods_do_not():
    # 24h and 1d are the same period; 12h is not: its blocks begin at midnight and noon.
    times = [*days("2024-05-13T01:00:00", 4, hours=6), "2024-05-15T11:00:00"]
    assert survivors(times, "1d1w,24h1w") == [times[0], times[4]]
    assert survivors(times, "1d1w,12h1w") == [times[0], times[2], times[4]]


def test_the_last_ones_are_kept_and_take_their_blocks():
    # "last N always", and every snapshot takes blocks: three of today, of which the first also has the block.
    times = ["2024-05-13T01:00:00", "2024-05-15T08:00:00", "2024-05-15T09:00:00", "2024-05-15T10:00:00"]
    assert survivors(times, "2,1d1w") == times
    assert survivors(times, "2") == times[2:]


def test_with_no_more_than_the_plain_number_nothing_goes():
    # At most N: all are among the last N, also those older than every rule.
    times = days("2020-01-01T00:00:00", 10)
    assert survivors(times, "10,1d1w,1w1m,1m1y") == times
    assert survivors([*times, "2020-01-11T00:00:00"], "10,1d1w,1w1m,1m1y") == [
        *times[1:],
        "2020-01-11T00:00:00",
    ]


def test_the_last_plain_number_wins():
    times = days("2024-05-01T00:00:00", 5)
    assert survivors(times, "4,1s1s,2") == times[3:]


def test_the_newest_and_the_common_one_are_never_thinned():
    # The program hands both to the thinner as kept: "keep nothing" still leaves them.
    times = days("2024-05-01T00:00:00", 5)
    assert survivors(times, "1s1s") == times[4:]
    assert survivors(times, "1s1s", incremental_base=True) == [times[0], times[4]]


def test_one_from_the_future_is_young_enough_for_every_rule():
    # A negative age is below every ttl; it takes a block of its own day.
    times = ["2024-05-16T01:00:00", "2024-05-16T02:00:00", "2024-05-17T01:00:00"]
    assert survivors(times, "1d1w") == [times[0], times[2]]


def test_one_look_differs_from_thinning_every_day():
    # Six-hourly for 60 days: what the daily rule thinned is missing when the weekly one looks for its first.
    series = [Snapshot(time_ns=nanoseconds(time)) for time in days("2024-01-01T06:00:00", 240, hours=6)]
    thinner = {"thinner": "1d1w,1w1m"}
    alive = []
    for snapshot in series:
        alive.append(snapshot)
        alive = [alive[index] for index in sorted(kept(alive, thinner, now_ns=snapshot.time_ns))]
    at_once = [series[index] for index in sorted(kept(series, thinner, now_ns=series[-1].time_ns))]
    assert alive != at_once


def test_no_snapshot_and_one_snapshot():
    assert survivors([], "1d1w") == []
    assert survivors(["2020-01-01T00:00:00"], "1d1w") == ["2020-01-01T00:00:00"]


@pytest.mark.parametrize("thinner", ["1m1w", "daily", "1d", "-1", "1d1w 1w1m"])
def test_texts_that_are_refused(thinner):
    with pytest.raises(ValueError, match=r"longer than the age|neither"):
        survivors(["2024-05-15T11:00:00"], thinner)
