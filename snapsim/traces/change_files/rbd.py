"""`rbd diff`, as it is printed or with `--format json`: extents in bytes that hold data, or are zero."""

import re

from snapsim.traces.change_files.base import (
    ChangeFile,
    ChangeFormat,
    Runs,
    documents,
    field,
    refuse,
    text_of,
    whole,
)
from snapsim.traces.source import Source

__all__ = ["RBD_JSON", "RBD_TEXT"]

_EXISTS = {"true": True, "false": False, True: True, False: False}
_TYPES = {"data": True, "zero": False}


def _parse_json(source: Source) -> ChangeFile:
    values = list(documents(source))
    if len(values) != 1 or not isinstance(values[0][1], list):
        refuse(source, "", "should be one list, as rbd diff --format json prints it")
    runs = {True: Runs(source), False: Runs(source)}
    where, entries = values[0]
    for index, entry in enumerate(entries):
        at = f"{where}, entry {index}"
        offset, length = (field(source, at, entry, name) for name in ("offset", "length"))
        exists = entry.get("exists")
        if not isinstance(exists, str | bool) or exists not in _EXISTS:
            refuse(source, f"{at}, field exists", f'is {exists!r:.40}, and should be "true" or "false"')
        runs[_EXISTS[exists]].add(offset, length, at)
    return ChangeFile(runs[True].table(), runs[False].table())


def _parse_text(source: Source) -> ChangeFile:
    runs = {True: Runs(source), False: Runs(source)}
    head, *lines = text_of(source).splitlines() or [""]
    if head.split() != ["Offset", "Length", "Type"]:
        refuse(source, "line 1", f"is {head!r:.60}, and should be Offset Length Type")
    for number, line in enumerate(lines, start=2):
        words = line.split()
        if not words:
            continue
        if len(words) != 3 or words[2] not in _TYPES:
            refuse(source, f"line {number}", f"is {line!r:.60}, and should be offset, length, data or zero")
        offset, length = (
            whole(source, f"line {number}, {name}", word)
            for name, word in zip(("Offset", "Length"), words[:2], strict=True)
        )
        runs[_TYPES[words[2]]].add(offset, length, f"line {number}")
    return ChangeFile(runs[True].table(), runs[False].table())


def _recognises_json(head: bytes) -> bool:
    return head.lstrip(b"\xef\xbb\xbf \r\n\t")[:1] == b"[" and re.search(rb'"exists"\s*:', head) is not None


def _recognises_text(head: bytes) -> bool:
    return re.match(rb"(\xef\xbb\xbf)?Offset[ \t]+Length[ \t]+Type[ \t]*(\r?\n|$)", head) is not None


RBD_TEXT = ChangeFormat("rbd", "rbd diff, as it is printed", _recognises_text, _parse_text)
RBD_JSON = ChangeFormat("rbd_json", "rbd diff --format json", _recognises_json, _parse_json)
