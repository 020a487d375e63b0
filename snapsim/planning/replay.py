"""`replay`: what snapshots cost the guest, request by request."""

import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from snapsim._version import __version__
from snapsim.devices import Device
from snapsim.devices import device as find_device
from snapsim.engine.histogram import Histogram
from snapsim.engine.queueing import Load
from snapsim.engine.replay import Replay
from snapsim.errors import UsageError
from snapsim.mechanisms import Mechanism
from snapsim.mechanisms import mechanism as find_mechanism
from snapsim.planning.coverage import Coverage, coverage
from snapsim.planning.lifetimes import Initial, initial_of
from snapsim.planning.read_first import read_first_map
from snapsim.planning.replay_device import Pace, SharedDevice
from snapsim.planning.replay_drive import BATCH, Drive
from snapsim.planning.replay_frames import bursts_frame, intervals_frame, operations_frame
from snapsim.planning.replay_tallies import Bursts, Intervals, Latencies
from snapsim.planning.replay_text import assumptions_of, summary_of, text_of
from snapsim.policy.timeline import Timeline
from snapsim.traces.changes import needs_requests
from snapsim.traces.trace import Trace
from snapsim.units import DAY, HOUR, MILLISECOND, MINUTE, SECOND, format_duration, parse_duration, parse_size

__all__ = ["Replayed", "replay"]

