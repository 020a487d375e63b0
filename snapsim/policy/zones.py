"""Wall clocks: UTC instants to local time and back, for whole arrays.

`zoneinfo` answers for one datetime at a time.  Between two transitions a zone is only an offset, so a short
table of transitions turns the question into one `searchsorted`.

"Local nanoseconds" are what a wall clock shows, counted as if it were UTC: 1970-01-01T00:00 local is 0.
"""

from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from snapsim.errors import PolicyError
from snapsim.types import Int64Array
from snapsim.units import DAY, SECOND

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FAR = np.iinfo(np.int64).max
_DAY_SECONDS = 86_400
_SPAN_DAYS = 366
_FIRST_SECOND, _LAST_SECOND = (
    -9_223_200_000,
    9_223_200_000,
)  # what int64 nanoseconds hold, less a day on either side


class Offsets(NamedTuple):
    """The stretches of time in which a zone's clock keeps one distance to UTC.

    Attributes
    ----------
    start_ns : int64 array, shape (n_stretches,)
        First nanosecond of each stretch, UTC, ascending.  [ns]
    offset_ns : int64 array, shape (n_stretches,)
        Local time minus UTC.  [ns]
    """

    start_ns: Int64Array
    offset_ns: Int64Array

    @property
    def stop_ns(self) -> Int64Array:
        """End of each stretch, UTC; the last one is open."""
        return np.append(self.start_ns[1:], _FAR)


def zone(name: str) -> tzinfo:
    """Return a time zone by its IANA name.

    Parameters
    ----------
    name : str
        For example "Europe/Berlin" or "UTC".

    Returns
    -------
    tzinfo
        The zone.

    Raises
    ------
    PolicyError
        There is no such zone.
    """
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError, TypeError, AttributeError):
        msg = f'timezone {name!r} is not known: give an IANA name such as "UTC" or "Europe/Berlin"'
        raise PolicyError(msg) from None


def offsets(name: str, start_ns: int, stop_ns: int) -> Offsets:
    """Return a zone's offsets over a span of time.

    Parameters
    ----------
    name : str
        IANA name of the zone.
    start_ns, stop_ns : int
        The span, UTC; the table covers at least a year more on either side.  [ns]

    Returns
    -------
    Offsets
        At least one stretch.
    """
    if name == "UTC":
        return Offsets(np.array([-_FAR]), np.array([0]))
    first = start_ns // DAY // _SPAN_DAYS - 1
    last = -(-stop_ns // DAY // _SPAN_DAYS) + 1
    return _offsets(name, first * _SPAN_DAYS * _DAY_SECONDS, last * _SPAN_DAYS * _DAY_SECONDS)


@lru_cache(maxsize=64)
def _offsets(name: str, start: int, stop: int) -> Offsets:
    """Look at the zone once a day, and where the offset differs from the day before, bisect to the second."""
    clock = zone(name)
    start, stop = max(start, _FIRST_SECOND), min(stop, _LAST_SECOND)
    starts, values = [-_FAR], [_offset_at(clock, start)]
    for day in range(start, stop, _DAY_SECONDS):
        low, high = day, day + _DAY_SECONDS
        after = _offset_at(clock, high)
        while after != values[-1]:  # the zone may have changed twice since yesterday
            while high - low > 1:
                middle = (low + high) // 2
                if _offset_at(clock, middle) == values[-1]:
                    low = middle
                else:
                    high = middle
            starts.append(high * SECOND)
            values.append(_offset_at(clock, high))
            low, high = high, day + _DAY_SECONDS
    return Offsets(np.array(starts, dtype=np.int64), np.array(values, dtype=np.int64) * SECOND)


def _offset_at(clock: tzinfo, second: int) -> int:
    offset = (EPOCH + timedelta(seconds=second)).astimezone(clock).utcoffset()
    return round(offset.total_seconds()) if offset is not None else 0


def to_local(name: str, time_ns: Int64Array) -> Int64Array:
    """Turn UTC instants into what a zone's wall clock shows.

    Parameters
    ----------
    name : str
        IANA name of the zone.
    time_ns : int64 array, shape (n,)
        Instants, UTC.  [ns]

    Returns
    -------
    int64 array, shape (n,)
        Local nanoseconds.  [ns]
    """
    if name == "UTC" or not time_ns.size:
        return time_ns
    table = offsets(name, int(time_ns.min()), int(time_ns.max()))
    return time_ns + table.offset_ns[np.searchsorted(table.start_ns, time_ns, side="right") - 1]


def from_local(name: str, local_ns: Int64Array) -> Int64Array:
    """Turn wall clock times into UTC instants.

    A time that the clock shows twice (it was put back) is its first showing; a time that it never shows (it
    was put forward) is the moment right after the jump.  This is what Debian's cron does with jobs at a fixed
    time.

    Parameters
    ----------
    name : str
        IANA name of the zone.
    local_ns : int64 array, shape (n,)
        Local nanoseconds.  [ns]

    Returns
    -------
    int64 array, shape (n,)
        Instants, UTC.  [ns]
    """
    if name == "UTC" or not local_ns.size:
        return local_ns
    table = offsets(name, int(local_ns.min()), int(local_ns.max()))
    local_stop: Int64Array = np.append(table.start_ns[1:] + table.offset_ns[:-1], _FAR)
    # After the clock was put back by more than the stretch was long, a later stretch could end earlier on the
    # wall clock.
    local_stop = np.maximum.accumulate(local_stop)
    stretch = np.searchsorted(local_stop, local_ns, side="right")
    instants: Int64Array = np.maximum(local_ns - table.offset_ns[stretch], table.start_ns[stretch])
    return instants
