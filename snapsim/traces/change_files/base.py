"""What every format of changed extents gives, and what their parsers share."""

import re
from array import array
from collections.abc import Callable
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
    "field",
    "refuse",
    "whole",
]

LARGEST = 1 << 62


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
