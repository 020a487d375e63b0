"""The kernels say what the plain-Python twin says, for single prunes and for the event loop."""

from datetime import datetime

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from snapsim.policy import Policy, reference
from snapsim.policy.buckets import CalendarKeys
from snapsim.policy.policy import KEEP_BUCKETS
from snapsim.policy.timeline import Taken, _loop
from snapsim.types import Snapshot
from snapsim.units import DAY, HOUR, MINUTE

# clocks were changed: at an hour, by half an hour, one minute after midnight, at midnight, by a day
NIGHTS = {
    "UTC": ["2024-02-29T00:00Z", "2020-12-31T00:00Z"],
    "Europe/Berlin": ["2024-03-31T01:00Z", "2024-10-27T01:00Z"],
    "America/New_York": ["2021-11-07T06:00Z"],
    "Australia/Lord_Howe": ["2024-04-06T15:00Z", "2024-10-05T15:30Z"],
    "America/St_Johns": ["2000-10-29T02:31Z", "2000-04-02T03:31Z"],
    "America/Sao_Paulo": ["2018-02-18T02:00Z", "2018-11-04T03:00Z"],
    "Pacific/Apia": ["2011-12-30T10:00Z"],
}
STEPS = (MINUTE, 29 * MINUTE, HOUR, 7 * HOUR, DAY, 5 * DAY, 31 * DAY)


def nanoseconds(text):
    return round(datetime.fromisoformat(text).timestamp()) * 10**9


zones = st.sampled_from(sorted(NIGHTS))
counts = st.one_of(st.just(0), st.integers(1, 5), st.just("unlimited"))
windows = st.sampled_from([None, None, "90min", "1d", "10d", "1mo", "1mo2h", "1y", "2mo36h"])
kept = st.tuples(st.fixed_dictionaries(dict.fromkeys(KEEP_BUCKETS, counts)), windows).filter(
    lambda rules: any(rules[0].values()) or rules[1]
)


@st.composite
def moments(draw, zone, *, least=0, most=40, unique=False):
    """Times near a change of the clock, on a few scales at once, with ties unless `unique`."""
    night = nanoseconds(draw(st.sampled_from(NIGHTS[zone])))
    step = st.tuples(st.integers(-12, 12), st.sampled_from(STEPS)).map(lambda pair: pair[0] * pair[1])
    offsets = draw(st.lists(step, min_size=least, max_size=most, unique=unique))
    return [night + offset for offset in offsets]


@st.composite
def prunes(draw):
    zone = draw(zones)
    times = draw(moments(zone))
    rules, within = draw(kept)
    now = draw(moments(zone, least=1, most=1))[0]
    snapshots = [Snapshot(time_ns, id=f"{number % 7}") for number, time_ns in enumerate(times)]
    # same time and same id is the same snapshot
    snapshots = list({(one.time_ns, one.id): one for one in snapshots}.values())
    return Policy(schedule="1h", timezone=zone, keep_within=within, **rules), snapshots, now


@given(prunes())
def test_one_prune(case):
    policy, snapshots, now = case
    wanted = reference.keep(
        [(one.time_ns, one.id) for one in snapshots], policy.rules, now_ns=now, timezone=policy.timezone
    )
    decisions = policy.decide(snapshots, now)
    assert [decision.snapshot for decision in decisions] == snapshots
    for decision, ranks in zip(decisions, wanted, strict=True):
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
def loops(draw):
    zone = draw(zones)
    instants = sorted(draw(moments(zone, least=1, most=60, unique=True)))
    rules, within = draw(kept)
    due = np.flatnonzero(
        draw(st.lists(st.booleans() | st.just(True), min_size=len(instants), max_size=len(instants)))
    )
    return Policy(schedule="1h", timezone=zone, keep_within=within, **rules), np.array(instants), due


@given(loops())
def test_create_prune_create(case):
    policy, instants, due = case
    taken = Taken(due, np.ones(due.size, dtype=np.uint64), 0, 0)
    timeline = _loop(policy, CalendarKeys(instants, policy.timezone), taken)
    wanted = reference.run(instants.tolist(), due.tolist(), policy.rules, timezone=policy.timezone)
    assert list(zip(timeline.created.tolist(), timeline.deleted.tolist(), strict=True)) == wanted
    told = dict(zip(timeline.created.tolist(), timeline.frame["reasons"], strict=True))
    for instant in range(instants.size):
        decisions = timeline.decisions(instant)
        kept_times = [decision.snapshot.time_ns for decision in decisions if decision.keep]
        assert instants[timeline.kept(instant)].tolist() == kept_times
        for created, decision in zip(timeline.before_prune(instant).tolist(), decisions, strict=True):
            if not decision.keep or instant == timeline.created[-1]:
                assert told[created] == "; ".join(decision.reasons)
