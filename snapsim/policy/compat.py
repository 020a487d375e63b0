"""How other tools decide: their axes as data, and how their short forms become rules.

`compat.toml` holds the axes.  The short forms of most tools are counts of buckets; the few that mean
something else have a function here: rules per class, distances in calendar buckets, plans.
"""

import re
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

from snapsim.errors import PolicyError, UnitError
from snapsim.policy.buckets import BucketSpec, Every, describe_bucket
from snapsim.policy.retention import UNLIMITED, Rule
from snapsim.policy.tables import Expire, Guards, Protect, Select
from snapsim.policy.windows import Window
from snapsim.units import DAY, HOUR, MINUTE, SECOND, parse_duration

KEEP_BUCKETS: Mapping[str, str] = {
    "keep_last": "each",
    "keep_secondly": "second",
    "keep_minutely": "minute",
    "keep_hourly": "hour",
    "keep_daily": "day",
    "keep_weekly": "week",
    "keep_monthly": "month",
    "keep_quarterly": "quarter",
    "keep_yearly": "year",
}
"""The counting rules by their key, and the bucket of each."""

WITHIN_BUCKETS: Mapping[str, str] = {
    "keep_within": "each",
    "keep_within_hourly": "hour",
    "keep_within_daily": "day",
    "keep_within_weekly": "week",
    "keep_within_monthly": "month",
    "keep_within_yearly": "year",
}
"""The rules of windows by their key, and the bucket of each."""

AXES: Mapping[str, tuple[str, ...]] = {
    "combine": ("any", "sequential", "claim", "partition", "cascade"),
    "reference": ("newest_not_future", "now", "newest", "newest_complete"),
    "oldest": ("never", "each_rule", "each_counted_rule", "last_rule"),
    "adjacency": ("set", "run"),
    "future": ("count", "keep", "ignore"),
    "order": ("time", "number"),
    "tie_break": ("newest_id", "all"),
    "week_start": ("monday", "sunday", "tuesday", "wednesday", "thursday", "friday", "saturday"),
    "month_starts": ("calendar", "week_start"),
}
"""The axes in which tools differ, with their values; the first is the default."""


@dataclass(frozen=True)
class ShortForms:
    """What a policy says in short.

    Attributes
    ----------
    counts : mapping of str to int or None
        The counting rules that are given, by key; None is unlimited.
    windows : mapping of str to Window
        The windows that are given, by key.
    tags : tuple of tuple of str
        `keep_tag`.
    plan : str
        A plan in the tool's own words.
    """

    counts: Mapping[str, int | None]
    windows: Mapping[str, Window]
    tags: tuple[tuple[str, ...], ...]
    plan: str


@dataclass(frozen=True)
class Tool:
    """How a tool decides.

    Attributes
    ----------
    name, title : str
        What `compat` says, and what people call it.
    axes : mapping of str to str
        The axes that differ from the defaults.
    style : str
        How short forms become rules.
    pick, edge : str
        Of every rule, unless it says otherwise.
    buckets : mapping of str to str
        Buckets of short forms that differ.
    protect : Protect
        What is protected.
    guards : Guards
        What is guarded.
    select : Select
        Which snapshots are managed at all.
    expire : Expire or None
        What expires, if nothing else is said.
    timezone : str or None
        The zone that the tool imposes.
    short : tuple of str or None
        The short forms that it knows; None if its style says so.
    one_option : tuple of tuple of str
        Short forms of which it takes one.
    unlimited : bool
        Whether a count may be without limit.
    rests : bool
        Whether it does nothing at all without a rule, so that unfinished snapshots stay as well.
    """

    name: str
    title: str
    axes: Mapping[str, str]
    style: str
    pick: str
    edge: str
    buckets: Mapping[str, str]
    protect: Protect
    guards: Guards
    select: Select
    expire: Expire | None
    timezone: str | None
    short: tuple[str, ...] | None
    one_option: tuple[tuple[str, ...], ...]
    unlimited: bool
    rests: bool

    def rules(self, short: ShortForms, reference: str) -> tuple[Rule, ...]:
        """Turn short forms into rules.

        Parameters
        ----------
        short : ShortForms
            What the policy says.
        reference : str
            From where windows count.

        Returns
        -------
        tuple of Rule
            In the order in which they are applied.

        Raises
        ------
        PolicyError
            The tool has no such short form.
        """
        _refuse_foreign(self, short)
        return _STYLES[self.style](self, short, reference)


