"""An image rebuilt from a log of writes that carries their data (QEMU's blklogwrites, dm-log-writes)."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from snapsim.errors import RecordingError, RefusedFileError, UsageError
from snapsim.traces.atomic import replacing
from snapsim.traces.readers.base import ReadLog
from snapsim.traces.readers.log_writes import MARK, Entry, entries, superblock
from snapsim.traces.source import Progress, Source
from snapsim.types import DISCARD, WRITE
from snapsim.units import parse_size

_PIECE = 1 << 20
_PAGE = 4096
_ZEROES = bytes(_PIECE)


@dataclass(frozen=True)
class Rebuilt:
    """What was done to rebuild an image.

    Attributes
    ----------
    image : Path
        Where it is.
    size : int
        Its length.  [bytes]
    entries : int
        Number of the last entry that is in it.
    writes, written_bytes : int
        Writes applied, and their bytes.
    discards, discarded_bytes : int
        Discards applied, and their bytes.
    notes : tuple of str
        What people should know about the log.
    """

    image: Path
    size: int
    entries: int = 0
    writes: int = 0
    written_bytes: int = 0
    discards: int = 0
    discarded_bytes: int = 0
    notes: tuple[str, ...] = ()


def rebuild(
    log: str | os.PathLike[str],
    image: str | os.PathLike[str],
    *,
    base: str | os.PathLike[str] | None = None,
    capacity: int | str | None = None,
    entry: int | None = None,
    mark: str | None = None,
    discard: str = "zeroes",
    beyond: bool = False,
    progress: Progress | None = None,
) -> Rebuilt:
    """Rebuild an image by doing again what a log of writes says.

    Parameters
    ----------
    log : path
        The log; may be compressed.
    image : path
        The raw image to make or to replace, atomically.  What is zero is left sparse.
    base : path or None
        The raw image as it was when the log began; zeroes when None.
    capacity : int, str or None
        Length of the image; that of `base`, or as far as the log goes, when None.  [bytes]
    entry : int or None
        The last entry to do, counted from 1.
    mark : str or None
        Stop at the first mark with this text; exclusive with `entry`.
    discard : str
        What a discard leaves: "zeroes", as files and most disks do, or "ignore": what was there.
    beyond : bool
        Whether to do the entries too that the superblock does not vouch for, after a crash.
    progress : callable or None
        Called with (bytes done, bytes in all) of the log.

    Returns
    -------
    Rebuilt
        What was done.

    Raises
    ------
    RefusedFileError
        `log` is no log of writes.
    RecordingError
        The log is damaged, writes beyond the capacity, or has no such entry or mark; `image` is as it was.
    UsageError
        The arguments contradict each other.
    StoreError
        `image` cannot be written.
    """
    if entry is not None and mark is not None:
        raise UsageError("entry= and mark= both say where to stop: give one of them")
    if discard not in {"zeroes", "ignore"}:
        raise UsageError(f"discard={discard!r} is unknown: choose zeroes or ignore")
    source, target = Source(log), Path(image).absolute()
    start = None if base is None else Source(base).path
    for given in (source.path, start):
        if given is not None and given.resolve() == target.resolve():
            raise UsageError(f"{image} is what the image is rebuilt from: give the new image another name")
    if start is not None:
        refuse_other_formats(start)
    size = None if capacity is None else parse_size(capacity)
    with replacing(target) as folder:
        with (folder / target.name).open("w+b") as file:
            disk = _Disk(file.fileno(), size)
            if start is not None:
                disk.copy(start)
            steps = _Steps(source, disk, entry=entry, mark=mark, zeroing=discard == "zeroes")
            steps.take(beyond=beyond, progress=progress)
            disk.finish()
        return Rebuilt(
            image=Path(image),
            size=disk.end,
            entries=steps.last,
            writes=steps.count[WRITE],
            written_bytes=steps.bytes[WRITE],
            discards=steps.count[DISCARD],
            discarded_bytes=steps.bytes[DISCARD],
            notes=tuple(steps.told.notes),
        )


def refuse_other_formats(image: Path) -> None:
    """Raise RefusedFileError unless an image can be raw."""
    with image.open("rb") as file:
        head = file.read(4)
    if head == b"QFI\xfb":
        raise RefusedFileError(
            f"{image} is qcow2, and a raw image is needed: make one with qemu-img convert -O raw"
        )


def pieces(descriptor: int, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
    """Read what is allocated of a range of a file.

    Parameters
    ----------
    descriptor : int
        Of the open file.
    start, stop : int
        Which bytes.

    Yields
    ------
    tuple of (int, bytes)
        Offset and data of at most 1 MiB, cut at its multiples; holes are left out.
    """
    while start < stop:
        try:
            start = os.lseek(descriptor, start, os.SEEK_DATA)
        except OSError:  # nothing but a hole up to the end
            return
        hole = min(os.lseek(descriptor, start, os.SEEK_HOLE), stop)
        while start < hole:
            data = os.pread(descriptor, min(hole - start, _PIECE - start % _PIECE), start)
            if not data:
                return
            yield start, data
            start += len(data)


class _Disk:
    """The image that is being made."""

    def __init__(self, descriptor: int, capacity: int | None) -> None:
        self._descriptor = descriptor
        self._capacity = capacity
        self.end = capacity or 0
        os.ftruncate(descriptor, self.end)

    def copy(self, base: Path) -> None:
        """Take the contents of another image."""
        with base.open("rb") as file:
            size = os.lseek(file.fileno(), 0, os.SEEK_END)
            if self._capacity is not None and size > self._capacity:
                raise UsageError(f"{base} has {size} bytes, which is more than the capacity {self._capacity}")
            self.reach(size, f"{base}")
            self._capacity = self._capacity or size
            for offset, data in pieces(file.fileno(), 0, size):
                self.write(offset, data)

    def write(self, offset: int, data: bytes) -> None:
        """Write; what is all zero stays or becomes no more than it has to."""
        self.reach(offset + len(data), "the log")
        if data == _ZEROES[: len(data)]:
            self.zero(offset, len(data))
            return
        written = 0
        while written < len(data):
            written += os.pwrite(self._descriptor, data[written:], offset + written)

    def zero(self, offset: int, length: int) -> None:
        """Make a range read as zeroes, without filling holes."""
        for start, data in pieces(self._descriptor, offset, min(offset + length, self.end)):
            if data != _ZEROES[: len(data)]:
                os.pwrite(self._descriptor, _ZEROES[: len(data)], start)

    def finish(self) -> None:
        """Write everything to stable storage."""
        os.fsync(self._descriptor)

    def reach(self, end: int, who: str) -> None:
        """Let the image be at least as long as this, unless its length is given."""
        if end <= self.end:
            return
        if self._capacity is not None:
            raise RecordingError(
                f"{who} reaches to byte {end}, beyond the capacity of {self._capacity} bytes"
            )
        os.ftruncate(self._descriptor, end)
        self.end = end


class _Steps:
    """The entries of a log, done one after another up to where they shall stop."""

    def __init__(
        self, source: Source, disk: _Disk, *, entry: int | None, mark: str | None, zeroing: bool
    ) -> None:
        self._source, self._disk = source, disk
        self._entry, self._mark = entry, mark
        self._zeroing = zeroing
        self.told = ReadLog(file=source.name)
        self.last = 0
        self.count: Counter[int] = Counter()
        self.bytes: Counter[int] = Counter()

    def take(self, *, beyond: bool, progress: Progress | None) -> None:
        """Do them."""
        found = self._entry == 0
        with self._source.binary() as stream:
            layout = superblock(stream, self._source.name)
            steps = entries(stream, layout, self.told, take=self._disk.write, beyond=beyond)
            while not found and (one := next(steps, None)) is not None:
                self._do(one)
                found = one.number == self._entry or (one.kind == MARK and one.mark == self._mark)
                if progress is not None:
                    progress(self._source.done, self._source.size)
        self._check(found=found)

    def _do(self, one: Entry) -> None:
        self.last = one.number
        self.count[one.kind] += 1
        self.bytes[one.kind] += one.length
        if one.kind == DISCARD:
            self._disk.reach(one.offset + one.length, self._source.name)
            if self._zeroing:
                self._disk.zero(one.offset, one.length)

    def _check(self, *, found: bool) -> None:
        name, last = self._source.name, self.last
        if self.told.drops:
            raise RecordingError(
                f"{self.told.drops[0]}; the {last} entries before it are whole: rebuild up to there with "
                f"entry={last}"
            )
        if not found and self._entry is not None:
            raise RecordingError(f"{name} has no entry {self._entry}: its last is {last}")
        if not found and self._mark is not None:
            raise RecordingError(f"{name} has no mark {self._mark!r} in its {last} entries")
