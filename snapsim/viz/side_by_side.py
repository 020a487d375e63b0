"""Several traces side by side: how they change over time, and what is different about them."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba

from snapsim.errors import UsageError
from snapsim.traces import statistics
from snapsim.traces.comparing import fitting_interval
from snapsim.traces.pacing import pace
from snapsim.traces.trace import Trace
from snapsim.units import DAY, SECOND, format_duration, format_size
from snapsim.viz.changes import nanoseconds, require_requests
from snapsim.viz.contents import share_text
from snapsim.viz.figure import Figure
from snapsim.viz.labels import key_above
from snapsim.viz.scales import ByteScale
from snapsim.viz.style import SERIES, new_figure, style
from snapsim.viz.tracetime import time_scale

_MOST = 12
_COLUMNS = 2
_HEADROOM = 1.1
_LEAST_SHARE = 0.05  # what an axis of shares reaches at least


class _Panel(NamedTuple):
    """One quantity of the comparison: which column, what its head says, how its values are written."""

    column: str
    title: str
    write: Callable[[float], str]


_PANELS = (
    _Panel("change_rate", "Change rate, a day", lambda rate: format_size(round(rate * DAY / SECOND))),
    _Panel("written_set_bytes", "Ever written", lambda size: format_size(round(size))),
    _Panel("overwrite_factor", "Overwrite factor", lambda factor: f"{factor:.3g}"),
    _Panel("changed_share", "Seen by snapshots", share_text),
    _Panel("unaligned_share", "Not 4 KiB aligned", share_text),
    _Panel("zero_share", "Zero blocks", share_text),
    _Panel("duplicate_share", "Duplicate blocks", share_text),
    _Panel("compressed_share", "Compress to", share_text),
)


def change_rates(traces: Mapping[str, Trace]) -> Figure:
    """Draw how several disks change over time, a panel for each.

    Parameters
    ----------
    traces : mapping of str to Trace
        At most twelve, by the name over each panel.

    Returns
    -------
    Figure
        In each panel, per usual interval: distinct bytes written (area), and all bytes written (dashed).

    Raises
    ------
    UsageError
        There is no trace, there are more than twelve, or one holds no request.
    """
    if not 0 < len(traces) <= _MOST:
        raise UsageError(f"{len(traces)} traces: between 1 and {_MOST} can be drawn side by side")
    rows = -(-len(traces) // _COLUMNS)
    columns = min(len(traces), _COLUMNS)
    facts: list[str] = []
    with style():
        fig = new_figure(figsize=(8.8 if columns > 1 else 5.5, 0.5 + 1.5 * rows))
        grid = fig.subplots(rows, columns, squeeze=False).flatten()
        for axes, (name, trace) in zip(grid, traces.items(), strict=False):
            require_requests(trace)
            facts.append(_draw_rate(axes, name, trace, key=not facts))
        for axes in grid[len(traces) :]:
            axes.set_visible(False)
    told = "; ".join(facts)
    return Figure(
        fig,
        caption=(
            "Change rates side by side: data written per interval, each block counted once (area) and each "
            f"time (dashed), in blocks of 4 KiB. {told}."
        ),
        alt=f"{len(traces)} small panels of change rates over time, each with scales of its own. {told}.",
        text=f"Figure change rates: {len(traces)} panels: {told}",
    )


def traces_compared(frame: pd.DataFrame) -> Figure:
    """Draw what is different about traces: a panel for each quantity, a bar for each trace.

    Parameters
    ----------
    frame : DataFrame
        What `snapsim.compare_traces` returns.

    Returns
    -------
    Figure
        Quantities that no trace has are left out.

    Raises
    ------
    UsageError
        It is another frame, or an empty one.
    """
    needed = {"trace", "time_scale", "interval_ns", *(panel.column for panel in _PANELS)}
    if not needed <= set(frame.columns) or frame.empty:
        raise UsageError("this frame has no traces to compare: give what snapsim.compare_traces returns")
    panels = [panel for panel in _PANELS if frame[panel.column].notna().any()]
    columns = -(-len(panels) // 2)
    names = [str(name) for name in frame["trace"]]
    labels = [
        name if scale == 1 else f"{name} (x{scale:.6g})"
        for name, scale in zip(names, frame["time_scale"], strict=True)
    ]
    with style():
        fig = new_figure(figsize=(9.5, 2 * (0.6 + 0.26 * len(names))))
        grid = fig.subplots(2, columns, squeeze=False, sharey=True)
        for axes, panel in zip(grid.flatten(), panels, strict=False):
            _draw_bars(axes, panel, frame[panel.column].to_numpy(np.float64))
        for axes in grid.flatten()[len(panels) :]:
            axes.set_visible(False)
        for axes in grid[:, 0]:
            axes.set_yticks(range(len(names)), labels)
    paced = [
        f"{name}: {pace(scale)}" for name, scale in zip(names, frame["time_scale"], strict=True) if scale != 1
    ]
    clock = f" Paced recordings, by their represented time: {', '.join(paced)}." if paced else ""
    facts = "; ".join(f"{panel.title[0].lower()}{panel.title[1:]} {_range(panel, frame)}" for panel in panels)
    return Figure(
        fig,
        caption=(
            "Traces compared, in blocks of 4 KiB. Seen by snapshots: of all bytes written, those that are "
            f"distinct within {_intervals(frame)}. No bar: the trace does not tell.{clock}"
        ),
        alt=f"{len(panels)} panels with a bar for each of {len(names)} traces: {facts}.",
        text=f"Figure traces compared: {len(names)} traces, {len(panels)} panels: {facts}",
    )


def _draw_rate(axes: Axes, name: str, trace: Trace, *, key: bool) -> str:
    """Draw one panel; return what it says."""
    length = fitting_interval(trace)
    frame = statistics.change_rate(trace, every=length)
    begins = nanoseconds(frame["time"])
    scale = time_scale(trace)
    edges = scale.values(np.append(begins, begins[-1] + length))
    written, changed = (frame[column].to_numpy(np.float64) for column in ("written_bytes", "changed_bytes"))
    unit = ByteScale.fitting(max(float(written.max()), float(changed.max())))
    area, line = SERIES["change_rate"], SERIES["write_rate"]
    filled = axes.stairs(
        unit.values(changed), edges, fill=True, facecolor=to_rgba(area.color, 0.35), edgecolor=area.color,
        label="distinct",
    )  # fmt: skip
    dashed = axes.stairs(
        unit.values(written), edges, color=line.color, linestyle=line.dash, linewidth=1.0, label="all"
    )
    top = max(float(written.max()), float(changed.max())) / unit.size
    axes.set(xlim=scale.limits, ylim=(0, max(_HEADROOM * top, 1e-9)))
    axes.set_ylabel(f"per {format_duration(length)} [{unit.unit}]")
    scaled = "" if trace.info.time_scale == 1 else f", x{trace.info.time_scale:.4g}"
    axes.set_title(f"{name} ({format_duration(trace.span_ns)}{scaled})", loc="left", fontsize=10)
    if key:
        key_above(axes, [(filled, area.color), (dashed, line.color)])
    scale.apply(axes, ticks=5)
    paced = "" if trace.info.time_scale == 1 else f" of represented time, {pace(trace.info.time_scale)}"
    return (
        f"{name}: {format_duration(trace.span_ns)}{paced}, {format_size(round(changed.mean()))} of "
        f"{format_size(round(written.mean()))} per {format_duration(length)} on average"
    )


def _draw_bars(axes: Axes, panel: _Panel, values: np.ndarray) -> None:
    """Draw a bar for each trace, its value written beside it."""
    rows = np.arange(len(values))
    shown = np.nan_to_num(values)
    color = SERIES["change_rate"].color
    axes.barh(rows, shown, height=0.62, facecolor=to_rgba(color, 0.35), edgecolor=color, linewidth=0.8)
    # next to nothing is to look like it
    largest = max(float(shown.max()), _LEAST_SHARE if panel.write is share_text else 1e-12)
    axes.set(xlim=(0, 1.55 * largest), ylim=(len(values) - 0.4, -0.6))
    for row, value in enumerate(values.tolist()):
        if np.isfinite(value):
            axes.annotate(
                panel.write(value), xy=(value, row), xytext=(3, 0), textcoords="offset points", va="center",
                fontsize=8.5,
            )  # fmt: skip
    axes.set_title(panel.title, loc="left", fontsize=10)
    axes.tick_params(axis="y", length=0)
    axes.set_xticks([])
    axes.grid(visible=False)


def _range(panel: _Panel, frame: pd.DataFrame) -> str:
    values = frame.dropna(subset=[panel.column]).sort_values(panel.column, kind="stable")
    low, high = values.iloc[0], values.iloc[-1]
    if len(values) == 1:
        return f"{panel.write(low[panel.column])} ({low['trace']})"
    return (
        f"{panel.write(low[panel.column])} ({low['trace']}) to "
        f"{panel.write(high[panel.column])} ({high['trace']})"
    )


def _intervals(frame: pd.DataFrame) -> str:
    lengths = sorted(set(frame["interval_ns"].tolist()))
    shown = " or ".join(format_duration(int(length)) for length in lengths)
    return f"an interval of {shown}" + (", by the length of the trace" if len(lengths) > 1 else "")
