"""Read dirty bitmaps and allocation out of a running QEMU, through a read-only NBD export of its own."""

import json
import os
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np

from snapsim.errors import RecordingError
from snapsim.recording.qmp import CommandRefusedError, Monitor, MonitorLostError
from snapsim.types import Int64Array

__all__ = ["Export", "ServerBusyError", "exported", "recordings_exported", "socket_of", "withdraw"]

_PREFIX = "snapsim-"
_GONE_SECONDS = 10.0


class ServerBusyError(RecordingError):
    """Another tool runs QEMU's NBD server, of which there is only one."""


class Export(NamedTuple):
    """A node, exported.

    Attributes
    ----------
    server : Path
        The UNIX socket.
    name : str
        The export's name.
    """

    server: Path
    name: str

    def dirty(self, bitmap: str) -> Int64Array:
        """Return what a dirty bitmap marks.

        Parameters
        ----------
        bitmap : str
            Its name.

        Returns
        -------
        ndarray of int64, shape (k, 2)
            Offsets and lengths, ascending.  [bytes]

        Raises
        ------
        RecordingError
            qemu-img is missing, or cannot read it.
        """
        context = f"qemu:dirty-bitmap:{bitmap}"
        if shutil.which("nbdinfo"):  # asks for many extents at a time: some forty times faster than qemu-img
            address = f"nbd+unix:///{quote(self.name)}?socket={quote(str(self.server))}"
            pieces = _ask("nbdinfo", f"--map={context}", "--json", address)
            return _extents([(one["offset"], one["length"]) for one in pieces if one["type"] & 1])
        # qemu-img shows a dirty piece as one without data: the first bit of both contexts has the same place
        return _extents([(one["start"], one["length"]) for one in self._map(context) if not one["data"]])

    def allocated(self) -> Int64Array:
        """Return what the image holds, its backing files included.

        Returns
        -------
        ndarray of int64, shape (k, 2)
            Offsets and lengths, ascending.  [bytes]

        Raises
        ------
        RecordingError
            qemu-img is missing, or cannot read it.
        """
        return _extents([(one["start"], one["length"]) for one in self._map() if one["data"]])

    def _map(self, context: str = "") -> list[dict[str, Any]]:
        path = str(self.server).replace(",", ",,")
        parts = ["driver=nbd", "server.type=unix", f"server.path={path}", f"export={self.name}"]
        parts += [f"x-dirty-bitmap={context}"] if context else []
        return _ask("qemu-img", "map", "--output=json", "--image-opts", ",".join(parts))


def _ask(*line: str) -> list[dict[str, Any]]:
    try:
        done = subprocess.run(
            line, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is the recorder's
        )  # fmt: skip
    except FileNotFoundError:
        raise RecordingError(
            "bitmaps are read with the program qemu-img: install the package qemu-utils"
        ) from None
    if done.returncode:
        raise RecordingError(f"{line[0]} cannot read the export of QEMU: {done.stderr.strip()}")
    return list(json.loads(done.stdout))


def _extents(pieces: Sequence[tuple[int, int]]) -> Int64Array:
    """Return pieces as an array, those that touch joined."""
    chosen = np.array(pieces, np.int64).reshape(-1, 2)
    starts, ends = chosen[:, 0], chosen.sum(axis=1)
    first = np.r_[True, starts[1:] != ends[:-1]] if len(chosen) else np.zeros(0, np.bool_)
    last = np.r_[first[1:], True] if len(chosen) else first
    return np.column_stack((starts[first], ends[last] - starts[first]))


def socket_of(recording: str, folder: Path | None = None) -> Path:
    """Return where the NBD server of a recording listens: always there, to be found after a crash.

    Parameters
    ----------
    recording : str
        The recording.
    folder : Path, optional
        A folder in which QEMU may make sockets; a private one in the folder for temporary files unless given.

    Returns
    -------
    Path
        The socket.
    """
    if folder is not None:
        return folder / f"{_PREFIX}{recording}.nbd"
    return Path(tempfile.gettempdir()) / f"{_PREFIX}{recording}" / "nbd"


