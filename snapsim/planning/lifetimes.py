"""`count_lifetimes`: a trace, counted once, for every policy."""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from snapsim.engine.counter import LifetimeCounter
from snapsim.engine.lifetimes import Counting, LifetimeMatrix
from snapsim.errors import UsageError
from snapsim.planning.instants import Schedules, among, from_schedules, given, regular
from snapsim.traces.changes import ChangeTrace, needs_requests
from snapsim.traces.trace import Trace
from snapsim.types import Int64Array
from snapsim.units import format_size, parse_size

__all__ = ["count_group", "count_lifetimes", "initial_of"]

Initial = str | os.PathLike[str] | npt.ArrayLike | pd.DataFrame | Iterable[tuple[int, int]]
Progress = Callable[[int, int], None]


def count_lifetimes(
    trace: Trace,
    *,
    every: int | str | None = None,
    schedules: Schedules | None = None,
    instants: Int64Array | pd.DatetimeIndex | Sequence[object] | None = None,
    block_size: int | str,
    initial: Initial | None = None,
    discard: str = "death",
    zeroes: str = "write",
    grain: int | str = 1,
    timezone: str = "UTC",
    progress: Progress | None = None,
) -> LifetimeMatrix:
    """Count the versions of a volume's blocks by birth and death, in one pass over its trace.

    Parameters
    ----------
    trace : Trace
        Requests of one volume; or a `ChangeTrace`, whose own instants are taken unless others are asked for:
        then of its own the first one not before each, and the first and the last.
    every : int or str, optional
        Instants at the multiples of this interval since the Unix epoch ("1h").  One of `every`, `schedules`
        and `instants` is needed, unless the trace has instants of its own.
    schedules : str, Schedule, Policy, or sequence of them, optional
        Instants at the ticks of these schedules.
    instants : DatetimeIndex or array_like, optional
        The instants themselves; whole numbers are nanoseconds since the Unix epoch.
    block_size : int or str
        The mechanism's unit, such as "64KiB"; of a `ChangeTrace` a multiple of its grain.
    initial : str, path, or extents, optional
        What exists before the trace: "thick" (the whole volume: the upper bound), "read-first" (what is read
        before it is
        written), "thin" (nothing: the lower bound), pairs of offset and length of what is allocated, or the
        file that
        `qemu-img map --output=json` wrote.  By default what a `ChangeTrace` knows of it, else "thick".
    discard : {"death", "ignore", "touch"}
        A DISCARD ends the versions of blocks that it covers whole; changes nothing; or makes a new version of
        what it overlaps.
    zeroes : {"write", "death", "touch"}
        A WRITE_ZEROES is a write; ends the versions of blocks that it covers whole (and writes those it
        covers in part); "touch" is
        "write" said of metadata.
    grain : int or str
        A DISCARD is first shrunk to whole multiples of this.  [bytes]
    timezone : str
        Zone of schedules that are given as text.
    progress : callable, optional
        Called with (requests done, requests in all).

    Returns
    -------
    LifetimeMatrix
        It remembers the trace, so that other block sizes and modes can be counted when a mechanism needs
        them.

    Raises
    ------
    UsageError
        The parameters make no sense together, or a `ChangeTrace` cannot tell what is asked for.
    VolumeSelectionError
        The trace has several volumes: select one, or pass each to `growth`.

    Examples
    --------
    >>> trace = Trace.from_arrays([0, 1, 2], ["write"] * 3, [0, 0, 4096], [4096] * 3, capacity=8192, start=0)
    >>> count_lifetimes(trace, instants=[1, 2, 3], block_size=4096).counts.tolist()
    [[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]]
    """
    _check_trace(trace)
    counting = Counting(
        block_size=parse_size(block_size),
        initial=_initial(trace, initial),
        discard=discard,
        zeroes=zeroes,
        grain=parse_size(grain),
    )
    trace.capacity  # noqa: B018  refuses several volumes before anything is counted
    chosen = _instants([trace], every=every, schedules=schedules, instants=instants, timezone=timezone)
    known: dict[Counting, LifetimeMatrix] = {}

    def recount(wanted: Counting) -> LifetimeMatrix:
        if wanted not in known:
            known[wanted] = _count(trace, chosen, wanted, recount, progress)
        return known[wanted]

    return recount(counting)


