"""The presets of zrepl, znapzend and zfs-autobackup, and the restated tools, keep the same snapshots."""

import random

import pytest

from snapsim.errors import PolicyError
from snapsim.policy import Policy
from tests.differential.oracles import zfs_autobackup, znapzend, zrepl
from tests.differential.oracles.wall import wall
from tests.policy.tool_cases import CASES, SECOND, ZONES, series, snapshot, survivors

GRIDS = [
    "1x1h(keep=all) | 24x1h | 35x1d",
    "3x1h | 2x1d",
    "24x1h | 9x1d(keep=2) | 3x30d",
    "2x10m(keep=all) | 4x30m | 1x2w",
    "1x6h(keep=3)",
]
PLANS = ["1d=>2h,1w=>1d,1y=>1mon", "6h=>30min", "7d=>1h,30d=>4h,1y=>1d", "3d=>1d", "1d=>1h,1d=>6h,1week=>12h"]
THINNERS = ["10,1d1w,1w1m,1m1y", "1d1w", "2,1h1d,1h2d", "0,6h3d", "1,3", "3,1D1W"]


def zrepl_rules(draw):
    rules = []
    if draw.random() < 0.7:
        rules.append(
            {"type": "grid", "grid": draw.choice(GRIDS), "regex": draw.choice(["^zrepl_", "", "_h$"])}
        )
    for _ in range(draw.randint(0, 2)):
        kind = draw.choice(["last_n", "regex", "not_replicated"])
        regex = draw.choice(["", "^zrepl_", "_h$", "_d$"])
        rules.append({
            "type": kind,
            **({"regex": regex} if regex else {}),
            **({"count": draw.randint(1, 5)} if kind == "last_n" else {}),
            **({"negate": draw.random() < 0.5} if kind == "regex" else {}),
        })  # fmt: skip
    return rules


def zrepl_policy(rules):
    keep, grid = [], None
    for rule in rules:
        select = {"name": rule["regex"]} if rule.get("regex") else {}
        if rule["type"] == "grid":
            grid = {"spec": rule["grid"].replace("m", "min"), "select": select}
        elif rule["type"] == "last_n":
            keep.append({"name": "last", "count": rule["count"], "select": select})
        elif rule["type"] == "regex":
            keep.append({"name": "names", "select": {"name": "", **select, "exclude": rule["negate"]}})
        else:
            keep += [
                {"name": "not replicated", "select": {**select, "attributes": {"replicated": value}}}
                for value in (False, "")
            ]
    return Policy(compat="zrepl", keep=keep, grid=grid)


def zrepl_case(seed):
    draw = random.Random(seed)
    times, now = series(draw, ties=False)
    snapshots = [
        snapshot(
            number,
            time,
            f"{draw.choice(['zrepl', 'zrepl', 'zrepl', 'hand'])}_{number}_{draw.choice('hd')}",
            replicated=draw.random() < 0.8,
        )
        for number, time in enumerate(times)
    ]
    draw.shuffle(snapshots)
    return snapshots, zrepl_rules(draw), now


def test_the_preset_keeps_what_zrepl_keeps():
    deleted = 0
    for seed in range(CASES):
        snapshots, rules, now = zrepl_case(seed)
        expected = zrepl.kept(snapshots, {"keep": rules}, now_ns=now * SECOND)
        assert survivors(zrepl_policy(rules), snapshots, now) == expected, (seed, rules)
        deleted += len(snapshots) - len(expected)
    assert deleted > CASES


def test_a_grid_that_zrepl_refuses_is_refused():
    with pytest.raises(PolicyError, match="lengths have to grow with age"):
        Policy(compat="zrepl", grid={"spec": "1x1h | 1x3h(keep=all) | 1x2h"})
    assert Policy(compat="zrepl", grid={"spec": "1x3h(keep=all) | 1x1h"}).rules


def with_bases(draw):
    times, now = series(draw)
    snapshots = [
        snapshot(number, time, incremental_base=draw.random() < 0.06) for number, time in enumerate(times)
    ]
    draw.shuffle(snapshots)
    return snapshots, now


def shown_again(snapshots, now, timezone):
    """Whether the clock shows now what it showed when a snapshot was taken, an hour ago."""
    shown = [wall(one.time_ns, timezone) for one in snapshots if one.time_ns != now * SECOND]
    return wall(now * SECOND, timezone) in shown


def in_order(snapshots):
    return sorted(snapshots, key=lambda one: one.id)  # of equal times the tool takes the first that is listed


def test_the_preset_keeps_what_znapzend_keeps():
    deleted = 0
    for seed in range(CASES):
        draw = random.Random(seed)
        snapshots, now = with_bases(draw)
        snapshots, plan, timezone = in_order(snapshots), draw.choice(PLANS), draw.choice(ZONES)
        if shown_again(snapshots, now, timezone):  # znapzend takes that one for just taken
            continue
        expected = znapzend.kept(snapshots, {"plan": plan}, now_ns=now * SECOND, timezone=timezone)
        policy = Policy(compat="znapzend", plan=plan, timezone=timezone)
        assert survivors(policy, snapshots, now) == expected, (seed, plan)
        deleted += len(snapshots) - len(expected)
    assert deleted > CASES


def test_the_preset_keeps_what_zfs_autobackup_keeps():
    deleted = 0
    for seed in range(CASES):
        draw = random.Random(seed)
        snapshots, now = with_bases(draw)
        snapshots, thinner = in_order(snapshots), draw.choice(THINNERS)
        expected = zfs_autobackup.kept(snapshots, {"thinner": thinner}, now_ns=now * SECOND)
        assert survivors(Policy(compat="zfs-autobackup", plan=thinner), snapshots, now) == expected, (
            seed,
            thinner,
        )
        deleted += len(snapshots) - len(expected)
    assert deleted > CASES


def test_a_period_longer_than_its_age_is_refused():
    with pytest.raises(PolicyError, match="plan: '1m1w': 1m is longer than 1w"):
        Policy(compat="zfs-autobackup", plan="1m1w")


def test_of_znapzend_the_hour_shown_twice_is_the_one_difference():
    first = 1_729_987_200  # 2024-10-27 02:00 in Berlin, and again an hour later
    snapshots = [snapshot(0, first - 60 * 30), snapshot(1, first), snapshot(2, first + 3600)]
    settings = {"plan": "6h=>3h"}
    expected = znapzend.kept(snapshots, settings, now_ns=(first + 3600) * SECOND, timezone="Europe/Berlin")
    policy = Policy(compat="znapzend", timezone="Europe/Berlin", **settings)
    assert expected == {0, 1, 2}
    assert survivors(policy, snapshots, first + 3600) == {0, 2}
    assert survivors(policy, snapshots[:2], first) == {0, 1}
