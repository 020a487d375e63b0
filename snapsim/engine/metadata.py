"""Metadata of the mechanisms: integer formulas from counts of blocks to bytes.

Each *kind* of metadata has one formula.  Its inputs are counts, which the lifetime matrix gives for every
point in time or every layer at once, so that all of them work on arrays.  `metadata_bytes` and `file_bytes`
choose the formula by the name that a mechanism carries; nothing here knows a trace or a matrix.

The qcow2 formulas (`snapsim.engine.qcow2_layout`) are compared with real images.  The other kinds follow
source code, format specifications or documentation and were not compared with a running system; the
mechanism's `evidence` says which is which.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Concatenate, NamedTuple

import numpy as np
import numpy.typing as npt

from snapsim.engine.qcow2_layout import Qcow2Layout
from snapsim.errors import MechanismError
from snapsim.types import Int64Array

_MIB = 1 << 20


@dataclass(frozen=True, kw_only=True, eq=False)
class Usage:
    """What is known about layers, stores or points in time, one element each.

    Attributes
    ----------
    counts : mapping of str to int64 array
        Blocks counted by each matrix that the mechanism named ("data", "tables", "clusters"), in units of
        that matrix' block: the layer's versions where layers are kept, the store's where stores are private,
        live and snapshot versions together where versions are shared.  [blocks]
    snapshots : int64 array or int
        Snapshots that exist.
    capacity : int
        Size of the volume.  [bytes]
    block_size : int
        The mechanism's block size; the matrix "data" may count parts of it.  [bytes]
    before_prune : Usage or None
        The same points in time before snapshots were deleted: some tables never shrink.
    """

    counts: Mapping[str, npt.ArrayLike]
    snapshots: npt.ArrayLike
    capacity: int
    block_size: int
    before_prune: "Usage | None" = None

    def count(self, name: str) -> Int64Array:
        """Return one of the counts as an array.

        Parameters
        ----------
        name : str
            The matrix' name.

        Returns
        -------
        int64 array
            [blocks]
        """
        return np.asarray(self.counts[name], dtype=np.int64)


class Staircase(NamedTuple):
    """Tables that grow in equal steps.

    Attributes
    ----------
    least : int
        What they take where nothing is held.  [bytes]
    step : int
        What is added.  [bytes]
    width : int
        For every so many blocks.  [blocks]
    """

    least: int
    step: int
    width: int

    def climb(self, blocks: Int64Array) -> Int64Array:
        """Return what the tables take for so many blocks: int64 array, in their shape.  [bytes]"""
        return self.least + self.step * (blocks // self.width)


def staircase(kind: str, block_size: int, parameters: Mapping[str, int] | None = None) -> Staircase:
    """Return the tables of one store as a staircase, so that thousands of stores are followed at once.

    Parameters
    ----------
    kind : str
        A key of `KINDS`.
    block_size : int
        The mechanism's block size.  [bytes]
    parameters : mapping of str to int, optional
        Parameters of the kind, as the mechanism states them.

    Returns
    -------
    Staircase
        The same as `metadata_bytes`.

    Raises
    ------
    MechanismError
        Tables of this kind do not grow with the blocks of one store alone.
    """
    if kind not in STAIRCASES:
        raise MechanismError(
            f"metadata kind {kind!r} does not fit private stores: it must be one of {', '.join(STAIRCASES)}"
        )
    return STAIRCASES[kind](block_size, **(parameters or {}))


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


def file_bytes(
    kind: str, usage: Usage, parameters: Mapping[str, int] | None = None, *, growth_step: int = 1
) -> Int64Array:
    """Return the length of the file that holds a layer, or the space of a store, tables included.

    Parameters
    ----------
    kind : str
        A key of `KINDS`.
    usage : Usage
        Counts of blocks, in any shape.
    parameters : mapping of str to int, optional
        As in `metadata_bytes`.
    growth_step : int
        The file grows in steps of this.  [bytes]

    Returns
    -------
    int64 array
        For "qcow2-overlay" the length that QEMU gives the file, as long as nothing in it was freed (see
        `qcow2_overlay_bytes`); otherwise data and metadata, rounded up to the growth step.  [bytes]
    """
    if kind == "qcow2-overlay":
        return _qcow2(usage, **(parameters or {})).overlay_bytes(_clusters(usage), usage.count("tables"))
    held = usage.count("data") * usage.block_size + metadata_bytes(kind, usage, parameters)
    return _ceil(held, growth_step) * growth_step


# --- one formula per kind -----------------------------------------------------------------------------------


def _none(usage: Usage) -> Int64Array:
    """Nothing that depends on the snapshots, or nothing that is known."""
    return np.zeros_like(usage.count("data"))


def _exception_store(usage: Usage, *, exception_bytes: int = 16) -> Int64Array:
    """dm-snapshot: a header chunk, then areas of one chunk of exceptions and the chunks that they name.

    chunk * (2 + floor(E / (chunk / 16))) for E exceptions (dm-snap-persistent.c): an area that is full is
    followed by a new one at once.
    """
    return _exceptions(usage.block_size, exception_bytes=exception_bytes).climb(usage.count("data"))


def _exceptions(block_size: int, *, exception_bytes: int = 16) -> Staircase:
    return Staircase(2 * block_size, block_size, block_size // exception_bytes)


def _qcow2_overlay(usage: Usage, **parameters: int) -> Int64Array:
    """All clusters but the data, for each layer."""
    clusters = _clusters(usage)
    total = _qcow2(usage, **parameters).overlay_clusters(clusters, usage.count("tables"))
    return (total - clusters) * usage.block_size


def _qcow2_internal(usage: Usage, **parameters: int) -> Int64Array:
    """All clusters but the data; time runs along the last axis, because refcount blocks are never freed."""
    layout = _qcow2(usage, **parameters)
    states = (usage, usage.before_prune or usage)
    used, most = (
        layout.internal_payload(_clusters(state), state.count("tables"), snapshots=state.snapshots)
        for state in states
    )
    most = np.maximum(used, most)
    refcounts = layout.refcounts(np.maximum.accumulate(most, axis=-1) if most.ndim else most)
    return (used + refcounts.table + refcounts.blocks - _clusters(usage)) * usage.block_size


def _qcow2(usage: Usage, **parameters: int) -> Qcow2Layout:
    return _layout(usage.block_size, usage.capacity, **parameters)


@lru_cache(maxsize=64)  # thousands of policies ask for the same image
def _layout(
    block_size: int, capacity: int, *, refcount_bits: int = 16, extended_l2: int = 0, name_bytes: int = 40
) -> Qcow2Layout:
    return Qcow2Layout(
        cluster_size=block_size,
        virtual_size=capacity,
        extended_l2=bool(extended_l2),
        refcount_bits=refcount_bits,
        name_bytes=name_bytes,
    )


def _btree(usage: Usage, *, node_bytes: int = 4096, mappings_per_node: int = 126) -> Int64Array:
    """dm-thin: versions of leaves, the nodes above them, and a root for each device.

    A node of 4 KiB holds 252 mappings of 16 bytes and is half full in the worst case; "tables" counts
    versions of leaves of that fill, because a leaf is copied when a mapping in it changes after a snapshot.
    """
    leaves = usage.count("tables")
    above = np.zeros_like(leaves)
    level = leaves
    while np.any(level > 1):
        level = np.where(level > 1, _ceil(level, mappings_per_node), 0)
        above = above + level
    return node_bytes * (leaves + above + np.asarray(usage.snapshots, dtype=np.int64) + 1)


def _grain_table(
    usage: Usage,
    *,
    entry_bytes: int,
    directory_entry_bytes: int,
    header_bytes: int,
    preallocated: int = 0,
    entries: int = 4096,
) -> Int64Array:
    """VMware redo logs: a header, a directory, and tables: those in use, or all of them at the start."""
    tables = usage.count("tables")
    all_tables = _ceil_int(usage.capacity, entries * usage.block_size)
    directory = _ceil_int(all_tables * directory_entry_bytes, 512) * 512
    present = np.full_like(tables, all_tables) if preallocated else tables
    return header_bytes + directory + present * (entries * entry_bytes)


def _sector_bitmap(usage: Usage, *, sector_bytes: int = 512, fixed_bytes: int = 3 * _MIB) -> Int64Array:
    """AVHDX: 1 MiB of sector bits for each 2^23 sectors touched, the block allocation table, fixed regions.

    The table of a differencing disk has 8 bytes per payload block and per bitmap, for whole chunks, rounded
    up to 1 MiB.
    """
    chunk = (1 << 23) * sector_bytes
    entries = _ceil_int(usage.capacity, chunk) * (chunk // usage.block_size + 1)
    table = _ceil_int(entries * 8, _MIB) * _MIB
    return fixed_bytes + table + usage.count("tables") * _MIB


def _block_pointers(
    usage: Usage, *, indirect_bytes: int = 131072, pointers: int = 1024, copies: int = 2
) -> Int64Array:
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


def _clusters(usage: Usage) -> Int64Array:
    """Return the clusters that hold data: counted apart where the data matrix counts subclusters."""
    return usage.count("clusters" if "clusters" in usage.counts else "data")


def _flat(block_size: int) -> Staircase:
    """Nothing, whatever the block size."""
    return Staircase(0, 0, block_size)


def _each_block(block_size: int, *, bytes_per_block: int) -> Staircase:
    """So many bytes for each block, whatever its size."""
    del block_size
    return Staircase(0, bytes_per_block, 1)


STAIRCASES: Mapping[str, Callable[..., Staircase]] = {
    "none": _flat,
    "exception-store": _exceptions,
    "per-version": _each_block,
}

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
