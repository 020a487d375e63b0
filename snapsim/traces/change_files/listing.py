"""A plain list of extents, for everything else: a table with a head, or JSON.

Columns: offset (or start, startOffset), length (or size), and where wanted zero (or discarded), in any order,
between commas, semicolons, tabs or spaces.  Without a head the order is offset, length, zero.  All in bytes.
"""

import re
from typing import Any

from snapsim.traces.change_files.base import (
    ChangeFile,
    ChangeFormat,
    Runs,
    refuse,
    whole,
)
from snapsim.traces.change_files.parts import entries, lines
from snapsim.traces.source import Source

__all__ = ["LIST", "LIST_JSON"]

_COLUMNS = {
    "offset": "offset",
    "start": "offset",
    "startoffset": "offset",
    "length": "length",
    "size": "length",
    "zero": "zero",
    "discarded": "zero",
}
_ORDER = ("offset", "length", "zero")
_FLAGS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False, "": False}
_RULE = re.compile(r"[-\s,;|]+")
_FIELD = re.compile(r"\s*[,;\t]\s*|\s+")


class _List:
    """Takes the extents of one file."""

    def __init__(self, source: Source) -> None:
        self.source, self.runs = source, {True: Runs(source), False: Runs(source)}

    def columns(self, where: str, words: Any) -> tuple[str, ...]:
        """Return what each column is; a table that has to be guessed is refused."""
        names = [_COLUMNS.get(str(word).strip('"').lower().replace("_", ""), str(word)) for word in words]
        unknown = next((name for name in names if name not in _ORDER), None)
        if unknown is not None:
            refuse(self.source, where, f"{unknown!r:.40} is no column: they are offset, length and zero")
        if len(set(names)) != len(names) or not {"offset", "length"} <= set(names):
            refuse(self.source, where, "a list needs one column offset, one length, and at most one zero")
        return tuple(names)

    def add(self, where: str, columns: tuple[str, ...], values: Any) -> None:
        given = dict(zip(columns, values, strict=False))
        if not len(values) <= len(columns) or not {"offset", "length"} <= set(given):
            refuse(self.source, where, f"has {len(values)} fields, and should have {' '.join(columns)}")
        offset, length = (whole(self.source, f"{where}, {name}", given[name]) for name in _ORDER[:2])
        zero = _FLAGS.get(str(given.get("zero", "")).lower())
        if zero is None:
            refuse(self.source, f"{where}, zero", f"is {given['zero']!r:.40}, and should be true or false")
        self.runs[zero].add(offset, length, where)

    def file(self) -> ChangeFile:
        return ChangeFile(self.runs[False].table(), self.runs[True].table())


def _parse(source: Source) -> ChangeFile:
    found, columns = _List(source), None
    for number, line in lines(source):
        where, text = f"line {number}", line.split("#")[0].strip()
        if not text or _RULE.fullmatch(text):
            continue
        words = [word.strip('"') for word in _FIELD.split(text)]
        if columns is None:
            headless = words[0][:1].isdigit()
            columns = _ORDER if headless else found.columns(where, words)
            if not headless:
                continue
        found.add(where, columns, words)
    if columns is None:
        refuse(source, "", "has no extents and no head: where nothing changed, write offset,length")
    return found.file()


def _parse_json(source: Source) -> ChangeFile:
    found = _List(source)
    for at, entry in entries(source, "should be one list of objects with offset and length, or of pairs"):
        if isinstance(entry, dict):
            found.add(at, found.columns(at, entry), list(entry.values()))
        elif isinstance(entry, list):
            found.add(at, _ORDER, entry)
        else:
            refuse(source, at, f"is {entry!r:.40}, and should be an object or a pair")
    return found.file()


def _recognises(head: bytes) -> bool:
    lines = (line.split("#")[0].strip() for line in head.decode("utf-8-sig", "replace").splitlines())
    words = [word.strip('"') for word in _FIELD.split(next(filter(None, lines), ""))]
    numbers = len(words) > 1 and all(word.isdecimal() for word in words[:2])
    return numbers or {"offset", "length"} <= {_COLUMNS.get(word.lower(), word) for word in words} <= set(
        _ORDER
    )


def _recognises_json(head: bytes) -> bool:
    text = head.lstrip(b"\xef\xbb\xbf \r\n\t")
    pairs = re.match(rb"\[\s*(\]|\[\s*\d+\s*,\s*\d+)", text)
    others = re.search(rb'"(exists|depth|changedarea|blocks|changedblocks)"\s*:', text, re.IGNORECASE)
    named = re.match(rb'\[\s*\{[^{}]*"(offset|start)"\s*:', text, re.IGNORECASE) and not others
    return bool(pairs or named)


LIST = ChangeFormat("list", "offset,length[,zero] in bytes (a table)", _recognises, _parse)
LIST_JSON = ChangeFormat("list_json", "offset, length, zero in bytes (JSON)", _recognises_json, _parse_json)
