"""Kernels that count block versions by the epochs of their birth and death, in one pass over the requests.

A block's code in the table says which version it shows: `UNTOUCHED`, `INITIAL`, `ABSENT`, or `FIRST_BIRTH +
b` for a
version born in epoch b.  Requests come in time order, so the deaths of one epoch fill one column of the
matrix; a finished column is appended to growing lists of its non-zero cells.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from snapsim._jit import kernel
from snapsim.engine.blocktable_kernels import (
    LEAF_BITS,
    SLOT_MASK,
    UNIFORM,
    exchange_run,
    exchange_slots,
    free_leaves,
    overwrite,
    replace,
    tally_codes,
    tally_run,
    tally_slots,
)

UNTOUCHED = 0  # no request has changed the block yet: what that means is decided by the caller
INITIAL = 1  # existed before the trace
ABSENT = 2  # does not exist: never written, or discarded
FIRST_BIRTH = 3

# what a DISCARD or WRITE_ZEROES does to the version of a block
IGNORE, DEATH, TOUCH = 0, 1, 2

# places in `CountState.cursor`
EPOCH, DEATH_CELLS, READ_CELLS, INITIAL_BLOCKS, LEAVES_WANTED, OUTSIDE, UNUSED = 0, 1, 2, 3, 4, 5, 6
CURSOR_SIZE = 7

_READ, _WRITE, _DISCARD, _WRITE_ZEROES = 0, 1, 2, 3

NEW_LEAVES = 6
"""The most leaves that one request can need.

