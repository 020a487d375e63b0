"""A replay over time: amplification, latency, and what follows each snapshot."""

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from snapsim.errors import UsageError
from snapsim.units import format_duration
from snapsim.viz.figure import Figure
from snapsim.viz.labels import EndLabel, key_above, label_ends
from snapsim.viz.replay_parts import (
    PERCENTILES,
    column,
    describe,
    draw_operations,
    hatch,
    intervals,
    last,
    log_range,
    most,
    on_foot,
    require_device,
    said_duration,
    said_load,
    said_operations,
    said_ratio,
    time_axis,
    time_panels,
)
from snapsim.viz.scales import FloatArray, label_durations, label_ratios
from snapsim.viz.style import BLUE, GREY, SERIES, new_figure, style

if TYPE_CHECKING:
    from snapsim.planning.replay import Replayed

_BELOW = {
    "write_amplification": ("written_bytes", "guest_written_bytes"),
    "read_amplification": ("read_bytes", "guest_read_bytes"),
}
_SAID = {"write_amplification": "written", "read_amplification": "read"}
_MICROSECOND = 1000.0
_MOST_BINS = 12
_LEAST_LOAD = 1e-4


def amplification(replayed: "Replayed") -> Figure:
    """Draw how much more the storage below moves and holds than the guest asked for, over time.

    Parameters
    ----------
    replayed : Replayed
        What `snapsim.replay` returns.

    Returns
    -------
    Figure
        Above, when snapshots are taken and deleted; then bytes written and read below for each byte that
        the guest wrote and read; then space held over the volume's own data.

    Raises
    ------
    UsageError
        The replay holds no interval.
    """
    frame = intervals(replayed)
    scale, edges = time_axis(replayed)
    ratios = {name: column(frame, name) for name in _BELOW}
    held = column(frame, "space_amplification")
    with style():
        fig, panels = time_panels({"moved": 2.6, "held": 1.3})
        draw_operations(panels["operations"], replayed.operations, scale)
        _draw_ratios(panels["moved"], ratios, edges)
        _draw_area(panels["held"], "space_amplification", held, edges)
        panels["held"].set_ylabel("Space held\nper live byte")
        panels["held"].set_xlim(scale.limits)
        scale.apply(panels["held"])
    whole = {name: _over_all(frame, *names) for name, names in _BELOW.items()}
    facts = (
        f"{said_ratio(whole['write_amplification'])} bytes written and "
        f"{said_ratio(whole['read_amplification'])} read below per guest byte over all, at most "
        f"{said_ratio(most(ratios['write_amplification']))} written in an interval; "
        f"space at most {said_ratio(most(held))} times the live data"
    )
    operations, span = said_operations(replayed.operations), format_duration(scale.span_ns)
    return Figure(
        fig,
        caption=(
            f"Amplification: {describe(replayed)}. {facts[0].upper()}{facts[1:]}. {operations} "
            "What is read in order to fill copies counts as read below: it rises where the guest only "
            "writes. A gap is an interval in which the guest did not ask; a line at the foot is 0. The "
            "upper axis is logarithmic."
        ),
        alt=f"Write, read and space amplification over {span}: {facts}. {operations}",
        text=f"Figure amplification: 3 series, 0-{span}, {facts}",
    )


def latency_over_time(replayed: "Replayed") -> Figure:
    """Draw latency percentiles of every interval, and how busy the device is.

    Parameters
    ----------
    replayed : Replayed
        What `snapsim.replay` returns, with a device.

    Returns
    -------
    Figure
        Above, when snapshots are taken and deleted; then p50, p95, p99 and p99.9, which lie in the order of
        their names; then the device's utilisation. Intervals in which more comes than the device can do are
        hatched.

    Raises
    ------
    UsageError
        The replay was made without a device, or holds no interval.
    """
    require_device(replayed)
    frame = intervals(replayed)
    scale, edges = time_axis(replayed)
    lines = {name: column(frame, name) for name in PERCENTILES}
    low, high = log_range(*lines.values(), otherwise=_MICROSECOND)
    saturated, busy = frame["saturated"].to_numpy(bool), column(frame, "utilisation")
    with style():
        fig, panels = time_panels({"latency": 3.0, "load": 1.0})
        draw_operations(panels["operations"], replayed.operations, scale)
        axes, load = panels["latency"], panels["load"]
        axes.set(xlim=scale.limits, yscale="log", ylim=(low, high))
        ends = []
        for name, (_, text, look, width) in PERCENTILES.items():
            line = on_foot(lines[name], low)
            axes.stairs(line, edges, baseline=None, color=look.color, linestyle=look.dash, linewidth=width)
            ends.append(EndLabel(last(line, otherwise=low), text, look.color))
        label_durations(axes.yaxis, low, high)
        axes.set_ylabel("Latency")
        load.stairs(busy, edges, baseline=0, fill=True, color=BLUE, alpha=0.3)
        load.stairs(busy, edges, baseline=None, color=BLUE, linewidth=1.2)
        load.set(ylim=(0, min(1.3 * np.nanmax(busy, initial=_LEAST_LOAD), 1.05)), ylabel="Device\nbusy")
        load.yaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 2.5, 5, 10]))
        load.yaxis.set_major_formatter(PercentFormatter(1))
        if saturated.any():
            hatch(load, edges, saturated)
            key_above(axes, [(hatch(axes, edges, saturated), GREY)])
        scale.apply(load)
        label_ends(axes, ends)
    whole = replayed.latencies["all"]
    said = ", ".join(
        f"{text} {said_duration(whole.percentile(percent))}" for percent, text, *_ in PERCENTILES.values()
    )
    loaded, span = said_load(replayed), format_duration(scale.span_ns)
    return Figure(
        fig,
        caption=(
            f"Latency over time: {describe(replayed)}. Over all: {said}. {loaded} "
            f"{said_operations(replayed.operations)} In an interval the lines lie in the order of their "
            "names; a gap is an interval without requests, a line at the foot is 0: nothing had to be done. "
            "The axis of latency is logarithmic."
        ),
        alt=f"Four latency percentiles and the device's utilisation over {span}: {said}. {loaded}",
        text=f"Figure latency over time: 4 series, 0-{span}, {said}. {loaded}",
    )


