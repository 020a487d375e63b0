"""The figures of a change trace: how much changed from one snapshot to the next."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from snapsim.traces.changes import ChangeTrace, between
from snapsim.traces.extents import ExtentSet
from snapsim.traces.sanity import Finding
from snapsim.types import Int64Array
from snapsim.units import format_duration, format_size

__all__ = ["ChangeFigures", "change_figures"]


@dataclass(frozen=True, kw_only=True)
class ChangeFigures:
    """What a change trace holds.

    Attributes
    ----------
    format, source : str
        As in `TraceInfo`.
    first_ns, last_ns : int
        When the first and the last snapshot were taken, since the Unix epoch.  [ns]
    snapshots : int
        How many there are.
    shortest_interval_ns, longest_interval_ns : int
        From one snapshot to the next; 0 where there is one only.  [ns]
    known_changes : int
        For how many snapshots it is known what changed before them.
    grain_bytes, capacity_bytes : int
        Unit of what changed, and size of the volume.  [bytes]
    changed_bytes, discarded_bytes : int
        Sums over the intervals: what changed in two of them counts twice.  [bytes]
    distinct_changed_bytes : int
        What changed at least once.  [bytes]
    largest_changed_bytes : int
        In the interval with most.  [bytes]
    held_at_start_bytes : int or None
        What held data before the first known change; None where that is not known.  [bytes]
    time_scale : float
        As in `TraceInfo`.
    notes : tuple of str
        Assumptions, and what a change trace cannot tell.
    """

    format: str
    source: str
    first_ns: int
    last_ns: int
    snapshots: int
    shortest_interval_ns: int
    longest_interval_ns: int
    known_changes: int
    grain_bytes: int
    capacity_bytes: int
    changed_bytes: int
    discarded_bytes: int
    distinct_changed_bytes: int
    largest_changed_bytes: int
    held_at_start_bytes: int | None
    time_scale: float
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-able values: what `snapsim trace stats --json` prints."""
        return {
            "kind": "changes",
            **self.__dict__,
            "first": _moment(self.first_ns),
            "last": _moment(self.last_ns),
            "notes": list(self.notes),
        }

    def rows(self) -> list[tuple[str, str]]:
        """Return names and values for people."""
        shortest, longest = map(format_duration, (self.shortest_interval_ns, self.longest_interval_ns))
        apart = shortest if shortest == longest else f"{shortest} to {longest}"
        mean = self.changed_bytes / max(self.known_changes, 1)
        held = self.held_at_start_bytes
        return [
            ("format", f"{self.format} (changes between snapshots)"),
            ("source", self.source),
            ("snapshots", f"{self.snapshots:,}, {apart} apart"),
            ("first, last", f"{_moment(self.first_ns)}, {_moment(self.last_ns)}"),
            ("grain", format_size(self.grain_bytes)),
            (
                "changed",
                f"{format_size(round(mean))} an interval, {format_size(self.largest_changed_bytes)} at most",
            ),
            ("distinct changed", format_size(self.distinct_changed_bytes)),
            ("discarded", format_size(self.discarded_bytes)),
            ("capacity", format_size(self.capacity_bytes)),
            ("held at the start", "not known" if held is None else format_size(held)),
        ]

    def text(self) -> str:
        """Return the figures as an aligned table for people."""
        rows = self.rows()
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)

    def findings(self) -> list[Finding]:
        """Return what should be known of it, as the sanity report of a trace does."""
        found = [Finding("note", note) for note in self.notes]
        if self.changed_bytes + self.discarded_bytes == 0:
            found.insert(0, Finding("warning", "nothing ever changed: are these snapshots of one volume?"))
        if self.held_at_start_bytes is None:
            found.append(
                Finding(
                    "note", "what the volume held at the first snapshot is not known: all of it is assumed"
                )
            )
        if self.time_scale != 1:
            paced = f"the recording was paced: each second of it stands for {self.time_scale:g} seconds"
            found.append(Finding("note", paced))
        return found


def change_figures(trace: ChangeTrace) -> ChangeFigures:
    """Count what a change trace holds, in one pass.

    Parameters
    ----------
    trace : ChangeTrace
        What changed between snapshots.

    Returns
    -------
    ChangeFigures
        Its figures.
    """
    distinct = ExtentSet()
    changed, discarded = [0], 0
    for one in trace.changes():
        if one is None:
            continue
        written, gone = (np.asarray(table, np.int64).reshape(-1, 2) for table in one)
        distinct.add(written[:, 0], written[:, 1])
        changed.append(int(written[:, 1].sum()))
        discarded += int(gone[:, 1].sum())
    instants = trace.instants
    apart: Int64Array = np.diff(instants) if len(instants) > 1 else np.zeros(1, np.int64)
    held = trace.initial
    return ChangeFigures(
        format=trace.info.format,
        source=trace.info.source,
        first_ns=int(instants[0]),
        last_ns=int(instants[-1]),
        snapshots=len(instants),
        shortest_interval_ns=int(apart.min()),
        longest_interval_ns=int(apart.max()),
        known_changes=len(changed) - 1,
        grain_bytes=trace.grain,
        capacity_bytes=trace.capacity,
        changed_bytes=sum(changed),
        discarded_bytes=discarded,
        distinct_changed_bytes=distinct.covered_bytes(),
        largest_changed_bytes=max(changed),
        held_at_start_bytes=None if held is None else sum(length for _, length in held),
        time_scale=trace.info.time_scale,
        notes=(*between(trace), *trace.info.notes),
    )


def _moment(time_ns: int) -> str:
    return pd.Timestamp(time_ns, unit="ns", tz="UTC").isoformat().replace("+00:00", "Z")
