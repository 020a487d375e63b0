"""VMware changed block tracking: DiskChangeInfo of QueryChangedDiskAreas, as JSON.

One answer may describe a part of the disk, from startOffset on; the next one goes on where it ends.
Field names are taken in any case, since PowerShell and the SDKs write them differently.
"""

import re
from typing import Any

from snapsim.traces.change_files.base import ChangeFile, ChangeFormat, Runs, field, refuse
from snapsim.traces.change_files.parts import documents
from snapsim.traces.source import Source

__all__ = ["VMWARE"]


def _parse(source: Source) -> ChangeFile:
    written, covered = Runs(source), 0
    empty = True
    for where, value in documents(source):
        for part in value if isinstance(value, list) else [value]:
            info = _lowered(part)
            begin, length = (field(source, where, info, name) for name in ("startoffset", "length"))
            if begin != covered:
                why = f"startOffset is {begin}, and what came before ends at {covered}: a part is missing"
                refuse(source, where, why)
            covered, empty = begin + length, False
            areas = info.get("changedarea") or []
            for index, one in enumerate(areas if isinstance(areas, list) else [areas]):
                at, area = f"{where}, changedArea[{index}]", _lowered(one)
                start, size = (field(source, at, area, name) for name in ("start", "length"))
                if not begin <= start <= start + size <= covered:
                    refuse(source, at, f"{size} bytes at {start} lie outside of the part that is described")
                written.add(start, size, at)
    if empty:
        refuse(source, "", "is empty")
    return ChangeFile(written.table(), Runs(source).table(), capacity=covered or None, covered=covered)


def _lowered(value: Any) -> Any:
    return {str(key).lower(): held for key, held in value.items()} if isinstance(value, dict) else value


def _recognises(head: bytes) -> bool:
    return re.search(rb'"(startoffset|changedarea)"\s*:', head, re.IGNORECASE) is not None


VMWARE = ChangeFormat("vmware", "VMware DiskChangeInfo of QueryChangedDiskAreas (JSON)", _recognises, _parse)
