"""`growth`: how much space the snapshots of a policy need, over time."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from snapsim import schema
from snapsim._version import __version__
from snapsim.engine import space
from snapsim.engine.lifetimes import LifetimeMatrix
from snapsim.errors import UsageError
from snapsim.mechanisms import Mechanism
from snapsim.mechanisms import mechanism as find_mechanism
from snapsim.planning.coverage import Coverage, coverage
from snapsim.planning.series import (
    Series,
    durations,
    follow,
    levels,
    matrices,
    memory_levels,
    time_percentiles,
)
from snapsim.policy.timeline import Timeline
from snapsim.traces.changes import ChangeTrace, between
from snapsim.traces.trace import Trace
from snapsim.types import Int64Array
from snapsim.units import format_duration, format_size

__all__ = ["Growth", "growth"]

_AT_THE_END = (
    "live_bytes", "snapshot_bytes", "metadata_bytes", "memory_bytes", "total_bytes", "allocated_bytes",
    "file_bytes",
)  # fmt: skip
_SUMMED = (
    *_AT_THE_END, "peak_bytes", "reserve_bytes", "peak_total_bytes", "peak_allocated_bytes", "merged_bytes",
    "copied_bytes", "freed_bytes", "lower_bytes", "upper_bytes",
)  # fmt: skip
_PERCENTILES = (50, 95, 99)
_POOL = "The pool"


@dataclass(frozen=True, kw_only=True, eq=False)
class Growth:
    """How much space the snapshots of a policy need.

    Attributes
    ----------
    frame : DataFrame
        One row an instant, after everything that happens at it; columns as `snapsim.schema` registers them.
    snapshots : DataFrame
        One row for each snapshot that is kept at the end: taken, age_ns, exclusive_bytes, written_bytes,
        reasons.
    mechanism : Mechanism
        How the system keeps snapshots.
    timeline : Timeline
        Which snapshots exist when, and why.
    coverage : Coverage
        How far the trace covers the policy.
    block_size : int
        The mechanism's block size.  [bytes]
    assumptions : tuple of str
        What was assumed, and what the answer leaves out.
    findings : tuple of str
        What pool rules and limits have to say.
    provenance : Mapping
        Versions, trace, parameters.
    members : Mapping of str to Growth
        The volumes of a group; empty for one volume.
    """

    frame: pd.DataFrame
    snapshots: pd.DataFrame
    mechanism: Mechanism
    timeline: Timeline
    coverage: Coverage
    block_size: int
    assumptions: tuple[str, ...]
    findings: tuple[str, ...]
    provenance: Mapping[str, object]
    members: Mapping[str, "Growth"] = field(default_factory=dict)

    @property
    def peak(self) -> dict[str, int]:
        """Largest values over time, transient ones included.

        "snapshot_bytes" (data), "reserve_bytes" (data, metadata and memory images), "total_bytes" (with the
        volume), "allocated_bytes" and "snapshots".  For a group it is the peak of the sum.
        [bytes, and a count]
        """
        frame = self.frame
        return {
            "snapshot_bytes": int(frame["peak_bytes"].max()),
            "reserve_bytes": int(frame["reserve_bytes"].max()),
            "total_bytes": int(frame["peak_total_bytes"].max()),
            "allocated_bytes": int(frame["peak_allocated_bytes"].max()),
            "snapshots": int(space_chain(self.timeline).count(before_prune=True).max(initial=0)),
        }

    @property
    def percentiles(self) -> dict[str, int]:
        """Snapshot data that 50, 95 and 99 % of the time do not exceed: "p50", "p95", "p99".  [bytes]"""
        values = self.frame["snapshot_bytes"].to_numpy()
        found = time_percentiles(values, durations(self.timeline.instants), _PERCENTILES)
        return {f"p{p}": level for p, level in zip(_PERCENTILES, found, strict=True)}

    def summary(self) -> dict[str, object]:
        """Return the answer as plain values, ready for JSON.

        Returns
        -------
        dict
            mechanism, policy, block_size, peak, percentiles, end, totals, bounds, coverage, findings,
            assumptions, provenance, members.
        """
        frame, end = self.frame, self.frame.iloc[-1]
        return {
            "mechanism": self.mechanism.name,
            "policy": self.timeline.policy.describe(),
            "block_size": self.block_size,
            "peak": self.peak,
            "percentiles": self.percentiles,
            "end": {name: int(end[name]) for name in ("snapshots", *_AT_THE_END)},
            "totals": {
                name: int(frame[name].sum()) for name in ("merged_bytes", "copied_bytes", "freed_bytes")
            },
            "bounds": {name: int(frame[name].max()) for name in ("lower_bytes", "upper_bytes")},
            "coverage": asdict(self.coverage),
            "findings": list(self.findings),
            "assumptions": list(self.assumptions),
            "provenance": dict(self.provenance),
            "members": {name: member.summary() for name, member in self.members.items()},
        }

    def text(self) -> str:
        """Return the answer for people.

        Returns
        -------
        str
            Several lines.
        """
        peak, frame = self.peak, self.frame
        at = int(np.argmax(frame["peak_bytes"].to_numpy()))
        instants = self.timeline.instants
        after = format_duration(int(instants[at] - instants[0]))
        low, high = (format_size(int(frame[name].max())) for name in ("lower_bytes", "upper_bytes"))
        parts = ", ".join(f"{name} {format_size(value)}" for name, value in self.percentiles.items())
        end = frame.iloc[-1]
        held = ", ".join(
            f"{format_size(int(end[name]))} of {what}"
            for name, what in (
                ("snapshot_bytes", "data"),
                ("metadata_bytes", "metadata"),
                ("memory_bytes", "memory"),
            )
            if end[name] or name == "snapshot_bytes"
        )
        need, reserve = (format_size(peak[name]) for name in ("snapshot_bytes", "reserve_bytes"))
        lines = [
            f"{self.timeline.policy.describe()} on {self.mechanism.title}",
            f"  blocks of           {format_size(self.block_size)}",
            f"  snapshots need      {need} of data at the peak, after {after}",
            f"  snapshot reserve    {reserve} at the peak, with metadata and memory",
            f"  over time           {parts}",
            f"  at the end          {int(end['snapshots'])} snapshots: {held}",
            f"  with the volume     {format_size(peak['total_bytes'])} at the peak",
        ]
        if low != high:
            lines.insert(
                4, f"  bounds              {low} to {high} after prunes, by what existed before the trace"
            )
        moved = {name: int(frame[f"{name}_bytes"].sum()) for name in ("merged", "copied", "freed")}
        told = ", ".join(f"{format_size(value)} {name}" for name, value in moved.items() if value)
        if told:
            lines.append(f"  moved over time     {told}")
        lines.append(f"  coverage            {self.coverage.verdict}")
        lines += [f"  note                {finding}" for finding in self.findings]
        return "\n".join(lines)

    def __repr__(self) -> str:
        """Show the answer."""
        return self.text()

    def _repr_html_(self) -> str:
        import html

        return f"<pre style='font-family:monospace'>{html.escape(self.text())}</pre>"


def growth(
    lifetimes: LifetimeMatrix | Mapping[str, LifetimeMatrix] | Sequence[LifetimeMatrix],
    timeline: Timeline,
    *,
    mechanism: str | Path | Mechanism,
    bounds: bool = True,
) -> Growth:
    """Say how much space the snapshots of a policy need, over time.

    Parameters
    ----------
    lifetimes : LifetimeMatrix, or several
        One volume; or the volumes of a group (the disks of a VM, the VMs of a pool), counted on the same
        instants and summed on one clock.
    timeline : Timeline
        What `policy.timeline(lifetimes.instants)` returned.
    mechanism : str, path or Mechanism
        Name of a mechanism, the file of one, or one that was set up with options.
    bounds : bool
        Count twice more, for what may have existed before the trace: nothing (lower) and the whole volume
        (upper).

    Returns
    -------
    Growth
        The answer, with its coverage verdict and its assumptions.

    Raises
    ------
    UsageError
        The timeline is one of other instants.
    MechanismError
        The mechanism is unknown or does not have the block size.

    Examples
    --------
    >>> import snapsim as ss
    >>> writes = ss.Trace.from_arrays(
    ...     [10, 30, 50], ["write"] * 3, [0] * 3, [4096] * 3, capacity="1MiB", start=0
    ... )
    >>> lifetimes = ss.count_lifetimes(writes, every=20, block_size="4KiB")
    >>> timeline = ss.Policy(schedule="20ns", keep_last=2).timeline(lifetimes.instants)
    >>> ss.growth(lifetimes, timeline, mechanism="wafl").frame["snapshot_bytes"].tolist()
    [0, 4096, 4096, 4096]
    """
    found = find_mechanism(mechanism)
    _check_timeline(timeline)
    if isinstance(lifetimes, LifetimeMatrix):
        return _one(lifetimes, timeline, found, bounds=bounds)
    named = members(lifetimes)
    return _group({name: _one(one, timeline, found, bounds=bounds) for name, one in named.items()})


def members(lifetimes: object) -> dict[str, LifetimeMatrix]:
    """Return one volume, or those of a group, by name; refuse what cannot be summed."""
    if isinstance(lifetimes, LifetimeMatrix):
        return {"": lifetimes}
    named = _named(lifetimes)
    if not named:
        msg = "growth of a group needs at least one volume"
        raise UsageError(msg)
    for name, one in named.items():
        _check_member(name, one, next(iter(named.values())))
    return named


def capacity_of(lifetimes: LifetimeMatrix) -> tuple[int, int]:
    """Return the size of the volume and how long its trace lasts from the first instant.  [bytes, ns]"""
    trace = _trace_of(lifetimes)
    last = min(trace.start_ns + trace.last_ns, int(lifetimes.instants[-1]))
    return trace.capacity, max(last - max(trace.start_ns, int(lifetimes.instants[0])), 0)


def _trace_of(lifetimes: LifetimeMatrix) -> Trace:
    if not isinstance(lifetimes.origin, Trace):
        msg = "these lifetimes do not know their trace: use snapsim.count_lifetimes"
        raise UsageError(msg)
    return lifetimes.origin


def _named(lifetimes: object) -> dict[str, LifetimeMatrix]:
    if isinstance(lifetimes, Mapping):
        return dict(lifetimes)
    if isinstance(lifetimes, Sequence) and not isinstance(lifetimes, str):
        return {str(number): one for number, one in enumerate(lifetimes)}
    msg = f"lifetimes is a {type(lifetimes).__name__}: count them with snapsim.count_lifetimes"
    raise UsageError(msg)


def _check_timeline(timeline: object) -> None:
    if not isinstance(timeline, Timeline):
        msg = f"timeline is a {type(timeline).__name__}: make one with policy.timeline(lifetimes.instants)"
        raise UsageError(msg)


def _check_member(name: object, one: object, first: object) -> None:
    if not isinstance(one, LifetimeMatrix) or not isinstance(first, LifetimeMatrix):
        msg = f"lifetimes of {name!r} are a {type(one).__name__}: count them with snapsim.count_lifetimes"
        raise UsageError(msg)
    if one.block_size != first.block_size:
        msg = (
            f"the volumes of a group are counted in blocks of {format_size(first.block_size)} and "
            f"{format_size(one.block_size)}: count all with one block_size"
        )
        raise UsageError(msg)


def space_chain(timeline: Timeline) -> space.Chain:
    """Return the neighbours of a timeline's snapshots over time."""
    return space.chain(timeline.created, timeline.deleted, n_instants=len(timeline.instants))


