"""Where a file's data lies on the disk: two snapshots that hold the same place hold the same data.

The kernel's FIEMAP (Documentation/filesystems/fiemap.rst) tells it, and needs no root.
"""

import fcntl
import struct
from typing import NamedTuple

import numpy as np

from snapsim.traces.extents import Extents, union
from snapsim.types import Int64Array

__all__ = ["Places", "physical_extents", "same_places"]

_HEAD, _EXTENT = struct.Struct("=QQIIII"), struct.Struct("=QQQ16xI12x")
_FIEMAP = 3 << 30 | _HEAD.size << 16 | ord("f") << 8 | 11
_SYNC, _LAST = 1, 1
_UNSURE = 0x0002 | 0x0004 | 0x0008 | 0x0080 | 0x0100 | 0x0200 | 0x0400 | 0x0800
"""Unknown, delayed, encoded, encrypted, not aligned, inline, packed, unwritten: the place says too little."""
_COUNT = 512


class Places(NamedTuple):
    """Extents of a file, in order of their offsets.

    Attributes
    ----------
    start, end : int64 array, shape (k,)
        In the file.  [bytes]
    shift : int64 array, shape (k,)
        What is added to get the place on the disk.  [bytes]
    """

    start: Int64Array
    end: Int64Array
    shift: Int64Array


def physical_extents(descriptor: int) -> Places:
    """Return where an open file's data lies; without extents whose place does not tell what they hold.

    Parameters
    ----------
    descriptor : int
        Of the file.

    Returns
    -------
    Places
        In order.

    Raises
    ------
    OSError
        The file system does not tell.
    """
    rows, place, more = [], 0, True
    while more:
        head = _HEAD.pack(place, (1 << 63) - 1 - place, _SYNC, 0, _COUNT, 0)
        answer = bytearray(head) + bytearray(_COUNT * _EXTENT.size)
        fcntl.ioctl(descriptor, _FIEMAP, answer)  # too large for an answer by value: it is written in place
        mapped = _HEAD.unpack_from(answer)[3]
        more = mapped > 0
        for number in range(mapped):
            logical, physical, length, flags = _EXTENT.unpack_from(answer, _HEAD.size + number * _EXTENT.size)
            place, more = logical + length, not flags & _LAST
            if not flags & _UNSURE:
                rows.append((logical, logical + length, physical - logical))
    return Places(*np.array(rows, np.int64).reshape(-1, 3).T)


def same_places(one: Places, other: Places) -> Extents:
    """Return what two files hold at the same place on the disk.

    Parameters
    ----------
    one, other : Places
        Two snapshots of a file.

    Returns
    -------
    Extents
        Of the file.
    """
    first = np.searchsorted(other.end, one.start, side="right")
    count = np.searchsorted(other.start, one.end, side="left") - first
    mine = np.repeat(np.arange(count.size), count)
    theirs = np.arange(mine.size) + np.repeat(first - np.cumsum(count) + count, count)
    equal = one.shift[mine] == other.shift[theirs]
    mine, theirs = mine[equal], theirs[equal]
    return union(
        np.maximum(one.start[mine], other.start[theirs]), np.minimum(one.end[mine], other.end[theirs])
    )
