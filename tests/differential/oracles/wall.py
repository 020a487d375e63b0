"""What the restated algorithms share: instants, walls and lengths of time, in whole seconds."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

SECOND_NS = 1_000_000_000
MINUTE, HOUR, DAY, WEEK = 60, 3600, 86400, 7 * 86400


def seconds(time_ns: int) -> int:
    """Return the whole seconds since the Unix epoch: what every one of these tools works with."""
    return time_ns // SECOND_NS


def wall(time_ns: int, timezone: str) -> datetime:
    """Return what a clock on the wall shows: naive, so that an hour shown twice is one and the same."""
    return datetime.fromtimestamp(seconds(time_ns), ZoneInfo(timezone)).replace(tzinfo=None, fold=0)


def wall_seconds(shown: datetime) -> int:
    """Return the seconds since 1970 on the wall's own, unbroken scale."""
    return int(shown.replace(tzinfo=UTC).timestamp())
