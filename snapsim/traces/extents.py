"""Exact unions of byte ranges, streamed: what a trace wrote or touched, in memory that follows the footprint.

One union, exact to the byte, answers every block size: a block is touched exactly when the union overlaps it.
"""

from collections.abc import ItemsView, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from snapsim.types import Int64Array


class Extents(NamedTuple):
    """Sorted, disjoint byte ranges that do not even touch each other.

    Attributes
    ----------
    start : int64 array, shape (n_extents,)
        First byte of each range.  [bytes]
    end : int64 array, shape (n_extents,)
        One past the last byte of each range.  [bytes]
    """

    start: Int64Array
    end: Int64Array


_NOTHING = Extents(np.empty(0, np.int64), np.empty(0, np.int64))


def union(start: Int64Array, end: Int64Array) -> Extents:
    """Join byte ranges that overlap or touch.

    Parameters
    ----------
    start, end : int64 array, shape (n_ranges,)
        Half-open ranges in any order; start < end in each.  [bytes]

    Returns
    -------
    Extents
        The same bytes as sorted ranges with gaps between them.

    Notes
    -----
    Starts and ends are sorted apart from each other.  With i earlier starts, a gap lies before start i
    exactly when i ends lie before it: each of those ends belongs to one of the i ranges that began earlier,
    so all of them are over.
    """
    if start.size == 0:
        return _NOTHING
    # a stable sort merges presorted runs in linear time: levels and real traces consist of runs
    start, end = np.sort(start, kind="stable"), np.sort(end, kind="stable")
    first = np.flatnonzero(np.concatenate(([True], end[:-1] < start[1:])))
    last = np.append(first[1:] - 1, start.size - 1)
    return Extents(start[first], end[last])


def intersection(one: Extents, other: Extents) -> Extents:
    """Return the bytes that two sets share.

    Parameters
    ----------
    one, other : Extents
        The sets; time goes with the logarithm of the size of `other`.

    Returns
    -------
    Extents
        As sorted ranges with gaps between them.
    """
    first = np.searchsorted(other.end, one.start, side="right")
    count = np.searchsorted(other.start, one.end, side="left") - first
    # a range shows once for every range of the other set that it overlaps
    mine = np.repeat(np.arange(count.size), count)
    theirs = np.arange(mine.size) + np.repeat(first - np.cumsum(count) + count, count)
    return Extents(
        np.maximum(one.start[mine], other.start[theirs]),
        np.minimum(one.end[mine], other.end[theirs]),
    )


def complement(extents: Extents) -> Extents:
    """Return the 64-bit addresses that a set does not hold.

    Parameters
    ----------
    extents : Extents
        The set.

    Returns
    -------
    Extents
        As sorted ranges with gaps between them.
    """
    limits = np.iinfo(np.int64)
    return Extents(np.append(limits.min, extents.end), np.append(extents.start, limits.max))


