"""The same operations on a real btrfs and in the extent model, and what both say after each of them."""

import fcntl
import os
import platform
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from snapsim.engine.extent_chain import ExtentChain
from snapsim.errors import SnapsimError
from snapsim.units import GIB
from snapsim.validation.comparison import Outcome, Row
from snapsim.validation.files import compare
from snapsim.validation.image_file import ImageFile
from snapsim.validation.loop import loop_mount
from snapsim.validation.operations import Operation
from snapsim.validation.running import need, run

__all__ = ["BtrfsImage", "validate_btrfs"]

_SIZE = 64 * GIB  # sparse: large enough for block groups in which a long extent finds room in one piece
_CLEANING = 60  # seconds in which a deleted subvolume is expected to be gone

# linux/btrfs.h, linux/fs.h
_SYNC = 0x9408
_SUBVOL_CREATE, _SNAP_CREATE, _SNAP_DESTROY = 0x5000940E, 0x50009401, 0x5000940F
_SPACE_INFO = 0xC0109414
_SPACE_HEAD, _SPACE = struct.Struct("QQ"), struct.Struct("QQQ")
_DATA = 1  # BTRFS_BLOCK_GROUP_DATA
_SET_FLAGS, _NO_COW = 0x40086602, 0x00800000


class BtrfsImage:
    """A disk image in a subvolume of a btrfs, and snapshots of the subvolume.

    Parameters
    ----------
    root : Path
        The root of a btrfs in which there is nothing else.
    capacity : int
        Size of the image.  [bytes]
    in_place : bool
        With `nodatacow` (what `chattr +C` sets).
    """

    def __init__(self, root: Path, *, capacity: int, in_place: bool) -> None:
        self.root, self.capacity, self.in_place = root, capacity, in_place
        self._names: set[str] = set()
        self._create("live", None)
        descriptor = os.open(self.path(), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            if in_place:
                fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack("l", _NO_COW))
            os.ftruncate(descriptor, capacity)
        finally:
            os.close(descriptor)

    def path(self, snapshot: int | None = None) -> Path:
        """Return the image in a snapshot, or the present one."""
        return self.root / ("live" if snapshot is None else f"snapshot{snapshot}") / "disk"

    def open(self) -> ImageFile:
        """Open the image.

        A direct write to a `nodatacow` file is cut at the borders of what the kernel remembers of its
        extents; one through the page cache only where a part of it stays in place.
        """
        return ImageFile(self.path(), direct=not self.in_place)

    def snapshot(self, number: int) -> None:
        """Take a snapshot."""
        self._create(f"snapshot{number}", "live")

    def delete(self, number: int) -> None:
        """Delete a snapshot, and wait until its space is free."""
        self._destroy(f"snapshot{number}")
        self._clean()

    def revert(self, number: int) -> None:
        """Put a copy of a snapshot into the place of the subvolume; delete newer snapshots."""
        self._destroy("live")
        self._create("live", f"snapshot{number}")
        for name in sorted(self._names - {"live"}):
            if int(name.removeprefix("snapshot")) > number:
                self._destroy(name)
        self._clean()

    def used(self) -> int:
        """Return the disk space of all data extents, as `btrfs filesystem df` does.  [bytes]"""
        self._control(_SYNC)
        request = bytearray(_SPACE_HEAD.size + 16 * _SPACE.size)
        _SPACE_HEAD.pack_into(request, 0, 16, 0)
        with self._folder(self.root) as folder:
            fcntl.ioctl(folder, _SPACE_INFO, request)
        count = _SPACE_HEAD.unpack_from(request)[1]
        spaces = (_SPACE.unpack_from(request, _SPACE_HEAD.size + i * _SPACE.size) for i in range(count))
        return sum(used for flags, _, used in spaces if flags & _DATA)

    def mapped(self) -> int:
        """Return the blocks of the image that are no holes.  [bytes]"""
        return self.path().stat().st_blocks * 512

    def remove(self) -> None:
        """Delete the subvolume and its snapshots."""
        for name in sorted(self._names):
            self._destroy(name)
        self._clean()

    def _create(self, name: str, source: str | None) -> None:
        """Create an empty subvolume, or a snapshot of another."""
        self._names.add(name)
        if source is None:
            self._control(_SUBVOL_CREATE, name)
        else:
            with self._folder(self.root / source) as folder:
                self._control(_SNAP_CREATE, name, folder)

    def _destroy(self, name: str) -> None:
        self._control(_SNAP_DESTROY, name)
        self._names.discard(name)

    def _clean(self) -> None:
        """Wait until nothing is left of deleted subvolumes: a sync wakes the thread that cleans up."""
        deadline = time.monotonic() + _CLEANING
        self._control(_SYNC)
        while run("btrfs", "subvolume", "list", "-d", str(self.root)).strip():
            if time.monotonic() > deadline:
                raise SnapsimError(f"btrfs has not cleaned up a deleted snapshot in {_CLEANING} seconds")
            time.sleep(0.005)
            self._control(_SYNC)

    def _control(self, code: int, name: str | None = None, descriptor: int = 0) -> None:
        with self._folder(self.root) as folder:
            if name is None:
                fcntl.ioctl(folder, code)
            else:
                # struct btrfs_ioctl_vol_args; of this size Python takes only what can be written into
                fcntl.ioctl(folder, code, bytearray(struct.pack("q4088s", descriptor, name.encode())))

    @contextmanager
    def _folder(self, path: Path) -> Iterator[int]:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def validate_btrfs(
    sequences: Sequence[Sequence[Operation]],
    *,
    capacity: int,
    folder: Path,
    in_place: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Outcome:
    """Drive an image on a real btrfs and the extent model through the same operations.

    Parameters
    ----------
    sequences : sequence of sequences of Operation
        Each begins with a new, empty image.
    capacity : int
        Size of the image.  [bytes]
    folder : Path
        An existing folder, for the file that holds the file system while this runs.
    in_place : bool
        With `nodatacow`.
    progress : callable, optional
        Called with 1 after each sequence.

    Returns
    -------
    Outcome
        After every step: disk space of the data extents, blocks that the image refers to; what each deletion
        and each revert freed; the contents of the image and all snapshots at the end.

    Raises
    ------
    SnapsimError
        A program is missing, or failed; or this is not root.
    """
    need("btrfs")
    rows: list[Row] = []
    with loop_mount(folder, "btrfs", size=_SIZE, make=("-m", "single")) as root:
        for number, sequence in enumerate(sequences):
            model = ExtentChain(capacity=capacity, in_place=in_place)
            image = BtrfsImage(root, capacity=capacity, in_place=in_place)
            rows += compare(image, model, sequence, capacity=capacity, about=f"sequence {number}")
            image.remove()
            if progress is not None:
                progress(1)
    configuration = {
        "mode": "nodatacow" if in_place else "copy-on-write",
        "Linux": platform.release(),
        "sequences": len(sequences),
    }
    note = (
        "discards are cut at the borders of blocks: otherwise btrfs now and then writes a block of zeroes "
        "into a hole"
    )
    return Outcome("btrfs", tuple(rows), configuration, (note,))
