"""Metadata of the mechanisms: integer formulas from counts of blocks to bytes.

Each *kind* of metadata has one formula.  Its inputs are counts, which the lifetime matrix gives for every point in time or
every layer at once, so that all of them work on arrays.  `metadata_bytes` and `file_bytes` choose the
formula by the name that a mechanism carries; nothing here knows a trace or a matrix.

The qcow2 formulas follow QEMU's allocator and are compared with real images, byte for byte, in
`tests/integration/test_qcow2_space.py`.  The other kinds follow source code, format specifications or documentation and
were not compared with a running system; the mechanism's `evidence` says which is which.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Concatenate, NamedTuple

import numpy as np
import numpy.typing as npt

from snapsim.errors import MechanismError
from snapsim.types import Int64Array

_TABLE_ENTRY = 8  # bytes of an L1, an L2 and a refcount table entry of qcow2
_MIB = 1 << 20


@dataclass(frozen=True, kw_only=True, eq=False)
class Usage:
    """What is known about layers, stores or points in time, one element each.

    Attributes
    ----------
    counts : mapping of str to int64 array
        Blocks counted by each matrix that the mechanism named ("data", "tables", "clusters"), in units of that matrix' block:
        the layer's versions where layers are kept, the store's where stores are private, live and snapshot versions together
        where versions are shared.  [blocks]
    snapshots : int64 array or int
        Snapshots that exist.
    capacity : int
        Size of the volume.  [bytes]
    block_size : int
        The mechanism's block size; the matrix "data" may count parts of it.  [bytes]
    """

    counts: Mapping[str, npt.ArrayLike]
    snapshots: npt.ArrayLike
    capacity: int
    block_size: int

    def count(self, name: str) -> Int64Array:
        """Return one of the counts as an array.  [blocks]"""
        return np.asarray(self.counts[name], dtype=np.int64)


def metadata_bytes(kind: str, usage: Usage, parameters: Mapping[str, int] | None = None) -> Int64Array:
    """Return what a mechanism's tables take.

    Parameters
    ----------
    kind : str
        A key of `KINDS`.
    usage : Usage
        Counts of blocks, in any shape.
    parameters : mapping of str to int, optional
        Parameters of the kind, as the mechanism states them.

    Returns
    -------
    int64 array
        In the shape of the counts.  [bytes]

    Raises
    ------
    MechanismError
        The kind is unknown.
    """
    formula = KINDS.get(kind)
    if formula is None:
        raise MechanismError(f"metadata kind {kind!r} is unknown: it must be one of {', '.join(KINDS)}")
    return formula(usage, **(parameters or {}))


def file_bytes(kind: str, usage: Usage, parameters: Mapping[str, int] | None = None, *, growth_step: int = 1) -> Int64Array:
    """Return the length of the file that holds a layer, or the space of a store, tables included.

    Parameters
    ----------
    kind, usage, parameters
        As in `metadata_bytes`.
    growth_step : int
        The file grows in steps of this.  [bytes]

    Returns
    -------
    int64 array
        For "qcow2-overlay" the length that QEMU gives the file, as long as nothing in it was freed (see `qcow2_overlay_bytes`);
        otherwise data and metadata, rounded up to the growth step.  [bytes]
    """
    if kind == "qcow2-overlay":
        settings = dict(parameters or {})
        return qcow2_overlay_bytes(
            _clusters(usage), usage.count("tables"), cluster_size=usage.block_size, virtual_size=usage.capacity,
            extended_l2=bool(settings.get("extended_l2", 0)), refcount_bits=settings.get("refcount_bits", 16),
        )  # fmt: skip
    held = usage.count("data") * usage.block_size + metadata_bytes(kind, usage, parameters)
    return _ceil(held, growth_step) * growth_step


# --- qcow2 ----------------------------------------------------------------------------------------------------------


class Refcounts(NamedTuple):
    """What counts the references in a qcow2 file.

    Attributes
    ----------
    blocks : int64 array
        Refcount blocks.  [clusters]
    table : int64 array
        The refcount table.  [clusters]
    reserved : int64 array
        End of the area that QEMU set up when it last made the table longer; the file is at least so long.  [clusters]
    """

    blocks: Int64Array
    table: Int64Array
    reserved: Int64Array


@lru_cache(maxsize=64)
def _refcount_steps(cluster_size: int, refcount_bits: int) -> tuple[Int64Array, Int64Array, Int64Array, Int64Array]:
    """Tabulate how the refcount table grows: (clusters up to which the step holds, table, least blocks, reserved).

    When the first block that no table entry can name is needed, QEMU starts a new area at the next border of a block's range:
    blocks that describe the area itself, then a table that is half as long again as needed
    (`qcow2_refcount_area`, `qcow2_refcount_metadata_size`).  The old table becomes free and is used again.
    """
    per_block = cluster_size * 8 // refcount_bits
    per_table_cluster = cluster_size // _TABLE_ENTRY
    table, blocks, reserved = 1, 1, 0
    rows = []
    while True:
        named = table * per_table_cluster
        limit = named * (per_block - 1) - table
        rows.append((limit, table, blocks, reserved))
        if limit * cluster_size >= 2**62:
            break
        start = (named + 1) * per_block
        blocks = _blocks_for(start, per_block, per_table_cluster)
        table = _ceil_int(blocks + _ceil_int(blocks, 2), per_table_cluster)
        reserved = start + blocks - (named + 1) + table
    limits, tables, least, ends = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    return limits, tables, least, ends


def _blocks_for(clusters: int, per_block: int, per_table_cluster: int) -> int:
    """Count the blocks that describe `clusters`, themselves, and a table that is half as long again as needed."""
    generous = True
    table = blocks = total = 0
    while True:
        before = total
        blocks = _ceil_int(clusters + table + blocks, per_block)
        table = _ceil_int(blocks, per_table_cluster)
        total = clusters + blocks + table
        if total == before:
            if not generous:
                return blocks
            clusters += _ceil_int(table, 2)
            total, generous = 0, False


def qcow2_refcounts(clusters: npt.ArrayLike, *, cluster_size: int, refcount_bits: int = 16) -> Refcounts:
    """Return the refcount structures of a qcow2 file that has only ever grown.

    The smallest r with r * (8 * cluster_size / refcount_bits) >= clusters + table + r: refcount blocks count themselves and
    the table.  The table stays one cluster up to 2^-4 * cluster_size^3 bytes of file (4 GiB at 4 KiB clusters, 16 TiB at 64 KiB).

    Parameters
    ----------
    clusters : int64 array
        Clusters in use, refcount structures left out.  [clusters]
    cluster_size : int
        [bytes]
    refcount_bits : int
        Width of a refcount.  [bit]

    Returns
    -------
    Refcounts
        In the shape of `clusters`.

    Examples
    --------
    >>> qcow2_refcounts([2, 32766, 32767], cluster_size=65536).blocks.tolist()
    [1, 1, 2]
    """
    used = np.asarray(clusters, dtype=np.int64)
    limits, tables, least, ends = _refcount_steps(cluster_size, refcount_bits)
    step = np.searchsorted(limits, used)
    table = tables[step]
    blocks = _ceil(used + table, cluster_size * 8 // refcount_bits - 1)
    return Refcounts(np.maximum(blocks, least[step]), table, ends[step])


def qcow2_l2_range(cluster_size: int, *, extended_l2: bool = False) -> int:
    """Return the part of the disk that one L2 table describes: one cluster of 8-byte (extended: 16-byte) entries.  [bytes]"""
    return cluster_size * (cluster_size // (16 if extended_l2 else 8))


def qcow2_l1_bytes(virtual_size: int, *, cluster_size: int, extended_l2: bool = False) -> int:
    """Return the L1 table's size: one entry for each L2 table that the disk can have.  [bytes]"""
    return _ceil_int(virtual_size, qcow2_l2_range(cluster_size, extended_l2=extended_l2)) * _TABLE_ENTRY


