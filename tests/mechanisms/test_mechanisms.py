"""Mechanism files: all of them load, say where their figures come from, and refuse what makes no sense."""

import dataclasses

import pytest

import snapsim as ss
from snapsim.engine.metadata import Usage, metadata_bytes
from snapsim.engine.pools import THIN_METADATA_MAX
from snapsim.errors import MechanismError
from snapsim.mechanisms import Pool, build
from snapsim.units import GIB, KIB, MIB

NAMES = {
    "avhdx", "btrfs", "dm-snapshot", "dm-thin", "ebs", "qcow2-external", "qcow2-external-extl2",
    "qcow2-internal", "rbd", "se-sparse", "vmfs-sparse", "vsan-esa", "wafl", "xfs-reflink", "zfs",
}  # fmt: skip


def document(**changes):
    return ss.mechanism("qcow2-external").document() | changes


def test_every_system_of_the_promise_is_there():
    assert set(ss.mechanisms()) == NAMES


@pytest.mark.parametrize("name", ss.mechanisms())
def test_every_figure_says_where_it_comes_from(name):
    mechanism = ss.mechanism(name)
    assert mechanism.name == name
    figures = {"data", "deletion"}
    if mechanism.metadata.kind != "none":
        figures.add("metadata")
    if mechanism.file_length != "none":
        figures.add("file length")
    if mechanism.pool != Pool():
        figures.add("pool")
    if mechanism.limits.hard or mechanism.limits.advised:
        figures.add("limits")
    assert {item.about for item in mechanism.evidence} == figures
    assert all(len(item.source) > 20 for item in mechanism.evidence)


def test_only_what_was_compared_with_the_real_system_is_called_validated():
    validated = {name for name in ss.mechanisms() if ss.mechanism(name).validated}
    assert validated == {"qcow2-external", "qcow2-external-extl2", "qcow2-internal", "btrfs", "xfs-reflink"}
    assert [name for name in ss.mechanisms() if ss.mechanism(name).lower_bound] == ["btrfs"]


@pytest.mark.parametrize("name", ss.mechanisms())
def test_a_mechanism_is_frozen_and_survives_the_way_through_its_document(name):
    mechanism = ss.mechanism(name)
    assert build(mechanism.document(), source="again") == mechanism
    assert ss.mechanism(mechanism) is mechanism
    with pytest.raises(dataclasses.FrozenInstanceError):
        mechanism.name = "other"
    with pytest.raises(TypeError):
        mechanism.metadata.parameters["refcount_bits"] = 1


@pytest.mark.parametrize("name", ss.mechanisms())
def test_matrices_begin_with_the_data_and_can_be_counted(name):
    mechanism = ss.mechanism(name)
    needs = mechanism.matrices()
    assert needs[0].name == "data"
    trace = ss.Trace.from_arrays([0, 1], ["write", "discard"], [0, 0], [8192, 4096], capacity="1GiB", start=0)
    lifetimes = ss.count_lifetimes(trace, instants=[1, 2], block_size=mechanism.block_size)
    for need in needs:
        counted = lifetimes.recount(**need.counting())
        assert counted.block_size == need.block_size
        assert need.initial in {None, counted.counting.initial}


def test_needs_of_qcow2_layers():
    """A table of 4 KiB has 512 entries; parts of clusters are not discarded."""
    data, tables = ss.mechanism("qcow2-external").matrices("4KiB")
    assert data == ("data", 4 * KIB, "death", "death", None, 1)
    assert tables == (
        "tables",
        2 * MIB,
        "touch",
        "touch",
        None,
        4 * KIB,
    )


def test_needs_of_qcow2_layers_with_subclusters():
    data, clusters, tables = ss.mechanism("qcow2-external-extl2").matrices()
    assert (data.block_size, data.grain) == (4 * KIB, 128 * KIB)
    assert clusters.block_size == 128 * KIB
    assert tables.block_size == GIB


def test_a_private_store_counts_every_chunk_written():
    (need,) = ss.mechanism("dm-snapshot").matrices()
    assert (need.initial, need.discard) == ("thick", "ignore")
    assert need.counting()["initial"] == "thick"


def test_the_limit_of_thin_metadata_is_the_formulas():
    assert ss.mechanism("dm-thin").pool.metadata_size == THIN_METADATA_MAX


