"""Text, lines and JSON values of a file, no more of it at a time than one of them needs."""

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any

from snapsim.traces.change_files.base import refuse
from snapsim.traces.source import Source

__all__ = ["documents", "entries", "lines"]

_CHUNK = 1 << 20
_LONGEST_LINE = 1 << 20
_DECODER, _SOLID = json.JSONDecoder(), re.compile(r"\S")


def text(source: Source) -> Iterator[str]:
    """Yield a file's text in parts; what is not UTF-8 (with or without a byte-order mark) is refused."""
    with source.binary() as stream:
        part = stream.read(_CHUNK)
        # PowerShell's > writes UTF-16 with a byte-order mark
        encoding = "utf-16" if part[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        decoder, line = codecs.getincrementaldecoder(encoding)(), 1
        while True:
            try:
                found = decoder.decode(part, final=not part)
            except UnicodeDecodeError as error:
                line += error.object.count(b"\n", 0, error.start)
                refuse(source, f"line {line}", "is not text")
            if not part:
                return
            if found:  # a part may be half of a character
                yield found
            line += found.count("\n")
            part = stream.read(_CHUNK)


def lines(source: Source) -> Iterator[tuple[int, str]]:
    """Yield the lines of a file, each with its number; one that is no line of a list is refused."""
    number, rest = 1, ""
    for part in text(source):
        *found, rest = (rest + part).splitlines(keepends=True) or [""]
        yield from enumerate(found, start=number)
        number += len(found)
        if len(rest) > _LONGEST_LINE:
            refuse(source, f"line {number}", "is longer than any line of a list")
    if rest:
        yield number, rest


class _Window:
    """As much of a file of JSON values as the next one needs."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.place = 0
        self._parts = text(source)
        self._text = ""
        self._line, self._counted = 1, 0

    def where(self) -> str:
        self._line += self._text.count("\n", self._counted, self.place)
        self._counted = self.place
        return f"line {self._line}"

    def mark(self) -> str:
        """Go to the next character that is no white space, and return it; "" at the end."""
        while (found := _SOLID.search(self._text, self.place)) is None:
            self.place = len(self._text)
            if not self._more():
                return ""
        self.place = found.start()
        return found[0]

    def value(self) -> Any:
        """Return the JSON value that begins here, and go behind it."""
        while True:
            try:
                value, self.place = _DECODER.raw_decode(self._text, self.place)
            except json.JSONDecodeError as error:
                if self._more():
                    continue
                line = self._line + error.doc.count("\n", self._counted, error.pos)
                refuse(self.source, f"line {line}", f"is no JSON, or is cut off ({error.msg.lower()})")
            except RecursionError:
                refuse(self.source, self.where(), "is nested too deeply")
            except ValueError:  # Python reads no number of thousands of digits
                refuse(self.source, self.where(), "holds a number that is beyond any disk")
            else:
                return value

    def _more(self) -> bool:
        """Read on: as much again as is there, so that a long value is not tried too often."""
        self.where()
        found, size = [self._text[self.place :]], 0
        while size <= len(found[0]) and (part := next(self._parts, "")):
            found.append(part)
            size += len(part)
        if size:
            self._text, self.place, self._counted = "".join(found), 0, 0
        return size > 0


def documents(source: Source) -> Iterator[tuple[str, Any]]:
    """Yield the JSON values of a file, which may hold several, each with where it begins."""
    window = _Window(source)
    while window.mark():
        yield window.where(), window.value()


def entries(source: Source, what: str) -> Iterator[tuple[str, Any]]:
    """Yield the entries of a file that is one JSON list, each with its place.

    Parameters
    ----------
    source : Source
        The file.
    what : str
        What else it is told to be, as the end of a sentence.

    Yields
    ------
    where : str
        For messages.
    entry : object
        Any JSON value.
    """
    window, index = _Window(source), 0
    mark, where = window.mark(), window.where()
    if mark != "[":
        refuse(source, "", what)
    while mark != "]":
        window.place += 1
        mark = window.mark()
        if index or mark != "]":
            yield f"{where}, entry {index}", window.value()
            mark, index = window.mark(), index + 1
        if mark not in ("]", ","):
            refuse(source, window.where(), "is no JSON, or is cut off (expecting ',' or ']')")
    window.place += 1
    if window.mark():
        refuse(source, "", what)
