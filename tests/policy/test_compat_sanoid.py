"""The preset of sanoid and sanoid's restated algorithm keep the same snapshots."""

import random

import pytest

from snapsim.errors import PolicyError
from snapsim.policy import Policy
from tests.differential.oracles import sanoid
from tests.policy.tool_cases import CASES, SECOND, series, snapshot, survivors

CLASSES = ("frequently", "hourly", "daily", "weekly", "monthly", "yearly")


def policy(settings):
    counts = {"keep_minutely": settings.get("frequently", 0)}
    counts |= {f"keep_{name}": settings.get(name, 0) for name in CLASSES[1:]}
    return Policy(compat="sanoid", plan=f"{settings.get('frequent_period', 15)}min", **counts)


def case(seed):
    draw = random.Random(seed)
    times, now = series(draw, ties=False)  # which of two of one second goes is up to a hash
    settings = {name: draw.choice([0, 0, 1, 2, 5, 30]) for name in CLASSES}
    settings["daily"] = settings["daily"] or draw.choice([1, 3])  # nothing at all would be refused
    settings["frequent_period"] = draw.choice([5, 15, 20])
    snapshots = []
    for number, time in enumerate(times):
        name = draw.choice([*CLASSES, "hourly", "daily", "quarterly", None])
        text = f"autosnap_{number}_{name}" if name else draw.choice(["manual", "manual_daily"])
        snapshots.append(snapshot(number, time, text, classes=(name,) if name else ()))
    draw.shuffle(snapshots)
    return snapshots, settings, now


def test_the_preset_keeps_what_sanoid_keeps():
    deleted = 0
    for seed in range(CASES):
        snapshots, settings, now = case(seed)
        expected = sanoid.kept(snapshots, settings, now_ns=now * SECOND)
        assert survivors(policy(settings), snapshots, now) == expected, seed
        deleted += len(snapshots) - len(expected)
    assert deleted > CASES


def test_a_class_that_sanoid_does_not_have_is_refused():
    with pytest.raises(PolicyError, match="keep_quarterly has no meaning for sanoid: it knows keep_minutely"):
        Policy(compat="sanoid", keep_quarterly=1)


def test_a_policy_of_which_no_class_keeps_anything_is_refused():
    with pytest.raises(PolicyError, match="policy keeps nothing"):
        Policy(compat="sanoid", keep_daily=0)


def test_a_class_without_a_count_goes_and_one_that_is_not_sanoids_stays():
    old = [snapshot(n, 1000 * n, classes=(name,)) for n, name in enumerate(["hourly", "daily", "quarterly"])]
    assert survivors(Policy(compat="sanoid", keep_daily=1), old, 10**9) == {1, 2}


def test_of_equal_times_always_the_same_goes():
    twins = [snapshot(n, 1000, classes=("daily",)) for n in range(5)]
    kept = survivors(Policy(compat="sanoid", keep_daily=2), twins, 10**9)
    assert {twins[index].id for index in kept} == {
        twins[::-1][index].id
        for index in survivors(Policy(compat="sanoid", keep_daily=2), twins[::-1], 10**9)
    }