# --- block sizes and options --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "size", "sentence"),
    [
        ("qcow2-external", "48KiB", "it must be a power of two from 512 B to 2 MiB"),
        ("qcow2-external", "4MiB", "it must be a power of two from 512 B to 2 MiB"),
        ("dm-thin", "96KiB", "it must be a multiple of 64 KiB from 64 KiB to 1 GiB"),
        ("ebs", "4KiB", "block size 4 KiB does not fit ebs: it must be 512 KiB"),
    ],
)
def test_a_block_size_that_the_system_does_not_have_is_refused(name, size, sentence):
    with pytest.raises(MechanismError, match=sentence):
        ss.mechanism(name).matrices(size)


def test_sizes_that_a_system_has():
    assert ss.mechanism("dm-thin").matrices("192KiB")[0].block_size == 192 * KIB
    assert ss.mechanism("zfs").matrices("8KiB")[1].block_size == 8 * MIB


def test_options_change_a_copy():
    plain = ss.mechanism("dm-snapshot")
    changed = plain.with_options(block_size="64KiB", size="10GiB")
    assert (changed.block_size, changed.pool.size) == (64 * KIB, 10 * GIB)
    assert changed.options() == {"block_size": 64 * KIB, "size": 10 * GIB}
    assert (plain.block_size, plain.pool.size) == (4 * KIB, 0)
    assert ss.mechanism("dm-snapshot") == plain


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"cluster": 1}, "qcow2-external has no option 'cluster': its options are block_size, refcount_bits"),
        ({"refcount_bits": 5}, "parameter refcount_bits is 5, but must be 1, 2, 4, 8, 16, 32, 64"),
        ({"refcount_bits": "many"}, "metadata.parameters.refcount_bits: size 'many' cannot be read"),
        ({"block_size": "3KiB"}, "block size 3 KiB does not fit qcow2-external"),
        ({"extended_l2": 1}, "no option 'extended_l2'"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, sentence):
    with pytest.raises(MechanismError, match=sentence):
        ss.mechanism("qcow2-external").with_options(**options)


def test_a_raidz_needs_more_disks_than_parity():
    zfs = ss.mechanism("zfs")
    assert zfs.with_options(raidz_width=6, raidz_parity=2).pool.raidz_parity == 2
    for wrong in ({"raidz_width": 6}, {"raidz_width": 2, "raidz_parity": 2}):
        with pytest.raises(MechanismError, match="raidz_width and raidz_parity go together"):
            zfs.with_options(**wrong)


# --- files --------------------------------------------------------------------------------------------------


FILE = """
name = "mine"
title = "My array"
family = "redirect-on-write"
sharing = "shared"
copies_old_data = false
file_length = "none"

[block]
name = "page"
default = "16KiB"
minimum = "16KiB"
maximum = "16KiB"

[matrix.data]
discard = "death"
zeroes = "write"

[deletion]
kind = "async"

[[evidence]]
about = "data"
status = "modelled"
source = "The array's manual."
"""