def count_group(
    traces: Trace | Mapping[str, Trace],
    *,
    every: int | str | None = None,
    schedules: Schedules | None = None,
    instants: Int64Array | pd.DatetimeIndex | Sequence[object] | None = None,
    timezone: str = "UTC",
    **how: Any,
) -> dict[str, LifetimeMatrix]:
    """Count several volumes on one clock: the disks of a VM, the VMs of a pool.

    Parameters
    ----------
    traces : Trace, or mapping of str to Trace
        A trace of several volumes, or traces by name, of one volume each; of change traces the instants
        count that all of them have.
    every, schedules, instants, timezone
        As in `count_lifetimes`; the instants enclose all traces.
    **how
        The other parameters of `count_lifetimes`.

    Returns
    -------
    dict of str to LifetimeMatrix
        What `growth` sums: the peak of the sum, not the sum of the peaks.

    Raises
    ------
    UsageError
        There is no volume, or the parameters make no sense together.
    """
    if isinstance(traces, Trace):
        traces = {name: traces.select(volume=name) for name in traces.volumes}
    if not traces:
        msg = "a group needs at least one volume"
        raise UsageError(msg)
    clock = _instants(
        list(traces.values()), every=every, schedules=schedules, instants=instants, timezone=timezone
    )
    return {name: count_lifetimes(trace, instants=clock, **how) for name, trace in traces.items()}


def _count(
    trace: Trace,
    instants: Int64Array,
    counting: Counting,
    recount: Callable[[Counting], LifetimeMatrix],
    progress: Progress | None,
) -> LifetimeMatrix:
    _check_grain(trace, counting)
    counter = LifetimeCounter(
        instants,
        counting,
        capacity=trace.capacity,
        capacity_known=trace.capacity_known,
        start_ns=trace.start_ns,
    )
    done, total = 0, len(trace)
    for batch in trace.batches():
        counter.add(batch)
        done += len(batch.time_ns)
        if progress is not None:
            progress(done, total)
    return replace(counter.finish(), recounter=recount, origin=trace)


def _instants(
    traces: Sequence[Trace],
    *,
    every: int | str | None,
    schedules: Schedules | None,
    instants: Any,
    timezone: str,
) -> Int64Array:
    chosen = [
        name
        for name, value in (("every", every), ("schedules", schedules), ("instants", instants))
        if value is not None
    ]
    own = _own_instants(traces)
    if len(chosen) != 1 and (chosen or own is None):
        found = "none was given" if not chosen else f"{' and '.join(chosen)} were given"
        msg = f'one of every="1h", schedules=["@hourly"] and instants=[...] is needed, but {found}'
        raise UsageError(msg)
    if instants is not None:
        return _checked(given(instants), own)
    if not chosen and own is not None:
        return own
    span = {
        "start_ns": min(trace.start_ns for trace in traces),
        "last_ns": max(trace.start_ns + trace.last_ns for trace in traces),
    }
    if every is not None:
        asked = regular(every, **span)
    else:
        asked = from_schedules(schedules or (), **span, timezone=timezone)
    return asked if own is None else among(own, asked)


def _own_instants(traces: Sequence[Trace]) -> Int64Array | None:
    """Return the instants that all change traces have, None where there is no change trace."""
    known = [trace.instants for trace in traces if isinstance(trace, ChangeTrace)]
    if not known:
        return None
    common = reduce(np.intersect1d, known)
    if not len(common):
        msg = (
            "these volumes have no snapshot of the same moment: what changed between snapshots of different "
            "moments cannot be summed on one clock"
        )
        raise UsageError(msg)
    return common


