"""A change trace out of files that other systems wrote: one for each snapshot."""

from collections.abc import Iterable
from functools import reduce
from itertools import pairwise
from math import gcd
from pathlib import Path

import numpy as np

from snapsim.errors import TraceError, UsageError
from snapsim.traces.arrays import When, unix_ns
from snapsim.traces.change_files import ChangeFile, parse_changes
from snapsim.traces.changes import Changed, ChangeTrace
from snapsim.traces.extents import Extents, complement, intersection, union
from snapsim.types import Int64Array
from snapsim.units import MIB, format_size, parse_size

__all__ = ["read_changes", "to_grain"]

_SMALLEST, _LARGEST = 512, 4 * MIB
_FIRST_IS_ALL = "The first file is taken as all that the first snapshot holds."


def read_changes(
    files: Iterable[tuple[When, Path | str | None]],
    *,
    format: str | None = None,  # noqa: A002  the word that users look for
    capacity: int | str | None = None,
    grain: int | str | None = None,
) -> ChangeTrace:
    """Make a change trace of files that say what changed between consecutive snapshots.

    Parameters
    ----------
    files : iterable of (time, path)
        For each snapshot, oldest first: when it was taken (UTC unless said), and the file that says what
        changed since the one before.  The first may be None, or list all that the first snapshot holds.
    format : str, optional
        A name in `CHANGE_FORMATS`, where files are not recognised.
    capacity : int or str, optional
        Size of the volume, where no file tells it.  [bytes]
    grain : int or str, optional
        The unit in which changes are counted: extents are widened to it.  Unless given, what the files say,
        or the largest power of two from 512 B to 4 MiB that all extents are multiples of.  A multiple of
        what the files say.  [bytes]

    Returns
    -------
    ChangeTrace
        With the names of the snapshots, where the files tell them.

    Raises
    ------
    UsageError
        The capacity or the grain is needed, or is not what the files say; or times do not increase.
    TraceError
        A file is damaged, of another format, or not what changed since the snapshot before.
    """
    given = [(unix_ns(when), None if not path else Path(path)) for when, path in files]
    if not any(path for _, path in given):
        raise UsageError("no file says what changed: give one for each snapshot after the first")
    for index, (_, path) in enumerate(given[1:], start=1):
        if path is None:
            raise UsageError(f"files[{index}]: only what came before the first snapshot may be unknown")
    read = [None if path is None else parse_changes(path, format=format) for _, path in given]
    _check_order([path for _, path in given], read)
    known = [one for one in read if one is not None]
    size = _capacity(known, capacity)
    _check_covered([path for _, path in given], read, size)
    _check_within([path for _, path in given], read, size)
    unit, notes = _grain(known, grain, size)
    changes: list[Changed | None] = [None if one is None else to_grain(one, unit, size) for one in read]
    first, initial = read[0], None
    if first is not None and (first.whole is not False or first.held is not None):
        initial, changes[0] = first.written if first.held is None else first.held, None
        notes += [_FIRST_IS_ALL] if first.whole is None else []
    return ChangeTrace.from_changes(
        [when for when, _ in given],
        changes,
        capacity=size,
        grain=unit,
        names=_names(read),
        initial=initial,
        source=", ".join(path.name for _, path in given if path),
        notes=notes,
    )


def _check_order(paths: list[Path | None], read: list[ChangeFile | None]) -> None:
    """Refuse a listing of everything in the place of a change, and changes since another snapshot."""
    for path, one in zip(paths[1:], read[1:], strict=True):
        if one is not None and one.whole:
            msg = f"{path} lists all that a snapshot holds, not what changed since the one before"
            raise TraceError(msg)
    for (before, after), path in zip(pairwise(read), paths[1:], strict=True):
        if before and after and before.newer and after.older and before.newer != after.older:
            msg = (
                f"{path} says what changed since snapshot {after.older}, and the file before it ends at "
                f"snapshot {before.newer}: each has to begin where the one before ends"
            )
            raise TraceError(msg)


def _names(read: list[ChangeFile | None]) -> list[str] | None:
    """Return the snapshots' names, from either side; only where all are known."""
    names = [one.newer if one else None for one in read]
    for index, one in enumerate(read[1:]):
        names[index] = names[index] or (one.older if one else None)
    found = [name for name in names if name]
    return found if len(found) == len(names) else None


def _capacity(files: list[ChangeFile], given: int | str | None) -> int:
    told = max((one.capacity or 0 for one in files), default=0)
    if given is None:
        if not told:
            raise UsageError("the files do not say how large the volume is: give its capacity (--capacity)")
        return told
    size = parse_size(given)
    if size < told:
        msg = f"capacity {given}: the files say that the volume has {told} bytes ({format_size(told)})"
        raise UsageError(msg)
    return size


