"""Kernels of the tables that say where blocks are: what reading and changing them costs.

Three ways.  *Cached* tables are qcow2's: slices of L2 tables and refcount blocks, each in a write-back cache
of their own, written when the guest flushes, when they are evicted, or when one cache has to be on disk
before the other (`qcow2_cache_set_dependency` in QEMU's block/qcow2-cache.c).  *Logged* tables are those of
dm-snapshot: each copy is entered in an area that is written at once.  *Committed* tables are trees that are
written from time to time, with all that changed and the nodes above it.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from snapsim._jit import kernel
from snapsim.engine.io_kernels import TABLE_WRITTEN_BYTES, flush, read_table, write_table
from snapsim.engine.sparse_kernels import NOTHING, SparseArrays, fetch, store

NONE, CACHED, LOGGED, COMMITTED = 0, 1, 2, 3

# states of a slice in one layer
MISSING, ON_DISK, CLEAN, DIRTY, SEEN = 0, 1, 2, 3, 4

# places in `TableState.numbers`
TOP, BUMP, TABLES_NEED_REFS, REFS_NEED_TABLES, TABLES_NEED_DATA, N_DIRTY, CLOCK = range(7)
LEAVES, UPPERS, COMMITS, LAST_COMMIT, HOT = range(7, 12)
N_NUMBERS = 12

# rows of `TableState.refs`, one column for each refcount block in the cache
NUMBER, CHANGED, AGE = 0, 1, 2

# columns of `TableState.tables`
TABLE_PLACE, TABLE_OWNER = 0, 1

# columns of `TableState.files`
CLUSTERS, REFBLOCKS, SEARCHED, CHECKED = 0, 1, 2, 3
N_COLUMNS = 4

SECTOR = 512


class TableRules(NamedTuple):
    """What tables are and how they are written: integers only.

    Attributes
    ----------
    kind : int
        `NONE`, `CACHED`, `LOGGED` or `COMMITTED`.
    slice_blocks, slice_shift : int
        Blocks that one slice (committed: one leaf) describes; its binary logarithm, -1 where it has none.
    slice_bytes : int
        What is read or written at a time; logged: an area.  [bytes]
    table_slices : int
        Slices of a table.
    slots : int
        Slices that the cache of a layer holds; 0: all.
    unit : int
        Blocks of a cluster.
    cluster_bytes : int
        [bytes]
    refblock_clusters : int
        Clusters that one refcount block counts; 0: clusters are not counted.
    shared : int
        1: snapshots share the tables of one file, and a table is copied before it is first changed.
    home : int
        Cached: clusters of the volume; a place below this is where the first contents are.
    entries : int
        Logged: exceptions in an area.
    copies : int
        Committed: how often each node is written.
    leaves : int
        Committed: leaves of the tree.
    fanout : int
        Committed: leaves below one node.
    period : int
        Committed: at least so often; 0: at flushes only.  [ns]
    """

    kind: int
    slice_blocks: int
    slice_shift: int
    slice_bytes: int
    table_slices: int
    slots: int
    unit: int
    cluster_bytes: int
    refblock_clusters: int
    shared: int
    home: int
    entries: int
    copies: int
    leaves: int
    fanout: int
    period: int


class TableState(NamedTuple):
    """Which tables there are, and which parts of them the caches hold.

    Attributes
    ----------
    slices : uint8 array, shape (n_slices, room for layers)
        `MISSING` where a layer has no such table, `ON_DISK`, `CLEAN` or `DIRTY`.
    tables : int64 array, shape (n_tables, 2)
        Cluster of the newest copy of each table; where tables are shared, the code of the epoch that made it.
    slot : int32 array, shape (n_slices, room for layers)
        Where in the cache a slice is.
    held : int32 array, shape (room for layers, slots)
        Which slice a place in the cache holds.
    newer, older : int32 arrays, shape (room for layers, slots + 1)
        The order of use, as rings through the last place.
    filled : int32 array, shape (room for layers,)
        Places of the cache in use.
    dirty : int32 array, shape (room,)
        Slices that may be dirty, all of the active layer.
    refs : int64 array, shape (3, n)
        Refcount blocks in the cache: number (-1: none), whether changed, last use.
    files : int64 array, shape (room for layers, N_COLUMNS)
        Clusters and refcount blocks of each layer's file; whether it was searched for free clusters and for
        preallocated tables.
    logged : int64 array, shape (room for snapshots,)
        Exceptions of each store.
    numbers : int64 array, shape (N_NUMBERS,)
        The active layer, the next free place on the disk in blocks, which cache waits for which, and so on.
    nodes : SparseArrays
        Committed: the commit before which a node was changed last; first the leaves, then those above.
    """

    slices: npt.NDArray[np.uint8]
    tables: npt.NDArray[np.int64]
    slot: npt.NDArray[np.int32]
    held: npt.NDArray[np.int32]
    newer: npt.NDArray[np.int32]
    older: npt.NDArray[np.int32]
    filled: npt.NDArray[np.int32]
    dirty: npt.NDArray[np.int32]
    refs: npt.NDArray[np.int64]
    files: npt.NDArray[np.int64]
    logged: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.int64]
    nodes: SparseArrays


@kernel(allocates=False)
def slice_of(rules, block):
    """Return the slice that describes a block: a shift where that will do, for divisions are slow."""
    return block >> rules.slice_shift if rules.slice_shift >= 0 else block // rules.slice_blocks


# --- cached: the order in which caches are written
# --------------------------------------------------------------


@kernel(allocates=False)
def _table_place(rules, state, one):
    """Return where a slice lies on the disk.  [bytes]"""
    table = one // rules.table_slices
    return (
        state.tables[table, TABLE_PLACE] * rules.cluster_bytes + one % rules.table_slices * rules.slice_bytes
    )


@kernel(allocates=False, inline=False)
def _write_slices(rules, state, counts, ops):
    """Write the dirty slices."""
    numbers, top = state.numbers, state.numbers[TOP]
    for i in range(numbers[N_DIRTY]):
        one = np.int64(state.dirty[i])
        if state.slices[one, top] == DIRTY:
            state.slices[one, top] = CLEAN
            write_table(counts, ops, _table_place(rules, state, one), rules.slice_bytes)
    numbers[N_DIRTY] = 0


@kernel(allocates=False, inline=False)
def _write_refs(rules, state, counts, ops):
    """Write the dirty refcount blocks."""
    for i in range(state.refs.shape[1]):
        if state.refs[CHANGED, i] != 0:
            state.refs[CHANGED, i] = 0
            write_table(counts, ops, state.refs[NUMBER, i] * rules.cluster_bytes, rules.cluster_bytes)


@kernel(allocates=False, inline=False)
def _any_dirty(state):
    """Tell whether a slice is dirty."""
    for i in range(state.numbers[N_DIRTY]):
        if state.slices[np.int64(state.dirty[i]), state.numbers[TOP]] == DIRTY:
            return True
    return False


@kernel(allocates=False, inline=False)
def _any_changed(state):
    """Tell whether a refcount block is dirty."""
    changed = False
    for i in range(state.refs.shape[1]):
        changed |= state.refs[CHANGED, i] != 0
    return changed


@kernel(allocates=False, inline=False)
def _precede_tables(rules, state, counts, ops):
    """Make durable what comes before slices: refcount blocks, or contents that were filled in."""
    numbers = state.numbers
    if numbers[TABLES_NEED_REFS] != 0:
        _write_refs(rules, state, counts, ops)
        flush(counts, ops)
    elif numbers[TABLES_NEED_DATA] != 0:
        flush(counts, ops)
    numbers[TABLES_NEED_REFS] = numbers[TABLES_NEED_DATA] = 0


@kernel(allocates=False, inline=False)
def _settle_tables(rules, state, counts, ops):
    """Write the slices and flush, so that refcount blocks may follow."""
    _write_slices(rules, state, counts, ops)
    flush(counts, ops)
    state.numbers[REFS_NEED_TABLES] = 0


@kernel(allocates=False, inline=False)
def _flush_tables(rules, state, counts, ops):
    """Write the slices, after what they wait for, and flush."""
    if _any_dirty(state):
        _precede_tables(rules, state, counts, ops)
    _write_slices(rules, state, counts, ops)
    flush(counts, ops)


@kernel(allocates=False, inline=False)
def _flush_refs(rules, state, counts, ops):
    """Write the refcount blocks, after what they wait for, and flush."""
    if state.numbers[REFS_NEED_TABLES] != 0 and _any_changed(state):
        _settle_tables(rules, state, counts, ops)
    _write_refs(rules, state, counts, ops)
    flush(counts, ops)


@kernel(allocates=False, inline=False)
def write_caches(rules, state, counts, ops):
    """Write what is dirty in both caches, in order; the flush of the file itself is the caller's."""
    if _any_dirty(state):
        _precede_tables(rules, state, counts, ops)
    _write_slices(rules, state, counts, ops)
    if state.numbers[REFS_NEED_TABLES] != 0 and _any_changed(state):
        _settle_tables(rules, state, counts, ops)
    _write_refs(rules, state, counts, ops)


