"""A Linux guest on a recorded disk: what its kernel counted is what the trace says."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

import snapsim as ss
from snapsim.recording import serving
from snapsim.recording.checking import check_contents
from tests.conftest import skip_or_fail

pytestmark = [
    pytest.mark.integration,
    pytest.mark.needs_program("nbdkit", "qemu-img", "qemu-system-x86_64", "busybox", "mke2fs"),
]

REPOSITORY = Path(__file__).parents[2]
KERNEL = REPOSITORY / "build" / "guest"
SECTOR = 512
MODULES = (
    "virtio",
    "virtio_ring",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "virtio_blk",
)
INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev; mount -t proc proc /proc; mount -t sysfs sys /sys
# twice: they need each other in another order in another kernel
for module in MODULES MODULES; do insmod /modules/$module.ko 2> /dev/null; done
mkdir /disk && mount -t ext4 -o discard /dev/vda /disk
for round in 1 2 3; do
    for file in 1 2 3 4 5 6 7 8; do
        dd if=/dev/urandom of=/disk/$file bs=4k count=$((file * 16)) conv=fsync 2> /dev/null
        seq 1 20000 > /disk/$file.txt
    done
    sync; rm /disk/$round /disk/$round.txt; sync
done
dd if=/dev/zero of=/disk/zeroes bs=64k count=16 conv=fsync 2> /dev/null
fstrim /disk
umount /disk
echo "STAT $(cat /sys/block/vda/stat)" > /dev/ttyS0
poweroff -f
"""


@pytest.fixture
def guest(tmp_path: Path) -> list[str]:
    """Return the command that boots the guest, but for its disk."""
    if not (KERNEL / "vmlinuz").exists():
        skip_or_fail("no kernel for a guest: run tools/fetch-guest-kernel.sh, which downloads Debian's")
    root = tmp_path / "root"
    for name in ("bin", "dev", "proc", "sys", "modules"):
        (root / name).mkdir(parents=True)
    (root / "init").write_text(INIT.replace("MODULES", " ".join(MODULES)))
    (root / "init").chmod(0o755)
    busybox = subprocess.run(["sh", "-c", "command -v busybox"], capture_output=True, text=True, check=True)
    (root / "bin" / "busybox").write_bytes(Path(busybox.stdout.strip()).read_bytes())
    (root / "bin" / "busybox").chmod(0o755)
    for module in (KERNEL / "modules").iterdir():
        (root / "modules" / module.name).write_bytes(module.read_bytes())
    names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
    packed = subprocess.run(
        ["busybox", "cpio", "-o", "-H", "newc"],
        cwd=root,
        input=names.encode(),
        capture_output=True,
        check=True,
    )
    (tmp_path / "initrd").write_bytes(packed.stdout)
    return [
        *(
            "qemu-system-x86_64",
            "-nodefaults",
            "-no-user-config",
            "-accel",
            "tcg",
            "-cpu",
            "max",
            "-m",
            "256",
        ),
        *("-display", "none", "-serial", "stdio", "-no-reboot", "-kernel", str(KERNEL / "vmlinuz")),
        *("-initrd", str(tmp_path / "initrd"), "-append", "console=ttyS0 quiet panic=-1"),
    ]


def said(folder: Path) -> list[str]:
    return (folder / "errors").read_text().splitlines()


def test_the_guests_own_count_agrees_and_so_does_the_image(tmp_path: Path, guest: list[str]) -> None:
    image, folder = tmp_path / "disk.raw", tmp_path / "web.recording"
    with image.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", str(image)], check=True)
    command = [sys.executable, "-m", "snapsim.cli", "record", "nbd", str(image), "--contents"]
    command += ["-o", str(tmp_path / "web.parquet"), "--linger", "2s"]
    with (
        (tmp_path / "errors").open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as recorder,
    ):
        last = time.monotonic() + 60
        while not any("virtio-blk" in line for line in said(tmp_path)):
            assert recorder.poll() is None, said(tmp_path)
            assert time.monotonic() < last
            time.sleep(0.1)
        try:
            words = [
                line.split("'")[1::2] + line.split() for line in said(tmp_path) if line.startswith("  -")
            ]
            disk = ["-drive", words[0][0], *words[1]]  # as the command says it
            booted = subprocess.run(
                [*guest, *disk],
                capture_output=True,
                text=True,
                check=False,
                timeout=300,
                stdin=subprocess.DEVNULL,
            )
            output, _ = recorder.communicate(timeout=120)
        finally:
            serving.stop(folder)
    assert recorder.returncode == 0, said(tmp_path)
    assert "stored as" in output
    (line,) = [line for line in booted.stdout.splitlines() if line.startswith("STAT ")]
    stat = [int(word) for word in line.split()[1:]]
    trace = ss.read_trace(tmp_path / "web.parquet")
    counted = ss.statistics.summarise(trace)
    assert stat, booted.stdout
    assert stat[6] * SECTOR > 8 << 20
    assert counted.written_bytes == pytest.approx(stat[6] * SECTOR, rel=0.01)
    assert 0 <= counted.read_bytes - stat[2] * SECTOR <= 4096  # QEMU's own, before the guest's kernel ran
    assert counted.discarded_bytes == pytest.approx(stat[13] * SECTOR, rel=0.01)
    assert counted.discards == stat[11] > 0
    # and what the guest left on the disk is what the fingerprints say
    key = bytes.fromhex((folder / serving.KEY).read_text())
    report = check_contents(trace, image, key=key)
    assert report.different == 0
    assert report.equal > 500
