"""`ChangeTrace`: what changed between snapshots that exist, as a trace at that grain.

What is known is which blocks changed from one instant to the next.  That is all that a lifetime matrix at
those instants needs: a block that changed between two of them holds another version at the second one than at
the first, and versions that came and went in between are seen by no snapshot and cost nothing.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, NoReturn, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from snapsim.errors import TraceError, UsageError
from snapsim.traces.arrays import When, unix_ns
from snapsim.traces.extents import Extents, complement, intersection, union
from snapsim.traces.info import ChangeInfo, Extent, TraceInfo
from snapsim.traces.pacing import check_reach, paced_notes, ratio
from snapsim.traces.table import MemoryTable, Table
from snapsim.traces.trace import Moment, Trace, since
from snapsim.types import DISCARD, WRITE, Batch, Int64Array
from snapsim.units import format_duration, format_size, parse_size

__all__ = ["ChangeTrace", "Changed", "between", "needs_requests", "trace_of"]


class Changed(NamedTuple):
    """What changed between two instants.

    Attributes
    ----------
    written : array_like of int, shape (k, 2)
        Offsets and lengths of what holds other data at the second instant.  [bytes]
    discarded : array_like of int, shape (k, 2), or None
        Offsets and lengths of what held data and holds none any more; None where the source cannot tell.
        [bytes]
    """

    written: npt.ArrayLike
    discarded: npt.ArrayLike | None = None


class ChangeTrace(Trace):
    """What changed between the snapshots of one volume: weeks of history, and no tracing.

    A `Trace` whose requests are the changed extents, each one WRITE or DISCARD just before the instant that
    first shows it.  Lifetimes, growth, policies and tuning take it, at its own instants and at blocks that
    are multiples of its grain.  It cannot say anything about I/O: how often something was written, when, or
    whether it was read.  Made by `ChangeTrace.from_changes`, and by the readers of `snapsim changes`.

    Parameters
    ----------
    table : Table
        Where the requests are.
    info : TraceInfo
        What is known about them; with `changes`.
    measured : bool
        As in `Trace`.
    """

    def __init__(self, table: Table, info: TraceInfo, *, measured: bool) -> None:
        if info.changes is None:
            msg = "a ChangeTrace is made from changes: use ChangeTrace.from_changes"
            raise UsageError(msg)
        super().__init__(table, info, measured=measured)

    @classmethod
    def from_changes(
        cls,
        instants: Int64Array | pd.DatetimeIndex | Iterable[When],
        changes: Iterable[Changed | None],
        *,
        capacity: int | str,
        grain: int | str,
        names: Sequence[str] | None = None,
        initial: npt.ArrayLike | None = None,
        format: str = "changes",  # noqa: A002  the attribute of TraceInfo
        source: str = "",
        notes: Sequence[str] = (),
    ) -> Self:
        """Make a trace of what changed between snapshots.

        Parameters
        ----------
        instants : DatetimeIndex, or array_like of int, text or datetime, shape (n,)
            When each snapshot was taken, increasing; whole numbers are ns since the Unix epoch, points in
            time are UTC unless they say otherwise.
        changes : iterable of Changed or None, length n
            What changed from the instant before up to each one.  The first may be None: what came before the
            first snapshot is not known.
        capacity : int or str
            Size of the volume.  [bytes]
        grain : int or str
            The unit in which the source counts: every extent starts and ends at a multiple of it, or ends
            where the volume does.  [bytes]
        names : sequence of str, optional
            Names of the snapshots.
        initial : array_like of int, shape (k, 2), optional
            Offsets and lengths of what held data before the first known change: at the first instant, or
            before it where `changes` begins with what came before.  [bytes]
        format, source : str
            Where it comes from, as in `TraceInfo`.
        notes : sequence of str
            Assumptions that people should see.

        Returns
        -------
        ChangeTrace
            In memory.

        Raises
        ------
        UsageError, TraceError
            The instants do not increase, there are more or fewer changes than instants, or an extent cannot
            be; the message says at which instant.

        Examples
        --------
        >>> days = ["2026-03-01", "2026-03-02", "2026-03-03"]
        >>> changes = [None, Changed([(0, 8192)]), Changed([(4096, 4096)])]
        >>> trace = ChangeTrace.from_changes(days, changes, capacity="1MiB", grain=4096)
        >>> len(trace), trace.grain, len(trace.instants)
        (2, 4096, 3)
        """
        times = _instants(instants)
        size, unit = parse_size(capacity), parse_size(grain)
        if unit < 1 or size < 1:
            msg = f"grain={grain!r}, capacity={capacity!r}: both must be at least one byte"
            raise UsageError(msg)
        pieces = list(changes)
        if len(pieces) != len(times):
            msg = (
                f"there are {len(times)} instants and {len(pieces)} changes: each instant needs what changed "
                "up to it, the first one None where that is not known"
            )
            raise UsageError(msg)
        if names is not None and len(names) != len(times):
            msg = f"there are {len(times)} instants and {len(names)} names: each instant needs one"
            raise UsageError(msg)
        start_ns = int(times[0]) - (pieces[0] is not None)
        columns = [
            _requests(piece, int(instant) - start_ns - 1, _where(index, int(instant)), unit, size)
            for index, (instant, piece) in enumerate(zip(times, pieces, strict=True))
            if piece is not None or _refuse_unknown(index, int(instant))
        ]
        batch = Batch(*(np.concatenate(parts) for parts in zip(_NO_REQUESTS, *columns, strict=True)))
        info = TraceInfo(
            format=format,
            source=source,
            capacities=(size,),
            start_ns=start_ns,
            notes=tuple(notes),
            changes=ChangeInfo(
                grain=unit,
                instants=tuple(times.tolist()),
                names=tuple(map(str, names or ())),
                initial=None if initial is None else _initial(initial, size),
            ),
        )
        return cls(MemoryTable(batch, info.volumes), info, measured=False)

    @classmethod
    def from_arrays(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: requests are no changes.

        Parameters
        ----------
        *args, **kwargs
            Those of `Trace.from_arrays`, which is what to use; or `ChangeTrace.from_changes`.

        Raises
        ------
        UsageError
            Always.
        """
        msg = "requests are no changes: use Trace.from_arrays for them, or ChangeTrace.from_changes"
        raise UsageError(msg)

    # what it is

    @property
    def _changes(self) -> ChangeInfo:
        assert self._info.changes is not None  # noqa: S101  __init__ refuses
        return self._info.changes

    @property
    def instants(self) -> Int64Array:
        """When the snapshots were taken, since the Unix epoch, UTC; shape (n,).  [ns]"""
        return np.array(self._changes.instants, np.int64)

    @property
    def grain(self) -> int:
        """The unit in which changes are known.  [bytes]"""
        return self._changes.grain

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the snapshots; empty where they have none."""
        return self._changes.names

    @property
    def initial(self) -> tuple[tuple[int, int], ...] | None:
        """Offsets and lengths of what held data before the first known change; None if unknown.  [bytes]"""
        return self._changes.initial

    @property
    def _extent(self) -> Extent:
        """The trace lasts from the first instant to the last, whether or not something changed."""
        if "_extent_" not in self.__dict__:
            found = self._table.extent()
            first, last = (self._changes.instants[place] - self.start_ns for place in (0, -1))
            self.__dict__["_extent_"] = found._replace(first_ns=first, last_ns=last)
        extent: Extent = self.__dict__["_extent_"]
        return extent

    def changes(self) -> Iterator[Changed | None]:
        """Yield what changed up to each instant, as `from_changes` takes it.

        Yields
        ------
        Changed or None
            Offsets and lengths, ascending and joined where they touch; None for a first instant before which
            nothing is known.
        """
        columns = MemoryTable.gathered(self.batches(), self.volumes, rows=len(self)).columns
        times = self.instants - 1 - self.start_ns
        firsts, lasts = (np.searchsorted(columns.time_ns, times, side=side) for side in ("left", "right"))
        for time_ns, first, last in zip(times.tolist(), firsts, lasts, strict=True):
            extents = np.column_stack((columns.offset[first:last], columns.length[first:last]))
            gone = columns.op[first:last] == DISCARD
            yield Changed(extents[~gone], extents[gone]) if time_ns >= 0 else None

    def window(self, start: Moment | None = None, stop: Moment | None = None) -> "ChangeTrace":
        """Return the part between two moments: the snapshots from `start` to `stop`, both included.

        Parameters
        ----------
        start, stop : str, int, timedelta, datetime, Timestamp or None
            As in `Trace.window`.

        Returns
        -------
        ChangeTrace
            Its first instant shows what was there already; what is known to hold data then, is known.

        Raises
        ------
        UsageError
            No snapshot lies between them, or a text is neither a duration nor a point in time.
        """
        instants = self.instants
        origin = self._changes.instants[0]  # where it is known what came before, time 0 is a little earlier
        first, last = (since(when, origin) for when in (start, stop))
        inside = np.ones(len(instants), np.bool_)
        inside &= first is None or instants - origin >= first
        inside &= last is None or instants - origin <= last
        if not inside.any():
            msg = (
                f"window from {start!r} to {stop!r} holds no snapshot: there are {len(instants)}, "
                f"from {_text(int(instants[0]))} to {_text(int(instants[-1]))}"
            )
            raise UsageError(msg)
        begin, end = int(np.argmax(inside)), len(inside) - int(np.argmax(inside[::-1]))
        pieces = list(self.changes())
        held = self.initial
        if begin and held is not None:
            for piece in pieces[: begin + 1]:
                held = _pairs(_applied(_ranges(np.array(held, np.int64)), piece))
        kept: list[Changed | None] = [None, *pieces[begin + 1 : end]] if begin else pieces[:end]
        return self._remade(instants[begin:end], kept, initial=held, names=self.names[begin:end])

    def stretch(self, scale: float, *, start: When | None = None) -> "ChangeTrace":
        """Return the change trace of a paced recording at the times that it represents.

        Parameters
        ----------
        scale : int or float
            What times since the first instant are multiplied by, as in `Trace.stretch`.
        start : int, str, datetime, Timestamp or None
            When the first instant was, in represented time; what it was before when None.

        Returns
        -------
        ChangeTrace
            Its `time_scale` is multiplied, and a note says so.

        Raises
        ------
        UsageError
            The scale is not between a millionth and a million, or times would not fit.
        """
        exact = ratio(scale)
        after = [instant - self._changes.instants[0] for instant in self._changes.instants]
        begin = self._changes.instants[0] if start is None else unix_ns(start)
        check_reach(after[-1], exact, begin)
        times = [begin + time_ns * exact.numerator // exact.denominator for time_ns in after]
        if len(set(times)) < len(times):
            msg = f"a time scale of {float(scale):g} puts two snapshots at one nanosecond: take a larger one"
            raise UsageError(msg)
        total = self._info.time_scale * float(scale)
        made = self._remade(np.array(times, np.int64), self.changes(), initial=self.initial, names=self.names)
        notes = paced_notes(self._info.notes, total)
        info = dataclasses.replace(made.info, time_scale=total, notes=notes)
        return ChangeTrace(made.table, info, measured=True)

    def _remade(
        self, instants: Int64Array, changes: Iterable[Changed | None], *, initial: Any, names: tuple[str, ...]
    ) -> "ChangeTrace":
        made = ChangeTrace.from_changes(
            instants, changes, capacity=self.capacity, grain=self.grain, names=names or None, initial=initial
        )
        info = dataclasses.replace(self._info, start_ns=made.start_ns, changes=made.info.changes)
        return ChangeTrace(made.table, info, measured=False)

    def _facts(self) -> dict[str, str]:
        first, last = (_text(self._changes.instants[place]) for place in (0, -1))
        own = {
            "requests": f"{len(self):,} changed extents, no requests",
            "span": f"{format_duration(self.span_ns)}, from {first} to {last}",
        }
        own |= {
            "snapshots": f"{len(self._changes.instants):,}",
            "grain": format_size(self.grain),
            "content at the start": "not known" if self.initial is None else "known",
        }
        return super()._facts() | own

    def __repr__(self) -> str:
        """Show what the trace is, a fact a line."""
        return f"Change{super().__repr__()}"

    def _repr_html_(self) -> str:
        return super()._repr_html_().replace("<caption>", "<caption>Change", 1)


def trace_of(table: Table, info: TraceInfo, *, measured: bool) -> Trace:
    """Return a `ChangeTrace` where the requests are changes between snapshots, and a `Trace` otherwise."""
    kind = Trace if info.changes is None else ChangeTrace
    return kind(table, info, measured=measured)


_NO_REQUESTS = (np.empty(0, np.int64), np.empty(0, np.uint8), np.empty(0, np.int64), np.empty(0, np.int64))


def _text(instant: int) -> str:
    return pd.Timestamp(instant, unit="ns", tz="UTC").strftime("%Y-%m-%d %H:%M:%S UTC")


def between(trace: object) -> tuple[str, ...]:
    """Return what results say of a change trace, in a sentence; nothing for any other trace.

    Parameters
    ----------
    trace : Trace
        Any.

    Returns
    -------
    tuple of str
        None or one.
    """
    if not isinstance(trace, ChangeTrace):
        return ()
    said = (
        f"The trace is of changes between {_snapshots(trace)}: versions that lived between two "
        "snapshots are not seen, and there are no I/O figures."
    )
    return (said,)


def needs_requests(trace: object, what: str) -> None:
    """Refuse a change trace where the requests themselves are needed.

    Parameters
    ----------
    trace : Trace
        Any; what is no change trace passes.
    what : str
        What was asked for, to begin the sentence with.

    Raises
    ------
    UsageError
        It is a change trace.
    """
    if isinstance(trace, ChangeTrace):
        msg = (
            f"{what} needs the disk's requests, and this is a change trace: it knows what changed between "
            f"{_snapshots(trace)}, not when, how often, in which requests, or what was read"
        )
        raise UsageError(msg)


def _snapshots(trace: ChangeTrace) -> str:
    n = len(trace.instants)
    return f"{n} snapshot{'s' * (n != 1)}"


def _where(index: int, instant: int) -> str:
    return f"changes[{index}] (up to {_text(instant)})"


def _instants(instants: Int64Array | pd.DatetimeIndex | Iterable[When]) -> Int64Array:
    if isinstance(instants, str | bytes) or not isinstance(instants, Iterable):
        msg = f"instants is {instants!r}: give one point in time for each snapshot, in a list or an array"
        raise UsageError(msg)
    values = [unix_ns(when) for when in instants]
    if not values:
        msg = "instants is empty: a change trace needs at least one snapshot"
        raise UsageError(msg)
    for index, (before, after) in enumerate(pairwise(values), start=1):
        if after <= before:
            msg = (
                f"instants[{index}], {_text(after)}, is not after instants[{index - 1}], {_text(before)}: "
                "snapshots must come in the order in which they were taken"
            )
            raise UsageError(msg)
    return np.array(values, np.int64)


def _refuse_unknown(index: int, instant: int) -> bool:
    if index:
        msg = f"{_where(index, instant)} is None: only what came before the first snapshot may be unknown"
        raise UsageError(msg)
    return False


def _requests(
    piece: Changed | None, time_ns: int, where: str, grain: int, capacity: int
) -> tuple[npt.NDArray[Any], ...]:
    """Return the columns of one interval, sorted and disjoint: what is in both sets was written last."""
    if not isinstance(piece, tuple) or len(piece) != 2:
        msg = f"{where} is a {type(piece).__name__}: give Changed(written=..., discarded=...)"
        raise UsageError(msg)
    written, discarded = (
        _checked(table, f"{where}: {name}", grain, capacity)
        for name, table in zip(("written", "discarded"), piece, strict=True)
    )
    discarded = intersection(discarded, complement(written))
    start = np.concatenate((written.start, discarded.start))
    end = np.concatenate((written.end, discarded.end))
    op = np.repeat(np.array([WRITE, DISCARD], np.uint8), [len(written.start), len(discarded.start)])
    order = np.argsort(start)
    return np.full(len(order), time_ns, np.int64), op[order], start[order], (end - start)[order]


def _checked(extents: npt.ArrayLike | None, what: str, grain: int, capacity: int) -> Extents:
    table = _table(extents, what)
    edge = -(-capacity // grain) * grain
    start, length = table[:, 0], table[:, 1]
    _refuse((start < 0) | (length < 0), table, what, "has a negative offset or length")
    _refuse(length > edge - start, table, what, f"lies beyond the volume of {capacity} bytes")
    end = np.minimum(start + length, capacity)
    uneven = (start % grain != 0) | ((end % grain != 0) & (end != capacity))
    _refuse(uneven, table, what, f"does not start and end at multiples of the grain of {grain} bytes")
    some = end > start
    return union(start[some], end[some])


def _initial(initial: npt.ArrayLike, capacity: int) -> tuple[tuple[int, int], ...]:
    return _pairs(_checked(initial, "initial", 1, capacity))


def _table(extents: npt.ArrayLike | None, what: str) -> Int64Array:
    if extents is None:
        return np.empty((0, 2), np.int64)
    try:
        table = np.asarray(extents)
    except ValueError:
        table = np.empty(1, object)
    if not table.size:
        return np.empty((0, 2), np.int64)
    if table.ndim != 2 or table.shape[1] != 2 or table.dtype.kind not in "iu":
        msg = f"{what}: extents are pairs of a whole offset and a whole length in bytes"
        raise TraceError(msg)
    return table.astype(np.int64)


def _refuse(bad: npt.NDArray[np.bool_], table: Int64Array, what: str, why: str) -> None:
    if bad.any():
        index = int(np.argmax(bad))
        offset, length = table[index].tolist()
        msg = f"{what}, extent {index}: {length} bytes at {offset} {why}"
        raise TraceError(msg)


def _ranges(table: Int64Array) -> Extents:
    table = table.reshape(-1, 2)
    return union(table[:, 0], table.sum(axis=1))


def _pairs(extents: Extents) -> tuple[tuple[int, int], ...]:
    return tuple(zip(extents.start.tolist(), (extents.end - extents.start).tolist(), strict=True))


def _applied(held: Extents, piece: Changed | None) -> Extents:
    """Return what holds data after a change."""
    if piece is None:
        return held
    written, discarded = (_ranges(np.asarray(table, np.int64)) for table in piece)
    held = intersection(held, complement(discarded))
    return union(np.concatenate((held.start, written.start)), np.concatenate((held.end, written.end)))