@contextmanager
def exported(
    monitor: Monitor, node: str, bitmaps: Sequence[str], *, recording: str, folder: Path | None = None,
    server: Path | None = None,
) -> Iterator[Export]:  # fmt: skip
    """Export a node, read-only, for as long as it takes to read from it.

    Parameters
    ----------
    monitor : Monitor
        The QEMU.
    node : str
        The node.
    bitmaps : sequence of str
        Bitmaps of the node that can be read; none of them may be recording.
    recording : str
        Names the export.
    folder : Path, optional
        A folder in which QEMU may make sockets.
    server : Path, optional
        The socket of an NBD server that runs in this QEMU already.

    Yields
    ------
    Export
        Where to read.

    Raises
    ------
    ServerBusyError
        Another tool runs QEMU's NBD server.
    RecordingError
        QEMU cannot make the socket, or refuses the export.
    """
    place = server or socket_of(recording, folder)
    name = f"{_PREFIX}{recording}"
    if server is None:
        _serve(monitor, place, private=folder is None)
    try:
        _delete(monitor, name)  # what a recorder that was killed has left
        monitor.execute(
            "block-export-add", type="nbd", id=name, node_name=node, name=name, writable=False,
            bitmaps=list(bitmaps),
        )  # fmt: skip
        yield Export(place, name)
    finally:
        with suppress(MonitorLostError):
            _delete(monitor, name)
            if server is None:
                _stop(monitor, place, private=folder is None)


def withdraw(monitor: Monitor, recording: str, *, folder: Path | None = None) -> None:
    """Remove what a recorder that was killed has left: its export, and its server if nobody else uses it.

    Parameters
    ----------
    monitor : Monitor
        The QEMU.
    recording : str
        The recording.
    folder : Path, optional
        A folder in which QEMU may make sockets.
    """
    _delete(monitor, f"{_PREFIX}{recording}")
    place = socket_of(recording, folder)
    if _answers(place):
        _stop(monitor, place, private=folder is None)


def recordings_exported(monitor: Monitor) -> set[str]:
    """Return the recordings that have an export.

    Parameters
    ----------
    monitor : Monitor
        The QEMU.

    Returns
    -------
    set of str
        Of any recorder, at work or killed.
    """
    names = [str(one["id"]) for one in monitor.execute("query-block-exports")]
    return {name.removeprefix(_PREFIX) for name in names if name.startswith(_PREFIX)}


def _serve(monitor: Monitor, place: Path, *, private: bool) -> None:
    if private:
        _private_folder(place.parent)
    try:
        monitor.execute("nbd-server-start", addr={"type": "unix", "data": {"path": str(place)}})
    except CommandRefusedError as error:
        if "already running" in error.reason and _answers(place):
            return  # our own, left by a recorder that was killed
        if private:
            with suppress(OSError):
                place.parent.rmdir()
        if "already running" in error.reason:
            raise ServerBusyError(
                "another tool runs the NBD server of this QEMU, of which there is only one: wait until it "
                "has finished, or name its UNIX socket with --nbd-server"
            ) from None
        raise RecordingError(
            f"QEMU cannot listen at {place} ({error.reason}): name a folder in which it may make sockets "
            f"with --socket-folder"
        ) from None


def _private_folder(folder: Path) -> None:
    """Make a folder that nobody else can enter: who reaches the socket can read the disk."""
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise RecordingError(f"{folder} belongs to somebody else, or is open to others: remove it")


def _answers(place: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(place))
        except OSError:
            return False
        return True


def _stop(monitor: Monitor, place: Path, *, private: bool) -> None:
    """Stop our server, unless somebody else has begun to use it."""
    if any(one["type"] == "nbd" for one in monitor.execute("query-block-exports")):
        return
    with suppress(CommandRefusedError):
        monitor.execute("nbd-server-stop")
    with suppress(OSError):
        place.unlink(missing_ok=True)
        if private:
            place.parent.rmdir()


def _delete(monitor: Monitor, name: str) -> None:
    """Remove an export of ours, and wait until it is gone: its bitmaps are in use until then."""

    def there() -> bool:
        return any(one["id"] == name for one in monitor.execute("query-block-exports"))

    if not there():
        return
    with suppress(CommandRefusedError):  # it is going already
        monitor.execute("block-export-del", id=name, mode="hard")
    end = time.monotonic() + _GONE_SECONDS
    while there() and time.monotonic() < end:
        time.sleep(0.005)