Two for a run, whose inner leaves stay uniform; and WRITE_ZEROES makes three runs.
"""
LOG_SIZE = 512  # codes that wait to be counted: 2 KiB, a small part of the first-level cache

_NEVER = np.iinfo(np.int64).max
_AHEAD = 64  # requests that are looked at together before they are counted
_NEAR_LEAVES = 64  # a table of this many leaves (512 KiB) stays in the second-level cache,
_CACHED_LEAVES = 1024  # and one of this many (8 MiB) in the third
_RUN = 8  # blocks of a request from which on it pays to look for a run of equal codes


class Rules(NamedTuple):
    """Integers that decide what requests do.

    Attributes
    ----------
    block_size : int
        [bytes]
    shift : int
        log2 of the block size, or -1 when it is not a power of two.
    n_blocks, size : int
        Size of the volume in blocks (the last one may be partial) and bytes: no request may reach further.
    capacity : int
        Where a DISCARD ends the last block: `size`, or out of reach when that is only the largest address
        seen.  [bytes]
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
    size: int
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
    tallies : int64 array, shape (2 * (n_instants + 1 + FIRST_BIRTH),)
        Blocks read (first half) and versions killed (second half) in the current epoch, by code.
    births : int64 array, shape (n_instants + 1,)
        Versions born per epoch.
    death_code, death_epoch : int32 arrays; death_count : int64 array
        Non-zero cells of the finished columns of the lifetime matrix.
    read_code, read_epoch : int32 arrays; read_count : int64 array
        The same for block reads.
    cursor : int64 array, shape (CURSOR_SIZE,)
        Scalars that change: see the names above.
    log : uint32 array, shape (LOG_SIZE,)
        Places in `tallies` that are to be raised by one.
    """

    boundaries: npt.NDArray[np.int64]
    tallies: npt.NDArray[np.int64]
    births: npt.NDArray[np.int64]
    death_code: npt.NDArray[np.int32]
    death_epoch: npt.NDArray[np.int32]
    death_count: npt.NDArray[np.int64]
    read_code: npt.NDArray[np.int32]
    read_epoch: npt.NDArray[np.int32]
    read_count: npt.NDArray[np.int64]
    cursor: npt.NDArray[np.int64]
    log: npt.NDArray[np.uint32]


@kernel(allocates=False)
def _drain(log, n_logged, tallies):
    """Raise the logged places."""
    for place in range(np.uint64(n_logged)):
        tallies[np.uint64(log[np.uint64(place)])] += 1


@kernel(allocates=False)
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


@kernel(allocates=False)
def flush_epoch(state):
    """Finish the current epoch: its column becomes cells.  There must be room for one more column."""
    cursor = state.cursor
    n_codes = state.tallies.shape[0] >> 1
    reads, deaths = state.tallies[:n_codes], state.tallies[n_codes:]
    epoch = cursor[EPOCH]
    highest = epoch + FIRST_BIRTH
    cursor[DEATH_CELLS] = _flush(
        deaths,
        highest,
        epoch,
        state.death_code,
        state.death_epoch,
        state.death_count,
        cursor[DEATH_CELLS],
    )
    cursor[READ_CELLS] = _flush(
        reads,
        highest,
        epoch,
        state.read_code,
        state.read_epoch,
        state.read_count,
        cursor[READ_CELLS],
    )


@kernel(allocates=False)
def _pass_time(now, state, cells_room):
    """Finish every epoch that ends at or before `now`; return False when the cell lists must grow first."""
    boundaries, cursor = state.boundaries, state.cursor
    if max(cursor[DEATH_CELLS], cursor[READ_CELLS]) + (state.tallies.shape[0] >> 1) > cells_room:
        return False
    flush_epoch(state)  # the only one that has counts: nothing happened in those that are passed over
    epoch = cursor[EPOCH]
    while epoch < boundaries.shape[0] and now >= boundaries[epoch]:
        epoch += 1
    cursor[EPOCH] = epoch
    return True


@kernel(allocates=False)
def _outside(offset, length, begin, stop, size):
    """Tell whether one of the requests leaves the volume; a FLUSH, of length 0, may name any offset."""
    # an integer, because Numba's booleans keep the compiler from looking at several at a time
    outside = np.int64(0)
    for position in range(np.uint64(begin), np.uint64(stop)):
        first, n = offset[np.uint64(position)], length[np.uint64(position)]
        beyond = np.int64(first < 0) | np.int64(first > size - n)
        outside |= np.int64(n < 0) | (np.int64(n > 0) & beyond)
    return outside != 0


@kernel(allocates=False)
def _warm(offset, begin, stop, shift, directory, leaves):
    """Load the first slot of the next requests, so that cache misses overlap; the result means nothing."""
    seen = 0
    for position in range(np.uint64(begin), np.uint64(stop)):
        block = offset[np.uint64(position)] >> shift
        index = np.uint64(block >> LEAF_BITS)
        if index < np.uint64(directory.shape[0]):  # a FLUSH may name any offset
            entry = directory[index]
            if entry > UNIFORM:
                seen |= leaves[np.uint64((entry << LEAF_BITS) + (block & SLOT_MASK))]
    return seen


@kernel(allocates=False)
def mark_initial(offset, length, rules, directory, leaves, used):
    """Mark what extents overlap as existing before the trace; return (extents done, blocks marked).

    Stops early when the table must grow first.
    """
    block_size = rules.block_size
    marked = 0
    for i in range(offset.shape[0]):
        first = offset[i] // block_size
        stop = (offset[i] + length[i] - 1) // block_size + 1
        if free_leaves(leaves, used) < NEW_LEAVES:
            return i, marked
        marked += replace(directory, leaves, used, first, stop, UNTOUCHED, INITIAL)
    return offset.shape[0], marked


@kernel(allocates=False)
def count_requests(time_ns, op, offset, length, begin, rules, directory, leaves, words, used, state):
    """Count the requests of a batch from `begin` on; return the index of the first one that was not counted.

    Parameters
    ----------
    time_ns, op, offset, length : arrays, shape (n_requests,)
        The requests, in time order.  [ns, op codes, bytes, bytes]
    begin : int
        Where to start.
    rules : Rules
        What requests do.
    directory, leaves, words, used : arrays
        The block table.
    state : CountState
        Modified in place.

    Returns
    -------
    int
        n_requests; or less when a request lies outside the volume (`cursor[OUTSIDE]`), or when the table
        (`cursor[LEAVES_WANTED]` leaves) or the cell lists must grow first.
    """
    boundaries, births, cursor = state.boundaries, state.births, state.cursor
    tallies, n_codes = state.tallies, state.tallies.shape[0] >> 1
    reads, deaths = tallies[:n_codes], tallies[n_codes:]
    cells_room = min(state.death_code.shape[0], state.read_code.shape[0])
    block_size, shift = rules.block_size, rules.shift
    n_blocks, size, capacity = rules.n_blocks, rules.size, rules.capacity
    discard, zeroes, grain, mark_reads = rules.discard, rules.zeroes, rules.grain, rules.mark_reads

    n_instants = boundaries.shape[0]
    epoch = cursor[EPOCH]
    code = epoch + FIRST_BIRTH
    next_boundary = boundaries[epoch] if epoch < n_instants else _NEVER
    born = np.int64(0)
    plain = _WRITE if mark_reads == 0 else -1  # in one leaf, these need nothing but an exchange of codes
    n_requests = np.int64(time_ns.shape[0])
    stopped = n_requests
    cursor[LEAVES_WANTED] = 0

    # A tally is raised at a place that is known only when a block's code has come from memory; until then the
    # processor does not know whether later loads depend on it.  Where the table is larger than the nearest
    # caches, the codes of single blocks, the commonest case, are therefore written down and tallied together.
    log, n_logged = state.log, 0

    # A store that misses the caches soon holds back everything behind it.  Where the table is larger than all
    # of them, the codes of the next requests are therefore loaded beforehand, close together.
    warmed = 0

    position = np.int64(begin)
    while position < stopped:
        if time_ns[position] >= next_boundary:
            births[epoch] += born
            born = np.int64(0)
            _drain(log, n_logged, tallies)
            n_logged = 0
            if not _pass_time(time_ns[position], state, cells_room):
                stopped = position
                break
            epoch = cursor[EPOCH]
            code = epoch + FIRST_BIRTH
            next_boundary = boundaries[epoch] if epoch < n_instants else _NEVER

        # Some requests of one epoch at a time: what is asked once for all of them costs nothing.
        ahead = min(position + _AHEAD, n_requests)
        if time_ns[ahead - 1] >= next_boundary:
            ahead = position + 1
            while time_ns[ahead] < next_boundary:
                ahead += 1
        if _outside(offset, length, position, ahead, size):
            cursor[OUTSIDE] = 1
            stopped = position
            break
        far = used[0] > _NEAR_LEAVES
        if used[0] > _CACHED_LEAVES and shift >= 0:
            warmed |= _warm(offset, position, ahead, shift, directory, leaves)

        for request in range(np.uint64(position), np.uint64(ahead)):
            i = np.uint64(request)
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
            count = stop - first
            index = first >> LEAF_BITS
            entry = directory[np.uint64(index)]
            if kind <= plain and (stop - 1) >> LEAF_BITS == index and entry > UNIFORM:
                # Nearly every request: a read or a write, all in one leaf that exists.
                slot = (entry << LEAF_BITS) + (first & SLOT_MASK)
                if count == 1 and far:
                    if n_logged == LOG_SIZE:
                        _drain(log, n_logged, tallies)
                        n_logged = 0
                    place = np.uint64(slot)
                    old = np.int64(leaves[place])
                    wrote = -np.int64(kind)  # all bits, or none
                    log[np.uint64(n_logged)] = old + (n_codes & wrote)
                    n_logged += 1
                    leaves[place] = old ^ ((old ^ code) & wrote)
                    born -= wrote
                elif kind == _WRITE:
                    born += count
                    if count < _RUN:
                        exchange_slots(leaves, slot, slot + count, code, deaths)
                    else:
                        exchange_run(leaves, words, slot, slot + count, code, deaths)
                elif count < _RUN:
                    tally_slots(leaves, slot, slot + count, reads)
                else:
                    tally_run(leaves, words, slot, slot + count, reads)
                continue

            if kind == _READ and mark_reads == 0:
                tally_codes(directory, leaves, words, first, stop, reads)
                continue
            if free_leaves(leaves, used) < NEW_LEAVES:
                cursor[LEAVES_WANTED] = NEW_LEAVES
                stopped = np.int64(i)
                break
            if kind == _WRITE:
                overwrite(directory, leaves, words, used, first, stop, code, deaths)
                born += count
            elif kind == _READ:
                cursor[INITIAL_BLOCKS] += replace(directory, leaves, used, first, stop, UNTOUCHED, INITIAL)
                tally_codes(directory, leaves, words, first, stop, reads)
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
                    overwrite(directory, leaves, words, used, first, stop, code, deaths)
                    born += stop - first
                    continue
                whole_first = (low + block_size - 1) // block_size
                whole_stop = n_blocks if high >= capacity else high // block_size
                if whole_first < whole_stop:
                    overwrite(directory, leaves, words, used, whole_first, whole_stop, ABSENT, deaths)
                if kind == _WRITE_ZEROES:
                    # zeroes over a part of a block are a write to it
                    head_stop = min(whole_first, stop)
                    tail_first = max(whole_stop, head_stop)
                    if first < head_stop:
                        overwrite(directory, leaves, words, used, first, head_stop, code, deaths)
                        born += head_stop - first
                    if tail_first < stop:
                        overwrite(directory, leaves, words, used, tail_first, stop, code, deaths)
                        born += stop - tail_first
        position = ahead

    births[epoch] += born
    _drain(log, n_logged, tallies)
    cursor[UNUSED] = warmed  # keeps the compiler from dropping the look-ups
    return stopped
