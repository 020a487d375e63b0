"""How far back a policy reaches once it has run for long enough."""

from functools import lru_cache

import numpy as np

from snapsim.policy.buckets import BUCKETS, ROWS, CalendarKeys
from snapsim.policy.retention import Rule
from snapsim.policy.schedule import SAMPLE_START, Schedule
from snapsim.units import WEEK


@lru_cache(maxsize=4096)
def reach(schedule: Schedule, rules: tuple[Rule, ...]) -> int | None:
    """Return the age up to which snapshots are kept in the steady state.

    Parameters
    ----------
    schedule : Schedule
        When snapshots are taken.
    rules : tuple of Rule
        Which of them stay.

    Returns
    -------
    int or None
        The longest of the rules: a window's length, or a count times the mean distance between the buckets
        that the schedule fills; None if a rule is unlimited.  [ns]
    """
    longest = 0
    for rule in rules:
        if rule.window:
            longest = max(longest, rule.window.length_ns)
        elif rule.count is None:
            return None
        else:
            longest = max(longest, rule.count * _spacing(schedule, rule.bucket))
    return longest


@lru_cache(maxsize=1024)
def _spacing(schedule: Schedule, bucket: str) -> int:
    """Mean distance between the buckets that a schedule fills, counted over a stretch of its ticks."""
    period = schedule.period_ns
    if bucket == "each":
        return period
    span = min(max(8 * WEEK, 64 * period), 100_000 * period)
    ticks = schedule.ticks(SAMPLE_START, SAMPLE_START + span)
    filled = np.unique(CalendarKeys(ticks, schedule.timezone).table[ROWS[bucket]]).size
    return max(BUCKETS[ROWS[bucket]].length_ns, span // max(filled, 1))
