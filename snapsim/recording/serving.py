"""nbdkit as the recorder starts it: an image served on a socket, every request written to a log."""

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from snapsim.errors import RecordingError
from snapsim.recording import contents_plugin
from snapsim.recording.archive import LOG

SOCKET, PID, KEY = "nbd.sock", "nbdkit.pid", "contents.key"
IMAGE_SOCKET, IMAGE_PID = "image.sock", "qemu-nbd.pid"
ERRORS = "nbdkit.err"
_PATIENCE = 20.0  # seconds for a server to come up or to end
_POLL = 0.05


@dataclass(frozen=True, kw_only=True)
class Served:
    """What is served, and how.

    Attributes
    ----------
    image : Path
        The disk.
    image_format : str
        "raw", or another format of QEMU's.
    socket : Path
        Where clients connect.
    contents : bool
        Whether what is written is fingerprinted.
    """

    image: Path
    image_format: str
    socket: Path
    contents: bool


def nbdkit_command(served: Served, folder: Path) -> list[str]:
    """Return the command that serves and logs.

    Parameters
    ----------
    served : Served
        What is served.
    folder : Path
        The recording.

    Returns
    -------
    list of str
        To be run with TZ=UTC: the log filter stamps local time.
    """
    log = [f"logfile={folder / LOG}", "logappend=true"]
    common = ["nbdkit", "-U", str(served.socket), "-P", str(folder / PID)]
    if served.contents:
        plugin = str(Path(contents_plugin.__file__).resolve())
        return [*common, "python", plugin, f"file={served.image}", f"key={folder / KEY}", *log]
    if served.image_format != "raw":
        return [*common, "--filter=log", "nbd", f"socket={folder / IMAGE_SOCKET}", *log]
    return [*common, "--filter=log", "file", str(served.image), *log]


def image_command(served: Served, folder: Path) -> list[str]:
    """Return the command that opens an image which is not raw; nbdkit stands before it.

    Parameters
    ----------
    served : Served
        What is served.
    folder : Path
        The recording.

    Returns
    -------
    list of str
        `qemu-nbd` and its arguments.
    """
    return [
        *("qemu-nbd", "--fork", "--persistent", "--shared=0", f"--format={served.image_format}"),
        *("--discard=unmap", "--detect-zeroes=off", f"--socket={folder / IMAGE_SOCKET}"),
        *(f"--pid-file={folder / IMAGE_PID}", str(served.image)),
    ]


def start(served: Served, folder: Path) -> None:
    """Start serving; the servers go on when the recorder ends, because a guest's disk depends on them.

    Parameters
    ----------
    served : Served
        What is served.
    folder : Path
        The recording.

    Raises
    ------
    RecordingError
        A server did not come up; the message has its own words.
    """
    for name in (SOCKET, PID, IMAGE_SOCKET, IMAGE_PID):
        (folder / name).unlink(missing_ok=True)
    if served.socket.exists():
        if served.socket.is_socket() and not _listens(served.socket):
            served.socket.unlink()  # left by a server that was killed
        else:
            msg = f"{served.socket} is in use: choose another socket"
            raise RecordingError(msg)
    if served.image_format != "raw":
        _launch(image_command(served, folder), folder, folder / IMAGE_PID)
    try:
        _launch(nbdkit_command(served, folder), folder, folder / PID)
    except RecordingError:
        stop(folder)
        raise


def _launch(command: list[str], folder: Path, pid_file: Path) -> None:
    """Start a server that goes into the background by itself: only so nbdkit outlives who started it."""
    with (folder / ERRORS).open("w") as errors:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            env={**os.environ, "TZ": "UTC"},
            start_new_session=True,
            cwd=folder,
            check=False,
        )
    last = time.monotonic() + _PATIENCE
    while done.returncode == 0 and time.monotonic() < last:
        if _pid(pid_file) is not None:
            return
        time.sleep(_POLL)
    said = [line for line in (folder / ERRORS).read_text(errors="replace").splitlines() if line.strip()]
    reason = said[-1].strip() if said else f"it ended with status {done.returncode}"
    msg = f"{command[0]} does not serve the image: {reason}"
    raise RecordingError(msg)


def alive(folder: Path, pid_file: str = PID) -> bool:
    """Tell whether the server of a recording runs.

    Parameters
    ----------
    folder : Path
        The recording.
    pid_file : str
        Which of its servers.

    Returns
    -------
    bool
        False too where the number belongs to another process by now.
    """
    pid = _pid(folder / pid_file)
    if pid is None:
        return False
    try:
        return os.fsencode(folder) in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def stop(folder: Path) -> None:
    """End the servers of a recording, first the one that clients see.

    Parameters
    ----------
    folder : Path
        The recording.
    """
    for name in (PID, IMAGE_PID):
        pid = _pid(folder / name)
        if pid is None or not alive(folder, name):
            continue
        os.kill(pid, signal.SIGTERM)
        last = time.monotonic() + _PATIENCE
        while alive(folder, name) and time.monotonic() < last:
            time.sleep(_POLL)
    for name in (SOCKET, PID, IMAGE_SOCKET, IMAGE_PID):
        (folder / name).unlink(missing_ok=True)


def _pid(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _listens(path: Path) -> bool:
    import socket

    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True
