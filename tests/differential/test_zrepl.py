"""zrepl restated, against vectors worked out by hand from the rules as zrepl's documentation states them.

zrepl is not packaged, so every vector says which rule decides it.
"""

from datetime import UTC, datetime

import pytest

from snapsim.types import Snapshot
from tests.differential.oracles.wall import DAY, HOUR, MINUTE
from tests.differential.oracles.zrepl import kept

ZERO = int(datetime(2024, 3, 31, 12, tzinfo=UTC).timestamp())


def grid(text, regex="^zrepl_"):
    return {"type": "grid", "grid": text, "regex": regex}


def last_n(count, regex="^zrepl_"):
    return {"type": "last_n", "count": count, "regex": regex}


def survivors(ages, *rules, prefix="zrepl_", now=ZERO):
    """Return the ages [s behind the zero] that survive."""
    snapshots = [Snapshot(time_ns=(ZERO - age) * 10**9, name=f"{prefix}{n:03}") for n, age in enumerate(ages)]
    return [ages[index] for index in sorted(kept(snapshots, {"keep": rules}, now_ns=now * 10**9))]


def test_a_window_keeps_its_oldest():
    # "in each window keep the k oldest": of 0, 20 and 40 minutes in the one hour, 40.
    assert survivors([0, 20 * MINUTE, 40 * MINUTE], grid("1x1h")) == [40 * MINUTE]


def test_the_newest_is_destroyed_when_a_second_one_is_within_its_window():
    # The same rule: the newest is the zero, and no exception.  Jitter of a minute is enough.
    assert survivors([0, 59 * MINUTE, 2 * HOUR], grid("24x1h")) == [59 * MINUTE, 2 * HOUR]


def test_keep_all_or_last_n_saves_the_newest():
    # "keep=all" keeps every entry of the window; a snapshot survives if any rule keeps it.
    ages = [0, 59 * MINUTE, 2 * HOUR]
    assert survivors(ages, grid("1x1h(keep=all) | 24x1h")) == ages
    assert survivors(ages, grid("24x1h"), last_n(1)) == ages


def test_a_window_is_closed_at_its_young_end_and_open_at_its_old_one():
    # "window i = (edge_i+1, edge_i]": exactly one hour behind the zero is the first instant of window 1, so 0
    # is alone in window 0; a second less than that is in window 0 and, being older, replaces 0.
    assert survivors([0, HOUR], grid("2x1h")) == [0, HOUR]
    assert survivors([0, HOUR - 1], grid("2x1h")) == [HOUR - 1]


def test_what_is_older_than_the_last_window_is_destroyed():
    # "beyond the last window: destroy"; its far end is open, so exactly 3 days is beyond 3x1d.
    assert survivors([0, 2 * DAY, 3 * DAY - 1, 3 * DAY, 4 * DAY], grid("3x1d")) == [0, 3 * DAY - 1]


def test_the_zero_is_the_newest_matching_snapshot_not_now():
    # "edges run back from the newest matching snapshot": a month of silence destroys nothing.
    ages = [0, DAY, 2 * DAY]
    assert survivors(ages, grid("3x1d"), now=ZERO + 30 * DAY) == ages


def test_windows_that_hold_nothing_are_used_up():
    # Windows are lengths of time, not counts: three empty days in the middle are three windows gone.
    assert survivors([0, 4 * DAY, 5 * DAY], grid("5x1d")) == [0, 4 * DAY]


def test_keep_two_keeps_the_two_oldest_of_each_window():
    # "keep the k oldest", k = 2, in both windows.
    ages = [0, 1 * HOUR, 2 * HOUR, 25 * HOUR, 26 * HOUR, 27 * HOUR]
    assert survivors(ages, grid("2x1d(keep=2)")) == [1 * HOUR, 2 * HOUR, 26 * HOUR, 27 * HOUR]


