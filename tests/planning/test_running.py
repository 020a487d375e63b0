"""`run_policy`: a policy that acts on what is written, on events, and on how full the pool is."""

from dataclasses import replace

import numpy as np
import pytest

import snapsim as ss
from snapsim.errors import PolicyError, UsageError
from snapsim.planning.running import writes_per_epoch
from snapsim.policy.triggers import Event
from snapsim.units import HOUR, MINUTE

UNIT = 4096


@pytest.fixture(scope="module")
def lifetimes():
    """A volume of 64 blocks; block n % 16 is written in minute n, and two blocks more in every fifth."""
    times = np.concatenate([np.arange(600) * MINUTE, np.arange(0, 600, 5) * MINUTE + 1])
    places = np.concatenate([np.arange(600) % 16, 20 + np.arange(120) % 20]) * UNIT
    lengths = np.concatenate([np.full(600, UNIT), np.full(120, 2 * UNIT)])
    order = np.argsort(times, kind="stable")
    trace = ss.Trace.from_arrays(
        times[order], ["write"] * 720, places[order], lengths[order], capacity="256KiB", start=0
    )
    return ss.count_lifetimes(trace, every="1min", block_size="4KiB", initial="thin")


def test_a_plain_policy_is_its_timeline(lifetimes):
    policy = ss.Policy(schedule="10min", keep_last=3)
    assert (
        ss.run_policy(policy, lifetimes).deleted.tolist()
        == policy.timeline(lifetimes.instants).deleted.tolist()
    )


def test_writes_are_counted_by_epoch(lifetimes):
    writes = writes_per_epoch(lifetimes)
    assert writes[:12].tolist() == [0, *(UNIT * (3 if minute % 5 == 0 else 1) for minute in range(11))]


def test_classes_act_on_what_is_written(lifetimes):
    classes = {"change": {"schedule": "1min", "min_written": "40KiB", "keep": 5}}
    timeline = ss.run_policy(ss.Policy(classes=classes), lifetimes)
    written = np.cumsum(writes_per_epoch(lifetimes))[timeline.created]
    assert np.diff(written, prepend=0).min() >= 40 << 10
    assert np.diff(written, prepend=0).max() < (40 << 10) + 3 * UNIT


def test_a_quiet_window_saves_writes_and_says_so(lifetimes):
    classes = {"ten": {"schedule": "10min", "quiet": "3min", "keep": 5}}
    timeline = ss.run_policy(ss.Policy(classes=classes), lifetimes)
    # in the minute of the tick three blocks are written, in the next one
    assert set(timeline.created[:-1] % 10) == {1}
    assert timeline.findings[0].startswith("Class ten: 60 of 61 snapshots moved to a quieter instant")
    grown = ss.growth(lifetimes, timeline, mechanism="wafl")
    assert timeline.findings[0] in grown.findings


def test_two_volumes_are_one_pool_and_one_activity(lifetimes):
    both = {"a": lifetimes, "b": lifetimes}
    classes = {"change": {"schedule": "1min", "min_written": "80KiB", "keep": 5}}
    alone = ss.Policy(classes={"change": {**classes["change"], "min_written": "40KiB"}})
    twice = ss.run_policy(ss.Policy(classes=classes), both)
    assert twice.created.tolist() == ss.run_policy(alone, lifetimes).created.tolist()


def test_rules_about_space_act_on_the_pool(lifetimes):
    space = {"snapshots_max": 0.25, "soft": {"keep_last": 2}}
    policy = ss.Policy(schedule="10min", keep_last=20, space=space)
    free = ss.run_policy(policy, lifetimes)
    pressed = ss.run_policy(policy, lifetimes, mechanism="wafl", pool_size="512KiB")
    assert free.max_live == 20 > pressed.max_live
    meter = ss.SpaceMeter(lifetimes, "wafl")
    for instant in pressed.created.tolist():
        kept = pressed.kept(instant)
        assert len(kept) <= 2 or meter(kept, instant) < 128 << 10
    frame = ss.growth(lifetimes, pressed, mechanism="wafl").frame
    after = frame["snapshot_bytes"].to_numpy()[pressed.created]
    assert after.max() < 128 << 10


