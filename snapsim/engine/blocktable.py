"""A table with one small code per block of a volume, whose memory follows the footprint.

Two levels: a directory with one entry per leaf, and leaves of `LEAF_SLOTS` codes.  A leaf exists only where
the codes differ
from slot to slot; where a whole leaf has one code, the directory holds that code instead.  A discard
of a 64 TiB volume therefore touches the directory only.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from snapsim.engine.blocktable_kernels import LEAF_BITS, LEAF_SLOTS, UNIFORM, WORD_BYTES, TableArrays
from snapsim.errors import CapacityError

__all__ = ["LEAF_SLOTS", "BlockTable", "TableArrays", "TableMemory"]

# Memory that nobody touches costs nothing: the leaves of most volumes are asked for at once and never move.
_AT_ONCE_BYTES = 256 << 20
_SPARE_LEAVES = 16  # a table with every leaf in use still has room for what one more request might need
_GROWTH = 8  # beyond that they grow by an eighth: `ndarray.resize` moves pages, not bytes


class TableMemory(NamedTuple):
    """What a table holds.

    Attributes
    ----------
    leaf_bytes : int
        Leaves in use.  [bytes]
    directory_bytes : int
        The directory.  [bytes]
    slots : int
        Codes that the leaves in use can hold.
    """

    leaf_bytes: int
    directory_bytes: int
    slots: int


class BlockTable:
    """Codes of the blocks of one volume.

    Parameters
    ----------
    n_blocks : int
        Blocks of the volume.
    max_code : int
        The largest code that will be stored; it decides between 2 and 4 bytes a slot.

    Raises
    ------
    CapacityError
        The codes do not fit into 31 bits.
    """

    def __init__(self, n_blocks: int, *, max_code: int) -> None:
        if max_code > np.iinfo(np.int32).max - 1:
            msg = f"{max_code:,} epochs are more than a block table can tell apart: use longer intervals"
            raise CapacityError(msg)
        self.dtype = np.dtype(np.uint16 if max_code <= np.iinfo(np.uint16).max else np.uint32)
        n_leaves = (n_blocks + LEAF_SLOTS - 1) >> LEAF_BITS
        self._directory: npt.NDArray[np.int32] = np.full(max(n_leaves, 1), UNIFORM, dtype=np.int32)
        leaf_bytes = LEAF_SLOTS * self.dtype.itemsize
        at_once = min(n_leaves + _SPARE_LEAVES, _AT_ONCE_BYTES // leaf_bytes) * leaf_bytes
        self._words: npt.NDArray[np.uint64] = np.empty(at_once // WORD_BYTES, dtype=np.uint64)
        self._used: npt.NDArray[np.int64] = np.zeros(1, dtype=np.int64)

    @property
    def arrays(self) -> TableArrays:
        """The arrays that kernels work on; ask again after `reserve`."""
        return TableArrays(self._directory, self._words.view(self.dtype), self._words, self._used)

    def reserve(self, free_leaves: int) -> None:
        """Make room for leaves.

        Parameters
        ----------
        free_leaves : int
            Leaves that must be free afterwards.
        """
        leaf_words = LEAF_SLOTS * self.dtype.itemsize // WORD_BYTES
        have = len(self._words) // leaf_words
        need = int(self._used[0]) + free_leaves
        if need > have:
            grown = max(need, have + max(have // _GROWTH, 16))
            grown = max(need, min(grown, len(self._directory)))
            self._words.resize(grown * leaf_words, refcheck=False)

    def widen(self, *, max_code: int) -> None:
        """Make slots of 2 bytes slots of 4 once a code does not fit any more.

        Parameters
        ----------
        max_code : int
            The largest code that will be stored.

        Raises
        ------
        CapacityError
            The codes do not fit into 31 bits.
        """
        if max_code >= 1 << (8 * self.dtype.itemsize):
            wide = BlockTable(0, max_code=max_code)
            slots = self._words.view(self.dtype)
            self._words = np.empty(len(slots) * wide.dtype.itemsize // WORD_BYTES, dtype=np.uint64)
            self._words.view(wide.dtype)[:] = slots
            self.dtype = wide.dtype

    @property
    def memory(self) -> TableMemory:
        """What the table holds now."""
        slots = int(self._used[0]) << LEAF_BITS
        return TableMemory(slots * self.dtype.itemsize, self._directory.nbytes, slots)
