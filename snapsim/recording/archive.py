"""A log that another process writes, moved bit by bit into a compressed archive.

The writer is never asked to stop or to reopen its file: what has been archived is cut out of the log by
punching a hole, so the log takes no more of the disk than what is not archived yet.  Whoever is killed, and
when, no line is lost or doubled: the archive is as long as the state says, and the state is replaced in one
step.
"""

import ctypes
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import zstandard

from snapsim.errors import RecordingError

LOG = "disk.log"
ARCHIVE = "disk.log.zst"

_PIECE = 1 << 20
_PUNCH_HOLE, _KEEP_SIZE = 0x02, 0x01
_PAGE = 4096


@dataclass(frozen=True, kw_only=True)
class Position:
    """How far a log has been archived.

    Attributes
    ----------
    log : int
        Bytes of the log that are in the archive, up to the end of a line.
    archive : int
        Bytes of the archive that count; what is behind them was cut off in the middle.
    """

    log: int = 0
    archive: int = 0


class Archive:
    """The log of a recording and its archive.

    Parameters
    ----------
    folder : Path
        Where both are.
    position : Position
        How far it went.
    keep : callable
        Called with each new position, to make it last before the log is cut.

    Raises
    ------
    RecordingError
        The archive is shorter than it was.
    """

    def __init__(self, folder: Path, position: Position, keep: Callable[[Position], None]) -> None:
        self.log, self.archive = folder / LOG, folder / ARCHIVE
        there = self.archive.stat().st_size if self.archive.exists() else 0
        if there < position.archive:
            msg = (
                f"{self.archive} has {there} bytes, and had {position.archive}: put it back whole, or "
                "begin a new recording"
            )
            raise RecordingError(msg)
        # a log that is shorter than what was archived of it was emptied or removed since: it begins anew
        self.position = position = replace(position, log=min(position.log, self._size()))
        self.wanted = True  # False: lines are thrown away, the disk goes on being served
        self._keep = keep
        self._seen = position.log

    @property
    def waiting(self) -> int:
        """Bytes of the log that are not archived.  [bytes]"""
        return self._size() - self.position.log

    @property
    def begun(self) -> bool:
        """Whether anything was logged."""
        return self.position.archive > 0 or self._size() > 0

    def cut_torn_line(self) -> None:
        """Cut off the line in which the log's writer was killed; to be called when `news` has no more."""
        if self._size() > self._seen:
            os.truncate(self.log, self._seen)

    def news(self) -> Iterator[bytes]:
        """Yield whole lines that were not yielded before, in pieces."""
        while lines := self._lines(self._seen):
            self._seen += len(lines)
            yield lines

    def rotate(self) -> None:
        """Archive the lines that `news` has yielded, and cut them out of the log."""
        at, end = self.position.log, self._seen
        if at == end:
            return
        if not self.wanted:
            self._advance(replace(self.position, log=end))
            return
        packer = zstandard.ZstdCompressor(level=10).compressobj()
        with self.archive.open("ab") as archive, self.log.open("rb") as log:
            archive.truncate(self.position.archive)
            log.seek(at)
            while at < end:
                piece = log.read(min(_PIECE, end - at))
                archive.write(packer.compress(piece))
                at += len(piece)
            archive.write(packer.flush())
            archive.flush()
            os.fsync(archive.fileno())
            self._advance(Position(log=end, archive=os.fstat(archive.fileno()).st_size))

    def _size(self) -> int:
        return self.log.stat().st_size if self.log.exists() else 0

    def _advance(self, position: Position) -> None:
        self.position = position
        self._keep(position)
        _cut(self.log, position.log)

    def _lines(self, start: int) -> bytes:
        """Return whole lines from a place of the log on, about a piece; nothing where there is none."""
        if not self.log.exists():
            return b""
        size = _PIECE
        with self.log.open("rb") as log:
            while True:
                log.seek(start)
                data = log.read(size)
                end = data.rfind(b"\n") + 1
                if end or len(data) < size:
                    return data[:end]
                size *= 2  # a line longer than that: the fingerprints of one long write


def _cut(log: Path, end: int) -> None:
    """Give the disk back what the log holds before `end`, where the file system can."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    if log.exists() and end >= _PAGE:
        with log.open("r+b") as file:
            libc.fallocate(file.fileno(), _PUNCH_HOLE | _KEEP_SIZE, 0, end // _PAGE * _PAGE)
