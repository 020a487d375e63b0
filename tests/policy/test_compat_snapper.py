"""The preset of snapper and snapper's restated algorithms keep the same snapshots."""

import random

import pytest

from snapsim.errors import PolicyError
from snapsim.policy import Policy
from tests.differential.oracles import snapper
from tests.policy.tool_cases import CASES, SECOND, ZONES, series, snapshot, survivors

RULES = ("HOURLY", "DAILY", "WEEKLY", "MONTHLY", "QUARTERLY", "YEARLY")


def policy(settings, timezone):
    ages = {name: settings[f"{name.upper()}_MIN_AGE"] for name in ("number", "timeline")}
    important = {"cleanup": "number"}
    keep = [
        {"name": f"{name} age", "within": f"{age}s", "edge": "open", "reference": "now",
         "select": {"attributes": {"cleanup": name}}}
        for name, age in ages.items()
        if age
    ]  # fmt: skip
    if settings["NUMBER_LIMIT_IMPORTANT"] != "0":
        keep.append({
            "name": "important", "count": int(settings["NUMBER_LIMIT_IMPORTANT"]),
            "select": {"attributes": important, "important": True},
        })  # fmt: skip
    return Policy(
        compat="snapper",
        timezone=timezone,
        keep_last=int(settings["NUMBER_LIMIT"]),
        keep=keep,
        **{f"keep_{rule.lower()}": int(settings[f"TIMELINE_LIMIT_{rule}"]) for rule in RULES},
    )


def case(seed):
    draw = random.Random(seed)
    times, now = series(draw)
    settings = {f"TIMELINE_LIMIT_{rule}": str(draw.choice([0, 0, 1, 2, 6])) for rule in RULES}
    settings |= {"NUMBER_LIMIT": str(draw.choice([1, 2, 5])), "NUMBER_LIMIT_IMPORTANT": draw.choice("0013")}
    settings |= {f"{name}_MIN_AGE": draw.choice([0, 1800, 86_400]) for name in ("NUMBER", "TIMELINE")}
    if times and draw.random() < 0.3:  # a clock that was set
        turn = draw.randrange(len(times))
        times = times[turn:] + times[:turn]
    said = [
        {
            "cleanup": draw.choice(["timeline", "timeline", "number", "number", ""]),
            "important": draw.random() < 0.3,
        }
        for _ in times
    ]
    for place in range(len(times) - 1):
        if draw.random() < 0.15 and "pair" not in said[place]:
            said[place]["pair"], said[place + 1]["pair"] = f"{place + 1:05d}", f"{place:05d}"
    for one in draw.sample(said, k=min(2, len(said))):
        one["in_use"] = draw.random() < 0.2
    snapshots = [
        snapshot(number, time, **one) for number, (time, one) in enumerate(zip(times, said, strict=True))
    ]
    snapshots = [one for one in snapshots if draw.random() < 0.95]  # of some pairs a half is gone
    draw.shuffle(snapshots)
    return snapshots, settings, now, draw.choice(ZONES)


def test_the_preset_keeps_what_snapper_keeps():
    deleted = 0
    for seed in range(CASES):
        snapshots, settings, now, timezone = case(seed)
        expected = snapper.kept(snapshots, settings, now_ns=now * SECOND, timezone=timezone)
        assert survivors(policy(settings, timezone), snapshots, now) == (expected), seed
        deleted += len(snapshots) - len(expected)
    assert deleted > CASES


def test_halves_that_different_algorithms_clean_up_wait_for_each_other():
    halves = [
        snapshot(1, 0, cleanup="number", pair="00002"),
        snapshot(2, 60, cleanup="timeline", pair="00001"),
        *(snapshot(n, 100 * n, cleanup="number") for n in range(3, 6)),
    ]
    kept = survivors(Policy(compat="snapper", keep_last=1), halves, 10**6)
    assert kept == {0, 1, 4}


def test_what_snapper_does_not_count_is_refused():
    with pytest.raises(PolicyError, match="keep_minutely has no meaning for snapper"):
        Policy(compat="snapper", keep_minutely=1)


def test_an_algorithm_that_is_not_selected_is_left_alone():
    both = [snapshot(n, 100 * n, cleanup="number" if n % 2 else "timeline") for n in range(6)]
    timeline = {"attributes": {"cleanup": "timeline"}}
    assert survivors(Policy(compat="snapper", keep_daily=1), both, 10**6) == {0}
    assert survivors(Policy(compat="snapper", keep_daily=1, select=timeline), both, 10**6) == {0, 1, 3, 5}
