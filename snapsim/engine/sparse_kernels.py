"""Kernels of a sparse array of integers over the blocks of a volume."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from snapsim._jit import kernel

CELL_BITS = 9
CELLS = 1 << CELL_BITS
NOTHING = -1


class SparseArrays(NamedTuple):
    """A directory of leaves.

    Attributes
    ----------
    directory : int32 array, shape (n_leaves,)
        Where the leaf is; -1: nothing was stored in it.
    leaves : int64 array, shape (room, CELLS)
        What was stored; -1: nothing.
    used : int64 array, shape (1,)
        Leaves in use.
    """

    directory: npt.NDArray[np.int32]
    leaves: npt.NDArray[np.int64]
    used: npt.NDArray[np.int64]


@kernel(allocates=False)
def fetch(sparse, index, default):
    """Return what was stored at an index, or the default."""
    leaf = sparse.directory[index >> CELL_BITS]
    if leaf < 0:
        return default
    value = sparse.leaves[leaf, index & (CELLS - 1)]
    return value if value != NOTHING else default


@kernel(allocates=False)
def store(sparse, index, value):
    """Store a value; there must be room for one more leaf."""
    place = index >> CELL_BITS
    leaf = sparse.directory[place]
    if leaf < 0:
        leaf = np.int32(sparse.used[0])
        sparse.used[0] += 1
        sparse.directory[place] = leaf
        sparse.leaves[leaf, :] = NOTHING
    sparse.leaves[leaf, index & (CELLS - 1)] = value
