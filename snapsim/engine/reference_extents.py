"""A file of whole extents and its snapshots, said slowly: dicts from blocks to extents.

A snapshot is a copy of the dict that the file was.  The space is that of every extent to which any dict
refers at least once; what deleting a snapshot frees is what only its dict refers to.
"""

from collections.abc import Iterable
from typing import NamedTuple

from snapsim.types import DISCARD, WRITE, WRITE_ZEROES, Batch

__all__ = ["Extent", "ReferenceExtents"]


class Extent(NamedTuple):
    """One allocation on the disk.

    Attributes
    ----------
    number : int
        No two have the same.
    blocks : int
        Its length on the disk, which never changes.
    epoch : int
        When it was written.
    """

    number: int
    blocks: int
    epoch: int


class ReferenceExtents:
    """The readable twin of `ExtentChain`.

    Parameters
    ----------
    capacity, block_size, in_place, longest, initial
        As there.

    Attributes
    ----------
    now : dict of int to Extent
        The extent of each block; holes are missing.
    kept : dict of int to dict
        What `now` was when each snapshot was taken, oldest first.

    Examples
    --------
    >>> file = ReferenceExtents(capacity=65536, initial=[(0, 65536)])
    >>> file.write(0, 4096)
    >>> file.data_used(), file.waste()
    (69632, 4096)
    """

    def __init__(
        self,
        *,
        capacity: int,
        block_size: int = 4096,
        in_place: bool = False,
        longest: int = 128 << 20,
        initial: str | Iterable[tuple[int, int]] = "thin",
    ) -> None:
        self.capacity, self.block_size = capacity, block_size
        self.longest = longest // block_size
        self.now: dict[int, Extent] = {}
        self.kept: dict[int, dict[int, Extent]] = {}
        self.epoch = 0
        self._written = 0
        self.in_place = False
        whole = [(0, capacity)] if initial == "thick" else []
        for offset, length in whole if isinstance(initial, str) else initial:
            self.write(offset, length)
        self.in_place = in_place

    # --- requests
    # -----------------------------------------------------------------------------------------------

    def apply(self, batch: Batch) -> None:
        """Carry out requests; reads and flushes change nothing."""
        columns = (column.tolist() for column in (batch.op, batch.offset, batch.length))
        for op, offset, length in zip(*columns, strict=True):
            if op in {WRITE, WRITE_ZEROES}:
                self.write(offset, length)
            elif op == DISCARD:
                self.discard(offset, length)

    def write(self, offset: int, length: int) -> None:
        """Write bytes [offset, offset + length): every block that they touch."""
        if length:
            blocks = range(offset // self.block_size, (offset + length - 1) // self.block_size + 1)
            for first in range(blocks.start, blocks.stop, self.longest):
                self._write(range(first, min(first + self.longest, blocks.stop)))

    def discard(self, offset: int, length: int) -> None:
        """Punch a hole: blocks covered whole become holes, data in those covered in part is rewritten."""
        end = offset + length
        touched = range(offset // self.block_size, -(-end // self.block_size)) if length else range(0)
        whole = {
            block
            for block in touched
            if offset <= block * self.block_size and (block + 1) * self.block_size <= end
        }
        parts = [block for block in touched if block not in whole and block in self.now]
        if len(parts) == 2 and parts[1] == parts[0] + 1:
            self._write(range(parts[0], parts[1] + 1))
        else:
            for block in parts:
                self._write(range(block, block + 1))
        for block in whole:
            self.now.pop(block, None)

    def _write(self, blocks: range) -> None:
        """Write blocks that one extent can hold."""
        stay = {block for block in blocks if self._stays(block)}
        run: list[int] = []
        for block in (*blocks, blocks.stop):
            if block in stay or block == blocks.stop:
                if run:
                    self._written += 1
                    self.now |= dict.fromkeys(run, Extent(self._written, len(run), self.epoch))
                run = []
            else:
                run.append(block)

    def _stays(self, block: int) -> bool:
        """Tell whether a block is overwritten where it is: its extent is newer than every snapshot."""
        return self.in_place and block in self.now and self.now[block].epoch == self.epoch

    # --- operations on snapshots
    # --------------------------------------------------------------------------------

    def snapshot(self) -> int:
        """Take a snapshot; return its number."""
        self.kept[self.epoch] = dict(self.now)
        self.epoch += 1
        return self.epoch - 1

    def delete(self, snapshot: int) -> int:
        """Delete a snapshot; return the bytes that this frees."""
        before = self.data_used()
        del self.kept[snapshot]
        return before - self.data_used()

    def revert(self, snapshot: int) -> int:
        """Show what a snapshot shows, without the newer ones; return the bytes that this frees."""
        before = self.data_used()
        self.now = dict(self.kept[snapshot])
        self.kept = {one: state for one, state in self.kept.items() if one <= snapshot}
        self.epoch += 1
        return before - self.data_used()

    # --- questions
    # ----------------------------------------------------------------------------------------------

    def data_used(self) -> int:
        """Return the disk space of all extents that anybody refers to.  [bytes]"""
        return self._bytes({extent for state in self._states() for extent in state.values()})

    def exclusive(self, snapshot: int) -> int:
        """Return the disk space of the extents that only a snapshot refers to.  [bytes]"""
        others = (state for state in self._states() if state is not self.kept[snapshot])
        return self._bytes(
            set(self.kept[snapshot].values()).difference(*(state.values() for state in others))
        )

    def referenced(self) -> int:
        """Return the space of the blocks that anybody shows, each block of each extent once.  [bytes]"""
        return len({shown for state in self._states() for shown in state.items()}) * self.block_size

    def waste(self) -> int:
        """Return the disk space in extents of blocks that nobody shows.  [bytes]"""
        return self.data_used() - self.referenced()

    def _states(self) -> list[dict[int, Extent]]:
        return [*self.kept.values(), self.now]

    def _bytes(self, extents: set[Extent]) -> int:
        return sum(extent.blocks for extent in extents) * self.block_size
