"""One source file of a trace, decompressed while it is read."""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from snapsim.errors import TraceError
from snapsim.traces.compression import (
    DECOMPRESSION_ERRORS,
    compression,
    decompressed,
    decompression_error,
    plain_name,
)

Progress = Callable[[int, int], None]

_HEAD = 1 << 16
_CHUNK = 1 << 24
_LONGEST_LINE = 1 << 26
_BOM = b"\xef\xbb\xbf"


class Source:
    """A file that a reader reads, whatever compression it is in.

    Parameters
    ----------
    path : path
        The file.

    Attributes
    ----------
    path : Path
        Where it is.
    name : str
        Base name, for messages.
    plain_name : str
        Base name without a compression ending.
    size : int
        Size on disk.  [bytes]
    done : int
        How much of `size` was read.  [bytes]
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.name = self.path.name
        self.plain_name = plain_name(self.name)
        try:
            status = self.path.stat()
        except OSError as error:
            msg = f"{self.path} cannot be read: {error.strerror}"
            raise TraceError(msg) from error
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISBLK(status.st_mode)):
            msg = f"{self.path} is not a file: traces are read more than once, so save a pipe's output first"
            raise TraceError(msg)
        self.size = status.st_size
        self.done = 0

    def __repr__(self) -> str:
        """Show the path."""
        return f"Source({str(self.path)!r})"

    @contextmanager
    def binary(self) -> Iterator["Stream"]:
        """Open the decompressed contents; `read(n)` returns less than n bytes only at the end."""
        try:
            file = self.path.open("rb")
        except OSError as error:
            msg = f"{self.path} cannot be read: {error.strerror}"
            raise TraceError(msg) from error
        with file:
            self.done = 0
            yield Stream(self, file)

    def head(self, size: int = _HEAD) -> bytes:
        """Return the first decompressed bytes; that a file is cut off after them is not noticed."""
        with self.binary() as stream:
            return stream.read(size)

    def chunks(self, size: int = _CHUNK) -> Iterator[tuple[int, bytes]]:
        """Yield the text in chunks of whole lines, each with the 1-based number of its first line.

        The last chunk may lack the final line end.  A byte-order mark is removed.

        Raises
        ------
        TraceError
            The file is cut off, corrupt, or has a line of more than 64 MiB.
        """
        first = 1
        with self.binary() as stream:
            while text := stream.read(size):
                if first == 1:
                    text = text.removeprefix(_BOM)
                if not text.endswith(b"\n"):
                    text += stream.read_line(_LONGEST_LINE)
                    if len(text) > _LONGEST_LINE and b"\n" not in text[-_LONGEST_LINE:]:
                        msg = f"{self.name}, line {first}: longer than 64 MiB, so this is not a text file"
                        raise TraceError(msg)
                yield first, text
                first += count_lines(text)

    def lines(self) -> Iterator[tuple[int, str]]:
        """Yield (1-based line number, line without its end); bytes that are not UTF-8 are replaced."""
        for first, chunk in self.chunks(1 << 20):
            text = chunk.decode("utf-8", "replace")
            for number, line in enumerate(text.removesuffix("\n").split("\n"), start=first):
                yield number, line.removesuffix("\r")


def count_lines(text: bytes | memoryview) -> int:
    """Return the number of line ends (for short lines several times faster than bytes.count)."""
    return int(np.count_nonzero(np.frombuffer(text, np.uint8) == ord("\n")))


class Stream:
    """Decompressed bytes of an open source; counts how much of the file was read."""

    def __init__(self, source: Source, file: BinaryIO) -> None:
        self._source = source
        self._file = file
        self._compressed = compression(file.read(8)) is not None
        file.seek(0)
        self._stream = decompressed(file)

    def read(self, size: int) -> bytes:
        """Return the next `size` bytes, or fewer at the end."""
        parts = []
        with self._explained():
            while size > 0 and (part := self._stream.read(size)):
                parts.append(part)
                size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read_line(self, limit: int) -> bytes:
        """Return what is left of a line with its end, or its next `limit` bytes."""
        with self._explained():
            return self._stream.readline(limit)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except DECOMPRESSION_ERRORS as error:
            if not self._compressed:
                msg = f"{self._source.path} cannot be read: {error}"
                raise TraceError(msg) from error
            raise decompression_error(self._source.name, error) from error
        self._source.done = self._file.tell()
