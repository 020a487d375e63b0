"""The programs that real systems are driven with, and what is said when something is wrong with them."""

import subprocess
import sys

import pytest

from snapsim.errors import MeasurementError, SnapsimError
from snapsim.validation.qcow2_image import read_image, table_clusters
from snapsim.validation.running import need, run
from snapsim.validation.storage_daemon import StorageDaemon


def test_a_missing_program_is_named_with_its_package(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SnapsimError, match=r"qemu-storage-daemon is missing.*qemu-system-common"):
        need("qemu-storage-daemon")


def test_a_program_that_fails_is_quoted():
    with pytest.raises(SnapsimError, match=r"ls /no/such/folder ended with status 2: .*No such file"):
        run("ls", "/no/such/folder")


def test_what_is_no_qcow2_file_is_refused(tmp_path):
    plain = tmp_path / "plain.raw"
    plain.write_bytes(bytes(4096))
    with pytest.raises(MeasurementError, match="no qcow2 file"):
        read_image(plain)


@pytest.mark.integration
@pytest.mark.needs_program("qemu-img")
def test_an_empty_image_is_all_tables(tmp_path):
    image = tmp_path / "empty.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=4096", str(image), "64M")
    found = read_image(image)
    assert (found.cluster_size, found.snapshots, found.refcount_blocks) == (4096, 0, 1)
    assert len(table_clusters(image)) == found.referenced_clusters == 4  # header, refcounts, L1
    run("qemu-img", "snapshot", "-c", "one", str(image))
    assert len(table_clusters(image)) == read_image(image).referenced_clusters == 6  # its L1, the list


@pytest.mark.integration
@pytest.mark.needs_program("qemu-img", "qemu-storage-daemon")
def test_what_the_daemon_refuses_is_said_and_it_ends(tmp_path):
    image = tmp_path / "one.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", str(image), "1M")
    with StorageDaemon([image]) as daemon:
        with pytest.raises(MeasurementError, match=r"refused block-stream: .*nothing"):
            daemon.job("block-stream", device="nothing")
        assert daemon.execute("query-jobs") == []
        process = daemon._process
    assert process.returncode == 0
    with pytest.raises(MeasurementError, match=r"Could not open .*missing"):
        StorageDaemon([tmp_path / "missing.qcow2"])
    subprocess.run(["qemu-img", "check", "-q", str(image)], check=True)


def test_a_program_that_talks_at_prompts_is_quoted_where_it_says_why():
    talk = (
        "qemu-io> wrote 512/512 bytes at offset 0\nqemu-io> write failed: No space left on device\nqemu-io> "
    )
    with pytest.raises(SnapsimError, match=r"ended with status 1: write failed: No space left on device$"):
        run(sys.executable, "-c", f"print({talk!r}); raise SystemExit(1)")
