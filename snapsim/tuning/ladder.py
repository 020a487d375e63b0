"""Recovery-point ladders: how far apart recovery points may be at each age, and how far apart they are.

A gap lies between a recovery point and the next newer one, or now.  It counts at the age of its newer end:
with hourly points for a day and daily ones beyond, the gap from 24 h to 48 h of age is the first daily one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from snapsim import schema
from snapsim.engine import space
from snapsim.errors import UsageError
from snapsim.policy.timeline import Timeline
from snapsim.types import Int64Array
from snapsim.units import format_duration, parse_duration

__all__ = ["Ladder", "recovery_ladder"]

UNLIMITED = 1 << 62
"""A gap that may be as long as it likes.  [ns]"""

_BANDS = ("1h", "1d", "7d", "30d", "90d", "365d", "3650d")


@dataclass(frozen=True)
class Ladder:
    """How far apart recovery points may be.

    Attributes
    ----------
    steps : tuple of (int, int)
        Up to which age, ascending, and the longest gap at that age.  Beyond the last step nothing is asked
        for.  [ns]

    Examples
    --------
    >>> print(Ladder.of([("1d", "1h"), ("7d", "1d")]))
    1h up to 1d, 1d up to 7d
    """

    steps: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        """Refuse steps that do not ascend."""
        ages = [age for age, _ in self.steps]
        if not ages or any(later <= age for age, later in pairwise([0, *ages])):
            msg = f"a ladder needs steps at ascending ages: got {[format_duration(age) for age in ages]}"
            raise UsageError(msg)
        if any(gap <= 0 for _, gap in self.steps):
            msg = "a ladder needs gaps longer than nothing"
            raise UsageError(msg)

    @classmethod
    def of(cls, steps: "Ladder | Iterable[tuple[int | str, int | str]]") -> "Ladder":
        """Make a ladder from pairs of durations.

        Parameters
        ----------
        steps : iterable of (age, gap), or Ladder
            Such as ("1d", "1h"): up to an age of a day, gaps of an hour at most.

        Returns
        -------
        Ladder
            The ladder.

        Raises
        ------
        UsageError
            Ages do not ascend, or a gap is nothing.
        """
        if isinstance(steps, Ladder):
            return steps
        return cls(tuple((parse_duration(age), parse_duration(gap)) for age, gap in steps))

    def __str__(self) -> str:
        """Say gaps and ages."""
        return ", ".join(f"{format_duration(gap)} up to {format_duration(age)}" for age, gap in self.steps)

    @property
    def reach_ns(self) -> int:
        """The age up to which there have to be recovery points.  [ns]"""
        return self.steps[-1][0]

    def allowed(self, age_ns: Int64Array) -> Int64Array:
        """Return the longest gap whose newer end has an age.

        Parameters
        ----------
        age_ns : int64 array
            [ns]

        Returns
        -------
        int64 array
            `UNLIMITED` beyond the last step.  [ns]
        """
        ages, gaps = np.array((*self.steps, (UNLIMITED, UNLIMITED)), dtype=np.int64).T
        longest: Int64Array = gaps[np.searchsorted(ages, age_ns, side="right")]
        return longest

    def met_by(self, taken_ns: Int64Array, *, now_ns: int, start_ns: int) -> bool:
        """Say whether recovery points meet the ladder.

        Parameters
        ----------
        taken_ns : int64 array, shape (n_points,)
            Recovery points, ascending, none later than now.  [ns]
        now_ns : int
            [ns]
        start_ns : int
            When recovery points could be made first: nothing is asked for before it.  [ns]

        Returns
        -------
        bool
            Whether no gap is longer than its age allows.
        """
        ends = np.append(taken_ns, now_ns)
        gaps = np.diff(ends, prepend=start_ns)
        return bool(np.all(gaps <= self.allowed(now_ns - ends)))


def recovery_ladder(
    timeline: Timeline, at: int | None = None, *, ages: Sequence[int | str] = _BANDS
) -> pd.DataFrame:
    """Say how far apart the recovery points of a policy are at each age.

    Parameters
    ----------
    timeline : Timeline
        The policy over time.
    at : int, optional
        Index of the one instant to look at; over the whole run by default, where every instant counts once,
        after its prune.
    ages : sequence of int or str
        Where bands of age end, ascending; the first one begins with 0.

    Returns
    -------
    DataFrame
        One row a band, up to the oldest recovery point: age_from_ns, age_to_ns, mean_points, median_gap_ns,
        worst_gap_ns.  The median is the least gap that at least half of the gaps do not exceed.

    Raises
    ------
    UsageError
        Ages do not ascend.
    IndexError
        There is no such instant.

    Examples
    --------
    >>> import snapsim as ss
    >>> hours = 3_600_000_000_000 * np.arange(200)
    >>> timeline = ss.Policy(schedule="1h", keep_last=6).timeline(hours)
    >>> recovery_ladder(timeline)["worst_gap_ns"].tolist()
    [3600000000000, 3600000000000]
    """
    edges = np.array([0, *map(parse_duration, ages)], dtype=np.int64)
    if np.any(np.diff(edges) <= 0):
        msg = "ages have to ascend, and to be longer than nothing"
        raise UsageError(msg)
    instants = timeline.instants
    n = len(instants)
    if at is not None and not -n <= at < n:
        msg = f"instant {at} does not exist: there are {n}"
        raise IndexError(msg)
    run = (0, n) if at is None else (at % n, at % n + 1)
    gaps = _gaps(timeline)
    points = _Spans(instants[timeline.created], timeline.created, timeline.deleted, timeline.created)
    rows = []
    for low, high in pairwise(edges.tolist()):
        seen = gaps.count(instants, low, high, run)
        median, worst = _middle(gaps.length, seen)
        rows.append(
            {
                "age_from_ns": low,
                "age_to_ns": high,
                "mean_points": points.count(instants, low, high, run).sum() / (run[1] - run[0]),
                "median_gap_ns": median,
                "worst_gap_ns": worst,
            }
        )
    frame = pd.DataFrame(rows).astype({"median_gap_ns": "Int64", "worst_gap_ns": "Int64"})
    schema.check_columns(frame.columns)
    told = (frame["mean_points"] > 0) | frame["worst_gap_ns"].notna()
    return frame.iloc[: int(np.flatnonzero(told).max(initial=-1)) + 1]


@dataclass(frozen=True)
class _Spans:
    """Things of an age that exist for a while: int64 arrays, shape (n,).

    `since` is where their age counts from; they exist at the instants [begin, end).
    """

    since: Int64Array
    begin: Int64Array
    end: Int64Array
    length: Int64Array

    def count(self, instants: Int64Array, low: int, high: int, run: tuple[int, int]) -> Int64Array:
        """Instants of the run at which each exists and has an age in [low, high)."""
        first = np.maximum(np.searchsorted(instants, self.since + low), np.maximum(self.begin, run[0]))
        last = np.minimum(np.searchsorted(instants, self.since + high), np.minimum(self.end, run[1]))
        seen: Int64Array = np.maximum(last - first, 0)
        return seen


def _gaps(timeline: Timeline) -> _Spans:
    """Every gap between neighbours, and the one up to now at each instant."""
    instants = timeline.instants
    n = len(instants)
    chain = space.chain(timeline.created, timeline.deleted, n_instants=n)
    gaps, gone = chain.gaps, chain.deletions
    when, inside = gone.at, ~gone.newest
    end = np.full(len(gaps.low) + 1, n)
    end[gaps.older] = when
    end[gaps.newer] = when
    # made by a snapshot, or by the deletion of one between two others
    made = np.concatenate((chain.created, n + np.flatnonzero(inside)))
    begin = np.concatenate((chain.created, when[inside]))
    inner = gaps.low[made] != space.OPEN
    made, begin = made[inner], begin[inner]
    now = np.flatnonzero((chain.newest_after != space.OPEN) & (chain.newest_after != np.arange(n)))
    older = np.concatenate((gaps.low[made], chain.newest_after[now]))
    newer = np.concatenate((gaps.high[made], now))
    return _Spans(
        instants[newer],
        np.concatenate((begin, now)),
        np.concatenate((end[made], now + 1)),
        instants[newer] - instants[older],
    )


def _middle(lengths: Int64Array, counts: Int64Array) -> tuple[int | None, int | None]:
    """Median and largest of lengths that occur so often."""
    order = np.argsort(lengths)
    passed = np.cumsum(counts[order])
    if not len(passed) or not passed[-1]:
        return None, None
    middle = lengths[order[np.searchsorted(passed, -(-int(passed[-1]) // 2))]]
    return int(middle), int(lengths[counts > 0].max())
