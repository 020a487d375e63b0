"""Write logs of dm-log-writes and QEMU's blklogwrites."""

import struct
import subprocess

import pytest

from snapsim.errors import RefusedFileError, UnitError
from snapsim.traces.readers.log_writes import READERS

READER = READERS[0]
FLUSH, FUA, DISCARD, MARK, METADATA = 1, 2, 4, 8, 16


def log_bytes(*entries, sector=512, promised=None, magic=0x6A736677736872, version=1):
    """Each entry is (sector, sectors, flags, mark text)."""
    count = len(entries) if promised is None else promised
    parts = [struct.pack("<QQQI", magic, version, count, sector).ljust(sector, b"\0")]
    for first, sectors, flags, text in entries:
        parts.append((struct.pack("<QQQQ", first, sectors, flags, len(text)) + text).ljust(sector, b"\0"))
        if not flags & DISCARD:
            parts.append(b"\xa5" * (sectors * sector))
    return b"".join(parts)


ENTRIES = [
    (8, 16, 0, b""),
    (0, 0, MARK, b"mkfs done"),
    (0, 0, FLUSH, b""),
    (2048, 2048, DISCARD, b""),
    (64, 8, FLUSH | FUA, b""),
    (72, 8, METADATA, b""),
    (0, 0, FUA, b""),
]


@pytest.mark.parametrize("sector", [512, 4096])
def test_entries_in_their_order(read_raw, sector):
    data = log_bytes(*ENTRIES, sector=sector)
    assert READER.sniff(data, "x")
    reading = read_raw(READER, data)
    assert reading.rows == [
        (0, 1, 8 * sector, 16 * sector),
        (2_000_000, 4, 0, 0),
        (3_000_000, 2, 2048 * sector, 2048 * sector),
        (4_000_000, 1, 64 * sector, 8 * sector),
        (5_000_000, 1, 72 * sector, 8 * sector),
    ]
    assert reading.raw.line.tolist() == [1, 3, 4, 5, 6]
    assert reading.log.skipped == {"mark": 1, "empty entry": 1}
    assert reading.log.options == {"interval": "1ms"}
    assert "neither times nor reads" in reading.log.notes[0]
    assert len(reading.log.notes) == 1


def test_the_time_between_entries_is_an_option(read_raw):
    reading = read_raw(READER, log_bytes(*ENTRIES), interval="1s")
    assert reading.raw.time_ns.tolist() == [0, 2 * 10**9, 3 * 10**9, 4 * 10**9, 5 * 10**9]
    with pytest.raises(UnitError):
        read_raw(READER, log_bytes(*ENTRIES), interval="soon")


def test_batches_join_to_the_whole(read_raw, monkeypatch):
    monkeypatch.setattr("snapsim.traces.readers.log_writes._BATCH", 2)
    reading = read_raw(READER, log_bytes(*ENTRIES))
    assert reading.batches == 3
    assert reading.raw.line.tolist() == [1, 3, 4, 5, 6]


def test_a_log_that_is_cut_off(read_raw):
    whole = log_bytes((0, 8, 0, b""), (8, 8, 0, b""))
    reading = read_raw(READER, whole[:-1])
    assert len(reading.rows) == 1
    assert reading.drops == [(2, "data")]
    reading = read_raw(READER, whole[: 512 + 512 + 4096 + 20])
    assert reading.drops == [(2, "entry")]
    reading = read_raw(READER, whole[: 512 + 512 + 4096])
    assert "promises 2 entries, and the log has 1" in reading.log.notes[-1]


def test_only_what_the_superblock_vouches_for_is_read(read_raw):
    reading = read_raw(READER, log_bytes((0, 8, 0, b""), (8, 8, 0, b""), promised=1))
    assert len(reading.rows) == 1
    assert "left out" in reading.log.notes[-1]
    reading = read_raw(READER, log_bytes((0, 8, 0, b"")) + bytes(8192))
    assert len(reading.log.notes) == 1


def test_unknown_flags_end_the_log(read_raw):
    reading = read_raw(READER, log_bytes((0, 8, 0, b""), (8, 8, 64, b""), (16, 8, 0, b"")))
    assert len(reading.rows) == 1
    assert reading.drops == [(2, "flags")]


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"magic": 1}, "magic"), ({"version": 2}, "version 2"), ({"sector": 1000}, "1000 bytes")],
)
def test_other_files_are_refused(read_raw, change, reason):
    with pytest.raises(RefusedFileError, match=reason):
        read_raw(READER, log_bytes(**change))


def test_a_log_that_qemu_wrote(read_raw, qemu_io, tmp_path):
    for name, size in (("disk", 16 << 20), ("log", 32 << 20)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
    image = (
        f"driver=blklogwrites,file.driver=file,file.filename={tmp_path}/disk,"
        f"log.driver=file,log.filename={tmp_path}/log"
    )
    commands = ("write 4k 8k", "discard 1M 1M", "write -z 2M 64k", "flush", "write 64k 4k")
    subprocess.run(
        [qemu_io, "--image-opts", *(word for command in commands for word in ("-c", command)), image],
        check=True,
        capture_output=True,
    )
    reading = read_raw(READER, tmp_path / "log")
    assert [row[1:] for row in reading.rows if row[1] != 4] == [
        (1, 4096, 8192),
        (2, 1 << 20, 1 << 20),
        (1, 2 << 20, 65536),
        (1, 65536, 4096),
    ]
    assert any(row[1] == 4 for row in reading.rows)
    assert reading.log.dropped == 0
    assert len(reading.log.notes) == 1
