"""`rbd diff`, as it is printed or with `--format json`: extents in bytes that hold data, or are zero."""

import re

from snapsim.traces.change_files.base import (
    ChangeFile,
    ChangeFormat,
    Runs,
    field,
    refuse,
    whole,
)
from snapsim.traces.change_files.parts import entries, lines
from snapsim.traces.source import Source

__all__ = ["RBD_JSON", "RBD_TEXT"]

_EXISTS = {"true": True, "false": False, True: True, False: False}
_TYPES = {"data": True, "zero": False}


def _parse_json(source: Source) -> ChangeFile:
    runs = {True: Runs(source), False: Runs(source)}
    for at, entry in entries(source, "should be one list, as rbd diff --format json prints it"):
        offset, length = (field(source, at, entry, name) for name in ("offset", "length"))
        exists = entry.get("exists")
        if not isinstance(exists, str | bool) or exists not in _EXISTS:
            refuse(source, f"{at}, field exists", f'is {exists!r:.40}, and should be "true" or "false"')
        runs[_EXISTS[exists]].add(offset, length, at)
    return ChangeFile(runs[True].table(), runs[False].table())


def _parse_text(source: Source) -> ChangeFile:
    runs = {True: Runs(source), False: Runs(source)}
    found = lines(source)
    _, head = next(found, (1, ""))
    if head.split() != ["Offset", "Length", "Type"]:
        refuse(source, "line 1", f"is {head.rstrip()!r:.60}, and should be Offset Length Type")
    for number, line in found:
        at, words = f"line {number}", line.split()
        if not words:
            continue
        if len(words) != 3 or words[2] not in _TYPES:
            refuse(
                source,
                f"line {number}",
                f"is {line.rstrip()!r:.60}, and should be offset, length, data or zero",
            )
        offset, length = (
            whole(source, f"{at}, {name}", word)
            for name, word in zip(("Offset", "Length"), words[:2], strict=True)
        )
        runs[_TYPES[words[2]]].add(offset, length, at)
    return ChangeFile(runs[True].table(), runs[False].table())


def _recognises_json(head: bytes) -> bool:
    return head.lstrip(b"\xef\xbb\xbf \r\n\t")[:1] == b"[" and re.search(rb'"exists"\s*:', head) is not None


def _recognises_text(head: bytes) -> bool:
    return re.match(rb"(\xef\xbb\xbf)?Offset[ \t]+Length[ \t]+Type[ \t]*(\r?\n|$)", head) is not None


RBD_TEXT = ChangeFormat("rbd", "rbd diff, as it is printed", _recognises_text, _parse_text)
RBD_JSON = ChangeFormat("rbd_json", "rbd diff --format json", _recognises_json, _parse_json)
