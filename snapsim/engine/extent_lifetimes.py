"""Lifetimes of extents: one pass over the requests, and every set of snapshots of a btrfs is answered.

The blocks of an extent never come back once they are overwritten, so that a snapshot refers to an extent if
it was taken after the extent's write and before its last block went.  Extents, weighted by their disk space,
are therefore counted by birth and death as blocks are, and the formulas over the matrix say what btrfs keeps.

That holds where every write makes new extents.  With `nodatacow` which extents there are depends on which
snapshots there were: that needs `ExtentChain`.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import Self

import numpy as np

from snapsim.engine.extent_chain import LONGEST_EXTENT, ExtentChain, Extents
from snapsim.engine.lifetimes import Cells, Counting, LifetimeMatrix
from snapsim.errors import UsageError
from snapsim.types import Batch, Int64Array

__all__ = ["ExtentCounter"]


class ExtentCounter:
    """Counts extents by birth and death, batch by batch; the counterpart of `LifetimeCounter`.

    Parameters
    ----------
    instants : int64 array, shape (n,)
        Since the Unix epoch, increasing.  [ns]
    capacity : int
        Size of the file.  [bytes]
    block_size, longest, initial
        As in `ExtentChain`.
    start_ns : int
        The trace's start since the Unix epoch; request times count from it.  [ns]

    Raises
    ------
    UsageError
        The instants do not increase, or the file cannot start so.

    Examples
    --------
    An extent of 16 blocks, of which one is overwritten before the second instant: both snapshots need all of
    it, and so does the file.

    >>> counter = ExtentCounter(np.array([10, 20]), capacity=65536, initial="thick")
    >>> one = Batch(np.array([15]), np.array([1], np.uint8), np.array([0]), np.array([4096]))
    >>> matrix = counter.add(one).finish()
    >>> int(matrix.live_blocks[1]), matrix.snapshot_bytes([0], now=1)
    (17, 0)
    """

    def __init__(
        self,
        instants: Int64Array,
        *,
        capacity: int,
        block_size: int = 4096,
        longest: int = LONGEST_EXTENT,
        initial: str | Iterable[tuple[int, int]] = "thin",
        start_ns: int = 0,
    ) -> None:
        self._instants = np.ascontiguousarray(instants, np.int64)
        if len(self._instants) == 0 or np.any(np.diff(self._instants) <= 0):
            raise UsageError("instants must be increasing, and at least one")
        initial = initial if isinstance(initial, str) else tuple(initial)
        self._counting = Counting(block_size=block_size, initial=initial)
        self._boundaries = self._instants - start_ns
        self._chain = ExtentChain(capacity=capacity, block_size=block_size, longest=longest, initial=initial)
        self._initial = self._chain.data_used // block_size
        self._passed = 0
        self._cells: list[Int64Array] = []  # rows of birth, death, blocks
        # one snapshot is kept, at the newest instant passed; before the first, what was there at the start
        self._held = self._chain.snapshot()

    def add(self, batch: Batch) -> Self:
        """Count the next requests.

        Parameters
        ----------
        batch : Batch
            Requests of one file, not earlier than those before.

        Returns
        -------
        ExtentCounter
            Itself.

        Raises
        ------
        UsageError
            A request lies outside the file; the counter must not be used any more.
        """
        epochs = np.searchsorted(self._boundaries, batch.time_ns, side="right")
        starts = np.flatnonzero(np.diff(epochs, prepend=-1))
        for low, high in pairwise([*starts, len(epochs)]):
            self._reach(int(epochs[low]))
            if self._passed < len(self._instants):  # nothing sees what comes after the last
                part = slice(low, high)
                self._chain.apply(
                    Batch(batch.time_ns[part], batch.op[part], batch.offset[part], batch.length[part])
                )
        return self

    def add_all(self, batches: Iterable[Batch]) -> Self:
        """Count all batches of an iterable, in order."""
        for batch in batches:
            self.add(batch)
        return self

    def finish(self) -> LifetimeMatrix:
        """Return the matrix.

        Returns
        -------
        LifetimeMatrix
            In blocks of disk space, whole extents.  Extents that no instant sees are left out, and so are
            reads; `live_blocks` is what the file alone would take on the disk.
        """
        n = len(self._instants)
        self._reach(n)
        self._tally(self._chain.present(), death=n)
        birth, death, blocks = np.concatenate(self._cells, axis=1)
        keys, places = np.unique(death * (n + 2) + birth + 1, return_inverse=True)
        count = np.zeros(len(keys), np.int64)
        np.add.at(count, places, blocks)
        born = np.zeros(n + 1, np.int64)
        written = birth >= 0
        np.add.at(born, birth[written], blocks[written])
        nothing = np.empty(0, np.int32)
        return LifetimeMatrix(
            instants=self._instants,
            counting=self._counting,
            n_blocks=self._chain.n_blocks,
            cells=Cells((keys % (n + 2) - 1).astype(np.int32), (keys // (n + 2)).astype(np.int32), count),
            reads=Cells(nothing, nothing, np.empty(0, np.int64)),
            absent_reads=np.zeros(n + 1, np.int64),
            births=born,
            initial_blocks=self._initial,
            memory=self._chain.memory,
        )

    def _reach(self, epoch: int) -> None:
        while self._passed < epoch:
            before, self._held = self._held, self._chain.snapshot()
            self._tally(self._chain.died_after(before), death=self._passed)
            self._chain.delete(before)
            self._passed += 1

    def _tally(self, extents: Extents, *, death: int) -> None:
        # the chain's first epoch is the time before the first request
        rows = np.stack([extents.birth - 1, np.full_like(extents.birth, death), extents.size])
        rows[2] //= self._counting.block_size
        self._cells.append(rows)
