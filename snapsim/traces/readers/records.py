"""Binary records: in blocks of a fixed size, or one after another when each says how long it is."""

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from snapsim.traces.readers.base import ReadLog
from snapsim.traces.source import Stream
from snapsim.types import Int64Array

Records = npt.NDArray[Any]

_BLOCK = 1 << 21
_LARGEST = 1 << 20


def fixed_records(stream: Stream, dtype: np.dtype[Any], log: ReadLog) -> Iterator[tuple[Int64Array, Records]]:
    """Yield records of a fixed size; a last one that is cut off is dropped.

    Parameters
    ----------
    stream : Stream
        At the first record.
    dtype : numpy dtype
        The record.
    log : ReadLog
        Takes what was dropped.

    Yields
    ------
    number : int64 array, shape (n,)
        Record numbers, from 1.
    records : structured array, shape (n,)
        The records.
    """
    number = 1
    while block := stream.read(max(_BLOCK // dtype.itemsize, 1) * dtype.itemsize):
        count, rest = divmod(len(block), dtype.itemsize)
        records = np.frombuffer(block, dtype, count)
        yield np.arange(number, number + count, dtype=np.int64), records
        number += count
        if rest:
            log.drop(number, "record", f"cut off after {rest} of {dtype.itemsize} bytes")


class SizedRecords:
    """Records that begin with a header of a fixed size, which says how much follows.

    Parameters
    ----------
    dtype : numpy dtype
        The header.
    size : struct format and int
        How the size field is packed and where it lies in the header.
    extra : int
        Bytes that the size field leaves out: those of the header when it counts only what follows.
    magic : bytes
        What every header holds at `magic_at`: how the next record is found again after damage.
    magic_at : int
        Where `magic` lies in the header.
    """

    def __init__(
        self, dtype: np.dtype[Any], *, size: tuple[str, int], extra: int = 0, magic: bytes, magic_at: int
    ) -> None:
        self.dtype = dtype
        self._size, self._size_at = struct.Struct(size[0]), size[1]
        self._extra = extra
        self._magic, self._magic_at = magic, magic_at

    def read(self, stream: Stream, log: ReadLog) -> Iterator[tuple[Int64Array, Records, Int64Array, bytes]]:
        """Yield the headers.

        Parameters
        ----------
        stream : Stream
            At the first record.
        log : ReadLog
            Takes what was dropped: bytes between records count as one, a last one that is cut off too.

        Yields
        ------
        number : int64 array, shape (n,)
            Record numbers, from 1.
        headers : structured array, shape (n,)
            The headers.
        place : int64 array, shape (n,)
            Where in `block` each begins.
        block : bytes
            What the records were read from.
        """
        number, rest, lost = 1, b"", False
        while part := stream.read(_BLOCK):
            block = rest + part
            places, wrong, used, lost = self._walk(block, lost=lost)
            # a stretch of damage has one number, as if it were a record
            place, damage = np.array(places, np.int64), np.array(wrong, np.int64)
            numbers = number + np.arange(len(place)) + np.searchsorted(damage, place)
            damaged = number + np.arange(len(damage)) + np.searchsorted(place, damage)
            log.drop_rows(damaged, "record", "does not begin as a record does")
            number += len(place) + len(damage)
            yield numbers, self._headers(block, place), place, block
            rest = block[used:]
        if rest and not lost:
            log.drop(number, "record", f"cut off after {len(rest)} bytes")

    def _walk(self, block: bytes, *, lost: bool) -> tuple[list[int], list[int], int, bool]:
        """Go from record to record; return where they are, where damage begins, how far, and if in damage."""
        places: list[int] = []
        wrong: list[int] = []
        place, last = 0, len(block) - self.dtype.itemsize
        while place <= last:
            size = self._size.unpack_from(block, place + self._size_at)[0] + self._extra
            begins = block.startswith(self._magic, place + self._magic_at)
            if not begins or not self.dtype.itemsize <= size <= _LARGEST:
                if not lost:
                    wrong.append(place)
                lost = True
                found = block.find(self._magic, place + self._magic_at + 1)
                place = max(place + 1, found - self._magic_at if found >= 0 else last + 1)
            elif place + size > len(block):
                break
            else:
                lost = False
                places.append(place)
                place += size
        return places, wrong, place, lost

    def _headers(self, block: bytes, place: Int64Array) -> Records:
        if not len(place):
            return np.zeros(0, self.dtype)
        data = np.frombuffer(block, np.uint8)
        windows = np.lib.stride_tricks.sliding_window_view(data, self.dtype.itemsize)[place]
        return np.ascontiguousarray(windows).view(self.dtype).reshape(len(place))
