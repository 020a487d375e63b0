"""What figures of a replay share: their time axis, the strip of operations, and what their captions say."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure as MplFigure
from matplotlib.patches import Patch

from snapsim.errors import UsageError
from snapsim.units import format_duration, format_size
from snapsim.viz.changes import nanoseconds
from snapsim.viz.scales import FloatArray, TimeScale
from snapsim.viz.style import BLACK, BLUE, GREY, ORANGE, VERMILLION, Series, new_figure

if TYPE_CHECKING:
    from snapsim.planning.replay import Replayed

PERCENTILES: dict[str, tuple[float, str, Series, float]] = {
    "latency_p50_ns": (50.0, "p50", Series(BLUE, "-", "o"), 2.2),
    "latency_p95_ns": (95.0, "p95", Series(ORANGE, "-", "s"), 1.0),
    "latency_p99_ns": (99.0, "p99", Series(VERMILLION, "--", "^"), 1.3),
    "latency_p999_ns": (99.9, "p99.9", Series(BLACK, ":", "D"), 1.3),
}
"""By column: per cent, name, look, line width; told apart by width, dash and marker, not by colour alone."""

SATURATED = "saturated: more comes than the device can do"
_ROOM = 1.5  # beyond the least and the largest value of a logarithmic axis
_STRIP = 0.5  # inches


def intervals(replayed: "Replayed") -> pd.DataFrame:
    """Return the frame of a replay, or refuse one without intervals."""
    if replayed.frame.empty:
        raise UsageError("this replay holds no interval, so there is nothing to draw")
    return replayed.frame


def require_device(replayed: "Replayed") -> None:
    """Refuse a replay without latencies."""
    if replayed.device is None:
        raise UsageError("this replay has no device, so it has no latencies: give `device` to snapsim.replay")


def time_axis(replayed: "Replayed") -> tuple[TimeScale, FloatArray]:
    """Return the time axis of a replay, and the edges of its intervals on it."""
    times = nanoseconds(replayed.frame["time"])
    ends = np.append(times, times[-1] + replayed.interval_ns)
    known = not replayed.provenance.get("start_assumed", False)
    scale = TimeScale.fitting(int(ends[0]), int(ends[-1]), known=known)
    return scale, scale.values(ends)


def time_panels(heights: dict[str, float]) -> tuple[MplFigure, dict[str, Axes]]:
    """Return a figure of panels that share the time axis, with the strip "operations" on top.

    Parameters
    ----------
    heights : dict of str to float
        Of each panel, from top to bottom.  [inches]

    Returns
    -------
    tuple of (matplotlib.figure.Figure, dict of str to matplotlib.axes.Axes)
        Call it inside `style()`.
    """
    rows = {"operations": _STRIP, **heights}
    fig = new_figure(figsize=(8.0, 0.6 + sum(rows.values())))
    axes = fig.subplots(len(rows), sharex=True, height_ratios=list(rows.values()))
    return fig, dict(zip(rows, axes, strict=True))


def draw_operations(axes: Axes, operations: pd.DataFrame, scale: TimeScale) -> None:
    """Draw a mark at each creation and each deletion, and a bar for as long as a merge lasts."""
    axes.set(ylim=(1.6, -0.6), yticks=[0, 1])
    axes.set_yticklabels(["taken", "deleted"], fontsize=8.5)
    axes.tick_params(length=0, labelbottom=False)
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    times = nanoseconds(operations["time"])
    deleted = operations["action"].to_numpy() == "delete"
    lasting = operations["merge_duration_ns"].fillna(0).to_numpy(np.int64)
    for row, chosen, color in ((0, ~deleted, BLACK), (1, deleted, VERMILLION)):
        x = scale.values(times[chosen])
        axes.plot(x, np.full(len(x), row), "|", color=color, markersize=7, markeredgewidth=1.0)
    begin, end = scale.values(times[deleted]), scale.values((times + lasting)[deleted])
    axes.barh(np.ones(len(begin)), end - begin, left=begin, height=0.5, color=to_rgba(VERMILLION, 0.4))


def hatch(axes: Axes, edges: FloatArray, chosen: npt.NDArray[np.bool_]) -> Patch:
    """Hatch intervals from foot to top, neighbours together; return the patch for a key."""
    look: dict[str, Any] = {
        "facecolor": to_rgba(GREY, 0.15),
        "edgecolor": GREY,
        "hatch": "///",
        "linewidth": 0,
    }
    turns = np.flatnonzero(np.diff(np.concatenate(([False], chosen, [False]))))
    for first, stop in turns.reshape(-1, 2).tolist():
        axes.axvspan(edges[first], edges[stop], zorder=0, **look)
    return Patch(label=SATURATED, **look)


def column(frame: pd.DataFrame, name: str) -> FloatArray:
    """Return a column as floats, NaN where it says nothing."""
    return frame[name].to_numpy(np.float64, na_value=np.nan)


def log_range(*series: FloatArray, otherwise: float) -> tuple[float, float]:
    """Return the ends of a logarithmic axis for what is above 0; around `otherwise` if nothing is."""
    every = np.concatenate(series)
    shown = every[np.isfinite(every) & (every > 0)]
    low, high = (float(shown.min()), float(shown.max())) if len(shown) else (otherwise, otherwise)
    return low / _ROOM, high * _ROOM


def on_foot(series: FloatArray, low: float) -> FloatArray:
    """Return a line for a logarithmic axis that begins at `low`: what is 0 stands on its foot."""
    lifted: FloatArray = np.where(series <= 0, low, series)
    return lifted


def last(series: FloatArray, *, otherwise: float) -> float:
    """Return where a line ends that may have gaps."""
    shown = series[np.isfinite(series)]
    return float(shown[-1]) if len(shown) else otherwise


def most(series: FloatArray) -> float:
    """Return the largest value; NaN where there is none."""
    shown = series[np.isfinite(series)]
    return float(shown.max()) if len(shown) else math.nan


def said_ratio(ratio: float) -> str:
    """Write a ratio for people."""
    return "no" if math.isnan(ratio) else f"{ratio:.3g}" if ratio >= 100 else f"{ratio:.2f}"


def said_duration(duration: float) -> str:
    """Write a duration that may be missing.  [ns]"""
    return "no" if math.isnan(duration) else format_duration(round(duration))


def describe(replayed: "Replayed") -> str:
    """Say which mechanism on which device, and whether it was ever compared with the real one."""
    on = "" if replayed.device is None else f" on {replayed.device.name}"
    return f"{modelled(replayed.mechanism.title, replayed)}{on}"


def modelled(name: str, replayed: "Replayed") -> str:
    """Return a name, with a label where the mechanism's I/O was not compared with the real system."""
    ways = replayed.mechanism.io
    return name if ways is not None and ways.validated else f"{name} (modelled)"


def said_operations(operations: pd.DataFrame) -> str:
    """Say how many snapshots were taken and deleted, and what that moved."""
    deleted = operations["action"] == "delete"
    moved = int(operations["moved_bytes"].sum())
    merged = f", which moved {format_size(moved)}" if moved else ""
    return f"{int((~deleted).sum()):,} snapshots taken, {int(deleted.sum()):,} deleted{merged}."


def said_load(replayed: "Replayed") -> str:
    """Say whether the device keeps up: no latency is shown without it."""
    saturated, n = int(replayed.frame["saturated"].sum()), len(replayed.frame)
    if replayed.load is not None and replayed.load.saturated:
        return (
            f"The device is saturated: over the whole, more comes than it can do ({saturated} of {n} "
            "intervals), and latencies say little but how long the trace is."
        )
    if saturated:
        return f"In {saturated} of {n} intervals more comes than the device can do."
    return "The device keeps up in every interval."
