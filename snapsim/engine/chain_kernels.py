"""Kernels of the chain: requests change the present and log what snapshots still show; runs of blocks merge.

A block's code says when what it shows was made, and whether there is anything: `ABSENT` and `INITIAL` from
before the first epoch, then two codes for each epoch, an even one for "ended in it" and an odd one for
"written in it".  Odd codes are content.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from snapsim._jit import kernel
from snapsim.engine.blocktable_kernels import (
    LEAF_BITS,
    LEAF_SLOTS,
    UNIFORM,
    free_leaves,
    materialise,
    overwrite,
    tally_codes,
)
from snapsim.engine.lifetimes_kernels import IGNORE, TOUCH

ABSENT = 0  # nothing is there, and nothing was before
INITIAL = 1  # content from before the first request
FIRST_CODE = 2  # epoch e has the codes FIRST_CODE + 2 e (ended) and FIRST_CODE + 2 e + 1 (written)

# places in `ChainState.cursor`
REQUEST, BLOCK, LOGGED, LIVE, STUCK = 0, 1, 2, 3, 4
CURSOR_SIZE = 5

_READ, _WRITE, _DISCARD, _WRITE_ZEROES = 0, 1, 2, 3
_PAINT_LEAVES = 2  # the most leaves that one run can need: its inner ones stay uniform


class ChainState(NamedTuple):
    """Arrays that carry a chain from one batch to the next.

    Attributes
    ----------
    reads : int64 array, shape (n_codes,)
        Block reads by the code that they met.
    log_first, log_stop : int64 arrays
        Runs of blocks that changed although the newest snapshot still shows what they held.  [blocks]
    log_code : int64 array
        What they held.
    cursor : int64 array, shape (CURSOR_SIZE,)
        The next request, the block at which to go on with it, runs in the log, blocks with content, and 1
        where the log or the table must grow first.
    """

    reads: npt.NDArray[np.int64]
    log_first: npt.NDArray[np.int64]
    log_stop: npt.NDArray[np.int64]
    log_code: npt.NDArray[np.int64]
    cursor: npt.NDArray[np.int64]


@kernel(allocates=False)
def _log(block, stop, old, log_first, log_stop, log_code, n_logged):
    """Log that blocks [block, stop) held `old`; return the number of runs."""
    if n_logged > 0 and log_stop[n_logged - 1] == block and log_code[n_logged - 1] == old:
        log_stop[n_logged - 1] = stop
        return n_logged
    log_first[n_logged] = block
    log_stop[n_logged] = stop
    log_code[n_logged] = old
    return n_logged + 1


@kernel(allocates=False)
def change(directory, leaves, used, first, stop, code, limit, state):
    """Let blocks [first, stop) show `code`, and log what they held where a snapshot shows it.

    Parameters
    ----------
    directory, leaves, used : arrays
        The block table.
    first, stop : int
        The run of blocks, half-open.
    code : int
        An even one ends content and leaves blocks that hold none as they are.
    limit : int
        Codes below this are shown by the newest snapshot.
    state : ChainState
        Modified in place.

    Returns
    -------
    int
        `stop`; or the block at which to go on when the log or the table must grow first.
    """
    log_first, log_stop, log_code, cursor = state.log_first, state.log_stop, state.log_code, state.cursor
    n_logged, live = cursor[LOGGED], cursor[LIVE]
    room = log_first.shape[0] - LEAF_SLOTS
    content = code & 1
    block = np.int64(first)
    while block < stop:
        index = block >> LEAF_BITS
        end = min(np.int64(stop), (index + 1) << LEAF_BITS)
        entry = np.int64(directory[index])
        if entry <= UNIFORM:
            old = UNIFORM - entry
            if old == code or (content | (old & 1)) == 0:
                block = end
                continue
            if n_logged > room or free_leaves(leaves, used) < 1:
                break
            if end - block == LEAF_SLOTS:
                if old < limit:
                    n_logged = _log(block, end, old, log_first, log_stop, log_code, n_logged)
                directory[index] = UNIFORM - code
                live += (content - (old & 1)) << LEAF_BITS
                block = end
                continue
            base = np.int64(materialise(directory, leaves, used, index))
        else:
            if n_logged > room:
                break
            base = entry << LEAF_BITS
        shift = base - (index << LEAF_BITS)
        for one in range(block, end):
            old = np.int64(leaves[one + shift])
            if old != code and (content | (old & 1)) != 0:
                if old < limit:
                    n_logged = _log(one, one + 1, old, log_first, log_stop, log_code, n_logged)
                leaves[one + shift] = code
                live += content - (old & 1)
        block = end
    cursor[LOGGED] = n_logged
    cursor[LIVE] = live
    return block


@kernel(allocates=False)
def carry_out(op, offset, length, rules, directory, leaves, words, used, epoch, limit, state):
    """Carry out the requests of a batch from the cursor on.

    Parameters
    ----------
    op, offset, length : arrays, shape (n_requests,)
        The requests, all inside the volume.  [op codes, bytes, bytes]
    rules : Rules
        What requests do; as for counting, but reads mark nothing.
    directory, leaves, words, used : arrays
        The block table.
    epoch, limit : int
        The present epoch, and the first code that the newest snapshot does not show.
    state : ChainState
        Modified in place; `cursor[STUCK]` where the log or the table must grow before going on.
    """
    reads, cursor = state.reads, state.cursor
    block_size, shift = rules.block_size, rules.shift
    n_blocks, capacity = rules.n_blocks, rules.capacity
    discard, zeroes, grain = rules.discard, rules.zeroes, rules.grain
    ended = FIRST_CODE + 2 * epoch
    written = ended + 1
    cursor[STUCK] = 0
    i, at = cursor[REQUEST], cursor[BLOCK]
    n_requests = np.int64(op.shape[0])
    while i < n_requests:
        kind = op[i]
        low = offset[i]
        high = low + length[i]
        if low == high or kind > _WRITE_ZEROES:
            i += 1
            continue
        effect = TOUCH
        if kind == _DISCARD:
            effect = discard
            if grain > 1:
                # the end of the volume ends its last grain too
                low = (low + grain - 1) // grain * grain
                high = capacity if high >= capacity else high // grain * grain
            if effect == IGNORE or low >= high:
                i += 1
                continue
        elif kind == _WRITE_ZEROES:
            effect = zeroes
        if shift >= 0:
            first = low >> shift
            stop = ((high - 1) >> shift) + 1
        else:
            first = low // block_size
            stop = (high - 1) // block_size + 1
        stop = min(stop, n_blocks)

        if kind == _READ:
            tally_codes(directory, leaves, words, first, stop, reads)
        elif effect == TOUCH:
            at = change(directory, leaves, used, max(first, at), stop, written, limit, state)
            if at < stop:
                break
        else:
            whole_first = (low + block_size - 1) // block_size
            whole_stop = n_blocks if high >= capacity else high // block_size
            edges = kind == _WRITE_ZEROES
            if whole_first >= whole_stop:
                whole_first = whole_stop = stop
            if edges and at < whole_first:
                at = change(directory, leaves, used, max(first, at), whole_first, written, limit, state)
                if at < whole_first:
                    break
            if at < whole_stop:
                at = change(directory, leaves, used, max(whole_first, at), whole_stop, ended, limit, state)
                if at < whole_stop:
                    break
            if edges and at < stop:
                at = change(directory, leaves, used, max(whole_stop, at), stop, written, limit, state)
                if at < stop:
                    break
        i += 1
        at = np.int64(0)
    cursor[REQUEST] = i
    cursor[BLOCK] = at
    cursor[STUCK] = np.int64(i < n_requests)


@kernel(allocates=False)
def table_runs(directory, leaves, first, stop, out_first, out_stop, out_code):
    """List the runs of equal codes in parts of a table.

    Parameters
    ----------
    directory, leaves : arrays
        The block table.
    first, stop : int64 arrays, shape (n_parts,)
        Which parts: increasing and disjoint.  [blocks]
    out_first, out_stop, out_code : int64 arrays
        Filled with the runs, as far as they have room.

    Returns
    -------
    int
        The number of runs.
    """
    room = out_first.shape[0]
    n = 0
    last_stop = np.int64(-1)
    last_code = np.int64(-1)
    for part in range(first.shape[0]):
        block = first[part]
        while block < stop[part]:
            index = block >> LEAF_BITS
            end = min(stop[part], (index + 1) << LEAF_BITS)
            entry = np.int64(directory[index])
            shift = (entry << LEAF_BITS) - (index << LEAF_BITS)
            while block < end:
                if entry <= UNIFORM:
                    code = UNIFORM - entry
                    beyond = end
                else:
                    code = np.int64(leaves[block + shift])
                    beyond = block + 1
                if code != last_code or block != last_stop:
                    if n < room:
                        out_first[n] = block
                        out_code[n] = code
                    n += 1
                    last_code = code
                last_stop = beyond
                if n <= room:
                    out_stop[n - 1] = beyond
                block = beyond
    return n


@kernel(allocates=False)
def paint(first, stop, code, begin, directory, leaves, words, used, tally):
    """Store runs in a table, from run `begin` on; return the first run that found no room."""
    for run in range(begin, first.shape[0]):
        if free_leaves(leaves, used) < _PAINT_LEAVES:
            return run
        overwrite(directory, leaves, words, used, first[run], stop[run], code[run], tally)
    return first.shape[0]


@kernel(allocates=False)
def lay_over(
    lower_first, lower_stop, lower_code, upper_first, upper_stop, upper_code, out_first, out_stop, out_code
):
    """Merge two lists of runs; where both hold a block, the upper one counts.

    Parameters
    ----------
    lower_first, lower_stop, lower_code : int64 arrays, shape (n_lower,)
        Disjoint runs in order.
    upper_first, upper_stop, upper_code : int64 arrays, shape (n_upper,)
        The same.
    out_first, out_stop, out_code : int64 arrays, shape (n_lower + 2 * n_upper,) or more
        Filled with the runs of the result; neighbours with one code are one run.

    Returns
    -------
    int
        The number of runs.
    """
    n_lower, n_upper = lower_first.shape[0], upper_first.shape[0]
    n, i = 0, 0
    at = np.int64(0)  # lower blocks before this one are done
    for j in range(n_upper):
        while i < n_lower and lower_first[i] < upper_first[j]:
            begin, end = max(lower_first[i], at), min(lower_stop[i], upper_first[j])
            if begin < end:
                n = _log(begin, end, lower_code[i], out_first, out_stop, out_code, n)
            if lower_stop[i] > upper_first[j]:
                break
            i += 1
        n = _log(upper_first[j], upper_stop[j], upper_code[j], out_first, out_stop, out_code, n)
        at = upper_stop[j]
        while i < n_lower and lower_stop[i] <= at:
            i += 1
    while i < n_lower:
        begin = max(lower_first[i], at)
        if begin < lower_stop[i]:
            n = _log(begin, lower_stop[i], lower_code[i], out_first, out_stop, out_code, n)
        i += 1
    return n
