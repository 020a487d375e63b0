"""Calendar arithmetic as Go's standard library does it: restic and kopia are written in Go.

Times are integers, nanoseconds since the Unix epoch; `offset_at` says how far a clock is ahead of UTC, in
seconds.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

SECOND = 1_000_000_000
HOUR_S, DAY_S = 3600, 86_400
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Clock = Callable[[int], int]
"""Seconds since the epoch to the clock's distance from UTC.  [s]"""


def fixed(offset_s: int) -> Clock:
    return lambda _: offset_s


def wall(time_ns: int, offset_s: int) -> datetime:
    """Return what a clock shows, to the second (the datetime has no zone)."""
    return (EPOCH + timedelta(seconds=time_ns // SECOND + offset_s)).replace(tzinfo=None)


def add_date(time_ns: int, years: int, months: int, days: int, clock: Clock) -> int:
    """Move by calendar units; what does not exist overflows: February 31 is March 3, or 2 in a leap year."""
    seconds, rest = divmod(time_ns, SECOND)
    shown = wall(time_ns, clock(seconds))
    month = shown.month - 1 + months
    first = date(shown.year + years + month // 12, month % 12 + 1, 1)
    day = (first - date(1970, 1, 1)).days + shown.day - 1 + days
    showing = day * DAY_S + shown.hour * HOUR_S + shown.minute * 60 + shown.second
    return _instant(showing, clock) * SECOND + rest


def _instant(showing: int, clock: Clock) -> int:
    """Return when a clock shows a time; where it does so twice or never, as Go's `time.Date` decides."""
    return showing - clock(showing - clock(showing))
