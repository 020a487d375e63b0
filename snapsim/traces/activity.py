"""How a trace's writes and footprint develop over time.

Intervals of length `every` begin at its multiples since the Unix epoch, like the instants of snapshots: a row
of `change_rate` is what one snapshot interval changed.  Each function makes one pass; memory follows the
footprint and the number of rows.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd

from snapsim import schema
from snapsim.errors import UsageError
from snapsim.traces.changes import needs_requests
from snapsim.traces.extents import VolumeExtents, by_volume
from snapsim.traces.footprint import GrowingFootprint
from snapsim.traces.trace import Trace
from snapsim.types import READ, WRITE, WRITE_ZEROES, Batch, Int64Array
from snapsim.units import SECOND, format_duration, parse_duration, parse_size

Mask = npt.NDArray[np.bool_]

_MAX_ROWS = 10_000_000
_COMPLETE = 0.99


def change_rate(trace: Trace, *, every: int | str = "1h", block_size: int | str = "4KiB") -> pd.DataFrame:
    """Count requests and distinct bytes written, interval by interval.

    Parameters
    ----------
    trace : Trace
        A trace of one or several volumes; figures are sums over the volumes.
    every : int or str
        Length of the intervals.  [ns]
    block_size : int or str
        Unit in which distinct bytes are counted.  [bytes]

    Returns
    -------
    pandas.DataFrame
        One row per interval from the trace's start to its last request, empty ones included: `time` (the
        interval's begin), `requests`, `reads`, `writes`, `read_bytes`, `written_bytes`, `changed_bytes`
        (distinct, in whole blocks), `change_rate` (changed bytes per second of the whole interval).

    Raises
    ------
    UsageError
        `every` or `block_size` is 0, or `every` is so short that there would be more than ten million rows.
    """
    needs_requests(trace, "a change rate")
    length, size = _duration(every), _size(block_size)
    index: list[int] = []
    figures: list[Int64Array] = []
    changed: list[int] = []
    written = VolumeExtents()
    for interval, piece in _pieces(trace, length):
        if not index or interval != index[-1]:
            changed.append(written.covered_bytes(size))
            written = VolumeExtents()
            index.append(interval)
            figures.append(np.zeros(5, np.int64))
        reads, writes = piece.op == READ, _writes(piece)
        figures[-1] += np.array(
            [
                piece.op.size,
                np.count_nonzero(reads),
                np.count_nonzero(writes),
                piece.length[reads].sum(),
                piece.length[writes].sum(),
            ]
        )
        _add(written, piece, writes)
    changed.append(written.covered_bytes(size))

    rows = index[-1] + 1 if index else 0
    table = np.zeros((rows, 6), np.int64)
    if rows:
        table[index, :5] = figures
        table[index, 5] = changed[1:]
    frame = pd.DataFrame({"time": _times(trace, length, rows)})
    names = ("requests", "reads", "writes", "read_bytes", "written_bytes", "changed_bytes")
    for column, name in enumerate(names):
        frame[name] = table[:, column]
    frame["change_rate"] = frame["changed_bytes"] * (SECOND / length)
    schema.check_columns(frame.columns)
    return frame


def working_set(trace: Trace, *, every: int | str = "1h", block_size: int | str = "4KiB") -> pd.DataFrame:
    """Count the distinct bytes that were touched, and those that were written, since the trace's start.

    Parameters
    ----------
    trace : Trace
        A trace of one or several volumes; figures are sums over the volumes.
    every : int or str
        Distance of the instants.  [ns]
    block_size : int or str
        Unit in which distinct bytes are counted.  [bytes]

    Returns
    -------
    pandas.DataFrame
        One row per instant, from the last one not after the trace's start to the first one after the last
        request: `time`, `working_set_bytes` (read or written before that instant), `written_set_bytes`.

    Raises
    ------
    UsageError
        `every` or `block_size` is 0, or `every` is so short that there would be more than ten million rows.
    """
    needs_requests(trace, "a working set")
    length, size = _duration(every), _size(block_size)
    index: list[int] = []
    sizes: list[tuple[int, int]] = []
    touched, written = ([GrowingFootprint(size) for _ in trace.volumes] for _ in range(2))
    for interval, piece in _pieces(trace, length):
        if not index or interval != index[-1]:
            sizes.append((_total(touched), _total(written)))
            index.append(interval)
        writes = _writes(piece)
        for footprints, rows in ((touched, writes | (piece.op == READ)), (written, writes)):
            volume = piece.volume[rows] if piece.volume is not None else None
            offset, span = piece.offset[rows], piece.length[rows]
            for code, own in by_volume(volume):
                footprints[code].add(offset[own], span[own])
    sizes.append((_total(touched), _total(written)))

    rows = index[-1] + 2 if index else 0
    # an instant sees the intervals that end at it or before it
    seen = np.searchsorted(np.asarray(index, np.int64), np.arange(rows), side="left")
    table = np.asarray(sizes, np.int64)[seen]
    frame = pd.DataFrame(
        {
            "time": _times(trace, length, rows),
            "working_set_bytes": table[:, 0],
            "written_set_bytes": table[:, 1],
        },
    )
    schema.check_columns(frame.columns)
    return frame


def change_rate_by_interval(
    trace: Trace,
    *,
    ladder: Sequence[int | str] = ("1min", "5min", "15min", "1h", "6h", "1d"),
    block_size: int | str = "4KiB",
) -> pd.DataFrame:
    """Count the distinct bytes that intervals of different lengths change.

    The longer the interval, the more often a block is overwritten within it, so the rate falls: this curve,
    not one rate, says what a snapshot schedule costs.  All lengths are counted in one pass.

    Parameters
    ----------
    trace : Trace
        A trace of one or several volumes; figures are sums over the volumes.
    ladder : sequence of int or str
        Interval lengths.  [ns]
    block_size : int or str
        Unit in which distinct bytes are counted.  [bytes]

    Returns
    -------
    pandas.DataFrame
        One row per length, ascending: `interval_ns`, `intervals`, `mean_changed_bytes`, `max_changed_bytes`,
        `change_rate` (mean changed bytes per second).  Intervals are counted from the trace's start; one
        counts when the trace covers at least 99 % of it, and a length of which none counts has no row.

    Raises
    ------
    UsageError
        A length or `block_size` is 0.
    """
    needs_requests(trace, "a change rate by interval")
    size = _size(block_size)
    rungs = [_Rung(length, size) for length in sorted({_duration(step) for step in ladder})]
    fed_by_requests: list[_Rung] = []
    for position, rung in enumerate(rungs):
        # whole shorter intervals make up the longer one: their unions are smaller than their requests
        divisors = [shorter for shorter in rungs[:position] if rung.length % shorter.length == 0]
        (divisors[-1].feeds if divisors else fed_by_requests).append(rung)

    last = 0
    for batch in trace.batches():
        if batch.op.size == 0 or not rungs:
            continue
        last = int(batch.time_ns[-1])
        index = np.stack([batch.time_ns // rung.length for rung in rungs])
        for first, piece in _split(batch, (np.diff(index) != 0).any(axis=0)):
            for rung, interval in zip(rungs, index[:, first].tolist(), strict=True):
                rung.advance(interval)
            writes = _writes(piece)
            for rung in fed_by_requests:
                _add(rung.written, piece, writes)
    for rung in rungs:
        rung.finish(last)

    complete = [rung for rung in rungs if rung.intervals]
    frame = pd.DataFrame(
        {
            "interval_ns": np.array([rung.length for rung in complete], np.int64),
            "intervals": np.array([rung.intervals for rung in complete], np.int64),
            "mean_changed_bytes": np.array([rung.total / rung.intervals for rung in complete], np.float64),
            "max_changed_bytes": np.array([rung.largest for rung in complete], np.int64),
        },
    )
    frame["change_rate"] = frame["mean_changed_bytes"] / (frame["interval_ns"] / SECOND)
    schema.check_columns(frame.columns)
    return frame


class _Rung:
    """The intervals of one length: what the current one wrote, and figures of those before it."""

    def __init__(self, length: int, block_size: int) -> None:
        self.length = length
        self.block_size = block_size
        self.feeds: list[_Rung] = []
        self.written = VolumeExtents()
        self.interval = self.intervals = self.total = self.largest = 0
        self._changed = 0

    def advance(self, interval: int) -> None:
        """Go to the interval of the next requests; shorter lengths must have gone before."""
        if interval != self.interval:
            self._close()
            self._count()
            self.interval = interval

    def finish(self, last_ns: int) -> None:
        """Close the interval of the last request; it counts when the trace covers nearly all of it."""
        self._close()
        self.intervals, covered = divmod(last_ns, self.length)
        if covered >= _COMPLETE * self.length:
            self.intervals += 1
            self._count()

    def _close(self) -> None:
        self._changed = self.written.covered_bytes(self.block_size)
        for longer in self.feeds:
            longer.written.update(self.written)
        self.written = VolumeExtents()

    def _count(self) -> None:
        self.total += self._changed
        self.largest = max(self.largest, self._changed)


def _pieces(trace: Trace, length: int) -> Iterator[tuple[int, Batch]]:
    """Cut the requests at the instants; yield the interval's number and consecutive requests of it."""
    phase = trace.start_ns % length
    for batch in trace.batches():
        index = (batch.time_ns + phase) // length
        if index.size and index[-1] >= _MAX_ROWS:
            msg = (
                f"intervals of {format_duration(length)} would make {int(index[-1]) + 1:,} rows or more: "
                f"choose a longer `every`, or look whether the trace's time unit is right"
            )
            raise UsageError(msg)
        for first, piece in _split(batch, np.diff(index) != 0):
            yield int(index[first]), piece


