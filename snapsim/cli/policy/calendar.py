"""`snapsim policy calendar`: the recovery points that a policy holds, week by week."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from snapsim.cli.output import check_writable, print_json
from snapsim.cli.policy.arguments import (
    Days,
    Moment,
    PolicyFile,
    ScheduleText,
    at_ticks,
    instants,
    read_policy,
)
from snapsim.cli.progress import doing
from snapsim.cli.reading import Json

__all__ = ["calendar"]


def calendar(
    policy: PolicyFile,
    /,
    *,
    start: Moment = None,
    days: Days = None,
    schedule: ScheduleText = None,
    figure: Annotated[Path | None, Parameter(metavar="FILE")] = None,
    as_json: Json = False,
) -> None:
    """Show the recovery points that a policy holds, week by week, with the letters of their rules.

    The policy runs: a snapshot at each tick, a prune after each. What it holds after the last one is shown.

    Parameters
    ----------
    policy : str
        A policy file, FILE:NAME where it has several, or the name of a preset.
    start : str, optional
        When it begins to run (ISO 8601, UTC unless it says otherwise); so that it ends now unless said.
    days : float, optional
        For how long it runs; for three times as long as it reaches unless said.
    schedule : str, optional
        When snapshots are taken, if the policy does not say so.
    figure : Path, optional
        Draw it, too (.png, .svg or .pdf).
    as_json : bool
        Print JSON.
    """
    check_writable(figure)
    found = at_ticks(read_policy(policy, schedule=schedule))
    ticks = instants(found, start, days)
    from snapsim.policy.explaining import calendar as calendar_of
    from snapsim.policy.times import format_instant

    held = calendar_of(found.timeline(ticks))
    first, last = (format_instant(int(tick)) for tick in (ticks[0], ticks[-1]))
    if figure is not None:
        with doing(f"drawing {figure}"):
            from snapsim.viz import recovery_calendar

            recovery_calendar(held).save(figure)
    if as_json:
        kept = held.explanation.frame[held.explanation.frame["keep"]]
        print_json(
            {
                "policy": found.describe(),
                "start": first,
                "end": last,
                "letters": held.explanation.letters,
                "kept": [
                    {"time_ns": int(time.value), "letters": letters}
                    for time, letters in zip(kept["taken"], kept["letters"], strict=True)
                ],
                "figure": figure,
            }
        )
        return
    print(found.describe())
    print(f"run from {first} to {last}; then it holds {len(held.explanation.kept)}")
    print(held.text())
    if figure is not None:
        print(f"figure: {figure}")
