"""Two-dimensional range sums over the lifetime matrix.

Prefix sums along both axes answer a box with four look-ups, but take n x n numbers.  Where that is too
much, sums are kept for every `stride`-th row only, and the few rows between are read from the sorted cells.
Where even that is too much, all boxes of a question are answered in one sweep over the rows.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from snapsim.engine.boxsums_kernels import SWEEP, BoxArrays, box_sums, sweep_sums, tail_sums
from snapsim.types import Int64Array

_MEMORY_BUDGET = 256 << 20
_LONGEST_STRIDE = 64


@dataclass(frozen=True, eq=False)
class BoxSums:
    """Prefix sums of a matrix of cells.

    Attributes
    ----------
    arrays : BoxArrays
        What kernels take.
    n_instants : int
        Births are -1..n_instants, deaths 0..n_instants.
    """

    arrays: BoxArrays
    n_instants: int

    @classmethod
    def build(
        cls,
        birth: npt.NDArray[np.int32],
        death: npt.NDArray[np.int32],
        count: Int64Array,
        *,
        n_instants: int,
        memory: int = _MEMORY_BUDGET,
    ) -> Self:
        """Prepare range sums.

        Parameters
        ----------
        birth, death : int32 arrays, shape (n_cells,)
            Where the cells are; births from -1.
        count : int64 array, shape (n_cells,)
            What they hold.
        n_instants : int
            Number of instants.
        memory : int
            How much the prefix sums may take.  [bytes]

        Returns
        -------
        BoxSums
            The sums.
        """
        rows, columns = n_instants + 2, n_instants + 1
        # sums that fit 32 bits take half the memory, so that more rows are kept
        width = np.int32 if int(count.sum()) < 1 << 31 else np.int64
        row_bytes = (columns + 1) * np.dtype(width).itemsize
        stride = 1
        while stride <= _LONGEST_STRIDE and (-(-rows // stride) + 1) * row_bytes > memory:
            stride *= 2
        if stride > _LONGEST_STRIDE:
            stride = SWEEP
        order = np.lexsort((death, birth))
        row, column, value = birth[order].astype(np.int64) + 1, death[order], count[order]
        running = np.concatenate((np.zeros(1, np.int64), np.cumsum(value, dtype=np.int64)))
        start = np.searchsorted(row, np.arange(rows + 1)).astype(np.int64)
        if stride == SWEEP:
            prefix = np.zeros((1, columns + 1), dtype=width)
            return cls(
                BoxArrays(prefix, start, column.astype(np.int32), running, np.array([stride])), n_instants
            )
        n_groups = (rows + stride - 1) // stride
        prefix = np.zeros((n_groups + 1, columns + 1), dtype=width)
        np.add.at(prefix, (row // stride + 1, column + 1), value.astype(width))
        np.cumsum(prefix, axis=0, dtype=width, out=prefix)
        np.cumsum(prefix, axis=1, dtype=width, out=prefix)
        return cls(BoxArrays(prefix, start, column.astype(np.int32), running, np.array([stride])), n_instants)

    def query(self, b0: npt.ArrayLike, b1: npt.ArrayLike, d0: npt.ArrayLike, d1: npt.ArrayLike) -> Int64Array:
        """Sum the cells with b0 < birth <= b1 and d0 < death <= d1.

        Parameters
        ----------
        b0, b1, d0, d1 : int64 arrays, broadcast against each other
            Bounds; births from -2 (open) to n_instants, deaths from -1 (open) to n_instants.

        Returns
        -------
        int64 array
            One sum a box; 0 where the box is empty.
        """
        bounds = np.broadcast_arrays(*(np.asarray(bound, dtype=np.int64) for bound in (b0, b1, d0, d1)))
        shape = bounds[0].shape
        n = self.n_instants
        low, high = (np.clip(bound.ravel(), -2, n) + 2 for bound in bounds[:2])
        early, late = (np.clip(bound.ravel(), -1, n) + 1 for bound in bounds[2:])
        if self.arrays.stride[0] == SWEEP:
            return self._sweep(low, high, early, late).reshape(shape)
        sums: Int64Array = box_sums(self.arrays, low, high, early, late)
        return sums.reshape(shape)

    def survivors(self, low: Int64Array, high: Int64Array) -> Int64Array:
        """Sum the cells with birth <= low and death > high.

        Parameters
        ----------
        low, high : int64 arrays, shape (n_pairs,)
            Births from -2 (none) and deaths from -1 (all) to n_instants.

        Returns
        -------
        int64 array, shape (n_pairs,)
            What `query(-2, low, high, n_instants)` returns, in a quarter of the time.
        """
        if self.arrays.stride[0] == SWEEP:
            return self.query(-2, low, high, self.n_instants)
        sums = np.empty(len(low), dtype=np.int64)
        tail_sums(self.arrays, low + 2, high + 1, sums)
        return sums

    def _sweep(self, low: Int64Array, high: Int64Array, early: Int64Array, late: Int64Array) -> Int64Array:
        """Answer all boxes while the rows go by: what is before the upper edge less before the lower."""
        edge = np.concatenate((high, low))
        order = np.argsort(edge, kind="stable")
        below = np.zeros(len(edge), dtype=np.int64)
        tree = np.zeros(self.n_instants + 2, dtype=np.int64)
        sweep_sums(self.arrays, edge, order, np.tile(early, 2), np.tile(late, 2), tree, below)
        upper, lower = below[: len(high)], below[len(high) :]
        return np.where((low < high) & (early < late), upper - lower, 0)
