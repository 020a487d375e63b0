"""Policies side by side: what they hold, how far apart their recovery points are, and what they cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy.typing as npt
import pandas as pd

from snapsim.engine.lifetimes import LifetimeMatrix
from snapsim.errors import CapacityError, UsageError
from snapsim.mechanisms import Mechanism
from snapsim.planning.outlook import evaluate
from snapsim.planning.running import run_policy
from snapsim.policy.comparing import Comparison, Progress, compare, reached
from snapsim.policy.explaining import aligned
from snapsim.policy.policy import Policy
from snapsim.policy.timeline import Timeline
from snapsim.traces.changes import between
from snapsim.traces.pacing import pace
from snapsim.traces.trace import Trace
from snapsim.tuning.bounds import clairvoyant
from snapsim.tuning.ladder import Ladder, recovery_ladder
from snapsim.units import format_duration, format_size

__all__ = ["EVERYTHING", "SideBySide", "own_ladder", "side_by_side"]

EVERYTHING = "keep everything"
"""What the upper bound is called."""


@dataclass(frozen=True, eq=False)
class SideBySide:
    """Policies over the same instants, and what they cost if a disk's lifetimes are known.

    Attributes
    ----------
    comparison : Comparison
        What each holds.
    lifetimes : LifetimeMatrix or None
        The disk.
    mechanism : str or Mechanism or None
        How its system keeps snapshots.
    """

    comparison: Comparison
    lifetimes: LifetimeMatrix | None = None
    mechanism: str | Mechanism | None = None

    def __repr__(self) -> str:
        return f"<SideBySide: {', '.join(self.comparison.timelines)}>"

    @cached_property
    def ladders(self) -> pd.DataFrame:
        """One row for each policy and band of age: policy and the columns of `recovery_ladder`."""
        parts = [
            recovery_ladder(timeline).assign(policy=name)
            for name, timeline in self.comparison.timelines.items()
        ]
        return pd.concat(parts, ignore_index=True)

    @cached_property
    def space(self) -> pd.DataFrame | None:
        """What each policy costs, and keeping everything: the columns of `evaluate`, and clairvoyant_bytes.

        The last is the least that any choice of snapshots could hold at the end that is nowhere sparser than
        the policy ever was at that age; empty for keeping everything, and where it cannot be told.
        None without lifetimes.
        """
        if self.lifetimes is None or self.mechanism is None:
            return None
        timelines = dict(self.comparison.timelines)
        every = tuple({text for one in timelines.values() for text in _schedule_texts(one)})
        zone = next(iter(timelines.values())).policy.timezone
        keeping = Policy(
            schedule=every, keep_last="unlimited", timezone="UTC" if zone == "recorded" else zone
        )
        all_kept = run_policy(keeping, self.lifetimes)
        frame = evaluate(self.lifetimes, [*timelines.values(), all_kept], mechanism=self.mechanism)
        least = [self._least(timeline) for timeline in timelines.values()]
        return frame.assign(
            policy=[*timelines, EVERYTHING], clairvoyant_bytes=pd.array([*least, None], dtype="Int64")
        )

    def _least(self, timeline: Timeline) -> int | None:
        ladder = own_ladder(timeline)
        if ladder is None or self.lifetimes is None or self.mechanism is None:
            return None
        try:
            return clairvoyant(self.lifetimes, ladder, mechanism=self.mechanism).snapshot_bytes
        except (CapacityError, UsageError):  # no such bound for this mechanism, or too many instants
            return None

    def summary(self) -> dict[str, Any]:
        """Return everything as plain values.

        Returns
        -------
        dict
            The figures of `Comparison`, what only one policy holds, the ladders, and the space.
        """
        return {
            "policies": self.comparison.figures(),
            "only": {name: self.comparison.only(name).tolist() for name in self.comparison.timelines},
            "common": self.comparison.common().tolist(),
            "ladders": _records(self.ladders),
            "space": None if self.space is None else _records(self.space),
        }

    def text(self) -> str:
        """Return the comparison as text.

        Returns
        -------
        str
            The policies, their figures side by side, the ladders, and the space if it is known.
        """
        return "\n".join([self.comparison.text(), "", *self._ladder_lines(), *self._space_lines()])

    def _ladder_lines(self) -> list[str]:
        names = list(self.comparison.timelines)
        bands = self.ladders[["age_from_ns", "age_to_ns"]].drop_duplicates().sort_values("age_to_ns")
        cells = self.ladders.set_index(["policy", "age_to_ns"])
        rows = [
            (
                f"{_short(low)} to {_short(high)}",
                *(_gaps(cells, (name, high)) for name in names),
            )
            for low, high in bands.itertuples(index=False)
        ]
        heads = ("age", *(f"{name}: median, worst" for name in names))
        return ["distance of neighbouring recovery points over the run", *aligned(heads, rows)]

    def _space_lines(self) -> list[str]:
        if self.space is None:
            return ["", "space, and the least that is possible, need a disk's own trace"]
        rows = [
            (
                str(row["policy"]),
                format_size(int(row["snapshot_peak_bytes"])),
                format_size(float(row["snapshot_mean_bytes"])),
                format_size(int(row["snapshot_end_bytes"])),
                "-" if pd.isna(row["clairvoyant_bytes"]) else format_size(int(row["clairvoyant_bytes"])),
                "yes" if row["steady"] else "no",
            )
            for _, row in self.space.iterrows()
        ]
        origin = None if self.lifetimes is None else self.lifetimes.origin
        scale = origin.info.time_scale if isinstance(origin, Trace) else 1
        heads = ("snapshot data", "peak", "mean", "at the end", "least possible", "steady state reached")
        return [
            "",
            *aligned(heads, rows),
            "least possible: at the end, chosen with hindsight, nowhere sparser than the policy ever was",
            *([] if scale == 1 else [f"the recording was paced: {pace(scale)}"]),
            *between(origin),
        ]


def side_by_side(
    policies: Mapping[str, Policy],
    instants: npt.ArrayLike | None = None,
    *,
    lifetimes: LifetimeMatrix | None = None,
    mechanism: str | Mechanism = "qcow2-external",
    pool_size: int | str | None = None,
    progress: Progress | None = None,
) -> SideBySide:
    """Compare policies over the same instants, with space if a disk's lifetimes are given.

    Parameters
    ----------
    policies : mapping of str to Policy
        By the name that tables and figures show; each has a schedule.
    instants : int64 array, shape (n_instants,), optional
        When snapshots can be taken, UTC, strictly ascending; those of the lifetimes unless given.  [ns]
    lifetimes : LifetimeMatrix, optional
        What the disk wrote.
    mechanism : str or Mechanism
        How its system keeps snapshots.
    pool_size : int or str, optional
        Size of the pool, on which rules about space act; needs lifetimes.  [bytes]
    progress : callable, optional
        Called with the policies done and all of them.

    Returns
    -------
    SideBySide
        The comparison as frames and as text.

    Raises
    ------
    UsageError
        Neither instants nor lifetimes are given, or both; or a pool without lifetimes.
    PolicyError
        There is no policy, or one has no schedule, or instants do not fit it.

    Examples
    --------
    >>> import snapsim as ss
    >>> days = [day * 86_400_000_000_000 for day in range(60)]
    >>> week, month = (ss.Policy(schedule="@daily", keep_daily=n) for n in (7, 30))
    >>> two = ss.side_by_side({"week": week, "month": month}, days)
    >>> two.ladders.groupby("policy")["age_to_ns"].max().map(ss.units.format_duration).to_dict()
    {'month': '30d', 'week': '7d'}
    """
    if (instants is None) == (lifetimes is None):
        raise UsageError(
            "give either instants or lifetimes: those of the lifetimes are used where there are any"
        )
    if lifetimes is None:
        if pool_size is not None:
            raise UsageError("a pool is given, but how full it is cannot be told without lifetimes")
        assert instants is not None  # noqa: S101  one of the two is there
        return SideBySide(compare(policies, instants, progress=progress), None, None)
    counted = lifetimes

    def run(policy: Policy) -> Timeline:
        size = pool_size if policy.space else None
        return run_policy(policy, counted, mechanism=mechanism, pool_size=size)

    return SideBySide(compare(policies, counted.instants, run=run, progress=progress), counted, mechanism)


def own_ladder(timeline: Timeline) -> Ladder | None:
    """Return the ladder that a policy keeps by itself.

    Parameters
    ----------
    timeline : Timeline
        A policy over time.

    Returns
    -------
    Ladder or None
        In each band of age the longest gap of the run, up to the age of the oldest recovery point at the end;
        None if there is none.
    """
    reach = int(reached(timeline)[-1])
    steps: list[tuple[int, int]] = []
    for low, high, gap in recovery_ladder(timeline)[["age_from_ns", "age_to_ns", "worst_gap_ns"]].itertuples(
        index=False
    ):
        if low < reach and not pd.isna(gap):
            steps.append((min(int(high), reach), int(gap)))
    return Ladder(tuple(steps)) if steps else None


def _schedule_texts(timeline: Timeline) -> tuple[str, ...]:
    schedule = timeline.policy.schedule
    return schedule.texts if schedule else ()


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    plain = frame.astype(object).where(frame.notna(), None)
    return [{str(key): value for key, value in row.items()} for row in plain.to_dict("records")]


def _short(length_ns: int) -> str:
    return format_duration(length_ns) if length_ns else "0"


def _gaps(cells: pd.DataFrame, where: tuple[str, int]) -> str:
    if where not in cells.index:
        return "-"
    gaps = [cells[name][where] for name in ("median_gap_ns", "worst_gap_ns")]
    return "-" if any(pd.isna(gap) for gap in gaps) else ", ".join(_short(int(gap)) for gap in gaps)
