"""`snapsim policy explain`: what a policy would do with the snapshots that exist."""

from snapsim.cli.output import print_json
from snapsim.cli.policy.arguments import (
    ListingFile,
    ListingTool,
    ListingZone,
    Moment,
    PolicyFile,
    moment,
    read_policy,
    read_snapshots,
)
from snapsim.cli.progress import doing
from snapsim.cli.reading import Json

__all__ = ["explain"]


def explain(
    policy: PolicyFile,
    /,
    *,
    snapshots: ListingFile,
    now: Moment = None,
    tool: ListingTool = None,
    timezone: ListingZone = "UTC",
    calendar: bool = False,
    as_json: Json = False,
) -> None:
    """Say which of the snapshots that exist a policy keeps, which it deletes, and why.

    Nothing is touched. Letters stand for the rules that keep a snapshot; the last line is the fingerprint of
    these decisions.

    Parameters
    ----------
    policy : str
        A policy file, FILE:NAME where it has several, or the name of a preset.
    snapshots : Path
        What exists: what restic, borg, Proxmox, zfs, snapper, virsh, btrbk or qemu-img list, or a CSV table
        with a column time.
    now : str, optional
        Decide as of then (ISO 8601, UTC unless it says otherwise).
    tool : str, optional
        Which tool wrote the listing, where it is not recognised.
    timezone : str
        Zone of times that the listing writes without an offset.
    calendar : bool
        Show what stays week by week, too.
    as_json : bool
        Print JSON.
    """
    found = read_policy(policy)
    listed = read_snapshots(snapshots, tool=tool, timezone=timezone)
    from snapsim.policy.explaining import explain as explained

    with doing("deciding"):
        answer = explained(found, listed, moment(now))
    if as_json:
        print_json(
            {
                "policy": found.describe(),
                "now_ns": answer.now_ns,
                "fingerprint": answer.fingerprint,
                "letters": answer.letters,
                "snapshots": [
                    {
                        "id": one.snapshot.id,
                        "name": one.snapshot.name,
                        "time_ns": one.snapshot.time_ns,
                        "keep": one.keep,
                        "letters": letters,
                        "reasons": one.reasons,
                    }
                    for one, letters in zip(answer.decisions, answer.frame["letters"], strict=True)
                ],
            }
        )
        return
    print(answer.text())
    if calendar:
        print()
        print(answer.calendar.text())
