"""What is taken: the classes of a policy, and what becomes of several that fall on one instant.

A class says when (its schedule, its triggers) and what (disk, memory or both; crash-consistent or with the
guest quiesced).  Classes that fall on one instant share one snapshot, which is as strong as each of them
asks for.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import reduce
from operator import or_
from typing import Any, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from snapsim.errors import PolicyError, UnitError
from snapsim.policy.due import CatchUp, Runs, due, planned
from snapsim.policy.schedule import Schedule
from snapsim.policy.triggers import Event, Overlap, event_times, unheard
from snapsim.types import Int64Array, SnapshotKind
from snapsim.units import format_size, parse_duration, parse_size

_MOST_CLASSES = 64  # one bit each
_DISK, _MEMORY = 1, 2
_KINDS = {SnapshotKind.DISK: _DISK, SnapshotKind.MEMORY: _MEMORY, SnapshotKind.FULL: _DISK | _MEMORY}
_NAMES = {bits: kind for kind, bits in _KINDS.items()}


def together(kinds: Iterable[SnapshotKind]) -> SnapshotKind:
    """Return what one snapshot holds that has to be all of several kinds.

    Parameters
    ----------
    kinds : iterable of SnapshotKind
        At least one.

    Returns
    -------
    SnapshotKind
        Disk and memory make a full one.
    """
    return _NAMES[reduce(or_, (_KINDS[kind] for kind in kinds))]


class Consistency(StrEnum):
    """In what state the guest's disks are when they are taken."""

    CRASH = "crash"
    QUIESCED = "quiesced"


