"""Counting: requests in, a lifetime matrix out, one batch at a time."""

from collections.abc import Iterable
from typing import Self, TypeVar

import numpy as np
import numpy.typing as npt

from snapsim.engine import lifetimes_kernels as kernels
from snapsim.engine.blocktable import BlockTable
from snapsim.engine.lifetimes import Cells, Counting, LifetimeMatrix
from snapsim.errors import UsageError
from snapsim.types import Batch, Int64Array
from snapsim.units import format_size

__all__ = ["LifetimeCounter"]

T = TypeVar("T", bound=np.generic)

_EFFECTS = {"ignore": kernels.IGNORE, "death": kernels.DEATH, "touch": kernels.TOUCH, "write": kernels.TOUCH}
_MAX_LENGTH = np.iinfo(np.int64).max


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
        False when `capacity` is only the largest address seen: a discard that ends there may then end inside
        the last block.
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
        self,
        instants: Int64Array,
        counting: Counting,
        *,
        capacity: int,
        capacity_known: bool = True,
        start_ns: int = 0,
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
            size=capacity,
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
            tallies=np.zeros(2 * n_codes, np.int64),
            births=np.zeros(len(instants) + 1, np.int64),
            death_code=empty32,
            death_epoch=empty32,
            death_count=empty64,
            read_code=empty32,
            read_epoch=empty32,
            read_count=empty64,
            cursor=np.zeros(kernels.CURSOR_SIZE, np.int64),
            log=np.empty(kernels.LOG_SIZE, np.uint32),
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

        Raises
        ------
        UsageError
            A request lies outside the volume; the counter must not be used any more.
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
        if self._cells_used() + len(self._state.tallies) // 2 > len(self._state.death_code):
            self._reserve_cells()
        kernels.flush_epoch(self._state)
        state, cursor = self._state, self._state.cursor
        initial_codes, blocks = self._initial(int(cursor[kernels.INITIAL_BLOCKS]))

        used = int(cursor[kernels.DEATH_CELLS])
        deaths = _merge(
            state.death_code[:used],
            state.death_epoch[:used],
            state.death_count[:used],
            initial_codes,
            kernels.FIRST_BIRTH,
        )
        # what was born and did not die before the last instant is alive after it: no need to look at the
        # table
        before = deaths.epoch < n
        died = np.bincount(deaths.birth[before] + 1, weights=deaths.count[before], minlength=n + 2).astype(
            np.int64
        )
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
            cells=Cells(_frozen(cells.birth), _frozen(cells.epoch), _frozen(cells.count)),
            reads=Cells(_frozen(reads.birth), _frozen(reads.epoch), _frozen(reads.count)),
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
        size = self._rules.n_blocks * self._rules.block_size
        if np.any(table < 0) or np.any(table[:, 1] > size - table[:, 0]):
            msg = f"the map of allocated extents reaches beyond the volume of {format_size(size)}"
            raise UsageError(msg)
        table = table[table[:, 1] > 0]
        done = marked = 0
        while done < len(table):
            offset, length = np.ascontiguousarray(table[done:, 0]), np.ascontiguousarray(table[done:, 1])
            table_arrays = self._table.arrays
            step, count = kernels.mark_initial(
                offset, length, self._rules, table_arrays.directory, table_arrays.leaves, table_arrays.used
            )
            done, marked = done + step, marked + count
            if done < len(table):
                self._table.reserve(kernels.NEW_LEAVES)
        return marked

    def _cells_used(self) -> int:
        cursor = self._state.cursor
        return max(int(cursor[kernels.DEATH_CELLS]), int(cursor[kernels.READ_CELLS]))

    def _make_room(self) -> None:
        if self._state.cursor[kernels.OUTSIDE]:
            msg = f"a request lies outside the volume of {format_size(self._rules.size)}"
            raise UsageError(msg)
        wanted = int(self._state.cursor[kernels.LEAVES_WANTED])
        if wanted:
            self._table.reserve(wanted)
        else:
            self._reserve_cells()

    def _reserve_cells(self) -> None:
        room = max(
            2 * len(self._state.death_code), self._cells_used() + 4 * len(self._state.tallies) // 2, 1024
        )
        names = ("death_code", "death_epoch", "death_count", "read_code", "read_epoch", "read_count")
        self._state = self._state._replace(
            **{name: _grown(getattr(self._state, name), room) for name in names}
        )


def _grown(array: npt.NDArray[T], size: int) -> npt.NDArray[T]:
    grown = np.empty(size, dtype=array.dtype)
    grown[: len(array)] = array
    return grown


def _frozen(array: npt.NDArray[T]) -> npt.NDArray[T]:
    array.flags.writeable = False
    return array


def _merge(
    codes: npt.NDArray[np.int32],
    epochs: npt.NDArray[np.int32],
    counts: Int64Array,
    initial_codes: list[int],
    first_birth: int,
) -> Cells:
    """Turn codes into births: initial content becomes birth -1, absent blocks fall away."""
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