def _checked(instants: Int64Array, own: Int64Array | None) -> Int64Array:
    """Refuse instants at which nothing is known."""
    unknown = [] if own is None else instants[~np.isin(instants, own)].tolist()
    if unknown and own is not None:
        msg = (
            f"instant {pd.Timestamp(unknown[0], unit='ns', tz='UTC').isoformat()} is none of the {len(own)} "
            "snapshots that the changes lie between: choose some of trace.instants, or leave instants out"
        )
        raise UsageError(msg)
    return instants


def _check_grain(trace: Trace, counting: Counting) -> None:
    """Refuse blocks in which the changes are not known."""
    if isinstance(trace, ChangeTrace) and counting.block_size % trace.grain:
        msg = (
            f"blocks of {format_size(counting.block_size)} cannot be counted: the changes are known in units "
            f"of {format_size(trace.grain)}, so give a block_size that is a multiple of it, or take a "
            "mechanism that has such blocks"
        )
        raise UsageError(msg)


def _initial(trace: Trace, initial: Initial | None) -> str | tuple[tuple[int, int], ...]:
    if initial is None:
        known = trace.initial if isinstance(trace, ChangeTrace) else None
        return "thick" if known is None else known
    if isinstance(initial, str) and initial == "read-first":
        needs_requests(trace, 'initial="read-first"')
    return initial_of(initial)


def initial_of(initial: Initial) -> str | tuple[tuple[int, int], ...]:
    """Return what exists before a trace as `Counting` takes it: a word, or extents.

    Parameters
    ----------
    initial : str, path, or extents
        As in `count_lifetimes`.

    Returns
    -------
    str or tuple of (offset, length)
        [bytes]

    Raises
    ------
    UsageError
        It is none of these, or the file cannot be read.
    """
    if isinstance(initial, str) and initial in {"thick", "thin", "read-first"}:
        return initial
    if isinstance(initial, str | os.PathLike):
        return _image_map(Path(initial))
    table = _pairs(initial)
    if np.any(table < 0):
        msg = "initial holds an extent with a negative offset or length"
        raise UsageError(msg)
    return tuple((int(offset), int(length)) for offset, length in table)


def _check_trace(trace: object) -> None:
    if not isinstance(trace, Trace):
        msg = f"trace is a {type(trace).__name__}: read one with snapsim.read_trace"
        raise UsageError(msg)


def _pairs(initial: object) -> Int64Array:
    """Return offsets and lengths as an array of two columns."""
    if isinstance(initial, pd.DataFrame) and {"offset", "length"} <= set(initial.columns):
        initial = initial[["offset", "length"]].to_numpy()
    rows = np.array(list(initial) if isinstance(initial, Iterable) else [None])
    if not rows.size:
        return np.empty((0, 2), np.int64)
    if rows.dtype.kind not in "iu" or rows.ndim != 2 or rows.shape[1] != 2:
        msg = (
            'initial is none of "thick", "thin", "read-first", a file, or pairs of whole offsets and lengths'
        )
        raise UsageError(msg)
    return rows.astype(np.int64)


def _image_map(path: Path) -> tuple[tuple[int, int], ...]:
    """Read what `qemu-img map --output=json` wrote: extents that hold data."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        msg = (
            f'initial={str(path)!r} is not "thick", "thin" or "read-first", and as a file it cannot be read: '
            f"{error.strerror}"
        )
        raise UsageError(msg) from None
    except UnicodeDecodeError:
        msg = (
            f"{path} is not what `qemu-img map --output=json` writes, but a binary file: give the image's map"
        )
        raise UsageError(msg) from None
    try:
        entries = json.loads(text)
        extents = [
            (int(entry["start"]), int(entry["length"]), entry["data"] and not entry["zero"])
            for entry in entries
        ]
    except (ValueError, KeyError, TypeError) as error:
        msg = f"{path} is not what `qemu-img map --output=json` writes: {error!r}"
        raise UsageError(msg) from None
    if not extents:
        msg = f"{path} holds no extents: it is not what `qemu-img map --output=json` writes"
        raise UsageError(msg)
    return tuple((start, length) for start, length, holds_data in extents if holds_data)
