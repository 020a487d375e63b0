"""Policies with several classes: files, timelines, what is taken, and what stays."""

import dataclasses

import numpy as np
import pytest

from snapsim.errors import PolicyError
from snapsim.policy import Policy
from snapsim.policy.triggers import Event
from snapsim.types import Snapshot, SnapshotKind
from snapsim.units import DAY, HOUR, MINUTE

START = 20_000 * DAY
QUARTERS = START + np.arange(8 * 24 * 4) * 15 * MINUTE
CLASSES = {
    "hourly": {"schedule": "@hourly", "keep": 24},
    "nightly": {"schedule": "0 2 * * *", "keep": 3, "kind": "full", "ram": "1GiB", "consistency": "quiesced"},
    "upgrade": {"events": ["apt"], "keep": "unlimited"},
}


def test_each_class_keeps_its_own():
    timeline = Policy(classes=CLASSES, name="vm").timeline(QUARTERS)
    taken = {one.id: one for one in map(timeline.snapshot, range(len(timeline)))}
    last = [one.snapshot for one in timeline.decisions(-1) if one.keep]
    assert [one.time_ns % DAY // HOUR for one in last if "nightly" in one.classes] == [2, 2, 2]
    assert len([one for one in last if "hourly" in one.classes]) == 24 + 2  # two nights are older than a day
    assert all(one.kind is (SnapshotKind.FULL if "nightly" in one.classes else SnapshotKind.DISK)
               for one in taken.values())  # fmt: skip
    assert {one.attributes["consistency"] for one in taken.values() if "nightly" in one.classes} == {
        "quiesced"
    }


def test_reasons_name_the_class():
    timeline = Policy(classes=CLASSES, name="vm").timeline(QUARTERS)
    oldest, *_, newest = timeline.decisions(-1)
    assert oldest.reasons == ("nightly 3 of 3",)
    assert newest.reasons == ("hourly 1 of 24",)


def test_events_are_taken_and_kept():
    when = START + 3 * DAY + 7 * MINUTE
    timeline = Policy(classes=CLASSES, name="vm").timeline(QUARTERS, events=[Event("apt", when)])
    kept = [one.snapshot for one in timeline.decisions(-1) if one.keep and "upgrade" in one.snapshot.classes]
    assert [one.time_ns for one in kept] == [START + 3 * DAY + 15 * MINUTE]


def test_memory_is_that_of_the_classes_that_save_it():
    timeline = Policy(classes=CLASSES, name="vm").timeline(QUARTERS)
    ram = {timeline.snapshot(number).kind: size for number, size in enumerate(timeline.ram.tolist())}
    assert ram == {SnapshotKind.DISK: 0, SnapshotKind.FULL: 1 << 30}


def test_downtime_is_caught_up_once():
    down = [(START + DAY + HOUR, START + DAY + 5 * HOUR + MINUTE)]
    timeline = Policy(classes=CLASSES, name="vm").timeline(QUARTERS, downtimes=down)
    hours = [(timeline.snapshot(number).time_ns - START) / HOUR for number in range(24, 28)]
    assert hours == [24, 29.25, 30, 31]
    assert timeline.snapshot(25).classes == {"hourly", "nightly"}


def test_writes_decide_where_a_class_asks():
    writes = np.zeros(QUARTERS.size + 1, dtype=np.int64)
    writes[100] = 4096
    classes = {"hourly": {"schedule": "@hourly", "keep": 24, "on_change": True}}
    timeline = Policy(classes=classes).timeline(QUARTERS, writes=writes)
    assert timeline.created.tolist() == [100]
    with pytest.raises(PolicyError, match="class 'hourly' looks at what is written"):
        Policy(classes=classes).timeline(QUARTERS)


def test_a_plain_schedule_acts_on_none_of_that():
    with pytest.raises(PolicyError, match="downtimes is given, but this policy has no classes"):
        Policy(schedule="@hourly", keep_last=3).timeline(QUARTERS, downtimes=[(START, START + HOUR)])


def test_toml_and_back():
    policy = Policy(
        classes=CLASSES,
        archive=[{"target": "tape", "class": "nightly", "after": "2d", "command": ["send", "{name}"]}],
        naming="snap_{vm}_{utc:%Y%m%dT%H%M%SZ}_{class}",
        name="vm",
    )
    assert Policy.from_toml(policy.to_toml()) == policy
    assert dataclasses.replace(policy) == policy
    assert "[policy.vm.class.nightly]" in policy.to_toml()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"schedule": "@daily", "classes": CLASSES}, "schedule and classes are both given"),
        ({"classes": {"a b": {"keep": 1}}}, "class 'a b': give it a name of letters"),
        ({"classes": {"a": {"kep": 1}}}, "class.kep: unknown key 'kep': did you mean 'keep'"),
        ({"classes": {"a": {"schedule": "@hurly", "keep": 1}}}, "did you mean '@hourly'"),
        ({"classes": {"a": {"schedule": "@daily", "keep": 0}}}, "policy keeps nothing"),
        ({"classes": {"a": 7}}, "class 'a' is 7: give a table with the keys"),
        ({"classes": CLASSES, "memory": "full", "ram": "1GiB"}, "each class says what it holds"),
        ({"classes": CLASSES, "archive": [{"target": "tape", "class": "x"}]}, "there is no class 'x'"),
        ({"classes": CLASSES, "archive": [{"targt": "tape"}]}, "archive.targt: unknown key"),
        ({"classes": CLASSES, "naming": "{vm}"}, "name template"),
    ],
)
def test_mistakes(given, message):
    with pytest.raises(PolicyError, match=message):
        Policy(**given)


