"""`snapsim policy compare`: policies side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from snapsim.cli.happening import clock_of
from snapsim.cli.mechanisms import find
from snapsim.cli.output import check_writable, print_json
from snapsim.cli.policy.arguments import Days, ScheduleText, at_ticks, moment, read_policy
from snapsim.cli.progress import bar, doing
from snapsim.cli.reading import Json, Reading, load, warn_about
from snapsim.cli.wording import worded
from snapsim.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

    from snapsim.policy.policy import Policy
    from snapsim.tuning.side_by_side import SideBySide
    from snapsim.types import Int64Array

__all__ = ["compare"]

_DAY = 86_400 * 10**9
_USUAL = 400 * _DAY
_MOST_TICKS = 2_000_000
_MOST_TAKEN = 50_000  # of whose whole history decisions are made again and again
_MOST_DECISIONS = 200_000  # so many at most, if that is at least eight dates
_SPACE = Group("With a disk's own trace", sort_key=8)


def compare(
    policies: Annotated[Sequence[str], Parameter(metavar="POLICY", required=True)],
    /,
    *,
    what_if: Annotated[Sequence[str], Parameter(metavar="CHANGE")] = (),
    once: bool = False,
    days: Days = None,
    schedule: ScheduleText = None,
    trace: Annotated[Path | None, Parameter(metavar="TRACE", group=_SPACE)] = None,
    mechanism: Annotated[str, Parameter(metavar="NAME", group=_SPACE)] = "qcow2-external",
    pool_size: Annotated[str | None, Parameter(metavar="SIZE", group=_SPACE)] = None,
    every: Annotated[str | None, Parameter(metavar="DURATION", group=_SPACE)] = None,
    reading: Reading = Reading(),  # noqa: B008  frozen
    figure: Annotated[Path | None, Parameter(metavar="FILE")] = None,
    as_json: Json = False,
) -> None:
    """Compare policies: what they hold, how far apart, how far back, and what only one of them holds.

    All run over the same instants: those of a trace, or from --start on, so that they end now unless it is
    given. With a trace, keeping everything and the least possible stand beside them.

    Parameters
    ----------
    policies : sequence of str
        A policy file, FILE:NAME where it has several, or the name of a preset; one or more of them.
    what_if : sequence of str
        Compare the first one with itself after a change: "drop monthly", "double daily", "halve hourly",
        "daily 14"; may be repeated.
    once : bool
        Say how each policy differs from itself applied once to the whole history, as calculators do; done
        anyway where there is only one.
    days : float, optional
        For how long they run; 400 unless said, or three times as long as they reach if that is longer.
    schedule : str, optional
        When snapshots are taken, for policies that do not say so.
    trace : Path, optional
        A disk's trace: policies run for as long as it lasts, and space is counted.
    mechanism : str
        How the system keeps snapshots: see snapsim mechanisms.
    pool_size : str, optional
        Size of the pool ("100GiB"): rules about space act on it.
    every : str, optional
        Count at the multiples of this interval instead of at the policies' ticks.
    reading : Reading
        How to read the trace.
    figure : Path, optional
        Draw the ladders (.png, .svg or .pdf).
    as_json : bool
        Print JSON.

    Raises
    ------
    UsageError
        Options contradict each other, or policies have one name.
    """
    check_writable(figure)
    chosen = _chosen(policies, what_if, schedule, blind=trace is None)
    if trace is not None and days is not None:
        raise UsageError("--trace says for how long policies run: leave --days out")
    if trace is None and every is not None:
        raise UsageError("--every is for counting a trace: give --trace, too, or leave it out")
    if trace is None and pool_size is not None:
        raise UsageError("--pool-size: how full a pool is takes a trace: give --trace, too, or leave it out")
    with_space = trace is not None
    instants = None if with_space else _instants(chosen, reading.start, days)
    from snapsim.tuning.side_by_side import side_by_side

    if trace is not None:
        answer = _counted(chosen, trace, reading, mechanism=mechanism, pool_size=pool_size, every=every)
    else:
        with bar("running", unit="policies") as progress:
            answer = side_by_side(chosen, instants, progress=progress)
    views = _once(answer) if once or len(chosen) == 1 else {}
    files = _draw(answer, figure)
    if as_json:
        told = {name: frame.assign(time=frame["time"].astype(str)) for name, frame in views.items()}
        applied = {name: frame.to_dict("records") for name, frame in told.items()}
        print_json(answer.summary() | {"applied_once": applied, "figure": files})
        return
    from snapsim.policy.comparing import one_shot_text

    print(answer.text())
    for name, frame in views.items():
        print(f"{name} {one_shot_text(frame)}")
    if files is not None:
        print(f"figure: {files}")


def _chosen(
    texts: Sequence[str], changes: Sequence[str], schedule: str | None, *, blind: bool
) -> "dict[str, Policy]":
    """Read the policies, by names that tell them apart."""
    from snapsim.policy.comparing import vary

    chosen: dict[str, Policy] = {}
    read = [(text, read_policy(text)) for text in texts]
    if schedule is not None:
        read = [(text, one if one.schedule else read_policy(text, schedule=schedule)) for text, one in read]
    for text, policy in read:
        name = policy.name or Path(text).stem
        if name in chosen:
            name = text
        if name in chosen:
            raise UsageError(f"{text} is given twice: compare different policies, or use --what-if")
        chosen[name] = at_ticks(policy) if blind else policy
    first = next(iter(chosen.values()))
    for change in changes:
        if change in chosen:
            raise UsageError(f"--what-if {change!r} is given twice")
        chosen[change] = vary(first, change)
    return chosen


def _instants(chosen: "Mapping[str, Policy]", start: str | None, days: float | None) -> "Int64Array":
    from snapsim.policy.comparing import common_instants, settling_ns

    if days is not None and not 0 < days <= 100_000:
        raise UsageError(f"--days {days:g}: give a number above 0, up to 100000")
    settled = max(settling_ns(policy, endless_ns=_USUAL) for policy in chosen.values())
    span = max(_USUAL, settled) if days is None else int(days * _DAY)
    periods = [policy.schedule.period_ns for policy in chosen.values() if policy.schedule]
    if sum(span / period for period in periods) > _MOST_TICKS:
        raise UsageError("the policies would take millions of snapshots in that time: give fewer --days")
    first = moment(start) if start is not None else moment(None) - span
    return common_instants(chosen, first, first + span)


def _counted(
    chosen: "Mapping[str, Policy]",
    path: Path,
    reading: Reading,
    *,
    mechanism: str,
    pool_size: str | None,
    every: str | None,
) -> "SideBySide":
    system = find(mechanism)
    volume = load(path, reading)
    warn_about(path, volume)
    with bar("counting", unit="requests") as progress, worded():
        from snapsim.planning.lifetimes import count_lifetimes
        from snapsim.tuning.side_by_side import side_by_side

        clocks = [clock_of(policy, every) for policy in chosen.values()]
        spans = [clock["every"] for clock in clocks if "every" in clock]
        clock = {"every": min(spans)} if spans else {"schedules": list(chosen.values())}
        counted = count_lifetimes(volume, **clock, block_size=system.block_size, progress=progress)
        return side_by_side(chosen, lifetimes=counted, mechanism=system, pool_size=pool_size)


def _once(answer: "SideBySide") -> "dict[str, pd.DataFrame]":
    from snapsim.policy.comparing import one_shot

    views = {}
    for name, timeline in answer.comparison.timelines.items():
        if len(timeline) > _MOST_TAKEN:
            raise UsageError(
                f"{name} takes {len(timeline):,} snapshots, too many to decide about all of them again and "
                f"again: give fewer --days"
            )
        dates = min(max(_MOST_DECISIONS // max(len(timeline), 1), 8), 114)
        with bar(f"applying {name} once", unit="dates") as progress:
            views[name] = one_shot(timeline.policy, timeline.instants, dates=dates, progress=progress)
    return views


def _draw(answer: "SideBySide", figure: Path | None) -> Path | None:
    if figure is None:
        return None
    with doing(f"drawing {figure}"):
        from snapsim.viz import recovery_ladders

        return recovery_ladders(answer.ladders).save(figure)
