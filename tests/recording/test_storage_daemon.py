"""A disk that qemu-storage-daemon serves: nodes without a guest, written by an NBD client."""

import json
import subprocess
import time

import pytest

from snapsim.recording.bitmaps import BitmapRecorder, to_trace
from snapsim.recording.disks import disks_of
from snapsim.recording.qmp import QmpMonitor
from tests.recording.qemus import MIB, image


@pytest.mark.integration
@pytest.mark.needs_program("qemu-storage-daemon", "qemu-img", "qemu-io")
def test_writes_of_an_nbd_client_are_recorded(tmp_path):
    file = image(tmp_path / "d.qcow2", 16 * MIB)
    blockdev = {"driver": "qcow2", "node-name": "d0", "file": {"driver": "file", "filename": str(file)}}
    line = [
        *("qemu-storage-daemon", "--blockdev", json.dumps(blockdev)),
        *("--chardev", "socket,id=c,path=qmp.sock,server=on,wait=off", "--monitor", "chardev=c"),
        *("--nbd-server", "addr.type=unix,addr.path=nbd.sock"),
        *("--export", "type=nbd,id=e,node-name=d0,name=d0,writable=on"),
    ]
    with subprocess.Popen(line, cwd=tmp_path) as daemon:
        try:
            end = time.monotonic() + 30
            while not ((tmp_path / "nbd.sock").exists() and (tmp_path / "qmp.sock").exists()):
                assert daemon.poll() is None
                assert time.monotonic() < end
                time.sleep(0.01)

            def write(where):
                address = f"nbd+unix:///d0?socket={tmp_path}/nbd.sock"
                subprocess.run(["qemu-io", "-f", "raw", "-c", f"write {where} 4k", address], check=True)

            monitor = QmpMonitor(tmp_path / "qmp.sock")
            write("0")
            (disk,) = disks_of(monitor)
            recorder = BitmapRecorder.start(monitor, disk, tmp_path / "a.recording", grain=65536)
            write("5M")
            assert recorder.sample()
            write("0")
            assert recorder.sample()
            recorder.end("enough")
            recorder.close()
            monitor.close()
        finally:
            daemon.terminate()
    trace = to_trace(recorder.log)
    assert disk.name == "d0"
    assert [change.written.tolist() for change in list(trace.changes())[1:]] == [
        [[5 * MIB, 65536]],
        [[0, 65536]],
    ]
