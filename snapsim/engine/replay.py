"""Requests through a chain, and the I/O that stands behind each of them.

Counted is what systems do with data (the rest of a block that is filled in from below, old contents that are
copied away, layers that a read looks through) and with the tables that say where blocks are.  With places, it
is known where on the disk each block lies, and what is not in one piece takes several requests.

The rules are those of QEMU's qcow2 driver (`perform_cow` in block/qcow2-cluster.c, the caches of
block/qcow2-cache.c) for `fill="rest"` and cached tables, of the Linux dm-snapshot and dm-thin targets for
copies.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, Self

import numpy as np

from snapsim.engine import io_kernels as io
from snapsim.engine import placement_kernels, table_kernels
from snapsim.engine import replay_kernels as kernels
from snapsim.engine.chain import Chain, Moves
from snapsim.engine.chain_kernels import BLOCK, STUCK
from snapsim.engine.lifetimes import Counting
from snapsim.engine.queueing import Work
from snapsim.engine.replay_kernels import Traffic
from snapsim.engine.runs import Runs
from snapsim.engine.sparse import SparseArray
from snapsim.engine.sparse_kernels import CELL_BITS
from snapsim.engine.tables import NO_TABLES, Tables, TableSetup
from snapsim.errors import MechanismError, UsageError
from snapsim.mechanisms import CreationIO, Mechanism
from snapsim.types import FLUSH, READ, WRITE, Batch, Int64Array

__all__ = ["FILLS", "MERGE_GAP", "Replay", "Traffic", "Upkeep"]

FILLS: Mapping[str, int] = MappingProxyType(
    {"none": kernels.FILL_NONE, "rest": kernels.FILL_REST, "whole": kernels.FILL_WHOLE}
)
"""What happens to the rest of a block that a redirected write covers in part: see `Replay`."""

MERGE_GAP = 16384
"""QEMU reads the rest before and behind new contents at once where these are not longer.  [bytes]"""

_MERGE_CHUNK = 512 << 10
_NO_MOVES = Moves(0, 0, 0)


class Upkeep(NamedTuple):
    """What an operation on snapshots asked of the storage below.

    Attributes
    ----------
    snapshot : int
        Its number.
    moves : Moves
        Blocks that were moved and freed.
    read_bytes, written_bytes : int
        [bytes]
    flushes : int
        Times that the storage has to make durable what was written.
    work : Work
        The same for a device: one request for each chunk of a merge, or one for all.
    blocks_guest : bool
        The guest waits until it is done; otherwise it happens beside the guest's requests.
    """

    snapshot: int
    moves: Moves
    read_bytes: int
    written_bytes: int
    flushes: int
    work: Work
    blocks_guest: bool


class Replay(Chain):
    """A chain that also counts the I/O behind its requests.

    Parameters
    ----------
    organisation, counting, capacity, capacity_known
        As for `Chain`.
    fill : {"rest", "whole", "none"}
        Where new contents go to a new place and cover a block in part: the rest is read from below and
        written with them (qcow2); the whole block is copied first, then written (dm-thin); or parts of
        blocks are kept track of (sector bitmaps).  Copy-on-write copies whole blocks in any case.
    merge_gap : int
        With "rest": new contents that are not longer are read over, so that the rest on both sides takes
        one read.  [bytes]
    always : bool
        New contents go to a new place even where no snapshot shows the old ones.
    tables : TableSetup
        The tables that say where blocks are; none by default.
    places : bool
        Keep track of where on the disk each block lies: 8 bytes for each block that was redirected.
    creation : CreationIO
        What taking a snapshot asks of the storage.
    deletion_walks_tables : bool
        Deleting one reads all tables and changes reference counts.
    merge_chunk : int
        Merges move so much at a time.  [bytes]

    Raises
    ------
    UsageError
        The chain cannot be, or the way of filling is not known.

    Examples
    --------
    >>> chain = Replay("overlays", Counting(block_size=65536), capacity=1 << 30)
    >>> _ = chain.snapshot()
    >>> one = Batch(np.array([0]), np.array([1], np.uint8), np.array([8192]), np.array([4096]))
    >>> first, again = chain.replay(one), chain.replay(one)
    >>> first.read_bytes.tolist(), first.written_bytes.tolist(), again.written_bytes.tolist()
    ([65536], [65536], [4096])
    """

    def __init__(
        self,
        organisation: str,
        counting: Counting,
        *,
        capacity: int,
        capacity_known: bool = True,
        fill: str = "rest",
        merge_gap: int = MERGE_GAP,
        always: bool = False,
        tables: TableSetup = NO_TABLES,
        places: bool = False,
        creation: CreationIO = CreationIO(),  # noqa: B008  frozen
        deletion_walks_tables: bool = False,
        merge_chunk: int = _MERGE_CHUNK,
    ) -> None:
        if fill not in FILLS:
            raise UsageError(f"fill={fill!r} is not one of {', '.join(FILLS)}")
        super().__init__(organisation, counting, capacity=capacity, capacity_known=capacity_known)
        self._habits = kernels.Habits(
            redirects=int(self.organisation.redirects),
            always=int(always),
            fill=FILLS[fill],
            merge_gap=merge_gap,
            private=int(self.organisation.private),
            layered=int(self.organisation.copies_layers),
            shift=self._rules.shift,
            placed=int(places),
        )
        self._creation, self._deletion_walks, self._merge_chunk = creation, deletion_walks_tables, merge_chunk
        self._block_bytes = max(tables.block_bytes, counting.block_size)
        unit = max(tables.block_bytes // counting.block_size, 1)
        self._tables = Tables(tables, unit=unit, n_blocks=self.n_blocks, initial=self._present())
        n_units = -(-self.n_blocks // unit) if unit > 1 else 1
        self._spots = SparseArray(self.n_blocks if places else 1)
        self._units = SparseArray(2 * n_units)
        self._counts = self._no_counts()
        self._need = np.zeros(kernels.N_NEEDS, np.int64)
        self._moved = Runs.empty()

    @classmethod
    def of(
        cls,
        mechanism: Mechanism,
        *,
        capacity: int,
        capacity_known: bool = True,
        initial: str | tuple[tuple[int, int], ...] = "thick",
        block_size: int | None = None,
        cache_bytes: int | None = None,
        cache_entry_bytes: int | None = None,
        places: bool = True,
    ) -> Self:
        """Return the replay of a mechanism.

        Parameters
        ----------
        mechanism : Mechanism
            What the system does.
        capacity, capacity_known
            As for `Chain`.
        initial : str or tuple of pairs
            What is there at first, as for `Counting`, where the mechanism does not fix it.
        block_size : int, optional
            The mechanism's block; its own by default.  [bytes]
        cache_bytes, cache_entry_bytes : int, optional
            The cache of each layer's tables, and what is read at a time.  [bytes]
        places : bool
            As above.

        Returns
        -------
        Replay
            Without snapshots.

        Raises
        ------
        MechanismError
            The mechanism's file does not say what I/O it does, or has no such block size.
        UsageError
            The chain cannot be.
        """
        if mechanism.io is None:
            raise MechanismError(
                f"mechanism {mechanism.name} has no section [io], which says what I/O it does: add one"
            )
        size = mechanism.block_size if block_size is None else block_size
        need = mechanism.matrices(size)[0]
        counting = Counting(**{"initial": initial, **need.counting()})
        ways = mechanism.io
        return cls(
            ways.organisation,
            counting,
            capacity=capacity,
            capacity_known=capacity_known,
            fill=ways.fill,
            merge_gap=ways.merge_gap,
            always=ways.always_redirects,
            tables=TableSetup.of(
                mechanism, size, cache_bytes=cache_bytes, cache_entry_bytes=cache_entry_bytes
            ),
            places=places,
            creation=ways.creation,
            deletion_walks_tables=ways.deletion_walks_tables,
            merge_chunk=ways.merge_chunk,
        )

    # --- requests
    # -----------------------------------------------------------------------------------------------

    def replay(self, batch: Batch) -> Traffic:
        """Carry out requests and count the I/O behind each.

        Parameters
        ----------
        batch : Batch
            Requests of one volume, in order.

        Returns
        -------
        Traffic
            One row for each request; cutting batches elsewhere changes nothing.

        Raises
        ------
        UsageError
            A request lies outside the volume; none of the batch was carried out.
        """
        return self._replay(batch, np.empty((0, 4), np.int64))[0]

    def work(self, batch: Batch) -> tuple[Traffic, Work]:
        """Carry out requests; count the I/O behind each and list it for a device.

        Parameters
        ----------
        batch : Batch
            Requests of one volume, in order.

        Returns
        -------
        Traffic, Work
            One row and one request for each request.

        Raises
        ------
        UsageError
            A request lies outside the volume; none of the batch was carried out.
        """
        return self._replay(batch, np.empty((4 * len(batch.op) + 1024, 4), np.int64))

    def metadata_flush(self) -> Traffic:
        """Write what the caches of tables hold, as closing the image does; one row."""
        batch = Batch(
            np.zeros(1, np.int64), np.array([FLUSH], np.uint8), np.zeros(1, np.int64), np.zeros(1, np.int64)
        )
        return self.replay(batch)

    # --- operations on snapshots
    # --------------------------------------------------------------------------------

    def create(self) -> Upkeep:
        """Take a snapshot; say what that asks of the storage.

        Returns
        -------
        Upkeep
            To be done before the guest goes on.
        """
        ops = self._start_ops()
        self._write_caches(ops)
        taken = self.snapshot()
        way = self._creation
        block = self._block_bytes
        at = int(self._tables.state.numbers[table_kernels.BUMP]) * self.counting.block_size
        if way.read_blocks:
            io.read_table(self._counts, ops, 0, way.read_blocks * block)
        if way.walks_tables:
            self._walk_tables(ops)
        if way.written_blocks:
            io.write_table(self._counts, ops, at, way.written_blocks * block)
        for _ in range(way.flushes):  # each after something small that is not counted
            self._counts[io.WRITTEN] = 1
            io.flush(self._counts, ops)
        return self._upkeep(taken, _NO_MOVES, self._one_request(ops), blocks_guest=True)

    def remove(self, snapshot: int, *, how: str = "commit") -> Upkeep:
        """Delete a snapshot; say what that asks of the storage.

        Parameters
        ----------
        snapshot : int
            Its number.
        how : {"commit", "stream"}
            As for `delete`.

        Returns
        -------
        Upkeep
            Merges happen beside the guest's requests, chunk by chunk.

        Raises
        ------
        UsageError
            There is no such snapshot, or no such way.
        """
        self._moved = Runs.empty()
        ops = self._start_ops()
        self._write_caches(ops)
        moves = self.delete(snapshot, how=how)
        if self._deletion_walks:
            self._walk_tables(ops)
            io.flush(self._counts, ops)
        if moves.moved:
            return self._upkeep(snapshot, moves, self._merge_work(ops), blocks_guest=False)
        return self._upkeep(snapshot, moves, self._one_request(ops), blocks_guest=self._deletion_walks)

    def snapshot(self) -> int:
        """Take a snapshot; caches of tables are written first.

        Returns
        -------
        int
            Its number: the epoch that it ends.
        """
        self._write_caches(np.empty((0, 4), np.int64))
        taken = super().snapshot()
        self._tables.add_layer()
        if self._tables.rules.kind == table_kernels.LOGGED:
            self._tables.set_stores(len(self._taken))
        return taken

    def delete(self, snapshot: int, *, how: str = "commit") -> Moves:
        """Delete a snapshot; what its neighbours show does not change.

        Parameters
        ----------
        snapshot : int
            Its number.
        how : {"commit", "stream"}
            As for `Chain.delete`.

        Returns
        -------
        Moves
            What it cost.

        Raises
        ------
        UsageError
            There is no such snapshot, or no such way.
        """
        self._write_caches(np.empty((0, 4), np.int64))
        at = self._taken.index(snapshot) if snapshot in self._taken else -1
        moves = super().delete(snapshot, how=how)
        if self._tables.rules.kind == table_kernels.LOGGED:
            self._tables.drop_store(at)
        return moves

    def revert(self, snapshot: int) -> Moves:
        """Let the volume show what a snapshot shows.

        Parameters
        ----------
        snapshot : int
            Its number.

        Returns
        -------
        Moves
            As for `Chain.revert`.

        Raises
        ------
        UsageError
            There is no such snapshot; or places are kept: where the old contents lie was not kept.
        """
        if self._habits.placed:
            raise UsageError("a replay that keeps places cannot be reverted: make it with places=False")
        self._write_caches(np.empty((0, 4), np.int64))
        moves = super().revert(snapshot)
        self._tables.drop_above(len(self._taken) - 1)
        self._tables.add_layer()
        self._tables.set_stores(len(self._taken))
        self._units.clear()
        return moves

    def flatten(self) -> Moves:
        """Let the volume stand alone.

        Returns
        -------
        Moves
            As for `Chain.flatten`.
        """
        self._write_caches(np.empty((0, 4), np.int64))
        layers = len(self._taken)
        moves = super().flatten()
        for _ in range(layers):
            self._tables.merge(0, into_lower=False, clusters=self._clusters(self.live))
        self._tables.set_stores(0)
        return moves

    def fragments(self) -> tuple[int, int]:
        """Count the pieces in which the volume lies on the disk.

        Returns
        -------
        int, int
            Pieces, read in the order of addresses, and the bytes with content.

        Raises
        ------
        UsageError
            Places are not kept.
        """
        if not self._habits.placed:
            raise UsageError("where blocks lie is not known: make the replay with places=True")
        pieces = int(placement_kernels.count_pieces(*self._present(), self._spots.arrays))
        return pieces, self.live * self.counting.block_size

    # --- inside
    # -------------------------------------------------------------------------------------------------

    def _no_counts(self) -> Int64Array:
        """Return counts of nothing."""
        counts = np.zeros(io.N_COUNTS, np.int64)
        counts[io.SKIPS] = self._tables.rules.kind == table_kernels.CACHED
        return counts

    def _disk(self, ops: Int64Array) -> kernels.Disk:
        return kernels.Disk(self._spots.arrays, self._units.arrays, self._counts, ops, self._need)

    def _replay(self, batch: Batch, ops: Int64Array) -> tuple[Traffic, Work]:
        columns = self._columns(batch)
        time = np.ascontiguousarray(batch.time_ns, np.int64)
        n = len(time)
        traffic = np.empty((io.N_FIELDS, n), np.int64)
        first_op = np.zeros(n + 1, np.int64)
        between = len(self._taken) - np.searchsorted(self._taken, np.arange(-1, self.epoch + 1))
        cursor, counts = self._state.cursor, self._counts
        cursor[BLOCK] = cursor[STUCK] = 0
        counts[: io.WRITTEN] = 0
        done = 0
        while True:
            done = kernels.replay_requests(
                time, *columns, done, self._rules, self._habits, self._tables.rules, *self._table.arrays,
                self.epoch, self._limit, between, self._state, self._tables.state, self._disk(ops), traffic,
                first_op,
            )  # fmt: skip
            if done == n:
                break
            if self._state.cursor[STUCK]:
                self._make_room()
            else:
                ops = self._grow(ops)
        return Traffic(*traffic), _work(ops[: int(counts[io.N_OPS])], first_op)

    def _grow(self, ops: Int64Array) -> Int64Array:
        """Make room for what the next request may need."""
        leaves = int(self._need[kernels.LEAVES]) + 16
        self._spots.reserve(leaves)
        self._units.reserve(2 * leaves)
        self._tables.reserve(leaves)
        if not len(ops):
            return ops
        used, need = int(self._counts[io.N_OPS]), int(self._need[kernels.OPS])
        if used + need <= len(ops):
            return ops
        grown = np.empty((max(2 * len(ops), used + need), 4), np.int64)
        grown[:used] = ops[:used]
        return grown

    def _start_ops(self) -> Int64Array:
        """Return room for the work of an operation on snapshots."""
        state = self._tables.state
        self._counts[: io.WRITTEN] = 0
        return np.empty((2 * int(state.numbers[table_kernels.N_DIRTY]) + 64, 4), np.int64)

    def _write_caches(self, ops: Int64Array) -> None:
        """Write what is dirty; nothing is counted where there is nothing."""
        if self._tables.rules.kind != table_kernels.CACHED:
            return
        counts = self._counts if len(ops) else self._no_counts()
        table_kernels.write_caches(self._tables.rules, self._tables.state, counts, ops)
        if counts[io.TABLE_WRITES]:
            io.flush(counts, ops)
        self._counts[io.WRITTEN] = 0

    def _walk_tables(self, ops: Int64Array) -> None:
        """Read all tables and reference counts, and write these: all of them change."""
        tables, block = self._tables, self._block_bytes
        refs = int(tables.state.files[tables.top, table_kernels.REFBLOCKS])
        if tables.rules.kind == table_kernels.CACHED:
            io.read_table(self._counts, ops, 0, (tables.tables_of() + refs) * block)
            io.write_table(self._counts, ops, 0, refs * block)
            return
        # one entry for each extent: those of the whole tree are read and written
        nodes = max(-(-self.live // max(tables.rules.slice_blocks, 1)), 1)
        io.read_table(self._counts, ops, 0, nodes * tables.rules.slice_bytes)
        io.write_table(self._counts, ops, 0, nodes * tables.rules.slice_bytes)

    def _merge_layers(self, i: int, how: str) -> Moves:
        newest = i + 1 == len(self._taken)
        lower, upper = self._past[i], self._active() if newest else self._past[i + 1]
        commits = how == "commit"
        moves = super()._merge_layers(i, how)
        if not moves.moved and not self.organisation.copies_layers:
            return moves
        # a block of the lower layer moves up where the upper one says nothing about it
        hidden = upper._replace(code=np.zeros_like(upper.code))
        self._moved = upper if commits else lower.under(hidden)
        result = lower.live + upper.live - moves.freed
        self._tables.merge(i, into_lower=commits, clusters=self._clusters(result))
        self._relocate(home=commits and i == 0)
        return moves

    def _relocate(self, *, home: bool) -> None:
        """Let moved blocks lie where the merge put them."""
        state, moved = self._tables.state, self._moved
        if not self._habits.placed or not len(moved.first):
            return
        spans = (moved.stop >> CELL_BITS) - (moved.first >> CELL_BITS) + 1
        whole = (self.n_blocks >> CELL_BITS) + 1
        self._spots.reserve(min(int(spans.sum()), whole))
        bump = int(state.numbers[table_kernels.BUMP])
        directory, leaves, _, _ = self._table.arrays
        end = placement_kernels.relocate(*moved, directory, leaves, self._spots.arrays, bump, int(home))
        if not home:
            unit = self._tables.rules.unit
            state.numbers[table_kernels.BUMP] = -(-end // unit) * unit

    def _clusters(self, blocks: int) -> int:
        return -(-blocks // self._tables.rules.unit)

    def _one_request(self, ops: Int64Array) -> Work:
        n = int(self._counts[io.N_OPS])
        return _work(ops[:n], np.array([0, n], np.int64))

    def _merge_work(self, ops: Int64Array) -> Work:
        """Return a merge, chunk by chunk: each is read, then written."""
        size = self.counting.block_size
        per_chunk = max(self._merge_chunk // size, 1)
        content = self._moved.code & 1 == 1
        first, stop = self._moved.first[content], self._moved.stop[content]
        blocks = int((stop - first).sum())
        starts = np.cumsum(stop - first) - (stop - first)
        begins = np.arange(0, blocks, per_chunk)
        run = np.searchsorted(starts, begins, side="right") - 1
        source = (first[run] + begins - starts[run]) * size
        length = np.minimum(per_chunk, blocks - begins) * size
        target = int(self._tables.state.numbers[table_kernels.BUMP]) * size
        counts = self._counts
        n = int(counts[io.N_OPS])
        chunks = len(begins)
        rows = np.empty((n + 2 * chunks, 4), np.int64)
        rows[:n] = ops[:n]
        rows[n::2] = np.stack((np.full(chunks, READ), source, length, np.zeros(chunks, np.int64)), axis=1)
        rows[n + 1 :: 2] = np.stack(
            (
                np.full(chunks, WRITE),
                np.maximum(target - (blocks - begins) * size, 0),
                length,
                np.ones(chunks, np.int64),
            ),
            axis=1,
        )
        counts[io.READS] += chunks
        counts[io.WRITES] += chunks
        counts[io.READ_BYTES] += blocks * size
        counts[io.WRITTEN_BYTES] += blocks * size
        heads = [0] if n else []
        return _work(rows, np.concatenate((heads, n + 2 * np.arange(chunks + 1))).astype(np.int64))

    def _upkeep(self, snapshot: int, moves: Moves, work: Work, *, blocks_guest: bool) -> Upkeep:
        counts = self._counts
        return Upkeep(
            snapshot=snapshot,
            moves=moves,
            read_bytes=int(counts[io.READ_BYTES] + counts[io.TABLE_READ_BYTES]),
            written_bytes=int(counts[io.WRITTEN_BYTES] + counts[io.TABLE_WRITTEN_BYTES]),
            flushes=int(counts[io.FLUSHES]),
            work=work,
            blocks_guest=blocks_guest,
        )


def _work(rows: Int64Array, first_op: Int64Array) -> Work:
    return Work(
        op=rows[:, io.KIND].astype(np.uint8),
        offset=np.ascontiguousarray(rows[:, io.PLACE]),
        length=np.ascontiguousarray(rows[:, io.LENGTH]),
        first_op=first_op,
        stage=np.ascontiguousarray(rows[:, io.IN_STAGE]),
    )
