"""How much a disk changes: over time, by the length of the interval, and altogether."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from snapsim.errors import UsageError
from snapsim.schema import label
from snapsim.traces import statistics
from snapsim.traces.trace import Trace
from snapsim.types import Int64Array
from snapsim.units import DAY, SECOND, format_duration, format_size, parse_duration, parse_size
from snapsim.viz.figure import Figure
from snapsim.viz.labels import EndLabel, key_above, label_ends
from snapsim.viz.scales import ByteScale, TimeScale, label_sizes
from snapsim.viz.style import SERIES, new_figure, style
from snapsim.viz.tracetime import interval, ladder, source, time_scale

_BLOCK = "4KiB"
_HEADROOM = 1.08


def change_rate(trace: Trace, *, every: int | str | None = None, block_size: int | str = _BLOCK) -> Figure:
    """Draw how many distinct bytes each interval writes, beside all that it writes.

    Parameters
    ----------
    trace : Trace
        Of one or several volumes.
    every : int or str, optional
        Length of the intervals; one that makes a readable figure by default.  [ns]
    block_size : int or str
        Unit in which distinct bytes are counted.  [bytes]

    Returns
    -------
    Figure
        Two series; the space between them is what is overwritten within the interval.

    Raises
    ------
    UsageError
        The trace holds no request, or `every` makes too many intervals.
    """
    require_requests(trace)
    length = interval(trace, at_most=200) if every is None else parse_duration(every)
    frame = statistics.change_rate(trace, every=length, block_size=block_size)
    scale = time_scale(trace)
    with style():
        fig = new_figure(figsize=(8.0, 3.6))
        axes = fig.subplots()
        draw_change_rate(axes, frame, length, scale)
        scale.apply(axes)
    changed, written = int(frame["changed_bytes"].sum()), int(frame["written_bytes"].sum())
    largest = int(frame["changed_bytes"].max())
    per, block = format_duration(length), format_size(parse_size(block_size))
    facts = (
        f"{format_size(largest)} changed in the interval with most, "
        f"{format_size(round(changed / len(frame)))} on average over {len(frame):,} intervals"
    )
    return Figure(
        fig,
        caption=(
            f"Change rate per {per}: {source(trace)}. The area is what a snapshot every {per} would see, "
            f"in blocks of {block}; the dashed line is all that is written."
        ),
        alt=f"Change rate over time: {facts}; {format_size(written)} written in all.",
        text=f"Figure change rate: 2 series, 0-{format_duration(trace.span_ns)} in steps of {per}, {facts}",
    )


def change_rate_by_interval(
    trace: Trace, *, intervals: list[int | str] | None = None, block_size: int | str = _BLOCK
) -> Figure:
    """Draw the change rate against the length of the interval it is measured over.

    Parameters
    ----------
    trace : Trace
        Of one or several volumes.
    intervals : list of int or str, optional
        Lengths; usual ones that the trace covers at least twice by default.  [ns]
    block_size : int or str
        Unit in which distinct bytes are counted.  [bytes]

    Returns
    -------
    Figure
        Mean and largest change rate; one daily figure cannot stand for this curve.

    Raises
    ------
    UsageError
        The trace is shorter than the shortest interval.
    """
    require_requests(trace)
    frame = statistics.change_rate_by_interval(
        trace, ladder=ladder(trace) if intervals is None else intervals, block_size=block_size
    )
    if frame.empty or not frame["mean_changed_bytes"].any():
        raise UsageError(
            f"nothing is written in a whole interval of this trace of {format_duration(trace.span_ns)}: "
            "choose shorter intervals"
        )
    lengths = frame["interval_ns"].to_numpy()
    per_day = {
        "on average": frame["change_rate"].to_numpy() * (DAY / SECOND),
        "largest": frame["max_changed_bytes"].to_numpy() / lengths * DAY,
    }
    with style():
        fig = new_figure(figsize=(7.0, 4.0))
        axes = fig.subplots()
        _draw_by_interval(axes, lengths, per_day)
    mean = per_day["on average"]
    facts = (
        f"{format_size(round(mean[0]))} a day measured over {format_duration(int(lengths[0]))}, "
        f"{format_size(round(mean[-1]))} a day over {format_duration(int(lengths[-1]))}"
    )
    return Figure(
        fig,
        caption=(
            f"Change rate by interval: {source(trace)}; "
            f"distinct blocks of {format_size(parse_size(block_size))}. "
            "Dashed: the interval that changed most. "
            "The longer the interval, the more often a block is overwritten within it."
        ),
        alt=f"Change rate against the interval it is measured over: {facts}.",
        text=f"Figure change rate by interval: 2 series, {len(lengths)} intervals, {facts}",
    )


def working_set(trace: Trace, *, every: int | str | None = None, block_size: int | str = _BLOCK) -> Figure:
    """Draw how many distinct bytes were touched, and written, since the start.

    Parameters
    ----------
    trace : Trace
        Of one or several volumes.
    every : int or str, optional
        Distance of the points; one that makes a readable figure by default.  [ns]
    block_size : int or str
        Unit in which distinct bytes are counted.  [bytes]

    Returns
    -------
    Figure
        Two lines.

    Raises
    ------
    UsageError
        The trace holds no request, or `every` makes too many points.
    """
    require_requests(trace)
    length = interval(trace, at_most=100) if every is None else parse_duration(every)
    frame = statistics.working_set(trace, every=length, block_size=block_size)
    scale = time_scale(trace)
    with style():
        fig = new_figure(figsize=(8.0, 3.6))
        axes = fig.subplots()
        draw_working_set(axes, frame, scale)
        scale.apply(axes)
    touched, written = (int(frame[name].iloc[-1]) for name in ("working_set_bytes", "written_set_bytes"))
    block = format_size(parse_size(block_size))
    facts = f"{format_size(touched)} read or written, {format_size(written)} written at the end"
    return Figure(
        fig,
        caption=f"Working set: distinct data touched since the start, in blocks of {block}: {source(trace)}.",
        alt=f"Two rising lines: {facts}.",
        text=f"Figure working set: 2 series, 0-{format_duration(trace.span_ns)}, blocks of {block}, {facts}",
    )


def draw_change_rate(axes: Axes, frame: pd.DataFrame, length: int, scale: TimeScale) -> None:
    """Draw written and changed bytes per second into a panel; the caller labels the time axis."""
    begins = nanoseconds(frame["time"])
    edges = scale.values(np.append(begins, begins[-1] + length))
    written = frame["written_bytes"].to_numpy() * (SECOND / length)
    changed = frame["change_rate"].to_numpy()
    unit = ByteScale.fitting(max(float(written.max()), float(changed.max())))
    look, other = SERIES["change_rate"], SERIES["write_rate"]
    axes.stairs(unit.values(changed), edges, fill=True, color=look.color, alpha=0.35)
    area = axes.stairs(unit.values(changed), edges, color=look.color, linewidth=1.2, label="distinct blocks")
    line = axes.stairs(
        unit.values(written),
        edges,
        color=other.color,
        linestyle=other.dash,
        linewidth=1.2,
        label="all writes",
    )
    axes.set(xlim=scale.limits, ylim=(0, _top(unit, written, changed)))
    axes.set_ylabel(label("change_rate", f"{unit.unit}/s"))
    key_above(axes, [(area, look.color), (line, other.color)])


def draw_working_set(axes: Axes, frame: pd.DataFrame, scale: TimeScale) -> None:
    """Draw the growth of the working set into a panel; the caller labels the time axis."""
    times = scale.values(nanoseconds(frame["time"]))
    unit = ByteScale.fitting(float(frame["working_set_bytes"].max()))
    labels = []
    for name, text in (("working_set_bytes", "touched"), ("written_set_bytes", "written")):
        values = unit.values(frame[name].to_numpy())
        look = SERIES[name]
        axes.plot(
            times,
            values,
            color=look.color,
            linestyle=look.dash,
            marker=look.marker,
            markevery=max(len(times) // 8, 1),
        )
        labels.append(EndLabel(float(values[-1]), text, look.color))
    axes.set(
        xlim=scale.limits,
        ylim=(0, max(_HEADROOM * float(unit.values(frame["working_set_bytes"].max())), 1e-9)),
    )
    axes.set_ylabel(label("working_set_bytes", unit.unit))
    label_ends(axes, labels[::-1])


def _draw_by_interval(axes: Axes, lengths: Int64Array, per_day: dict[str, np.ndarray]) -> None:
    axes.set(xscale="log", yscale="log")
    looks = {"on average": SERIES["change_rate"], "largest": SERIES["write_rate"]}
    labels = []
    for name, values in per_day.items():
        look = looks[name]
        axes.plot(lengths, values, color=look.color, linestyle=look.dash, marker=look.marker, clip_on=False)
        labels.append(EndLabel(float(values[-1]), name, look.color))
    everything = np.concatenate(list(per_day.values()))
    low, high = float(everything[everything > 0].min()) / 2, float(everything.max()) * 2
    axes.set(xlim=(lengths[0] / 1.3, lengths[-1] * 1.3), ylim=(low, high))
    axes.xaxis.set_major_locator(FixedLocator(lengths.tolist()))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda length, _: format_duration(round(length))))
    axes.xaxis.set_minor_locator(NullLocator())
    label_sizes(axes.yaxis, low, high)
    axes.set_xlabel("Interval")
    axes.set_ylabel(label("change_rate", "per day"))
    label_ends(axes, labels)


def nanoseconds(times: pd.Series) -> Int64Array:
    """Return points in time as nanoseconds since the Unix epoch, whatever unit pandas holds them in."""
    index = pd.DatetimeIndex(times).as_unit("ns")
    return index.asi8


def require_requests(trace: Trace) -> None:
    """Refuse an empty trace."""
    if len(trace) == 0:
        raise UsageError("this trace holds no request, so there is nothing to draw")


def _top(unit: ByteScale, *series: np.ndarray) -> float:
    return max(_HEADROOM * max(float(unit.values(values).max()) for values in series), 1e-9)
