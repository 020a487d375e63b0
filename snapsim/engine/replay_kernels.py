"""Kernels that count the I/O behind each request, just before the chain carries it out."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from snapsim._jit import kernel
from snapsim.engine import table_kernels as tables
from snapsim.engine.blocktable_kernels import LEAF_BITS, UNIFORM
from snapsim.engine.chain_kernels import BLOCK, FIRST_CODE, REQUEST, STUCK, carry_out
from snapsim.engine.io_kernels import (
    COPIED,
    LOOKUPS,
    N_FIELDS,
    N_OPS,
    READ_BYTES,
    READ_OP,
    READS,
    STAGE,
    WRITE_OP,
    WRITES,
    WRITTEN,
    WRITTEN_BYTES,
    flush,
    put,
    step,
)
from snapsim.engine.lifetimes_kernels import DEATH, TOUCH
from snapsim.engine.sparse_kernels import CELL_BITS, SparseArrays, fetch, store

# what happens to the rest of a block that a request writes in part, where only older layers hold it
FILL_NONE, FILL_REST, FILL_WHOLE = 0, 1, 2

# places in `Disk.need`: room that the next request may take
OPS, LEAVES = 0, 1
N_NEEDS = 2
_SPARE = 64

_READ, _WRITE, _DISCARD, _WRITE_ZEROES, _FLUSH = 0, 1, 2, 3, 4


class Traffic(NamedTuple):
    """The I/O behind each request.

    Attributes
    ----------
    reads, writes : int64 arrays, shape (n_requests,)
        Requests for data to the storage below.
    read_bytes, written_bytes : int64 arrays, shape (n_requests,)
        What they move.  [bytes]
    copied_blocks : int64 array, shape (n_requests,)
        Blocks whose old contents were copied or filled in.
    lookups : int64 array, shape (n_requests,)
        Layers that a READ looked into, summed over its blocks.
    metadata_reads, metadata_writes : int64 arrays, shape (n_requests,)
        Requests for parts of tables.
    metadata_read_bytes, metadata_written_bytes : int64 arrays, shape (n_requests,)
        What they move.  [bytes]
    flushes : int64 array, shape (n_requests,)
        Times that the storage below has to make durable what was written.
    """

    reads: npt.NDArray[np.int64]
    writes: npt.NDArray[np.int64]
    read_bytes: npt.NDArray[np.int64]
    written_bytes: npt.NDArray[np.int64]
    copied_blocks: npt.NDArray[np.int64]
    lookups: npt.NDArray[np.int64]
    metadata_reads: npt.NDArray[np.int64]
    metadata_writes: npt.NDArray[np.int64]
    metadata_read_bytes: npt.NDArray[np.int64]
    metadata_written_bytes: npt.NDArray[np.int64]
    flushes: npt.NDArray[np.int64]


class Habits(NamedTuple):
    """What a mechanism does around a write and a read: integers only.

    Attributes
    ----------
    redirects : int
        1: new contents go to a new place; 0: old contents are copied away and new ones written in place.
    always : int
        1: new contents always go to a new place, whether a snapshot shows the old ones or not.
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
    shift : int
        Binary logarithm of the block size; -1 where it has none.
    placed : int
        1: it is known where on the disk each block lies, and what is not in one piece takes several requests.
    """

    redirects: int
    always: int
    fill: int
    merge_gap: int
    private: int
    layered: int
    shift: int
    placed: int


class Disk(NamedTuple):
    """Where things are, and what a request asks of the device.

    Attributes
    ----------
    spots : SparseArrays
        Place of each block; where nothing is stored, a block lies at its own number.  [blocks]
    units : SparseArrays
        With clusters of several blocks: the place of each, at twice its number, and behind it the code of the
        epoch that took it.
    counts : int64 array, shape (N_COUNTS,)
        Of the present request.
    ops : int64 array, shape (room, 4)
        The device's work: op code, place and length in bytes, stage.  No rows: it is not wanted.
    need : int64 array, shape (N_NEEDS,)
        Room that was missing.
    """

    spots: SparseArrays
    units: SparseArrays
    counts: npt.NDArray[np.int64]
    ops: npt.NDArray[np.int64]
    need: npt.NDArray[np.int64]


@kernel(allocates=False)
def _block_of(offset, block_size, shift):
    """Return the block of a byte: a shift where that will do, for divisions are slow."""
    return offset >> shift if shift >= 0 else offset // block_size


@kernel(allocates=False)
def _code(directory, leaves, block):
    """Return the code of one block."""
    index = block >> LEAF_BITS
    entry = np.int64(directory[index])
    if entry <= UNIFORM:
        return UNIFORM - entry
    return np.int64(leaves[(entry << LEAF_BITS) + (block & ((1 << LEAF_BITS) - 1))])


@kernel(allocates=False, inline=False)
def _transfer_pieces(kind, low, high, block_size, spots, counts, ops):
    """Move bytes [low, high) that lie in one layer: an operation for each piece of the disk."""
    block = low // block_size
    begin, spot = low, fetch(spots, block, block)
    while begin < high:
        first, follows = block, True
        while follows and (block + 1) * block_size < high:
            block += 1
            following = fetch(spots, block, block)
            follows = following == spot + block - first
        end = high if follows else block * block_size
        counts[READS + kind] += 1
        put(counts, ops, kind, (spot - first) * block_size + begin, end - begin)
        begin = end
        if begin < high:
            spot = following


@kernel(allocates=False)
def _transfer(kind, low, high, block_size, habits, spots, counts, ops):
    """Move bytes [low, high) that lie in one layer."""
    counts[READ_BYTES + kind] += high - low
    counts[WRITTEN] |= kind
    block = _block_of(low, block_size, habits.shift)
    if habits.placed == 0:
        counts[READS + kind] += 1
        put(counts, ops, kind, low, high - low)
    elif high <= (block + 1) * block_size:
        counts[READS + kind] += 1
        put(counts, ops, kind, (fetch(spots, block, block) - block) * block_size + low, high - low)
    else:
        _transfer_pieces(np.int64(kind), low, high, block_size, spots, counts, ops)


@kernel(allocates=False)
def _look_through(rules, state, block, depth, counts, ops):
    """Look for a block in the tables of the layers from the active one down to `depth` below it."""
    one = tables.slice_of(rules, block)
    top = state.numbers[tables.TOP]
    for layer in range(top, max(top - depth, np.int64(0)) - 1, -1):
        tables.look(rules, state, one, layer, counts, ops)


@kernel(allocates=False)
def _count_read(directory, leaves, low, high, block_size, between, habits, rules, state, disk):
    """Count a read: one request below for each run of blocks that lie in one layer."""
    counts, layered = disk.counts, habits.layered
    cached = rules.kind == tables.CACHED
    last, last_slice, last_depth = np.int64(-1), np.int64(-1), np.int64(-1)
    block = _block_of(low, block_size, habits.shift)
    begin = low
    while block * block_size < high:
        code = _code(directory, leaves, block)
        depth = between[code >> 1] if layered != 0 else np.int64(0)
        counts[LOOKUPS] += depth + 1
        if cached:
            one = tables.slice_of(rules, block)
            if one != last_slice or depth > last_depth:
                _look_through(rules, state, block, depth, counts, disk.ops)
                last_slice, last_depth = one, depth
        if code & 1 == 0:
            depth = np.int64(-1)
        if depth != last:
            here = max(low, block * block_size)
            if last >= 0:
                _transfer(READ_OP, begin, here, block_size, habits, disk.spots, counts, disk.ops)
            begin = here
        last = depth
        block += 1
    if last >= 0:
        _transfer(READ_OP, begin, high, block_size, habits, disk.spots, counts, disk.ops)


@kernel(allocates=False)
def _copy_away(directory, leaves, first, stop, block_size, size, limit, between, private, rules, state, disk):
    """Copy away what blocks [first, stop) hold and a snapshot shows."""
    counts, ops = disk.counts, disk.ops
    for block in range(first, stop):
        code = _code(directory, leaves, block)
        if code < limit and code & 1 == 1:
            copies = between[code >> 1] if private != 0 else np.int64(1)
            n_bytes = min(block_size, size - block * block_size)
            counts[COPIED] += copies
            counts[READS] += copies
            counts[WRITES] += copies
            counts[READ_BYTES] += copies * n_bytes
            counts[WRITTEN_BYTES] += copies * n_bytes
            for _ in range(copies):
                put(counts, ops, READ_OP, block * block_size, n_bytes)
                step(counts)
                put(counts, ops, WRITE_OP, state.numbers[tables.BUMP] * block_size, n_bytes)
                state.numbers[tables.BUMP] += 1
            step(counts)
            if rules.kind == tables.LOGGED:
                tables.log_copies(rules, state, copies, counts, ops)
            elif rules.kind == tables.COMMITTED:
                tables.change_leaves(rules, state, block, block + 1)


@kernel(allocates=False)
def _count_fill(low, high, block_size, size, head_below, tail_below, habits, counts, ops, spots):
    """Count what is filled in around a write of bytes [low, high) to new places.

    Returns
    -------
    int, int
        Bytes that are written before and behind the new contents.
    """
    fill, shift = habits.fill, habits.shift
    first, last = _block_of(low, block_size, shift), _block_of(high - 1, block_size, shift)
    head = low - first * block_size
    tail = min((last + 1) * block_size, size) - high
    head_below &= np.int64(head > 0)
    tail_below &= np.int64(tail > 0)
    if first == last:
        head_below |= tail_below & np.int64(head > 0)
        tail_below |= head_below & np.int64(tail > 0)
    if fill == FILL_NONE or head_below + tail_below == 0:
        return np.int64(0), np.int64(0)
    counts[COPIED] += 1 if first == last else head_below + tail_below
    first_spot, last_spot = first, last
    if habits.placed != 0:
        first_spot, last_spot = fetch(spots, first, first), fetch(spots, last, last)
    if fill == FILL_REST:
        if head_below + tail_below == 2 and high - low <= habits.merge_gap:
            counts[READS] += 1
            counts[READ_BYTES] += head + tail + high - low
            put(counts, ops, READ_OP, first_spot * block_size, head + tail + high - low)
        else:
            counts[READS] += head_below + tail_below
            counts[READ_BYTES] += head * head_below + tail * tail_below
            if head_below != 0:
                put(counts, ops, READ_OP, first_spot * block_size, head)
            if tail_below != 0:
                put(counts, ops, READ_OP, last_spot * block_size + (high - last * block_size), tail)
        step(counts)
        return head, tail
    if head_below != 0 or first == last:
        n_bytes = min(block_size, size - first * block_size)
        counts[READS] += 1
        counts[WRITES] += 1
        counts[READ_BYTES] += n_bytes
        counts[WRITTEN_BYTES] += n_bytes
        put(counts, ops, READ_OP, first_spot * block_size, n_bytes)
    if tail_below != 0 and first != last:
        n_bytes = min(block_size, size - last * block_size)
        counts[READS] += 1
        counts[WRITES] += 1
        counts[READ_BYTES] += n_bytes
        counts[WRITTEN_BYTES] += n_bytes
        put(counts, ops, READ_OP, last_spot * block_size, n_bytes)
    step(counts)
    return np.int64(-1), np.int64(-1)


@kernel(allocates=False)
def _take_places(first, stop, limit, fresh, placed, rules, state, disk):
    """Give blocks [first, stop) new places: in clusters that the active layer has, or in new ones."""
    if rules.unit == 1:
        spot = tables.take_clusters(rules, state, stop - first, disk.counts, disk.ops)
        if placed != 0:
            for block in range(first, stop):
                store(disk.spots, block, spot + block - first)
    else:
        _take_parts(first, stop, limit, fresh, placed, rules, state, disk)


@kernel(allocates=False, inline=False)
def _take_parts(first, stop, limit, fresh, placed, rules, state, disk):
    """Give blocks that are parts of clusters new places."""
    counts, ops = disk.counts, disk.ops
    for unit in range(first // rules.unit, (stop - 1) // rules.unit + 1):
        owner = fetch(disk.units, 2 * unit + 1, np.int64(-1))
        if owner < 0 or owner < limit:
            spot = tables.take_clusters(rules, state, np.int64(1), counts, ops)
            store(disk.units, 2 * unit + 1, fresh)
            store(disk.units, 2 * unit, spot)
        elif placed != 0:
            spot = fetch(disk.units, 2 * unit, np.int64(-1))
        if placed != 0:
            begin = unit * rules.unit
            for block in range(max(first, begin), min(stop, begin + rules.unit)):
                store(disk.spots, block, spot + block - begin)


@kernel(allocates=False)
def _count_run(
    directory, leaves, first, block, begin, end, head_below, tail_below,
    block_size, size, limit, fresh, between, habits, rules, state, disk,
):  # fmt: skip
    """Count the write of bytes [begin, end) to new places for blocks [first, block)."""
    counts, ops = disk.counts, disk.ops
    cached = rules.kind == tables.CACHED
    if cached:
        tables.prepare(rules, state, first, block, limit, fresh, counts, ops)
        # what is filled in is looked for through the layers
        if habits.fill != FILL_NONE and habits.layered != 0:
            if begin > first * block_size and head_below != 0:
                depth = between[_code(directory, leaves, first) >> 1]
                tables.check_below(rules, state, depth, counts, ops)
                _look_through(rules, state, first, depth, counts, ops)
            if end < min(block * block_size, size) and tail_below != 0:
                depth = between[_code(directory, leaves, block - 1) >> 1]
                tables.check_below(rules, state, depth, counts, ops)
                _look_through(rules, state, block - 1, depth, counts, ops)
    head, tail = _count_fill(
        begin, end, block_size, size, head_below, tail_below, habits, counts, ops, disk.spots
    )
    releases = cached and rules.shared != 0 and rules.refblock_clusters > 0
    old = np.int64(-1)
    if releases:
        # the blocks that one refcount block counts are released at once
        code = _code(directory, leaves, first)
        if code < limit and code & 1 == 1:
            old = fetch(disk.spots, first, first) if habits.placed != 0 else first
    _take_places(first, block, limit, fresh, habits.placed, rules, state, disk)
    if head < 0:  # the whole block was copied first
        if habits.fill == FILL_WHOLE:
            _note_copies(
                begin, end, block_size, size, head_below, tail_below, habits, counts, ops, disk.spots
            )
        head = tail = np.int64(0)
    filled = head + tail
    _transfer(WRITE_OP, begin - head, end + tail, block_size, habits, disk.spots, counts, ops)
    if cached:
        tables.enter(rules, state, first, block, True, filled > 0, counts, ops)
        if old >= 0:
            tables.release(rules, state, old, counts, ops)
    elif rules.kind == tables.COMMITTED:
        tables.change_leaves(rules, state, first, block)


@kernel(allocates=False)
def _note_copies(low, high, block_size, size, head_below, tail_below, habits, counts, ops, spots):
    """Write whole blocks that were read to be copied to their new places."""
    if ops.shape[0] == 0:
        return
    first, last = low // block_size, (high - 1) // block_size
    head = low > first * block_size
    tail = high < min((last + 1) * block_size, size)
    if first == last or (head and head_below != 0):
        spot = fetch(spots, first, first) if habits.placed != 0 else first
        put(counts, ops, WRITE_OP, spot * block_size, min(block_size, size - first * block_size))
    if first != last and tail and tail_below != 0:
        spot = fetch(spots, last, last) if habits.placed != 0 else last
        put(counts, ops, WRITE_OP, spot * block_size, min(block_size, size - last * block_size))
    step(counts)


@kernel(allocates=False)
def _count_redirected(
    directory, leaves, low, high, block_size, size, limit, fresh, between, habits, rules, state, disk
):
    """Count a write that goes to new places where a snapshot shows the block, or nothing is there."""
    counts, ops = disk.counts, disk.ops
    cached = rules.kind == tables.CACHED
    block = _block_of(low, block_size, habits.shift)
    stop = _block_of(high - 1, block_size, habits.shift) + 1
    always = habits.always != 0
    while block < stop:
        code = _code(directory, leaves, block)
        moves = always or code < limit or code & 1 == 0
        first, below = block, np.int64((code < limit or always) and code & 1 == 1)
        last_below = below
        block += 1
        while block < stop:
            code = _code(directory, leaves, block)
            if (always or code < limit or code & 1 == 0) != moves:
                break
            last_below = np.int64((code < limit or always) and code & 1 == 1)
            block += 1
        begin, end = max(low, first * block_size), min(high, block * block_size)
        if moves:
            _count_run(
                directory, leaves, first, block, begin, end, below, last_below,
                block_size, size, limit, fresh, between, habits, rules, state, disk,
            )  # fmt: skip
        else:
            if cached:
                top = state.numbers[tables.TOP]
                for one in range(tables.slice_of(rules, first), tables.slice_of(rules, block - 1) + 1):
                    tables.look(rules, state, one, top, counts, ops)
            _transfer(WRITE_OP, begin, end, block_size, habits, disk.spots, counts, ops)


@kernel(allocates=False)
def _count_write(
    directory, leaves, low, high, block_size, size, limit, fresh, habits, between, rules, state, disk
):
    """Count a write."""
    if habits.redirects != 0:
        _count_redirected(
            directory, leaves, low, high, block_size, size, limit, fresh, between, habits, rules, state, disk
        )
        return
    first = _block_of(low, block_size, habits.shift)
    stop = _block_of(high - 1, block_size, habits.shift) + 1
    private = habits.private
    _copy_away(directory, leaves, first, stop, block_size, size, limit, between, private, rules, state, disk)
    disk.counts[WRITES] += 1
    disk.counts[WRITTEN_BYTES] += high - low
    put(disk.counts, disk.ops, WRITE_OP, low, high - low)


@kernel(allocates=False, inline=False)
def _count_ended(
    directory, leaves, first, stop, block_size, size, limit, fresh, between, habits, rules, state, disk
):
    """Count what ending the contents of blocks [first, stop) takes: copies, and entries in tables."""
    counts, ops = disk.counts, disk.ops
    if habits.redirects == 0:
        private = habits.private
        _copy_away(
            directory, leaves, first, stop, block_size, size, limit, between, private, rules, state, disk
        )
        return
    if rules.kind != tables.CACHED and rules.kind != tables.COMMITTED:
        return
    block = np.int64(first)
    while block < stop:
        if _code(directory, leaves, block) & 1 == 0:
            index = block >> LEAF_BITS
            block = (index + 1) << LEAF_BITS if directory[index] <= UNIFORM else block + 1
            continue
        beyond = min(stop, (block // rules.slice_blocks + 1) * rules.slice_blocks)
        if rules.kind == tables.CACHED:
            tables.prepare(rules, state, block, beyond, limit, fresh, counts, ops)
            tables.enter(rules, state, block, beyond, False, False, counts, ops)
            if _code(directory, leaves, block) >= limit or rules.shared != 0:
                spot = fetch(disk.spots, block, block) if habits.placed != 0 else block
                if rules.shared != 0:
                    tables.release(rules, state, spot, counts, ops)
        else:
            tables.change_leaves(rules, state, block, beyond)
        block = beyond


@kernel(allocates=False)
def _short_of_room(rules, state, disk, n_blocks, depth):
    """Tell whether a request of so many blocks might find no room, and note how much it may need."""
    short = False
    if disk.ops.shape[0] > 0:
        dirty = state.numbers[tables.N_DIRTY] + state.numbers[tables.LEAVES] * 2 * max(rules.copies, 1)
        tables_of = n_blocks // max(rules.slice_blocks, 1) + 2
        need = (n_blocks + 2) * (2 * depth + 4 + state.logged.shape[0] * 6)
        need += tables_of * (depth + 2 * rules.table_slices + 16) + 2 * dirty + rules.copies + _SPARE
        # once in the life of a file, all its refcount blocks are read
        top = state.numbers[tables.TOP]
        for layer in range(top + 1):
            once = tables.SEARCHED if layer == top else tables.CHECKED
            if state.files[layer, once] == 0:
                need += state.files[layer, tables.REFBLOCKS]
        disk.need[OPS] = need
        short |= disk.counts[N_OPS] + need > disk.ops.shape[0]
    leaves = (n_blocks >> CELL_BITS) + 2
    disk.need[LEAVES] = leaves
    short |= disk.spots.used[0] + leaves > disk.spots.leaves.shape[0]
    short |= disk.units.used[0] + 2 * leaves > disk.units.leaves.shape[0]
    short |= state.nodes.used[0] + 2 * leaves > state.nodes.leaves.shape[0]
    return short


@kernel(allocates=False)
def replay_requests(
    time,
    op,
    offset,
    length,
    begin,
    rules,
    habits,
    table_rules,
    directory,
    leaves,
    words,
    used,
    epoch,
    limit,
    between,
    state,
    table_state,
    disk,
    traffic,
    first_op,
):
    """Count the I/O of requests from `begin` on and carry them out; return the first that was not.

    Parameters
    ----------
    time, op, offset, length : arrays, shape (n_requests,)
        The requests, all inside the volume.  [ns, op codes, bytes, bytes]
    begin : int
        Where to start; `state.cursor[STUCK]` set: that request was counted and is carried out in part.
    rules : Rules
        What requests do to blocks.
    habits : Habits
        What the mechanism does.
    table_rules : TableRules
        What its tables are.
    directory, leaves, words, used : arrays
        The block table.
    epoch, limit : int
        As in `carry_out`.
    between : int64 array, shape (n_epochs + 1,)
        Snapshots that show what was made in an epoch, by the epoch + 1; the first for older contents.
    state : ChainState
        Modified in place.
    table_state : TableState
        Modified in place.
    disk : Disk
        Modified in place.
    traffic : int64 array, shape (N_FIELDS, n_requests)
        Filled.
    first_op : int64 array, shape (n_requests + 1,)
        Filled: where the device's work for each request begins.

    Returns
    -------
    int
        n_requests; or less where the log, the table or the room of `disk` must grow before going on.
    """
    block_size, size, n_blocks, shift = rules.block_size, rules.size, rules.n_blocks, rules.shift
    cursor, counts = state.cursor, disk.counts
    fresh = FIRST_CODE + 2 * epoch
    depth = between[0] + 1
    kind_of_tables, period = table_rules.kind, table_rules.period
    numbers = table_state.numbers
    for i in range(begin, op.shape[0]):
        low = offset[i]
        high = low + length[i]
        if cursor[STUCK] == 0:
            if _short_of_room(
                table_rules, table_state, disk, _block_of(length[i], block_size, shift) + 2, depth
            ):
                return i
            counts[:N_FIELDS] = 0
            counts[STAGE] = 0
            if period > 0 and time[i] - numbers[tables.LAST_COMMIT] >= period:
                tables.commit(table_rules, table_state, time[i], counts, disk.ops)
            if op[i] == _FLUSH:
                if kind_of_tables == tables.CACHED:
                    tables.write_caches(table_rules, table_state, counts, disk.ops)
                if kind_of_tables == tables.COMMITTED and numbers[tables.LEAVES] > 0:
                    tables.commit(table_rules, table_state, time[i], counts, disk.ops)
                else:
                    flush(counts, disk.ops)
            elif length[i] > 0:
                if op[i] == _READ:
                    _count_read(
                        directory, leaves, low, high, block_size, between, habits, table_rules, table_state,
                        disk,
                    )  # fmt: skip
                else:
                    # bytes [low, head) and [tail, high) are written, whole blocks between them end
                    head = tail = high
                    whole = beyond = np.int64(0)
                    ends = op[i] == _WRITE_ZEROES and rules.zeroes != TOUCH
                    if op[i] == _DISCARD:
                        head, tail = low, high
                        ends = rules.discard == DEATH
                        grain = rules.grain
                        if grain > 1:
                            low = (low + grain - 1) // grain * grain
                            high = rules.capacity if high >= rules.capacity else high // grain * grain
                    if ends and low < high:
                        whole = (low + block_size - 1) // block_size
                        beyond = n_blocks if high >= rules.capacity else min(high // block_size, n_blocks)
                        if whole < beyond:
                            if op[i] == _WRITE_ZEROES:
                                head, tail = whole * block_size, min(beyond * block_size, high)
                            _count_ended(
                                directory, leaves, whole, beyond, block_size, size, limit, fresh, between,
                                habits, table_rules, table_state, disk,
                            )  # fmt: skip
                    if op[i] != _DISCARD:
                        start, end = low, head
                        while start < high:
                            if start < end:
                                _count_write(
                                    directory, leaves, start, end, block_size, size, limit, fresh, habits,
                                    between, table_rules, table_state, disk,
                                )  # fmt: skip
                            start, end = (tail, high) if end < high else (high, high)
            for field in range(N_FIELDS):
                traffic[field, i] = counts[field]
            first_op[i + 1] = counts[N_OPS]
        cursor[REQUEST] = 0
        carry_out(
            op[i : i + 1], offset[i : i + 1], length[i : i + 1], rules, directory, leaves, words, used,
            epoch, limit, state,
        )  # fmt: skip
        if cursor[STUCK] != 0:
            return i
        cursor[BLOCK] = 0
    return op.shape[0]
