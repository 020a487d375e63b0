"""EBS direct APIs: ListChangedBlocks and ListSnapshotBlocks, as JSON, all pages one after the other.

A block whose SecondBlockToken is missing is in the first snapshot only.  VolumeSize is in GiB.
"""

import re
from typing import Any

from snapsim.traces.change_files.base import ChangeFile, ChangeFormat, Runs, field, refuse
from snapsim.traces.change_files.parts import documents
from snapsim.traces.source import Source
from snapsim.units import GIB

__all__ = ["EBS"]

_CHANGED, _ALL = "ChangedBlocks", "Blocks"


def _parse(source: Source) -> ChangeFile:
    facts = set()
    written, discarded = Runs(source), Runs(source)
    where, more = "", True
    for where, page in _pages(source):
        if not more:
            refuse(source, where, "the page before has no NextToken, and yet this one follows: two listings")
        kinds = [name for name in (_CHANGED, _ALL) if isinstance(page, dict) and name in page]
        if len(kinds) != 1 or not isinstance(page[kinds[0]], list):
            refuse(source, where, f"should be a page of EBS with a list {_CHANGED} or {_ALL}")
        more = bool(page.get("NextToken"))
        block = field(source, where, page, "BlockSize")
        facts.add((kinds[0], block, field(source, where, page, "VolumeSize") * GIB))
        for index, entry in enumerate(page[kinds[0]]):
            at = f"{where}, {kinds[0]}[{index}]"
            place = field(source, at, entry, "BlockIndex") * block
            gone = kinds[0] == _CHANGED and not entry.get("SecondBlockToken")
            if gone and not entry.get("FirstBlockToken"):
                refuse(source, at, "has neither FirstBlockToken nor SecondBlockToken")
            (discarded if gone else written).add(place, block, at)
    if not facts:
        refuse(source, "", "is empty")
    if more:
        refuse(source, where, "NextToken says that more pages follow: ask for them, and append them")
    if len(facts) > 1:
        refuse(source, "", "pages differ in what they list, in BlockSize or in VolumeSize")
    ((kind, block, capacity),) = facts
    if not block or not capacity:
        refuse(source, where, "BlockSize and VolumeSize have to be more than 0")
    return ChangeFile(written.table(), discarded.table(), grain=block, capacity=capacity, whole=kind == _ALL)


def _pages(source: Source) -> Any:
    """Yield pages: JSON objects one after the other, or in a list."""
    for where, value in documents(source):
        if isinstance(value, list):
            yield from ((f"{where}, page {number}", page) for number, page in enumerate(value, start=1))
        else:
            yield where, value


def _recognises(head: bytes) -> bool:
    return re.search(rb'"(ChangedBlocks|Blocks)"\s*:', head) is not None


EBS = ChangeFormat("ebs", "EBS ListChangedBlocks or ListSnapshotBlocks (JSON)", _recognises, _parse)
