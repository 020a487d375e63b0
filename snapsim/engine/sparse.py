"""A sparse array of integers over the blocks of a volume: memory follows what was stored."""

import numpy as np

from snapsim.engine import sparse_kernels as kernels

__all__ = ["SparseArray"]


class SparseArray:
    """Integers by index, 8 bytes for each in the leaves that are touched.

    Parameters
    ----------
    n : int
        Indices run from 0 to n - 1.
    """

    def __init__(self, n: int) -> None:
        leaves = max(-(-n // kernels.CELLS), 1)
        self._arrays = kernels.SparseArrays(
            directory=np.full(leaves, -1, np.int32),
            leaves=np.empty((min(leaves, 64), kernels.CELLS), np.int64),
            used=np.zeros(1, np.int64),
        )

    @property
    def arrays(self) -> kernels.SparseArrays:
        """What kernels work on; ask again after `reserve`."""
        return self._arrays

    def reserve(self, free: int) -> None:
        """Make room.

        Parameters
        ----------
        free : int
            Leaves that must be free afterwards.
        """
        have, used = len(self._arrays.leaves), int(self._arrays.used[0])
        if used + free > have:
            room = max(used + free, have + have // 2)
            grown = np.empty((room, kernels.CELLS), np.int64)
            grown[:used] = self._arrays.leaves[:used]
            self._arrays = self._arrays._replace(leaves=grown)

    def clear(self) -> None:
        """Forget everything."""
        self._arrays.directory[:] = -1
        self._arrays.used[0] = 0
