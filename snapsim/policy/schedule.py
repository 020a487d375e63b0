"""When snapshots are taken: fixed intervals, calendar names and cron lines, alone or as a union.

Intervals are aligned to the Unix epoch and know no time zone.  Calendar names and cron lines follow the wall
clock of the policy's zone with the semantics of Debian's cron: a job at a fixed time that the clock skips
runs right after the jump, one that the clock shows twice runs once; a job whose minute or hour field starts
with `*` follows real time.
"""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache
from typing import Any, Protocol

import numpy as np
from cronsim import CronSim, CronSimError

from snapsim.errors import PolicyError, UnitError
from snapsim.policy import zones
from snapsim.types import Int64Array
from snapsim.units import DAY, SECOND, parse_duration

CALENDAR_NAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@quarterly": "0 0 1 1,4,7,10 *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
"""Cron lines of the calendar names, as crontab(5) has them; `@quarterly` is ours."""

SAMPLE_START = 31 * 365 * DAY + 8 * DAY
"""2001-01-01, a Monday: from here the mean period of a schedule is counted.  [ns]"""
_MOST_TICKS = 100_000_000
_MOST_PARTS = 64  # one bit each, where it is noted which of them asked for a snapshot
_SAMPLE_SPAN = 8 * 1461 * DAY // 4  # eight years, two leap days


class _Part(Protocol):
    """One schedule of a union."""

    @property
    def text(self) -> str: ...

    def ticks(self, start_ns: int, stop_ns: int) -> Int64Array: ...

    @property
    def period_ns(self) -> int: ...


