"""Sets of disks: whatever is decided, no half of a set stays behind."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapsim.errors import PolicyError
from snapsim.policy import Policy
from snapsim.policy.snapshot_sets import SnapshotSet, decide_sets, group_sets, set_snapshots
from snapsim.types import Decision, Snapshot, SnapshotKind
from snapsim.units import DAY, HOUR


def disk(vm, volume, time_ns, name="", **rest):
    attributes = {"host": vm, "volume": volume} | rest.pop("attributes", {})
    return Snapshot(time_ns, name, f"{vm}/{volume}@{name or time_ns}", attributes=attributes, **rest)


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 30)), unique=True, max_size=20),
    st.integers(1, 5),
    st.randoms(use_true_random=False),
    st.booleans(),
)
def test_never_half_a_set(taken, keep, shuffler, named):
    snapshots = [
        disk(vm, volume, hour * HOUR, f"{vm}-{hour}" if named else "")
        for vm, hour in taken
        for volume in ("vda", "vdb", "vdc")
    ]
    shuffler.shuffle(snapshots)
    policy = Policy(schedule="1h", keep_last=keep)
    decisions = decide_sets(lambda wholes: policy.decide(wholes, 31 * HOUR), snapshots)
    assert [decision.snapshot for decision in decisions] == snapshots
    verdicts = {}
    for decision in decisions:
        key = (decision.snapshot.attributes["host"], decision.snapshot.time_ns)
        verdicts.setdefault(key, set()).add((decision.keep, decision.reasons))
    assert all(len(said) == 1 for said in verdicts.values())
    # and what is said of a set is what is said of one snapshot of the machine
    alone = policy.decide(
        [Snapshot(hour * HOUR, f"{vm}-{hour}", f"{vm}{hour}") for vm, hour in taken], 31 * HOUR
    )
    assert sum(decision.keep for decision in decisions) == 3 * sum(decision.keep for decision in alone)


def test_a_set_holds_what_its_members_hold():
    members = (
        disk("web", "vda", 5, "n", classes=frozenset({"daily"}), kind=SnapshotKind.DISK,
             attributes={"size_bytes": 3, "important": True, "expires_ns": 10, "paths": ("/a",)}),
        disk("web", "vdb", 7, "n", tags=frozenset({"hold"}), kind=SnapshotKind.MEMORY,
             attributes={"size_bytes": 4, "in_use": False, "expires_ns": 12, "paths": ("/b", "/a")}),
    )  # fmt: skip
    whole = group_sets(members)[0].snapshot
    assert (whole.time_ns, whole.name, whole.kind) == (7, "n", SnapshotKind.FULL)
    assert (whole.classes, whole.tags) == ({"daily"}, {"hold"})
    assert whole.attributes == {
        "host": "web", "size_bytes": 7, "important": True, "expires_ns": 12, "paths": ("/a", "/b"),
    }  # fmt: skip
    endless = group_sets([members[0], disk("web", "vdb", 7, "n")])[0].snapshot
    assert "expires_ns" not in endless.attributes
    assert "size_bytes" not in endless.attributes


def test_a_set_without_one_of_the_disks_is_incomplete():
    sets = group_sets(
        [disk("web", "vda", 1, "a"), disk("web", "vdb", 1, "a"), disk("web", "vda", 2, "b")],
        disks={"web": ("vda", "vdb")},
    )
    assert [one.missing for one in sets] == [(), ("vdb",)]
    assert [one.snapshot.attributes.get("incomplete", False) for one in sets] == [False, True]


def test_pairs_of_snapshots_are_pairs_of_sets():
    snapshots = [
        disk("web", volume, time, name, attributes={"pair": f"web/{volume}@{other}", "pair_role": role})
        for time, name, other, role in ((1, "pre", "post", "pre"), (2, "post", "pre", "post"))
        for volume in ("vda", "vdb")
    ]
    first, second = set_snapshots(group_sets(snapshots))
    assert (first.attributes["pair"], second.attributes["pair"]) == (second.id, first.id)
    assert (first.attributes["pair_role"], second.attributes["pair_role"]) == ("pre", "post")


def test_machines_and_snapshots_without_a_disk_are_told_apart():
    plain = [Snapshot(3), Snapshot(3), Snapshot(3, "n"), Snapshot(4, "n")]
    assert [len(one.members) for one in group_sets(plain)] == [1, 1, 1, 1]
    named = [disk("a", "vda", 3, "n"), disk("b", "vda", 3, "n"), disk("a", "vdb", 3, "n")]
    assert [len(one.members) for one in group_sets(named)] == [2, 1]
    # an attribute says it where names differ, and times too
    labelled = [disk("a", v, t, v, attributes={"set": "7"}) for t, v in ((1, "vda"), (2, "vdb"))]
    assert [len(one.members) for one in group_sets(labelled)] == [2]
    with pytest.raises(PolicyError, match="snapshot 'n' of 'a' has disk 'vda' twice: give what was taken"):
        group_sets([disk("a", "vda", 1, "n"), disk("a", "vda", 2, "n")])
    with pytest.raises(PolicyError, match="snapshot '1970-01-02T00:00:00Z' of 'a' has disk 'vda' twice"):
        group_sets([disk("a", "vda", DAY), disk("a", "vda", DAY)])


@given(st.lists(st.sampled_from(["vda", "vdb", "vdc", "sda"]), min_size=1, unique=True), st.integers(0, 99))
def test_what_is_taken_together_is_found_together(disks, seed):
    taken = [
        SnapshotSet.of(Snapshot(hour * HOUR, f"web_{hour}", attributes={"number": hour}), disks, vm="web")
        for hour in range(3)
    ]
    members = [member for one in taken for member in one.members]
    random.Random(seed).shuffle(members)
    found = {one.key: one for one in group_sets(members, disks={"web": disks})}
    assert found.keys() == {one.key for one in taken}
    for one in taken:
        assert {member.id for member in found[one.key].members} == {member.id for member in one.members}
        assert found[one.key].missing == ()
    assert len({member.id for member in members}) == 3 * len(disks)


def test_a_set_has_disks():
    for disks in ([], ["vda", "vda"]):
        with pytest.raises(PolicyError, match="name each disk once"):
            SnapshotSet.of(Snapshot(0, "n"), disks, vm="web")


def test_a_policy_that_forgets_a_set():
    with pytest.raises(RuntimeError, match="each set once"):
        decide_sets(lambda _: [], [Snapshot(0)])
    kept = decide_sets(lambda wholes: [Decision(one, True, ("x",)) for one in wholes], [Snapshot(0, "n")])
    assert [decision.keep for decision in kept] == [True]
