"""From one policy to another: the first run, and the time until it is settled."""

import numpy as np
import pytest

import snapsim as ss
from snapsim.errors import PolicyError
from snapsim.policy.times import parse_instant
from snapsim.units import DAY, HOUR

NOW = parse_instant("2026-03-01T12:00Z")


def daily(**rules):
    return ss.Policy(schedule="@daily", **rules)


def test_the_same_policy_changes_nothing():
    policy = daily(keep_daily=7, keep_weekly=4)
    got = ss.migrate(policy, policy, NOW)
    assert not got.first.deleted
    assert got.grown_ns == got.same_ns == 0
    assert got.assumed


def test_dropping_a_rule_deletes_at_once_and_is_settled_at_once():
    old = daily(keep_daily=7, keep_monthly=6)
    got = ss.migrate(old, ss.vary(old, "drop monthly"), NOW)
    steady = old.timeline(old.ticks(NOW - 1000 * DAY, NOW))
    monthly_only = [one for one in steady.kept(-1) if steady.instants[-1] - steady.instants[one] > 6 * DAY]
    assert [one.time_ns for one in got.first.deleted] == steady.instants[monthly_only].tolist()
    assert got.lost == got.first.deleted
    assert got.grown_ns == got.same_ns == 0
    assert "a count of" in got.text()


def test_a_count_that_grows_takes_so_many_days():
    got = ss.migrate(daily(keep_last=3), daily(keep_last=10), NOW)
    assert not got.first.deleted
    # seven more midnights: the first is twelve hours away
    assert got.grown_ns == got.same_ns == 6 * DAY + 12 * HOUR


def test_as_many_and_as_far_back_comes_before_exactly_the_same():
    old = ss.Policy(schedule="0 18 * * *", keep_last=10)
    got = ss.migrate(old, daily(keep_last=10), NOW)
    assert got.grown_ns == 0
    assert got.same_ns == 9 * DAY + 12 * HOUR


def test_the_new_policy_is_followed_as_its_own_simulation_would():
    """From nothing, it is the start-up: the same as a timeline that begins now."""
    new = daily(keep_daily=5, keep_weekly=3)
    got = ss.migrate(None, new, NOW, snapshots=[])
    young = new.timeline(new.ticks(NOW, NOW + 200 * DAY))
    old = new.timeline(new.ticks(NOW - 400 * DAY, NOW + 200 * DAY))
    offset = old.instants.size - young.instants.size
    same = [
        np.array_equal(young.instants[young.kept(i)], old.instants[old.kept(i + offset)])
        for i in range(young.instants.size)
    ]
    first = len(same) - same[::-1].index(False) if False in same else 0
    assert got.same_ns == young.instants[first] - NOW


@pytest.mark.parametrize(
    "new",
    [
        {"compat": "proxmox", "keep_daily": 4, "keep_weekly": 2},
        {"compat": "borg-1.2", "keep_daily": 4, "keep_weekly": 2},
        {"compat": "btrbk", "keep_daily": 4, "keep_weekly": 2},
    ],
)
def test_every_way_to_combine_is_followed_from_its_own_steady_state(new):
    policy = daily(**new)
    got = ss.migrate(policy, policy, NOW)
    assert got.same_ns == 0


def test_a_listing_says_what_exists():
    held = [ss.Snapshot(time_ns=NOW - day * DAY, name=f"s{day}", id=f"s{day}") for day in range(30)]
    got = ss.migrate(daily(keep_daily=2), daily(keep_daily=5), NOW, snapshots=held)
    assert [one.name for one in got.first.kept] == ["s4", "s3", "s2", "s1", "s0"]
    # the old policy would have deleted these, too
    assert len(got.first.deleted) == 25
    assert got.lost == ()
    assert not got.assumed
    assert got.summary()["deleted"] == 25


@pytest.mark.parametrize(
    ("new", "why"),
    [
        (ss.Policy(keep_last=3), "the new policy has no schedule"),
        (daily(keep_yearly="unlimited"), "a rule without end"),
    ],
)
def test_what_cannot_be_followed_is_said(new, why):
    got = ss.migrate(daily(keep_daily=3), new, NOW)
    assert why in got.unknown
    assert got.same_ns is None
    assert f"not known, because {got.unknown}" in got.text()


def test_several_groups_are_not_followed_as_one():
    held = [ss.Snapshot(time_ns=NOW - DAY, id=host, attributes={"host": host}) for host in "ab"]
    got = ss.migrate(None, daily(keep_last=1, group_by=["host"]), NOW, snapshots=held)
    assert len(got.first.kept) == 2
    assert "2 groups" in got.unknown


def test_nothing_says_what_exists():
    with pytest.raises(PolicyError, match="nothing says what exists"):
        ss.migrate(None, daily(keep_last=1), NOW)
    with pytest.raises(PolicyError, match="the old policy has no schedule"):
        ss.migrate(ss.Policy(keep_last=1), daily(keep_last=1), NOW)


def test_a_guard_that_stops_the_first_run_is_said():
    got = ss.migrate(daily(keep_last=20), daily(keep_last=2, guards={"max_delete_fraction": 0.5}), NOW)
    assert not got.first.deleted
    assert got.first.frame["reasons"].str.contains("guard:").any()
    assert got.same_ns is None  # and it stops every run after it
