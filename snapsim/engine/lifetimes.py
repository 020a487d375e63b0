"""The lifetime matrix: versions of blocks counted by the epochs of their birth and death.

One pass over the requests makes the matrix; after that every question about space is a two-dimensional range
sum.  The
ingredients are known from the deadlists of ZFS and from temporal-distance models of snapshots (Laden et al.,
"Architectures for Controller Based CDP", FAST 2007).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from snapsim.engine.blocktable import TableMemory
from snapsim.engine.boxsums import BoxSums
from snapsim.errors import CapacityError, UsageError
from snapsim.types import Int64Array
from snapsim.units import format_size, parse_size

_DENSE_BYTES = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Counting:
    """How versions are counted.

    Attributes
    ----------
    block_size : int
        The unit of the mechanism: chunk, cluster, record, grain.  [bytes]
    initial : str or tuple of (offset, length)
        What exists before the trace: "thick" (the whole volume), "read-first" (what is read before it is
        written), "thin" (nothing),
        or allocated extents in bytes.
    discard : {"death", "ignore", "touch"}
        A DISCARD ends the versions of the blocks that it covers whole; changes nothing; or makes a new
        version
        of every block that it overlaps (which is what it does to metadata).
    zeroes : {"write", "death", "touch"}
        A WRITE_ZEROES is a write; or ends the versions of the blocks that it covers whole and
        writes the blocks that it covers in part; "touch" says "write" for metadata.
    grain : int
        A DISCARD is first shrunk to whole multiples of this, because the mechanism ignores the rest.  1: no
        shrinking.  [bytes]
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
            msg = (
                f'initial={self.initial!r} is not "thick", "read-first", "thin" or a map of allocated extents'
            )
            raise UsageError(msg)


@dataclass(frozen=True, slots=True)
class Cells:
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
            size = format_size(shape[0] * shape[1] * 8)
            msg = f"the dense matrix of {n_instants:,} instants takes {size}: use .cells"
            raise CapacityError(msg)
        matrix = np.zeros(shape, dtype=np.int64)
        matrix[self.birth + 1, self.epoch] = self.count
        return matrix


@dataclass(frozen=True, kw_only=True, eq=False)
class LifetimeMatrix:
    """Versions of the blocks of one volume, counted by birth and death.

    Births are -1 (content from before the trace) and the epochs 0..n; deaths are the epochs 0..n-1, and n for
    versions that
    are alive after the last of the n instants.  A snapshot at instant i sees the versions with birth <= i <
    death.

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
        """The matrix, shape (n + 2, n + 1).

        Row 0 is initial content, row b + 1 birth b; column d is death d, the last one alive after the last
        instant.
        """
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

    @cached_property
    def live_blocks(self) -> Int64Array:
        """What the volume shows at each instant, shape (n,): BOX((-inf, T] x (T, inf]).  [blocks]"""
        now = np.arange(self.n_instants)
        live = self.sums.survivors(now, now)
        live.flags.writeable = False
        return live

    @cached_property
    def step_survivors(self) -> Int64Array:
        """What was there one instant earlier too, shape (n,): BOX((-inf, T - 1] x (T, inf]).  [blocks]"""
        now = np.arange(self.n_instants)
        stay = self.sums.survivors(now - 1, now)
        stay.flags.writeable = False
        return stay

    def __repr__(self) -> str:
        """Say what was counted."""
        born = int(self.births.sum())
        return (
            f"<LifetimeMatrix: {self.n_instants:,} instants, {self.n_blocks:,} blocks of "
            f"{format_size(self.block_size)}, "
            f"{born:,} versions, {len(self.cells.count):,} cells, initial "
            f"{_initial_text(self.counting.initial)}>"
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
        unknown = sorted(set(changes) - {item.name for item in fields(Counting)})
        if unknown:
            names = ", ".join(item.name for item in fields(Counting))
            msg = f"recount takes no {unknown[0]!r}: it takes {names}"
            raise UsageError(msg)
        if "block_size" in changes:
            changes["block_size"] = parse_size(changes["block_size"])  # type: ignore[arg-type]
        counting = replace(self.counting, **changes)  # type: ignore[arg-type]
        if counting == self.counting:
            return self
        if self.recounter is None:
            msg = (
                f"this matrix does not know its trace, so it cannot be counted again with {changes}: "
                "use count_lifetimes"
            )
            raise UsageError(msg)
        return self.recounter(counting)

    # --- range sums
    # -------------------------------------------------------------------------------------------

    def box(self, b0: float | None, b1: float | None, d0: float | None, d1: float | None) -> int:
        """Count the versions with b0 < birth <= b1 and d0 < death <= d1.

        Parameters
        ----------
        b0, b1, d0, d1 : int, float or None
            Bounds; None and the infinities leave a side open.  Initial content has birth -1; death n means
            alive.

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

    # --- the formulas of one volume: see `snapsim.engine.space`
    # -------------------------------------------------

    def live_bytes(self, now: int) -> int:
        """Return what the volume shows.

        Parameters
        ----------
        now : int
            The instant at which is asked.

        Returns
        -------
        int
            BOX((-inf, now] x (now, inf]).  [bytes]
        """
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

    def freed_bytes(
        self, kept: Sequence[int] | Int64Array, dropped: Sequence[int] | Int64Array, now: int
    ) -> int:
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

        Raises
        ------
        UsageError
            One of `dropped` is not kept.
        """
        k, _ = self._kept(kept, now)
        gone = np.unique(np.asarray(dropped, dtype=np.int64))
        missing = np.setdiff1d(gone, k)
        if len(missing):
            msg = f"dropped holds instant {int(missing[0])}, which is not among the kept snapshots"
            raise UsageError(msg)
        return self.snapshot_bytes(k, now) - self.snapshot_bytes(np.setdiff1d(k, gone), now)

    def written_bytes(self, a: int | None, b: int) -> int:
        """Return what an incremental backup from a to b holds, or the overlay layer between them.

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

        Raises
        ------
        UsageError
            There is no such instant, or a comes after b.
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
            The instant at which is asked, where the newest snapshot is merged into the active layer; the last
            instant by default.

        Returns
        -------
        int
            BOX((k_{i-1}, k_{i+1}] x (k_{i+1}, inf]).  [bytes]

        Raises
        ------
        UsageError
            There is no such snapshot.
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
            BOX((-inf, k] x (k, now]).  It equals the distinct blocks written since k on a matrix that was
            counted
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
            Element j counts the reads that visit j layers: kept snapshots in [birth, epoch of the read) plus
            one.  [blocks]
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
    return math.floor(min(max(bound, lowest), highest))


def _initial_text(initial: str | tuple[tuple[int, int], ...]) -> str:
    return initial if isinstance(initial, str) else f"map of {len(initial)} extents"
