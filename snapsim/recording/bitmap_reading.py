"""Carry dirty bitmaps out of a running QEMU, in a small image that holds nothing else.

QEMU merges them into bitmaps of an image of our own, and stores those as it closes it.  Its NBD server,
through which backup tools read bitmaps, is left alone: there is one only, they may need it, and that of
Debian's QEMU 7.2 takes the guest down when a client leaves whose disk has an I/O thread.
"""

import json
import os
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from snapsim.errors import RecordingError
from snapsim.recording.dirty_bitmaps import Bitmap
from snapsim.recording.disks import Disk
from snapsim.recording.qcow2_bitmaps import bitmap_extents
from snapsim.recording.qmp import CommandRefusedError, Monitor, MonitorLostError
from snapsim.types import Int64Array

__all__ = ["allocated", "carried_out", "withdraw"]

_PREFIX = "snapsim-"


def carried_out(
    monitor: Monitor, bitmaps: Sequence[Bitmap], *, grain: int, capacity: int, folder: Path | None = None
) -> list[Int64Array]:
    """Return what bitmaps mark that do not record any more.

    Parameters
    ----------
    monitor : Monitor
        The QEMU.
    bitmaps : sequence of Bitmap
        Of one recording.
    grain : int
        What one bit stands for.  [bytes]
    capacity : int
        Size of their disk.  [bytes]
    folder : Path, optional
        A folder in which QEMU may open files; a private one in the folder for temporary files unless given.

    Returns
    -------
    list of ndarray of int64, shape (k, 2)
        For each bitmap: offsets and lengths, ascending.  [bytes]

    Raises
    ------
    RecordingError
        QEMU cannot open or fill the image, or qemu-img is missing.
    """
    recording = bitmaps[0].recording
    node, image = f"{_PREFIX}{recording}", _image_of(recording, folder)
    withdraw(monitor, recording, folder=folder)  # what a recorder that was killed has left
    try:
        _make(image, capacity, private=folder is None)
        _open(monitor, node, image)
        monitor.execute(
            "transaction",
            actions=[
                action
                for place, one in enumerate(bitmaps)
                for action in _copied(one, {"node": node, "name": str(place)}, grain)
            ],
        )
        monitor.execute("blockdev-del", node_name=node)  # stores them
        found = bitmap_extents(image)
    finally:
        withdraw(monitor, recording, folder=folder)
    names = [str(place) for place in range(len(bitmaps))]
    if not found.keys() >= set(names):  # QEMU closes it all the same, and tells nobody but its log
        raise RecordingError(f"QEMU could not store its bitmaps in {image}: there may be no room for them")
    return [found[name] for name in names]


def _copied(bitmap: Bitmap, into: dict[str, str], grain: int) -> list[dict[str, object]]:
    sources = [{"node": bitmap.node, "name": bitmap.name}]
    return [
        {"type": "block-dirty-bitmap-add", "data": {**into, "granularity": grain, "persistent": True}},
        {
            "type": "block-dirty-bitmap-merge",
            "data": {"node": into["node"], "target": into["name"], "bitmaps": sources},
        },
    ]


def withdraw(monitor: Monitor, recording: str, *, folder: Path | None = None) -> None:
    """Remove the image of a recording, where a recorder has left one.

    Parameters
    ----------
    monitor : Monitor
        The QEMU.
    recording : str
        The recording.
    folder : Path, optional
        As in `carried_out`.
    """
    with suppress(CommandRefusedError, MonitorLostError):  # mostly there is none; the file goes in any case
        monitor.execute("blockdev-del", node_name=f"{_PREFIX}{recording}")
    image = _image_of(recording, folder)
    with suppress(OSError):
        image.unlink(missing_ok=True)
        if folder is None:
            image.parent.rmdir()


def _image_of(recording: str, folder: Path | None) -> Path:
    """Return where the image of a recording is: always there, to be found after a crash."""
    name = f"{_PREFIX}{recording}"
    return (folder or Path(tempfile.gettempdir()) / name) / f"{name}.qcow2"


def _make(image: Path, capacity: int, *, private: bool) -> None:
    if private:
        image.parent.mkdir(mode=0o700, exist_ok=True)
        found = image.parent.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise RecordingError(f"{image.parent} belongs to somebody else, or is open to others: remove it")
    _qemu_img("create", "-q", "-f", "qcow2", str(image.absolute()), str(capacity))
    if not private:
        image.chmod(0o666)  # QEMU runs as another user there; it holds nothing but which blocks changed


def _open(monitor: Monitor, node: str, image: Path) -> None:
    file = {"driver": "file", "filename": str(image.absolute()), "locking": "off"}
    try:
        monitor.execute("blockdev-add", driver="qcow2", node_name=node, file=file)
    except CommandRefusedError as error:
        raise RecordingError(
            f"QEMU cannot open {image} ({error.reason}): name a folder in which it may open files with "
            f"--exchange-folder"
        ) from None


def allocated(monitor: Monitor, disk: Disk) -> Int64Array | str:
    """Return what the image of a disk holds, its backing files included.

    It is read beside QEMU, from the file: what the guest writes just then may or may not be in it.

    Parameters
    ----------
    monitor : Monitor
        The QEMU.
    disk : Disk
        The disk.

    Returns
    -------
    ndarray of int64, shape (k, 2), or str
        Offsets and lengths, ascending; or the reason why that cannot be known.  [bytes]
    """
    with suppress(CommandRefusedError):  # qemu-storage-daemon has no such monitor
        monitor.execute("human-monitor-command", command_line=f'qemu-io {disk.node} "flush"')
    try:
        kind = [] if disk.file.startswith("json:") else ["-f", disk.format]
        pieces = json.loads(_qemu_img("map", "--output=json", "--force-share", *kind, disk.file))
    except RecordingError as error:
        return str(error)
    found = [(one["start"], one["length"]) for one in pieces if one["data"]]
    if sum(one["length"] for one in pieces) != disk.capacity:
        return f"{disk.file} has not the size of the disk: QEMU may have been started in another folder"
    return np.array(found, np.int64).reshape(-1, 2)


def _qemu_img(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["qemu-img", *arguments], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is the recorder's
        )  # fmt: skip
    except FileNotFoundError:
        raise RecordingError("the program qemu-img is missing: install the package qemu-utils") from None
    if done.returncode:
        raise RecordingError(done.stderr.strip())
    return done.stdout
