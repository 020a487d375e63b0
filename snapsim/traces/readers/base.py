"""What a reader is, what it gets, and what it reports.

A reader turns one source file into columns (`Raw`) and says through a `ReadLog` what it left out and why.  It
neither sorts nor validates: that is the same for every format and happens after it
(`snapsim.traces.importing`).
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from snapsim.errors import UsageError
from snapsim.traces.source import Source
from snapsim.types import DISCARD, FLUSH, READ, WRITE, WRITE_ZEROES, Int64Array, UInt8Array

OUT_OF_RANGE = int(np.iinfo(np.int64).min)
"""Stands for a value that does not fit into 63 bits; validation reports it as damage."""

BAD_OP = 255
"""Stands for an op that the reader could not name; validation reports it as damage."""

MAX_EXAMPLES = 20

OP_NAMES: Mapping[str, int] = {
    "read": READ, "r": READ, "ra": READ, "rs": READ,
    "write": WRITE, "w": WRITE, "ws": WRITE,
    "discard": DISCARD, "d": DISCARD, "trim": DISCARD, "t": DISCARD, "unmap": DISCARD,
    "write_zeroes": WRITE_ZEROES, "write-zeroes": WRITE_ZEROES, "zero": WRITE_ZEROES, "z": WRITE_ZEROES,
    "flush": FLUSH, "f": FLUSH, "sync": FLUSH,
}  # fmt: skip
"""Names of ops that people write, in lower case."""


class Raw(NamedTuple):
    """Parsed requests in file order, neither validated nor sorted.

    Attributes
    ----------
    time_ns : int64 array, shape (n,)
        On the reader's own clock; `ReadLog.set_start` says what Unix time its zero is, if known.  [ns]
    op : uint8 array, shape (n,)
        Op codes, or `BAD_OP`.
    offset, length : int64 arrays, shape (n,)
        Bytes, or `OUT_OF_RANGE`.  [bytes]
    line : int64 array, shape (n,)
        1-based line numbers in the source, or 1-based record numbers of a binary file.
    volume : int32 array, shape (n,), or None
        Codes that `ReadLog.volume` gave out; None when the format has one unnamed volume.
    latency_ns : int64 array, shape (n,), or None
        Service time, -1 where it is not known.  [ns]
    digest : object array of bytes, shape (n,), or None
        Content digests of the request's data, concatenated; b"" where there is none.
    """

    time_ns: Int64Array
    op: UInt8Array
    offset: Int64Array
    length: Int64Array
    line: Int64Array
    volume: npt.NDArray[np.int32] | None = None
    latency_ns: Int64Array | None = None
    digest: npt.NDArray[np.object_] | None = None

    def take(self, keep: npt.NDArray[Any]) -> "Raw":
        """Return the rows that a mask or an index array picks."""
        return Raw._make(column[keep] if column is not None else None for column in self)


_NONE = np.empty(0, np.int64)
NOTHING = Raw(_NONE, np.empty(0, np.uint8), _NONE, _NONE, _NONE)
"""No requests: yielding it gives the import a turn (to judge the damage, to show progress)."""


@dataclass(frozen=True)
class DroppedLine:
    """A damaged line that was left out.

    Attributes
    ----------
    file : str
        Base name of the source file.
    line : int
        1-based line number, or record number of a binary file.
    field : str
        The field that is wrong.
    reason : str
        What is wrong with it.
    """

    file: str
    line: int
    field: str
    reason: str

    def __str__(self) -> str:
        """Write it for people: `hm_0.csv, line 17, offset: is negative`."""
        return f"{self.file}, line {self.line}, {self.field}: {self.reason}"


@dataclass
class ReadLog:
    """What an import saw besides good requests; one for all files of an import.

    Readers write to it; `file` is set by the import for each source in turn.
    """

    file: str = ""
    skipped: dict[str, int] = field(default_factory=dict)
    dropped: int = 0
    drops: list[DroppedLine] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    options: dict[str, str] = field(default_factory=dict)
    volumes: list[str] = field(default_factory=list)
    capacities: dict[str, int] = field(default_factory=dict)
    start_ns: int | None = None
    time_scale: float = 1.0
    contents: str | None = None
    _codes: dict[str, int] = field(default_factory=dict, repr=False)

    def skip(self, count: int = 1, kind: str = "header") -> None:
        """Count lines that are no requests and no damage: headers, summaries, other kinds of events."""
        if count:
            self.skipped[kind] = self.skipped.get(kind, 0) + int(count)

    def drop(self, line: int, field: str, reason: str) -> None:
        """Report one damaged line."""
        self.dropped += 1
        if len(self.drops) < MAX_EXAMPLES:
            self.drops.append(DroppedLine(self.file, int(line), field, reason))

    def drop_rows(self, lines: Int64Array, field: str, reason: str) -> None:
        """Report many damaged lines that have the same thing wrong with them."""
        room = MAX_EXAMPLES - len(self.drops)
        self.dropped += len(lines)
        self.drops.extend(DroppedLine(self.file, int(line), field, reason) for line in lines[: max(room, 0)])

    def note(self, text: str) -> None:
        """Record an assumption that people should see; the same text is recorded once."""
        if text not in self.notes:
            self.notes.append(text)

    def set_option(self, name: str, value: object) -> None:
        """Record a reader option or unit that was in force."""
        self.options[name] = str(value)

    def set_contents(self, scheme: str) -> None:
        """Say what the content digests are, "" if nothing in particular; see `TraceInfo.contents`."""
        self.contents = scheme

    def set_start(self, ns: int) -> None:
        """Say which Unix time the reader's time 0 is: 0 when its times are Unix times.  [ns]"""
        self.start_ns = int(ns)

    def set_capacity(self, volume: str, size: int) -> None:
        """Say how large a volume is; "" names the volume of a format without volumes.  [bytes]"""
        self.capacities[volume] = int(size)

    def volume(self, name: object) -> int:
        """Return the code of a volume name, giving out a new one when it is first seen."""
        text = str(name)
        code = self._codes.get(text)
        if code is None:
            code = self._codes[text] = len(self.volumes)
            self.volumes.append(text)
        return code

    def volume_codes(self, names: Iterable[object]) -> npt.NDArray[np.int32]:
        """Return the codes of volume names; where they repeat, pass distinct ones and index the answer."""
        return np.fromiter((self.volume(name) for name in names), dtype=np.int32)


