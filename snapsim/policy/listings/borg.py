"""`borg list`, and `borg list --json` (borg 2: `borg repo-list`)."""

import re
from collections.abc import Iterator
from typing import Any

from snapsim.policy.listings.source import Source
from snapsim.types import Snapshot

_LINE = re.compile(
    r"(?P<name>.+?)\s+[^\W\d]{2,4}, (?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?(?: [+-]\d{4})?)\s+"
    r"\[(?P<id>[0-9a-f]{8,64})\]"
)
_CHECKPOINT = re.compile(r"\.checkpoint(?:\.\d+)?$")


def recognises(source: Source) -> bool:
    """Tell whether this is such a listing."""
    if source.json is not None:
        return isinstance(source.json, dict) and "archives" in source.json
    return bool(source.lines) and _LINE.fullmatch(source.lines[0][1].strip()) is not None


def read(source: Source) -> Iterator[Snapshot]:
    """Yield the archives of a listing; an interrupted one (a checkpoint) is incomplete."""
    if isinstance(source.json, dict):
        for where, record in source.records(source.json.get("archives"), what="archive"):
            yield _from_record(source, where, record)
        return
    for where, line in source.lines:
        match = _LINE.fullmatch(line.strip())
        if not match:
            raise source.refusal(
                "this is no line of `borg list`: list without --format, or with --json", where=where
            )
        moment = source.moment(match["time"], where, "time")
        yield Snapshot(moment.time_ns, match["name"], match["id"], attributes=_attributes(match["name"]))


def _from_record(source: Source, where: str, record: dict[str, Any]) -> Snapshot:
    name = source.string(record, "name", where)
    key = "start" if "start" in record else "time"
    attributes = _attributes(name)
    for ours, theirs in (("host", "hostname"), ("description", "comment")):
        if theirs in record:
            attributes[ours] = source.string(record, theirs, where, "")
    return Snapshot(
        time_ns=source.moment(source.string(record, key, where), where, key).time_ns,
        name=name,
        id=source.string(record, "id", where, name),
        tags=frozenset(source.strings(record, "tags", where)),
        attributes=attributes,
    )


def _attributes(name: str) -> dict[str, Any]:
    return {"incomplete": True} if _CHECKPOINT.search(name) else {}
