"""Calendar buckets: the hour, day, week, month, ... that a snapshot belongs to, as integer keys.

Everything calendar happens here, once for a whole array of instants and one calendar.  The rule engine then
compares small integers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from snapsim.policy import zones
from snapsim.types import Int64Array
from snapsim.units import DAY, HOUR, MICROSECOND, MINUTE, SECOND, WEEK, format_duration

MONTH = 146_097 * DAY // 4_800
"""Mean length of a month in the Gregorian calendar (400 years are 146,097 days).  [ns]"""
YEAR = 146_097 * DAY // 400
"""Mean length of a year in the Gregorian calendar.  [ns]"""
AnyArray = TypeVar("AnyArray", Int64Array, npt.NDArray[np.int32])
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
RECORDED = "recorded"
"""Instead of a time zone: each snapshot's own offset, as it was recorded when the snapshot was taken."""


@dataclass(frozen=True)
class Calendar:
    """Whose wall clock counts, and where its days, weeks and months begin.

    Attributes
    ----------
    timezone : str
        IANA name of the zone, or "recorded".
    week_start : int
        First day of a week, 0 for Monday.
    day_start_ns : int
        How long after midnight a day begins.  [ns]
    months_follow_weeks : bool
        A month (and a quarter, a year) begins with the first week that begins in it.
    """

    timezone: str = "UTC"
    week_start: int = 0
    day_start_ns: int = 0
    months_follow_weeks: bool = False

    @property
    def zone(self) -> str:
        """The zone in which times are shown and windows are counted."""
        return "UTC" if self.timezone == RECORDED else self.timezone

    def local(self, time_ns: Int64Array, offset_ns: Int64Array | None = None) -> Int64Array:
        """Return what the wall clock shows.

        Parameters
        ----------
        time_ns : int64 array, shape (n,)
            Instants, UTC.  [ns]
        offset_ns : int64 array, shape (n,), optional
            Recorded distance to UTC of each.  [ns]

        Returns
        -------
        int64 array, shape (n,)
            Local nanoseconds.  [ns]
        """
        if self.timezone == RECORDED:
            return time_ns if offset_ns is None else time_ns + offset_ns
        return zones.to_local(self.timezone, time_ns)

    def days(self, local_ns: Int64Array) -> Int64Array:
        """Number the days."""
        return (local_ns - self.day_start_ns) // DAY

    def weeks(self, local_ns: Int64Array) -> Int64Array:
        """Number the weeks."""
        # 1970-01-01 was a Thursday: three days later in the week than Monday
        return (self.days(local_ns) + 3 - self.week_start) // 7

    def months(self, local_ns: Int64Array) -> Int64Array:
        """Number the months."""
        days = self.days(local_ns)
        if self.months_follow_weeks:
            # as btrbk does: so many days before the date as its day is into the week, although the date is
            # one ahead of the day before the hour at which days begin
            first = self.weeks(local_ns) * 7 - 3 + self.week_start
            days = first + local_ns // DAY - days
        months: Int64Array = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
        return months

    def weeks13(self, local_ns: Int64Array) -> Int64Array:
        """Number the stretches of thirteen ISO weeks; the last of a year has fourteen if there are 53."""
        monday = self.weeks(local_ns) * 7 - 3 + self.week_start
        iso_year = (monday + 3).astype("datetime64[D]").astype("datetime64[Y]")
        # the week that holds 4 January is the first
        first = (iso_year.astype("datetime64[D]").astype(np.int64) + 3 + 3 - self.week_start) // 7
        parts: Int64Array = iso_year.astype(np.int64) * 4 + np.minimum(
            (self.weeks(local_ns) - first) // 13, 3
        )
        return parts


class Bucket(NamedTuple):
    """A way to divide time.

    Attributes
    ----------
    name : str
        "each" (every snapshot is alone), "all" (one bucket), "second", "minute", "hour", "day", "week", ...
    plural : str
        The word for several of them.
    length_ns : int
        Mean length; 0 for "each" and "all".  [ns]
    key : callable
        From a calendar and local nanoseconds, int64 array, to numbers that are equal exactly within one
        bucket and consecutive from one bucket to the next.
    label : callable
        From a local datetime to the bucket's name.
    """

    name: str
    plural: str
    length_ns: int
    key: Callable[[Calendar, Int64Array], Int64Array]
    label: Callable[[datetime], str]


