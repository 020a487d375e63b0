"""blkparse's default text."""

import pytest

from snapsim.errors import UsageError
from snapsim.traces.readers.blkparse import READERS
from snapsim.traces.readers.tracer import NONE, UNKNOWN, decode

READER = READERS[0]


def event(time, action, rwbs, rest, device="8,16", cpu=1):
    return f"{device:>7} {cpu:>3} {1:>8} {time:>14} {4020:>5}  {action:>2} {rwbs:>3} {rest}\n"


SUMMARY = """CPU0 (8,16):
 Reads Queued:           0,        0KiB\t Writes Queued:           0,        0KiB
 Read depth:             7        \t Write depth:            33
 IO unplugs:             0        \t Timer unplugs:           0

Total (8,16):
 Reads Completed:     9039,     1023MiB\t Writes Completed:      848,   246040KiB

Throughput (R/W): 0KiB/s / 0KiB/s
Events (8,16): 29662 entries
Skips: 0 forward (0 -   0.0%)
"""

QUEUED = (
    event("0.000000000", "A", "W", "1000 + 8 <- (8,17) 900")
    + event("0.000001850", "Q", "W", "1000 + 8 [java]")
    + event("0.000002000", "G", "W", "1000 + 8 [java]")
    + event("0.000002100", "P", "N", "[java]")
    + event("0.000002200", "I", "W", "1000 + 8 [java]")
    + event("0.000002300", "U", "N", "[java] 1")
    + event("0.000002400", "m", "N", "cfq4020 added")
    + event("0.000003000", "D", "W", "1000 + 8 [java]")
    + event("0.900000000", "C", "W", "1000 + 8 [0]")
    + event("1.5", "Q", "RA", "2000 + 256 [tmux: server]")
    + event("2.000000001", "D", "R", "2000 + 256 [java]")
)


@pytest.mark.parametrize("block", [None, 1, 70, 200])
def test_one_action_is_counted(read_raw, block):
    reading = read_raw(READER, (QUEUED + SUMMARY).encode(), block=block)
    assert reading.rows == [(1850, 1, 512_000, 4096), (1_500_000_000, 0, 1_024_000, 131_072)]
    assert reading.raw.line.tolist() == [2, 10]
    assert reading.log.options["action"] == "Q (first present of Q, D, C)"
    assert reading.log.volumes == ["8,16"]
    assert reading.log.dropped == 0
    assert reading.log.skipped == {
        "blank line": 2, "summary": 9, "action A": 1, "action G": 1, "action P": 1, "action I": 1,
        "action U": 1, "action m": 1, "action D": 2, "action C": 1,
    }  # fmt: skip


def test_the_action_can_be_chosen(read_raw):
    assert len(read_raw(READER, QUEUED.encode(), action="d").rows) == 2
    reading = read_raw(READER, QUEUED.encode(), action="C")
    assert reading.rows == [(900_000_000, 1, 512_000, 4096)]
    assert reading.log.options["action"] == "C"
    with pytest.raises(UsageError, match="'G'"):
        read_raw(READER, QUEUED.encode(), action="G")


@pytest.mark.parametrize(("missing", "expected"), [("Q", "D"), ("QD", "C")])
def test_auto_takes_the_first_action_that_is_present(read_raw, missing, expected):
    text = "".join(line for line in QUEUED.splitlines(keepends=True) if line.split()[5] not in missing)
    assert read_raw(READER, text.encode(), block=64).log.options["action"].startswith(expected)


def test_flushes_discards_and_failures(read_raw):
    text = (
        event("0.1", "C", "FWFS", "1000 + 8 [0]")  # a write that flushes first counts as a write
        + event("0.2", "C", "FN", "[0]")
        + event("0.3", "C", "FWS", "0 [0]")
        + event("0.4", "C", "FF", "0 + 0 [0]")
        + event("0.5", "C", "DS", "4096 + 2048 [0]")
        + event("0.6", "C", "WFSM", "8 + 8 [0]")
        + event("0.7", "C", "N", "0 [0]")
        + event("0.8", "C", "R", "36 (12 00 00 00 24 00) [0]")  # a SCSI command passed through
        + event("0.9", "C", "W", "16 + 8 [-5]")
    )
    reading = read_raw(READER, text.encode())
    assert [(op, offset, length) for _, op, offset, length in reading.rows] == [
        (1, 512_000, 4096),
        (4, 0, 0),
        (4, 0, 0),
        (4, 0, 0),
        (2, 2_097_152, 1_048_576),
        (1, 4096, 4096),
    ]
    assert reading.log.skipped == {"event without sectors": 2, "failed": 1}
    assert reading.log.dropped == 0


def test_a_process_name_in_brackets_is_no_failure(read_raw):
    text = event("0.1", "Q", "W", "8 + 8 [-bash]") + event("0.2", "Q", "W", "8 + 8 [kworker/u8:1-5]")
    assert len(read_raw(READER, text.encode()).rows) == 2


def test_devices_are_volumes(read_raw):
    text = "".join(
        event(f"0.{n}", "Q", "W", "8 + 8 [x]", device=device)
        for n, device in enumerate(["8,0", "259,12", "8,0"])
    )
    reading = read_raw(READER, text.encode(), block=60)
    assert reading.log.volumes == ["8,0", "259,12"]
    assert reading.raw.volume.tolist() == [0, 1, 0]


def test_damaged_lines_are_named(read_raw):
    good = event("0.1", "Q", "W", "8 + 8 [x]")
    text = (
        good
        + event("0.x", "Q", "W", "8 + 8 [x]")
        + event("0.3", "Q", "?", "8 + 8 [x]")
        + event("0.4", "Q", "W", "-8 + 8 [x]")
        + event("0.5", "Q", "W", "8 + eight [x]")
        + event("0.6", "QQ", "W", "8 + 8 [x]")
        + "8;16 1 1 0.7 4020 Q W 8 + 8 [x]\n"
        + "  8,16   1        4\n"
        + good
    )
    reading = read_raw(READER, text.encode())
    assert sorted(reading.drops) == [
        (2, "time"), (3, "RWBS"), (4, "sector"), (5, "sectors"), (6, "action"), (7, "device"), (8, "action"),
    ]  # fmt: skip
    assert len(reading.rows) == 2


def test_is_recognised_by_content():
    assert READER.sniff((QUEUED + SUMMARY).encode(), "x")
    assert not READER.sniff(
        b"89966811921625 4257 nfsd 488846200 8 W 6 0 2c4787c7671c2f638777c4ab72859ce1\n", "a.blkparse"
    )


@pytest.mark.parametrize(
    ("letters", "expected"),
    [
        ("R", (0, False)), ("RA", (0, False)), ("RSM", (0, False)), ("W", (1, False)), ("WBS", (1, False)),
        ("WFS", (1, False)), ("FWFS", (1, True)), ("FW", (1, True)), ("D", (2, False)), ("DES", (2, False)),
        ("F", (4, True)), ("FS", (4, True)), ("FF", (4, True)), ("FN", (NONE, True)), ("N", (NONE, False)),
        ("", (UNKNOWN, False)), ("X", (UNKNOWN, False)), ("R0", (UNKNOWN, False)),
    ],
)  # fmt: skip
def test_letters(letters, expected):
    assert decode(letters) == expected
