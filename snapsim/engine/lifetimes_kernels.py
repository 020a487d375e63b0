"""Kernels that count block versions by the epochs of their birth and death, in one pass over the requests.

A block's code in the table says which version it shows: `UNTOUCHED`, `INITIAL`, `ABSENT`, or `FIRST_BIRTH + b` for a
version born in epoch b.  Requests come in time order, so the deaths of one epoch fill one column of the
matrix; a finished column is appended to growing lists of its non-zero cells.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from snapsim._jit import kernel
from snapsim.engine.blocktable_kernels import LEAF_BITS, free_leaves, overwrite, replace, tally_codes

UNTOUCHED = 0  # no request has changed the block yet: what that means is decided by the caller
INITIAL = 1  # existed before the trace
ABSENT = 2  # does not exist: never written, or discarded
FIRST_BIRTH = 3

# what a DISCARD or WRITE_ZEROES does to the version of a block
IGNORE, DEATH, TOUCH = 0, 1, 2

# places in `CountState.cursor`
EPOCH, DEATH_CELLS, READ_CELLS, INITIAL_BLOCKS, LEAVES_WANTED = 0, 1, 2, 3, 4
CURSOR_SIZE = 5

_READ, _WRITE, _DISCARD, _WRITE_ZEROES = 0, 1, 2, 3


class Rules(NamedTuple):
    """Integers that decide what requests do.

    Attributes
    ----------
    block_size : int
        [bytes]
    shift : int
        log2 of the block size, or -1 when it is not a power of two.
    n_blocks, capacity : int
        Size of the volume in blocks (the last one may be partial) and bytes.
    discard, zeroes : int
        `IGNORE`, `DEATH` or `TOUCH`.
    grain : int
        A DISCARD is first shrunk to whole multiples of this many bytes; 1 leaves it as it is.
    mark_reads : int
        1: a block that is read before it is written is `INITIAL`.
    """

    block_size: int
    shift: int
    n_blocks: int
    capacity: int
    discard: int
    zeroes: int
    grain: int
    mark_reads: int


class CountState(NamedTuple):
    """Arrays that carry the count from one batch to the next.

    Attributes
    ----------
    boundaries : int64 array, shape (n_instants,)
        Instants, relative to the trace's start.  [ns]
    deaths, reads : int64 array, shape (n_instants + 1 + FIRST_BIRTH,)
        Versions killed and blocks read in the current epoch, by code.
    births : int64 array, shape (n_instants + 1,)
        Versions born per epoch.
    death_code, death_epoch : int32 arrays; death_count : int64 array
        Non-zero cells of the finished columns of the lifetime matrix.
    read_code, read_epoch : int32 arrays; read_count : int64 array
        The same for block reads.
    cursor : int64 array, shape (CURSOR_SIZE,)
        Scalars that change: see the names above.
    """

    boundaries: npt.NDArray[np.int64]
    deaths: npt.NDArray[np.int64]
    reads: npt.NDArray[np.int64]
    births: npt.NDArray[np.int64]
    death_code: npt.NDArray[np.int32]
    death_epoch: npt.NDArray[np.int32]
    death_count: npt.NDArray[np.int64]
    read_code: npt.NDArray[np.int32]
    read_epoch: npt.NDArray[np.int32]
    read_count: npt.NDArray[np.int64]
    cursor: npt.NDArray[np.int64]


@kernel
def _flush(column, highest, epoch, codes, epochs, counts, n_cells):
    """Append the non-zero cells of a column, clear it, return the number of cells."""
    for code in range(highest + 1):
        count = column[code]
        if count != 0:
            codes[n_cells] = code
            epochs[n_cells] = epoch
            counts[n_cells] = count
            column[code] = 0
            n_cells += 1
    return n_cells


@kernel
def flush_epoch(state):
    """Finish the current epoch: its column becomes cells.  There must be room for one more column."""
    cursor = state.cursor
    epoch = cursor[EPOCH]
    highest = epoch + FIRST_BIRTH
    cursor[DEATH_CELLS] = _flush(
        state.deaths, highest, epoch, state.death_code, state.death_epoch, state.death_count, cursor[DEATH_CELLS]
    )
    cursor[READ_CELLS] = _flush(
        state.reads, highest, epoch, state.read_code, state.read_epoch, state.read_count, cursor[READ_CELLS]
    )


@kernel
def mark_initial(offset, length, rules, directory, leaves, used):
    """Mark the blocks that extents overlap as existing before the trace; return (extents done, blocks marked).

    Stops early when the table must grow first.
    """
    block_size = rules.block_size
    marked = 0
    for i in range(offset.shape[0]):
        first = offset[i] // block_size
        stop = (offset[i] + length[i] - 1) // block_size + 1
        if ((stop - 1) >> LEAF_BITS) - (first >> LEAF_BITS) + 1 > free_leaves(leaves, used):
            return i, marked
        marked += replace(directory, leaves, used, first, stop, UNTOUCHED, INITIAL)
    return offset.shape[0], marked


@kernel
def count_requests(time_ns, op, offset, length, begin, rules, directory, leaves, used, state):
    """Count the requests of a batch from `begin` on; return the index of the first one that was not counted.

    Parameters
    ----------
    time_ns, op, offset, length : arrays, shape (n_requests,)
        The requests, in time order.  [ns, op codes, bytes, bytes]
    begin : int
        Where to start.
    rules : Rules
        What requests do.
    directory, leaves, used : arrays
        The block table.
    state : CountState
        Modified in place.

    Returns
    -------
    int
        n_requests, or less when the table (`cursor[LEAVES_WANTED]` leaves) or the cell lists must grow first.
    """
    boundaries = state.boundaries
    deaths = state.deaths
    reads = state.reads
    births = state.births
    cursor = state.cursor
    cells_room = min(state.death_code.shape[0], state.read_code.shape[0])
    block_size, shift = rules.block_size, rules.shift
    n_blocks, capacity = rules.n_blocks, rules.capacity
    discard, zeroes, grain, mark_reads = rules.discard, rules.zeroes, rules.grain, rules.mark_reads

    n_instants = boundaries.shape[0]
    epoch = cursor[EPOCH]
    code = epoch + FIRST_BIRTH
    next_boundary = boundaries[epoch] if epoch < n_instants else np.iinfo(np.int64).max
    cursor[LEAVES_WANTED] = 0

    for i in range(begin, time_ns.shape[0]):
        while time_ns[i] >= next_boundary:
            if max(cursor[DEATH_CELLS], cursor[READ_CELLS]) + deaths.shape[0] > cells_room:
                return i
            flush_epoch(state)
            epoch += 1
            cursor[EPOCH] = epoch
            code = epoch + FIRST_BIRTH
            next_boundary = boundaries[epoch] if epoch < n_instants else np.iinfo(np.int64).max

        kind = op[i]
        if length[i] == 0 or kind > _WRITE_ZEROES:
            continue
        low = offset[i]
        high = low + length[i]
        if shift >= 0:
            first = low >> shift
            stop = ((high - 1) >> shift) + 1
        else:
            first = low // block_size
            stop = (high - 1) // block_size + 1

        if kind == _READ and mark_reads == 0:
            tally_codes(directory, leaves, first, stop, reads)
            continue

        wanted = ((stop - 1) >> LEAF_BITS) - (first >> LEAF_BITS) + 1
        if wanted > free_leaves(leaves, used):
            cursor[LEAVES_WANTED] = wanted
            return i

        if kind == _WRITE:
            overwrite(directory, leaves, used, first, stop, code, deaths)
            births[epoch] += stop - first
        elif kind == _READ:
            cursor[INITIAL_BLOCKS] += replace(directory, leaves, used, first, stop, UNTOUCHED, INITIAL)
            tally_codes(directory, leaves, first, stop, reads)
        else:
            effect = zeroes
            if kind == _DISCARD:
                effect = discard
                if effect == IGNORE:
                    continue
                if grain > 1:
                    # the end of the volume ends its last grain too
                    low = (low + grain - 1) // grain * grain
                    high = capacity if high >= capacity else high // grain * grain
                    if low >= high:
                        continue
                    first = low // block_size
                    stop = (high - 1) // block_size + 1
            if effect == TOUCH:
                overwrite(directory, leaves, used, first, stop, code, deaths)
                births[epoch] += stop - first
            else:
                whole_first = (low + block_size - 1) // block_size
                whole_stop = n_blocks if high >= capacity else high // block_size
                if whole_first < whole_stop:
                    overwrite(directory, leaves, used, whole_first, whole_stop, ABSENT, deaths)
                if kind == _WRITE_ZEROES:
                    # zeroes over a part of a block are a write to it
                    head_stop = min(whole_first, stop)
                    tail_first = max(whole_stop, head_stop)
                    if first < head_stop:
                        overwrite(directory, leaves, used, first, head_stop, code, deaths)
                        births[epoch] += head_stop - first
                    if tail_first < stop:
                        overwrite(directory, leaves, used, tail_first, stop, code, deaths)
                        births[epoch] += stop - tail_first
    return time_ns.shape[0]
