"""`snapsim policy`: what a policy file says."""

import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from snapsim.cli.app import group
from snapsim.cli.output import print_json
from snapsim.cli.reading import Json
from snapsim.cli.rules import from_file
from snapsim.errors import UsageError

__all__ = ["app", "show"]

app = group("policy", "Look at snapshot policies.")

_FARTHEST = 400 * 366 * 86_400 * 10**9  # ns; a cron line comes true within 400 years, if ever


@app.command
def show(
    file: Annotated[Path, Parameter(metavar="FILE")],
    /,
    *,
    name: str | None = None,
    start: Annotated[str | None, Parameter(metavar="TIME")] = None,
    ticks: Annotated[int, Parameter(metavar="N")] = 5,
    as_json: Json = False,
) -> None:
    """Say what a policy means, and when its next snapshots are due.

    Parameters
    ----------
    file : Path
        A policy file, or the name of a preset.
    name : str, optional
        Which policy of the file, where there are several.
    start : str, optional
        List what is due from then on (ISO 8601, UTC unless it says otherwise); from now on unless said.
    ticks : int
        How many of them to list.
    as_json : bool
        Print JSON.

    Raises
    ------
    UsageError
        The number of ticks is negative.
    """
    if ticks < 0:
        raise UsageError(f"--ticks {ticks}: there cannot be fewer than none")
    policy = from_file(file, name)
    from snapsim.policy.times import format_instant
    from snapsim.traces.arrays import unix_ns
    from snapsim.units import format_duration

    first = time.time_ns() if start is None else unix_ns(start)
    span = max((policy.schedule.period_ns if policy.schedule else 1) * (ticks + 1), 1)
    due: list[str] = []
    while policy.schedule and ticks and len(due) < ticks and span < _FARTHEST:
        due = [format_instant(tick) for tick in policy.ticks(first, first + span)[:ticks].tolist()]
        span *= 2
    reach = policy.reach_ns
    if as_json:
        print_json({"policy": policy.describe(), "toml": policy.to_toml(), "reach_ns": reach, "ticks": due})
        return
    print(policy.describe())
    print(f"  reaches back  {'without end' if reach is None else format_duration(reach)}")
    for number, tick in enumerate(due):
        print(f"  {'' if number else 'due':<12}  {tick}")
