"""Requests in the cells of a picture: one pass over a trace, however many requests it has."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from snapsim.errors import UsageError
from snapsim.traces.changes import needs_requests
from snapsim.traces.trace import Trace
from snapsim.types import READ, WRITE, WRITE_ZEROES, Int64Array

_ROWS = 1 << 18
_KINDS = {"read": (READ,), "write": (WRITE, WRITE_ZEROES)}


@dataclass(frozen=True, eq=False)
class ActivityMap:
    """Reads and writes of one volume by time and address.

    Attributes
    ----------
    time_edges_ns : int64 array, shape (n_times + 1,)
        Since the Unix epoch.  [ns]
    address_edges : int64 array, shape (n_addresses + 1,)
        [bytes]
    read_bytes, written_bytes : int64 array, shape (n_times, n_addresses)
        Bytes asked for in each cell, counted as often as they are asked for.  [bytes]
    reads, writes : int64 array, shape (n_times,)
        Requests.
    """

    time_edges_ns: Int64Array
    address_edges: Int64Array
    read_bytes: Int64Array
    written_bytes: Int64Array
    reads: Int64Array
    writes: Int64Array

    @property
    def step_ns(self) -> int:
        """Width of the cells in time.  [ns]"""
        return int(self.time_edges_ns[1] - self.time_edges_ns[0])


def map_activity(trace: Trace, *, n_times: int = 240, n_addresses: int = 120) -> ActivityMap:
    """Count the bytes that a trace reads and writes in each cell of time and address.

    Parameters
    ----------
    trace : Trace
        A trace of one volume.
    n_times, n_addresses : int
        Cells at most; fewer where the trace is shorter than that many nanoseconds or bytes.

    Returns
    -------
    ActivityMap
        A request counts at the time it was sent, and in every cell that it overlaps with the bytes inside it.

    Raises
    ------
    UsageError
        The trace holds no request.
    VolumeSelectionError
        The trace holds several volumes.
    """
    needs_requests(trace, "a picture of requests")
    if len(trace) == 0:
        raise UsageError("this trace holds no request, so there is nothing to draw")
    _ = trace.capacity  # refuses several volumes, whose addresses have nothing to do with each other
    width_ns = -(-(trace.span_ns + 1) // n_times)
    highest = max(trace.info.max_end[0], 1)
    cell_bytes = -(-highest // n_addresses)
    shape = (-(-(trace.span_ns + 1) // width_ns), -(-highest // cell_bytes))
    sizes = {name: np.zeros(shape, np.int64) for name in _KINDS}
    requests = {name: np.zeros(shape[0], np.int64) for name in _KINDS}
    first_ns: int | None = None
    for batch in trace.batches(rows=_ROWS):
        if first_ns is None:
            first_ns = int(batch.time_ns[0])
        column = (batch.time_ns - first_ns) // width_ns
        for name, ops in _KINDS.items():
            chosen = np.isin(batch.op, ops)
            requests[name] += np.bincount(column[chosen], minlength=shape[0])
            _spread(sizes[name], column[chosen], batch.offset[chosen], batch.length[chosen], cell_bytes)
    return ActivityMap(
        time_edges_ns=trace.start_ns + (first_ns or 0) + np.arange(shape[0] + 1, dtype=np.int64) * width_ns,
        address_edges=np.arange(shape[1] + 1, dtype=np.int64) * cell_bytes,
        read_bytes=sizes["read"],
        written_bytes=sizes["write"],
        reads=requests["read"],
        writes=requests["write"],
    )


def _spread(
    cells: Int64Array, column: Int64Array, offset: Int64Array, length: Int64Array, cell_bytes: int
) -> None:
    """Add every request's bytes to the cells that it overlaps."""
    end = offset + length
    row = offset // cell_bytes
    while len(row):
        inside = np.minimum(end, (row + 1) * cell_bytes) - np.maximum(offset, row * cell_bytes)
        np.add.at(cells, (column, row), inside)
        more = (row + 1) * cell_bytes < end
        column, row, offset, end = column[more], row[more] + 1, offset[more], end[more]


@dataclass(frozen=True, eq=False)
class CoarseMatrix:
    """A lifetime matrix with neighbouring epochs joined.

    Attributes
    ----------
    epochs : int64 array, shape (n_bins + 1,)
        First epoch of each bin, and one past the last epoch.
    bytes : int64 array, shape (n_bins, n_bins)
        Versions by birth (rows) and death (columns) inside the trace.  [bytes]
    initial : int64 array, shape (n_bins,)
        Content from before the trace, by death.  [bytes]
    alive : int64 array, shape (n_bins,)
        Versions alive after the last instant, by birth.  [bytes]
    untouched : int
        Content from before the trace that is alive after the last instant.  [bytes]
    """

    epochs: Int64Array
    bytes: Int64Array
    initial: Int64Array
    alive: Int64Array
    untouched: int


def coarsen(
    birth: npt.NDArray[np.int32],
    death: npt.NDArray[np.int32],
    size: Int64Array,
    *,
    n_instants: int,
    n_bins: int = 180,
) -> CoarseMatrix:
    """Join neighbouring epochs until a lifetime matrix fits into a picture.

    Parameters
    ----------
    birth, death : int32 arrays, shape (n_cells,)
        Births -1..n_instants, deaths 0..n_instants, as in `LifetimeMatrix.cells`.
    size : int64 array, shape (n_cells,)
        What each cell holds.  [bytes]
    n_instants : int
        Number of instants.
    n_bins : int
        Bins at most.

    Returns
    -------
    CoarseMatrix
        All bytes of the matrix, each once.
    """
    n_epochs = n_instants + 1
    width = -(-n_epochs // n_bins)
    bins = -(-n_epochs // width)
    b, d = birth.astype(np.int64), death.astype(np.int64)
    before, alive = b < 0, d == n_instants
    inside = ~before & ~alive
    flat = _sums(b[inside] // width * bins + d[inside] // width, size[inside], bins * bins)
    return CoarseMatrix(
        epochs=np.minimum(np.arange(bins + 1, dtype=np.int64) * width, n_epochs),
        bytes=flat.reshape(bins, bins),
        initial=_sums(d[before & ~alive] // width, size[before & ~alive], bins),
        alive=_sums(b[~before & alive] // width, size[~before & alive], bins),
        untouched=int(size[before & alive].sum()),
    )


def _sums(index: Int64Array, value: Int64Array, length: int) -> Int64Array:
    """Sum values by index, exactly: `np.bincount` would go through floating point."""
    total = np.zeros(length, np.int64)
    np.add.at(total, index, value)
    return total
