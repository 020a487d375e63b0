"""Timing that survives a busy machine: candidates take turns, and ratios are formed within a round."""

import gc
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

Seconds = dict[str, list[float]]


class Scale(NamedTuple):
    """How much to measure.

    Attributes
    ----------
    name : str
        "full", or "smoke" for a run that only shows that everything works.
    requests : int
        Requests of the traces made for comparisons.
    rounds : int
        Measurements of each candidate.
    least_seconds : float
        Shorter measurements are repeated within a round until they take this long.  [s]
    largest : int
        Requests of the longest trace in the series of lengths.
    csv_bytes : int
        Size of the largest text file to import.  [bytes]
    """

    name: str
    requests: int
    rounds: int
    least_seconds: float
    largest: int
    csv_bytes: int


FULL = Scale("full", 10**7, 7, 0.2, 10**8, 10**9)
SMOKE = Scale("smoke", 5_000, 2, 0.0, 10_000, 200_000)


def interleaved(
    candidates: Mapping[str, Callable[[], float]], *, rounds: int, least_seconds: float = 0.0
) -> Seconds:
    """Measure candidates in turns, after one turn that does not count.

    Parameters
    ----------
    candidates : mapping of str to callable
        Each prepares what it needs, times its own work and returns the time.  [s]
    rounds : int
        Turns that count; the order is reversed in every other one.
    least_seconds : float
        A candidate repeats its work in each turn until this much time was measured (five times longer in all
        with
        its preparations); the turn's time is the mean.  [s]

    Returns
    -------
    dict of str to list of float
        Times of each candidate, one a round.  [s]
    """
    repeats = {name: _repeats(run, least_seconds) for name, run in candidates.items()}
    seconds: Seconds = {name: [] for name in candidates}
    for number in range(rounds):
        for name in list(candidates)[:: -1 if number % 2 else 1]:
            gc.collect()
            gc.disable()
            try:
                times = [candidates[name]() for _ in range(repeats[name])]
            finally:
                gc.enable()
            seconds[name].append(sum(times) / len(times))
    return seconds


def _repeats(run: Callable[[], float], least_seconds: float) -> int:
    run()  # compiles, fills caches
    return max(1, min(200, round(least_seconds / max(run(), 1e-9)))) if least_seconds else 1


def spread(values: Sequence[float], *, digits: int = 4) -> dict[str, float]:
    """Return median and quartiles, rounded to significant digits."""
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
    return {
        "median": significant(median, digits),
        "low": significant(low, digits),
        "high": significant(high, digits),
    }


def rate(amount: float, seconds: Sequence[float]) -> dict[str, float]:
    """Return the spread of an amount per second."""
    return spread([amount / one for one in seconds])


def ratio(slower: Sequence[float], faster: Sequence[float]) -> dict[str, float]:
    """Return the spread of how many times faster `faster` was, round by round."""
    return spread([a / b for a, b in zip(slower, faster, strict=True)])


def significant(value: float, digits: int = 4) -> float:
    """Round to significant digits: more would only make files differ."""
    return float(f"{value:.{digits}g}")
