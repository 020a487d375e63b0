"""A change trace of one file in btrfs snapshots: the file system compares its trees, no data is read.

`btrfs send --no-data` names the extents that differ, and more than that: what is left of an extent of which a
part was cut off, for one.  What lies at the same place on the disk in both snapshots is the same, because the
older one still holds that place.  Nor does it tell a hole that was punched from data that was written: the
newer snapshot does, since the file can be asked where its holes are.
"""

import errno
import fcntl
import os
import re
import stat
import struct
import subprocess
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from snapsim.errors import RecordingError, TraceError, UsageError
from snapsim.recording.physical_extents import Places, physical_extents, same_places
from snapsim.traces.change_files.base import ChangeFile
from snapsim.traces.change_files.reading import to_grain
from snapsim.traces.changes import Changed, ChangeTrace
from snapsim.traces.extents import Extents, complement, intersection, union
from snapsim.types import Int64Array

__all__ = ["parse_dump", "read_btrfs"]

_INFO = struct.Struct("=Q256sQQQQ16s16s16sQQQQ QI4x QI4x QI4x QI4x 64x")  # btrfs_ioctl_get_subvol_info_args
_GET_SUBVOL_INFO = 2 << 30 | _INFO.size << 16 | 0x94 << 8 | 60
_FLAGS, _OTIME = 5, 15  # places of the fields
_READ_ONLY = 1
_SECOND = 10**9
_ROOT = " (btrfs send needs root)"
_LINE = re.compile(r"(?P<what>[a-z_]+)\s+(?P<path>(?:\\.|[^\s\\])+)(?P<rest>.*)", re.DOTALL)
_ESCAPED = re.compile(r"\\([0-7]{3}|.)", re.DOTALL)
_LETTERS = {"a": "\a", "b": "\b", "e": "\x1b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_EXTENTS = ("update_extent", "write", "clone", "fallocate", "encoded_write")
_DATA = "What btrfs rewrote without changing it (defragmentation, deduplication) counts as written."
_HOLES = "Space that is reserved and not written counts as a hole."


class _Snapshot(NamedTuple):
    """A snapshot, and the file in it."""

    path: Path
    time_ns: int
    inode: int
    size: int
    block: int
    data: Extents
    places: Places


def read_btrfs(file: Path | str, snapshots: Sequence[Path | str]) -> ChangeTrace:
    """Make a change trace of a file that several read-only snapshots of one subvolume hold.

    Parameters
    ----------
    file : path
        Of the file, from the root of each snapshot.
    snapshots : sequence of path
        At least two; they are put in the order in which they were taken.

    Returns
    -------
    ChangeTrace
        At the grain of the file system's sectors, with what the first snapshot holds.

    Raises
    ------
    UsageError
        There are fewer than two snapshots, or one is no read-only snapshot.
    RecordingError
        btrfs is missing or may not be used (it needs root), or it failed.
    TraceError
        The file is not in a snapshot, or was replaced by another one between two.
    """
    place = Path(file)
    if place.is_absolute() or ".." in place.parts:
        raise UsageError(f"{file}: name the file from the root of the snapshots, as in images/disk.img")
    if len(snapshots) < 2:
        raise UsageError("changes are between snapshots: give at least two")
    found = sorted((_snapshot(Path(one), place) for one in snapshots), key=lambda one: one.time_ns)
    for one, other in pairwise(found):
        if one.time_ns == other.time_ns:
            raise UsageError(f"{one.path} and {other.path} were taken at the same moment: name each once")
    capacity, grain = max(one.size for one in found), found[0].block
    if not capacity:
        raise TraceError(f"{place} is empty in every snapshot")
    changes: list[Changed | None] = [None]
    changes += [_between(old, new, place, grain, capacity) for old, new in pairwise(found)]
    first = found[0].data
    return ChangeTrace.from_changes(
        [one.time_ns for one in found],
        changes,
        capacity=capacity,
        grain=grain,
        names=[one.path.name for one in found],
        initial=_pairs(first),
        format="btrfs",
        source=str(place),
        notes=(_DATA, _HOLES),
    )


def parse_dump(text: str, file: str) -> tuple[Int64Array, bool]:
    """Return what `btrfs receive --dump` says of one file.

    Parameters
    ----------
    text : str
        What it printed for one snapshot.
    file : str
        From the root of the snapshot.

    Returns
    -------
    extents : int64 array, shape (k, 2)
        Offsets and lengths of what differs; holes, too.  [bytes]
    replaced : bool
        Whether what has the name now is another file than the one that had it before.

    Raises
    ------
    TraceError
        A line cannot be read; the message names it.
    """
    extents, root = [], ""
    names: set[str] = set()  # of the file that had the name before, while the stream moves it about
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise TraceError(f"btrfs receive --dump, line {number}: {line!r:.80} cannot be read")
        what, path, rest = match["what"], _plain(match["path"]), match["rest"]
        found = re.search(r"\bdest=((?:\\.|[^\s\\])+)", rest)
        other = _plain(found[1]) if found else ""
        if what in ("snapshot", "subvol"):
            root, names = path, {f"{path}/{file}"}
        elif what == "rename":
            names = {_moved(name, path, other) for name in names - {other}}
        elif what == "link" and f"{root}/{other}" in names:
            names.add(path)
        elif what == "unlink":
            names.discard(path)
        elif path in names and what in _EXTENTS:
            values = dict(re.findall(r"\b(offset|len|unencoded_file_len)=(\d+)", rest))
            length = values.get("unencoded_file_len", values.get("len"))
            if length is None or "offset" not in values:
                raise TraceError(f"btrfs receive --dump, line {number}: {what} has no offset or no len")
            extents.append((int(values["offset"]), int(length)))
    return np.array(extents, np.int64).reshape(-1, 2), bool(root) and f"{root}/{file}" not in names


def _moved(name: str, old: str, new: str) -> str:
    """Return what a file is called after it, or a folder above it, was renamed."""
    return new + name[len(old) :] if name == old or name.startswith(f"{old}/") else name


def _plain(path: str) -> str:
    """Return a path without the escapes that --dump writes; bytes above 127 are octal there."""
    parts = _ESCAPED.sub(lambda found: _unescaped(found[1]), path)
    return parts.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def _unescaped(code: str) -> str:
    if len(code) == 3:
        value = int(code, 8)
        return chr(value) if value < 128 else chr(0xDC00 + value)
    return _LETTERS.get(code, code)


def _snapshot(path: Path, place: Path) -> _Snapshot:
    time_ns = _taken(path)
    name = path / place
    try:
        status = name.stat()
        if not stat.S_ISREG(status.st_mode):
            raise TraceError(f"{name} is no file")
        if name.resolve() != path.resolve() / place:
            raise TraceError(f"{name} is a symbolic link, or lies behind one: name the file itself")
        if status.st_nlink > 1:
            raise TraceError(
                f"{name} has {status.st_nlink} names (hard links), and changes are told under one of them: "
                "leave it one name, and take new snapshots"
            )
        with name.open("rb") as opened:
            data = _data(opened.fileno(), status.st_size)
            places = physical_extents(opened.fileno())
    except OSError as error:
        raise TraceError(f"{name} cannot be read: {error.strerror}") from error
    block = os.statvfs(path).f_bsize
    return _Snapshot(path, time_ns, status.st_ino, status.st_size, block, data, places)


def _taken(path: Path) -> int:
    """Return when a snapshot was taken; `btrfs subvolume show` prints whole seconds only."""
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise UsageError(f"{path} is no snapshot: {error.strerror}") from error
    try:
        answer = fcntl.ioctl(folder, _GET_SUBVOL_INFO, bytes(_INFO.size))
        root = os.fstat(folder).st_ino == 256
    except OSError as error:
        why = "it is not on btrfs" if error.errno in (errno.ENOTTY, errno.EOPNOTSUPP) else error.strerror
        raise UsageError(f"{path} is no snapshot: {why}") from error
    finally:
        os.close(folder)
    fields = _INFO.unpack(answer)
    if not root or not fields[_FLAGS] & _READ_ONLY:
        what = "a subvolume that can be written to" if root else "a folder inside a subvolume"
        raise UsageError(f"{path} is {what}: give snapshots made with btrfs subvolume snapshot -r")
    return int(fields[_OTIME]) * _SECOND + int(fields[_OTIME + 1])


def _data(descriptor: int, size: int) -> Extents:
    """Return where a file holds data."""
    start, end, place = [], [], 0
    while place < size:
        try:
            begin = os.lseek(descriptor, place, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole is left
                break
            raise
        place = os.lseek(descriptor, begin, os.SEEK_HOLE)
        start.append(begin)
        end.append(place)
    return union(np.array(start, np.int64), np.array(end, np.int64))


def _between(old: _Snapshot, new: _Snapshot, place: Path, grain: int, capacity: int) -> Changed:
    said, replaced = parse_dump(_dump(old.path, new.path), str(place))
    if replaced or old.inode != new.inode:
        msg = (
            f"{place} in {new.path} is another file than in {old.path} (it was renamed, copied or replaced): "
            "compare snapshots that hold the same one"
        )
        raise TraceError(msg)
    differs = union(said[:, 0], said.sum(axis=1))
    if new.size < old.size:  # what is cut off is not in the newer tree
        tail = Extents(np.append(differs.start, new.size), np.append(differs.end, old.size))
        differs = union(*tail)
    written = intersection(differs, new.data)
    written = intersection(written, complement(same_places(old.places, new.places)))
    holes = intersection(differs, complement(new.data))
    return to_grain(ChangeFile(_pairs(written), _pairs(holes)), grain, capacity)


def _dump(old: Path, new: Path) -> str:
    """Return what the file system says differs between two snapshots."""
    what = f"from {old} to {new}"
    # a stream without data is short, and a pipe between the two would break where the reader ends first
    stream = _run("send", "--quiet", "--no-data", "-p", str(old), str(new), given=b"", what=what)
    return _run("receive", "--dump", given=stream, what=what).decode("utf-8", "surrogateescape")


def _run(*arguments: str, given: bytes, what: str) -> bytes:
    try:
        done = subprocess.run(["btrfs", *arguments], input=given, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise RecordingError("the program btrfs is missing: install btrfs-progs") from error
    if done.returncode:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or [
            f"status {done.returncode}"
        ]
        root = _ROOT if os.geteuid() else ""
        raise RecordingError(f"btrfs {arguments[0]} {what} failed: {last[0]}{root}")
    return done.stdout


def _pairs(extents: Extents) -> Int64Array:
    return np.column_stack((extents.start, extents.end - extents.start))
