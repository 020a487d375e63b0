"""Latency histograms: log-linear buckets, bounded memory, exact counts.

Every power of two is cut into 2^bits equal buckets (as HdrHistogram does), so that a value is known within a
share of itself, however large it is.  Two histograms are merged by adding their counts: what was recorded in
parts is the same as what was recorded at once.
"""

import math
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt

from snapsim.engine import histogram_kernels as kernels
from snapsim.errors import UsageError
from snapsim.types import Int64Array

__all__ = ["PERCENTILES", "Histogram", "IntervalLatencies", "interval_latencies"]

PERCENTILES = (50.0, 95.0, 99.0, 99.9)
_BITS = 7
_MOST_BITS = 16
_VALUE_BITS = 63


@dataclass(eq=False)
class Histogram:
    """Counts of values from 0 to 2^63 - 1.

    Attributes
    ----------
    bits : int
        Binary logarithm of the buckets a power of two: 7 keeps quantiles within 0.4 %.
    """

    bits: int = _BITS
    _counts: Int64Array = field(init=False, repr=False)
    _sums: Int64Array = field(init=False, repr=False)
    _total: int = field(default=0, init=False, repr=False)
    _least: int = field(default=0, init=False, repr=False)
    _most: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        """Make room for the counts.

        Raises
        ------
        UsageError
            `bits` is out of range.
        """
        if not 1 <= self.bits <= _MOST_BITS:
            raise UsageError(f"bits is {self.bits}, but must lie between 1 and {_MOST_BITS}")
        self._counts = np.zeros((_VALUE_BITS - self.bits + 1) << self.bits, np.int64)
        self._sums = np.zeros(2, np.int64)

    @property
    def count(self) -> int:
        """Values that were recorded."""
        return int(self._counts.sum())

    @property
    def counts(self) -> Int64Array:
        """Values in each bucket."""
        return self._counts.copy()

    @property
    def total(self) -> int:
        """Sum of all values, exact."""
        return self._total

    @property
    def mean(self) -> float:
        """Mean of all values, exact up to rounding; NaN when there is none."""
        count = self.count
        return self._total / count if count else math.nan

    @property
    def minimum(self) -> int:
        """Least value, exact; 0 when there is none."""
        return self._least

    @property
    def maximum(self) -> int:
        """Largest value, exact; 0 when there is none."""
        return self._most

    @property
    def relative_error(self) -> float:
        """Quantiles differ from a recorded value by at most this share of it."""
        return 2.0 ** -(self.bits + 1)

    def edges(self) -> Int64Array:
        """Return the least value of each bucket.

        Returns
        -------
        int64 array, shape (n_buckets,)
            Increasing.
        """
        number = np.arange(len(self._counts), dtype=np.int64)
        shift = np.maximum((number >> self.bits) - 1, 0)
        linear = number < 1 << self.bits
        within = (number & ((1 << self.bits) - 1)) + (1 << self.bits)
        return np.where(linear, number, within << shift)

    def record(self, values: npt.ArrayLike) -> Self:
        """Count values.

        Parameters
        ----------
        values : int64 array, shape (n_values,)
            Not negative.

        Returns
        -------
        Histogram
            Itself.

        Raises
        ------
        UsageError
            A value is negative.
        """
        array = np.ascontiguousarray(values, np.int64).ravel()
        if len(array) == 0:
            return self
        least, most = int(array.min()), int(array.max())
        if least < 0:
            raise UsageError(f"value {least} is negative: a histogram counts values from 0")
        self._least = least if self.count == 0 else min(self._least, least)
        self._most = max(self._most, most)
        kernels.record(self._counts, self._sums, array, self.bits)
        self._total += (int(self._sums[0]) << 32) + int(self._sums[1])
        self._sums[:] = 0
        return self

    def merge(self, other: "Histogram") -> Self:
        """Add what another histogram counted.

        Parameters
        ----------
        other : Histogram
            With the same `bits`.

        Returns
        -------
        Histogram
            Itself.

        Raises
        ------
        UsageError
            The other one has other buckets.
        """
        if other.bits != self.bits:
            raise UsageError(f"a histogram of {other.bits} bits cannot be added to one of {self.bits}")
        if other.count:
            self._least = other.minimum if self.count == 0 else min(self._least, other.minimum)
            self._most = max(self._most, other.maximum)
        self._counts += other.counts
        self._total += other.total
        return self

    def percentile(self, percent: float) -> float:
        """Return the value that `percent` % of the values do not exceed.

        Parameters
        ----------
        percent : float
            From 0 to 100.

        Returns
        -------
        float
            Within `relative_error` of the value of rank ceil(percent / 100 * count); NaN when there is none.

        Raises
        ------
        UsageError
            It is no percentage.
        """
        if not 0 <= percent <= 100:
            raise UsageError(f"{percent} is no percentage: it must lie between 0 and 100")
        running = np.cumsum(self._counts)
        if running[-1] == 0:
            return math.nan
        rank = max(math.ceil(percent * int(running[-1]) / 100), 1)
        bucket = int(np.searchsorted(running, rank))
        shift = max((bucket >> self.bits) - 1, 0)
        low = bucket
        if bucket >> self.bits:
            low = ((bucket & ((1 << self.bits) - 1)) + (1 << self.bits)) << shift
        middle = low + ((1 << shift) >> 1)
        return float(min(max(middle, self._least), self._most))


