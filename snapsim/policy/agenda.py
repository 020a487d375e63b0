"""What the classes of a policy take over time, and what they take now.

`simulated` walks over a trace's instants at once; `ready` is asked again and again by whoever takes real
snapshots.  Both put together the same pieces: `due` (jitter, missed ticks), `triggers` (bytes written,
events, overlaps), `quiet` and `taking.merge`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from snapsim.errors import PolicyError
from snapsim.policy.quiet import QuietMoves, quiet_moves
from snapsim.policy.taking import ScheduleClass, Take, Takes, asked_for, check_classes, merge
from snapsim.policy.triggers import Event, without_overlap, written_enough
from snapsim.types import Int64Array


@dataclass(frozen=True, eq=False)
class Agenda:
    """Every snapshot that the classes of a policy take of a trace.

    Attributes
    ----------
    takes : Takes
        What is taken, and for which classes; its times are instants.
    index : int64 array, shape (n_takes,)
        The instant of each, as an index.
    quiet : mapping of str to QuietMoves
        For each class with a quiet window where its ticks went, and what that saved.
    left_out : mapping of str to int
        For each class the ticks that came while a snapshot was taken, or after too little was written.
    max_delay_ns : int
        How long after its tick the latest snapshot is taken.  [ns]
    """

    takes: Takes
    index: Int64Array
    quiet: Mapping[str, QuietMoves]
    left_out: Mapping[str, int]
    max_delay_ns: int


def simulated(
    classes: Sequence[ScheduleClass],
    instants: Int64Array,
    *,
    policy: str = "",
    writes: npt.ArrayLike | None = None,
    downtimes: Sequence[tuple[int, int]] = (),
    events: Sequence[Event] = (),
    duration_ns: int = 0,
) -> Agenda:
    """Return every snapshot that classes take at the instants of a trace.

    A tick is taken at the first instant not before it at which the machine is up.

    Parameters
    ----------
    classes : sequence of ScheduleClass
        The classes of a policy.
    instants : int64 array, shape (n_instants,)
        When snapshots can be taken, UTC, strictly ascending.  [ns]
    policy : str
        The policy's name: it seeds the jitter.
    writes : int64 array, shape (n_instants + 1,), optional
        Bytes written in each epoch; needed by classes with `min_written` or a quiet window.  [bytes]
    downtimes : sequence of (int, int)
        Half-open spans in which nothing runs.  [ns]
    events : sequence of Event
        What happens, and who is asked for by hand.
    duration_ns : int
        How long taking a snapshot takes.  [ns]

    Returns
    -------
    Agenda
        The snapshots, and why some ticks have none.

    Raises
    ------
    PolicyError
        Writes are needed and not given, no class is taken for an event, or an option is wrong.
    """
    check_classes(classes)
    asked = asked_for(classes, events)
    trace = _Trace(instants, writes, downtimes)
    found: dict[str, Int64Array] = {}
    quiet: dict[str, QuietMoves] = {}
    left_out: dict[str, int] = {}
    delay = 0
    for one in classes:
        runs = one.planned(*trace.span, policy=policy, downtimes=downtimes)
        serial = without_overlap(runs.at_ns, duration_ns, one.overlap)
        run, usual = trace.snap(serial.at_ns)
        index = usual
        if one.quiet_ns:
            quiet[one.name] = quiet_moves(
                serial.at_ns[run], trace.up_instants, trace.up_writes(one), window_ns=one.quiet_ns
            )
            index = trace.up[quiet[one.name].index]
        forced = trace.index(asked[one.name], later=one.catch_up != "none")
        taken = _worth_it(one, trace, usual, index, forced)
        ticks = runs.tick_ns[serial.which[run]]
        left_out[one.name] = runs.at_ns.size - serial.which.size + int(np.count_nonzero(~taken))
        delay = max(delay, int((instants[index[taken]] - ticks[taken]).max(initial=0)))
        found[one.name] = np.union1d(instants[index[taken]], instants[forced])
    takes = merge(classes, found)
    return Agenda(
        takes,
        np.searchsorted(instants, takes.time_ns),
        MappingProxyType(quiet),
        MappingProxyType(left_out),
        delay,
    )


class _Trace:
    """The instants of a trace at which the machine is up, and what is written between them."""

    def __init__(
        self, instants: Int64Array, writes: npt.ArrayLike | None, downtimes: Sequence[tuple[int, int]]
    ) -> None:
        if not instants.size or np.any(instants[1:] <= instants[:-1]):
            raise PolicyError("instants have to ascend, and there has to be at least one")
        self.instants, self.downtimes = instants, downtimes
        down = np.zeros(instants.size, dtype=np.bool_)
        for start, stop in downtimes:
            down |= (instants >= start) & (instants < stop)
        self.up = np.flatnonzero(~down)
        self._writes = None if writes is None else np.asarray(writes, dtype=np.int64)
        if self._writes is not None and self._writes.shape != (instants.size + 1,):
            raise PolicyError(
                f"{instants.size} instants have {instants.size + 1} epochs, but there are counts of writes "
                f"for {self._writes.size}: give one for each epoch, the first and the last included"
            )

    @property
    def span(self) -> tuple[int, int]:
        return int(self.instants[0]), int(self.instants[-1]) + 1

    @property
    def up_instants(self) -> Int64Array:
        return self.instants[self.up]

    def index(self, times: Int64Array, *, later: bool) -> npt.NDArray[np.intp]:
        """Return the first instant not before each time at which the machine is up; without repetition.

        What happens while it is down is taken when it is up again, or (unless `later`) not at all.
        """
        if not later:
            for start, stop in self.downtimes:
                times = times[(times < start) | (times >= stop)]
        where = np.searchsorted(self.up_instants, times[times >= self.instants[0]])
        return np.unique(self.up[where[where < self.up.size]])

    def snap(self, at_ns: Int64Array) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Return which runs have an instant, and which: of several at one instant the newest has it."""
        where = np.searchsorted(self.up_instants, at_ns)
        newest = np.append(where[1:] != where[:-1], True)[: where.size]
        run = np.flatnonzero(newest & (where < self.up.size))
        return run, self.up[where[run]]

    def writes(self, one: ScheduleClass) -> Int64Array:
        if self._writes is None:
            raise PolicyError(
                f"class {one.name!r} looks at what is written: give the bytes written in each epoch"
            )
        return self._writes

    def up_writes(self, one: ScheduleClass) -> Int64Array:
        """Return the activity of the epochs that begin with the instants at which the machine is up."""
        writes = self.writes(one)
        return np.append(writes[:1], writes[self.up + 1])

    def written(self, one: ScheduleClass, index: npt.NDArray[np.intp]) -> Int64Array:
        """Return the bytes written before instants."""
        return np.cumsum(self.writes(one))[index]


