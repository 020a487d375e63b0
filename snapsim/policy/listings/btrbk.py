"""`btrbk list snapshots --format=raw`."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

from snapsim.policy.listings.source import Source
from snapsim.types import Snapshot

COMMAND = "btrbk list snapshots --format=raw"
# short, long, long-iso; _2, _3, ... for the second and third of the same time
_STAMP = re.compile(
    r".+\.(?P<day>\d{8})(?:T(?P<minute>\d{4})(?P<second>\d{2})?(?P<offset>Z|[+-]\d{4})?)?(?:_(?P<serial>\d+))?"
)


def recognises(source: Source) -> bool:
    """Tell whether this is such a listing."""
    return bool(source.lines) and source.lines[0][1].startswith('format="snapshots"')


def read(source: Source) -> Iterator[Snapshot]:
    """Yield the snapshots of a listing; when they were taken is what their names say, in local time."""
    for where, line in source.lines:
        try:
            words = shlex.split(line)
        except ValueError:
            raise source.refusal(f"a quotation is not closed: run {COMMAND}", where=where) from None
        record = dict(word.partition("=")[::2] for word in words)
        if not record.get("snapshot_subvolume"):
            continue  # a subvolume that has no snapshot yet
        yield _snapshot(source, where, record)


def _snapshot(source: Source, where: str, record: dict[str, str]) -> Snapshot:
    path = record["snapshot_subvolume"]
    name = record.get("snapshot_name") or path.rpartition("/")[2]
    match = _STAMP.fullmatch(name)
    if not match:
        raise source.refusal(
            f"{name!r} says no time as btrbk writes it, such as .20260131T1200",
            where=where,
            field="snapshot_name",
        )
    day, minute = match["day"], match["minute"] or "0000"
    clock = f"{day[:4]}-{day[4:6]}-{day[6:]}T{minute[:2]}:{minute[2:]}:{match['second'] or '00'}"
    attributes: dict[str, Any] = {"volume": record.get("source_subvolume", "")}
    if record.get("source_host"):
        attributes["host"] = record["source_host"]
    if match["serial"]:
        attributes["serial"] = int(match["serial"])
    moment = source.moment(clock + (match["offset"] or ""), where, "snapshot_name")
    return Snapshot(moment.time_ns, name, path, attributes=attributes)
