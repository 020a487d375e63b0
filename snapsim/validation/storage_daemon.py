"""qemu-storage-daemon: block jobs on images without a virtual machine, and what they take while they run."""

import json
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from snapsim.errors import MeasurementError
from snapsim.validation.running import need

__all__ = ["StorageDaemon", "Watch"]

_PATIENCE = 30.0  # seconds for an answer
_POLL = 0.005


class Watch(Protocol):
    """Looks at files while a job changes them."""

    def __call__(self, *, last: bool) -> None:
        """Look; the job has ended where this is the last time."""


class StorageDaemon:
    """A daemon with a chain of qcow2 files open; the nodes are called layer0 (the lowest), layer1, ...

    Parameters
    ----------
    files : sequence of Path
        The chain, the lowest first.

    Raises
    ------
    MeasurementError
        The daemon does not start, or it refuses a command.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        need("qemu-storage-daemon")
        self._folder = tempfile.TemporaryDirectory(prefix="snapsim-daemon-")
        path = f"{self._folder.name}/qmp"
        command = ["qemu-storage-daemon", "--chardev", f"socket,path={path},server=on,wait=off,id=control"]
        command += ["--monitor", "chardev=control"]
        for number, file in enumerate(files):
            common = {"discard": "unmap", "cache": {"no-flush": True}}
            node = {
                "driver": "qcow2",
                "node-name": f"layer{number}",
                "discard": "unmap",
                "file": {"driver": "file", "filename": str(file), **common},
                "backing": f"layer{number - 1}" if number else None,
            }
            command += ["--blockdev", json.dumps(node)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        self._complaints: str | None = None
        try:
            self._socket = self._connect(path)
            self._lines = self._socket.makefile("r", encoding="utf-8")
            self._message()  # the greeting
            self.execute("qmp_capabilities")
        except BaseException:
            self._end()
            raise

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let the daemon close its files and end."""
        try:
            if kind is None:
                self.execute("quit")
                self._process.wait(_PATIENCE)
        finally:
            self._end()

    def execute(self, command: str, **arguments: Any) -> Any:
        """Give a command (QEMU's machine protocol).

        Parameters
        ----------
        command : str
            Its name.
        **arguments
            Underscores stand for dashes.

        Returns
        -------
        Any
            Its answer.

        Raises
        ------
        MeasurementError
            It was refused, or the daemon is gone.
        """
        request = {
            "execute": command,
            "arguments": {name.replace("_", "-"): value for name, value in arguments.items()},
        }
        with suppress(OSError):  # where the daemon is gone, reading says so
            self._socket.sendall(json.dumps(request).encode() + b"\n")
        while True:
            message = self._message()
            if "error" in message:
                raise MeasurementError(f"qemu-storage-daemon refused {command}: {message['error']['desc']}")
            if "return" in message:
                return message["return"]

    def job(self, command: str, watch: Watch | None = None, **arguments: Any) -> None:
        """Run a block job to its end.

        Parameters
        ----------
        command : str
            "block-commit" or "block-stream".
        watch : callable, optional
            Called again and again while it runs, and a last time when it has ended.
        **arguments
            Of the command.

        Raises
        ------
        MeasurementError
            The job failed.
        """
        self.execute(command, job_id="job", auto_dismiss=False, **arguments)
        completed = False
        while True:
            if watch is not None:
                watch(last=False)
            (state,) = self.execute("query-jobs")
            if state["status"] == "ready" and not completed:
                self.execute("job-complete", id="job")
                completed = True
            if state["status"] == "concluded":
                break
            time.sleep(_POLL)
        if watch is not None:
            watch(last=True)
        self.execute("job-dismiss", id="job")
        if "error" in state:
            raise MeasurementError(f"{command} failed: {state['error']}")

    def _connect(self, path: str) -> socket.socket:
        deadline = time.monotonic() + _PATIENCE
        while True:
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(_PATIENCE)
            try:
                client.connect(path)
            except OSError:
                client.close()
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise MeasurementError(f"qemu-storage-daemon did not start: {self._said()}") from None
                time.sleep(_POLL)
            else:
                return client

    def _message(self) -> dict[str, Any]:
        try:
            line = self._lines.readline()
        except OSError:
            line = ""
        if not line:
            raise MeasurementError(f"qemu-storage-daemon ended: {self._said()}")
        message: dict[str, Any] = json.loads(line)
        return message

    def _said(self) -> str:
        """End the daemon and return what it complained about."""
        if self._complaints is None:
            self._process.kill()
            self._complaints = self._process.communicate()[1].strip()
        return self._complaints or "it gave no reason"

    def _end(self) -> None:
        for name in ("_lines", "_socket"):
            if hasattr(self, name):
                getattr(self, name).close()
        self._said()
        self._folder.cleanup()