@kernel(allocates=False)
def _tables_wait(rules, state, counts, ops):
    """Let slices be written after refcount blocks only."""
    if state.numbers[REFS_NEED_TABLES] != 0:
        _flush_tables(rules, state, counts, ops)
        state.numbers[REFS_NEED_TABLES] = 0
    state.numbers[TABLES_NEED_REFS] = 1


@kernel(allocates=False)
def _refs_wait(rules, state, counts, ops):
    """Let refcount blocks be written after slices only."""
    if state.numbers[TABLES_NEED_REFS] != 0:
        _flush_refs(rules, state, counts, ops)
        state.numbers[TABLES_NEED_REFS] = state.numbers[TABLES_NEED_DATA] = 0
    state.numbers[REFS_NEED_TABLES] = 1


# --- cached: slices of L2 tables
# --------------------------------------------------------------------------------


@kernel(allocates=False)
def _unlink(newer, older, layer, at):
    """Take a place out of the order of use."""
    before, after = older[layer, at], newer[layer, at]
    newer[layer, before] = after
    older[layer, after] = before


@kernel(allocates=False)
def _use(newer, older, layer, at):
    """Make a place the one that was used last."""
    end = np.int32(newer.shape[1] - 1)
    last = older[layer, end]
    newer[layer, last] = at
    older[layer, at] = last
    newer[layer, at] = end
    older[layer, end] = at


