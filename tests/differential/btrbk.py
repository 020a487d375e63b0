"""The real btrbk, on subvolumes that are named as its snapshots and hold nothing."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from snapsim.types import Snapshot
from tests.differential.btrfs_mount import create_subvolume
from tests.differential.clock import run_at
from tests.differential.oracles.wall import seconds

FORMATS = {"short": "%Y%m%d", "long": "%Y%m%dT%H%M", "long-iso": "%Y%m%dT%H%M%S%z"}


def names(snapshots: Sequence[Snapshot], form: str, timezone: str) -> list[str]:
    """Return the names that btrbk gives; the second of a day or a minute gets _1, and so on."""
    zone = ZoneInfo(timezone)
    seen: Counter[str] = Counter()
    named = [""] * len(snapshots)
    for index in sorted(range(len(snapshots)), key=lambda index: snapshots[index].time_ns):
        stamp = datetime.fromtimestamp(seconds(snapshots[index].time_ns), zone).strftime(FORMATS[form])
        named[index] = f"work.{stamp}" + (f"_{seen[stamp]}" if seen[stamp] else "")
        seen[stamp] += 1
    return named


class RealBtrbk:
    """btrbk as installed, in a folder of a btrfs.

    Parameters
    ----------
    folder : Path
        An existing folder on a btrfs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def prune(
        self,
        snapshots: Sequence[Snapshot],
        settings: Mapping[str, object],
        now_ns: int,
        timezone: str,
    ) -> set[str]:
        """Let it say what it would prune, and return the names that it would leave.

        Parameters
        ----------
        snapshots : sequence of Snapshot
            Of one subvolume; their names are not looked at, btrbk's own are made from their times.
        settings : Mapping
            Keys as in btrbk.conf.
        now_ns : int
            What its clock shows.  [ns since 1970, UTC]
        timezone : str
            Its zone.

        Returns
        -------
        set of str
            Names (`names`) of the surviving snapshots.
        """
        named = names(snapshots, str(settings.get("timestamp_format", "long")), timezone)
        for name in ("work", "snapshots"):
            create_subvolume(self.folder / name)
        for name in named:
            create_subvolume(self.folder / "snapshots" / name)
        configuration = self.folder / "btrbk.conf"
        configuration.write_text(
            "".join(f"{key} {value}\n" for key, value in settings.items())
            + f"volume {self.folder}\n  snapshot_dir snapshots\n  subvolume work\n"
        )
        printed = run_at(
            ["btrbk", "-c", configuration, "-n", "prune"],
            now_ns=now_ns,
            timezone=timezone,
        )
        gone = {Path(line[4:]).name for line in printed.splitlines() if line.startswith("--- ")}
        assert gone <= set(named), printed
        return set(named) - gone
