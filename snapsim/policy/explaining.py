"""Decisions as people read them: a table with rule letters and reasons, and a calendar of what is kept."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from snapsim import schema
from snapsim.policy.buckets import RECORDED
from snapsim.policy.decisions import fingerprint, label
from snapsim.policy.policy import Policy
from snapsim.policy.times import format_instant, parse_instant
from snapsim.types import Decision, Int64Array, Snapshot
from snapsim.units import SECOND, format_duration

if TYPE_CHECKING:
    from snapsim.policy.timeline import Timeline

OTHERWISE = "!"
"""Letter of what stays for another reason than a rule: protected, too young, held by a guard."""

_LETTERS = {
    "last": "l",
    "secondly": "s",
    "minutely": "n",
    "frequently": "f",
    "hourly": "h",
    "daily": "d",
    "weekly": "w",
    "monthly": "m",
    "quarterly": "q",
    "yearly": "y",
    "within": "i",
    "within hourly": "H",
    "within daily": "D",
    "within weekly": "W",
    "within monthly": "M",
    "within yearly": "Y",
    "expire": "e",
}
_SPARE = "123456789abcgjkoprtuvxzABCEFGIJKLNOPQRSTUVXZ"
_WEEKDAYS = ("Mo", "Tu", "We", "Th", "Fr", "Sa", "Su")


def rule_letters(policy: Policy) -> dict[str, str]:
    """Return a letter for each rule of a policy.

    Parameters
    ----------
    policy : Policy
        The policy.

    Returns
    -------
    dict of str to str
        By the name of the rule: h, d, w, m, q, y for the usual ones, l for the last, i for within, capitals
        for one of each hour, day, ... within; any that is free for others.

    Examples
    --------
    >>> rule_letters(Policy(keep_daily=7, keep_within="2d"))
    {'daily': 'd', 'within': 'i'}
    """
    names = dict.fromkeys(rule.name for rule in policy.rules)
    usual = {name: known for name in names if (known := _LETTERS.get(_base(name)))}
    spare = (letter for letter in _SPARE if letter not in usual.values())
    return {name: usual.get(name) or next(spare, "?") for name in names}


def _base(name: str) -> str:
    """Return what a rule is about: "daily within" (younger than so many days) is a daily one."""
    return name.removesuffix(" within")


def letters_of(decision: Decision, letters: Mapping[str, str]) -> str:
    """Return the letters of the rules that keep a snapshot.

    Parameters
    ----------
    decision : Decision
        What was decided.
    letters : mapping of str to str
        As `rule_letters` gives them.

    Returns
    -------
    str
        In the order of the rules; "!" for what stays for another reason; empty for what goes.
    """
    if not decision.keep:
        return ""
    found = rules_of(decision, letters)
    held = dict.fromkeys(letters[name] for name in letters if name in found)
    return "".join(held) or OTHERWISE


def rules_of(decision: Decision, names: Iterable[str]) -> set[str]:
    """Return the rules that keep a snapshot.

    Parameters
    ----------
    decision : Decision
        What was decided; each of its reasons begins with the name of the rule.
    names : iterable of str
        The rules of the policy.

    Returns
    -------
    set of str
        Their names; empty for what goes, and for what stays for another reason.
    """
    if not decision.keep:
        return set()
    known = list(names)
    fitting = (
        [name for name in known if reason == name or reason.startswith((f"{name} ", f"{name}:"))]
        for reason in decision.reasons
    )
    return {max(found, key=len) for found in fitting if found}


@dataclass(frozen=True, eq=False)
class Explanation:
    """What a policy says about a catalog at one time.

    Attributes
    ----------
    policy : Policy
        The policy.
    now_ns : int
        The time of the decision.  [ns]
    decisions : tuple of Decision
        One for each snapshot, the oldest first.
    """

    policy: Policy
    now_ns: int
    decisions: tuple[Decision, ...]

    def __repr__(self) -> str:
        return f"<Explanation: {self.verdict}>"

    @property
    def kept(self) -> tuple[Snapshot, ...]:
        """What stays, the oldest first."""
        return tuple(one.snapshot for one in self.decisions if one.keep)

    @property
    def deleted(self) -> tuple[Snapshot, ...]:
        """What goes, the oldest first."""
        return tuple(one.snapshot for one in self.decisions if not one.keep)

    @cached_property
    def fingerprint(self) -> str:
        """What tells these decisions from others: sixteen hexadecimal digits."""
        return fingerprint(self.decisions)

    @cached_property
    def letters(self) -> dict[str, str]:
        """The letter of each rule, by its name."""
        return rule_letters(self.policy)

    @property
    def verdict(self) -> str:
        """How many stay and how many go, in one line."""
        kept, deleted = len(self.kept), len(self.deleted)
        stay, go = ("stays" if kept == 1 else "stay"), ("goes" if deleted == 1 else "go")
        every = kept + deleted
        return f"at {format_instant(self.now_ns)}, of {every} snapshots {kept} {stay} and {deleted} {go}"

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row for each snapshot, the oldest first: taken, snapshot, age_ns, keep, letters, reasons."""
        taken = np.array([one.snapshot.time_ns for one in self.decisions], dtype=np.int64)
        frame = pd.DataFrame(
            {
                "taken": pd.to_datetime(pd.Series(taken), unit="ns", utc=True),
                "snapshot": pd.Series([label(one.snapshot) for one in self.decisions], dtype=object),
                "age_ns": self.now_ns - taken,
                "keep": np.array([one.keep for one in self.decisions], dtype=np.bool_),
                "letters": pd.Series([letters_of(one, self.letters) for one in self.decisions], dtype=object),
                "reasons": pd.Series(["; ".join(one.reasons) for one in self.decisions], dtype=object),
            }
        )
        schema.check_columns(frame.columns)
        return frame

    @cached_property
    def calendar(self) -> "RecoveryCalendar":
        """What stays, week by week."""
        return RecoveryCalendar.of(self)

    @property
    def key(self) -> str:
        """What the letters in use mean, in one line; empty if nothing stays."""
        used = "".join(self.frame["letters"])
        named: dict[str, list[str]] = {}
        for name, letter in self.letters.items():
            named.setdefault(letter, []).append(name)
        said = [f"{letter} {', '.join(names)}" for letter, names in named.items() if letter in used]
        return "; ".join([*said, f"{OTHERWISE} another reason"] if OTHERWISE in used else said)

    def text(self) -> str:
        """Return the table as text.

        Returns
        -------
        str
            What stays and what goes, from old to new, with reasons; then the key and the fingerprint.
        """
        rows = [
            (
                "keep" if keep else "delete",
                letters,
                _age(int(age)),
                snapshot,
                reasons,
            )
            for keep, letters, age, snapshot, reasons in self.frame[
                ["keep", "letters", "age_ns", "snapshot", "reasons"]
            ].itertuples(index=False)
        ]
        table = aligned(("", "rules", "age", "snapshot", "why"), rows) if rows else []
        end = [f"rules: {self.key}"] if self.key else []
        return "\n".join(
            [self.policy.describe(), self.verdict, *table, *end, f"fingerprint: {self.fingerprint}"]
        )


