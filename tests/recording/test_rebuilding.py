"""Images rebuilt from write logs, and fingerprints compared with images: on logs that QEMU wrote."""

import random
import struct
import subprocess

import numpy as np
import pytest

import snapsim as ss
from snapsim.errors import RecordingError, RefusedFileError, TraceError, UsageError
from snapsim.recording.checking import check_contents
from snapsim.recording.rebuilding import rebuild
from snapsim.traces.fingerprints import fingerprints

CAPACITY = 8 << 20
FLUSH, DISCARD, MARK = 1, 4, 8
KEY = b"secret"


def recorded(qemu_io, folder, commands):
    """Let QEMU do commands on a disk, with a log of them; return the disk and the log."""
    disk, log = folder / "disk.raw", folder / "disk.log"
    for path, size in ((disk, CAPACITY), (log, 64 << 20)):
        if not path.exists():
            with path.open("wb") as file:
                file.truncate(size)
    image = (
        f"driver=blklogwrites,discard=unmap,file.driver=file,file.discard=unmap,file.filename={disk},"
        f"log.driver=file,log.filename={log}"
    )
    words = [word for command in commands for word in ("-c", command)]
    done = subprocess.run(
        [qemu_io, "-d", "unmap", "--image-opts", *words, image], check=True, capture_output=True, text=True
    )
    assert "failed" not in done.stdout + done.stderr
    return disk, log


def random_commands(seed, count=200):
    choose = random.Random(seed)
    for _ in range(count):
        sector = choose.randrange(CAPACITY // 512)
        sectors = min(choose.choice((1, 3, 8, 16, 100, 2500)), CAPACITY // 512 - sector)
        if choose.random() < 0.5:  # whole blocks, too
            sector, sectors = sector // 8 * 8, -(-sectors // 8) * 8
        kind = choose.choice(("write -P {}", "write -P {}", "write -P 0", "write -z", "discard", "flush"))
        kind = kind.format(choose.randrange(1, 256))
        yield kind if kind == "flush" else f"{kind} {sector * 512} {sectors * 512}"


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "recording.key"
    path.write_text(KEY.hex() + "\n")
    return path


@pytest.mark.parametrize("seed", range(3))
def test_the_image_rebuilt_is_the_image_recorded(qemu_io, tmp_path, seed):
    disk, log = recorded(qemu_io, tmp_path, random_commands(seed))
    done = rebuild(log, tmp_path / "again.raw", capacity=CAPACITY)
    assert (tmp_path / "again.raw").read_bytes() == disk.read_bytes()
    assert any(disk.read_bytes())
    assert done.size == CAPACITY
    assert done.writes > 100
    assert done.discards > 10
    trace = ss.read_trace(log)
    assert (done.written_bytes, done.discarded_bytes) == tuple(
        sum(batch.length[batch.op == op].sum() for batch in trace.batches()) for op in (1, 2)
    )


@pytest.mark.parametrize("seed", range(3))
def test_the_fingerprints_of_the_trace_are_those_of_the_image(qemu_io, tmp_path, key_file, seed):
    disk, log = recorded(qemu_io, tmp_path, random_commands(seed))
    trace = ss.read_trace(log, contents="yes", key=key_file)
    found = check_contents(trace, disk, key=KEY)
    assert found.different == 0
    assert found.first_different is None
    assert found.keyed
    assert found.equal > 500
    assert 0 < found.zeroes < found.equal
    assert found.unknown > 0
    assert found.equal + found.unknown + found.untouched == CAPACITY // 4096
    zeroed = check_contents(trace, disk, key=KEY, discard="zeroes")
    assert zeroed.different == 0
    assert zeroed.equal > found.equal
    unkeyed = check_contents(trace, disk)
    assert not unkeyed.keyed
    assert (unkeyed.equal, unkeyed.different) == (found.equal, 0)


def test_a_byte_that_differs_is_found(qemu_io, tmp_path, key_file):
    disk, log = recorded(qemu_io, tmp_path, ["write -P 7 0 1M", "write -P 9 2M 64k"])
    trace = ss.read_trace(log, contents="yes", key=key_file)
    with disk.open("r+b") as file:
        file.seek((2 << 20) + 5000)
        file.write(b"\0")
    found = check_contents(trace, disk, key=KEY)
    assert (found.equal, found.different, found.first_different) == (256 + 15, 1, (2 << 20) + 4096)
    assert "the first at byte 2101248" in found.text()
    with disk.open("r+b") as file:
        file.seek(8192)
        file.write(bytes(4096))
    assert check_contents(trace, disk).first_different == 8192  # zeroes are told without the key
    assert check_contents(trace, disk, key=b"another").equal == 0


def test_a_log_goes_on_where_its_image_was(qemu_io, tmp_path):
    disk, log = recorded(qemu_io, tmp_path, ["write -P 1 0 8M"])
    base = tmp_path / "base.raw"
    base.write_bytes(disk.read_bytes())
    log.unlink()
    recorded(qemu_io, tmp_path, ["write -P 2 1M 1M", "discard 4M 1M"])
    rebuild(log, tmp_path / "again.raw", base=base)
    assert (tmp_path / "again.raw").read_bytes() == disk.read_bytes()
    rebuild(log, tmp_path / "kept.raw", base=base, discard="ignore")
    assert (tmp_path / "kept.raw").read_bytes()[4 << 20 : 5 << 20] == b"\1" * (1 << 20)


def log_bytes(*steps):
    """Each step is (sector, sectors, flags, payload): data, or the text of a mark."""
    parts = [struct.pack("<QQQI", 0x6A736677736872, 1, len(steps), 512).ljust(512, b"\0")]
    for sector, sectors, flags, payload in steps:
        text = payload if flags & MARK else b""
        parts.append((struct.pack("<QQQQ", sector, sectors, flags, len(text)) + text).ljust(512, b"\0"))
        if not flags & (DISCARD | MARK):
            parts.append((payload * (sectors * 512))[: sectors * 512])
    return b"".join(parts)


STEPS = (
    (0, 8, 0, b"a"),
    (0, 0, MARK, b"first"),
    (8, 8, 0, b"b"),
    (0, 0, FLUSH, b""),
    (0, 8, DISCARD, b""),
    (0, 0, MARK, b"second"),
    (4, 2, 0, b"c"),
)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"entry": 0}, b""),
        ({"mark": "first"}, b"a" * 4096),
        ({"entry": 3}, b"a" * 4096 + b"b" * 4096),
        ({"mark": "second"}, bytes(4096) + b"b" * 4096),
        ({}, bytes(2048) + b"c" * 1024 + bytes(1024) + b"b" * 4096),
    ],
)
def test_up_to_an_entry_or_a_mark(tmp_path, where, expected):
    (tmp_path / "log").write_bytes(log_bytes(*STEPS))
    rebuild(tmp_path / "log", tmp_path / "image", **where)
    assert (tmp_path / "image").read_bytes() == expected


