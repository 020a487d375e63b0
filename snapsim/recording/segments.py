"""A stream of block trace records, kept in numbered segments: all but the last compressed.

A segment is cut between records and is a file of its own that the blktrace reader reads: the numbers stand
where the numbers of processors usually do.  What was received is on its way to the disk at once, so whoever
is killed, and when, all of it can be read.
"""

import os
import struct
import sys
from pathlib import Path

import zstandard

from snapsim.errors import RecordingError

_HEADER = 48
_MAGIC = 0x65617400
_PAYLOAD_SIZE = struct.Struct("=46xH")
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
    kept : int
        What all segments take on the disk.  [bytes]
    """

    def __init__(self, folder: Path, stem: str, *, size: int) -> None:
        self._folder, self._stem, self._size = folder, stem, size
        self._number = 0
        self._written = 0
        self._packed = 0
        self._rest = b""
        self._file: int | None = None
        self.records = 0

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

        Raises
        ------
        RecordingError
            It is no stream of records.
        """
        data = self._rest + data
        end = self._whole(data)
        self._rest = data[end:]
        if self._file is None and end:  # an empty file would be refused as damaged
            self._file = os.open(self._raw(), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        view = memoryview(data)[:end]
        while view and self._file is not None:
            view = view[os.write(self._file, view) :]
        self._written += end
        if self._written >= self._size:
            self._pack()

    def close(self) -> None:
        """Compress what there is; a record that never became whole is forgotten."""
        self._pack()

    def _raw(self) -> Path:
        return self._folder / f"{self._stem}.blktrace.{self._number}"

    def _whole(self, data: bytes) -> int:
        """Return where the last whole record ends, and count the records."""
        at, end = 0, len(data)
        while end - at >= _HEADER:
            if int.from_bytes(data[at : at + 4], sys.byteorder) & 0xFFFFFF00 != _MAGIC:
                msg = f"blktrace sent something that is no record of a block trace: {data[at : at + 48]!r}"
                raise RecordingError(msg)
            (payload,) = _PAYLOAD_SIZE.unpack_from(data, at)
            if end - at < _HEADER + payload:
                break
            at += _HEADER + payload
            self.records += 1
        return at

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
