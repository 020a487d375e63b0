"""`qemu-img snapshot -l IMAGE`, `qemu-img info IMAGE`, and `qemu-img info --output=json IMAGE`."""

import re
from collections.abc import Iterator
from typing import Any

from snapsim.policy.listings.source import Source
from snapsim.types import Snapshot, SnapshotKind

COMMAND = "qemu-img info --output=json IMAGE"
HEAD = "Snapshot list:"
_COLUMNS = re.compile(r"ID\s+TAG\s+VM[ _]SIZE\s+DATE\s+VM[ _]CLOCK.*")
_ROW = re.compile(
    r"(?P<id>\S+)\s+(?:(?P<name>\S.*?)\s+)?(?P<size>[\d.]+ ?[KMGTPE]?i?B?)\s+"
    r"(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\s+\d+:\d\d:\d\d\.\d+(?:\s+(?:\d+|--))?\s*"
)


def recognises(source: Source) -> bool:
    """Tell whether this is such a listing."""
    if source.json is not None:
        return source.is_list_of("virtual-size", within=_images(source))
    starts = {line.strip() for _, line in source.lines} | {line.split(":")[0] for _, line in source.lines}
    return HEAD in starts or {"image", "virtual size"} <= starts


def read(source: Source) -> Iterator[Snapshot]:
    """Yield an image's internal snapshots; one with a machine's state holds the memory too."""
    if source.json is not None:
        for _, image in source.records(_images(source), what="image"):
            for where, record in source.records(image.get("snapshots", [])):
                yield _from_record(source, where, record, image.get("filename"))
        return
    inside = False
    for where, line in source.lines:
        if line.strip() == HEAD:
            inside = True
        elif inside and not _COLUMNS.fullmatch(line):
            match = _ROW.fullmatch(line)
            if match:
                yield _from_row(source, where, match)
            elif line.endswith(":"):  # what `info` says after the list
                return
            else:
                raise source.refusal(f"this is no row of the snapshot list: run {COMMAND}", where=where)


def _images(source: Source) -> list[Any]:
    return source.json if isinstance(source.json, list) else [source.json]  # a list: --backing-chain


def _from_record(source: Source, where: str, record: dict[str, Any], image: object) -> Snapshot:
    seconds = source.instant_s(source.integer(record, "date-sec", where), where, "date-sec")
    identity = source.string(record, "id", where)
    return Snapshot(
        time_ns=seconds + source.integer(record, "date-nsec", where, 0),
        name=source.string(record, "name", where, identity),
        id=identity,
        kind=_kind(source.integer(record, "vm-state-size", where, 0) > 0),
        attributes={"volume": image} if isinstance(image, str) else {},
    )


def _from_row(source: Source, where: str, match: re.Match[str]) -> Snapshot:
    time_ns = source.moment(match["time"], where, "DATE").time_ns
    has_memory = any(digit in "123456789" for digit in match["size"])
    return Snapshot(time_ns, match["name"] or match["id"], match["id"], _kind(has_memory))


def _kind(has_memory: bool) -> SnapshotKind:  # noqa: FBT001  the one thing that it is about
    return SnapshotKind.FULL if has_memory else SnapshotKind.DISK