class Units(NamedTuple):
    """What one count of a field means.

    Attributes
    ----------
    time : int
        Nanoseconds per count.
    address, length : int
        Bytes per count.
    """

    time: int
    address: int
    length: int


@dataclass(frozen=True)
class Options:
    """How to read: units in force and the reader's own options, checked against what it declares.

    Attributes
    ----------
    units : Units
        The reader's own units unless the caller overrode them.
    values : Mapping
        The reader's own options that the caller gave.
    """

    units: Units
    values: Mapping[str, Any] = field(default_factory=dict)

    def get(self, name: str, default: Any = None) -> Any:
        """Return one of the reader's own options."""
        return self.values.get(name, default)


class Reader(ABC):
    """One trace format.  Subclasses are stateless; a module lists its readers in `READERS`.

    Attributes
    ----------
    name : str
        What people call the format: lower case, words joined by "-".
    title : str
        A short phrase for lists.
    extensions : tuple of str
        Usual file name endings, without those of compression.
    units : Units
        What the format's numbers mean unless the caller says otherwise.
    options : Mapping
        The reader's own options: name to one sentence.
    side_files : tuple of str
        Name patterns of files that lie beside a trace and are not traces (`device_size.csv`).
    """

    name: ClassVar[str]
    title: ClassVar[str]
    extensions: ClassVar[tuple[str, ...]] = ()
    units: ClassVar[Units] = Units(time=1, address=1, length=1)
    options: ClassVar[Mapping[str, str]] = {}
    side_files: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def sniff(self, head: bytes, name: str) -> bool:
        """Tell from its first 64 KiB, decompressed, whether a file is in this format.

        `name` is the base name without a compression ending; a name alone never decides.
        """

    @abstractmethod
    def read(self, source: Source, log: ReadLog, options: Options) -> Iterator[Raw]:
        """Yield the requests of one file in file order, in bounded memory."""

    def gather(self, path: Path) -> tuple[Path, ...]:
        """Return all files that belong to the trace that `path` is part of (one per CPU, for example)."""
        return (path,)


def choice(options: Options, name: str, default: str, allowed: Sequence[str]) -> str:
    """Return which of its allowed values a reader option has; white space in it does not matter."""
    value = str(options.get(name, default)).replace(" ", "")
    if value not in allowed:
        msg = f"option {name}={value!r} is unknown: choose from {', '.join(allowed)}"
        raise UsageError(msg)
    return value


def scaled(counts: Int64Array, unit: int) -> Int64Array:
    """Multiply counts by their unit exactly; what does not fit into 63 bits becomes `OUT_OF_RANGE`.

    Parameters
    ----------
    counts : int64 array
        Counts of `unit`.
    unit : int
        Bytes or nanoseconds per count.

    Returns
    -------
    int64 array
        Bytes or nanoseconds.
    """
    if unit == 1 or not len(counts):
        return counts
    limit = np.iinfo(np.int64).max // unit
    if counts.max() <= limit and counts.min() >= -limit:
        return counts * unit
    outside = (counts > limit) | (counts < -limit)
    return np.where(outside, OUT_OF_RANGE, np.where(outside, 0, counts) * unit)


def sample_lines(head: bytes, limit: int = 200) -> list[str]:
    """Return the first complete lines of a head, blank ones left out."""
    complete = head if len(head) < 1 << 16 else head.rpartition(b"\n")[0]
    lines = (line.rstrip("\r") for line in complete.decode("utf-8-sig", "replace").split("\n"))
    return [line for _, line in zip(range(limit), (line for line in lines if line.strip()), strict=False)]


def matching_share(head: bytes, pattern: re.Pattern[str], *, skip: int = 0) -> float:
    """Return the share of the first lines that a pattern matches in full.

    Parameters
    ----------
    head : bytes
        Start of a file.
    pattern : compiled pattern
        Matched against whole lines, without their line ends.
    skip : int
        Lines to leave out at the start (a header that may or may not be there counts only when it matches).

    Returns
    -------
    float
        Between 0 and 1; 0 when there is no line.
    """
    lines = sample_lines(head)[skip:]
    if not lines:
        return 0.0
    return sum(pattern.fullmatch(line) is not None for line in lines) / len(lines)
