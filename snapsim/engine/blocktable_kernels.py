"""Kernels of the block table: read, tally and overwrite the codes of a run of blocks."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from snapsim._jit import kernel

LEAF_BITS = 12
LEAF_SLOTS = 1 << LEAF_BITS
SLOT_MASK = LEAF_SLOTS - 1

WORD_BYTES = 8
ITEMSIZE_16 = 2
LANE_BITS_16, LANE_BITS_32 = 2, 1  # log2 of the codes in a word
REPEAT_16 = 0x0001_0001_0001_0001  # times a code: a word full of it
REPEAT_32 = 0x0000_0001_0000_0001

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
    words : uint64 array
        The same memory as `leaves`, for work on several codes at a time.
    used : int64 array, shape (1,)
        Leaves in use.
    """

    directory: npt.NDArray[np.int32]
    leaves: npt.NDArray[np.unsignedinteger]
    words: npt.NDArray[np.uint64]
    used: npt.NDArray[np.int64]


@kernel(allocates=False)
def free_leaves(leaves, used):
    """Return how many more leaves can be taken before the arrays must grow."""
    return (leaves.shape[0] >> LEAF_BITS) - used[0]


@kernel(allocates=False)
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


@kernel(allocates=False)
def tally_slots(leaves, first, stop, tally):
    """Add the codes of slots [first, stop) to `tally`."""
    # unsigned, because Numba tests every signed index for being negative
    for place in range(np.uint64(first), np.uint64(stop)):
        tally[np.uint64(leaves[np.uint64(place)])] += 1


@kernel(allocates=False)
def exchange_slots(leaves, first, stop, code, tally):
    """Store `code` in slots [first, stop); add what was there to `tally`."""
    for place in range(np.uint64(first), np.uint64(stop)):
        tally[np.uint64(leaves[np.uint64(place)])] += 1
        leaves[np.uint64(place)] = code


@kernel(allocates=False)
def _tally_mixed_words(leaves, words, low, high, bits, tally):
    """Do what `tally_slots` does for words [low, high), taking neighbours of one code together."""
    repeat = np.uint64(REPEAT_16 if bits == LANE_BITS_16 else REPEAT_32)
    code = leaves[np.uint64(low << bits)]
    same = np.uint64(code) * repeat
    alike = 0
    for word in range(np.uint64(low), np.uint64(high)):
        if words[np.uint64(word)] == same:
            alike += 1
        else:
            tally[np.uint64(code)] += alike << bits
            alike = 0
            slot = word << np.uint64(bits)
            tally_slots(leaves, slot, slot + np.uint64(1 << bits), tally)
            code = leaves[np.uint64(slot + np.uint64((1 << bits) - 1))]
            same = np.uint64(code) * repeat
    tally[np.uint64(code)] += alike << bits


@kernel(allocates=False)
def _tally_words(leaves, words, low, high, bits, tally):
    """Add the codes in words [low, high) to `tally`; what was written together usually has one code."""
    code = leaves[np.uint64(low << bits)]
    same = np.uint64(code) * np.uint64(REPEAT_16 if bits == LANE_BITS_16 else REPEAT_32)
    different = same ^ same
    for word in range(np.uint64(low), np.uint64(high)):
        different |= words[np.uint64(word)] ^ same
    if different == 0:
        tally[np.uint64(code)] += (high - low) << bits
    else:
        _tally_mixed_words(leaves, words, low, high, bits, tally)


@kernel(allocates=False)
def tally_run(leaves, words, first, stop, tally):
    """Do what `tally_slots` does, a word at a time."""
    bits = LANE_BITS_16 if leaves.itemsize == ITEMSIZE_16 else LANE_BITS_32
    low, high = (first + (1 << bits) - 1) >> bits, stop >> bits
    if low >= high:
        tally_slots(leaves, first, stop, tally)
    else:
        if first < low << bits:
            tally_slots(leaves, first, low << bits, tally)
        _tally_words(leaves, words, low, high, bits, tally)
        if high << bits < stop:
            tally_slots(leaves, high << bits, stop, tally)


@kernel(allocates=False)
def exchange_run(leaves, words, first, stop, code, tally):
    """Do what `exchange_slots` does, a word at a time."""
    bits = LANE_BITS_16 if leaves.itemsize == ITEMSIZE_16 else LANE_BITS_32
    low, high = (first + (1 << bits) - 1) >> bits, stop >> bits
    if low >= high:
        exchange_slots(leaves, first, stop, code, tally)
    else:
        if first < low << bits:
            exchange_slots(leaves, first, low << bits, code, tally)
        _tally_words(leaves, words, low, high, bits, tally)
        same = np.uint64(code) * np.uint64(REPEAT_16 if bits == LANE_BITS_16 else REPEAT_32)
        for word in range(np.uint64(low), np.uint64(high)):
            words[np.uint64(word)] = same
        if high << bits < stop:
            exchange_slots(leaves, high << bits, stop, code, tally)


@kernel(allocates=False)
def overwrite(directory, leaves, words, used, first, stop, code, tally):
    """Store `code` in every block of [first, stop); add what was there to `tally`.

    Parameters
    ----------
    directory, leaves, words, used : arrays
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
            slot = base + (block & SLOT_MASK)
            exchange_run(leaves, words, slot, slot + count, code, tally)
        block = end


@kernel(allocates=False)
def tally_codes(directory, leaves, words, first, stop, tally):
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
            slot = (entry << LEAF_BITS) + (block & SLOT_MASK)
            tally_run(leaves, words, slot, slot + count, tally)
        block = end


@kernel(allocates=False)
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
            slot = base + (block & SLOT_MASK)
            for position in range(slot, slot + count):
                if leaves[position] == old:
                    leaves[position] = new
                    replaced += 1
        block = end
    return replaced
