"""CloudPhysics vscsi records, versions 1 and 2."""

import struct

import pytest

from snapsim.errors import RefusedFileError
from snapsim.traces.readers.base import OUT_OF_RANGE
from snapsim.traces.readers.vscsi import READERS

READER = READERS[0]


def v1(command, block, length, time, version=0x0100):
    return struct.pack("<IIIHHQQ", 0x80000000, length, 1, command, version, block, time)


def v2(command, block, length, time, response, version=0x0200):
    return struct.pack("<HHIIIQQQ", command, version, 7, length, 1, block, time, response)


def test_version_1(read_raw):
    data = v1(0x2A, 42932745, 512, 5633898925858) + v1(0x28, 8, 4096, 5633898925900)
    assert READER.sniff(data, "x")
    reading = read_raw(READER, data)
    assert reading.rows == [
        (5633898925858000, 1, 42932745 * 512, 512),
        (5633898925900000, 0, 4096, 4096),
    ]
    assert reading.raw.line.tolist() == [1, 2]
    assert reading.raw.latency_ns is None
    assert reading.log.options == {"version": "1"}


def test_version_2_has_response_times(read_raw):
    data = v2(0x8A, 1, 1024, 10, 250) + v2(0x88, 2, 512, 20, 0)
    assert READER.sniff(data, "x")
    reading = read_raw(READER, data)
    assert reading.rows == [(10_000, 1, 512, 1024), (20_000, 0, 1024, 512)]
    assert reading.raw.latency_ns.tolist() == [250_000, 0]


def test_every_command_is_what_it_does(read_raw):
    reads, writes, same, flushes = (
        (0x08, 0x28, 0x88, 0xA8),
        (0x0A, 0x2A, 0x8A, 0xAA),
        (0x41, 0x93),
        (0x35, 0x91),
    )
    commands = [*reads, *writes, *same, 0x42, *flushes]
    data = b"".join(v1(command, 16, 8192, time) for time, command in enumerate(commands))
    data += v1(0x00, 0, 0, 50) + v1(0x12, 0, 36, 51) + v1(0x12, 0, 36, 52)  # TEST UNIT READY, INQUIRY
    data += v1(0x42, 16, 24, 53)  # UNMAP with the length of its parameter list instead of an extent
    reading = read_raw(READER, data)
    assert reading.raw.op.tolist() == [0] * 4 + [1] * 4 + [3, 3] + [2] + [4, 4]
    assert set(reading.raw.length[:-2].tolist()) == {8192}
    assert reading.raw.length[-2:].tolist() == [0, 0]
    assert reading.log.skipped == {
        "SCSI command 0x00": 1,
        "SCSI command 0x12": 2,
        "UNMAP without its extent": 1,
    }
    assert any("WRITE SAME" in note for note in reading.log.notes)
    assert any("UNMAP" in note for note in reading.log.notes)


@pytest.mark.parametrize("block", [None, 32, 100])
def test_a_last_record_that_is_cut_off_is_dropped(read_raw, block):
    reading = read_raw(
        READER,
        b"".join(v1(0x28, 0, 512, time) for time in range(300)) + v1(0x28, 0, 512, 300)[:17],
        block=block,
    )
    assert len(reading.rows) == 300
    assert reading.raw.line.tolist() == list(range(1, 301))
    assert reading.drops == [(301, "record")]


def test_records_of_another_version_in_the_middle_are_damage(read_raw):
    records = [v1(0x28, 0, 512, time) for time in range(300)]
    records[17] = v1(0x28, 0, 512, 17, version=0x4444)
    reading = read_raw(READER, b"".join(records))
    assert reading.drops == [(18, "version")]
    assert len(reading.rows) == 299


def test_what_does_not_fit_into_63_bits_is_left_to_validation(read_raw):
    reading = read_raw(READER, v1(0x28, 2**63, 512, 1) + v1(0x28, 2**56, 512, 2))
    assert reading.raw.offset.tolist() == [OUT_OF_RANGE, OUT_OF_RANGE]


@pytest.mark.parametrize(
    "other", [b"", b"128166481075232275,rsrch,1,Write,281358336,45056,94872\n" * 40, bytes(4800)]
)
def test_other_files_are_not_claimed_and_refused_when_named(read_raw, other):
    assert not READER.sniff(other, "x.vscsi")
    with pytest.raises(RefusedFileError, match="no vscsi records"):
        read_raw(READER, other)
