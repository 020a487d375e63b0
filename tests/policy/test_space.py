"""Rules about space: what goes when a pool is full, and what does not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapsim.errors import PolicyError
from snapsim.policy import Policy
from snapsim.policy.space import Usage
from snapsim.types import Snapshot
from snapsim.units import DAY, HOUR

NOW = 20_000 * DAY


def days(n, **attributes):
    """One snapshot a day, the newest now."""
    return [Snapshot(NOW - age * DAY, id=f"d{age}", attributes=attributes) for age in range(n)]


def pool_of(each=10, size=100, used=0, sizes=None):
    """A pool in which every snapshot takes as much as every other, or as `sizes` says."""

    def ask(kept):
        held = sum((sizes or {}).get(one.id, each) for one in kept)
        return Usage(size, held, size - used - held)

    return ask


def kept(decisions):
    return [one.snapshot.id for one in decisions if one.keep]


def test_full_counts_while_there_is_room():
    policy = Policy(keep_daily=5, space={"snapshots_max": 0.9, "soft": {"keep_daily": 2}})
    assert kept(policy.decide(days(8), NOW, pool=pool_of())) == ["d0", "d1", "d2", "d3", "d4"]
    assert kept(policy.decide(days(8), NOW)) == ["d0", "d1", "d2", "d3", "d4"]


def test_the_oldest_go_until_snapshots_use_less_than_their_share():
    policy = Policy(keep_daily=5, space={"snapshots_max": 0.4, "soft": {"keep_daily": 2}})
    decisions = policy.decide(days(8), NOW, pool=pool_of())
    assert kept(decisions) == ["d0", "d1", "d2"]  # exactly 40 % is still too much
    assert decisions[3].reasons == (
        "space: snapshots use 40 B, 40.0% of the pool; snapshots_max is 40%, and more had to go",
    )
    assert decisions[6].reasons[0].startswith("daily: 5 of 5 newer days kept")


def test_soft_bounds_hold_even_if_the_pool_stays_full():
    policy = Policy(keep_daily=5, space={"free_min": 0.5, "soft": {"keep_daily": 2}})
    assert kept(policy.decide(days(8), NOW, pool=pool_of(used=90))) == ["d0", "d1"]


def test_free_space_is_deleted_up_to_its_target():
    space = {"free_min": 0.2, "target_free": 0.45, "soft": {"keep_daily": 1}}
    policy = Policy(keep_daily=9, space=space)
    assert kept(policy.decide(days(7), NOW, pool=pool_of())) == [f"d{age}" for age in range(7)]
    assert kept(policy.decide(days(8), NOW, pool=pool_of())) == [f"d{age}" for age in range(5)]


def test_nothing_is_deleted_while_the_pool_is_empty():
    policy = Policy(keep_daily=2, space={"prune_defer_below": 0.5})
    decisions = policy.decide(days(4), NOW, pool=pool_of())
    assert len(kept(decisions)) == 4
    assert decisions[3].reasons == ("space: the pool is 40.0% full, below prune_defer_below 50%",)
    assert kept(policy.decide(days(5), NOW, pool=pool_of())) == ["d0", "d1"]


def test_the_largest_goes_first_if_asked():
    space = {"snapshots_max": 0.9, "soft": {"keep_daily": 1}, "delete_order": "largest_exclusive"}
    policy = Policy(keep_daily=5, space=space)
    sizes = {"d0": 10, "d1": 10, "d2": 60, "d3": 10, "d4": 10}
    assert kept(policy.decide(days(5), NOW, pool=pool_of(sizes=sizes))) == ["d0", "d1", "d3", "d4"]


def test_a_deletion_that_frees_nothing_does_not_stop_the_others():
    policy = Policy(keep_daily=5, space={"snapshots_max": 0.3, "soft": {"keep_daily": 1}})
    sizes = {"d0": 10, "d1": 20, "d2": 10, "d3": 0, "d4": 0}
    assert kept(policy.decide(days(5), NOW, pool=pool_of(sizes=sizes))) == ["d0"]


def test_one_range_and_one_fixed_count():
    """Only the count that has a soft bound gives way."""
    space = {"snapshots_max": 0.1, "soft": {"keep_daily": 1}}
    policy = Policy(keep_daily=5, keep_weekly=2, space=space)
    weekly = Policy(keep_daily=1, keep_weekly=2)
    assert kept(policy.decide(days(20), NOW, pool=pool_of())) == kept(weekly.decide(days(20), NOW))


def test_guards_hold_for_space_too():
    space = {"free_min": 0.9, "soft": {"keep_last": 0}}
    assert kept(Policy(keep_last=5, space=space).decide(days(5), NOW, pool=pool_of(used=50))) == ["d0"]
    policy = Policy(keep_last=5, space=space, guards={"max_delete_fraction": 0.4})
    assert len(kept(policy.decide(days(5), NOW, pool=pool_of(used=50)))) == 3


def test_pairs_go_together():
    snapshots = [
        Snapshot(NOW, id="c"),
        Snapshot(NOW - DAY, id="b", attributes={"pair": "a"}),
        Snapshot(NOW - DAY - HOUR, id="a", attributes={"pair": "b"}),
    ]
    policy = Policy(keep_last=5, space={"snapshots_max": 0.25, "soft": {"keep_last": 1}})
    assert kept(policy.decide(snapshots, NOW, pool=pool_of())) == ["c"]


def test_protected_ones_stay_whatever_the_pool_says():
    held = Snapshot(NOW - 9 * DAY, id="held", tags=frozenset({"hold"}))
    policy = Policy(
        keep_daily=5, protect={"tags": ["hold"]}, space={"free_min": 0.9, "soft": {"keep_daily": 1}}
    )
    assert kept(policy.decide([*days(5), held], NOW, pool=pool_of(used=80))) == ["d0", "held"]


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"snapshots_max": 0.5}, "nothing may be deleted for it: add soft bounds"),
        ({"soft": {"keep_daily": 2}}, "nothing uses them: add snapshots_max or free_min"),
        ({"target_free": 0.2}, "target_free has to be at least free_min"),
        ({"snapshots_max": 0.5, "soft": {"keep_daily": 8}}, "which is above keep_daily = 5"),
        ({"snapshots_max": 0.5, "soft": {"daily": 8}}, "space.soft.daily is no counting rule"),
        ({"snapshots_max": 50}, "snapshots_max is 50, which is out of range"),
    ],
)
def test_contradictions(space, message):
    with pytest.raises(PolicyError, match=message):
        Policy(keep_daily=5, space=space)


def test_a_pool_without_rules_about_space_is_a_mistake():
    with pytest.raises(PolicyError, match="the policy has no table space"):
        Policy(keep_daily=5).decide(days(3), NOW, pool=pool_of())


@given(st.integers(1, 6), st.integers(1, 12), st.integers(0, 60))
def test_between_soft_and_full_and_never_below_the_share_needed(low, n, used):
    policy = Policy(keep_daily=7, space={"free_min": 0.3, "soft": {"keep_daily": low}})
    decisions = policy.decide(days(n), NOW, pool=pool_of(used=used))
    stay = len(kept(decisions))
    assert min(low, n) <= stay <= min(7, n)
    fits = [count for count in range(min(7, n) + 1) if 100 - used - 10 * count > 30]
    assert stay == max(min(low, n), max(fits, default=0))


def test_the_event_loop_acts_on_the_pool():
    instants = np.arange(NOW, NOW + 40 * DAY, DAY)
    policy = Policy(schedule="1d", keep_daily=9, space={"snapshots_max": 0.5, "soft": {"keep_daily": 2}})

    def pool(kept_instants, now):
        # what is older takes more
        return Usage(100, 2 * int(np.sum(now - kept_instants)), 50)

    timeline = policy.timeline(instants, pool=pool)
    for instant in range(instants.size):
        held = timeline.kept(instant)
        assert len(held) == 2 or pool(held, instant).snapshot_share < 0.5
        told = {one.snapshot.time_ns: one for one in timeline.decisions(instant)}
        assert sorted(time for time, one in told.items() if one.keep) == instants[held].tolist()
    assert timeline.max_live < 12
    assert timeline.frame["reasons"].iloc[0].startswith("space: snapshots use")


def test_classes_have_soft_bounds_of_their_own():
    classes = {"hourly": {"schedule": "1h", "keep": 6, "soft": 1}, "daily": {"schedule": "1d", "keep": 3}}
    policy = Policy(classes=classes, space={"snapshots_max": 0.5})
    snapshots = [
        *(Snapshot(NOW - age * HOUR, id=f"h{age}", classes=frozenset({"hourly"})) for age in range(8)),
        *(Snapshot(NOW - age * DAY - 1, id=f"d{age}", classes=frozenset({"daily"})) for age in range(4)),
    ]
    assert kept(policy.decide(snapshots, NOW)) == [*(f"h{age}" for age in range(6)), "d0", "d1", "d2"]
    pressed = policy.decide(snapshots, NOW, pool=pool_of(size=100))
    assert kept(pressed) == ["h0", "d0", "d1", "d2"]
    with pytest.raises(PolicyError, match="soft is given, but nothing uses it"):
        Policy(classes=classes)
    with pytest.raises(PolicyError, match="class 'hourly': soft is 7, which is above keep = 6"):
        Policy(classes={"hourly": {**classes["hourly"], "soft": 7}}, space={"snapshots_max": 0.5})
