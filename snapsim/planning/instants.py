"""The instants at which a snapshot could be taken: from an interval, from schedules, or given."""

from collections.abc import Iterable, Sequence
from numbers import Integral

import numpy as np
import pandas as pd

from snapsim.errors import SnapsimError, UsageError
from snapsim.policy.policy import Policy
from snapsim.policy.schedule import Schedule
from snapsim.traces.arrays import unix_ns
from snapsim.types import Int64Array
from snapsim.units import DAY, MILLISECOND, format_duration, parse_duration

__all__ = ["Schedules", "among", "from_schedules", "given", "regular"]

Schedules = str | Schedule | Policy | Sequence[str | Schedule | Policy]
"""One schedule or several: text, `Schedule` values, or policies, whose schedules are taken."""

_MOST_INSTANTS = 1_000_000
_LONGEST_SEARCH = 64 * 366 * DAY
_SHORTEST_SEARCH = MILLISECOND  # a day of a fine schedule would be millions of ticks, of which one is wanted


def regular(every: int | str, *, start_ns: int, last_ns: int) -> Int64Array:
    """Return the multiples of an interval that enclose a trace.

    Parameters
    ----------
    every : int or str
        Nanoseconds, or text such as "1h".
    start_ns, last_ns : int
        The trace's start and its last request, since the Unix epoch.  [ns]

    Returns
    -------
    int64 array, shape (n_instants,)
        From the largest multiple that is not after the start to the first one after the last request.  [ns]

    Raises
    ------
    UsageError
        The interval is zero, or so short that there are too many instants.

    Examples
    --------
    >>> regular(10, start_ns=12, last_ns=30).tolist()
    [10, 20, 30, 40]
    """
    step = parse_duration(every)
    if step == 0:
        msg = f'every={every!r} is no interval: write it like "15min" or "1h"'
        raise UsageError(msg)
    first = start_ns // step * step
    last = (max(last_ns, start_ns) // step + 1) * step
    if (last - first) // step >= _MOST_INSTANTS:
        msg = (
            f"every={format_duration(step)} gives {(last - first) // step:,} instants over "
            f"{format_duration(last - first)}: choose a longer interval"
        )
        raise UsageError(msg)
    # not arange(first, last + 1, step): it counts in floating point and loses the last one of a long trace
    return first + step * np.arange((last - first) // step + 1, dtype=np.int64)


def from_schedules(schedules: Schedules, *, start_ns: int, last_ns: int, timezone: str = "UTC") -> Int64Array:
    """Return the calendar ticks of schedules that enclose a trace.

    Parameters
    ----------
    schedules : str, Schedule, Policy, or sequence of them
        Their union is taken.
    start_ns, last_ns : int
        The trace's start and its last request, since the Unix epoch.  [ns]
    timezone : str
        Zone of the schedules that are given as text.

    Returns
    -------
    int64 array, shape (n_instants,)
        From the last tick that is not after the start to the first one after the last request.  [ns]

    Raises
    ------
    UsageError
        There is no schedule, or one never comes true near the trace.
    """
    parts = [_schedule(item, timezone) for item in _sequence(schedules)]
    if not parts:
        msg = 'schedules is empty: give at least one, such as "@hourly"'
        raise UsageError(msg)

    def ticks(start: int, stop: int) -> Int64Array:
        return np.unique(np.concatenate([part.ticks(start, stop) for part in parts]))

    inside = ticks(start_ns + 1, last_ns + 1)
    span = _SHORTEST_SEARCH
    while not len(before := ticks(start_ns - span, start_ns + 1)) and span < _LONGEST_SEARCH:
        span *= 4
    span = _SHORTEST_SEARCH
    while not len(after := ticks(max(last_ns, start_ns) + 1, last_ns + 1 + span)) and span < _LONGEST_SEARCH:
        span *= 4
    if not len(before) or not len(after):
        msg = f"schedules {', '.join(map(str, parts))} have no tick within 64 years of the trace"
        raise UsageError(msg)
    return np.concatenate((before[-1:], inside, after[:1]))


def given(instants: Int64Array | pd.DatetimeIndex | Iterable[object]) -> Int64Array:
    """Return instants that the caller chose.

    Parameters
    ----------
    instants : DatetimeIndex, or array_like of int, text or datetime
        Whole numbers are nanoseconds since the Unix epoch; points in time without a zone are UTC.

    Returns
    -------
    int64 array, shape (n_instants,)
        Since the Unix epoch, UTC.  [ns]

    Raises
    ------
    UsageError
        They are not increasing, there is none, or one cannot be read.
    """
    if isinstance(instants, str) or not isinstance(instants, Iterable):
        msg = f"instants is {instants!r}: give several points in time, in a list or an array"
        raise UsageError(msg)
    if isinstance(instants, pd.DatetimeIndex) and instants.hasnans:
        msg = "instants hold a missing point in time"
        raise UsageError(msg)
    if isinstance(instants, pd.DatetimeIndex):
        values: object = instants.as_unit("ns").asi8
    elif isinstance(instants, np.ndarray) and instants.dtype.kind in "iu":
        values = instants
    else:
        values = [value if isinstance(value, Integral) else _point(value) for value in instants]
    whole = np.asarray(values)
    if whole.dtype.kind not in "iu" and whole.size:
        msg = "instants must be whole nanoseconds or points in time"
        raise UsageError(msg)
    if whole.size and whole.dtype.kind == "u" and int(whole.max()) >= 1 << 63:
        msg = "instants must fit into 63 bits"
        raise UsageError(msg)
    result = whole.astype(np.int64).reshape(-1)
    if not len(result) or np.any(np.diff(result) <= 0):
        msg = "instants must be increasing, and at least one"
        raise UsageError(msg)
    return result


def among(own: Int64Array, asked: Int64Array) -> Int64Array:
    """Return which instants of those that there are stand for those that were asked for.

    Parameters
    ----------
    own : int64 array, shape (n_own,)
        The instants that there are, increasing.  [ns]
    asked : int64 array, shape (n_asked,)
        [ns]

    Returns
    -------
    int64 array, shape (n_instants,)
        The first one not before each that was asked for; and always the first and the last that there are, so
        that nothing which is known is left out.  [ns]

    Examples
    --------
    >>> among(np.array([1, 4, 9, 11, 13]), np.array([0, 5, 7, 10])).tolist()
    [1, 9, 11, 13]
    """
    place = np.searchsorted(own, asked)
    chosen: Int64Array = own[np.unique(np.concatenate((place[place < len(own)], [0, len(own) - 1])))]
    return chosen


def _sequence(schedules: Schedules) -> Sequence[str | Schedule | Policy]:
    return [schedules] if isinstance(schedules, str | Schedule | Policy) else list(schedules)


def _schedule(item: str | Schedule | Policy, timezone: str) -> Schedule:
    if isinstance(item, Policy):
        if item.schedule is None:
            msg = f"policy {item.name!r} has no schedule, so that it gives no instants: give it one, or every"
            raise UsageError(msg)
        return item.schedule
    return item if isinstance(item, Schedule) else Schedule.of(item, timezone=timezone)


def _point(value: object) -> int:
    if isinstance(value, float | np.floating):
        msg = f"instant {value!r} is not a whole number of nanoseconds: points in time need every digit"
        raise UsageError(msg)
    try:
        return unix_ns(value)  # type: ignore[arg-type]
    except SnapsimError as error:
        msg = f"instant {value!r} cannot be read: {error}"
        raise UsageError(msg) from None
