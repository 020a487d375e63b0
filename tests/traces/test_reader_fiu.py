"""FIU's traces with content digests."""

import hashlib

import pytest

from snapsim.traces.readers.fiu import READERS

READER = READERS[0]

DIGEST = hashlib.md5(b"page").hexdigest()
SECTOR_DIGESTS = "".join(hashlib.md5(bytes([sector])).hexdigest() for sector in range(8))
ZERO_ENDED = "ab" * 12 + "00" * 4


def line(time, process, block, rw, digest=DIGEST, device="6 0", pid="4257"):
    return f"{time} {pid} {process} {block} 8 {rw} {device} {digest}\n"


TEXT = (
    line(89966811921625, "nfsd", 488846200, "W")
    + line(89966522969723, "rpc.mountd (a b)", 18579576, "R", ZERO_ENDED)
    + line(89966811999999, "kjournald", 16, "W", SECTOR_DIGESTS, device="6 16")
)


@pytest.mark.parametrize("block", [None, 1, 300])
def test_requests_and_their_digests(read_raw, block):
    reading = read_raw(READER, TEXT.encode(), block=block)
    assert reading.rows == [
        (89966811921625, 1, 488846200 * 512, 4096),
        (89966522969723, 0, 18579576 * 512, 4096),
        (89966811999999, 1, 8192, 4096),
    ]
    assert reading.raw.digest.tolist() == [
        bytes.fromhex(text) for text in (DIGEST, ZERO_ENDED, SECTOR_DIGESTS)
    ]
    assert reading.log.dropped == 0


def test_devices_share_the_addresses_unless_they_are_parted(read_raw):
    together = read_raw(READER, TEXT.encode())
    assert together.raw.volume is None
    assert "several devices" in together.log.notes[0]
    apart = read_raw(READER, TEXT.encode(), devices="volume")
    assert apart.log.volumes == ["6,0", "6,16"]
    assert apart.raw.volume.tolist() == [0, 0, 1]
    assert not apart.log.notes


def test_the_archive_that_a_copy_is_glued_to_is_skipped(read_raw):
    glued = (
        "./PaxHeaders.15436/x.blkparse"
        + "\0" * 60
        + "0000644\0ustar\x0000"
        + "\0" * 20
        + "30 atime=1410563628.27\n"
        "28 ctime=1410563671.7201132\n" + "\0" * 300 + "ustar\x0000root\0" + line(1, "glued", 0, "W")
    )
    reading = read_raw(READER, (glued + TEXT + "\0" * 512).encode())
    assert len(reading.rows) == 3
    assert reading.raw.line.tolist() == [4, 5, 6]
    assert sum(reading.log.skipped.values()) == 4
    assert reading.log.dropped == 0


def test_damaged_lines_are_named(read_raw):
    text = (
        line(1, "a", 0, "W")
        + line("1x", "a", 0, "W")
        + line(1, "a", "-5", "W")
        + line(1, "a", 0, "Q")
        + line(1, "a", 0, "W", device="6 x")
        + line(1, "a", 0, "W", DIGEST[:-1])
        + line(1, "a", 0, "W", DIGEST[:-1] + "g")
        + "1 2 3\n"
    )
    reading = read_raw(READER, text.encode())
    assert sorted(reading.drops) == [
        (2, "time"), (3, "block"), (4, "rw"), (5, "device"), (6, "digest"), (7, "digest"), (8, "line"),
    ]  # fmt: skip
    assert reading.rows == [(1, 1, 0, 4096)]


def test_is_recognised_by_content():
    assert READER.sniff(TEXT.encode(), "x")
    assert not READER.sniff(b"  8,16   1        4 0.1 3646  I   R 5632664 + 256 [java]\n", "x.blkparse")


@pytest.mark.parametrize(
    ("lengths", "contents"),
    [([1, 1], "md5-4096"), ([8, 8], "md5-512"), ([1, 8], ""), ([8, 1, 8], "")],
)
@pytest.mark.parametrize("block", [None, 1])
def test_what_the_digests_are_is_said_if_it_is_the_same_throughout(read_raw, lengths, contents, block):
    text = "".join(line(row, "nfsd", 8, "W", DIGEST * count) for row, count in enumerate(lengths))
    assert read_raw(READER, text.encode(), block=block).log.contents == contents
