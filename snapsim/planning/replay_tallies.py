"""What a replay adds up: by interval, by the age of the newest snapshot, and in all."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from snapsim.engine.histogram import Histogram
from snapsim.planning.replay_device import MERGE, Finished
from snapsim.types import READ, WRITE, WRITE_ZEROES, Int64Array
from snapsim.units import DAY, HOUR, MINUTE, SECOND

__all__ = ["AGES", "PERCENTILES", "Bursts", "Intervals", "Latencies"]

AGES = np.array(
    [0, *(n * unit for unit in (SECOND, MINUTE) for n in (1, 2, 5, 10, 20)),
     *(n * HOUR for n in (1, 2, 6, 12)), *(n * DAY for n in (1, 2, 7, 14, 30, 90, 365))],
    np.int64,
)  # fmt: skip
"""Where the bins of ages begin.  [ns]"""

PERCENTILES: Mapping[str, float] = MappingProxyType({"p50": 50, "p95": 95, "p99": 99, "p999": 99.9})

_COUNTED = (
    "requests", "block_reads", "lookups", "guest_read_bytes", "guest_written_bytes", "read_bytes",
    "written_bytes", "metadata_read_bytes", "metadata_written_bytes", "flushes", "copied_bytes",
    "copy_read_bytes",
    "offered_ns", "served_ns", "limits_ns", "finished", "done",
)  # fmt: skip
_SAMPLED = ("total", "live", "depth", "extents", "extent_bytes")


class Intervals:
    """Sums by interval, on a clock whose intervals begin at multiples of their length since the Unix epoch.

    Parameters
    ----------
    length_ns : int
        [ns]
    start_ns : int
        The trace's start since the Unix epoch.  [ns]
    first_ns : int
        The first moment that matters, from the trace's start.  [ns]
    """

    def __init__(self, length_ns: int, *, start_ns: int, first_ns: int) -> None:
        self.length_ns, self._start = length_ns, start_ns
        self._first = (start_ns + first_ns) // length_ns
        self.n = 0
        """Intervals until now."""
        self._sums = {name: np.zeros(64, np.int64) for name in (*_COUNTED, *_SAMPLED)}
        self._latency = {name: np.full(64, np.nan) for name in ("mean", *PERCENTILES, "max")}
        self._open: dict[int, Histogram] = {}

    def place(self, time_ns: Int64Array) -> Int64Array:
        """Return the interval of each moment since the trace's start."""
        return (self._start + time_ns) // self.length_ns - self._first

    def edges(self, first_ns: int, last_ns: int) -> Int64Array:
        """Return where intervals begin after one moment and not after another, since the trace's start."""
        low, high = ((self._start + each) // self.length_ns for each in (first_ns, last_ns))
        return np.arange(low + 1, high + 1, dtype=np.int64) * self.length_ns - self._start

    def time_ns(self) -> Int64Array:
        """Return when each interval begins, since the Unix epoch.  [ns]"""
        return (self._first + np.arange(self.n, dtype=np.int64)) * self.length_ns

    def add(self, name: str, place: Int64Array, values: npt.ArrayLike, *, beyond: bool = False) -> None:
        """Add values to the sums of their intervals; what lies `beyond` the last one is left out."""
        if beyond:
            values = np.broadcast_to(values, place.shape)[place < self.n]
            place = place[place < self.n]
        if len(place):
            n = int(place.max()) + 1
            self._make_room(n)
            self.n = max(self.n, n)
            np.add.at(self._sums[name], place, values)

    def put(self, place: int, **values: int) -> None:
        """Add values to the sums of one interval."""
        self._make_room(place + 1)
        self.n = max(self.n, place + 1)
        for name, value in values.items():
            self._sums[name][place] += value

    def sample(self, place: int, values: Sequence[int]) -> None:
        """Note what is so at the end of an interval."""
        for name, value in zip(_SAMPLED, values, strict=True):
            self._sums[name][place] = value

    def __getitem__(self, name: str) -> Int64Array:
        return self._sums[name][: self.n]

    def latency(self, name: str) -> npt.NDArray[np.float64]:
        """Return the mean ("mean"), a percentile ("p99") or the most ("max") of each interval.  [ns]"""
        return self._latency[name][: self.n]

    def record(self, place: Int64Array, latency: Int64Array) -> None:
        """Count latencies of requests of some intervals, finished in any order."""
        if not len(place):
            return
        order = np.argsort(place, kind="stable")
        numbers, begin = np.unique(place[order], return_index=True)
        for number, values in zip(numbers.tolist(), np.split(latency[order], begin[1:]), strict=True):
            histogram = self._open.setdefault(number, Histogram())
            histogram.record(values)

    def close(self, before: int) -> None:
        """Sum up the intervals that ended and whose requests are all finished: histograms are large."""
        for place in [one for one in self._open if one < before]:
            if self._sums["finished"][place] == self._sums["requests"][place]:
                histogram = self._open.pop(place)
                self._latency["mean"][place] = histogram.mean
                self._latency["max"][place] = histogram.maximum
                for name, percent in PERCENTILES.items():
                    self._latency[name][place] = histogram.percentile(percent)

    def _make_room(self, n: int) -> None:
        room = len(self._sums["requests"])
        if n > room:
            more = max(n, 2 * room) - room
            self._sums = {
                name: np.concatenate((column, np.zeros(more, np.int64)))
                for name, column in self._sums.items()
            }
            self._latency = {
                name: np.concatenate((column, np.full(more, np.nan)))
                for name, column in self._latency.items()
            }


class Bursts:
    """Sums by the age that the newest snapshot has when a request comes."""

    def __init__(self) -> None:
        names = ("requests", "guest_written_bytes", "written_bytes")
        self.sums = {name: np.zeros(len(AGES), np.int64) for name in names}
        self.latencies: dict[int, Histogram] = {}

    def add(self, age_ns: Int64Array, *, guest_written: Int64Array, written: Int64Array) -> None:
        """Count requests."""
        bins = np.searchsorted(AGES, age_ns, side="right") - 1
        for name, values in (
            ("requests", np.ones_like(bins)),
            ("guest_written_bytes", guest_written),
            ("written_bytes", written),
        ):
            np.add.at(self.sums[name], bins, values)

    def record(self, age_ns: Int64Array, latency: Int64Array) -> None:
        """Count latencies."""
        bins = np.searchsorted(AGES, age_ns, side="right") - 1
        for one in np.unique(bins).tolist():
            self.latencies.setdefault(one, Histogram()).record(latency[bins == one])


class Latencies:
    """What becomes of requests: is told which are finished.

    Parameters
    ----------
    intervals, bursts
        Get their share.
    """

    def __init__(self, intervals: Intervals, bursts: Bursts) -> None:
        self._intervals, self._bursts = intervals, bursts
        self.whole = {name: Histogram() for name in ("read", "write", "all")}
        self.merged: dict[int, int] = {}
        """When the last part of each merge was finished, by the merge's number, from the trace's start."""
        self.taken: list[int] = []
        """When snapshots were taken, from the trace's start."""

    def __call__(self, done: Finished) -> None:
        """Take note of finished requests."""
        intervals = self._intervals
        place = intervals.place(done.arrival_ns)
        # a device that goes on after the end of the trace, and merges that do, add no intervals
        intervals.add("offered_ns", place, done.service_ns, beyond=True)
        intervals.add("served_ns", intervals.place(done.finish_ns), done.service_ns, beyond=True)
        merging = done.kind <= MERGE
        for kind, finish in zip(
            (MERGE - done.kind[merging]).tolist(), done.finish_ns[merging].tolist(), strict=True
        ):
            self.merged[kind] = max(self.merged.get(kind, finish), finish)
        guest = done.kind >= 0
        place, kind = place[guest], done.kind[guest]
        arrival, latency = done.arrival_ns[guest], (done.finish_ns - done.arrival_ns)[guest]
        intervals.add("finished", place, 1)
        intervals.add("done", intervals.place(done.finish_ns[guest]), 1, beyond=True)
        intervals.record(place, latency)
        self.whole["all"].record(latency)
        self.whole["read"].record(latency[kind == READ])
        self.whole["write"].record(latency[(kind == WRITE) | (kind == WRITE_ZEROES)])
        newest = np.searchsorted(self.taken, arrival, side="right") - 1
        some = newest >= 0
        if some.any():
            taken = np.array(self.taken, np.int64)
            self._bursts.record(arrival[some] - taken[newest[some]], latency[some])
