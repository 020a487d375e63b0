"""The real snapper, in a root folder of its own on a btrfs, with records and subvolumes made by hand."""

import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from xml.sax.saxutils import escape

from snapsim.types import Snapshot
from tests.differential.btrfs_mount import create_subvolume
from tests.differential.clock import run_at
from tests.differential.oracles.wall import seconds

CONFIGURATION = "test"


def record(snapshot: Snapshot, numbers: Mapping[str, int]) -> str:
    """Return the info.xml of a snapshot; its date is UTC."""
    said = snapshot.attributes
    date = datetime.fromtimestamp(seconds(snapshot.time_ns), UTC)
    fields = {
        "type": said.get("pair_role", "single"),
        "num": said["number"],
        "date": f"{date:%Y-%m-%d %H:%M:%S}",
    }
    if fields["type"] == "post":
        fields["pre_num"] = numbers.get(said["pair"], 999_999)
    if said.get("cleanup"):
        fields["cleanup"] = said["cleanup"]
    lines = [f"  <{key}>{escape(str(value))}</{key}>" for key, value in fields.items()]
    if said.get("important"):
        lines.append("  <userdata><key>important</key><value>yes</value></userdata>")
    return "\n".join(['<?xml version="1.0"?>', "<snapshot>", *lines, "</snapshot>", ""])


def set_default(*subvolume: str | Path) -> None:
    """Make a subvolume (a path, or an id and the file system) the one that a mount without a name shows."""
    subprocess.run(["btrfs", "subvolume", "set-default", *subvolume], check=True, capture_output=True)


class RealSnapper:
    """snapper as installed, without its daemon, in a folder of a btrfs that it takes for the root.

    Parameters
    ----------
    folder : Path
        An existing folder on a btrfs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.snapshots = folder / "work" / ".snapshots"

    def prune(
        self,
        snapshots: Sequence[Snapshot],
        settings: Mapping[str, object],
        now_ns: int,
        timezone: str,
    ) -> set[int]:
        """Let it clean up, number first and then timeline, and return the numbers of what is left.

        Parameters
        ----------
        snapshots : sequence of Snapshot
            With the attributes number, cleanup, important, pair, pair_role, and in_use for at most one.
        settings : Mapping
            Keys as in snapper's configuration; others are left out.
        now_ns : int
            What its clock shows.  [ns since 1970, UTC]
        timezone : str
            Its zone.

        Returns
        -------
        set of int
            Numbers of the surviving snapshots.
        """
        self._prepare(snapshots, {key: value for key, value in settings.items() if key.isupper()})
        used = [str(self._subvolume(s)) for s in snapshots if s.attributes.get("in_use")]
        set_default(*used[:1] or ["5", self.folder])
        for algorithm in ("number", "timeline"):
            if settings.get(f"{algorithm.upper()}_CLEANUP", "yes") == "yes":
                run_at(
                    [
                        "snapper",
                        "--no-dbus",
                        "--root",
                        self.folder,
                        "-c",
                        CONFIGURATION,
                        "cleanup",
                        algorithm,
                    ],
                    now_ns=now_ns,
                    timezone=timezone,
                )
        return {int(folder.name) for folder in self.snapshots.iterdir() if (folder / "snapshot").is_dir()}

    def _subvolume(self, snapshot: Snapshot) -> Path:
        """Return where snapper keeps a snapshot."""
        return self.snapshots / str(snapshot.attributes["number"]) / "snapshot"

    def _prepare(self, snapshots: Sequence[Snapshot], settings: Mapping[str, object]) -> None:
        """Write the configuration and all that snapper would have left behind."""
        create_subvolume(self.folder / "work")
        create_subvolume(self.snapshots)
        numbers = {snapshot.id: snapshot.attributes["number"] for snapshot in snapshots}
        for snapshot in snapshots:
            place = self._subvolume(snapshot)
            place.parent.mkdir()
            create_subvolume(place)
            place.with_name("info.xml").write_text(record(snapshot, numbers))
        words = {"SUBVOLUME": "/work", "FSTYPE": "btrfs", **settings}
        for place, text in {
            f"etc/snapper/configs/{CONFIGURATION}": "".join(
                f'{key}="{value}"\n' for key, value in words.items()
            ),
            "etc/default/snapper": f'SNAPPER_CONFIGS="{CONFIGURATION}"\n',
        }.items():
            (self.folder / place).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / place).write_text(text)