def _one(lifetimes: LifetimeMatrix, timeline: Timeline, mechanism: Mechanism, *, bounds: bool) -> Growth:
    if not np.array_equal(lifetimes.instants, timeline.instants):
        msg = "the timeline is one of other instants: make it with policy.timeline(lifetimes.instants)"
        raise UsageError(msg)
    trace = _trace_of(lifetimes)
    chain = space_chain(timeline)
    capacity, span = capacity_of(lifetimes)
    place = {"block_size": lifetimes.block_size, "capacity": capacity}
    counted = matrices(lifetimes, mechanism)
    series = follow(mechanism, counted, chain, **place)
    lower, upper = series.snapshot, series.snapshot
    fixed = any(need.name == "data" and need.initial for need in mechanism.matrices(lifetimes.block_size))
    if bounds and not fixed and not _start_known(trace, lifetimes):
        lower, upper = (
            follow(mechanism, matrices(lifetimes, mechanism, initial=initial), chain, **place).snapshot
            for initial in ("thin", "thick")
        )
    frame = _frame(timeline, chain, series, lower, upper)
    return Growth(
        frame=frame,
        snapshots=_kept_at_end(counted["data"], timeline, mechanism),
        mechanism=mechanism,
        timeline=timeline,
        coverage=coverage(
            timeline, trace_span_ns=span, time_scale=trace.info.time_scale, remarks=between(trace)
        ),
        block_size=lifetimes.block_size,
        assumptions=_assumptions(trace, lifetimes, mechanism, timeline),
        findings=(*_full_pool(mechanism, frame), *series.findings, *timeline.findings),
        provenance=_provenance(trace, lifetimes, mechanism, timeline),
    )


