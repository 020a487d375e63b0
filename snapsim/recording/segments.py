"""A stream of block trace records, kept in numbered segments: all but the last compressed.

A segment is cut between records and is a file of its own that the blktrace reader reads: the numbers stand
where the numbers of processors usually do.  What was received is on its way to the disk at once, so whoever
is killed, and when, all of it can be read.
"""

import os
import struct
from pathlib import Path

import zstandard

_HEADER = struct.Struct("=I24xI14xH")  # magic number and version, action, size of the payload
_MAGIC = 0x65617407
_MARK = struct.pack("=I", _MAGIC)
_LEVEL = 3


class Segments:
    """The segments of a recording that is being made.

    Parameters
    ----------
    folder : Path
        Where they are.
    stem : str
        What their names begin with: the device's name.
    size : int
        A segment is compressed when it has this size.  [bytes]

    Attributes
    ----------
    records : int
        How many were received.
    """

    def __init__(self, folder: Path, stem: str, *, size: int) -> None:
        self._folder, self._stem, self._size = folder, stem, size
        self._number = 0
        self._written = 0
        self._packed = 0
        self._rest = b""
        self._file: int | None = None
        self.records = 0
        self._skipped = 0

    @property
    def torn(self) -> int:
        """Records that the kernel handed over before it had written them, and that are lost."""
        return -(-self._skipped // _HEADER.size)

    @property
    def kept(self) -> int:
        """What all segments take on the disk.  [bytes]"""
        return self._packed + self._written

    def add(self, data: bytes) -> None:
        """Take what was received next; records that are not whole wait for the rest.

        Parameters
        ----------
        data : bytes
            Any part of the stream.
        """
        data = self._rest + data
        whole, end = self._split(data)
        self._rest = data[end:]
        if self._file is None and whole:  # an empty file would be refused as damaged
            self._file = os.open(self._raw(), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._written += len(whole)
        view = memoryview(whole)
        while view and self._file is not None:
            view = view[os.write(self._file, view) :]
        if self._written >= self._size:
            self._pack()

    def close(self) -> None:
        """Compress what there is; a record that never became whole is forgotten."""
        self._pack()

    def _raw(self) -> Path:
        return self._folder / f"{self._stem}.blktrace.{self._number}"

    def _split(self, data: bytes) -> tuple[bytes, int]:
        """Return the whole records, and where they end; count them."""
        parts, begin, at, end = [], 0, 0, len(data)
        while end - at >= _HEADER.size:
            magic, action, payload = _HEADER.unpack_from(data, at)
            size = _HEADER.size + payload
            if magic != _MAGIC or not action:  # read while another processor was still writing it
                parts.append(data[begin:at])
                found = data.find(_MARK, at + 1)
                begin = found if found >= 0 else end - len(_MARK) + 1
                self._skipped += begin - at
                at = begin
            elif end - at < size:
                break
            else:
                at += size
                self.records += 1
        parts.append(data[begin:at])
        return b"".join(parts) if len(parts) > 1 else parts[0], at

    def _pack(self) -> None:
        if self._file is None:
            return
        os.fsync(self._file)
        os.close(self._file)
        raw = self._raw()
        packed, part = raw.with_name(f"{raw.name}.zst"), raw.with_name(f".{raw.name}.zst.part")
        with raw.open("rb") as source, part.open("wb") as target:
            zstandard.ZstdCompressor(level=_LEVEL).copy_stream(source, target)
            target.flush()
            os.fsync(target.fileno())
        part.replace(packed)
        raw.unlink()  # killed before this, both are there: the reader takes one of them
        self._packed += packed.stat().st_size
        self._file, self._written = None, 0
        self._number += 1
