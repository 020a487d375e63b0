"""Policies, times and spans as they are typed."""

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from snapsim.cli.output import warn
from snapsim.cli.rules import from_file
from snapsim.cli.wording import worded
from snapsim.errors import UsageError

if TYPE_CHECKING:
    from snapsim.policy.policy import Policy
    from snapsim.types import Int64Array, Snapshot

__all__ = [
    "Days",
    "ListingFile",
    "ListingTool",
    "ListingZone",
    "Moment",
    "PolicyFile",
    "ScheduleText",
    "at_ticks",
    "instants",
    "moment",
    "read_policy",
    "read_snapshots",
]

_DAY = 86_400 * 10**9
_ENDLESS = 4 * 1461 * _DAY // 4
_MOST = 2_000_000

PolicyFile = Annotated[str, Parameter(metavar="POLICY")]
"""A policy file, FILE:NAME where it has several, or the name of a preset."""

ScheduleText = Annotated[str | None, Parameter(metavar="WHEN")]
Moment = Annotated[str | None, Parameter(metavar="TIME")]
Days = Annotated[float | None, Parameter(metavar="N")]
ListingFile = Annotated[Path, Parameter(metavar="LISTING")]
ListingTool = Annotated[str | None, Parameter(metavar="NAME")]
ListingZone = Annotated[str, Parameter(metavar="ZONE")]


def read_policy(text: str, *, schedule: str | None = None) -> "Policy":
    """Read a policy.

    Parameters
    ----------
    text : str
        A policy file, FILE:NAME where it has several, or the name of a preset.
    schedule : str, optional
        When snapshots are taken, if the policy does not say so.

    Returns
    -------
    Policy
        The policy.

    Raises
    ------
    UsageError
        The schedule is given twice, or the policy is wrong.
    """
    path = Path(text)
    file, colon, name = text.rpartition(":")
    named = bool(colon and file) and not path.exists()
    policy = from_file(Path(file), name) if named else from_file(path)
    if schedule is None:
        return policy
    if policy.schedule is not None:
        raise UsageError(f"--schedule is given, but {text} has a schedule itself: change it there")
    with worded():
        return replace(policy, schedule=schedule)  # type: ignore[arg-type]  # text becomes a schedule


def at_ticks(policy: "Policy") -> "Policy":
    """Return a policy that takes every snapshot at its tick; warn if it would look at what is written.

    Parameters
    ----------
    policy : Policy
        As read.

    Returns
    -------
    Policy
        Its classes take every snapshot at its tick.
    """
    look = {"min_written": 0, "on_change": False, "quiet": 0, "jitter": 0}
    delayed = [one.name for one in policy.schedule_classes if one.jitter_ns]
    blind = [one.name for one in policy.schedule_classes if one.min_written or one.quiet_ns]
    if not blind and not delayed:
        return policy
    if blind:
        warn(
            f"{', '.join(blind)}: what is written is not known here, so every snapshot is taken, at its "
            f"tick; snapsim simulate reads it from a trace"
        )
    changed = {*blind, *delayed}  # a jitter of minutes says nothing about what is kept
    classes = [one.model_copy(update=look) if one.name in changed else one for one in policy.classes]
    return replace(policy, classes=classes)  # type: ignore[arg-type]  # a sequence becomes a tuple


def moment(text: str | None) -> int:
    """Read a point in time; now if there is none.

    Parameters
    ----------
    text : str or None
        ISO 8601; UTC unless it says otherwise.

    Returns
    -------
    int
        Nanoseconds since the Unix epoch.  [ns]
    """
    from snapsim.traces.arrays import unix_ns

    return time.time_ns() if text is None else unix_ns(text)


def instants(policy: "Policy", start: str | None, days: float | None) -> "Int64Array":
    """Return when a policy takes snapshots until it is settled, or over the days that were asked for.

    Parameters
    ----------
    policy : Policy
        The policy.
    start : str or None
        When it begins; unless given, so that it ends now.
    days : float or None
        For how long it runs; for three times as long as it reaches unless given (four years if it has no
        end).

    Returns
    -------
    int64 array, shape (n_instants,)
        Its ticks.  [ns]

    Raises
    ------
    UsageError
        There is no schedule, no tick, or far too many of them.
    """
    from snapsim.policy.comparing import common_instants, settling_ns

    if policy.schedule is None:
        raise UsageError("the policy has no schedule: say when snapshots are taken with --schedule @daily")
    if days is not None and not 0 < days <= 100_000:
        raise UsageError(f"--days {days:g}: give a number above 0, up to 100000")
    span = settling_ns(policy, endless_ns=_ENDLESS) if days is None else int(days * _DAY)
    if span > _MOST * policy.schedule.period_ns:
        raise UsageError(
            f"the policy would take {span // policy.schedule.period_ns:,} snapshots in that time: "
            f"give fewer --days"
        )
    first = moment(start) if start is not None else moment(None) - span
    return common_instants({policy.name or "given": policy}, first, first + span + 1)


def read_snapshots(path: Path, *, tool: str | None, timezone: str) -> "list[Snapshot]":
    """Read a listing of snapshots that exist.

    Parameters
    ----------
    path : Path
        What a tool has printed.
    tool : str or None
        Which tool.
    timezone : str
        Of times without an offset.

    Returns
    -------
    list of Snapshot
        As `snapsim.read_listing`.
    """
    from snapsim.policy.listings import LISTINGS, read_listing

    if tool is not None:
        from snapsim.cli.wording import known

        tool = known("tool", tool, tuple(LISTINGS))
    return read_listing(path, tool=tool, timezone=timezone)
