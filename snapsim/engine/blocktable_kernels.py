"""Kernels of the block table: read, tally and overwrite the codes of a run of blocks."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from snapsim._jit import kernel

LEAF_BITS = 12
LEAF_SLOTS = 1 << LEAF_BITS
_SLOT_MASK = LEAF_SLOTS - 1

UNIFORM = -1
"""Directory entries at or below this stand for a leaf whose slots all hold the code `UNIFORM - entry`."""


class TableArrays(NamedTuple):
    """The arrays of a block table.

    Attributes
    ----------
    directory : int32 array, shape (n_leaves,)
        Number of the leaf, or `UNIFORM - code` where the whole leaf holds one code.
    leaves : uint16 or uint32 array, shape (n_reserved_leaves * LEAF_SLOTS,)
        The codes.
    used : int64 array, shape (1,)
        Leaves in use.
    """

    directory: npt.NDArray[np.int32]
    leaves: npt.NDArray[np.unsignedinteger]
    used: npt.NDArray[np.int64]


@kernel
def free_leaves(leaves, used):
    """Return how many more leaves can be taken before the arrays must grow."""
    return (leaves.shape[0] >> LEAF_BITS) - used[0]


@kernel
def materialise(directory, leaves, used, index):
    """Give a uniform leaf slots of its own; return its first slot."""
    code = UNIFORM - directory[index]
    leaf = used[0]
    used[0] = leaf + 1
    directory[index] = leaf
    base = leaf << LEAF_BITS
    for slot in range(base, base + LEAF_SLOTS):
        leaves[slot] = code
    return base


@kernel
def overwrite(directory, leaves, used, first, stop, code, tally):
    """Store `code` in every block of [first, stop); add what was there to `tally`.

    Parameters
    ----------
    directory, leaves, used : arrays
        A table (`TableArrays`) with a free leaf for every leaf that the run touches.
    first, stop : int
        The run of blocks, half-open.
    code : int
        The new code.
    tally : int64 array, shape (n_codes,)
        Incremented once per block at the block's old code.
    """
    block = first
    while block < stop:
        index = block >> LEAF_BITS
        end = min(stop, (index + 1) << LEAF_BITS)
        count = end - block
        entry = directory[index]
        if entry <= UNIFORM and count == LEAF_SLOTS:
            tally[UNIFORM - entry] += count
            directory[index] = UNIFORM - code
        else:
            base = entry << LEAF_BITS if entry > UNIFORM else materialise(directory, leaves, used, index)
            slot = base + (block & _SLOT_MASK)
            for position in range(slot, slot + count):
                tally[leaves[position]] += 1
                leaves[position] = code
        block = end


@kernel
def tally_codes(directory, leaves, first, stop, tally):
    """Add the codes of the blocks in [first, stop) to `tally`; change nothing."""
    block = first
    while block < stop:
        index = block >> LEAF_BITS
        end = min(stop, (index + 1) << LEAF_BITS)
        count = end - block
        entry = directory[index]
        if entry <= UNIFORM:
            tally[UNIFORM - entry] += count
        else:
            slot = (entry << LEAF_BITS) + (block & _SLOT_MASK)
            for position in range(slot, slot + count):
                tally[leaves[position]] += 1
        block = end


@kernel
def replace(directory, leaves, used, first, stop, old, new):
    """Store `new` in those blocks of [first, stop) that hold `old`; return how many there were."""
    replaced = 0
    block = first
    while block < stop:
        index = block >> LEAF_BITS
        end = min(stop, (index + 1) << LEAF_BITS)
        count = end - block
        entry = directory[index]
        if entry == UNIFORM - old and count == LEAF_SLOTS:
            directory[index] = UNIFORM - new
            replaced += count
        elif entry > UNIFORM or entry == UNIFORM - old:
            base = entry << LEAF_BITS if entry > UNIFORM else materialise(directory, leaves, used, index)
            slot = base + (block & _SLOT_MASK)
            for position in range(slot, slot + count):
                if leaves[position] == old:
                    leaves[position] = new
                    replaced += 1
        block = end
    return replaced
