"""Pool rules, against published examples and values worked out by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapsim.engine import pools
from snapsim.units import GIB, KIB, MIB, TIB


def test_thin_metadata_equals_what_the_tool_says():
    """`thin_metadata_size -b 64k -s 1t -m 100` was seen to print 1,066,024 sectors: 520 MiB."""
    assert pools.thin_metadata_full(TIB, block_size=64 * KIB, thins=100) == 1_066_024 * 512


def test_the_documented_rule_is_a_half_more_than_the_tool_says():
    rule = pools.thin_metadata_rule(TIB, block_size=64 * KIB)
    assert rule == 768 * MIB
    assert pools.thin_metadata_rule(GIB, block_size=64 * KIB) == 2 * MIB
    assert pools.thin_metadata_rule(1024 * TIB, block_size=64 * KIB) == 16 * GIB


def test_thin_metadata_has_a_limit_below_16_gib():
    assert pools.THIN_METADATA_MAX == 255 * 16_320 * 4096
    assert 15.8 * GIB < pools.THIN_METADATA_MAX < 16 * GIB


@pytest.mark.parametrize(
    ("block", "ashift", "width", "parity", "expected"),
    [
        (8 * KIB, 12, 3, 1, 16 * KIB),  # 2 data, 1 parity, padded to 4 sectors
        (8 * KIB, 12, 5, 1, 16 * KIB),  # wider does not help
        (16 * KIB, 12, 5, 1, 24 * KIB),  # 4 data, 1 parity, padded to 6
        (8 * KIB, 12, 6, 2, 24 * KIB),  # 2 data, 2 parity, padded to 6
        (128 * KIB, 12, 6, 2, 192 * KIB),  # 32 data, 16 parity
        (16 * KIB, 12, 0, 0, 16 * KIB),  # mirror
        (512, 12, 0, 0, 4 * KIB),  # below the sector
        (4 * KIB, 9, 4, 3, 16 * KIB),  # 8 data, 3 parity for each: 32
    ],
)
def test_raidz_adds_parity_and_padding(block, ashift, width, parity, expected):
    assert pools.raidz_bytes(block, ashift=ashift, width=width, parity=parity) == expected


def test_refreservation_of_a_thick_volume():
    # 1 GiB at 16 KiB: 65,536 blocks, 64 indirect blocks, 1 above them, 7 of the metadnode; each twice
    got = pools.zvol_refreservation(GIB, block_size=16 * KIB)
    assert got == GIB + (7 + 64 + 1) * 2 * 128 * KIB


def test_the_first_snapshot_of_a_thick_volume_needs_its_data_once_more():
    assert pools.zfs_first_snapshot_reserve([0, 5, 90], refreservation=10).tolist() == [0, 5, 10]
    assert pools.zfs_first_snapshot_reserve(90, refreservation=0) == 0


@given(store=st.integers(0, 1 << 32), chunk_bits=st.integers(12, 19))
def test_a_store_takes_as_many_chunks_as_fit_and_not_one_more(store, chunk_bits):
    chunk = 1 << chunk_bits
    fits = pools.dm_snapshot_capacity(store, chunk_size=chunk)

    def size(exceptions):
        return chunk * (2 + exceptions // (chunk // 16) + exceptions)

    assert fits == 0 or size(fits) <= store
    assert size(fits + 1) > store
