"""`snapsim record rebuild` and `snapsim record check`."""

import subprocess

import pytest


@pytest.fixture
def recording(qemu_io, tmp_path):
    """Give a disk that QEMU wrote to, the log of it, and a key."""
    disk, log, key = (tmp_path / name for name in ("disk.raw", "disk.log", "disk.key"))
    for path, size in ((disk, 4 << 20), (log, 16 << 20)):
        with path.open("wb") as file:
            file.truncate(size)
    key.write_text("00ff" * 8)
    image = (
        f"driver=blklogwrites,file.driver=file,file.filename={disk},"
        f"log.driver=file,log.filename={log},log-super-update-interval=1"
    )
    commands = ("write -P 1 4k 8k", "write -z 1M 64k", "flush", "write -P 2 64k 4k")
    words = [word for command in commands for word in ("-c", command)]
    subprocess.run([qemu_io, "--image-opts", *words, image], check=True, capture_output=True)
    return disk, log, key


def test_rebuild(run, refused, recording, tmp_path):
    disk, log, _ = recording
    again = tmp_path / "again.raw"
    done = run("record", "rebuild", log, again, "--capacity", "4MiB")
    assert done.status == 0
    assert "3 writes of 76 KiB" in done.out
    assert again.read_bytes() == disk.read_bytes()
    told = run("record", "rebuild", log, again, "--entry", "1", "--json").json
    assert (told["size"], told["entries"], told["written_bytes"]) == (12288, 1, 8192)
    assert "--entry and --mark both say" in refused(
        "record", "rebuild", log, again, "--entry", "1", "--mark", "x", status=2
    )
    assert "has no entry 99: its last is " in refused(
        "record", "rebuild", log, again, "--entry", "99", status=1
    )
    assert "is no write log" in refused("record", "rebuild", disk, again, status=3)


def test_check(run, refused, recording, tmp_path):
    disk, log, key = recording
    stored = tmp_path / "disk.parquet"
    options = ("--reader-option", "contents=yes", "--reader-option", f"key={key}")
    assert run("trace", "convert", log, stored, *options).status == 0
    done = run("record", "check", stored, disk, "--key", key)
    assert done.status == 0
    assert "equal      19, of them zeroes 16" in done.out
    assert "19 blocks of 4 KiB compared (hashes)" in done.out
    assert run("record", "check", log, disk, "--key", key, *options, "--json").json["equal"] == 19
    with disk.open("r+b") as file:
        file.write(bytes(8192))
    done = run("record", "check", stored, disk, "--json")
    assert done.status == 1
    assert (done.json["different"], done.json["first_different"], done.json["keyed"]) == (1, 4096, False)
    assert "cannot be read" in refused("record", "check", stored, disk, "--key", tmp_path / "none", status=2)
    assert "no fingerprints" in refused("record", "check", log, disk, status=2)
