"""The policy: a schedule and the rules that say which of its snapshots stay."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from snapsim.errors import PolicyError, UnitError
from snapsim.policy import retention, zones
from snapsim.policy.buckets import CalendarKeys
from snapsim.policy.reach import reach
from snapsim.policy.retention import UNLIMITED, Rule
from snapsim.policy.retention_kernels import settle
from snapsim.policy.schedule import Schedule
from snapsim.policy.times import format_instant, parse_instant
from snapsim.policy.windows import Window
from snapsim.types import Decision, Int64Array, Snapshot, SnapshotKind
from snapsim.units import format_size, parse_size

if TYPE_CHECKING:
    from snapsim.policy.timeline import Timeline

Count = int | str
"""How many buckets a rule keeps: a whole number, 0 for none, or "unlimited"."""

KEEP_BUCKETS: Mapping[str, str] = {
    "keep_last": "each",
    "keep_hourly": "hour",
    "keep_daily": "day",
    "keep_weekly": "week",
    "keep_monthly": "month",
    "keep_quarterly": "quarter",
    "keep_yearly": "year",
}
"""The counting rules by their key, and the bucket of each."""


DEFAULTS: Mapping[str, object] = {
    **dict.fromkeys(KEEP_BUCKETS, 0),
    "keep_within": None,
    "timezone": "UTC",
    "name": "",
    "memory": "disk",
    "ram": 0,
}
"""What a policy says where nothing is given; the schedule has no default."""


@dataclass(frozen=True, init=False, repr=False, kw_only=True)
class Policy:
    """When snapshots are taken, and which of them stay.

    A rule such as `keep_daily=7` keeps the newest snapshot of each of the seven newest days *that have one*.
    A snapshot stays as long as one rule keeps it.  Buckets are those of the calendar in `timezone`; weeks are
    ISO weeks. `keep_within` keeps whatever is younger than that, counted from the newest snapshot that is not
    in the future, so that a machine that was off for a month does not lose everything at once.

    Snapshots that are dated after `now` are treated as restic treats them: they take up counts like others,
    and `keep_within` keeps them.

    Parameters
    ----------
    schedule : str, sequence of str, or Schedule
        "15min" (aligned to the Unix epoch), "@hourly", "@daily", "@midnight", "@weekly" (Sunday), "@monthly",
        "@quarterly", "@yearly", "@annually", a cron line of five fields (or six, seconds first), or several
        of these.
    keep_last, keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_quarterly, keep_yearly : int or str
        How many snapshots, non-empty hours, days, ... are kept: a number, 0 for none, or "unlimited".
    keep_within : int or str, optional
        Duration, or calendar length ("48h", "7d", "1mo", "1y"); a day is 24 hours.  [ns]
    timezone : str
        IANA name of the zone of the schedule and of the buckets.
    name : str
        The policy's own name.
    memory : {"disk", "memory", "full"}
        What each snapshot holds.
    ram : int or str, optional
        Guest memory that each memory or full snapshot saves.  [bytes]

    Attributes
    ----------
    schedule : Schedule
        The parsed schedule.
    keep_last, keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_quarterly, keep_yearly : int or str
        As given.
    keep_within : str or None
        As given.
    timezone, name, memory : str
        As given.
    ram : int
        0 for disk snapshots.  [bytes]

    Raises
    ------
    PolicyError
        Something cannot be read, a count is negative, or no rule would keep anything.

    Examples
    --------
    >>> policy = Policy(schedule="@hourly", keep_hourly=24, keep_daily=7, keep_within="2d", name="short")
    >>> policy.describe()
    'short: @hourly, keep hourly 24, daily 7, within 2d (UTC)'
    """

    schedule: Schedule
    keep_last: Count
    keep_hourly: Count
    keep_daily: Count
    keep_weekly: Count
    keep_monthly: Count
    keep_quarterly: Count
    keep_yearly: Count
    keep_within: str | None
    timezone: str
    name: str
    memory: str
    ram: int

    def __init__(
        self,
        *,
        schedule: Schedule | str | Sequence[str],
        keep_last: Count = 0,
        keep_hourly: Count = 0,
        keep_daily: Count = 0,
        keep_weekly: Count = 0,
        keep_monthly: Count = 0,
        keep_quarterly: Count = 0,
        keep_yearly: Count = 0,
        keep_within: int | str | None = None,
        timezone: str = "UTC",
        name: str = "",
        memory: str = "disk",
        ram: int | str | None = None,
    ) -> None:
        counts = (keep_last, keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_quarterly, keep_yearly)
        kind = _kind(memory)
        if not isinstance(name, str):
            raise PolicyError(f"name is {name!r}: give text")
        zones.zone(timezone)
        values: dict[str, Any] = {
            "schedule": Schedule.of(schedule, timezone=timezone),
            **{key: _count(key, count) for key, count in zip(KEEP_BUCKETS, counts, strict=True)},
            "keep_within": None if keep_within is None else _within(keep_within),
            "timezone": timezone,
            "name": name,
            "memory": kind.value,
            "ram": _ram(kind, ram),
        }
        for key, value in values.items():
            object.__setattr__(self, key, value)
        if not self.rules:
            raise PolicyError(
                "policy keeps nothing, so that its first prune would delete every snapshot: "
                'give it a rule such as keep_last=3, keep_daily=7 or keep_within="2d"'
            )

    def __repr__(self) -> str:
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        given["schedule"] = self.schedule.texts if len(self.schedule.texts) > 1 else self.schedule.texts[0]
        said = {key: value for key, value in given.items() if value != DEFAULTS.get(key)}
        return f"Policy({', '.join(f'{key}={value!r}' for key, value in said.items())})"

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        """The rules that are in force."""
        counted = [
            Rule(key.removeprefix("keep_"), bucket, None if count == UNLIMITED else int(count))
            for key, bucket in KEEP_BUCKETS.items()
            if (count := getattr(self, key)) != 0
        ]
        within = [Rule("within", "each", window=Window.of(self.keep_within))] if self.keep_within else []
        return (*counted, *within)

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
        return self.schedule.ticks(start_ns, stop_ns)

    def decide(self, snapshots: Iterable[Snapshot], now: int | str | datetime) -> list[Decision]:
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

        Returns
        -------
        list of Decision
            One for each snapshot, in the order in which they came.

        Raises
        ------
        PolicyError
            `now` has no time zone or cannot be read.
        """
        given = list(snapshots)
        now_ns = parse_instant(now, what="now")
        order = sorted(range(len(given)), key=lambda index: _age_order(given[index]))
        ranked = [given[index] for index in order]
        time_ns = np.array([snapshot.time_ns for snapshot in ranked], dtype=np.int64)
        past = time_ns[time_ns <= now_ns]
        reference = int(past[-1]) if past.size else retention.NO_REFERENCE
        keys = CalendarKeys(time_ns, self.timezone)
        column = np.arange(time_ns.size)
        verdicts = settle(
            retention.to_arrays(self.rules),
            retention.to_catalog(self.rules, keys, column, reference_ns=reference),
        )
        told = retention.Explainer(
            self.rules, verdicts, time_ns, self.timezone, lambda index: _label(ranked[index])
        )
        decisions: list[Decision | None] = [None] * len(given)
        for place, index in enumerate(order):
            keep = bool(verdicts.step[place] == time_ns.size)
            decisions[index] = Decision(
                given[index], keep, told.reasons(place, keep=keep, reference_ns=reference)
            )
        return [decision for decision in decisions if decision is not None]

    def timeline(
        self, instants: npt.ArrayLike, *, progress: Callable[[int, int | None], None] | None = None
    ) -> "Timeline":
        """Run the policy over time: take a snapshot at each tick, and prune right after each.

        A tick is taken at the first instant that is not before it.  Ticks of different schedules that fall on
        one instant make one snapshot.

        Parameters
        ----------
        instants : int64 array, shape (n_instants,)
            When snapshots can be taken, UTC, strictly ascending.  [ns]
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

        return run(self, instants, progress=progress)

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
        rules = ", ".join(
            f"{rule.name} {rule.window.text}"
            if rule.window
            else f"{rule.name} {UNLIMITED if rule.count is None else rule.count}"
            for rule in self.rules
        )
        kind = (
            ""
            if self.kind is SnapshotKind.DISK
            else f", {self.kind.value} snapshots with {format_size(self.ram)} of RAM"
        )
        return f"{self.name + ': ' if self.name else ''}{self.schedule}, keep {rules}{kind} ({self.timezone})"


def _age_order(snapshot: Snapshot) -> tuple[object, ...]:
    """Older first, then by id; the rest of the key makes the order of the input irrelevant."""
    return (
        snapshot.time_ns,
        snapshot.id,
        snapshot.name,
        snapshot.kind,
        sorted(snapshot.classes),
        sorted(snapshot.tags),
    )


def _label(snapshot: Snapshot) -> str:
    return snapshot.name or snapshot.id or format_instant(snapshot.time_ns)


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


def _within(value: int | str) -> str:
    try:
        return Window.of(value).text
    except PolicyError as error:
        raise PolicyError(f"keep_within: {error}") from None


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
