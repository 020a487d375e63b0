"""The kernels say what the plain-Python twin says, for single prunes and for the event loop."""

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from snapsim.policy import Policy, reference
from snapsim.policy import judgement_kernels as judgement
from snapsim.policy.buckets import CalendarKeys
from snapsim.policy.compat import KEEP_BUCKETS
from snapsim.policy.loop_kernels import stretches
from snapsim.policy.timeline import Taken, _fits_queues, _loop, _simulated
from snapsim.units import HOUR
from tests.policy.language import (
    SCHEDULE,
    catalogs,
    counts,
    moments,
    nanoseconds,
    nows,
    policies,
    prunes,
    without_hint,
)

CLASSES = tuple(text.removeprefix("@") for text in SCHEDULE)
"""What the parts of the schedule ask for."""

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
        instant: frozenset(name for part, name in enumerate(CLASSES) if asked >> part & 1)
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


def full_steps(policy, keys, taken):
    verdicts, _ = judgement.simulate(*_simulated(policy, keys, taken))
    return np.append(taken.created, keys.time_ns.size)[verdicts.step].tolist()


def in_one_pass(policy, keys, taken):
    """Say whether a policy does not have to be left to the general engine."""
    rules, semantics, snapshots, _ = _simulated(policy, keys, taken)
    shape = len(policy.rules), taken.created.size
    return stretches(
        rules, semantics, snapshots, np.empty(shape, dtype=np.int32), np.empty(shape[0], dtype=np.bool_)
    )


@given(loops(lambda zone: policies(timezone=zone, loop=True)))
def test_without_reasons_the_same_goes(case):
    policy, instants, taken = case
    keys = CalendarKeys(instants, policy.calendar)
    timeline = _loop(policy, keys, taken, queues=False)
    assert timeline.deleted.tolist() == full_steps(policy, keys, taken)


@st.composite
def neighbourly(draw, zone):
    """A policy whose buckets are stretches of neighbours: what goes is found in one pass for each rule."""
    combine = draw(st.sampled_from(["any", "sequential", "claim", "cascade"]))
    buckets = draw(
        st.lists(st.sampled_from(["each", "hour", "day", "week", "month", "quarter"]), min_size=1, max_size=4)
    )
    if combine == "cascade":
        buckets = sorted(set(buckets), key=["each", "hour", "day", "week", "month", "quarter"].index)
    rules = []
    for place, bucket in enumerate(buckets):
        sieve = combine == "cascade" and place + 1 < len(buckets) and draw(st.integers(0, 3)) == 0
        rule = {
            "bucket": bucket,
            "count": 0 if sieve else draw(counts),
            "pick": draw(st.sampled_from(["newest", "oldest"])),
        }
        if combine == "cascade" and bucket != "each" and draw(st.booleans()):
            rule["back"] = draw(st.integers(0, 5))
        if combine in ("any", "sequential") and draw(st.integers(0, 2)) == 0:
            names = draw(st.lists(st.sampled_from(CLASSES), min_size=1, max_size=2, unique=True))
            rule["select"] = {"class": names}
        rules.append(rule)
    given = {"combine": combine, "keep": rules, "adjacency": draw(st.sampled_from(["set", "run"]))}
    if combine in ("any", "sequential"):
        given["oldest"] = draw(st.sampled_from(["never", "each_rule", "each_counted_rule", "last_rule"]))
    given["tie_break"] = draw(st.sampled_from(["newest_id", "all"]))
    given["future"] = draw(st.sampled_from(["count", "keep", "ignore"]))
    given["guards"] = {"refuse_delete_all": draw(st.booleans())}
    return Policy(schedule=list(SCHEDULE), timezone=zone, **given)


@given(loops(neighbourly))
def test_one_pass_for_each_rule(case):
    """So few of the policies of the whole language fit that those that do are drawn by themselves."""
    policy, instants, taken = case
    keys = CalendarKeys(instants, policy.calendar)
    event(f"{policy.combine} in one pass: {in_one_pass(policy, keys, taken)}")
    timeline = _loop(policy, keys, taken, queues=False)
    assert timeline.deleted.tolist() == full_steps(policy, keys, taken)
    assert pairs_of(timeline) == reference.run(
        policy, instants.tolist(), taken.created.tolist(), classes_of(taken)
    )


@pytest.mark.parametrize("tool", ["borg-1.2", "proxmox", "snapper", "btrbk"])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
@pytest.mark.parametrize(
    ("every", "n_instants"), [(HOUR, 1500), (6 * HOUR, 2000)], ids=["two months", "over a year"]
)
def test_tools_in_one_pass(tool, zone, every, n_instants):
    """As the tools decide, with counts that are used up and clocks that are put back."""
    policy = Policy(
        schedule="@hourly",
        compat=tool,
        timezone=zone,
        keep_hourly=24,
        keep_daily=7,
        keep_weekly=4,
        keep_monthly=6,
    )
    instants = nanoseconds("2024-09-20T00:00Z") + np.arange(n_instants) * every
    keys = CalendarKeys(instants, policy.calendar)
    taken = Taken(np.arange(n_instants), np.ones(n_instants, dtype=np.uint64), 0, 0)
    assert in_one_pass(policy, keys, taken)
    timeline = _loop(policy, keys, taken)
    assert timeline.deleted.tolist() == full_steps(policy, keys, taken)
    assert timeline.max_live < n_instants / 10
