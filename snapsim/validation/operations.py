"""Sequences of operations that a real system and the simulator can both carry out."""

from collections.abc import Iterable, Iterator
from itertools import dropwhile, filterfalse, islice
from typing import Final, NamedTuple

import numpy as np

from snapsim.errors import UsageError
from snapsim.types import DISCARD, FLUSH, READ, WRITE, WRITE_ZEROES, Batch

__all__ = ["REQUESTS", "Operation", "epochs", "random_operations", "trace_operations"]

REQUESTS: Final = {"read": READ, "write": WRITE, "discard": DISCARD, "zeroes": WRITE_ZEROES, "flush": FLUSH}
"""The kinds that are requests, and their op codes; the others are "snapshot", "delete" and "revert"."""

_NAMES = {code: name for name, code in REQUESTS.items()}
_SECTOR = 512
_WINDOW = 4  # blocks in a row that requests go to


class Operation(NamedTuple):
    """One step.

    Attributes
    ----------
    kind : str
        A key of `REQUESTS`, "snapshot", "delete" or "revert".
    offset, length : int
        Of a request.  [bytes]
    snapshot : int
        Of a delete or a revert: the how-manieth snapshot of the sequence, from 0.
    how : str
        "commit" or "stream": the way in which layers are merged.
    """

    kind: str
    offset: int = 0
    length: int = 0
    snapshot: int = -1
    how: str = "commit"


def epochs(operations: Iterable[Operation]) -> Iterator[tuple[list[Operation], Operation | None]]:
    """Cut a sequence where something happens to snapshots.

    Parameters
    ----------
    operations : iterable of Operation
        The sequence.

    Yields
    ------
    requests : list of Operation
        Those before it.
    then : Operation or None
        What happens to snapshots; None at the end.
    """
    requests: list[Operation] = []
    for operation in operations:
        if operation.kind in REQUESTS:
            requests.append(operation)
            continue
        yield requests, operation
        requests = []
    yield requests, None


def random_operations(
    seed: int | tuple[int, ...],
    *,
    capacity: int,
    block_size: int,
    requests: int = 60,
    steps: int = 6,
    windows: int = 24,
    frees: bool | None = None,
    merges: bool = True,
) -> list[Operation]:
    """Make a random sequence: requests, then something that happens to snapshots, and so on.

    Requests go to a few windows of consecutive blocks, spread over the whole volume, so that they meet each
    other: whole and partial blocks, runs across borders, discards of any extent, zeroes of whole blocks.

    Parameters
    ----------
    seed : int or tuple of int
        The same seed, the same sequence.
    capacity : int
        Size of the volume.  [bytes]
    block_size : int
        What the system keeps versions of.  [bytes]
    requests : int
        In all.
    steps : int
        How often something happens to snapshots.
    windows : int
        How many windows there are.
    frees : bool, optional
        There are discards and zeroes; in three of four sequences unless said.
    merges : bool
        Snapshots are deleted one by one, not only by going back to an older one.

    Returns
    -------
    list of Operation
        A delete or a revert names a snapshot that exists then.

    Raises
    ------
    UsageError
        The volume has no room for a window.
    """
    n_blocks = capacity // block_size
    if n_blocks < _WINDOW:
        raise UsageError(f"a volume of {capacity} bytes is too small for blocks of {block_size} bytes")
    rng = np.random.default_rng(seed)
    starts = rng.choice(n_blocks - _WINDOW + 1, min(windows, n_blocks - _WINDOW + 1), replace=False)
    starts[0] = n_blocks - _WINDOW  # the end of the volume is one of them
    some = bool(rng.integers(0, 4))
    frees = some if frees is None else frees
    short = bool(rng.integers(0, 2))  # in some is no request that goes beyond a block
    out: list[Operation] = []
    kept: list[int] = []
    taken = 0
    for epoch, count in enumerate(rng.multinomial(requests, np.full(steps + 1, 1 / (steps + 1))).tolist()):
        if epoch:
            step, taken = _step(rng, kept, taken, merges=merges)
            out.append(step)
        for _ in range(count):
            start = int(rng.choice(starts)) * block_size
            out.append(_request(rng, start, block_size, capacity, short=short, frees=frees))
    return out


