"""`snapsim policy show`: what a policy file says."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from snapsim.cli.output import print_json
from snapsim.cli.policy.arguments import Moment, PolicyFile, moment, read_policy
from snapsim.cli.reading import Json
from snapsim.cli.rules import from_file
from snapsim.errors import UsageError

__all__ = ["show"]

_FARTHEST = 400 * 366 * 86_400 * 10**9  # ns; a cron line comes true within 400 years, if ever


def show(
    policy: PolicyFile,
    /,
    *,
    name: str | None = None,
    start: Moment = None,
    ticks: Annotated[int, Parameter(metavar="N")] = 5,
    as_json: Json = False,
) -> None:
    """Say what a policy means, and when its next snapshots are due.

    Parameters
    ----------
    policy : str
        A policy file, FILE:NAME where it has several, or the name of a preset.
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
    found = read_policy(policy) if name is None else from_file(Path(policy), name)
    from snapsim.policy.times import format_instant
    from snapsim.units import format_duration

    first = moment(start)
    span = max((found.schedule.period_ns if found.schedule else 1) * (ticks + 1), 1)
    due: list[str] = []
    while found.schedule and ticks and len(due) < ticks and span < _FARTHEST:
        due = [format_instant(tick) for tick in found.ticks(first, first + span)[:ticks].tolist()]
        span *= 2
    reach = found.reach_ns
    if as_json:
        print_json({"policy": found.describe(), "toml": found.to_toml(), "reach_ns": reach, "ticks": due})
        return
    print(found.describe())
    print(f"  reaches back  {'without end' if reach is None else format_duration(reach)}")
    for number, tick in enumerate(due):
        print(f"  {'' if number else 'due':<12}  {tick}")