@dataclass(frozen=True, kw_only=True)
class ScheduleClass:
    """One class of snapshots: when they are taken, and what they hold.

    `ScheduleClass.of` reads text.

    Attributes
    ----------
    name : str
        "hourly", "daily", "before-upgrade": letters, digits, `.` and `-`.
    schedule : Schedule or None
        When; None for one that is only taken at events or by hand.
    kind : SnapshotKind
        What each snapshot holds.
    consistency : Consistency
        Whether the guest is quiesced for it.
    ram : int
        Guest memory saved with each; 0 for disk snapshots.  [bytes]
    jitter_ns : int
        Largest delay that spreads machines; see `due.jittered`.  [ns]
    catch_up : {"none", "once", "all"}
        What happens to ticks and events that were missed.
    grace_ns : int
        How late a tick may be run and still not count as missed.  [ns]
    overlap : {"skip", "queue"}
        What happens to a tick that comes while a snapshot is being taken.
    min_written : int
        A tick is left out if less was written since the last snapshot; 1 means on any change.  [bytes]
    quiet_ns : int
        A tick may be moved this much later, to a quieter instant.  [ns]
    events : tuple of str
        Events that it is taken for, too, whatever was written.

    Raises
    ------
    PolicyError
        Something contradicts something, or is negative.
    """

    name: str
    schedule: Schedule | None = None
    kind: SnapshotKind = SnapshotKind.DISK
    consistency: Consistency = Consistency.CRASH
    ram: int = 0
    jitter_ns: int = 0
    catch_up: CatchUp = "once"
    grace_ns: int = 0
    overlap: Overlap = "skip"
    min_written: int = 0
    quiet_ns: int = 0
    events: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what makes no sense together."""
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*", self.name):
            raise PolicyError(f"class {self.name!r}: give it a name of letters, digits, '.' and '-'")
        for key in ("ram", "jitter_ns", "grace_ns", "min_written", "quiet_ns"):
            if getattr(self, key) < 0:
                raise self._error(f"{key.removesuffix('_ns')} is negative", "give 0 or more")
        _one_of(self, "catch_up", get_args(CatchUp))
        _one_of(self, "overlap", get_args(Overlap))
        if self.kind is SnapshotKind.DISK and self.ram:
            raise self._error(
                f"ram is {format_size(self.ram)}, but a disk snapshot saves no memory",
                'give kind = "memory" or "full", or leave ram out',
            )
        if self.kind is SnapshotKind.MEMORY and self.consistency is Consistency.QUIESCED:
            raise self._error(
                "a memory snapshot has no disks to quiesce", 'give kind = "full", or consistency = "crash"'
            )
        if self.schedule is None:
            for key in ("jitter_ns", "grace_ns", "min_written", "quiet_ns"):
                if getattr(self, key):
                    raise self._error(
                        f"{key.removesuffix('_ns')} is about ticks, and it has no schedule",
                        "give it a schedule, or leave this out",
                    )
        if len(set(self.events)) < len(self.events) or not all(self.events):
            raise self._error("an event is empty or named twice", "name each event once")

    def _error(self, what: str, remedy: str) -> PolicyError:
        return PolicyError(f"class {self.name!r}: {what}: {remedy}")

    @classmethod
    def of(
        cls,
        name: str,
        schedule: Schedule | str | Sequence[str] | None = None,
        *,
        timezone: str = "UTC",
        kind: str = "disk",
        consistency: str = "crash",
        ram: int | str = 0,
        jitter: int | str = 0,
        catch_up: CatchUp = "once",
        grace: int | str = 0,
        overlap: Overlap = "skip",
        on_change: bool = False,
        min_written: int | str = 0,
        quiet: int | str = 0,
        events: Sequence[str] = (),
    ) -> "ScheduleClass":
        """Make a class from what a policy file says.

        Parameters
        ----------
        name : str
            Its name.
        schedule : Schedule, str or sequence of str, optional
            See `Schedule.of`; none for events and requests only.
        timezone : str
            IANA name of the zone of the schedule.
        kind : {"disk", "memory", "full"}
            What each snapshot holds.
        consistency : {"crash", "quiesced"}
            Whether the guest is quiesced.
        ram : int or str
            Guest memory saved with each, such as "4GiB".  [bytes]
        jitter, grace, quiet : int or str
            Durations, such as "5min"; see the attributes.  [ns]
        catch_up : {"none", "once", "all"}
            What happens to ticks that were missed.
        overlap : {"skip", "queue"}
            What happens to ticks during a snapshot.
        on_change : bool
            Leave a tick out if nothing was written: the same as `min_written=1`.
        min_written : int or str
            Leave a tick out if less was written, such as "1MiB".  [bytes]
        events : sequence of str
            Events that it is taken for.

        Returns
        -------
        ScheduleClass
            The class.

        Raises
        ------
        PolicyError
            Something cannot be read, or contradicts something.
        """
        try:
            sizes = {"ram": parse_size(ram), "min_written": max(parse_size(min_written), int(on_change))}
            durations = {
                "jitter_ns": parse_duration(jitter),
                "grace_ns": parse_duration(grace),
                "quiet_ns": parse_duration(quiet),
            }
        except UnitError as error:
            raise PolicyError(f"class {name!r}: {error}") from None
        if isinstance(events, str):
            events = [events]
        return cls(
            name=name,
            schedule=None if schedule is None else Schedule.of(schedule, timezone=timezone),
            kind=_member(SnapshotKind, kind, f"class {name!r}: kind"),
            consistency=_member(Consistency, consistency, f"class {name!r}: consistency"),
            catch_up=catch_up,
            overlap=overlap,
            events=tuple(events),
            **sizes,
            **durations,
        )

    @property
    def heard(self) -> tuple[str, ...]:
        """Names of the events that it is taken for: by its own name it can be asked for by hand."""
        return (self.name, *self.events)

    def planned(
        self, start_ns: int, stop_ns: int, *, policy: str = "", downtimes: Sequence[tuple[int, int]] = ()
    ) -> Runs:
        """Return its ticks over a span of time; see `due.planned`.

        Parameters
        ----------
        start_ns, stop_ns : int
            Half-open span, UTC.  [ns]
        policy : str
            Name of the policy: with the class's own it seeds the jitter.
        downtimes : sequence of (int, int)
            Half-open spans in which nothing runs.  [ns]

        Returns
        -------
        Runs
            The ticks and when they are run; triggers and quiet windows, which need the trace, come after.
        """
        if self.schedule is None:
            return Runs(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
        return planned(
            self.schedule,
            start_ns,
            stop_ns,
            downtimes=downtimes,
            catch_up=self.catch_up,
            grace_ns=self.grace_ns,
            jitter_ns=self.jitter_ns,
            seed=f"{policy}/{self.name}",
        )

    def due(self, last_run_ns: int | None, now_ns: int, *, policy: str = "", grace_ns: int = 0) -> Runs:
        """Return its ticks that are to be run now; see `due.due`.

        Parameters
        ----------
        last_run_ns : int or None
            When it was run last, UTC; None if never.  [ns]
        now_ns : int
            Now, UTC.  [ns]
        policy : str
            Name of the policy: with the class's own it seeds the jitter.
        grace_ns : int
            How often this is asked: no tick is missed for being seen that late.  [ns]

        Returns
        -------
        Runs
            The ticks, all at `now_ns`.
        """
        if self.schedule is None:
            return Runs(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
        return due(
            self.schedule,
            last_run_ns,
            now_ns,
            self.catch_up,
            grace_ns=max(self.grace_ns, grace_ns),
            jitter_ns=self.jitter_ns,
            seed=f"{policy}/{self.name}",
        )


def _one_of(one: ScheduleClass, key: str, allowed: tuple[str, ...]) -> None:
    if getattr(one, key) not in allowed:
        choice = ", ".join(f'"{value}"' for value in allowed)
        raise PolicyError(f"class {one.name!r}: {key} is {getattr(one, key)!r}: give one of {choice}")


def _member(enum: Any, value: str, what: str) -> Any:
    try:
        return enum(value)
    except ValueError:
        choice = ", ".join(f'"{member}"' for member in enum)
        raise PolicyError(f"{what} is {value!r}: give one of {choice}") from None


@dataclass(frozen=True, slots=True)
class Take:
    """One snapshot that is to be taken.

    Attributes
    ----------
    time_ns : int
        When, UTC.  [ns]
    classes : tuple of str
        The classes that ask for it, in the policy's order.
    kind : SnapshotKind
        What it holds.
    consistency : Consistency
        Whether the guest is quiesced.
    ram : int
        Guest memory saved with it.  [bytes]
    """

    time_ns: int
    classes: tuple[str, ...]
    kind: SnapshotKind
    consistency: Consistency
    ram: int


class Takes(NamedTuple):
    """All snapshots that the classes of a policy ask for.

    Attributes
    ----------
    names : tuple of str
        The classes, in the policy's order.
    time_ns : int64 array, shape (n_takes,)
        When, UTC, strictly ascending.  [ns]
    asked : uint64 array, shape (n_takes,)
        Bit c is set where class c asks.
    kind : uint8 array, shape (n_takes,)
        1 disk, 2 memory, 3 full.
    quiesced : bool array, shape (n_takes,)
        Whether the guest is quiesced.
    ram : int64 array, shape (n_takes,)
        Guest memory saved.  [bytes]
    """

    names: tuple[str, ...]
    time_ns: Int64Array
    asked: npt.NDArray[np.uint64]
    kind: npt.NDArray[np.uint8]
    quiesced: npt.NDArray[np.bool_]
    ram: Int64Array

    def take(self, i: int) -> Take:
        """Return one of them.

        Parameters
        ----------
        i : int
            Which one.

        Returns
        -------
        Take
            When, what, and for which classes.
        """
        asked = int(self.asked[i])
        return Take(
            int(self.time_ns[i]),
            tuple(name for bit, name in enumerate(self.names) if asked >> bit & 1),
            _NAMES[int(self.kind[i])],
            Consistency.QUIESCED if self.quiesced[i] else Consistency.CRASH,
            int(self.ram[i]),
        )


def merge(classes: Sequence[ScheduleClass], times: Mapping[str, Int64Array]) -> Takes:
    """Make one snapshot of all that classes ask for at the same time.

    It holds what any of them asks for (disk and memory make a full one), is quiesced if one of them asks for
    it, and saves as much memory as the one that saves most.

    Parameters
    ----------
    classes : sequence of ScheduleClass
        The classes of a policy.
    times : mapping of str to int64 array
        When each class is to be taken, UTC, in any order: ticks, moved to instants, and events.  [ns]

    Returns
    -------
    Takes
        The snapshots, each with the classes that asked for it.

    Raises
    ------
    PolicyError
        Two classes have one name, there are more than 64, or times are given for a class that is not there.
    """
    check_classes(classes)
    names = tuple(one.name for one in classes)
    for name in times:
        if name not in names:
            raise PolicyError(f"there is no class {name!r}: the classes are {', '.join(names)}")
    given = [np.asarray(times.get(name, ()), dtype=np.int64) for name in names]
    time_ns = np.unique(np.concatenate([*given, np.zeros(0, dtype=np.int64)]))
    asked = np.zeros(time_ns.size, dtype=np.uint64)
    kind = np.zeros(time_ns.size, dtype=np.uint8)
    quiesced = np.zeros(time_ns.size, dtype=np.bool_)
    ram = np.zeros(time_ns.size, dtype=np.int64)
    for bit, (one, when) in enumerate(zip(classes, given, strict=True)):
        where = np.searchsorted(time_ns, when)
        asked[where] |= np.uint64(1 << bit)
        kind[where] |= np.uint8(_KINDS[one.kind])
        quiesced[where] |= one.consistency is Consistency.QUIESCED
        ram[where] = np.maximum(ram[where], one.ram)
    return Takes(names, time_ns, asked, kind, quiesced, ram)


def check_classes(classes: Sequence[ScheduleClass]) -> None:
    """Refuse classes that cannot stand beside each other.

    Parameters
    ----------
    classes : sequence of ScheduleClass
        The classes of a policy.

    Raises
    ------
    PolicyError
        Two have one name, or there are more than 64.
    """
    names = [one.name for one in classes]
    for name in names:
        if names.count(name) > 1:
            raise PolicyError(f"class {name!r} is there twice: give each class a name of its own")
    if len(names) > _MOST_CLASSES:
        raise PolicyError(f"policy has {len(names)} classes: {_MOST_CLASSES} is the most")


def asked_for(classes: Sequence[ScheduleClass], events: Sequence[Event]) -> dict[str, Int64Array]:
    """Return when events and requests ask for each class.

    Parameters
    ----------
    classes : sequence of ScheduleClass
        The classes of a policy.
    events : sequence of Event
        What happens; an event with a class's own name is a request for that class.

    Returns
    -------
    dict of str to int64 array
        For each class when it is asked for, UTC, ascending.  [ns]

    Raises
    ------
    PolicyError
        No class is taken for one of the events.
    """
    unheard(events, [name for one in classes for name in one.heard])
    return {one.name: event_times(events, one.heard) for one in classes}
