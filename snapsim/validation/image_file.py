"""A disk image as a plain file of a real file system; each of its sectors says which request wrote it."""

import ctypes
import fcntl
import mmap
import os
import struct
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from snapsim.errors import SnapsimError
from snapsim.validation.operations import Operation

__all__ = ["ImageFile", "Stamps"]

SECTOR = 512
BLOCK = 4096

Sectors = npt.NDArray[np.uint32]

_PUNCH_HOLE = 0x03  # FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE
_FIEMAP = 0xC020660B  # FS_IOC_FIEMAP
_FIEMAP_HEAD = struct.Struct("=QQLLLL")
_FIEMAP_EXTENT = np.dtype(
    [("logical", "u8"), ("physical", "u8"), ("length", "u8"), ("", "u8", 2), ("flags", "u4"), ("", "u4", 3)]
)
_FIEMAP_SYNC, _LAST, _NOT_ALLOCATED = 1, 1, 0x2 | 0x4  # the last: unknown place, or not yet allocated
_FIEMAP_COUNT = 512

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


class Stamps:
    """What the sectors of an image and its snapshots have to hold: the number of the request that wrote them.

    Parameters
    ----------
    capacity : int
        Of the image, in whole sectors.  [bytes]
    """

    def __init__(self, capacity: int) -> None:
        self.now: Sectors = np.zeros(capacity // SECTOR, np.uint32)
        self.kept: dict[int, Sectors] = {}
        self.requests = 0

    def request(self, operation: Operation) -> Sectors:
        """Note a request; return what its sectors hold then: zero after zeroes and discards."""
        self.requests += 1
        first, stop = operation.offset // SECTOR, (operation.offset + operation.length) // SECTOR
        self.now[first:stop] = self.requests if operation.kind == "write" else 0
        return self.now[first:stop]

    def snapshot(self, number: int) -> None:
        """Remember the present."""
        self.kept[number] = self.now.copy()

    def revert(self, number: int) -> None:
        """Return to a snapshot; forget the newer ones."""
        self.now = self.kept[number].copy()
        self.kept = {one: sectors for one, sectors in self.kept.items() if one <= number}


class ImageFile:
    """A file that is written as a virtual machine would write it: each request reaches the disk by itself.

    Parameters
    ----------
    path : Path
        The file, which exists.
    direct : bool
        Past the page cache, as with QEMU's `cache=none`; otherwise through it, flushed after each request.
    """

    def __init__(self, path: Path, *, direct: bool) -> None:
        self.direct = direct
        self._fd = os.open(path, os.O_RDWR | (os.O_DIRECT if direct else 0))

    def __enter__(self) -> Self:
        """Enter a `with`."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        os.close(self._fd)

    def request(self, operation: Operation, sectors: Sectors) -> None:
        """Carry out a request.

        Parameters
        ----------
        operation : Operation
            A write, zeroes, a discard; others do nothing.
        sectors : uint32 array
            What its sectors hold afterwards.

        Raises
        ------
        SnapsimError
            The file system refused it.
        """
        if operation.kind == "discard":
            for first, stop in _at_borders(operation.offset, operation.offset + operation.length):
                self._punch(first, stop - first)
        elif operation.kind in {"write", "zeroes"}:
            with mmap.mmap(-1, operation.length) as buffer:  # direct writes want whole pages
                words = np.frombuffer(buffer, np.uint32).reshape(-1, SECTOR // 4)
                words[:] = sectors[:, np.newaxis]
                del words
                if os.pwrite(self._fd, buffer, operation.offset) != operation.length:
                    raise SnapsimError("the file system is full: a request was written in part")
        else:
            return
        if not self.direct or operation.kind == "discard":
            os.fdatasync(self._fd)

    def _punch(self, offset: int, length: int) -> None:
        if _libc.fallocate(self._fd, _PUNCH_HOLE, offset, length):
            reason = os.strerror(ctypes.get_errno())
            raise SnapsimError(f"the file system does not punch holes: {reason}")


def _at_borders(first: int, stop: int) -> list[tuple[int, int]]:
    """Cut a range into part of a block, whole blocks, part of a block.

    Asked for all of it at once, btrfs (Linux 6.18) now and then writes a block of zeroes into a hole: behind
    the last extent it looks for one in as many blocks as the length fills, though the parts touch one more.
    """
    low, high = -(-first // BLOCK) * BLOCK, stop // BLOCK * BLOCK
    edges = sorted({first, min(low, stop), max(high, first), stop})
    return list(pairwise(edges))


def read_stamps(path: Path) -> Sectors:
    """Return what each sector of a file holds, by its first bytes; sectors are whole."""
    return np.fromfile(path, np.uint32)[:: SECTOR // 4]


def physical_extents(path: Path) -> npt.NDArray[np.int64]:
    """Return where on the disk the data of a file is.

    Parameters
    ----------
    path : Path
        The file; it is flushed first.

    Returns
    -------
    int64 array, shape (n_extents, 2)
        First byte and the one after the last.  [bytes]
    """
    found: list[npt.NDArray[np.int64]] = [np.empty((0, 2), np.int64)]
    start = 0
    with path.open("rb") as file:
        while True:
            request = bytearray(_FIEMAP_HEAD.size + _FIEMAP_COUNT * _FIEMAP_EXTENT.itemsize)
            _FIEMAP_HEAD.pack_into(
                request, 0, start, (1 << 63) - 1 - start, _FIEMAP_SYNC, 0, _FIEMAP_COUNT, 0
            )
            fcntl.ioctl(file, _FIEMAP, request)
            count = _FIEMAP_HEAD.unpack_from(request)[3]
            extents = np.frombuffer(request, _FIEMAP_EXTENT, count, _FIEMAP_HEAD.size)
            placed = extents[extents["flags"] & _NOT_ALLOCATED == 0]
            first = placed["physical"].astype(np.int64)
            found.append(np.stack([first, first + placed["length"].astype(np.int64)], axis=1))
            if not count or extents["flags"][-1] & _LAST:
                return np.concatenate(found)
            start = int(extents["logical"][-1] + extents["length"][-1])


def union_bytes(extents: npt.NDArray[np.int64]) -> int:
    """Return the bytes that extents cover together, each once.

    Parameters
    ----------
    extents : int64 array, shape (n_extents, 2)
        First byte and the one after the last, in any order.  [bytes]

    Returns
    -------
    int
        [bytes]
    """
    if not len(extents):
        return 0
    first, stop = extents[np.argsort(extents[:, 0])].T
    reached = np.concatenate(([first[0]], np.maximum.accumulate(stop)[:-1]))
    return int(np.maximum(stop - np.maximum(first, reached), 0).sum())