_INTERVALS = 200  # that a replay has about, unless said
_MOST_INTERVALS = 200_000
_NICE = (
    *(n * unit for unit in (MILLISECOND, 10 * MILLISECOND, 100 * MILLISECOND) for n in (1, 2, 5)),
    *(n * unit for unit in (SECOND, MINUTE) for n in (1, 2, 5, 10, 15, 20, 30)),
    *(n * HOUR for n in (1, 2, 3, 6, 12)),
    *(n * DAY for n in (1, 2, 7, 14, 28)),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Replayed:
    """What snapshots cost the guest.

    Attributes
    ----------
    frame : DataFrame
        One row an interval; columns as `snapsim.schema` registers them.
    operations : DataFrame
        One row for each snapshot that is taken or deleted.
    bursts : DataFrame
        Requests by the age that the newest snapshot has when they come: a row for each bin of ages.
    latencies : Mapping of str to Histogram
        "read", "write" and "all", from arrival to finish; empty without a device.  [ns]
    load : Load or None
        How hard the device has to work.
    mechanism : Mechanism
        How the system keeps snapshots.
    device : Device or None
        Where it happens.
    timeline : Timeline
        Which snapshots exist when.
    coverage : Coverage
        How far the trace covers the policy.
    block_size : int
        The mechanism's block size.  [bytes]
    version_bytes : int
        Versions are kept of so much: of a block, or of a part of one (subclusters).  [bytes]
    interval_ns : int
        Length of the intervals.  [ns]
    layers_per_read : float or None
        Layers that a block is looked for in, mean over all that is read; None where nothing is.
    assumptions : tuple of str
        What was assumed, and what the answer leaves out.
    provenance : Mapping
        Versions, trace, parameters.
    baseline : Replayed or None
        The same without any snapshot, where it was asked for.
    """

    layers_per_read: float | None
    frame: pd.DataFrame
    operations: pd.DataFrame
    bursts: pd.DataFrame
    latencies: Mapping[str, Histogram]
    load: Load | None
    mechanism: Mechanism
    device: Device | None
    timeline: Timeline
    coverage: Coverage
    block_size: int
    version_bytes: int
    interval_ns: int
    assumptions: tuple[str, ...]
    provenance: Mapping[str, object]
    baseline: "Replayed | None" = None

    def summary(self) -> dict[str, object]:
        """Return the answer as plain values, ready for JSON.

        Returns
        -------
        dict
            mechanism, device, policy, block_size, interval_ns, totals, ratios, operations, bursts, latency,
            load, coverage, assumptions, provenance; baseline, where it was asked for.
        """
        return {
            **summary_of(self),
            "coverage": asdict(self.coverage),
            "assumptions": list(self.assumptions),
            "provenance": dict(self.provenance),
            **({} if self.baseline is None else {"baseline": summary_of(self.baseline)}),
        }

    def text(self) -> str:
        """Return the answer for people.

        Returns
        -------
        str
            Several lines.
        """
        return text_of(self)

    def __repr__(self) -> str:
        """Show the answer."""
        return self.text()

    def _repr_html_(self) -> str:
        import html

        return f"<pre style='font-family:monospace'>{html.escape(self.text())}</pre>"


def replay(
    trace: Trace,
    timeline: Timeline,
    mechanism: str | Path | Mechanism = "qcow2-external",
    device: str | Path | Device | None = "nvme",
    *,
    initial: Initial = "thick",
    block_size: int | str | None = None,
    interval: int | str | None = None,
    cache_bytes: int | str | None = None,
    cache_entry_bytes: int | str | None = None,
    merge: Literal["commit", "stream"] = "commit",
    merge_speed: int | str = "64MiB",
    loop: Literal["open", "closed"] = "open",
    baseline: bool = False,
    batch: int = BATCH,
    progress: Callable[[int, int | None], None] | None = None,
) -> Replayed:
    """Carry a trace's requests out on a chain of snapshots and a device, and say what each costs.

    A snapshot that is taken at an instant shows what requests before that instant wrote.  While it is taken,
    the guest waits; deletions run in the background and compete with the guest for the device.

    Parameters
    ----------
    trace : Trace
        Of one volume.
    timeline : Timeline
        Which snapshots exist when: `policy.timeline(instants)`, or what `run_policy` returned.
    mechanism : str, path or Mechanism
        How the system keeps snapshots.
    device : str, path, Device or None
        Where it happens; None: I/O is counted, and there are no latencies.
    initial : str, path, or extents
        What exists before the trace, as `count_lifetimes` takes it; "read-first" takes a pass over the trace
        of its own.
    block_size : int or str, optional
        The mechanism's block size, instead of its default.  [bytes]
    interval : int or str, optional
        Length of the intervals of the answer ("1h"); chosen so that there are about 200 unless said.  [ns]
    cache_bytes, cache_entry_bytes : int or str, optional
        Size of the cache of tables (of each layer, where layers are files), and of what is read into it at a
        time, instead of the mechanism's.  [bytes]
    merge : {"commit", "stream"}
        Where layers are files: a deletion copies the layer above down, or the layer itself up.
    merge_speed : int or str
        Merges copy as much in a second, one after the other ("64MiB").  [bytes]
    loop : {"open", "closed"}
        "open": requests come when the trace says.
    baseline : bool
        Replay the trace once more without any snapshot, so that the answer says what snapshots add.
    batch : int
        Requests that are read at a time; changes nothing but memory.
    progress : callable, optional
        Called with (requests done, requests in all).

    Returns
    -------
    Replayed
        The answer, with its coverage verdict and its assumptions.

    Raises
    ------
    UsageError
        The parameters make no sense together.
    MechanismError
        The mechanism is unknown or does not have the block size.
    DeviceError
        The device is unknown.
    VolumeSelectionError
        The trace has several volumes: select one.

    Examples
    --------
    >>> import snapsim as ss
    >>> trace = ss.Trace.from_arrays(
    ...     [10, 30, 50], ["write"] * 3, [0] * 3, [4096] * 3, capacity="1MiB", start=0
    ... )
    >>> timeline = ss.Policy(schedule="20ns", keep_last=2).timeline([20, 40, 60])
    >>> answer = ss.replay(trace, timeline, "qcow2-external", None, interval="20ns")
    >>> answer.frame["guest_written_bytes"].tolist()
    [4096, 4096, 4096, 0]
    """
    found = find_mechanism(mechanism)
    where = None if device is None else find_device(device)
    needs_requests(trace, "a replay")
    _check(trace, timeline, merge=merge, loop=loop)
    size = found.block_size if block_size is None else parse_size(block_size)
    need = found.matrices(size)[0]
    existed = need.initial or initial_of(initial)
    told = existed
    if existed == "read-first":
        existed = read_first_map(trace, block_size=need.block_size)
    speed = parse_size(merge_speed)
    if speed == 0:
        raise UsageError(
            "merge_speed is 0, so that no merge would ever end: give bytes a second, such as 64MiB"
        )
    last = max(trace.last_ns, _last_event(timeline) - trace.start_ns)
    first = trace.last_ns - trace.span_ns
    if len(timeline):
        first = min(first, int(timeline.instants[timeline.created[0]]) - trace.start_ns)
    length = _length(interval, span_ns=last - first)
    intervals, bursts = Intervals(length, start_ns=trace.start_ns, first_ns=first), Bursts()
    intervals.put(int(intervals.place(np.array([last]))[0]), requests=0)
    latencies = Latencies(intervals, bursts)
    parameters = None if where is None else where.parameters()
    chain = Replay.of(
        found,
        capacity=trace.capacity,
        capacity_known=trace.capacity_known,
        initial=existed,
        block_size=size,
        cache_bytes=None if cache_bytes is None else parse_size(cache_bytes),
        cache_entry_bytes=None if cache_entry_bytes is None else parse_size(cache_entry_bytes),
    )
    drive = Drive(
        chain=chain,
        block_size=need.block_size,
        device=None if parameters is None else SharedDevice(parameters, latencies, first_ns=first),
        parameters=parameters,
        intervals=intervals,
        bursts=bursts,
        latencies=latencies,
        merge=merge,
        pace=Pace(speed),
    )
    drive.run(trace, timeline, rows=batch, progress=share(progress, 0, 1 + baseline))
    plain = None
    if baseline:
        plain = replay(
            trace,
            _without_snapshots(timeline),
            found,
            where,
            initial=initial,
            block_size=size,
            interval=length,
            cache_bytes=cache_bytes,
            cache_entry_bytes=cache_entry_bytes,
            merge=merge,
            merge_speed=speed,
            batch=batch,
            progress=share(progress, 1, 2),
        )
    load = None if drive.device is None else drive.device.load(limits_ns=int(intervals["limits_ns"].sum()))
    channels = 0 if parameters is None else parameters.channels
    span = max(trace.start_ns + trace.last_ns - max(trace.start_ns, int(timeline.instants[0])), 0)
    blocks = int(intervals["block_reads"].sum())
    return Replayed(
        layers_per_read=int(intervals["lookups"].sum()) / blocks if blocks else None,
        frame=intervals_frame(intervals, channels=channels),
        operations=operations_frame(drive.operations, start_ns=trace.start_ns),
        bursts=bursts_frame(bursts),
        latencies={} if where is None else latencies.whole,
        load=load,
        mechanism=found,
        device=where,
        timeline=timeline,
        coverage=coverage(timeline, trace_span_ns=span, time_scale=trace.info.time_scale),
        block_size=size,
        version_bytes=need.block_size,
        interval_ns=length,
        assumptions=assumptions_of(
            trace, timeline, found, where, initial=told, merge=merge, merge_speed=speed
        ),
        provenance=_provenance(
            trace, timeline, found, where,
            parameters={
                "block_size": size,
                "initial": told if isinstance(told, str) else f"map of {len(told)} extents",
                "interval_ns": length,
                "cache_bytes": cache_bytes,
                "cache_entry_bytes": cache_entry_bytes,
                "merge": merge,
                "merge_speed": speed,
                "loop": loop,
            },
        ),
        baseline=plain,
    )  # fmt: skip


def share(
    progress: Callable[[int, int | None], None] | None, number: int, count: int
) -> Callable[[int, int | None], None] | None:
    """Return a progress for one of several runs that counts all of them as one."""
    if progress is None:
        return None

    def step(done: int, total: int | None) -> None:
        progress(done + number * (total or 0), None if total is None else total * count)

    return step


def _without_snapshots(timeline: Timeline) -> Timeline:
    none = np.empty(0, np.int64)
    taken = timeline.taken._replace(created=none, asked=timeline.taken.asked[:0])
    return replace(timeline, created=none, deleted=none, taken=taken, verdicts=None, told=None, agenda=None)


def _check(trace: object, timeline: object, *, merge: str, loop: str) -> None:
    if not isinstance(trace, Trace):
        raise UsageError(f"trace is a {type(trace).__name__}: read one with snapsim.read_trace")
    if not isinstance(timeline, Timeline):
        raise UsageError(
            f"timeline is a {type(timeline).__name__}: make one with policy.timeline(instants) or "
            "snapsim.run_policy"
        )
    if merge not in {"commit", "stream"}:
        raise UsageError(f"merge={merge!r} is none of commit, stream")
    if loop not in {"open", "closed"}:
        raise UsageError(f"loop={loop!r} is none of open, closed")
    if loop == "closed":
        raise UsageError(
            'loop="closed" is not there yet for a replay, which takes the times of the trace as they are; '
            "snapsim.engine.queueing.serve has closed loops for requests without snapshots"
        )
    trace.capacity  # noqa: B018  refuses several volumes before anything is counted
    if not len(trace):
        raise UsageError("the trace holds no requests, so that there is nothing to replay")


def _last_event(timeline: Timeline) -> int:
    """Return when something last happens to a snapshot; far in the past if nothing does."""
    n = len(timeline.instants)
    happening = np.concatenate((timeline.created, timeline.deleted[timeline.deleted < n]))
    return int(timeline.instants[happening.max()]) if len(happening) else -(1 << 62)


def _length(interval: int | str | None, *, span_ns: int) -> int:
    """Return the length of the intervals."""
    if interval is None:
        wanted = span_ns // _INTERVALS
        return next((length for length in _NICE if length >= wanted), -(-wanted // DAY) * DAY)
    length = parse_duration(interval)
    if length == 0:
        raise UsageError("an interval cannot be zero")
    if span_ns // length >= _MOST_INTERVALS:
        raise UsageError(
            f"interval={format_duration(length)} gives {span_ns // length:,} intervals over "
            f"{format_duration(span_ns)}, and more than {_MOST_INTERVALS:,} are not kept: choose a longer one"
        )
    return length


def _provenance(
    trace: Trace,
    timeline: Timeline,
    mechanism: Mechanism,
    device: Device | None,
    *,
    parameters: Mapping[str, Any],
) -> dict[str, object]:
    return {
        "snapsim": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "numba", "pandas")},
        "trace": {
            "source": trace.info.source,
            "format": trace.info.format,
            "volume": trace.volumes[0],
            "fingerprint": trace.fingerprint,
            "requests": len(trace),
            "span_ns": trace.span_ns,
            "capacity": trace.capacity,
            "time_scale": trace.info.time_scale,
        },
        "start_assumed": trace.start_assumed,
        "capacity_known": trace.capacity_known,
        "mechanism": {"name": mechanism.name, **mechanism.options()},
        "device": None if device is None else device.document(),
        "policy": timeline.policy.to_toml(),
        "replay": dict(parameters),
    }