def test_levels_follow_each_other_without_a_gap():
    # 2x1h covers (-2 h, 0], 2x1d goes on at -2 h: (-26 h, -2 h] and (-50 h, -26 h].
    ages = [0, HOUR, 2 * HOUR, 25 * HOUR, 26 * HOUR, 49 * HOUR, 50 * HOUR]
    assert survivors(ages, grid("2x1h | 2x1d")) == [0, HOUR, 25 * HOUR, 49 * HOUR]


def test_daylight_saving_makes_no_day_longer():
    # A day is 24 hours of UTC: 24 h before noon on the day that Berlin made 23 hours long is in window 1.
    assert survivors([0, 23 * HOUR, 24 * HOUR], grid("2x1d")) == [23 * HOUR, 24 * HOUR]


def test_foreign_names_are_destroyed_unless_another_rule_keeps_them():
    # "a snapshot is destroyed iff every rule lists it", and a rule lists what does not match its expression.
    foreign = {"type": "regex", "regex": "^zrepl_", "negate": True}
    assert survivors([0, DAY], grid("9x1d"), prefix="manual_") == []
    assert survivors([0, DAY], grid("9x1d"), foreign, prefix="manual_") == [0, DAY]


def test_last_n_takes_the_last_name_of_equal_times():
    # "ties: name descending": of zrepl_000 and zrepl_001 at one instant the latter counts as newer.
    twins = [Snapshot(time_ns=ZERO * 10**9, name=f"zrepl_00{n}") for n in range(2)]
    assert kept(twins, {"keep": [last_n(1)]}, now_ns=ZERO * 10**9) == {1}


def test_last_n_beyond_what_there_is_still_destroys_foreign_names():
    # The list of those that do not match is destroyed whatever the count (up to 0.6 it was not).
    snapshots = [Snapshot(time_ns=ZERO * 10**9, name=name) for name in ("zrepl_1", "manual")]
    assert kept(snapshots, {"keep": [last_n(9)]}, now_ns=ZERO * 10**9) == {0}


def test_what_is_not_replicated_is_kept():
    # not_replicated lists only replicated ones.
    half = [Snapshot(time_ns=n, name=f"zrepl_{n}", attributes={"replicated": n > 1}) for n in (1, 2)]
    assert kept(half, {"keep": [{"type": "not_replicated"}]}, now_ns=9) == {0}


def test_an_empty_list_of_rules_keeps_everything():
    # "rule list empty = keep all".
    assert survivors([0, 400 * DAY]) == [0, 400 * DAY]


def test_no_snapshot_and_one_snapshot():
    # Without a matching one there is no zero; a single one is the oldest of its window.
    assert survivors([], grid("1x1h")) == []
    assert survivors([5], grid("1x1h")) == [5]


def test_one_look_differs_from_pruning_every_day():
    # The windows move with the newest: an hourly series, pruned after each snapshot, against one look.
    series = [Snapshot(time_ns=hour * HOUR * 10**9, name=f"zrepl_{hour:04}") for hour in range(200)]
    rules = {"keep": [grid("1x12h(keep=all) | 3x1d")]}
    alive = []
    for snapshot in series:
        alive.append(snapshot)
        alive = [alive[index] for index in sorted(kept(alive, rules, now_ns=snapshot.time_ns))]
    at_once = [series[index] for index in sorted(kept(series, rules, now_ns=series[-1].time_ns))]
    # One look: hours 188..199, then the oldest of (163, 187], (139, 163], (115, 139].
    assert [s.time_ns // (HOUR * 10**9) for s in at_once] == [116, 140, 164, *range(188, 200)]
    assert alive != at_once


@pytest.mark.parametrize("text", ["1x1d | 24x1h", "1x1h(keep=0)", "1h", "1x1m30s", ""])
def test_grids_that_are_refused(text):
    # "config error if lengths decrease (unless all previous keep=all)"; the others are no grids.
    with pytest.raises(ValueError, match=r"shorter|nothing|no interval"):
        survivors([0], grid(text))


def test_lengths_may_decrease_after_keep_all():
    # The exception in the rule above.
    assert survivors([0, HOUR], grid("1x1d(keep=all) | 24x1h")) == [0, HOUR]
