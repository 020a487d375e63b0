"""What content digests say, against a model of sets and dicts that follows every block."""

import hashlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import snapsim as ss
from snapsim.errors import UsageError
from snapsim.traces import contents as module
from snapsim.traces.fingerprints import fingerprint, fingerprints
from snapsim.types import DISCARD, FLUSH, READ, WRITE, WRITE_ZEROES

BLOCK = 4096
ZERO = "0" * 8
KEY = b"secret"
SECTOR = 512
# what a sector may hold: zeroes, text that compresses, noise, and a second noise
SECTORS = [
    bytes(SECTOR),
    (b"text " * 200)[:SECTOR],
    *(np.random.default_rng(seed).bytes(SECTOR) for seed in (1, 2)),
]


def md5s(data, offset, piece):
    del offset
    return b"".join(hashlib.md5(data[at : at + piece]).digest() for at in range(0, len(data), piece))


DIGESTS = {
    "snapsim-1": lambda data, offset: fingerprints(data, offset, KEY),
    "md5-4096": lambda data, offset: md5s(data, offset, 4096),
    "md5-512": lambda data, offset: md5s(data, offset, 512),
}
UNIT = {"snapsim-1": 512, "md5-4096": 4096, "md5-512": 512}


def data_of(sectors):
    """Return what a text says, one digit a sector."""
    return b"".join(SECTORS[int(kind)] for kind in sectors)


def trace_of(requests, scheme="snapsim-1", *, capacity="64KiB", volume=None):
    """Make a trace of (op, offset, sectors or length, has a digest)."""
    length = [SECTOR * len(data) if isinstance(data, str) else data for _, _, data, _ in requests]
    digest = [
        DIGESTS[scheme](data_of(data), offset) if isinstance(data, str) and told else b""
        for _, offset, data, told in requests
    ]
    return ss.Trace.from_arrays(
        range(len(requests)),
        [op for op, *_ in requests],
        [offset for _, offset, *_ in requests],
        length,
        digest=np.array([*digest, None], object)[:-1],
        contents=scheme,
        capacity=capacity,
        volume=volume,
    )


