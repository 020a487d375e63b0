"""Kernels of the extent chain: what a file's blocks refer to, and which extents nothing refers to any more.

A block's code is the number of its extent, or `HOLE`.  Numbers of extents that are gone are used again.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from snapsim._jit import kernel
from snapsim.engine.blocktable_kernels import (
    LEAF_BITS,
    LEAF_SLOTS,
    SLOT_MASK,
    UNIFORM,
    free_leaves,
    materialise,
)

HOLE = 0

# places in `ExtentState.cursor`
REQUEST, BLOCK, LOGGED, DEAD, FREE, USED, MAPPED, STUCK = 0, 1, 2, 3, 4, 5, 6, 7
CURSOR_SIZE = 8

_WRITE, _DISCARD, _WRITE_ZEROES = 1, 2, 3
_PIECE_LEAVES = 4  # two for the ends of a piece, whose inner leaves stay uniform, and the edges of a discard
_EDGE_BLOCKS = 2


class ExtentState(NamedTuple):
    """Arrays that carry a file from one batch to the next.

    Attributes
    ----------
    size : int32 array, shape (n_codes,)
        Blocks of each extent on the disk.  [blocks]
    birth : int32 array, shape (n_codes,)
        The epoch that wrote it; -1 for holes.
    now : int32 array, shape (n_codes,)
        Blocks of the present that refer to it.  [blocks]
    free : int32 array, shape (n_codes,)
        A stack of numbers that no extent has.
    log_first, log_stop : int64 arrays
        Runs of blocks that changed although the newest snapshot still shows what they were.  [blocks]
    log_code : int32 array
        What they referred to.
    dead : int32 array
        Extents that the present has left and the newest snapshot has not.
    cursor : int64 array, shape (CURSOR_SIZE,)
        The next request, the block at which to go on with it (-1: at its beginning), runs in the log, extents
        in `dead`, numbers in `free`, blocks that extents take on the disk, blocks that the present refers to,
        and 1 where arrays must grow first.
    """

    size: npt.NDArray[np.int32]
    birth: npt.NDArray[np.int32]
    now: npt.NDArray[np.int32]
    free: npt.NDArray[np.int32]
    log_first: npt.NDArray[np.int64]
    log_stop: npt.NDArray[np.int64]
    log_code: npt.NDArray[np.int32]
    dead: npt.NDArray[np.int32]
    cursor: npt.NDArray[np.int64]


class Rules(NamedTuple):
    """What does not change in the life of a file: bytes of a block, blocks of the longest extent, a flag."""

    block_size: int
    longest: int
    in_place: int


@kernel(allocates=False)
def code_at(directory, leaves, block):
    """Return what a block refers to."""
    entry = np.int64(directory[block >> LEAF_BITS])
    if entry <= UNIFORM:
        return UNIFORM - entry
    return np.int64(leaves[(entry << LEAF_BITS) + (block & SLOT_MASK)])


@kernel(allocates=False)
def _leave(first, stop, code, newest, state):
    """Let blocks [first, stop) of the present leave an extent or a hole."""
    birth, now, cursor = state.birth, state.now, state.cursor
    kept = birth[code] <= newest
    if kept:
        log_first, log_stop, log_code = state.log_first, state.log_stop, state.log_code
        n = cursor[LOGGED]
        log_first[n] = first
        log_stop[n] = stop
        log_code[n] = code
        cursor[LOGGED] = n + 1
    if code == HOLE:
        return
    now[code] -= stop - first
    cursor[MAPPED] -= stop - first
    if now[code] > 0:
        return
    if kept:
        dead = state.dead
        dead[cursor[DEAD]] = code
        cursor[DEAD] += 1
    else:
        free, size = state.free, state.size
        free[cursor[FREE]] = code
        cursor[FREE] += 1
        cursor[USED] -= size[code]


@kernel(allocates=False)
def _refer(directory, leaves, used, first, stop, code, newest, state):
    """Let blocks [first, stop) refer to `code`."""
    run, held = first, np.int64(-1)  # the run of blocks with one code that is being read
    block = first
    while block < stop:
        index = block >> LEAF_BITS
        end = min(stop, (index + 1) << LEAF_BITS)
        entry = np.int64(directory[index])
        if entry <= UNIFORM:
            found = UNIFORM - entry
            if found != held:
                if held >= 0 and held != code:
                    _leave(run, block, held, newest, state)
                run, held = block, found
            if found != code:
                if end - block == LEAF_SLOTS:
                    directory[index] = UNIFORM - code
                else:
                    base = materialise(directory, leaves, used, index)
                    for slot in range(base + (block & SLOT_MASK), base + (block & SLOT_MASK) + end - block):
                        leaves[slot] = code
        else:
            shift = (entry << LEAF_BITS) - (index << LEAF_BITS)
            for place in range(block, end):
                found = np.int64(leaves[place + shift])
                if found != held:
                    if held >= 0 and held != code:
                        _leave(run, place, held, newest, state)
                    run, held = place, found
                leaves[place + shift] = code
        block = end
    if held >= 0 and held != code:
        _leave(run, stop, held, newest, state)


@kernel(allocates=False)
def _allocate(directory, leaves, used, first, stop, epoch, newest, state):
    """Write blocks [first, stop) into an extent of their own."""
    size, birth, now, free, cursor = state.size, state.birth, state.now, state.free, state.cursor
    cursor[FREE] -= 1
    code = np.int64(free[cursor[FREE]])
    size[code] = now[code] = stop - first
    birth[code] = epoch
    cursor[USED] += stop - first
    cursor[MAPPED] += stop - first
    _refer(directory, leaves, used, first, stop, code, newest, state)


@kernel(allocates=False)
def _write(directory, leaves, used, first, stop, epoch, newest, in_place, state):
    """Write blocks [first, stop), at most one extent long."""
    if not in_place:
        _allocate(directory, leaves, used, first, stop, epoch, newest, state)
        return
    # A run of blocks that cannot be overwritten where they are gets one extent, whatever they refer to.
    birth = state.birth
    block = first
    while block < stop:
        if birth[code_at(directory, leaves, block)] == epoch:
            block += 1
            continue
        end = block + 1
        while end < stop and birth[code_at(directory, leaves, end)] != epoch:
            end += 1
        _allocate(directory, leaves, used, block, end, epoch, newest, state)
        block = end


@kernel(allocates=False)
def _zero_edges(directory, leaves, used, first, stop, epoch, newest, in_place, state):
    """Zero a part of those of blocks [first, stop), two at most, that are no holes: a write."""
    while first < stop and code_at(directory, leaves, first) == HOLE:
        first += 1
    while first < stop and code_at(directory, leaves, stop - 1) == HOLE:
        stop -= 1
    if first < stop:
        _write(directory, leaves, used, first, stop, epoch, newest, in_place, state)


@kernel(allocates=False)
def carry_out(op, offset, length, rules, directory, leaves, used, epoch, newest, state):
    """Carry out requests from the one in the cursor on, until arrays must grow (`STUCK`) or all are done.

    Parameters
    ----------
    op : uint8 array, shape (n_requests,)
        Op codes.
    offset, length : int64 arrays, shape (n_requests,)
        [bytes]
    rules : Rules
        The file.
    directory, leaves, used : arrays
        The block table.
    epoch : int
        The present epoch.
    newest : int
        The newest snapshot; below -1 if there is none, so that nothing is logged.
    state : ExtentState
        Modified in place.
    """
    cursor = state.cursor
    size, longest, in_place = rules.block_size, rules.longest, rules.in_place
    piece = longest + _EDGE_BLOCKS  # the most runs, and extents, that one step can end
    cursor[STUCK] = 0
    for i in range(cursor[REQUEST], op.shape[0]):
        code, begin, end = op[i], offset[i], offset[i] + length[i]
        if end == begin or (code != _WRITE and code != _WRITE_ZEROES and code != _DISCARD):
            continue
        discards = code == _DISCARD
        first, stop = begin // size, (end - 1) // size + 1
        low, high = first, stop
        if discards:
            low = (begin + size - 1) // size
            high = end // size
        block = max(np.int64(low), cursor[BLOCK])
        edges = discards and cursor[BLOCK] < 0
        while edges or block < high:
            if (
                cursor[LOGGED] + piece > state.log_first.shape[0]
                or cursor[DEAD] + piece > state.dead.shape[0]
                or cursor[FREE] < piece
                or free_leaves(leaves, used) < _PIECE_LEAVES
            ):
                cursor[REQUEST] = i
                cursor[BLOCK] = -1 if edges else block
                cursor[STUCK] = 1
                return
            if edges:
                edges = False
                if low >= high:
                    _zero_edges(directory, leaves, used, first, stop, epoch, newest, in_place, state)
                else:
                    _zero_edges(directory, leaves, used, first, low, epoch, newest, in_place, state)
                    _zero_edges(directory, leaves, used, high, stop, epoch, newest, in_place, state)
                continue
            until = min(np.int64(high), block + longest)
            if discards:
                _refer(directory, leaves, used, block, until, HOLE, newest, state)
            else:
                _write(directory, leaves, used, block, until, epoch, newest, in_place, state)
            block = until
        cursor[BLOCK] = -1
    cursor[REQUEST] = op.shape[0]


@kernel(allocates=False)
def restore(directory, leaves, used, first, stop, code, start):
    """Let blocks refer to what a log says, newest entry first, without looking at what they refer to.

    Parameters
    ----------
    directory, leaves, used : arrays
        The block table.
    first, stop, code : arrays, shape (n_runs,)
        The log, in time order.
    start : int
        Entries from here on are restored already.

    Returns
    -------
    int
        0 if all are; otherwise `start` for the next call, after the table has grown.
    """
    for i in range(start - 1, -1, -1):
        block, last = first[i], stop[i]
        if free_leaves(leaves, used) < _PIECE_LEAVES:
            return i + 1
        while block < last:
            index = block >> LEAF_BITS
            end = min(last, (index + 1) << LEAF_BITS)
            if end - block == LEAF_SLOTS:
                entry = directory[index]
                if entry <= UNIFORM:
                    directory[index] = UNIFORM - code[i]
                    block = end
                    continue
            entry = np.int64(directory[index])
            base = entry << LEAF_BITS if entry > UNIFORM else materialise(directory, leaves, used, index)
            for slot in range(base + (block & SLOT_MASK), base + (block & SLOT_MASK) + end - block):
                leaves[slot] = code[i]
            block = end
    return 0


@kernel(allocates=False)
def count_references(directory, leaves, n_blocks, now):
    """Count the blocks that refer to each extent.

    Parameters
    ----------
    directory, leaves : arrays
        The block table.
    n_blocks : int
        Blocks of the file.
    now : int32 array, shape (n_codes,)
        Overwritten.

    Returns
    -------
    int
        The blocks that are no holes.
    """
    now[:] = 0
    mapped = 0
    block = 0
    while block < n_blocks:
        index = block >> LEAF_BITS
        end = min(n_blocks, (index + 1) << LEAF_BITS)
        entry = np.int64(directory[index])
        if entry > UNIFORM:
            base = entry << LEAF_BITS
            for slot in range(base, base + end - block):
                now[leaves[slot]] += 1
            mapped += end - block - np.int64(now[HOLE])
            now[HOLE] = 0
        elif entry != UNIFORM - HOLE:
            now[UNIFORM - entry] += end - block
            mapped += end - block
        block = end
    return mapped


@kernel(allocates=False)
def copy_codes(directory, leaves, codes):
    """Fill `codes` (int64, shape (n_blocks,)) with what each block refers to."""
    for block in range(codes.shape[0]):
        codes[block] = code_at(directory, leaves, block)
