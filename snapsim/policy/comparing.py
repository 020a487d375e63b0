"""One policy beside another, or beside itself: applied once or over time, young or settled."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from snapsim import schema
from snapsim.errors import PolicyError, UnitError
from snapsim.policy.compat import KEEP_BUCKETS, WITHIN_BUCKETS
from snapsim.policy.explaining import aligned
from snapsim.policy.policy import Policy
from snapsim.policy.reach import reach
from snapsim.policy.retention import UNLIMITED
from snapsim.policy.tables import Guards
from snapsim.policy.timeline import Timeline
from snapsim.policy.times import format_instant
from snapsim.types import Int64Array
from snapsim.units import format_duration, parse_duration

Progress = Callable[[int, int | None], None]

_DATES = 114
_MOST_SHOWN = 12  # recovery points that only one of two policies has


# --- once against over time -------------------------------------------------------------------------------


def one_shot(
    policy: Policy, instants: npt.ArrayLike, *, dates: int = _DATES, progress: Progress | None = None
) -> pd.DataFrame:
    """Compare what a policy would keep of a whole history with what it has kept, pruned after each snapshot.

    Calculators often apply a policy once to a full series.  A machine prunes after every snapshot, and what
    an earlier prune deleted is not there to be kept.  For about half of the tools the two differ.

    Parameters
    ----------
    policy : Policy
        The policy; it has a schedule.
    instants : int64 array, shape (n_instants,)
        When snapshots can be taken, UTC, strictly ascending.  [ns]
    dates : int
        At how many instants to compare; they are spread evenly over the part of the run in which the policy
        has run for as long as it reaches, or over its second half if it is too short for that.
    progress : callable, optional
        Called with the dates done and all of them.

    Returns
    -------
    pandas.DataFrame
        One row for each date: time, snapshots_iterated, snapshots_one_shot, only_iterated, only_one_shot.

    Raises
    ------
    PolicyError
        The policy has no schedule, or instants do not fit it.
    """
    timeline = policy.timeline(instants)
    once = replace(policy, guards=Guards(refuse_delete_all=False))  # a guard would hide the difference
    history = [timeline.snapshot(number) for number in range(len(timeline))]
    rows = []
    for number, i in enumerate(chosen := _dates(timeline, dates)):
        now = int(timeline.instants[i])
        taken = int(np.searchsorted(timeline.created, i, side="right"))
        would = {one.snapshot.time_ns for one in once.decide(history[:taken], now) if one.keep}
        has = set(timeline.instants[timeline.kept(i)].tolist())
        rows.append((now, len(has), len(would), len(has - would), len(would - has)))
        if progress is not None:
            progress(number + 1, len(chosen))
    columns = ("time", "snapshots_iterated", "snapshots_one_shot", "only_iterated", "only_one_shot")
    frame = pd.DataFrame(np.array(rows, dtype=np.int64).reshape(len(rows), len(columns)), columns=columns)
    frame["time"] = pd.to_datetime(frame["time"], unit="ns", utc=True)
    schema.check_columns(frame.columns)
    return frame


def _dates(timeline: Timeline, dates: int) -> list[int]:
    instants, settled = timeline.instants, scheduled_reach(timeline.policy)
    first = instants.size // 2
    if settled is not None and instants[-1] - instants[0] > settled:
        first = int(np.searchsorted(instants, instants[0] + settled))
    spread = np.linspace(first, instants.size - 1, min(dates, instants.size - first))
    return [int(i) for i in spread.astype(np.int64)]


def one_shot_text(frame: pd.DataFrame) -> str:
    """Say in one line how much the two views differ.

    Parameters
    ----------
    frame : pandas.DataFrame
        As `one_shot` returns it.

    Returns
    -------
    str
        At how many dates they agree, and how far apart they are on average.
    """
    same = int(((frame["only_iterated"] == 0) & (frame["only_one_shot"] == 0)).sum())
    if same == len(frame):
        return f"applied once or after every snapshot: the same at {same} of {len(frame)} dates"
    return (
        f"applied once to the whole history instead of after every snapshot: the same at {same} of "
        f"{len(frame)} dates; on average {frame['snapshots_one_shot'].mean():.1f} snapshots instead of "
        f"{frame['snapshots_iterated'].mean():.1f}, and {frame['only_iterated'].mean():.1f} of those that "
        f"exist are others"
    )


# --- start-up -----------------------------------------------------------------------------------------------


class StartUp(NamedTuple):
    """How long a policy takes until it is what it will always be.

    Attributes
    ----------
    count_ns : int or None
        After this long the number of snapshots stays within `fewest` and `most`; None if it had not settled
        by the end of the run.  [ns]
    reach_ns : int or None
        After this long the oldest one stays within the ages that it has later; None as above.  [ns]
    fewest, most : int
        Snapshots after a prune over the last third of the run.
    nearest_ns, farthest_ns : int
        Age of the oldest one over the last third of the run.  [ns]
    """

    count_ns: int | None
    reach_ns: int | None
    fewest: int
    most: int
    nearest_ns: int
    farthest_ns: int

    @property
    def settled_ns(self) -> int | None:
        """After this long both are steady; None if one is not.  [ns]"""
        return None if self.count_ns is None or self.reach_ns is None else max(self.count_ns, self.reach_ns)


def start_up(timeline: Timeline) -> StartUp:
    """Find the start-up phase of a policy: how long until number and age of its snapshots are steady.

    Steady is what stays within the range that it has in the last third of the run; what enters that range
    only there counts as not settled.

    Parameters
    ----------
    timeline : Timeline
        A policy over time, for longer than it reaches.

    Returns
    -------
    StartUp
        When count and reach settle, and their ranges.
    """
    count, age = timeline.live_counts, reached(timeline)
    tail = min(2 * (timeline.instants.size // 3), timeline.instants.size - 1)
    endless = scheduled_reach(timeline.policy) is None
    return StartUp(
        None if endless else _settles(timeline.instants, count, tail),
        None if endless else _settles(timeline.instants, age, tail),
        int(count[tail:].min()),
        int(count[tail:].max()),
        int(age[tail:].min()),
        int(age[tail:].max()),
    )


def _settles(instants: Int64Array, values: Int64Array, tail: int) -> int | None:
    low, high = values[tail:].min(), values[tail:].max()
    outside = np.flatnonzero((values < low) | (values > high))
    first = int(outside[-1]) + 1 if outside.size else 0
    return None if first >= tail > 0 else int(instants[first] - instants[0])


def reached(timeline: Timeline) -> Int64Array:
    """Return the age of the oldest snapshot after the prune at each instant.

    Parameters
    ----------
    timeline : Timeline
        A policy over time.

    Returns
    -------
    int64 array, shape (n_instants,)
        0 where there is none.  [ns]
    """
    instants = timeline.instants
    if not len(timeline):
        return np.zeros(instants.size, dtype=np.int64)
    # the oldest that exists at i is the first that is deleted after i
    last = np.maximum.accumulate(timeline.deleted)
    oldest = np.searchsorted(last, np.arange(instants.size), side="right")
    there = oldest < len(timeline)
    created = timeline.created[np.minimum(oldest, len(timeline) - 1)]
    there &= created <= np.arange(instants.size)
    return np.where(there, instants - instants[created], 0)


def scheduled_reach(policy: Policy) -> int | None:
    """Return how far back a policy reaches with what its schedule takes.

    Parameters
    ----------
    policy : Policy
        A policy.

    Returns
    -------
    int or None
        As `Policy.reach_ns`, without the rules about tags: people give those, schedules do not.  [ns]
    """
    rules = tuple(rule for rule in policy.rules if not rule.select.tags)
    return reach(policy.schedule, rules, policy.schedule_classes)


def settling_ns(policy: Policy, *, endless_ns: int) -> int:
    """Return for how long to run a policy to see its steady state.

    Parameters
    ----------
    policy : Policy
        A policy.
    endless_ns : int
        What is returned if it has no end.  [ns]

    Returns
    -------
    int
        Three times as far as it reaches, and four periods of its schedule, so that the last third is steady
        even where buckets are longer than a period.  [ns]
    """
    farthest = scheduled_reach(policy)
    period = policy.schedule.period_ns if policy.schedule else 0
    return endless_ns if farthest is None else 3 * farthest + 4 * period


# --- A against B -----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Comparison:
    """Policies over the same instants.

    Attributes
    ----------
    timelines : mapping of str to Timeline
        By name, all with the same instants.
    """

    timelines: Mapping[str, Timeline]

    def __repr__(self) -> str:
        return f"<Comparison: {', '.join(self.timelines)}>"

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row for each policy and instant: policy, time, snapshots, reach_ns."""
        parts = [
            pd.DataFrame(
                {
                    "policy": name,
                    "time": pd.to_datetime(pd.Series(timeline.instants), unit="ns", utc=True),
                    "snapshots": timeline.live_counts,
                    "reach_ns": reached(timeline),
                }
            )
            for name, timeline in self.timelines.items()
        ]
        frame = pd.concat(parts, ignore_index=True)
        schema.check_columns(frame.columns)
        return frame

    @cached_property
    def start_ups(self) -> dict[str, StartUp]:
        """The start-up phase of each policy."""
        return {name: start_up(timeline) for name, timeline in self.timelines.items()}

    def only(self, name: str, i: int = -1) -> Int64Array:
        """Return what one policy holds at an instant and no other does.

        Parameters
        ----------
        name : str
            Which one.
        i : int
            Index of the instant; negative ones count from the end.

        Returns
        -------
        int64 array, shape (n_snapshots,)
            When they were taken, ascending.  [ns]

        Raises
        ------
        IndexError
            There is no such instant.
        """
        others = [one.kept(i) for other, one in self.timelines.items() if other != name]
        own = self.timelines[name].kept(i)
        rest = np.setdiff1d(own, np.concatenate(others)) if others else own
        times: Int64Array = self.timelines[name].instants[rest]
        return times

    def common(self, i: int = -1) -> Int64Array:
        """Return what all policies hold at an instant.

        Parameters
        ----------
        i : int
            Index of the instant; negative ones count from the end.

        Returns
        -------
        int64 array, shape (n_snapshots,)
            When they were taken, ascending.  [ns]

        Raises
        ------
        IndexError
            There is no such instant.
        """
        first, *others = self.timelines.values()
        shared = first.kept(i)
        for one in others:
            shared = np.intersect1d(shared, one.kept(i))
        times: Int64Array = first.instants[shared]
        return times

    def figures(self) -> dict[str, dict[str, Any]]:
        """Return the figures of each policy.

        Returns
        -------
        dict of str to dict
            Snapshots taken, fewest and most in the steady state, most ever, at the end; the reach; the
            start-up; all times in nanoseconds, None for what has not settled.
        """
        return {
            name: {
                "policy": timeline.policy.describe(),
                "taken": len(timeline),
                "fewest": self.start_ups[name].fewest,
                "most": self.start_ups[name].most,
                "most_ever": timeline.max_live,
                "end": int(timeline.live_counts[-1]),
                "reach_from_ns": self.start_ups[name].nearest_ns,
                "reach_to_ns": self.start_ups[name].farthest_ns,
                "steady_after_ns": self.start_ups[name].settled_ns,
                "only_here": int(self.only(name).size),
            }
            for name, timeline in self.timelines.items()
        }

    def text(self) -> str:
        """Return the comparison as text.

        Returns
        -------
        str
            The policies, their figures side by side, and what only one of them holds at the end.
        """
        names = list(self.timelines)
        instants = next(iter(self.timelines.values())).instants
        head = [_introduced(name, timeline.policy) for name, timeline in self.timelines.items()]
        span = format_duration(int(instants[-1] - instants[0]))
        head.append(f"over {span}, from {format_instant(int(instants[0]))}; snapshots after each prune")
        table = aligned(("", *names), [(what, *cells) for what, *cells in self._rows()])
        return "\n".join([*head, "", *table, *self._differences()])

    def _rows(self) -> Iterator[tuple[str, ...]]:
        figures = self.figures().values()
        yield "snapshots, steady", *(_span(str(one["fewest"]), str(one["most"])) for one in figures)
        yield "snapshots, most", *(str(one["most_ever"]) for one in figures)
        yield "snapshots, at the end", *(str(one["end"]) for one in figures)
        yield (
            "reaches back",
            *(_span(_days(one["reach_from_ns"]), _days(one["reach_to_ns"])) for one in figures),
        )
        yield "steady after", *(_days(one["steady_after_ns"]) for one in figures)

    def _differences(self) -> Iterator[str]:
        if len(self.timelines) == 1:
            return
        yield ""
        yield f"at the end all hold {self.common().size} of the same recovery points"
        for name in self.timelines:
            times = self.only(name)
            shown = ", ".join(format_instant(int(one)) for one in times[-_MOST_SHOWN:][::-1])
            more = f", and {times.size - _MOST_SHOWN} older" if times.size > _MOST_SHOWN else ""
            yield f"only {name}: {times.size}{f' ({shown}{more})' if times.size else ''}"


