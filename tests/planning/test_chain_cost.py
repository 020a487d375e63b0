"""Reading through chains: what is counted agrees with the formula, and with what can be said by hand."""

import numpy as np
import pytest

import snapsim as ss
from snapsim.errors import UsageError

SMALL = {"capacity": "1GiB", "cache_bytes": ["8KiB", "32KiB", "1GiB"], "reads": 3000, "seed": 7}
LAYERS = (1, 2, 4, 8)


@pytest.fixture(scope="module")
def costs():
    return ss.chain_cost(layers=LAYERS, changed=0.05, **SMALL)


def test_there_is_a_row_for_each_number_of_layers_and_cache(costs):
    assert list(zip(costs["cache_bytes"], costs["layers"], strict=True)) == [
        (cache, number) for cache in (8192, 32768, 2**30) for number in LAYERS
    ]


def test_what_is_counted_agrees_with_the_formula(costs):
    np.testing.assert_allclose(costs["reads_per_read"], costs["expected_reads"], rtol=0.05)
    # 2 of 32 slices of 4 KiB of a single layer: 30 of 32 reads miss
    assert costs["expected_reads"].iloc[0] == 1 + 30 / 32


def test_caches_that_hold_all_tables_make_every_read_one(costs):
    held = costs[costs["cache_bytes"] == 2**30]
    assert set(held["reads_per_read"]) == set(held["expected_reads"]) == {1.0}


def test_layers_are_looked_into_until_one_has_the_block(costs):
    by_number = costs[costs["cache_bytes"] == 8192].set_index("layers")["layers_per_read"]
    share = 1 - np.exp(-0.05)  # of the blocks; some of the writes meet the same block
    expected = [sum((1 - share) ** layer for layer in range(number)) for number in LAYERS]
    np.testing.assert_allclose(by_number, expected, rtol=0.02)


def test_a_volume_without_snapshots_is_in_one_piece_and_falls_apart_with_every_layer(costs):
    one = costs[costs["cache_bytes"] == 2**30]
    assert one["extents_per_mib"].iloc[0] == 1 / 1024
    assert (np.diff(one["extents_per_mib"]) > 0).all()
    assert (np.diff(one["sequential_rate"]) < 0).all()
    # blocks of 64 KiB: no more than 16 pieces
    assert one["extents_per_mib"].max() < 16


def test_latency_follows_the_reads(costs):
    slow, fast = (costs[costs["cache_bytes"] == size] for size in (8192, 2**30))
    ratio = slow["read_latency_ns"].to_numpy() / fast["read_latency_ns"].to_numpy()
    # reads in other layers are farther away than those of data alone: they take longer, but not twice as long
    assert (ratio / slow["reads_per_read"]).between(0.9, 2).all()


def test_the_same_seed_gives_the_same_rows(costs):
    again = ss.chain_cost(layers=LAYERS[:2], changed=0.05, **SMALL)
    kept = costs[costs["layers"] <= 2].reset_index(drop=True)
    assert again.equals(kept)
    assert not again.equals(ss.chain_cost(layers=LAYERS[:2], changed=0.05, **{**SMALL, "seed": 8}))


def test_extended_tables_count_as_well():
    costs = ss.chain_cost(
        "qcow2-external-extl2",
        layers=[1, 3],
        changed=0.01,
        capacity="2GiB",
        cache_bytes=["16KiB"],
        reads=3000,
    )
    np.testing.assert_allclose(costs["reads_per_read"], costs["expected_reads"], rtol=0.05)
    assert costs["expected_reads"].iloc[0] > 1.5


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"mechanism": "dm-thin"}, "does not keep snapshots as layers"),
        ({"layers": []}, "at least one"),
        ({"layers": [0, 3]}, "none below 1"),
        ({"changed": 0.0}, "changed must lie above 0"),
        ({"reads": 0}, "reads must be at least 1"),
        ({"capacity": "1MiB"}, "at least 16 MiB"),
        ({"cache_bytes": []}, "names no size"),
        ({"mechanism": "avhdx"}, "no cache of tables"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(changes, why):
    with pytest.raises(UsageError, match=why):
        ss.chain_cost(**{"layers": [1], **SMALL, **changes})