def qcow2_overlay_clusters(
    data_clusters: npt.ArrayLike,
    l2_tables: npt.ArrayLike,
    *,
    cluster_size: int,
    virtual_size: int,
    extended_l2: bool = False,
    refcount_bits: int = 16,
) -> Int64Array:
    """Return the clusters in use in a qcow2 overlay (or any qcow2 image without internal snapshots).

    header + refcount table + refcount blocks + L1 + L2 tables + data.

    Parameters
    ----------
    data_clusters : int64 array
        Distinct clusters that hold data.  [clusters]
    l2_tables : int64 array
        Distinct L2 ranges touched; zeroed and discarded clusters need an entry too.  [clusters]
    cluster_size, virtual_size : int
        [bytes]
    extended_l2 : bool
        Entries are 16 bytes and describe 32 subclusters.
    refcount_bits : int
        Width of a refcount.  [bit]

    Returns
    -------
    int64 array
        In the shape of the counts.  [clusters]
    """
    used = _qcow2_payload(data_clusters, l2_tables, cluster_size, virtual_size, extended_l2=extended_l2)
    refcounts = qcow2_refcounts(used, cluster_size=cluster_size, refcount_bits=refcount_bits)
    return used + refcounts.table + refcounts.blocks


def qcow2_overlay_bytes(
    data_clusters: npt.ArrayLike,
    l2_tables: npt.ArrayLike,
    *,
    cluster_size: int,
    virtual_size: int,
    extended_l2: bool = False,
    refcount_bits: int = 16,
) -> Int64Array:
    """Return the length of a qcow2 overlay's file.

    Clusters in use times their size: QEMU's allocator leaves no holes as long as nothing is freed.  A layer that nothing
    was written to ends with its L1 table, cut off in the middle of a cluster.  Freed clusters are used again but the file
    does not get shorter, so after discards or a zeroed cluster that held data the real length lies at the high-water mark.
    When the refcount table has to grow (see `qcow2_refcounts`), QEMU leaves room free that it fills in later; requests longer
    than a cluster may leave a hole as long as the old table until the image is opened the next time.

    Parameters
    ----------
    data_clusters, l2_tables, cluster_size, virtual_size, extended_l2, refcount_bits
        As in `qcow2_overlay_clusters`.

    Returns
    -------
    int64 array
        In the shape of the counts.  [bytes]

    Examples
    --------
    >>> int(qcow2_overlay_bytes(0, 0, cluster_size=65536, virtual_size=256 << 20))
    196616
    >>> qcow2_overlay_bytes([1, 2], [1, 1], cluster_size=65536, virtual_size=256 << 20).tolist()
    [393216, 458752]
    """
    used = _qcow2_payload(data_clusters, l2_tables, cluster_size, virtual_size, extended_l2=extended_l2)
    refcounts = qcow2_refcounts(used, cluster_size=cluster_size, refcount_bits=refcount_bits)
    length = np.maximum(used + refcounts.table + refcounts.blocks, refcounts.reserved) * cluster_size
    l1_bytes = qcow2_l1_bytes(virtual_size, cluster_size=cluster_size, extended_l2=extended_l2)
    # the first refcount block is written before the L1 table, any further one after it
    empty = (np.asarray(data_clusters) == 0) & (np.asarray(l2_tables) == 0) & (refcounts.blocks == 1)
    return np.where(empty, 3 * cluster_size + l1_bytes, length)


