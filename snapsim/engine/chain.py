"""The stateful chain: one volume and its snapshots under any order of writes, merges and reverts.

The present is a table with one code per block.  The past is kept in one of two ways.  Copy-on-write systems
keep with each snapshot what was *overwritten* since it was taken; redirect-on-write systems keep what was
*written* up to it, layer upon layer.  Both show the same contents, which is one of the laws that the tests
hold them to.

What is counted here is space and what structural operations move; `snapsim.engine.reference_chain` says the
same readably.  Deleting follows the deadlists of ZFS: what the older neighbour still shows passes to it.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Self

import numpy as np

from snapsim.engine import chain_kernels as kernels
from snapsim.engine import lifetimes_kernels
from snapsim.engine.blocktable import LEAF_SLOTS, BlockTable, TableMemory
from snapsim.engine.blocktable_kernels import UNIFORM
from snapsim.engine.lifetimes import Counting
from snapsim.engine.runs import Runs
from snapsim.errors import UsageError
from snapsim.types import DISCARD, READ, WRITE, WRITE_ZEROES, Batch, Int64Array, UInt8Array
from snapsim.units import format_size

__all__ = ["ABSENT_BIRTH", "ORGANISATIONS", "Chain", "Contents", "Moves", "Organisation"]

ABSENT_BIRTH = -2
"""The birth that `Contents` gives to blocks that hold nothing."""

_EFFECTS = {
    "ignore": lifetimes_kernels.IGNORE,
    "death": lifetimes_kernels.DEATH,
    "touch": lifetimes_kernels.TOUCH,
    "write": lifetimes_kernels.TOUCH,
}
_NO_STORES = "redirect-on-write keeps layers, not stores: ask for layers()"
_DIRECTIONS = ("commit", "stream")


class Organisation(NamedTuple):
    """How a system keeps the past.

    Attributes
    ----------
    redirects : bool
        It keeps what was written, in layers; otherwise what was overwritten, in stores.
    private : bool
        Each snapshot has a store of its own, with a copy of all that changed since it was taken.
    copies_layers : bool
        Layers are files: deleting a snapshot copies one layer into its neighbour.
    """

    redirects: bool
    private: bool = False
    copies_layers: bool = False


ORGANISATIONS: Mapping[str, Organisation] = MappingProxyType(
    {
        "shared-store": Organisation(redirects=False),
        "private-stores": Organisation(redirects=False, private=True),
        "overlays": Organisation(redirects=True, copies_layers=True),
        "shared-tree": Organisation(redirects=True),
    }
)
"""Copy-on-write into one store or into one for each snapshot; redirect-on-write in files or in one tree."""


class Contents(NamedTuple):
    """What a volume or a snapshot shows, in runs of equal birth over the whole volume.

    Two states show the same block contents exactly where the births are equal.

    Attributes
    ----------
    first, stop : int64 arrays, shape (n_runs,)
        Half-open extents.  [blocks]
    birth : int64 array, shape (n_runs,)
        The epoch that wrote it, -1 for content from before the first request, `ABSENT_BIRTH` for nothing.
    """

    first: Int64Array
    stop: Int64Array
    birth: Int64Array

    def per_block(self) -> Int64Array:
        """Return the birth of every block, shape (n_blocks,)."""
        return np.repeat(self.birth, self.stop - self.first)


class Moves(NamedTuple):
    """What an operation on snapshots moved.  [blocks]

    Attributes
    ----------
    moved : int
        Read from one place and written to another.
    freed : int
        Given back for good; in private stores, copies.
    extra : int
        The most that is held during the operation over what was held before it.
    """

    moved: int
    freed: int
    extra: int


class Chain:
    """A volume and its snapshots.

    An epoch is the span between two snapshots; snapshots are numbered by the epoch that they end.  A revert
    ends an epoch too.

    Parameters
    ----------
    organisation : str
        A key of `ORGANISATIONS`.
    counting : Counting
        Block size, what is there at first, and what discards and zeroes do.  `initial="read-first"` needs a
        look at the whole trace: give a map instead.
    capacity : int
        Size of the volume.  [bytes]
    capacity_known : bool
        False when `capacity` is only the largest address seen: a discard that ends there may then end inside
        the last block.

    Raises
    ------
    UsageError
        The organisation is not known, or the chain cannot start so.

    Examples
    --------
    >>> chain = Chain("overlays", Counting(block_size=4096, initial="thin"), capacity=1 << 20)
    >>> chain.write(0, 8192)
    >>> before = chain.snapshot()
    >>> chain.write(4096, 8192)
    >>> chain.layers().tolist(), chain.contents(before).per_block()[:3].tolist()
    ([2, 2], [0, 0, -2])
    >>> chain.delete(before)
    Moves(moved=2, freed=1, extra=1)
    """

    def __init__(
        self, organisation: str, counting: Counting, *, capacity: int, capacity_known: bool = True
    ) -> None:
        if organisation not in ORGANISATIONS:
            known = ", ".join(ORGANISATIONS)
            raise UsageError(f"organisation={organisation!r} is not one of {known}")
        if counting.initial == "read-first":
            raise UsageError(
                'a chain cannot start with initial="read-first": give a map of allocated extents'
            )
        self.organisation = ORGANISATIONS[organisation]
        self.counting, self.capacity = counting, capacity
        block_size = counting.block_size
        self.n_blocks = max(-(-capacity // block_size), 0)
        self._rules = lifetimes_kernels.Rules(
            block_size=block_size,
            shift=block_size.bit_length() - 1 if block_size & (block_size - 1) == 0 else -1,
            n_blocks=self.n_blocks,
            size=capacity,
            capacity=capacity if capacity_known else int(np.iinfo(np.int64).max),
            discard=_EFFECTS[counting.discard],
            zeroes=_EFFECTS[counting.zeroes],
            grain=counting.grain,
            mark_reads=0,
        )
        self._table = BlockTable(self.n_blocks, max_code=_codes(1))
        self._table.reserve(1)
        first, stop, code = np.empty((3, 2 * LEAF_SLOTS), np.int64)
        self._state = kernels.ChainState(
            reads=np.zeros(_codes(64), np.int64),
            log_first=first,
            log_stop=stop,
            log_code=code,
            cursor=np.zeros(kernels.CURSOR_SIZE, np.int64),
        )
        self.epoch = 0
        """The present epoch."""
        self._taken: list[int] = []
        self._past: list[Runs] = []  # redirecting: the layer below each snapshot; copying: its store
        self._since = Runs.empty()  # changed since the newest snapshot, sorted: the log holds the rest
        self._copies = np.zeros(0, np.int64)  # in private stores, without what the log adds
        self._lookups = np.zeros(0, np.int64)
        self._paint(self._start(counting.initial))

    # --- requests
    # -----------------------------------------------------------------------------------------------

    def apply(self, batch: Batch) -> Self:
        """Carry out requests; the snapshots between them are the caller's to take.

        Parameters
        ----------
        batch : Batch
            Requests of one volume, in order; their times do not matter.

        Returns
        -------
        Chain
            Itself.

        Raises
        ------
        UsageError
            A request lies outside the volume; none of the batch was carried out.
        """
        columns = self._columns(batch)
        cursor = self._state.cursor
        cursor[kernels.REQUEST] = cursor[kernels.BLOCK] = 0
        while True:
            arrays = self._table.arrays
            kernels.carry_out(*columns, self._rules, *arrays, self.epoch, self._limit, self._state)
            if not cursor[kernels.STUCK]:
                return self
            self._make_room()

    def write(self, offset: int, length: int) -> None:
        """Write bytes [offset, offset + length)."""
        self._one(WRITE, offset, length)

    def read(self, offset: int, length: int) -> None:
        """Read bytes [offset, offset + length): counted in `lookups`."""
        self._one(READ, offset, length)

    def discard(self, offset: int, length: int) -> None:
        """Discard bytes [offset, offset + length)."""
        self._one(DISCARD, offset, length)

    def write_zeroes(self, offset: int, length: int) -> None:
        """Zero bytes [offset, offset + length)."""
        self._one(WRITE_ZEROES, offset, length)

    # --- operations on snapshots
    # --------------------------------------------------------------------------------

    @property
    def snapshots(self) -> tuple[int, ...]:
        """The snapshots that exist, oldest first."""
        return tuple(self._taken)

    def snapshot(self) -> int:
        """Take a snapshot.

        Returns
        -------
        int
            Its number: the epoch that it ends.
        """
        self._settle()
        taken = self.epoch
        if self.organisation.redirects:
            self._past.append(self._active())
        else:
            self._copies = np.append(self._copies + self._copied(self._log()), 0)
            if self._past:
                self._past[-1] = self._active()
            self._past.append(Runs.empty())
        self._taken.append(taken)
        self._forget_log(Runs.empty())
        self._begin_epoch()
        return taken

    def delete(self, snapshot: int, *, how: str = "commit") -> Moves:
        """Delete a snapshot; what its neighbours show does not change.

        Parameters
        ----------
        snapshot : int
            Its number.
        how : {"commit", "stream"}
            Where layers are files: the layer above is copied down, or the layer of the snapshot up.  The
            result is the same, the copying is not.

        Returns
        -------
        Moves
            What it cost.

        Raises
        ------
        UsageError
            There is no such snapshot, or no such way.
        """
        if how not in _DIRECTIONS:
            raise UsageError(f"how={how!r} is not one of {', '.join(_DIRECTIONS)}")
        i = self._place(snapshot)
        self._settle()
        moves = self._merge_layers(i, how) if self.organisation.redirects else self._pass_on(i)
        del self._taken[i]
        return moves

    def revert(self, snapshot: int) -> Moves:
        """Let the volume show what a snapshot shows.  Newer snapshots are deleted; this one stays.

        Parameters
        ----------
        snapshot : int
            Its number.

        Returns
        -------
        Moves
            Copy-on-write systems copy the old contents back; the others change a pointer.

        Raises
        ------
        UsageError
            There is no such snapshot.
        """
        i = self._place(snapshot)
        self._settle()
        before = self.total
        back = 0 if self.organisation.redirects else self._overwritten(i).live
        self._paint(self._view(i))
        del self._taken[i + 1 :]
        del self._past[i + 1 :]
        self._forget_log(Runs.empty())
        if not self.organisation.redirects:
            self._past[i] = Runs.empty()
            self._copies = np.zeros(i + 1, np.int64)
            for newest, store in enumerate(self._past):
                self._copies[: newest + 1] += self._copied(store, newest + 1)
        self._begin_epoch()
        return Moves(back, before - self.total, 0)

    def flatten(self) -> Moves:
        """Let the volume stand alone: everything below is streamed into it, and no snapshot is left.

        Returns
        -------
        Moves
            With files, all that the active layer did not hold was copied into it.
        """
        self._settle()
        before, moved = self.total, 0
        if self.organisation.copies_layers and self._taken:
            moved = self.live - self._active().live
        self._taken, self._past, self._copies = [], [], np.zeros(0, np.int64)
        self._forget_log(Runs.empty())
        return Moves(moved, before - self.total, moved)

    # --- questions
    # ----------------------------------------------------------------------------------------------

    @property
    def live(self) -> int:
        """Blocks with content that the volume shows now."""
        return int(self._state.cursor[kernels.LIVE])

    @property
    def total(self) -> int:
        """Blocks that the volume and all snapshots take together."""
        if self.organisation.private:
            return self.live + int(self.private_stores().sum())
        if self.organisation.redirects:
            return int(self.layers().sum())
        return self.live + int(self.stores().sum())

    @property
    def snapshot_only(self) -> int:
        """Blocks that are there only because of snapshots."""
        return self.total - self.live

    @property
    def memory(self) -> TableMemory:
        """What the table of the present takes."""
        return self._table.memory

    def layers(self) -> Int64Array:
        """Return the blocks with content in each layer, shape (n_snapshots + 1,); the last is the active one.

        Raises
        ------
        UsageError
            The organisation has no layers.
        """
        if not self.organisation.redirects:
            raise UsageError("copy-on-write keeps stores, not layers: ask for stores()")
        return np.array(
            [runs.live for runs in self._past] + [self._active().live if self._taken else self.live]
        )

    def stores(self) -> Int64Array:
        """Return the blocks with content that each snapshot added to the one store, shape (n_snapshots,).

        Raises
        ------
        UsageError
            The organisation has layers.
        """
        return np.array([runs.live for runs in self._stores()], np.int64)

    def private_stores(self) -> Int64Array:
        """Return the blocks with content in the store of each snapshot, shape (n_snapshots,).

        It holds what the snapshot shows and the volume no longer does; each store keeps its own copy.

        Raises
        ------
        UsageError
            The organisation has layers.
        """
        if self.organisation.redirects:
            raise UsageError(_NO_STORES)
        return self._copies + self._copied(self._log())

    def contents(self, snapshot: int | None = None) -> Contents:
        """Return what a snapshot shows.

        Parameters
        ----------
        snapshot : int, optional
            Its number; the volume's present by default.

        Returns
        -------
        Contents
            Equal for equal contents.

        Raises
        ------
        UsageError
            There is no such snapshot.
        """
        runs = self._present() if snapshot is None else self._view(self._place(snapshot))
        births = np.where(runs.code & 1, _births(runs.code), ABSENT_BIRTH)
        return Contents(*Runs(runs.first, runs.stop, births).joined())

    @property
    def lookups(self) -> Int64Array:
        """Block reads by the number of snapshots between the present and what they met.

        Where layers are files, a read that meets its block below d snapshots has looked into d + 1 layers.
        A block that nothing was ever written to is looked for in all of them.
        """
        self._settle()
        return self._lookups.copy()

    # --- the past
    # -----------------------------------------------------------------------------------------------

    @property
    def _limit(self) -> int:
        """The first code that the newest snapshot does not show."""
        return kernels.FIRST_CODE + 2 * (self._taken[-1] + 1) if self._taken else 0

    def _log(self) -> Runs:
        n = int(self._state.cursor[kernels.LOGGED])
        return Runs.sort(self._state.log_first[:n], self._state.log_stop[:n], self._state.log_code[:n])

    def _forget_log(self, since: Runs) -> None:
        """Go on with an empty log and these changes since the newest snapshot."""
        self._since = since
        self._state.cursor[kernels.LOGGED] = 0

    def _changed(self) -> Runs:
        """Return what changed since the newest snapshot, with what was there then."""
        return self._since.under(self._log())  # they share no block

    def _active(self) -> Runs:
        """Return the active layer; or the store of the newest snapshot."""
        if not self.organisation.redirects:
            return self._changed()
        return self._table_runs(self._changed()) if self._taken else self._present()

    def _stores(self) -> list[Runs]:
        if self.organisation.redirects:
            raise UsageError(_NO_STORES)
        return [*self._past[:-1], self._active()] if self._taken else []

    def _overwritten(self, i: int) -> Runs:
        """Return what snapshot i shows and the present does not."""
        runs = Runs.empty()
        for store in reversed(self._stores()[i:]):
            runs = runs.under(store)
        return runs

    def _copied(self, runs: Runs, n: int | None = None) -> Int64Array:
        """Return how many copies each of the n oldest snapshots (all) keeps of what the n-th lost."""
        taken = self._taken[:n]
        oldest = np.searchsorted(taken, _births(runs.code))
        sizes = ((runs.stop - runs.first) * (runs.code & 1)).astype(np.float64)
        gained = np.bincount(oldest, weights=sizes, minlength=len(taken))
        return np.cumsum(gained).astype(np.int64)[: len(taken)]

    def _view(self, i: int) -> Runs:
        """Return what snapshot i shows, over the whole volume."""
        if not self.organisation.redirects:
            return self._present().under(self._overwritten(i))
        runs = self._past[0]
        for layer in self._past[1 : i + 1]:
            runs = runs.under(layer)
        return runs

    def _merge_layers(self, i: int, how: str) -> Moves:
        """Join the layer of snapshot i and the one above."""
        newest = i + 1 == len(self._taken)
        lower, upper = self._past[i], self._active() if newest else self._past[i + 1]
        merged = lower.under(upper)
        freed = lower.live + upper.live - merged.live
        moved = upper.live if how == "commit" else merged.live - upper.live
        extra = max(merged.live - (lower if how == "commit" else upper).live, 0)
        if newest:
            below = self._past.pop()
            self._forget_log(below.under(self._changed()) if self._past else Runs.empty())
        else:
            self._past[i : i + 2] = [merged]
        return Moves(moved, freed, extra) if self.organisation.copies_layers else Moves(0, freed, 0)

    def _pass_on(self, i: int) -> Moves:
        """Give the store of snapshot i to the next older one, as far as that shows the same."""
        newest = i + 1 == len(self._taken)
        copies = self.private_stores()
        self._copies = np.delete(copies if newest else self._copies, i)
        store = self._active() if newest else self._past[i]
        older = self._past[i - 1] if i else Runs.empty()
        kept = store.under(older) if i else Runs.empty()
        freed = store.live + older.live - kept.live
        del self._past[i]
        if newest:
            self._forget_log(kept)
        if i:
            self._past[i - 1] = kept
        return Moves(0, int(copies[i]) if self.organisation.private else freed, 0)

    def _place(self, snapshot: int) -> int:
        if snapshot not in self._taken:
            exist = ", ".join(map(str, self._taken[-5:])) or "none"
            raise UsageError(f"there is no snapshot {snapshot}: the newest that exist are {exist}")
        return self._taken.index(snapshot)

    # --- the present
    # --------------------------------------------------------------------------------------------

    def _start(self, initial: str | tuple[tuple[int, int], ...]) -> Runs:
        """Return what is there before the first request."""
        if isinstance(initial, str):
            return Runs.whole(self.n_blocks, kernels.INITIAL if initial == "thick" else kernels.ABSENT)
        size, extents = self.counting.block_size, np.array(initial, np.int64).reshape(-1, 2)
        offset, length = extents[extents[:, 1] > 0].T
        if np.any(offset < 0) or np.any(length > self.n_blocks * size - offset):
            raise UsageError(
                "the map of allocated extents reaches beyond the volume of "
                f"{format_size(self.n_blocks * size)}"
            )
        mapped = Runs.union(offset // size, (offset + length - 1) // size + 1, kernels.INITIAL)
        return Runs.whole(self.n_blocks, kernels.ABSENT).under(mapped)

    def _present(self) -> Runs:
        return self._table_runs(Runs.whole(self.n_blocks, kernels.ABSENT))

    def _table_runs(self, parts: Runs) -> Runs:
        """Return what the table says about some blocks."""
        directory, leaves, _, _ = self._table.arrays
        room = 4 * len(parts.first) + 1024
        while True:
            out = np.empty((3, room), np.int64)
            n = int(kernels.table_runs(directory, leaves, parts.first, parts.stop, *out))
            if n <= room:
                return Runs(*(column[:n].copy() for column in out))
            room = n

    def _paint(self, runs: Runs) -> None:
        """Let the present show runs over the whole volume."""
        if len(runs.first) == 1:  # nearly every start: no leaf is needed, not even at the end of the volume
            self._table = BlockTable(self.n_blocks, max_code=_codes(self.epoch + 1))
            self._table.reserve(1)
            self._table.arrays.directory[:] = UNIFORM - int(runs.code[0])
        else:
            ignored, done = np.zeros_like(self._state.reads), 0
            while done < len(runs.first):
                done = kernels.paint(*runs, done, *self._table.arrays, ignored)
                if done < len(runs.first):
                    self._table.reserve(16)
        self._state.cursor[kernels.LIVE] = runs.live

    def _begin_epoch(self) -> None:
        self.epoch += 1
        codes = _codes(self.epoch + 1)
        self._table.widen(max_code=codes)
        if codes > len(self._state.reads):
            self._state = self._state._replace(reads=np.zeros(2 * codes, np.int64))

    def _settle(self) -> None:
        """Enter the reads of the last requests into the lookups, while it is known what they passed."""
        met = np.flatnonzero(self._state.reads)
        if len(met):
            between = len(self._taken) - np.searchsorted(self._taken, _births(met))
            # what nothing was ever written to is looked for everywhere
            grown = np.zeros(max(len(self._lookups), int(between.max()) + 1), np.int64)
            grown[: len(self._lookups)] = self._lookups
            np.add.at(grown, between, self._state.reads[met])
            self._lookups = grown
            self._state.reads[met] = 0

    def _columns(self, batch: Batch) -> tuple[UInt8Array, Int64Array, Int64Array]:
        """Return what kernels need of a batch, once all of it is known to lie inside the volume."""
        op = np.ascontiguousarray(batch.op, np.uint8)
        offset = np.ascontiguousarray(batch.offset, np.int64)
        length = np.ascontiguousarray(batch.length, np.int64)
        outside = (length < 0) | ((length > 0) & ((offset < 0) | (offset > self.capacity - length)))
        if outside.any():
            raise UsageError(
                f"request {int(outside.argmax())} of the batch lies outside the volume of "
                f"{format_size(self.capacity)}"
            )
        return op, offset, length

    def _make_room(self) -> None:
        state = self._state
        self._table.reserve(16)
        if state.cursor[kernels.LOGGED] > len(state.log_first) - LEAF_SLOTS - 1:
            n = len(state.log_first)
            grown: dict[str, Any] = {}
            for name in ("log_first", "log_stop", "log_code"):
                grown[name] = np.empty(2 * n, np.int64)
                grown[name][:n] = getattr(state, name)
            self._state = state._replace(**grown)

    def _one(self, op: int, offset: int, length: int) -> None:
        row = (np.array([value], np.int64) for value in (0, op, offset, length))
        time, code, place, size = row
        self.apply(Batch(time, code.astype(np.uint8), place, size))


def _births(codes: Int64Array) -> Int64Array:
    """Return the epochs of codes; -1 for what is from before the first."""
    return (codes >> 1) - 1


def _codes(n_epochs: int) -> int:
    """Return how many codes there are with so many epochs."""
    return kernels.FIRST_CODE + 2 * n_epochs
