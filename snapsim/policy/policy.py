"""The policy: a schedule and the rules that say which of its snapshots stay."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from snapsim.errors import PolicyError
from snapsim.policy import decisions as deciding
from snapsim.policy import given, name_templates
from snapsim.policy import judgement_kernels as judgement
from snapsim.policy.archive import Archive
from snapsim.policy.buckets import WEEKDAYS, Calendar
from snapsim.policy.compat import AXES, KEEP_BUCKETS, WITHIN_BUCKETS, ShortForms, tools
from snapsim.policy.contradictions import check
from snapsim.policy.given import Count
from snapsim.policy.grid import grid_rules
from snapsim.policy.name_templates import DEFAULT_TEMPLATE, Naming
from snapsim.policy.reach import reach
from snapsim.policy.retention import UNLIMITED, Rule
from snapsim.policy.schedule import Schedule
from snapsim.policy.tables import (
    ArchiveTable,
    ClassTable,
    Expire,
    Grid,
    Guards,
    Keep,
    Limits,
    Protect,
    Select,
    Space,
)
from snapsim.policy.taking import ScheduleClass
from snapsim.policy.times import parse_instant
from snapsim.policy.windows import Window
from snapsim.types import Decision, Int64Array, Snapshot, SnapshotKind
from snapsim.units import DAY, format_size, parse_duration

if TYPE_CHECKING:
    from snapsim.policy.space import Pool, PoolAt
    from snapsim.policy.timeline import Timeline
    from snapsim.policy.triggers import Event

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
        tool = given.tool_of(compat)
        kind = given.kind_of(memory)
        if not isinstance(name, str):
            raise PolicyError(f"name is {name!r}: give text")
        clock = given.timezone_of(tool, timezone)
        arguments = locals()
        values: dict[str, Any] = {
            "classes": given.class_tables(classes),
            "archive": tuple(given.table_of(ArchiveTable, one, "archive") for one in archive),
            "naming": naming,
            **{key: given.count_of(key, arguments[key]) for key in KEEP_BUCKETS},
            **{key: None if arguments[key] is None else given.within_of(key, arguments[key])
               for key in WITHIN_BUCKETS},
            "keep_tag": given.tag_lists(keep_tag),
            "keep": tuple(given.table_of(Keep, one, "keep") for one in keep),
            "plan": plan,
            "compat": compat,
            **{axis: given.axis_of(tool, axis, arguments[axis]) for axis in AXES},
            "day_start": given.day_start_of(day_start),
            "group_by": (group_by,) if isinstance(group_by, str) else tuple(group_by),
            "min_age": None if min_age is None else given.duration_of("min_age", min_age),
            **{key: None if arguments[key] is None else given.table_of(model, arguments[key], key)
               for key, model in given.TABLES.items()},
            "timezone": clock,
            "name": name,
            "memory": kind.value,
            "ram": given.ram_of(kind, ram),
        }  # fmt: skip
        values["select"] = values["select"] or tool.select
        values["protect"] = values["protect"] or tool.protect
        values["guards"] = values["guards"] or tool.guards
        values["expire"] = values["expire"] or tool.expire
        values["limits"] = values["limits"] or Limits()
        values["schedule"] = given.schedule_of(schedule, values["classes"], given.clock_of(clock))
        for key, value in values.items():
            object.__setattr__(self, key, value)
        if tool.rests and protect is None and self.rules[0].name == _NO_RULE:
            resting = self.protect.model_copy(update={"incomplete_newest": False})
            object.__setattr__(self, "protect", resting)
        check(self)

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
        rules = (
            [*tool.rules(short, self.reference)]
            if bool(short.counts or short.windows or short.tags or short.plan) or tool.style == "distance"
            else []
        )
        rules += [
            Rule(
                one.name,
                count=None if one.keep == UNLIMITED else int(one.keep),
                select=Select(classes=(one.name,)),
                reference=self.reference,
            )
            for one in self.classes
        ]
        rules += [
            given.long_rule(number, keep, self.reference, tool) for number, keep in enumerate(self.keep, 1)
        ]
        if self.grid:
            rules += grid_rules(self.grid)
        if self.expire:
            rules.append(given.expiry_rule(self.expire, tool))
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
        clock = given.clock_of(self.timezone)
        return tuple(given.schedule_class(one, clock) for one in self.classes)

    @cached_property
    def archives(self) -> tuple[Archive, ...]:
        """The archive actions, ready to be asked what they want."""
        return tuple(given.archive_of(one) for one in self.archive)

    @cached_property
    def names(self) -> Naming:
        """How names are written and read."""
        return name_templates.naming(self.naming, timezone=given.clock_of(self.timezone))

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
        existing, now_ns = list(snapshots), parse_instant(now, what="now")
        if pool is None:
            decisions = deciding.decide(self, existing, now_ns)
        else:
            from snapsim.policy.space import decide_with_space

            decisions = decide_with_space(self, existing, now_ns, pool)
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
        coalesce: bool = False,
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
        coalesce : bool
            Ticks of one schedule that fall on one instant are one snapshot, instead of an error: for
            instants that cannot be chosen, such as those of snapshots that exist.
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
            coalesce=coalesce,
            progress=progress,
        )

    @property
    def reach_ns(self) -> int | None:
        """How far back the policy reaches once it has run for long enough; None without a limit.  [ns]

        The longest of its rules: a window's length, or a rule's count times the mean distance between the
        buckets that the schedule fills (seven days for `keep_daily=7` and hourly snapshots, seven weeks if
        they are weekly).  A rule about a class goes by the schedule of that class.
        """
        return reach(self.schedule, self.rules, self.schedule_classes)

    def describe(self) -> str:
        """Return the policy in one line.

        Returns
        -------
        str
            Name, schedule, rules, time zone and kind of snapshot.
        """
        rules = ", ".join(filter(None, (rule.told() for rule in self.rules)))
        kind = (
            ""
            if self.kind is SnapshotKind.DISK
            else f", {self.kind.value} snapshots with {format_size(self.ram)} of RAM"
        )
        when = f"{self.name + ': ' if self.name else ''}{self.schedule or 'by hand'}"
        as_whom = "" if self.compat == "snapsim" else f", as {self.compat}"
        return f"{when}, keep {rules}{kind} ({self.timezone}{as_whom})"