class ExtentSet:
    """A growing set of bytes.

    Batches are joined among themselves first and then merged into levels of geometrically growing size, so
    that n ranges cost O(n log n) altogether and memory holds the joined ranges, not the requests.

    Examples
    --------
    >>> written = ExtentSet()
    >>> written.add(np.array([4096, 0]), np.array([512, 4096]))
    >>> written.extents
    Extents(start=array([0]), end=array([4608]))
    >>> written.covered_bytes(), written.covered_bytes(4096)
    (4608, 8192)
    """

    __slots__ = ("_levels",)

    def __init__(self) -> None:
        self._levels: list[Extents] = []

    def add(self, offset: Int64Array, length: Int64Array) -> None:
        """Add byte ranges.

        Parameters
        ----------
        offset, length : int64 array, shape (n_ranges,)
            First byte and number of bytes; ranges of length 0 add nothing.  [bytes]
        """
        if not length.all():
            offset, length = offset[length > 0], length[length > 0]
        self.add_extents(union(offset, offset + length))

    def add_extents(self, extents: Extents) -> None:
        """Add what another set holds.

        Parameters
        ----------
        extents : Extents
            The other set's `extents`.
        """
        if extents.start.size == 0:
            return
        self._levels.append(extents)
        while len(self._levels) > 1 and self._levels[-2].start.size < 2 * self._levels[-1].start.size:
            self._levels[-2:] = [_merge(self._levels[-2:])]

    @property
    def extents(self) -> Extents:
        """All bytes of the set as sorted ranges with gaps between them."""
        if len(self._levels) > 1:
            self._levels = [_merge(self._levels)]
        return self._levels[0] if self._levels else _NOTHING

    def covered_bytes(self, block_size: int = 1) -> int:
        """Count the bytes of the blocks that the set touches.

        Parameters
        ----------
        block_size : int
            Size of the blocks, which are aligned to address 0.  [bytes]

        Returns
        -------
        int
            Blocks with at least one byte in the set, times the block size.  [bytes]
        """
        start, end = self.extents
        if start.size == 0:
            return 0
        first, last = start // block_size, (end - 1) // block_size
        # ranges are sorted and apart, so a block can be shared only by the last block of one and the first of
        # the next
        shared = int(np.count_nonzero(first[1:] == last[:-1]))
        return (int((last - first).sum()) + start.size - shared) * block_size

    @property
    def nbytes(self) -> int:
        """Memory that the set occupies, in bytes."""
        return sum(level.start.nbytes + level.end.nbytes for level in self._levels)

    def __repr__(self) -> str:
        start, _ = self.extents
        return f"<ExtentSet: {self.covered_bytes()} bytes in {start.size} ranges>"


class VolumeExtents:
    """One `ExtentSet` per volume: the addresses of different volumes have nothing to do with each other."""

    __slots__ = ("_sets",)

    def __init__(self) -> None:
        self._sets: dict[int, ExtentSet] = {}

    def add(
        self, offset: Int64Array, length: Int64Array, volume: npt.NDArray[np.int32] | None = None
    ) -> None:
        """Add byte ranges.

        Parameters
        ----------
        offset, length : int64 array, shape (n_ranges,)
            First byte and number of bytes.  [bytes]
        volume : int32 array, shape (n_ranges,), optional
            Index of the volume of each range; without it all belong to volume 0.
        """
        for code, rows in by_volume(volume):
            self.volume(code).add(offset[rows], length[rows])

    def volume(self, code: int) -> ExtentSet:
        """Return the set of one volume.

        Parameters
        ----------
        code : int
            Index of the volume.

        Returns
        -------
        ExtentSet
            What the volume holds; adding to it adds to the volume.
        """
        return self._sets.setdefault(code, ExtentSet())

    def update(self, other: "VolumeExtents") -> None:
        """Add everything that another one holds.

        Parameters
        ----------
        other : VolumeExtents
            Stays as it is.
        """
        for code, extents in other.items():
            self.volume(code).add_extents(extents.extents)

    def items(self) -> ItemsView[int, ExtentSet]:
        """Return the volumes that hold something, each with its set."""
        return self._sets.items()

    def covered_bytes(self, block_size: int = 1) -> int:
        """Count the bytes of the blocks that the sets touch.

        Parameters
        ----------
        block_size : int
            Size of the blocks.  [bytes]

        Returns
        -------
        int
            Sum over the volumes.  [bytes]
        """
        return sum(extents.covered_bytes(block_size) for extents in self._sets.values())


def by_volume(volume: npt.NDArray[np.int32] | None) -> Iterator[tuple[int, slice | npt.NDArray[np.intp]]]:
    """Split the rows of a batch by volume.

    Parameters
    ----------
    volume : int32 array, shape (n_requests,), or None
        The volume column of a batch; None means that all rows belong to volume 0.

    Yields
    ------
    code : int
        Index of a volume that occurs.
    rows : slice or intp array
        Its rows, in their order.
    """
    if volume is None:
        yield 0, slice(None)
        return
    if volume.size == 0:
        return
    order = np.argsort(volume, kind="stable")
    codes, first = np.unique(volume[order], return_index=True)
    yield from zip(codes.tolist(), np.split(order, first[1:]), strict=True)


def _merge(levels: list[Extents]) -> Extents:
    return union(
        np.concatenate([level.start for level in levels]), np.concatenate([level.end for level in levels])
    )
