"""The mounted btrfs leaves nothing behind, and says why where it cannot be had."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.differential.btrfs_mount import btrfs_mount, create_subvolume


def mounted(image):
    """Return whether a loop device still reads an image, and whether anything is mounted beside it."""
    loops = [file.read_text() for file in Path("/sys/block").glob("loop*/loop/backing_file")]
    return any(str(image) in file for file in loops), str(image.parent) in Path("/proc/mounts").read_text()


@pytest.mark.integration
@pytest.mark.needs_program("btrfs")
def test_nothing_stays_mounted_after_a_failure(tmp_path):
    image = tmp_path / "btrfs.img"

    def fail():
        with btrfs_mount(tmp_path) as point:
            assert mounted(image) == (True, True)
            create_subvolume(point / "work")
            shown = subprocess.run(
                ["btrfs", "subvolume", "list", point], check=True, capture_output=True, text=True
            )
            assert "path work" in shown.stdout
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail()
    deadline = time.monotonic() + 10  # the kernel lets go of the device a moment after the mount
    while mounted(image) != (False, False) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert mounted(image) == (False, False)
    assert not image.exists()


@pytest.mark.needs_program("mkfs.btrfs")
def test_without_root_the_test_is_skipped_with_a_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.delenv("SNAPSIM_SKIP_NOTHING", raising=False)
    with pytest.raises(pytest.skip.Exception, match="root"), btrfs_mount(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
