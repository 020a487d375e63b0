"""The kernels say what the plain-Python twin says, for single prunes and for the event loop."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from snapsim.policy import Policy, reference
from snapsim.policy.buckets import CalendarKeys
from snapsim.policy.compat import KEEP_BUCKETS
from snapsim.policy.timeline import Taken, _fits_queues, _loop
from tests.policy.language import (
    SCHEDULE,
    catalogs,
    counts,
    moments,
    nows,
    policies,
    prunes,
    without_hint,
)

windows = st.sampled_from([None, None, None, "90min", "1d", "10d", "1mo", "1mo", "1mo1d", "1y"])


@st.composite
def short_rules(draw):
    """A few rules: with many, nothing is ever let go."""
    keys = draw(st.lists(st.sampled_from(sorted(KEEP_BUCKETS)), max_size=3, unique=True))
    within = draw(windows)
    if not keys and within is None:
        keys = ["keep_daily"]
    return {**{key: draw(counts) for key in keys}, "keep_within": within}


@given(prunes())
def test_one_prune(case):
    """Every key of the language, on snapshots that carry everything that marks them."""
    policy, snapshots, now = case
    decisions = policy.decide(snapshots, now)
    assert [decision.snapshot for decision in decisions] == snapshots
    assert [decision.keep for decision in decisions] == reference.decide(policy, snapshots, now)


@given(prunes(plain=True, bare=True))
def test_one_prune_by_rules_alone(case):
    policy, snapshots, now = case
    decisions = policy.decide(snapshots, now)
    assert [decision.keep for decision in decisions] == reference.decide(policy, snapshots, now)


@given(st.data())
def test_ranks_are_told(data):
    zone, times = data.draw(moments())
    policy = Policy(schedule="1h", timezone=zone, **data.draw(short_rules()))
    snapshots, now = data.draw(catalogs(times, bare=True)), data.draw(nows(times))
    wanted = reference.ranks(policy, snapshots, now)
    for decision, ranks in zip(policy.decide(snapshots, now), wanted, strict=True):
        assert decision.keep == bool(ranks)
        if decision.keep:
            said = tuple(
                f"within {policy.keep_within}"
                if rule.window
                else f"{rule.name} {ranks[rule.name]} of {rule.count or 'unlimited'}"
                for rule in policy.rules
                if rule.name in ranks
            )
            assert decision.reasons == said
        else:
            assert len(decision.reasons) == len(policy.rules)


@st.composite
def loops(draw, rules):
    """A policy by its strategy, instants, and what is taken when, by which parts of the schedule."""
    zone, instants = draw(moments())
    due = draw(st.just(range(len(instants))) | st.sets(st.integers(0, len(instants) - 1)).map(sorted))
    asked = draw(st.lists(st.integers(1, 7), min_size=len(due), max_size=len(due)))
    taken = Taken(np.array(due, dtype=np.int64), np.array(asked, dtype=np.uint64), 0, 0)
    return draw(rules(zone)), np.array(instants), taken


def classes_of(taken):
    return {
        instant: frozenset(name for part, name in enumerate(SCHEDULE) if asked >> part & 1)
        for instant, asked in zip(taken.created.tolist(), taken.asked.tolist(), strict=True)
    }


def pairs_of(timeline):
    return list(zip(timeline.created.tolist(), timeline.deleted.tolist(), strict=True))


@given(loops(lambda zone: policies(timezone=zone, loop=True)))
def test_take_prune_take(case):
    """Every key of the language that does not need marks, after each snapshot."""
    policy, instants, taken = case
    keys = CalendarKeys(instants, policy.calendar)
    timeline = _loop(policy, keys, taken)
    wanted = reference.run(policy, instants.tolist(), taken.created.tolist(), classes_of(taken))
    assert pairs_of(timeline) == wanted
    for instant in taken.created[::7].tolist():  # nothing is pruned at the others
        decided = [decision.snapshot.time_ns for decision in timeline.decisions(instant) if decision.keep]
        assert instants[timeline.kept(instant)].tolist() == decided


@given(
    loops(
        lambda zone: short_rules().map(lambda rules: Policy(schedule=list(SCHEDULE), timezone=zone, **rules))
    )
)
def test_queues_are_the_quick_way_to_the_same(case):
    policy, instants, taken = case
    keys = CalendarKeys(instants, policy.calendar)
    assert _fits_queues(policy, keys)
    timeline, general = _loop(policy, keys, taken), _loop(policy, keys, taken, queues=False)
    assert general.deleted.tolist() == timeline.deleted.tolist()
    assert pairs_of(timeline) == reference.run(policy, instants.tolist(), taken.created.tolist())
    told = dict(zip(timeline.created.tolist(), timeline.frame["reasons"], strict=True))
    for instant in range(instants.size):
        decisions = timeline.decisions(instant)
        kept_times = [decision.snapshot.time_ns for decision in decisions if decision.keep]
        assert instants[timeline.kept(instant)].tolist() == kept_times
        for created, decision in zip(timeline.before_prune(instant).tolist(), decisions, strict=True):
            if not decision.keep or instant == timeline.created[-1]:
                assert told[created] == without_hint(decision.reasons)
