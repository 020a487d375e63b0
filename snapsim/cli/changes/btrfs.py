"""`snapsim changes btrfs`: one file in the snapshots of a btrfs subvolume."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from snapsim.cli.changes.writing import Target, check_target, write
from snapsim.cli.progress import doing
from snapsim.cli.reading import Json

__all__ = ["btrfs"]


def btrfs(
    file: Annotated[Path, Parameter(metavar="FILE")],
    snapshots: Annotated[Sequence[Path], Parameter(metavar="SNAPSHOT", required=True)] = (),
    /,
    *,
    output: Target,
    as_json: Json = False,
) -> None:
    """Make a trace of a file in btrfs snapshots: what changed from each to the next.

    The file system compares its trees; no data is read.  Needs root, as btrfs send does.

    Parameters
    ----------
    file : Path
        From the root of the snapshots, as in images/disk.img.
    snapshots : sequence of Path
        Read-only snapshots of one subvolume, two or more, in any order.
    output : Path
        The change trace to write.
    as_json : bool
        Print JSON.
    """
    check_target(output)
    with doing(f"comparing {len(snapshots)} snapshots"):
        from snapsim.recording.btrfs_changes import read_btrfs

        trace = read_btrfs(file, list(snapshots))
    write(trace, output, as_json=as_json)
