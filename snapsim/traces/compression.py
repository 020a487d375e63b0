"""Decompression by content: gzip, xz, bzip2 and zstd streams are opened as what they hold."""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from pathlib import PurePath
from typing import BinaryIO, cast

import zstandard

from snapsim.errors import TraceError

_ENDINGS = (".gz", ".xz", ".bz2", ".zst", ".zstd")
_CHUNK = 1 << 18


class _ZstdStream(io.RawIOBase):
    """Frames of a zstd file one after another; unlike the library's reader it notices a missing end."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._pending = b""
        self._input = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        while not self._pending:
            if not self._input:
                self._input = self._file.read(_CHUNK)
                if not self._input:
                    if self._frame is not None:
                        msg = "compressed file ended before the end-of-stream marker was reached"
                        raise EOFError(msg)
                    return 0
            if self._frame is None:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            self._pending = self._frame.decompress(self._input)
            self._input = b""
            if self._frame.eof:
                self._input = self._frame.unused_data
                self._frame = None
        count = min(len(view), len(self._pending))
        view[:count] = self._pending[:count]
        self._pending = self._pending[count:]
        return count


_KINDS: tuple[tuple[bytes, str, Callable[[BinaryIO], object]], ...] = (
    (b"\x1f\x8b", "gzip", lambda file: gzip.GzipFile(fileobj=file)),
    (b"\xfd7zXZ\x00", "xz", lzma.LZMAFile),
    (b"BZh", "bzip2", bz2.BZ2File),
    (b"\x28\xb5\x2f\xfd", "zstd", lambda file: io.BufferedReader(_ZstdStream(file), _CHUNK)),
)

DECOMPRESSION_ERRORS = (EOFError, OSError, lzma.LZMAError, zlib.error, zstandard.ZstdError)
"""What the decompressors raise on files that are cut off or corrupt."""


def compression(head: bytes) -> str | None:
    """Name the compression that a file's first bytes show, or None."""
    return next((name for magic, name, _ in _KINDS if head.startswith(magic)), None)


def decompressed(file: BinaryIO) -> BinaryIO:
    """Return a stream of what a file holds, decompressed when its first bytes say that it is compressed.

    Parameters
    ----------
    file : binary file
        At its start and seekable.

    Returns
    -------
    binary file
        Reading it raises one of `DECOMPRESSION_ERRORS` when the file is cut off or corrupt.
    """
    head = file.read(8)
    file.seek(0)
    for magic, _, opener in _KINDS:
        if head.startswith(magic):
            return cast("BinaryIO", opener(file))
    return file


def decompression_error(name: str, error: Exception) -> TraceError:
    """Say in one sentence that a compressed file is cut off or corrupt."""
    if isinstance(error, EOFError):
        return TraceError(f"{name} is cut off: its compressed data ends too early; copy or download it again")
    return TraceError(f"{name} cannot be decompressed: {error}; copy or download it again")


def plain_name(name: str) -> str:
    """Drop the ending that a compression adds to a file name.

    Examples
    --------
    >>> plain_name("web_0.csv.gz")
    'web_0.csv'
    """
    path = PurePath(name)
    return path.stem if path.suffix.lower() in _ENDINGS else name
