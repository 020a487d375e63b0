"""When made-up requests come: sorted arrival times of any number of requests, chunk by chunk."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from snapsim.errors import UsageError
from snapsim.units import DAY, HOUR

Positions = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Day:
    """A rate that rises and falls over the day as a cosine.

    Parameters
    ----------
    night_level : float
        Lowest rate divided by the highest, more than 0 and at most 1.
    peak_hour : float
        Hour of the day, UTC, at which the rate is highest; it is lowest twelve hours later.
    """

    night_level: float = 0.1
    peak_hour: float = 14.0

    def __post_init__(self) -> None:
        """Refuse a level or an hour that no day has."""
        if not 0 < self.night_level <= 1:
            msg = f"night_level={self.night_level}: it must be more than 0, and 1 at most"
            raise UsageError(msg)
        if not 0 <= self.peak_hour < 24:
            msg = f"peak_hour={self.peak_hour}: an hour of the day lies between 0 and 24"
            raise UsageError(msg)

    def warp(self, position: Positions, *, start_ns: int, duration_ns: int) -> Positions:
        """Turn positions in a span into the times at which that share of its requests has come.

        Parameters
        ----------
        position : float64 array, shape (n,)
            Between 0 and 1.
        start_ns : int
            Unix time, UTC, at which the span begins.  [ns]
        duration_ns : int
            Its length.  [ns]

        Returns
        -------
        float64 array, shape (n,)
            Since the start, in the same order.  [ns]
        """
        phase = start_ns % DAY
        begin, end = self._passed(np.array([phase, phase + duration_ns], np.float64))
        passed = begin + position * (end - begin)
        day, rest = np.divmod(passed, float(DAY))
        minutes = np.linspace(0, DAY, 24 * 60 + 1)
        time: Positions = day * DAY + np.interp(rest, self._passed(minutes), minutes) - phase
        return time

    def _passed(self, time: Positions) -> Positions:
        """Integrate the rate from midnight, in units of its mean: a whole day gives the length of a day."""
        swing = (1 - self.night_level) / (1 + self.night_level)
        peak = self.peak_hour * HOUR
        turn = 2 * math.pi / DAY
        passed: Positions = time + swing / turn * (np.sin(turn * (time - peak)) + math.sin(turn * peak))
        return passed


def positions(rng: np.random.Generator, n: int, *, chunk: int, even: bool) -> Iterator[Positions]:
    """Yield n sorted positions in [0, 1), chunk by chunk, in memory of one chunk.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    n : int
        How many in all.
    chunk : int
        How many in each array but the last.
    even : bool
        Evenly spaced; otherwise independent and uniform, which makes a Poisson process of exactly n arrivals.

    Yields
    ------
    float64 array
        The next positions, sorted, not before those of the chunk before.

    Notes
    -----
    The k-th smallest of m uniform positions above a known one is, relative to the rest of the span,
    Beta(k, m - k + 1) distributed, and those below it are again uniform: so the chunks' ends can be drawn one
    after the other.
    """
    if even:
        for first in range(0, n, chunk):
            yield np.arange(first, min(first + chunk, n)) / n
        return
    low, remaining = 0.0, n
    while remaining > chunk:
        high = low + (1 - low) * rng.beta(chunk, remaining - chunk + 1)
        inner = np.sort(rng.random(chunk - 1)) * (high - low) + low
        yield np.append(np.minimum(inner, high), high)
        low, remaining = high, remaining - chunk
    if remaining:
        yield np.sort(rng.random(remaining)) * (1 - low) + low
