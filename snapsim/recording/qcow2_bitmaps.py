"""Read the dirty bitmaps that QEMU has stored in a qcow2 image.

The layout is that of QEMU's docs/interop/qcow2.txt, "Bitmaps": a header extension says where the directory
is, an entry of the directory where a table of clusters is, and a cluster holds bits, the lowest first.
"""

import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from snapsim.errors import RecordingError
from snapsim.types import Int64Array

__all__ = ["bitmap_extents"]

_EXTENSION = 0x23852875
_OFFSET = 0x00FF_FFFF_FFFF_FE00
_ALL_ONES = 1
_IN_USE = 1


class _Entry(NamedTuple):
    """An entry of the directory."""

    table_offset: int
    table_size: int
    flags: int
    granularity_bits: int


def bitmap_extents(image: Path) -> dict[str, Int64Array]:
    """Return what the bitmaps of an image mark.

    Parameters
    ----------
    image : Path
        A qcow2 image that no program has open.

    Returns
    -------
    dict of str to ndarray of int64, shape (k, 2)
        By the bitmap's name: offsets and lengths, ascending, those that touch joined.  [bytes]

    Raises
    ------
    RecordingError
        It is no qcow2 image, or a bitmap in it was not stored whole.
    """
    with image.open("rb") as file:
        header = file.read(104)
        if len(header) < 104 or header[:4] != b"QFI\xfb":
            raise RecordingError(f"{image} is no qcow2 image with bitmaps")
        cluster_bits, capacity = struct.unpack_from(">IQ", header, 20)
        found = {}
        try:
            for name, entry in _directory(file, struct.unpack_from(">I", header, 100)[0]):
                if entry.flags & _IN_USE:
                    raise RecordingError(f"the bitmap {name} in {image} was not stored whole")
                found[name] = _extents(file, entry, 1 << cluster_bits, capacity)
        except EOFError:
            raise RecordingError(f"{image} was not stored whole") from None
    return found


def _read(file: BinaryIO, size: int) -> bytes:
    found = file.read(size)
    if len(found) < size:
        raise EOFError
    return found


def _directory(file: BinaryIO, header_length: int) -> list[tuple[str, _Entry]]:
    file.seek(header_length)
    kind = None
    while kind != _EXTENSION:
        kind, length = struct.unpack(">II", _read(file, 8))
        if kind == 0:
            return []
        data = _read(file, -(-length // 8) * 8)
    count, _, _, offset = struct.unpack_from(">IIQQ", data)
    file.seek(offset)
    entries = []
    for _ in range(count):
        head = _read(file, 24)
        table_offset, table_size, flags, _, bits, name_size, extra = struct.unpack(">QIIBBHI", head)
        file.seek(extra, 1)
        name = _read(file, name_size).decode()
        file.seek(-(24 + extra + name_size) % 8, 1)
        entries.append((name, _Entry(table_offset, table_size, flags, bits)))
    return entries


def _extents(file: BinaryIO, entry: _Entry, cluster: int, capacity: int) -> Int64Array:
    file.seek(entry.table_offset)
    table = np.frombuffer(_read(file, 8 * entry.table_size), ">u8")
    parts = [np.empty((0, 2), np.int64)]
    for place in np.flatnonzero(table).tolist():  # a cluster that is all zeroes is not stored
        value = int(table[place])
        first = place * cluster * 8
        if offset := value & _OFFSET:
            file.seek(offset)
            bits = np.unpackbits(np.frombuffer(_read(file, cluster), np.uint8), bitorder="little")
            edges = np.flatnonzero(np.diff(bits.astype(np.int8), prepend=0, append=0)).reshape(-1, 2)
        else:
            edges = np.array([[0, cluster * 8]] if value & _ALL_ONES else [], np.int64).reshape(-1, 2)
        parts.append(edges + first)
    return _joined(np.minimum(np.concatenate(parts) << entry.granularity_bits, capacity))


def _joined(edges: Int64Array) -> Int64Array:
    """Return offsets and lengths for starts and ends."""
    edges = edges[edges[:, 1] > edges[:, 0]]
    apart = np.r_[True, edges[1:, 0] != edges[:-1, 1]][: len(edges)]
    starts, ends = edges[apart, 0], edges[np.r_[apart[1:], True][: len(edges)], 1]
    return np.column_stack((starts, ends - starts))
