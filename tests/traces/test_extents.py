"""Unions of byte ranges: equal to a set of bytes, however the ranges are cut into batches."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapsim.traces.extents import (
    ExtentSet,
    VolumeExtents,
    by_volume,
    complement,
    intersection,
    union,
)
from snapsim.traces.footprint import GrowingFootprint

ranges = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 40)), max_size=60)
cuts = st.lists(st.integers(0, 60), max_size=6)


def columns(pairs):
    table = np.array(pairs, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def bytes_of(pairs):
    return {byte for offset, length in pairs for byte in range(offset, offset + length)}


def filled(pairs, at=()):
    result = ExtentSet()
    edges = [0, *sorted(at), len(pairs)]
    for first, end in pairwise(edges):
        result.add(*columns(pairs[first:end]))
    return result


@given(ranges, cuts)
def test_extents_are_the_runs_of_the_set_of_bytes(pairs, at):
    start, end = filled(pairs, at).extents
    held = [
        byte for first, last in zip(start.tolist(), end.tolist(), strict=True) for byte in range(first, last)
    ]
    assert held == sorted(bytes_of(pairs))
    assert (start < end).all()
    assert (end[:-1] < start[1:]).all()  # neither overlapping nor touching


@given(ranges, cuts, st.integers(1, 70))
def test_covered_bytes_counts_the_blocks_that_hold_a_byte(pairs, at, block_size):
    blocks = {byte // block_size for byte in bytes_of(pairs)}
    assert filled(pairs, at).covered_bytes(block_size) == len(blocks) * block_size


@given(ranges, ranges)
def test_difference_is_that_of_the_sets_of_bytes(pairs, others):
    start, end = intersection(filled(pairs).extents, complement(filled(others).extents))
    held = [
        byte for first, last in zip(start.tolist(), end.tolist(), strict=True) for byte in range(first, last)
    ]
    assert held == sorted(bytes_of(pairs) - bytes_of(others))
    assert (start < end).all()
    assert (end[:-1] < start[1:]).all()


@given(st.lists(ranges, max_size=12), st.integers(1, 70))
def test_a_growing_footprint_counts_like_the_set_of_blocks(batches, block_size):
    footprint, so_far = GrowingFootprint(block_size), set()
    for batch in batches:
        pairs = [(offset, length) for offset, length in batch if length]
        footprint.add(*columns(pairs))
        so_far |= {byte // block_size for byte in bytes_of(pairs)}
        assert footprint.covered_bytes() == len(so_far) * block_size


def test_a_large_footprint_is_counted_without_merging_what_is_new():
    footprint, rng, so_far = GrowingFootprint(4096), np.random.default_rng(1), set()
    for n in (5000, *[40] * 30):
        blocks = rng.integers(0, 100_000, n)
        footprint.add(blocks * 4096 + 7, np.full(n, 4096))
        so_far |= set(blocks.tolist()) | set((blocks + 1).tolist())
        assert footprint.covered_bytes() == len(so_far) * 4096


@given(ranges, ranges)
def test_adding_another_set_is_the_union(pairs, others):
    both = filled(pairs)
    both.add_extents(filled(others).extents)
    assert both.covered_bytes() == len(bytes_of(pairs) | bytes_of(others))


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 200), st.integers(1, 40)), max_size=40),
    st.integers(1, 70),
)
def test_volumes_are_counted_apart(rows, block_size):
    table = np.array(rows, np.int64).reshape(-1, 3)
    extents = VolumeExtents()
    extents.add(table[:, 1], table[:, 2], table[:, 0].astype(np.int32))
    copy = VolumeExtents()
    copy.update(extents)
    blocks = {(volume, byte // block_size) for volume, *pair in rows for byte in bytes_of([pair])}
    assert extents.covered_bytes(block_size) == copy.covered_bytes(block_size) == len(blocks) * block_size


def test_rows_of_a_volume_keep_their_order():
    volume = np.array([2, 0, 2, 5, 0], np.int32)
    assert {code: rows.tolist() for code, rows in by_volume(volume)} == {0: [1, 4], 2: [0, 2], 5: [3]}
    assert [code for code, _ in by_volume(None)] == [0]
    assert list(by_volume(volume[:0])) == []


def test_addresses_up_to_the_last_byte_of_63_bits():
    last = np.iinfo(np.int64).max
    extents = ExtentSet()
    extents.add(np.array([last - 1]), np.array([1]))
    assert extents.covered_bytes(1 << 20) == 1 << 20


def test_nothing():
    extents = ExtentSet()
    assert extents.covered_bytes(4096) == 0
    assert extents.extents.start.size == 0
    extents.add(np.array([7]), np.array([0]))
    assert extents.nbytes == 0
    assert union(np.empty(0, np.int64), np.empty(0, np.int64)).start.size == 0
    assert repr(filled([(0, 5), (9, 1)])) == "<ExtentSet: 6 bytes in 2 ranges>"


@pytest.mark.parametrize("rounds", [8, 64])
def test_memory_follows_the_footprint_not_the_requests(rounds):
    rng = np.random.default_rng(5)
    extents = ExtentSet()
    for _ in range(rounds):
        extents.add(rng.integers(0, 2000, 4000) * 4096, np.full(4000, 512))
    # 2000 places of 16 bytes each, and at most three times that while levels wait to be merged
    assert extents.nbytes <= 3 * 2000 * 16
    assert extents.covered_bytes() == 2000 * 512
