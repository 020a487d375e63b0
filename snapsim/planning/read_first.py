"""What a trace shows to have existed before it: what is read before it is written."""

import numpy as np

from snapsim.traces.changes import needs_requests
from snapsim.traces.trace import Trace
from snapsim.types import DISCARD, FLUSH, READ, WRITE_ZEROES, Batch

__all__ = ["read_first_map"]

_UNTOUCHED, _EXISTED, _NEW = 0, 1, 2
_ROWS = 1 << 14  # a request becomes a row for each of its blocks


def read_first_map(trace: Trace, *, block_size: int) -> tuple[tuple[int, int], ...]:
    """Return the blocks that a trace reads before it writes them, in a pass over its requests.

    Parameters
    ----------
    trace : Trace
        Of one volume.
    block_size : int
        [bytes]

    Returns
    -------
    tuple of (offset, length)
        Extents, increasing.  [bytes]

    Examples
    --------
    >>> trace = Trace.from_arrays(
    ...     [0, 1, 2], ["read", "write", "read"], [0, 4096, 4096], [4096] * 3, capacity=16384, start=0
    ... )
    >>> read_first_map(trace, block_size=4096)
    ((0, 4096),)
    """
    needs_requests(trace, "what is read before it is written")
    state = np.zeros(-(-trace.capacity // block_size), np.uint8)
    for batch in trace.batches(rows=_ROWS):
        # what may cover a large part of the volume is taken one by one, the rest in between together
        large = np.flatnonzero((batch.op == DISCARD) | (batch.op == WRITE_ZEROES))
        begin = 0
        for place in large.tolist():
            _touch(state, batch, begin, place, block_size)
            _cover(state, batch, place, block_size, capacity=trace.capacity)
            begin = place + 1
        _touch(state, batch, begin, len(batch.op), block_size)
    edges = np.flatnonzero(np.diff(np.concatenate(([0], state == _EXISTED, [0])))) * block_size
    first, stop = edges[::2], edges[1::2]
    return tuple(zip(first.tolist(), (stop - first).tolist(), strict=True))


def _touch(state: np.ndarray, batch: Batch, begin: int, stop: int, block_size: int) -> None:
    """Note the first touch of each block by reads and writes."""
    some = np.arange(begin, stop)
    some = some[(batch.op[some] != FLUSH) & (batch.length[some] > 0)]
    first = batch.offset[some] // block_size
    count = -(-(batch.offset[some] + batch.length[some]) // block_size) - first
    ends = np.cumsum(count)
    block = np.repeat(first - ends + count, count) + np.arange(ends[-1] if len(ends) else 0)
    request = np.repeat(some, count)
    fresh = state[block] == _UNTOUCHED
    block, at = np.unique(block[fresh], return_index=True)
    state[block] = np.where(batch.op[request[fresh][at]] == READ, _EXISTED, _NEW)


def _cover(state: np.ndarray, batch: Batch, place: int, block_size: int, *, capacity: int) -> None:
    """Note that blocks are gone or zero: a discard counts where it covers a block whole."""
    low = int(batch.offset[place])
    high = low + int(batch.length[place])
    if batch.op[place] == DISCARD:
        first, stop = -(-low // block_size), high // block_size if high < capacity else len(state)
    else:
        first, stop = low // block_size, -(-high // block_size)
    part = state[first:stop]
    part[part == _UNTOUCHED] = _NEW
