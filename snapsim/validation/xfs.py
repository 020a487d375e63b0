"""The same operations on a real XFS with reflink copies and in the block model, and what both say."""

import fcntl
import platform
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from snapsim.engine.extent_chain import ExtentChain
from snapsim.units import GIB
from snapsim.validation.comparison import Outcome, Row
from snapsim.validation.files import compare
from snapsim.validation.image_file import ImageFile, physical_extents, union_bytes
from snapsim.validation.loop import loop_mount
from snapsim.validation.operations import Operation

__all__ = ["XfsImage", "validate_xfs"]

_SIZE = 16 * GIB  # sparse
_BLOCK = 4096

# linux/fs.h
_CLONE = 0x40049409
_SET_ATTRIBUTES = 0x401C5820  # FS_IOC_FSSETXATTR
_ATTRIBUTES = struct.Struct("=LLLLL8x")  # flags, extent size, extents, project, copy-on-write extent size
_COPY_EXTENT_SIZE = 0x00010000  # FS_XFLAG_COWEXTSIZE


class XfsImage:
    """A disk image on an XFS; its snapshots are reflink copies.

    Parameters
    ----------
    root : Path
        A folder in which there is nothing else.
    capacity : int
        Size of the image.  [bytes]
    copy_extent_size : int
        What XFS reserves around a block that it is about to copy, `cowextsize`.  A block: nothing but what is
        written.  [bytes]
    """

    def __init__(self, root: Path, *, capacity: int, copy_extent_size: int = _BLOCK) -> None:
        self.root, self.copy_extent_size = root, copy_extent_size
        self._names: set[str] = {"live"}
        with self.path().open("xb") as file:
            file.truncate(capacity)
            self._limit_copies(file.fileno())

    def path(self, snapshot: int | None = None) -> Path:
        """Return the file of a snapshot, or the present one."""
        return self.root / ("live" if snapshot is None else f"snapshot{snapshot}")

    def open(self) -> ImageFile:
        """Open the image."""
        return ImageFile(self.path(), direct=False)

    def snapshot(self, number: int) -> None:
        """Make a reflink copy."""
        self._clone("live", f"snapshot{number}")

    def delete(self, number: int) -> None:
        """Remove a copy."""
        self._unlink(f"snapshot{number}")

    def revert(self, number: int) -> None:
        """Put a copy of a copy into the place of the image; remove newer ones."""
        self._clone(f"snapshot{number}", "next")
        (self.root / "next").rename(self.path())
        self._names.discard("next")
        for name in sorted(self._names - {"live"}):
            if int(name.removeprefix("snapshot")) > number:
                self._unlink(name)

    def used(self) -> int:
        """Return what the files take on the disk, what they share once.  [bytes]"""
        extents = [physical_extents(self.root / name) for name in sorted(self._names)]
        return union_bytes(np.concatenate(extents))

    def mapped(self) -> int:
        """Return the blocks of the image that are no holes.  [bytes]"""
        extents = physical_extents(self.path())
        return int((extents[:, 1] - extents[:, 0]).sum())

    def remove(self) -> None:
        """Remove the image and its snapshots."""
        for name in sorted(self._names):
            self._unlink(name)

    def _clone(self, source: str, name: str) -> None:
        self._names.add(name)
        with (self.root / source).open("rb") as given, (self.root / name).open("xb") as copy:
            fcntl.ioctl(copy, _CLONE, given.fileno())
            self._limit_copies(copy.fileno())

    def _unlink(self, name: str) -> None:
        (self.root / name).unlink()
        self._names.discard(name)

    def _limit_copies(self, descriptor: int) -> None:
        wanted = _ATTRIBUTES.pack(_COPY_EXTENT_SIZE, 0, 0, 0, self.copy_extent_size)
        fcntl.ioctl(descriptor, _SET_ATTRIBUTES, wanted)


def validate_xfs(
    sequences: Sequence[Sequence[Operation]],
    *,
    capacity: int,
    folder: Path,
    progress: Callable[[int], None] | None = None,
) -> Outcome:
    """Drive an image on a real XFS, with reflink copies for snapshots, and the block model.

    Parameters
    ----------
    sequences : sequence of sequences of Operation
        Each begins with a new, empty image.
    capacity : int
        Size of the image.  [bytes]
    folder : Path
        An existing folder, for the file that holds the file system while this runs.
    progress : callable, optional
        Called with 1 after each sequence.

    Returns
    -------
    Outcome
        After every step: disk space of the data, shared blocks once; blocks that the image refers to; what
        each deletion and each revert freed; the contents of the image and all snapshots at the end.

    Raises
    ------
    SnapsimError
        A program is missing, or failed; or this is not root.
    """
    rows: list[Row] = []
    with loop_mount(folder, "xfs", size=_SIZE, make=("-m", "reflink=1", "-b", f"size={_BLOCK}")) as root:
        for number, sequence in enumerate(sequences):
            # XFS gives back every block that nobody refers to: an extent model with extents of one block
            model = ExtentChain(capacity=capacity, block_size=_BLOCK, longest=_BLOCK)
            image = XfsImage(root, capacity=capacity)
            rows += compare(image, model, sequence, capacity=capacity, about=f"sequence {number}")
            image.remove()
            if progress is not None:
                progress(1)
    configuration = {"Linux": platform.release(), "sequences": len(sequences)}
    note = "what XFS reserves around copied blocks (cowextsize) is set to one block; it would come on top"
    return Outcome("xfs-reflink", tuple(rows), configuration, (note,))
