"""A btrfs of one's own, in a file, mounted for the length of a `with`."""

import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import require_program, skip_or_fail

SIZE = 512 << 20  # sparse; btrfs refuses much less
BTRFS_IOC_SUBVOL_CREATE = 0x5000940E  # _IOW(0x94, 14, struct btrfs_ioctl_vol_args)


@contextmanager
def btrfs_mount(folder: Path) -> Iterator[Path]:
    """Make a btrfs in a file of a folder and mount it; unmount it and free the loop device, whatever happens.

    Parameters
    ----------
    folder : Path
        An existing folder, for the image and the mount point.

    Yields
    ------
    Path
        The mount point.
    """
    for program in ("mkfs.btrfs", "mount", "umount"):
        require_program(program)
    if os.geteuid() != 0:
        skip_or_fail("mounting a btrfs needs root")
    image, point = folder / "btrfs.img", folder / "btrfs"
    with image.open("wb") as file:
        file.truncate(SIZE)
    point.mkdir()
    subprocess.run(["mkfs.btrfs", "--quiet", image], check=True, capture_output=True)
    mounted = subprocess.run(
        ["mount", "-o", "loop", image, point], check=False, capture_output=True, text=True
    )
    if mounted.returncode != 0:
        skip_or_fail(f"a btrfs in a file cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield point
    finally:
        # mount's own loop device goes with the mount; detached from the tree at once, even if still in use.
        subprocess.run(["umount", "--lazy", point], check=True, capture_output=True)
        image.unlink()


def create_subvolume(path: Path) -> None:
    """Create an empty subvolume, without starting a program for each of hundreds."""
    parent = os.open(path.parent, os.O_RDONLY)
    try:
        # Python takes more than 1024 bytes only where the kernel could write into them.
        argument = bytearray(struct.pack("q4088s", 0, os.fsencode(path.name)))
        fcntl.ioctl(parent, BTRFS_IOC_SUBVOL_CREATE, argument)
    finally:
        os.close(parent)
