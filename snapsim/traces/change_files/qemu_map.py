"""`qemu-img map --output=json`: where an image and the files below it hold data.

As a change it is that of the topmost file (depth 0); of a first snapshot it is all that can be read.
"""

import re

from snapsim.traces.change_files.base import ChangeFile, ChangeFormat, Runs, field, refuse
from snapsim.traces.change_files.parts import entries
from snapsim.traces.source import Source

__all__ = ["QEMU_MAP"]


def _parse(source: Source) -> ChangeFile:
    written, discarded, held = Runs(source), Runs(source), Runs(source)
    deepest = covered = 0
    for at, entry in entries(source, "should be one list, as qemu-img map --output=json prints it"):
        start, length, depth = (field(source, at, entry, name) for name in ("start", "length", "depth"))
        flags = {name: entry.get(name, name == "present") for name in ("data", "zero", "present")}
        wrong = next((name for name, flag in flags.items() if not isinstance(flag, bool)), None)
        if wrong or "data" not in entry:
            refuse(source, f"{at}, field {wrong or 'data'}", "should be true or false")
        if start != covered:
            refuse(
                source, at, f"starts at {start}, and the entry before ends at {covered}: a part is missing"
            )
        covered, deepest = start + length, max(deepest, depth)
        if flags["data"]:
            held.add(start, length, at)
        if depth == 0 and flags["present"]:
            (written if flags["data"] else discarded).add(start, length, at)
    return ChangeFile(
        written.table() if deepest else held.table(),
        discarded.table() if deepest else Runs(source).table(),
        capacity=covered or None,
        covered=covered,
        whole=not deepest,
        held=held.table(),
    )


def _recognises(head: bytes) -> bool:
    found = all(re.search(rb'"' + name + rb'"\s*:', head) for name in (b"start", b"depth", b"data"))
    return head.lstrip(b"\xef\xbb\xbf \r\n\t")[:1] == b"[" and found


QEMU_MAP = ChangeFormat("qemu_map", "qemu-img map --output=json", _recognises, _parse)
