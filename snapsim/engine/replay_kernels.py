"""Kernels that count the I/O behind each request, just before the chain carries it out."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from snapsim._jit import kernel
from snapsim.engine.blocktable_kernels import LEAF_BITS, UNIFORM
from snapsim.engine.chain_kernels import BLOCK, REQUEST, STUCK, carry_out
from snapsim.engine.lifetimes_kernels import TOUCH

# what happens to the rest of a block that a request writes in part, where only older layers hold it
FILL_NONE, FILL_REST, FILL_WHOLE = 0, 1, 2

_READ, _WRITE, _WRITE_ZEROES = 0, 1, 3


class Traffic(NamedTuple):
    """The I/O on data behind each request.

    Attributes
    ----------
    reads, writes : int64 arrays, shape (n_requests,)
        Requests to the storage below.
    read_bytes, written_bytes : int64 arrays, shape (n_requests,)
        What they move.  [bytes]
    copied_blocks : int64 array, shape (n_requests,)
        Blocks whose old contents were copied or filled in.
    lookups : int64 array, shape (n_requests,)
        Layers that a READ looked into, summed over its blocks.
    """

    reads: npt.NDArray[np.int64]
    writes: npt.NDArray[np.int64]
    read_bytes: npt.NDArray[np.int64]
    written_bytes: npt.NDArray[np.int64]
    copied_blocks: npt.NDArray[np.int64]
    lookups: npt.NDArray[np.int64]


class Habits(NamedTuple):
    """What a mechanism does around a write and a read: integers only.

    Attributes
    ----------
    redirects : int
        1: new contents go to a new place; 0: old contents are copied away and new ones written in place.
    fill : int
        `FILL_NONE`: parts of blocks are kept track of, nothing is filled in.  `FILL_REST`: the rest is read
        from below and written together with the new contents.  `FILL_WHOLE`: the whole block is copied
        first, unless the request covers it.
    merge_gap : int
        With `FILL_REST`, the rest before and behind the new contents are one read where these are not
        longer.  [bytes]
    private : int
        1: old contents are copied once for each snapshot that lacks them.
    layered : int
        1: reads look through the layers, and neighbours in different layers are different reads.
    """

    redirects: int
    fill: int
    merge_gap: int
    private: int
    layered: int


@kernel(allocates=False)
def _code(directory, leaves, block):
    """Return the code of one block."""
    index = block >> LEAF_BITS
    entry = np.int64(directory[index])
    if entry <= UNIFORM:
        return UNIFORM - entry
    return np.int64(leaves[(entry << LEAF_BITS) + (block & ((1 << LEAF_BITS) - 1))])


@kernel(allocates=False)
def _count_read(directory, leaves, low, high, block_size, between, layered, i, traffic):
    """Count a read: one request below for each run of blocks that lie in one layer."""
    last = np.int64(-1)
    block = low // block_size
    while block * block_size < high:
        code = _code(directory, leaves, block)
        depth = between[code >> 1] if layered != 0 else np.int64(0)
        traffic.lookups[i] += depth + 1
        if code & 1 == 0:
            depth = np.int64(-1)
        else:
            begin, end = max(low, block * block_size), min(high, (block + 1) * block_size)
            traffic.read_bytes[i] += end - begin
            if depth != last:
                traffic.reads[i] += 1
        last = depth
        block += 1


@kernel(allocates=False)
def _count_copies(directory, leaves, low, high, block_size, size, limit, between, private, i, traffic):
    """Count a write in place: the old contents of each block that a snapshot shows are copied away first."""
    block = low // block_size
    while block * block_size < high:
        code = _code(directory, leaves, block)
        if code < limit and code & 1 == 1:
            copies = between[code >> 1] if private != 0 else np.int64(1)
            n_bytes = min(block_size, size - block * block_size)
            traffic.copied_blocks[i] += copies
            traffic.reads[i] += copies
            traffic.writes[i] += copies
            traffic.read_bytes[i] += copies * n_bytes
            traffic.written_bytes[i] += copies * n_bytes
        block += 1
    traffic.writes[i] += 1
    traffic.written_bytes[i] += high - low


@kernel(allocates=False)
def _count_run(low, high, block_size, size, head_below, tail_below, fill, merge_gap, i, traffic):
    """Count the write of bytes [low, high) to new places, all in one; tell below which ends there is data."""
    first, last = low // block_size, (high - 1) // block_size
    head = low - first * block_size
    tail = min((last + 1) * block_size, size) - high
    head_below &= np.int64(head > 0)
    tail_below &= np.int64(tail > 0)
    if first == last:
        head_below |= tail_below & np.int64(head > 0)
        tail_below |= head_below & np.int64(tail > 0)
    filled = np.int64(0)
    if fill != FILL_NONE and head_below + tail_below > 0:
        traffic.copied_blocks[i] += 1 if first == last else head_below + tail_below
        if fill == FILL_REST:
            filled = head + tail
            if head_below + tail_below == 2 and high - low <= merge_gap:
                traffic.reads[i] += 1
                traffic.read_bytes[i] += head + tail + high - low
            else:
                traffic.reads[i] += head_below + tail_below
                traffic.read_bytes[i] += head * head_below + tail * tail_below
        else:
            edges = np.int64(1) if first == last else head_below + tail_below
            n_bytes = np.int64(0)
            if head_below != 0 or first == last:
                n_bytes += min(block_size, size - first * block_size)
            if tail_below != 0 and first != last:
                n_bytes += min(block_size, size - last * block_size)
            traffic.reads[i] += edges
            traffic.writes[i] += edges
            traffic.read_bytes[i] += n_bytes
            traffic.written_bytes[i] += n_bytes
    traffic.writes[i] += 1
    traffic.written_bytes[i] += high - low + filled


@kernel(allocates=False)
def _count_redirected(directory, leaves, low, high, block_size, size, limit, fill, merge_gap, i, traffic):
    """Count a write that goes to new places where a snapshot shows the block, or nothing is there."""
    block = low // block_size
    stop = (high - 1) // block_size + 1
    while block < stop:
        code = _code(directory, leaves, block)
        moves = code < limit or code & 1 == 0
        first, below = block, np.int64(code < limit and code & 1 == 1)
        last_below = below
        block += 1
        while block < stop:
            code = _code(directory, leaves, block)
            if (code < limit or code & 1 == 0) != moves:
                break
            last_below = np.int64(code < limit and code & 1 == 1)
            block += 1
        begin, end = max(low, first * block_size), min(high, block * block_size)
        if moves:
            _count_run(begin, end, block_size, size, below, last_below, fill, merge_gap, i, traffic)
        else:
            traffic.writes[i] += 1
            traffic.written_bytes[i] += end - begin


@kernel(allocates=False)
def _count_write(directory, leaves, low, high, block_size, size, limit, habits, between, i, traffic):
    """Count a write."""
    if habits.redirects != 0:
        fill, gap = habits.fill, habits.merge_gap
        _count_redirected(directory, leaves, low, high, block_size, size, limit, fill, gap, i, traffic)
    else:
        private = habits.private
        _count_copies(directory, leaves, low, high, block_size, size, limit, between, private, i, traffic)


@kernel(allocates=False)
def replay_requests(
    op,
    offset,
    length,
    begin,
    rules,
    habits,
    directory,
    leaves,
    words,
    used,
    epoch,
    limit,
    between,
    state,
    traffic,
):
    """Count the I/O of requests from `begin` on and carry them out; return the first that was not.

    Parameters
    ----------
    op, offset, length : arrays, shape (n_requests,)
        The requests, all inside the volume.  [op codes, bytes, bytes]
    begin : int
        Where to start; `state.cursor[BLOCK]` > 0: that request was counted and is carried out in part.
    rules : Rules
        What requests do to blocks.
    habits : Habits
        What the mechanism does.
    directory, leaves, words, used : arrays
        The block table.
    epoch, limit : int
        As in `carry_out`.
    between : int64 array, shape (n_epochs + 1,)
        Snapshots that show what was made in an epoch, by the epoch + 1; the first for older contents.
    state : ChainState
        Modified in place.
    traffic : Traffic
        Filled.

    Returns
    -------
    int
        n_requests; or less where the log or the table must grow before going on.
    """
    block_size, size = rules.block_size, rules.size
    cursor = state.cursor
    for i in range(begin, op.shape[0]):
        low = offset[i]
        high = low + length[i]
        if length[i] > 0 and cursor[STUCK] == 0:
            if op[i] == _READ:
                _count_read(directory, leaves, low, high, block_size, between, habits.layered, i, traffic)
            elif op[i] == _WRITE or op[i] == _WRITE_ZEROES:
                head = tail = high
                if op[i] == _WRITE_ZEROES and rules.zeroes != TOUCH:
                    # whole blocks are noted as empty; what sticks out on either side is written
                    whole = (low + block_size - 1) // block_size * block_size
                    beyond = high if high >= rules.capacity else high // block_size * block_size
                    if whole < beyond:
                        head, tail = whole, beyond
                begin, end = low, head
                while begin < high:
                    if begin < end:
                        _count_write(
                            directory,
                            leaves,
                            begin,
                            end,
                            block_size,
                            size,
                            limit,
                            habits,
                            between,
                            i,
                            traffic,
                        )
                    begin, end = (tail, high) if end < high else (high, high)
        cursor[REQUEST] = 0
        carry_out(
            op[i : i + 1], offset[i : i + 1], length[i : i + 1], rules, directory, leaves, words, used,
            epoch, limit, state,
        )  # fmt: skip
        if cursor[STUCK] != 0:
            return i
        cursor[BLOCK] = 0
    return op.shape[0]
