"""Counting what a trace holds, in one pass."""

from typing import Any

import numpy as np

from snapsim.traces.changes import needs_requests
from snapsim.traces.extents import ExtentSet, by_volume
from snapsim.traces.figures import Figures, Summary
from snapsim.traces.source import Progress
from snapsim.traces.trace import Trace
from snapsim.types import DISCARD, FLUSH, READ, WRITE, WRITE_ZEROES, Int64Array, UInt8Array
from snapsim.units import MINUTE

BLOCK_SIZES = (512, 4096, 65536, 1 << 20)
"""Block sizes that distinct bytes are reported for."""

_PAGE = 4096
_SECTOR = 512


def summarise(trace: Trace, *, progress: Progress | None = None) -> Summary:
    """Count what a trace holds, in one pass and in memory that follows its footprint.

    Parameters
    ----------
    trace : Trace
        A trace of one or several volumes.
    progress : callable, optional
        Called after each batch with the requests done and the requests in all.

    Returns
    -------
    Summary
        Figures over all volumes and for each of them.

    Raises
    ------
    UsageError
        It is a `ChangeTrace`: see `snapsim.traces.change_figures`.
    """
    needs_requests(trace, "a summary of requests")
    info = trace.info
    tallies = [_Tally() for _ in info.volumes]
    clock = _Clock()
    done = 0
    for batch in trace.batches():
        if batch.op.size == 0:
            continue
        clock.add(batch.time_ns, batch.op, batch.length)
        for code, rows in by_volume(batch.volume):
            tallies[code].add(batch.time_ns[rows], batch.op[rows], batch.offset[rows], batch.length[rows])
        done += batch.op.size
        if progress is not None:
            progress(done, len(trace))
    figures = {
        name: tally.figures(capacity)
        for name, tally, capacity in zip(info.volumes, tallies, info.capacities, strict=True)
    }
    return Summary(
        **_total(list(figures.values()), span_ns=clock.span_ns),
        format=info.format,
        source=info.source,
        start_ns=info.start_ns,
        out_of_order=info.out_of_order,
        skipped_lines=info.skipped_lines,
        skipped_kinds=info.skipped_kinds,
        dropped_lines=info.dropped_lines,
        drops=info.drops,
        options=info.options,
        notes=info.notes,
        time_scale=info.time_scale,
        shift_bytes=info.shift_bytes,
        busiest_minute=clock.busiest_minute(),
        longest_gap_ns=clock.longest_gap_ns,
        volumes=figures,
    )


class _Tally:
    """Running figures of one volume."""

    def __init__(self) -> None:
        self.count = np.zeros(5, np.int64)
        self.bytes = [0] * 5
        self.read, self.written = ExtentSet(), ExtentSet()
        self.first_ns: int | None = None
        self.last_ns = 0
        self.max_end = 0
        self.unaligned_4k = self.unaligned_512 = 0
        self.shortest, self.longest = np.iinfo(np.int64).max, 0
        self.residues: dict[int, int] = {}

    def add(self, time_ns: Int64Array, op: UInt8Array, offset: Int64Array, length: Int64Array) -> None:
        """Add requests in the order of time; at least one."""
        if self.first_ns is None:
            self.first_ns = int(time_ns[0])
        self.last_ns = int(time_ns[-1])
        self.count += np.bincount(op, minlength=5)
        for code in (READ, WRITE, DISCARD, WRITE_ZEROES):
            self.bytes[code] += int(length[op == code].sum())
        extent = op != FLUSH
        if extent.any():
            self.max_end = max(self.max_end, int((offset + length)[extent].max()))
            both = (offset | length)[extent]
            self.unaligned_4k += int(np.count_nonzero(both % _PAGE))
            self.unaligned_512 += int(np.count_nonzero(both % _SECTOR))
        reads, writes = op == READ, (op == WRITE) | (op == WRITE_ZEROES)
        self.read.add(offset[reads], length[reads])
        self.written.add(offset[writes], length[writes])
        residues = np.bincount(offset[writes] % _PAGE)
        for residue in np.flatnonzero(residues).tolist():
            self.residues[residue] = self.residues.get(residue, 0) + int(residues[residue])
        data = length[reads | writes]
        if data.size:
            self.shortest, self.longest = (
                min(self.shortest, int(data.min())),
                max(self.longest, int(data.max())),
            )

    def figures(self, capacity: int | None) -> Figures:
        """Return the figures; the tally must not grow any more."""
        touched = ExtentSet()
        touched.add_extents(self.read.extents)
        touched.add_extents(self.written.extents)
        reads, writes, discards, zeroes, flushes = self.count.tolist()
        written_bytes = self.bytes[WRITE] + self.bytes[WRITE_ZEROES]
        return Figures(
            requests=int(self.count.sum()),
            reads=reads,
            writes=writes + zeroes,
            discards=discards,
            flushes=flushes,
            write_zeroes=zeroes,
            read_bytes=self.bytes[READ],
            written_bytes=written_bytes,
            discarded_bytes=self.bytes[DISCARD],
            zeroed_bytes=self.bytes[WRITE_ZEROES],
            span_ns=self.last_ns - (self.first_ns or 0),
            capacity_bytes=capacity,
            max_end_bytes=self.max_end,
            distinct_written_bytes={size: self.written.covered_bytes(size) for size in BLOCK_SIZES},
            distinct_touched_bytes={size: touched.covered_bytes(size) for size in BLOCK_SIZES},
            rewritten_bytes=written_bytes - self.written.covered_bytes(),
            unaligned_4k=self.unaligned_4k,
            unaligned_512=self.unaligned_512,
            shortest_bytes=int(self.shortest) if reads + writes + zeroes else 0,
            longest_bytes=self.longest,
            write_residues=_commonest_first(self.residues),
        )


