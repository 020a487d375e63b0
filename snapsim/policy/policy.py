"""The policy: a schedule and the rules that say which of its snapshots stay."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from functools import cached_property
from numbers import Integral
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from snapsim.errors import PolicyError, UnitError
from snapsim.policy import compat as other_tools
from snapsim.policy import decisions as deciding
from snapsim.policy import judgement_kernels as judgement
from snapsim.policy import name_templates, zones
from snapsim.policy.archive import Archive
from snapsim.policy.buckets import RECORDED, WEEKDAYS, Calendar, Every
from snapsim.policy.compat import AXES, KEEP_BUCKETS, WITHIN_BUCKETS, ShortForms, Tool, tools
from snapsim.policy.grid import grid_rules
from snapsim.policy.name_templates import DEFAULT_TEMPLATE, Naming
from snapsim.policy.reach import reach
from snapsim.policy.retention import UNLIMITED, Rule
from snapsim.policy.schedule import Schedule
from snapsim.policy.tables import (
    ArchiveTable,
    ClassTable,
    EveryTable,
    Expire,
    Grid,
    Guards,
    Keep,
    Limits,
    Protect,
    Select,
    Space,
    Table,
)
from snapsim.policy.taking import ScheduleClass, check_classes
from snapsim.policy.times import parse_instant
from snapsim.policy.windows import Window
from snapsim.types import Decision, Int64Array, Snapshot, SnapshotKind
from snapsim.units import DAY, format_duration, format_size, parse_duration, parse_size

if TYPE_CHECKING:
    from snapsim.policy.space import Pool, PoolAt
    from snapsim.policy.timeline import Timeline
    from snapsim.policy.triggers import Event

Count = int | str
"""How many buckets a rule keeps: a whole number, 0 for none, or "unlimited"."""

_TABLES: Mapping[str, type[Table]] = {
    "grid": Grid, "expire": Expire, "protect": Protect, "space": Space, "limits": Limits, "guards": Guards,
    "select": Select,
}  # fmt: skip

DEFAULTS: Mapping[str, object] = {
    **dict.fromkeys(KEEP_BUCKETS, 0),
    **dict.fromkeys(WITHIN_BUCKETS, None),
    **{axis: values[0] for axis, values in AXES.items()},
    "schedule": None,
    "keep_tag": (),
    "keep": (),
    "classes": (),
    "archive": (),
    "naming": DEFAULT_TEMPLATE,
    "plan": "",
    "compat": "snapsim",
    "day_start": "00:00",
    "group_by": (),
    "min_age": None,
    "grid": None,
    "expire": None,
    "space": None,
    "protect": Protect(),
    "limits": Limits(),
    "guards": Guards(),
    "select": Select(),
    "timezone": "UTC",
    "name": "",
    "memory": "disk",
    "ram": 0,
}
"""What a policy says where nothing is given and no tool is named."""

_NO_RULE = "no rule"

AnyTable = TypeVar("AnyTable", bound=Table)


@dataclass(frozen=True, init=False, repr=False, kw_only=True)
class Policy:
    """When snapshots are taken, and which of them stay.

    A rule such as `keep_daily=7` keeps the newest snapshot of each of the seven newest days *that have one*.
    A snapshot stays as long as one rule keeps it.  Buckets are those of the calendar in `timezone`; weeks are
    ISO weeks. `keep_within` keeps whatever is younger than that, counted from the newest snapshot that is not
    in the future, so that a machine that was off for a month does not lose everything at once.

    Everything else says what other tools do differently, and `compat` sets all of that at once.

    Parameters
    ----------
    schedule : str, sequence of str, or Schedule, optional
        "15min" (aligned to the Unix epoch), "@hourly", "@daily", "@midnight", "@weekly" (Sunday), "@monthly",
        "@quarterly", "@yearly", "@annually", a cron line of five fields (or six, seconds first), or several
        of these.  Without one, snapshots are taken by hand.
    keep_last, keep_secondly, keep_minutely, keep_hourly, keep_daily, keep_weekly : int or str
        How many snapshots, non-empty seconds, minutes, hours, days, weeks are kept: a number, 0 for none, or
        "unlimited".
    keep_monthly, keep_quarterly, keep_yearly : int or str
        Likewise.
    keep_within : int or str, optional
        Duration, or calendar length ("48h", "7d", "1mo", "1y"); a day is 24 hours.  [ns]
    keep_within_hourly, keep_within_daily, keep_within_weekly, keep_within_monthly, keep_within_yearly : str
        One of every hour, day, ... that lies inside such a length.
    keep_tag : sequence of sequence of str
        Snapshots that have all tags of one of these lists; an empty list is a snapshot without tags.
    keep : sequence of Keep or mapping
        Rules in their long form.
    classes : mapping of str to mapping, or sequence of ClassTable
        Instead of a schedule: several, each with what it takes, its triggers, and how many of it stay.
    archive : sequence of ArchiveTable or mapping
        What is copied to cheaper storage before it goes.
    naming : str
        Template of the names, such as "snapsim_{utc:%Y%m%dT%H%M%SZ}_{class}".
    grid, expire : Grid, Expire or mapping, optional
        Rules by age.
    plan : str
        Rules in the own words of `compat="znapzend"`, "zfs-autobackup"; the period of sanoid's frequent ones,
        the distance of btrbk's `snapshot_preserve_min` ("2d").
    compat : str
        Whose rules these are: "restic", "restic-0.14", "borg-1.2", "borg-2", "proxmox", "sanoid", "snapper",
        "btrbk", "zrepl", "kopia", "znapzend", "zfs-autobackup", "velero", "gfs".
    combine : {"any", "sequential", "claim", "partition", "cascade"}
        How rules work together.
    reference : {"newest_not_future", "now", "newest", "newest_complete"} or ISO 8601
        From where ages and windows count.
    oldest : {"never", "each_rule", "each_counted_rule", "last_rule"}
        Which rules also keep the oldest snapshot while their count is not used up.
    adjacency : {"set", "run"}
        Whether a bucket that is left and entered again (a clock was put back) is one bucket or two.
    future : {"count", "keep", "ignore"}
        Snapshots dated after now take part like others; take part and stay; or stay and do not take part.
    order : {"time", "number"}
        What makes a snapshot newer.
    tie_break : {"newest_id", "all"}
        Which of several snapshots of one instant represents a bucket.
    week_start : str
        First day of a week.
    day_start : str
        When a day begins ("00:00").
    month_starts : {"calendar", "week_start"}
        Whether months begin on the first, or with the first week that begins in them.
    group_by : sequence of str
        Snapshots that differ in these ("host", "volume", "class", ...) are decided about separately.
    min_age : int or str, optional
        Younger snapshots stay.  [ns]
    select : Select or mapping
        Which snapshots the policy manages; it never touches others.
    protect, space, limits, guards : Protect, Space, Limits, Guards or mapping
        What is never deleted; rules about space; how long a chain may become; protection from mistakes.
    timezone : str
        IANA name of the zone of the schedule and of the buckets, or "recorded": each snapshot's own offset.
    name : str
        The policy's own name.
    memory : {"disk", "memory", "full"}
        What each snapshot holds.
    ram : int or str, optional
        Guest memory that each memory or full snapshot saves.  [bytes]

    Attributes
    ----------
    schedule : Schedule or None
        The parsed schedule.
    ram : int
        0 for disk snapshots.  [bytes]

    Raises
    ------
    PolicyError
        Something cannot be read, contradicts something else, or no rule would keep anything.

    Examples
    --------
    >>> policy = Policy(schedule="@hourly", keep_hourly=24, keep_daily=7, keep_within="2d", name="short")
    >>> policy.describe()
    'short: @hourly, keep hourly 24, daily 7, within 2d (UTC)'
    """

    schedule: Schedule | None
    keep_last: Count
    keep_secondly: Count
    keep_minutely: Count
    keep_hourly: Count
    keep_daily: Count
    keep_weekly: Count
    keep_monthly: Count
    keep_quarterly: Count
    keep_yearly: Count
    keep_within: str | None
    keep_within_hourly: str | None
    keep_within_daily: str | None
    keep_within_weekly: str | None
    keep_within_monthly: str | None
    keep_within_yearly: str | None
    keep_tag: tuple[tuple[str, ...], ...]
    keep: tuple[Keep, ...]
    classes: tuple[ClassTable, ...]
    archive: tuple[ArchiveTable, ...]
    naming: str
    grid: Grid | None
    expire: Expire | None
    plan: str
    compat: str
    combine: str
    reference: str
    oldest: str
    adjacency: str
    future: str
    order: str
    tie_break: str
    week_start: str
    day_start: str
    month_starts: str
    group_by: tuple[str, ...]
    min_age: str | None
    select: Select
    protect: Protect
    space: Space | None
    limits: Limits
    guards: Guards
    timezone: str
    name: str
    memory: str
    ram: int

    def __init__(
        self,
        *,
        schedule: Schedule | str | Sequence[str] | None = None,
        keep_last: Count = 0,
        keep_secondly: Count = 0,
        keep_minutely: Count = 0,
        keep_hourly: Count = 0,
        keep_daily: Count = 0,
        keep_weekly: Count = 0,
        keep_monthly: Count = 0,
        keep_quarterly: Count = 0,
        keep_yearly: Count = 0,
        keep_within: int | str | None = None,
        keep_within_hourly: int | str | None = None,
        keep_within_daily: int | str | None = None,
        keep_within_weekly: int | str | None = None,
        keep_within_monthly: int | str | None = None,
        keep_within_yearly: int | str | None = None,
        keep_tag: Sequence[Sequence[str]] = (),
        keep: Sequence[Keep | Mapping[str, Any]] = (),
        classes: Mapping[str, Mapping[str, Any]] | Sequence[ClassTable] = (),
        archive: Sequence[ArchiveTable | Mapping[str, Any]] = (),
        naming: str = DEFAULT_TEMPLATE,
        grid: Grid | Mapping[str, Any] | None = None,
        expire: Expire | Mapping[str, Any] | None = None,
        plan: str = "",
        compat: str = "snapsim",
        combine: str | None = None,
        reference: str | None = None,
        oldest: str | None = None,
        adjacency: str | None = None,
        future: str | None = None,
        order: str | None = None,
        tie_break: str | None = None,
        week_start: str | None = None,
        day_start: str = "00:00",
        month_starts: str | None = None,
        group_by: Sequence[str] = (),
        min_age: int | str | None = None,
        select: Select | Mapping[str, Any] | None = None,
        protect: Protect | Mapping[str, Any] | None = None,
        space: Space | Mapping[str, Any] | None = None,
        limits: Limits | Mapping[str, Any] | None = None,
        guards: Guards | Mapping[str, Any] | None = None,
        timezone: str | None = None,
        name: str = "",
        memory: str = "disk",
        ram: int | str | None = None,
    ) -> None:
        tool = _tool(compat)
        kind = _kind(memory)
        if not isinstance(name, str):
            raise PolicyError(f"name is {name!r}: give text")
        clock = _timezone(tool, timezone)
        given = locals()
        values: dict[str, Any] = {
            "classes": _classes(classes),
            "archive": tuple(_table(ArchiveTable, one, "archive") for one in archive),
            "naming": naming,
            **{key: _count(key, given[key]) for key in KEEP_BUCKETS},
            **{key: None if given[key] is None else _within(key, given[key]) for key in WITHIN_BUCKETS},
            "keep_tag": _tag_lists(keep_tag),
            "keep": tuple(_table(Keep, one, "keep") for one in keep),
            "plan": plan,
            "compat": compat,
            **{axis: _axis(tool, axis, given[axis]) for axis in AXES},
            "day_start": _day_start(day_start),
            "group_by": (group_by,) if isinstance(group_by, str) else tuple(group_by),
            "min_age": None if min_age is None else _duration("min_age", min_age),
            **{key: None if given[key] is None else _table(model, given[key], key)
               for key, model in _TABLES.items()},
            "timezone": clock,
            "name": name,
            "memory": kind.value,
            "ram": _ram(kind, ram),
        }  # fmt: skip
        values["select"] = values["select"] or tool.select
        values["protect"] = values["protect"] or tool.protect
        values["guards"] = values["guards"] or tool.guards
        values["expire"] = values["expire"] or tool.expire
        values["limits"] = values["limits"] or Limits()
        values["schedule"] = _schedule(schedule, values["classes"], _clock_of(clock))
        for key, value in values.items():
            object.__setattr__(self, key, value)
        if tool.rests and protect is None and self.rules[0].name == _NO_RULE:
            resting = self.protect.model_copy(update={"incomplete_newest": False})
            object.__setattr__(self, "protect", resting)
        _check(self)

    def __repr__(self) -> str:
        said = {key: value for key, value in self.said().items() if key != "schedule"}
        if self.schedule is not None and not self.classes:
            texts = self.schedule.texts
            said = {"schedule": texts if len(texts) > 1 else texts[0], **said}
        return f"Policy({', '.join(f'{key}={value!r}' for key, value in said.items())})"

    def said(self) -> dict[str, object]:
        """Return the parameters that say something beyond their defaults, and those of `compat`.

        Returns
        -------
        dict of str to object
            Parameters of this class by name, in order.
        """
        tool = tools()[self.compat]
        usual = {
            **DEFAULTS,
            **tool.axes,
            "protect": tool.protect,
            "guards": tool.guards,
            "select": tool.select,
            "expire": tool.expire,
            "timezone": tool.timezone or "UTC",
        }
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.classes:
            values.pop("schedule")  # it is theirs
        return {key: value for key, value in values.items() if value != usual[key]}

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        """The rules that are in force, in the order in which they are applied."""
        tool = tools()[self.compat]
        short = ShortForms(
            {
                key: None if count == UNLIMITED else int(count)
                for key in KEEP_BUCKETS
                if (count := getattr(self, key)) != 0
            },
            {key: Window.of(text) for key in WITHIN_BUCKETS if (text := getattr(self, key))},
            self.keep_tag,
            self.plan,
        )
        rules = [*tool.rules(short, self.reference)] if _has_short(short) or tool.style == "distance" else []
        rules += [
            Rule(
                one.name,
                count=None if one.keep == UNLIMITED else int(one.keep),
                select=Select(classes=(one.name,)),
                reference=self.reference,
            )
            for one in self.classes
        ]
        rules += [_long(number, keep, self, tool) for number, keep in enumerate(self.keep, 1)]
        if self.grid:
            rules += grid_rules(self.grid)
        if self.expire:
            rules.append(_expiry(self.expire, tool))
        rules = [rule for rule in rules if rule.count != 0 or self.combine == "cascade"]
        if not any(rule.count != 0 for rule in rules) and not self.guards.refuse_empty_policy:
            return (Rule(_NO_RULE, "each", reference=self.reference),)  # an empty policy lets nothing go
        return tuple(rules)

    @cached_property
    def calendar(self) -> Calendar:
        """Whose days, weeks and months count."""
        hour, minute = self.day_start.split(":")
        return Calendar(
            self.timezone,
            WEEKDAYS.index(self.week_start),
            (int(hour) * 60 + int(minute)) * (DAY // 1440),
            self.month_starts == "week_start",
        )

    @cached_property
    def schedule_classes(self) -> tuple[ScheduleClass, ...]:
        """The classes, ready to be asked when they are due; none for a plain schedule."""
        clock = _clock_of(self.timezone)
        return tuple(_schedule_class(one, clock) for one in self.classes)

    @cached_property
    def archives(self) -> tuple[Archive, ...]:
        """The archive actions, ready to be asked what they want."""
        return tuple(_archive(one) for one in self.archive)

    @cached_property
    def names(self) -> Naming:
        """How names are written and read."""
        return name_templates.naming(self.naming, timezone=_clock_of(self.timezone))

    @property
    def min_age_ns(self) -> int:
        """Younger snapshots stay.  [ns]"""
        return 0 if self.min_age is None else parse_duration(self.min_age)

    @cached_property
    def semantics(self) -> judgement.Semantics:
        """How the rules work together, as the kernels take it."""
        guards, limits, merge = self.guards, self.limits, self.limits.on_violation == "merge_oldest"
        chain = [one for one in (limits.chain_max, limits.hard) if one is not None]
        share = 1.0 if guards.max_delete_fraction is None else guards.max_delete_fraction
        return judgement.Semantics(
            combine=AXES["combine"].index(self.combine),
            oldest=AXES["oldest"].index(self.oldest),
            future=AXES["future"].index(self.future),
            run=int(self.adjacency == "run"),
            ties=int(self.tie_break == "all"),
            marked_counts=int(self.protect.protected_counts),
            min_age=self.min_age_ns,
            newest=self.protect.newest,
            just_taken=int(self.protect.just_taken),
            last_of_class=int(self.protect.last_of_class),
            chain_max=min(chain) if merge and chain else judgement.HUGE,
            max_age=parse_duration(limits.max_age)
            if merge and limits.max_age is not None
            else int(np.iinfo(np.int64).max),
            refuse_all=int(guards.refuse_delete_all),
            most_deleted=round(share * 1_000_000),
        )

    @property
    def kind(self) -> SnapshotKind:
        """What each snapshot holds."""
        return SnapshotKind(self.memory)

    @classmethod
    def from_toml(cls, source: str | Path, *, name: str | None = None) -> "Policy":
        """Read a policy.

        Parameters
        ----------
        source : path, or str
            A TOML file, or the text of one.  The keys are the parameters of this class, at the top level or
            in a table `[policy.NAME]`.
        name : str, optional
            Which one, where there are several.

        Returns
        -------
        Policy
            The policy.

        Raises
        ------
        PolicyError
            The file is missing or no TOML, a key is unknown or its value wrong, or there are several
            policies; the message names the file and the line.
        """
        from snapsim.policy import files

        return files.read(source, name=name)

    def to_toml(self) -> str:
        """Return the policy as the text of a TOML file.

        Returns
        -------
        str
            What `from_toml` reads back as an equal policy.
        """
        from snapsim.policy import files

        return files.write(self)

    def ticks(self, start_ns: int, stop_ns: int) -> Int64Array:
        """Return when snapshots are due; see `Schedule.ticks`.

        Parameters
        ----------
        start_ns, stop_ns : int
            Half-open span, UTC.  [ns]

        Returns
        -------
        int64 array, shape (n_ticks,)
            Ascending, UTC.  [ns]
        """
        if self.schedule is None:
            return np.empty(0, dtype=np.int64)
        return self.schedule.ticks(start_ns, stop_ns)

    def decide(
        self, snapshots: Iterable[Snapshot], now: int | str | datetime, *, pool: "Pool | None" = None
    ) -> list[Decision]:
        """Say which snapshots stay, and why.

        Nothing is touched: this is a pure function.  The order of the snapshots does not matter; of two that
        were taken at the same time, the one with the larger id counts as the newer.

        Parameters
        ----------
        snapshots : iterable of Snapshot
            What exists.
        now : int, str or datetime
            The time of the decision: nanoseconds since the Unix epoch, ISO 8601 text or a datetime; with a
            time zone.
        pool : callable, optional
            Says how full the pool would be if just some snapshots existed (`snapsim.policy.space.Usage`);
            without it, rules about space keep still.

        Returns
        -------
        list of Decision
            One for each snapshot, in the order in which they came.

        Raises
        ------
        PolicyError
            `now` has no time zone or cannot be read.
        """
        given, now_ns = list(snapshots), parse_instant(now, what="now")
        if pool is None:
            decisions = deciding.decide(self, given, now_ns)
        else:
            from snapsim.policy.space import decide_with_space

            decisions = decide_with_space(self, given, now_ns, pool)
        for archive in self.archives:
            decisions = archive.hold(decisions, now_ns)
        return decisions

    def decide_sets(
        self,
        snapshots: Iterable[Snapshot],
        now: int | str | datetime,
        *,
        disks: Mapping[str, Sequence[str]] = MappingProxyType({}),
        pool: "Pool | None" = None,
    ) -> list[Decision]:
        """Decide once for each machine, and say it of each of its disks: never does half of a set stay.

        Parameters
        ----------
        snapshots : iterable of Snapshot
            Snapshots of disks: attribute `host` names the machine, `volume` the disk; what was taken together
            has one name, or one attribute `set`.
        now : int, str or datetime
            As for `decide`.
        disks : mapping of str to sequence of str
            The disks that each machine has; a set without one of them is incomplete.
        pool : callable, optional
            As for `decide`; it is asked about sets.

        Returns
        -------
        list of Decision
            One for each snapshot, in the order in which they came.

        Raises
        ------
        PolicyError
            A disk is in one set twice, or `now` has no time zone or cannot be read.
        """
        from snapsim.policy.snapshot_sets import decide_sets

        return decide_sets(lambda sets: self.decide(sets, now, pool=pool), list(snapshots), disks=disks)

    def to_archive(
        self, decisions: Sequence[Decision], now: int | str | datetime
    ) -> list[tuple[Archive, Snapshot]]:
        """Say what is to be archived now, and where.

        Parameters
        ----------
        decisions : sequence of Decision
            What `decide` returned.
        now : int, str or datetime
            As for `decide`.

        Returns
        -------
        list of (Archive, Snapshot)
            The actions, in the policy's order, the oldest snapshot first.  A snapshot waits, and is not
            deleted, until it bears the tag `Archive.tag`.

        Raises
        ------
        PolicyError
            `now` has no time zone or cannot be read.
        """
        now_ns = parse_instant(now, what="now")
        waiting = {archive.waiting for archive in self.archives}
        unheld = [replace(one, keep=False) if one.reasons in waiting else one for one in decisions]
        return [
            (archive, snapshot) for archive in self.archives for snapshot in archive.select(unheld, now_ns)
        ]

    def timeline(
        self,
        instants: npt.ArrayLike,
        *,
        writes: npt.ArrayLike | None = None,
        downtimes: Sequence[tuple[int, int]] = (),
        events: "Sequence[Event]" = (),
        duration_ns: int = 0,
        pool: "PoolAt | None" = None,
        progress: Callable[[int, int | None], None] | None = None,
    ) -> "Timeline":
        """Run the policy over time: take a snapshot at each tick, and prune right after each.

        A tick is taken at the first instant that is not before it.  Ticks of different schedules that fall on
        one instant make one snapshot.

        Parameters
        ----------
        instants : int64 array, shape (n_instants,)
            When snapshots can be taken, UTC, strictly ascending.  [ns]
        writes : int64 array, shape (n_instants + 1,), optional
            Bytes written in each epoch: what classes with `min_written`, `on_change` or `quiet` act on.
            [bytes]
        downtimes : sequence of (int, int)
            Half-open spans in which nothing runs; classes catch up.  [ns]
        events : sequence of Event
            What happens ("upgrade"), and which classes are asked for by hand, by their names.
        duration_ns : int
            How long taking a snapshot takes, for classes whose ticks may overlap.  [ns]
        pool : callable, optional
            Says how full the pool is at an instant if the snapshots of some instants exist: what rules about
            space act on (`snapsim.planning.reclaim` makes one from lifetimes).
        progress : callable, optional
            Called with the instants done and all of them.

        Returns
        -------
        Timeline
            Which snapshots exist when, and why.

        Raises
        ------
        PolicyError
            Instants are not ascending, or so far apart that two ticks of one schedule would fall on one of
            them.
        """
        from snapsim.policy.timeline import run

        return run(
            self,
            instants,
            writes=writes,
            downtimes=downtimes,
            events=events,
            duration_ns=duration_ns,
            pool=pool,
            progress=progress,
        )

    @property
    def reach_ns(self) -> int | None:
        """How far back the policy reaches once it has run for long enough; None without a limit.  [ns]

        The longest of its rules: a window's length, or a rule's count times the mean distance between the
        buckets that the schedule fills (seven days for `keep_daily=7` and hourly snapshots, seven weeks if
        they are weekly).
        """
        return reach(self.schedule, self.rules)

    def describe(self) -> str:
        """Return the policy in one line.

        Returns
        -------
        str
            Name, schedule, rules, time zone and kind of snapshot.
        """
        rules = ", ".join(filter(None, map(_told, self.rules)))
        kind = (
            ""
            if self.kind is SnapshotKind.DISK
            else f", {self.kind.value} snapshots with {format_size(self.ram)} of RAM"
        )
        when = f"{self.name + ': ' if self.name else ''}{self.schedule or 'by hand'}"
        as_whom = "" if self.compat == "snapsim" else f", as {self.compat}"
        return f"{when}, keep {rules}{kind} ({self.timezone}{as_whom})"


def _told(rule: Rule) -> str:
    """Say a rule in few words; nothing for one that only sieves for others."""
    if rule.count == 0 or (rule.window and not rule.window.length_ns):
        return ""
    far = rule.window or rule.back is not None or rule.age_ns
    often = UNLIMITED if rule.count is None and not far else "" if rule.count is None else str(rule.count)
    # distances in seconds, and those that only let the future in, are said by the rule's name
    back = "" if rule.back is None or rule.back < 0 or rule.bucket == "second" else f"{rule.back} back"
    return " ".join(filter(None, (rule.name, often, rule.window.text if rule.window else "", back)))


def _classes(given: Mapping[str, Mapping[str, Any]] | Sequence[ClassTable]) -> tuple[ClassTable, ...]:
    if isinstance(given, Mapping):
        named = [
            _table(ClassTable, {**_mapping(one, name), "name": name}, "class") for name, one in given.items()
        ]
    else:
        named = [_table(ClassTable, one, "class") for one in given]
    for one in named:
        if not one.name:
            raise PolicyError(
                'class without a name: write classes={"hourly": {...}} or [policy.NAME.class.hourly]'
            )
    return tuple(named)


def _mapping(value: object, name: str) -> Mapping[str, Any]:
    if isinstance(value, ClassTable):
        return value.model_dump(exclude_unset=True)
    if not isinstance(value, Mapping):
        raise PolicyError(
            f"class {name!r} is {value!r}: give a table with the keys {', '.join(ClassTable.model_fields)}"
        )
    return value


def _schedule(
    given: Schedule | str | Sequence[str] | None, classes: tuple[ClassTable, ...], timezone: str
) -> Schedule | None:
    """Return the schedule, or that of all classes together."""
    if not classes:
        return None if given is None else Schedule.of(given, timezone=timezone)
    together = [
        one.schedule for one in map(_schedule_class, classes, [timezone] * len(classes)) if one.schedule
    ]
    texts = [text for one in together for text in one.texts]
    whole = Schedule.of(texts, timezone=timezone) if texts else None
    if given is not None and given != whole:
        raise PolicyError("schedule and classes are both given: write the schedule into the classes")
    return whole


def _schedule_class(one: ClassTable, timezone: str) -> ScheduleClass:
    values = {key: value for key, value in one if key not in {"name", "keep", "schedule"}}
    schedule = list(one.schedule) if isinstance(one.schedule, tuple) else one.schedule
    return ScheduleClass.of(one.name, schedule, timezone=timezone, **values)


def _archive(one: ArchiveTable) -> Archive:
    return Archive(
        target=one.target,
        command=one.command,
        after_ns=None if one.after is None else parse_duration(one.after),
        before_prune=one.before_prune,
        classes=frozenset(one.classes),
    )


def _has_short(short: ShortForms) -> bool:
    return bool(short.counts or short.windows or short.tags or short.plan)


def _tool(compat: str) -> Tool:
    known = tools()
    if compat not in known:
        raise PolicyError(
            f"compat is {compat!r}: the tools are {', '.join(name for name in known if name != 'snapsim')}"
        )
    return known[compat]


def _timezone(tool: Tool, timezone: str | None) -> str:
    if timezone is None:
        return tool.timezone or "UTC"
    if tool.timezone is not None and timezone != tool.timezone:
        raise PolicyError(
            f"timezone is {timezone!r}, but {tool.title} decides in {tool.timezone!r}: leave one of them out"
        )
    if timezone != RECORDED:
        zones.zone(timezone)
    return timezone


def _clock_of(timezone: str) -> str:
    """Return the zone of the schedule."""
    return "UTC" if timezone == RECORDED else timezone


def _axis(tool: Tool, axis: str, value: str | None) -> str:
    usual = tool.axes.get(axis, AXES[axis][0])
    if value is None:
        return usual
    if axis == "reference" and value not in AXES[axis] and str(value)[:1].isdigit():
        parse_instant(value, what="reference")
    elif value not in AXES[axis]:
        raise PolicyError(f"{axis} is {value!r}: give one of {', '.join(AXES[axis])}")
    if tool.name != "snapsim" and value != usual and axis != "week_start":
        raise PolicyError(
            f"{axis} is {value!r}, but compat says {tool.name!r}, and {tool.title} has {usual!r}: "
            f"leave one of them out"
        )
    return value


def _table(model: type[AnyTable], value: AnyTable | Mapping[str, Any], key: str) -> AnyTable:
    if isinstance(value, model):
        return value
    if not isinstance(value, Mapping):
        raise PolicyError(f"{key} is {value!r}: give a table with the keys {', '.join(model.model_fields)}")
    return model(**value)


def _tag_lists(value: object) -> tuple[tuple[str, ...], ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise PolicyError(
            f'keep_tag is {value!r}: give lists of tags, such as [["release"], ["audit", "2026"]]'
        )
    lists = tuple((one,) if isinstance(one, str) else tuple(one) for one in value)
    for one in lists:
        for tag in one:
            if not isinstance(tag, str):
                raise PolicyError(f"keep_tag has {tag!r}: a tag is text")
    return lists


def _day_start(value: object) -> str:
    match = re.fullmatch(r"(\d{2}):(\d{2})", str(value))
    if match is None or int(match[1]) > 23 or int(match[2]) > 59:
        raise PolicyError(f'day_start is {value!r}: give a time of day such as "00:00"')
    return str(value)


def _duration(key: str, value: int | str) -> str:
    try:
        return format_duration(parse_duration(value)) if not isinstance(value, str) else _same(value)
    except UnitError as error:
        raise PolicyError(f"{key}: {error}") from None


def _same(text: str) -> str:
    parse_duration(text)
    return text


def _long(number: int, keep: Keep, policy: Policy, tool: Tool) -> Rule:
    """Turn a rule in its long form into a rule."""
    bucket = keep.bucket
    spec = Every(parse_duration(bucket.every), bucket.align) if isinstance(bucket, EveryTable) else bucket
    low, high = keep.age or (0, 0)
    return Rule(
        keep.name or f"rule {number}",
        spec,
        None if keep.count == UNLIMITED else int(keep.count),
        window=Window.of(keep.within) if keep.within else None,
        closed=(keep.edge or tool.edge) == "closed" and keep.within is not None,
        pick=keep.pick or tool.pick,
        keep=None if keep.keep == "all" else int(keep.keep),
        back=keep.back,
        back_in=keep.back_in,
        age_ns=(parse_duration(low), parse_duration(high)) if keep.age else None,
        select=keep.select,
        reference=keep.reference or policy.reference,
    )


def _expiry(expire: Expire, tool: Tool) -> Rule:
    window = None if expire.ttl is None else Window(str(expire.ttl), 0, parse_duration(expire.ttl))
    edge = expire.edge or (tool.expire.edge if tool.expire else None)
    closed = window is not None and edge != "open"
    return Rule("expire", count=expire.max_count, window=window, closed=closed, reference="now")


def _check(policy: Policy) -> None:
    """Refuse what contradicts itself."""
    _check_classes(policy)
    _ = policy.names
    if policy.plan and tools()[policy.compat].style not in {"plan", "thinner", "per-class", "distance"}:
        raise PolicyError(
            'plan is given, but only compat = "znapzend", "zfs-autobackup", "sanoid" (frequent_period) and '
            '"btrbk" (snapshot_preserve_min) have plans'
        )
    if not any(rule.count != 0 for rule in policy.rules):
        raise PolicyError(
            "policy keeps nothing, so that its first prune would delete every snapshot: "
            'give it a rule such as keep_last=3, keep_daily=7 or keep_within="2d"'
        )
    if policy.combine == "cascade":
        lengths = [other_tools.bucket_length(rule.bucket) for rule in policy.rules]
        if lengths != sorted(lengths):
            raise PolicyError("combine is 'cascade': its rules have to go from short buckets to long ones")
    if policy.oldest != "never" and policy.combine in {"claim", "cascade"}:
        raise PolicyError(
            f"oldest is {policy.oldest!r}, which has no meaning with combine = {policy.combine!r}: "
            f"leave it out"
        )
    _check_soft(policy)


def _check_classes(policy: Policy) -> None:
    check_classes(policy.schedule_classes)
    known = {one.name for one in policy.classes}
    for archive in policy.archives:
        for name in sorted(archive.classes - known if known else ()):
            raise PolicyError(
                f"archive.class: there is no class {name!r}: the classes are {', '.join(sorted(known))}"
            )
    if policy.classes and (policy.memory != "disk" or policy.ram):
        raise PolicyError(
            "memory is given, but each class says what it holds: write kind and ram into the classes"
        )


def _check_soft(policy: Policy) -> None:
    for key, low in policy.space.soft if policy.space else ():
        high = getattr(policy, key, None) if key in KEEP_BUCKETS else None
        if high is None:
            raise PolicyError(f"space.soft.{key} is no counting rule: the keys are {', '.join(KEEP_BUCKETS)}")
        if low < 0:
            raise PolicyError(f"space.soft.{key} is {low}: a count cannot be negative")
        if high != UNLIMITED and low > high:
            raise PolicyError(f"space.soft.{key} is {low}, which is above {key} = {high}: lower it")


def _count(key: str, count: object) -> Count:
    if count == UNLIMITED:
        return UNLIMITED
    if isinstance(count, bool) or not isinstance(count, Integral):
        raise PolicyError(
            f'{key} is {count!r}: give a whole number, 0 to switch the rule off, or "{UNLIMITED}"'
        )
    if count < 0:
        raise PolicyError(f'{key} is {count}: a count cannot be negative; write "{UNLIMITED}" to keep all')
    return int(count)


def _within(key: str, value: int | str) -> str:
    try:
        return Window.of(value).text
    except PolicyError as error:
        raise PolicyError(f"{key}: {error}") from None


def _kind(memory: str) -> SnapshotKind:
    try:
        return SnapshotKind(memory)
    except ValueError:
        kinds = ", ".join(f'"{kind.value}"' for kind in SnapshotKind)
        raise PolicyError(f"memory is {memory!r}: a snapshot holds one of {kinds}") from None


def _ram(kind: SnapshotKind, ram: int | str | None) -> int:
    try:
        size = 0 if ram is None else parse_size(ram)
    except UnitError as error:
        raise PolicyError(f"ram: {error}") from None
    if kind is SnapshotKind.DISK and size:
        raise PolicyError(
            'ram is given, but disk snapshots save no memory: set memory="memory" or "full", or leave it out'
        )
    if kind is not SnapshotKind.DISK and not size:
        raise PolicyError(
            f'ram is missing: {kind.value} snapshots save the memory of the guest, so give its size ("4GiB")'
        )
    return size
