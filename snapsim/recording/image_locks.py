"""Whether QEMU has an image open to write: its locks, looked at without taking any.

QEMU locks a byte of the image for each thing that it does (from byte 100 on) and for each that nobody else
may do meanwhile (from byte 200 on).  Programs that know nothing of these locks, nbdkit among them, would
serve the disk of a running guest a second time, and destroy it.

Source: QEMU, docs/system/images.rst (image locking) and block/file-posix.c.
"""

import fcntl
import os
import struct
from pathlib import Path

_WRITES = 100 + 1  # whoever holds it writes
_ALONE = 200 + 1  # whoever holds it bears no other writer
_LOCK = struct.Struct("hhqqi4x")  # struct flock: type, whence, start, length, process


def in_use(image: Path) -> bool:
    """Tell whether a QEMU program writes to an image, or relies on that nobody does.

    Parameters
    ----------
    image : Path
        The image.

    Returns
    -------
    bool
        False too where the file system knows no locks.

    Raises
    ------
    OSError
        The image cannot be opened.
    """
    with image.open("rb") as file:
        return any(_locked(file.fileno(), byte) for byte in (_WRITES, _ALONE))


def _locked(descriptor: int, byte: int) -> bool:
    wanted = _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
    try:
        found = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, wanted)
    except OSError:
        return False
    return bool(_LOCK.unpack(found)[0] != fcntl.F_UNLCK)