def qcow2_snapshot_table_bytes(snapshots: npt.ArrayLike, *, name_bytes: int, id_bytes: int = 5) -> Int64Array:
    """Return the size of the table of internal snapshots.

    Per snapshot a header of 40 bytes, 24 bytes of extra data, the id (a decimal number) and the name, rounded up to 8 bytes;
    the last entry is not rounded.

    Parameters
    ----------
    snapshots : int64 array
        Snapshots that exist.
    name_bytes, id_bytes : int
        Length of a name and of an id.  [bytes]

    Returns
    -------
    int64 array
        [bytes]
    """
    number = np.asarray(snapshots, dtype=np.int64)
    entry = 40 + 24 + id_bytes + name_bytes
    return np.where(number > 0, (number - 1) * (_ceil_int(entry, 8) * 8) + entry, 0)


def qcow2_internal_clusters(
    data_clusters: npt.ArrayLike,
    l2_tables: npt.ArrayLike,
    *,
    snapshots: npt.ArrayLike,
    cluster_size: int,
    virtual_size: int,
    extended_l2: bool = False,
    refcount_bits: int = 16,
    name_bytes: int = 40,
    high_water: npt.ArrayLike | None = None,
) -> Int64Array:
    """Return the clusters with a reference in a qcow2 image that has internal snapshots.

    header + refcount table + refcount blocks + L1 * (1 + snapshots) + snapshot table + versions of L2 tables + versions of data
    clusters, over the active disk and all snapshots.

    Parameters
    ----------
    data_clusters : int64 array
        Distinct versions of clusters, live and in snapshots.  [clusters]
    l2_tables : int64 array
        Distinct versions of L2 tables: the first change in a table's range after a snapshot copies the table.  [clusters]
    snapshots : int64 array
        Snapshots that exist.
    cluster_size, virtual_size, extended_l2, refcount_bits
        As in `qcow2_overlay_clusters`.
    name_bytes : int
        Length of a snapshot's name.  [bytes]
    high_water : int64 array, optional
        The most clusters that were in use so far, refcount structures left out: QEMU never frees a refcount block.  By default what is in
        use now.  [clusters]

    Returns
    -------
    int64 array
        In the shape of the counts.  [clusters]
    """
    used = qcow2_internal_payload(
        data_clusters, l2_tables, snapshots=snapshots, cluster_size=cluster_size, virtual_size=virtual_size,
        extended_l2=extended_l2, name_bytes=name_bytes,
    )  # fmt: skip
    most = used if high_water is None else np.maximum(used, high_water)
    refcounts = qcow2_refcounts(most, cluster_size=cluster_size, refcount_bits=refcount_bits)
    return used + refcounts.table + refcounts.blocks


