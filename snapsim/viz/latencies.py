"""Latencies as a distribution, and mechanisms side by side."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from snapsim.errors import UsageError
from snapsim.viz.comparison import LOOKS
from snapsim.viz.figure import Figure
from snapsim.viz.labels import EndLabel, label_ends
from snapsim.viz.replay_parts import (
    PERCENTILES,
    column,
    describe,
    log_range,
    most,
    on_foot,
    require_device,
    said_duration,
    said_load,
    said_ratio,
)
from snapsim.viz.scales import FloatArray, label_durations
from snapsim.viz.style import BLACK, GREY, SERIES, new_figure, style

if TYPE_CHECKING:
    from snapsim.engine.histogram import Histogram
    from snapsim.planning.mechanisms_compared import Comparison
    from snapsim.planning.replay import Replayed

_TICKS = (0.0, 50.0, 95.0, 99.0, 99.9, 99.99, 99.999)
_POINTS = 400
_LEAST = 2.0  # per cent of the requests, the fastest, may leave the picture at its foot
_MOST_TAIL = 5.0
_MOST_ROWS = 20
_SIZES = (10.5, 8.5, 6.5, 4.5)  # of marks, so that equal percentiles lie inside each other
_KINDS = {"read": "reads", "write": "writes", "all": "requests"}


def latency_distribution(replayed: "Replayed | Mapping[str, Replayed]", *, kind: str | None = None) -> Figure:
    """Draw how many requests take how long, with the tail pulled apart.

    Parameters
    ----------
    replayed : Replayed or mapping of str to Replayed
        One replay, or at most six by the name that is written beside their line.
    kind : {"read", "write", "all"}, optional
        Which requests; by default reads and writes of one replay, and all requests of several.

    Returns
    -------
    Figure
        Latency against the share of requests that are not slower. The axis of shares is logarithmic in what
        is left: p90, p99 and p99.9 are equally far apart. Marks stand at p50, p95, p99 and p99.9.

    Raises
    ------
    UsageError
        A replay was made without a device, no request has a latency, there are more than six, or `kind` is
        none of these.
    """
    if kind not in {None, *_KINDS}:
        raise UsageError(f"kind={kind!r} is none of {', '.join(_KINDS)}")
    lines, runs = _lines(replayed, kind)
    of = f" of {_KINDS[kind]}" if kind in {"read", "write"} else ""
    tails = {name: _tail(one) for name, one in lines.items()}
    curves = {
        name: np.array([lines[name].percentile(_percent(float(at))) for at in tail])
        for name, tail in tails.items()
    }
    shown = [curve[tails[name] >= _at(_LEAST)] for name, curve in curves.items()]
    low, high = log_range(*shown, otherwise=1000.0)
    right = max(float(tail[-1]) for tail in tails.values())
    with style():
        fig = new_figure(figsize=(8.0, 4.4))
        axes = fig.subplots()
        axes.set(xlim=(0, right), yscale="log", ylim=(low, high))
        ends = []
        for (name, curve), look in zip(curves.items(), LOOKS, strict=False):
            axes.plot(tails[name], on_foot(curve, low), color=look.color, linestyle=look.dash, linewidth=1.6)
            marked = [percent for percent, *_ in PERCENTILES.values() if _at(percent) <= tails[name][-1]]
            axes.plot(
                [_at(percent) for percent in marked],
                [max(lines[name].percentile(percent), low) for percent in marked],
                color=look.color, marker=look.marker, linestyle="none", markersize=6,
            )  # fmt: skip
            ends.append(EndLabel(max(float(curve[-1]), low), _named(name, runs[name]), look.color))
        ticks = [tick for tick in _TICKS if _at(tick) <= right]
        axes.set_xticks([_at(tick) for tick in ticks], [f"{tick:g} %" for tick in ticks])
        label_durations(axes.yaxis, low, high)
        axes.set_xlabel(f"{_KINDS[kind or 'all'].capitalize()} that are not slower")
        axes.set_ylabel("Latency")
        label_ends(axes, ends)
    facts = "; ".join(f"{_named(name, runs[name])} {_said(one)}" for name, one in lines.items())
    loads = " ".join(dict.fromkeys(_loads(runs)))
    return Figure(
        fig,
        caption=(
            f"Latency distribution{of}: {'; '.join(dict.fromkeys(describe(run) for run in runs.values()))}. "
            f"Over all: {facts}. {loads} Marks: p50, p95, p99, p99.9. A line ends where fewer "
            "than one request is slower; what took no time stands at the foot. The axis of latency is "
            "logarithmic."
        ),
        alt=f"{len(lines)} lines of latency{of} over the share that is not slower: {facts}. {loads}",
        text=f"Figure latency distribution{of}: {len(lines)} series: {facts}",
    )


def mechanisms_compared(comparison: "Comparison") -> Figure:
    """Draw what mechanisms write, read, hold and how long they take, on one trace and device.

    Parameters
    ----------
    comparison : Comparison
        What `snapsim.compare_mechanisms` returns.

    Returns
    -------
    Figure
        A row for each mechanism: bytes written and read below per guest byte, the most space held over the
        live data, and with a device the latencies p50, p95, p99 and p99.9 on one line. Where the device is
        saturated the row says so.

    Raises
    ------
    UsageError
        There is nothing to compare, or there are more than twenty mechanisms.
    """
    runs = dict(comparison.runs)
    if not runs:
        raise UsageError("there is nothing to compare: name at least one mechanism")
    if len(runs) > _MOST_ROWS:
        raise UsageError(f"{len(runs)} mechanisms make too many rows: compare at most {_MOST_ROWS}")
    timed = all(run.device is not None for run in runs.values())
    bars = {name: _costs(runs, name) for name in _TITLES}
    with style():
        fig = new_figure(figsize=(10.0, 1.5 + 0.42 * len(runs)))
        panels = fig.subplots(
            1, 3 + timed, sharey=True, squeeze=False, width_ratios=(1, 1, 1, 1.7)[: 3 + timed]
        )[0]
        for axes, (name, values) in zip(panels, bars.items(), strict=False):
            _draw_bars(axes, name, values)
        if timed:
            _draw_latencies(panels[3], runs)
        panels[0].set_yticks(range(len(runs)), list(runs))
        panels[0].set_ylim(len(runs) - 0.4, -0.6)
    facts = "; ".join(
        f"{name} {', '.join(f'{said_ratio(values[row])} {_SAID[of]}' for of, values in bars.items())}"
        + (f", p99 {said_duration(run.latencies['all'].percentile(99.0))}" if timed else "")
        + (" (saturated)" if _saturated(run) else "")
        for row, (name, run) in enumerate(runs.items())
    )
    return Figure(
        fig,
        caption=(
            f"Mechanisms compared, the same requests and snapshots: {facts}. Written and read: bytes that "
            "move below per byte that the guest writes or reads; space: the most that is held per live byte."
            + (" Latencies of all requests; their axis is logarithmic." if timed else "")
        ),
        alt=f"Bars for {len(runs)} mechanisms: {facts}.",
        text=f"Figure mechanisms compared: {len(runs)} rows: {facts}",
    )


_TITLES = {
    "write_amplification": "Written below\nper guest byte",
    "read_amplification": "Read below\nper guest byte",
    "space_amplification": "Space at most\nper live byte",
}
_SAID = {"write_amplification": "written", "read_amplification": "read", "space_amplification": "space"}


def _costs(runs: "dict[str, Replayed]", name: str) -> FloatArray:
    if name == "space_amplification":
        return np.array([most(column(run.frame, name)) for run in runs.values()])
    kind = name.removesuffix("_amplification")
    below, asked = {
        "write": ("written_bytes", "guest_written_bytes"),
        "read": ("read_bytes", "guest_read_bytes"),
    }[kind]
    sums = [(int(run.frame[below].sum()), int(run.frame[asked].sum())) for run in runs.values()]
    return np.array([moved / guest if guest else math.nan for moved, guest in sums])


def _draw_bars(axes: Axes, name: str, values: FloatArray) -> None:
    look = SERIES[name]
    rows = np.arange(len(values))
    drawn = np.nan_to_num(values)
    axes.barh(rows, drawn, height=0.6, color=look.color, alpha=0.45, edgecolor=look.color, linewidth=0.8)
    axes.axvline(1, color=GREY, linewidth=0.8)
    for row in rows.tolist():
        axes.annotate(
            said_ratio(values[row]), xy=(drawn[row], row), xytext=(4, 0), textcoords="offset points",
            va="center", fontsize=9,
        )  # fmt: skip
    axes.set_xlim(0, 1.45 * max(float(drawn.max()), 1.0))
    axes.xaxis.set_major_locator(MaxNLocator(4, min_n_ticks=2))
    axes.set_xlabel(_TITLES[name])
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


def _draw_latencies(axes: Axes, runs: "dict[str, Replayed]") -> None:
    rows = [
        [run.latencies["all"].percentile(percent) for percent, *_ in PERCENTILES.values()]
        for run in runs.values()
    ]
    low, high = log_range(np.array(rows).ravel(), otherwise=1000.0)
    axes.set(xscale="log", xlim=(low, high))
    for row, (values, run) in enumerate(zip(rows, runs.values(), strict=True)):
        line = on_foot(np.array(values), low)
        full = _saturated(run)
        axes.plot(line, np.full(len(line), row), color=GREY, linestyle=":" if full else "-", linewidth=1.2)
        for value, size, (_, _, look, _) in zip(line, _SIZES, PERCENTILES.values(), strict=True):
            axes.plot(
                [value], [row], marker=look.marker, color=look.color, markersize=size, linestyle="none",
                fillstyle="none" if full else "full", clip_on=False,
            )  # fmt: skip
        if full:
            axes.annotate(
                "saturated", xy=(line[0], row), xytext=(-3, 4), textcoords="offset points", va="bottom",
                fontsize=8.5, fontweight="bold", color=BLACK,
            )  # fmt: skip
    label_durations(axes.xaxis, low, high, at_most=4)
    axes.set_xlabel("Latency")
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    marks = [
        Line2D([], [], marker=look.marker, markersize=size, color=look.color, linestyle="none", label=text)
        for size, (_, text, look, _) in zip(_SIZES, PERCENTILES.values(), strict=True)
    ]
    axes.legend(
        handles=marks, loc="lower right", bbox_to_anchor=(1, 1), ncols=len(marks), borderaxespad=0.1,
        handletextpad=0.1, columnspacing=0.9,
    )  # fmt: skip


def _lines(
    replayed: "Replayed | Mapping[str, Replayed]", kind: str | None
) -> "tuple[dict[str, Histogram], dict[str, Replayed]]":
    """Return what is drawn, and where it comes from, by name."""
    if isinstance(replayed, Mapping):
        runs = dict(replayed)
        if len(runs) > len(LOOKS):
            raise UsageError(f"{len(runs)} lines cannot be told apart: draw at most {len(LOOKS)}")
        for run in runs.values():
            require_device(run)
        lines = {name: run.latencies[kind or "all"] for name, run in runs.items()}
    else:
        require_device(replayed)
        shown = ("read", "write") if kind is None else (kind,)
        lines = {_KINDS[one]: replayed.latencies[one] for one in shown}
        runs = dict.fromkeys(lines, replayed)
    filled = {name: one for name, one in lines.items() if one.count}
    if not filled:
        raise UsageError("no request has a latency, so there is no distribution to draw")
    return filled, {name: runs[name] for name in filled}


def _tail(histogram: "Histogram") -> FloatArray:
    """Return where a line is drawn: decades of what is left, until less than one request is."""
    return np.linspace(0, min(max(math.log10(histogram.count), 1.0), _MOST_TAIL), _POINTS)


def _at(percent: float) -> float:
    return -math.log10(1 - percent / 100)


def _percent(at: float) -> float:
    return 100 * (1 - 10**-at)


def _named(name: str, run: "Replayed") -> str:
    return f"{name} (saturated)" if _saturated(run) else name


def _saturated(run: "Replayed") -> bool:
    return run.load is not None and run.load.saturated


def _said(histogram: "Histogram") -> str:
    return ", ".join(
        f"{text} {said_duration(histogram.percentile(percent))}" for percent, text, *_ in PERCENTILES.values()
    )


def _loads(runs: "dict[str, Replayed]") -> list[str]:
    once = list(dict.fromkeys(map(said_load, runs.values())))
    if len(once) == 1:
        return once
    return [f"{name}: {said_load(run)}" for name, run in runs.items()]
