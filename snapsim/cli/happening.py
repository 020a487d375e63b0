"""What a policy acts on beside its clock: the pool, events, downtime; as options of the command line."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from snapsim.errors import UsageError

if TYPE_CHECKING:
    from snapsim.policy.policy import Policy

__all__ = ["Happening"]


@Parameter(name="*", group=Group("What the policy acts on", sort_key=6))
@dataclass(frozen=True, kw_only=True)
class Happening:
    """What happens beside the requests of the trace.

    Attributes
    ----------
    pool_size : str or None
        Size of the pool that holds the volumes and their snapshots ("100GiB"): rules about space act on it.
    event : sequence of str
        Something happens, as NAME=TIME ("upgrade=2026-01-31T12:00Z"): classes that listen are taken; may be
        repeated.
    down : sequence of str
        Nothing runs from START to STOP, as START/STOP; may be repeated.
    """

    pool_size: Annotated[str | None, Parameter(metavar="SIZE")] = None
    event: Annotated[Sequence[str], Parameter(metavar="NAME=TIME")] = ()
    down: Annotated[Sequence[str], Parameter(metavar="START/STOP")] = ()

    def keywords(self) -> dict[str, Any]:
        """Return it as keywords of `run_policy`.

        Returns
        -------
        dict
            pool_size, events and downtimes.

        Raises
        ------
        UsageError
            A time or a size cannot be read.
        """
        from snapsim.policy.triggers import Event
        from snapsim.units import parse_size

        try:
            size = None if self.pool_size is None else parse_size(self.pool_size)
        except UsageError as error:
            raise UsageError(f"--pool-size: {error}") from None
        events = []
        for text in self.event:
            name, sign, when = text.partition("=")
            if not sign:
                raise UsageError(f"--event {text!r}: write NAME=TIME, such as upgrade=2026-01-31T12:00Z")
            events.append(Event(name, _moment(when, "--event")))
        downtimes = []
        for text in self.down:
            start, sign, stop = text.partition("/")
            if not sign:
                raise UsageError(
                    f"--down {text!r}: write START/STOP, such as 2026-01-31T12:00Z/2026-01-31T18:00Z"
                )
            downtimes.append((_moment(start, "--down"), _moment(stop, "--down")))
        return {"pool_size": size, "events": events, "downtimes": downtimes}


def _moment(text: str, option: str) -> int:
    from snapsim.policy.times import parse_instant

    try:
        return parse_instant(text, what="time")
    except UsageError as error:
        raise UsageError(f"{option}: {error}") from None


def clock_of(policy: "Policy", every: str | None) -> dict[str, Any]:
    """Return at which instants lifetimes are to be counted for a policy.

    Parameters
    ----------
    policy : Policy
        The policy.
    every : str or None
        What the caller asks for.

    Returns
    -------
    dict
        Keywords of `count_lifetimes`: the ticks of the schedule, or multiples of an interval where classes
        need instants between their ticks (a quiet window, jitter, events).

    Raises
    ------
    UsageError
        Such classes give no interval to choose.
    """
    if every is not None:
        return {"every": every}
    spans = [one.quiet_ns or one.jitter_ns for one in policy.schedule_classes]
    between = [span for span in spans if span]
    if between:
        return {"every": max(min(between) // 6, 1)}
    if policy.schedule is None and policy.classes:
        raise UsageError("no class of this policy has a schedule: give --every, the distance of instants")
    if any(one.events for one in policy.schedule_classes):
        raise UsageError("classes are taken at events, which need instants between ticks: give --every")
    return {"schedules": [policy]}
