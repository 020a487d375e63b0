"""Restores: how long each takes, what a guest meets that does not wait for one, and clones of one base."""

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, PercentFormatter

from snapsim.errors import UsageError
from snapsim.schema import label
from snapsim.units import format_duration, format_size
from snapsim.viz.figure import Figure
from snapsim.viz.labels import EndLabel, key_above, label_ends
from snapsim.viz.scales import ByteScale, FloatArray, TimeScale, label_durations
from snapsim.viz.style import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION, Series, new_figure, style

if TYPE_CHECKING:
    from snapsim.planning.boot_order import BootOrders
    from snapsim.planning.clones import Clones
    from snapsim.planning.restore import Restores

__all__ = ["boot_progress", "clone_growth", "restore_durations"]

_WAYS = {
    "full": Series(BLUE, "-", "o"),
    "partial": Series(GREEN, "--", "s"),
    "incremental": Series(VERMILLION, "-.", "^"),
    "revert": Series(PURPLE, ":", "D"),
}
_ORDERS = {
    "linear": Series(VERMILLION, "--", "^"),
    "hottest": Series(ORANGE, "-.", "s"),
    "needed": Series(BLUE, "-", "o"),
}
_ORDER_NAMES = {"linear": "by address", "hottest": "most read first", "needed": "first needed first"}
_MAX_AGES = 14
_MARKERS = 10


def restore_durations(restores: "Restores") -> Figure:
    """Draw how long each kept snapshot takes to come back.

    Parameters
    ----------
    restores : Restores
        The answer.

    Returns
    -------
    Figure
        A line for each way, from the oldest snapshot to the newest; the axis of durations is logarithmic.
        Where nothing has to be moved there is no point.

    Raises
    ------
    UsageError
        No snapshot is kept.
    """
    frame = restores.frame
    if frame.empty:
        raise UsageError("no snapshot is kept, so there are no restores to draw")
    ages = frame.drop_duplicates("taken")["age_ns"].tolist()
    names = [way for way in _WAYS if (frame["restore"] == way).any()]
    times = {
        way: frame.loc[frame["restore"] == way, "duration_ns"].to_numpy(np.float64, copy=True)
        for way in names
    }
    for values in times.values():
        values[values == 0] = np.nan
    shown = np.concatenate(list(times.values()))
    shown = shown[~np.isnan(shown)]
    low, high = (float(shown.min()) / 2, float(shown.max()) * 2) if len(shown) else (1.0, 1e9)
    with style():
        fig = new_figure(figsize=(8.0, 4.0))
        axes = fig.subplots()
        keys = []
        for way, values in times.items():
            color, dash, marker, _ = _WAYS[way]
            every = max(len(values) // _MARKERS, 1)
            (line,) = axes.plot(
                values, color=color, linestyle=dash, marker=marker, markevery=every, label=way
            )
            keys.append((line, color))
        axes.set(yscale="log", ylim=(low, high), xlim=(-0.5, len(ages) - 0.5))
        label_durations(axes.yaxis, low, high)
        places = list(range(len(ages) - 1, -1, -math.ceil(len(ages) / _MAX_AGES)))
        axes.xaxis.set_major_locator(FixedLocator(places))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda rank, _: _age(ages[round(rank)])))
        axes.grid(visible=False, axis="x")
        axes.set(xlabel="Age of the snapshot", ylabel="Time to restore")
        key_above(axes, keys)
    longest = ", ".join(f"{way} {format_duration(took)}" for way, took in restores.longest.items())
    where = (
        restores.device.title if restores.shared else f"{restores.device.title} to {restores.target.title}"
    )
    facts = f"{len(ages):,} snapshots, at most {longest}"
    return Figure(
        fig,
        caption=(
            f"Time to restore each kept snapshot of {restores.mechanism.title}, {where}. Partial: "
            f"{restores.part}. Incremental: over {restores.base}; no point where nothing differs. The axis "
            "of durations is logarithmic."
        ),
        alt=f"Lines over the snapshots, from {_age(ages[0])} old to {_age(ages[-1])} old: {facts}.",
        text=f"Figure restore durations: {len(names)} series, {facts}",
    )


