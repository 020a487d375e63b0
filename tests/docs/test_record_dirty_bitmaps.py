"""The how-to about dirty bitmaps, command by command, on a real QEMU; only spans of time are shortened."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import snapsim as ss
from snapsim.cli import main
from tests.conftest import hear_interrupts
from tests.docs.blocks import blocks
from tests.recording.qemus import MIB, image, qemu

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/how-to/record_dirty_bitmaps.md").read_text()
COMMANDS = [
    line.replace("1min", "300ms").replace("2h", "700ms")
    for block in blocks(PAGE)
    if block.language == "sh"
    for line in block.text.splitlines()
    if line.startswith("snapsim")
]


def begun(command):
    return subprocess.Popen(
        [sys.executable, "-m", "snapsim.cli", *shlex.split(command)[1:]],
        stdout=subprocess.DEVNULL,
        preexec_fn=hear_interrupts,  # noqa: PLW1509  no thread is running
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def lines():
    path = Path("disk.recording/changes.jsonl")
    return len(path.read_text().splitlines()) if path.exists() else 0


def wait_for(count, process):
    end = time.monotonic() + 60
    while lines() < count:
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.integration
@pytest.mark.needs_program("qemu-system-x86_64", "qemu-img")
def test_the_commands_of_the_page(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    libvirt_list, libvirt, listing, record, resume, finish, clean, info, simulate = COMMANDS

    def run(command, status=0):
        assert main(shlex.split(command)[1:]) == status
        return capsys.readouterr()

    with qemu(tmp_path, {"d0": image(tmp_path / "d0.qcow2", 64 * MIB)}) as running:
        assert "vd-d0" in run(listing).out
        assert "it has lasted as long as asked" in run(record).out
        Path("disk.recording").rename("first.recording")

        killed = begun(record.replace("700ms", "1h"))
        wait_for(2, killed)
        running.io("write 1M 4k")
        killed.kill()
        killed.wait()
        before = lines()
        again = begun(resume)
        wait_for(before + 1, again)
        again.send_signal(signal.SIGINT)
        assert again.wait() == 0
        made = ss.read_trace("disk.parquet")
        assert [int(one) for batch in made.batches() for one in batch.length] == [65536]

        assert "64 KiB changed" in run(finish).out
        assert "there is nothing of a recorder" in run(clean).out
    assert "64 KiB" in run(info).out
    assert "snapshots need" in run(simulate).out
    for command in (libvirt_list, libvirt):  # there is no such domain: all but that is right
        assert "libvirt" in (said := run(command, status=1).err) or "web1" in said
