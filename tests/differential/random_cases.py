"""Random histories of snapshots that are likely to meet what tools differ in."""

import random
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from snapsim.types import Snapshot

SECOND = 1_000_000_000
HOUR, DAY = 3600 * SECOND, 86_400 * SECOND

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata")

ANCHORS = [  # nights in which clocks change, turns of year, month and ISO week
    int(datetime.fromisoformat(text).timestamp()) * SECOND
    for text in (
        "2024-03-31T01:00Z",
        "2023-10-29T01:00Z",
        "2024-03-10T07:00Z",
        "2023-11-05T06:00Z",
        "2024-04-06T15:00Z",
        "2024-02-29T12:00Z",
        "2025-01-01T00:00Z",
        "2021-01-03T23:30Z",
        "2020-12-28T00:30Z",
        "2023-03-31T22:00Z",
        "2024-05-31T03:00Z",
        "2024-12-30T00:00Z",
    )
]

STEPS = (600 * SECOND, 1800 * SECOND, HOUR, 6 * HOUR, DAY, DAY, 3 * DAY, 7 * DAY, 30 * DAY)


def times(random: random.Random, *, most: int = 30, resolution: int = 1000) -> list[int]:
    """Return different instants, in no order: a regular series with gaps and jitter around an anchor."""
    anchor, step = random.choice(ANCHORS), random.choice(STEPS)
    count = random.randint(0, most)
    jitter = random.choice((0, 0, 1, 600, 7200)) * SECOND
    chosen = set()
    for index in range(count):
        if random.random() < 0.15:  # the machine was off
            continue
        wobble = random.randint(-jitter, jitter) if jitter else 0
        chosen.add((anchor + (index - count // 2) * step + wobble) // resolution * resolution)
    if random.random() < 0.3:  # several a second
        chosen |= {time_ns + random.randrange(1, 900) * 1_000_000 for time_ns in list(chosen)[:4]}
    if random.random() < 0.3:  # a burst, and a long history
        chosen |= {anchor - random.randrange(1, 900) * DAY for _ in range(random.randint(1, 8))}
    ordered = sorted(chosen)
    random.shuffle(ordered)
    return ordered


def offset_s(time_ns: int, zone: str) -> int:
    """Return how far a zone's clock is ahead of UTC.  [s]"""
    moment = datetime.fromtimestamp(time_ns // SECOND, tz=UTC).astimezone(ZoneInfo(zone))
    return int(moment.utcoffset().total_seconds())


def snapshots(random: random.Random, **options) -> list[Snapshot]:
    """Return snapshots with tags and, often, with the offsets of the clocks that they were taken by."""
    zones = random.choice((("UTC",), ("Europe/Berlin",), ("America/New_York",), ZONES))
    result = []
    for index, time_ns in enumerate(times(random, **options)):
        tags = frozenset(tag for tag in ("a", "b", "release") if random.random() < 0.2)
        attributes = {"utc_offset_s": offset_s(time_ns, random.choice(zones))}
        result.append(Snapshot(time_ns=time_ns, id=str(index), tags=tags, attributes=attributes))
    return result
