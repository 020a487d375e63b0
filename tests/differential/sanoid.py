"""The real sanoid, between a file with snapshots and a file of destroyed ones instead of ZFS."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from snapsim.types import Snapshot
from tests.differential.clock import run_at
from tests.differential.oracles.wall import seconds

DATASET = "tank/data"
FOLDERS = {"configdir": ".", "cache-dir": "cache", "run-dir": "run"}
ZFS = """#!/bin/sh
# Stands in for zfs: lists the snapshots of a file, notes what is destroyed.
case $1 in
get) cat "{folder}/listing" ;;
destroy) echo "$2" >> "{folder}/destroyed" ;;
*) echo "unexpected: zfs $*" >&2; exit 1 ;;
esac
"""
ZPOOL = """#!/bin/sh
# Stands in for zpool: tells how full the pool is.
cat "{folder}/capacity"
"""


class RealSanoid:
    """sanoid as installed, in a folder of its own.

    Parameters
    ----------
    folder : Path
        An existing folder, for configuration, stand-ins, cache and locks.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs = folder / "bin"
        self.programs.mkdir()
        for name, script in {"zfs": ZFS, "zpool": ZPOOL}.items():
            program = self.programs / name
            program.write_text(script.format(folder=folder))
            program.chmod(0o755)

    def prune(
        self,
        snapshots: Sequence[Snapshot],
        settings: Mapping[str, object],
        now_ns: int,
        timezone: str,
    ) -> set[str]:
        """Let it prune, and return the names that are left.

        Parameters
        ----------
        snapshots : sequence of Snapshot
            Of one data set, with different names; classes are in the names.
        settings : Mapping
            Keys as in sanoid.conf, and `capacity`, the pool's filling.  [%]
        now_ns : int
            What its clock shows.  [ns since 1970, UTC]
        timezone : str
            Its zone.

        Returns
        -------
        set of str
            Names of the surviving snapshots.
        """
        listing = "".join(f"{DATASET}@{s.name}\tcreation\t{seconds(s.time_ns)}\t-\n" for s in snapshots)
        (self.folder / "listing").write_text(listing)
        (self.folder / "destroyed").write_text("")
        (self.folder / "capacity").write_text(f"{settings.get('capacity', 100)}%\n")
        words = "".join(f"{key} = {value}\n" for key, value in settings.items() if key != "capacity")
        (self.folder / "sanoid.conf").write_text(f"[{DATASET}]\n{words}")
        folders = [f"--{kind}={self.folder / place}" for kind, place in FOLDERS.items()]
        run_at(
            ["sanoid", *folders, "--prune-snapshots", "--verbose", "--force-update", "--force-prune"],
            now_ns=now_ns,
            timezone=timezone,
            environment={"PATH": f"{self.programs}{os.pathsep}{os.environ['PATH']}"},
        )
        destroyed = {line.partition("@")[2] for line in (self.folder / "destroyed").read_text().splitlines()}
        return {snapshot.name for snapshot in snapshots} - destroyed
