"""All disks of a virtual machine at once: a set of snapshots is decided upon, and kept or deleted, as one.

Half a set is worth nothing: a database on two disks cannot be restored from one of them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from snapsim.errors import PolicyError
from snapsim.policy.times import format_instant
from snapsim.types import Decision, Snapshot, SnapshotKind

_ANY_OF = ("important", "in_use", "protected", "incomplete", "incremental_base")
_ONE_OF = ("host", "number", "pair_role", "utc_offset_s", "description", "cleanup")

SetKey = tuple[str, str, int]
"""What tells sets apart: the machine, the set's id or name, and the time where neither is known.  [ns]"""


@dataclass(frozen=True, eq=False)
class SnapshotSet:
    """The snapshots of one virtual machine's disks that were taken together.

    Attributes
    ----------
    key : tuple
        What tells it from other sets; see `set_key`.
    members : tuple of Snapshot
        One for each disk, in the order in which they were listed.
    missing : tuple of str
        Disks that have no snapshot in it, although they should.
    """

    key: SetKey
    members: tuple[Snapshot, ...]
    missing: tuple[str, ...] = ()

    @classmethod
    def of(cls, snapshot: Snapshot, disks: Sequence[str], *, vm: str) -> "SnapshotSet":
        """Make the set that is to be taken from one snapshot of a machine.

        Parameters
        ----------
        snapshot : Snapshot
            What is taken of the machine.
        disks : sequence of str
            Its disks.
        vm : str
            Its name.

        Returns
        -------
        SnapshotSet
            One snapshot for each disk, all with the same time, name and classes.

        Raises
        ------
        PolicyError
            There are no disks, or one is named twice.
        """
        if not disks or len(set(disks)) < len(disks):
            raise PolicyError(f"disks of {vm!r} are {list(disks)}: name each disk once, and at least one")
        name = snapshot.id or snapshot.name
        members = tuple(
            replace(
                snapshot,
                id=f"{disk}@{name}",
                attributes=MappingProxyType({**snapshot.attributes, "host": vm, "volume": disk, "set": name}),
            )
            for disk in disks
        )
        return cls(set_key(members[0]), members)

    @property
    def snapshot(self) -> Snapshot:
        """The set as one snapshot, for a policy to decide upon.

        It holds what any member holds, and is important, protected, in use or incomplete if one of them is
        (or if a disk is missing).
        """
        newest = max(self.members, key=lambda member: member.time_ns)
        kinds = {member.kind for member in self.members}
        return Snapshot(
            # it is whole only when the last disk was taken
            time_ns=newest.time_ns,
            name=newest.name,
            id=newest.id,
            kind=kinds.pop() if len(kinds) == 1 else SnapshotKind.FULL,
            classes=frozenset().union(*(member.classes for member in self.members)),
            tags=frozenset().union(*(member.tags for member in self.members)),
            attributes=MappingProxyType(self._attributes()),
        )

    @property
    def pairs(self) -> tuple[str, ...]:
        """Ids of the other halves of its members' pairs."""
        return tuple(str(member.attributes["pair"]) for member in self.members if "pair" in member.attributes)

    def _attributes(self) -> dict[str, Any]:
        known = [member.attributes for member in self.members]
        found: dict[str, Any] = {key: True for key in _ANY_OF if any(one.get(key) for one in known)}
        found |= {key: one[key] for key in _ONE_OF for one in reversed(known) if key in one}
        if self.missing:
            found["incomplete"] = True
        if all("size_bytes" in one for one in known):
            found["size_bytes"] = sum(one["size_bytes"] for one in known)
        if any("expires_ns" in one for one in known):
            # a member without an end never ends, and neither does the set
            ends = [one["expires_ns"] for one in known if "expires_ns" in one]
            found |= {"expires_ns": max(ends)} if len(ends) == len(known) else {}
        paths = tuple(dict.fromkeys(path for one in known for path in one.get("paths", ())))
        return found | ({"paths": paths} if paths else {})


def set_key(snapshot: Snapshot) -> SetKey:
    """Return what snapshots that were taken together have in common.

    Parameters
    ----------
    snapshot : Snapshot
        The snapshot of one disk.

    Returns
    -------
    tuple of str, str and int
        Its `host`, and its attribute `set`; or without one its name; or without a name its time.
    """
    host = str(snapshot.attributes.get("host", ""))
    name = str(snapshot.attributes.get("set", "") or snapshot.name)
    return (host, name, 0 if name else snapshot.time_ns)


