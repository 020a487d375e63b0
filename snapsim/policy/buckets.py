"""Calendar buckets: the hour, day, week, month, quarter or year that a snapshot belongs to, as integer keys.

Everything calendar happens here, once for a whole array of instants and one time zone.  The rule engine then
compares small integers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from snapsim.policy import zones
from snapsim.types import Int64Array
from snapsim.units import DAY, HOUR, MICROSECOND, WEEK

MONTH = 146_097 * DAY // 4_800
"""Mean length of a month in the Gregorian calendar (400 years are 146,097 days).  [ns]"""
YEAR = 146_097 * DAY // 400
"""Mean length of a year in the Gregorian calendar.  [ns]"""


class Bucket(NamedTuple):
    """A way to divide time.

    Attributes
    ----------
    name : str
        "each" (every snapshot is alone), "hour", "day", "week" (ISO, from Monday), "month", "quarter" or
        "year".
    plural : str
        The word for several of them.
    length_ns : int
        Mean length; 0 for "each".  [ns]
    key : callable
        From local nanoseconds, int64 array, to keys that are equal exactly within one bucket.
    label : callable
        From a local datetime to the bucket's name.
    """

    name: str
    plural: str
    length_ns: int
    key: Callable[[Int64Array], Int64Array]
    label: Callable[[datetime], str]


def _months(local_ns: Int64Array) -> Int64Array:
    """Months since 1970-01."""
    return local_ns.astype("datetime64[ns]").astype("datetime64[M]").astype(np.int64)


def _week_label(when: datetime) -> str:
    year, week, _ = when.isocalendar()
    return f"{year}-W{week:02d}"


BUCKETS = (
    Bucket("each", "snapshots", 0, lambda local: np.arange(local.size), lambda when: f"{when:%F %T}"),
    Bucket("hour", "hours", HOUR, lambda local: local // HOUR, lambda when: f"{when:%Y-%m-%d %H}h"),
    Bucket("day", "days", DAY, lambda local: local // DAY, lambda when: f"{when:%Y-%m-%d}"),
    # 1970-01-01 was a Thursday: three days later in the week than Monday
    Bucket("week", "weeks", WEEK, lambda local: (local // DAY + 3) // 7, _week_label),
    Bucket("month", "months", MONTH, _months, lambda when: f"{when:%Y-%m}"),
    Bucket("quarter", "quarters", 3 * MONTH, lambda local: _months(local) // 3,
           lambda when: f"{when:%Y}-Q{(when.month + 2) // 3}"),
    Bucket("year", "years", YEAR, lambda local: _months(local) // 12, lambda when: f"{when:%Y}"),
)  # fmt: skip

ROWS = {bucket.name: row for row, bucket in enumerate(BUCKETS)}
"""Row of each bucket in `CalendarKeys.table`."""


@dataclass(frozen=True, eq=False)
class CalendarKeys:
    """The bucket of every instant, prepared once and shared by every policy in the same time zone.

    Attributes
    ----------
    time_ns : int64 array, shape (n,)
        Instants, UTC, ascending (equal ones are allowed).  [ns]
    timezone : str
        IANA name of the zone.
    """

    time_ns: Int64Array
    timezone: str

    @cached_property
    def table(self) -> npt.NDArray[np.int32]:
        """Dense keys, int32, shape (n_buckets, n): equal within one bucket, below n; rows as in `ROWS`."""
        local = zones.to_local(self.timezone, self.time_ns)
        table = np.empty((len(BUCKETS), local.size), dtype=np.int32)
        for row, bucket in enumerate(BUCKETS):
            table[row] = np.unique(bucket.key(local), return_inverse=True)[1]
        table.flags.writeable = False
        return table


@lru_cache(maxsize=32)
def _shared(instants: bytes, timezone: str) -> CalendarKeys:
    return CalendarKeys(np.frombuffer(instants, dtype=np.int64), timezone)


def shared_keys(time_ns: Int64Array, timezone: str) -> CalendarKeys:
    """Return the keys of an array of instants, computed once for as long as the same instants are asked for.

    Parameters
    ----------
    time_ns : int64 array, shape (n,)
        Instants, UTC, ascending.  [ns]
    timezone : str
        IANA name of the zone.

    Returns
    -------
    CalendarKeys
        The same object for equal instants and zone.
    """
    return _shared(np.ascontiguousarray(time_ns, dtype=np.int64).tobytes(), timezone)


def local_datetime(time_ns: int, timezone: str) -> datetime:
    """Return what the wall clock shows, to the microsecond.

    Parameters
    ----------
    time_ns : int
        Instant, UTC.  [ns]
    timezone : str
        IANA name of the zone.

    Returns
    -------
    datetime
        Time-zone aware.
    """
    return (zones.EPOCH + timedelta(microseconds=time_ns // MICROSECOND)).astimezone(zones.zone(timezone))
