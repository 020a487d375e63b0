"""Ask the QEMU of a libvirt domain, through `virsh`, and learn what libvirt calls its disks."""

import json
import os
import subprocess
import time
import xml.etree.ElementTree as ET
from pathlib import PurePosixPath
from typing import Any

from snapsim.errors import RecordingError
from snapsim.recording.qmp import CommandRefusedError, MonitorLostError

__all__ = ["VirshMonitor"]

_RESTART_SECONDS = 60


class VirshMonitor:
    """A monitor behind libvirt, which marks the domain's log as tainted by custom-monitor commands.

    Parameters
    ----------
    domain : str
        Name, number or UUID of a running domain.
    connect : str
        Where libvirt is: "qemu:///system", "qemu:///session".

    Raises
    ------
    RecordingError
        virsh is missing, libvirt is not there, or no such domain runs.
    """

    def __init__(self, domain: str, *, connect: str = "qemu:///system") -> None:
        if "://" in connect and not connect.partition("://")[2].startswith("/"):
            raise RecordingError(
                f"{connect} is on another machine: run the recorder there, since bitmaps are read from "
                f"a file that QEMU writes"
            )
        self._domain, self._connect, self._has_answered = domain, connect, False
        try:
            self.execute("query-version")
        except MonitorLostError as error:
            raise RecordingError(f"{error} (at {connect}; `virsh list` shows what runs)") from None

    def execute(self, command: str, /, **arguments: Any) -> Any:
        """Run a QMP command: see `Monitor.execute`."""
        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        said = self._virsh(
            "qemu-monitor-command", "--cmd", json.dumps({"execute": command, "arguments": named})
        )
        answer = json.loads(said)
        if "error" in answer:
            raise CommandRefusedError(command, answer["error"]["class"], answer["error"]["desc"])
        return answer["return"]

    def close(self) -> None:
        """Do nothing: every command has a connection of its own."""

    def targets(self) -> dict[str, str]:
        """Return what the guest's disks are called in the domain's XML, by the name that QEMU has for them.

        Returns
        -------
        dict of str to str
            For example {"virtio-disk0": "vda"}.

        Raises
        ------
        MonitorLostError
            The domain does not run any more.
        """
        names = {}
        for disk in ET.fromstring(self._virsh("dumpxml")).iterfind("devices/disk"):  # noqa: S314
            alias, target = disk.find("alias"), disk.find("target")
            if alias is not None and target is not None:
                names[alias.get("name", "")] = target.get("dev", "")
        return names

    def exchange_folder(self) -> str | None:
        """Return the folder in which libvirt lets this QEMU keep files, None where it is not known.

        Raises
        ------
        MonitorLostError
            The domain does not run any more.
        """
        for device in self.execute("query-chardev"):
            if device["label"] == "charmonitor" and device["filename"].startswith("unix:"):
                path = device["filename"].removeprefix("unix:").partition(",")[0]
                return str(PurePosixPath(path).parent)
        return None

    def _virsh(self, command: str, *arguments: str) -> str:
        line = ["virsh", "--quiet", "--connect", self._connect, command, "--domain", self._domain, *arguments]
        give_up = time.monotonic() + (_RESTART_SECONDS if self._has_answered else 0)
        done = _run(line)
        while "failed to connect" in done.stderr and time.monotonic() < give_up:  # libvirt is started anew
            time.sleep(0.5)
            done = _run(line)
        if done.returncode:
            told = [
                text.removeprefix("error: ") for text in done.stderr.splitlines() if text.startswith("error:")
            ]
            why = "; ".join(told) or done.stderr.strip()
            gone = any(one in why for one in ("failed to get domain", "not found", "not running"))
            raise MonitorLostError(f"the domain {self._domain} is not running" if gone else f"libvirt: {why}")
        self._has_answered = True
        return done.stdout


def _run(line: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            line, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C"}, start_new_session=True,  # Ctrl-C is the recorder's
        )  # fmt: skip
    except FileNotFoundError:
        raise RecordingError(
            "--libvirt needs the program virsh: install the package libvirt-clients"
        ) from None