def _worth_it(
    one: ScheduleClass,
    trace: _Trace,
    usual: npt.NDArray[np.intp],
    index: npt.NDArray[np.intp],
    forced: npt.NDArray[np.intp],
) -> npt.NDArray[np.bool_]:
    """Say which ticks come after enough was written since the class's last snapshot, events included."""
    if not one.min_written:
        return np.ones(usual.size, dtype=np.bool_)
    # Events stand among the ticks, in the order of time.
    looked = np.concatenate([usual, forced])
    taken_at = np.concatenate([index, forced])
    is_event = np.arange(looked.size) >= usual.size
    order = np.lexsort((~is_event, looked))
    # an event between a tick and its quiet instant: what was written is counted from the later of the two
    then = np.maximum.accumulate(trace.written(one, taken_at[order]))
    chosen = order[
        written_enough(
            trace.written(one, looked[order]),
            min_written=one.min_written,
            written_when_taken=then,
            forced=is_event[order],
        )
    ]
    taken = np.zeros(looked.size, dtype=np.bool_)
    taken[chosen] = True
    return taken[: usual.size]


def ready(
    classes: Sequence[ScheduleClass],
    last_ns: Mapping[str, int | None],
    now_ns: int,
    *,
    policy: str = "",
    grace_ns: int = 0,
    written: Mapping[str, int] = MappingProxyType({}),
    events: Sequence[Event] = (),
) -> Take | None:
    """Return the snapshot that is to be taken now, if any.

    Parameters
    ----------
    classes : sequence of ScheduleClass
        The classes of a policy.
    last_ns : mapping of str to int or None
        When each class was taken last, or last left out for lack of writes; None or nothing if never.  [ns]
    now_ns : int
        Now, UTC.  [ns]
    policy : str
        The policy's name: it seeds the jitter.
    grace_ns : int
        How often this is asked: no tick is missed for being seen that late.  [ns]
    written : mapping of str to int
        Bytes written since the last snapshot of each class with `min_written`.  [bytes]
    events : sequence of Event
        What happened since this was asked last, and who is asked for by hand.

    Returns
    -------
    Take or None
        One snapshot for all classes that are due.  A quiet window does not move it: what is written later
        is not known.

    Raises
    ------
    PolicyError
        Bytes written are needed and not given, or no class is taken for an event.
    """
    asked = asked_for(classes, events)
    due = {}
    for one in classes:
        wanted = bool(one.due(last_ns.get(one.name), now_ns, policy=policy, grace_ns=grace_ns).at_ns.size)
        if wanted and one.min_written:
            if one.name not in written:
                raise PolicyError(
                    f"class {one.name!r} looks at what is written: give the bytes since its last snapshot"
                )
            wanted = bool(written_enough([written[one.name]], min_written=one.min_written).size)
        if wanted or asked[one.name].size:
            due[one.name] = np.array([now_ns], dtype=np.int64)
    takes = merge(classes, due)
    return takes.take(0) if takes.time_ns.size else None
