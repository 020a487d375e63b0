"""What the simulator says about qcow2 files after each operation: the chain, and the layout of the files.

A qcow2 file never gets shorter, and what is freed in it is used again from the lowest place on.  So it is as
long as the most that was ever in use in it, unless a request of several clusters had to skip a hole: then it
can be longer, and no length is predicted.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from snapsim.engine.chain import ABSENT_BIRTH, Chain, Moves
from snapsim.engine.lifetimes import Counting
from snapsim.engine.metadata import Usage, metadata_bytes
from snapsim.engine.qcow2_layout import Qcow2Layout
from snapsim.mechanisms import Mechanism
from snapsim.types import Batch, Int64Array
from snapsim.validation.operations import REQUESTS, Operation

__all__ = ["Growth", "InternalModel", "OverlayModel"]

_FREEING = ("discard", "zeroes")


class _File(NamedTuple):
    """What the past of a file says about its length.

    Attributes
    ----------
    most : int
        The most clusters that held data or an L2 table.
    freed : bool
        Something in it was freed at some time.
    skipped : bool
        A hole may have been skipped.
    lost : frozenset of int
        L2 tables that were empty when their file was streamed, and were not carried over.
    """

    most: int = 0
    freed: bool = False
    skipped: bool = False
    lost: frozenset[int] = frozenset()


class Growth(NamedTuple):
    """What a merge adds to a file.

    Attributes
    ----------
    length, space : int
        [bytes]
    """

    length: int
    space: int


class _Model:
    """The chains that a mechanism needs, one for each way of counting."""

    organisation: str

    def __init__(self, mechanism: Mechanism, *, capacity: int, block_size: int) -> None:
        self.mechanism, self.capacity, self.block_size = mechanism, capacity, block_size
        self.chains: dict[str, Chain] = {}
        for wanted in mechanism.matrices(block_size):
            counting = Counting(**{**wanted.counting(), "initial": "thin"})
            self.chains[wanted.name] = Chain(self.organisation, counting, capacity=capacity)
        self.layout = Qcow2Layout(
            cluster_size=block_size,
            virtual_size=capacity,
            extended_l2=bool(mechanism.metadata.parameters.get("extended_l2", 0)),
        )
        self._numbers: list[int] = []  # of all snapshots of the sequence

    @property
    def data(self) -> Chain:
        """What the volume and the snapshots show."""
        return self.chains["data"]

    @property
    def clusters(self) -> Chain:
        """Whole clusters, where data is counted in parts of them."""
        return self.chains.get("clusters", self.data)

    def place(self, snapshot: int) -> int:
        """Return the place of a snapshot of the sequence among those that exist."""
        return self.data.snapshots.index(self._numbers[snapshot])

    def _apply(self, operation: Operation) -> None:
        columns = np.array([[0, REQUESTS[operation.kind], operation.offset, operation.length]]).T
        for chain in self.chains.values():
            chain.apply(Batch(columns[0], columns[1].astype(np.uint8), columns[2], columns[3]))

    def _take(self) -> None:
        taken = {chain.snapshot() for chain in self.chains.values()}  # all of them count alike
        self._numbers.append(taken.pop())

    def _remove(self, snapshot: int, how: str) -> Mapping[str, Moves]:
        number = self._numbers[snapshot]
        return {name: chain.delete(number, how=how) for name, chain in self.chains.items()}

    def _return(self, snapshot: int) -> None:
        for chain in self.chains.values():
            chain.revert(self._numbers[snapshot])

    def _spans(self, operation: Operation) -> bool:
        """Whether a request reaches into more than one cluster."""
        last = operation.offset + operation.length - 1
        return operation.offset // self.block_size != last // self.block_size


class OverlayModel(_Model):
    """A chain of overlay files.

    Parameters
    ----------
    mechanism : Mechanism
        "qcow2-external" or a relative of it.
    capacity, block_size : int
        [bytes]
    """

    organisation = "overlays"

    def __init__(self, mechanism: Mechanism, *, capacity: int, block_size: int) -> None:
        super().__init__(mechanism, capacity=capacity, block_size=block_size)
        self._files = [_File()]
        self._entered: frozenset[int] = frozenset()  # tables of the lowest file in which an entry is set

    def request(self, operation: Operation) -> None:
        """Carry out one request."""
        before, file = int(self._payload()[-1]), self._files[-1]
        self._apply(operation)
        holes = before < file.most
        if len(self._files) == 1 and operation.kind != "discard":
            self._entered |= self._tables(operation)
        file = file._replace(
            freed=file.freed or operation.kind in _FREEING,
            skipped=file.skipped or (holes and self._spans(operation) and operation.kind != "discard"),
            lost=file.lost - self._tables(operation),
        )
        self._files[-1] = file
        self._files[-1] = file._replace(most=max(file.most, int(self._payload()[-1])))

    def snapshot(self) -> None:
        """Start a new file."""
        self._take()
        self._files.append(_File())

    def delete(self, snapshot: int, how: str) -> Growth:
        """Merge two files; return what is needed until one of them goes."""
        place = self.place(snapshot)
        target = place if how == "commit" else place + 1
        length, space = self.lengths()[target], self.in_use()[target]
        lower, upper = self._files[place : place + 2]
        lost = frozenset[int]() if place else self._lose(how)
        self._remove(snapshot, how)
        kept = (lower, upper)[target - place]
        freed = lower.freed or upper.freed
        merged = _File(kept.most, freed, lower.skipped or upper.skipped or freed, lost)
        self._files[place : place + 2] = [merged]
        self._files[place] = merged._replace(most=max(kept.most, int(self._payload()[place])))
        return Growth(self.lengths()[place] - length, self.in_use()[place] - space)

    def revert(self, snapshot: int) -> None:
        """Drop the files above a snapshot's and start a new one."""
        place = self.place(snapshot)
        self._return(snapshot)
        self._files[place + 1 :] = [_File()]

    def in_use(self) -> list[int]:
        """Return the space of the clusters in use in each file.  [bytes]"""
        counts = {name: chain.layers() for name, chain in self.chains.items()}
        counts["tables"] = self._table_counts()
        usage = Usage(counts=counts, snapshots=0, capacity=self.capacity, block_size=self.block_size)
        metadata = metadata_bytes("qcow2-overlay", usage, self.mechanism.metadata.parameters)
        held: list[int] = (self.clusters.layers() * self.block_size + metadata).tolist()
        return held

    def mapped(self) -> list[int]:
        """Return the space of the data in each file.  [bytes]"""
        held: list[int] = (self.data.layers() * self.data.counting.block_size).tolist()
        return held

    def lengths(self) -> list[int]:
        """Return the length of each file.  [bytes]"""
        most = np.array([file.most for file in self._files])
        lengths: list[int] = self.layout.overlay_bytes(most, 0).tolist()
        return lengths

    def certain(self) -> list[bool]:
        """Return for each file whether its length is known: no hole was skipped."""
        return [not file.skipped for file in self._files]

    def _payload(self) -> Int64Array:
        held: Int64Array = self.clusters.layers() + self._table_counts()
        return held

    def _table_counts(self) -> Int64Array:
        counts: Int64Array = self.chains["tables"].layers()
        counts -= np.array([len(file.lost) for file in self._files])
        return counts

    def _tables(self, operation: Operation) -> frozenset[int]:
        """Return the L2 tables that a request writes to."""
        first, stop = operation.offset, operation.offset + operation.length
        if operation.kind == "discard":  # shrunk to whole clusters, but at the end of the disk
            first = -(-first // self.block_size) * self.block_size
            stop = stop if stop == self.capacity else stop // self.block_size * self.block_size
        if stop <= first or operation.kind in {"read", "flush"}:
            return frozenset()
        return frozenset(range(first // self.layout.l2_range, (stop - 1) // self.layout.l2_range + 1))

    def _lose(self, how: str) -> frozenset[int]:
        """Return the tables that the chain counts in the lowest two files, merged, and that are not there.

        Nothing lies below the lowest file: a discard of what it does not hold leaves an empty entry, in a
        table that may hold nothing else.  A stream reads entries, and so it does not carry such a table over.
        """
        tables = self.chains["tables"]
        lowest, *others = tables.snapshots
        below = tables.contents(lowest).per_block()
        above = tables.contents(others[0] if others else None).per_block()
        lower = frozenset(np.flatnonzero(below != ABSENT_BIRTH).tolist())
        upper = frozenset(np.flatnonzero(above > lowest).tolist())
        lost = self._files[0].lost - upper if how == "commit" else lower - upper - self._entered
        self._entered = (self._entered if how == "commit" else lower - lost) | upper
        return lost


class InternalModel(_Model):
    """Internal snapshots.

    Parameters
    ----------
    mechanism : Mechanism
        "qcow2-internal".
    capacity, block_size : int
        [bytes]
    """

    organisation = "shared-tree"

    def __init__(self, mechanism: Mechanism, *, capacity: int, block_size: int) -> None:
        super().__init__(mechanism, capacity=capacity, block_size=block_size)
        self._file = _File(self.payload())

    def request(self, operation: Operation) -> None:
        """Carry out one request."""
        holes = self.payload() < self._file.most
        self._apply(operation)
        self._note(skipped=holes and self._spans(operation) and operation.kind != "discard")

    def snapshot(self) -> None:
        """Take a snapshot: the new table is written before the old one is given up."""
        table = self._table()
        self._take()
        self._note(extra=table)

    def delete(self, snapshot: int, how: str = "") -> int:
        """Delete a snapshot; return what is given back.  [bytes]"""
        before = self.payload()
        self._remove(snapshot, "commit")
        new_table = self._table()
        self._file = self._file._replace(most=max(self._file.most, before + new_table))
        self._note()
        return (before - self.payload()) * self.block_size

    def revert(self, snapshot: int) -> None:
        """Delete the newer snapshots, the newest first, and show what this one shows."""
        newer = self.place(snapshot) + 1
        while len(self.data.snapshots) > newer:
            self.delete(self._numbers.index(self.data.snapshots[-1]))
        self._return(snapshot)
        self._note()

    def payload(self) -> int:
        """Return the clusters in use without those that count references."""
        return int(
            self.layout.internal_payload(
                self.data.total, self.chains["tables"].total, snapshots=len(self.data.snapshots)
            )
        )

    def in_use(self) -> int:
        """Return the space of all clusters in use.  [bytes]"""
        refcounts = self.layout.refcounts(self._file.most)
        return int(self.payload() + refcounts.blocks + refcounts.table) * self.block_size

    def length(self) -> int:
        """Return the length of the file, its last cluster taken as whole.  [bytes]"""
        refcounts = self.layout.refcounts(self._file.most)
        return int(self._file.most + refcounts.blocks + refcounts.table) * self.block_size

    def certain(self) -> bool:
        """Return whether its length is known: no hole was skipped."""
        return not self._file.skipped

    def _table(self) -> int:
        size = int(self.layout.snapshot_table_bytes(len(self.data.snapshots)))
        return -(-size // self.block_size)

    def _note(self, *, extra: int = 0, skipped: bool = False) -> None:
        most = max(self._file.most, self.payload() + extra)
        self._file = _File(most, skipped=self._file.skipped or skipped)