def burst(replayed: "Replayed") -> Figure:
    """Draw what requests cost by the age of the newest snapshot: first touches come soon after it.

    Parameters
    ----------
    replayed : Replayed
        What `snapsim.replay` returns.

    Returns
    -------
    Figure
        Over the age of the newest snapshot, in bins: write amplification, and with a device the mean latency
        and p99.

    Raises
    ------
    UsageError
        No request comes after a snapshot.
    """
    frame = replayed.bursts
    if frame.empty or not frame["requests"].any():
        raise UsageError("no request comes after a snapshot, so there is no burst to draw")
    ages = [format_duration(age, digits=2) if age else "0" for age in frame["age_ns"].tolist()]
    edges = np.arange(len(ages) + 1, dtype=np.float64)
    timed = replayed.device is not None
    with style():
        fig = new_figure(figsize=(8.0, 4.8 if timed else 2.8))
        panels = fig.subplots(1 + timed, sharex=True, squeeze=False)[:, 0]
        _draw_area(panels[0], "write_amplification", column(frame, "write_amplification"), edges)
        panels[0].set_ylabel("Bytes written below\nper guest byte")
        if timed:
            _draw_burst_latency(panels[1], frame, edges)
        shown = range(0, len(ages), math.ceil(len(ages) / _MOST_BINS))
        panels[-1].set_xlim(0, len(ages))
        panels[-1].set_xticks(shown, [ages[place] for place in shown])
        panels[-1].set_xlabel("Age of the newest snapshot: a bin from each tick")
    facts = _said_burst(frame, ages, timed=timed)
    return Figure(
        fig,
        caption=(
            f"After a snapshot: {describe(replayed)}. {facts[0].upper()}{facts[1:]}. All snapshots "
            "together, by the age of the newest one; the bins need not be equally long."
            + (f" {said_load(replayed)}" if timed else "")
        ),
        alt=f"Stepped lines over the age of the newest snapshot: {facts}.",
        text=f"Figure burst: {len(ages)} bins of age, {facts}",
    )


def _draw_ratios(axes: Axes, ratios: dict[str, FloatArray], edges: FloatArray) -> None:
    low, high = log_range(*ratios.values(), np.ones(1), otherwise=1.0)
    axes.set(yscale="log", ylim=(low, high))
    axes.axhline(1, color=GREY, linewidth=0.8)
    keys: list[tuple[Artist, str]] = []
    for name, values in ratios.items():
        look, text = SERIES[name], _SAID[name]
        line = axes.stairs(
            on_foot(values, low), edges, baseline=None,
            color=look.color, linestyle=look.dash, linewidth=1.4, label=text,
        )  # fmt: skip
        keys.append((line, look.color))
    label_ratios(axes.yaxis, low, high)
    axes.set_ylabel("Bytes below\nper guest byte")
    key_above(axes, keys)


def _draw_area(axes: Axes, name: str, values: FloatArray, edges: FloatArray) -> None:
    """Draw a ratio as an area from 0, with a line at 1."""
    color = SERIES[name].color
    axes.axhline(1, color=GREY, linewidth=0.8)
    axes.stairs(values, edges, baseline=0, fill=True, color=color, alpha=0.3)
    axes.stairs(values, edges, baseline=None, color=color, linewidth=1.4)
    axes.set_ylim(0, 1.12 * float(np.nanmax(np.append(values, 1.0))))


def _draw_burst_latency(axes: Axes, frame: pd.DataFrame, edges: FloatArray) -> None:
    looks = {
        "latency_mean_ns": ("mean", SERIES["latency_mean_ns"]),
        "latency_p99_ns": PERCENTILES["latency_p99_ns"][1:3],
    }
    lines = {name: column(frame, name) for name in looks}
    low, high = log_range(*lines.values(), otherwise=_MICROSECOND)
    axes.set(yscale="log", ylim=(low, high))
    keys: list[tuple[Artist, str]] = []
    for name, (text, look) in looks.items():
        line = axes.stairs(
            on_foot(lines[name], low),
            edges,
            baseline=None,
            color=look.color,
            linestyle=look.dash,
            linewidth=1.4,
            label=text,
        )
        keys.append((line, look.color))
    label_durations(axes.yaxis, low, high)
    axes.set_ylabel("Latency")
    key_above(axes, keys)


def _over_all(frame: pd.DataFrame, below: str, asked: str) -> float:
    guest = int(frame[asked].sum())
    return int(frame[below].sum()) / guest if guest else math.nan


def _said_burst(frame: pd.DataFrame, ages: list[str], *, timed: bool) -> str:
    written = np.flatnonzero(column(frame, "guest_written_bytes") > 0)
    if not len(written):
        return "nothing is written after a snapshot"
    ratio = column(frame, "write_amplification")
    ends = list(dict.fromkeys((int(written[0]), int(written[-1]))))
    said = "write amplification " + ", ".join(
        f"{said_ratio(ratio[place])} from {ages[place]}" for place in ends
    )
    if timed:
        p99 = column(frame, "latency_p99_ns")
        said += "; p99 latency " + ", ".join(f"{said_duration(p99[end])} from {ages[end]}" for end in ends)
    return said