def _frame(
    timeline: Timeline, chain: space.Chain, series: Series, lower: Int64Array, upper: Int64Array
) -> pd.DataFrame:
    time = pd.to_datetime(timeline.instants, unit="ns", utc=True).as_unit("ns")
    columns = levels(series, chain, ram=timeline.ram)
    frame = pd.DataFrame({"time": time, **columns, "lower_bytes": lower, "upper_bytes": upper})
    schema.check_columns(frame.columns)
    return frame


def _kept_at_end(data: LifetimeMatrix, timeline: Timeline, mechanism: Mechanism) -> pd.DataFrame:
    last = len(timeline.instants) - 1
    kept = timeline.kept(last)
    older = np.concatenate((np.array([space.OPEN]), kept[:-1])) if len(kept) else kept
    if mechanism.sharing == "private":
        exclusive = data.private_store_bytes(kept, last)
    elif mechanism.sharing == "detached":
        newer = np.concatenate((kept[1:], np.array([data.n_instants]))) if len(kept) else kept
        exclusive = data.boxes(older, kept, kept, newer) * data.block_size
    else:
        exclusive = data.exclusive_bytes(kept, last)
    reasons = {
        decision.snapshot.time_ns: "; ".join(decision.reasons) for decision in timeline.decisions(last)
    }
    taken = timeline.instants[kept]
    return pd.DataFrame(
        {
            "taken": pd.to_datetime(taken, unit="ns", utc=True).as_unit("ns"),
            "age_ns": timeline.instants[last] - taken,
            "exclusive_bytes": exclusive,
            "written_bytes": data.boxes(older, kept, kept, data.n_instants) * data.block_size,
            "reasons": pd.Series([reasons[int(time)] for time in taken], dtype=object),
        }
    )


