"""`clones`: many overlays on one base image (a classroom, a test farm): growth, and resets of all of them.

What a clone holds of its own is the layer that was written since it was made or reset: with k the instant of
that, BOX((k, T] x (T, inf]) of the lifetime matrix (`snapsim.engine.space`).
"""

import math
from collections import Counter
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
from snapsim.engine.copying import Pieces, copy_time
from snapsim.engine.lifetimes import LifetimeMatrix
from snapsim.engine.metadata import Usage, metadata_bytes
from snapsim.errors import UsageError
from snapsim.mechanisms import Mechanism
from snapsim.mechanisms import mechanism as find_mechanism
from snapsim.planning.lifetimes import Initial, Progress, count_lifetimes
from snapsim.planning.series import matrices
from snapsim.traces.changes import needs_requests
from snapsim.traces.pacing import pace_lines
from snapsim.traces.trace import Trace
from snapsim.types import FLUSH, WRITE, Int64Array
from snapsim.units import SECOND, format_duration, format_size, parse_duration, parse_size

__all__ = ["Clones", "clones"]

_INTERVALS = 200
_MOST_INSTANTS = 100_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Clones:
    """Clones of one base image, over time.

    Attributes
    ----------
    frame : DataFrame
        One row an instant since the first clone was made, after resets: age_ns, clones, overlay_bytes,
        metadata_bytes, largest_bytes, peak_bytes (overlays and tables just before a reset), freed_bytes (by
        it), total_bytes (with the base).
    ways : DataFrame
        One row for each way to keep clones: way ("overlays", "objects", "full copies"), total_bytes (the
        most at any time, with the base), saved_bytes (against full copies), reset_bytes, reset_ns.
    members : DataFrame
        One row for each clone: clone (from 1), trace, age_from_ns (when it was made), overlay_bytes (at the
        end), largest_bytes (at any time).
    mechanism : Mechanism
        How overlays are kept.
    device : Device
        Where they lie.
    base_bytes : int
        Content of the base.  [bytes]
    object_bytes : int
        What is copied up at a time where clones are made of objects.  [bytes]
    reset_ns : int
        From one reset of all clones to the next; 0: none.  [ns]
    time_scales : tuple of float
        Represented time divided by real time, for each trace; 1 where it was not paced.
    assumptions : tuple of str
        What was assumed.
    provenance : Mapping
        Versions, traces, parameters.
    """

    frame: pd.DataFrame
    ways: pd.DataFrame
    members: pd.DataFrame
    mechanism: Mechanism
    device: Device
    base_bytes: int
    object_bytes: int
    reset_ns: int
    time_scales: tuple[float, ...]
    assumptions: tuple[str, ...]
    provenance: Mapping[str, object]

    @property
    def peak(self) -> dict[str, int]:
        """Largest values over time.  [bytes]

        "overlay_bytes" (all, with their tables), "total_bytes" (with the base), "largest_bytes" (one clone).
        """
        most = int(self.frame["peak_bytes"].max())
        return {
            "overlay_bytes": most,
            "total_bytes": most + self.base_bytes,
            "largest_bytes": int(self.members["largest_bytes"].max()),
        }

    def summary(self) -> dict[str, object]:
        """Return the answer as plain values, ready for JSON.

        Returns
        -------
        dict
            mechanism, device, clones, base_bytes, peak, end, resets, freed_bytes, ways and members (a dict
            for each row), time_scales, assumptions, provenance.
        """
        end = self.frame.iloc[-1]
        return {
            "mechanism": self.mechanism.name,
            "device": self.device.name,
            "clones": len(self.members),
            "base_bytes": self.base_bytes,
            "peak": self.peak,
            "end": {name: int(end[name]) for name in ("clones", "overlay_bytes", "total_bytes")},
            "resets": self.resets,
            "freed_bytes": int(self.frame["freed_bytes"].sum()),
            "ways": self.ways.to_dict("records"),
            "members": self.members.to_dict("records"),
            "time_scales": list(self.time_scales),
            "assumptions": list(self.assumptions),
            "provenance": dict(self.provenance),
        }

    @property
    def resets(self) -> int:
        """How often all clones are reset."""
        return int(self.frame["age_ns"].iloc[-1]) // self.reset_ns if self.reset_ns else 0

    def text(self) -> str:
        """Return the answer for people.

        Returns
        -------
        str
            Several lines.
        """
        peak, count = self.peak, len(self.members)
        most, largest = (format_size(peak[name]) for name in ("overlay_bytes", "largest_bytes"))
        end = format_size(int(self.frame["overlay_bytes"].iloc[-1]))
        span = format_duration(int(self.frame["age_ns"].iloc[-1]))
        base = format_size(self.base_bytes)
        lines = [
            f"{count:,} clones of a base of {base} on {self.mechanism.title}, over {span}",
            *pace_lines(self.time_scales),
            f"  overlays            {most} at the peak, {end} at the end; {largest} in one clone at most",
        ]
        if self.reset_ns:
            freed, period = format_size(int(self.frame["freed_bytes"].sum())), format_duration(self.reset_ns)
            lines.append(f"  resets              {self.resets:,}, every {period}: {freed} freed")
        lines.append(f"  {'kept as':<20}{'most space':<14}{'saved':<14}reset of all")
        for row in self.ways.to_dict("records"):
            space, saved = (format_size(row[name]) for name in ("total_bytes", "saved_bytes"))
            copied = f", {format_size(row['reset_bytes'])} copied" if row["reset_bytes"] else ""
            took = format_duration(row["reset_ns"])
            lines.append(f"  {row['way']:<20}{space:<14}{saved:<14}{took}{copied}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        """Show the answer."""
        return self.text()

    def _repr_html_(self) -> str:
        import html

        return f"<pre style='font-family:monospace'>{html.escape(self.text())}</pre>"


class _Clock(NamedTuple):
    """Instants since the first clone was made, in steps."""

    every: int
    stagger: int
    reset: int
    n: int

    def since(self, shift: int, *, before: bool) -> Int64Array:
        """Return at which of its own steps a clone was reset last, at each instant; or before the reset."""
        steps = np.arange(self.n)
        if not self.reset:
            return np.zeros(self.n, np.int64)
        last = np.maximum(-(-steps // self.reset) - 1, 0) if before else steps // self.reset
        return np.maximum(last * self.reset - shift, 0)


class _Sizes(NamedTuple):
    """One clone over time.  [bytes]"""

    data: Int64Array
    tables: Int64Array
    before: Int64Array  # both, before a reset
    objects: Int64Array  # before a reset
    full: Int64Array  # of a full copy that is never reset


def clones(
    traces: Trace | Mapping[str, Trace] | Sequence[Trace],
    count: int,
    *,
    mechanism: str | Path | Mechanism = "qcow2-external",
    device: str | Path | Device = "nvme",
    initial: Initial = "thick",
    stagger: int | str = 0,
    reset: int | str | None = None,
    every: int | str | None = None,
    block_size: int | str | None = None,
    object_size: int | str = "4MiB",
    progress: Progress | None = None,
) -> Clones:
    """Follow many clones of one base image.

    Parameters
    ----------
    traces : Trace, mapping or sequence of them
        What the clones do: one trace for all, or several that are dealt out in turn.  Each begins when its
        clone is made.
    count : int
        Number of clones.
    mechanism : str, path or Mechanism
        How overlays are kept.
    device : str, path or Device
        Where they lie.
    initial : str, path, or extents
        What the base holds: "thick" (the whole volume), or a map; see `count_lifetimes`.
    stagger : int or str
        From one clone to the next ("10min"); 0: all begin at once.
    reset : int or str, optional
        All clones are thrown away and made anew at the multiples of this ("1d"); never by default.
    every : int or str, optional
        Distance of the instants; some 200 of them by default.
    block_size : int or str, optional
        The mechanism's, instead of its default.  [bytes]
    object_size : int or str
        For comparison: clones of objects that are copied up whole at their first write (rbd clone).  [bytes]
    progress : callable, optional
        Called with (requests done, requests in all).

    Returns
    -------
    Clones
        Growth of each and of all, and what resets cost; overlays beside objects and full copies.

    Raises
    ------
    UsageError
        There is no clone, or durations do not fit together.
    MechanismError, DeviceError
        There is no such mechanism or device.

    Examples
    --------
    >>> import snapsim as ss
    >>> pupil = ss.Trace.from_arrays([0, 30], ["write"] * 2, [0, 1 << 20], [65536] * 2, capacity="1GiB")
    >>> room = ss.clones(pupil, 20, every=10, stagger=10)
    >>> room.frame["overlay_bytes"].iloc[-1].item() // 65536
    40
    """
    named = _named(traces)
    for trace in named.values():
        needs_requests(trace, "a clone, which may be made and reset at any moment,")
    if count < 1:
        raise UsageError(f"count must be at least 1, but is {count!r}")
    found, place = find_mechanism(mechanism), find_device(device)
    if found.sharing == "detached":
        raise UsageError(f"{found.title} makes no clones that share a base: each is a full copy")
    objects = parse_size(object_size)
    if objects < 512:
        raise UsageError(f"object_size={object_size!r} is too small for an object")
    clock = _clock(named, count, every=every, stagger=stagger, reset=reset)
    names = list(named)
    alike = Counter((names[number % len(names)], number * clock.stagger) for number in range(count))
    size = found.block_size if block_size is None else parse_size(block_size)
    counted = {
        name: _count(trace, clock, size, initial, progress)
        for name, trace in named.items()
        if any(name == one for one, _ in alike)
    }
    ready = {name: _Volume(matrix, found, objects, named[name].capacity) for name, matrix in counted.items()}
    base = max(int(matrix.live_bytes(0)) for matrix in (volume.data for volume in ready.values()))
    sizes = {key: ready[key[0]].follow(clock, key[1]) for key in alike}
    frame = _frame(clock, alike, sizes, base)
    members = _members(clock, names, count, sizes)
    return Clones(
        frame=frame,
        ways=_ways(frame, alike, sizes, base=base, count=count, device=place),
        members=members,
        mechanism=found,
        device=place,
        base_bytes=base,
        object_bytes=objects,
        reset_ns=clock.reset * clock.every,
        time_scales=tuple(named[name].info.time_scale for name in counted),
        assumptions=_assumptions(named, initial, clock),
        provenance={
            "snapsim": __version__,
            "traces": {name: named[name].fingerprint for name in counted},
            "block_size": size,
            "object_size": objects,
            "every_ns": clock.every,
            "stagger_ns": clock.stagger * clock.every,
            "reset_ns": clock.reset * clock.every,
        },
    )


def _named(traces: object) -> dict[str, Trace]:
    """Return traces of one volume each, by name."""
    if isinstance(traces, Trace):
        one = len(traces.volumes) == 1
        return {name: traces if one else traces.select(volume=name) for name in traces.volumes}
    if isinstance(traces, Mapping):
        named = {str(name): trace for name, trace in traces.items()}
    elif isinstance(traces, Sequence) and not isinstance(traces, str):
        named = {str(number): trace for number, trace in enumerate(traces, start=1)}
    else:
        raise UsageError(f"traces is a {type(traces).__name__}: read one with snapsim.read_trace")
    if not named:
        raise UsageError("clones need at least one trace")
    for name, trace in named.items():
        if not isinstance(trace, Trace):
            raise UsageError(f"trace {name} is a {type(trace).__name__}: read one with snapsim.read_trace")
    return named


def _clock(
    named: Mapping[str, Trace],
    count: int,
    *,
    every: int | str | None,
    stagger: int | str,
    reset: int | str | None,
) -> _Clock:
    apart, period = parse_duration(stagger), 0 if reset is None else parse_duration(reset)
    if reset is not None and period == 0:
        raise UsageError("reset: an interval cannot be zero")
    longest = max(trace.last_ns for trace in named.values()) + 1
    span = longest + apart * (count - 1)
    common = math.gcd(apart, period)
    step = _fitting(common, span) if every is None else parse_duration(every)
    if step < 1:
        raise UsageError("every: an interval cannot be zero")
    for name, value in (("stagger", apart), ("reset", period)):
        if value % step:
            raise UsageError(
                f"{name} of {format_duration(value)} is no multiple of every, {format_duration(step)}: "
                "choose an interval that divides it"
            )
    n = -(-span // step) + 1
    if n > _MOST_INSTANTS:
        raise UsageError(
            f"an interval of {format_duration(step)} gives {n:,} instants over {format_duration(span)}: "
            "choose a longer one"
        )
    return _Clock(step, apart // step, period // step, n)


def _fitting(common: int, span: int) -> int:
    """Return an interval that divides `common`, some 200 of which make up the span.  [ns]"""
    wanted = max(span // _INTERVALS, 1)
    if not common:
        return -(-wanted // SECOND) * SECOND if wanted > 10 * SECOND else wanted
    if common <= wanted:
        return common
    parts = next((parts for parts in range(-(-common // wanted), common + 1) if common % parts == 0), common)
    return common // parts


def _count(
    trace: Trace, clock: _Clock, size: int, initial: Initial, progress: Progress | None
) -> LifetimeMatrix:
    # one more than fits: the last instant is after the last request
    own = trace.start_ns + clock.every * np.arange(-(-(trace.last_ns + 1) // clock.every) + 1, dtype=np.int64)
    return count_lifetimes(trace, instants=own, block_size=size, initial=initial, progress=progress)


class _Volume:
    """One trace, counted for what a clone holds."""

    def __init__(self, lifetimes: LifetimeMatrix, mechanism: Mechanism, objects: int, capacity: int) -> None:
        self.counted = matrices(lifetimes, mechanism)
        self.data = self.counted["data"]
        self.objects = lifetimes.recount(block_size=objects, initial="thin", discard="ignore", zeroes="write")
        self.mechanism, self.capacity, self.block_size = mechanism, capacity, lifetimes.block_size

    def follow(self, clock: _Clock, shift: int) -> _Sizes:
        """Return what a clone holds that is made at a step of the group's clock."""
        now = np.clip(np.arange(clock.n) - shift, 0, self.data.n_instants - 1)
        exists = np.arange(clock.n) >= shift
        data, tables = self._held(clock.since(shift, before=False), now, exists)
        since = clock.since(shift, before=True)
        before = sum(self._held(since, now, exists))
        objects = _layer(self.objects, since, now) * self.objects.block_size
        full = np.where(exists, self.data.live_blocks[now] * self.data.block_size, 0)
        return _Sizes(data, tables, np.asarray(before), objects, full)

    def _held(
        self, since: Int64Array, now: Int64Array, exists: np.ndarray[tuple[int], np.dtype[np.bool_]]
    ) -> tuple[Int64Array, Int64Array]:
        counts = {name: _layer(matrix, since, now) for name, matrix in self.counted.items()}
        usage = Usage(counts=counts, snapshots=1, capacity=self.capacity, block_size=self.block_size)
        tables = metadata_bytes(self.mechanism.metadata.kind, usage, self.mechanism.metadata.parameters)
        return counts["data"] * self.data.block_size, np.where(exists, tables, 0)


def _layer(matrix: LifetimeMatrix, since: Int64Array, now: Int64Array) -> Int64Array:
    """Return what was written since an instant and is still shown.  [blocks]"""
    begin = np.minimum(since, now)
    return matrix.boxes(begin, now, now, matrix.n_instants)


def _frame(
    clock: _Clock, alike: Mapping[tuple[str, int], int], sizes: Mapping[tuple[str, int], _Sizes], base: int
) -> pd.DataFrame:
    steps = np.arange(clock.n, dtype=np.int64)
    data, tables, before = (
        np.sum([many * getattr(sizes[key], name) for key, many in alike.items()], axis=0, dtype=np.int64)
        for name in ("data", "tables", "before")
    )
    there = np.sum([many * (steps >= shift) for (_, shift), many in alike.items()], axis=0, dtype=np.int64)
    largest = np.max([one.data + one.tables for one in sizes.values()], axis=0)
    frame = pd.DataFrame(
        {
            "age_ns": steps * clock.every,
            "clones": there,
            "overlay_bytes": data,
            "metadata_bytes": tables,
            "largest_bytes": largest,
            "peak_bytes": before,
            "freed_bytes": before - data - tables,
            "total_bytes": data + tables + base,
        }
    )
    schema.check_columns(frame.columns)
    return frame


def _ways(
    frame: pd.DataFrame,
    alike: Mapping[tuple[str, int], int],
    sizes: Mapping[tuple[str, int], _Sizes],
    *,
    base: int,
    count: int,
    device: Device,
) -> pd.DataFrame:
    """Compare the ways to keep clones."""
    parameters = device.parameters()
    swap = count * int(parameters.latency[WRITE, 0] + parameters.latency[FLUSH, 0])
    objects, copies = (
        int(np.sum([many * getattr(sizes[key], name) for key, many in alike.items()], axis=0).max())
        for name in ("objects", "full")
    )
    one = Pieces(np.array([0]), np.array([0]), np.array([max(base, 1)]))
    copied = count * copy_time(one, parameters).duration_ns
    rows = [
        ("overlays", base + int(frame["peak_bytes"].max()), 0, swap),
        ("objects", base + objects, 0, swap),
        ("full copies", copies, count * base, copied),
    ]
    ways = pd.DataFrame(
        [
            {
                "way": way,
                "total_bytes": total,
                "saved_bytes": copies - total,
                "reset_bytes": moved,
                "reset_ns": took,
            }
            for way, total, moved, took in rows
        ]
    )
    schema.check_columns(ways.columns)
    return ways


def _members(
    clock: _Clock, names: Sequence[str], count: int, sizes: Mapping[tuple[str, int], _Sizes]
) -> pd.DataFrame:
    rows = []
    for number in range(count):
        name, shift = names[number % len(names)], number * clock.stagger
        one = sizes[name, shift]
        rows.append(
            {
                "clone": number + 1,
                "trace": name,
                "age_from_ns": shift * clock.every,
                "overlay_bytes": int(one.data[-1]),
                "largest_bytes": int(one.before.max()),
            }
        )
    frame = pd.DataFrame(rows)
    schema.check_columns(frame.columns)
    return frame


def _assumptions(named: Mapping[str, Trace], initial: Initial, clock: _Clock) -> tuple[str, ...]:
    texts = ["All clones share one base, which never changes."]
    if isinstance(initial, str) and initial == "thick":
        texts.append("The base holds data everywhere: what full copies take is the upper bound.")
    if clock.reset:
        texts.append("After a reset a clone goes on with its trace as if it had not been reset.")
        texts.append("Full copies are counted as if they were never reset: the upper bound.")
    if any(not trace.capacity_known for trace in named.values()):
        texts.append(
            "The trace does not say how large the volume is: it was taken to end where the requests end."
        )
    texts.append("When its trace ends, a clone does nothing more: no trace is repeated.")
    return tuple(texts)
