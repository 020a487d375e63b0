"""Several answers side by side: mechanisms, policies, or the volumes of a group and their sum."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba

from snapsim.errors import UsageError
from snapsim.schema import QUANTITIES
from snapsim.units import format_duration, format_size
from snapsim.viz.changes import nanoseconds
from snapsim.viz.figure import Figure
from snapsim.viz.labels import EndLabel, key_above, label_ends
from snapsim.viz.lifetimes import instants_scale
from snapsim.viz.scales import ByteScale, TimeScale
from snapsim.viz.space import verdict
from snapsim.viz.style import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SERIES,
    VERMILLION,
    Series,
    new_figure,
    style,
)

if TYPE_CHECKING:
    from snapsim.planning.growth import Growth

# In the order given: neighbours differ in colour, dash and marker.
LOOKS = (
    Series(BLUE, "-", "o"),
    Series(VERMILLION, "--", "^"),
    Series(GREEN, "-.", "s"),
    Series(PURPLE, "-", "D"),
    Series(BLACK, ":", "v"),
    Series(ORANGE, "--", "P"),
)
_PARTS = ("snapshot_bytes", "metadata_bytes", "memory_bytes")
_HEADROOM = 1.1
_MARKERS = 8


def growth_comparison(growths: "Mapping[str, Growth]") -> Figure:
    """Draw the space that the snapshot data of several answers has to find, over time.

    Parameters
    ----------
    growths : mapping of str to Growth
        At most six answers by the name that is written beside their line.

    Returns
    -------
    Figure
        One line each: the most snapshot data since the instant before, so that prunes and merges count; a
        mark at its peak.

    Raises
    ------
    UsageError
        There is no answer, or there are more than six.
    """
    _require(growths, at_most=len(LOOKS))
    starts, stops = ([int(growth.timeline.instants[end]) for growth in growths.values()] for end in (0, -1))
    assumed = any(growth.provenance.get("start_assumed", False) for growth in growths.values())
    scale = instants_scale(np.array([min(starts), max(stops)]), known=not assumed)
    peaks = {name: growth.peak["snapshot_bytes"] for name, growth in growths.items()}
    unit = ByteScale.fitting(max(peaks.values()))
    with style():
        fig = new_figure(figsize=(8.0, 4.2))
        axes = fig.subplots()
        axes.set(xlim=scale.limits, ylim=(0, _HEADROOM * max(*peaks.values(), 1) / unit.size))
        ends = [
            _draw(axes, growth.frame, look, scale, unit)._replace(text=name)
            for (name, growth), look in zip(growths.items(), LOOKS, strict=False)
        ]
        scale.apply(axes)
        axes.set_ylabel(f"{QUANTITIES['snapshot_bytes'].label} [{unit.unit}]")
        label_ends(axes, ends)
    facts = ", ".join(f"{name} {format_size(peak)}" for name, peak in peaks.items())
    span, coverage = format_duration(max(stops) - min(starts)), _verdicts(growths)
    return Figure(
        fig,
        caption=(
            "Snapshot data compared: the most that is held at any moment since the instant before, with "
            f"snapshots about to be pruned and merges under way. Peaks, marked: {facts}. {coverage}"
        ),
        alt=f"{len(growths)} lines of snapshot data over {span}; peaks: {facts}. {coverage}",
        text=f"Figure growth comparison: {len(growths)} series, 0-{span}, peaks: {facts}. {coverage}",
    )


def peak_comparison(growths: "Mapping[str, Growth]") -> Figure:
    """Draw what the snapshots of several answers take when their data is at its peak.

    Parameters
    ----------
    growths : mapping of str to Growth
        Answers by the name that is written beside their bar.

    Returns
    -------
    Figure
        One bar each: snapshot data at its transient peak, and the metadata and memory images beside it
        then.

    Raises
    ------
    UsageError
        There is no answer.
    """
    _require(growths)
    parts = {name: _at_peak(growth) for name, growth in growths.items()}
    shown = [part for part in _PARTS if part == _PARTS[0] or any(sizes[part] for sizes in parts.values())]
    rows = [f"{name} ({format_size(growth.block_size)} blocks)" for name, growth in growths.items()]
    with style():
        fig = new_figure(figsize=(8.0, 1.1 + 0.5 * len(rows)))
        axes = fig.subplots()
        _draw_bars(axes, {part: [sizes[part] for sizes in parts.values()] for part in shown})
        axes.set_yticks(range(len(rows)), [row.replace(" (", "\n(") for row in rows])
    facts = "; ".join(
        f"{row} {_sum(sizes, named=True)}" for row, sizes in zip(rows, parts.values(), strict=True)
    )
    coverage = _verdicts(growths)
    return Figure(
        fig,
        caption=(
            "Peaks compared: snapshot data at its transient peak, and what else the snapshots take then. "
            f"{coverage}"
        ),
        alt=f"{len(rows)} bars: {facts}. {coverage}",
        text=f"Figure peak comparison: {len(rows)} bars: {facts}. {coverage}",
    )


def _draw_bars(axes: Axes, parts: dict[str, list[int]]) -> None:
    """Draw a bar for each answer, its parts end to end, its sizes beside it."""
    totals = np.sum(list(parts.values()), axis=0)
    rows = np.arange(len(totals))
    unit = ByteScale.fitting(int(totals.max()))
    axes.set(xlim=(0, 1.3 * max(float(unit.values(totals).max()), 1e-9)), ylim=(len(rows) - 0.4, -0.6))
    left = np.zeros(len(rows))
    keys: list[tuple[Artist, str]] = []
    for name, sizes in parts.items():
        color, _, _, hatch = SERIES[name]
        bars = axes.barh(
            rows, unit.values(sizes), left=left, height=0.6,
            facecolor=to_rgba(color, 0.35), edgecolor=color, hatch=hatch, linewidth=0.8,
        )  # fmt: skip
        bars.patches[0].set_label(QUANTITIES[name].label)
        keys.append((bars.patches[0], color))
        left += unit.values(sizes)
    for row in rows.tolist():
        text = _sum({name: sizes[row] for name, sizes in parts.items()})
        axes.annotate(
            text, xy=(left[row], row), xytext=(5, 0), textcoords="offset points", va="center", fontsize=9.5
        )
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"Space at the peak of the snapshot data [{unit.unit}]")
    if len(keys) > 1:
        key_above(axes, keys)


def _sum(sizes: dict[str, int], *, named: bool = False) -> str:
    """Write the parts of a bar as a sum: "1 GiB + 7 MiB"."""
    parts = [
        f"{format_size(size)}{f' {QUANTITIES[name].label.lower()}' * named}"
        for name, size in sizes.items()
        if size or name == _PARTS[0]
    ]
    return " + ".join(parts)


def _draw(axes: Axes, frame: pd.DataFrame, look: Series, scale: TimeScale, unit: ByteScale) -> EndLabel:
    x, held = scale.values(nanoseconds(frame["time"])), unit.values(frame["peak_bytes"].to_numpy(np.int64))
    at, every = int(np.argmax(held)), max(len(x) // _MARKERS, 1)
    axes.plot(
        x, held, color=look.color, linestyle=look.dash, marker=look.marker, linewidth=1.4, markevery=every
    )
    axes.plot(
        [x[at]], [held[at]], color=look.color, marker=look.marker, markersize=10, fillstyle="none",
        markeredgewidth=1.6, linestyle="none", clip_on=False,
    )  # fmt: skip
    return EndLabel(float(held[-1]), "", look.color)


def _at_peak(growth: "Growth") -> dict[str, int]:
    frame = growth.frame
    row = frame.iloc[int(np.argmax(frame["peak_bytes"].to_numpy()))]
    return {name: int(row["peak_bytes" if name == "snapshot_bytes" else name]) for name in _PARTS}


def _verdicts(growths: "Mapping[str, Growth]") -> str:
    """Return the coverage verdicts; said once where all are the same."""
    said = {name: verdict(growth) for name, growth in growths.items()}
    once = set(said.values())
    return once.pop() if len(once) == 1 else " ".join(f"{name}: {text}" for name, text in said.items())


def _require(growths: "Mapping[str, Growth]", *, at_most: int | None = None) -> None:
    if not growths:
        raise UsageError("there is nothing to compare: give at least one answer")
    if at_most is not None and len(growths) > at_most:
        raise UsageError(
            f"{len(growths)} lines cannot be told apart: compare at most {at_most}, or use peak_comparison"
        )