def qcow2_internal_payload(
    data_clusters: npt.ArrayLike,
    l2_tables: npt.ArrayLike,
    *,
    snapshots: npt.ArrayLike,
    cluster_size: int,
    virtual_size: int,
    extended_l2: bool = False,
    name_bytes: int = 40,
) -> Int64Array:
    """Return the clusters in use in a qcow2 image with internal snapshots, refcount structures left out.

    Parameters
    ----------
    data_clusters, l2_tables, snapshots, cluster_size, virtual_size, extended_l2, name_bytes
        As in `qcow2_internal_clusters`; a running maximum of this function is what its `high_water` asks for.

    Returns
    -------
    int64 array
        In the shape of the counts.  [clusters]
    """
    used = _qcow2_payload(data_clusters, l2_tables, cluster_size, virtual_size, extended_l2=extended_l2)
    l1_bytes = qcow2_l1_bytes(virtual_size, cluster_size=cluster_size, extended_l2=extended_l2)
    table = _ceil(qcow2_snapshot_table_bytes(snapshots, name_bytes=name_bytes), cluster_size)
    return used + np.asarray(snapshots, dtype=np.int64) * _ceil_int(l1_bytes, cluster_size) + table


def _qcow2_payload(
    data_clusters: npt.ArrayLike, l2_tables: npt.ArrayLike, cluster_size: int, virtual_size: int, *, extended_l2: bool
) -> Int64Array:
    """Add header, L1, L2 and data: what the refcount structures have to describe besides themselves."""
    l1_bytes = qcow2_l1_bytes(virtual_size, cluster_size=cluster_size, extended_l2=extended_l2)
    fixed = 1 + _ceil_int(l1_bytes, cluster_size)
    return np.asarray(data_clusters, dtype=np.int64) + np.asarray(l2_tables, dtype=np.int64) + fixed


def _clusters(usage: Usage) -> Int64Array:
    """Return the clusters that hold data: counted apart where the data matrix counts subclusters."""
    return usage.count("clusters" if "clusters" in usage.counts else "data")


# --- one formula per kind -------------------------------------------------------------------------------------------


def _none(usage: Usage) -> Int64Array:
    """Nothing that depends on the snapshots, or nothing that is known."""
    return np.zeros_like(usage.count("data"))