def _group(members: dict[str, Growth]) -> Growth:
    """Sum volumes on one clock: the peak of the sum, not the sum of the peaks."""
    first = next(iter(members.values()))
    frame = first.frame.copy()
    for name in _SUMMED:
        frame[name] = sum(member.frame[name].to_numpy() for member in members.values())
    # one snapshot of a VM covers all its disks, but it saves the memory once
    frame["memory_bytes"] = first.frame["memory_bytes"]
    extra = (len(members) - 1) * first.frame["memory_bytes"]
    frame["total_bytes"] -= extra
    frame["allocated_bytes"] -= extra
    most = (len(members) - 1) * memory_levels(space_chain(first.timeline), first.timeline.ram)[1]
    for name in ("reserve_bytes", "peak_total_bytes", "peak_allocated_bytes"):
        frame[name] -= most
    snapshots = first.snapshots.copy()
    for name in ("exclusive_bytes", "written_bytes"):
        snapshots[name] = sum(member.snapshots[name].to_numpy() for member in members.values())
    shortest = min((member.coverage for member in members.values()), key=lambda one: one.trace_span_ns)
    named = list(members.items())
    return Growth(
        frame=frame,
        snapshots=snapshots,
        mechanism=first.mechanism,
        timeline=first.timeline,
        coverage=shortest,
        block_size=first.block_size,
        assumptions=tuple(dict.fromkeys(text for _, member in named for text in member.assumptions)),
        findings=(
            *_full_pool(first.mechanism, frame),
            *(
                f"{name}: {text}"
                for name, one in named
                for text in one.findings
                if not text.startswith(_POOL)
            ),
        ),
        provenance={
            **first.provenance,
            "traces": {name: member.provenance["trace"] for name, member in named},
        },
        members=members,
    )


