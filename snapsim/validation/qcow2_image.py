"""A small reader of qcow2 files: which clusters have a reference, and which of them are tables.

`qemu-img check` counts the clusters of the active disk only, so that internal snapshots cannot be measured
with it.  The format is QEMU's docs/interop/qcow2.txt.
"""

import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from snapsim.errors import MeasurementError
from snapsim.types import Int64Array

__all__ = ["Qcow2Image", "read_image", "table_clusters"]

_HEADER = struct.Struct(">4sIQIIQIIQQIIQ")
_SNAPSHOT = struct.Struct(">QIHHIIQII")  # then extra data, the id and the name
_OFFSET_MASK = 0x00FFFFFFFFFFFE00
_EXTENDED_L2 = 1 << 4


class Qcow2Image(NamedTuple):
    """What a qcow2 file says about itself.

    Attributes
    ----------
    cluster_size : int
        [bytes]
    length : int
        Of the file.  [bytes]
    host_bytes : int
        What the file takes on the host, holes left out.  [bytes]
    referenced_clusters : int
        Clusters with a reference count above 0.
    refcount_blocks : int
        Clusters that hold reference counts.
    refcount_table_clusters : int
        Clusters of the table that names those.
    snapshots : int
        Internal snapshots.
    """

    cluster_size: int
    length: int
    host_bytes: int
    referenced_clusters: int
    refcount_blocks: int
    refcount_table_clusters: int
    snapshots: int


class _Header(NamedTuple):
    cluster_size: int
    virtual_size: int
    l1_entries: int
    l1_offset: int
    table_offset: int
    table_clusters: int
    snapshots: int
    snapshots_offset: int
    refcount_bytes: int
    extended_l2: bool


def read_image(path: Path | str) -> Qcow2Image:
    """Read the header and all refcount blocks of a qcow2 file that nobody has open.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    Qcow2Image
        What it says.

    Raises
    ------
    MeasurementError
        It is no qcow2 file of version 3, or its reference counts are narrower than a byte.
    """
    path = Path(path)
    with path.open("rb") as file:
        header = _header(file, path)
        blocks = _refcount_blocks(file, header)
        referenced = 0
        for offset in blocks.tolist():
            file.seek(offset)
            counts = np.frombuffer(file.read(header.cluster_size), f"u{header.refcount_bytes}")
            referenced += int(np.count_nonzero(counts))
    status = path.stat()
    return Qcow2Image(
        header.cluster_size,
        status.st_size,
        status.st_blocks * 512,
        referenced,
        len(blocks),
        header.table_clusters,
        header.snapshots,
    )


def table_clusters(path: Path | str) -> Int64Array:
    """Return the clusters of a file that hold no data: header, refcounts, L1 and L2 tables, snapshot table.

    Parameters
    ----------
    path : path
        A qcow2 file that nobody has open.

    Returns
    -------
    int64 array
        Their numbers in the file, in order.

    Raises
    ------
    MeasurementError
        As for `read_image`.
    """
    path = Path(path)
    with path.open("rb") as file:
        header = _header(file, path)
        size = header.cluster_size
        tables = [(header.l1_offset, header.l1_entries), *_snapshot_tables(file, header)]
        parts = [
            np.array([0]),
            _clusters(header.table_offset, header.table_clusters * size, size),
            _refcount_blocks(file, header) // size,
        ]
        if header.snapshots:
            parts.append(_clusters(header.snapshots_offset, _snapshot_table_end(file, header), size))
        for offset, entries in tables:
            parts.append(_clusters(offset, entries * 8, size))
            parts.append(_named(file, offset, entries) // size)
    return np.unique(np.concatenate(parts).astype(np.int64))


def _header(file: BinaryIO, path: Path) -> _Header:
    head = file.read(112)
    magic = head[:4]
    if magic != b"QFI\xfb" or len(head) < 104:
        raise MeasurementError(f"{path} is no qcow2 file of version 3: it starts with {magic!r}")
    fields = _HEADER.unpack_from(head)
    _, version, _, _, cluster_bits, virtual_size, _, l1_entries, l1_offset = fields[:9]
    (incompatible,) = struct.unpack_from(">Q", head, 72)
    (refcount_order,) = struct.unpack_from(">I", head, 96)
    if version != 3 or refcount_order < 3:
        raise MeasurementError(
            f"{path} has version {version} and reference counts of {1 << refcount_order} bits: only "
            "version 3 with at least 8 bits is read here"
        )
    return _Header(
        1 << cluster_bits,
        virtual_size,
        l1_entries,
        l1_offset,
        fields[9],
        fields[10],
        fields[11],
        fields[12],
        (1 << refcount_order) // 8,
        bool(incompatible & _EXTENDED_L2),
    )


def _refcount_blocks(file: BinaryIO, header: _Header) -> Int64Array:
    return _named(file, header.table_offset, header.table_clusters * header.cluster_size // 8)


def _named(file: BinaryIO, offset: int, entries: int) -> Int64Array:
    """Return the clusters that a table of offsets names."""
    file.seek(offset)
    table = np.frombuffer(file.read(8 * entries), ">u8").astype(np.int64) & _OFFSET_MASK
    return table[table > 0]


def _clusters(offset: int, length: int, size: int) -> npt.NDArray[np.int64]:
    return np.arange(offset // size, -(-(offset + length) // size))


def _snapshots(file: BinaryIO, header: _Header) -> list[tuple[int, int, int]]:
    """Return offset and entries of each snapshot's L1 table, and where its entry ends in the table."""
    file.seek(header.snapshots_offset)
    place, found = 0, []
    for _ in range(header.snapshots):
        file.seek(header.snapshots_offset + place)
        l1_offset, l1_entries, id_bytes, name_bytes, *_, extra = _SNAPSHOT.unpack(file.read(_SNAPSHOT.size))
        end = place + _SNAPSHOT.size + extra + id_bytes + name_bytes
        found.append((l1_offset, l1_entries, end))
        place = -(-end // 8) * 8
    return found


def _snapshot_tables(file: BinaryIO, header: _Header) -> list[tuple[int, int]]:
    return [(offset, entries) for offset, entries, _ in _snapshots(file, header)]


def _snapshot_table_end(file: BinaryIO, header: _Header) -> int:
    return _snapshots(file, header)[-1][2]
