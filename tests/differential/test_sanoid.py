"""The real sanoid, the restated one, and snapsim's own preset keep the same snapshots."""

import random
from dataclasses import replace

import pytest

from snapsim.policy.translation.common import export_policy, import_policy
from snapsim.types import Snapshot
from tests.differential.oracles.sanoid import class_of, kept
from tests.differential.sanoid import RealSanoid
from tests.policy.tool_cases import survivors

pytestmark = [pytest.mark.integration, pytest.mark.needs_program("sanoid", "faketime")]

NOW_S = 1_711_886_400  # 2024-03-31T12:00Z: a month's last day, Europe's clocks just changed
CLASSES = {
    "frequently": 900,
    "hourly": 3600,
    "daily": 86400,
    "weekly": 7 * 86400,
    "monthly": 31 * 86400,
    "yearly": int(365.25 * 86400),
    "quarterly": 90 * 86400,  # not one of sanoid's
}


def snapshot(time_s, name):
    return Snapshot(time_ns=time_s * 10**9, name=name)


def case(seed):
    """Snapshots of all classes with different times, some exactly at the edge of the age; and settings."""
    draw = random.Random(seed)
    settings = {
        name: draw.choice([0, 1, 2, 3, 5]) for name in CLASSES if name != "quarterly" and draw.random() < 0.9
    }
    if draw.random() < 0.3:
        settings["frequent_period"] = draw.choice([5, 20])
    snapshots = []
    for name, length in CLASSES.items():
        ages = draw.sample(range(8 * length), k=draw.randint(0, 8))
        ages += draw.sample([n * length for n in range(8)], k=draw.randint(0, 3))
        ages += draw.sample([n * length + 1 for n in range(8)], k=draw.randint(0, 2))
        ages += [-length // 2] if draw.random() < 0.2 else []
        snapshots += [snapshot(NOW_S - age, f"autosnap_{seed}_{age}_{name}") for age in set(ages)]
    snapshots.append(snapshot(NOW_S - 10**8, "before-upgrade"))
    snapshots.append(snapshot(NOW_S - 10**8 - 1, "manual_daily"))
    draw.shuffle(snapshots)
    return snapshots, settings


def compare(folder, snapshots, settings):
    expected = {snapshots[i].name for i in kept(snapshots, settings, now_ns=NOW_S * 10**9)}
    assert RealSanoid(folder).prune(snapshots, settings, NOW_S * 10**9, "Europe/Berlin") == expected
    return expected


@pytest.mark.parametrize("seed", range(24))
def test_the_real_program_keeps_what_is_restated(tmp_path, seed):
    compare(tmp_path, *case(seed))


@pytest.mark.parametrize("seed", range(100, 124))
def test_the_real_program_keeps_what_the_policy_keeps_that_it_was_written_from(tmp_path, seed):
    snapshots, settings = case(seed)
    text = "".join(f"{key} = {value}\n" for key, value in settings.items())
    policy = import_policy(f"[tank/data]\n{text}", "sanoid").policy
    written = dict(line.strip().split(" = ") for line in export_policy(policy, "sanoid").splitlines()[1:])
    left = RealSanoid(tmp_path).prune(snapshots, written, NOW_S * 10**9, "Europe/Berlin")
    ours = [replace(one, classes=frozenset({class_of(one.name)} - {None})) for one in snapshots]
    assert {snapshots[i].name for i in survivors(policy, ours, NOW_S)} == left


def test_cases_delete_and_keep():
    """The cases are worth comparing: none keeps all or nothing."""
    for seed in range(24):
        snapshots, settings = case(seed)
        assert 2 < len(kept(snapshots, settings, now_ns=NOW_S * 10**9)) < len(snapshots)


def test_ten_of_today_are_all_kept_though_two_days_are_asked_for(tmp_path):
    today = [snapshot(NOW_S - 60 * n, f"autosnap_{n}_daily") for n in range(10)]
    assert len(compare(tmp_path, today, {"daily": 2})) == 10


def test_zero_deletes_the_class(tmp_path):
    old = [snapshot(NOW_S - 86400 * n, f"autosnap_{n}_daily") for n in range(1, 10)]
    assert compare(tmp_path, old, {"daily": 0}) == set()


@pytest.mark.parametrize(("capacity", "left"), [(59, 3), (60, 3), (61, 1)])
def test_a_pool_with_space_defers_pruning(tmp_path, capacity, left):
    old = [snapshot(NOW_S - 86400 * n, f"autosnap_{n}_daily") for n in (10, 11, 12)]
    assert len(compare(tmp_path, old, {"daily": 1, "prune_defer": 60, "capacity": capacity})) == left
