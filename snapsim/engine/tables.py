"""The tables that say where blocks are, layer by layer, and the caches that hold parts of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from snapsim.engine import table_kernels as kernels
from snapsim.engine.runs import Runs
from snapsim.engine.sparse import SparseArray
from snapsim.errors import UsageError
from snapsim.mechanisms import Mechanism, TableIO
from snapsim.types import Int64Array

__all__ = ["NO_TABLES", "TableSetup", "Tables"]

_REF_SLOTS = 4  # QEMU's default: the smallest refcount cache
_REFCOUNT_BITS = 16
_L1_ENTRY = 8
_LAYER_ROOM = 4

KINDS = {
    "none": kernels.NONE,
    "cached": kernels.CACHED,
    "logged": kernels.LOGGED,
    "committed": kernels.COMMITTED,
}


@dataclass(frozen=True, kw_only=True)
class TableSetup:
    """Tables of one volume.

    Attributes
    ----------
    io : TableIO
        How they are read and written.
    block_bytes : int
        The mechanism's block: cluster or chunk.  [bytes]
    refcount_bits : int
        Cached: 0 where clusters are not counted.
    """

    io: TableIO
    block_bytes: int
    refcount_bits: int = 0

    @classmethod
    def of(
        cls,
        mechanism: Mechanism,
        block_bytes: int,
        *,
        cache_bytes: int | None = None,
        cache_entry_bytes: int | None = None,
    ) -> "TableSetup":
        """Return the tables of a mechanism, perhaps with caches of another size.

        Raises
        ------
        UsageError
            A cache is asked for where there is none, or it cannot have that size.
        """
        io = TableIO() if mechanism.io is None else mechanism.io.tables
        changes = {
            name: value
            for name, value in (("cache_bytes", cache_bytes), ("cache_entry_bytes", cache_entry_bytes))
            if value is not None
        }
        if changes:
            if io.kind != "cached":
                raise UsageError(f"{mechanism.name} has no cache of tables whose size could be set")
            if min(changes.values()) < 1:
                raise UsageError("a cache of tables and its entries must have at least one byte")
            io = TableIO(**{**{one: getattr(io, one) for one in io.__dataclass_fields__}, **changes})
        bits = mechanism.metadata.parameters.get("refcount_bits", 0) if io.kind == "cached" else 0
        return cls(io=io, block_bytes=block_bytes, refcount_bits=bits)

    def rules(self, *, unit: int, n_blocks: int) -> kernels.TableRules:
        """Return what kernels need to know.

        Parameters
        ----------
        unit : int
            Blocks of the chain in one block of the mechanism.
        n_blocks : int
            Blocks of the chain.
        """
        io, size = self.io, self.block_bytes
        slice_bytes, table_slices, slots, slice_blocks, entries = io.node_bytes, 1, 0, io.node_entries, 1
        if io.kind == "cached":
            table_blocks = size // io.entry_bytes * unit
            n_tables = -(-n_blocks // table_blocks)
            slice_bytes, slice_blocks = size, table_blocks
            if io.shared:  # the copies that only snapshots use take places too
                slots = max(n_tables, 2)
            if n_tables * size > io.cache_bytes:
                slice_bytes = min(size, io.cache_entry_bytes)
                slice_blocks = slice_bytes // io.entry_bytes * unit
                table_slices = size // slice_bytes
                slots = max(io.cache_bytes // slice_bytes, 2)
        elif io.kind == "logged":
            slice_bytes, entries = size, max(size // io.entry_bytes, 1)
        blocks = max(slice_blocks, 1)
        return kernels.TableRules(
            kind=KINDS[io.kind],
            slice_blocks=blocks,
            slice_shift=blocks.bit_length() - 1 if blocks & (blocks - 1) == 0 else -1,
            slice_bytes=slice_bytes,
            table_slices=table_slices,
            slots=slots,
            unit=unit,
            cluster_bytes=size,
            refblock_clusters=size * 8 // self.refcount_bits if self.refcount_bits else 0,
            shared=int(io.shared),
            home=-(-n_blocks // unit),
            entries=entries,
            copies=io.copies,
            leaves=-(-n_blocks // max(slice_blocks, 1)),
            fanout=io.node_entries,
            period=io.period,
        )


NO_TABLES = TableSetup(io=TableIO(), block_bytes=1)
"""For a replay that counts data only."""


class Tables:
    """Tables of a volume and of its layers.

    Parameters
    ----------
    setup : TableSetup
        What they are.
    unit : int
        Blocks of the chain in one block of the mechanism.
    n_blocks : int
        Blocks of the chain.
    initial : Runs
        What is there at first.
    """

    def __init__(self, setup: TableSetup, *, unit: int, n_blocks: int, initial: Runs) -> None:
        self.rules = rules = setup.rules(unit=unit, n_blocks=n_blocks)
        cached = rules.kind == kernels.CACHED
        n_slices = max(-(-n_blocks // rules.slice_blocks), 1) if cached else 1
        n_tables = -(-n_slices // rules.table_slices)
        rows = n_slices << rules.shared if cached else 1
        nodes = rules.leaves + -(-rules.leaves // rules.fanout)
        self._nodes = SparseArray(nodes if rules.kind == kernels.COMMITTED else 1)
        # one column for each layer; in one file there is one
        room = _LAYER_ROOM if cached else 1
        self.state = kernels.TableState(
            slices=np.zeros((rows, room), np.uint8),
            tables=np.stack((self._first_places(n_tables, unit), np.zeros(n_tables, np.int64)), axis=1),
            slot=np.zeros((rows if rules.slots else 1, room), np.int32),
            held=np.zeros((room, rules.slots), np.int32),
            newer=np.full((room, rules.slots + 1), rules.slots, np.int32),
            older=np.full((room, rules.slots + 1), rules.slots, np.int32),
            filled=np.zeros(room, np.int32),
            dirty=np.zeros(min(n_slices, 2 * (rules.slots or n_slices)) + 16, np.int32),
            refs=np.zeros((3, _REF_SLOTS), np.int64),
            files=np.zeros((room, kernels.N_COLUMNS), np.int64),
            logged=np.zeros(0, np.int64),
            numbers=np.zeros(kernels.N_NUMBERS, np.int64),
            nodes=self._nodes.arrays,
        )
        self.state.refs[kernels.NUMBER] = -1
        self._l1_clusters = -(-n_tables * _L1_ENTRY // rules.cluster_bytes)
        self.state.numbers[kernels.BUMP] = n_blocks + n_tables * unit
        if cached:
            held = np.zeros(n_slices, np.bool_)
            there = initial.code & 1 == 1
            for first, stop in zip(initial.first[there].tolist(), initial.stop[there].tolist(), strict=True):
                low, high = first // rules.slice_blocks, (stop - 1) // rules.slice_blocks
                table = rules.table_slices
                held[low // table * table : (high // table + 1) * table] = True
            self.state.slices[:n_slices][held, 0] = kernels.ON_DISK
            clusters = (
                self._l1_clusters + 2 + -(-initial.live // unit) + int(held[:: rules.table_slices].sum())
            )
            self._new_file(0, clusters)
            # places are numbers of clusters in the file, as long as there is one file
            behind = int(self.state.files[0, kernels.CLUSTERS]) * unit
            self.state.numbers[kernels.BUMP] = max(behind, int(self.state.numbers[kernels.BUMP]))

    def _first_places(self, n_tables: int, unit: int) -> Int64Array:
        """Return about where tables lie that were written with the first contents.  [clusters]"""
        clusters = self.rules.slice_blocks // unit * self.rules.table_slices
        first = np.arange(n_tables, dtype=np.int64) * (clusters + 1) + 4
        per = self.rules.refblock_clusters
        return first + first // per if per else first

    def _new_file(self, layer: int, clusters: int) -> None:
        """Open a file that has so many clusters, and make it the active one."""
        self._count_clusters(layer, clusters)
        self.state.refs[:] = 0
        self.state.refs[kernels.NUMBER] = -1
        self.state.numbers[[kernels.TABLES_NEED_REFS, kernels.REFS_NEED_TABLES]] = 0

    def _count_clusters(self, layer: int, clusters: int) -> None:
        """Note how many clusters a file has; refcount blocks come on top."""
        per = self.rules.refblock_clusters
        blocks = 0
        while per and blocks * per < clusters + blocks:
            blocks += 1
        self.state.files[layer] = clusters + blocks, blocks, 0, 0

    @property
    def layered(self) -> bool:
        """Whether every layer has tables of its own."""
        return self.rules.kind == kernels.CACHED and not self.rules.shared

    @property
    def top(self) -> int:
        """The active layer."""
        return int(self.state.numbers[kernels.TOP])

    def tables_of(self, layer: int = 0) -> int:
        """Count the tables of a layer."""
        n_slices = self.state.slices.shape[0] >> self.rules.shared
        return int((self.state.slices[: n_slices : self.rules.table_slices, layer] != kernels.MISSING).sum())

    def reserve(self, leaves: int) -> None:
        """Make room in the trees."""
        self._nodes.reserve(2 * leaves)
        self.state = self.state._replace(nodes=self._nodes.arrays)

    def add_layer(self) -> None:
        """Start a new file on top; its caches are empty."""
        if not self.layered:
            return
        top = self.top + 1
        if top >= self.state.slices.shape[1]:
            self._widen()
        state, slots = self.state, self.rules.slots
        state.slices[:, top] = kernels.MISSING
        state.filled[top] = 0
        state.newer[top] = state.older[top] = slots
        state.numbers[kernels.TOP] = top
        state.numbers[kernels.N_DIRTY] = 0
        self._new_file(top, 2 + self._l1_clusters)

    def merge(self, lower: int, *, into_lower: bool, clusters: int) -> None:
        """Join layer `lower` and the one above; the result has so many clusters of data.

        Parameters
        ----------
        lower : int
            The lower one of the two.
        into_lower : bool
            Its file is the one that stays.
        clusters : int
            Clusters with data in the result.
        """
        if not self.layered:
            return
        state, top = self.state, self.top
        gone, kept = (lower + 1, lower) if into_lower else (lower, lower + 1)
        # tables that only the other file had are new on the disk; what both have stays where it is cached
        new = (state.slices[:, kept] == kernels.MISSING) & (state.slices[:, gone] != kernels.MISSING)
        state.slices[new, kept] = kernels.ON_DISK
        tables = int((state.slices[:: self.rules.table_slices, kept] != kernels.MISSING).sum())
        had = int(state.files[kept, kernels.CLUSTERS] - state.files[kept, kernels.REFBLOCKS])
        files = max(had, clusters + tables + 2 + self._l1_clusters)
        for name in ("slices", "slot"):
            column = getattr(state, name)
            column[:, gone:top] = column[:, gone + 1 : top + 1].copy()
        for name in ("held", "newer", "older", "filled", "files"):
            row = getattr(state, name)
            row[gone:top] = row[gone + 1 : top + 1].copy()
        state.numbers[kernels.TOP] = top - 1
        state.numbers[kernels.N_DIRTY] = 0
        seen = state.files[lower, kernels.SEARCHED :].copy()
        if lower + 1 == top:
            self._new_file(lower, files)
        else:
            self._count_clusters(lower, files)
            state.files[lower, kernels.SEARCHED :] = seen

    def drop_above(self, layer: int) -> None:
        """Forget the layers above one."""
        if self.layered:
            self.state.numbers[kernels.TOP] = layer
            self.state.numbers[kernels.N_DIRTY] = 0
            files = self.state.files[layer]
            self._new_file(layer, int(files[kernels.CLUSTERS] - files[kernels.REFBLOCKS]))

    def set_stores(self, n: int) -> None:
        """Keep areas for n stores, the newest last."""
        old = self.state.logged
        logged = np.zeros(n, np.int64)
        logged[: min(n, len(old))] = old[:n]
        self.state = self.state._replace(logged=logged)

    def drop_store(self, i: int) -> None:
        """Forget the areas of a store."""
        if i < len(self.state.logged):
            self.state = self.state._replace(logged=np.delete(self.state.logged, i))

    def _widen(self) -> None:
        state = self.state
        n = 2 * state.slices.shape[1]
        grown: dict[str, Any] = {}
        for name in ("slices", "slot"):
            old = getattr(state, name)
            grown[name] = np.zeros((old.shape[0], n), old.dtype)
            grown[name][:, : old.shape[1]] = old
        for name in ("held", "newer", "older", "files", "filled"):
            old = getattr(state, name)
            grown[name] = np.zeros((n, *old.shape[1:]), old.dtype)
            grown[name][: len(old)] = old
        self.state = state._replace(**grown)
