"""Read which clusters a qcow2 file holds itself: its L1 and L2 tables, nothing else.

The format is QEMU's docs/interop/qcow2.txt.  Host offsets are read too: while a snapshot holds a cluster,
what is written goes to another one, so that two states of one image differ exactly where their offsets do.
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from snapsim.errors import TraceError
from snapsim.types import Int64Array

__all__ = [
    "ABSENT",
    "DATA",
    "ZERO",
    "Header",
    "State",
    "Table",
    "pieces",
    "read_header",
    "read_states",
    "runs",
]

ABSENT, ZERO, DATA = 0, 1, 2
"""What a cluster or subcluster of a layer is: not there (the layer below shows), zero, or data."""

Kinds = npt.NDArray[np.uint8]

_HEADER = struct.Struct(">4sIQIIQIIQQIIQ")
_SNAPSHOT = struct.Struct(">QIHHIIQII")
_OFFSET_MASK = 0x00FFFFFFFFFFFE00
_COPIED, _COMPRESSED, _ZERO = 1 << 63, 1 << 62, 1
_EXTENDED_L2 = 1 << 4
_CORRUPT = 1 << 1
_SUBCLUSTERS = 32
_NANOSECONDS = 10**9


class Table(NamedTuple):
    """Where an L1 table is, and the disk that it describes.

    Attributes
    ----------
    offset : int
        In the file.  [bytes]
    entries : int
        Of the L1 table.
    size : int
        Of the disk.  [bytes]
    """

    offset: int
    entries: int
    size: int


class State(NamedTuple):
    """An internal snapshot.

    Attributes
    ----------
    name : str
        Its name.
    time_ns : int
        When it was taken, since the Unix epoch.  [ns]
    table : Table
        What it shows.
    """

    name: str
    time_ns: int
    table: Table


class Header(NamedTuple):
    """What has to be known of a qcow2 file to read its tables.

    Attributes
    ----------
    cluster_size, unit : int
        Size of a cluster, and of what is mapped on its own: a subcluster where there are some.  [bytes]
    active : Table
        What the guest sees now.
    snapshots, snapshots_offset : int
        How many internal snapshots there are, and where their table is.
    """

    cluster_size: int
    unit: int
    active: Table
    snapshots: int
    snapshots_offset: int

    @property
    def subclusters(self) -> bool:
        """Whether L2 entries are extended ones."""
        return self.unit != self.cluster_size

    @property
    def l2_entries(self) -> int:
        """Entries of an L2 table."""
        return self.cluster_size // (16 if self.subclusters else 8)


def read_header(path: Path) -> Header:
    """Read the header of a qcow2 file.

    Parameters
    ----------
    path : Path
        The file, which nobody writes to.

    Returns
    -------
    Header
        What it says.

    Raises
    ------
    TraceError
        It is no qcow2 file, or is marked as corrupt.
    """
    with path.open("rb") as file:
        head = file.read(112)
    if len(head) < _HEADER.size or head[:4] != b"QFI\xfb":
        raise TraceError(f"{path} is no qcow2 file: it starts with {head[:4]!r}")
    fields = _HEADER.unpack_from(head)
    _, version, _, _, bits, size, _, l1_entries, l1_offset, _, _, snapshots, snapshots_offset = fields
    incompatible = struct.unpack_from(">Q", head, 72)[0] if version >= 3 and len(head) >= 80 else 0
    if version not in {2, 3} or not 9 <= bits <= 21:
        raise TraceError(f"{path} is qcow2 of version {version} with clusters of 2^{bits} bytes: unknown")
    if incompatible & _CORRUPT:
        raise TraceError(f"{path} is marked as corrupt: look at it with qemu-img check first")
    cluster = 1 << bits
    unit = cluster // _SUBCLUSTERS if incompatible & _EXTENDED_L2 else cluster
    return Header(cluster, unit, Table(l1_offset, l1_entries, size), snapshots, snapshots_offset)


def read_states(path: Path, header: Header) -> list[State]:
    """Read the table of internal snapshots.

    Parameters
    ----------
    path : Path
        The file.
    header : Header
        Its header.

    Returns
    -------
    list of State
        In the order of the table.

    Raises
    ------
    TraceError
        The table is cut off.
    """
    found, place = [], header.snapshots_offset
    with path.open("rb") as file:
        for _ in range(header.snapshots):
            fixed = _SNAPSHOT.unpack(_read(file, path, place, _SNAPSHOT.size))
            l1_offset, l1_entries, id_bytes, name_bytes, seconds, fraction, _, _, extra = fixed
            rest = _read(file, path, place + _SNAPSHOT.size, extra + id_bytes + name_bytes)
            # extra data: size of the saved memory, then size of the disk
            size = int.from_bytes(rest[8:16], "big") if extra >= 16 else header.active.size
            name = rest[extra + id_bytes :].decode(errors="replace")
            found.append(State(name, seconds * _NANOSECONDS + fraction, Table(l1_offset, l1_entries, size)))
            place += -(-(_SNAPSHOT.size + len(rest)) // 8) * 8
    return found


def pieces(path: Path, header: Header, table: Table) -> Iterator[tuple[int, Kinds, Int64Array]]:
    """Yield what a table says, one L2 table at a time.

    Parameters
    ----------
    path : Path
        The file.
    header : Header
        Its header.
    table : Table
        Which L1 table.

    Yields
    ------
    first : int
        Number of the first unit, from the beginning of the disk.
    kinds : uint8 array, shape (n_units,)
        ABSENT, ZERO or DATA.
    places : int64 array, shape (n_units,)
        The L2 entry of the unit's cluster: where data is in the file, and whether it is compressed.

    Raises
    ------
    TraceError
        A table lies outside the file.
    """
    units = header.l2_entries * (header.cluster_size // header.unit)
    total = -(-table.size // header.unit)
    with path.open("rb") as file:
        l1 = np.frombuffer(_read(file, path, table.offset, 8 * table.entries), ">u8").astype(np.uint64)
        for number in np.flatnonzero(l1 & np.uint64(_OFFSET_MASK)).tolist():
            first = number * units
            if first >= total:  # behind the disk lies saved memory
                break
            raw = _read(file, path, int(l1[number]) & _OFFSET_MASK, header.cluster_size)
            kinds, places = _decoded(raw, header)
            yield first, kinds[: total - first], places[: total - first]


def runs(first: int, chosen: npt.NDArray[np.bool_], unit: int, size: int) -> Int64Array:
    """Return where a mask is set, as extents.

    Parameters
    ----------
    first : int
        Number of the first unit.
    chosen : bool array, shape (n_units,)
        The mask.
    unit : int
        [bytes]
    size : int
        Where the disk ends.  [bytes]

    Returns
    -------
    int64 array, shape (k, 2)
        Offsets and lengths.  [bytes]

    Examples
    --------
    >>> runs(2, np.array([True, True, False, True]), 10, 55).tolist()
    [[20, 20], [50, 5]]
    """
    edges = np.flatnonzero(np.diff(chosen.astype(np.int8), prepend=0, append=0)).reshape(-1, 2)
    limits = np.minimum((edges.astype(np.int64) + first) * unit, size)
    return np.column_stack((limits[:, 0], limits[:, 1] - limits[:, 0]))


def _decoded(raw: bytes, header: Header) -> tuple[Kinds, Int64Array]:
    words = np.frombuffer(raw, ">u8").astype(np.uint64)
    entry = words[::2] if header.subclusters else words
    there = (entry & np.uint64(_OFFSET_MASK | _COPIED | _COMPRESSED)) != 0
    compressed = (entry & np.uint64(_COMPRESSED)) != 0
    places = (entry & np.uint64(_OFFSET_MASK | _COMPRESSED)).astype(np.int64)
    places[compressed] = (entry[compressed] & ~np.uint64(_COPIED)).astype(np.int64)
    if not header.subclusters:
        zero = ~compressed & ((entry & np.uint64(_ZERO)) != 0)
        return np.where(zero, ZERO, np.where(there, DATA, ABSENT)).astype(np.uint8), places
    bits = np.arange(_SUBCLUSTERS, dtype=np.uint64)
    bitmap = words[1::2, np.newaxis]
    data = ((bitmap >> bits) & np.uint64(1)) != 0
    zeroes = ((bitmap >> (bits + np.uint64(_SUBCLUSTERS))) & np.uint64(1)) != 0
    data |= compressed[:, np.newaxis]
    kinds = np.where(data, DATA, np.where(zeroes, ZERO, ABSENT)).astype(np.uint8)
    return kinds.ravel(), np.repeat(places, _SUBCLUSTERS)


def _read(file: BinaryIO, path: Path, offset: int, length: int) -> bytes:
    if offset + length > os.fstat(file.fileno()).st_size:
        raise TraceError(f"{path} is damaged or still written to: a table at byte {offset} lies outside it")
    file.seek(offset)
    return file.read(length)
