"""The kernels say what the plain-Python twin says, for single prunes and for the event loop."""

import re
from datetime import datetime

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from snapsim.policy import Policy, reference
from snapsim.policy.buckets import CalendarKeys
from snapsim.policy.compat import KEEP_BUCKETS
from snapsim.policy.timeline import Taken, _loop
from snapsim.types import Snapshot
from snapsim.units import DAY, HOUR, MINUTE

# where the clock goes an hour, half an hour or a day forward or back, at midnight or one minute after it;
# months, years and ISO years end
NIGHTS = [
    ("UTC", "2023-03-31T12:00Z"),
    ("UTC", "2024-05-31T12:00Z"),
    ("UTC", "2020-12-31T00:00Z"),
    ("Europe/Berlin", "2024-03-31T01:00Z"),
    ("Europe/Berlin", "2024-10-27T01:00Z"),
    ("Australia/Lord_Howe", "2024-04-06T15:00Z"),
    ("Australia/Lord_Howe", "2024-10-05T15:30Z"),
    ("America/St_Johns", "2000-10-29T02:31Z"),
    ("America/St_Johns", "2000-10-29T02:31Z"),
    ("America/Sao_Paulo", "2018-11-04T03:00Z"),
    ("Pacific/Apia", "2011-12-30T10:00Z"),
]
STEPS = (MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 6 * HOUR, DAY, DAY, 7 * DAY)


def nanoseconds(text):
    return round(datetime.fromisoformat(text).timestamp()) * 10**9


counts = st.integers(1, 4) | st.just("unlimited")
windows = st.sampled_from([None, None, None, "90min", "1d", "10d", "1mo", "1mo", "1mo1d", "1y"])


@st.composite
def rules(draw):
    """A few rules: with many, nothing is ever let go."""
    keys = draw(st.lists(st.sampled_from(sorted(KEEP_BUCKETS)), max_size=3, unique=True))
    within = draw(windows)
    if not keys and within is None:
        keys = ["keep_daily"]
    return {**{key: draw(counts) for key in keys}, "keep_within": within}


@st.composite
def moments(draw):
    """A zone, and times on a grid around one of its nights: they meet the edges of buckets and windows."""
    zone, night = draw(st.sampled_from(NIGHTS))
    step = draw(st.sampled_from(STEPS))
    present = draw(st.integers(1, 2**41 - 1) | st.just(2**41 - 1))
    return zone, [nanoseconds(night) + (place - 20) * step for place in range(41) if present >> place & 1]


@st.composite
def prunes(draw):
    zone, times = draw(moments())
    now = draw(st.sampled_from(times)) + draw(st.sampled_from([-1, 0, DAY]))
    twins = draw(st.lists(st.sampled_from(times), max_size=5, unique=True))
    snapshots = [Snapshot(time_ns, id="a") for time_ns in times] + [
        Snapshot(time_ns, id="b") for time_ns in twins
    ]
    snapshots = draw(st.permutations(snapshots)) if draw(st.booleans()) else snapshots
    return Policy(schedule="1h", timezone=zone, **draw(rules())), snapshots, now


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
    zone, instants = draw(moments())
    due = draw(st.just(range(len(instants))) | st.sets(st.integers(0, len(instants) - 1)).map(sorted))
    return (
        Policy(schedule="1h", timezone=zone, **draw(rules())),
        np.array(instants),
        np.array(due, dtype=np.int64),
    )


@given(loops())
def test_create_prune_create(case):
    policy, instants, due = case
    taken = Taken(due, np.ones(due.size, dtype=np.uint64), 0, 0)
    keys = CalendarKeys(instants, policy.calendar)
    timeline = _loop(policy, keys, taken)
    general = _loop(policy, keys, taken, queues=False)
    assert general.deleted.tolist() == timeline.deleted.tolist()
    wanted = reference.run(instants.tolist(), due.tolist(), policy.rules, timezone=policy.timezone)
    assert list(zip(timeline.created.tolist(), timeline.deleted.tolist(), strict=True)) == wanted
    told = dict(zip(timeline.created.tolist(), timeline.frame["reasons"], strict=True))
    for instant in range(instants.size):
        decisions = timeline.decisions(instant)
        kept_times = [decision.snapshot.time_ns for decision in decisions if decision.keep]
        assert instants[timeline.kept(instant)].tolist() == kept_times
        for created, decision in zip(timeline.before_prune(instant).tolist(), decisions, strict=True):
            if not decision.keep or instant == timeline.created[-1]:
                said = re.sub(r" \(a count of \d+ would keep it\)", "", "; ".join(decision.reasons))
                assert told[created] == said