@cache
def tools() -> Mapping[str, Tool]:
    """Return every tool by its name.

    Returns
    -------
    mapping of str to Tool
        What `compat` takes; "snapsim" is a policy that names no tool.
    """
    text = resources.files(__package__).joinpath("compat.toml").read_text(encoding="utf-8")
    return {name: _tool(name, values) for name, values in tomllib.loads(text).items()}


def _tool(name: str, values: Mapping[str, Any]) -> Tool:
    return Tool(
        name=name,
        title=values["title"],
        axes={axis: values[axis] for axis in AXES if axis in values},
        style=values.get("rules", "counted"),
        pick=values.get("pick", "newest"),
        edge=values.get("edge", "open"),
        buckets=values.get("buckets", {}),
        protect=Protect(**values.get("protect", {})),
        guards=Guards(**values.get("guards", {})),
        select=Select(**values.get("select", {})),
        expire=Expire(**values["expire"]) if "expire" in values else None,
        timezone=values.get("timezone"),
        short=tuple(f"keep_{key}" for key in values["short"]) if "short" in values else None,
        one_option=tuple(tuple(f"keep_{key}" for key in keys) for keys in values.get("one_option", ())),
        unlimited=values.get("unlimited", True),
        rests=values.get("rests", False),
    )


def _refuse_foreign(tool: Tool, short: ShortForms) -> None:
    """Refuse short forms that a tool does not have, and pairs that it cannot tell apart."""
    given = [key for key, count in short.counts.items() if count != 0]
    given += [*short.windows, *(["keep_tag"] if short.tags else [])]
    for key in given:
        if tool.short is not None and key not in tool.short:
            known = f"it knows {', '.join(tool.short)}" if tool.short else "leave it out"
            raise PolicyError(f"{key} has no meaning for {tool.title}: {known}")
        if short.counts.get(key, 0) is None and not tool.unlimited:
            raise PolicyError(f'{key} is "unlimited", which {tool.title} cannot say: give a large number')
    for keys in tool.one_option:
        if set(keys) <= set(given):
            raise PolicyError(f"{' and '.join(keys)} are one option of {tool.title}: leave one of them out")


def _counted(tool: Tool, short: ShortForms, reference: str) -> tuple[Rule, ...]:
    """Counts of non-empty buckets; windows; tags."""
    closed = tool.edge == "closed"
    counted = [
        Rule(
            key.removeprefix("keep_"),
            tool.buckets.get(key, KEEP_BUCKETS[key]),
            count,
            pick=tool.pick,
            reference=reference,
        )
        for key, count in short.counts.items()
        if count != 0
    ]
    windows = [
        Rule(
            key.removeprefix("keep_").replace("_", " "),
            WITHIN_BUCKETS[key],
            window=window,
            closed=closed,
            pick=tool.pick,
            reference=reference,
        )
        for key, window in short.windows.items()
    ]
    tagged = [
        Rule("tag " + ("+".join(tags) or "none"), select=Select(tags=tags), reference=reference)
        for tags in short.tags
    ]
    if tool.axes.get("combine") == "sequential":  # from short buckets to long ones
        return (*tagged, *sorted([*windows, *counted], key=lambda rule: bucket_length(rule.bucket)))
    return (*tagged, *counted, *windows)


def bucket_length(spec: BucketSpec) -> int:
    """Return how long a bucket is.

    Parameters
    ----------
    spec : str or Every
        The bucket.

    Returns
    -------
    int
        Its mean length.  [ns]
    """
    return describe_bucket(spec).length_ns


_CLASS_NS = {
    "keep_hourly": HOUR,
    "keep_daily": DAY,
    "keep_weekly": 7 * DAY,
    "keep_monthly": 31 * DAY,
    "keep_yearly": 36_525 * DAY // 100,
}
"""How long one period of each of sanoid's classes is.  [ns]"""


def _per_class(tool: Tool, short: ShortForms, reference: str) -> tuple[Rule, ...]:
    """Each class by itself: its newest N, and whatever is younger than N periods (sanoid)."""
    _only(tool, short, windows=False, tags=False)
    periods = {"keep_minutely": _length(short.plan or "15min", "plan"), **_CLASS_NS}
    _foreign(tool, short, periods)
    rules: list[Rule] = []
    for key, length in periods.items():
        count = short.counts.get(key, 0)
        name = "frequently" if key == "keep_minutely" else key.removeprefix("keep_")
        select = Select(classes=(name,))
        if count != 0:
            rules.append(Rule(name, count=count, select=select, reference=reference))
        if count is not None:
            # of a class of which none is to stay, those from the future do
            span = Window(f"{count} periods", 0, count * length)
            rules.append(Rule(f"{name} within", window=span, closed=True, select=select, reference=reference))
    return tuple(rules)