def compare(
    policies: Mapping[str, Policy],
    instants: npt.ArrayLike,
    *,
    run: Callable[[Policy], Timeline] | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Run policies over the same instants.

    Parameters
    ----------
    policies : mapping of str to Policy
        By the name that tables and figures show; each has a schedule.
    instants : int64 array, shape (n_instants,)
        When snapshots can be taken, UTC, strictly ascending.  [ns]
    run : callable, optional
        Runs a policy over the instants; `Policy.timeline` unless given.
    progress : callable, optional
        Called with the steps done and all of them.

    Returns
    -------
    Comparison
        How many snapshots each holds, how far back they reach, and what only one of them holds.

    Raises
    ------
    PolicyError
        There is no policy, or one has no schedule, or instants do not fit it.

    Examples
    --------
    >>> days = np.arange(60) * 86_400 * 10**9
    >>> week = Policy(schedule="@daily", keep_daily=7)
    >>> two = compare({"week": week, "fortnight": vary(week, "double daily")}, days)
    >>> two.figures()["fortnight"]["most"], two.only("week").size, two.only("fortnight").size
    (14, 0, 7)
    """
    if not policies:
        raise PolicyError("there is nothing to compare: give at least one policy")
    timelines = {}
    for number, (name, policy) in enumerate(policies.items()):
        timelines[name] = policy.timeline(instants) if run is None else run(policy)
        if progress is not None:
            progress(number + 1, len(policies))
    return Comparison(timelines)


def common_instants(policies: Mapping[str, Policy], start_ns: int, stop_ns: int) -> Int64Array:
    """Return the instants at which at least one of several policies takes a snapshot.

    Parameters
    ----------
    policies : mapping of str to Policy
        By name.
    start_ns, stop_ns : int
        Half-open span, UTC.  [ns]

    Returns
    -------
    int64 array, shape (n_instants,)
        Ascending, UTC.  [ns]

    Raises
    ------
    PolicyError
        One of them has no schedule, or none of them is due in the span.
    """
    for name, policy in policies.items():
        if policy.schedule is None:
            raise PolicyError(f'policy {name} has no schedule: give it one, such as schedule = "@daily"')
    ticks = [policy.ticks(start_ns, stop_ns) for policy in policies.values()]
    instants = np.unique(np.concatenate(ticks))
    if not instants.size:
        raise PolicyError(
            f"no snapshot is due from {format_instant(start_ns)} to {format_instant(stop_ns)}: "
            f"take a longer span"
        )
    return instants


def _introduced(name: str, policy: Policy) -> str:
    said = policy.describe()
    return said if said.startswith(f"{name}: ") else f"{name}: {said}"


def _span(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"


def _days(length_ns: int | None) -> str:
    return "not settled" if length_ns is None else format_duration(length_ns) if length_ns else "0"


# --- what if ------------------------------------------------------------------------------------------------


def vary(policy: Policy, change: str) -> Policy:
    """Return a policy with one rule changed.

    Parameters
    ----------
    policy : Policy
        The policy.
    change : str
        "drop monthly", "double daily", "halve hourly" (rounded up), "daily 14" or "within 3d"; a key of the
        policy may be written with or without `keep_`.

    Returns
    -------
    Policy
        With another name that says what has changed.

    Raises
    ------
    PolicyError
        The change cannot be read, the policy has no such rule, or nothing would be left.

    Examples
    --------
    >>> policy = Policy(schedule="@daily", keep_daily=7, keep_monthly=6, name="usual")
    >>> vary(policy, "drop monthly").describe()
    'usual, drop monthly: @daily, keep daily 7 (UTC)'
    """
    match = re.fullmatch(
        r"(?:(drop|double|halve)\s+)?(?:keep[_ ])?([a-z_]+(?: [a-z]+ly)?)(?:\s+(\S+))?", change.strip()
    )
    keys = {key.removeprefix("keep_"): key for key in (*KEEP_BUCKETS, *WITHIN_BUCKETS)}
    if match is None or (match[1] is None) == (match[3] is None):
        raise PolicyError(
            f"change {change!r} cannot be read: write drop monthly, double daily, halve hourly or daily 14"
        )
    rule = match[2].replace(" ", "_")
    if rule not in keys:
        raise PolicyError(f"change {change!r}: there is no rule {rule!r}: the rules are {', '.join(keys)}")
    key = keys[rule]
    value = _changed(key, getattr(policy, key), match[1], match[3], change)
    name = f"{policy.name}, {change.strip()}" if policy.name else change.strip()
    return replace(policy, **{key: value, "name": name})


def _changed(key: str, value: Any, verb: str | None, wanted: str | None, change: str) -> Any:
    if wanted is not None:
        return int(wanted) if key in KEEP_BUCKETS and wanted.isdecimal() else wanted
    if not value:
        raise PolicyError(f"change {change!r}: the policy has no {key}, so there is nothing to change")
    if verb == "drop":
        return 0 if key in KEEP_BUCKETS else None
    if value == UNLIMITED:
        raise PolicyError(f"change {change!r}: {key} is unlimited already: write a number instead")
    if key in KEEP_BUCKETS:
        return 2 * int(value) if verb == "double" else -(-int(value) // 2)
    number = re.match(r"\d+", str(value))
    if verb == "double" and number is not None and re.fullmatch(r"\d+[a-z]+", str(value)):
        return f"{2 * int(number[0])}{str(value)[number.end() :]}"
    try:
        length = parse_duration(str(value))
    except UnitError as error:
        raise PolicyError(f"change {change!r}: {error}") from None
    length = 2 * length if verb == "double" else -(-length // 2)
    text = format_duration(length)
    return text if parse_duration(text) == length else length


__all__ = [
    "Comparison",
    "StartUp",
    "common_instants",
    "compare",
    "one_shot",
    "one_shot_text",
    "reached",
    "scheduled_reach",
    "settling_ns",
    "start_up",
    "vary",
]
