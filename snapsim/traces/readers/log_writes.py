"""The log of dm-log-writes and of QEMU's blklogwrites: writes with their data, in order, without times.

A superblock in the first sector, then entries of one sector each, followed by their data.  Little endian.
Source: the kernel's Documentation/admin-guide/device-mapper/log-writes.rst.
"""

import secrets
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from snapsim.errors import RefusedFileError, UsageError
from snapsim.traces.fingerprints import SCHEME, fingerprints
from snapsim.traces.readers.base import OUT_OF_RANGE, Options, Raw, Reader, ReadLog, choice
from snapsim.traces.source import Source, Stream
from snapsim.types import DISCARD, FLUSH, WRITE
from snapsim.units import format_duration, parse_duration

MARK, EMPTY = 254, 255
"""Kinds of entries that are no requests."""

Take = Callable[[int, bytes], object]

_SUPERBLOCK = struct.Struct("<QQQI")
_MAGIC, _VERSION = 0x6A736677736872, 1
_ENTRY = struct.Struct("<QQQQ")
_FLUSH, _FUA, _DISCARD, _MARK, _METADATA = (1 << bit for bit in range(5))
_KNOWN_FLAGS = _FLUSH | _FUA | _DISCARD | _MARK | _METADATA
_BATCH = 1 << 16
_PIECE = 1 << 20  # bytes of data held at a time; a multiple of BLOCK, so that no block's data is cut


class Layout(NamedTuple):
    """What the superblock says: the sector size in bytes, and how many entries are whole."""

    sector: int
    entries: int


class Entry(NamedTuple):
    """One entry of a log.

    Attributes
    ----------
    number : int
        From 1.
    kind : int
        An op code, `MARK` or `EMPTY`.
    offset, length : int
        0 for what has none.  [bytes]
    mark : str
        The text of a mark.
    """

    number: int
    kind: int
    offset: int = 0
    length: int = 0
    mark: str = ""