def test_zeroes_stay_holes(tmp_path):
    (tmp_path / "log").write_bytes(
        log_bytes((0, 8, 0, b"a"), (1 << 20, 4096, 0, b"\0"), (0, 1 << 21, DISCARD, b""))
    )
    done = rebuild(tmp_path / "log", tmp_path / "image")
    assert done.size == 1 << 30
    assert (tmp_path / "image").stat().st_blocks * 512 <= 64 << 10


@pytest.mark.parametrize(
    ("options", "error", "reason"),
    [
        ({"entry": 9}, RecordingError, "no entry 9: its last is 7"),
        ({"mark": "third"}, RecordingError, "no mark 'third'"),
        ({"entry": 1, "mark": "first"}, UsageError, "give one of them"),
        ({"discard": "maybe"}, UsageError, "choose zeroes or ignore"),
        ({"capacity": 4096}, RecordingError, "beyond the capacity of 4096"),
    ],
)
def test_what_cannot_be_rebuilt(tmp_path, options, error, reason):
    (tmp_path / "log").write_bytes(log_bytes(*STEPS))
    (tmp_path / "image").write_bytes(b"before")
    with pytest.raises(error, match=reason):
        rebuild(tmp_path / "log", tmp_path / "image", **options)
    assert (tmp_path / "image").read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["image", "log"]


def test_the_image_is_as_long_as_its_base(tmp_path):
    (tmp_path / "base").write_bytes(b"b" * 4096)
    (tmp_path / "log").write_bytes(log_bytes((8, 8, 0, b"a")))
    with pytest.raises(RecordingError, match="beyond the capacity of 4096"):
        rebuild(tmp_path / "log", tmp_path / "image", base=tmp_path / "base")
    assert not (tmp_path / "image").exists()


def test_a_log_that_is_cut_off_is_rebuilt_up_to_there(tmp_path):
    whole = log_bytes((0, 8, 0, b"a"), (8, 4096, 0, b"b"))
    (tmp_path / "log").write_bytes(whole[:-1000])
    with pytest.raises(RecordingError, match=r"entry=1$"):
        rebuild(tmp_path / "log", tmp_path / "image")
    assert not (tmp_path / "image").exists()
    rebuild(tmp_path / "log", tmp_path / "image", entry=1)
    assert (tmp_path / "image").read_bytes() == b"a" * 4096


def test_entries_behind_the_count_of_the_superblock(tmp_path):
    data = bytearray(log_bytes((0, 8, 0, b"a"), (8, 8, 0, b"b")))
    struct.pack_into("<Q", data, 16, 1)  # as when the machine stops before the superblock is written again
    (tmp_path / "log").write_bytes(data + bytes(4096))
    assert "left out" in rebuild(tmp_path / "log", tmp_path / "image").notes[-1]
    assert (tmp_path / "image").read_bytes() == b"a" * 4096
    done = rebuild(tmp_path / "log", tmp_path / "image", beyond=True)
    assert "1 entries are read" in done.notes[-1]
    assert (tmp_path / "image").read_bytes() == b"a" * 4096 + b"b" * 4096
    assert len(ss.read_trace(tmp_path / "log", beyond="yes")) == 2