class _Clock:
    """Running figures over time, all volumes together: span, busiest minute, longest gap."""

    def __init__(self) -> None:
        self._first_ns: int | None = None
        self._last_ns = 0
        self._minute = (-1, 0, 0)
        self._busiest = (-1, 0, 0)
        self.longest_gap_ns = 0

    def add(self, time_ns: Int64Array, op: UInt8Array, length: Int64Array) -> None:
        """Add requests in the order of time; at least one."""
        previous = self._last_ns if self._first_ns is not None else int(time_ns[0])
        self._first_ns = int(time_ns[0]) if self._first_ns is None else self._first_ns
        self._last_ns = int(time_ns[-1])
        self.longest_gap_ns = max(self.longest_gap_ns, int(np.diff(time_ns, prepend=previous).max()))
        minutes, first, counts = np.unique(time_ns // MINUTE, return_index=True, return_counts=True)
        moved = np.add.reduceat(np.where(op == DISCARD, 0, length), first)
        for minute, requests, size in zip(minutes.tolist(), counts.tolist(), moved.tolist(), strict=True):
            # a minute may go on in the next batch
            same = minute == self._minute[0]
            self._minute = (minute, requests + self._minute[1] * same, size + self._minute[2] * same)
            self._busiest = max(self._busiest, self._minute, key=lambda one: one[1])

    @property
    def span_ns(self) -> int:
        """Time between the first and the last request, in nanoseconds."""
        return 0 if self._first_ns is None else self._last_ns - self._first_ns

    def busiest_minute(self) -> dict[str, float] | None:
        """Return the minute with most requests, the earliest of several."""
        minute, requests, size = self._busiest
        return None if minute < 0 else {"start_seconds": minute * 60, "requests": requests, "bytes": size}


def _total(parts: list[Figures], *, span_ns: int) -> dict[str, Any]:
    """Add the figures of volumes up."""
    summed = (
        "requests", "reads", "writes", "discards", "flushes", "write_zeroes",
        "read_bytes", "written_bytes", "discarded_bytes", "zeroed_bytes", "rewritten_bytes",
        "unaligned_4k", "unaligned_512",
    )  # fmt: skip
    capacities = [part.capacity_bytes for part in parts if part.capacity_bytes is not None]
    residues: dict[int, int] = {}
    for part in parts:
        for residue, count in part.write_residues.items():
            residues[residue] = residues.get(residue, 0) + count
    return {
        **{name: sum(getattr(part, name) for part in parts) for name in summed},
        "span_ns": span_ns,
        "capacity_bytes": sum(capacities) if len(capacities) == len(parts) else None,
        "max_end_bytes": max((part.max_end_bytes for part in parts), default=0),
        "shortest_bytes": min((part.shortest_bytes for part in parts if part.shortest_bytes), default=0),
        "longest_bytes": max((part.longest_bytes for part in parts), default=0),
        "write_residues": _commonest_first(residues),
        **{
            name: {size: sum(getattr(part, name)[size] for part in parts) for size in BLOCK_SIZES}
            for name in ("distinct_written_bytes", "distinct_touched_bytes")
        },
    }


def _commonest_first(counts: dict[int, int]) -> dict[int, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