def model(requests):
    """Follow every block through the requests."""
    count, held, seen = Counter(), {}, set()
    for op, offset, data, told in requests:
        size = SECTOR * len(data) if isinstance(data, str) else data
        covered = range(-(-offset // BLOCK), (offset + size) // BLOCK)
        touched = range(offset // BLOCK, -(-(offset + size) // BLOCK)) if size else range(0)
        if op in {DISCARD, WRITE_ZEROES}:
            held = {block: what for block, what in held.items() if block not in covered}
        elif op in {READ, WRITE} and not told:
            count["undigested_requests"] += op == WRITE
            if op == WRITE:
                held = {block: what for block, what in held.items() if block not in touched}
        elif op in {READ, WRITE}:
            for block in touched:
                if block not in covered:
                    if op == WRITE:
                        count["partial_blocks"] += 1
                        held.pop(block, None)
                    continue
                what = data[(block * BLOCK - offset) // SECTOR :][:8]
                if op == WRITE:
                    count["written_blocks"] += 1
                    count["zero_blocks"] += what == ZERO
                    count["duplicate_blocks"] += what in seen
                    count["overwritten_blocks"] += block in held
                    count["unchanged_blocks"] += held.get(block) == what
                    if what != ZERO:
                        seen.add(what)
                held[block] = what
    count["distinct_blocks"] = len(seen)
    count["final_blocks"] = len(held)
    count["final_zero_blocks"] = sum(what == ZERO for what in held.values())
    count["final_distinct_blocks"] = len({what for what in held.values() if what != ZERO})
    return count


@st.composite
def requests(draw, scheme):
    """Requests to 64 KiB, with few different contents so that they repeat."""
    unit = UNIT[scheme]
    made = []
    for _ in range(draw(st.integers(0, 25))):
        op = draw(st.sampled_from([WRITE, WRITE, WRITE, READ, DISCARD, WRITE_ZEROES, FLUSH]))
        if op == FLUSH:
            made.append((op, 0, 0, False))
            continue
        aligned = draw(st.booleans())
        step = BLOCK if aligned else unit
        first = draw(st.integers(0, (65536 - step) // step)) * step
        length = min(draw(st.integers(1, 4 if aligned else 3 * BLOCK // unit)) * step, 65536 - first)
        if op in {DISCARD, WRITE_ZEROES}:
            made.append((op, first, length, False))
            continue
        fill = draw(st.lists(st.sampled_from(range(4)), min_size=1, max_size=3))
        # each block is filled alike, so that equal blocks occur
        data = "".join(str(fill[(first + at) // BLOCK % len(fill)]) for at in range(0, length, SECTOR))
        made.append((op, first, data, draw(st.integers(0, 9)) > 0))
    return made


@pytest.mark.parametrize("scheme", list(DIGESTS))
@given(data=st.data())
def test_the_counts_are_those_of_the_model(scheme, data):
    given_ = data.draw(requests(scheme))
    rows = data.draw(st.sampled_from([1, 3, 1000]))
    before, module._ROWS = module._ROWS, rows
    try:
        found = ss.statistics.contents(trace_of(given_, scheme))
    finally:
        module._ROWS = before
    expected = model(given_)
    names = [name for name in vars(found) if name.endswith(("_blocks", "_requests"))]
    assert {name: getattr(found, name) for name in names} == {name: expected[name] for name in names}


def example():
    text, noise, zero = (kind * 8 for kind in "120")
    return [
        (WRITE, 0, text + noise + zero, True),
        (WRITE, 0, text, True),  # unchanged
        (WRITE, 4096, text, True),  # a duplicate, and a change
        (READ, 16384, noise, True),
        (WRITE, 16384, noise, True),  # unchanged, as the read told
        (WRITE, 20480 + 512, noise[:4], True),  # a part
        (WRITE, 8192, 4096, False),  # nothing is told about it
    ]


def test_shares_and_compressibility():
    found = ss.statistics.contents(trace_of(example()))
    assert (found.written_blocks, found.zero_blocks, found.duplicate_blocks) == (6, 1, 3)
    assert (found.overwritten_blocks, found.unchanged_blocks) == (3, 2)
    assert (found.partial_blocks, found.undigested_requests) == (1, 1)
    assert found.zero_share == pytest.approx(1 / 6)
    assert found.duplicate_share == 0.5
    assert found.unchanged_share == pytest.approx(2 / 3)
    assert (found.final_blocks, found.final_zero_blocks, found.final_distinct_blocks) == (3, 0, 2)
    assert found.final_duplicate_share == pytest.approx(1 / 3)
    text, noise = (fingerprint(SECTORS[kind] * 8, KEY)[0] for kind in (1, 2))
    assert noise < 255, "eight times the same sector: shrinks to an eighth or so"
    assert found.compressed_share == pytest.approx((3 * text + 2 * noise) / 5 / 254)
    by_size = found.compressibility(bins=2)
    assert by_size == {"zero": 1, "up to 50 %": 5, "up to 100 %": 0, "incompressible": 0}
    told = found.to_dict()
    assert sum(told["compressibility"].values()) == found.written_blocks
    assert told["block_bytes"] == 4096
    assert "50.0% hold what was written before" in found.text()
    assert "1 parts of blocks, 1 writes without digests" in found.text()


def test_what_does_not_shrink_is_counted_apart():
    digest = fingerprints(np.random.default_rng(3).bytes(4096), 0, KEY)
    found = ss.statistics.contents(
        ss.Trace.from_arrays([0], ["write"], [0], [4096], digest=[digest], contents="snapsim-1")
    )
    assert found.compressed_share == 1
    assert found.compressibility()["incompressible"] == 1
    with pytest.raises(UsageError, match="bins=0"):
        found.compressibility(bins=0)


def test_md5_sums_say_nothing_about_compression():
    found = ss.statistics.contents(trace_of([(WRITE, 0, ZERO * 2, True)], "md5-512"))
    assert found.zero_blocks == 2
    assert found.size_classes is found.compressed_share is found.compressibility() is None
    assert "compressible" not in found.text()
    assert found.to_dict()["compressed_share"] is None


def test_shares_of_nothing():
    found = ss.statistics.contents(trace_of([(FLUSH, 0, 0, False)]))
    assert found.zero_share is found.duplicate_share is found.unchanged_share is None
    assert found.final_duplicate_share is found.compressed_share is None
    assert "none of them" in found.text()


def test_blocks_of_volumes_are_apart_but_contents_are_compared():
    text = "1" * 8
    both = [(WRITE, 0, text, True), (WRITE, 0, text, True)]
    apart = ss.statistics.contents(trace_of(both, volume=["a", "b"]))
    assert (apart.overwritten_blocks, apart.duplicate_blocks, apart.final_blocks) == (0, 1, 2)
    together = ss.statistics.contents(trace_of(both))
    assert (together.unchanged_blocks, together.duplicate_blocks, together.final_blocks) == (1, 1, 1)


def test_a_large_discard_costs_no_more_than_what_it_ends():
    text = "1" * 8
    many = [(WRITE, 0, text, True), (DISCARD, 0, 1 << 60, False), (WRITE, 0, text, True)]
    found = ss.statistics.contents(trace_of(many, capacity=None))
    assert (found.overwritten_blocks, found.final_blocks) == (0, 1)


def test_traces_without_digests_are_refused_with_what_to_do():
    plain = ss.Trace.from_arrays([0], ["write"], [0], [4096])
    with pytest.raises(UsageError, match=r"no content digests.*snapsim record nbd --contents"):
        ss.statistics.contents(plain)
    odd = ss.Trace.from_arrays([0], ["write"], [0], [4096], digest=[b"x"], contents="sha-9")
    with pytest.raises(UsageError, match="'sha-9' are unknown: choose from snapsim-1, md5-4096, md5-512"):
        ss.statistics.contents(odd)


def test_progress_is_told():
    told = []
    ss.statistics.contents(trace_of(example()), progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (7, 7)


def test_fiu_mail(public_traces):
    """The sample's own count: 304 of 1,101 digests of writes repeat."""
    path = public_traces / "fiu" / "mail_cheetah-110108_first10000.blkparse.gz"
    trace = ss.read_trace(path)
    found = ss.statistics.contents(trace)
    assert trace.info.contents == "md5-4096"
    writes = [
        digest
        for batch in trace.batches(columns=["digest"])
        for op, digest in zip(batch.op, batch.digest, strict=True)
        if op == WRITE
    ]
    zero = hashlib.md5(bytes(4096)).digest()
    assert found.written_blocks == len(writes) == 1101
    assert found.zero_blocks == writes.count(zero)
    assert found.duplicate_blocks == len(writes) - writes.count(zero) - len(set(writes) - {zero})


def test_fiu_homes_has_a_digest_for_each_sector(public_traces):
    trace = ss.read_trace(public_traces / "fiu" / "homes.replay.0")
    assert trace.info.contents == "md5-512"
    found = ss.statistics.contents(trace)
    assert found.written_blocks + found.partial_blocks > 900
    assert found.undigested_requests == 0
