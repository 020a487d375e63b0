"""`restic snapshots --json`."""

from collections.abc import Iterator
from typing import Any

from snapsim.policy.listings.source import Source
from snapsim.types import Snapshot


def recognises(source: Source) -> bool:
    """Tell whether this is such a listing."""
    return source.is_list_of("time", "tree", "id") or source.is_list_of("group_key")


def read(source: Source) -> Iterator[Snapshot]:
    """Yield the snapshots of a listing, grouped or not."""
    for where, record in source.records(source.json):
        if "group_key" in record:  # --group-by
            for inner, member in source.records(record.get("snapshots")):
                yield _snapshot(source, f"group of {where}, {inner}", member)
        else:
            yield _snapshot(source, where, record)


def _snapshot(source: Source, where: str, record: dict[str, Any]) -> Snapshot:
    identity = source.string(record, "id", where)
    moment = source.moment(source.string(record, "time", where), where, "time")
    return Snapshot(
        time_ns=moment.time_ns,
        name=source.string(record, "short_id", where, identity[:8]),
        id=identity,
        tags=frozenset(source.strings(record, "tags", where)),
        attributes={
            "host": source.string(record, "hostname", where, ""),
            "paths": source.strings(record, "paths", where),
            "utc_offset_s": moment.offset_s or 0,
        },
    )