def boot_progress(boots: "BootOrders") -> Figure:
    """Draw what a guest meets on a volume that is still being restored.

    Parameters
    ----------
    boots : BootOrders
        The answer.

    Returns
    -------
    Figure
        Over the time since the restore began, until the guest has started in every order: the reads that
        were served, and the share of them so far that had not to wait.
    """
    end = min(int(1.2 * boots.frame["duration_ns"].max()), int(boots.progress["age_ns"].max()))
    frame = boots.progress[boots.progress["age_ns"] <= end]
    scale = TimeScale.fitting(0, end, known=False)
    with style():
        fig = new_figure(figsize=(8.0, 5.2))
        above, below = fig.subplots(2, 1, sharex=True)
        keys = []
        for order, part in frame.groupby("order", sort=False):
            color, dash, marker, _ = _ORDERS[str(order)]
            name = _ORDER_NAMES[str(order)]
            every = max(len(part) // _MARKERS, 1)
            (line,) = above.plot(
                scale.values(part["age_ns"]), part["reads_served"], color=color, linestyle=dash,
                marker=marker, markevery=every, label=name,
            )  # fmt: skip
            keys.append((line, color))
            below.plot(
                scale.values(part["age_ns"]), _share(part), color=color, linestyle=dash, marker=marker,
                markevery=every,
            )  # fmt: skip
        above.axhline(boots.reads, color=GREY, linewidth=0.8, linestyle=":")
        above.set(ylabel=label("reads_served"), ylim=(0, None))
        below.set(xlim=scale.limits, ylim=(-0.03, 1.03), ylabel="Without waiting")
        below.yaxis.set_major_formatter(PercentFormatter(1.0))
        scale.apply(below)
        below.set_xlabel(f"Time since the restore began [{scale.unit[1]}]")
        key_above(above, keys)
    rows = boots.frame.set_index("order")
    told = ", ".join(
        f"{_ORDER_NAMES[str(order)]} {format_duration(int(row['duration_ns']))}"
        for order, row in rows.iterrows()
    )
    undisturbed = format_duration(boots.undisturbed_ns)
    facts = f"first {boots.reads:,} reads served after: {told}; all there {undisturbed}"
    return Figure(
        fig,
        caption=(
            f"A guest on a volume of {format_size(boots.size)} that is being restored from "
            f"{boots.device.title}. The order was learned from {boots.learned}. Above: reads served; dotted: "
            f"{boots.reads:,}. Below: the share of all reads so far that met only restored blocks."
        ),
        alt=f"Two panels over time since the restore began, a line for each order: {facts}.",
        text=f"Figure boot progress: {len(rows)} series in 2 panels, {facts}",
    )


def clone_growth(clones: "Clones") -> Figure:
    """Draw what clones of one base take over time.

    Parameters
    ----------
    clones : Clones
        The answer.

    Returns
    -------
    Figure
        The base and the overlays on top of each other, and the number of clones; resets as drops.
    """
    frame = clones.frame
    # at a reset there are two values: just before, and after
    ages = np.repeat(frame["age_ns"].to_numpy(np.int64), 2)
    held = (frame["overlay_bytes"] + frame["metadata_bytes"]).to_numpy(np.int64)
    overlays = np.stack((frame["peak_bytes"].to_numpy(np.int64), held), axis=1).reshape(-1)
    there = np.repeat(frame["clones"].to_numpy(np.int64), 2)
    top = int(overlays.max()) + clones.base_bytes
    unit, scale = ByteScale.fitting(top), TimeScale.fitting(0, int(ages[-1]), known=False)
    x = scale.values(ages)
    with style():
        fig = new_figure(figsize=(8.0, 4.6))
        axes, count = fig.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        _stack(axes, x, unit, clones.base_bytes, overlays)
        axes.set(xlim=scale.limits, ylim=(0, 1.08 * max(top, 1) / unit.size), ylabel=f"Space [{unit.unit}]")
        base = float(unit.values(clones.base_bytes))
        ends = [
            EndLabel(base / 2, "Base", GREY),
            EndLabel(base + float(unit.values(overlays[-1])) / 2, "Overlays", BLUE),
        ]
        label_ends(axes, ends)
        count.step(x, there, where="post", color=GREEN)
        count.set(ylabel=label("clones"), ylim=(0, 1.15 * int(there.max())))
        scale.apply(count)
        count.set_xlabel(f"Time since the first clone [{scale.unit[1]}]")
    peak = format_size(clones.peak["total_bytes"])
    ways = clones.ways.set_index("way")["total_bytes"]
    others = ", ".join(
        f"{format_size(int(most))} as {way}" for way, most in ways.items() if way != "overlays"
    )
    resets = (
        f" All are reset every {format_duration(clones.reset_ns)}: {clones.resets:,} times."
        if clones.reset_ns
        else ""
    )
    many, end = len(clones.members), format_size(int(frame["total_bytes"].iloc[-1]))
    facts = f"{many:,} clones, at most {peak}, at the end {end}"
    return Figure(
        fig,
        caption=(
            f"{many:,} clones of a base of {format_size(clones.base_bytes)} on {clones.mechanism.title}: at "
            f"most {peak} together; it would be {others}.{resets}"
        ),
        alt=f"Space over {format_duration(int(ages[-1]))}, base and overlays stacked: {facts}.{resets}",
        text=f"Figure clone growth: 3 series, {facts}",
    )


def _stack(
    axes: Axes, x: FloatArray, unit: ByteScale, base: int, overlays: "np.typing.NDArray[np.int64]"
) -> None:
    ground = unit.values(np.full(len(x), base))
    top = ground + unit.values(overlays)
    axes.fill_between(x, 0, ground, color=GREY, alpha=0.3, hatch="..", linewidth=0)
    axes.plot(x, ground, color=GREY)
    axes.fill_between(x, ground, top, color=BLUE, alpha=0.3, linewidth=0)
    axes.plot(x, top, color=BLUE)


def _share(part: pd.DataFrame) -> FloatArray:
    """Return the share of all reads so far that had not to wait; NaN before the first."""
    served = part["reads_served"].to_numpy(np.float64)
    hits = np.cumsum(np.nan_to_num(part["hit_share"].to_numpy(np.float64)) * np.diff(served, prepend=0))
    share: FloatArray = np.divide(hits, served, out=np.full(len(served), np.nan), where=served > 0)
    return share


def _age(age_ns: int) -> str:
    return format_duration(age_ns, digits=2) if age_ns else "0"