class LogWrites(Reader):
    """Reader of write logs."""

    name = "log-writes"
    title = "dm-log-writes and QEMU blklogwrites: writes in order, without times"
    extensions = (".logwrites", ".blklog")
    options: ClassVar[Mapping[str, str]] = {
        "interval": 'made-up time from one entry to the next, as the log has none ("1ms" unless said)',
        "contents": "yes: keep fingerprints of what was written (no unless said)",
        "key": "file with the secret of the fingerprints, as hexadecimal digits; one that nobody learns "
        "unless said",
        "beyond": "yes: read on behind the entries that the superblock vouches for, after a crash "
        "(no unless said)",
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
        printer = _printer(options, log)
        beyond = choice(options, "beyond", "no", ("yes", "no")) == "yes"
        with source.binary() as stream:
            batch: list[Entry] = []
            digests: list[bytes] = []
            for entry in entries(stream, superblock(stream, source.name), log, take=printer, beyond=beyond):
                if entry.kind in (MARK, EMPTY):
                    continue
                batch.append(entry)
                if printer is not None:
                    digests.append(printer.collect())
                if len(batch) == _BATCH:
                    yield _raw(batch, digests if printer is not None else None, interval)
                    batch, digests = [], []
            yield _raw(batch, digests if printer is not None else None, interval)


READERS = (LogWrites(),)


def superblock(stream: Stream, name: str) -> Layout:
    """Read the superblock, and leave the stream at the first entry.

    Parameters
    ----------
    stream : Stream
        At its start.
    name : str
        Of the file, for messages.

    Returns
    -------
    Layout
        What it says.

    Raises
    ------
    RefusedFileError
        It is no superblock of a write log.
    """
    head = stream.read(_SUPERBLOCK.size)
    magic, version, count, sector = (
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
    _data(stream, 0, sector - _SUPERBLOCK.size, None)
    return Layout(sector, count)


def entries(
    stream: Stream, layout: Layout, log: ReadLog, *, take: Take | None = None, beyond: bool = False
) -> Iterator[Entry]:
    """Read the entries of a log, in bounded memory.

    Parameters
    ----------
    stream : Stream
        At the first entry.
    layout : Layout
        What the superblock says.
    log : ReadLog
        Gets what is damaged, and after it nothing is read.
    take : callable or None
        Called with (offset, data) for the data of a write, cut at multiples of 1 MiB of the disk's addresses,
        before the write is yielded; the last calls are for a write that is not, when the log is cut off.
    beyond : bool
        Whether to go on behind the entries that the superblock vouches for, as long as there are more.

    Yields
    ------
    Entry
        In the order of the log.
    """
    sector, vouched = layout
    number = 0
    while (number < vouched or beyond) and (head := stream.read(sector)):
        if number >= vouched and not any(head):  # a device that the log does not fill holds zeroes there
            break
        number += 1
        if len(head) < _ENTRY.size:
            log.drop(number, "entry", f"cut off after {len(head)} bytes")
            return
        first, count, flags, text = _ENTRY.unpack_from(head)
        if flags & ~_KNOWN_FLAGS:
            # without the flags nobody knows whether data follow, so nothing behind this entry can be found
            log.drop(number, "flags", f"0x{flags:x} are not flags of a write log; what follows is lost")
            return
        offset, length = _bytes(first, sector), _bytes(count, sector)
        if flags & _MARK:
            log.skip(1, "mark")
            mark = head[_ENTRY.size : _ENTRY.size + text].decode("utf-8", "replace")
            yield Entry(number, MARK, mark=mark.rstrip("\0"))
        elif count == 0:
            if not flags & _FLUSH:
                log.skip(1, "empty entry")
            yield Entry(number, FLUSH if flags & _FLUSH else EMPTY)
        elif flags & _DISCARD:
            yield Entry(number, DISCARD, offset, length)
        elif missing := _data(stream, offset, count * sector, take if offset >= 0 else None):
            log.drop(
                number, "data", f"{missing} of its {count * sector} bytes are missing: the log is cut off"
            )
            return
        else:
            yield Entry(number, WRITE, offset, length)
    _tell_the_end(stream, layout, number, log, beyond=beyond)


def read_key(path: Path) -> bytes:
    """Read the secret of a recording's fingerprints.

    Parameters
    ----------
    path : Path
        A file with hexadecimal digits.

    Returns
    -------
    bytes
        At most 64 of them.

    Raises
    ------
    UsageError
        There is no such file, or it holds something else.
    """
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise UsageError(f"{path} is no key: it should hold hexadecimal digits") from error
    if not 1 <= len(key) <= 64:
        raise UsageError(f"{path} is no key: it holds {len(key)} bytes, and 1 to 64 make a key")
    return key


class _Printer:
    """Makes the fingerprints of one write after another, without keeping its data."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._parts: list[bytes] = []

    def __call__(self, offset: int, data: bytes) -> None:
        self._parts.append(fingerprints(data, offset, self._key))

    def collect(self) -> bytes:
        """Return the fingerprints since the last call."""
        whole = b"".join(self._parts)
        self._parts.clear()
        return whole


def _printer(options: Options, log: ReadLog) -> _Printer | None:
    key = options.get("key")
    if choice(options, "contents", "no", ("yes", "no")) == "no":
        if key is not None:
            raise UsageError("option key is of use with contents=yes only")
        return None
    log.set_contents(SCHEME)
    if key is None:
        log.note("the key of the fingerprints was thrown away: they can be compared within this trace only")
    return _Printer(secrets.token_bytes(32) if key is None else read_key(Path(str(key))))


def _bytes(sectors: int, sector: int) -> int:
    return sectors * sector if sectors * sector < 2**63 else OUT_OF_RANGE


def _tell_the_end(stream: Stream, layout: Layout, number: int, log: ReadLog, *, beyond: bool) -> None:
    sector, vouched = layout
    if number < vouched:
        log.note(f"the superblock promises {vouched} entries, and the log has {number}")
    elif number > vouched:
        log.note(f"{number - vouched} entries are read that the superblock does not vouch for")
    elif not beyond and any(stream.read(sector)):
        log.note(
            f"the log goes on behind the {vouched} entries that its superblock vouches for: they are left out"
        )


def _data(stream: Stream, offset: int, size: int, take: Take | None) -> int:
    """Read `size` bytes in pieces, and hand them on; return how many of them are missing."""
    while size:
        wanted = min(size, _PIECE - offset % _PIECE)
        piece = stream.read(wanted)
        if take is not None and piece:
            take(offset, piece)
        size -= len(piece)
        offset += len(piece)
        if len(piece) < wanted:
            break
    return size


def _raw(batch: list[Entry], digests: list[bytes] | None, interval: int) -> Raw:
    columns = np.array([entry[:4] for entry in batch], np.int64).reshape(-1, 4)
    number, op, offset, length = columns.T
    digest: npt.NDArray[Any] | None = None
    if digests is not None:
        digest = np.empty(len(digests), object)
        digest[:] = digests
    return Raw(
        (number - 1) * interval,
        op.astype(np.uint8),
        offset.copy(),
        length.copy(),
        number.copy(),
        digest=digest,
    )
