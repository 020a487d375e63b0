"""The I/O behind requests, said slowly: one block, one table and one condition at a time.

The twin of `snapsim.engine.replay`: the same counts from dicts and sets.  A cache is an `OrderedDict` whose
first entry was used longest ago.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from snapsim.engine.chain import ORGANISATIONS
from snapsim.engine.reference_chain import ReferenceChain
from snapsim.engine.replay_kernels import Traffic
from snapsim.engine.table_kernels import TableRules
from snapsim.types import DISCARD, FLUSH, READ, WRITE, WRITE_ZEROES

__all__ = ["ReferenceReplay"]

_REF_SLOTS = 4
_SECTOR = 512


class Storage:
    """What the storage below is asked for: counts of the present request.

    Attributes
    ----------
    row : dict of str to int
        By the fields of `Traffic`.
    written : bool
        Whether something was written since the last flush.
    skips : bool
        Whether a flush is left out where nothing was.
    """

    def __init__(self, *, skips: bool) -> None:
        self.row: dict[str, int] = {}
        self.skips, self.written = skips, False

    def begin(self) -> None:
        """Start the counts of a request."""
        self.row = dict.fromkeys(Traffic._fields, 0)

    def data(self, kind: str, n_bytes: int, n: int = 1) -> None:
        """Read or write data."""
        self.row["reads" if kind == "read" else "writes"] += n
        self.row["read_bytes" if kind == "read" else "written_bytes"] += n_bytes
        self.written |= kind == "write"

    def read_table(self, n_bytes: int) -> None:
        """Read a part of a table."""
        self.row["metadata_reads"] += 1
        self.row["metadata_read_bytes"] += n_bytes

    def write_table(self, n_bytes: int) -> None:
        """Write a part of a table."""
        self.row["metadata_writes"] += 1
        self.row["metadata_written_bytes"] += n_bytes
        self.written = True

    def flush(self) -> None:
        """Make durable what was written."""
        if self.written or not self.skips:
            self.row["flushes"] += 1
        self.written = False


@dataclass
class File:
    """One file: its tables, what its cache holds, its clusters.

    Attributes
    ----------
    tables : set of int
        Tables that exist.
    cache : OrderedDict
        Slices, by whether they are dirty; slices that only snapshots use are negative.
    clusters, refblocks : int
        In the file.
    searched, checked : bool
        Whether free clusters, and preallocated tables, were looked for.
    """

    tables: set[int] = field(default_factory=set)
    cache: OrderedDict[int, bool] = field(default_factory=OrderedDict)
    clusters: int = 0
    refblocks: int = 0
    searched: bool = False
    checked: bool = False


class CachedTables:
    """L2 tables and reference counts, each behind a write-back cache.

    Parameters
    ----------
    rules : TableRules
        What they are.
    storage : Storage
        Counts.
    content : set of int
        Blocks that are there at first.
    n_blocks : int
        Of the volume.
    """

    def __init__(self, rules: TableRules, storage: Storage, content: set[int], n_blocks: int) -> None:
        self.rules, self.storage = rules, storage
        self.table_blocks = rules.slice_blocks * rules.table_slices
        self.n_slices = max(-(-n_blocks // rules.slice_blocks), 1)
        n_tables = -(-self.n_slices // rules.table_slices)
        self.l1 = -(-n_tables * 8 // rules.cluster_bytes)
        first = File(tables={block // self.table_blocks for block in content})
        self.files = [first]
        self.refs: OrderedDict[int, bool] = OrderedDict()
        self.tables_wait = self.refs_wait = self.data_waits = False
        self.count_clusters(first, self.l1 + 2 + -(-len(content) // rules.unit) + len(first.tables))
        self.bump = max(first.clusters * rules.unit, n_blocks + n_tables * rules.unit)
        self.clusters_of_table = rules.slice_blocks // rules.unit * rules.table_slices
        self.place = [self._home(table) for table in range(n_tables)]
        self.owner = [0] * n_tables

    def _home(self, table: int) -> int:
        cluster = table * (self.clusters_of_table + 1) + 4
        return cluster + (cluster // self.rules.refblock_clusters if self.rules.refblock_clusters else 0)

    def count_clusters(self, file: File, clusters: int) -> None:
        """Open a file with so many clusters; refcount blocks come on top."""
        blocks = 0
        per = self.rules.refblock_clusters
        while per and blocks * per < clusters + blocks:
            blocks += 1
        file.clusters, file.refblocks, file.searched, file.checked = clusters + blocks, blocks, False, False
        self.refs.clear()
        self.tables_wait = self.refs_wait = False

    @property
    def active(self) -> File:
        """The file that is written."""
        return self.files[-1]

    # --- writing caches in order

    def write_slices(self) -> None:
        """Write the dirty slices, after what they wait for."""
        cache = self.active.cache
        if any(cache.values()):
            self.precede_slices()
        for one, dirty in cache.items():
            if dirty:
                self.storage.write_table(self.rules.slice_bytes)
                cache[one] = False

    def precede_slices(self) -> None:
        """Make durable what comes before slices."""
        if self.tables_wait:
            self.write_changed()
            self.storage.flush()
        elif self.data_waits:
            self.storage.flush()
        self.tables_wait = self.data_waits = False

    def write_changed(self) -> None:
        """Write the changed refcount blocks."""
        for block, changed in self.refs.items():
            if changed:
                self.storage.write_table(self.rules.cluster_bytes)
                self.refs[block] = False

    def write_refs(self) -> None:
        """Write the changed refcount blocks, after what they wait for."""
        if self.refs_wait and any(self.refs.values()):
            self.write_slices()
            self.storage.flush()
            self.refs_wait = False
        self.write_changed()

    def write_caches(self) -> None:
        """Write all that is dirty."""
        self.write_slices()
        self.write_refs()

    # --- slices

    def look(self, one: int, file: File) -> None:
        """Look into a slice, where the file has it."""
        if one // self.rules.table_slices not in file.tables:
            return
        if one in file.cache:
            file.cache.move_to_end(one)
        else:
            self.keep(one, file)
            self.storage.read_table(self.rules.slice_bytes)

    def keep(self, one: int, file: File) -> None:
        """Put a slice into the cache."""
        if self.rules.slots and len(file.cache) == self.rules.slots:
            gone = next(iter(file.cache))
            if file.cache[gone]:
                self.precede_slices()
                self.storage.write_table(self.rules.slice_bytes)
            del file.cache[gone]
        file.cache[one] = False

    def make_table(self, one: int, fresh: int) -> None:
        """Give the active file a table of its own."""
        rules, file = self.rules, self.active
        table = one // rules.table_slices
        first = table * rules.table_slices
        stop = min(first + rules.table_slices, self.n_slices)
        copied, old = table in file.tables, self.place[table]
        self.place[table] = self.take(1) // rules.unit
        self.write_refs()
        self.storage.flush()
        for each in range(first, stop):
            if copied:
                self.look(each, file)
                # what is left of an older copy keeps its place, but nobody asks for it again
                self._rename(file, -1 - each, -1 - each - 2 * self.n_slices * (1 + len(file.cache) + fresh))
                self._rename(file, each, -1 - each)
            self.keep(each, file)
            file.tables.add(table)
            file.cache[each] = True
        self.write_slices()
        self.storage.flush()
        self.storage.row["metadata_written_bytes"] += (
            rules.table_slices - (stop - first)
        ) * rules.slice_bytes
        self.storage.write_table(_SECTOR)
        self.storage.flush()
        if rules.shared:
            self.owner[table] = fresh
            if copied:
                self.release_cluster(old)

    @staticmethod
    def _rename(file: File, one: int, other: int) -> None:
        if one in file.cache:
            file.cache = OrderedDict(
                (other if key == one else key, value) for key, value in file.cache.items()
            )

    def prepare(self, first: int, stop: int, limit: int, fresh: int) -> None:
        """Look into the tables of blocks that are about to change."""
        for one in range(first // self.rules.slice_blocks, (stop - 1) // self.rules.slice_blocks + 1):
            table = one // self.rules.table_slices
            if table not in self.active.tables or (self.rules.shared and self.owner[table] < limit):
                self.make_table(one, fresh)
            self.look(one, self.active)

    def enter(self, first: int, stop: int, *, takes: bool, filled: bool) -> None:
        """Enter changed blocks into the tables."""
        self.data_waits |= filled
        if takes and self.rules.refblock_clusters:
            if self.refs_wait:
                self.write_slices()
                self.storage.flush()
                self.refs_wait = False
            self.tables_wait = True
        for one in range(first // self.rules.slice_blocks, (stop - 1) // self.rules.slice_blocks + 1):
            self.look(one, self.active)
            self.active.cache[one] = True

    def look_through(self, block: int, depth: int) -> None:
        """Look for a block in the files from the active one down."""
        for file in self.files[::-1][: depth + 1]:
            self.look(block // self.rules.slice_blocks, file)

    def check_below(self, depth: int) -> None:
        """Look for preallocated tables in the files below, once."""
        for file in self.files[-2::-1][:depth]:
            if not file.checked:
                file.checked = True
                for _ in range(file.refblocks):
                    self.storage.read_table(self.rules.cluster_bytes)

    # --- clusters

    def count_refs(self, block: int, *, exists: bool, changes: bool) -> None:
        """Look into a refcount block, or change it."""
        if block in self.refs:
            self.refs.move_to_end(block)
            self.refs[block] |= changes
            return
        if len(self.refs) == _REF_SLOTS:
            gone = next(iter(self.refs))
            if self.refs[gone]:
                if self.refs_wait:
                    self.write_slices()
                    self.storage.flush()
                    self.refs_wait = False
                self.storage.write_table(self.rules.cluster_bytes)
            del self.refs[gone]
        if exists:
            self.storage.read_table(self.rules.cluster_bytes)
        self.refs[block] = changes

    def take(self, n: int) -> int:
        """Take clusters; return the place of the first.  [blocks]"""
        rules, file = self.rules, self.active
        first = self.bump
        self.bump += n * rules.unit
        per = rules.refblock_clusters
        if not per:
            return first
        if not file.searched:
            file.searched = True
            for block in range(min(file.refblocks, file.clusters // per)):
                self.count_refs(block, exists=True, changes=False)
        while n:
            block = file.clusters // per
            if block >= file.refblocks:
                self.write_slices()
                self.storage.flush()
                file.clusters += 1
                self.bump += rules.unit
                first += rules.unit
                file.refblocks = block + 1
                self.count_refs(block, exists=False, changes=True)
                self.write_refs()
                self.storage.flush()
                self.storage.write_table(_SECTOR)
                self.storage.flush()
                continue
            some = min(n, (block + 1) * per - file.clusters)
            self.count_refs(block, exists=True, changes=True)
            file.clusters += some
            n -= some
        return first

    def release(self, place: int) -> None:
        """Count one reference less of the cluster at a place."""
        per = self.rules.refblock_clusters
        if per:
            cluster = place // self.rules.unit
            if cluster < self.rules.home:
                cluster += cluster // self.clusters_of_table + 5
                cluster += cluster // per
            self.release_cluster(cluster)

    def release_cluster(self, cluster: int) -> None:
        """Count one reference less of a cluster of the file."""
        if not self.rules.refblock_clusters:
            return
        if self.tables_wait:
            self.write_refs()
            self.storage.flush()
            self.tables_wait = self.data_waits = False
        self.refs_wait = True
        block = cluster // self.rules.refblock_clusters
        if block < self.active.refblocks:
            self.count_refs(block, exists=True, changes=True)


class ReferenceReplay(ReferenceChain):
    """A chain of dicts that also counts the I/O behind its requests.

    Parameters
    ----------
    organisation : str
        A key of `ORGANISATIONS`.
    fill, gap, always, placed
        As for `Replay`.
    rules : TableRules
        Its tables, as `TableSetup.rules` gives them.
    **how
        As in `ReferenceChain`.

    Attributes
    ----------
    place : dict of int to int
        Where blocks lie that were redirected.  [blocks]
    storage : Storage
        Counts.
    """

    def __init__(
        self,
        organisation: str,
        *,
        fill: str,
        gap: int,
        rules: TableRules,
        always: bool = False,
        placed: bool = False,
        kind: str = "none",
        **how: Any,
    ) -> None:
        super().__init__(**how)
        self.way, self.fill, self.gap = ORGANISATIONS[organisation], fill, gap
        self.always, self.placed, self.kind, self.rules = always, placed, kind, rules
        self.storage = Storage(skips=kind == "cached")
        self.storage.begin()
        n_blocks = -(-self.capacity // self.block_size)
        self.tables = CachedTables(rules, self.storage, set(self.now), n_blocks)
        if kind != "cached":
            self.tables.rules = rules._replace(refblock_clusters=0)
            n_tables = 1
            self.tables.bump = n_blocks + n_tables * rules.unit
        self.place: dict[int, int] = {}
        self.units: dict[int, tuple[int, int]] = {}
        self.logged: list[int] = []
        self.changed: set[int] = set()
        self.last_commit = 0

    # --- operations on snapshots

    def snapshot(self) -> int:
        """Take a snapshot; caches are written first."""
        self.settle()
        taken = super().snapshot()
        if self.way.copies_layers and self.kind == "cached":
            file = File()
            self.tables.files.append(file)
            self.tables.count_clusters(file, 2 + self.tables.l1)
        self.logged.append(0)
        return taken

    def delete(self, snapshot: int, how: str = "commit") -> int:
        """Delete a snapshot; where layers are files, one of two files stays.

        Parameters
        ----------
        snapshot : int
            Its number.
        how : {"commit", "stream"}
            The lower file stays, or the upper one.

        Returns
        -------
        int
            Versions that nobody shows any more.
        """
        self.settle()
        i = list(self.kept).index(snapshot)
        freed = super().delete(snapshot)
        del self.logged[i]
        if self.way.copies_layers and self.kind == "cached":
            self._join_files(i, how)
        return freed

    def _join_files(self, i: int, how: str) -> None:
        states = [set(), *self._states()]
        content = len(states[i + 1] - states[i])
        tables, files = self.tables, self.tables.files
        kept, gone = (files[i], files[i + 1]) if how == "commit" else (files[i + 1], files[i])
        newest = i + 2 == len(files)
        kept.tables |= gone.tables
        files[i : i + 2] = [kept]
        clusters = -(-content // self.rules.unit) + len(kept.tables) + 2 + tables.l1
        seen, refs = (kept.searched, kept.checked), tables.refs.copy()
        waits = tables.tables_wait, tables.refs_wait
        tables.count_clusters(kept, max(kept.clusters - kept.refblocks, clusters))
        if not newest:  # the active file stays open
            kept.searched, kept.checked = seen
            tables.refs = refs
            tables.tables_wait, tables.refs_wait = waits

    def settle(self) -> None:
        """Write the caches; nothing of it is counted."""
        if self.kind == "cached":
            self.storage.begin()
            self.tables.write_caches()
            self.storage.written = False

    # --- requests

    def counted(self, time: int, op: int, offset: int, length: int) -> tuple[int, ...]:
        """Count a request; carrying it out is another step.

        Returns
        -------
        tuple of int
            By the fields of `Traffic`.
        """
        self.storage.begin()
        end = offset + length
        if self.rules.period and time - self.last_commit >= self.rules.period:
            self.commit(time)
        if op == FLUSH:
            self.count_flush(time)
        elif length and op == READ:
            self.count_read(offset, end)
        elif length and op == DISCARD and self.discard == "death":
            if self.grain > 1:
                offset = -(-offset // self.grain) * self.grain
                end = self.capacity if self._ends_volume(end) else end // self.grain * self.grain
            if offset < end:
                self.count_ended(self._covered(offset, end))
        elif length and (op == WRITE or (op == WRITE_ZEROES and self.zeroes != "death")):
            self.count_write(offset, end)
        elif length and op == WRITE_ZEROES:
            whole = self._covered(offset, end)
            self.count_ended(whole)
            outside = [block for block in self._overlapped(offset, end) if block not in whole]
            for _, group in groupby(outside, key=lambda block: len(whole) and block >= whole.start):
                blocks = list(group)
                self.count_write(max(offset, self.span(blocks[0])[0]), min(end, self.span(blocks[-1])[1]))
        return tuple(self.storage.row.values())

    def count_flush(self, time: int) -> None:
        """Count a flush of the guest."""
        if self.kind == "cached":
            self.tables.write_caches()
        if self.kind == "committed" and self.changed:
            self.commit(time)
        else:
            self.storage.flush()

    def span(self, block: int) -> tuple[int, int]:
        """Return the bytes of a block."""
        return block * self.block_size, min((block + 1) * self.block_size, self.capacity)

    def shown(self, block: int) -> bool:
        """Tell whether the newest snapshot shows what the block holds now."""
        newest = list(self.kept.values())[-1:]
        return block in self.now and any(state.get(block) == self.now[block] for state in newest)

    def depth(self, block: int) -> int:
        """Return how many snapshots lie between the present and what a block shows."""
        version = self.now.get(block)
        changed = self._ended.get(block, -1) if version is None else version.birth
        return sum(one >= changed for one in self.kept) if self.way.copies_layers else 0

    def count_read(self, offset: int, end: int) -> None:
        """Count a read."""
        blocks = list(self._overlapped(offset, end))
        seen = (-1, -1)
        for block in blocks:
            depth = self.depth(block)
            self.storage.row["lookups"] += depth + 1
            one = block // self.rules.slice_blocks
            if self.kind == "cached" and (one != seen[0] or depth > seen[1]):
                self.tables.look_through(block, depth)
                seen = (one, depth)
        for depth_of, group in groupby(
            blocks, key=lambda block: self.depth(block) if block in self.now else None
        ):
            run = list(group)
            if depth_of is not None:
                self.transfer("read", run, max(offset, self.span(run[0])[0]), min(end, self.span(run[-1])[1]))

    def transfer(self, kind: str, run: Sequence[int], low: int, high: int) -> None:
        """Count moving bytes of blocks in a row: one operation for each piece of the disk."""
        steps = [self.place.get(block, block) - block for block in run] if self.placed else [0]
        self.storage.data(kind, high - low, len(list(groupby(steps))))

    def count_copies(self, blocks: Iterable[int]) -> None:
        """Count what copy-on-write copies away."""
        for block in filter(self.shown, blocks):
            held = sum(state.get(block) == self.now[block] for state in self.kept.values())
            copies = held if self.way.private else 1
            low, high = self.span(block)
            self.storage.row["copied_blocks"] += copies
            for kind in ("read", "write"):
                self.storage.data(kind, copies * (high - low), copies)
            if self.kind == "logged":
                for store in range(copies):
                    self.logged[-1 - store] += 1
                    self.storage.write_table(self.rules.slice_bytes)
                    if self.logged[-1 - store] % self.rules.entries == 0:
                        self.storage.write_table(self.rules.slice_bytes)
                    self.storage.flush()
            self.change([block])

    def count_ended(self, blocks: range) -> None:
        """Count what ending the contents of blocks takes."""
        if not self.way.redirects:
            self.count_copies(blocks)
            return
        if self.kind not in {"cached", "committed"} or not len(blocks):
            return
        block = blocks.start
        while block < blocks.stop:
            if block not in self.now:
                block += 1
                continue
            beyond = min(blocks.stop, (block // self.rules.slice_blocks + 1) * self.rules.slice_blocks)
            if self.kind == "cached":
                limit, fresh = self.codes()
                self.tables.prepare(block, beyond, limit, fresh)
                self.tables.enter(block, beyond, takes=False, filled=False)
                if self.rules.shared:
                    self.tables.release(self.place.get(block, block) if self.placed else block)
            self.change(range(block, beyond))
            block = beyond

    def codes(self) -> tuple[int, int]:
        """Return how the newest snapshot and the present epoch are written in the chain's table."""
        return (2 + 2 * (max(self.kept) + 1) if self.kept else 0), 2 + 2 * self.epoch

    def count_write(self, offset: int, end: int) -> None:
        """Count a write."""
        blocks = list(self._overlapped(offset, end))
        if not self.way.redirects:
            self.count_copies(blocks)
            self.storage.data("write", end - offset)
            return
        for moves, group in groupby(
            blocks, key=lambda one: self.always or one not in self.now or self.shown(one)
        ):
            run = list(group)
            low, high = max(offset, self.span(run[0])[0]), min(end, self.span(run[-1])[1])
            if moves:
                self.count_moved(run, low, high)
                continue
            if self.kind == "cached":
                for one in dict.fromkeys(block // self.rules.slice_blocks for block in run):
                    self.tables.look(one, self.tables.active)
            self.transfer("write", run, low, high)

    def below(self, block: int) -> bool:
        """Tell whether there is something to fill in from."""
        return self.shown(block) or (self.always and block in self.now)

    def count_moved(self, run: list[int], low: int, high: int) -> None:
        """Count a write to new places."""
        first, stop = run[0], run[-1] + 1
        limit, fresh = self.codes()
        head, tail = low - self.span(first)[0], self.span(stop - 1)[1] - high
        if self.kind == "cached":
            self.tables.prepare(first, stop, limit, fresh)
            if self.fill != "none" and self.way.copies_layers:
                for block, part in ((first, head), (stop - 1, tail)):
                    if part and self.below(block):
                        self.tables.check_below(self.depth(block))
                        self.tables.look_through(block, self.depth(block))
        filled, copies = self.count_fill((first, stop - 1), (low, high), head, tail)
        old = self.place.get(first, first) if self.placed else first
        held = self.shown(first)
        self.take_places(first, stop, limit, fresh)
        for size in copies:  # there is a place for them only now
            self.storage.data("write", size)
        self.transfer("write", run, low - (head if filled else 0), high + (tail if filled else 0))
        if self.kind == "cached":
            self.tables.enter(first, stop, takes=True, filled=filled)
            if self.rules.shared and held:
                self.tables.release(old)
        self.change(run)

    def count_fill(
        self, run: tuple[int, int], written: tuple[int, int], head: int, tail: int
    ) -> tuple[bool, list[int]]:
        """Count what is read to be filled in.

        Returns
        -------
        filled : bool
            Whether it is written with the new contents.
        copies : list of int
            Otherwise, the sizes of the blocks that are written whole before them.  [bytes]
        """
        (first, last), (low, high) = run, written
        sides = {(first, head)} if head and self.below(first) else set()
        sides |= {(last, -tail)} if tail and self.below(last) else set()
        if self.fill == "none" or not sides:
            return False, []
        edges = {block for block, _ in sides}
        self.storage.row["copied_blocks"] += len(edges)
        if self.fill == "whole":
            copies = [self.span(block)[1] - self.span(block)[0] for block in edges]
            for size in copies:
                self.storage.data("read", size)
            return False, copies
        if len(sides) == 2 and high - low <= self.gap:
            self.storage.data("read", head + tail + high - low)
        else:
            for _, size in sides:
                self.storage.data("read", abs(size))
        return True, []

    def take_places(self, first: int, stop: int, limit: int, fresh: int) -> None:
        """Give blocks new places: in clusters that the active layer has, or in new ones."""
        unit = self.rules.unit
        if unit == 1:
            place = self.tables.take(stop - first)
            self.place.update((block, place + block - first) for block in range(first, stop))
            return
        for number in range(first // unit, (stop - 1) // unit + 1):
            place, owner = self.units.get(number, (-1, -1))
            if owner < 0 or owner < limit:
                place = self.tables.take(1)
                self.units[number] = place, fresh
            begin = number * unit
            for block in range(max(first, begin), min(stop, begin + unit)):
                self.place[block] = place + block - begin

    # --- trees

    def change(self, blocks: Iterable[int]) -> None:
        """Note leaves that have changed since the last commit."""
        if self.kind == "committed":
            self.changed |= {block // self.rules.slice_blocks for block in blocks}

    def commit(self, time: int) -> None:
        """Write the leaves that changed, the nodes above them and the root."""
        self.last_commit = time
        if self.changed:
            uppers = {leaf // self.rules.fanout for leaf in self.changed}
            for _ in range((len(self.changed) + len(uppers) + 1) * self.rules.copies):
                self.storage.write_table(self.rules.slice_bytes)
            self.changed.clear()
            self.storage.flush()
