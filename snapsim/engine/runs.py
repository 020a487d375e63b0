"""Runs of blocks: what a layer or a store holds, as sorted extents with the code of each."""

from typing import NamedTuple, Self

import numpy as np

from snapsim.engine import chain_kernels as kernels
from snapsim.types import Int64Array

__all__ = ["Runs"]

_WIDTHS = 3


class Runs(NamedTuple):
    """Disjoint extents of blocks in increasing order; neighbours that touch differ in their codes.

    Attributes
    ----------
    first, stop : int64 arrays, shape (n_runs,)
        Half-open extents.  [blocks]
    code : int64 array, shape (n_runs,)
        What is there; odd codes are content (`snapsim.engine.chain_kernels`).
    """

    first: Int64Array
    stop: Int64Array
    code: Int64Array

    @classmethod
    def empty(cls) -> Self:
        """Return no runs."""
        return cls(*np.zeros((_WIDTHS, 0), np.int64))

    @classmethod
    def whole(cls, n_blocks: int, code: int) -> Self:
        """Return one run over all blocks."""
        return cls(np.array([0]), np.array([n_blocks]), np.array([code])) if n_blocks else cls.empty()

    @classmethod
    def union(cls, first: Int64Array, stop: Int64Array, code: int) -> Self:
        """Return what extents cover, in any order and with overlaps, as runs of one code.

        Parameters
        ----------
        first, stop : int64 arrays, shape (n_extents,)
            Half-open extents.  [blocks]
        code : int
            The code of all of them.

        Returns
        -------
        Runs
            At most as many as there are extents.
        """
        some = first < stop
        order = np.argsort(first[some], kind="stable")
        first, reach = first[some][order], np.maximum.accumulate(stop[some][order])
        if len(first) == 0:
            return cls.empty()
        begins = np.append(True, first[1:] > reach[:-1])
        ends = np.append(begins[1:], True)
        return cls(first[begins], reach[ends], np.full(int(begins.sum()), code))

    @classmethod
    def sort(cls, first: Int64Array, stop: Int64Array, code: Int64Array) -> Self:
        """Return disjoint extents in order, neighbours of one code together.

        Parameters
        ----------
        first, stop, code : int64 arrays, shape (n_extents,)
            Disjoint extents in any order.

        Returns
        -------
        Runs
            The same blocks.
        """
        order = np.argsort(first)
        return cls(first[order], stop[order], code[order]).joined()

    @property
    def blocks(self) -> int:
        """The number of blocks, with content or without."""
        return int((self.stop - self.first).sum())

    @property
    def live(self) -> int:
        """The number of blocks with content."""
        return int(((self.stop - self.first) * (self.code & 1)).sum())

    def joined(self) -> Self:
        """Return the same runs with neighbours of one code made one."""
        begins = np.ones(len(self.first), np.bool_)
        begins[1:] = (self.first[1:] != self.stop[:-1]) | (self.code[1:] != self.code[:-1])
        ends = np.append(begins[1:], True)[: len(begins)]
        return type(self)(self.first[begins], self.stop[ends], self.code[begins])

    def under(self, upper: Self) -> Self:
        """Lay other runs over these.

        Parameters
        ----------
        upper : Runs
            They count where both hold a block.

        Returns
        -------
        Runs
            All blocks that one of them holds.
        """
        if len(upper.first) == 0 or len(self.first) == 0:
            return self if len(upper.first) == 0 else upper
        out = np.empty((_WIDTHS, len(self.first) + 2 * len(upper.first)), np.int64)
        n = int(kernels.lay_over(*self, *upper, *out))
        return type(self)(*(column[:n].copy() for column in out))
