"""The footprint of a trace while it grows."""

from snapsim.traces.extents import ExtentSet, complement, intersection
from snapsim.types import Int64Array


class GrowingFootprint:
    """Distinct blocks, counted again and again while they grow.

    The large part that was there before stays settled while new blocks gather beside it, until they are an
    eighth of it: so counting costs time in proportion to what is new.

    Parameters
    ----------
    block_size : int
        Size of the blocks, which are aligned to address 0.  [bytes]
    """

    __slots__ = ("_added", "_block_size", "_free", "_recent", "_settled", "_settled_blocks")

    def __init__(self, block_size: int) -> None:
        self._block_size = block_size
        self._settled, self._recent, self._added = ExtentSet(), ExtentSet(), ExtentSet()
        self._settle()

    def add(self, offset: Int64Array, length: Int64Array) -> None:
        """Add byte ranges.

        Parameters
        ----------
        offset, length : int64 array, shape (n_ranges,)
            First byte and number of bytes, more than 0.  [bytes]
        """
        first = offset // self._block_size
        self._added.add(first, (offset + length - 1) // self._block_size + 1 - first)

    def covered_bytes(self) -> int:
        """Count the bytes of the blocks that were added.

        Returns
        -------
        int
            Distinct blocks times the block size.  [bytes]
        """
        self._recent.add_extents(intersection(self._added.extents, self._free))
        self._added = ExtentSet()
        if 8 * self._recent.extents.start.size > self._free.start.size:
            self._settle()
        return (self._settled_blocks + self._recent.covered_bytes()) * self._block_size

    def _settle(self) -> None:
        self._settled.add_extents(self._recent.extents)
        self._recent = ExtentSet()
        self._free = complement(self._settled.extents)
        self._settled_blocks = self._settled.covered_bytes()
