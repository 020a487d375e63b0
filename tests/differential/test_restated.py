"""What holds for each of these tools: order does not matter, and pruning twice at one moment is once."""

import random

import pytest

from snapsim.types import Snapshot
from tests.differential.oracles import btrbk, sanoid, snapper, zfs_autobackup, znapzend, zrepl
from tests.differential.oracles.wall import DAY, HOUR

NOW = 1_729_994_400  # 2024-10-27T02:00Z, in Berlin's 25-hour day
CLASSES = ("hourly", "daily", "weekly", "monthly", "yearly")
GRID = {"type": "grid", "grid": "1x1h(keep=all) | 12x1h | 9x1d(keep=2) | 3x30d", "regex": "daily|hourly"}
SETTINGS = {
    sanoid: [{"hourly": 5, "daily": 0, "weekly": 2, "monthly": 1, "yearly": 1}, {}],
    snapper: [
        {"TIMELINE_LIMIT_HOURLY": "3", "TIMELINE_LIMIT_WEEKLY": "2", "NUMBER_LIMIT": "4"},
        {"NUMBER_LIMIT": "2-9", "free_satisfied": lambda alive: len(alive) < 12},
    ],
    btrbk: [
        {"snapshot_preserve": "5h 3d 2w 3m *y", "snapshot_preserve_min": "latest"},
        {"snapshot_preserve": "3w", "snapshot_preserve_min": "2d", "preserve_hour_of_day": 5},
    ],
    zrepl: [
        {
            "keep": [
                {
                    "type": "grid",
                    "grid": "1x1h(keep=all) | 12x1h | 9x1d(keep=2) | 3x30d",
                    "regex": "daily|hourly",
                }
            ]
        },
        {"keep": [{"type": "last_n", "count": 3}, {"type": "regex", "regex": "monthly$"}]},
    ],
    znapzend: [{"plan": "1d=>2h,1w=>1d,1y=>1mon"}, {"plan": "6h=>30min"}],
    zfs_autobackup: [{"thinner": "5,1h1d,1d1w,1w1m,1m1y"}, {"thinner": "1d1m"}],
}
CASES = [(tool, settings) for tool, several in SETTINGS.items() for settings in several]


def series(draw):
    """Snapshots at different times, the nearer the denser, one in the future; numbered by time."""
    spans = [(6 * HOUR, 12), (5 * DAY, 16), (60 * DAY, 20), (900 * DAY, 16)]
    ages = {draw.randrange(span) for span, count in spans for _ in range(count)} | {-draw.randrange(DAY)}
    return [
        Snapshot(
            time_ns=(NOW - age) * 10**9,
            name=f"autosnap_{number}_{draw.choice(CLASSES)}",
            id=str(number),
            attributes={"number": number, "cleanup": draw.choice(["number", "timeline"])},
        )
        for number, age in enumerate(sorted(ages, reverse=True))
    ]


def survivors(tool, snapshots, settings):
    keep = tool.kept(snapshots, settings, now_ns=NOW * 10**9, timezone="Europe/Berlin")
    return [snapshots[index] for index in sorted(keep)]


@pytest.mark.parametrize(
    ("tool", "settings"), CASES, ids=lambda one: getattr(one, "__name__", "").split(".")[-1]
)
def test_order_does_not_matter_and_twice_is_once(tool, settings):
    draw = random.Random(7)
    for _ in range(50):
        snapshots = series(draw)
        left = survivors(tool, snapshots, settings)
        assert 0 < len(left) < len(snapshots)
        shuffled = draw.sample(snapshots, k=len(snapshots))
        assert {one.id for one in survivors(tool, shuffled, settings)} == {one.id for one in left}
        assert survivors(tool, left, settings) == left


def test_of_snapper_twice_is_not_once_after_the_clock_was_set_back():
    """Numbers out of the order of time: what goes had cut a bucket in two, or hid that one was not first."""
    draw = random.Random(1)
    settings = {f"TIMELINE_LIMIT_{rule}": "3" for rule in ("HOURLY", "DAILY", "WEEKLY", "MONTHLY")}
    changed = 0
    for _ in range(200):
        snapshots = series(draw)
        times = [one.time_ns for one in snapshots]
        draw.shuffle(times)
        snapshots = [
            Snapshot(time_ns=time, id=one.id, attributes={**one.attributes, "cleanup": "timeline"})
            for one, time in zip(snapshots, times, strict=True)
        ]
        left = survivors(snapper, snapshots, settings)
        changed += survivors(snapper, left, settings) != left
    assert changed
