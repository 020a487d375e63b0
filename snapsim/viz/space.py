"""What snapshots take: over time, and each of them at the end."""

import math
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter

from snapsim.errors import UsageError
from snapsim.schema import QUANTITIES
from snapsim.types import Int64Array
from snapsim.units import format_duration, format_size
from snapsim.viz.changes import nanoseconds
from snapsim.viz.figure import Figure
from snapsim.viz.labels import EndLabel, key_above, label_ends, label_peak
from snapsim.viz.lifetimes import instants_scale
from snapsim.viz.scales import ByteScale, FloatArray, TimeScale, label_sizes
from snapsim.viz.style import SERIES, new_figure, style

if TYPE_CHECKING:
    from snapsim.planning.growth import Growth

_PARTS = ("snapshot_bytes", "metadata_bytes", "memory_bytes")
_BOUNDS = ("lower_bytes", "upper_bytes")
_BAND = "#999999"
_HEADROOM = 1.18  # for the name of the peak
_MARKERS = 8
_MAX_AGES = 14


def storage_growth(growth: "Growth", *, live: bool = False) -> Figure:
    """Draw what the snapshots of a policy take over time.

    Parameters
    ----------
    growth : Growth
        The answer.
    live : bool
        Whether the volume's own data is drawn below; it is usually much larger than what snapshots take.

    Returns
    -------
    Figure
        Snapshot data, metadata and memory images on top of each other; the bounds that follow from what may
        have existed before the trace; the transient peak of the snapshot data, before prunes and during
        merges; the coverage verdict in the caption.
    """
    names = ("live_bytes", *_PARTS, *_BOUNDS, "peak_bytes")
    sizes = {name: growth.frame[name].to_numpy(np.int64) for name in names}
    times = nanoseconds(growth.frame["time"])
    stack = [name for name in _PARTS if sizes[name].any() or name == "snapshot_bytes"]
    if live:
        stack = ["live_bytes", *stack]
    ground = sizes["live_bytes"] if live else np.zeros_like(sizes["live_bytes"])
    transient, lower, upper = (ground + sizes[name] for name in ("peak_bytes", *_BOUNDS))
    tops = np.cumsum([sizes[name] for name in stack], axis=0)
    top = int(max(transient.max(), upper.max(), tops.max()))
    at = int(np.argmax(sizes["peak_bytes"]))
    peak, after = format_size(int(sizes["peak_bytes"][at])), format_duration(int(times[at] - times[0]))

    scale, unit = _scale(growth), ByteScale.fitting(top)
    x = scale.values(times)
    with style():
        fig = new_figure(figsize=(8.0, 4.4))
        axes = fig.subplots()
        axes.set(xlim=scale.limits, ylim=(0, max(_HEADROOM * top, 1) / unit.size))
        keys = _draw_bounds(axes, x, unit.values(lower), unit.values(upper))
        keys.append(_draw_peaks(axes, x, unit.values(transient)))
        ends = _draw_stack(axes, x, dict(zip(stack, unit.values(tops), strict=True)))
        name = f"peak {peak} of snapshot data"
        color = SERIES["peak_bytes"].color
        label_peak(axes, float(x[at]), float(unit.values(transient[at])), name, color=color)
        scale.apply(axes)
        axes.set_ylabel(f"Space [{unit.unit}]")
        key_above(axes, keys)
        label_ends(axes, ends)

    span = format_duration(int(times[-1] - times[0]))
    coverage = verdict(growth)
    low, high = (int(sizes[name].max()) for name in _BOUNDS)
    bounded = bool((lower != upper).any())
    if low < high:
        existed = (
            f"By what existed before the trace, snapshot data is {format_size(low)} to {format_size(high)}"
        )
        coverage += f" {existed} at most after prunes."
    at_end = ", ".join(f"{QUANTITIES[name].label.lower()} {format_size(sizes[name][-1])}" for name in stack)
    return Figure(
        fig,
        caption=(
            f"Storage growth: {describe(growth)}. Peak {peak} after {after}. {coverage} "
            "Dashed: the most snapshot data at any moment since the instant before, with snapshots about to "
            "be pruned and merges under way."
        ),
        alt=f"Space over {span}: peak {peak} after {after}; at the end {at_end}. {coverage}",
        text=(
            f"Figure storage growth: {len(stack) + 1 + 2 * bounded} series, 0-{span}, "
            f"peak {peak} after {after}. {verdict(growth)}"
        ),
    )


