"""A small reader of qcow2 files: which clusters have a reference, straight from the refcount blocks.

`qemu-img check` counts the clusters of the active disk only, so that internal snapshots cannot be measured
with it.
"""

import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np

HEADER = struct.Struct(">4sIQIIQIIQQIIQ")


class Qcow2Image(NamedTuple):
    cluster_size: int
    length: int  # of the file
    referenced_clusters: int  # refcount > 0
    refcount_blocks: int
    refcount_table_clusters: int
    snapshots: int


def read_image(path):
    """Read the header and all refcount blocks of a qcow2 file that nobody has open."""
    path = Path(path)
    with path.open("rb") as file:
        head = file.read(112)
        magic, version, _, _, cluster_bits, *_ = HEADER.unpack_from(head)
        table_offset, table_clusters, snapshots, _ = HEADER.unpack_from(head)[9:]
        assert magic == b"QFI\xfb"
        assert version == 3
        (refcount_order,) = struct.unpack_from(">I", head, 96)
        assert refcount_order >= 3, "refcounts narrower than a byte are not read here"
        cluster_size = 1 << cluster_bits

        file.seek(table_offset)
        table = struct.unpack(
            f">{table_clusters * cluster_size // 8}Q", file.read(table_clusters * cluster_size)
        )
        referenced = 0
        blocks = [offset for offset in table if offset]
        width = (1 << refcount_order) // 8
        for offset in blocks:
            file.seek(offset)
            referenced += np.count_nonzero(np.frombuffer(file.read(cluster_size), f"u{width}"))
    return Qcow2Image(cluster_size, path.stat().st_size, referenced, len(blocks), table_clusters, snapshots)