@dataclass(frozen=True, kw_only=True, eq=False)
class IntervalLatencies:
    """Latencies, interval by interval.

    Attributes
    ----------
    start_ns : int64 array, shape (n_intervals,)
        Where each begins; intervals without requests are left out.  [ns]
    count : int64 array, shape (n_intervals,)
        Requests in it.
    mean_ns : float64 array, shape (n_intervals,)
        [ns]
    percentiles_ns : dict of float to float64 array, shape (n_intervals,)
        Within `relative_error`.  [ns]
    whole : Histogram
        All of them.
    relative_error : float
        Of the percentiles.
    """

    start_ns: Int64Array
    count: Int64Array
    mean_ns: npt.NDArray[np.float64]
    percentiles_ns: dict[float, npt.NDArray[np.float64]]
    whole: Histogram
    relative_error: float


def interval_latencies(
    time_ns: npt.ArrayLike,
    latency_ns: npt.ArrayLike,
    *,
    interval_ns: int,
    percentiles: tuple[float, ...] = PERCENTILES,
    bits: int = _BITS,
) -> IntervalLatencies:
    """Sum up latencies by the interval in which requests were issued.

    Parameters
    ----------
    time_ns : int64 array, shape (n_requests,)
        When each was issued.  [ns]
    latency_ns : int64 array, shape (n_requests,)
        How long it took.  [ns]
    interval_ns : int
        Length of an interval; they begin at its multiples.  [ns]
    percentiles : tuple of float
        Which.
    bits : int
        As in `Histogram`.

    Returns
    -------
    IntervalLatencies
        In order of time.

    Raises
    ------
    UsageError
        The arrays do not fit together, or the interval is not at least 1 ns.
    """
    time, latency = np.ascontiguousarray(time_ns, np.int64), np.ascontiguousarray(latency_ns, np.int64)
    if interval_ns < 1:
        raise UsageError("an interval must be at least 1 ns")
    if time.shape != latency.shape:
        raise UsageError(f"{len(time)} times, but {len(latency)} latencies")
    interval = time // interval_ns
    order = np.argsort(interval, kind="stable")
    numbers, begin = np.unique(interval[order], return_index=True)
    whole = Histogram(bits)
    rows = []
    for part in np.split(latency[order], begin[1:]) if len(numbers) else []:
        one = Histogram(bits).record(part)
        rows.append((one.count, one.mean, *(one.percentile(each) for each in percentiles)))
        whole.merge(one)
    columns = np.array(rows, np.float64).reshape(len(rows), 2 + len(percentiles))
    return IntervalLatencies(
        start_ns=numbers * interval_ns,
        count=columns[:, 0].astype(np.int64),
        mean_ns=columns[:, 1],
        percentiles_ns={each: columns[:, 2 + place] for place, each in enumerate(percentiles)},
        whole=whole,
        relative_error=whole.relative_error,
    )
