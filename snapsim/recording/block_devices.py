"""Block devices of this machine, and whether the kernel lets their requests be traced."""

import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from snapsim.errors import RecordingError, UsageError

SECTOR = 512
"""Unit of sizes and places in sysfs, whatever the device's own sectors are.  [bytes]"""

SYSFS = Path("/sys")
_MOUNTS = Path("/proc/self/mounts")


@dataclass(frozen=True)
class BlockDevice:
    """A disk, a partition or a mapped device.

    Attributes
    ----------
    path : Path
        Its node in /dev.
    name : str
        What the kernel calls it.
    number : tuple of (int, int)
        Its major and minor number.
    capacity : int
        Its size.  [bytes]
    start : int
        Where a partition begins on its disk; 0 for others.  [bytes]
    queues : bool
        Whether it has request queues of its own; a device without (device-mapper, md) only passes on what it
        gets, and nothing is ever sent to it.
    """

    path: Path
    name: str
    number: tuple[int, int]
    capacity: int
    start: int
    queues: bool


def find(path: Path) -> BlockDevice:
    """Look at a block device.

    Parameters
    ----------
    path : Path
        Its node, or a link to it.

    Returns
    -------
    BlockDevice
        What the kernel says of it.

    Raises
    ------
    UsageError
        There is none.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise UsageError(f"{path} cannot be looked at: {error.strerror or error}") from None
    if not stat.S_ISBLK(status.st_mode):
        raise UsageError(
            f"{path} is no block device: name one, like /dev/vda; images are recorded with snapsim record nbd"
        )
    return described(path.resolve(), (os.major(status.st_rdev), os.minor(status.st_rdev)))


def described(path: Path, number: tuple[int, int], *, sysfs: Path = SYSFS) -> BlockDevice:
    """Read what sysfs has about a device.

    Parameters
    ----------
    path : Path
        Its node.
    number : tuple of (int, int)
        Its major and minor number.
    sysfs : Path
        Where sysfs is mounted.

    Returns
    -------
    BlockDevice
        The device.

    Raises
    ------
    UsageError
        The kernel does not know it.
    """
    place = _place(number, sysfs)
    if not place.is_dir():
        raise UsageError(f"{path} has no device behind it: the kernel knows no {number[0]}:{number[1]}")
    partition = (place / "partition").exists()
    disk = place.parent if partition else place
    return BlockDevice(
        path=path,
        name=place.name,
        number=number,
        capacity=int((place / "size").read_text()) * SECTOR,
        start=int((place / "start").read_text()) * SECTOR if partition else 0,
        queues=(disk / "mq").is_dir() and any((disk / "mq").iterdir()),
    )


def _place(number: tuple[int, int], sysfs: Path) -> Path:
    return (sysfs / "dev" / "block" / f"{number[0]}:{number[1]}").resolve()


def carries(device: BlockDevice, path: Path, *, sysfs: Path = SYSFS) -> bool:
    """Tell whether what is written to a file or folder ends up on a device.

    Parameters
    ----------
    device : BlockDevice
        The device; its disk counts if it is a partition.
    path : Path
        An existing file or folder.
    sysfs : Path
        Where sysfs is mounted.

    Returns
    -------
    bool
        False, too, where the file system does not say which device it is on.
    """
    number = path.stat().st_dev
    wanted = {_place(device.number, sysfs)}
    seen: set[Path] = set()
    waiting = [_place((os.major(number), os.minor(number)), sysfs)]
    while waiting:
        place = waiting.pop()
        if place in wanted:
            return True
        if place in seen or not place.is_dir():
            continue
        seen.add(place)
        if (place / "partition").exists():
            waiting.append(place.parent)
        slaves = place / "slaves"
        waiting += [slave.resolve() for slave in slaves.iterdir()] if slaves.is_dir() else []
    return False


def debugfs_for_tracing(
    device: BlockDevice, *, sysfs: Path = SYSFS, mounts: Path = _MOUNTS, user: int | None = None
) -> Path:
    """Return where debugfs is mounted, if requests can be traced through it.

    Parameters
    ----------
    device : BlockDevice
        What shall be traced.
    sysfs, mounts : Path
        Where sysfs is, and the list of mounted file systems.
    user : int or None
        Who traces; the user of this process when None.

    Returns
    -------
    Path
        The mount point.

    Raises
    ------
    RecordingError
        The kernel, the user or a missing program stands in the way.
    """
    if shutil.which("blktrace") is None:
        raise RecordingError("blktrace is missing: install it (Debian: apt-get install blktrace)")
    place = _place(device.number, sysfs)
    if not (place / "trace").is_dir():
        raise RecordingError(
            f"the kernel cannot trace {device.path}: it was built without CONFIG_BLK_DEV_IO_TRACE"
        )
    if _traced(place):
        raise RecordingError(
            f"{device.path} is traced already, or was by a program that was killed: end it, or free the "
            f"disk with echo 0 > /sys/block/{_disk(place).name}/trace/enable"
        )
    if (os.geteuid() if user is None else user) != 0:
        raise RecordingError(f"only root may trace {device.path}: run it with sudo")
    level = _lockdown(sysfs)
    if level != "none":
        raise RecordingError(
            f"the kernel is locked down ({level}), and lets nobody read traces: Secure Boot, or the "
            "boot parameter lockdown=, does that"
        )
    for line in mounts.read_text(encoding="utf-8").splitlines():
        _, point, kind, *_ = line.split()
        if kind == "debugfs":
            return Path(point.replace("\\040", " "))
    raise RecordingError("debugfs is not mounted: mount -t debugfs none /sys/kernel/debug")


def _disk(place: Path) -> Path:
    return place.parent if (place / "partition").exists() else place


def _traced(place: Path) -> bool:
    """Tell whether somebody traces a disk, which has one tracer together with its partitions."""
    try:
        return (_disk(place) / "trace" / "enable").read_text().strip() == "1"
    except OSError:
        return False


def _lockdown(sysfs: Path) -> str:
    """Return the kernel's lockdown level: `none [integrity] confidentiality` is "integrity"."""
    try:
        text = (sysfs / "kernel/security/lockdown").read_text()
    except OSError:
        return "none"
    return text.partition("[")[2].partition("]")[0] or "none"
