"""What a trace's content digests say: zero blocks, duplicates, writes that change nothing, compressibility.

Counted in blocks of 4 KiB that a request covers whole: of a block that is written in part, nobody knows the
contents afterwards.  A *duplicate* is a block whose contents the trace wrote before, anywhere; zero blocks
are not among them.  *Unchanged* is a block that is written with what it holds already, as far as the trace
knows that (from a write or a read before).  Blocks that were discarded, or zeroed without data
(WRITE_ZEROES), hold nothing.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from snapsim.errors import UsageError
from snapsim.traces.blocks_of_digests import BLOCK, Blocks, blocks_of
from snapsim.traces.extents import by_volume
from snapsim.traces.source import Progress
from snapsim.traces.table import rows_of
from snapsim.traces.trace import Trace
from snapsim.types import DISCARD, READ, WRITE, WRITE_ZEROES, Batch, Int64Array

UInt64Array = npt.NDArray[np.uint64]

_ZERO_CLASS, _INCOMPRESSIBLE, _CLASSES = 0, 255, 254
_WRITTEN, _READ, _UNKNOWN = range(3)
_ROWS = 1 << 17


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What is in the blocks that a trace writes.

    Attributes
    ----------
    scheme : str
        What the digests are; see `TraceInfo.contents`.
    written_blocks : int
        Blocks written whole, counted each time.
    zero_blocks : int
        Those of them that are all zeroes.
    duplicate_blocks : int
        Those of the others whose contents the trace had written before, anywhere.
    distinct_blocks : int
        Different contents among the written blocks, zeroes not counted.
    overwritten_blocks : int
        Written blocks whose contents before the write are known.
    unchanged_blocks : int
        Those of them that were written with what they held already.
    partial_blocks : int
        Pieces of writes that cover only a part of a block: not among the written blocks.
    undigested_requests : int
        Writes without digests, or with digests that do not fit their length.
    final_blocks, final_zero_blocks, final_distinct_blocks : int
        Blocks whose contents are known at the end of the trace; how many of them are zero; how many different
        contents the others have.
    size_classes : tuple of int or None
        Written blocks by the size class of their fingerprint: 0 for zero blocks, 1 to 254 for so many 254ths
        of a block when compressed, 255 for those that do not shrink; None where the digests do not say.
    """

    scheme: str
    written_blocks: int
    zero_blocks: int
    duplicate_blocks: int
    distinct_blocks: int
    overwritten_blocks: int
    unchanged_blocks: int
    partial_blocks: int
    undigested_requests: int
    final_blocks: int
    final_zero_blocks: int
    final_distinct_blocks: int
    size_classes: tuple[int, ...] | None

    @property
    def zero_share(self) -> float | None:
        """Zero blocks among the written ones; None where none is written."""
        return _share(self.zero_blocks, self.written_blocks)

    @property
    def duplicate_share(self) -> float | None:
        """Duplicates among the written blocks; None where none is written."""
        return _share(self.duplicate_blocks, self.written_blocks)

    @property
    def unchanged_share(self) -> float | None:
        """Writes that change nothing among those where it can be told; None where it never can."""
        return _share(self.unchanged_blocks, self.overwritten_blocks)

    @property
    def final_duplicate_share(self) -> float | None:
        """What deduplication saves at the end, of the blocks that are not zero; None where there are none."""
        full = self.final_blocks - self.final_zero_blocks
        return _share(full - self.final_distinct_blocks, full)

    @property
    def compressed_share(self) -> float | None:
        """Compressed size of the written blocks that are not zero, of their size; None where unknown."""
        if self.size_classes is None:
            return None
        counts = np.array(self.size_classes[1:], np.float64)
        sizes = np.minimum(np.arange(1, 256) / _CLASSES, 1.0)
        return float((counts * sizes).sum() / counts.sum()) if counts.sum() else None

    def compressibility(self, *, bins: int = 10) -> dict[str, int] | None:
        """Count the written blocks by the size that they compress to.

        Parameters
        ----------
        bins : int
            Equal steps between nothing and the whole block.

        Returns
        -------
        dict of str to int, or None
            "zero", then "up to 10 %" and so on, then "incompressible"; None where the digests do not say.

        Raises
        ------
        UsageError
            `bins` is not between 1 and 100.
        """
        if not 1 <= bins <= 100:
            msg = f"bins={bins!r}: compressibility is shown in 1 to 100 steps"
            raise UsageError(msg)
        if self.size_classes is None:
            return None
        counts = np.array(self.size_classes, np.int64)
        step = np.minimum((np.arange(1, 255) * bins - 1) // _CLASSES, bins - 1)
        binned = np.bincount(step, weights=counts[1:255], minlength=bins).astype(np.int64)
        return {
            "zero": int(counts[_ZERO_CLASS]),
            **{f"up to {100 * (one + 1) / bins:g} %": int(count) for one, count in enumerate(binned)},
            "incompressible": int(counts[_INCOMPRESSIBLE]),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON-able values: "contents" of `snapsim trace stats --json`."""
        counts = {
            name: value
            for name, value in vars(self).items()
            if name.endswith(("_blocks", "_requests")) or name == "scheme"
        }
        shares = (
            "zero_share", "duplicate_share", "unchanged_share", "final_duplicate_share", "compressed_share",
        )  # fmt: skip
        return {
            **counts,
            "block_bytes": BLOCK,
            **{name: getattr(self, name) for name in shares},
            "compressibility": self.compressibility(),
        }

    def text(self) -> str:
        """Return the figures as an aligned table for people."""
        unchanged = (
            f"{_percent(self.unchanged_share)} of {self.overwritten_blocks:,} blocks "
            "held what they were overwritten with"
        )
        final = (
            f"{self.final_blocks:,} blocks known: {self.final_zero_blocks:,} zero, "
            f"{_percent(self.final_duplicate_share)} of the others duplicates"
        )
        rows = [
            ("contents", f"{self.written_blocks:,} blocks of 4 KiB written whole, digests {self.scheme}"),
            ("  zero", f"{_percent(self.zero_share)} of them"),
            ("  duplicates", f"{_percent(self.duplicate_share)} hold what was written before, anywhere"),
            ("  unchanged", unchanged),
        ]
        if self.compressed_share is not None:
            rows.append(("  compressible", f"to {_percent(self.compressed_share)}, zero blocks aside"))
        rows.append(("  at the end", final))
        if self.partial_blocks or self.undigested_requests:
            parts = f"{self.partial_blocks:,} parts of blocks"
            rows.append(("  left out", f"{parts}, {self.undigested_requests:,} writes without digests"))
        return "\n".join(f"{name:<17}  {value}" for name, value in rows)


def contents(trace: Trace, *, progress: Progress | None = None) -> Contents:
    """Count what the content digests of a trace say.

    One pass, in memory that follows the number of different blocks and contents (16 and 8 bytes each).

    Parameters
    ----------
    trace : Trace
        With content digests; of one or several volumes (contents are compared across them).
    progress : callable, optional
        Called after each batch with the requests done and the requests in all.

    Returns
    -------
    Contents
        Over all volumes.

    Raises
    ------
    UsageError
        The trace has no digests, or they are of an unknown kind.
    """
    scheme = trace.info.contents
    if not scheme:
        msg = (
            f"{trace.info.source} has no content digests, which figures about contents need: "
            "snapsim record nbd --contents records them"
        )
        raise UsageError(msg)
    tally = _Tally(scheme)
    tables = [_Table() for _ in trace.volumes]
    done = 0
    for batch in trace.batches(rows=_ROWS, columns=["digest"]):
        for code, rows in by_volume(batch.volume):
            tally.add(tables[code], rows_of(batch._replace(volume=None), rows))
        done += len(batch.time_ns)
        if progress is not None:
            progress(done, len(trace))
    return tally.contents(tables)


class _Table:
    """The contents of each block of a volume that are known: two columns, sorted by block."""

    def __init__(self) -> None:
        self.block: Int64Array = np.empty(0, np.int64)
        self.content: UInt64Array = np.empty(0, np.uint64)

    def find(self, block: Int64Array) -> tuple[npt.NDArray[np.bool_], UInt64Array]:
        """Return which blocks are known, and their contents (anything where they are not)."""
        if not len(self.block):
            return np.zeros(len(block), np.bool_), np.zeros(len(block), np.uint64)
        place = np.minimum(np.searchsorted(self.block, block), len(self.block) - 1)
        return self.block[place] == block, self.content[place]

    def update(self, block: Int64Array, content: UInt64Array, known: npt.NDArray[np.bool_]) -> None:
        """Set sorted, distinct blocks to their contents, or forget those that are not known."""
        kept = ~np.isin(self.block, block, assume_unique=True)
        blocks = np.concatenate([self.block[kept], block[known]])
        order = np.argsort(blocks, kind="stable")
        self.block = blocks[order]
        self.content = np.concatenate([self.content[kept], content[known]])[order]


class _Tally:
    """Running counts over all volumes."""

    def __init__(self, scheme: str) -> None:
        self._scheme = scheme
        self._seen: UInt64Array = np.empty(0, np.uint64)
        self._classes = np.zeros(256, np.int64)
        self._has_classes = True
        self._counts = dict.fromkeys(
            (
                "written_blocks", "zero_blocks", "overwritten_blocks", "unchanged_blocks", "partial_blocks",
                "undigested_requests",
            ),
            0,
        )  # fmt: skip

    def add(self, table: _Table, batch: Batch) -> None:
        """Take in the next requests of a volume."""
        digested, undigested = blocks_of(batch, self._scheme)
        written = digested.take(batch.op[digested.row] == WRITE)
        whole = written.take(written.whole)
        self._count(
            written_blocks=len(whole.row),
            zero_blocks=int(np.count_nonzero(whole.content == 0)),
            partial_blocks=len(written.row) - len(whole.row),
            undigested_requests=int(np.count_nonzero(batch.op[undigested] == WRITE)),
        )
        self._seen = np.union1d(self._seen, whole.content[whole.content != 0])
        if whole.size_class is None:
            self._has_classes = False
        else:
            self._classes += np.bincount(whole.size_class, minlength=256)
        self._follow(table, batch, digested, undigested)

    def _follow(self, table: _Table, batch: Batch, digested: Blocks, undigested: Int64Array) -> None:
        """Follow each block through the batch: what it held before a write, and what it holds at the end."""
        reads = batch.op[digested.row] == READ
        kept = digested.whole | ~reads  # a read of a part says nothing, a write of a part makes it unknown
        digested, reads = digested.take(kept), reads[kept]
        kind = np.where(reads, _READ, np.where(digested.whole, _WRITTEN, _UNKNOWN)).astype(np.uint8)
        known_blocks = np.union1d(table.block, digested.block)
        hidden = undigested[batch.op[undigested] == WRITE]
        ended = np.flatnonzero((batch.op == DISCARD) | (batch.op == WRITE_ZEROES))
        events = [(digested.row, digested.block, digested.content, kind)]
        for rows, whole in ((hidden, False), (ended, True)):
            row, block = _ranges(batch, rows, known_blocks, whole=whole)
            events.append((row, block, np.zeros(len(row), np.uint64), np.full(len(row), _UNKNOWN, np.uint8)))
        row, block, content, kinds = (np.concatenate(column) for column in zip(*events, strict=True))
        if not len(row):
            return
        order = np.lexsort((row, block))
        block, content, kinds = block[order], content[order], kinds[order]
        first = np.r_[True, block[1:] != block[:-1]]
        last = np.r_[first[1:], True]
        known, before = np.r_[False, kinds[:-1] != _UNKNOWN], np.r_[np.uint64(0), content[:-1]]
        known[first], before[first] = table.find(block[first])
        over = (kinds == _WRITTEN) & known
        self._count(
            overwritten_blocks=int(np.count_nonzero(over)),
            unchanged_blocks=int(np.count_nonzero(over & (before == content))),
        )
        table.update(block[last], content[last], kinds[last] != _UNKNOWN)

    def _count(self, **more: int) -> None:
        for name, count in more.items():
            self._counts[name] += count

    def contents(self, tables: list[_Table]) -> Contents:
        """Return the counts."""
        final = np.concatenate([table.content for table in tables])
        distinct = len(self._seen)
        return Contents(
            scheme=self._scheme,
            **self._counts,
            distinct_blocks=distinct,
            duplicate_blocks=self._counts["written_blocks"] - self._counts["zero_blocks"] - distinct,
            final_blocks=len(final),
            final_zero_blocks=int(np.count_nonzero(final == 0)),
            final_distinct_blocks=len(np.unique(final[final != 0])),
            size_classes=tuple(self._classes.tolist()) if self._has_classes else None,
        )


def _ranges(
    batch: Batch, rows: Int64Array, blocks: Int64Array, *, whole: bool
) -> tuple[Int64Array, Int64Array]:
    """Return which of some sorted blocks each request covers, whole or at least in part.

    Discards may be as large as the disk: only blocks that are known to be somewhere are worth a row.
    """
    offset, end = batch.offset[rows], batch.offset[rows] + batch.length[rows]
    first, stop = (-(-offset // BLOCK), end // BLOCK) if whole else (offset // BLOCK, -(-end // BLOCK))
    low = np.searchsorted(blocks, first)
    count = np.maximum(np.searchsorted(blocks, stop) - low, 0)
    place = np.repeat(low - np.r_[0, np.cumsum(count)[:-1]], count) + np.arange(count.sum())
    return np.repeat(rows, count), blocks[place]


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _percent(share: float | None) -> str:
    return "none" if share is None else f"{share:.1%}"