def group_sets(
    snapshots: Iterable[Snapshot], *, disks: Mapping[str, Sequence[str]] = MappingProxyType({})
) -> list[SnapshotSet]:
    """Group the snapshots of disks into sets.

    Parameters
    ----------
    snapshots : iterable of Snapshot
        Snapshots of disks (attribute `volume`) of machines (attribute `host`), in any order.
    disks : mapping of str to sequence of str, optional
        The disks that each machine has; a set without one of them is incomplete.

    Returns
    -------
    list of SnapshotSet
        In the order in which each set was met first.

    Raises
    ------
    PolicyError
        A disk is in one set twice.
    """
    together: dict[tuple[SetKey, int], list[Snapshot]] = {}
    for number, snapshot in enumerate(snapshots):
        # one that names no disk is of the whole machine: it is a set by itself
        alone = -1 if "volume" in snapshot.attributes else number
        together.setdefault((set_key(snapshot), alone), []).append(snapshot)
    return [
        _whole(key, found, () if alone >= 0 else disks.get(key[0], ()))
        for (key, alone), found in together.items()
    ]


def _whole(key: SetKey, members: list[Snapshot], disks: Sequence[str]) -> SnapshotSet:
    volumes = [member.attributes.get("volume") for member in members]
    for volume in volumes:
        if volumes.count(volume) > 1:
            raise PolicyError(
                f"snapshot {key[1] or format_instant(key[2])!r} of {key[0]!r} has disk {volume!r} twice: "
                'give what was taken together an attribute "set" of its own'
            )
    return SnapshotSet(key, tuple(members), tuple(disk for disk in disks if disk not in volumes))


def set_snapshots(sets: Sequence[SnapshotSet]) -> list[Snapshot]:
    """Return each set as one snapshot, with pairs of snapshots made pairs of sets.

    Parameters
    ----------
    sets : sequence of SnapshotSet
        All sets.

    Returns
    -------
    list of Snapshot
        One for each set, in the same order; all have different ids.
    """
    ids = [f"set {number}" for number in range(len(sets))]
    owner = {member.id: ids[n] for n, one in enumerate(sets) for member in one.members if member.id}
    found = []
    for identity, one in zip(ids, sets, strict=True):
        whole = one.snapshot
        other = next((owner[pair] for pair in one.pairs if pair in owner), None)
        attributes = {**whole.attributes, "pair": other} if other else whole.attributes
        found.append(replace(whole, id=identity, attributes=MappingProxyType(dict(attributes))))
    return found


def decide_sets(
    decide: Callable[[list[Snapshot]], Sequence[Decision]],
    snapshots: Sequence[Snapshot],
    *,
    disks: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> list[Decision]:
    """Decide upon machines, and say it of each disk: of no set does one half stay and the other go.

    Parameters
    ----------
    decide : callable
        Takes snapshots and returns a decision for each, in any order: a policy's `decide`.
    snapshots : sequence of Snapshot
        Snapshots of disks.
    disks : mapping of str to sequence of str, optional
        The disks that each machine has; a set without one of them is incomplete.

    Returns
    -------
    list of Decision
        One for each snapshot, in the order in which they were given.

    Raises
    ------
    PolicyError
        A disk is in one set twice.
    RuntimeError
        `decide` did not decide upon each set once.
    """
    sets = group_sets(snapshots, disks=disks)
    wholes = set_snapshots(sets)
    verdicts = {decision.snapshot.id: decision for decision in decide(wholes)}
    if verdicts.keys() != {whole.id for whole in wholes}:
        msg = "a policy has to decide upon each set once"
        raise RuntimeError(msg)
    # by identity: two snapshots may say the same of themselves
    decided: dict[int, list[Decision]] = {}
    for one, whole in zip(sets, wholes, strict=True):
        verdict = verdicts[whole.id]
        for member in one.members:
            decided.setdefault(id(member), []).append(Decision(member, verdict.keep, verdict.reasons))
    return [decided[id(snapshot)].pop(0) for snapshot in snapshots]
