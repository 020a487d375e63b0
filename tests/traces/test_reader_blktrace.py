"""Binary block traces, one file per processor."""

import struct

import pytest

from snapsim.errors import RefusedFileError
from snapsim.traces.readers.blktrace import READERS

READER = READERS[0]

READ, WRITE, FLUSH, PASSTHROUGH, NOTIFY, DISCARD = (1 << 16 + bit for bit in (0, 1, 2, 9, 10, 13))
Q, D, C, GROUP = 1, 7, 8, 1 << 8
DEVICE = 8 << 20 | 16


def record(
    action, time=0, sector=0, size=0, *, order="<", device=DEVICE, error=0, payload=b"", magic=0x65617407
):
    header = struct.pack(
        f"{order}IIQQIIIIIHH", magic, 1, time, sector, size, action, 4020, device, 0, error, len(payload)
    )
    return header + payload


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("block", [None, 1, 60, 131])
def test_both_byte_orders_in_blocks_of_any_size(read_raw, order, block):
    data = (
        record(NOTIFY, 5, order=order, payload=b"java\0")
        + record(NOTIFY | 1, 100, order=order, payload=struct.pack(f"{order}II", 1_700_000_000, 999))
        + record(15, 200, 1000, 4096, order=order, payload=bytes(16))
        + record(Q | WRITE, 1000, 2048, 4096, order=order)
        + record(Q | GROUP | READ, 2000, 8, 512, order=order, payload=bytes(8))
        + record(D | WRITE, 3000, 2048, 4096, order=order)
        + record(Q | WRITE | DISCARD, 4000, 16, 8192, order=order, device=259 << 20 | 1)
        + record(Q | WRITE | FLUSH, 5000, 16, 512, order=order)
        + record(Q | WRITE | FLUSH, 6000, 0, 0, order=order)
        + record(Q | WRITE, 6500, 0, 0, order=order)
        + record(Q | READ | PASSTHROUGH, 7000, 0, 36, order=order, payload=bytes(16))
    )
    assert READER.sniff(data, "x")
    reading = read_raw(READER, data, block=block)
    assert reading.rows == [
        (1000, 1, 2048 * 512, 4096),
        (2000, 0, 4096, 512),
        (4000, 2, 8192, 8192),
        (5000, 1, 8192, 512),
        (6000, 4, 0, 0),
    ]
    assert reading.raw.line.tolist() == [4, 5, 7, 8, 9]
    assert reading.log.volumes == ["8,16", "259,1"]
    assert reading.raw.volume.tolist() == [0, 0, 1, 0, 0]
    assert reading.log.start_ns == 1_700_000_000_000_000_999 - 100
    assert reading.log.skipped == {
        "notification": 2,
        "action A": 1,
        "action D": 1,
        "event without sectors": 2,
    }
    assert reading.log.dropped == 0
    assert reading.log.options["action"].startswith("Q")


def test_failed_completions_are_skipped(read_raw):
    data = record(C | WRITE, 1, 0, 512, error=5) + record(C | WRITE, 2, 0, 512)
    reading = read_raw(READER, data)
    assert reading.rows == [(2, 1, 0, 512)]
    assert reading.log.skipped == {"failed": 1}
    assert reading.log.options["action"] == "C (first present of Q, D, C)"


def test_the_files_of_all_processors_belong_together(read_raw, tmp_path):
    (tmp_path / "sda.blktrace.0").write_bytes(record(D | READ, 10, 0, 512) + record(D | READ, 30, 8, 512))
    (tmp_path / "sda.blktrace.10").write_bytes(record(Q | READ, 40, 16, 512))
    (tmp_path / "sda.blktrace.2").write_bytes(record(Q | READ, 20, 24, 512))
    (tmp_path / "sdb.blktrace.1").write_bytes(record(Q | READ, 5, 0, 512))
    (tmp_path / "sda.blktrace.txt").write_bytes(b"")
    files = READER.gather(tmp_path / "sda.blktrace.2")
    assert [path.name for path in files] == ["sda.blktrace.0", "sda.blktrace.2", "sda.blktrace.10"]
    reading = read_raw(READER, tmp_path / "sda.blktrace.0")
    # the choice is one for all files: Q occurs in the second and the third only
    assert reading.rows == [(20, 0, 24 * 512, 512), (40, 0, 16 * 512, 512)]
    assert reading.log.options["action"].startswith("Q")


def test_a_last_record_that_is_cut_off_is_dropped(read_raw):
    whole = record(Q | READ, 1, 0, 512)
    for cut in (whole[:20], record(Q | READ, 2, 0, 512, payload=bytes(16))[:-1]):
        reading = read_raw(READER, whole + cut)
        assert len(reading.rows) == 1
        assert reading.drops == [(2, "record")]


@pytest.mark.parametrize("block", [None, 1, 48, 200])
def test_reading_goes_on_behind_damaged_bytes(read_raw, block):
    data = record(Q | READ, 1, 0, 512) + b"garbage that is no record" * 3 + record(Q | READ, 2, 0, 512)
    reading = read_raw(READER, data, block=block)
    assert [time for time, *_ in reading.rows] == [1, 2]
    assert set(reading.drops) == {(2, "record")}


def test_other_versions_and_other_files_are_refused(read_raw):
    with pytest.raises(RefusedFileError, match="version 6"):
        read_raw(READER, record(Q | READ, magic=0x65617406))
    with pytest.raises(RefusedFileError, match="magic"):
        read_raw(READER, b"8,16 1 1 0.0 1 Q R 8 + 8 [x]\n")
    assert not READER.sniff(b"8,16 1 1 0.0 1 Q R 8 + 8 [x]\n", "sda.blktrace.0")
    assert not READER.sniff(b"", "sda.blktrace.0")
