"""The figures of a trace as values: for programs as a dict, for people as a table.

A WRITE_ZEROES request changes contents, so it counts among the writes and its bytes among the written ones;
it is shown apart as well.  *Touched* means read or written: a DISCARD ends data, it does not touch
it.  Distinct bytes are those of the blocks that at least one byte of a request falls into.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from snapsim.traces.pacing import pace
from snapsim.traces.readers.base import DroppedLine
from snapsim.units import SECOND, format_duration, format_size


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Counts and bytes of one volume, or of all volumes of a trace.

    Attributes
    ----------
    requests, reads, writes, discards, flushes : int
        Requests of all kinds, and by kind; WRITE_ZEROES is among the writes.
    write_zeroes : int
        WRITE_ZEROES requests alone.
    read_bytes, written_bytes, discarded_bytes, zeroed_bytes : int
        Sums of lengths; those of WRITE_ZEROES are among the written bytes.  [bytes]
    span_ns : int
        Time between the first and the last request.  [ns]
    capacity_bytes : int or None
        Size of the volume; for several the sum, None as soon as one is not known.  [bytes]
    max_end_bytes : int
        One past the highest byte that any request names; for several volumes the largest of theirs.  [bytes]
    distinct_written_bytes, distinct_touched_bytes : mapping of int to int
        Block size to the bytes of the distinct blocks written, and read or written.  [bytes]
    rewritten_bytes : int
        Written bytes that fell, byte for byte, onto bytes that the trace had written before.  [bytes]
    unaligned_4k, unaligned_512 : int
        Requests (but FLUSH) whose offset or length is not a multiple of 4 KiB, of 512 bytes.
    shortest_bytes, longest_bytes : int
        Extreme lengths of reads and writes; 0 when there are none.  [bytes]
    write_residues : mapping of int to int
        Write offset modulo 4096 to the number of such writes, commonest first.
    """

    requests: int
    reads: int
    writes: int
    discards: int
    flushes: int
    write_zeroes: int
    read_bytes: int
    written_bytes: int
    discarded_bytes: int
    zeroed_bytes: int
    span_ns: int
    capacity_bytes: int | None
    max_end_bytes: int
    distinct_written_bytes: Mapping[int, int]
    distinct_touched_bytes: Mapping[int, int]
    rewritten_bytes: int
    unaligned_4k: int
    unaligned_512: int
    shortest_bytes: int
    longest_bytes: int
    write_residues: Mapping[int, int]

    @property
    def span_seconds(self) -> float:
        """Time between the first and the last request, in seconds."""
        return self.span_ns / SECOND

    @property
    def write_share(self) -> float:
        """Writes among all requests; 0 for an empty trace."""
        return _ratio(self.writes, self.requests)

    @property
    def mean_iops(self) -> float | None:
        """Requests per second of the span; None when the span is zero."""
        return self.requests / self.span_seconds if self.span_ns else None

    @property
    def unaligned_4k_share(self) -> float:
        """Unaligned requests among those that have an extent."""
        return _ratio(self.unaligned_4k, self.requests - self.flushes)

    @property
    def overwrite_factor(self) -> float | None:
        """Written bytes per distinct byte written, at least 1; None when nothing was written."""
        distinct = self.written_bytes - self.rewritten_bytes
        return self.written_bytes / distinct if distinct else None

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON-able values, keys as in `snapsim trace stats --json`."""
        return {
            "requests": self.requests,
            "reads": self.reads,
            "writes": self.writes,
            "discards": self.discards,
            "flushes": self.flushes,
            "read_bytes": self.read_bytes,
            "written_bytes": self.written_bytes,
            "discarded_bytes": self.discarded_bytes,
            "span_seconds": self.span_seconds,
            "span_ns": self.span_ns,
            "capacity_bytes": self.capacity_bytes,
            "max_end_bytes": self.max_end_bytes,
            "distinct_written_bytes": {
                str(size): count for size, count in self.distinct_written_bytes.items()
            },
            "distinct_touched_bytes": {
                str(size): count for size, count in self.distinct_touched_bytes.items()
            },
            "unaligned_4k_share": self.unaligned_4k_share,
            "write_share": self.write_share,
            "write_zeroes": self.write_zeroes,
            "zeroed_bytes": self.zeroed_bytes,
            "mean_iops": self.mean_iops,
            "overwrite_factor": self.overwrite_factor,
            "shortest_bytes": self.shortest_bytes,
            "longest_bytes": self.longest_bytes,
            "write_offset_modulo_4096": {
                str(residue): count for residue, count in list(self.write_residues.items())[:8]
            },
        }


@dataclass(frozen=True, kw_only=True)
class Summary(Figures):
    """The figures of a trace, where they come from, and the same for each of its volumes.

    Attributes
    ----------
    format, source : str
        The reader that read the trace, and the files that it read.
    start_ns : int or None
        Absolute start, nanoseconds since the Unix epoch; None when the trace does not tell.  [ns]
    out_of_order, skipped_lines, dropped_lines : int
        Back-steps of the clock in file order, lines that are no requests, damaged lines.
    skipped_kinds : mapping of str to int
        How many lines of each kind are no requests.
    drops : tuple of DroppedLine
        The first damaged lines.
    options : mapping
        Reader options and units in force.
    notes : tuple of str
        What the reader assumed.
    time_scale : float
        Represented time per real time of a paced recording.
    shift_bytes : int
        Alignment shift that was applied.  [bytes]
    busiest_minute : mapping or None
        The minute, counted from the trace's start, with most requests: `start_seconds`, `requests`, `bytes`
        (read and written); None for an empty trace.
    longest_gap_ns : int
        Longest time without a request.  [ns]
    volumes : mapping of str to Figures
        Volume name to its figures; one entry, usually named "", when there is one volume.
    """

    format: str
    source: str
    start_ns: int | None
    out_of_order: int
    skipped_lines: int
    skipped_kinds: Mapping[str, int]
    dropped_lines: int
    drops: tuple[DroppedLine, ...]
    options: Mapping[str, str]
    notes: tuple[str, ...]
    time_scale: float
    shift_bytes: int
    busiest_minute: Mapping[str, float] | None
    longest_gap_ns: int
    volumes: Mapping[str, Figures]

    @property
    def start(self) -> str | None:
        """Absolute start as ISO 8601 text in UTC; None when the trace does not tell."""
        if self.start_ns is None:
            return None
        seconds, rest = divmod(self.start_ns, SECOND)
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds, microseconds=rest // 1000)
        return moment.isoformat().replace("+00:00", "Z")

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-able values: what `snapsim trace stats --json` prints."""
        return {
            "format": self.format,
            "source": self.source,
            "start": self.start,
            **super().to_dict(),
            "out_of_order": self.out_of_order,
            "skipped_lines": self.skipped_lines,
            "skipped_kinds": dict(self.skipped_kinds),
            "dropped_lines": self.dropped_lines,
            "drops": [
                {"file": drop.file, "line": drop.line, "field": drop.field, "reason": drop.reason}
                for drop in self.drops
            ],
            "options": dict(self.options),
            "notes": list(self.notes),
            "time_scale": self.time_scale,
            "shift_bytes": self.shift_bytes,
            "busiest_minute": dict(self.busiest_minute) if self.busiest_minute else None,
            "longest_gap_seconds": self.longest_gap_ns / SECOND,
            "volumes": [{"volume": name, **figures.to_dict()} for name, figures in self.volumes.items()],
        }

    def text(self) -> str:
        """Return the summary as an aligned table for people."""
        rows = [
            ("format", self.format),
            ("source", self.source),
            ("start", self.start or "not recorded"),
            *([("time scale", pace(self.time_scale))] if self.time_scale != 1 else []),
            *_rows(self),
        ]
        rows += [
            ("back-steps", f"{self.out_of_order:,}"),
            ("lines", f"{self.skipped_lines:,} skipped, {self.dropped_lines:,} damaged and dropped"),
        ]
        if len(self.volumes) > 1:
            rows += [
                (f"volume {name}", f"{one.requests:,} requests, {format_size(one.written_bytes)} written")
                for name, one in self.volumes.items()
            ]
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _rows(figures: Figures) -> list[tuple[str, str]]:
    known = f"{format_size(figures.capacity_bytes)}" if figures.capacity_bytes is not None else "not recorded"
    iops = "" if figures.mean_iops is None else f", {figures.mean_iops:,.4g} per second"
    factor = "" if figures.overwrite_factor is None else f", each byte {figures.overwrite_factor:.3g} times"
    distinct = ", ".join(
        f"{format_size(count)} in {format_size(size)} blocks"
        for size, count in figures.distinct_written_bytes.items()
    )
    return [
        ("span", format_duration(figures.span_ns)),
        ("requests", f"{figures.requests:,}{iops}"),
        ("reads", f"{figures.reads:,} ({format_size(figures.read_bytes)})"),
        ("writes", f"{figures.writes:,} ({format_size(figures.written_bytes)}{factor})"),
        ("discards", f"{figures.discards:,} ({format_size(figures.discarded_bytes)})"),
        ("flushes", f"{figures.flushes:,}"),
        ("distinct written", distinct),
        ("distinct touched", f"{format_size(figures.distinct_touched_bytes[4096])} in 4 KiB blocks"),
        ("capacity", f"{known}, highest byte at {format_size(figures.max_end_bytes)}"),
        ("not 4 KiB aligned", f"{figures.unaligned_4k_share:.1%} of requests"),
    ]


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