def test_a_mechanism_of_your_own(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(FILE)
    for given in (path, str(path)):
        mine = ss.mechanism(given)
        assert (mine.title, mine.block_size) == ("My array", 16 * KIB)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("family =", "famliy ="), "mechanism .*mine.toml: famliy is not a known key"),
        (
            ('kind = "async"', 'kind = "async"\nspeed = 3'),
            "deletion.speed is not a known key: remove it or correct",
        ),
        (('title = "My array"', ""), "title is missing: add it"),
        (
            ('sharing = "shared"', 'sharing = "some"'),
            "sharing is 'some', but must be one of 'shared', 'layers'",
        ),
        (('default = "16KiB"', 'default = "16KX"'), "block.default: size '16KX' cannot be read"),
        (('default = "16KiB"', 'default = "8KiB"'), "block size 8 KiB does not fit mine: it must be 16 KiB"),
        (("[matrix.data]", "[matrix.other]"), 'matrix must hold "data"'),
        (
            ("[deletion]", '[metadata]\nkind = "tree"\n[deletion]'),
            "metadata: kind 'tree' is not one of none, ",
        ),
        (
            ("[deletion]", '[metadata]\nkind = "btree"\nparameters = { fill = 3 }\n[deletion]'),
            "kind 'btree' has no parameter 'fill': its parameters are node_bytes, mappings_per_node",
        ),
        (
            ("[deletion]", '[metadata]\nkind = "per-version"\n[deletion]'),
            "kind 'per-version' needs the parameter 'bytes_per_block'",
        ),
        (
            ("[deletion]", '[metadata]\nkind = "btree"\nparameters = { node_bytes = 0 }\n[deletion]'),
            "parameter node_bytes is 0, but must be at least 1",
        ),
        (('discard = "death"', 'discard = "death"\nparts = 2\nblocks = 3'), "at most one of parts, blocks"),
        (("copies_old_data = false", "copies_old_data = 3.5"), "copies_old_data is 3.5: "),
        (("[deletion]", "[deletion"), "is not TOML"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_its_place(tmp_path, change, sentence):
    path = tmp_path / "mine.toml"
    assert change[0] in FILE
    path.write_text(FILE.replace(*change))
    with pytest.raises(MechanismError, match=sentence):
        ss.mechanism(path)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(MechanismError, match=r"nowhere\.toml cannot be read: No such file"):
        ss.mechanism(tmp_path / "nowhere.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(MechanismError, match="it is not UTF-8 text"):
        ss.mechanism(tmp_path / "binary.toml")


def test_the_package_and_the_function_share_a_name():
    import snapsim.mechanisms as package

    assert package() == package.mechanisms() == ss.mechanisms()


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(
        MechanismError, match=r"'qcow3' is unknown: it must be one of avhdx, .*zfs, or a \.toml file's"
    ):
        ss.mechanism("qcow3")
    with pytest.raises(MechanismError, match="'5' is unknown"):
        ss.mechanism(5)


@pytest.mark.parametrize("name", ["sesparse", "SE-Sparse", "qcow2_external", " Qcow2-External "])
def test_names_are_known_however_they_are_spelt(name):
    assert ss.mechanism(name).name in {"se-sparse", "qcow2-external"}


def test_adjustable_names_settings_that_exist():
    with pytest.raises(MechanismError, match="adjustable names 'colour'"):
        build(document(adjustable=["colour"]), source="here")


# --- published examples -------------------------------------------------------------------------------------


def test_the_published_example_of_ebs():
    """10 GiB, snapshot; 4 GiB of them change, snapshot; 2 GiB are added, snapshot: 16 GiB are stored."""
    writes = ss.Trace.from_arrays(
        [0, 1, 2], ["write"] * 3, [0, 0, 10 * GIB], [10 * GIB, 4 * GIB, 2 * GIB], capacity=100 * GIB, start=0
    )
    ebs = ss.mechanism("ebs")
    (need,) = ebs.matrices()
    lifetimes = ss.count_lifetimes(writes, instants=[1, 2, 3], block_size="512KiB", initial="thin")
    assert lifetimes.recount(**need.counting()).detached_bytes([0, 1, 2], now=2) == 16 * GIB
    timeline = ss.Policy(schedule="1ns", keep_last=3).timeline(lifetimes.instants)
    frame = ss.growth(lifetimes, timeline, mechanism=ebs).frame
    assert frame["snapshot_bytes"].tolist() == [10 * GIB, 14 * GIB, 16 * GIB]


def test_random_writes_cost_a_whole_payload_block_each():
    """One 4 KiB write per 2 MiB block: 512 times the data."""
    blocks = 200
    writes = ss.Trace.from_arrays(
        range(blocks),
        ["write"] * blocks,
        [i * 2 * MIB for i in range(blocks)],
        [4096] * blocks,
        capacity=GIB,
        start=0,
    )
    (data, _) = ss.mechanism("avhdx").matrices()
    lifetimes = ss.count_lifetimes(writes, instants=[blocks], block_size=data.block_size, initial="thin")
    assert lifetimes.written_bytes(None, 0) == 512 * blocks * 4096


def test_a_sector_bitmap_covers_as_many_sectors_whatever_their_size():
    for sector, covered in ((512, 4 * GIB), (4096, 32 * GIB)):
        avhdx = ss.mechanism("avhdx").with_options(sector_bytes=sector)
        assert {need.name: need.block_size for need in avhdx.matrices()}["tables"] == covered
    with pytest.raises(MechanismError, match=r"matrix.data.sectors needs metadata with the parameter"):
        build(document(matrix={"data": {"discard": "death", "zeroes": "write", "sectors": 8}}), source="here")


def test_zfs_stores_its_indirect_blocks_twice():
    """One written block needs one indirect block of 128 KiB, and metadata has two copies (OpenZFS)."""
    metadata = ss.mechanism("zfs").metadata
    usage = Usage(counts={"data": [1], "tables": [1]}, snapshots=1, capacity=GIB, block_size=16 * KIB)
    assert metadata_bytes(metadata.kind, usage, metadata.parameters).tolist() == [2 * 128 * KIB]
