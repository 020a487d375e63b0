"""How far back a policy reaches once it has run for long enough."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from snapsim.policy.buckets import BucketSpec, Calendar, CalendarKeys, describe_bucket
from snapsim.policy.retention import Rule
from snapsim.policy.schedule import SAMPLE_START, Schedule
from snapsim.units import WEEK


@lru_cache(maxsize=4096)
def reach(schedule: Schedule | None, rules: tuple[Rule, ...]) -> int | None:
    """Return the age up to which snapshots are kept in the steady state.

    Parameters
    ----------
    schedule : Schedule or None
        When snapshots are taken; None by hand.
    rules : tuple of Rule
        Which of them stay.

    Returns
    -------
    int or None
        The longest of the rules, each as far as its narrowest condition: a window's length, an age, a
        distance, or a count times the mean distance between the buckets that the schedule fills; None if a
        rule has no end.  [ns]
    """
    longest = 0
    for rule in rules:
        ends = list(_ends(schedule, rule))
        if not ends:
            return None
        longest = max(longest, min(ends))
    return longest


def _ends(schedule: Schedule | None, rule: Rule) -> Iterator[int]:
    """Yield how far each condition of a rule reaches."""
    if rule.window:
        yield rule.window.length_ns
    if rule.age_ns:
        yield rule.age_ns[1]
    if rule.back is not None:
        yield (rule.back + 1) * describe_bucket(rule.bucket).length_ns
    if rule.count is not None and rule.bucket != "all":
        if schedule is not None:
            yield rule.count * _spacing(schedule, rule.bucket)
        elif rule.bucket != "each":
            yield rule.count * describe_bucket(rule.bucket).length_ns


@lru_cache(maxsize=1024)
def _spacing(schedule: Schedule, bucket: BucketSpec) -> int:
    """Mean distance between the buckets that a schedule fills, counted over a stretch of its ticks."""
    period = schedule.period_ns
    if bucket == "each":
        return period
    span = min(max(8 * WEEK, 64 * period), 100_000 * period)
    ticks = schedule.ticks(SAMPLE_START, SAMPLE_START + span)
    filled = np.unique(CalendarKeys(ticks, Calendar(schedule.timezone)).numbers(bucket)).size
    return max(describe_bucket(bucket).length_ns, span // max(filled, 1))