def explain(policy: Policy, snapshots: Iterable[Snapshot], now: int | str | datetime) -> Explanation:
    """Say what a policy would keep and delete now, and why.

    Nothing is touched.

    Parameters
    ----------
    policy : Policy
        The policy.
    snapshots : iterable of Snapshot
        What exists.
    now : int, str or datetime
        The time of the decision: nanoseconds since the Unix epoch, ISO 8601 text or a datetime; with a time
        zone.

    Returns
    -------
    Explanation
        The decisions, as a frame, as text and as a calendar.

    Raises
    ------
    PolicyError
        `now` has no time zone or cannot be read.

    Examples
    --------
    >>> days = [Snapshot(time_ns=day * 86_400 * 10**9, name=f"day {day}") for day in range(3)]
    >>> print(explain(Policy(keep_last=1), days, now="1970-01-03T12:00Z").text())
    by hand, keep last 1 (UTC)
    at 1970-01-03T12:00:00Z, of 3 snapshots 1 stays and 2 go
            rules  age   snapshot  why
    delete         2.5d  day 0     last: 1 of 1 newer snapshot kept (a count of 3 would keep it)
    delete         1.5d  day 1     last: 1 of 1 newer snapshot kept (a count of 2 would keep it)
    keep    l      12h   day 2     last 1 of 1
    rules: l last
    fingerprint: 4f7c671564025316
    """
    now_ns = parse_instant(now, what="now")
    decided = policy.decide(snapshots, now_ns)
    ordered = sorted(decided, key=lambda one: (one.snapshot.time_ns, one.snapshot.id, one.snapshot.name))
    return Explanation(policy, now_ns, tuple(ordered))


def explain_instant(timeline: "Timeline", i: int = -1) -> Explanation:
    """Say what the prune at one instant of a timeline kept and deleted.

    Parameters
    ----------
    timeline : Timeline
        A policy over time.
    i : int
        Index of the instant; negative ones count from the end.

    Returns
    -------
    Explanation
        About everything that existed just before the prune.

    Raises
    ------
    IndexError
        There is no such instant.
    """
    decisions = tuple(timeline.decisions(i))  # says which instants there are
    return Explanation(timeline.policy, int(timeline.instants[i]), decisions)


def calendar(timeline: "Timeline", i: int = -1) -> "RecoveryCalendar":
    """Return the recovery points that a policy holds at an instant, week by week.

    Parameters
    ----------
    timeline : Timeline
        A policy over time.
    i : int
        Index of the instant; negative ones count from the end.

    Returns
    -------
    RecoveryCalendar
        A grid of days with the letters of the rules that keep them.

    Raises
    ------
    IndexError
        There is no such instant.
    """
    return explain_instant(timeline, i).calendar