def _check_covered(paths: list[Path | None], read: list[ChangeFile | None], capacity: int) -> None:
    for path, one in zip(paths, read, strict=True):
        if one is not None and one.covered is not None and one.capacity is None and capacity:
            raise TraceError(f"{path} describes nothing of a volume of {capacity} bytes")
        if (
            one is not None
            and one.covered is not None
            and one.covered < capacity
            and not _grew(read, capacity)
        ):
            msg = f"{path} describes the first {one.covered} bytes of {capacity}: the rest is missing"
            raise TraceError(msg)


def _check_within(paths: list[Path | None], read: list[ChangeFile | None], capacity: int) -> None:
    """Refuse what lies beyond the volume: only the last of a system's own blocks may reach over its end."""
    for path, one in zip(paths, read, strict=True):
        if one is None:
            continue
        unit = one.grain or 1
        tables = np.concatenate((one.written, one.discarded))
        beyond = tables[tables.sum(axis=1) > -(-capacity // unit) * unit]
        if len(beyond):
            offset, length = beyond[0].tolist()
            raise TraceError(f"{path}: {length} bytes at {offset} lie beyond the volume of {capacity} bytes")


def _grew(read: list[ChangeFile | None], capacity: int) -> bool:
    """Say whether the volume became larger from one file to the next: then early ones cover less."""
    covered = [one.covered for one in read if one is not None and one.covered is not None]
    return covered == sorted(covered) and covered[-1] >= capacity


def _grain(files: list[ChangeFile], given: int | str | None, capacity: int) -> tuple[int, list[str]]:
    told = sorted({one.grain for one in files if one.grain})
    sizes = ", ".join(map(format_size, told))
    if given is not None:
        unit = parse_size(given)
        if unit < 1:
            raise UsageError(f"grain {given!r}: it has to be at least one byte")
        if any(unit % one for one in told):
            raise UsageError(f"grain {given}: the files count in units of {sizes}: give a multiple of that")
        return unit, []
    silent = any(not one.grain for one in files)
    if len(told) == 1 and not silent:
        return told[0], []
    if told:
        said = f"units of {sizes}" + (", and some do not say in which" if silent else "")
        raise UsageError(f"the files count in {said}: give the one to count in (--grain)")
    tables = np.concatenate([np.concatenate((one.written, one.discarded)) for one in files])
    edges = np.concatenate((tables[:, 0], tables.sum(axis=1)))
    edges = edges[edges != capacity]
    common = reduce(gcd, np.unique(edges & -edges).tolist(), _LARGEST)
    if common < _SMALLEST:
        msg = (
            f"the extents fit no unit of at least {_SMALLEST} bytes: give the one to count in (--grain), "
            "to which they are widened"
        )
        raise UsageError(msg)
    note = f"The files do not say in which unit they count: all extents fit {format_size(common)}."
    return common, [note]


def to_grain(file: ChangeFile, grain: int, capacity: int) -> Changed:
    """Return what changed in whole blocks: what is discarded in part is changed, not discarded.

    Parameters
    ----------
    file : ChangeFile
        Extents of any offsets and lengths.
    grain, capacity : int
        The block, and the size of the volume, at which the last block may be cut off.  [bytes]

    Returns
    -------
    Changed
        Extents that start and end at multiples of the grain, or end at the capacity.
    """
    written, gone = _extents(file.written), _extents(file.discarded)
    inner_start = -(-gone.start // grain) * grain
    inner_end = np.where(gone.end == capacity, capacity, gone.end // grain * grain)
    some = inner_end > inner_start
    inner = Extents(inner_start[some], inner_end[some])
    edges = intersection(_widened(gone, grain, capacity), complement(inner))
    outer = _widened(written, grain, capacity)
    both = union(np.concatenate((outer.start, edges.start)), np.concatenate((outer.end, edges.end)))
    return Changed(_pairs(both), _pairs(inner))


def _widened(extents: Extents, grain: int, capacity: int) -> Extents:
    if not len(extents.start):
        return extents
    end = -(-extents.end // grain) * grain
    end = np.where((extents.end <= capacity) & (end > capacity), capacity, end)
    return union(extents.start // grain * grain, end)


def _extents(table: object) -> Extents:
    pairs: Int64Array = np.asarray(table, np.int64).reshape(-1, 2)
    pairs = pairs[pairs[:, 1] > 0]
    return union(pairs[:, 0], pairs.sum(axis=1))


def _pairs(extents: Extents) -> Int64Array:
    return np.column_stack((extents.start, extents.end - extents.start))