# ---------------------------------------- archives and sets


def disks(*names, day=0, **more):
    time_ns = START + day * DAY
    return [
        Snapshot(
            time_ns, name=f"d{day}", id=f"{name}@d{day}", attributes={"host": "db", "volume": name}, **more
        )
        for name in names
    ]


ARCHIVE = [{"target": "tape", "command": ["send", "{vm}/{disk}@{name}", "{target}"]}]


def test_what_goes_waits_for_the_archive():
    policy = Policy(keep_last=1, archive=ARCHIVE)
    snapshots = [Snapshot(START + day * DAY, name=f"d{day}", id=f"d{day}") for day in range(3)]
    decisions = policy.decide(snapshots, START + 3 * DAY)
    assert [(one.keep, one.reasons) for one in decisions] == [
        (True, ("waits to be archived to tape",)),
        (True, ("waits to be archived to tape",)),
        (True, ("last 1 of 1",)),
    ]
    assert [(archive.target, one.id) for archive, one in policy.to_archive(decisions, START + 3 * DAY)] == [
        ("tape", "d0"),
        ("tape", "d1"),
    ]
    done = [dataclasses.replace(one, tags=frozenset({"archived:tape"})) for one in snapshots[:2]]
    decisions = policy.decide([*done, snapshots[2]], START + 3 * DAY)
    assert [one.keep for one in decisions] == [False, False, True]
    assert policy.to_archive(decisions, START + 3 * DAY) == []


def test_two_archives_both_have_to_be_done():
    policy = Policy(keep_last=1, archive=[{"target": "tape"}, {"target": "cloud"}])
    one, two = (Snapshot(START + day * DAY, id=f"d{day}") for day in range(2))
    waiting = policy.to_archive(policy.decide([one, two], START + 2 * DAY), START + 2 * DAY)
    assert [(archive.target, snapshot.id) for archive, snapshot in waiting] == [
        ("tape", "d0"),
        ("cloud", "d0"),
    ]
    half = dataclasses.replace(one, tags=frozenset({"archived:tape"}))
    decisions = policy.decide([half, two], START + 2 * DAY)
    assert decisions[0].reasons == ("waits to be archived to cloud",)


def test_a_simulated_year_archives_at_once():
    with_archive = Policy(schedule="1d", keep_last=3, archive=ARCHIVE)
    without = Policy(schedule="1d", keep_last=3)
    days = START + np.arange(30) * DAY
    assert with_archive.timeline(days).deleted.tolist() == without.timeline(days).deleted.tolist()
    assert [one.keep for one in with_archive.timeline(days).decisions(10)] == [False, True, True, True]


def test_one_decision_for_all_disks_of_a_machine():
    snapshots = [*disks("vda", "vdb", day=0), *disks("vda", day=1), *disks("vda", "vdb", day=2)]
    decisions = Policy(keep_last=2).decide_sets(snapshots, START + 3 * DAY)
    assert [one.keep for one in decisions] == [False, False, True, True, True]
    assert [one.keep for one in Policy(keep_last=1).decide_sets(snapshots, START + 3 * DAY)] == [
        False
    ] * 3 + [True] * 2
    held = [*disks("vda", day=0, tags=frozenset({"hold"})), *disks("vdb", day=0), *snapshots[2:]]
    policy = Policy(keep_last=1, protect={"tags": ["hold"]})
    assert [one.keep for one in policy.decide_sets(held, START + 3 * DAY)] == [True, True, False, True, True]


# ---------------------------------------- groups and kinds in a simulated run


def test_groups_are_decided_about_separately_over_time():
    policy = Policy(schedule=["@hourly", "0 2 * * *"], keep_last=2, group_by=["class"])
    timeline = policy.timeline(QUARTERS)
    held = [one.snapshot for one in timeline.decisions(-1) if one.keep]
    assert [sorted(one.classes) for one in held] == [["0 2 * * *", "hourly"]] * 2 + [["hourly"]] * 2
    assert len(timeline.kept(-1)) == 4
    for instant in range(0, QUARTERS.size, 50):
        kept = [one.snapshot.time_ns for one in timeline.decisions(instant) if one.keep]
        assert QUARTERS[timeline.kept(instant)].tolist() == kept


def test_rules_can_be_about_what_a_class_holds():
    policy = Policy(classes=CLASSES, keep=[{"select": {"kind": "full"}, "name": "full", "count": 5}])
    timeline = policy.timeline(QUARTERS)
    full = [one for one in timeline.decisions(-1) if one.snapshot.kind is SnapshotKind.FULL]
    assert len(full) == 5
    assert all("full" in " ".join(one.reasons) for one in full)


def test_sanoid_with_a_plain_schedule_knows_its_classes():
    policy = Policy(compat="sanoid", schedule=["@hourly", "@daily"], keep_hourly=5, keep_daily=3)
    timeline = policy.timeline(QUARTERS)
    # what is at most five hours old are six; of the days the newest three, or at midnight three beside it
    assert timeline.max_live == 6 + 3


def test_an_event_during_an_outage_is_caught_up_or_not():
    down = [(START + HOUR, START + 5 * HOUR)]
    events = [Event("apt", START + 2 * HOUR), Event("apt", START + 6 * HOUR)]
    for catch_up, hours in (("once", [5, 6]), ("none", [6])):
        policy = Policy(classes={"up": {"events": ["apt"], "keep": 9, "catch_up": catch_up}})
        timeline = policy.timeline(QUARTERS, downtimes=down, events=events)
        assert ((QUARTERS[timeline.created] - START) // HOUR).tolist() == hours
