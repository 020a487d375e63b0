"""The drive: requests in batches, operations on snapshots between them, each counted where it belongs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from snapsim.devices import ServiceParameters
from snapsim.engine.queueing import Work
from snapsim.engine.replay import Replay, Upkeep
from snapsim.planning.replay_device import Pace, SharedDevice, merge_parts
from snapsim.planning.replay_tallies import Bursts, Intervals, Latencies
from snapsim.policy.timeline import Timeline
from snapsim.traces.trace import Trace
from snapsim.types import READ, WRITE, WRITE_ZEROES, Batch, Int64Array
from snapsim.units import SECOND

__all__ = ["BATCH", "Drive", "Operation"]

BATCH = 1 << 16
"""Requests that are read at a time."""


class Operation(NamedTuple):
    """One operation on snapshots: a row of `Replayed.operations`, with times from the trace's start."""

    time_ns: int
    action: str
    taken_ns: int
    pause_ns: float
    moved_bytes: int
    read_bytes: int
    written_bytes: int
    extra_bytes: int
    merge_duration_ns: float


class _Event(NamedTuple):
    """What happens to snapshots at an instant: first the one that is due is taken, then the prune follows."""

    time_ns: int
    created: list[int]
    deleted: list[int]


@dataclass(kw_only=True)
class Drive:
    """One trace through one chain.

    Attributes
    ----------
    chain : Replay
        What the mechanism does.
    block_size : int
        Of the chain: what versions are kept of.  [bytes]
    device : SharedDevice or None
        Where it happens; None: only I/O is counted.
    parameters : ServiceParameters or None
        Of the device.
    intervals, bursts, latencies
        Where it is counted.
    merge : {"commit", "stream"}
        How layers are joined.
    pace : Pace
        How fast merges go.
    """

    chain: Replay
    block_size: int
    device: SharedDevice | None
    parameters: ServiceParameters | None
    intervals: Intervals
    bursts: Bursts
    latencies: Latencies
    merge: str
    pace: Pace
    operations: list[Operation] = field(default_factory=list)
    _at: int = 0
    _names: dict[int, tuple[int, int]] = field(default_factory=dict)
    _state: tuple[int, ...] | None = None
    _merges: dict[int, int] = field(default_factory=dict)

    def run(
        self,
        trace: Trace,
        timeline: Timeline,
        *,
        rows: int = BATCH,
        progress: Callable[[int, int | None], None] | None = None,
    ) -> None:
        """Carry out everything.

        Parameters
        ----------
        trace : Trace
            Of one volume.
        timeline : Timeline
            Which snapshots exist when.
        rows : int
            Requests that are read at a time; changes nothing.
        progress : callable, optional
            Called with (requests done, requests in all).
        """
        events = _events(timeline, trace.start_ns)
        event = next(events, None)
        done, total = 0, len(trace)
        for batch in trace.batches(rows=rows):
            begin, n = 0, len(batch.time_ns)
            while begin < n:
                stop = n
                if event is not None:  # a snapshot sees what came earlier
                    stop = begin + int(np.searchsorted(batch.time_ns[begin:], event.time_ns))
                if stop > begin:
                    self._requests(batch, begin, stop)
                if stop < n and event is not None:
                    self._happens(event)
                    event = next(events, None)
                begin = stop
            done += n
            if progress is not None:
                progress(done, total)
        while event is not None:
            self._happens(event)
            event = next(events, None)
        self._end()

    def _requests(self, batch: Batch, begin: int, stop: int) -> None:
        """Carry out requests between two operations, interval by interval."""
        place = self.intervals.place(batch.time_ns[begin:stop])
        cuts = [begin, *(np.flatnonzero(np.diff(place)) + begin + 1).tolist(), stop]
        for low, high in pairwise(cuts):
            self._reach(int(place[low - begin]))
            self._carry_out(
                Batch(
                    batch.time_ns[low:high],
                    batch.op[low:high],
                    batch.offset[low:high],
                    batch.length[low:high],
                )
            )

    def _carry_out(self, batch: Batch) -> None:
        """Carry out requests of one interval."""
        if self.device is None:
            traffic, work = self.chain.replay(batch), None
        else:
            traffic, work = self.chain.work(batch)
        self._state = None
        reads = batch.op == READ
        asked = np.where((batch.op == WRITE) | (batch.op == WRITE_ZEROES), batch.length, 0)
        written = traffic.written_bytes + traffic.metadata_written_bytes
        low, high = batch.offset[reads], batch.offset[reads] + batch.length[reads]
        self.intervals.put(
            self._at,
            requests=len(batch.op),
            block_reads=int((-(-high // self.block_size) - low // self.block_size).sum()),
            lookups=int(traffic.lookups.sum()),
            guest_read_bytes=int((high - low).sum()),
            guest_written_bytes=int(asked.sum()),
            read_bytes=int(traffic.read_bytes.sum() + traffic.metadata_read_bytes.sum()),
            written_bytes=int(written.sum()),
            metadata_read_bytes=int(traffic.metadata_read_bytes.sum()),
            metadata_written_bytes=int(traffic.metadata_written_bytes.sum()),
            flushes=int(traffic.flushes.sum()),
            copy_read_bytes=int(traffic.read_bytes[~reads].sum()),
            copied_bytes=int(np.maximum(traffic.written_bytes - asked, 0).sum()),
        )
        if self.latencies.taken:
            self.bursts.add(batch.time_ns - self.latencies.taken[-1], guest_written=asked, written=written)
        if self.device is not None and work is not None:
            self._limits(np.full(len(batch.op), self._at), work)
            self.device.guest(batch.time_ns, batch.op.astype(np.int64), work)

    def _happens(self, event: _Event) -> None:
        """Take and delete snapshots."""
        self._reach(int(self.intervals.place(np.array([event.time_ns]))[0]))
        for number in event.created:
            self._create(event.time_ns, number)
        for number in event.deleted:
            self._remove(event.time_ns, number)
        self._state = None

    def _create(self, time_ns: int, number: int) -> None:
        upkeep = self.chain.create()
        self._names[number] = upkeep.snapshot, time_ns
        self._operation(time_ns, "create", time_ns, upkeep)
        self.latencies.taken.append(time_ns)

    def _remove(self, time_ns: int, number: int) -> None:
        snapshot, taken_ns = self._names.pop(number)
        self._operation(time_ns, "delete", taken_ns, self.chain.remove(snapshot, how=self.merge))

    def _operation(self, time_ns: int, action: str, taken_ns: int, upkeep: Upkeep) -> None:
        """Let the guest wait for an operation, or do it in the background; note what it did."""
        work, pause, lasting = upkeep.work, 0.0, 0.0
        parts = len(work.first_op) - 1 if len(work.op) else 0
        due, at_once = np.full(parts, time_ns), upkeep.blocks_guest or not parts
        if not at_once:
            due, end = self.pace.due(time_ns, merge_parts(work))
            lasting = float(end - time_ns)
        place = self.intervals.place(due)
        request = work.columns()[-1]
        for name, ops in (("read_bytes", work.op == READ), ("written_bytes", work.op == WRITE)):
            # what a merge does after the end of the trace is counted into the last interval
            self.intervals.add(name, np.minimum(place, self.intervals.n - 1)[request[ops]], work.length[ops])
        self.intervals.put(self._at, flushes=upkeep.flushes)
        self._limits(place, work)
        if self.device is None:
            pause = float("nan") if at_once and parts else 0.0
        elif at_once:
            pause = float(self.device.alone(time_ns, work) - time_ns)
        else:
            number = len(self._merges)
            self._merges[number] = len(self.operations)
            self.device.merge(due, work, number=number)
        moves, size = upkeep.moves, self.block_size
        self.operations.append(
            Operation(
                time_ns, action, taken_ns, pause, moves.moved * size, upkeep.read_bytes,
                upkeep.written_bytes, moves.extra * size, lasting,
            )
        )  # fmt: skip

    def _limits(self, place: Int64Array, work: Work) -> None:
        """Count the least time that the device's limits allow for operations."""
        if self.parameters is None:
            return
        throughput = self.parameters.throughput[work.op]
        transfer = np.where(throughput > 0, work.length / np.maximum(throughput, 1) * SECOND, 0)
        cost = np.maximum(self.parameters.spacing[work.op], transfer.astype(np.int64))
        self.intervals.add("limits_ns", place[work.columns()[-1]], cost, beyond=True)

    def _reach(self, place: int) -> None:
        """Go on to a later interval: note what is so at the end of those before."""
        while self._at < place:
            self._sample()
            self._at += 1
        self.intervals.close(place)

    def _sample(self) -> None:
        if self._state is None:
            chain = self.chain
            self._state = (chain.total, chain.live, len(self._names), *chain.fragments())
        self.intervals.sample(self._at, self._state)

    def _end(self) -> None:
        """Write what is still in caches; let everything finish."""
        left = self.chain.metadata_flush()
        written = int(left.metadata_written_bytes.sum())
        read = int(left.metadata_read_bytes.sum())
        self.intervals.put(
            self._at,
            read_bytes=read,
            written_bytes=written,
            metadata_read_bytes=read,
            metadata_written_bytes=written,
            flushes=int(left.flushes.sum()),
        )
        self._reach(self.intervals.n - 1)
        self._sample()
        if self.device is not None:
            self.device.finish()
            for number, row in self._merges.items():
                lasting = self.latencies.merged[number] - self.operations[row].time_ns
                self.operations[row] = self.operations[row]._replace(merge_duration_ns=float(lasting))
        self.intervals.close(1 << 62)


def _events(timeline: Timeline, start_ns: int) -> Iterator[_Event]:
    """Yield what happens to snapshots, in order, with times from the trace's start."""
    n = len(timeline.instants)
    gone = np.flatnonzero(timeline.deleted < n)
    order = gone[np.argsort(timeline.deleted[gone], kind="stable")]
    when = timeline.deleted[order]
    numbers = np.arange(len(timeline.created))
    for instant in np.union1d(timeline.created, when).tolist():
        around = [instant, instant + 1]
        yield _Event(
            int(timeline.instants[instant]) - start_ns,
            numbers[slice(*np.searchsorted(timeline.created, around))].tolist(),
            order[slice(*np.searchsorted(when, around))].tolist(),
        )