def _step(rng: np.random.Generator, kept: list[int], taken: int, *, merges: bool) -> tuple[Operation, int]:
    """Return what happens to snapshots, and how many were taken then; `kept` is brought up to date."""
    choice = rng.random()
    if not kept or choice < 0.5:
        kept.append(taken)
        return Operation("snapshot"), taken + 1
    one = int(rng.choice(kept))
    if choice > 0.85 or not merges:
        del kept[kept.index(one) + 1 :]
        return Operation("revert", snapshot=one), taken
    kept.remove(one)
    return Operation("delete", snapshot=one, how=str(rng.choice(["commit", "stream"]))), taken


def _request(
    rng: np.random.Generator, start: int, block_size: int, capacity: int, *, short: bool, frees: bool
) -> Operation:
    """Return a request in the window that starts there."""
    kind = str(rng.choice(["write", "discard", "zeroes"], p=[0.75, 0.15, 0.1] if frees else [1, 0, 0]))
    sectors = block_size // _SECTOR
    if short or kind == "zeroes":
        start += int(rng.integers(0, _WINDOW)) * block_size
    if kind == "zeroes":
        return Operation(kind, start, block_size)
    room = sectors if short else (_WINDOW - 1) * sectors
    first = int(rng.integers(0, sectors)) if rng.random() < 0.7 else 0
    longest = room - first if short else room
    length = int(rng.integers(1, longest + 1)) if rng.random() < 0.7 else max(longest - longest % sectors, 1)
    offset = start + first * _SECTOR
    near_the_end = offset + length * _SECTOR > capacity - capacity % block_size - block_size
    if near_the_end and not short and rng.random() < 0.3:
        return Operation(kind, offset, capacity // _SECTOR * _SECTOR - offset)  # up to the very end
    return Operation(kind, offset, length * _SECTOR)


def trace_operations(
    batches: Iterable[Batch],
    *,
    capacity: int,
    requests: int,
    every: int,
    keep: int = 3,
    how: str = "commit",
    block_size: int = _SECTOR,
    reads: bool = False,
) -> list[Operation]:
    """Take the first requests of a trace and put snapshots between them.

    A real volume of the trace's size would take as much space as the trace's: offsets are folded into a
    small one (the remainder by its size), which keeps lengths, alignment, order and locality, and lets
    requests meet more often than they did.  What reaches over the end is cut.

    Parameters
    ----------
    batches : iterable of Batch
        Requests of one volume.
    capacity : int
        Of the small volume.  [bytes]
    requests : int
        How many of them, at most.
    every : int
        A snapshot after so many requests.
    keep : int
        How many snapshots are kept; the oldest is deleted first.
    how : str
        The way in which layers are merged.
    block_size : int
        Zeroes are widened to whole blocks, which systems treat alike.  [bytes]
    reads : bool
        Reads are among the requests; those before the first change never are.

    Returns
    -------
    list of Operation
        Requests, snapshots, deletions.
    """
    out: list[Operation] = []
    kept: list[int] = []
    taken = 0
    folded = dropwhile(_reads, _folded(batches, capacity=capacity, block_size=block_size))
    wanted = folded if reads else filterfalse(_reads, folded)
    for done, (kind, offset, length) in enumerate(islice(wanted, requests)):
        if done and done % every == 0:
            out.append(Operation("snapshot"))
            kept.append(taken)
            taken += 1
            if len(kept) > keep:
                out.append(Operation("delete", snapshot=kept.pop(0), how=how))
        out.append(Operation(kind, offset, length))
    return out


def _reads(request: tuple[str, int, int]) -> bool:
    return request[0] == "read"


def _folded(batches: Iterable[Batch], *, capacity: int, block_size: int) -> Iterator[tuple[str, int, int]]:
    for batch in batches:
        columns = (batch.op.tolist(), batch.offset.tolist(), batch.length.tolist())
        for op, offset, length in zip(*columns, strict=True):
            kind = _NAMES[op]
            unit = block_size if kind == "zeroes" else _SECTOR
            first = offset % capacity // unit * unit
            stop = min(-(-(offset % capacity + length) // unit) * unit, capacity // unit * unit)
            if kind == "flush":
                yield kind, 0, 0
            elif stop > first:
                yield kind, first, stop - first
