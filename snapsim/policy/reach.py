"""How far back a policy reaches once it has run for long enough."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from snapsim.policy.buckets import BucketSpec, Calendar, CalendarKeys, describe_bucket
from snapsim.policy.retention import Rule
from snapsim.policy.schedule import SAMPLE_START, Schedule
from snapsim.policy.taking import ScheduleClass
from snapsim.units import WEEK


@lru_cache(maxsize=4096)
def reach(
    schedule: Schedule | None,
    rules: tuple[Rule, ...],
    classes: tuple[ScheduleClass, ...] = (),
    *,
    apart_ns: int = 0,
) -> int | None:
    """Return the age up to which snapshots are kept in the steady state.

    Parameters
    ----------
    schedule : Schedule or None
        When snapshots are taken; None by hand.
    rules : tuple of Rule
        Which of them stay.
    classes : tuple of ScheduleClass
        What has a schedule of its own: a rule about some of them counts the snapshots of these only.
    apart_ns : int
        Mean distance of the snapshots, where there are fewer than the schedule asks for.  [ns]

    Returns
    -------
    int or None
        The longest of the rules, each as far as its narrowest condition: a window's length, an age, a
        distance, or a count times the mean distance between the buckets that the schedule fills; None if a
        rule has no end.  Counts of snapshots that only events take are left out where there are others: no
        schedule says how far apart they are.  [ns]
    """
    told = []
    for rule in rules:
        own, irregular = _own_schedule(schedule, rule, classes)
        ends = list(_ends(own, rule, apart_ns))
        if ends:
            told.append(min(ends))
        elif not irregular or rule.count is None:
            return None
    return max(told, default=None if rules else 0)


def _own_schedule(
    schedule: Schedule | None, rule: Rule, classes: tuple[ScheduleClass, ...]
) -> tuple[Schedule | None, bool]:
    """Return the schedule of the snapshots that a rule is about, and whether only events take them."""
    about = [one for one in classes if one.name in (rule.select.classes or ())]
    if not about or rule.select.exclude:
        return schedule, False
    texts = tuple(text for one in about if one.schedule for text in one.schedule.texts)
    if not texts or schedule is None:
        return None, True
    return Schedule(texts, timezone=schedule.timezone), False


def _ends(schedule: Schedule | None, rule: Rule, apart_ns: int) -> Iterator[int]:
    """Yield how far each condition of a rule reaches."""
    if rule.window:
        yield rule.window.length_ns
    if rule.age_ns:
        yield rule.age_ns[1]
    if rule.back is not None:
        yield (rule.back + 1) * describe_bucket(rule.bucket).length_ns
    if rule.count is not None and rule.bucket != "all":
        if schedule is not None:
            yield rule.count * max(_spacing(schedule, rule.bucket), apart_ns)
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
