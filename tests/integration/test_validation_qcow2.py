"""The promise about qcow2: the same operations on real images and in the simulator give the same figures."""

import pytest

from snapsim.units import KIB, MIB
from snapsim.validation.operations import random_operations
from snapsim.validation.qcow2 import validate_external
from snapsim.validation.qcow2_io import CASES, validate_chain_reads, validate_first_touch
from snapsim.validation.qcow2_merging import validate_merging
from snapsim.validation.qcow2_model import OverlayModel
from snapsim.validation.systems import SYSTEMS, Order, validate

pytestmark = [
    pytest.mark.integration,
    pytest.mark.needs_program("qemu-img", "qemu-io", "qemu-storage-daemon", "strace"),
]

SPACE = [
    pytest.param(name, size, id=f"{name}-{size // KIB}K")
    for name, system in SYSTEMS.items()
    if name.startswith("qcow2")
    for size in system.block_sizes
]
FEW = 3  # sequences; many of 2 MiB clusters would take minutes
MANY = 50


def off(outcomes):
    """Give the figures that do not agree: none, with something compared."""
    assert outcomes
    assert all(one.rows for one in outcomes)
    return [row for one in outcomes for row in one.rows if not row.agrees]


@pytest.mark.parametrize(("name", "size"), SPACE)
def test_space_and_contents_are_equal_in_every_state(tmp_path, name, size):
    order = Order(("space",), (size,), FEW if size < MIB else 1, requests=40)
    assert off(validate(name, order, folder=tmp_path)) == []
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), SPACE)
def test_space_and_contents_are_equal_in_every_state_of_many_sequences(tmp_path, name, size):
    outcomes = validate(name, Order(("space",), (size,), MANY, seed=1), folder=tmp_path)
    assert off(outcomes) == []
    assert sum(len(one.rows) for one in outcomes) > 10 * MANY


def test_a_wrong_model_is_noticed(tmp_path, monkeypatch):
    real = OverlayModel.in_use
    monkeypatch.setattr(OverlayModel, "in_use", lambda self: [one + 4096 for one in real(self)])
    sequence = random_operations(0, capacity=16 * MIB, block_size=4 * KIB, requests=10)
    outcome = validate_external([sequence], capacity=16 * MIB, block_size=4 * KIB, folder=tmp_path)
    assert not outcome.agrees
    assert {row.name for row in outcome.rows if not row.agrees} == {"clusters in use"}
    assert {row.difference for row in outcome.rows if not row.agrees} == {4096}


@pytest.mark.parametrize("how", ["commit", "stream"])
def test_what_a_merge_needs_for_a_while_is_what_the_files_take(tmp_path, how):
    made = (
        random_operations((3, seed), capacity=64 * MIB, block_size=64 * KIB, requests=80, frees=False)
        for seed in range(20)
    )
    with_merges = [
        [one._replace(how=how) for one in sequence]
        for sequence in made
        if any(one.kind == "delete" for one in sequence)
    ]
    outcome = validate_merging(
        with_merges[:2], capacity=64 * MIB, block_size=64 * KIB, folder=tmp_path, speed=2 * MIB
    )
    assert off([outcome]) == []
    assert outcome.configuration["looks that saw it grow"] > 0
    assert any(row.measured > 0 for row in outcome.rows)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_first_writes_after_a_snapshot_read_and_write_as_predicted(tmp_path, case):
    outcome = validate_first_touch(folder=tmp_path, cases=[case], capacity=32 * MIB, requests=150)
    assert len(outcome.rows) == 2
    assert off([outcome]) == []


@pytest.mark.parametrize("depth", [1, 4, 16])
def test_tables_are_read_through_a_chain_as_predicted(tmp_path, depth):
    outcome = validate_chain_reads(folder=tmp_path, depths=[depth], capacity=128 * MIB, requests=200)
    assert off([outcome]) == []
    tables, everything = outcome.rows
    assert everything.measured == pytest.approx(tables.measured + 1)  # and the data itself
