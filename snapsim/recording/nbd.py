"""Record a QEMU guest, or any NBD client: its disk is served by nbdkit, which logs every request.

The folder of a recording holds the log (`disk.log`), what was archived of it (`disk.log.zst`), the map of
the image before the first request and the state.  At every moment they are enough to make the trace: nbdkit
writes each line at once, and the archive is never ahead of the state.
"""

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snapsim.errors import RecordingError, UsageError
from snapsim.recording import serving
from snapsim.recording.activity import Activity
from snapsim.recording.archive import ARCHIVE, Archive, Position
from snapsim.recording.folder import STATE, alone, read_state, write_state
from snapsim.recording.image_locks import in_use
from snapsim.recording.serving import SOCKET, Served
from snapsim.traces.atomic import replacing
from snapsim.traces.formats import convert_trace, open_trace
from snapsim.traces.privacy import permuted, permuted_extents, units_of

if TYPE_CHECKING:
    from snapsim.traces.trace import Trace

__all__ = ["KIND", "Finished", "NbdRecorder", "agree", "finish", "prepare"]

KIND = "nbd"
MAP = "initial-map.json"
_LONGEST_SOCKET = 107  # bytes, by the kernel
_CRAMPED = 1 << 20  # bytes
_PACKAGES = {
    "nbdkit": "nbdkit",
    "qemu-img": "qemu-utils",
    "qemu-nbd": "qemu-utils",
}


def prepare(
    image: Path,
    folder: Path,
    *,
    socket: Path | None = None,
    image_format: str | None = None,
    contents: bool = False,
    permute: int | None = None,
) -> None:
    """Make the folder of a recording, with the map of the image as it is now.

    Parameters
    ----------
    image : Path
        The disk, which no one else may write to.
    folder : Path
        What to make; usually NAME.recording.
    socket : Path, optional
        Where clients will connect; `nbd.sock` in the folder unless said.
    image_format : str, optional
        "raw", "qcow2", ...; found out unless said.
    contents : bool
        Fingerprint what is written; raw images only.
    permute : int, optional
        The unit in which `finish` will shuffle addresses, to hear now if it cannot.  [bytes]

    Raises
    ------
    UsageError
        The image or the folder cannot be used so.
    RecordingError
        A program is missing, or the image cannot be looked at.
    StoreError
        The folder cannot be written.
    """
    if not image.exists():
        msg = f"there is no image {image}"
        raise UsageError(msg)
    if folder.exists():
        msg = f"{folder} exists: take the recording up again with --resume, or choose another name"
        raise UsageError(msg)
    image, folder = image.resolve(), folder.resolve()
    socket = (socket or folder / SOCKET).absolute()
    if len(str(socket).encode()) > _LONGEST_SOCKET:
        msg = f"the socket's path, {socket}, is longer than {_LONGEST_SOCKET} bytes: choose one with --socket"
        raise UsageError(msg)
    for program in ("nbdkit", "qemu-img"):
        _need(program)
    try:
        busy = in_use(image)
    except OSError as error:
        msg = f"{image} cannot be read: {error.strerror or error}"
        raise RecordingError(msg) from None
    if busy:
        msg = f"{image} is in use: end the guest or the program that has it open, and then record it"
        raise RecordingError(msg)
    found = image_format or str(_qemu_img("info", "--output=json", str(image))["format"])
    if found != "raw":
        _need("qemu-nbd")
    if contents:
        _need_contents(image, found)
    extents = _qemu_img("map", "--output=json", "-f", found, str(image))
    if permute is not None:
        units_of(sum(int(one["length"]) for one in extents), unit=permute)
    state = {
        "kind": KIND,
        "image": str(image),
        "image_format": found,
        "socket": str(socket),
        "contents": contents,
        "started": datetime.now(UTC).isoformat(timespec="microseconds"),
        "log_bytes": 0,
        "archive_bytes": 0,
        "connected": 0,
        "over": False,
    }
    with replacing(folder) as place:
        (place / folder.name).mkdir()
        (place / folder.name / MAP).write_text(json.dumps(extents))
        write_state(place / folder.name, state)


