"""A real QEMU without a guest, whose disk is written by its own monitor."""

import json
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from snapsim.recording.qmp import QmpMonitor

pytest.importorskip("qemu.qmp", reason="the library qemu.qmp is missing: pip install 'snapsim[qemu]'")

MIB = 1 << 20


class Qemu:
    """One QEMU process with two QMP sockets: one for the recorder, one for the test."""

    def __init__(self, process, folder, node):
        self.process, self.folder, self.node = process, folder, node
        self.socket = folder / "qmp.sock"
        self.monitor = QmpMonitor(folder / "test.sock")

    def io(self, command, node=None):
        """Run a command of qemu-io."""
        line = f'qemu-io {node or self.node} "{command}"'
        said = self.monitor.execute("human-monitor-command", command_line=line)
        assert "rror" not in said, said

    def bitmaps(self, node=None):
        nodes = self.monitor.execute("query-named-block-nodes", flat=True)
        found = next(one for one in nodes if one["node-name"] == (node or self.node))
        return {one["name"]: one for one in found.get("dirty-bitmaps", ())}

    def exports(self):
        return self.monitor.execute("query-block-exports")

    def has_nothing_of_ours(self):
        nodes = [one["node-name"] for one in self.monitor.execute("query-named-block-nodes", flat=True)]
        left = list(Path(tempfile.gettempdir()).glob("snapsim-????????"))
        return not self.bitmaps() and not any(name.startswith("snapsim") for name in nodes) and not left

    def quit(self):
        self.process.kill()
        self.process.wait()


def image(path, size, fmt="qcow2"):
    subprocess.run(["qemu-img", "create", "-q", "-f", fmt, path, str(size)], check=True)
    return path


@contextmanager
def qemu(folder, disks, *, devices=True, extra=()):
    """Run a QEMU; `disks` are files of qcow2 images by node name."""
    line = [
        "qemu-system-x86_64",
        "-machine",
        "q35,accel=tcg",
        "-m",
        "16",
        "-nodefaults",
        "-display",
        "none",
        "-S",
    ]
    for socket in ("qmp", "test"):
        line += ["-qmp", f"unix:{folder / socket}.sock,server=on,wait=off"]
    for node, file in disks.items():
        blockdev = {
            "driver": "qcow2", "node-name": node, "discard": "unmap",
            "file": {"driver": "file", "filename": str(file), "discard": "unmap"},
        }  # fmt: skip
        line += ["-blockdev", json.dumps(blockdev)]
        if devices:
            line += ["-device", f"virtio-blk-pci,drive={node},id=vd-{node},share-rw=on"]
    with subprocess.Popen(
        [*line, *extra], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        running = None
        try:
            end = time.monotonic() + 30
            while not (folder / "test.sock").exists():
                if process.poll() is not None:
                    pytest.fail(f"QEMU does not start: {process.stderr.read()}")
                assert time.monotonic() < end
                time.sleep(0.01)
            time.sleep(0.05)
            running = Qemu(process, folder, next(iter(disks), ""))
            yield running
        finally:
            if running is not None:
                running.monitor.close()
            process.kill()
