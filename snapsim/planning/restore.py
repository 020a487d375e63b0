"""`restore_times`: what restoring each kept snapshot would move, and how long it would take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from snapsim import schema
from snapsim._version import __version__
from snapsim.devices import Device
from snapsim.devices import device as find_device
from snapsim.engine.chain import Contents
from snapsim.engine.copying import Copying, Pieces, copy_time
from snapsim.errors import UsageError
from snapsim.mechanisms import Mechanism
from snapsim.mechanisms import mechanism as find_mechanism
from snapsim.planning.lifetimes import Initial, initial_of
from snapsim.planning.restore_contents import Progress, States, choose, moment_ns, pieces, states
from snapsim.policy.timeline import Timeline
from snapsim.traces.changes import needs_requests
from snapsim.traces.pacing import pace_lines
from snapsim.traces.trace import Trace
from snapsim.types import FLUSH, WRITE, Int64Array
from snapsim.units import format_duration, format_size, parse_size

__all__ = ["WAYS", "Restores", "restore_times"]

WAYS = ("full", "partial", "incremental", "revert")
"""The values of the column `restore`."""

_MOST_LINES = 24


@dataclass(frozen=True, kw_only=True, eq=False)
class Restores:
    """What restoring each kept snapshot would move, and how long it would take.

    Attributes
    ----------
    frame : DataFrame
        One row for each snapshot and way, oldest snapshot first: taken, age_ns, restore ("full", "partial",
        "incremental", "revert"), moved_bytes, read_extents, write_extents, discarded_bytes, read_ns,
        write_ns, duration_ns.
    mechanism : Mechanism
        How the system keeps snapshots.
    device, target : Device
        What is read, and what is written.
    shared : bool
        Both are one disk.
    now_ns : int
        When the restore begins.  [ns since the Unix epoch]
    part : str
        What the partial restore brings back.
    base : str
        What the incremental restore finds there.
    time_scale : float
        Represented time divided by real time of the recording; 1 for one that was not paced.
    assumptions : tuple of str
        What was assumed.
    provenance : Mapping
        Versions, trace, parameters.
    """

    frame: pd.DataFrame
    mechanism: Mechanism
    device: Device
    target: Device
    shared: bool
    now_ns: int
    part: str
    base: str
    time_scale: float
    assumptions: tuple[str, ...]
    provenance: Mapping[str, object]

    @property
    def longest(self) -> dict[str, int]:
        """The recovery time objective that each way can promise: its longest restore.  [ns]"""
        grouped = self.frame.groupby("restore", sort=False)["duration_ns"].max()
        return {str(way): int(longest) for way, longest in grouped.items()}

    def summary(self) -> dict[str, object]:
        """Return the answer as plain values, ready for JSON.

        Returns
        -------
        dict
            mechanism, device, target, shared, now, part, base, longest, restores (a dict for each row),
            time_scale, assumptions, provenance.
        """
        rows = self.frame.assign(taken=_texts(self.frame["taken"]))
        return {
            "mechanism": self.mechanism.name,
            "device": self.device.name,
            "target": self.target.name,
            "shared": self.shared,
            "now": _text(self.now_ns),
            "part": self.part,
            "base": self.base,
            "longest": self.longest,
            "restores": rows.to_dict("records"),
            "time_scale": self.time_scale,
            "assumptions": list(self.assumptions),
            "provenance": dict(self.provenance),
        }

    def text(self) -> str:
        """Return the answer for people.

        Returns
        -------
        str
            Several lines; of many snapshots the newest.
        """
        where = (
            f"on {self.device.title}" if self.shared else f"from {self.device.title} to {self.target.title}"
        )
        kept = self.frame["taken"].drop_duplicates()
        lines = [
            f"Restoring from {self.mechanism.title}, {where}",
            f"  at                  {_text(self.now_ns)}, {len(kept)} snapshots are kept",
            *pace_lines((self.time_scale,)),
        ]
        if self.frame.empty:
            return "\n".join(lines)
        ways = [way for way in WAYS if way in set(self.frame["restore"])]
        lines += [f"  {'snapshot':<20}" + "".join(f"{way:<24}" for way in ways).rstrip()]
        values = (self.frame[name] for name in ("taken", "restore", "moved_bytes", "duration_ns"))
        cells = {
            (taken, way): f"{format_size(int(moved))}, {format_duration(int(took))}"
            for taken, way, moved, took in zip(*values, strict=True)
        }
        for taken in kept.iloc[-_MOST_LINES:]:
            name = f"{taken:%Y-%m-%d %H:%M:%S}"
            lines.append(f"  {name:<20}" + "".join(f"{cells[taken, way]:<24}" for way in ways).rstrip())
        if len(kept) > _MOST_LINES:
            lines.append(f"  ... and {len(kept) - _MOST_LINES} older ones")
        told = ", ".join(f"{way} {format_duration(longest)}" for way, longest in self.longest.items())
        lines += [
            f"  at most             {told}",
            f"  partial             {self.part}",
            f"  incremental         over {self.base}",
        ]
        return "\n".join(lines)

    def __repr__(self) -> str:
        """Show the answer."""
        return self.text()

    def _repr_html_(self) -> str:
        import html

        return f"<pre style='font-family:monospace'>{html.escape(self.text())}</pre>"


class _How(NamedTuple):
    """The devices, and how they are used."""

    device: Device
    target: Device | None
    chunk: int
    streams: int
    network: int
    cold: bool

    def copy(self, parts: Pieces) -> Copying:
        target = None if self.target is None else self.target.parameters()
        return copy_time(
            parts, self.device.parameters(), target, chunk=self.chunk, streams=self.streams,
            network=self.network, cold=self.cold,
        )  # fmt: skip


def restore_times(
    trace: Trace,
    timeline: Timeline,
    mechanism: str | Path | Mechanism = "qcow2-external",
    device: str | Path | Device = "nvme",
    *,
    target: str | Path | Device | None = None,
    network: int | str | None = None,
    initial: Initial = "thick",
    at: object = None,
    base: object = None,
    part: str | Sequence[tuple[int, int]] = "10%",
    block_size: int | str | None = None,
    chunk: int | str = "1MiB",
    streams: int = 8,
    progress: Progress | None = None,
) -> Restores:
    """Say what restoring each kept snapshot would move, and how long it would take.

    A *full* restore copies all that the snapshot shows; a *partial* one what is needed first; an
    *incremental* one only blocks that differ from what is there.  A *revert* goes back inside the system:
    where the old contents stayed where they were, a pointer is changed; where they were copied away, they are
    copied back.

    Parameters
    ----------
    trace : Trace
        Requests of one volume.
    timeline : Timeline
        Which snapshots are kept: `policy.timeline(...)`.
    mechanism : str, path or Mechanism
        How the system keeps snapshots.
    device : str, path or Device
        Where snapshots lie.
    target : str, path or Device, optional
        Where the volume is restored to; by default the same disk, which then reads and writes in turn.  For
        another disk of the same kind name it twice.
    network : int or str, optional
        What the way between source and target lets through in a second ("125MiB").  [bytes/s]
    initial : str, path, or extents
        What exists before the trace: "thick", "thin", or a map; see `count_lifetimes`.
    at : point in time, or duration, optional
        When the restore begins: the newest instant not after it counts.  The last instant by default.
        A duration ("90min") counts from the trace's start.
    base : point in time, optional
        The incremental restore goes over a copy of the newest kept snapshot not after this; by default over
        what the volume shows.
    part : str or sequence of pairs
        What a partial restore brings back: the share of the volume that was read most until then ("10%"), or
        pairs of offset and length.  [bytes]
    block_size : int or str, optional
        The mechanism's, instead of its default.  [bytes]
    chunk : int or str
        What is read in one go, at most.  [bytes]
    streams : int
        Chunks under way at a time.
    progress : callable, optional
        Called with (requests done, requests in all).

    Returns
    -------
    Restores
        A row for each snapshot and way.

    Raises
    ------
    UsageError
        A parameter makes no sense, or the timeline is none.
    MechanismError, DeviceError
        There is no such mechanism or device.

    Examples
    --------
    >>> import snapsim as ss
    >>> writes = ss.Trace.from_arrays(
    ...     [10, 30, 50], ["write"] * 3, [0, 65536, 0], [65536] * 3, capacity="1MiB", start=0
    ... )
    >>> timeline = ss.Policy(schedule="20ns", keep_last=2).timeline(np.arange(0, 80, 20))
    >>> restores = ss.restore_times(writes, timeline, "qcow2-external", "nvme")
    >>> restores.frame.query("restore == 'incremental'")["moved_bytes"].tolist()
    [65536, 0]
    """
    if not isinstance(trace, Trace):
        raise UsageError(f"trace is a {type(trace).__name__}: read one with snapsim.read_trace")
    needs_requests(trace, "a restore time")
    if not isinstance(timeline, Timeline):
        raise UsageError(f"timeline is a {type(timeline).__name__}: make one with policy.timeline(instants)")
    found, source = find_mechanism(mechanism), find_device(device)
    copied_to = None if target is None else find_device(target)
    how = _How(
        source, copied_to, _positive(parse_size(chunk), "chunk"), _positive(streams, "streams"),
        0 if network is None else _positive(parse_size(network), "network"), found.sharing == "detached",
    )  # fmt: skip
    size = None if block_size is None else parse_size(block_size)
    known = initial_of(initial)
    moment = _instant(trace, timeline, at)
    taken = timeline.instants[timeline.kept(moment)]
    now = int(timeline.instants[moment])
    below = _base(trace, taken, base)
    state = states(trace, found, taken, now, initial=known, block_size=size, progress=progress)
    blocks, part_text = choose(state, part)
    rows = [
        {"taken": time, "age_ns": now - time, **row}
        for time, contents in zip(taken.tolist(), state.snapshots, strict=True)
        for row in _rows(
            state, contents, how, found,
            base=state.now if below is None else state.snapshots[below], blocks=blocks,
        )
    ]  # fmt: skip
    return Restores(
        frame=_frame(rows),
        mechanism=found,
        device=source,
        target=source if copied_to is None else copied_to,
        shared=copied_to is None,
        now_ns=now,
        part=part_text,
        base="what the volume shows" if below is None else f"the snapshot of {_text(int(taken[below]))}",
        time_scale=trace.info.time_scale,
        assumptions=_assumptions(trace, found, known),
        provenance={
            "snapsim": __version__,
            "trace": {
                "source": trace.info.source,
                "fingerprint": trace.fingerprint,
                "requests": len(trace),
                "capacity": trace.capacity,
            },
            "policy": timeline.policy.describe(),
            "block_size": state.block_size,
            "initial": known if isinstance(known, str) else f"map of {len(known)} extents",
            "chunk": how.chunk,
            "streams": how.streams,
            "network": how.network,
        },
    )


def _rows(
    state: States,
    contents: Contents,
    how: _How,
    mechanism: Mechanism,
    *,
    base: Contents,
    blocks: Int64Array,
) -> list[dict[str, object]]:
    """Return the ways to get one snapshot back."""
    rows = [
        _row("full", *pieces(state, contents), how),
        _row("partial", *pieces(state, contents, only=blocks), how),
        _row("incremental", *pieces(state, contents, base=base), how),
    ]
    if mechanism.sharing == "detached":  # a copy elsewhere cannot take the volume's place
        return rows
    if state.redirects:
        parameters = how.device.parameters()
        took = int(parameters.latency[WRITE, 0] + parameters.latency[FLUSH, 0])
        none = Pieces(*np.zeros((3, 0), np.int64))
        return [*rows, {**_row("revert", none, 0, how), "write_ns": took, "duration_ns": took}]
    back, discarded = pieces(state, contents, base=state.now)
    return [*rows, _row("revert", back, discarded, how._replace(target=None, network=0))]


def _row(way: str, parts: Pieces, discarded: int, how: _How) -> dict[str, object]:
    took, (reads, writes) = how.copy(parts), parts.runs()
    return {
        "restore": way,
        "moved_bytes": parts.total,
        "read_extents": reads,
        "write_extents": writes,
        "discarded_bytes": discarded,
        **took._asdict(),
    }


def _frame(rows: list[dict[str, object]]) -> pd.DataFrame:
    names = (
        "taken", "age_ns", "restore", "moved_bytes", "read_extents", "write_extents", "discarded_bytes",
        "read_ns", "write_ns", "duration_ns",
    )  # fmt: skip
    frame = pd.DataFrame({name: [row[name] for row in rows] for name in names})
    frame["taken"] = pd.to_datetime(frame["taken"].astype(np.int64), unit="ns", utc=True).dt.as_unit("ns")
    whole = [name for name in names if name not in {"taken", "restore"}]
    frame = frame.astype({**dict.fromkeys(whole, np.int64), "restore": "str"})
    schema.check_columns(frame.columns)
    return frame


def _instant(trace: Trace, timeline: Timeline, at: object) -> int:
    """Return the index of the newest instant that is not after a moment."""
    if at is None:
        return len(timeline.instants) - 1
    index = int(np.searchsorted(timeline.instants, moment_ns(trace, at), side="right")) - 1
    if index < 0:
        raise UsageError(f"at={at!r} is before the first instant, {_text(int(timeline.instants[0]))}")
    return index


def _base(trace: Trace, taken: Int64Array, base: object) -> int | None:
    if base is None:
        return None
    index = int(np.searchsorted(taken, moment_ns(trace, base), side="right")) - 1
    if index < 0:
        first = f": the oldest is that of {_text(int(taken[0]))}" if len(taken) else ""
        raise UsageError(f"base={base!r}: no snapshot from then or before is kept{first}")
    return index


def _positive(value: int, name: str) -> int:
    if value < 1:
        raise UsageError(f"{name} must be at least 1, but is {value!r}")
    return int(value)


def _assumptions(
    trace: Trace, mechanism: Mechanism, initial: str | tuple[tuple[int, int], ...]
) -> tuple[str, ...]:
    texts = ["A restore is taken to have the devices for itself."]
    texts.append(
        "What was written between two snapshots is taken to lie together, in order of address: real layers "
        "are at least as scattered."
    )
    if initial == "thick":
        texts.append("The whole volume was taken to hold data before the trace began: the upper bound.")
    if initial == "thin":
        texts.append("Nothing was taken to exist before the trace began: the lower bound.")
    if mechanism.sharing == "detached":
        texts.append("Snapshots lie elsewhere: a block of a cold device is fetched at its first read.")
    elif mechanism.family == "redirect-on-write":
        texts.append(
            "A revert is taken to write one block and to flush; what the newer snapshots and the present "
            "held is freed afterwards."
        )
    if trace.start_assumed:
        texts.append("The trace does not say when it began: 2001-01-01T00:00Z was assumed.")
    if not trace.capacity_known:
        texts.append(
            "The trace does not say how large the volume is: it was taken to end where the requests end."
        )
    return tuple(texts)


def _texts(times: "pd.Series[pd.Timestamp]") -> list[str]:
    return [_text(int(time.value)) for time in times]


def _text(time_ns: int) -> str:
    from snapsim.policy.times import format_instant

    return format_instant(time_ns)