def test_deferred_pruning_keeps_more_until_the_pool_fills(lifetimes):
    policy = ss.Policy(schedule="10min", keep_last=2, space={"prune_defer_below": 0.9})
    large = ss.run_policy(policy, lifetimes, mechanism="wafl", pool_size="1GiB")
    small = ss.run_policy(policy, lifetimes, mechanism="wafl", pool_size="256KiB")
    assert large.max_live == len(large)
    assert 2 < small.max_live < len(large)


def test_events_need_a_class_that_listens(lifetimes):
    policy = ss.Policy(classes={"up": {"events": ["apt"], "keep": 3}})
    timeline = ss.run_policy(policy, lifetimes, events=[Event("apt", 3 * HOUR)])
    assert timeline.instants[timeline.created].tolist() == [3 * HOUR]
    with pytest.raises(PolicyError, match="upgrade"):
        ss.run_policy(policy, lifetimes, events=[Event("upgrade", 3 * HOUR)])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"pool_size": "1GiB"}, "give mechanism too"),
        ({"pool_size": "1KiB", "mechanism": "wafl"}, "the volume alone grows to"),
    ],
)
def test_mistakes(lifetimes, given, message):
    policy = ss.Policy(schedule="10min", keep_last=2, space={"prune_defer_below": 0.9})
    with pytest.raises(UsageError, match=message):
        ss.run_policy(policy, lifetimes, **given)
    with pytest.raises(UsageError, match="hold no volume"):
        ss.run_policy(policy, [])


def test_limits_are_findings(lifetimes):
    policy = ss.Policy(
        schedule="10min", keep_last=5, limits={"chain_max": 3, "chain_hard": 5, "max_age": "20min"}
    )
    told = ss.run_policy(policy, lifetimes).findings
    assert told == (
        "5 snapshots exist at once, but chain_max of the policy is 3.",
        "6 snapshots exist just before a prune, but the hard limit of the policy is 5.",
        "Snapshots grow 50min old, but max_age is 20min.",
    )


def test_evaluate_runs_policies_with_all_they_act_on(lifetimes):
    classes = {"ten": {"schedule": "10min", "quiet": "3min", "keep": 5}}
    policy = ss.Policy(classes=classes)
    row = ss.evaluate(lifetimes, [policy], mechanism="wafl").iloc[0]
    grown = ss.growth(lifetimes, ss.run_policy(policy, lifetimes), mechanism="wafl", bounds=False)
    assert row["snapshot_peak_bytes"] == grown.peak["snapshot_bytes"]


def test_a_snapshot_that_goes_at_once_needs_nothing(lifetimes):
    """A grid keeps the oldest of a stretch: most snapshots are pruned at the instant of their creation."""
    policy = ss.Policy(schedule="1min", compat="zrepl", grid={"spec": "3x10min | 2x1h"})
    timeline = ss.run_policy(policy, lifetimes)
    stays = timeline.deleted > timeline.created
    assert 0 < stays.sum() < len(timeline) // 2
    taken = timeline.taken._replace(created=timeline.created[stays], asked=timeline.taken.asked[stays])
    without = replace(timeline, created=taken.created, deleted=timeline.deleted[stays], taken=taken)
    same = ["snapshots", "snapshot_bytes", "metadata_bytes", "total_bytes", "allocated_bytes", "copied_bytes"]
    for mechanism in ("wafl", "qcow2-external", "dm-snapshot", "se-sparse"):
        found = ss.growth(lifetimes, timeline, mechanism=mechanism, bounds=False).frame
        wanted = ss.growth(lifetimes, without, mechanism=mechanism, bounds=False).frame
        assert found[same].equals(wanted[same]), mechanism
        assert (found["peak_bytes"] >= wanted["peak_bytes"]).all()
        row = ss.evaluate(lifetimes, [timeline], mechanism=mechanism).iloc[0]
        assert row["snapshot_peak_bytes"] == found["peak_bytes"].max()
    assert len(ss.recovery_ladder(timeline)) > 0
