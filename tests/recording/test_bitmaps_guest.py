"""A Linux guest whose disk has an I/O thread: what its kernel has written is what the bitmaps say."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

import snapsim as ss
from snapsim.cli import main
from tests.recording.qemus import MIB, image, qemu

KERNEL = Path(__file__).parents[2] / "build" / "guest"
GRAIN = 4096
WRITES = 600
INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev; mount -t proc proc /proc; mount -t sysfs sys /sys
exec > /dev/ttyS0 2>&1
for round in 1 2; do for module in /modules/*; do insmod $module 2> /dev/null; done; done
write=0
while [ $write -lt WRITES ]; do
    seek=$((write * 7919 % 16384))
    dd if=/dev/urandom of=/dev/vda bs=4096 count=1 seek=$seek conv=notrunc oflag=direct 2> /dev/null
    write=$((write + 1))
done
echo "STAT $(cat /sys/block/vda/stat)"
poweroff -f
"""


@pytest.mark.integration
@pytest.mark.needs_program("qemu-system-x86_64", "qemu-img", "busybox")
def test_a_guest_is_recorded_until_it_shuts_down(tmp_path, monkeypatch, capsys):
    if not (KERNEL / "vmlinuz").exists():
        pytest.skip("no kernel for a guest: run tools/fetch-guest-kernel.sh, which downloads Debian's")
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "root"
    for name in ("bin", "dev", "proc", "sys"):
        (root / name).mkdir(parents=True)
    shutil.copytree(KERNEL / "modules", root / "modules")
    shutil.copy(shutil.which("busybox"), root / "bin" / "busybox")
    (root / "init").write_text(INIT.replace("WRITES", str(WRITES)))
    (root / "init").chmod(0o755)
    names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
    packed = subprocess.run(
        ["busybox", "cpio", "-o", "-H", "newc"],
        cwd=root,
        input=names.encode(),
        capture_output=True,
        check=True,
    )
    (tmp_path / "initrd").write_bytes(packed.stdout)
    blockdev = {"driver": "qcow2", "node-name": "d0", "file": {"driver": "file", "filename": "d0.qcow2"}}
    image(tmp_path / "d0.qcow2", 64 * MIB)
    guest = [
        *("-m", "256", "-cpu", "max", "-no-shutdown", "-serial", "file:console"),
        *("-kernel", str(KERNEL / "vmlinuz"), "-initrd", "initrd", "-append", "console=ttyS0 quiet panic=-1"),
        *("-blockdev", json.dumps(blockdev), "-object", "iothread,id=io0"),
        *("-device", "virtio-blk-pci,drive=d0,id=vd0,iothread=io0"),
    ]
    with qemu(tmp_path, {}, extra=guest) as running:
        running.monitor.execute("cont")
        command = ["record", "bitmaps", "--qmp", "qmp.sock", "-o", "disk.parquet", "--every", "500ms"]
        assert main([*command, "--granularity", "4KiB", "--for", "5min"]) == 0
        assert "ended: the guest has shut down" in capsys.readouterr().out
        assert not running.bitmaps("d0")
    (line,) = [line for line in Path("console").read_text().splitlines() if line.startswith("STAT ")]
    counted = [int(word) for word in line.split()[1:]]
    trace = ss.read_trace("disk.parquet")
    changed = [tuple(extent) for change in trace.changes() if change for extent in change.written.tolist()]
    assert {block for at, size in changed for block in range(at // GRAIN, (at + size) // GRAIN)} == {
        write * 7919 % 16384 for write in range(WRITES)
    }
    assert sum(size for _, size in changed) == counted[6] * 512 == WRITES * GRAIN
