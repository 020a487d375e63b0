"""From one policy to another: what the first run deletes, and how long it takes to settle."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np

from snapsim.errors import PolicyError
from snapsim.policy import judgement_kernels as judgement
from snapsim.policy import retention
from snapsim.policy.buckets import RECORDED, CalendarKeys
from snapsim.policy.comparing import scheduled_reach, settling_ns
from snapsim.policy.decisions import age_order, marks, number_table
from snapsim.policy.explaining import Explanation, aligned, explain
from snapsim.policy.policy import Policy
from snapsim.policy.timeline import Timeline
from snapsim.policy.times import format_instant, parse_instant
from snapsim.types import Int64Array, Snapshot
from snapsim.units import DAY, format_duration

Progress = Callable[[int, int | None], None]

ENDLESS = 4 * 1461 * DAY // 4
"""For how long a policy that never ends is run to see what it holds: four years.  [ns]"""
_MOST_SHOWN = 40
_NEVER = int(np.iinfo(np.int64).max)


@dataclass(frozen=True, eq=False)
class Migration:
    """What changes when a new policy takes over.

    Attributes
    ----------
    old : Policy or None
        The policy until now.
    new : Policy
        The policy from now on.
    first : Explanation
        What the first run under the new policy keeps and deletes.
    assumed : bool
        What exists is what the old policy would hold in its steady state; otherwise it was given.
    grown_ns : int or None
        After this long there are as many snapshots as if the new policy had always run, and they reach as
        far back (to within one period of its schedule), and it stays so; None if that was not seen.  [ns]
    same_ns : int or None
        After this long what is kept is exactly what it would be if the new policy had always run, and it
        stays so; None if that was not seen.  [ns]
    followed_ns : int
        For how long the new policy was followed; 0 if it was not.  [ns]
    unknown : str
        Why it was not; empty if it was.
    """

    old: Policy | None
    new: Policy
    first: Explanation
    assumed: bool
    grown_ns: int | None
    same_ns: int | None
    followed_ns: int
    unknown: str

    def __repr__(self) -> str:
        return f"<Migration: {self.first.verdict}>"

    @cached_property
    def lost(self) -> tuple[Snapshot, ...]:
        """What the first run deletes although the old policy would keep it, the oldest first."""
        if self.old is None:
            return self.first.deleted
        stays = {
            id(one.snapshot)
            for one in self.old.decide([*self.first.kept, *self.first.deleted], self.first.now_ns)
            if one.keep
        }
        return tuple(one for one in self.first.deleted if id(one) in stays)

    def summary(self) -> dict[str, Any]:
        """Return the figures.

        Returns
        -------
        dict
            Times in nanoseconds, None for what was not seen.
        """
        return {
            "old": None if self.old is None else self.old.describe(),
            "new": self.new.describe(),
            "now": format_instant(self.first.now_ns),
            "assumed": self.assumed,
            "kept": len(self.first.kept),
            "deleted": len(self.first.deleted),
            "lost": len(self.lost),
            "fingerprint": self.first.fingerprint,
            "grown_ns": self.grown_ns,
            "same_ns": self.same_ns,
            "followed_ns": self.followed_ns,
            "unknown": self.unknown,
        }

    def text(self) -> str:
        """Return the migration as text.

        Returns
        -------
        str
            Both policies, what the first run deletes and why, and how long it takes to settle.
        """
        lines = [f"old: {self.old.describe()}"] if self.old else []
        lines.append(f"new: {self.new.describe()}")
        if self.assumed:
            lines.append("what exists: what the old policy holds in its steady state")
        lines.append(f"first run under the new policy: {self.first.verdict}")
        gone = self.first.frame[~self.first.frame["keep"]]
        rows = [
            (format_duration(int(age), digits=2) if age else "0", name, why)
            for age, name, why in gone[["age_ns", "snapshot", "reasons"]].itertuples(index=False)
        ]
        if rows:
            lines += aligned(("age", "deletes", "why"), rows[:_MOST_SHOWN])
            lines += [f"... and {len(rows) - _MOST_SHOWN} younger ones"] if len(rows) > _MOST_SHOWN else []
        if self.old and rows:
            lines.append(f"of these the old policy would keep {len(self.lost)}")
        lines += [*self._settling(), f"fingerprint: {self.first.fingerprint}"]
        return "\n".join(lines)

    def _settling(self) -> Sequence[str]:
        if self.unknown:
            return [f"time until the steady state: not known, because {self.unknown}"]
        seen = f"not within {format_duration(self.followed_ns)}"
        return [
            f"{what}: {seen if after is None else f'after {format_duration(after)}' if after else 'at once'}"
            for what, after in (
                ("as many and as far back as if the new policy had always run", self.grown_ns),
                ("exactly what it would keep if it had always run", self.same_ns),
            )
        ]


def migrate(
    old: Policy | None,
    new: Policy,
    now: int | str | datetime,
    *,
    snapshots: Iterable[Snapshot] | None = None,
    progress: Progress | None = None,
) -> Migration:
    """Say what the first run under a new policy deletes, and how long it takes until it is settled.

    Nothing is touched.

    Parameters
    ----------
    old : Policy or None
        The policy until now; None if what exists is given.
    new : Policy
        The policy from now on.
    now : int, str or datetime
        When it takes over: nanoseconds since the Unix epoch, ISO 8601 text or a datetime; with a time zone.
    snapshots : iterable of Snapshot, optional
        What exists; unless given, what the old policy holds after it has run for three times as long as it
        reaches (four years if it has no end).
    progress : callable, optional
        Called with the prunes done and all of them.

    Returns
    -------
    Migration
        The first run with its reasons, and the time until the steady state.

    Raises
    ------
    PolicyError
        `now` cannot be read, or nothing says what exists.
    """
    now_ns = parse_instant(now, what="now")
    existing = _steady(old, now_ns) if snapshots is None else list(snapshots)
    first = explain(new, existing, now_ns)
    span, unknown = _span(new, existing)
    if unknown:
        return Migration(old, new, first, snapshots is None, None, None, 0, unknown)
    always = new.timeline(new.ticks(now_ns - span, now_ns + span))
    differs, short, times = _follow(new, first.kept, always, now_ns, progress)
    return Migration(
        old,
        new,
        first,
        snapshots is None,
        _after(short, times, now_ns),
        _after(differs, times, now_ns),
        span,
        "",
    )


def _steady(old: Policy | None, now_ns: int) -> list[Snapshot]:
    """Return what a policy holds that has always run."""
    if old is None:
        raise PolicyError("nothing says what exists: give the old policy or its snapshots")
    if old.schedule is None:
        raise PolicyError(
            "the old policy has no schedule, so nothing says what exists: give it one, such as "
            'schedule = "@daily", or give the snapshots that exist'
        )
    ticks = old.ticks(now_ns - settling_ns(old, endless_ns=ENDLESS), now_ns + 1)
    if not ticks.size:
        return []
    timeline = old.timeline(ticks)
    held = np.flatnonzero(timeline.deleted >= ticks.size)
    return [timeline.snapshot(int(number)) for number in held]


def _span(new: Policy, existing: Sequence[Snapshot]) -> tuple[int, str]:
    """Return for how long to follow the new policy, or why that is not possible."""
    if new.schedule is None:
        return 0, "the new policy has no schedule"
    if scheduled_reach(new) is None:
        return 0, "the new policy has a rule without end"
    if new.timezone == RECORDED and any(one.attributes.get("utc_offset_s") for one in existing):
        return 0, "the offsets of future snapshots are not known"
    groups = {
        tuple(str(one.attributes.get(key)) for key in new.group_by if key not in {"class", "tags", "kind"})
        for one in existing
    }
    if len(groups) > 1:
        return 0, f"the snapshots are of {len(groups)} groups: list one of them"
    return settling_ns(new, endless_ns=ENDLESS), ""


def _follow(
    new: Policy, survivors: Sequence[Snapshot], always: Timeline, now_ns: int, progress: Progress | None
) -> tuple[list[bool], list[bool], Int64Array]:
    """Take and prune from now on; say after each prune whether what exists differs, and if it is less."""
    first = int(np.searchsorted(always.instants, now_ns, side="right"))
    numbers = np.flatnonzero(always.created >= first)
    ranked = sorted(survivors, key=lambda one: age_order(new, one))
    everything = [*ranked, *(always.snapshot(int(number)) for number in numbers)]
    time_ns = np.array([one.time_ns for one in everything], dtype=np.int64)
    rules = new.rules
    # columns of the calendar: equal times may stand twice, but they have to ascend
    keys = CalendarKeys(np.sort(time_ns), new.calendar)
    column = np.argsort(np.argsort(time_ns, kind="stable"), kind="stable")
    classes = sorted(set().union(*(one.classes for one in everything)))[:64]
    after, until = retention.window_table(rules, keys)
    whole = judgement.Candidates(
        time_ns,
        column,
        keys.table([rule.bucket for rule in rules]),
        number_table(rules, keys),
        after,
        until,
        retention.selection_table(rules, everything),
        marks(new.protect, new.select, everything),
        np.array([not one.attributes.get("incomplete") for one in everything], dtype=np.bool_),
        np.array(
            [sum(1 << bit for bit, name in enumerate(classes) if name in one.classes) for one in everything],
            dtype=np.uint64,
        ),
    )
    table, n_keys = retention.to_table(rules), retention.key_count(rules, keys)
    period = new.schedule.period_ns if new.schedule else 0
    live = np.arange(len(ranked))
    differs, short = [], []
    for step, number in enumerate(numbers.tolist()):
        one = len(ranked) + step
        live = np.append(live, one)
        chosen = whole._replace(
            time_ns=time_ns[live],
            column=column[live],
            selected=np.ascontiguousarray(whole.selected[:, live]),
            mark=whole.mark[live],
            complete=whole.complete[live],
            classes=whole.classes[live],
        )
        verdicts, _ = judgement.decide_once(
            np.arange(live.size)[::-1].copy(),
            int(column[one]),
            int(time_ns[one]),
            table,
            new.semantics,
            chosen,
            n_keys,
        )
        live = live[verdicts.step == live.size]
        should = always.instants[always.kept(int(always.created[number]))]
        has = time_ns[live]
        differs.append(not np.array_equal(np.sort(has), should))
        # a new schedule takes at other times of the day: within a period is as far back
        oldest, ours = (int(one.min(initial=_NEVER)) for one in (should, has))
        short.append(has.size < should.size or ours > oldest + period)
        if progress is not None and step % 256 == 0:
            progress(step, len(numbers))
    return differs, short, always.instants[always.created[numbers]]


def _after(wrong: Sequence[bool], times: Int64Array, now_ns: int) -> int | None:
    """Return when something ends for good; None if it does not."""
    last = max((step for step, one in enumerate(wrong) if one), default=-1)
    if last < 0:
        return 0
    return int(times[last + 1] - now_ns) if last + 1 < len(wrong) else None
