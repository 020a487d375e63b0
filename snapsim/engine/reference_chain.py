"""A volume and its snapshots, said slowly: each snapshot is a copy of the dict that the volume was.

Whatever the fast chain answers is a question about these dicts.  A *layer* holds the versions that one
snapshot shows and the one before does not; a *store* holds those that a snapshot shows and the next does not.
"""

from collections import Counter
from itertools import pairwise
from typing import Any

from snapsim.engine.reference import ReferenceVolume, Version
from snapsim.types import DISCARD, READ, WRITE, WRITE_ZEROES, Batch

State = dict[int, Version]


class ReferenceChain(ReferenceVolume):
    """A volume whose snapshots are taken, deleted and returned to by hand.

    Parameters
    ----------
    block_size : int
        [bytes]
    capacity : int
        Size of the volume.  [bytes]
    **how
        As in `ReferenceVolume`.

    Attributes
    ----------
    kept : dict of int to dict
        What each snapshot shows, by its number, oldest first.
    lookups : Counter
        Block reads by the number of snapshots between the present and what they met.
    writes : Counter
        How often each block was written.

    Examples
    --------
    >>> chain = ReferenceChain(block_size=4096, capacity=8192, initial="thin")
    >>> chain.write(0, 8192)
    >>> first = chain.snapshot()
    >>> chain.write(0, 4096)
    >>> chain.layers(), chain.stores()
    ([2, 1], [1])
    """

    def __init__(self, *, block_size: int, capacity: int, **how: Any) -> None:
        self.kept: dict[int, State] = {}
        self.lookups: Counter[int] = Counter()
        self.writes: Counter[int] = Counter()
        self._nth: dict[Version, int] = {}
        self._epoch = 0
        self._ended: dict[int, int] = {}  # when a block that holds nothing lost what it held
        self._ended_before: dict[int, dict[int, int]] = {}
        super().__init__([], block_size=block_size, capacity=capacity, **how)

    @property
    def epoch(self) -> int:
        """The present epoch: how many snapshots and reverts there have been."""
        return self._epoch

    # --- requests
    # -----------------------------------------------------------------------------------------------

    def apply(self, batch: Batch) -> None:
        """Carry out requests."""
        columns = (column.tolist() for column in (batch.op, batch.offset, batch.length))
        for op, offset, length in zip(*columns, strict=True):
            self.request(0, op, offset, length)

    def write(self, offset: int, length: int) -> None:
        """Write bytes [offset, offset + length)."""
        self.request(0, WRITE, offset, length)

    def read(self, offset: int, length: int) -> None:
        """Read bytes [offset, offset + length)."""
        self.request(0, READ, offset, length)

    def discard_bytes(self, offset: int, length: int) -> None:
        """Discard bytes [offset, offset + length)."""
        self.request(0, DISCARD, offset, length)

    def write_zeroes(self, offset: int, length: int) -> None:
        """Zero bytes [offset, offset + length)."""
        self.request(0, WRITE_ZEROES, offset, length)

    # --- operations on snapshots
    # --------------------------------------------------------------------------------

    def snapshot(self) -> int:
        """Take a snapshot; return its number."""
        taken = self._epoch
        self.kept[taken] = dict(self.now)
        self._ended_before[taken] = dict(self._ended)
        self._epoch += 1
        return taken

    def delete(self, snapshot: int) -> int:
        """Delete a snapshot; return how many versions nobody shows any more."""
        before = self._shown()
        del self.kept[snapshot]
        return len(before - self._shown())

    def revert(self, snapshot: int) -> int:
        """Show what a snapshot shows, without the newer ones; return how many versions that gives up."""
        before = self._shown()
        self.now = dict(self.kept[snapshot])
        self._ended = dict(self._ended_before[snapshot])
        self.kept = {one: state for one, state in self.kept.items() if one <= snapshot}
        self._epoch += 1
        return len(before - self._shown())

    def flatten(self) -> int:
        """Keep the present only; return how many versions that gives up."""
        before = self._shown()
        self.kept.clear()
        return len(before - self._shown())

    # --- questions
    # ----------------------------------------------------------------------------------------------

    def births(self, snapshot: int | None = None) -> list[int]:
        """Return the birth of what each block shows; -2 where nothing is."""
        state = self.now if snapshot is None else self.kept[snapshot]
        n_blocks = -(-self.capacity // self.block_size)
        return [state[block].birth if block in state else -2 for block in range(n_blocks)]

    def label(self, version: Version) -> str:
        """Return the name of a version: v0 was there at first, v1 is the first write to its block.

        Parameters
        ----------
        version : Version
            One that this volume or a snapshot of it has shown.

        Returns
        -------
        str
            "v" and a number.
        """
        return f"v{self._nth[version]}"

    def depth(self, block: int) -> int:
        """Count the snapshots between the present and what a read of a block meets.

        Parameters
        ----------
        block : int
            The block.

        Returns
        -------
        int
            All of them, where nothing was ever written; a discard is met where it happened.
        """
        found = self.now.get(block)
        changed = self._ended.get(block, -1) if found is None else found.birth
        return sum(one >= changed for one in self.kept)

    def layers(self) -> list[int]:
        """Count the versions that each snapshot, and last the volume, adds to the one before."""
        return [len(newer - older) for older, newer in pairwise([set(), *self._states()])]

    def stores(self) -> list[int]:
        """Count the versions that each snapshot shows and the next one, or last the volume, does not."""
        return [len(older - newer) for older, newer in pairwise(self._states())]

    def own_stores(self) -> list[int]:
        """Count the versions that each snapshot shows and the volume does not."""
        *kept, now = self._states()
        return [len(state - now) for state in kept]

    def total(self) -> int:
        """Count the versions that anybody shows."""
        return len(self._shown())

    def _states(self) -> list[set[Version]]:
        return [set(state.values()) for state in (*self.kept.values(), self.now)]

    def _shown(self) -> set[Version]:
        return set().union(*self._states())

    # --- what requests do to one block
    # ----------------------------------------------------------------------------

    def _kill(self, block: int) -> None:
        if block in self.now:
            self._ended[block] = self._epoch
        super()._kill(block)

    def _read(self, block: int) -> None:
        super()._read(block)
        self.lookups[self.depth(block)] += 1

    def _new(self, block: int, birth: int) -> Version:
        version = super()._new(block, birth)
        self.writes[block] += birth >= 0
        self._nth[version] = self.writes[block]
        return version
