"""`snapsim policy migrate`: what changes when a new policy takes over."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from snapsim.cli.output import print_json
from snapsim.cli.policy.arguments import (
    ListingTool,
    ListingZone,
    Moment,
    PolicyFile,
    at_ticks,
    moment,
    read_policy,
    read_snapshots,
)
from snapsim.cli.progress import bar
from snapsim.cli.reading import Json

__all__ = ["migrate"]


def migrate(
    old: PolicyFile,
    new: PolicyFile,
    /,
    *,
    snapshots: Annotated[Path | None, Parameter(metavar="LISTING")] = None,
    now: Moment = None,
    tool: ListingTool = None,
    timezone: ListingZone = "UTC",
    as_json: Json = False,
) -> None:
    """Say what the first run under a new policy deletes, and how long it takes until it is settled.

    Nothing is touched. Settled is said in two ways: there are as many snapshots and they reach as far back
    (to within one period) as if the new policy had always run; and they are exactly the same.

    Parameters
    ----------
    old : str
        The policy until now: a file, FILE:NAME, or the name of a preset.
    new : str
        The policy from now on, likewise.
    snapshots : Path, optional
        What exists, as for snapsim policy explain; what the old policy holds in its steady state unless said.
    now : str, optional
        When the new policy takes over (ISO 8601, UTC unless it says otherwise).
    tool : str, optional
        Which tool wrote the listing, where it is not recognised.
    timezone : str
        Zone of times that the listing writes without an offset.
    as_json : bool
        Print JSON.
    """
    before, after = at_ticks(read_policy(old)), at_ticks(read_policy(new))
    listed = None if snapshots is None else read_snapshots(snapshots, tool=tool, timezone=timezone)
    from snapsim.policy.migrating import migrate as migration

    with bar("following the new policy", unit="prunes") as progress:
        answer = migration(before, after, moment(now), snapshots=listed, progress=progress)
    if as_json:
        print_json(
            answer.summary()
            | {
                "deletes": [
                    {
                        "id": one.snapshot.id,
                        "name": one.snapshot.name,
                        "time_ns": one.snapshot.time_ns,
                        "reasons": one.reasons,
                    }
                    for one in answer.first.decisions
                    if not one.keep
                ]
            }
        )
        return
    print(answer.text())
