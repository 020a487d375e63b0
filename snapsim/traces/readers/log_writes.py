"""The log of dm-log-writes and of QEMU's blklogwrites: writes with their data, in order, without times.

A superblock in the first sector, then entries of one sector each, followed by their data.  Little endian.
Source: the kernel's Documentation/admin-guide/device-mapper/log-writes.rst.
"""

import struct
from collections.abc import Iterator, Mapping
from typing import ClassVar, NamedTuple

import numpy as np

from snapsim.errors import RefusedFileError
from snapsim.traces.readers.base import OUT_OF_RANGE, Options, Raw, Reader, ReadLog
from snapsim.traces.source import Source, Stream
from snapsim.types import DISCARD, FLUSH, WRITE
from snapsim.units import format_duration, parse_duration

_SUPERBLOCK = struct.Struct("<QQQI")
_MAGIC, _VERSION = 0x6A736677736872, 1
_ENTRY = struct.Struct("<QQQQ")
_FLUSH, _FUA, _DISCARD, _MARK, _METADATA = (1 << bit for bit in range(5))
_KNOWN_FLAGS = _FLUSH | _FUA | _DISCARD | _MARK | _METADATA
_BATCH = 1 << 16
_PIECE = 1 << 20


class _Entry(NamedTuple):
    number: int
    op: int
    offset: int
    length: int


class LogWrites(Reader):
    """Reader of write logs."""

    name = "log-writes"
    title = "dm-log-writes and QEMU blklogwrites: writes in order, without times"
    extensions = (".logwrites", ".blklog")
    options: ClassVar[Mapping[str, str]] = {
        "interval": 'made-up time from one entry to the next, as the log has none ("1ms" unless said)'
    }

    def sniff(self, head: bytes, name: str) -> bool:
        """Tell whether the superblock's magic number is there."""
        del name
        return len(head) >= _SUPERBLOCK.size and _SUPERBLOCK.unpack_from(head)[0] == _MAGIC

    def read(self, source: Source, log: ReadLog, options: Options) -> Iterator[Raw]:
        """Yield the writes, discards and flushes in the order of the log."""
        interval = parse_duration(options.get("interval", "1ms"))
        log.set_option("interval", format_duration(interval))
        log.note(
            f"the log has neither times nor reads: its entries are put {format_duration(interval)} apart, "
            "in their order"
        )
        with source.binary() as stream:
            sector, entries = _superblock(stream, source.name)
            batch: list[_Entry] = []
            for entry in _entries(stream, sector, entries, log):
                batch.append(entry)
                if len(batch) == _BATCH:
                    yield _raw(batch, interval)
                    batch = []
            yield _raw(batch, interval)


READERS = (LogWrites(),)


def _superblock(stream: Stream, name: str) -> tuple[int, int]:
    """Return the sector size and the number of entries; leave the stream at the first entry."""
    head = stream.read(_SUPERBLOCK.size)
    magic, version, entries, sector = (
        _SUPERBLOCK.unpack(head) if len(head) == _SUPERBLOCK.size else (0, 0, 0, 0)
    )
    if magic != _MAGIC:
        raise RefusedFileError(f"{name} is no write log: the superblock's magic number is missing")
    if version != _VERSION:
        raise RefusedFileError(
            f"{name} is a write log of version {version}, and only version {_VERSION} is known"
        )
    if sector < 512 or sector & (sector - 1):
        raise RefusedFileError(f"{name} is a write log with sectors of {sector} bytes, which no disk has")
    _skip(stream, sector - _SUPERBLOCK.size)
    return sector, entries


def _entries(stream: Stream, sector: int, entries: int, log: ReadLog) -> Iterator[_Entry]:
    number = 0
    while number < entries and (head := stream.read(sector)):
        number += 1
        if len(head) < _ENTRY.size:
            log.drop(number, "entry", f"cut off after {len(head)} bytes")
            return
        first, count, flags, _ = _ENTRY.unpack_from(head)
        if flags & ~_KNOWN_FLAGS:
            # without the flags nobody knows whether data follow, so nothing behind this entry can be found
            log.drop(number, "flags", f"0x{flags:x} are not flags of a write log; what follows is lost")
            return
        if flags & _MARK:
            log.skip(1, "mark")
        elif count == 0:
            if flags & _FLUSH:
                yield _Entry(number, FLUSH, 0, 0)
            else:
                log.skip(1, "empty entry")
        elif flags & _DISCARD:
            yield _Entry(number, DISCARD, _bytes(first, sector), _bytes(count, sector))
        elif missing := _skip(stream, count * sector):
            log.drop(
                number, "data", f"{missing} of its {count * sector} bytes are missing: the log is cut off"
            )
            return
        else:
            yield _Entry(number, WRITE, _bytes(first, sector), _bytes(count, sector))
    if number < entries:
        log.note(f"the superblock promises {entries} entries, and the log has {number}")
    elif any(stream.read(sector)):  # a device that the log does not fill holds zeroes there
        log.note(
            f"the log goes on behind the {entries} entries that its superblock vouches for: they are left out"
        )


def _bytes(sectors: int, sector: int) -> int:
    return sectors * sector if sectors * sector < 2**63 else OUT_OF_RANGE


def _skip(stream: Stream, size: int) -> int:
    """Read past `size` bytes, in pieces; return how many of them are missing."""
    while size and (piece := stream.read(min(size, _PIECE))):
        size -= len(piece)
    return size


def _raw(batch: list[_Entry], interval: int) -> Raw:
    columns = np.array(batch, np.int64).reshape(-1, len(_Entry._fields))
    number, op, offset, length = columns.T
    return Raw((number - 1) * interval, op.astype(np.uint8), offset.copy(), length.copy(), number.copy())
