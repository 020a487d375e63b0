"""The recovery-point ladder: at each age, how far apart the points are that one can go back to."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from snapsim import schema
from snapsim.types import Int64Array
from snapsim.units import DAY, HOUR, MINUTE, format_duration

if TYPE_CHECKING:
    from snapsim.policy.timeline import Timeline

RUNGS = (
    15 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR,
    *(days * DAY for days in (1, 2, 4, 7, 14, 30, 60, 90, 180, 365, 730, 1461, 3652)),
)  # fmt: skip
"""The ages that people ask for.  [ns]"""


def gap_at(times_ns: Int64Array, now_ns: int, ages_ns: npt.ArrayLike) -> Int64Array:
    """Return how far apart the recovery points around each age are.

    Who asks for the state of age a gets the newest point that is not younger.  The gap is the distance from
    that point to the next one; for the newest point, to now.

    Parameters
    ----------
    times_ns : int64 array, shape (n_points,)
        When the recovery points were taken, ascending, none after now.  [ns]
    now_ns : int
        The present.  [ns]
    ages_ns : int64 array, shape (n_ages,)
        Ages.  [ns]

    Returns
    -------
    int64 array, shape (n_ages,)
        The gap around each age; -1 where no point is that old.  [ns]

    Examples
    --------
    >>> gap_at(np.array([0, 60, 90]), 100, [5, 20, 100, 101]).tolist()
    [10, 30, 60, -1]
    """
    edges = np.append(times_ns, now_ns)
    asked = now_ns - np.asarray(ages_ns, dtype=np.int64)
    after = np.minimum(np.searchsorted(edges, asked, side="right"), edges.size - 1)
    return np.where((after > 0) & (asked < now_ns), edges[after] - edges[np.maximum(after - 1, 0)], -1)


def gaps(
    timeline: "Timeline",
    ages_ns: npt.ArrayLike,
    *,
    since: int = 0,
    progress: Callable[[int, int | None], None] | None = None,
) -> Int64Array:
    """Return the gaps around ages after the prune at each instant.

    Parameters
    ----------
    timeline : Timeline
        A policy over time.
    ages_ns : int64 array, shape (n_ages,)
        Ages above 0.  [ns]
    since : int
        The first instant that is looked at, as an index.
    progress : callable, optional
        Called with the instants done and all of them.

    Returns
    -------
    int64 array, shape (n_instants - since, n_ages)
        As `gap_at`.  [ns]
    """
    ages = np.asarray(ages_ns, dtype=np.int64)
    instants, created, deleted = timeline.instants, timeline.created, timeline.deleted
    table = np.empty((max(instants.size - since, 0), ages.size), dtype=np.int64)
    live = np.flatnonzero((created <= since) & (deleted > since))
    new = int(np.searchsorted(created, since, side="right"))
    for row, i in enumerate(range(since, instants.size)):
        if row:
            live = live[deleted[live] > i]
        if new < created.size and created[new] == i:
            live = np.append(live, new)[: None if deleted[new] > i else -1]
            new += 1
        table[row] = gap_at(instants[created[live]], int(instants[i]), ages)
        if progress is not None and row % 1024 == 0:
            progress(row, table.shape[0])
    return table


def ladder_of(
    timeline: "Timeline",
    ages_ns: Sequence[int] | None = None,
    *,
    since: int = 0,
    progress: Callable[[int, int | None], None] | None = None,
) -> pd.DataFrame:
    """Return the recovery-point ladder of a policy over a run.

    Parameters
    ----------
    timeline : Timeline
        A policy over time.
    ages_ns : sequence of int, optional
        Ages above 0; those of `RUNGS` that the policy reaches unless given.  [ns]
    since : int
        The first instant that counts, as an index: after the start-up, say.
    progress : callable, optional
        Called with the instants done and all of them.

    Returns
    -------
    pandas.DataFrame
        One row for each age: age_ns, gap_median_ns (over the instants at which a point was that old),
        gap_worst_ns (empty if at some instant none was) and covered, the share of the instants at which one
        was.
    """
    ages = [age for age in RUNGS if age <= timeline.reach_ns] if ages_ns is None else list(ages_ns)
    table = gaps(timeline, ages, since=since, progress=progress)
    found = table >= 0
    median = [
        int(np.median(column[there])) if there.any() else None
        for column, there in zip(table.T, found.T, strict=True)
    ]
    worst = [
        int(column.max()) if column.size and there.all() else None
        for column, there in zip(table.T, found.T, strict=True)
    ]
    frame = pd.DataFrame(
        {
            "age_ns": np.array(ages, dtype=np.int64),
            "gap_median_ns": pd.array(median, dtype="Int64"),
            "gap_worst_ns": pd.array(worst, dtype="Int64"),
            "covered": found.mean(axis=0) if table.size else np.zeros(len(ages)),
        }
    )
    schema.check_columns(frame.columns)
    return frame


def gap_text(gap: object) -> str:
    """Write a gap for people.

    Parameters
    ----------
    gap : int or missing
        As in the frame of `ladder_of`.  [ns]

    Returns
    -------
    str
        A duration, or "none".
    """
    return "none" if pd.isna(gap) else format_duration(int(gap), digits=2)  # type: ignore[call-overload]
