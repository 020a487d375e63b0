"""A trace at a glance: four questions, one figure."""

from snapsim.traces import statistics
from snapsim.traces.trace import Trace
from snapsim.units import format_duration, format_size
from snapsim.viz.addresses import draw_addresses, draw_write_share, total_share
from snapsim.viz.binning import map_activity
from snapsim.viz.changes import draw_change_rate, draw_working_set
from snapsim.viz.fields import color_bar, size_norm
from snapsim.viz.figure import Figure
from snapsim.viz.style import new_figure, style
from snapsim.viz.tracetime import interval, source, time_scale

_TITLE_PAD = 22  # room for the names of series between title and panel


def trace_overview(trace: Trace) -> Figure:
    """Draw where and how much a volume is written, over time.

    Parameters
    ----------
    trace : Trace
        Of one volume.

    Returns
    -------
    Figure
        Four panels: writes by address, share of writes, change rate, working set.

    Raises
    ------
    UsageError
        The trace holds no request.
    VolumeSelectionError
        It holds several volumes.
    """
    activity = map_activity(trace, n_times=120, n_addresses=80)
    steps = interval(trace, at_most=120)
    changes = statistics.change_rate(trace, every=steps)
    footprint = statistics.working_set(trace, every=interval(trace, at_most=60))
    scale = time_scale(trace)
    with style():
        fig = new_figure(figsize=(10.0, 6.4))
        panels = fig.subplot_mosaic([["where", "share"], ["rate", "set"]])
        norm = size_norm([activity.written_bytes])
        draw_addresses(panels["where"], activity, activity.written_bytes, norm=norm, scale=scale)
        color_bar([panels["where"]], norm)
        draw_write_share(panels["share"], activity, scale)
        draw_change_rate(panels["rate"], changes, steps, scale)
        draw_working_set(panels["set"], footprint, scale)
        for name, title in (
            ("where", "Where it writes (bytes per cell)"),
            ("share", "How much is writing"),
            ("rate", f"How much changes per {format_duration(steps)}"),
            ("set", "How much is ever touched"),
        ):
            panels[name].set_title(title, pad=_TITLE_PAD)
            scale.apply(panels[name], label=name in {"rate", "set"}, ticks=6)
    written = int(activity.written_bytes.sum())
    share = total_share(activity.writes, activity.reads)
    distinct = int(footprint["written_set_bytes"].iloc[-1])
    facts = (
        f"{len(trace):,} requests, {share:.1%} of reads and writes are writes, "
        f"{format_size(written)} written to {format_size(distinct)} of distinct 4 KiB blocks"
    )
    return Figure(
        fig,
        caption=f"The trace at a glance: {source(trace)}. {facts[0].upper()}{facts[1:]}. Blocks of 4 KiB.",
        alt=f"Four panels over time: writes by address, share of writes, change rate, working set. {facts}.",
        text=f"Figure trace overview: 4 panels, 0-{format_duration(trace.span_ns)}, {facts}",
    )
