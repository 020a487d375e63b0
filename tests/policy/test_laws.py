"""What holds for every policy, and where the tools that it reproduces break what one would expect."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapsim.policy import Policy
from snapsim.policy.retention import matches
from snapsim.types import Snapshot
from snapsim.units import DAY, HOUR
from tests.policy.language import FEW, catalogs, moments, nanoseconds, nows, prunes

# ---------------------------------------- whatever a policy says


@FEW
@given(prunes(), st.randoms(use_true_random=False))
def test_order_of_the_input_does_not_matter(case, chance):
    policy, snapshots, now = case
    before = policy.decide(snapshots, now)
    shuffled = list(range(len(snapshots)))
    chance.shuffle(shuffled)
    after = policy.decide([snapshots[index] for index in shuffled], now)
    assert after == [before[index] for index in shuffled]


@FEW
@given(prunes())
def test_every_decision_has_reasons(case):
    policy, snapshots, now = case
    for decision in policy.decide(snapshots, now):
        assert decision.reasons
        assert all(decision.reasons)
        assert all("{" not in reason for reason in decision.reasons)


@FEW
@given(prunes())
def test_guards_are_never_passed(case):
    policy, snapshots, now = case
    groups = {}
    for decision in policy.decide(snapshots, now):
        one = decision.snapshot
        own = {"class": one.classes, "tags": one.tags, "kind": one.kind}
        values = [own.get(key, one.attributes.get(key)) for key in policy.group_by]
        key = tuple(frozenset(value) if isinstance(value, tuple | list) else value for value in values)
        groups.setdefault(key, []).append(decision)
    for group in groups.values():
        managed = [one for one in group if not policy.select or matches(policy.select, one.snapshot)]
        going = sum(not decision.keep for decision in managed)
        if policy.guards.refuse_delete_all:
            assert going < len(group)
        if policy.guards.max_delete_fraction is not None:
            share = Fraction(policy.guards.max_delete_fraction).limit_denominator(10**6)
            assert going <= share * len(managed)


@FEW
@given(prunes())
def test_what_is_protected_or_not_managed_never_goes(case):
    policy, snapshots, now = case
    protect = policy.protect
    for decision in policy.decide(snapshots, now):
        one, known = decision.snapshot, decision.snapshot.attributes
        if (
            (policy.select and not matches(policy.select, one))
            or one.tags & set(protect.tags)
            or (protect.important and known.get("important"))
            or (protect.in_use and (known.get("in_use") or known.get("protected")))
            or (protect.incremental_base and known.get("incremental_base"))
            or (protect.not_replicated and known.get("replicated") is False)
            or (policy.min_age_ns and one.time_ns > now - policy.min_age_ns)
            or (policy.future != "count" and one.time_ns > now)
        ):
            assert decision.keep


@FEW
@given(prunes())
def test_halves_of_a_pair_stay_together(case):
    policy, snapshots, now = case
    if not policy.protect.pairs or policy.group_by:
        return
    decisions = policy.decide(snapshots, now)
    keep = {}
    for decision in decisions:
        keep.setdefault(decision.snapshot.id, []).append(decision.keep)
    for decision in decisions:
        for other in keep.get(decision.snapshot.attributes.get("pair"), []):
            assert other == decision.keep


# ---------------------------------------- twice is once

COUNTS = st.fixed_dictionaries(
    {}, optional={f"keep_{name}": st.integers(1, 5) for name in ("hourly", "daily", "weekly", "monthly")}
).filter(bool)


@st.composite
def catalogs_of_tools(draw, tool, *, in_order=True):
    """A zone that the tool knows, snapshots as it takes them, and a time of decision."""
    zone, times = draw(moments())
    now = draw(nows(times))
    snapshots = draw(catalogs(times, bare=True))
    if in_order:
        ranked = sorted(snapshots, key=lambda one: (one.time_ns, one.id))
        snapshots = [
            Snapshot(one.time_ns, id=str(1000 + place), attributes={"number": place, "cleanup": "timeline"})
            for place, one in enumerate(ranked)
        ]
    own = {"kopia": "UTC", "zrepl": "UTC", "restic": "recorded", "restic-0.14": "recorded"}
    return own.get(tool, "UTC" if zone == "recorded" else zone), snapshots, now


def left_by(policy, snapshots, now):
    return [decision.snapshot for decision in policy.decide(snapshots, now) if decision.keep]


ONE_SHOT = [
    "snapsim",
    "restic",
    "restic-0.14",
    "borg-1.2",
    "borg-2",
    "proxmox",
    "snapper",
    "btrbk",
    "kopia",
    "gfs",
]


@pytest.mark.parametrize("tool", ONE_SHOT)
@FEW
@given(data=st.data())
def test_deciding_twice_changes_nothing(tool, data):
    zone, snapshots, now = data.draw(catalogs_of_tools(tool))
    policy = Policy(compat=tool, timezone=zone, **data.draw(COUNTS))
    once = left_by(policy, snapshots, now)
    assert left_by(policy, once, now) == once


@FEW
@given(st.data())
def test_deciding_twice_changes_nothing_on_a_grid(data):
    _, snapshots, now = data.draw(catalogs_of_tools("zrepl"))
    policy = Policy(compat="zrepl", grid={"spec": "1x1h(keep=all) | 5x2h | 3x1d(keep=2)"})
    once = left_by(policy, snapshots, now)
    assert left_by(policy, once, now) == once


# ---------------------------------------- more is more

MONOTONE = ["snapsim", "restic", "restic-0.14", "borg-1.2", "borg-2", "snapper", "kopia"]


@pytest.mark.parametrize("tool", MONOTONE)
@FEW
@given(data=st.data())
def test_raising_a_count_never_lets_a_snapshot_go(tool, data):
    zone, snapshots, now = data.draw(catalogs_of_tools(tool))
    rules = data.draw(COUNTS)
    raised = data.draw(st.sampled_from(sorted(rules)))
    more = {**rules, raised: rules[raised] + data.draw(st.integers(1, 4))}
    few = left_by(Policy(compat=tool, timezone=zone, **rules), snapshots, now)
    many = left_by(Policy(compat=tool, timezone=zone, **more), snapshots, now)
    assert {one.id for one in few} <= {one.id for one in many}


# ---------------------------------------- rules and their order


@FEW
@given(prunes(plain=True, bare=True), st.randoms(use_true_random=False))
def test_order_of_rules_is_irrelevant_for_any(case, chance):
    policy, snapshots, now = case
    given = policy.said()
    keep = list(given.get("keep", ()))
    if policy.combine != "any" or policy.oldest == "last_rule":
        return
    kept = left_by(policy, snapshots, now)
    chance.shuffle(keep)
    assert left_by(Policy(**{**given, "keep": keep}), snapshots, now) == kept


def test_order_of_rules_is_relevant_for_the_others():
    """A day and a month, in either order, over the last two days of January and the first of February."""
    texts = ["2024-01-30T12:00Z", "2024-01-31T12:00Z", "2024-02-01T12:00Z"]
    snapshots = [Snapshot(nanoseconds(text), id=text) for text in texts]
    day, month = {"bucket": "day", "count": 2}, {"bucket": "month", "count": 1}
    for combine, day_first, month_first in [
        ("sequential", texts[1:], texts),
        ("claim", texts[1:], texts),
        ("any", texts[1:], texts[1:]),
    ]:
        for rules, wanted in (([day, month], day_first), ([month, day], month_first)):
            policy = Policy(combine=combine, keep=rules)
            assert [one.id for one in left_by(policy, snapshots, nanoseconds(texts[2]))] == wanted, combine


def test_cascade_is_a_sieve():
    """Of the first of each day the first of each month: one day back, and two months."""
    snapshots = [
        Snapshot(nanoseconds("2024-01-01T00:00Z") + hour * 6 * HOUR, id=str(hour)) for hour in range(240)
    ]
    policy = Policy(
        combine="cascade",
        reference="now",
        keep=[
            {"bucket": "day", "pick": "oldest", "back": 1},
            {"bucket": "month", "pick": "oldest", "back": 2},
        ],
    )
    now = snapshots[-1].time_ns
    assert now == nanoseconds("2024-02-29T18:00Z")
    days = [(one.time_ns - snapshots[0].time_ns) // DAY for one in left_by(policy, snapshots, now)]
    assert days == [0, 31, 58, 59]
    assert all(one.time_ns % DAY == 0 for one in left_by(policy, snapshots, now))
