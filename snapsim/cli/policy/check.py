"""`snapsim policy check`: what is wrong with a policy, and what it comes to."""

from typing import TYPE_CHECKING, Any

from snapsim.cli.output import print_json
from snapsim.cli.policy.arguments import (
    Days,
    PolicyFile,
    ScheduleText,
    at_ticks,
    instants,
    read_policy,
)
from snapsim.cli.progress import bar
from snapsim.cli.reading import Json

if TYPE_CHECKING:
    from snapsim.policy.checking import Checkup

__all__ = ["check"]


def check(
    policy: PolicyFile,
    /,
    *,
    schedule: ScheduleText = None,
    days: Days = None,
    as_json: Json = False,
) -> None:
    """Find what is wrong with a policy, and what it comes to.

    What cannot be read or contradicts itself is an error (exit status 2). What is merely odd is a line each:
    limits that the rules exceed, rules that never matter, guards that usual prunes trip.

    Parameters
    ----------
    policy : str
        A policy file, FILE:NAME where it has several, or the name of a preset.
    schedule : str, optional
        When snapshots are taken, if the policy does not say so.
    days : float, optional
        For how long to run it; for three times as long as it reaches unless said.
    as_json : bool
        Print JSON.
    """
    found = at_ticks(read_policy(policy, schedule=schedule))
    from snapsim.policy.checking import Checkup

    # any start will do, and a fixed one gives the same answer tomorrow
    timeline = None if found.schedule is None else found.timeline(instants(found, "2024-01-01", days))
    with bar("checking", unit="prunes") as progress:
        checkup = Checkup(found, timeline, progress)
        findings = checkup.findings
    if as_json:
        print_json({"policy": found.describe(), **_figures(checkup), "findings": findings})
        return
    print(found.describe())
    for what, text in _lines(checkup):
        print(f"  {what:<14}  {text}")
    for text in findings:
        print(f"  {'odd':<14}  {text}")


def _figures(checkup: "Checkup") -> dict[str, Any]:
    seen = checkup.start_up
    return {
        "reach_ns": checkup.policy.reach_ns,
        "fewest": seen and seen.fewest,
        "most": seen and seen.most,
        "steady_after_ns": seen and seen.settled_ns,
    }


def _lines(checkup: "Checkup") -> list[tuple[str, str]]:
    from snapsim.policy.comparing import scheduled_reach
    from snapsim.units import format_duration

    reach, seen = scheduled_reach(checkup.policy), checkup.start_up
    endless = "without end" if seen else "not known"
    lines = [("reaches back", endless if reach is None else format_duration(reach))]
    if seen is None:
        return [*lines, ("snapshots", "not known: the policy has no schedule (--schedule gives one)")]
    count = str(seen.most) if seen.fewest == seen.most else f"{seen.fewest} to {seen.most}"
    after = seen.settled_ns
    return [
        *lines,
        ("snapshots", f"{count} in the steady state" if after is not None else f"{count} so far"),
        ("steady after", "never" if reach is None else "not seen: give more --days"
         if after is None else format_duration(after)),
    ]  # fmt: skip
