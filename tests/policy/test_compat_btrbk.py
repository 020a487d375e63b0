"""The preset of btrbk and btrbk's restated algorithm keep the same snapshots."""

import random
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from snapsim.errors import PolicyError
from snapsim.policy import Policy
from tests.differential.oracles import btrbk
from tests.policy.tool_cases import CASES, SECOND, ZONES, series, snapshot, survivors

KEYS = {"h": "keep_hourly", "d": "keep_daily", "w": "keep_weekly", "m": "keep_monthly", "y": "keep_yearly"}


def named(time_s, form, timezone):
    """Return the instant that a name tells: the first one, where the clock shows it twice."""
    if form == "long-iso":
        return time_s
    shown = btrbk.written(datetime.fromtimestamp(time_s, UTC).astimezone(ZoneInfo(timezone)), form)
    return int(shown.replace(fold=0).timestamp())


def policy(counts, settings, timezone):
    least = settings["snapshot_preserve_min"]
    first = {"all": {"keep_last": "unlimited"}, "latest": {"keep_last": 1}}.get(least, {"plan": least})
    short = settings["timestamp_format"] == "short"
    return Policy(
        compat="btrbk",
        timezone=timezone,
        week_start=settings["preserve_day_of_week"],
        day_start="00:00" if short else f"{settings['preserve_hour_of_day']:02d}:00",
        **first,
        **{KEYS[unit]: "unlimited" if count == "*" else int(count) for unit, count in counts.items()},
    )


def case(seed):
    draw = random.Random(seed)
    times, now = series(draw)
    counts = {unit: draw.choice(["0", "1", "2", "5", "*"]) for unit in "hdwmy" if draw.random() < 0.7}
    units = [f"{draw.randint(0, 4)}{unit}" for unit in "hdwmy"]
    settings = {
        "snapshot_preserve": " ".join(f"{count}{unit}" for unit, count in counts.items()) or "no",
        "snapshot_preserve_min": draw.choice(["latest", "latest", "latest", "all", *units]),
        "preserve_day_of_week": draw.choice(btrbk.WEEKDAYS),
        "preserve_hour_of_day": draw.choice([0, 0, 3, 22]),
        "timestamp_format": draw.choice(["long", "long", "short", "long-iso"]),
    }
    timezone = draw.choice(ZONES)
    times = sorted(named(time, settings["timestamp_format"], timezone) for time in times)
    snapshots = [
        snapshot(number, time, incremental_base=draw.random() < 0.05) for number, time in enumerate(times)
    ]
    return snapshots, counts, settings, now, timezone


def test_the_preset_keeps_what_btrbk_keeps():
    deleted = 0
    for seed in range(CASES):
        snapshots, counts, settings, now, timezone = case(seed)
        expected = btrbk.kept(snapshots, settings, now_ns=now * SECOND, timezone=timezone)
        assert survivors(policy(counts, settings, timezone), snapshots, now) == expected, seed
        deleted += len(snapshots) - len(expected)
    assert deleted > CASES


def test_the_latest_is_one_or_all():
    with pytest.raises(PolicyError, match=r"keep_last is 3: btrbk keeps the latest \(1\), or all"):
        Policy(compat="btrbk", keep_last=3)
    with pytest.raises(
        PolicyError, match=r'plan: \'2 months\' cannot be read: write a distance such as "2d"'
    ):
        Policy(compat="btrbk", plan="2 months")
