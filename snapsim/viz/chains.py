"""Chains by the number of their layers: what reading through them costs, and when shortening them pays."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from snapsim.errors import UsageError
from snapsim.units import DAY, HOUR, MIB, MILLISECOND, MINUTE, SECOND, format_duration, format_size
from snapsim.viz.comparison import LOOKS
from snapsim.viz.figure import Figure
from snapsim.viz.labels import EndLabel, key_above, label_ends
from snapsim.viz.replay_parts import column, log_range, on_foot
from snapsim.viz.scales import FloatArray, label_durations
from snapsim.viz.style import BLACK, BLUE, VERMILLION, Series, new_figure, style

_MARGIN = 1.15  # beyond the first and the last number of layers on a logarithmic axis


def chain_cost(frame: pd.DataFrame) -> Figure:
    """Draw what a read through a chain costs, by the number of layers and the size of their caches.

    Parameters
    ----------
    frame : DataFrame
        What `snapsim.chain_cost` returns.

    Returns
    -------
    Figure
        On the left the reads from the device behind one random read of the guest: a line for each cache
        size, crosses where the formula says that they are. On the right in how many pieces a MiB lies, and
        how fast it is read from end to end.

    Raises
    ------
    UsageError
        The frame is empty, or holds more than six sizes of caches.
    """
    if frame.empty:
        raise UsageError("there is no chain to draw: give at least one number of layers")
    caches = sorted(set(frame["cache_bytes"].tolist()))
    if len(caches) > len(LOOKS):
        raise UsageError(f"{len(caches)} sizes of caches cannot be told apart: draw at most {len(LOOKS)}")
    layers = sorted(set(frame["layers"].tolist()))
    by_cache = {size: frame[frame["cache_bytes"] == size].sort_values("layers") for size in caches}
    widest = by_cache[caches[-1]]
    with style():
        fig = new_figure(figsize=(10.0, 4.4))
        panels = fig.subplot_mosaic([["reads", "extents"], ["reads", "rate"]], width_ratios=(1.35, 1))
        _draw_reads(panels["reads"], by_cache)
        _draw_one(panels["extents"], widest, "extents_per_mib", color=VERMILLION, marker="s")
        panels["extents"].set_ylabel("Pieces\nper MiB")
        _draw_one(panels["rate"], widest, "sequential_rate", color=BLUE, marker="o", scale=1 / MIB)
        panels["rate"].set_ylabel("Sequential read\n[MiB/s]")
        for name, axes in panels.items():
            layers_axis(axes, layers, label=name != "extents")
    first, final = widest.iloc[0], widest.iloc[-1]
    sizes = ", ".join(
        f"{one['reads_per_read'].iloc[-1]:.2f} with {format_size(size)}" for size, one in by_cache.items()
    )
    facts = (
        f"through {layers[-1]} layers one read takes {sizes} of cache each; "
        f"{final['extents_per_mib']:.2f} pieces per MiB are read at {_rate(final)} "
        f"(with {layers[0]}: {first['extents_per_mib']:.2f}, {_rate(first)})"
    )
    return Figure(
        fig,
        caption=(
            f"Reading through a chain: {facts}. Left: reads from the device behind one random read of the "
            "guest, its data and the tables that no cache held; crosses are the formula, one read and the "
            "chance of a miss in every layer that is looked into. Right: pieces that lie side by side on the "
            f"device, and a read from end to end with caches of {format_size(caches[-1])}."
        ),
        alt=f"Lines over the layers of the chain, one for each of {len(caches)} cache sizes: {facts}.",
        text=f"Figure chain cost: {len(caches)} cache sizes, {layers[0]} to {layers[-1]} layers: {facts}",
    )


def commit_point(frame: pd.DataFrame) -> Figure:
    """Draw the cost of reading through a chain beside that of a merge, and when the merge has paid.

    Parameters
    ----------
    frame : DataFrame
        What `snapsim.commit_point` returns.

    Returns
    -------
    Figure
        Over the layers of the chain. On the left the device's time: what reads of an hour take longer than
        through one layer, what a merge saves of that, and what the merge takes once. On the right how
        long until the merge has paid; there is no point where it never does.

    Raises
    ------
    UsageError
        The frame is empty.
    """
    if frame.empty:
        raise UsageError("there is no chain to draw: give at least one number of layers")
    one = frame.sort_values("depth")
    layers, pays = one["depth"].tolist(), column(one, "break_even_hours")
    pays = np.where(np.isfinite(pays), pays * HOUR, np.nan)
    costs = {name: column(one, name) for name in _COSTS}
    low, high = log_range(*costs.values(), otherwise=float(SECOND))
    low = max(low, high / _MOST_DECADES)  # what is hardly anything does not squeeze the rest
    longest = float(np.nanmax(pays, initial=0.0))
    unit, name = next((one for one in _UNITS if longest >= 2 * one[0]), _UNITS[-1])
    with style():
        fig = new_figure(figsize=(10.0, 3.8))
        left, right = fig.subplots(1, 2, width_ratios=(1.35, 1))
        left.set(yscale="log", ylim=(low, high))
        keys: list[tuple[Artist, str]] = []
        for cost, (text, look) in _COSTS.items():
            (line,) = left.plot(
                layers, on_foot(costs[cost], low), color=look.color, linestyle=look.dash, marker=look.marker,
                markevery=max(len(layers) // 6, 1), label=text,
            )  # fmt: skip
            keys.append((line, look.color))
        label_durations(left.yaxis, low, high)
        left.set_ylabel("Time of the device, per hour or once")
        key_above(left, keys)
        right.plot(layers, pays / unit, color=BLUE, marker="o", markevery=max(len(layers) // 6, 1))
        right.set_ylim(0, 1.12 * max(longest / unit, 1e-9))
        right.set_ylabel(f"A merge has paid after [{name}]")
        if np.isnan(pays).all():
            right.set_yticks([])
            right.text(0.5, 0.5, "it never pays", ha="center", va="center", transform=right.transAxes)
        for axes in (left, right):
            layers_axis(axes, layers)
    facts = _said_commit(one, pays)
    return Figure(
        fig,
        caption=(
            f"When a merge pays: {facts}. Left, logarithmic: how much longer the reads of an hour take than "
            "through one layer, what of that one merge saves each hour, and what it takes once."
        ),
        alt=f"Lines over the layers: costs on the left, when a merge has paid on the right: {facts}.",
        text=f"Figure commit point: {layers[0]} to {layers[-1]} layers: {facts}",
    )


_COSTS = {
    "extra_read_ns_per_hour": ("longer reads", Series(VERMILLION, "-", "o")),
    "saved_ns_per_hour": ("a merge saves", Series(BLUE, "--", "s")),
    "commit_ns": ("it takes once", Series(BLACK, ":", "D")),
}
_MOST_DECADES = 1e8
_UNITS = ((DAY, "d"), (HOUR, "h"), (MINUTE, "min"), (SECOND, "s"), (MILLISECOND, "ms"))


def _said_commit(frame: pd.DataFrame, pays: FloatArray) -> str:
    first, final = frame.iloc[0], frame.iloc[-1]
    ends = (0, -1) if len(frame) > 1 else (0,)
    said = ", ".join(
        f"{'never' if np.isnan(pays[end]) else f'after {format_duration(round(pays[end]))}'} with "
        f"{int(frame['depth'].iloc[end])} layers"
        for end in ends
    )
    longer = format_duration(round(final["extra_read_ns_per_hour"]))
    return (
        f"a merge takes the device {format_duration(round(first['commit_ns']))} and has paid {said}; reads "
        f"through {int(final['depth'])} layers take {longer} longer an hour"
    )


def layers_axis(axes: Axes, layers: Sequence[int], *, label: bool = True) -> None:
    """Give an axis of layers, in powers of two, ticks where something was counted."""
    axes.set_xscale("log", base=2)
    axes.set_xlim(layers[0] / _MARGIN, layers[-1] * _MARGIN)
    shown = [number for number in layers if number & (number - 1) == 0] or list(layers)
    axes.xaxis.set_major_locator(FixedLocator([float(number) for number in shown]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.tick_params(labelbottom=label)
    if label:
        axes.set_xlabel("Layers of the chain")


def _draw_reads(axes: Axes, by_cache: dict[int, pd.DataFrame]) -> None:
    top = max(float(one[["reads_per_read", "expected_reads"]].to_numpy().max()) for one in by_cache.values())
    axes.set(ylim=(0, 1.08 * top))
    ends, formula = [], Line2D([], [], color=BLACK, marker="x", linestyle="none", label="formula")
    keys: list[tuple[Artist, str]] = [(formula, BLACK)]
    for (size, one), look in zip(by_cache.items(), LOOKS, strict=False):
        number, reads = column(one, "layers"), column(one, "reads_per_read")
        axes.plot(number, reads, color=look.color, linestyle=look.dash, marker=look.marker)
        axes.plot(number, column(one, "expected_reads"), "x", color=BLACK, markersize=7, markeredgewidth=1.1)
        ends.append(EndLabel(float(reads[-1]), format_size(size), look.color))
    axes.yaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.set_ylabel("Reads from the device per read")
    key_above(axes, keys)
    label_ends(axes, ends)


def _draw_one(
    axes: Axes, frame: pd.DataFrame, name: str, *, color: str, marker: str, scale: float = 1.0
) -> FloatArray:
    values = scale * column(frame, name)
    axes.plot(column(frame, "layers"), values, color=color, marker=marker)
    axes.set_ylim(0, 1.12 * max(float(np.nanmax(values)), 1e-9))
    return values


def _rate(row: "pd.Series[float]") -> str:
    return f"{format_size(round(row['sequential_rate']))}/s"
