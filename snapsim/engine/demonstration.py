"""A small volume to show snapshots on: every operation gives the steps in words, the state before and after.

Nothing is changed in place, so that a teacher, a notebook or a panel can go back, and try another way.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

from snapsim.engine.chain import ORGANISATIONS
from snapsim.engine.places import Row, held, rows
from snapsim.engine.reference_chain import ReferenceChain
from snapsim.engine.steps import Operation, Steps, carry_out
from snapsim.engine.telling import explain_step
from snapsim.errors import UsageError
from snapsim.units import format_size, parse_size

__all__ = ["Demonstration", "Walk", "demonstrate"]

_LARGEST = 32  # what can be looked at block by block


class Walk(NamedTuple):
    """One operation, with the state before and after it.

    Attributes
    ----------
    before, after : Demonstration
        The two states.
    steps : Steps
        What was done, in words and with its I/O.
    """

    before: "Demonstration"
    after: "Demonstration"
    steps: Steps

    def __repr__(self) -> str:
        """Return the steps as a numbered list."""
        return repr(self.steps)


@dataclass(frozen=True, repr=False)
class Demonstration:
    """A chain in one organisation; `demonstrate` makes the first state.

    Attributes
    ----------
    chain : ReferenceChain
        The volume and its snapshots.
    organisation : str
        A key of `snapsim.engine.chain.ORGANISATIONS`.
    fill, merge_gap
        As for `snapsim.engine.telling.explain_step`.
    """

    chain: ReferenceChain
    organisation: str
    fill: str = "rest"
    merge_gap: int = 16384

    def do(self, operation: Operation) -> Walk:
        """Carry out an operation.

        Parameters
        ----------
        operation : Operation
            What is done.

        Returns
        -------
        Walk
            Its steps and the next state; this one stays.

        Raises
        ------
        UsageError
            It cannot be done.
        """
        steps = explain_step(
            self.chain, operation, organisation=self.organisation, fill=self.fill, merge_gap=self.merge_gap
        )
        return Walk(self, replace(self, chain=carry_out(self.chain, operation)), steps)

    def write(
        self, block: int, *, blocks: int = 1, length: int | str | None = None, skip: int | str = 0
    ) -> Walk:
        """Write whole blocks, or with `length` a part of them.

        Parameters
        ----------
        block : int
            The first one.
        blocks : int
            How many.
        length : int or str, optional
            Instead of whole blocks.  [bytes]
        skip : int or str
            Begin so far behind the start of the first block.  [bytes]

        Returns
        -------
        Walk
            What it does.
        """
        return self.do(self._request("write", block, blocks, length, skip))

    def read(
        self, block: int, *, blocks: int = 1, length: int | str | None = None, skip: int | str = 0
    ) -> Walk:
        """Read whole blocks, or with `length` a part of them.

        Parameters
        ----------
        block : int
            The first one.
        blocks : int
            How many.
        length : int or str, optional
            Instead of whole blocks.  [bytes]
        skip : int or str
            Begin so far behind the start of the first block.  [bytes]

        Returns
        -------
        Walk
            What it does.
        """
        return self.do(self._request("read", block, blocks, length, skip))

    def discard(
        self, block: int, *, blocks: int = 1, length: int | str | None = None, skip: int | str = 0
    ) -> Walk:
        """Discard whole blocks, or with `length` a part of them.

        Parameters
        ----------
        block : int
            The first one.
        blocks : int
            How many.
        length : int or str, optional
            Instead of whole blocks.  [bytes]
        skip : int or str
            Begin so far behind the start of the first block.  [bytes]

        Returns
        -------
        Walk
            What it does.
        """
        return self.do(self._request("discard", block, blocks, length, skip))

    def snapshot(self) -> Walk:
        """Take a snapshot."""
        return self.do(Operation("snapshot"))

    def delete(self, snapshot: int, *, how: str = "commit") -> Walk:
        """Delete a snapshot.

        Parameters
        ----------
        snapshot : int
            Its number.
        how : {"commit", "stream"}
            Where layers are merged: the upper one is copied down, or the lower one up.

        Returns
        -------
        Walk
            What it does.
        """
        return self.do(Operation("delete", snapshot=snapshot, how=how))

    def revert(self, snapshot: int) -> Walk:
        """Return to a snapshot.

        Parameters
        ----------
        snapshot : int
            Its number.

        Returns
        -------
        Walk
            What it does.
        """
        return self.do(Operation("revert", snapshot=snapshot))

    def flatten(self) -> Walk:
        """Let the volume stand alone."""
        return self.do(Operation("flatten"))

    def under(self, organisation: str) -> "Demonstration":
        """Return the same volume with the same history, kept in another way.

        Parameters
        ----------
        organisation : str
            A key of `snapsim.engine.chain.ORGANISATIONS`.

        Returns
        -------
        Demonstration
            It shows the same; what it holds and what its operations cost differ.

        Raises
        ------
        UsageError
            The organisation is not known.
        """
        if organisation not in ORGANISATIONS:
            raise UsageError(f"organisation={organisation!r} is not one of {', '.join(ORGANISATIONS)}")
        return replace(self, organisation=organisation)

    @property
    def n_blocks(self) -> int:
        """Blocks of the volume."""
        return -(-self.chain.capacity // self.chain.block_size)

    @property
    def snapshots(self) -> tuple[int, ...]:
        """The snapshots that exist, oldest first."""
        return tuple(self.chain.kept)

    @property
    def total(self) -> int:
        """Blocks that everything takes together."""
        return held(self.chain, self.organisation)

    @property
    def snapshot_only(self) -> int:
        """Blocks that are there only because of snapshots."""
        return self.total - len(self.chain.now)

    def rows(self) -> tuple[Row, ...]:
        """Return where everything lies, oldest first."""
        return rows(self.chain, self.organisation)

    def shows(self, snapshot: int | None = None) -> tuple[str, ...]:
        """Return what the volume or a snapshot shows.

        Parameters
        ----------
        snapshot : int, optional
            Its number; the volume by default.

        Returns
        -------
        tuple of str
            The version of each block, "-" where nothing is.

        Raises
        ------
        UsageError
            There is no such snapshot.
        """
        if snapshot is not None and snapshot not in self.chain.kept:
            exist = ", ".join(map(str, self.chain.kept)) or "none"
            raise UsageError(f"there is no snapshot {snapshot}: those that exist are {exist}")
        state = self.chain.now if snapshot is None else self.chain.kept[snapshot]
        return tuple(
            self.chain.label(state[block]) if block in state else "-" for block in range(self.n_blocks)
        )

    def own_blocks(self) -> dict[str, int]:
        """Return how many blocks each layer, store or table holds itself, oldest first."""
        return {row.name: len(row.own()) for row in self.rows()}

    def __repr__(self) -> str:
        """Return what it is in one line."""
        size = format_size(self.chain.block_size)
        snapshots = ", ".join(map(str, self.snapshots)) or "none"
        return (
            f"{self.organisation}: {self.n_blocks} blocks of {size}, snapshots: {snapshots}; "
            f"{self.total} blocks held, {self.snapshot_only} of them only for snapshots"
        )

    def _request(
        self, kind: str, block: int, blocks: int, length: int | str | None, skip: int | str
    ) -> Operation:
        size = self.chain.block_size
        begin = block * size + parse_size(skip)
        if length is None:
            end = min((block + blocks) * size, self.chain.capacity) if begin >= 0 else begin
            end = end if begin < self.chain.capacity else begin + size
        else:
            end = begin + parse_size(length)
        return Operation(kind, begin, end - begin)


def demonstrate(
    organisation: str,
    *,
    blocks: int = 6,
    block_size: int | str = "64KiB",
    initial: str = "thick",
    discard: str = "death",
    zeroes: str = "write",
    fill: str = "rest",
) -> Demonstration:
    """Make a small volume on which operations are shown step by step.

    Parameters
    ----------
    organisation : str
        "shared-store" or "private-stores" (copy-on-write), "overlays" or "shared-tree" (redirect-on-write).
    blocks : int
        Size of the volume, at most 32.  [blocks]
    block_size : int or str
        [bytes]
    initial : {"thick", "thin"}
        Whether every block or none has contents at first.
    discard, zeroes : str
        As for `count_lifetimes`.
    fill : {"rest", "whole", "none"}
        What happens to the rest of a block that is redirected: as for `snapsim.engine.replay.Replay`.

    Returns
    -------
    Demonstration
        The first state.

    Raises
    ------
    UsageError
        The volume is too large to be looked at, or an argument is not known.

    Examples
    --------
    >>> disk = demonstrate("overlays", blocks=4).snapshot().after
    >>> walk = disk.write(2, length="4KiB")
    >>> walk
    1. block 2: the 60 KiB behind the new contents are read from the layer of snapshot 0
    2. block 2: v1 is written to the active layer, with 60 KiB around the new contents; v0 stays where it is
    = 1 read of 60 KiB, 1 write of 64 KiB, 1 block copied
    >>> walk.after.shows(), walk.after.shows(0)
    (('v0', 'v0', 'v1', 'v0'), ('v0', 'v0', 'v0', 'v0'))
    >>> walk.after.own_blocks()
    {'layer of snapshot 0': 4, 'active layer': 1}
    """
    if not 1 <= blocks <= _LARGEST:
        raise UsageError(f"blocks={blocks}: a volume of 1 to {_LARGEST} blocks can be looked at")
    for name, value, known in (
        ("organisation", organisation, tuple(ORGANISATIONS)),
        ("initial", initial, ("thick", "thin")),
        ("discard", discard, ("death", "ignore", "touch")),
        ("zeroes", zeroes, ("write", "death", "touch")),
        ("fill", fill, ("rest", "whole", "none")),
    ):
        if value not in known:
            raise UsageError(f"{name}={value!r} is not one of {', '.join(known)}")
    size = parse_size(block_size)
    chain = ReferenceChain(
        block_size=size, capacity=blocks * size, initial=initial, discard=discard, zeroes=zeroes
    )
    return Demonstration(chain, organisation, fill)