@kernel(allocates=False, inline=False)
def _take_slot(rules, state, one, layer, counts, ops):
    """Give a slice a place in the cache of a layer: the one used longest ago where none is free."""
    newer, older = state.newer, state.older
    if state.filled[layer] < rules.slots:
        at = state.filled[layer]
        state.filled[layer] = at + 1
    else:
        at = newer[layer, newer.shape[1] - 1]
        gone = np.int64(state.held[layer, at])
        if gone >= 0:
            if state.slices[gone, layer] == DIRTY:
                _precede_tables(rules, state, counts, ops)
                write_table(counts, ops, _table_place(rules, state, gone), rules.slice_bytes)
            state.slices[gone, layer] = ON_DISK
        _unlink(newer, older, layer, at)
    state.held[layer, at] = one
    state.slot[one, layer] = at
    _use(newer, older, layer, at)


@kernel(allocates=False, inline=False)
def _load(rules, state, one, layer, counts, ops):
    """Read a slice into the cache of a layer."""
    if rules.slots > 0:
        _take_slot(rules, state, one, layer, counts, ops)
    state.slices[one, layer] = CLEAN
    read_table(counts, ops, _table_place(rules, state, one), rules.slice_bytes)


@kernel(allocates=False)
def look(rules, state, one, layer, counts, ops):
    """Look into a slice of a layer: no I/O where the layer has no such table or the cache holds it."""
    known = state.slices[one, layer]
    if known == ON_DISK:
        _load(rules, state, one, layer, counts, ops)
    elif known != MISSING and rules.slots > 0:
        at = state.slot[one, layer]
        if state.newer[layer, at] != state.newer.shape[1] - 1:
            _unlink(state.newer, state.older, layer, at)
            _use(state.newer, state.older, layer, at)