@dataclass(frozen=True)
class Interval:
    """A fixed interval, aligned to the Unix epoch.

    Attributes
    ----------
    text : str
        As it was written.
    every_ns : int
        The interval.  [ns]
    """

    text: str
    every_ns: int

    @property
    def period_ns(self) -> int:
        """Mean distance between two ticks.  [ns]"""
        return self.every_ns

    def ticks(self, start_ns: int, stop_ns: int) -> Int64Array:
        """See `Schedule.ticks`."""
        first = -(-start_ns // self.every_ns) * self.every_ns
        _refuse_crowd(self.text, (stop_ns - first) // self.every_ns)
        # not arange(first, stop_ns, every_ns): counted in floating point, a tick just before stop_ns is lost
        count = max(-(-(stop_ns - first) // self.every_ns), 0)
        return first + self.every_ns * np.arange(count, dtype=np.int64)


@dataclass(frozen=True)
class Cron:
    """A cron line in a time zone.

    Attributes
    ----------
    text : str
        As it was written: a cron line or a calendar name.
    line : str
        The cron line; five fields, or six with seconds first.
    timezone : str
        IANA name of the zone whose wall clock counts.
    """

    text: str
    line: str
    timezone: str

    @property
    def _fixed_time(self) -> bool:
        """Whether it is a job at fixed times, which a clock change neither skips nor repeats."""
        fields = self.line.split()
        return len(fields) == 5 and not fields[0].startswith("*") and not fields[1].startswith("*")

    @cached_property
    def _times_of_day(self) -> Int64Array:
        """Times of day that match, as nanoseconds since local midnight."""
        fields = self.line.split()
        second, minute, hour = fields[:3] if len(fields) == 6 else ("0", *fields[:2])
        day = datetime(2001, 1, 1, tzinfo=UTC)
        matches = _matches(f"{second} {minute} {hour} * * *", day, day + timedelta(days=1))
        return np.array([round((when - day).total_seconds()) * SECOND for when in matches], dtype=np.int64)

    def _days(self, start_ns: int, stop_ns: int) -> Int64Array:
        """Local midnights of the days that match in a span of local nanoseconds."""
        first, last = start_ns // DAY, -(-stop_ns // DAY)
        which = self.line.split()[-3:]
        if which == ["*", "*", "*"]:  # the commonest case, and walking over years of days takes its time
            return np.arange(first, last, dtype=np.int64) * DAY
        start, stop = (zones.EPOCH + timedelta(days=day) for day in (first, last))
        matches = _matches(f"0 0 {' '.join(which)}", start, stop)
        return np.array([(when - zones.EPOCH).days * DAY for when in matches], dtype=np.int64)

    @property
    def period_ns(self) -> int:
        """Mean distance between two ticks, over eight years.  [ns]"""
        days = self._days(SAMPLE_START, SAMPLE_START + _SAMPLE_SPAN)
        return _SAMPLE_SPAN // max(days.size * self._times_of_day.size, 1)

    def ticks(self, start_ns: int, stop_ns: int) -> Int64Array:
        """See `Schedule.ticks`."""
        days = self._days(start_ns - 2 * DAY, stop_ns + 2 * DAY)  # no clock is further from UTC than that
        _refuse_crowd(self.text, days.size * self._times_of_day.size)
        local = (days[:, np.newaxis] + self._times_of_day).ravel()
        if self._fixed_time or self.timezone == "UTC":
            found = np.unique(zones.from_local(self.timezone, local))
        else:
            found = self._real_time(local, zones.offsets(self.timezone, start_ns, stop_ns))
        return found[np.searchsorted(found, start_ns) : np.searchsorted(found, stop_ns)]

    @staticmethod
    def _real_time(local: Int64Array, table: zones.Offsets) -> Int64Array:
        """Return each moment at which the clock shows one of the times: twice or never near a change."""
        pieces = []
        for start, stop, offset in zip(table.start_ns, table.stop_ns, table.offset_ns, strict=True):
            utc = local - offset
            pieces.append(utc[np.searchsorted(utc, start) : np.searchsorted(utc, stop)])
        return np.concatenate(pieces)


def _refuse_crowd(text: str, count: int) -> None:
    if count > _MOST_TICKS:
        raise PolicyError(
            f"schedule {text!r} would take {count:,} snapshots: choose a longer interval or a shorter span"
        )


def _matches(line: str, start: datetime, stop: datetime) -> Iterator[datetime]:
    """Yield what matches a cron line in [start, stop), both UTC."""
    for when in CronSim(line, start - timedelta(seconds=1)):
        if when >= stop:
            return
        yield when


@dataclass(frozen=True)
class Schedule:
    """When snapshots are taken: a union of intervals, calendar names and cron lines in one time zone.

    Attributes
    ----------
    texts : tuple of str
        For example `("15min",)`, `("@hourly", "@daily")` or `("0 */6 * * *",)`.
    timezone : str
        IANA name of the zone whose wall clock calendar names and cron lines follow.
    parts : tuple
        The parsed schedules, one for each text.

    Raises
    ------
    PolicyError
        A text cannot be read, never comes true, or there is none.

    Examples
    --------
    >>> from snapsim.units import HOUR
    >>> schedule = Schedule.of(["6h", "0 1 * * *"])
    >>> [tick // HOUR for tick in schedule.ticks(0, DAY).tolist()]
    [0, 1, 6, 12, 18]
    """

    texts: tuple[str, ...]
    timezone: str = "UTC"
    parts: tuple[_Part, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Parse every text."""
        if not self.texts:
            raise PolicyError(
                'schedule is empty: give an interval such as "15min", a calendar name or a cron line'
            )
        if len(self.texts) > _MOST_PARTS:
            raise PolicyError(f"schedule has {len(self.texts)} parts: {_MOST_PARTS} is the most")
        zones.zone(self.timezone)
        object.__setattr__(self, "parts", tuple(_parse(text, self.timezone) for text in self.texts))

    @classmethod
    def of(cls, value: "Schedule | str | Iterable[str]", *, timezone: str = "UTC") -> "Schedule":
        """Make a schedule from what a caller may write.

        Parameters
        ----------
        value : Schedule, str or iterable of str
            One schedule or several; repeated ones count once.
        timezone : str
            IANA name of the zone.

        Returns
        -------
        Schedule
            The union.

        Raises
        ------
        PolicyError
            A text cannot be read, or a ready `Schedule` is in another time zone.
        """
        if isinstance(value, Schedule):
            if value.timezone != timezone:
                raise PolicyError(
                    f"schedule is in {value.timezone}, the policy in {timezone}: give the schedule as text, "
                    f"or the policy timezone={value.timezone!r}"
                )
            return value
        texts: list[Any] = (
            [value] if isinstance(value, str) or not isinstance(value, Iterable) else list(value)
        )
        for text in texts:
            if not isinstance(text, str):
                raise PolicyError(
                    f'schedule {text!r} is not text: write it like "15min", "@hourly" or "0 */6 * * *"'
                )
        return cls(tuple(dict.fromkeys(" ".join(text.split()) for text in texts)), timezone)

    def __str__(self) -> str:
        return " + ".join(self.texts)

    def ticks(self, start_ns: int, stop_ns: int) -> Int64Array:
        """Return when snapshots are due.

        Parameters
        ----------
        start_ns, stop_ns : int
            Half-open span, UTC: a tick at `stop_ns` is not in it.  [ns]

        Returns
        -------
        int64 array, shape (n_ticks,)
            Ascending, without repetition, UTC.  [ns]

        Raises
        ------
        PolicyError
            There are more than 100 million.
        """
        return np.unique(np.concatenate([part.ticks(start_ns, stop_ns) for part in self.parts]))

    @property
    def period_ns(self) -> int:
        """Mean distance between two ticks of the union.  [ns]"""
        return _period(self)


@lru_cache(maxsize=256)
def _period(schedule: Schedule) -> int:
    periods = [part.period_ns for part in schedule.parts]
    if len(periods) == 1:
        return periods[0]
    # Ticks that coincide count once, so the union has to be looked at; one that is far rarer than another
    # hardly matters.
    span = min(2 * max(periods), 100_000 * min(periods))
    return span // max(schedule.ticks(SAMPLE_START, SAMPLE_START + span).size, 1)


def _parse(text: str, timezone: str) -> _Part:
    if text.startswith("@"):
        return _parse_name(text, timezone)
    if len(text.split()) in {5, 6}:
        return _parse_cron(text, timezone)
    try:
        every = parse_duration(text)
    except UnitError as error:
        raise PolicyError(
            f'schedule {text!r} is no interval ("15min"), calendar name ("@hourly") '
            f"or cron line of five or six fields: {error}"
        ) from None
    if every == 0:
        raise PolicyError(f'schedule {text!r} would never advance: give a positive interval such as "15min"')
    return Interval(text, every)


def _parse_name(text: str, timezone: str) -> Cron:
    line = CALENDAR_NAMES.get(text.lower())
    if line is None:
        near = difflib.get_close_matches(text.lower(), CALENDAR_NAMES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"the names are {', '.join(CALENDAR_NAMES)}"
        raise PolicyError(f"schedule {text!r} is no calendar name: {hint}")
    return Cron(text, line, timezone)


def _parse_cron(text: str, timezone: str) -> Cron:
    try:
        next(iter(CronSim(text, datetime(2001, 1, 1, tzinfo=UTC))))
    except CronSimError as error:
        raise PolicyError(f"schedule {text!r} is no cron line: {str(error).lower()}") from None
    except StopIteration:
        raise PolicyError(f"schedule {text!r} never comes true: no day matches it") from None
    return Cron(text, text, timezone)
