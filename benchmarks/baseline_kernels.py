"""What counting lifetimes is measured against: the same walk over the same table, without the counting."""

import numpy as np

from snapsim._jit import kernel
from snapsim.engine.blocktable_kernels import LEAF_BITS, LEAF_SLOTS, SLOT_MASK, UNIFORM, materialise
from snapsim.engine.lifetimes_kernels import ABSENT, FIRST_BIRTH

_READ, _WRITE, _DISCARD, _WRITE_ZEROES = 0, 1, 2, 3
_NEVER = np.iinfo(np.int64).max


@kernel(allocates=False)
def load_and_store(
    time_ns, op, offset, length, epoch, boundaries, shift, n_blocks, capacity, directory, leaves, used
):
    """Load the codes of blocks that are read, load and replace those of blocks that change.

    Parameters
    ----------
    time_ns, op, offset, length : arrays, shape (n_requests,)
        Requests, in time order.
    epoch : int
        Epoch of the request before.
    boundaries : int64 array, shape (n_instants,)
        Instants, relative to the trace's start.  [ns]
    shift : int
        log2 of the block size.
    n_blocks, capacity : int
        Size of the volume in blocks and bytes.
    directory, leaves, used : arrays
        A block table with room for all leaves.

    Returns
    -------
    (int, int)
        Epoch of the last request, and a value that depends on everything that was loaded.
    """
    seen = 0
    code = epoch + FIRST_BIRTH
    next_boundary = boundaries[epoch] if epoch < boundaries.shape[0] else _NEVER
    for position in range(np.uint64(0), np.uint64(op.shape[0])):
        i = np.uint64(position)
        while time_ns[i] >= next_boundary:
            epoch += 1
            code = epoch + FIRST_BIRTH
            next_boundary = boundaries[epoch] if epoch < boundaries.shape[0] else _NEVER
        kind = op[i]
        if length[i] == 0 or kind > _WRITE_ZEROES:
            continue
        new = code
        low, high = offset[i], offset[i] + length[i]
        block, stop = low >> shift, ((high - 1) >> shift) + 1
        if kind == _DISCARD:  # of the blocks that it covers whole
            new = ABSENT
            block = (low + (1 << shift) - 1) >> shift
            stop = n_blocks if high >= capacity else high >> shift
        while block < stop:
            index = block >> LEAF_BITS
            end = min(stop, (index + 1) << LEAF_BITS)
            count = end - block
            entry = directory[np.uint64(index)]
            if entry <= UNIFORM and (kind == _READ or count == LEAF_SLOTS):
                seen ^= entry
                if kind != _READ:
                    directory[np.uint64(index)] = UNIFORM - new
            else:
                base = entry << LEAF_BITS if entry > UNIFORM else materialise(directory, leaves, used, index)
                slot = base + (block & SLOT_MASK)
                if kind == _READ:
                    for place in range(np.uint64(slot), np.uint64(slot + count)):
                        seen ^= leaves[np.uint64(place)]
                else:
                    for place in range(np.uint64(slot), np.uint64(slot + count)):
                        seen ^= leaves[np.uint64(place)]
                        leaves[np.uint64(place)] = new
            block = end
    return epoch, seen