def agree(
    folder: Path,
    *,
    image: Path,
    socket: Path | None = None,
    image_format: str | None = None,
    contents: bool = False,
) -> None:
    """Refuse to take up a recording as another one than it is.

    Parameters
    ----------
    folder : Path
        The recording.
    image : Path
        The disk.
    socket : Path, optional
        Where clients connect.
    image_format : str, optional
        "raw", "qcow2", ...
    contents : bool
        Whether fingerprints are asked for.

    Raises
    ------
    UsageError
        It is of another image, or was begun with other options.
    RecordingError
        The folder is no such recording.
    """
    state = _state(folder)
    if (found := str(image.resolve())) != state["image"]:
        msg = f"{folder} is a recording of {state['image']}, not of {found}"
        raise UsageError(msg)
    if contents and not state["contents"]:
        msg = f"{folder} was begun without --contents, and cannot have them from the middle on"
        raise UsageError(msg)
    for name, value in (("image_format", image_format), ("socket", socket and str(socket.absolute()))):
        if value is not None and value != state[name]:
            option = f"--{name.replace('_', '-')}"
            msg = f"{option} {value}: {folder} was begun with {state[name]}; resume it without {option}"
            raise UsageError(msg)


class NbdRecorder:
    """Serves an image and follows the log of what its clients ask.

    To be used within `snapsim.recording.folder.alone`.

    Parameters
    ----------
    folder : Path
        What `prepare` made.
    rotate_bytes : int
        The log is archived when so much of it waits.  [bytes]
    linger_seconds : float
        The recording is over when no client has been there for so long after the last one left.  [s]
    """

    def __init__(self, folder: Path, *, rotate_bytes: int = 64 << 20, linger_seconds: float = 10.0) -> None:
        self.folder = folder.resolve()  # by whatever name it is called, its servers are known by this one
        self._state = _state(self.folder)
        there = int(self._state["connected"])
        self.activity = Activity(connected=there, clients=there)
        self.archive = Archive(
            self.folder,
            Position(log=int(self._state["log_bytes"]), archive=int(self._state["archive_bytes"])),
            self._keep,
        )
        self.archive.wanted = not self._state["over"]
        self._rotate, self._linger = rotate_bytes, linger_seconds
        self._left: float | None = None

    @property
    def socket(self) -> Path:
        """Where clients connect."""
        return Path(self._state["socket"])

    @property
    def recording(self) -> bool:
        """Whether what is asked is still kept."""
        return self.archive.wanted

    @property
    def serving(self) -> bool:
        """Whether the image is being served."""
        return serving.alive(self.folder)

    @property
    def cramped(self) -> bool:
        """Whether the disk of the recording is all but full."""
        return shutil.disk_usage(self.folder).free < _CRAMPED

    @property
    def idle(self) -> bool:
        """Whether the last client left, and stayed away."""
        return self._left is not None and time.monotonic() - self._left >= self._linger

    def serve(self) -> bool:
        """Serve the image, if nobody does yet.

        Returns
        -------
        bool
            False where the server of an earlier recorder was still there.

        Raises
        ------
        RecordingError
            The server did not come up.
        """
        if self.serving:
            return False
        if self._state["contents"] and self.archive.begun and not (self.folder / serving.KEY).exists():
            msg = (
                f"{self.folder / serving.KEY} is gone, and what follows could not be compared with what was "
                "recorded: put it back, or make a trace of the recording with snapsim record finish"
            )
            raise RecordingError(msg)
        for _ in self.archive.news():  # what the server before this one wrote last
            pass
        self.archive.cut_torn_line()
        self.activity = Activity()
        self.archive.rotate()
        self._keep(self.archive.position)  # its clients are gone: whoever is killed next, they do not count
        serving.start(
            Served(
                image=Path(self._state["image"]),
                image_format=str(self._state["image_format"]),
                socket=self.socket,
                contents=bool(self._state["contents"]),
            ),
            self.folder,
        )
        return True

    def step(self) -> None:
        """Take in what was asked since the last step; archive when enough waits."""
        before = self.activity.connected
        for lines in self.archive.news():
            self.activity.see(lines)
        if self.activity.connected > 0 or not self.activity.clients:
            self._left = None
        elif self._left is None or before > 0:
            self._left = time.monotonic()
        if self.archive.waiting >= self._rotate:
            self.archive.rotate()

    def end_recording(self) -> None:
        """Keep nothing of what is asked from now on; the image is served all the same."""
        self.step()
        self.archive.rotate()
        self._state["over"] = True
        write_state(self.folder, self._state)
        self.archive.wanted = False

    def stop(self) -> None:
        """End the servers, and archive the rest of the log."""
        serving.stop(self.folder)
        self.step()
        self.archive.rotate()

    def _keep(self, position: Position) -> None:
        self._state |= {
            "log_bytes": position.log,
            "archive_bytes": position.archive,
            "connected": self.activity.connected,
        }
        write_state(self.folder, self._state)