def _full_pool(mechanism: Mechanism, frame: pd.DataFrame) -> tuple[str, ...]:
    """Say when the pool is full, if it ever is."""
    pool = mechanism.pool
    over = frame["peak_allocated_bytes"].to_numpy() > pool.size
    if not pool.size or pool.per_snapshot or not over.any():
        return ()
    when = frame["time"].iloc[int(np.argmax(over))]
    needed = format_size(int(frame["peak_allocated_bytes"].max()))
    then = pool.when_full.replace("-", " ")
    full = f"{_POOL} of {format_size(pool.size)} is full by {when:%Y-%m-%d %H:%M} UTC"
    text = f"{full}, then {then}; it needs {needed}."
    return (text,)


def _assumptions(
    trace: Trace, lifetimes: LifetimeMatrix, mechanism: Mechanism, timeline: Timeline
) -> tuple[str, ...]:
    initial = lifetimes.counting.initial
    before = {
        "thick": "The whole volume was taken to hold data before the trace began: the upper bound.",
        "thin": "Nothing was taken to exist before the trace began: the lower bound.",
        "read-first": "What is read before it is written was taken to exist before the trace began, and "
        "nothing else.",
    }
    texts = [
        before[initial]
        if isinstance(initial, str)
        else "What existed before the trace is taken from a map of the image."
    ]
    texts += (*between(trace), *trace.info.notes)
    if trace.start_assumed:
        texts.append("The trace does not say when it began: 2001-01-01T00:00Z was assumed.")
    if not trace.capacity_known:
        texts.append(
            "The trace does not say how large the volume is: it was taken to end where the requests end."
        )
    if timeline.shifted_ticks:
        texts.append(
            f"{timeline.shifted_ticks} ticks of the schedule lie between two instants and were taken "
            f"later, by "
            f"{format_duration(timeline.max_shift_ns)} at most."
        )
    if timeline.merged_ticks:
        texts.append(
            f"The schedule is finer than the instants: {timeline.merged_ticks} of its ticks fell on an "
            "instant with the one before, and are one snapshot with it."
        )
    if mechanism.copies_old_data and mechanism.sharing != "private":
        texts.append("Copied bytes are an upper bound: a write that covers a whole block copies nothing.")
    if mechanism.file_length != "none":
        texts.append(
            "File lengths are those of files in which nothing was freed; a real file does not get "
            "shorter again."
        )
    if mechanism.lower_bound:
        texts.append(f"The block model of {mechanism.title} is a lower bound.")
    if mechanism.deletion.kind == "merge":
        texts.append(
            "Peaks during merges are exact where nothing is discarded; discarded blocks can add to them."
        )
    counted = mechanism.matrices(lifetimes.block_size)[0]
    if (counted.discard, counted.zeroes) != (lifetimes.counting.discard, lifetimes.counting.zeroes):
        texts.append(
            f"What discards and zeroes do is the mechanism's rule (discard={counted.discard}, "
            f"zeroes={counted.zeroes}), whatever the lifetimes were counted with."
        )
    texts += mechanism.caveats
    return tuple(dict.fromkeys(texts))


def _provenance(
    trace: Trace, lifetimes: LifetimeMatrix, mechanism: Mechanism, timeline: Timeline
) -> dict[str, object]:
    counting = lifetimes.counting
    return {
        "snapsim": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": version("numba"),
        "pandas": pd.__version__,
        "trace": {
            "source": trace.info.source,
            "format": trace.info.format,
            "volume": trace.volumes[0],
            "fingerprint": trace.fingerprint,
            "requests": len(trace),
            "span_ns": trace.span_ns,
            "capacity": trace.capacity,
            "time_scale": trace.info.time_scale,
            **_changes(trace),
        },
        "start_assumed": trace.start_assumed,
        "capacity_known": trace.capacity_known,
        "counting": {
            "block_size": counting.block_size,
            "initial": counting.initial
            if isinstance(counting.initial, str)
            else f"map of {len(counting.initial)} extents",
            "instants": lifetimes.n_instants,
        },
        "mechanism": {"name": mechanism.name, **mechanism.options()},
        "policy": timeline.policy.to_toml(),
    }


def _start_known(trace: Trace, lifetimes: LifetimeMatrix) -> bool:
    """Tell whether there is nothing to bound: the snapshots say what the volume held at first."""
    held = trace.initial if isinstance(trace, ChangeTrace) else None
    return held is not None and lifetimes.counting.initial == held


def _changes(trace: Trace) -> dict[str, int]:
    if not isinstance(trace, ChangeTrace):
        return {}
    return {"changes_between_snapshots": len(trace.instants), "change_grain": trace.grain}