def _week_label(when: datetime) -> str:
    year, week, _ = when.isocalendar()
    return f"{year}-W{week:02d}"


BUCKETS = (
    Bucket("each", "snapshots", 0, lambda _, local: np.arange(local.size), lambda when: f"{when:%F %T}"),
    Bucket("all", "snapshots", 0, lambda _, local: np.zeros(local.size, np.int64), lambda _: "everything"),
    Bucket("second", "seconds", SECOND, lambda _, local: local // SECOND, lambda when: f"{when:%F %T}"),
    Bucket("minute", "minutes", MINUTE, lambda _, local: local // MINUTE, lambda when: f"{when:%F %H:%M}"),
    Bucket("hour", "hours", HOUR, lambda _, local: local // HOUR, lambda when: f"{when:%Y-%m-%d %H}h"),
    Bucket("day", "days", DAY, Calendar.days, lambda when: f"{when:%Y-%m-%d}"),
    Bucket("week", "weeks", WEEK, Calendar.weeks, _week_label),
    Bucket("month", "months", MONTH, Calendar.months, lambda when: f"{when:%Y-%m}"),
    Bucket("week13", "stretches of 13 weeks", 13 * WEEK, Calendar.weeks13,
           lambda when: f"the 13 weeks around {when:%F}"),
    Bucket("quarter", "quarters", 3 * MONTH, lambda calendar, local: calendar.months(local) // 3,
           lambda when: f"{when:%Y}-Q{(when.month + 2) // 3}"),
    Bucket("year", "years", YEAR, lambda calendar, local: calendar.months(local) // 12,
           lambda when: f"{when:%Y}"),
)  # fmt: skip

BY_NAME = {bucket.name: bucket for bucket in BUCKETS}
"""Every calendar bucket by its name."""

Align = Literal["epoch", "wall", "reference"]


@dataclass(frozen=True)
class Every:
    """Buckets of one fixed length.

    Attributes
    ----------
    every_ns : int
        The length.  [ns]
    align : {"epoch", "wall", "reference"}
        They are counted from the Unix epoch, from midnight of 1970-01-01 on the wall clock, or back from the
        reference of the decision (a bucket then ends at the reference and does not hold its own beginning).
    """

    every_ns: int
    align: Align = "epoch"

    def __str__(self) -> str:
        return f"{format_duration(self.every_ns)} ({self.align})"


BucketSpec = str | Every
"""The name of a calendar bucket, or buckets of a fixed length."""


def describe_bucket(spec: BucketSpec) -> Bucket:
    """Return the words for a bucket.

    Parameters
    ----------
    spec : str or Every
        Which one.

    Returns
    -------
    Bucket
        For `Every` one whose label is the moment itself.
    """
    if isinstance(spec, Every):
        return Bucket(
            str(spec),
            f"stretches of {format_duration(spec.every_ns)}",
            spec.every_ns,
            lambda _, local: local // spec.every_ns,
            lambda when: f"{format_duration(spec.every_ns)} around {when:%F %T}",
        )
    return BY_NAME[spec]


@dataclass(frozen=True, eq=False)
class CalendarKeys:
    """The bucket of every instant, prepared once and shared by every policy with the same calendar.

    Attributes
    ----------
    time_ns : int64 array, shape (n,)
        Instants, UTC, ascending (equal ones are allowed).  [ns]
    calendar : Calendar
        Whose days and months count.
    offset_ns : int64 array, shape (n,), or None
        Recorded distance of each instant's clock to UTC.  [ns]
    """

    time_ns: Int64Array
    calendar: Calendar
    offset_ns: Int64Array | None = None

    @cached_property
    def local_ns(self) -> Int64Array:
        """What the wall clock shows: int64, shape (n,).  [ns]"""
        return self.calendar.local(self.time_ns, self.offset_ns)

    @cached_property
    def _memory(self) -> dict[object, Int64Array | npt.NDArray[np.int32]]:
        return {}

    def numbers(self, spec: BucketSpec) -> Int64Array:
        """Number the buckets, so that neighbours differ by one.

        Parameters
        ----------
        spec : str or Every
            Which buckets; those that are counted from a reference are all 0 here.

        Returns
        -------
        int64 array, shape (n,)
            The bucket of each instant; read-only.
        """

        def count() -> Int64Array:
            if isinstance(spec, str):
                return np.ascontiguousarray(BY_NAME[spec].key(self.calendar, self.local_ns))
            if spec.align == "reference":
                return np.zeros(self.time_ns.size, dtype=np.int64)
            return (self.time_ns if spec.align == "epoch" else self.local_ns) // spec.every_ns

        return self._remember((np.int64, spec), count)

    def present(self, spec: BucketSpec) -> Int64Array:
        """Number the buckets of instants that are the present, from which buckets are counted back.

        Parameters
        ----------
        spec : str or Every
            Which buckets.

        Returns
        -------
        int64 array, shape (n,)
            As `numbers`, but the present month is always the calendar's, as in btrbk; read-only.
        """
        if not self.calendar.months_follow_weeks or spec not in {"month", "quarter", "year"}:
            return self.numbers(spec)
        plain = replace(self.calendar, months_follow_weeks=False, day_start_ns=0)
        return self._remember(
            ("present", spec), lambda: np.ascontiguousarray(BY_NAME[str(spec)].key(plain, self.local_ns))
        )

    def dense(self, spec: BucketSpec) -> npt.NDArray[np.int32]:
        """Return dense keys: equal within one bucket, below n.

        Parameters
        ----------
        spec : str or Every
            Which buckets.

        Returns
        -------
        int32 array, shape (n,)
            The keys; read-only.
        """
        return self._remember(
            (np.int32, spec),
            lambda: np.unique(self.numbers(spec), return_inverse=True)[1].astype(np.int32),
        )

    def table(self, specs: Sequence[BucketSpec]) -> npt.NDArray[np.int32]:
        """Return dense keys of several buckets.

        Parameters
        ----------
        specs : sequence of str or Every
            Which buckets.

        Returns
        -------
        int32 array, shape (n_specs, n)
            The keys; read-only.
        """

        def stack() -> npt.NDArray[np.int32]:
            rows = [self.dense(spec) for spec in specs]
            return np.stack(rows) if rows else np.empty((0, self.time_ns.size), dtype=np.int32)

        return self._remember(tuple(specs), stack)

    def _remember(self, what: object, make: Callable[[], AnyArray]) -> AnyArray:
        array = self._memory.get(what)
        if array is None:
            array = self._memory[what] = make()
            array.flags.writeable = False
        return array  # type: ignore[return-value]  # what `make` returned, or returned before

    def ascends(self, spec: BucketSpec) -> bool:
        """Say whether no bucket is left and entered again, as one can be where a clock is put back.

        Parameters
        ----------
        spec : str or Every
            Which buckets.

        Returns
        -------
        bool
            Whether the numbers never fall.
        """
        numbers = self.numbers(spec)
        return bool(np.all(numbers[1:] >= numbers[:-1]))


@lru_cache(maxsize=32)
def _shared(instants: bytes, calendar: Calendar) -> CalendarKeys:
    return CalendarKeys(np.frombuffer(instants, dtype=np.int64), calendar)


def shared_keys(time_ns: Int64Array, calendar: Calendar) -> CalendarKeys:
    """Return the keys of an array of instants, computed once for as long as the same instants are asked for.

    Parameters
    ----------
    time_ns : int64 array, shape (n,)
        Instants, UTC, ascending.  [ns]
    calendar : Calendar
        Whose days and months count.

    Returns
    -------
    CalendarKeys
        The same object for equal instants and calendar.
    """
    return _shared(np.ascontiguousarray(time_ns, dtype=np.int64).tobytes(), calendar)


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
