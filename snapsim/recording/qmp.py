"""Ask a running QEMU: a monitor takes commands, whatever carries them."""

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

from snapsim.errors import RecordingError

__all__ = ["CommandRefusedError", "Monitor", "MonitorLostError", "QmpMonitor"]

_ANSWER_SECONDS = 60
_T = TypeVar("_T")


class CommandRefusedError(RecordingError):
    """QEMU was asked for something and refused.

    Attributes
    ----------
    command : str
        What it was asked.
    kind : str
        QEMU's class of the error: "GenericError", "CommandNotFound", ...
    reason : str
        QEMU's own words.
    """

    def __init__(self, command: str, kind: str, reason: str) -> None:
        super().__init__(f"QEMU refused {command}: {reason}")
        self.command, self.kind, self.reason = command, kind, reason


class MonitorLostError(RecordingError):
    """Nobody answers any more: QEMU has quit, or the connection to it is closed."""


class Monitor(Protocol):
    """Something that carries QMP commands to one QEMU."""

    def execute(self, command: str, /, **arguments: Any) -> Any:
        """Run a QMP command.

        Parameters
        ----------
        command : str
            Its name.
        **arguments
            Its arguments; `_` in a name stands for `-`.

        Returns
        -------
        Any
            What QEMU returns.

        Raises
        ------
        CommandRefusedError
            QEMU refused.
        MonitorLostError
            QEMU does not answer.
        """

    def close(self) -> None:
        """Let go of QEMU, which runs on."""


class QmpMonitor:
    """A monitor at a QMP socket of QEMU or of qemu-storage-daemon.

    Parameters
    ----------
    socket : Path
        The UNIX socket: `-qmp unix:SOCKET,server=on,wait=off`.  It serves one client at a time.

    Raises
    ------
    RecordingError
        The library `qemu.qmp` is not installed, or nobody answers at the socket.
    """

    def __init__(self, socket: Path) -> None:
        try:
            from qemu.qmp import ExecuteError, QMPClient, QMPError
        except ImportError:
            raise RecordingError(
                "recording through a QMP socket needs the library qemu.qmp: pip install 'snapsim[qemu]'"
            ) from None
        logging.getLogger("qemu.qmp").addHandler(logging.NullHandler())  # what goes wrong is raised
        self._refused: type[Any] = ExecuteError
        self._failed = (QMPError, OSError, EOFError, asyncio.IncompleteReadError)
        self._client = QMPClient("snapsim")
        self._runner = asyncio.Runner()
        try:
            self._run(self._client.connect(str(socket)))
        except TimeoutError:
            self.close()
            raise RecordingError(
                f"{socket} accepts no connection: a QMP socket serves one client at a time, and another may "
                f"hold it; give QEMU a second one (-qmp unix:OTHER,server=on,wait=off)"
            ) from None
        except self._failed as error:
            self.close()
            inner = getattr(error, "exc", error)  # what stopped the library from connecting
            why = getattr(inner, "strerror", None) or inner
            raise RecordingError(
                f"{socket} is no QMP socket that answers ({why}): name the one that QEMU was started with "
                f"(-qmp unix:SOCKET,server=on,wait=off)"
            ) from None

    def execute(self, command: str, /, **arguments: Any) -> Any:
        """Run a QMP command: see `Monitor.execute`."""
        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        try:
            return self._run(self._client.execute(command, named))
        except self._refused as error:
            inner = error.error.error
            raise CommandRefusedError(command, inner.class_, inner.desc) from None
        except TimeoutError:
            raise MonitorLostError(f"QEMU has not answered {command} for {_ANSWER_SECONDS} s") from None
        except self._failed:
            raise MonitorLostError("QEMU has quit, or closed its monitor") from None

    def close(self) -> None:
        """Let go of QEMU, which runs on."""
        with suppress(*self._failed, TimeoutError):
            self._run(self._client.disconnect())
        self._runner.close()

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        async def soon() -> _T:
            return await asyncio.wait_for(work, _ANSWER_SECONDS)

        return self._runner.run(soon())
