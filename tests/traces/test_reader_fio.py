"""fio's I/O logs, versions 2 and 3."""

import pytest

from snapsim.errors import RefusedFileError
from snapsim.traces.readers.base import Units
from snapsim.traces.readers.fio import READERS

READER = READERS[0]

V2 = b"""fio version 2 iolog
/dev/sda add
/dev/sda open
/dev/sda write 0 4096
/dev/sda wait 1000 0
/dev/sda read 4096 8192
wait 50
wait 500
/dev/nvme0n1p1-a-long-name trim 1048576 65536
/dev/sda wait 99
/dev/sda sync
/dev/sda datasync 0 0
/dev/sda close
"""

V3 = b"""fio version 3 iolog
2 Nvme1n1 add
872 Nvme1n1 open
878 Nvme1n1 write 0 16384
888 Nvme1n1 read 16384 4096
900 Nvme1n1 sync 0 0
10001677 Nvme1n1 close
"""


@pytest.mark.parametrize("block", [None, 1, 30, 100])
def test_version_2_has_time_in_its_waits(read_raw, block):
    reading = read_raw(READER, V2, block=block)
    # waits below 100 microseconds are discarded
    assert reading.rows == [
        (0, 1, 0, 4096),
        (1_000_000, 0, 4096, 8192),
        (1_500_000, 2, 1048576, 65536),
        (1_500_000, 4, 0, 0),
        (1_500_000, 4, 0, 0),
    ]
    assert reading.log.volumes == ["/dev/sda", "/dev/nvme0n1p1-a-long-name"]
    assert reading.raw.volume.tolist() == [0, 0, 1, 0, 0]
    assert reading.raw.line.tolist() == [4, 6, 9, 11, 12]
    assert reading.log.skipped == {"header": 1, "file action": 3, "wait": 4}
    assert reading.log.dropped == 0
    assert reading.log.notes == []


def test_the_shortest_wait_that_counts_is_100_microseconds(read_raw):
    reading = read_raw(READER, b"fio version 2 iolog\nf wait 100\nf wait 99\nf write 0 512\n")
    assert reading.rows == [(100_000, 1, 0, 512)]


def test_version_2_without_waits_says_that_it_has_no_times(read_raw):
    reading = read_raw(READER, b"fio version 2 iolog\nf write 0 512\nf write 512 512\n")
    assert [time for time, *_ in reading.rows] == [0, 0]
    assert "not their times" in reading.log.notes[0]


@pytest.mark.parametrize("block", [None, 1, 40])
def test_version_3_has_microseconds(read_raw, block):
    reading = read_raw(READER, V3, block=block)
    assert reading.rows == [(878_000, 1, 0, 16384), (888_000, 0, 16384, 4096), (900_000, 4, 0, 0)]
    assert reading.log.volumes == ["Nvme1n1"]
    assert reading.log.skipped == {"header": 1, "file action": 3}


def test_units_can_be_overridden(read_raw):
    reading = read_raw(READER, V3, units=Units(time=1_000_000, address=512, length=1))
    assert reading.rows[1] == (888_000_000, 0, 16384 * 512, 4096)


def test_damaged_lines_are_named(read_raw):
    reading = read_raw(
        READER,
        b"fio version 3 iolog\nx f write 0 512\n1 f jump 0 512\n"
        b"2 f write a 512\n3 f write 0\n4 f\n5 f read 0 512\n",
    )
    assert sorted(reading.drops) == [
        (2, "timestamp"),
        (3, "action"),
        (4, "offset"),
        (5, "length"),
        (6, "action"),
    ]
    assert len(reading.rows) == 1
    reading = read_raw(READER, b"fio version 2 iolog\nf wait soon\nf write 0 512\n")
    assert reading.drops == [(2, "wait")]


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"0, 0, 4096\n1, 4096, 4096\n", "version 1"),
        (b"fio version 9 iolog\n", "version 9"),
        (b"hello\n", "no fio log"),
    ],
)
def test_other_versions_are_refused_by_name(read_raw, head, reason):
    with pytest.raises(RefusedFileError, match=reason):
        read_raw(READER, head)


def test_is_recognised_by_content():
    assert READER.sniff(V2, "x")
    assert READER.sniff(V3, "x")
    assert not READER.sniff(V3.split(b"\n", 1)[1], "x.iolog")