def _split(batch: Batch, cut_after: Mask) -> Iterator[tuple[int, Batch]]:
    """Cut a batch after the rows that are marked; yield each piece and its first row."""
    if batch.op.size == 0:
        return
    cuts = [0, *(np.flatnonzero(cut_after) + 1).tolist(), batch.op.size]
    for first, end in pairwise(cuts):
        yield first, Batch._make(column[first:end] if column is not None else None for column in batch)


def _writes(batch: Batch) -> Mask:
    return np.isin(batch.op, (WRITE, WRITE_ZEROES))


def _add(extents: VolumeExtents, batch: Batch, rows: Mask) -> None:
    volume = batch.volume[rows] if batch.volume is not None else None
    extents.add(batch.offset[rows], batch.length[rows], volume)


def _total(footprints: list[GrowingFootprint]) -> int:
    return sum(footprint.covered_bytes() for footprint in footprints)


def _times(trace: Trace, length: int, rows: int) -> pd.DatetimeIndex:
    begin = trace.start_ns // length * length
    return pd.DatetimeIndex(
        (begin + length * np.arange(rows, dtype=np.int64)).view("datetime64[ns]"), tz="UTC"
    )


def _duration(value: int | str) -> int:
    length = parse_duration(value)
    if length == 0:
        msg = 'an interval length of 0 makes no sense: write a duration such as "1h"'
        raise UsageError(msg)
    return length


def _size(value: int | str) -> int:
    size = parse_size(value)
    if size == 0:
        msg = 'a block size of 0 makes no sense: write a size such as "4KiB"'
        raise UsageError(msg)
    return size