class KeptDay(NamedTuple):
    """The recovery points of one day.

    Attributes
    ----------
    week, weekday : int
        The week, numbered from an arbitrary one, and its day (0 is the first of a week).
    letters : str
        Of all rules that keep one of them, in the order of the rules.
    points : int
        How many.
    """

    week: int
    weekday: int
    letters: str
    points: int


@dataclass(frozen=True, eq=False)
class RecoveryCalendar:
    """The recovery points that a policy holds, week by week in its own calendar.

    Attributes
    ----------
    explanation : Explanation
        The decisions.
    days : tuple of KeptDay
        Days with a recovery point, ascending.
    """

    explanation: Explanation
    days: tuple[KeptDay, ...]

    def __repr__(self) -> str:
        kept = sum(day.points for day in self.days)
        return f"<RecoveryCalendar: {kept} recovery points on {len(self.days)} days>"

    @classmethod
    def of(cls, explanation: Explanation) -> "RecoveryCalendar":
        """Make the calendar of decisions.

        Parameters
        ----------
        explanation : Explanation
            The decisions.

        Returns
        -------
        RecoveryCalendar
            Of what stays.
        """
        dates = explanation.policy.calendar
        numbers = dates.days(dates.local(*_times(explanation)))
        order = [*dict.fromkeys(explanation.letters.values()), OTHERWISE]
        held = explanation.frame.loc[explanation.frame["keep"], "letters"].to_numpy()
        days = []
        for day in np.unique(numbers).tolist():
            here = held[numbers == day].tolist()
            week = (day + 3 - dates.week_start) // 7  # as `Calendar.weeks` counts them
            letters = "".join(letter for letter in order if any(letter in one for one in here))
            days.append(KeptDay(week, day - (week * 7 - 3 + dates.week_start), letters, len(here)))
        return cls(explanation, tuple(days))

    @cached_property
    def weekdays(self) -> tuple[str, ...]:
        """The days of a week, in order."""
        first = self.explanation.policy.calendar.week_start
        return _WEEKDAYS[first:] + _WEEKDAYS[:first]

    def week_begins(self, week: int) -> datetime:
        """Return the day on which a week begins.

        Parameters
        ----------
        week : int
            As in `KeptDay`.

        Returns
        -------
        datetime
            Midnight; the day is one of the policy's own calendar.
        """
        first = self.explanation.policy.calendar.week_start
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=week * 7 - 3 + first)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row for each week from the first recovery point to the last, one column for each weekday.

        Cells have the letters of the rules, and the number of points if there are several on a day; the index
        has the day on which the week begins.
        """
        weeks = range(self.days[0].week, self.days[-1].week + 1) if self.days else range(0)
        cells = {(day.week, day.weekday): _cell(day) for day in self.days}
        return pd.DataFrame(
            [[cells.get((week, weekday), "") for weekday in range(7)] for week in weeks],
            index=pd.Index(
                [f"{self.week_begins(week):%Y-%m-%d}" for week in weeks], name="week", dtype=object
            ),
            columns=list(self.weekdays),
            dtype=object,
        )

    def text(self) -> str:
        """Return the calendar as text.

        Returns
        -------
        str
            A line for each week, the oldest first; weeks without a recovery point are only counted.
        """
        lines: list[Sequence[str]] = []
        empty = 0
        for week, *cells in self.frame.itertuples():
            if not any(cells):
                empty += 1
                continue
            if empty:
                lines.append((f"({empty} week{'s' * (empty > 1)} without)", *[""] * 7))
            empty = 0
            lines.append((str(week), *(cell or "." for cell in cells)))
        said = [f"rules: {self.explanation.key}"] if self.days else ["nothing is kept"]
        return "\n".join([*aligned(("week of", *self.weekdays), lines), *said] if lines else said)


def _times(explanation: Explanation) -> tuple[Int64Array, Int64Array | None]:
    """Return when what stays was taken, and the recorded offsets if those count."""
    kept = explanation.kept
    time_ns = np.array([one.time_ns for one in kept], dtype=np.int64)
    if explanation.policy.timezone != RECORDED:
        return time_ns, None
    offsets = [int(one.attributes.get("utc_offset_s", 0)) * SECOND for one in kept]
    return time_ns, np.array(offsets, dtype=np.int64)


def _cell(day: KeptDay) -> str:
    return day.letters if day.points == 1 else f"{day.letters} {day.points}"


def _age(age_ns: int) -> str:
    if age_ns < 0:
        return f"in {format_duration(-age_ns, digits=2)}"
    return format_duration(age_ns, digits=2) if age_ns else "0"


def aligned(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table, columns aligned.

    Parameters
    ----------
    heads : sequence of str
        One for each column.
    rows : iterable of sequences of str
        The cells.

    Returns
    -------
    list of str
        The heads, then a line for each row.
    """
    lines = [tuple(heads), *(tuple(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


__all__ = [
    "OTHERWISE",
    "Explanation",
    "KeptDay",
    "RecoveryCalendar",
    "aligned",
    "calendar",
    "explain",
    "explain_instant",
    "letters_of",
    "rule_letters",
    "rules_of",
]
