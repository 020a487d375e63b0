"""Kernels for where blocks lie on the disk: moving them by a merge, and counting the pieces of a volume."""

import numpy as np

from snapsim._jit import kernel
from snapsim.engine.blocktable_kernels import LEAF_BITS, UNIFORM
from snapsim.engine.sparse_kernels import fetch, store


@kernel(allocates=False)
def relocate(first, stop, code, directory, leaves, spots, place, home):
    """Move what a layer holds: blocks that the volume still shows lie elsewhere afterwards.

    Parameters
    ----------
    first, stop, code : int64 arrays, shape (n_runs,)
        What the layer holds.
    directory, leaves : arrays
        The block table.
    spots : SparseArrays
        Modified in place.
    place : int
        Where the first block goes, the others behind it.
    home : int
        1: each block goes to its own number instead.

    Returns
    -------
    int
        Where the next block would go.
    """
    for run in range(first.shape[0]):
        if code[run] & 1 == 0:
            continue
        for block in range(first[run], stop[run]):
            index = block >> LEAF_BITS
            entry = np.int64(directory[index])
            if entry <= UNIFORM:
                now = UNIFORM - entry
            else:
                now = np.int64(leaves[(entry << LEAF_BITS) + (block & ((1 << LEAF_BITS) - 1))])
            if now == code[run]:
                store(spots, block, block if home != 0 else place)
            place += 1
    return place


@kernel(allocates=False)
def count_pieces(first, stop, code, spots):
    """Count the pieces of the disk on which runs of blocks with content lie, read in order."""
    pieces = 0
    expected = np.int64(-1)
    last = np.int64(-2)
    for run in range(first.shape[0]):
        if code[run] & 1 == 0:
            continue
        for block in range(first[run], stop[run]):
            spot = fetch(spots, block, block)
            if spot != expected or block != last + 1:
                pieces += 1
            expected = spot + np.int64(1)
            last = np.int64(block)
    return pieces