def snapshot_sizes(growth: "Growth") -> Figure:
    """Draw what each snapshot holds that is kept at the end.

    Parameters
    ----------
    growth : Growth
        The answer.

    Returns
    -------
    Figure
        From the oldest snapshot to the newest: what deleting it alone would free, and what changed since the
        one before it.

    Raises
    ------
    UsageError
        No snapshot is kept at the end.
    """
    frame = growth.snapshots
    if frame.empty:
        raise UsageError("no snapshot is kept at the end, so there are no sizes to draw")
    exclusive, written = (frame[name].to_numpy(np.int64) for name in ("exclusive_bytes", "written_bytes"))
    ages = [_age(age) for age in frame["age_ns"].tolist()]
    with style():
        fig = new_figure(figsize=(8.0, 3.8))
        axes = fig.subplots()
        _draw_sizes(axes, {"written_bytes": written, "exclusive_bytes": exclusive})
        shown = range(len(ages) - 1, -1, -math.ceil(len(ages) / _MAX_AGES))
        axes.xaxis.set_major_locator(FixedLocator(list(shown)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda rank, _: ages[round(rank)]))
        axes.set_xlabel("Age of the snapshot")
        axes.set_ylabel("Size")
    facts = (
        f"{len(ages):,} snapshots, {format_size(int(exclusive.sum()))} held by one snapshot alone, "
        f"at most {format_size(int(exclusive.max()))} by one"
    )
    return Figure(
        fig,
        caption=(
            f"Snapshots kept at the end, oldest first: {describe(growth)}. Exclusive is what deleting that "
            "snapshot alone would free; written is what changed since the kept snapshot before it. "
            "What neighbours share is in no exclusive size. The axis of sizes is logarithmic."
        ),
        alt=f"Two stepped lines over the snapshots, from {ages[0]} old to {ages[-1]} old: {facts}.",
        text=f"Figure snapshot sizes: 2 series, {facts}",
    )


def verdict(growth: "Growth") -> str:
    """Return the coverage verdict as a sentence: no peak is shown without it."""
    return f"{growth.coverage.verdict.rstrip('.')}."


def describe(growth: "Growth") -> str:
    """Say which policy on which mechanism."""
    group = f", {len(growth.members)} volumes" if growth.members else ""
    return f"{growth.timeline.policy.describe()} on {growth.mechanism.title}{group}"


def _scale(growth: "Growth") -> TimeScale:
    return instants_scale(growth.timeline.instants, known=not growth.provenance.get("start_assumed", False))


def _draw_stack(axes: Axes, x: FloatArray, tops: dict[str, FloatArray]) -> list[EndLabel]:
    ends = []
    floor = np.zeros(len(x))
    every = max(len(x) // _MARKERS, 1)
    for name, top in tops.items():
        color, dash, marker, hatch = SERIES[name]
        axes.fill_between(x, floor, top, color=color, alpha=0.3, hatch=hatch, linewidth=0)
        axes.plot(x, top, color=color, linestyle=dash, marker=marker, markevery=every)
        ends.append(EndLabel(float(floor[-1] + top[-1]) / 2, QUANTITIES[name].label, color))
        floor = top
    return ends


def _draw_bounds(axes: Axes, x: FloatArray, lower: FloatArray, upper: FloatArray) -> list[tuple[Artist, str]]:
    if np.array_equal(lower, upper):
        return []
    band = axes.fill_between(
        x, lower, upper, facecolor="none", edgecolor=_BAND, hatch="....", linewidth=0.8,
        label="snapshot data: lower to upper bound",
    )  # fmt: skip
    return [(band, _BAND)]


def _draw_peaks(axes: Axes, x: FloatArray, peaks: FloatArray) -> tuple[Artist, str]:
    color, dash, *_ = SERIES["peak_bytes"]
    name = "before prunes, during merges"
    (line,) = axes.plot(x, peaks, color=color, linestyle=dash, linewidth=1.0, label=name)
    return line, color


def _draw_sizes(axes: Axes, sizes: dict[str, Int64Array]) -> None:
    every = np.concatenate(list(sizes.values()))
    filled = every[every > 0]
    low, high = (float(filled.min()) / 2, float(filled.max()) * 2) if len(filled) else (0.5, 2.0)
    edges = np.arange(len(next(iter(sizes.values()))) + 1) - 0.5
    keys = []
    for name, values in sizes.items():
        color, dash, *_ = SERIES[name]
        if name == "exclusive_bytes":
            axes.stairs(values, edges, baseline=low, fill=True, color=color, alpha=0.35)
        text = QUANTITIES[name].label.lower()
        line = axes.stairs(
            values, edges, baseline=low, color=color, linestyle=dash, linewidth=1.4, label=text
        )
        keys.append((line, color))
    axes.set(xlim=(edges[0], edges[-1]), yscale="log", ylim=(low, high))
    axes.grid(visible=False, axis="x")
    label_sizes(axes.yaxis, low, high)
    key_above(axes, keys)


def _age(age_ns: int) -> str:
    return format_duration(age_ns, digits=2) if age_ns else "0"
