"""The log of nbdkit's log filter."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from snapsim.errors import UsageError
from snapsim.traces.formats import read_trace
from snapsim.traces.readers.nbdkit import READERS

READER = READERS[0]
START = pd.Timestamp("2026-03-28T23:59:59.9", tz="UTC").value

CONNECT = 'connection=1 Connect export="" tls=0 size=0x4000000 minsize=0x0 write=1 flush=1 trim=1 zero=2'


def log_text(*lines):
    """Each line is (milliseconds from START, text)."""
    stamps = [pd.Timestamp(START + int(ms * 1_000_000)).strftime("%Y-%m-%d %H:%M:%S.%f") for ms, _ in lines]
    return "".join(f"{stamp} {text}\n" for stamp, (_, text) in zip(stamps, lines, strict=True)).encode()


EVERYTHING = log_text(
    (0, "Ready thread_model=3"),
    (1, "Preconnect id=1 readonly=0 ..."),
    (2, "...Preconnect id=1 return=0"),
    (3, CONNECT),
    (10, "connection=1 Write id=1 offset=0x1000 count=0x2000 fua=1 ..."),
    (11, "connection=1 Read id=2 offset=0x0 count=0x200 ..."),
    (12, "connection=1 ...Read id=2 return=0"),
    (20, "connection=1 ...Write id=1 return=0"),
    (200, "connection=1 Zero id=3 offset=0x100000 count=0x10000 trim=1 fua=0 fast=0 ..."),
    (201, "connection=1 ...Zero id=3 return=0"),
    (202, "connection=1 Trim id=4 offset=0x300000 count=0x100000 fua=0 ..."),
    (203, "connection=1 ...Trim id=4 return=0"),
    (204, "connection=1 Flush id=5 ..."),
    (208, "connection=1 ...Flush id=5 return=0"),
    (209, "connection=1 Extents id=6 offset=0x0 count=0x4000000 req_one=1 ..."),
    (210, 'connection=1 ...Extents id=6 extents=(0x0 0x10000 "" 0x10000 0x3ff0000 "hole,zero") return=0'),
    (211, "connection=1 Disconnect transactions=6"),
)


def ms(number):
    return START + number * 1_000_000


@pytest.mark.parametrize("block", [None, 1, 100, 333])
def test_requests_are_timed_from_their_call_whatever_the_blocks(read_raw, block):
    reading = read_raw(READER, EVERYTHING, block=block, timezone="UTC")
    assert reading.rows == [
        (ms(10), 1, 0x1000, 0x2000),
        (ms(11), 0, 0, 512),
        (ms(200), 3, 0x100000, 0x10000),
        (ms(202), 2, 0x300000, 0x100000),
        (ms(204), 4, 0, 0),
    ]
    assert (reading.raw.latency_ns / 1e6).tolist() == [10, 1, 1, 1, 4]
    assert reading.raw.line.tolist() == [5, 6, 9, 11, 13]
    assert reading.log.start_ns == 0
    assert reading.log.capacities == {"": 64 << 20}
    assert reading.log.skipped == {"Ready": 1, "Preconnect": 1, "Connect": 1, "Extents": 1, "Disconnect": 1}
    assert reading.log.dropped == 0
    assert reading.log.notes == []


def test_is_recognised_by_its_first_line():
    assert READER.sniff(EVERYTHING, "x")
    assert not READER.sniff(b"2026-03-28 23:59:59.900000 something else\n", "nbdkit.log")


def test_a_request_that_was_never_answered_is_kept_without_latency(read_raw):
    text = log_text(
        (0, CONNECT),
        (1, "connection=1 Write id=1 offset=0x0 count=0x1000 fua=0 ..."),
        (2, "connection=1 Write id=2 offset=0x1000 count=0x1000 fua=0 ..."),
        (3, "connection=1 ...Write id=2 return=0"),
    )
    reading = read_raw(READER, text)
    assert reading.rows == [(ms(1), 1, 0, 4096), (ms(2), 1, 4096, 4096)]
    assert reading.raw.latency_ns.tolist() == [-1, 1_000_000]
    assert "taken for UTC" in reading.log.notes[0]
    assert "1 requests were never answered" in reading.log.notes[1]


@pytest.mark.parametrize("block", [None, 64])
def test_a_failed_request_changed_nothing_and_is_skipped(read_raw, block):
    text = log_text(
        (0, CONNECT),
        (1, "connection=1 Write id=1 offset=0x0 count=0x1000 fua=0 ..."),
        (2, "connection=1 ...Write id=1 return=-1 error=ENOSPC"),
        (3, "connection=1 Read id=2 offset=0x1000 count=0x1000 ..."),
        (4, "connection=1 ...Read id=2 return=0"),
    )
    reading = read_raw(READER, text, block=block)
    assert reading.rows == [(ms(3), 0, 4096, 4096)]
    assert reading.log.skipped["failed"] == 1


def test_several_connections_share_the_disk_and_their_ids_do_not_mix(read_raw):
    text = log_text(
        (0, CONNECT),
        (1, CONNECT.replace("connection=1", "connection=2")),
        (2, "connection=1 Read id=1 offset=0x0 count=0x200 ..."),
        (3, "connection=2 Write id=1 offset=0x200 count=0x200 fua=0 ..."),
        (5, "connection=2 ...Write id=1 return=0"),
        (9, "connection=1 ...Read id=1 return=0"),
    )
    reading = read_raw(READER, text)
    assert [op for _, op, _, _ in reading.rows] == [0, 1]
    assert reading.raw.latency_ns.tolist() == [7_000_000, 2_000_000]
    assert reading.raw.volume is None


@pytest.mark.parametrize("block", [None, 200])
def test_a_second_run_in_the_same_log_numbers_its_connections_anew(read_raw, block):
    run = [
        (0, "Ready thread_model=3"),
        (1, CONNECT),
        (2, "connection=1 Read id=1 offset=0x0 count=0x200 ..."),
        (3, "connection=1 ...Read id=1 return=0"),
        (4, "connection=1 Write id=2 offset=0x0 count=0x200 fua=0 ..."),  # killed here
    ]
    later = [(offset + 1000, text) for offset, text in run]
    answer = [(1007, "connection=1 ...Write id=2 return=0")]
    reading = read_raw(READER, log_text(*run, *later, *answer), block=block)
    assert reading.raw.latency_ns.tolist() == [1_000_000, -1, 1_000_000, 3_000_000]


def test_damaged_lines_are_named(read_raw):
    lines = (
        log_text(
            (0, CONNECT),
            (1, "connection=1 Write id=1 offset=0x0 count=0x10"),  # cut off: was 0x1000
            (2, "connection=1 Write id=2 offset=0xzz count=0x1000 fua=0 ..."),
            (3, "connection=1 Write id=x offset=0x0 count=0x1000 fua=0 ..."),
            (4, "connection=1 Jump id=3 offset=0x0 count=0x1000 fua=0 ..."),
            (5, "connection=q Read id=3 offset=0x0 count=0x1000 fua=0 ..."),
            (6, "connection=1 Read id=4 offset=0x0 count=0x1000 ..."),
            (7, "connection=1 ...Read id=4 ret"),
            (8, "connection=1 ...Read id=9 return=0"),
        )
        + b"2026-13-01 00:00:00.000000 connection=1 Flush id=5 ...\n2026-11-2"
    )
    reading = read_raw(READER, lines)
    assert sorted(reading.drops) == [
        (2, "end"),
        (3, "offset"),
        (4, "id"),
        (5, "action"),
        (6, "connection"),
        (8, "return"),
        (10, "time"),
        (11, "time"),
    ]
    assert reading.rows == [(ms(6), 0, 0, 4096)]
    assert reading.log.skipped["answer without its call"] == 1


def test_local_times_become_utc_also_in_the_hour_that_happens_twice(read_raw):
    # Europe/Berlin, 2026-10-25: 02:30 summer time is 00:30 UTC, an hour later it is 02:30 again (01:30 UTC)
    text = "".join(
        f"2026-10-25 {clock} connection=1 Flush id={number} ...\n"
        for number, clock in enumerate(
            ["01:59:00.000000", "02:30:00.000000", "02:10:00.000000", "03:00:00.000000"], 1
        )
    ).encode()
    for block in (None, 1):
        reading = read_raw(READER, text, timezone="Europe/Berlin", block=block)
        expected = pd.DatetimeIndex(
            ["2026-10-24T23:59", "2026-10-25T00:30", "2026-10-25T00:10", "2026-10-25T02:00"]
        )
        # 20 minutes back are a clock that was set, not the end of summer time
        assert reading.raw.time_ns.tolist() == expected.as_unit("ns").asi8.tolist()
    text = text.replace(b"02:10:00", b"02:00:00")
    reading = read_raw(READER, text.replace(b"02:30:00", b"02:59:00"), timezone="Europe/Berlin")
    assert pd.Timestamp(reading.raw.time_ns[2]) == pd.Timestamp("2026-10-25T01:00")
    assert reading.log.options == {"timezone": "Europe/Berlin"}


def test_an_unknown_time_zone_is_refused(read_raw):
    with pytest.raises(UsageError, match="Mars/Olympus"):
        read_raw(READER, EVERYTHING, timezone="Mars/Olympus")


def test_patience_with_an_answer_that_does_not_come_is_bounded(read_raw, monkeypatch):
    monkeypatch.setattr("snapsim.traces.readers.nbdkit._PATIENCE", 2)
    lines = [(0, "connection=1 Read id=99 offset=0x0 count=0x200 ...")]
    for number in range(1, 9):
        lines.append(
            (2 * number, f"connection=1 Write id={number} offset=0x{number:x}000 count=0x1000 fua=0 ...")
        )
        lines.append((2 * number + 1, f"connection=1 ...Write id={number} return=0"))
    lines.append((50, "connection=1 ...Read id=99 return=0"))
    reading = read_raw(READER, log_text(*lines), block=80)
    assert len(reading.rows) == 9
    assert reading.raw.latency_ns.tolist() == [-1, *[1_000_000] * 8]
    assert reading.log.skipped["answer without its call"] == 1
    assert np.diff(reading.raw.time_ns).min() > 0


def test_the_capacity_is_known_before_the_requests_are_checked(tmp_path):
    text = log_text(
        (0, CONNECT),
        (1, "connection=1 Read id=1 offset=0x0 count=0x1000 ..."),
        (2, "connection=1 ...Read id=1 return=0"),
        (3, "connection=1 Write id=2 offset=0x4000000 count=0x1000 fua=0 ..."),
    )
    path = tmp_path / "disk.log"
    path.write_bytes(text)
    trace = read_trace(path, damage_limit=0.5)
    assert trace.info.format == "nbdkit"
    assert trace.capacity == 64 << 20
    assert [(drop.line, drop.field) for drop in trace.info.drops] == [(4, "offset")]
    assert trace.start_ns == ms(1)


CONTENTS = """\
2026-08-06 02:07:23.080000 connection=1 Connect export="" size=0x100000 write=1 contents=snapsim-1
2026-08-06 02:07:23.080001 connection=1 Read id=1 offset=0x0 count=0x1000 ...
2026-08-06 02:07:23.080002 connection=1 ...Read id=1 return=0
2026-08-06 02:07:23.080003 connection=1 Write id=2 offset=0x1000 count=0x1000 digest=00112233445566{0} ...
2026-08-06 02:07:23.080004 connection=1 Write id=3 offset=0x200 count=0x1000 digest={1} ...
2026-08-06 02:07:23.080005 connection=1 ...Write id=3 return=0
2026-08-06 02:07:23.080006 connection=1 ...Write id=2 return=0
2026-08-06 02:07:23.080007 connection=1 Zero id=4 offset=0x0 count=0x1000 trim=1 fua=0 fast=0 ...
2026-08-06 02:07:23.080008 connection=1 ...Zero id=4 return=0
"""


def test_fingerprints_of_writes_are_read(tmp_path: Path) -> None:
    log = tmp_path / "disk.log"
    log.write_text(CONTENTS.format("77", "0" * 16 + "f" * 16))
    trace = read_trace(log, timezone="UTC")
    assert trace.info.contents == "snapsim-1"
    (batch,) = trace.batches(columns=("digest",))
    assert batch.op.tolist() == [0, 1, 1, 3]
    assert batch.digest is not None
    assert batch.digest.tolist() == [
        b"",
        bytes.fromhex("0011223344556677"),
        bytes(8) + b"\xff" * 8,
        b"",
    ]


@pytest.mark.parametrize("digest", ["", "0" * 16, "0" * 31 + "x", "0" * 48])
def test_a_write_without_a_fingerprint_for_each_block_is_damaged(tmp_path: Path, digest: str) -> None:
    log = tmp_path / "disk.log"
    log.write_text(CONTENTS.format("77", digest))
    trace = read_trace(log, timezone="UTC", damage_limit=0.5)
    assert len(trace) == 3
    (drop,) = trace.info.drops
    assert (drop.line, drop.field) == (5, "digest")


def test_a_log_without_contents_has_no_digests(tmp_path: Path) -> None:
    log = tmp_path / "disk.log"
    log.write_text(CONTENTS.replace(" contents=snapsim-1", "").format("77", "00"))
    trace = read_trace(log, timezone="UTC")
    assert trace.info.contents == ""
    (batch,) = trace.batches(columns=("digest",))
    assert batch.digest is None


@pytest.mark.parametrize("block", [1, 100, 333])
def test_fingerprints_whatever_the_blocks(read_raw, block):
    text = CONTENTS.format("77", "0" * 16 + "f" * 16).encode()
    first = b"2026-08-06 02:07:23.079999 Ready thread_model=3\n"
    reading = read_raw(READER, first + text, block=block, timezone="UTC")
    assert reading.log.contents == "snapsim-1"
    assert [len(one) for one in reading.raw.digest] == [0, 8, 16, 0]
