"""Traces made up to order: seeded, exact to repeat, and as large as needed.

A `Pattern` (`Uniform`, `Zipf`, `Sequential`, `Mixture`) says where requests go, `generate` makes a trace of
it, and `uniform`, `zipf`, `sequential`, `circular_log`, `diurnal` and `mixture` say the common cases in one
call.  The same arguments give the same trace: requests are drawn in chunks of fixed size, each from the seed
and its own number.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NotRequired, TypedDict, Unpack

import numpy as np

from snapsim.errors import UsageError
from snapsim.traces.arrays import When, unix_ns
from snapsim.traces.arrivals import Day, positions
from snapsim.traces.info import Extent, TraceInfo, measure
from snapsim.traces.patterns import Mixture, Pattern, Sequential, Size, Uniform, Zipf
from snapsim.traces.table import MemoryTable
from snapsim.traces.trace import ASSUMED_START_NS, Trace
from snapsim.types import Batch
from snapsim.units import SECOND, format_duration, parse_duration, parse_size

__all__ = [
    "Day",
    "Mixture",
    "Pattern",
    "Sequential",
    "Uniform",
    "Workload",
    "Zipf",
    "circular_log",
    "diurnal",
    "generate",
    "mixture",
    "sequential",
    "uniform",
    "zipf",
]

_CHUNK = 1 << 18
_PLACES, _REQUESTS, _TIMES = range(3)


class Workload(TypedDict):
    """The keyword arguments of `generate`, which every function here takes."""

    capacity: Size
    duration: int | str
    n_requests: NotRequired[int]
    rate: NotRequired[float]
    arrivals: NotRequired[Literal["poisson", "even"]]
    day: NotRequired[Day]
    start: NotRequired[When | None]
    seed: NotRequired[int]
    lazy: NotRequired[bool]


def generate(
    pattern: Pattern,
    *,
    capacity: Size,
    duration: int | str,
    n_requests: int | None = None,
    rate: float | None = None,
    arrivals: Literal["poisson", "even"] = "poisson",
    day: Day | None = None,
    start: When | None = None,
    seed: int = 0,
    lazy: bool = False,
) -> Trace:
    """Make a trace of an access pattern.

    Parameters
    ----------
    pattern : Pattern
        Where requests go, what they do and how long they are.
    capacity : int or str
        Size of the volume.  [bytes]
    duration : int or str
        Span in which the requests come.  [ns]
    n_requests : int, optional
        How many requests; either this or `rate`.
    rate : float, optional
        Requests per second; the trace has exactly this times the duration, rounded.  [1/s]
    arrivals : {"poisson", "even"}
        At random times, independent of each other, or evenly spaced.
    day : Day, optional
        How the rate changes over the day; constant unless given.
    start : int, str, datetime or Timestamp, optional
        When the span begins: ns since the Unix epoch, ISO 8601 text or a point in time; not recorded unless
        given.
    seed : int
        Same seed, same trace.
    lazy : bool
        Draw the requests anew in each pass over the trace, in the memory of one batch, instead of holding
        them.

    Returns
    -------
    Trace
        Its format is "synthetic"; its options name the pattern and the arguments.

    Raises
    ------
    UsageError
        Not exactly one of `n_requests` and `rate`, a negative number, a duration of 0, or a pattern that does
        not fit onto the volume.

    Examples
    --------
    >>> generate(Uniform(), capacity="1MiB", duration="1h", rate=0.5, seed=1).capacity
    1048576
    """
    span, size = parse_duration(duration), parse_size(capacity)
    if (n_requests is None) == (rate is None):
        msg = "give either n_requests or rate"
        raise UsageError(msg)
    count = n_requests if n_requests is not None else round((rate or 0) * span / SECOND)
    if count < 0 or seed < 0 or span == 0:
        msg = f"n_requests={count} and seed={seed} must not be negative, duration={duration!r} not 0"
        raise UsageError(msg)
    start_ns = None if start is None else unix_ns(start)
    table = _GeneratedTable(
        pattern=pattern,
        capacity=size,
        duration_ns=span,
        count=count,
        even=arrivals == "even",
        day=day,
        start_ns=ASSUMED_START_NS if start_ns is None else start_ns,
        seed=seed,
    )
    info = TraceInfo(
        format="synthetic",
        source=type(pattern).__name__.lower(),
        capacities=(size,),
        start_ns=start_ns,
        options={
            "pattern": repr(pattern),
            "requests": str(count),
            "duration": format_duration(span),
            "arrivals": arrivals if day is None else f"{arrivals}, {day}",
            "seed": str(seed),
        },
    )
    return Trace(table if lazy else _in_memory(table), info, measured=False)


def uniform(
    *,
    request_size: Size | Mapping[Size, float] = "4KiB",
    read_share: float = 0.0,
    discard_share: float = 0.0,
    **workload: Unpack[Workload],
) -> Trace:
    """Make a trace in which every place is equally likely.

    Parameters
    ----------
    request_size : int, str or mapping
        Length of the requests, or lengths with their weights.  [bytes]
    read_share, discard_share : float
        Share of the requests that read, that discard; the others write.
    **workload
        Capacity, duration, number of requests and the other keyword arguments of `generate`.

    Returns
    -------
    Trace
        See `generate`.

    Examples
    --------
    >>> len(uniform(capacity="1GiB", duration="1d", n_requests=1000, read_share=0.3))
    1000
    """
    pattern = Uniform(request_size=request_size, read_share=read_share, discard_share=discard_share)
    return generate(pattern, **workload)


def zipf(
    *,
    theta: float = 0.99,
    request_size: Size | Mapping[Size, float] = "4KiB",
    read_share: float = 0.0,
    discard_share: float = 0.0,
    **workload: Unpack[Workload],
) -> Trace:
    """Make a trace in which some places, scattered over the volume, are much hotter than others.

    Parameters
    ----------
    theta : float
        The r-th hottest place is hit in proportion to r to the power -theta.
    request_size : int, str or mapping
        Length of the requests, or lengths with their weights.  [bytes]
    read_share, discard_share : float
        Share of the requests that read, that discard; the others write.
    **workload
        Capacity, duration, number of requests and the other keyword arguments of `generate`.

    Returns
    -------
    Trace
        See `generate`.
    """
    pattern = Zipf(theta=theta, request_size=request_size, read_share=read_share, discard_share=discard_share)
    return generate(pattern, **workload)


def sequential(
    *,
    request_size: Size | Mapping[Size, float] = "64KiB",
    read_share: float = 0.0,
    discard_share: float = 0.0,
    **workload: Unpack[Workload],
) -> Trace:
    """Make a trace that goes over the volume from its first byte to its last, again and again.

    Parameters
    ----------
    request_size : int, str or mapping
        Length of the requests, or lengths with their weights.  [bytes]
    read_share, discard_share : float
        Share of the requests that read, that discard; the others write.
    **workload
        Capacity, duration, number of requests and the other keyword arguments of `generate`.

    Returns
    -------
    Trace
        See `generate`.
    """
    pattern = Sequential(request_size=request_size, read_share=read_share, discard_share=discard_share)
    return generate(pattern, **workload)


def circular_log(
    *,
    log_size: Size,
    log_offset: Size = 0,
    request_size: Size | Mapping[Size, float] = "4KiB",
    read_share: float = 0.0,
    **workload: Unpack[Workload],
) -> Trace:
    """Make a trace of a log, such as a journal: written round and round in its own part of the volume.

    Parameters
    ----------
    log_size, log_offset : int or str
        Size of the log, and where it begins.  [bytes]
    request_size : int, str or mapping
        Length of the requests, or lengths with their weights.  [bytes]
    read_share : float
        Share of the requests that read; the others write.
    **workload
        Capacity, duration, number of requests and the other keyword arguments of `generate`.

    Returns
    -------
    Trace
        See `generate`.
    """
    pattern = Sequential(request_size=request_size, read_share=read_share, region=(log_offset, log_size))
    return generate(pattern, **workload)


def diurnal(
    pattern: Pattern | None = None,
    *,
    night_level: float = 0.1,
    peak_hour: float = 14.0,
    **workload: Unpack[Workload],
) -> Trace:
    """Make a trace whose rate rises and falls with the hours of the day.

    Parameters
    ----------
    pattern : Pattern, optional
        Where the requests go; `Uniform()` unless given.
    night_level : float
        Lowest rate divided by the highest.
    peak_hour : float
        Hour of the day, UTC, at which the rate is highest.
    **workload
        Capacity, duration, number of requests and the other keyword arguments of `generate`.

    Returns
    -------
    Trace
        See `generate`.
    """
    workload["day"] = Day(night_level=night_level, peak_hour=peak_hour)
    return generate(pattern or Uniform(), **workload)


def mixture(parts: Sequence[tuple[Pattern, float]], **workload: Unpack[Workload]) -> Trace:
    """Make a trace whose requests come from several patterns, such as a log and scattered data.

    Parameters
    ----------
    parts : sequence of (Pattern, float)
        Patterns and their weights.
    **workload
        Capacity, duration, number of requests and the other keyword arguments of `generate`.

    Returns
    -------
    Trace
        See `generate`.

    Examples
    --------
    >>> log = Sequential(region=(0, "128MiB"))
    >>> data = Zipf(region=("128MiB", "896MiB"), read_share=0.5)
    >>> len(mixture([(log, 1), (data, 3)], capacity="1GiB", duration="1h", n_requests=100))
    100
    """
    return generate(Mixture(parts), **workload)


@dataclass(frozen=True, kw_only=True)
class _GeneratedTable:
    """Requests that are drawn whenever they are asked for (a `snapsim.traces.table.Table`).

    Attributes
    ----------
    pattern : Pattern
        Where requests go.
    capacity : int
        Size of the volume.  [bytes]
    duration_ns, start_ns : int
        Length of the span, and the Unix time at which it begins.  [ns]
    count : int
        Number of requests in the whole span.
    even : bool
        Whether they come evenly spaced.
    day : Day or None
        How the rate changes over the day.
    seed : int
        Same seed, same requests.
    window : (int, int or None)
        The part of the span that is visible, half-open; times count from its begin.  [ns]
    """

    pattern: Pattern
    capacity: int
    duration_ns: int
    count: int
    even: bool
    day: Day | None
    start_ns: int
    seed: int
    window: tuple[int, int | None] = (0, None)

    @property
    def volumes(self) -> tuple[str, ...]:
        """One unnamed volume."""
        return ("",)

    @property
    def extras(self) -> tuple[str, ...]:
        """Nothing but the requests."""
        return ()

    def scan(self, rows: int, extras: Sequence[str] = ()) -> Iterator[Batch]:
        """Draw the requests in batches of at most `rows`; each pass draws the same."""
        del extras
        first, last = self.window
        for batch in self._chunks():
            begin = int(np.searchsorted(batch.time_ns, first))
            end = batch.op.size if last is None else int(np.searchsorted(batch.time_ns, last))
            for row in range(begin, end, rows):
                part = slice(row, min(row + rows, end))
                yield Batch(
                    batch.time_ns[part] - first, batch.op[part], batch.offset[part], batch.length[part]
                )
            if end < batch.op.size:
                return

    def narrow(
        self, start_ns: int | None, stop_ns: int | None, codes: Sequence[int] | None
    ) -> "_GeneratedTable":
        """Return the requests of a span of time, counted from its begin."""
        del codes
        begin, end = self.window
        first = begin + (start_ns or 0)
        limits = [limit for limit in (end, None if stop_ns is None else begin + stop_ns) if limit is not None]
        return replace(self, window=(first, min(limits, default=None)))

    def extent(self) -> Extent:
        """Measure the requests in one pass."""
        return measure(self.scan(_CHUNK), 1)

    def _chunks(self) -> Iterator[Batch]:
        stream = self.pattern.stream(self.capacity, self._seed(_PLACES))
        shares = positions(self._rng(_TIMES), self.count, chunk=_CHUNK, even=self.even)
        for number, share in enumerate(shares):
            if self.day is None:
                time = share * self.duration_ns
            else:
                time = self.day.warp(share, start_ns=self.start_ns, duration_ns=self.duration_ns)
            # rounding must not carry a request out of the span
            time_ns = np.clip(np.rint(time).astype(np.int64), 0, self.duration_ns - 1)
            yield Batch(time_ns, *stream(self._rng(_REQUESTS, number), share.size))

    def _seed(self, *purpose: int) -> np.random.SeedSequence:
        return np.random.SeedSequence(self.seed, spawn_key=purpose)

    def _rng(self, *purpose: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64(self._seed(*purpose)))


def _in_memory(table: _GeneratedTable) -> MemoryTable:
    batches = list(table.scan(_CHUNK))
    if not batches:
        empty = np.empty(0, np.int64)
        return MemoryTable(Batch(empty, np.empty(0, np.uint8), empty, empty), table.volumes)
    return MemoryTable(
        Batch(*(np.concatenate([batch[column] for batch in batches]) for column in range(4))), table.volumes
    )