def _exception_store(usage: Usage, *, exception_bytes: int = 16) -> Int64Array:
    """dm-snapshot, persistent store: a header chunk, then areas of one chunk of exceptions and the chunks that they name.

    chunk * (2 + floor(E / (chunk / 16))) for E exceptions (dm-snap-persistent.c): an area that is full is followed by a new one at once.
    """
    exceptions = usage.count("data")
    return usage.block_size * (2 + exceptions // (usage.block_size // exception_bytes))


def _qcow2_overlay(usage: Usage, *, refcount_bits: int = 16, extended_l2: int = 0) -> Int64Array:
    """All clusters but the data, for each layer."""
    clusters = _clusters(usage)
    total = qcow2_overlay_clusters(
        clusters, usage.count("tables"), cluster_size=usage.block_size, virtual_size=usage.capacity,
        extended_l2=bool(extended_l2), refcount_bits=refcount_bits,
    )  # fmt: skip
    return (total - clusters) * usage.block_size


def _qcow2_internal(usage: Usage, *, refcount_bits: int = 16, extended_l2: int = 0, name_bytes: int = 40) -> Int64Array:
    """All clusters but the data; time runs along the last axis, because refcount blocks are never freed."""
    clusters = _clusters(usage)
    tables = usage.count("tables")
    layout = {"cluster_size": usage.block_size, "virtual_size": usage.capacity, "name_bytes": name_bytes}
    used = qcow2_internal_payload(
        clusters, tables, snapshots=usage.snapshots, extended_l2=bool(extended_l2), **layout
    )
    high_water = np.maximum.accumulate(used, axis=-1) if used.ndim else used
    total = qcow2_internal_clusters(
        clusters, tables, snapshots=usage.snapshots, extended_l2=bool(extended_l2), refcount_bits=refcount_bits,
        high_water=high_water, **layout,
    )  # fmt: skip
    return (total - clusters) * usage.block_size


def _btree(usage: Usage, *, node_bytes: int = 4096, mappings_per_node: int = 126) -> Int64Array:
    """dm-thin: versions of leaves, the nodes above them, and a root for each device.

    A node of 4 KiB holds 252 mappings of 16 bytes and is half full in the worst case; "tables" counts versions of leaves of that
    fill, because a leaf is copied when a mapping in it changes after a snapshot.
    """
    leaves = usage.count("tables")
    above = np.zeros_like(leaves)
    level = leaves
    while np.any(level > 1):
        level = np.where(level > 1, _ceil(level, mappings_per_node), 0)
        above = above + level
    return node_bytes * (leaves + above + np.asarray(usage.snapshots, dtype=np.int64) + 1)


def _grain_table(
    usage: Usage, *, entry_bytes: int, directory_entry_bytes: int, header_bytes: int, preallocated: int = 0, entries: int = 4096
) -> Int64Array:
    """VMware redo logs: a header, a directory, and tables of 4096 entries: those in use, or all of them at the file's start."""
    tables = usage.count("tables")
    all_tables = _ceil_int(usage.capacity, entries * usage.block_size)
    directory = _ceil_int(all_tables * directory_entry_bytes, 512) * 512
    present = np.full_like(tables, all_tables) if preallocated else tables
    return header_bytes + directory + present * (entries * entry_bytes)


def _sector_bitmap(usage: Usage, *, sector_bytes: int = 512, fixed_bytes: int = 3 * _MIB) -> Int64Array:
    """AVHDX: 1 MiB of bits, one per sector, for each 2^23 sectors touched; the block allocation table; header, log, metadata.

    The table of a differencing disk has 8 bytes per payload block and per bitmap, for whole chunks, rounded up to 1 MiB.
    """
    chunk = (1 << 23) * sector_bytes
    entries = _ceil_int(usage.capacity, chunk) * (chunk // usage.block_size + 1)
    table = _ceil_int(entries * 8, _MIB) * _MIB
    return fixed_bytes + table + usage.count("tables") * _MIB


def _block_pointers(usage: Usage, *, indirect_bytes: int = 131072, pointers: int = 1024, copies: int = 2) -> Int64Array:
    """ZFS: versions of indirect blocks of 1024 pointers, and the levels above them, each stored twice.

    Uncompressed, so an upper bound: indirect blocks are always compressed.
    """
    versions = usage.count("tables")
    total = versions
    level = versions
    while np.any(level > 1):
        level = np.where(level > 1, _ceil(level, pointers), 0)
        total = total + level
    return total * (indirect_bytes * copies)


def _object_map(usage: Usage, *, object_bytes: int = 4 * _MIB, bits: int = 2) -> Int64Array:
    """RBD: two bits per object for the image and for each snapshot."""
    bytes_each = _ceil_int(_ceil_int(usage.capacity, object_bytes) * bits, 8)
    return (np.asarray(usage.snapshots, dtype=np.int64) + 1) * bytes_each + np.zeros_like(usage.count("data"))


def _per_version(usage: Usage, *, bytes_per_block: int) -> Int64Array:
    """So many bytes for each version of a block."""
    return usage.count("data") * bytes_per_block


Formula = Callable[Concatenate[Usage, ...], Int64Array]

KINDS: Mapping[str, Formula] = {
    "none": _none,
    "exception-store": _exception_store,
    "qcow2-overlay": _qcow2_overlay,
    "qcow2-internal": _qcow2_internal,
    "btree": _btree,
    "grain-table": _grain_table,
    "sector-bitmap": _sector_bitmap,
    "block-pointers": _block_pointers,
    "object-map": _object_map,
    "per-version": _per_version,
}


def _ceil(value: Int64Array, unit: int) -> Int64Array:
    return -(-value // unit)


def _ceil_int(value: int, unit: int) -> int:
    return -(-value // unit)
