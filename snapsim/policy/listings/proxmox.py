"""`proxmox-backup-client snapshot list --output-format json`."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from snapsim.policy.listings.source import Source
from snapsim.policy.zones import EPOCH
from snapsim.types import Snapshot
from snapsim.units import SECOND

MANIFEST = "index.json.blob"


def recognises(source: Source) -> bool:
    """Tell whether this is such a listing."""
    return source.is_list_of("backup-time")


def read(source: Source) -> Iterator[Snapshot]:
    """Yield the backups of a listing; one without a manifest was not finished."""
    for where, record in source.records(source.json, what="backup"):
        group = f"{source.string(record, 'backup-type', where)}/{source.string(record, 'backup-id', where)}"
        time_ns = source.instant_s(source.integer(record, "backup-time", where), where, "backup-time")
        name = f"{group}/{EPOCH + timedelta(seconds=time_ns // SECOND):%Y-%m-%dT%H:%M:%SZ}"
        attributes: dict[str, Any] = {"volume": group, "protected": record.get("protected") is True}
        if record.get("size") is not None:
            attributes["size_bytes"] = source.integer(record, "size", where)
        if record.get("comment"):
            attributes["description"] = source.string(record, "comment", where)
        if isinstance(record.get("files"), list):
            attributes["incomplete"] = MANIFEST not in map(_file_name, record["files"])
        yield Snapshot(time_ns, name, name, attributes=attributes)


def _file_name(entry: object) -> object:
    """Return the name of a file; older servers list names, newer ones objects."""
    return entry.get("filename") if isinstance(entry, dict) else entry
