"""Shuffled addresses: what space depends on stays, where things are does not."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import snapsim as ss
from snapsim.errors import UsageError
from snapsim.traces.fingerprints import BLOCK, SCHEME, SIZE, fingerprint, fingerprints
from snapsim.traces.formats import open_trace
from snapsim.traces.privacy import permuted, permuted_extents
from snapsim.types import Op

UNIT, CAPACITY = 16384, 16 * 16384 + 4096  # a rest at the end that is no whole unit

requests = st.lists(
    st.tuples(
        st.sampled_from([Op.READ, Op.WRITE, Op.DISCARD, Op.WRITE_ZEROES, Op.FLUSH]),
        st.integers(0, CAPACITY // 512 - 1),
        st.integers(1, 100),
    ),
    min_size=1,
    max_size=30,
)


def made(rows: list[tuple[Op, int, int]], *, digests: bool = False) -> ss.Trace:
    op = [int(one) for one, _, _ in rows]
    offset = [0 if one == Op.FLUSH else 512 * at for one, at, _ in rows]
    length = [0 if one == Op.FLUSH else min(512 * size, CAPACITY - 512 * at) for one, at, size in rows]
    digest = [
        b"".join(
            bytes([row] * 4 + [block % 256] * 4) for block in range(at // BLOCK, (at + size - 1) // BLOCK + 1)
        )
        if kind == Op.WRITE
        else b""
        for row, (kind, at, size) in enumerate(zip(op, offset, length, strict=True))
    ]
    more = {"digest": digest, "contents": SCHEME} if digests else {}
    times = np.arange(len(rows)) * 1_000_000_000
    return ss.Trace.from_arrays(times, op, offset, length, capacity=CAPACITY, start=0, **more)


@given(rows=requests, seed=st.integers(0, 2**32))
def test_the_lifetimes_stay_at_every_block_size_that_divides_the_unit(
    rows: list[tuple[Op, int, int]], seed: int
) -> None:
    trace = made(rows)
    shuffled = permuted(trace, unit=UNIT, seed=seed).trace
    for block in (512, 4096, UNIT):
        before = ss.count_lifetimes(trace, every="5s", block_size=block)
        after = ss.count_lifetimes(shuffled, every="5s", block_size=block)
        assert np.array_equal(before.counts, after.counts)


@given(rows=requests, seed=st.integers(0, 2**32), rows_per_batch=st.integers(1, 9))
def test_every_byte_goes_where_its_unit_goes(
    rows: list[tuple[Op, int, int]], seed: int, rows_per_batch: int
) -> None:
    trace = made(rows, digests=True)
    result = permuted(trace, unit=UNIT, seed=seed)
    assert sorted(result.places.tolist()) == list(range(CAPACITY // UNIT))

    def moved(byte: int) -> int:
        unit = byte // UNIT
        return int(result.places[unit]) * UNIT + byte % UNIT if unit < len(result.places) else byte

    expected = []
    for batch in trace.batches(columns=("digest",)):
        for op, offset, length, digest in zip(
            batch.op, batch.offset, batch.length, batch.digest, strict=True
        ):
            for at in range(offset, offset + length, 512):
                block = at // BLOCK - offset // BLOCK
                expected.append((int(op), moved(at), digest[block * SIZE : block * SIZE + SIZE]))
    found = []
    for batch in result.trace.batches(rows=rows_per_batch, columns=("digest",)):
        assert len(batch.op) <= rows_per_batch
        for op, offset, length, digest in zip(
            batch.op, batch.offset, batch.length, batch.digest, strict=True
        ):
            assert offset // UNIT == (offset + max(length, 1) - 1) // UNIT
            for at in range(offset, offset + length, 512):
                block = at // BLOCK - offset // BLOCK
                found.append((int(op), at, digest[block * SIZE : block * SIZE + SIZE]))
    assert found == expected


def test_without_a_seed_the_order_is_another_one_each_time() -> None:
    trace = made([(Op.WRITE, 0, 8)])
    assert permuted(trace, unit=4096).places.tolist() != permuted(trace, unit=4096).places.tolist()


def test_a_map_is_shuffled_like_its_trace() -> None:
    result = permuted(made([(Op.WRITE, 0, 8)]), unit=UNIT, seed=7)
    extents = [
        {"start": 0, "length": 3 * UNIT, "depth": 0, "zero": False, "data": True, "offset": 0},
        {"start": 3 * UNIT, "length": CAPACITY - 3 * UNIT, "depth": 0, "zero": True, "data": False},
    ]
    found = permuted_extents(extents, result)
    data = {one["start"] + at for one in found if one["data"] for at in range(0, one["length"], UNIT)}
    assert data == {int(result.places[unit]) * UNIT for unit in range(3)}
    assert sum(one["length"] for one in found) == CAPACITY
    assert all("offset" not in one for one in found)
    assert [one["start"] for one in found] == np.cumsum([0, *(one["length"] for one in found[:-1])]).tolist()


def test_mistakes() -> None:
    trace = made([(Op.WRITE, 0, 64)])
    with pytest.raises(UsageError, match="multiples of 4 KiB"):
        permuted(trace, unit=1000)
    with pytest.raises(UsageError, match="into 0, and"):
        permuted(trace, unit="1MiB")
    md5 = ss.Trace.from_arrays(
        [0], ["write"], [0], [32768], capacity=CAPACITY, digest=[b"x" * 128], contents="md5-4096"
    )
    with pytest.raises(UsageError, match="choose a larger unit"):
        list(permuted(md5, unit=UNIT, seed=1).trace.batches(columns=("digest",)))


# --- fingerprints


def test_equal_pieces_have_equal_fingerprints_under_one_key_only() -> None:
    data = np.random.default_rng(1).bytes(4096)
    assert fingerprint(data, b"key") == fingerprint(data, b"key")
    assert fingerprint(data, b"key") != fingerprint(data, b"another")
    assert fingerprint(data, b"key")[1:] != fingerprint(data[:-1] + b"!", b"key")[1:]
    assert fingerprint(data, b"key")[0] == 255


def test_zeroes_and_size_classes() -> None:
    assert fingerprint(bytes(4096), b"key") == bytes(8)
    assert fingerprint(bytes(512), b"key") == bytes(8)
    text = fingerprint(b"all work and no play " * 195, b"key")[0]
    noise = np.random.default_rng(1).bytes(2048)
    half = fingerprint(noise + bytes(2048), b"key")[0]
    assert 1 <= text < 10
    assert 127 <= half <= 132


@given(offset=st.integers(0, 20_000), size=st.integers(1, 20_000))
def test_pieces_are_cut_at_the_disks_blocks(offset: int, size: int) -> None:
    data = np.random.default_rng(0).bytes(size)
    found = fingerprints(data, offset, b"key")
    blocks = range(offset // BLOCK, (offset + size - 1) // BLOCK + 1)
    assert len(found) == len(blocks) * SIZE
    for number, block in enumerate(blocks):
        piece = data[max(block * BLOCK - offset, 0) : (block + 1) * BLOCK - offset]
        assert found[number * SIZE : (number + 1) * SIZE] == fingerprint(piece, b"key")


def test_examples_of_damaged_lines_do_not_tell_addresses(tmp_path: Path) -> None:
    log = tmp_path / "disk.log"
    log.write_text(
        '2026-01-01 00:00:00.000001 connection=1 Connect export="" tls=0 size=0x100000\n'
        "2026-01-01 00:00:00.000002 connection=1 Write id=1 offset=0x5000 count=0x1000 fua=0 ...\n"
        "2026-01-01 00:00:00.000003 connection=1 ...Write id=1 return=0\n"
        "2026-01-01 00:00:00.000004 connection=1 Write id=2 offset=0x76543 cou\n"
    )
    trace = open_trace(log, format="nbdkit", timezone="UTC", damage_limit=1.0)
    assert "76543" in str(trace.info.drops)
    stored = tmp_path / "disk.parquet"
    permuted(trace, unit="64KiB").trace.save(stored)
    assert b"76543" not in stored.read_bytes()
    assert open_trace(stored).info.dropped_lines == 1
