"""A volume that is used while it is being restored: in which order should its blocks come?

One link carries the restore.  In the background it fetches block after block in a given order; a request
that needs a block which is not there yet goes before all that the background would still fetch, but not
before what is under way.  A write that covers a block whole makes it present; one that covers it in part
needs the rest.

`snapsim.engine.reference_restore` says the same readably.
"""

from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from snapsim.engine import restore_order_kernels as kernels
from snapsim.errors import UsageError
from snapsim.types import READ, Batch, Int64Array

__all__ = ["BlockReads", "LazyRestore", "Met"]


class Met(NamedTuple):
    """What requests met.

    Attributes
    ----------
    issued_ns, finish_ns : int64 arrays, shape (n_requests,)
        When the guest made each, and when all blocks that it needs were there.  [ns]
    missed : int64 array, shape (n_requests,)
        Blocks that it had to wait for.
    """

    issued_ns: Int64Array
    finish_ns: Int64Array
    missed: Int64Array

    @property
    def stall_ns(self) -> Int64Array:
        """How long each had to wait for blocks.  [ns]"""
        return self.finish_ns - self.issued_ns


class LazyRestore:
    """A restore in the background, and a guest that does not wait for its end.

    Parameters
    ----------
    order : int64 array, shape (n_restored,)
        The blocks in the order in which they are restored, each once; the others are there from the start.
    capacity : int
        Size of the volume.  [bytes]
    block_size : int
        What is fetched at a time.  [bytes]
    step_ns : int, or int64 array of shape (n_restored,)
        What a block takes in the background; or each place of the order.  [ns]
    fetch_ns : int
        What a block takes that a request waits for.  [ns]
    waits : bool
        The guest makes a request only when the one before is done, so that all that follows is late (a boot);
        otherwise requests come when the trace says.

    Raises
    ------
    UsageError
        The order names a block twice or one that is not there, or a duration is negative.

    Examples
    --------
    >>> lazy = LazyRestore(np.array([0, 1]), capacity=8192, block_size=4096, step_ns=10, fetch_ns=30)
    >>> reads = Batch(np.array([5, 6]), np.zeros(2, np.uint8), np.array([0, 4096]), np.array([4096, 4096]))
    >>> lazy.use(reads).stall_ns.tolist()
    [5, 9]
    """

    def __init__(
        self,
        order: npt.ArrayLike,
        *,
        capacity: int,
        block_size: int,
        step_ns: npt.ArrayLike,
        fetch_ns: int,
        waits: bool = True,
    ) -> None:
        blocks = np.ascontiguousarray(order, np.int64)
        n_blocks = -(-capacity // block_size)
        steps = np.broadcast_to(np.asarray(step_ns, np.int64), blocks.shape).copy()
        if min(int(steps.min(initial=0)), fetch_ns) < 0:
            raise UsageError("what a block takes must not be negative")
        if len(blocks) and (blocks.min() < 0 or blocks.max() >= n_blocks):
            raise UsageError(f"the order names a block outside the volume, which has {n_blocks:,}")
        ready = np.zeros(n_blocks, np.int64)
        ready[blocks] = kernels.ABSENT
        if np.count_nonzero(ready) < len(blocks):
            raise UsageError("the order names a block twice")
        ready[ready == 0] = np.iinfo(np.int64).min
        self.capacity, self.block_size = capacity, block_size
        self._step, self._fetch, self._waits = steps, fetch_ns, int(waits)
        self._state = kernels.RestoreState(ready, blocks, np.zeros(kernels.CURSOR_SIZE, np.int64))

    @property
    def fetched(self) -> int:
        """Blocks that were fetched because a request waited for them."""
        return int(self._state.cursor[kernels.FETCHED])

    def use(self, batch: Batch) -> Met:
        """Let requests come.

        Parameters
        ----------
        batch : Batch
            Requests of one volume in order of time, counted from the beginning of the restore.

        Returns
        -------
        Met
            One row for each request; a batch may end anywhere.

        Raises
        ------
        UsageError
            A request lies outside the volume.
        """
        time, offset, length = (
            np.ascontiguousarray(each, np.int64) for each in (batch.time_ns, batch.offset, batch.length)
        )
        if np.any((length > 0) & ((offset < 0) | (offset > self.capacity - length))):
            raise UsageError("a request lies outside the volume that is restored")
        finish, missed = np.zeros((2, len(time)), np.int64)
        before = int(self._state.cursor[kernels.DELAY])
        kernels.use_while_restoring(
            time, np.ascontiguousarray(batch.op, np.uint8), offset, length, self.block_size, self.capacity,
            self._step, self._fetch, self._waits, self._state, finish, missed,
        )  # fmt: skip
        if not self._waits:
            return Met(time, finish, missed)
        # what each waited, all that follows is late: finish = issue + own stall, and stalls add up
        late = finish - time
        return Met(time + np.concatenate((np.array([before]), late[:-1]))[: len(time)], finish, missed)

    def complete(self) -> int:
        """Restore what is left without further requests.

        Returns
        -------
        int
            When everything is there.  [ns]
        """
        kernels.restore_until(kernels.ABSENT, self._step, self._state)
        return int(self._state.cursor[kernels.FREE])

    def present(self, times: npt.ArrayLike) -> Int64Array:
        """Count the blocks of the order that are there.

        Parameters
        ----------
        times : int64 array, shape (n,)
            When.  [ns]

        Returns
        -------
        int64 array, shape (n,)
            Blocks; as far as the restore has come.
        """
        ready = np.sort(self._state.ready[self._state.order])
        return np.searchsorted(ready, np.asarray(times, np.int64), side="right").astype(np.int64)


class BlockReads(NamedTuple):
    """Which blocks are read, how often, and in which order for the first time.

    Attributes
    ----------
    block : int64 array, shape (n,)
        Increasing.
    reads : int64 array, shape (n,)
        Reads of each.
    first : int64 array, shape (n,)
        The number of the block read that was its first.
    """

    block: Int64Array
    reads: Int64Array
    first: Int64Array

    @classmethod
    def none(cls) -> Self:
        """Return no reads."""
        return cls(*np.zeros((3, 0), np.int64))

    def add(self, batch: Batch, block_size: int) -> "BlockReads":
        """Count the reads of the requests that follow.

        Parameters
        ----------
        batch : Batch
            Requests of one volume, in order.
        block_size : int
            [bytes]

        Returns
        -------
        BlockReads
            Of all.
        """
        reads = (batch.op == READ) & (batch.length > 0)
        first = batch.offset[reads] // block_size
        stop = (batch.offset[reads] + batch.length[reads] - 1) // block_size + 1
        sizes = stop - first
        begins = np.cumsum(sizes) - sizes
        blocks = np.repeat(first - begins, sizes) + np.arange(int(sizes.sum()))
        met, place, count = np.unique(blocks, return_index=True, return_counts=True)
        done = int(self.reads.sum())
        every = np.concatenate((self.block, met))
        block, inverse = np.unique(every, return_inverse=True)
        total = np.zeros(len(block), np.int64)
        np.add.at(total, inverse, np.concatenate((self.reads, count)))
        earliest = np.full(len(block), np.iinfo(np.int64).max)
        np.minimum.at(earliest, inverse, np.concatenate((self.first, place + done)))
        return BlockReads(block, total, earliest)

    def hottest(self) -> Int64Array:
        """Return the blocks, most often read first; of equals the one that was needed first."""
        return self.block[np.lexsort((self.first, -self.reads))]

    def needed(self) -> Int64Array:
        """Return the blocks in the order in which they were first read."""
        return self.block[np.argsort(self.first)]
