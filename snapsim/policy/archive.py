"""The archive action: a snapshot is copied to cheaper storage before it goes.

Here it is only decided which snapshots are to be archived, and which may not be deleted before that; running
the command is the business of whoever applies a plan.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from snapsim.errors import PolicyError
from snapsim.policy.snapshot_sets import set_key
from snapsim.types import Decision, Snapshot
from snapsim.units import format_duration

ARCHIVED = "archived:"
"""Tag of a snapshot that was archived, followed by the target's name."""

_FIELDS = ("name", "id", "vm", "disk", "time_ns", "target")
_BRACES = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, kw_only=True)
class Archive:
    """What is archived, where, and when.

    Attributes
    ----------
    target : str
        Name of the cheaper storage; it becomes the tag `archived:TARGET` of what was archived.
    command : tuple of str
        Program and arguments that copy one snapshot; `{name}`, `{id}`, `{vm}`, `{disk}`, `{time_ns}` and
        `{target}` stand for the snapshot's.  Empty where the driver copies.  No shell reads it.
    after_ns : int or None
        Archive what is at least this old, whether it is to be deleted or not; None for no such age.  [ns]
    before_prune : bool
        Archive what is to be deleted, and do not delete it before.
    classes : frozenset of str
        Only snapshots of one of these classes; empty for all.

    Raises
    ------
    PolicyError
        There is no target, nothing would ever be archived, or the command has a field that is not known.

    Examples
    --------
    >>> archive = Archive(target="tape", command=("send", "{vm}@{name}"), classes=frozenset({"monthly"}))
    >>> archive.arguments(Snapshot(0, "jan", attributes={"host": "db"}))
    ('send', 'db@jan')
    """

    target: str
    command: tuple[str, ...] = ()
    after_ns: int | None = None
    before_prune: bool = True
    classes: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Refuse what would never do anything, or not what is meant."""
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.target):
            raise PolicyError(f"archive target {self.target!r}: give it a name of letters, digits and '._-'")
        if self.after_ns is None and not self.before_prune:
            raise PolicyError(
                f"archive {self.target!r} would never archive anything: give an age, or before_prune = true"
            )
        if self.after_ns is not None and self.after_ns < 0:
            raise PolicyError(f'archive {self.target!r}: its age is negative: give a duration such as "30d"')
        for argument in self.command:
            for name in _BRACES.findall(argument):
                if name not in _FIELDS:
                    known = ", ".join(f"{{{one}}}" for one in _FIELDS)
                    raise PolicyError(
                        f"archive {self.target!r}: its command has {{{name}}}, which is not known: "
                        f"the fields are {known}"
                    )

    @property
    def tag(self) -> str:
        """Tag of what was archived."""
        return ARCHIVED + self.target

    @property
    def waiting(self) -> tuple[str, ...]:
        """The reason of what may not be deleted yet."""
        return (f"waits to be archived to {self.target}",)

    def wants(self, decision: Decision, now_ns: int) -> bool:
        """Say whether a snapshot is to be archived now.

        Parameters
        ----------
        decision : Decision
            The snapshot, and whether it stays.
        now_ns : int
            Now, UTC.  [ns]

        Returns
        -------
        bool
            False for one that was archived already, or is incomplete.
        """
        snapshot = decision.snapshot
        if self.tag in snapshot.tags or snapshot.attributes.get("incomplete"):
            return False
        if self.classes and not self.classes & snapshot.classes:
            return False
        old = self.after_ns is not None and now_ns - snapshot.time_ns >= self.after_ns
        return old or (self.before_prune and not decision.keep)

    def select(self, decisions: Sequence[Decision], now_ns: int) -> list[Snapshot]:
        """Return the snapshots that are to be archived now.

        Parameters
        ----------
        decisions : sequence of Decision
            All snapshots, and whether they stay.
        now_ns : int
            Now, UTC.  [ns]

        Returns
        -------
        list of Snapshot
            Oldest first; of a set of disks all, or none where one of them is incomplete.
        """
        # a set is copied as a whole: what one disk asks for is done for all
        sets = {self._set(one.snapshot) for one in decisions if self.wants(one, now_ns)}
        sets -= {self._set(one.snapshot) for one in decisions if one.snapshot.attributes.get("incomplete")}
        chosen = [
            one.snapshot
            for one in decisions
            if self._set(one.snapshot) in sets and self.tag not in one.snapshot.tags
        ]
        return sorted(chosen, key=lambda snapshot: snapshot.time_ns)

    @staticmethod
    def _set(snapshot: Snapshot) -> object:
        # one that names no disk is a set by itself
        return set_key(snapshot) if "volume" in snapshot.attributes else id(snapshot)

    def hold(self, decisions: Sequence[Decision], now_ns: int) -> list[Decision]:
        """Keep what has to be archived before it may be deleted.

        Parameters
        ----------
        decisions : sequence of Decision
            All snapshots, and whether they stay.
        now_ns : int
            Now, UTC.  [ns]

        Returns
        -------
        list of Decision
            In the same order: what waits for the archive is kept, and says so.  When it bears `tag`, the
            decision is what it was.
        """
        waiting = (
            {id(snapshot) for snapshot in self.select(decisions, now_ns)} if self.before_prune else set()
        )
        sets = {self._set(one.snapshot) for one in decisions if id(one.snapshot) in waiting}
        return [
            replace(one, keep=True, reasons=self.waiting)
            if not one.keep and self._set(one.snapshot) in sets
            else one
            for one in decisions
        ]

    def arguments(self, snapshot: Snapshot) -> tuple[str, ...]:
        """Return the command for a snapshot.

        Parameters
        ----------
        snapshot : Snapshot
            What is to be archived.

        Returns
        -------
        tuple of str
            Program and arguments; empty if there is no command.
        """
        values = {
            "name": snapshot.name,
            "id": snapshot.id,
            "vm": str(snapshot.attributes.get("host", "")),
            "disk": str(snapshot.attributes.get("volume", "")),
            "time_ns": str(snapshot.time_ns),
            "target": self.target,
        }
        return tuple(_BRACES.sub(lambda match: values[match[1]], argument) for argument in self.command)

    def describe(self) -> str:
        """Say in a few words what it does.

        Returns
        -------
        str
            For example "archive to tape: monthly, before they are deleted".
        """
        what = ", ".join(sorted(self.classes)) or "all"
        when = [] if self.after_ns is None else [f"{format_duration(self.after_ns)} old"]
        when += ["before they are deleted"] if self.before_prune else []
        return f"archive to {self.target}: {what}, {' or '.join(when)}"