@kernel(allocates=False)
def _soil(state, one):
    """Make a slice of the active layer, which is in the cache, dirty."""
    if state.slices[one, state.numbers[TOP]] != DIRTY:
        _soil_clean(state, one)


@kernel(allocates=False, inline=False)
def _soil_clean(state, one):
    """Make a clean slice dirty, and remember it."""
    top, numbers = state.numbers[TOP], state.numbers
    state.slices[one, top] = DIRTY
    if numbers[N_DIRTY] == state.dirty.shape[0]:
        # what was evicted is still in the list, and may be there twice: keep each that is dirty once
        kept = 0
        for i in range(state.dirty.shape[0]):
            entry = np.int64(state.dirty[i])
            if state.slices[entry, top] == DIRTY and entry != one:
                state.slices[entry, top] = SEEN
                state.dirty[kept] = entry
                kept += 1
        for i in range(kept):
            state.slices[np.int64(state.dirty[i]), top] = DIRTY
        numbers[N_DIRTY] = kept
    state.dirty[numbers[N_DIRTY]] = one
    numbers[N_DIRTY] += 1


# --- cached: refcounts
# ------------------------------------------------------------------------------------------


@kernel(allocates=False, inline=False)
def _count_refs(rules, state, number, exists, changes, counts, ops):
    """Look into a block of refcounts, or change it; it is read first unless it is cached or new."""
    refs, numbers = state.refs, state.numbers
    numbers[CLOCK] += 1
    chosen = 0
    for i in range(refs.shape[1]):
        if refs[NUMBER, i] == number:
            refs[CHANGED, i] |= changes
            refs[AGE, i] = numbers[CLOCK]
            numbers[HOT] = i
            return
        if refs[AGE, i] < refs[AGE, chosen]:
            chosen = i
    if refs[CHANGED, chosen] != 0:
        if numbers[REFS_NEED_TABLES] != 0:
            _flush_tables(rules, state, counts, ops)
            numbers[REFS_NEED_TABLES] = 0
        write_table(counts, ops, refs[NUMBER, chosen] * rules.cluster_bytes, rules.cluster_bytes)
    if exists != 0:
        read_table(counts, ops, number * rules.cluster_bytes, rules.cluster_bytes)
    refs[NUMBER, chosen] = number
    refs[CHANGED, chosen] = changes
    numbers[HOT] = chosen
    refs[AGE, chosen] = numbers[CLOCK]


@kernel(allocates=False)
def take_clusters(rules, state, n, counts, ops):
    """Take n clusters of the active file; refcount blocks come as they are needed.

    Returns
    -------
    int
        The place of the first on the disk, in blocks.
    """
    numbers, refs = state.numbers, state.refs
    per = rules.refblock_clusters
    if per > 0:
        # nearly always the refcount block that was changed last counts them too
        top, hot = numbers[TOP], numbers[HOT]
        cluster = state.files[top, CLUSTERS]
        searched = state.files[top, SEARCHED] != 0
        if searched and refs[NUMBER, hot] == cluster // per and cluster % per + n <= per:
            numbers[CLOCK] += 1
            refs[CHANGED, hot] = 1
            refs[AGE, hot] = numbers[CLOCK]
            state.files[top, CLUSTERS] = cluster + n
            first = numbers[BUMP]
            numbers[BUMP] = first + n * rules.unit
            return first
    return _take_many(rules, state, n, counts, ops)


