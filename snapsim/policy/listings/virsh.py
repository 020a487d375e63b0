"""`virsh snapshot-list DOMAIN`."""

import re
from collections.abc import Iterator

from snapsim.policy.listings.source import Source
from snapsim.types import Snapshot, SnapshotKind

COMMAND = "virsh snapshot-list DOMAIN"
HEAD = re.compile(r"\s*Name\s+Creation Time\s+State\s*")
_ROW = re.compile(
    r"\s*(?P<name>\S.*?)\s+(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4})\s+(?P<state>[a-z][a-z -]*?)\s*"
)
# What was saved with the disks: the memory of a machine that ran.
KINDS = {"running": SnapshotKind.FULL, "paused": SnapshotKind.FULL, "blocked": SnapshotKind.FULL}


def recognises(source: Source) -> bool:
    """Tell whether this is such a listing."""
    return bool(source.lines) and HEAD.fullmatch(source.lines[0][1]) is not None


def read(source: Source) -> Iterator[Snapshot]:
    """Yield the snapshots of a listing."""
    for where, line in source.lines:
        if HEAD.fullmatch(line) or not line.strip(" -"):
            continue
        match = _ROW.fullmatch(line)
        if not match:
            raise source.refusal(
                f"a name, a time and a state are expected: run {COMMAND}, without --parent or --tree",
                where=where,
            )
        name, state = match["name"], match["state"]
        moment = source.moment(match["time"], where, "Creation Time")
        yield Snapshot(
            moment.time_ns, name, name, KINDS.get(state, SnapshotKind.DISK), attributes={"state": state}
        )