@dataclass(frozen=True, kw_only=True)
class Finished:
    """What a recording became.

    Attributes
    ----------
    trace : Trace
        The stored trace.
    path : Path
        Where it is.
    initial_map : Path
        The map of the image before the first request, for `--initial`.
    key : Path or None
        The secret of the fingerprints, where there are any; nobody but the owner of the disk should have it.
    """

    trace: "Trace"
    path: Path
    initial_map: Path
    key: Path | None


def finish(
    folder: Path,
    target: Path,
    *,
    permute: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Finished:
    """Make a trace of a recording, however it ended; the recording stays as it is.

    Parameters
    ----------
    folder : Path
        The recording.
    target : Path
        The stored trace to make, NAME.parquet; the map becomes NAME.initial-map.json.
    permute : int, optional
        Shuffle the addresses in units of this, by a key that is thrown away.  [bytes]
    progress : callable, optional
        Called with (bytes done, bytes in all).

    Returns
    -------
    Finished
        The trace and what belongs to it.

    Raises
    ------
    RecordingError
        Another recorder works on it, or there is nothing in it.
    """
    folder = folder.resolve()
    with alone(folder):
        recorder = NbdRecorder(folder)
        recorder.step()
        if recorder.recording:
            recorder.archive.rotate()
        archive = folder / ARCHIVE
        if not archive.exists() or not archive.stat().st_size:
            msg = f"{folder} holds no requests: no client ever connected"
            raise RecordingError(msg)
        extents = json.loads((folder / MAP).read_text())
        # a line that is not whole is one that the disk had no room for: counted, and no reason to refuse
        options: dict[str, Any] = {"format": "nbdkit", "timezone": "UTC", "damage_limit": 1.0}
        name = target.name.removesuffix(".parquet")  # what people know it by; every log has the same name
        if permute is None:
            trace = convert_trace(archive, target, progress=progress, source=name, **options)
        else:
            raw = open_trace(archive, progress=progress, source=name, **options)
            secret = permuted(raw, unit=permute)
            secret.trace.save(target)
            trace = open_trace(target)
            extents = permuted_extents(extents, secret)
    initial = target.with_name(f"{name}.{MAP}")
    with replacing(initial.absolute()) as place:
        (place / initial.name).write_text(json.dumps(extents) + "\n")
    key = folder / serving.KEY
    return Finished(trace=trace, path=target, initial_map=initial, key=key if key.exists() else None)


def _state(folder: Path) -> dict[str, Any]:
    state = read_state(folder)
    if state["kind"] != KIND:
        msg = f"{folder / STATE} is about a recording of another kind: {state['kind']}"
        raise RecordingError(msg)
    return state


def _need(program: str) -> None:
    if shutil.which(program) is None:
        msg = f"{program} is missing: install it (Debian: apt-get install {_PACKAGES[program]})"
        raise RecordingError(msg)


def _need_contents(image: Path, image_format: str) -> None:
    if image_format != "raw":
        msg = (
            f"{image} is a {image_format} image, and contents are fingerprinted on raw ones only: "
            "convert it with qemu-img convert -O raw, or record without --contents"
        )
        raise UsageError(msg)
    plugin = ["nbdkit", "--dump-plugin", "python"]
    if subprocess.run(plugin, capture_output=True, check=False).returncode:
        msg = "nbdkit has no Python plugin here: install it (Debian: apt-get install nbdkit-plugin-python)"
        raise RecordingError(msg)


def _qemu_img(*arguments: str) -> Any:
    done = subprocess.run(["qemu-img", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        reason = said[-1].removeprefix("qemu-img: ") if said else f"status {done.returncode}"
        msg = f"qemu-img {arguments[0]} failed: {reason}"
        raise RecordingError(msg)
    return json.loads(done.stdout)