def test_images_that_are_none_of_this(tmp_path):
    (tmp_path / "log").write_bytes(log_bytes(*STEPS))
    (tmp_path / "qcow2").write_bytes(b"QFI\xfb" + bytes(1 << 16))
    with pytest.raises(RefusedFileError, match="qemu-img convert"):
        rebuild(tmp_path / "log", tmp_path / "image", base=tmp_path / "qcow2")
    with pytest.raises(UsageError, match="another name"):
        rebuild(tmp_path / "log", tmp_path / "log")
    trace = ss.read_trace(tmp_path / "log", contents="yes")
    with pytest.raises(RefusedFileError, match="qemu-img convert"):
        check_contents(trace, tmp_path / "qcow2")
    (tmp_path / "short").write_bytes(bytes(4096))
    with pytest.raises(UsageError, match="zeroes or unknown"):
        check_contents(trace, tmp_path / "short", discard="maybe")
    with pytest.raises(RecordingError, match="something else"):
        check_contents(trace, tmp_path / "short")
    with pytest.raises(RecordingError, match="cannot be read"):
        check_contents(trace, tmp_path / "missing")
    (tmp_path / "image").write_bytes(bytes(8192))
    with pytest.raises(UsageError, match="no fingerprints"):
        check_contents(ss.read_trace(tmp_path / "log"), tmp_path / "image")


def trace_of(*rows):
    """Each row is (op, offset, length, digest)."""
    op, offset, length, digest = zip(*rows, strict=True)
    return ss.Trace.from_arrays(
        np.arange(len(op)), op, offset, length, digest=np.array(digest, object), contents="snapsim-1"
    )


def test_fingerprints_of_the_wrong_length(tmp_path):
    (tmp_path / "image").write_bytes(bytes(1 << 16))
    with pytest.raises(TraceError, match=r"request 1: its fingerprints have 8 bytes"):
        check_contents(trace_of((4, 0, 0, b""), (1, 0, 8192, bytes(8))), tmp_path / "image")


def test_what_a_trace_knows_of_a_block(tmp_path):
    page, text = b"x" * 4096, b"y" * 3000
    # written, zeroed, zeroed in part, discarded, written without fingerprint, untouched, the short end
    image = page + bytes(4096) + page[:1024] + bytes(3072) + bytes(4096) + page + page + text
    (tmp_path / "image").write_bytes(image)
    trace = trace_of(
        (1, 0, 12288, fingerprints(bytes(4096) + page + page, 0, KEY)),
        (1, 0, 4096, fingerprints(page, 0, KEY)),
        (3, 4096, 4096 + 2048, b""),
        (1, 12288, 4096, fingerprints(page, 12288, KEY)),
        (2, 12288, 4096, b""),
        (1, 16384, 4096, b""),
        (1, 24576, 3000, fingerprints(text, 24576, KEY)),
    )
    found = check_contents(trace, tmp_path / "image", key=KEY)
    assert (found.equal, found.different, found.unknown, found.untouched) == (3, 0, 3, 1)
    assert found.zeroes == 1
    assert found.to_dict()["equal"] == 3


def test_the_key_of_fingerprints(tmp_path, key_file):
    log = tmp_path / "log"
    log.write_bytes(log_bytes((3, 21, 0, b"a"), (0, 8, DISCARD, b""), (0, 16, 0, b"\0")))
    trace = ss.read_trace(log, contents="yes", key=key_file)
    (batch,) = trace.batches(columns=("digest",))
    assert batch.digest.tolist() == [fingerprints(b"a" * 21 * 512, 3 * 512, KEY), b"", bytes(16)]
    one, other = (
        next(ss.read_trace(log, contents="yes").batches(columns=("digest",))).digest[0] for _ in range(2)
    )
    assert one[0] == other[0] == batch.digest[0][0]
    assert one[1:8] != other[1:8]
    with pytest.raises(UsageError, match="contents=yes"):
        ss.read_trace(log, key=key_file)
    (tmp_path / "no.key").write_text("secret")
    with pytest.raises(UsageError, match="hexadecimal"):
        ss.read_trace(log, contents="yes", key=tmp_path / "no.key")
    with pytest.raises(UsageError, match="cannot be read"):
        ss.read_trace(log, contents="yes", key=tmp_path / "missing.key")


def test_data_longer_than_a_piece_have_the_same_fingerprints(tmp_path, key_file, monkeypatch):
    log = tmp_path / "log"
    log.write_bytes(log_bytes((3, 100, 0, b"abc"), (1, 7, 0, b"q")))
    found = []
    for size in (1 << 20, 4096):
        monkeypatch.setattr("snapsim.traces.readers.log_writes._PIECE", size)
        trace = ss.read_trace(log, contents="yes", key=key_file)
        found.append(next(trace.batches(columns=("digest",))).digest.tolist())
    assert found[0] == found[1]
