"""Policies: a calendar of recovery points, how far apart they are, and applied once against over time."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from snapsim.errors import UsageError
from snapsim.policy.explaining import OTHERWISE
from snapsim.units import DAY, HOUR, MINUTE, SECOND, format_duration
from snapsim.viz.changes import nanoseconds
from snapsim.viz.comparison import LOOKS
from snapsim.viz.figure import Figure
from snapsim.viz.labels import EndLabel, key_above, label_ends
from snapsim.viz.scales import FloatArray, TimeScale
from snapsim.viz.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    YELLOW,
    new_figure,
    style,
)

if TYPE_CHECKING:
    from snapsim.policy.explaining import KeptDay, RecoveryCalendar

_COLORS = (SKY, ORANGE, GREEN, PURPLE, YELLOW, BLUE, VERMILLION)
_SHADE = 0.45
_APART = 1.05  # between lines of different policies
_ROW = 0.24  # inches
_MOST_ROWS = 110
_TICKS = (
    SECOND, MINUTE, 15 * MINUTE, HOUR, 6 * HOUR,
    *(days * DAY for days in (1, 7, 30, 90, 365, 3650)),
)  # fmt: skip


def recovery_calendar(calendar: "RecoveryCalendar") -> Figure:
    """Draw the recovery points that a policy holds, week by week.

    Parameters
    ----------
    calendar : RecoveryCalendar
        What `snapsim.calendar` or `snapsim.explain(...).calendar` returns.

    Returns
    -------
    Figure
        A row for each week with a recovery point, a cell for each day; in it the letters of the rules that
        keep it, and its colour that of the last of them. Where weeks without one lie between, a line says how
        many.

    Raises
    ------
    UsageError
        Nothing is kept, or there are too many weeks to be read.
    """
    rows = _rows(calendar)
    if not rows:
        raise UsageError("nothing is kept, so there is no calendar to draw")
    if len(rows) > _MOST_ROWS:
        raise UsageError(
            f"the calendar has {len(rows)} rows, which nobody can read: at most {_MOST_ROWS} are drawn; "
            "use its text or its frame"
        )
    colors = _rule_colors(calendar)
    by_week: dict[int, list[KeptDay]] = {}
    for day in calendar.days:
        by_week.setdefault(day.week, []).append(day)
    with style():
        fig = new_figure(figsize=(6.4, 1.3 + _ROW * len(rows)))
        axes = fig.subplots()
        axes.set(xlim=(-0.5, 6.5), ylim=(len(rows) - 0.5, -0.5))
        axes.grid(visible=False)
        axes.tick_params(length=0)
        axes.xaxis.tick_top()
        axes.set_xticks(range(7), list(calendar.weekdays))
        axes.set_yticks(range(len(rows)), [_row_name(calendar, row) for row in rows], fontsize=8)
        axes.set_ylabel("Week of")
        for place, row in enumerate(rows):
            if row < 0:
                axes.axhline(place, color=GREY, linewidth=0.6, linestyle=":")
                continue
            for day in by_week[row]:
                _draw_day(axes, place, day, colors)
        used = "".join(day.letters for day in calendar.days)
        keys = [
            Patch(facecolor=to_rgba(color, _SHADE), edgecolor=GREY, label=f"{letter} {name}")
            for letter, (name, color) in colors.items()
            if letter in used
        ]
        axes.legend(
            handles=keys, loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=4, fontsize=8.5,
            handlelength=1.2, columnspacing=1.2,
        )  # fmt: skip
    explanation = calendar.explanation
    kept = sum(day.points for day in calendar.days)
    facts = (
        f"{kept} recovery points on {len(calendar.days)} days, the oldest "
        f"{format_duration(explanation.now_ns - explanation.kept[0].time_ns)} old"
    )
    return Figure(
        fig,
        caption=(
            f"Recovery points, {explanation.verdict}: {explanation.policy.describe()}. Letters are the "
            f"rules that keep them ({explanation.key}), colours the last of these; a number counts several "
            "of a day."
        ),
        alt=f"Calendar of weeks and weekdays with {facts}. Rules: {explanation.key}.",
        text=f"Figure recovery calendar: {facts}, rules: {explanation.key}",
    )


def _rows(calendar: "RecoveryCalendar") -> list[int]:
    """Return weeks with a recovery point; between them, for a stretch of others, minus their number."""
    weeks = sorted({day.week for day in calendar.days})
    rows: list[int] = []
    for week in weeks:
        missing = week - rows[-1] - 1 if rows else 0
        rows += [-missing, week] if missing else [week]
    return rows


def _row_name(calendar: "RecoveryCalendar", row: int) -> str:
    if row < 0:
        return f"{-row} week{'s' * (row < -1)} without"
    return f"{calendar.week_begins(row):%Y-%m-%d}"


def _rule_colors(calendar: "RecoveryCalendar") -> dict[str, tuple[str, str]]:
    """Return name and colour of each letter."""
    colors: dict[str, tuple[str, str]] = {}
    for name, letter in calendar.explanation.letters.items():
        known = colors.get(letter)
        color = known[1] if known else _COLORS[len(colors) % len(_COLORS)]
        colors[letter] = (f"{known[0]}, {name}" if known else name, color)
    return {**colors, OTHERWISE: ("another reason", "#BBBBBB")}


def _draw_day(axes: Axes, place: int, day: "KeptDay", colors: dict[str, tuple[str, str]]) -> None:
    face = to_rgba(colors[day.letters[-1]][1], _SHADE)
    axes.add_patch(
        Rectangle((day.weekday - 0.46, place - 0.42), 0.92, 0.84, facecolor=face, edgecolor=GREY, lw=0.5)
    )
    text = day.letters if day.points == 1 else f"{day.letters} {day.points}"
    axes.text(day.weekday, place, text, ha="center", va="center", fontsize=8)


def recovery_ladders(ladders: pd.DataFrame) -> Figure:
    """Draw how far apart the recovery points of policies are at each age.

    Parameters
    ----------
    ladders : DataFrame
        `SideBySide.ladders`, or what `recovery_ladder` returns with a column policy.

    Returns
    -------
    Figure
        Steps over bands of age: the median gap of each policy as a line, the worst one as a thin line with
        the policy's marker. Both axes are logarithmic.

    Raises
    ------
    UsageError
        There is no gap to draw, or there are more than six policies.
    """
    told = ladders[ladders["worst_gap_ns"].notna() & (ladders["worst_gap_ns"] > 0)]
    names = list(dict.fromkeys(told["policy"]))
    if not names:
        raise UsageError("there are no gaps between recovery points to draw: let the policies run for longer")
    if len(names) > len(LOOKS):
        raise UsageError(f"{len(names)} policies cannot be told apart: draw at most {len(LOOKS)}")
    edges = np.unique(told[["age_from_ns", "age_to_ns"]].to_numpy(np.int64))
    left = max(int(edges[0]), int(edges[edges > 0][0]) // 8)
    gaps = told[["median_gap_ns", "worst_gap_ns"]].to_numpy(np.int64)
    low, high = max(int(gaps[gaps > 0].min()) / 1.6, 1.0), int(gaps.max()) * 1.6
    with style():
        fig = new_figure(figsize=(8.0, 4.2))
        axes = fig.subplots()
        axes.set(xscale="log", yscale="log", xlim=(left, int(edges[-1])), ylim=(low, high))
        ends = []
        for place, (name, look) in enumerate(zip(names, LOOKS, strict=False)):
            own, shift = told[told["policy"] == name], _APART ** (place - (len(names) - 1) / 2)
            x = _steps(own["age_from_ns"], own["age_to_ns"], left)
            median, worst = (
                shift * np.repeat(own[column].to_numpy(np.float64), 2)
                for column in ("median_gap_ns", "worst_gap_ns")
            )
            axes.plot(x, np.maximum(median, low), color=look.color, linestyle=look.dash)
            axes.plot(
                x, worst, color=look.color, linewidth=0.8, linestyle=look.dash, marker=look.marker,
                markersize=6, fillstyle="none",
            )  # fmt: skip
            ends.append(EndLabel(float(median[-1]), name, look.color))
        _durations(axes)
        axes.set_xlabel("Age of the recovery point")
        axes.set_ylabel("Distance to the next newer one")
        label_ends(axes, ends)
    facts = "; ".join(f"{name} {_said(told[told['policy'] == name])}" for name in names)
    return Figure(
        fig,
        caption=(
            "Recovery-point ladders over the run: how far apart neighbouring recovery points are at each "
            "age, median (thick) and worst (thin, marked). Both axes are logarithmic; lines are moved apart "
            "a little, so that none hides another."
        ),
        alt=f"{2 * len(names)} stepped lines over age; median and worst distance: {facts}.",
        text=f"Figure recovery ladders: {2 * len(names)} series: {facts}",
    )


def _steps(low: "pd.Series[int]", high: "pd.Series[int]", left: int) -> FloatArray:
    edges = np.stack([np.maximum(low.to_numpy(np.int64), left), high.to_numpy(np.int64)], axis=1)
    return edges.ravel().astype(np.float64)


def _durations(axes: Axes) -> None:
    for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        axis.set_major_locator(FixedLocator([tick for tick in _TICKS if low <= tick <= high]))
        axis.set_major_formatter(FuncFormatter(lambda length, _: format_duration(round(length))))
        axis.set_minor_locator(NullLocator())


def _said(ladder: pd.DataFrame) -> str:
    return ", ".join(
        f"{format_duration(int(median))} and {format_duration(int(worst))} up to {format_duration(int(age))}"
        for age, median, worst in ladder[["age_to_ns", "median_gap_ns", "worst_gap_ns"]].itertuples(
            index=False
        )
    )


def one_shot_view(frame: pd.DataFrame, *, title: str = "") -> Figure:
    """Draw how a policy that prunes after every snapshot differs from one that is applied once.

    Parameters
    ----------
    frame : DataFrame
        What `snapsim.one_shot` returns.
    title : str
        The policy, for the caption.

    Returns
    -------
    Figure
        Over time the snapshots of both views, and as an area those that exist but would not be kept of the
        whole history.

    Raises
    ------
    UsageError
        The frame has no date.
    """
    if frame.empty:
        raise UsageError("there is no date to draw: let the policy run for longer")
    times = nanoseconds(frame["time"])
    scale = TimeScale.fitting(int(times[0]), int(times[-1]))
    x = scale.values(times)
    series = {
        "pruned after every snapshot": ("snapshots_iterated", BLUE, "-", "o"),
        "applied once to everything": ("snapshots_one_shot", VERMILLION, "--", "^"),
    }
    top = int(frame[["snapshots_iterated", "snapshots_one_shot"]].to_numpy().max())
    with style():
        fig = new_figure(figsize=(8.0, 3.8))
        axes = fig.subplots()
        axes.set(xlim=scale.limits, ylim=(0, 1.12 * max(top, 1)))
        area = axes.fill_between(
            x, 0, frame["only_iterated"].to_numpy(), color=GREY, alpha=0.45, hatch="//", linewidth=0,
            label="exist, but would not be kept", step="mid",
        )  # fmt: skip
        keys: list[tuple[Artist, str]] = [(area, GREY)]
        for name, (column, color, dash, marker) in series.items():
            (line,) = axes.plot(
                x, frame[column].to_numpy(), color=color, linestyle=dash, marker=marker,
                markevery=max(len(x) // 8, 1), label=name,
            )  # fmt: skip
            keys.append((line, color))
        scale.apply(axes)
        axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_ylabel("Snapshots")
        key_above(axes, keys)
    same = int(((frame["only_iterated"] == 0) & (frame["only_one_shot"] == 0)).sum())
    facts = (
        f"the same at {same} of {len(frame)} dates; on average {frame['snapshots_iterated'].mean():.1f} "
        f"snapshots after every prune, {frame['snapshots_one_shot'].mean():.1f} applied once, "
        f"{frame['only_iterated'].mean():.1f} of the former not among the latter"
    )
    said = f" of {title}" if title else ""
    return Figure(
        fig,
        caption=(
            f"Retention{said} as it happens, pruned after every snapshot, and as calculators show it, "
            f"applied once to the whole history: {facts}."
        ),
        alt=f"Two lines of snapshot counts over time and the area of their difference: {facts}.",
        text=f"Figure one shot: 3 series, {facts}",
    )
