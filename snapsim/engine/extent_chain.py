"""A file of whole extents and its snapshots: how btrfs holds a disk image.

A write puts its blocks into a new extent, and an extent stays on the disk *whole* while the file or a
snapshot refers to any block of it.  What is left of an extent that was overwritten in part (a *bookend*)
therefore pins the space of all of it.  With extents instead of blocks for versions, everything else is as in
a chain of blocks: an extent is born with the write, and dies for the present when its last block is
overwritten.

`snapsim.engine.reference_extents` says the same readably.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from snapsim.engine import extent_kernels as kernels
from snapsim.engine.blocktable import BlockTable, TableMemory
from snapsim.errors import UsageError
from snapsim.types import DISCARD, WRITE, Batch, Int64Array
from snapsim.units import MIB, format_size

__all__ = ["LONGEST_EXTENT", "ExtentChain", "Extents"]

LONGEST_EXTENT = 128 * MIB
"""No extent of btrfs is longer: a write of more bytes makes several.  [bytes]"""

_BEFORE_ALL = -2  # in the place of a snapshot that does not exist: holes have the birth -1
_FIRST_CODES = 64


class Extents(NamedTuple):
    """Some extents.

    Attributes
    ----------
    birth : int64 array, shape (n_extents,)
        The epoch that wrote each.
    size : int64 array, shape (n_extents,)
        Its disk space.  [bytes]
    """

    birth: Int64Array
    size: Int64Array


class _Gap(NamedTuple):
    """What the present lost between two neighbouring snapshots that the older one still shows.

    Runs of blocks and what they referred to, in time order; and extents that the present left altogether.
    """

    first: Int64Array
    stop: Int64Array
    code: npt.NDArray[np.int32]
    dead: npt.NDArray[np.int32]


class ExtentChain:
    """A file, the extents that hold it, and its snapshots.

    An epoch is the span between two snapshots; snapshots are numbered by the epoch that they end.  A revert
    ends an epoch too.

    Parameters
    ----------
    capacity : int
        Size of the file.  [bytes]
    block_size : int
        Sectors of the file system; a write of a part of one writes all of it.  [bytes]
    in_place : bool
        Blocks are overwritten where they are unless their extent is older than the newest snapshot that was
        ever taken (`nodatacow`); otherwise every write makes new extents.
    longest : int
        The most that one extent holds.  [bytes]
    initial : {"thin", "thick"} or iterable of (offset, length)
        What is there before the first request: nothing, extents as long as they can be, or these, in this
        order and each one an extent.  [bytes]

    Raises
    ------
    UsageError
        A size makes no sense, or the initial extents are not inside the file.

    Examples
    --------
    A snapshot, a write into the middle of an extent of 64 KiB: both extents are needed; and they still are
    after the snapshot has gone, because the file refers to both ends of the old one.

    >>> chain = ExtentChain(capacity=1 << 20, initial=[(0, 65536)])
    >>> before = chain.snapshot()
    >>> chain.write(16384, 32768)
    >>> chain.data_used, chain.waste
    (98304, 0)
    >>> chain.delete(before), chain.data_used, chain.waste
    (0, 98304, 32768)
    """

    def __init__(
        self,
        *,
        capacity: int,
        block_size: int = 4096,
        in_place: bool = False,
        longest: int = LONGEST_EXTENT,
        initial: str | Iterable[tuple[int, int]] = "thin",
    ) -> None:
        if block_size < 1 or longest < block_size or longest // block_size > np.iinfo(np.int32).max // 2:
            raise UsageError(
                f"extents of at most {format_size(longest)} in blocks of {format_size(block_size)} "
                "make no sense"
            )
        self.block_size, self.capacity, self.in_place = block_size, capacity, in_place
        self.n_blocks = max(-(-capacity // block_size), 0)
        self._rules = kernels.Rules(block_size, min(longest // block_size, self.n_blocks), int(in_place))
        # extents are as many as writes: 4 bytes a block from the start
        self._table = BlockTable(self.n_blocks, max_code=np.iinfo(np.int32).max - 1)
        codes, runs = np.zeros(1, np.int32), np.zeros(1, np.int64)
        self._state = kernels.ExtentState(
            size=codes,
            birth=codes.copy(),
            now=codes.copy(),
            free=codes.copy(),
            log_first=runs,
            log_stop=runs.copy(),
            log_code=codes.copy(),
            dead=codes.copy(),
            cursor=np.zeros(kernels.CURSOR_SIZE, np.int64),
        )
        self._state.birth[kernels.HOLE] = -1
        self.epoch = 0
        """The present epoch."""
        self._taken: list[int] = []
        self._gaps: list[_Gap] = []  # before each snapshot; what the newest still shows is in the state's log
        self._start(initial)

    # --- requests
    # -----------------------------------------------------------------------------------------------

    def apply(self, batch: Batch) -> Self:
        """Carry out requests; the snapshots between them are the caller's to take.

        Parameters
        ----------
        batch : Batch
            Requests of one file, in order.  Zeroes are written like data; a discard punches a hole, and
            zeroes the blocks that it covers in part, which is a write.  A block that the end of the file
            cuts off is never covered whole.

        Returns
        -------
        ExtentChain
            Itself.

        Raises
        ------
        UsageError
            A request lies outside the file; none of the batch was carried out.
        """
        op = np.ascontiguousarray(batch.op, np.uint8)
        offset = np.ascontiguousarray(batch.offset, np.int64)
        length = np.ascontiguousarray(batch.length, np.int64)
        outside = (length < 0) | ((length > 0) & ((offset < 0) | (offset > self.capacity - length)))
        if outside.any():
            raise UsageError(
                f"request {int(outside.argmax())} of the batch lies outside the file of "
                f"{format_size(self.capacity)}"
            )
        cursor = self._state.cursor
        cursor[kernels.REQUEST], cursor[kernels.BLOCK] = 0, -1
        newest = self._taken[-1] if self._taken else _BEFORE_ALL
        while True:
            directory, leaves, _, used = self._table.arrays
            kernels.carry_out(
                op, offset, length, self._rules, directory, leaves, used, self.epoch, newest, self._state
            )
            if not cursor[kernels.STUCK]:
                return self
            self._make_room()

    def write(self, offset: int, length: int) -> None:
        """Write bytes [offset, offset + length)."""
        self._one(WRITE, offset, length)

    def discard(self, offset: int, length: int) -> None:
        """Punch a hole where bytes [offset, offset + length) are."""
        self._one(DISCARD, offset, length)

    # --- operations on snapshots
    # --------------------------------------------------------------------------------

    @property
    def snapshots(self) -> tuple[int, ...]:
        """The snapshots that exist, oldest first."""
        return tuple(self._taken)

    def snapshot(self) -> int:
        """Take a snapshot; return its number, the epoch that it ends."""
        taken = self.epoch
        self._gaps.append(self._cut_log())
        self._taken.append(taken)
        self.epoch += 1
        return taken

    def delete(self, snapshot: int) -> int:
        """Delete a snapshot.

        Parameters
        ----------
        snapshot : int
            Its number.

        Returns
        -------
        int
            What that frees.  [bytes]

        Raises
        ------
        UsageError
            There is no such snapshot.
        """
        i = self._place(snapshot)
        before = self.data_used
        above = self._gaps[i + 1] if i + 1 < len(self._gaps) else self._cut_log()
        older = self._older(i)
        birth = self._state.birth
        self._release(above.dead[birth[above.dead] > older])
        shown, held = birth[above.code] <= older, above.dead[birth[above.dead] <= older]
        below = self._gaps.pop(i)
        joined = _Gap(
            np.concatenate((below.first, above.first[shown])),
            np.concatenate((below.stop, above.stop[shown])),
            np.concatenate((below.code, above.code[shown])),
            np.concatenate((below.dead, held)),
        )
        del self._taken[i]
        if i < len(self._gaps):
            self._gaps[i] = joined
        else:
            self._fill_log(joined)
        return before - self.data_used

    def revert(self, snapshot: int) -> int:
        """Let the file show what a snapshot shows.  Newer snapshots are deleted; this one stays.

        Parameters
        ----------
        snapshot : int
            Its number.

        Returns
        -------
        int
            What that frees.  [bytes]

        Raises
        ------
        UsageError
            There is no such snapshot.
        """
        i = self._place(snapshot)
        before = self.data_used
        for gap in (self._cut_log(), *reversed(self._gaps[i + 1 :])):
            self._restore(gap)
        del self._gaps[i + 1 :], self._taken[i + 1 :]
        self._count_again()
        self.epoch += 1
        return before - self.data_used

    # --- questions
    # ----------------------------------------------------------------------------------------------

    @property
    def data_used(self) -> int:
        """Disk space of all extents to any block of which the file or a snapshot refers.  [bytes]"""
        return int(self._state.cursor[kernels.USED]) * self.block_size

    @property
    def mapped(self) -> int:
        """Blocks of the file that are no holes.  [bytes]"""
        return int(self._state.cursor[kernels.MAPPED]) * self.block_size

    @property
    def referenced(self) -> int:
        """What the blocks that the file and its snapshots show would take by themselves.  [bytes]

        The same block of the same extent counts once, whoever shows it: the block model's answer.
        """
        blocks = sum(_blocks(gap) for gap in (*self._gaps, self._log()))
        return self.mapped + blocks * self.block_size

    @property
    def waste(self) -> int:
        """Disk space of blocks that nobody shows, in extents of which something is shown.  [bytes]"""
        return self.data_used - self.referenced

    @property
    def extents(self) -> int:
        """Extents on the disk."""
        return len(self._state.size) - 1 - int(self._state.cursor[kernels.FREE])

    @property
    def memory(self) -> TableMemory:
        """What the table of the present takes."""
        return self._table.memory

    def exclusive(self, snapshot: int) -> int:
        """Return what deleting a snapshot would free.

        Parameters
        ----------
        snapshot : int
            Its number.

        Returns
        -------
        int
            Whole extents to which no other snapshot and not the file refers.  [bytes]

        Raises
        ------
        UsageError
            There is no such snapshot.
        """
        died = self.died_after(snapshot)
        return int(died.size[died.birth > self._older(self._place(snapshot))].sum())

    def present(self) -> Extents:
        """Return the extents to which the file refers."""
        return self._extents(np.flatnonzero(self._state.now > 0))

    def died_after(self, snapshot: int) -> Extents:
        """Return the extents to which a snapshot refers, but not the next one, or the file after the newest.

        Parameters
        ----------
        snapshot : int
            Its number.

        Returns
        -------
        Extents
            Older snapshots may refer to them too; younger ones do not.

        Raises
        ------
        UsageError
            There is no such snapshot.
        """
        i = self._place(snapshot)
        return self._extents((self._gaps[i + 1] if i + 1 < len(self._gaps) else self._log()).dead)

    def mapping(self, snapshot: int | None = None) -> Int64Array:
        """Return the extent that holds each block, for small files.

        Parameters
        ----------
        snapshot : int, optional
            Its number; the file's present by default.

        Returns
        -------
        int64 array, shape (n_blocks,)
            Numbers that are equal within one extent, 0 for holes.

        Raises
        ------
        UsageError
            There is no such snapshot.
        """
        codes = np.empty(self.n_blocks, np.int64)
        directory, leaves, *_ = self._table.arrays
        kernels.copy_codes(directory, leaves, codes)
        if snapshot is not None:
            for gap in (self._log(), *reversed(self._gaps[self._place(snapshot) + 1 :])):
                for first, stop, code in zip(gap.first[::-1], gap.stop[::-1], gap.code[::-1], strict=True):
                    codes[first:stop] = code
        return codes

    def _extents(self, codes: npt.NDArray[Any]) -> Extents:
        state = self._state
        return Extents(
            state.birth[codes].astype(np.int64), state.size[codes].astype(np.int64) * self.block_size
        )

    # --- the log, and what it keeps
    # ---------------------------------------------------------------------------------------

    def _log(self) -> _Gap:
        state = self._state
        n, dead = state.cursor[kernels.LOGGED], state.cursor[kernels.DEAD]
        return _Gap(state.log_first[:n], state.log_stop[:n], state.log_code[:n], state.dead[:dead])

    def _cut_log(self) -> _Gap:
        log = self._log()
        gap = _Gap(log.first.copy(), log.stop.copy(), log.code.copy(), log.dead.copy())
        self._state.cursor[[kernels.LOGGED, kernels.DEAD]] = 0
        return gap

    def _fill_log(self, gap: _Gap) -> None:
        """Make a gap what the newest snapshot still shows; the log is empty."""
        if not self._taken:
            return  # nobody is there to show it, and its extents were released
        self._state.cursor[kernels.LOGGED] = len(gap.code)
        self._state.cursor[kernels.DEAD] = len(gap.dead)
        self._state = self._state._replace(
            log_first=gap.first, log_stop=gap.stop, log_code=gap.code, dead=gap.dead
        )

    def _release(self, codes: npt.NDArray[np.int32]) -> None:
        state, n = self._state, int(self._state.cursor[kernels.FREE])
        state.free[n : n + len(codes)] = codes
        state.cursor[kernels.FREE] += len(codes)
        state.cursor[kernels.USED] -= int(state.size[codes].sum(dtype=np.int64))

    def _older(self, i: int) -> int:
        return self._taken[i - 1] if i else _BEFORE_ALL

    def _place(self, snapshot: int) -> int:
        try:
            return self._taken.index(snapshot)
        except ValueError:
            known = ", ".join(map(str, self._taken)) or "there are none"
            raise UsageError(f"there is no snapshot {snapshot}: {known}") from None

    # --- going back
    # ---------------------------------------------------------------------------------------------

    def _restore(self, gap: _Gap) -> None:
        rest = len(gap.code)
        while rest:
            self._table.reserve(16)
            directory, leaves, _, used = self._table.arrays
            rest = kernels.restore(directory, leaves, used, *gap[:3], rest)

    def _count_again(self) -> None:
        """Count references to extents; those that neither the present nor a snapshot has are free."""
        state = self._state
        directory, leaves, *_ = self._table.arrays
        state.cursor[kernels.MAPPED] = kernels.count_references(directory, leaves, self.n_blocks, state.now)
        there = state.now > 0
        for gap in self._gaps:
            there[gap.dead] = True
        there[kernels.HOLE] = True
        free = np.flatnonzero(~there)
        state.free[: len(free)] = free
        state.cursor[kernels.FREE] = len(free)
        there[kernels.HOLE] = False
        state.cursor[kernels.USED] = int(state.size[there].sum(dtype=np.int64))

    # --- beginning and growing
    # ----------------------------------------------------------------------------------

    def _start(self, initial: str | Iterable[tuple[int, int]]) -> None:
        if isinstance(initial, str):
            if initial not in {"thin", "thick"}:
                raise UsageError(f'initial={initial!r} is not "thin", "thick" or extents as (offset, length)')
            initial = [(0, self.capacity)] if initial == "thick" else []
        rows = np.array(list(initial), np.int64).reshape(-1, 2)
        op = np.full(len(rows), WRITE, np.uint8)
        overwrites, self._rules = self._rules, self._rules._replace(in_place=0)
        self.apply(Batch(np.zeros(len(rows), np.int64), op, rows[:, 0], rows[:, 1]))
        self._rules = overwrites

    def _make_room(self) -> None:
        state, cursor = self._state, self._state.cursor
        room = 2 * (self._rules.longest + 2)
        self._table.reserve(16)
        grown: dict[str, Any] = {}
        for names, used in (
            (("log_first", "log_stop", "log_code"), kernels.LOGGED),
            (("dead",), kernels.DEAD),
        ):
            for name in names:
                grown[name] = _grown(getattr(state, name), int(cursor[used]), room)
        codes = len(state.size)
        if cursor[kernels.FREE] < room:
            for name in ("size", "birth", "now", "free"):
                grown[name] = _grown(getattr(state, name), codes, max(room, _FIRST_CODES))
            more = np.arange(codes, len(grown["size"]), dtype=np.int32)
            free = int(cursor[kernels.FREE])
            grown["free"][free : free + len(more)] = more[::-1]  # the lowest is taken first
            cursor[kernels.FREE] += len(more)
        self._state = state._replace(**grown)

    def _one(self, op: int, offset: int, length: int) -> None:
        time, place, size = (np.array([value], np.int64) for value in (0, offset, length))
        self.apply(Batch(time, np.array([op], np.uint8), place, size))


def _grown(array: npt.NDArray[Any], used: int, room: int) -> npt.NDArray[Any]:
    """Return the array with at least so much room behind what is used; half as long again if it moves."""
    if len(array) >= used + room:
        return array
    longer = np.zeros(used + max(room, used // 2), array.dtype)
    longer[:used] = array[:used]
    return longer


def _blocks(gap: _Gap) -> int:
    held = gap.code != kernels.HOLE
    return int((gap.stop[held] - gap.first[held]).sum())
