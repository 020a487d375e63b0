"""The archive action: what is copied, and that nothing goes before it was."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapsim.errors import PolicyError
from snapsim.policy.archive import Archive
from snapsim.types import Decision, Snapshot
from snapsim.units import DAY


def decision(day, *, keep, classes=(), tags=(), **attributes):
    snapshot = Snapshot(
        day * DAY, f"s{day}", classes=frozenset(classes), tags=frozenset(tags), attributes=attributes
    )
    return Decision(snapshot, keep, ("rule",) if keep else ("no rule",))


decisions = st.lists(
    st.builds(
        lambda day, keep, classes, tags, incomplete: decision(
            day, keep=keep, classes=classes, tags=tags, **({"incomplete": True} if incomplete else {})
        ),
        st.integers(0, 30),
        st.booleans(),
        st.sets(st.sampled_from(["daily", "monthly"])),
        st.sets(st.sampled_from(["archived:tape", "archived:other", "hold"])),
        st.booleans(),
    ),
    max_size=15,
)
archives = st.builds(
    Archive,
    target=st.just("tape"),
    after_ns=st.none() | st.integers(0, 30 * DAY),
    classes=st.frozensets(st.sampled_from(["daily", "monthly"])),
)


@given(decisions, archives)
def test_what_is_selected(given_decisions, archive):
    now = 30 * DAY
    oldest = 31 * DAY if archive.after_ns is None else archive.after_ns
    wanted = [
        one.snapshot
        for one in given_decisions
        if "archived:tape" not in one.snapshot.tags
        and "incomplete" not in one.snapshot.attributes
        and (not archive.classes or archive.classes & one.snapshot.classes)
        and (not one.keep or now - one.snapshot.time_ns >= oldest)
    ]
    assert archive.select(given_decisions, now) == sorted(wanted, key=lambda one: one.time_ns)


@given(decisions, archives)
def test_nothing_goes_before_it_was_archived(given_decisions, archive):
    now = 30 * DAY
    selected = {id(one) for one in archive.select(given_decisions, now)}
    held = archive.hold(given_decisions, now)
    for before, after in zip(given_decisions, held, strict=True):
        assert after.snapshot is before.snapshot
        assert after.keep == (before.keep or id(before.snapshot) in selected)
        assert after.reasons
        if before.keep:
            assert after == before
    # once they are archived, they go
    archived = [
        replace(one, snapshot=replace(one.snapshot, tags=one.snapshot.tags | {archive.tag}))
        for one in given_decisions
    ]
    assert archive.hold(archived, now) == archived
    assert archive.select(archived, now) == []


def test_what_is_old_is_archived_and_may_still_go():
    archive = Archive(target="tape", after_ns=10 * DAY, before_prune=False)
    given_decisions = [decision(day, keep=day > 5) for day in (1, 19, 20, 21)]
    assert [one.name for one in archive.select(given_decisions, 30 * DAY)] == ["s1", "s19", "s20"]
    assert archive.hold(given_decisions, 30 * DAY) == given_decisions


def test_a_set_of_disks_is_archived_as_one():
    archive = Archive(target="tape", classes=frozenset({"monthly"}))
    disks = [
        decision(1, keep=False, classes=classes, host="web", volume=volume)
        for volume, classes in (("vda", ["monthly"]), ("vdb", []))
    ]
    other = decision(1, keep=False, host="db", volume="vda")
    assert archive.select([*disks, other], 30 * DAY) == [one.snapshot for one in disks]
    assert [one.keep for one in archive.hold([*disks, other], 30 * DAY)] == [True, True, False]
    # while one half waits, the other half stays although it was copied already
    half = replace(disks[1], snapshot=replace(disks[1].snapshot, tags=frozenset({archive.tag})))
    assert archive.select([disks[0], half], 30 * DAY) == [disks[0].snapshot]
    assert [one.keep for one in archive.hold([disks[0], half], 30 * DAY)] == [True, True]
    assert archive.hold([half, other], 30 * DAY)[0].keep is False
    broken = decision(1, keep=False, host="web", volume="vdb", incomplete=True)
    assert archive.select([disks[0], broken], 30 * DAY) == []


def test_the_command():
    archive = Archive(
        target="cold", command=("cp", "{id}", "/mnt/{target}/{vm}/{disk}-{time_ns}", "{name};{name}")
    )
    snapshot = Snapshot(7, "n {vm}", "i", attributes={"host": "web", "volume": "vda"})
    assert archive.arguments(snapshot) == ("cp", "i", "/mnt/cold/web/vda-7", "n {vm};n {vm}")
    assert Archive(target="cold").arguments(snapshot) == ()


def test_what_it_says():
    assert Archive(target="tape", classes=frozenset({"b", "a"})).describe() == (
        "archive to tape: a, b, before they are deleted"
    )
    assert Archive(target="tape", after_ns=30 * DAY).describe() == (
        "archive to tape: all, 30d old or before they are deleted"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": ""}, "archive target '': give it a name"),
        ({"target": "a b"}, "archive target 'a b'"),
        (
            {"target": "a", "before_prune": False},
            "would never archive anything: give an age",
        ),
        ({"target": "a", "after_ns": -1}, "its age is negative"),
        (
            {"target": "a", "command": ("x", "{snap}")},
            r"its command has \{snap\}, which is not known",
        ),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(PolicyError, match=message):
        Archive(**arguments)
