"""HP's SRT traces."""

import struct

import pandas as pd
import pytest

from snapsim.errors import RefusedFileError
from snapsim.traces.readers.hp_srt import READERS

READER = READERS[0]

HEADER = b"""$$TR_IOREC-1.3 (IOAdaptor Upgrade Version)\0
version      = 1.3;
tracedate    = "Sat May 30 00:03:06 1992";
disks        = {
\t\t  0 -> {
\t\t\tdisktype    = hp335h,
\t\t\tnspt        = 113,
\t\t\tntpc        = 8,
\t\t\tncyl        = 1449,
\t\t\tsectorsize  = 256,
\t\t\tsections   = {
\t\t\t     8 -> {
\t\t\t\t"/",
\t\t\t\tsize      = (171760 291362816),
\t\t\t\t}
\t\t\t    }
\t\t\t},
\t\t  1 -> {
\t\t\tdisktype    = small,
\t\t\tnspt        = 10,
\t\t\tntpc        = 2,
\t\t\tncyl        = 5,
\t\t\tsectorsize  = 256,
\t\t\t}
\t\t};
\x0c"""


def record(
    second, microsecond, size, block, device=0x08000008, *, read=False, stop=20_000, kind=1, extra=b""
):
    fields = (56 + len(extra), 4 << 16 | kind, second, microsecond, 174, stop, size, block, device, 4, 1)
    return struct.pack(">14i", *fields, 0x100 | read, 0, 1) + extra


@pytest.mark.parametrize("block", [None, 1, 56, 100])
def test_records(read_raw, block):
    data = (
        HEADER
        + record(0, 5, 4096, 1056)
        + record(10, 6, 8192, 171760, kind=2, extra=bytes(8))
        + record(604_799, 999_999, 2048, 1_308_080, read=True)
        + record(20, 0, 1024, 16, device=0x08000107)
    )
    assert READER.sniff(data, "x")
    reading = read_raw(READER, data, block=block)
    assert reading.rows == [
        (5_000, 1, 1056 * 256, 4096),
        (604_799_999_999_000, 0, 1_308_080 * 256, 2048),
        (20_000_000_000, 1, 4096, 1024),
    ]
    assert reading.raw.latency_ns.tolist() == [20_000_000] * 3
    assert reading.log.volumes == ["0x08000008", "0x08000107"]
    assert reading.log.capacities == {"0x08000008": 113 * 8 * 1449 * 256, "0x08000107": 10 * 2 * 5 * 256}
    assert reading.log.start_ns == pd.Timestamp("1992-05-30T00:03:06Z").value
    assert reading.log.skipped == {"header": 26, "record of another kind": 1}
    assert reading.log.dropped == 0


def test_the_date_is_local_time(read_raw):
    reading = read_raw(READER, HEADER + record(0, 0, 512, 0), timezone="US/Pacific")
    assert reading.log.start_ns == pd.Timestamp("1992-05-30T07:03:06Z").value


def test_a_last_record_that_is_cut_off_is_dropped(read_raw):
    reading = read_raw(READER, HEADER + record(0, 0, 512, 0) + record(1, 0, 512, 0)[:30])
    assert len(reading.rows) == 1
    assert reading.drops == [(2, "record")]


def test_a_file_without_its_header_is_refused(read_raw):
    with pytest.raises(RefusedFileError, match="form feed"):
        read_raw(READER, HEADER[:-1] + b"no form feed")
    with pytest.raises(RefusedFileError, match="form feed"):
        read_raw(READER, record(0, 0, 512, 0))
    assert not READER.sniff(record(0, 0, 512, 0), "x.srt")
