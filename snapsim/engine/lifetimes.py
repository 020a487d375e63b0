"""The lifetime matrix: versions of blocks counted by the epochs of their birth and death.

One pass over the requests makes the matrix; after that every question about space is a two-dimensional range sum.  The
ingredients are known from the deadlists of ZFS and from temporal-distance models of snapshots (Laden et al.,
"Architectures for Controller Based CDP", FAST 2007).
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple, Self, TypeVar

import numpy as np
import numpy.typing as npt

from snapsim.engine import lifetimes_kernels as kernels
from snapsim.engine.blocktable import BlockTable, TableMemory
from snapsim.engine.boxsums import BoxSums
from snapsim.errors import CapacityError, UsageError
from snapsim.types import Batch, Int64Array
from snapsim.units import format_size

T = TypeVar("T", bound=np.generic)

_EFFECTS = {"ignore": kernels.IGNORE, "death": kernels.DEATH, "touch": kernels.TOUCH, "write": kernels.TOUCH}
_DENSE_BYTES = 1 << 30
_MAX_LENGTH = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True, kw_only=True)
class Counting:
    """How versions are counted.

    Attributes
    ----------
    block_size : int
        The unit of the mechanism: chunk, cluster, record, grain.  [bytes]
    initial : str or tuple of (offset, length)
        What exists before the trace: "thick" (the whole volume), "read-first" (what is read before it is written), "thin" (nothing),
        or allocated extents in bytes.
    discard : {"death", "ignore", "touch"}
        A DISCARD ends the versions of the blocks that it covers whole; changes nothing; or makes a new version
        of every block that it overlaps (which is what it does to metadata).
    zeroes : {"write", "death", "touch"}
        A WRITE_ZEROES is a write; or ends the versions of the blocks that it covers whole and
        writes the blocks that it covers in part; "touch" says "write" for metadata.
    grain : int
        A DISCARD is first shrunk to whole multiples of this, because the mechanism ignores the rest.  1: no shrinking.  [bytes]
    """

    block_size: int
    initial: str | tuple[tuple[int, int], ...] = "thick"
    discard: str = "death"
    zeroes: str = "write"
    grain: int = 1

    def __post_init__(self) -> None:
        if self.block_size < 1:
            msg = f"block_size is {self.block_size}: it must be at least one byte"
            raise UsageError(msg)
        if self.grain < 1:
            msg = f"grain is {self.grain}: it must be at least one byte"
            raise UsageError(msg)
        for name, value, allowed in (
            ("discard", self.discard, ("death", "ignore", "touch")),
            ("zeroes", self.zeroes, ("write", "death", "touch")),
        ):
            if value not in allowed:
                msg = f"{name}={value!r} is not one of {', '.join(allowed)}"
                raise UsageError(msg)
        if isinstance(self.initial, str) and self.initial not in {"thick", "read-first", "thin"}:
            msg = f'initial={self.initial!r} is not "thick", "read-first", "thin" or a map of allocated extents'
            raise UsageError(msg)


class Cells(NamedTuple):
    """Non-zero cells of a matrix, sorted by epoch and then by birth.

    Attributes
    ----------
    birth : int32 array, shape (n_cells,)
        -1 for content from before the trace, else the epoch of birth.
    epoch : int32 array, shape (n_cells,)
        Epoch of death, or of the read.
    count : int64 array, shape (n_cells,)
        [blocks]
    """

    birth: npt.NDArray[np.int32]
    epoch: npt.NDArray[np.int32]
    count: Int64Array

    def dense(self, n_instants: int) -> Int64Array:
        """Return the matrix, shape (n_instants + 2, n_instants + 1): row 0 is the initial content."""
        shape = (n_instants + 2, n_instants + 1)
        if shape[0] * shape[1] * 8 > _DENSE_BYTES:
            msg = f"the dense matrix of {n_instants:,} instants takes {format_size(shape[0] * shape[1] * 8)}: use .cells"
            raise CapacityError(msg)
        matrix = np.zeros(shape, dtype=np.int64)
        matrix[self.birth + 1, self.epoch] = self.count
        return matrix


@dataclass(frozen=True, kw_only=True, eq=False)
class LifetimeMatrix:
    """Versions of the blocks of one volume, counted by birth and death.

    Births are -1 (content from before the trace) and the epochs 0..n; deaths are the epochs 0..n-1, and n for versions that
    are alive after the last of the n instants.  A snapshot at instant i sees the versions with birth <= i < death.

    Attributes
    ----------
    instants : int64 array, shape (n,)
        Points in time at which a snapshot can be taken, since the Unix epoch, UTC, increasing.  [ns]
    counting : Counting
        Block size and modes.
    n_blocks : int
        Size of the volume.  [blocks]
    cells : Cells
        The matrix.
    reads : Cells
        Block reads by the birth of the version that they met and the epoch of the read.
    absent_reads : int64 array, shape (n + 1,)
        Reads of blocks that held nothing, by epoch.  [blocks]
    births : int64 array, shape (n + 1,)
        Versions born in each epoch.  [blocks]
    initial_blocks : int
        Blocks that existed before the trace.
    memory : TableMemory
        What the block table took.
    recounter : callable or None
        Counts the same requests another way; set by whoever holds them.
    origin : object or None
        What was counted; the engine does not look at it.
    """

    instants: Int64Array
    counting: Counting
    n_blocks: int
    cells: Cells
    reads: Cells
    absent_reads: Int64Array
    births: Int64Array
    initial_blocks: int
    memory: TableMemory
    recounter: "Callable[[Counting], LifetimeMatrix] | None" = field(default=None, repr=False)
    origin: object | None = field(default=None, repr=False)

    @property
    def block_size(self) -> int:
        """The block size.  [bytes]"""
        return self.counting.block_size

    @property
    def n_instants(self) -> int:
        """The number of instants."""
        return len(self.instants)

    @cached_property
    def counts(self) -> Int64Array:
        """The matrix, shape (n + 2, n + 1): row 0 = initial content, row b + 1 = birth b; last column = alive after the last instant."""
        dense = self.cells.dense(self.n_instants)
        dense.flags.writeable = False
        return dense

    @cached_property
    def read_counts(self) -> Int64Array:
        """Block reads, shape (n + 2, n + 1): row = birth + 1 of the version, column = epoch of the read."""
        dense = self.reads.dense(self.n_instants)
        dense.flags.writeable = False
        return dense

    @cached_property
    def sums(self) -> BoxSums:
        """Prefix sums of the matrix; made on first use."""
        return BoxSums.build(self.cells.birth, self.cells.epoch, self.cells.count, n_instants=self.n_instants)

    def __repr__(self) -> str:
        """Say what was counted."""
        born = int(self.births.sum())
        return (
            f"<LifetimeMatrix: {self.n_instants:,} instants, {self.n_blocks:,} blocks of {format_size(self.block_size)}, "
            f"{born:,} versions, {len(self.cells.count):,} cells, initial {_initial_text(self.counting.initial)}>"
        )

    def recount(self, **changes: object) -> "LifetimeMatrix":
        """Count the same trace at the same instants with other parameters.

        Parameters
        ----------
        **changes
            Fields of `Counting`.

        Returns
        -------
        LifetimeMatrix
            Kept, so that asking again costs nothing.

        Raises
        ------
        UsageError
            The matrix does not know its trace.
        """
        counting = replace(self.counting, **changes)  # type: ignore[arg-type]
        if counting == self.counting:
            return self
        if self.recounter is None:
            msg = f"this matrix does not know its trace, so it cannot be counted again with {changes}: use count_lifetimes"
            raise UsageError(msg)
        return self.recounter(counting)

    # --- range sums -------------------------------------------------------------------------------------------

    def box(self, b0: float | None, b1: float | None, d0: float | None, d1: float | None) -> int:
        """Count the versions with b0 < birth <= b1 and d0 < death <= d1.

        Parameters
        ----------
        b0, b1, d0, d1 : int, float or None
            Bounds; None and the infinities leave a side open.  Initial content has birth -1; death n means alive.

        Returns
        -------
        int
            [blocks]
        """
        n = self.n_instants
        low, high = (_bound(b0, -math.inf, -2, n), _bound(b1, math.inf, -2, n))
        early, late = (_bound(d0, -math.inf, -1, n), _bound(d1, math.inf, -1, n))
        return int(self.boxes(np.array([low]), np.array([high]), np.array([early]), np.array([late]))[0])

    def boxes(self, b0: npt.ArrayLike, b1: npt.ArrayLike, d0: npt.ArrayLike, d1: npt.ArrayLike) -> Int64Array:
        """Count versions in many boxes at once.

        Parameters
        ----------
        b0, b1, d0, d1 : int64 arrays, broadcast against each other
            Half-open bounds as in `box`; use -2 and n for open sides of births, -1 and n for deaths.

        Returns
        -------
        int64 array
            [blocks]
        """
        return self.sums.query(b0, b1, d0, d1)

    # --- the formulas of one volume: see `snapsim.engine.space` -------------------------------------------------

    def live_bytes(self, now: int) -> int:
        """Return what the volume shows at instant `now`.  [bytes]"""
        t = self._instant(now, "now")
        return self.box(None, t, t, None) * self.block_size

    def snapshot_bytes(self, kept: Sequence[int] | Int64Array, now: int) -> int:
        """Return the space that only snapshots need, where systems share versions between them.

        Parameters
        ----------
        kept : sequence of int
            Instants of the kept snapshots, increasing, none after `now`.
        now : int
            The instant at which is asked.

        Returns
        -------
        int
            sum over i of BOX((k_{i-1}, k_i] x (k_i, now]).  [bytes]
        """
        k, t = self._kept(kept, now)
        return int(self.boxes(_before(k), k, k, t).sum()) * self.block_size

    def exclusive_bytes(self, kept: Sequence[int] | Int64Array, now: int) -> Int64Array:
        """Return what deleting each snapshot alone would free.

        Parameters
        ----------
        kept, now
            As in `snapshot_bytes`.

        Returns
        -------
        int64 array, shape (n_kept,)
            BOX((k_{i-1}, k_i] x (k_i, k_{i+1}]) with k_{m+1} = now.  [bytes]
        """
        k, t = self._kept(kept, now)
        return self.boxes(_before(k), k, k, _after(k, t)) * self.block_size

    def freed_bytes(self, kept: Sequence[int] | Int64Array, dropped: Sequence[int] | Int64Array, now: int) -> int:
        """Return what deleting a set of snapshots together would free.

        Parameters
        ----------
        kept, now
            As in `snapshot_bytes`.
        dropped : sequence of int
            Instants of the snapshots to delete; each must be in `kept`.

        Returns
        -------
        int
            At least the sum of their exclusive bytes.  [bytes]
        """
        k, _ = self._kept(kept, now)
        gone = np.unique(np.asarray(dropped, dtype=np.int64))
        missing = np.setdiff1d(gone, k)
        if len(missing):
            msg = f"dropped holds instant {int(missing[0])}, which is not among the kept snapshots"
            raise UsageError(msg)
        return self.snapshot_bytes(k, now) - self.snapshot_bytes(np.setdiff1d(k, gone), now)

    def written_bytes(self, a: int | None, b: int) -> int:
        """Return what an incremental backup from snapshot a to snapshot b holds = the overlay layer between them.

        Parameters
        ----------
        a : int or None
            Instant of the earlier snapshot; None for a full backup (all that existed at b).
        b : int
            Instant of the later one.

        Returns
        -------
        int
            BOX((a, b] x (b, inf]).  [bytes]
        """
        later = self._instant(b, "b")
        earlier = None if a is None else self._instant(a, "a")
        if earlier is not None and earlier > later:
            msg = f"a is instant {a}, which comes after b, instant {b}: swap them"
            raise UsageError(msg)
        return self.box(earlier, later, later, None) * self.block_size

    def merged_layer_bytes(self, kept: Sequence[int] | Int64Array, i: int, now: int | None = None) -> int:
        """Return the layer that is left when snapshot i of `kept` is merged away.

        Parameters
        ----------
        kept : sequence of int
            Instants of the kept snapshots, increasing.
        i : int
            Index into `kept`.
        now : int, optional
            The instant at which is asked, where the newest snapshot is merged into the active layer; the last instant by default.

        Returns
        -------
        int
            BOX((k_{i-1}, k_{i+1}] x (k_{i+1}, inf]).  [bytes]
        """
        k, t = self._kept(kept, self.n_instants - 1 if now is None else now)
        if not 0 <= i < len(k):
            msg = f"i is {i}, but there are {len(k)} kept snapshots"
            raise UsageError(msg)
        low = None if i == 0 else int(k[i - 1])
        high = int(k[i + 1]) if i + 1 < len(k) else t
        return self.box(low, high, high, None) * self.block_size

    def private_store_bytes(self, kept: Sequence[int] | Int64Array, now: int) -> Int64Array:
        """Return the private store of each snapshot, where versions are not shared.

        Parameters
        ----------
        kept, now
            As in `snapshot_bytes`.

        Returns
        -------
        int64 array, shape (n_kept,)
            BOX((-inf, k] x (k, now]).  It equals the distinct blocks written since k on a matrix that was counted
            with initial="thick" and discard="ignore".  [bytes]
        """
        k, t = self._kept(kept, now)
        return self.boxes(-2, k, k, t) * self.block_size

    def detached_bytes(self, kept: Sequence[int] | Int64Array, now: int) -> int:
        """Return the size of a store elsewhere that holds the kept snapshots incrementally.

        Parameters
        ----------
        kept, now
            As in `snapshot_bytes`.

        Returns
        -------
        int
            sum over i of BOX((k_{i-1}, k_i] x (k_i, inf]).  [bytes]
        """
        k, _ = self._kept(kept, now)
        return int(self.boxes(_before(k), k, k, self.n_instants).sum()) * self.block_size

    def chain_depth_reads(self, kept: Sequence[int] | Int64Array) -> Int64Array:
        """Count block reads by the number of layers that they pass, for a fixed set of kept snapshots.

        Parameters
        ----------
        kept : sequence of int
            Instants of the kept snapshots, increasing.

        Returns
        -------
        int64 array, shape (n_kept + 2,)
            Element j counts the reads that visit j layers: kept snapshots in [birth, epoch of the read) plus one.  [blocks]
        """
        k, _ = self._kept(kept, self.n_instants - 1)
        depth = np.searchsorted(k, self.reads.epoch) - np.searchsorted(k, self.reads.birth) + 1
        return np.bincount(depth, weights=self.reads.count, minlength=len(k) + 2).astype(np.int64)

    def _instant(self, index: int, name: str) -> int:
        value = int(index)
        if not 0 <= value < self.n_instants:
            msg = f"{name} is {value}, but instants are numbered 0 to {self.n_instants - 1}"
            raise UsageError(msg)
        return value

    def _kept(self, kept: Sequence[int] | Int64Array, now: int) -> tuple[Int64Array, int]:
        t = self._instant(now, "now")
        k = np.asarray(kept, dtype=np.int64).reshape(-1)
        if len(k) and (np.any(np.diff(k) <= 0) or k[0] < 0 or k[-1] > t):
            msg = f"kept must be increasing instant indices between 0 and now ({t}): got {k.tolist()[:10]}"
            raise UsageError(msg)
        return k, t


def _before(kept: Int64Array) -> Int64Array:
    return np.concatenate((np.array([-2]), kept[:-1])) if len(kept) else kept


def _after(kept: Int64Array, now: int) -> Int64Array:
    return np.concatenate((kept[1:], np.array([now]))) if len(kept) else kept


def _bound(value: float | None, default: float, lowest: int, highest: int) -> int:
    bound = default if value is None else value
    return int(min(max(bound, lowest), highest))


def _initial_text(initial: str | tuple[tuple[int, int], ...]) -> str:
    return initial if isinstance(initial, str) else f"map of {len(initial)} extents"


class LifetimeCounter:
    """Counts versions batch by batch.

    Parameters
    ----------
    instants : int64 array, shape (n,)
        Since the Unix epoch, increasing.  [ns]
    counting : Counting
        Block size and modes.
    capacity : int
        Size of the volume.  [bytes]
    capacity_known : bool
        False when `capacity` is only the largest address seen: a discard that ends there may then end inside the last block.
    start_ns : int
        The trace's start since the Unix epoch; request times count from it.  [ns]

    Examples
    --------
    >>> import numpy as np
    >>> counter = LifetimeCounter(np.array([0, 10, 20]), Counting(block_size=4096), capacity=8192)
    >>> one = Batch(np.array([5]), np.array([1], np.uint8), np.array([0]), np.array([4096]))
    >>> _ = counter.add(one)
    >>> counter.finish().counts[:, 1:3].tolist()
    [[1, 0], [0, 0], [0, 0], [0, 0], [0, 0]]
    """

    def __init__(
        self, instants: Int64Array, counting: Counting, *, capacity: int, capacity_known: bool = True, start_ns: int = 0
    ) -> None:
        instants = np.ascontiguousarray(instants, dtype=np.int64)
        if len(instants) == 0 or np.any(np.diff(instants) <= 0):
            msg = "instants must be increasing, and at least one"
            raise UsageError(msg)
        self._instants = instants
        self._counting = counting
        block_size = counting.block_size
        n_blocks = max(-(-capacity // block_size), 0)
        self._rules = kernels.Rules(
            block_size=block_size,
            shift=block_size.bit_length() - 1 if block_size & (block_size - 1) == 0 else -1,
            n_blocks=n_blocks,
            capacity=capacity if capacity_known else int(_MAX_LENGTH),
            discard=_EFFECTS[counting.discard],
            zeroes=_EFFECTS[counting.zeroes],
            grain=counting.grain,
            mark_reads=int(counting.initial == "read-first"),
        )
        n_codes = len(instants) + 1 + kernels.FIRST_BIRTH
        self._table = BlockTable(n_blocks, max_code=n_codes)
        empty32, empty64 = np.empty(0, np.int32), np.empty(0, np.int64)
        self._state = kernels.CountState(
            boundaries=instants - start_ns,
            tallies=np.zeros((2, n_codes), np.int64),
            births=np.zeros(len(instants) + 1, np.int64),
            death_code=empty32,
            death_epoch=empty32,
            death_count=empty64,
            read_code=empty32,
            read_epoch=empty32,
            read_count=empty64,
            cursor=np.zeros(kernels.CURSOR_SIZE, np.int64),
        )
        self._reserve_cells()
        self._mapped = self._mark(counting.initial) if not isinstance(counting.initial, str) else 0

    def add(self, batch: Batch) -> Self:
        """Count the next requests.

        Parameters
        ----------
        batch : Batch
            Requests of one volume, not earlier than those before.

        Returns
        -------
        LifetimeCounter
            Itself.
        """
        columns = (
            np.ascontiguousarray(batch.time_ns, np.int64),
            np.ascontiguousarray(batch.op, np.uint8),
            np.ascontiguousarray(batch.offset, np.int64),
            np.ascontiguousarray(batch.length, np.int64),
        )
        done = 0
        while done < len(columns[0]):
            done = kernels.count_requests(*columns, done, self._rules, *self._table.arrays, self._state)
            if done < len(columns[0]):
                self._make_room()
        return self

    def add_all(self, batches: Iterable[Batch]) -> Self:
        """Count all batches of an iterable, in order."""
        for batch in batches:
            self.add(batch)
        return self

    def finish(self) -> LifetimeMatrix:
        """Return the matrix of everything that was counted.

        Returns
        -------
        LifetimeMatrix
            The counter must not be used afterwards.
        """
        n = len(self._instants)
        if self._cells_used() + self._state.tallies.shape[1] > len(self._state.death_code):
            self._reserve_cells()
        kernels.flush_epoch(self._state)
        state, cursor = self._state, self._state.cursor
        initial_codes, blocks = self._initial(int(cursor[kernels.INITIAL_BLOCKS]))

        used = int(cursor[kernels.DEATH_CELLS])
        deaths = _merge(
            state.death_code[:used], state.death_epoch[:used], state.death_count[:used], initial_codes, kernels.FIRST_BIRTH
        )
        # what was born and did not die before the last instant is alive after it: no need to look at the table
        before = deaths.epoch < n
        died = np.bincount(deaths.birth[before] + 1, weights=deaths.count[before], minlength=n + 2).astype(np.int64)
        alive = np.concatenate((np.array([blocks]), state.births)) - died
        rows = np.flatnonzero(alive)
        cells = Cells(
            np.concatenate((deaths.birth[before], (rows - 1).astype(np.int32))),
            np.concatenate((deaths.epoch[before], np.full(len(rows), n, np.int32))),
            np.concatenate((deaths.count[before], alive[rows])),
        )

        used = int(cursor[kernels.READ_CELLS])
        codes, epochs, counts = state.read_code[:used], state.read_epoch[:used], state.read_count[:used]
        reads = _merge(codes, epochs, counts, initial_codes, kernels.FIRST_BIRTH)
        nothing = (codes < kernels.FIRST_BIRTH) & ~np.isin(codes, initial_codes)
        absent = np.bincount(epochs[nothing], weights=counts[nothing], minlength=n + 1).astype(np.int64)
        return LifetimeMatrix(
            instants=_frozen(self._instants),
            counting=self._counting,
            n_blocks=self._rules.n_blocks,
            cells=Cells(*map(_frozen, cells)),
            reads=Cells(*map(_frozen, reads)),
            absent_reads=_frozen(absent),
            births=_frozen(state.births.copy()),
            initial_blocks=blocks,
            memory=self._table.memory,
        )

    def _initial(self, marked: int) -> tuple[list[int], int]:
        """Return the codes that mean initial content, and how many blocks existed before the trace."""
        if self._counting.initial == "thick":
            return [kernels.UNTOUCHED, kernels.INITIAL], self._rules.n_blocks
        return [kernels.INITIAL], self._mapped + marked

    def _mark(self, extents: tuple[tuple[int, int], ...]) -> int:
        table = np.array(extents, dtype=np.int64).reshape(-1, 2)
        table = table[table[:, 1] > 0]
        size = self._rules.n_blocks * self._rules.block_size
        if np.any(table[:, 0] < 0) or np.any(table.sum(axis=1) > size):
            msg = f"the map of allocated extents reaches beyond the volume of {format_size(size)}"
            raise UsageError(msg)
        done = marked = 0
        while done < len(table):
            offset, length = np.ascontiguousarray(table[done:, 0]), np.ascontiguousarray(table[done:, 1])
            step, count = kernels.mark_initial(offset, length, self._rules, *self._table.arrays)
            done, marked = done + step, marked + count
            if done < len(table):
                leaf_bytes = self._rules.block_size << kernels.LEAF_BITS
                self._table.reserve(int(table[done, 1]) // leaf_bytes + 2)
        return marked

    def _cells_used(self) -> int:
        cursor = self._state.cursor
        return max(int(cursor[kernels.DEATH_CELLS]), int(cursor[kernels.READ_CELLS]))

    def _make_room(self) -> None:
        wanted = int(self._state.cursor[kernels.LEAVES_WANTED])
        if wanted:
            self._table.reserve(wanted)
        else:
            self._reserve_cells()

    def _reserve_cells(self) -> None:
        room = max(2 * len(self._state.death_code), self._cells_used() + 4 * self._state.tallies.shape[1], 1024)
        names = ("death_code", "death_epoch", "death_count", "read_code", "read_epoch", "read_count")
        self._state = self._state._replace(**{name: _grown(getattr(self._state, name), room) for name in names})


def _grown(array: npt.NDArray[T], size: int) -> npt.NDArray[T]:
    grown = np.empty(size, dtype=array.dtype)
    grown[: len(array)] = array
    return grown


def _frozen(array: npt.NDArray[T]) -> npt.NDArray[T]:
    array.flags.writeable = False
    return array


def _merge(
    codes: npt.NDArray[np.int32], epochs: npt.NDArray[np.int32], counts: Int64Array, initial_codes: list[int], first_birth: int
) -> Cells:
    """Turn codes into births: the codes of initial content become birth -1, those of absent blocks fall away."""
    initial = np.isin(codes, initial_codes)
    born = codes >= first_birth
    n_epochs = int(epochs.max()) + 1 if len(epochs) else 0
    per_epoch = np.bincount(epochs[initial], weights=counts[initial], minlength=n_epochs).astype(np.int64)
    with_initial = np.flatnonzero(per_epoch)
    birth = np.concatenate((np.full(len(with_initial), -1, np.int32), codes[born] - np.int32(first_birth)))
    epoch = np.concatenate((with_initial.astype(np.int32), epochs[born]))
    count = np.concatenate((per_epoch[with_initial], counts[born]))
    order = np.lexsort((birth, epoch))
    return Cells(birth[order].astype(np.int32), epoch[order].astype(np.int32), count[order].astype(np.int64))
