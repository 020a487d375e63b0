"""Traces that can be shown to others: addresses shuffled, everything that space depends on kept.

The disk is cut into units, and the units change places.  What happens inside a unit, and how often and when a
block is written, stays; where on the disk it is does not.  Space of snapshots is the same for every block
size that divides the unit; reads and writes that ran across units become several, and runs longer than a unit
are lost.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from snapsim.errors import UsageError
from snapsim.traces import fingerprints
from snapsim.traces.changes import needs_requests
from snapsim.traces.info import Extent, measure
from snapsim.traces.table import Table
from snapsim.traces.trace import Trace
from snapsim.types import FLUSH, Batch, Int64Array
from snapsim.units import format_size, parse_size

_MOST_UNITS = 1 << 28
_NOTE = "addresses are shuffled in units of "


@dataclass(frozen=True, kw_only=True)
class Shuffled:
    """A trace with shuffled addresses, and how to shuffle what belongs to it.

    Attributes
    ----------
    trace : Trace
        Streamed if the other one was.
    unit : int
        What changes places as a whole.  [bytes]
    places : int64 array, shape (n_units,)
        Where each unit went.  Whoever has it can undo the shuffling: it is not stored anywhere.
    """

    trace: Trace
    unit: int
    places: Int64Array


def permuted(trace: Trace, *, unit: int | str = "1MiB", seed: int | None = None) -> Shuffled:
    """Shuffle the addresses of a trace.

    Parameters
    ----------
    trace : Trace
        Of one volume.
    unit : int or str
        What changes places as a whole: a multiple of 4 KiB.  A rest at the end of the volume stays where it
        is.
    seed : int, optional
        Makes the shuffling repeatable, for tests; whoever knows it can undo the shuffling.  Without it the
        order comes from the system's random numbers and is known to nobody.

    Returns
    -------
    Shuffled
        The trace, and the places.

    Raises
    ------
    UsageError
        The unit does not fit the volume or its fingerprints.
    VolumeSelectionError
        The trace has several volumes.
    """
    needs_requests(trace, "shuffling addresses")
    size = parse_size(unit)
    places = _order(units_of(trace.capacity, unit=size), seed)
    places.flags.writeable = False
    table = ShuffledTable(trace.table, size, places, trace.info.contents)
    info = replace(
        trace.info,
        drops=(),  # examples of damaged lines quote them, with their addresses; how many there were stays
        notes=(*trace.info.notes, f"{_NOTE}{format_size(size)}: requests that crossed them were cut"),
    )
    return Shuffled(trace=Trace(table, info, measured=False), unit=size, places=places)


def units_of(capacity: int, *, unit: int) -> int:
    """Return into how many units a volume is cut to be shuffled.

    Parameters
    ----------
    capacity : int
        [bytes]
    unit : int
        [bytes]

    Returns
    -------
    int
        Without the rest at the end.

    Raises
    ------
    UsageError
        The unit does not fit fingerprints or the volume.
    """
    if unit < fingerprints.BLOCK or unit % fingerprints.BLOCK:
        msg = f"addresses are shuffled in multiples of {format_size(fingerprints.BLOCK)}, not of {unit} bytes"
        raise UsageError(msg)
    count = capacity // unit
    if not 2 <= count <= _MOST_UNITS:
        msg = (
            f"addresses cannot be shuffled in units of {format_size(unit)}: they cut a volume of "
            f"{format_size(capacity)} into {count:,}, and between 2 and {_MOST_UNITS:,} make sense"
        )
        raise UsageError(msg)
    return count


def permuted_extents(extents: Sequence[Mapping[str, Any]], shuffled: Shuffled) -> list[dict[str, Any]]:
    """Shuffle a map of the image as the trace was shuffled.

    Parameters
    ----------
    extents : sequence of Mapping
        What `qemu-img map --output=json` wrote: start, length, data, zero.
    shuffled : Shuffled
        What `permuted` returned.

    Returns
    -------
    list of dict
        The same fields, sorted by start, neighbours joined; places inside the image file are left out.
    """
    start = np.array([entry["start"] for entry in extents], np.int64)
    length = np.array([entry["length"] for entry in extents], np.int64)
    rows, offset, size = _cut(start, length, shuffled.unit, shuffled.places)
    kept = ("depth", "present", "zero", "data")
    pieces = [
        {"start": int(offset[piece]), "length": int(size[piece])}
        | {name: extents[row][name] for name in kept if name in extents[row]}
        for piece, row in enumerate(rows.tolist())
    ]
    joined: list[dict[str, Any]] = []
    for piece in sorted(pieces, key=lambda entry: entry["start"]):
        if joined and joined[-1] | {"start": 0, "length": 0} == piece | {"start": 0, "length": 0}:
            joined[-1]["length"] += piece["length"]
        else:
            joined.append(piece)
    return joined


@dataclass(frozen=True, eq=False)
class ShuffledTable:
    """Requests of another table at other places; see `Table`.

    Attributes
    ----------
    inner : Table
        Where the requests are, at their own places.
    unit : int
        [bytes]
    places : int64 array, shape (n_units,)
        Where each unit goes.
    contents : str
        Scheme of the digests.
    """

    inner: Table
    unit: int
    places: Int64Array
    contents: str

    @property
    def volumes(self) -> tuple[str, ...]:
        """Volume names."""
        return self.inner.volumes

    @property
    def extras(self) -> tuple[str, ...]:
        """Names of the optional columns that there are."""
        return self.inner.extras

    def scan(self, rows: int, extras: Sequence[str] = ()) -> Iterator[Batch]:
        """Yield batches of at most `rows` requests."""
        for batch in self.inner.scan(rows, extras):
            moved = self._moved(batch)
            for first in range(0, len(moved.time_ns), rows):
                yield Batch._make(
                    column if column is None else _frozen(column[first : first + rows]) for column in moved
                )

    def narrow(
        self, start_ns: int | None, stop_ns: int | None, codes: Sequence[int] | None
    ) -> "ShuffledTable":
        """Return a part of it."""
        return replace(self, inner=self.inner.narrow(start_ns, stop_ns, codes))

    def extent(self) -> Extent:
        """Measure it in one pass."""
        return measure(self.scan(1 << 20), len(self.volumes))

    def _moved(self, batch: Batch) -> Batch:
        length = np.where(batch.op == FLUSH, 0, batch.length)
        rows, offset, size = _cut(batch.offset, length, self.unit, self.places)
        moved = Batch._make(column if column is None else column[rows] for column in batch)
        moved = moved._replace(offset=offset, length=size)
        if batch.digest is None:
            return moved
        return moved._replace(digest=self._digests(batch, rows, size))

    def _digests(self, batch: Batch, rows: Int64Array, size: Int64Array) -> npt.NDArray[np.object_]:
        """Give each piece of a request the digests of its own blocks."""
        digest = np.asarray(batch.digest, object)[rows]
        if len(rows) == len(batch.op):
            return digest
        if self.contents != fingerprints.SCHEME:
            msg = (
                f"requests with digests of the scheme {self.contents!r} cannot be cut at the units: "
                "leave the column out, or choose a larger unit"
            )
            raise UsageError(msg)
        first = np.r_[True, rows[1:] != rows[:-1]]
        before = np.cumsum(size) - size
        at = batch.offset[rows] + before - np.maximum.accumulate(np.where(first, before, 0))
        block = fingerprints.BLOCK
        skip = (at // block - batch.offset[rows] // block) * fingerprints.SIZE
        stop = ((at + size - 1) // block + 1 - batch.offset[rows] // block) * fingerprints.SIZE
        for piece in np.flatnonzero(size < batch.length[rows]).tolist():
            digest[piece] = digest[piece][skip[piece] : stop[piece]]
        return digest


def _order(count: int, seed: int | None) -> Int64Array:
    if seed is not None:
        return np.random.default_rng(seed).permutation(count).astype(np.int64)
    noise = np.frombuffer(os.urandom(8 * count), np.uint64)
    return np.argsort(noise, kind="stable").astype(np.int64)


def _cut(
    offset: Int64Array, length: Int64Array, unit: int, places: Int64Array
) -> tuple[Int64Array, Int64Array, Int64Array]:
    """Cut byte ranges at the units and move the pieces.

    Returns
    -------
    rows, offset, length : int64 arrays, shape (n_pieces,)
        The range that each piece is of, in order, and where it went.  [bytes]
    """
    first = offset // unit
    pieces = np.where(length > 0, (offset + np.maximum(length, 1) - 1) // unit - first + 1, 1)
    rows = np.repeat(np.arange(len(offset)), pieces)
    number = np.arange(len(rows)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    home = first[rows] + number
    start = np.where(number == 0, offset[rows], home * unit)
    stop = np.minimum(offset[rows] + length[rows], (home + 1) * unit)
    inside = home < len(places)  # the rest at the end stays
    target = np.where(inside, places[np.minimum(home, len(places) - 1)], home)
    size = np.where(length[rows] > 0, stop - start, 0)
    place = np.where(length[rows] > 0, target * unit + start % unit, offset[rows])
    return rows, place, size


def _frozen(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    view = column.view()
    view.flags.writeable = False
    return view
