"""Formulas of metadata, against values worked out by hand."""

import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapsim.engine.metadata import KINDS, Usage, file_bytes, metadata_bytes
from snapsim.engine.qcow2_layout import Qcow2Layout
from snapsim.errors import MechanismError
from snapsim.units import GIB, KIB, MIB, TIB


def usage(*, block_size, capacity=TIB, snapshots=0, **counts):
    return Usage(counts=counts, snapshots=snapshots, capacity=capacity, block_size=block_size)


def test_an_unknown_kind_is_refused_by_name():
    with pytest.raises(MechanismError, match="metadata kind 'b-tree' is unknown: it must be one of none, "):
        metadata_bytes("b-tree", usage(block_size=4096, data=[1]))


def test_no_metadata():
    assert metadata_bytes("none", usage(block_size=4096, data=[1, 2])).tolist() == [0, 0]


def test_an_exception_store_has_a_header_and_an_area_that_is_never_full():
    # chunks of 4 KiB: 256 exceptions in an area
    exceptions = [0, 1, 255, 256, 511, 512]
    chunks = [2, 2, 2, 3, 3, 4]
    got = metadata_bytes("exception-store", usage(block_size=4096, data=exceptions))
    assert (got // 4096).tolist() == chunks


def test_overlay_metadata_is_everything_but_the_data():
    # 256 MiB at 64 KiB: header, refcount table, one refcount block, L1, and one L2 table
    got = metadata_bytes(
        "qcow2-overlay", usage(block_size=64 * KIB, capacity=256 * MIB, data=[0, 7], tables=[0, 1])
    )
    assert (got // (64 * KIB)).tolist() == [4, 5]


def test_internal_metadata_keeps_the_refcount_blocks_of_its_highest_point():
    # a refcount block of 4 KiB describes 2048 clusters
    data = [100, 3000, 100]
    over_time = usage(
        block_size=4 * KIB, capacity=64 * MIB, snapshots=[0, 1, 0], data=data, tables=[1, 20, 1]
    )
    # header, refcount table, L1, L2; with the snapshot a second L1 and the snapshot table
    expected = [1 + 1 + 1 + 1 + 1, 1 + 1 + 1 + 20 + 2 + 2, 1 + 1 + 1 + 1 + 2]
    assert (metadata_bytes("qcow2-internal", over_time) // (4 * KIB)).tolist() == expected


def test_internal_metadata_counts_what_existed_before_the_prune():
    small = {"block_size": 4 * KIB, "capacity": 64 * MIB, "tables": [1]}
    before = usage(snapshots=[1], data=[3000], **small)
    after = usage(snapshots=[0], data=[100], **small)
    peaked = Usage(
        counts=after.counts, snapshots=[0], capacity=after.capacity, block_size=4 * KIB, before_prune=before
    )
    more = metadata_bytes("qcow2-internal", peaked) - metadata_bytes("qcow2-internal", after)
    assert more.tolist() == [4 * KIB]


def test_btree_of_one_leaf_is_a_leaf_and_a_root_per_device():
    assert metadata_bytes("btree", usage(block_size=64 * KIB, data=[1], tables=[1])).tolist() == [2 * 4096]
    got = metadata_bytes("btree", usage(block_size=64 * KIB, snapshots=[3], data=[500], tables=[127]))
    assert got.tolist() == [(127 + 2 + 1 + 1 + 3) * 4096]  # leaves, two nodes above, one above these, roots


def test_btree_of_a_full_pool_is_close_to_the_rule_of_thumb_of_the_tool():
    """Labelled as a comparison: the tool leaves out inner nodes, which add less than one per cent."""
    from snapsim.engine.pools import thin_metadata_full

    leaves = -(-TIB // (64 * KIB) // 126)
    model = int(
        metadata_bytes("btree", usage(block_size=64 * KIB, snapshots=99, data=[0], tables=[leaves]))[0]
    )
    assert thin_metadata_full(TIB, block_size=64 * KIB, thins=100) <= model < 1.01 * 520 * MIB


def test_grain_tables_are_allocated_as_they_are_touched_or_all_at_once():
    parameters = {"entry_bytes": 4, "directory_entry_bytes": 4, "header_bytes": 2048}
    got = metadata_bytes(
        "grain-table", usage(block_size=512, capacity=GIB, data=[9, 9], tables=[0, 3]), parameters
    )
    assert got.tolist() == [2048 + 2048, 2048 + 2048 + 3 * 16 * KIB]  # 512 directory entries of 4 bytes
    every = {"entry_bytes": 8, "directory_entry_bytes": 8, "header_bytes": 1024, "preallocated": 1}
    got = metadata_bytes("grain-table", usage(block_size=4096, capacity=GIB, data=[0], tables=[0]), every)
    assert got.tolist() == [1024 + 512 + 64 * 32 * KIB]


def test_a_sector_bitmap_of_one_mib_covers_four_gib():
    got = metadata_bytes(
        "sector-bitmap", usage(block_size=2 * MIB, capacity=8 * GIB, data=[1, 5], tables=[1, 2])
    )
    assert got.tolist() == [3 * MIB + MIB + MIB, 3 * MIB + MIB + 2 * MIB]


def test_the_block_allocation_table_grows_by_whole_mebibytes():
    # 64 TiB at 1 MiB: 16,384 chunks of 4,096 blocks and a bitmap, 8 bytes each
    got = metadata_bytes("sector-bitmap", usage(block_size=MIB, capacity=64 * TIB, data=[0], tables=[0]))
    assert got.tolist() == [3 * MIB + -(-16384 * 4097 * 8 // MIB) * MIB]


def test_block_pointers_have_levels_and_two_copies():
    got = metadata_bytes("block-pointers", usage(block_size=16 * KIB, data=[1, 1, 1], tables=[0, 1, 1025]))
    assert (got // (256 * KIB)).tolist() == [0, 1, 1025 + 2 + 1]


def test_an_object_map_takes_64_kib_for_a_tebibyte_and_snapshot():
    got = metadata_bytes("object-map", usage(block_size=4096, capacity=TIB, snapshots=[0, 9], data=[5, 5]))
    assert got.tolist() == [64 * KIB, 640 * KIB]


def test_so_many_bytes_per_version():
    got = metadata_bytes("per-version", usage(block_size=4096, data=[3]), {"bytes_per_block": 170})
    assert got.tolist() == [510]


@pytest.mark.parametrize("kind", KINDS)
def test_every_formula_keeps_the_shape_of_its_counts(kind):
    needed = {
        "grain-table": {"entry_bytes": 4, "directory_entry_bytes": 4, "header_bytes": 0},
        "per-version": {"bytes_per_block": 1},
    }
    counts = np.arange(6).reshape(2, 3)
    got = metadata_bytes(
        kind, usage(block_size=64 * KIB, snapshots=counts, data=counts, tables=counts), needed.get(kind)
    )
    assert got.shape == (2, 3)
    assert got.dtype == np.int64


def test_files_grow_in_steps():
    layers = usage(block_size=512, data=[0, 1, 40_000])
    assert (file_bytes("none", layers, growth_step=16 * MIB) // (16 * MIB)).tolist() == [0, 1, 2]


def test_an_extended_layer_is_as_long_as_its_clusters():
    layer = usage(block_size=128 * KIB, capacity=GIB, data=[5], clusters=[2], tables=[1])
    assert file_bytes("qcow2-overlay", layer, {"extended_l2": 1}).tolist() == [(4 + 1 + 2) * 128 * KIB]


# --- qcow2 --------------------------------------------------------------------------------------------------


def test_an_empty_overlay_is_three_clusters_and_its_l1_table():
    layout = Qcow2Layout(cluster_size=64 * KIB, virtual_size=256 * MIB)
    assert int(layout.overlay_bytes(0, 0)) == 196_616


def test_an_l2_table_describes_512_mib_at_64_kib_and_half_when_extended():
    assert Qcow2Layout(cluster_size=64 * KIB, virtual_size=TIB).l2_range == 512 * MIB
    assert Qcow2Layout(cluster_size=64 * KIB, virtual_size=TIB, extended_l2=True).l2_range == 256 * MIB
    assert Qcow2Layout(cluster_size=4 * KIB, virtual_size=GIB + 1).l1_bytes == 513 * 8


@given(
    cluster_bits=st.integers(9, 21),
    refcount_order=st.integers(0, 6),
    share=st.floats(0, 1),
    exponent=st.integers(1, 40),
)
def test_refcount_blocks_describe_every_cluster_and_none_is_too_many(
    cluster_bits, refcount_order, share, exponent
):
    """The fixpoint: enough for all clusters, themselves and the table; one less would not do."""
    layout = Qcow2Layout(cluster_size=1 << cluster_bits, virtual_size=GIB, refcount_bits=1 << refcount_order)
    used = 3 + int(share * 2**exponent)
    blocks, table, reserved = (int(value) for value in layout.refcounts(used))
    per_block = (1 << cluster_bits) * 8 >> refcount_order
    assert blocks * per_block >= used + table + blocks
    assert blocks <= table * ((1 << cluster_bits) // 8)
    grown = (
        used + table + blocks <= reserved + per_block
    )  # soon after the table grew blocks are there in advance
    assert grown or (blocks - 1) * per_block < used + table + blocks - 1


def test_the_refcount_table_of_512_byte_clusters_grows_to_2_4_7_11_clusters():
    layout = Qcow2Layout(cluster_size=512, virtual_size=64 * MIB)
    sizes = layout.refcounts([16_000, 16_500, 33_000, 66_000, 115_000]).table
    assert sizes.tolist() == [1, 2, 4, 7, 11]


def test_snapshot_table_entries_start_at_multiples_of_eight():
    layout = Qcow2Layout(cluster_size=64 * KIB, virtual_size=GIB, name_bytes=3)
    assert layout.snapshot_table_bytes([0, 1, 2], id_bytes=1).tolist() == [0, 68, 72 + 68]


def test_formulas_and_mechanism_files_agree_on_kinds_and_parameters():
    from snapsim.mechanisms.parts import METADATA_PARAMETERS

    assert set(KINDS) == set(METADATA_PARAMETERS)
    for kind, formula in KINDS.items():
        signature = inspect.signature(formula)
        named = {
            name: None if parameter.default is parameter.empty else parameter.default
            for name, parameter in signature.parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY
        }
        if kind.startswith("qcow2"):
            named = {"refcount_bits": 16, "extended_l2": 0} | (
                {"name_bytes": 40} if kind.endswith("internal") else {}
            )
        assert named == dict(METADATA_PARAMETERS[kind]), kind
