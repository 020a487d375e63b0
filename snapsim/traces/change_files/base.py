"""What every format of changed extents gives, and what their parsers share."""

import codecs
import json
import re
from array import array
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, NoReturn

import numpy as np

from snapsim.errors import TraceError
from snapsim.traces.source import Source
from snapsim.types import Int64Array

__all__ = [
    "LARGEST",
    "ChangeFile",
    "ChangeFormat",
    "Runs",
    "documents",
    "entries",
    "field",
    "lines",
    "refuse",
    "whole",
]

_CHUNK = 1 << 20
_LONGEST_LINE = 1 << 20
LARGEST = 1 << 62
_DECODER, _SOLID = json.JSONDecoder(), re.compile(r"\S")


class ChangeFile(NamedTuple):
    """What one file says: which bytes changed, and what it tells about itself.

    Attributes
    ----------
    written, discarded : int64 array, shape (k, 2)
        Offsets and lengths of what holds other data, and of what holds none any more.  [bytes]
    grain : int or None
        The unit in which the source counts, where the file tells it.  [bytes]
    capacity : int or None
        Size of the volume, where the file tells it.  [bytes]
    covered : int or None
        Up to where the file says what changed, where it tells that.  [bytes]
    older, newer : str or None
        The two snapshots that are compared, where the file names them.
    whole : bool or None
        Whether everything that a snapshot holds is listed, or what changed since another one; None where the
        format does not tell these apart.
    held : int64 array, shape (k, 2), or None
        All that the newer snapshot holds, where a file of changes tells that too.  [bytes]
    """

    written: Int64Array
    discarded: Int64Array
    grain: int | None = None
    capacity: int | None = None
    covered: int | None = None
    older: str | None = None
    newer: str | None = None
    whole: bool | None = None
    held: Int64Array | None = None


class ChangeFormat(NamedTuple):
    """A format of changed extents.

    Attributes
    ----------
    name, title : str
        What is typed, and what it is.
    recognises : callable
        Whether the first 64 KiB of a file look like it.
    parse : callable
        Read a file.
    """

    name: str
    title: str
    recognises: Callable[[bytes], bool]
    parse: Callable[[Source], ChangeFile]


class Runs:
    """Extents that are gathered: those that go on where the one before ended are joined."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._pairs = array("q")  # offset, length, offset, length, ...

    def add(self, offset: int, length: int, where: str) -> None:
        """Add an extent; one of no length is nothing, and one beyond any disk is refused."""
        if offset + length > LARGEST:
            refuse(self._source, where, f"{length} bytes at {offset} lie beyond any disk")
        if not length:
            return
        if self._pairs and sum(self._pairs[-2:]) == offset:
            self._pairs[-1] += length
        else:
            self._pairs.extend((offset, length))

    def table(self) -> Int64Array:
        """Return offsets and lengths, shape (k, 2).  [bytes]"""
        return np.array(self._pairs, np.int64).reshape(-1, 2)


def refuse(source: Source, where: str, what: str) -> NoReturn:
    """Refuse a file.

    Parameters
    ----------
    source : Source
        The file.
    where : str
        The line or field, or nothing.
    what : str
        The end of the sentence.

    Raises
    ------
    TraceError
        Always.
    """
    raise TraceError(f"{source.path}{f', {where}' if where else ''}: {what}")


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
                value, end = _DECODER.raw_decode(self._text, self.place)
            except json.JSONDecodeError as error:
                if self._more():
                    continue
                line = self._line + error.doc.count("\n", self._counted, error.pos)
                refuse(self.source, f"line {line}", f"is no JSON, or is cut off ({error.msg.lower()})")
            except RecursionError:
                refuse(self.source, self.where(), "is nested too deeply")
            except ValueError:  # Python reads no number of thousands of digits
                refuse(self.source, self.where(), "holds a number that is beyond any disk")
            if end < len(self._text) or not self._more():  # more digits may follow
                self.place = end
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


def field(source: Source, where: str, entry: Any, name: str) -> int:
    """Return a field of a JSON object that has to be a whole number, zero or more."""
    if not isinstance(entry, dict):
        refuse(source, where, f"is {entry!r:.40}, and should be an object with the field {name}")
    if name not in entry:
        refuse(source, where, f"has no field {name}")
    return whole(source, f"{where}, field {name}", entry[name])


def whole(source: Source, where: str, value: object) -> int:
    """Return a number that has to be whole, zero or more, and no larger than a disk can be."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not re.fullmatch(r"[0-9]{1,19}", text) or int(text) > LARGEST:
        refuse(source, where, f"is {value!r:.40}, and should be a whole number, zero or more")
    return int(text)
