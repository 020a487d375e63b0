"""How long copying takes: chunk after chunk is read here and written there, by several streams at once.

On one disk each chunk's reading and writing are served as they come.  Between two disks the time is what
operational analysis gives at least for a closed network of queues: no less than either disk alone needs, and
no less than one stream's reading and writing shared among the streams (Denning and Buzen, 1978).

Long copies are served in samples: runs of neighbouring chunks, evenly spread.
"""

from typing import NamedTuple, Self

import numpy as np

from snapsim.devices import ServiceParameters
from snapsim.engine.queueing import Work, cold_volume, serve
from snapsim.errors import UsageError
from snapsim.types import FLUSH, READ, WRITE, Int64Array

__all__ = ["SAMPLED", "Copying", "Pieces", "copy_time"]

SAMPLED = 8192
"""Copies of more chunks are served in samples of about so many."""

_NEIGHBOURS = 128  # chunks in a sampled run: long against what is under way at a time
_SECOND = 10**9


class Pieces(NamedTuple):
    """What is copied, each piece in one go.

    Attributes
    ----------
    source, target : int64 arrays, shape (n_pieces,)
        Where it lies, and where it goes.  [bytes]
    length : int64 array, shape (n_pieces,)
        At least 1.  [bytes]
    """

    source: Int64Array
    target: Int64Array
    length: Int64Array

    @property
    def total(self) -> int:
        """All of it.  [bytes]"""
        return int(self.length.sum())

    def runs(self) -> tuple[int, int]:
        """Return in how many contiguous runs it is read, and in how many it is written."""
        if len(self.length) == 0:
            return 0, 0
        read, written = (
            1 + int(np.count_nonzero(place[1:] != place[:-1] + self.length[:-1]))
            for place in (self.source, self.target)
        )
        return read, written

    def chunks(self, size: int, most: int) -> tuple[Self, int]:
        """Cut into chunks.

        Parameters
        ----------
        size : int
            Of a chunk, at most.  [bytes]
        most : int
            Of more chunks than this, runs that are evenly spread are taken.

        Returns
        -------
        chunks : Pieces
            All or some.
        n_chunks : int
            How many there are in all.
        """
        stop = np.cumsum(-(-self.length // size))
        n_chunks = int(stop[-1]) if len(stop) else 0
        chosen = np.arange(n_chunks)
        if n_chunks > most:
            n_runs = max(most // _NEIGHBOURS, 1)
            begins = np.arange(n_runs) * (n_chunks - _NEIGHBOURS) // max(n_runs - 1, 1)
            chosen = np.unique((begins[:, np.newaxis] + np.arange(_NEIGHBOURS)).reshape(-1))
        piece = np.searchsorted(stop, chosen, side="right")
        inside = (chosen - np.concatenate((np.zeros(1, np.int64), stop))[piece]) * size
        length = np.minimum(self.length[piece] - inside, size)
        return type(self)(self.source[piece] + inside, self.target[piece] + inside, length), n_chunks


class Copying(NamedTuple):
    """What copying takes.  [ns]

    Attributes
    ----------
    read_ns, write_ns : int
        Reading it alone, and writing it alone.
    duration_ns : int
        Both, to the flush at the end.
    """

    read_ns: int
    write_ns: int
    duration_ns: int


def copy_time(
    pieces: Pieces,
    source: ServiceParameters,
    target: ServiceParameters | None = None,
    *,
    chunk: int = 1 << 20,
    streams: int = 8,
    network: int = 0,
    cold: bool = False,
) -> Copying:
    """Say how long copying takes.

    Parameters
    ----------
    pieces : Pieces
        What is copied, in this order.
    source : ServiceParameters
        The device that is read.
    target : ServiceParameters, optional
        The device that is written; without it the same one, so that both share it.
    chunk : int
        What a stream reads before it writes it, at most.  [bytes]
    streams : int
        Chunks under way at a time.
    network : int
        What the way between the devices lets through; 0: no limit.  [bytes/s]
    cold : bool
        Every part of the source is read for the first time.

    Returns
    -------
    Copying
        Durations; all 0 where there is nothing to copy.

    Raises
    ------
    UsageError
        Chunks are empty, or there is no stream.

    Examples
    --------
    >>> from snapsim.devices import device
    >>> whole = Pieces(np.array([0]), np.array([0]), np.array([1 << 30]))
    >>> hdd, nvme = device("hdd").parameters(), device("nvme").parameters()
    >>> round(copy_time(whole, hdd, nvme, streams=1).duration_ns / 1e9, 1)
    5.8
    """
    if chunk < 1 or streams < 1:
        raise UsageError("a copy needs chunks of at least one byte and at least one stream")
    some, n_chunks = pieces.chunks(chunk, SAMPLED)
    if n_chunks == 0:
        return Copying(0, 0, 0)
    written = source if target is None else target
    served = len(some.length)

    def alone(device: ServiceParameters, op: int, n: int) -> int:
        place = (some.source if op == READ else some.target) % device.capacity
        work = Work.single(np.full(served, op), place, some.length)
        return _whole(_closed(device, work, n, cold=cold and op == READ), served, n_chunks)

    reading, writing = alone(source, READ, streams), alone(written, WRITE, streams)
    if target is None:
        both = _whole(_closed(source, _in_turn(some, source.capacity), streams, cold=cold), served, n_chunks)
    else:
        one = alone(source, READ, 1) + alone(target, WRITE, 1)
        both = max(reading, writing, one // streams)
    if network:
        both = max(both, pieces.total * _SECOND // network)
    return Copying(reading, writing, both + int(written.latency[FLUSH, 0]))


def _whole(part: int, served: int, n_chunks: int) -> int:
    return part * n_chunks // served


def _closed(device: ServiceParameters, work: Work, streams: int, *, cold: bool) -> int:
    """Return when all is done if so many streams take one request after the other.  [ns]"""
    n = len(work.first_op) - 1
    state = cold_volume(device, int((work.offset + work.length).max())) if cold else None
    times = np.zeros(n, np.int64)
    return int(serve(device, times, work, user=np.arange(n) % streams, cold=state).finish_ns.max())


def _in_turn(some: Pieces, capacity: int) -> Work:
    """Each chunk is read, then written to another place of the same disk."""
    n = len(some.length)
    # the target lies behind what is read
    behind = int((some.source + some.length).max())
    offset = np.stack((some.source, behind + some.target), axis=1).reshape(-1) % capacity
    return Work(
        op=np.tile(np.array([READ, WRITE], np.uint8), n),
        offset=np.ascontiguousarray(offset),
        length=np.repeat(some.length, 2),
        first_op=np.arange(0, 2 * n + 1, 2, dtype=np.int64),
        stage=np.tile(np.array([0, 1], np.int64), n),
    )
