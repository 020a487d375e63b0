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
    while block := stream.read(_BLOCK // dtype.itemsize * dtype.itemsize):
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
        number, rest = 1, b""
        while part := stream.read(_BLOCK):
            block = rest + part
            places, numbers, used, number = self._walk(block, number, log)
            yield np.array(numbers, np.int64), self._headers(block, places), np.array(places, np.int64), block
            rest = block[used:]
        if rest:
            log.drop(number, "record", f"cut off after {len(rest)} bytes")

    def _walk(self, block: bytes, number: int, log: ReadLog) -> tuple[list[int], list[int], int, int]:
        places: list[int] = []
        numbers: list[int] = []
        place = 0
        unpack, header, last = self._size.unpack_from, self.dtype.itemsize, len(block) - self.dtype.itemsize
        while place <= last:
            if not block.startswith(self._magic, place + self._magic_at):
                found = block.find(self._magic, place + self._magic_at)
                log.drop(number, "record", f"does not begin as a record does (at byte {place} of its block)")
                number += 1
                if found < 0:
                    return places, numbers, max(last + 1, place + 1), number
                place = found - self._magic_at
                continue
            size = unpack(block, place + self._size_at)[0] + self._extra
            if size < header:
                log.drop(number, "size", f"{size} bytes, less than the record's header has")
                size = header
            elif place + size > len(block):
                break
            else:
                places.append(place)
                numbers.append(number)
            number += 1
            place += size
        return places, numbers, place, number

    def _headers(self, block: bytes, places: list[int]) -> Records:
        if not places:
            return np.zeros(0, self.dtype)
        data = np.frombuffer(block, np.uint8)
        windows = np.lib.stride_tricks.sliding_window_view(data, self.dtype.itemsize)[np.array(places)]
        return np.ascontiguousarray(windows).view(self.dtype).reshape(len(places))
