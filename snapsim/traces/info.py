"""What is known about a trace: `TraceInfo`, and what is measured in one pass over its requests."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from snapsim.traces.readers.base import DroppedLine
from snapsim.types import Batch, Int64Array


@dataclass(frozen=True)
class ChangeInfo:
    """Which snapshots a change trace lies between.

    Attributes
    ----------
    grain : int
        The unit in which changes are known.  [bytes]
    instants : tuple of int
        When each snapshot was taken, since the Unix epoch, UTC.  [ns]
    names : tuple of str
        Their names; empty where they have none.
    initial : tuple of (offset, length), or None
        What held data before the first known change; None where that is not known.  [bytes]
    """

    grain: int
    instants: tuple[int, ...]
    names: tuple[str, ...] = ()
    initial: tuple[tuple[int, int], ...] | None = None

    def __post_init__(self) -> None:
        """Keep names that can be printed and stored."""
        object.__setattr__(self, "names", tuple(map(_printable, self.names)))

    @classmethod
    def of(cls, *, grain: int, instants: Any, names: Any, initial: Any) -> "ChangeInfo":
        """Make it from what JSON holds."""
        extents = None if initial is None else tuple((offset, length) for offset, length in initial)
        if grain < 1 or not instants or any(after <= before for before, after in pairwise(instants)):
            msg = "its grain or its snapshots cannot be"
            raise ValueError(msg)
        return cls(grain, tuple(instants), tuple(names), extents)


@dataclass(frozen=True)
class TraceInfo:
    """Where a trace comes from and what was noticed while it was read.

    Attributes
    ----------
    format : str
        Name of the reader, "arrays" or "synthetic"; a stored trace keeps the name of what it was made from.
    source : str
        Base names of the source files.
    volumes : tuple of str
        Volume names; `("",)` for one unnamed volume.
    capacities : tuple of (int or None)
        Size of each volume, None where it is not known.  [bytes]
    start_ns : int or None
        Unix time, UTC, of time 0; None when it is not known.  [ns]
    requests : int
        Number of requests.
    span_ns : int
        From the first request to the last.  [ns]
    max_end : tuple of int
        One past the highest byte touched, per volume.  [bytes]
    out_of_order : int
        Requests whose time is earlier than that of the request before them in the source file.
    skipped_lines : int
        Lines that are no requests and no damage: headers, summaries, other kinds of events.
    skipped_kinds : Mapping
        How many there are of each kind, by name.
    dropped_lines : int
        Damaged lines that were left out.
    drops : tuple of DroppedLine
        The first of them.
    time_scale : float
        Represented time divided by real time, for a recording that was paced.
    shift_bytes : int
        What was added to every offset.  [bytes]
    options : Mapping
        Reader options and units that were in force.
    notes : tuple of str
        Assumptions that people should see.
    fingerprint : str
        SHA-256 over the columns of each volume; equal for equal requests, however they are stored or cut.
    contents : str
        What the content digests are: "snapsim-1" (`snapsim.traces.fingerprints`), "md5-4096" or "md5-512" (an
        MD5 sum of each so many bytes); "" where the trace has none.
    changes : ChangeInfo or None
        Where the requests are what changed between snapshots: `snapsim.ChangeTrace`.
    """

    format: str
    source: str
    volumes: tuple[str, ...] = ("",)
    capacities: tuple[int | None, ...] = (None,)
    start_ns: int | None = None
    requests: int = 0
    span_ns: int = 0
    max_end: tuple[int, ...] = (0,)
    out_of_order: int = 0
    skipped_lines: int = 0
    skipped_kinds: Mapping[str, int] = field(default_factory=dict)
    dropped_lines: int = 0
    drops: tuple[DroppedLine, ...] = ()
    time_scale: float = 1.0
    shift_bytes: int = 0
    options: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    fingerprint: str = ""
    contents: str = ""
    changes: ChangeInfo | None = None

    def __post_init__(self) -> None:
        """Keep names that can be printed and stored: a file's name may be no text."""
        object.__setattr__(self, "source", _printable(self.source))

    def to_json(self) -> str:
        """Write it as JSON text."""
        return json.dumps(asdict(self), ensure_ascii=False, sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> "TraceInfo":
        """Read what `to_json` wrote.

        Raises
        ------
        ValueError, TypeError, KeyError
            The text is something else.
        """
        values: dict[str, Any] = json.loads(text)
        values["drops"] = tuple(DroppedLine(**drop) for drop in values["drops"])
        for name in ("volumes", "capacities", "max_end", "notes"):
            values[name] = tuple(values[name])
        if values.get("changes") is not None:
            values["changes"] = ChangeInfo.of(**values["changes"])
        return cls(**values)


def _printable(name: str) -> str:
    return name.encode("utf-8", "replace").decode()


def kinds_text(kinds: Mapping[str, int]) -> str:
    """Write counts by kind for people, the commonest first: `963 action G, 2 notification`."""
    ordered = sorted(kinds.items(), key=lambda item: -item[1])
    return ", ".join(f"{count:,} {kind}" for kind, count in ordered)


class Extent(NamedTuple):
    """How many requests, from when to when, and how far they reach.

    Attributes
    ----------
    requests : int
        Number of requests.
    first_ns, last_ns : int
        Times of the first and the last request; 0 when there is none.  [ns]
    max_end : tuple of int
        One past the highest byte touched, per volume.  [bytes]
    """

    requests: int
    first_ns: int
    last_ns: int
    max_end: tuple[int, ...]


def measure(batches: Iterable[Batch], volumes: int) -> Extent:
    """Measure time-ordered batches in one pass.

    Parameters
    ----------
    batches : iterable of Batch
        In time order.
    volumes : int
        Number of volumes that their codes refer to.

    Returns
    -------
    Extent
        The same however the requests are cut into batches.
    """
    requests = first = last = 0
    ends = np.zeros(volumes, np.int64)
    for batch in batches:
        if not len(batch.time_ns):
            continue
        if not requests:
            first = int(batch.time_ns[0])
        last = int(batch.time_ns[-1])
        requests += len(batch.time_ns)
        raise_ends(ends, batch.offset, batch.length, batch.volume)
    return Extent(requests, first, last, tuple(ends.tolist()))


def raise_ends(
    ends: Int64Array, offset: Int64Array, length: Int64Array, volume: npt.NDArray[np.int32] | None
) -> None:
    """Raise each volume's highest end in place; a request of no bytes reaches nowhere."""
    if not len(offset):
        return
    end = np.where(length > 0, offset + length, 0)
    if volume is None:
        ends[0] = max(int(ends[0]), int(end.max()))
    else:
        np.maximum.at(ends, volume, end)


class Fingerprint:
    """SHA-256 of the columns of each volume, fed in batches cut anywhere.

    Each column of each volume is hashed on its own, in little-endian bytes; the digests are then hashed
    together with the volumes' names, in the order of the names.  Requests of different volumes at the same
    time may thus come in any order.
    """

    _DTYPES = ("<i8", "|u1", "<i8", "<i8")

    def __init__(self, volumes: tuple[str, ...]) -> None:
        self._volumes = volumes
        self._hashes: dict[int, tuple[Any, ...]] = {}

    def update(self, batch: Batch) -> None:
        """Take in the next requests."""
        columns = (batch.time_ns, batch.op, batch.offset, batch.length)
        if batch.volume is None:
            self._feed(0, columns)
            return
        order = np.argsort(batch.volume, kind="stable")
        codes = batch.volume[order]
        starts = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]]) if len(codes) else np.empty(0, np.int64)
        for start, stop in zip(starts, np.r_[starts[1:], len(codes)], strict=True):
            rows = order[start:stop]
            self._feed(int(codes[start]), tuple(column[rows] for column in columns))

    def update_volume(self, code: int, columns: Mapping[str, Any]) -> None:
        """Take in the next requests of one volume, by column name."""
        self._feed(code, tuple(columns[name] for name in ("time_ns", "op", "offset", "length")))

    def _feed(self, code: int, columns: tuple[Any, ...]) -> None:
        if code not in self._hashes:
            self._hashes[code] = tuple(hashlib.sha256() for _ in columns)
        for hasher, column, dtype in zip(self._hashes[code], columns, self._DTYPES, strict=True):
            hasher.update(np.ascontiguousarray(column, dtype=dtype).data)

    def hexdigest(self) -> str:
        """Return the fingerprint of what came so far."""
        whole = hashlib.sha256(b"snapsim trace 1")
        for name, code in sorted((self._volumes[code], code) for code in self._hashes):
            whole.update(f"\n{name}\n".encode())
            for hasher in self._hashes[code]:
                whole.update(hasher.digest())
        return whole.hexdigest()


def fingerprint(batches: Iterable[Batch], volumes: tuple[str, ...]) -> str:
    """Return the fingerprint of time-ordered batches."""
    result = Fingerprint(volumes)
    for batch in batches:
        result.update(batch)
    return result.hexdigest()
