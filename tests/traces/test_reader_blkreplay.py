"""blkreplay's load files."""

import pytest

from snapsim.traces.readers.blkreplay import READERS

READER = READERS[0]

HEADER = """Copyright Somebody

You may copy this file; there is no warranty.
####
start ; sector; length ; op ;  replay_delay=0 ; replay_duration=0
"""
ROWS = """      0.449518165 ;     37766917 ;   14 ; W ; 0.0 ; 0.0
      1.5 ;     8 ;   8 ; R ; 0.0 ; 0.0
"""


@pytest.mark.parametrize("block", [None, 1, 64])
def test_the_header_may_come_again_in_the_middle(read_raw, block):
    text = HEADER.replace("; there", ", there") + ROWS
    late = "    3600.000000001 ; 16 ; 8 ; RA ; 0.0 ; 0.0\n"
    reading = read_raw(
        READER, (text + text.replace("0.449518165", "2.449518165") + late).encode(), block=block
    )
    assert reading.rows == [
        (449_518_165, 1, 37766917 * 512, 14 * 512),
        (1_500_000_000, 0, 4096, 4096),
        (2_449_518_165, 1, 37766917 * 512, 14 * 512),
        (1_500_000_000, 0, 4096, 4096),
        (3_600_000_000_001, 0, 8192, 4096),
    ]
    assert reading.log.skipped == {"header": 8, "blank line": 2}
    assert reading.log.dropped == 0
    assert reading.raw.line.tolist() == [6, 7, 13, 14, 15]


def test_discards_and_flushes(read_raw):
    reading = read_raw(
        READER, b"0.1 ; 8 ; 16 ; D ; 0 ; 0\n0.2 ; 0 ; 0 ; FN ; 0 ; 0\n0.3 ; 8 ; 8 ; FWFS ; 0 ; 0\n"
    )
    assert [row[1:] for row in reading.rows] == [(2, 4096, 8192), (4, 0, 0), (1, 4096, 4096)]


def test_damaged_lines_are_named(read_raw):
    text = (
        ROWS
        + "x ; 1 ; 2 ; W ; 0.0 ; 0.0\n"
        + "1.0 ; -1 ; 2 ; W ; 0.0 ; 0.0\n"
        + "1.0 ; 1 ; 2.5 ; W ; 0.0 ; 0.0\n"
        + "1.0 ; 1 ; 2 ; Q ; 0.0 ; 0.0\n"
        + "1.0 ; 1 ; 2\n"
        + "      1.0"
    )
    reading = read_raw(READER, text.encode())
    assert sorted(reading.drops) == [
        (3, "start"),
        (4, "sector"),
        (5, "length"),
        (6, "op"),
        (7, "op"),
        (8, "sector"),
    ]
    assert len(reading.rows) == 2


def test_is_recognised_by_content():
    assert READER.sniff((HEADER + ROWS).encode(), "x")
    assert READER.sniff(ROWS.encode(), "x")
    assert not READER.sniff(b"0;1;2;3\n", "x.load")
    assert not READER.sniff(b"", "x.load")
