"""The engine said slowly: sets and dicts, no arithmetic on births and deaths.

A volume is a dict from block number to the version that it shows.  A snapshot is a copy of that dict.  Every
question about
space is then a question about sets of versions, and the fast engine must give the same numbers.  Read this
first.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from snapsim.types import DISCARD, READ, WRITE, WRITE_ZEROES, Batch


class Version(NamedTuple):
    """What one block held from one write to the next.

    Attributes
    ----------
    block : int
        The block.
    birth : int
        Epoch of the write; -1 for content from before the trace.
    serial : int
        Tells versions of one block apart.
    """

    block: int
    birth: int
    serial: int


class ReferenceVolume:
    """A volume that remembers what it showed at every instant.

    Parameters
    ----------
    instants : sequence of int
        Increasing points in time.  [ns]
    block_size : int
        [bytes]
    capacity : int
        Size of the volume.  [bytes]
    initial : str or iterable of (offset, length)
        "thick", "thin", "read-first", or allocated extents in bytes.
    discard, zeroes : str
        As in `snapsim.engine.lifetimes.Counting`.
    grain : int
        As in `snapsim.engine.lifetimes.Counting`.  [bytes]
    capacity_known : bool
        Whether the end of the last request may be the end of the volume.

    Attributes
    ----------
    states : list of dict
        `states[i]` maps block to version as a snapshot at instant i sees it, for the instants that have
        passed.
    now : dict
        The same for the present.
    versions : Counter
        (birth, death) of the versions that died; death = number of instants after the last one.
    reads : Counter
        (birth of the version read, epoch of the read); birth None where nothing was there.
    written_since : list of set
        Blocks that requests changed since each instant.
    """

    def __init__(
        self,
        instants: Sequence[int],
        *,
        block_size: int,
        capacity: int,
        initial: str | Iterable[tuple[int, int]] = "thick",
        discard: str = "death",
        zeroes: str = "write",
        grain: int = 1,
        capacity_known: bool = True,
    ) -> None:
        self.instants = list(instants)
        self.block_size = block_size
        self.capacity = capacity
        self.capacity_known = capacity_known
        self.discard, self.zeroes, self.grain = discard, zeroes, grain
        self.initial = initial
        self.states: list[dict[int, Version]] = []
        self.written_since: list[set[int]] = []
        self.now: dict[int, Version] = {}
        self.versions: Counter[tuple[int, int]] = Counter()
        self.reads: Counter[tuple[int | None, int]] = Counter()
        self.touched: set[int] = set()
        self._serial = 0
        blocks: Iterable[int] = ()
        if initial == "thick":
            blocks = range(-(-capacity // block_size))
        elif not isinstance(initial, str):
            blocks = {
                block
                for offset, length in initial
                if length
                for block in self._overlapped(offset, offset + length)
            }
        for block in blocks:
            self.now[block] = self._new(block, -1)

    @property
    def epoch(self) -> int:
        """The present epoch: how many instants have passed."""
        return len(self.states)

    def run(self, batches: Iterable[Batch], *, start_ns: int = 0) -> "ReferenceVolume":
        """Carry out all requests of a trace, then let the remaining instants pass."""
        for batch in batches:
            columns = (batch.time_ns, batch.op, batch.offset, batch.length)
            for time, op, offset, length in zip(*(column.tolist() for column in columns), strict=True):
                self.request(start_ns + time, op, offset, length)
        self.pass_time(None)
        return self

    def pass_time(self, time: int | None) -> None:
        """Take a picture at every instant that is not later than `time` (None: at all that remain)."""
        while self.epoch < len(self.instants) and (time is None or self.instants[self.epoch] <= time):
            self.states.append(dict(self.now))
            self.written_since.append(set())

    def request(self, time: int, op: int, offset: int, length: int) -> None:
        """Carry out one request.

        Parameters
        ----------
        time : int
            On the clock of the instants, not earlier than the request before.  [ns]
        op : int
            Op code.
        offset, length : int
            [bytes]
        """
        self.pass_time(time)
        if length == 0:
            return
        end = offset + length
        if op == READ:
            for block in self._overlapped(offset, end):
                self._read(block)
        elif op == WRITE:
            self._write_all(offset, end)
        elif op == WRITE_ZEROES:
            self._zero(offset, end)
        elif op == DISCARD and self.discard != "ignore":
            self._discard(offset, end)

    def _write_all(self, offset: int, end: int) -> None:
        for block in self._overlapped(offset, end):
            self._write(block)

    def _zero(self, offset: int, end: int) -> None:
        whole = self._covered(offset, end) if self.zeroes == "death" else range(0)
        for block in self._overlapped(offset, end):
            if block in whole:
                self._kill(block)
            else:
                self._write(block)

    def _discard(self, offset: int, end: int) -> None:
        if self.grain > 1:
            offset = -(-offset // self.grain) * self.grain
            end = self.capacity if self._ends_volume(end) else end // self.grain * self.grain
        if offset >= end:
            return
        if self.discard == "touch":
            self._write_all(offset, end)
        else:
            for block in self._covered(offset, end):
                self._kill(block)

    # --- space, as questions about sets of versions
    # -------------------------------------------------------------

    def live(self, t: int) -> int:
        """Blocks that the volume shows at instant t."""
        return len(self.states[t])

    def snapshot_only(self, kept: Sequence[int], t: int) -> int:
        """Versions that kept snapshots show and the volume at instant t does not."""
        return len(self._held(kept) - set(self.states[t].values()))

    def exclusive(self, kept: Sequence[int], t: int) -> list[int]:
        """Versions that only one kept snapshot shows, for each."""
        return [self.freed(kept, [one], t) for one in kept]

    def freed(self, kept: Sequence[int], dropped: Sequence[int], t: int) -> int:
        """Versions that nobody shows any more once `dropped` are deleted."""
        rest = [one for one in kept if one not in set(dropped)]
        return len(self._held(dropped) - self._held(rest) - set(self.states[t].values()))

    def written(self, a: int | None, b: int) -> int:
        """Versions that instant b shows and instant a does not."""
        before = set() if a is None else set(self.states[a].values())
        return len(set(self.states[b].values()) - before)

    def merged_layer(self, kept: Sequence[int], i: int, t: int) -> int:
        """Versions in the layer that remains when kept snapshot i is merged away."""
        return self.written(kept[i - 1] if i else None, kept[i + 1] if i + 1 < len(kept) else t)

    def private_stores(self, kept: Sequence[int], t: int) -> list[int]:
        """Blocks of each kept snapshot that were changed between it and instant t."""
        changed = []
        for one in kept:
            later = self.states[t]
            changed.append(
                sum(1 for block, version in self.states[one].items() if later.get(block) != version)
            )
        return changed

    def detached(self, kept: Sequence[int]) -> int:
        """Versions in a store elsewhere to which each snapshot adds what the one before does not show."""
        return sum(self.written(before, one) for before, one in zip([None, *kept], kept, strict=False))

    def matrix(self) -> Counter[tuple[int, int]]:
        """Count versions by (birth, death); death = number of instants for those alive after the last."""
        counted = Counter(self.versions)
        counted.update((version.birth, len(self.instants)) for version in self.now.values())
        return counted

    # --- what requests do to one block
    # ----------------------------------------------------------------------------

    def _new(self, block: int, birth: int) -> Version:
        self._serial += 1
        return Version(block, birth, self._serial)

    def _write(self, block: int) -> None:
        self._kill(block)
        self.now[block] = self._new(block, self.epoch)

    def _kill(self, block: int) -> None:
        self.touched.add(block)
        for changed in self.written_since:
            changed.add(block)
        version = self.now.pop(block, None)
        if version is not None:
            self.versions[version.birth, self.epoch] += 1

    def _read(self, block: int) -> None:
        if self.initial == "read-first" and block not in self.touched and block not in self.now:
            # it was there all along: the snapshots taken so far see it too
            version = self._new(block, -1)
            for state in (*self.states, self.now):
                state[block] = version
        found = self.now.get(block)
        self.reads[None if found is None else found.birth, self.epoch] += 1

    def _ends_volume(self, end: int) -> bool:
        return self.capacity_known and end >= self.capacity

    def _overlapped(self, offset: int, end: int) -> range:
        return range(offset // self.block_size, (end - 1) // self.block_size + 1)

    def _covered(self, offset: int, end: int) -> range:
        last = -(-self.capacity // self.block_size) if self._ends_volume(end) else end // self.block_size
        return range(-(-offset // self.block_size), last)

    def _held(self, kept: Iterable[int]) -> set[Version]:
        return {version for one in kept for version in self.states[one].values()}