@kernel(allocates=False, inline=False)
def _take_many(rules, state, n, counts, ops):
    """Take clusters that the refcount block in use may not count."""
    numbers = state.numbers
    first = numbers[BUMP]
    numbers[BUMP] += n * rules.unit
    top = numbers[TOP]
    if rules.refblock_clusters == 0:
        return first
    if state.files[top, SEARCHED] == 0:
        # after a file was opened, the first free cluster is looked for from its beginning
        state.files[top, SEARCHED] = 1
        for block in range(
            min(state.files[top, REFBLOCKS], state.files[top, CLUSTERS] // rules.refblock_clusters)
        ):
            _count_refs(rules, state, block, np.int64(1), np.int64(0), counts, ops)
    while n > 0:
        cluster = state.files[top, CLUSTERS]
        block = cluster // rules.refblock_clusters
        if block >= state.files[top, REFBLOCKS]:
            # a new refcount block is the first cluster that it counts
            _flush_tables(rules, state, counts, ops)
            state.files[top, CLUSTERS] += 1
            numbers[BUMP] += rules.unit
            first += rules.unit
            state.files[top, REFBLOCKS] = block + 1
            _count_refs(rules, state, block, np.int64(0), np.int64(1), counts, ops)
            _flush_refs(rules, state, counts, ops)
            write_table(counts, ops, 0, SECTOR)
            flush(counts, ops)
            continue
        some = min(n, (block + 1) * rules.refblock_clusters - cluster)
        _count_refs(rules, state, block, np.int64(1), np.int64(1), counts, ops)
        state.files[top, CLUSTERS] += some
        n -= some
    return first


@kernel(allocates=False, inline=False)
def _release(rules, state, cluster, counts, ops):
    """Count one reference less of a cluster."""
    _refs_wait(rules, state, counts, ops)
    block = cluster // rules.refblock_clusters
    if block < state.files[state.numbers[TOP], REFBLOCKS]:
        _count_refs(rules, state, block, np.int64(1), np.int64(1), counts, ops)


@kernel(allocates=False)
def host_cluster(cluster, table_clusters, refblock_clusters):
    """Return about where the first contents of a cluster lie in a file that was written from its beginning.

    Header, refcount table, refcount block and L1 come first, an L2 table before what it describes.
    """
    behind = cluster + cluster // table_clusters + 5
    return behind + behind // refblock_clusters


@kernel(allocates=False)
def release(rules, state, place, counts, ops):
    """Count one reference less of the cluster at a place."""
    if rules.refblock_clusters > 0:
        cluster = place // rules.unit
        if cluster < rules.home:
            cluster = host_cluster(
                cluster, rules.slice_blocks // rules.unit * rules.table_slices, rules.refblock_clusters
            )
        _release(rules, state, cluster, counts, ops)


@kernel(allocates=False)
def n_slices(rules, state):
    """Return the number of slices; shared tables have a second row for the copy that only snapshots use."""
    return state.slices.shape[0] >> rules.shared


@kernel(allocates=False, inline=False)
def _set_aside(rules, state, one):
    """Let the copy of a slice that only snapshots use from now on keep its place in the cache."""
    top = state.numbers[TOP]
    aside = one + n_slices(rules, state)
    if state.slices[aside, top] == CLEAN:
        state.held[top, state.slot[aside, top]] = -1
    at = state.slot[one, top]
    state.held[top, at] = aside
    state.slot[aside, top] = at
    state.slices[aside, top] = CLEAN


@kernel(allocates=False, inline=False)
def _make_table(rules, state, one, fresh, counts, ops):
    """Give the active layer a table of its own: a new one, or a copy of the one that a snapshot shares."""
    top = state.numbers[TOP]
    table = one // rules.table_slices
    first = table * rules.table_slices
    stop = min(first + rules.table_slices, n_slices(rules, state))
    copied = state.slices[first, top] != MISSING
    old = state.tables[table, TABLE_PLACE]
    place = take_clusters(rules, state, np.int64(1), counts, ops) // rules.unit
    _flush_refs(rules, state, counts, ops)
    state.tables[table, TABLE_PLACE] = place
    for each in range(first, stop):
        if copied:
            look(rules, state, each, top, counts, ops)
            _set_aside(rules, state, each)
        if rules.slots > 0:
            _take_slot(rules, state, each, top, counts, ops)
        state.slices[each, top] = CLEAN
        _soil(state, each)
    # slices behind the end of the volume are written with the table
    missing = rules.table_slices - (stop - first)
    _flush_tables(rules, state, counts, ops)
    if missing > 0:
        counts[TABLE_WRITTEN_BYTES] += missing * rules.slice_bytes
    write_table(counts, ops, 0, SECTOR)
    flush(counts, ops)
    if rules.shared != 0:
        state.tables[table, TABLE_OWNER] = fresh
        if copied and rules.refblock_clusters > 0:
            _release(rules, state, old, counts, ops)


@kernel(allocates=False, inline=False)
def _check(rules, state, layer, counts, ops):
    """Read the reference counts of a file."""
    state.files[layer, CHECKED] = 1
    for block in range(state.files[layer, REFBLOCKS]):
        read_table(counts, ops, block * rules.cluster_bytes, rules.cluster_bytes)


@kernel(allocates=False)
def check_below(rules, state, depth, counts, ops):
    """Look at the files below the active one, before contents are first filled in from there.

    QEMU counts the clusters of a backing file once, to see whether only its tables were preallocated
    (`qcow2_detect_metadata_preallocation`).
    """
    top = state.numbers[TOP]
    for layer in range(top - 1, max(top - depth, np.int64(0)) - 1, -1):
        if state.files[layer, CHECKED] == 0:
            _check(rules, state, layer, counts, ops)


@kernel(allocates=False)
def prepare(rules, state, first, stop, limit, fresh, counts, ops):
    """Look into the tables of blocks [first, stop); the active layer gets those that it lacks."""
    top = state.numbers[TOP]
    for one in range(slice_of(rules, first), slice_of(rules, stop - 1) + 1):
        table = one // rules.table_slices
        if state.slices[one, top] == MISSING or (
            rules.shared != 0 and state.tables[table, TABLE_OWNER] < limit
        ):
            _make_table(rules, state, one, fresh, counts, ops)
        look(rules, state, one, top, counts, ops)


@kernel(allocates=False)
def enter(rules, state, first, stop, takes, filled, counts, ops):
    """Enter blocks [first, stop) into the tables: their slices are dirty."""
    if filled:
        state.numbers[TABLES_NEED_DATA] = 1
    if takes and rules.refblock_clusters > 0:
        _tables_wait(rules, state, counts, ops)
    for one in range(slice_of(rules, first), slice_of(rules, stop - 1) + 1):
        look(rules, state, one, state.numbers[TOP], counts, ops)
        _soil(state, one)


# --- logged and committed
# -----------------------------------------------------------------------------------


@kernel(allocates=False, inline=False)
def log_copies(rules, state, n_stores, counts, ops):
    """Enter one copy in the newest stores: each writes its area, and the next one when that is full."""
    newest = state.logged.shape[0]
    for store_of in range(n_stores):
        at = newest - 1 - store_of
        state.logged[at] += 1
        write_table(counts, ops, state.numbers[BUMP] * rules.cluster_bytes, rules.slice_bytes)
        if state.logged[at] % rules.entries == 0:
            write_table(counts, ops, state.numbers[BUMP] * rules.cluster_bytes, rules.slice_bytes)
        flush(counts, ops)


@kernel(allocates=False, inline=False)
def change_leaves(rules, state, first, stop):
    """Note that the tree's leaves of blocks [first, stop) have changed since the last commit."""
    numbers = state.numbers
    for leaf in range(slice_of(rules, first), slice_of(rules, stop - 1) + 1):
        if fetch(state.nodes, leaf, np.int64(NOTHING)) != numbers[COMMITS]:
            store(state.nodes, leaf, numbers[COMMITS])
            numbers[LEAVES] += 1
            upper = rules.leaves + leaf // rules.fanout
            if fetch(state.nodes, upper, np.int64(NOTHING)) != numbers[COMMITS]:
                store(state.nodes, upper, numbers[COMMITS])
                numbers[UPPERS] += 1


@kernel(allocates=False, inline=False)
def commit(rules, state, now, counts, ops):
    """Write the leaves that changed, the nodes above them and the root; nothing where nothing has changed."""
    numbers = state.numbers
    numbers[LAST_COMMIT] = now
    if numbers[LEAVES] == 0:
        return
    nodes = (numbers[LEAVES] + numbers[UPPERS] + 1) * rules.copies
    place = numbers[BUMP] * (rules.cluster_bytes // rules.unit)
    for i in range(nodes):
        write_table(counts, ops, place + i * rules.slice_bytes, rules.slice_bytes)
    numbers[LEAVES] = numbers[UPPERS] = 0
    numbers[COMMITS] += 1
    flush(counts, ops)
