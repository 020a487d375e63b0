"""File systems of one's own, in a file, that are gone when the process is."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from snapsim.errors import SnapsimError
from snapsim.validation.running import need, run

__all__ = ["loop_mount"]


@contextmanager
def loop_mount(folder: Path, system: str, *, size: int, make: tuple[str, ...] = ()) -> Iterator[Path]:
    """Make a file system in a file and mount it for the length of a `with`.

    The mount is taken out of the tree of folders at once, and the file's name is removed: what keeps both is
    a descriptor of this process.  However the process ends, the kernel unmounts the file system, detaches
    the loop device and frees the file's space.

    Parameters
    ----------
    folder : Path
        An existing folder, for the file.
    system : str
        "btrfs" or "xfs": what `mkfs` and `mount` call it.
    size : int
        Of the file, which is sparse.  [bytes]
    make : tuple of str
        Options for `mkfs`.

    Yields
    ------
    Path
        The root of the file system.  Other programs may use it too.

    Raises
    ------
    SnapsimError
        A program is missing, this is not root, or the kernel does not mount it.
    """
    need(f"mkfs.{system}", "mount", "umount")
    if os.geteuid() != 0:
        raise SnapsimError(f"comparing with a real {system} needs root: it is mounted from a file")
    image, point = folder / f"{system}.img", folder / system
    point.mkdir()
    try:
        with image.open("xb") as file:
            file.truncate(size)
        run(f"mkfs.{system}", "-q", *make, str(image))
        run("mount", "-t", system, "-o", "loop,noatime", str(image), str(point))
        try:
            root = os.open(point, os.O_RDONLY | os.O_DIRECTORY)
        finally:
            run("umount", "--lazy", str(point))
    finally:
        image.unlink(missing_ok=True)
        point.rmdir()
    try:
        yield Path(f"/proc/{os.getpid()}/fd/{root}")
    finally:
        os.close(root)
