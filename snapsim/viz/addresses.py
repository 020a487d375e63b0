"""Where a disk reads and writes, and how much of it is writing, over time."""

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.ticker import PercentFormatter

from snapsim.traces.trace import Trace
from snapsim.types import Int64Array
from snapsim.units import format_duration, format_size
from snapsim.viz.binning import ActivityMap, map_activity
from snapsim.viz.fields import color_bar, draw_field, size_norm
from snapsim.viz.figure import Figure
from snapsim.viz.labels import key_above
from snapsim.viz.scales import ByteScale, TimeScale
from snapsim.viz.style import SERIES, new_figure, style
from snapsim.viz.tracetime import source, time_scale

_SHARE_BINS = 120


def address_over_time(trace: Trace) -> Figure:
    """Draw where a volume is written and read, over time.

    Parameters
    ----------
    trace : Trace
        Of one volume, of any length: requests are counted into cells in one pass.

    Returns
    -------
    Figure
        One panel for writes and one for reads; a kind that does not occur has none.

    Raises
    ------
    UsageError
        The trace holds no request.
    VolumeSelectionError
        It holds several volumes.
    """
    activity = map_activity(trace)
    scale = time_scale(trace)
    kinds = {"Writes": activity.written_bytes, "Reads": activity.read_bytes}
    shown = {name: cells for name, cells in kinds.items() if cells.any()} or {
        "Writes": activity.written_bytes
    }
    norm = size_norm(list(shown.values()))
    with style():
        fig = new_figure(figsize=(8.0, 1.4 + 2.4 * len(shown)))
        panels = list(fig.subplots(len(shown), 1, sharex=True, sharey=True, squeeze=False)[:, 0])
        for axes, (name, cells) in zip(panels, shown.items(), strict=True):
            draw_addresses(axes, activity, cells, norm=norm, scale=scale)
            axes.set_title(name)
        scale.apply(panels[-1])
        color_bar(panels, norm, label="Bytes per cell")
    span = format_duration(trace.span_ns)
    reach = format_size(int(activity.address_edges[-1]))
    totals = ", ".join(f"{name.lower()} {format_size(int(cells.sum()))}" for name, cells in shown.items())
    bands = np.count_nonzero(activity.written_bytes.any(axis=0)) / activity.written_bytes.shape[1]
    return Figure(
        fig,
        caption=(
            f"Where the volume is written and read over time: {source(trace)}. Bytes per cell of "
            f"{format_duration(activity.step_ns)} by {format_size(int(activity.address_edges[1]))}, "
            "rewritten bytes counted again; white is none."
        ),
        alt=(
            f"Heat map of bytes by time and address up to {reach}: {totals}. "
            f"Writes fall into {bands:.0%} of the address bands."
        ),
        text=f"Figure addresses: {len(shown)} panels, 0-{span}, addresses up to {reach}, {totals}",
    )


def write_share(trace: Trace) -> Figure:
    """Draw which share of the requests and of the bytes are writes, over time.

    Parameters
    ----------
    trace : Trace
        Of one volume.

    Returns
    -------
    Figure
        Two lines; times without requests are gaps.

    Raises
    ------
    UsageError
        The trace holds no request.
    VolumeSelectionError
        It holds several volumes.
    """
    activity = map_activity(trace, n_times=_SHARE_BINS, n_addresses=1)
    scale = time_scale(trace)
    with style():
        fig = new_figure(figsize=(8.0, 3.4))
        axes = fig.subplots()
        draw_write_share(axes, activity, scale)
        scale.apply(axes)
    requests = total_share(activity.writes, activity.reads)
    size = total_share(activity.written_bytes, activity.read_bytes)
    facts = f"{requests:.1%} of requests, {size:.1%} of bytes"
    return Figure(
        fig,
        caption=(
            f"Share of writes over time, in steps of {format_duration(activity.step_ns)}: {source(trace)}. "
            "Gaps: neither reads nor writes."
        ),
        alt=f"Two lines between 0 and 100 %. Over the whole trace, writes are {facts}.",
        text=f"Figure write share: 2 series, 0-{format_duration(trace.span_ns)}, {facts}",
    )


def draw_addresses(
    axes: Axes, activity: ActivityMap, cells: Int64Array, *, norm: LogNorm, scale: TimeScale
) -> None:
    """Draw cells of time and address into a panel; the caller labels the time axis."""
    reach = ByteScale.fitting(int(activity.address_edges[-1]))
    draw_field(
        axes, scale.values(activity.time_edges_ns), reach.values(activity.address_edges), cells.T, norm
    )
    axes.set_ylabel(f"Address [{reach.unit}]")


def draw_write_share(axes: Axes, activity: ActivityMap, scale: TimeScale) -> None:
    """Draw the share of writes into a panel; the caller labels the time axis."""
    edges = scale.values(activity.time_edges_ns)
    axes.set(xlim=scale.limits, ylim=(0, 1.02), ylabel="Share of writes")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    drawn = []
    for name, written, read in (
        ("requests", activity.writes, activity.reads),
        ("bytes", activity.written_bytes.sum(axis=1), activity.read_bytes.sum(axis=1)),
    ):
        color, dash, *_ = SERIES[name]
        text = f"of {name} ({total_share(written, read):.1%} in all)"
        share = _shares(written, read)
        line = axes.stairs(
            share, edges, baseline=None, color=color, linestyle=dash, linewidth=1.4, label=text
        )
        drawn.append((line, color))
    key_above(axes, drawn)


def total_share(written: Int64Array, read: Int64Array) -> float:
    """Return the share of writes over all; 0 when there is nothing."""
    total = int(written.sum()) + int(read.sum())
    return int(written.sum()) / total if total else 0.0


def _shares(written: Int64Array, read: Int64Array) -> npt.NDArray[np.float64]:
    total = written + read
    shares = np.full(len(total), np.nan)
    np.divide(written, total, out=shares, where=total > 0)
    return shares