def _cleanup(tool: Tool, short: ShortForms, reference: str) -> tuple[Rule, ...]:
    """Two algorithms, each for the snapshots that name it: by number (`keep_last`), and by time (snapper)."""
    _only(tool, short, windows=False, tags=False)
    _foreign(tool, short, ("keep_last", *_TIMELINE))
    return tuple(
        replace(
            rule,
            name="number" if rule.bucket == "each" else rule.name,
            select=Select(attributes=(("cleanup", "number" if rule.bucket == "each" else "timeline"),)),
        )
        for rule in _counted(tool, short, reference)
    )


_TIMELINE = ("keep_hourly", "keep_daily", "keep_weekly", "keep_monthly", "keep_quarterly", "keep_yearly")

DISTANCE_UNITS: Mapping[str, str] = {"h": "hour", "d": "day", "w": "week", "m": "month", "y": "year"}
"""The units of btrbk, and their buckets."""


def _distance(tool: Tool, short: ShortForms, reference: str) -> tuple[Rule, ...]:
    """Levels, each a sieve for the next, that keep what is at most N calendar buckets back (btrbk)."""
    _only(tool, short, windows=False, tags=False)
    levels = ("keep_hourly", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly")
    _foreign(tool, short, ("keep_last", *levels))
    last = short.counts.get("keep_last", 0)
    if last not in {0, 1, None}:
        raise PolicyError(f'keep_last is {last}: {tool.title} keeps the latest (1), or all ("unlimited")')
    # What comes first sieves nothing: every snapshot is alone in its bucket.
    first = [Rule("later hour", back=-1, back_in="hour", reference=reference)]
    if last != 0:
        first.append(Rule("last", count=last, reference=reference))
    if short.plan:
        match = re.fullmatch(r"\s*(\d+)\s*([hdwmy])\s*", short.plan)
        if match is None:
            raise PolicyError(f'plan: {short.plan!r} cannot be read: write a distance such as "2d"')
        first.append(
            Rule("minimum", back=int(match[1]), back_in=DISTANCE_UNITS[match[2]], reference=reference)
        )
    return (
        *first,
        *(
            Rule(
                key.removeprefix("keep_"),
                KEEP_BUCKETS[key],
                count=0 if short.counts.get(key, 0) == 0 else None,
                back=short.counts.get(key) or None,
                pick="oldest",
                reference=reference,
            )
            for key in levels
        ),
    )


def _foreign(tool: Tool, short: ShortForms, known: Collection[str]) -> None:
    """Refuse counts that a tool does not have."""
    for key, count in short.counts.items():
        if count != 0 and key not in known:
            raise PolicyError(f"{key} has no meaning for {tool.title}: it knows {', '.join(known)}")


def _counted_and_young(tool: Tool, short: ShortForms, reference: str) -> tuple[Rule, ...]:
    """N buckets, and none that is older than N units before the newest (kopia)."""
    _only(tool, short, windows=False, tags=False)
    units = {
        "keep_hourly": lambda count: Window(f"{count}h", 0, count * HOUR),
        "keep_daily": lambda count: Window(f"{count}d", 0, 0, count),
        "keep_weekly": lambda count: Window(f"{7 * count}d", 0, 0, 7 * count),
        "keep_monthly": lambda count: Window(f"{count}mo", count, 0),
        "keep_yearly": lambda count: Window(f"{count}y", 12 * count, 0),
    }
    rules = []
    finished = Select(attributes=(("incomplete", True),), exclude=True)
    for key, count in short.counts.items():
        if count == 0:
            continue
        window = units[key](count) if key in units and count is not None else None
        rules.append(
            Rule(
                key.removeprefix("keep_"),
                KEEP_BUCKETS[key],
                count,
                window=window,
                closed=window is not None,
                select=finished,
                reference=reference,
            )
        )
    return tuple(rules)


def _plan(tool: Tool, short: ShortForms, reference: str) -> tuple[Rule, ...]:
    """Levels by age, each with slots of one length (znapzend): "7d=>1h,30d=>4h"."""
    _only(tool, short, windows=False, tags=False, counts=False)
    levels = {}
    for part in short.plan.split(","):
        match = re.fullmatch(r"\s*(.+?)\s*=>\s*(.+?)\s*", part)
        if match is None:
            raise PolicyError(f'plan: {part.strip()!r} cannot be read: write "7d=>1h,30d=>4h"')
        levels[_length(match[1], "plan")] = (_length(match[2], "plan"), match[1])
    # ages are differences of what the clock on the wall shows, in seconds
    return tuple(
        Rule(
            f"level {text}",
            Every(every, "wall"),
            back=length // SECOND,
            back_in="second",
            pick="oldest",
            reference=reference,
        )
        for length, (every, text) in sorted(levels.items())
    )


def _thinner(tool: Tool, short: ShortForms, reference: str) -> tuple[Rule, ...]:
    """So many of the newest, and slots of one length up to an age (zfs-autobackup): "10,1d1w,1w1m,1m1y"."""
    _only(tool, short, windows=False, tags=False, counts=False)
    always = 0
    until: dict[int, tuple[int, str]] = {}
    for part in (one.strip() for one in short.plan.lower().split(",")):
        match = re.fullmatch(r"(\d+[a-z]+)(\d+[a-z]+)", part)
        if part.isdigit():
            always = int(part)  # the last one counts
        elif match:
            every, ttl = (_length(text, "plan") for text in match.groups())
            if every > ttl:
                raise PolicyError(f"plan: {part!r}: {match[1]} is longer than {match[2]}; write 1w1m")
            # rules of one period share their slots, so that the longest age says it all
            until[every] = max(until.get(every, (0, "")), (ttl, part))
        else:
            raise PolicyError(f'plan: {part!r} cannot be read: write "10,1d1w,1w1m,1m1y"')
    return (
        Rule("last", count=max(always, 1), reference=reference),  # the newest never goes
        *(
            Rule(
                f"every {text}",
                Every(every, "epoch"),
                window=Window(text, 0, ttl),
                closed=True,
                pick="oldest",
                reference=reference,
            )
            for every, (ttl, text) in until.items()
        ),
    )


_PLAN_UNITS = {
    "s": DAY // 86_400, "min": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY, "m": 30 * DAY, "mon": 30 * DAY,
    "y": 36_525 * DAY // 100,
}  # fmt: skip
"""Lengths in plans: a month has 30 days, a year 365.25."""


def _length(text: str, what: str) -> int:
    match = re.fullmatch(r"(\d+)\s*([a-z]+)", text.strip())
    if match is None or not int(match[1]):
        try:
            return parse_duration(text)
        except UnitError as error:
            raise PolicyError(f"{what}: {error}") from None
    unit = match[2].removesuffix("s") if len(match[2]) > 3 else match[2]
    known = {
        **_PLAN_UNITS,
        "sec": _PLAN_UNITS["s"],
        "second": _PLAN_UNITS["s"],
        "minute": MINUTE,
        "hour": HOUR,
    }
    known |= {"day": DAY, "week": 7 * DAY, "month": 30 * DAY, "year": _PLAN_UNITS["y"]}
    if unit not in known:
        raise PolicyError(f"{what}: unit {match[2]!r} of {text!r} is not known: s, min, h, d, w, m or y")
    return int(match[1]) * known[unit]


def _only(tool: Tool, short: ShortForms, *, windows: bool, tags: bool, counts: bool = True) -> None:
    """Refuse short forms that a tool does not have."""
    if short.windows and not windows:
        raise PolicyError(f"{next(iter(short.windows))} has no meaning for {tool.title}: leave it out")
    if short.tags and not tags:
        raise PolicyError(f"keep_tag has no meaning for {tool.title}: leave it out")
    given = [key for key, count in short.counts.items() if count != 0]
    if given and not counts:
        raise PolicyError(f'{given[0]} has no meaning for {tool.title}: write plan = "..." instead')
    if not counts and not short.plan:
        raise PolicyError(f'{tool.title} needs plan = "..."')


_STYLES: Mapping[str, Callable[[Tool, ShortForms, str], tuple[Rule, ...]]] = {
    "counted": _counted,
    "per-class": _per_class,
    "cleanup": _cleanup,
    "distance": _distance,
    "counted-and-young": _counted_and_young,
    "plan": _plan,
    "thinner": _thinner,
}

__all__ = ["AXES", "KEEP_BUCKETS", "UNLIMITED", "WITHIN_BUCKETS", "ShortForms", "Tool", "tools"]
