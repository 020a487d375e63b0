"""Classes: what they refuse, and what becomes of several that fall on one instant."""

from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapsim.errors import PolicyError
from snapsim.policy.schedule import Schedule
from snapsim.policy.taking import Consistency, ScheduleClass, Take, asked_for, merge
from snapsim.policy.triggers import Event
from snapsim.types import SnapshotKind
from snapsim.units import DAY, GIB, HOUR, KIB, MIB, MINUTE


def array(values):
    return np.array(values, dtype=np.int64)


def stronger(left, right):
    return left if left == right else SnapshotKind.FULL


classes = st.lists(
    st.sampled_from(
        [("disk", "crash", 0), ("disk", "quiesced", 0), ("memory", "crash", 3), ("full", "crash", 5),
         ("full", "quiesced", 4)]
    ),
    min_size=1,
    max_size=5,
)  # fmt: skip


@given(classes, st.data())
def test_the_strongest_wins_and_every_class_is_noted(kinds, data):
    policy = [
        ScheduleClass.of(f"c{number}", kind=kind, consistency=consistency, ram=ram)
        for number, (kind, consistency, ram) in enumerate(kinds)
    ]
    times = {one.name: data.draw(st.sets(st.integers(0, 9))) for one in policy}
    takes = merge(policy, {name: array(sorted(when)) for name, when in times.items()})
    wanted = []
    for moment in sorted(set().union(*times.values())):
        here = [one for one in policy if moment in times[one.name]]
        quiesced = any(one.consistency is Consistency.QUIESCED for one in here)
        wanted.append(
            Take(
                moment,
                tuple(one.name for one in here),
                reduce(stronger, (one.kind for one in here)),
                Consistency.QUIESCED if quiesced else Consistency.CRASH,
                max(one.ram for one in here),
            )
        )
    assert [takes.take(number) for number in range(takes.time_ns.size)] == wanted


def test_sixty_four_classes_and_not_one_more():
    policy = [ScheduleClass.of(f"c{number}") for number in range(64)]
    takes = merge(policy, {one.name: array([7]) for one in policy})
    assert len(takes.take(0).classes) == 64
    with pytest.raises(PolicyError, match="policy has 65 classes: 64 is the most"):
        merge([*policy, ScheduleClass.of("more")], {})
    with pytest.raises(PolicyError, match="class 'c1' is there twice"):
        merge([policy[1], policy[1]], {})
    with pytest.raises(PolicyError, match="there is no class 'x': the classes are c0"):
        merge(policy[:1], {"x": array([1])})
    assert merge(policy, {}).time_ns.size == 0


def test_reading_a_class():
    one = ScheduleClass.of(
        "daily", "@daily", timezone="Europe/Berlin", kind="full", consistency="quiesced", ram="4GiB",
        jitter="5min", grace="1h", quiet="30min", min_written="1MiB", on_change=True,
        events=["before-upgrade"], catch_up="all", overlap="queue",
    )  # fmt: skip
    assert one == ScheduleClass(
        name="daily", schedule=Schedule.of("@daily", timezone="Europe/Berlin"), kind=SnapshotKind.FULL,
        consistency=Consistency.QUIESCED, ram=4 * GIB, jitter_ns=5 * MINUTE, grace_ns=HOUR,
        quiet_ns=30 * MINUTE, min_written=MIB, events=("before-upgrade",), catch_up="all", overlap="queue",
    )  # fmt: skip
    assert ScheduleClass.of("a", "1h", on_change=True).min_written == 1
    assert ScheduleClass.of("a", "1h", min_written="4KiB").min_written == 4 * KIB
    assert ScheduleClass.of("a", events="reboot").events == ("reboot",)


def test_planned_and_due_agree():
    one = ScheduleClass.of("hourly", "@hourly", jitter="10min")
    runs = one.planned(0, DAY, policy="web")
    assert runs.tick_ns.size == 24
    assert 0 < runs.max_delay_ns <= 10 * MINUTE
    # another policy's, and another class's, are spread otherwise
    assert runs.at_ns.tolist() != one.planned(0, DAY, policy="db").at_ns.tolist()
    assert (
        runs.at_ns.tolist() != ScheduleClass.of("x", "@hourly", jitter="10min").planned(0, DAY).at_ns.tolist()
    )
    for tick, at in zip(runs.tick_ns.tolist(), runs.at_ns.tolist(), strict=True):
        assert one.due(at - 1, at, policy="web").tick_ns.tolist() == [tick]
        assert one.due(at, at + 1, policy="web").tick_ns.size == 0
    strict = ScheduleClass.of("a", "1h", catch_up="none")
    assert strict.due(0, HOUR + 1).tick_ns.size == 0
    assert strict.due(0, HOUR + 1, grace_ns=MINUTE).tick_ns.tolist() == [HOUR]
    by_hand = ScheduleClass.of("manual")
    assert by_hand.planned(0, DAY).at_ns.size == by_hand.due(0, DAY).at_ns.size == 0


def test_events_and_requests():
    policy = [ScheduleClass.of("daily", "@daily", events=["upgrade"]), ScheduleClass.of("manual")]
    times = asked_for(policy, [Event("manual", 9), Event("upgrade", 7), Event("daily", 3)])
    assert {name: when.tolist() for name, when in times.items()} == {"daily": [3, 7], "manual": [9]}
    with pytest.raises(PolicyError, match="for event 'reboot': the events are daily, upgrade, manual"):
        asked_for(policy, [Event("reboot", 1)])
    united = merge(policy, {**times, "daily": np.union1d(times["daily"], [DAY])})
    assert united.time_ns.tolist() == [3, 7, 9, DAY]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "a_b"}, "class 'a_b': give it a name of letters, digits"),
        ({"name": ""}, "class '': give it a name"),
        ({"kind": "tape"}, 'kind is \'tape\': give one of "disk", "memory", "full"'),
        ({"consistency": "app"}, 'consistency is \'app\': give one of "crash", "quiesced"'),
        ({"ram": "4GiB"}, "ram is 4 GiB, but a disk snapshot saves no memory"),
        ({"kind": "memory", "consistency": "quiesced"}, "a memory snapshot has no disks to quiesce"),
        ({"jitter": "5m"}, "class 'a': duration '5m' could be minutes or months"),
        ({"min_written": "much"}, "class 'a': size 'much' cannot be read"),
        ({"jitter": "5min"}, "jitter is about ticks, and it has no schedule"),
        ({"quiet": "5min"}, "quiet is about ticks, and it has no schedule"),
        ({"on_change": True}, "min_written is about ticks, and it has no schedule"),
        ({"catch_up": "twice"}, "catch_up is 'twice': give one of"),
        ({"overlap": "wait"}, 'overlap is \'wait\': give one of "skip", "queue"'),
        ({"events": ["a", "a"]}, "an event is empty or named twice"),
        ({"schedule": "sometimes"}, "schedule 'sometimes' is no interval"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(PolicyError, match=message):
        ScheduleClass.of(**{"name": "a", **arguments})


def test_negative_numbers_are_refused():
    with pytest.raises(PolicyError, match="class 'a': jitter is negative: give 0 or more"):
        ScheduleClass(name="a", schedule=Schedule.of("1h"), jitter_ns=-1)
