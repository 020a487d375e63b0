"""The chain of extents against dicts, against the chain of blocks, and against what is known in advance."""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snapsim.engine.chain import Chain
from snapsim.engine.extent_chain import LONGEST_EXTENT, ExtentChain
from snapsim.engine.extent_lifetimes import ExtentCounter
from snapsim.engine.lifetimes import Counting
from snapsim.engine.reference_extents import ReferenceExtents
from snapsim.errors import UsageError
from snapsim.testing import strategies
from snapsim.types import DISCARD, WRITE, Batch
from snapsim.units import GIB, KIB, MIB, TIB

LAW = settings(max_examples=max(settings.default.max_examples // 4, 20))  # the twins take them all


class Life(NamedTuple):
    how: dict
    steps: list[strategies.Step]


@st.composite
def lives(draw, *, large=None):
    volume = draw(strategies.volumes(large=large))
    block_size = draw(st.sampled_from((512, 1000, 4096) if volume.capacity > 1000 else (1, 2, 3)))
    if volume.capacity > 10 * MIB:
        block_size = 4096
    extent = st.tuples(st.integers(0, volume.capacity - 1), st.integers(0, volume.capacity)).map(
        lambda pair: (pair[0], min(pair[1], volume.capacity - pair[0]))
    )
    how = {
        "capacity": volume.capacity,
        "block_size": block_size,
        "in_place": draw(st.booleans()),
        "longest": block_size * draw(st.sampled_from((1, 3, 5000, LONGEST_EXTENT // 4096)))
        if volume.capacity < 10 * MIB
        else draw(st.sampled_from((20 * MIB, LONGEST_EXTENT))),
        "initial": draw(st.sampled_from(("thick", "thin")) | st.lists(extent, max_size=3)),
    }
    return Life(how, draw(strategies.steps(requests=volume.requests)))


def carry_out(file, step, *, cuts=()):
    if step.kind == "requests":
        for batch in strategies.batches(step.requests, cuts):
            file.apply(batch)
        return None
    kept = list(file.snapshots if isinstance(file, ExtentChain) else file.kept)
    if step.kind == "snapshot":
        return file.snapshot()
    if not kept:
        return None
    chosen = kept[step.pick % len(kept)]
    return file.revert(chosen) if step.kind == "revert" else file.delete(chosen)


def ranks(values):
    """Number the extents of a mapping by their first block, holes 0: equal exactly where the mappings are."""
    seen = {0: 0}
    return [seen.setdefault(value, len(seen)) for value in values]


def blocks_of(reference, snapshot=None):
    state = reference.now if snapshot is None else reference.kept[snapshot]
    n_blocks = -(-reference.capacity // reference.block_size)
    return [state[block].number if block in state else 0 for block in range(n_blocks)]


def agree(chain, reference):
    assert chain.snapshots == tuple(reference.kept)
    assert chain.data_used == reference.data_used()
    assert chain.referenced == reference.referenced()
    assert chain.waste == reference.waste() >= 0
    assert chain.mapped == len(reference.now) * reference.block_size
    states = [*reference.kept.values(), reference.now]
    assert chain.extents == len({extent for state in states for extent in state.values()})
    for one in reference.kept:
        assert chain.exclusive(one) == reference.exclusive(one)
    together = [blocks_of(reference, one) for one in (*reference.kept, None)]
    assert ranks(np.concatenate([chain.mapping(one) for one in (*chain.snapshots, None)]).tolist()) == ranks(
        [number for state in together for number in state]
    )


@given(lives(large=False), st.lists(st.integers(0, 40), max_size=3))
def test_the_chain_agrees_with_dicts_after_every_step(life, cuts):
    """Space, waste, what deletions and reverts free, and which extent holds each block of each snapshot."""
    chain, reference = ExtentChain(**life.how), ReferenceExtents(**life.how)
    agree(chain, reference)
    for step in life.steps:
        assert carry_out(chain, step, cuts=cuts) == carry_out(reference, step)
        agree(chain, reference)


@pytest.mark.compiled
def test_the_chain_agrees_with_dicts_over_several_leaves():
    rng = np.random.default_rng(11)
    for in_place in (False, True):
        how = {"capacity": 60 * MIB + 512, "in_place": in_place, "longest": 20 * MIB, "initial": "thick"}
        chain, reference = ExtentChain(**how), ReferenceExtents(**how)
        for step in range(12):
            for _ in range(4):
                offset = int(rng.integers(0, 60 * MIB))
                length = int(rng.integers(1, 60 * MIB + 512 - offset)) >> int(rng.integers(0, 8))
                for file in (chain, reference):
                    (file.discard if rng.bit_generator.state["state"]["state"] % 3 == 0 else file.write)(
                        offset, length
                    )
            if step % 5 == 4:
                kept = chain.snapshots[len(chain.snapshots) // 2]
                assert chain.delete(kept) == reference.delete(kept)
            elif step == 10:
                kept = chain.snapshots[1]
                assert chain.revert(kept) == reference.revert(kept)
            else:
                assert chain.snapshot() == reference.snapshot()
            agree(chain, reference)


@LAW
@given(lives(large=False))
def test_without_bookends_it_is_the_chain_of_blocks(life):
    """Extents of one block cannot be referred to in part; btrfs then takes what the block model says."""
    block_size, capacity = life.how["block_size"], life.how["capacity"]
    extents = ExtentChain(**life.how | {"longest": block_size, "in_place": False, "initial": "thick"})
    blocks = Chain("shared-tree", Counting(block_size=block_size, discard="death"), capacity=capacity)
    for step in life.steps:
        # discards of whole blocks only: a part of a block is zeroed in a file, and ignored by a disk
        op, offset, length = step.requests[1:4]
        low, high = -(-offset // block_size) * block_size, (offset + length) // block_size * block_size
        whole = (op != DISCARD) | (high > low)
        discards = (op == DISCARD) & whole
        offset, length = np.where(discards, low, offset), np.where(discards, high - low, length)
        requests = Batch(*(column[whole] for column in (step.requests[0], op, offset, length)))
        if step.kind == "flatten":
            continue
        carry_out(extents, step._replace(requests=requests))
        if step.kind == "requests":
            blocks.apply(requests)
        elif step.kind == "snapshot":
            blocks.snapshot()
        elif blocks.snapshots:
            chosen = blocks.snapshots[step.pick % len(blocks.snapshots)]
            (blocks.revert if step.kind == "revert" else blocks.delete)(chosen)
        assert extents.data_used == blocks.total * block_size
        assert extents.waste == 0


@LAW
@given(lives(large=False))
def test_deleting_every_snapshot_leaves_what_would_be_there_without(life):
    """Where every write makes new extents, snapshots leave no trace behind."""
    how = life.how | {"in_place": False}
    chain, plain = ExtentChain(**how), ExtentChain(**how)
    for step in life.steps:
        if step.kind != "revert":
            carry_out(chain, step)
        if step.kind == "requests":
            carry_out(plain, step)
    freed = sum(chain.delete(one) for one in chain.snapshots[::-1])
    assert freed >= 0
    assert (chain.data_used, chain.waste, chain.extents) == (plain.data_used, plain.waste, plain.extents)
    assert ranks(chain.mapping().tolist()) == ranks(plain.mapping().tolist())


@pytest.mark.parametrize("in_place", [False, True])
def test_the_first_overwrite_after_a_snapshot_makes_an_extent(in_place):
    file = ExtentChain(capacity=MIB, in_place=in_place, initial="thick")
    before = file.snapshot()
    file.write(0, 8192)
    assert file.data_used == MIB + 8192
    file.write(4096, 4096)  # a part of the new extent
    assert file.data_used == MIB + 8192 + (0 if in_place else 4096)
    assert file.waste == (0 if in_place else 4096)
    assert file.delete(before) == 0  # most of the old extent is still the file's
    file.write(0, 4096)  # nor does a deletion bring writing in place back
    file.write(16384, 4096)
    assert file.data_used == MIB + 12288


def test_a_long_write_makes_extents_of_128_mib():
    file = ExtentChain(capacity=GIB)
    file.write(4096, 300 * MIB)
    assert (file.extents, file.data_used) == (3, 300 * MIB)
    file.write(0, 200 * MIB)
    assert file.data_used == 300 * MIB - 128 * MIB + 200 * MIB
    file.discard(0, GIB)
    assert (file.extents, file.data_used, file.mapped) == (0, 0, 0)


def test_memory_follows_the_footprint():
    file = ExtentChain(capacity=8 * TIB, initial="thick")
    assert (file.extents, file.data_used) == (8 * TIB // LONGEST_EXTENT, 8 * TIB)
    assert file.memory.leaf_bytes == 0
    first = file.snapshot()
    file.write(5 * TIB + 12345, 100_000)
    assert file.data_used == 8 * TIB + 25 * 4096
    assert file.memory.leaf_bytes == 16 * KIB
    file.discard(0, 8 * TIB)
    assert (file.mapped, file.data_used) == (0, 8 * TIB)
    assert file.revert(first) == 0
    assert file.mapped == 8 * TIB


@pytest.mark.compiled
def test_numbers_of_extents_are_used_again():
    """Half a million writes need no more room than the file has blocks."""
    rng = np.random.default_rng(5)
    n = 500_000
    file = ExtentChain(capacity=16 * MIB)
    batch = Batch(
        np.zeros(n, np.int64), np.full(n, WRITE, np.uint8),
        rng.integers(0, 4096, n) * 4096, np.full(n, 4096),
    )  # fmt: skip
    file.apply(batch)
    assert (file.extents, file.data_used, file.waste) == (4096, 16 * MIB, 0)
    assert file.mapping().max() < 30_000


def test_what_makes_no_sense_is_refused():
    with pytest.raises(UsageError, match=r'initial="?.*some'):
        ExtentChain(capacity=MIB, initial="some")
    with pytest.raises(UsageError, match="make no sense"):
        ExtentChain(capacity=MIB, longest=100)
    file = ExtentChain(capacity=MIB)
    with pytest.raises(UsageError, match="request 0 of the batch lies outside the file of 1 MiB"):
        file.write(MIB - 1, 2)
    with pytest.raises(UsageError, match="there is no snapshot 3: there are none"):
        file.delete(3)
    file.snapshot()
    for ask in (file.revert, file.exclusive, file.mapping):
        with pytest.raises(UsageError, match="there is no snapshot 3: 0"):
            ask(3)


# --- lifetimes of extents
# -----------------------------------------------------------------------------------------


@LAW
@given(
    lives(large=False),
    strategies.instants(),
    st.sets(st.integers(0, 9)),
    st.lists(st.integers(0, 40), max_size=3),
)
def test_one_pass_says_what_any_snapshots_take(life, instants, chosen, cuts):
    """The matrix of extents, for some of its instants, against a chain that takes just those snapshots."""
    how = {key: value for key, value in life.how.items() if key != "in_place"}
    columns = zip(*(step.requests[:4] for step in life.steps), strict=True)
    requests = Batch(*(np.concatenate(column) for column in columns))
    counter = ExtentCounter(instants, **how)
    matrix = counter.add_all(strategies.batches(requests, cuts)).finish()
    kept = sorted(one for one in chosen if one < len(instants))
    chain, block_size = ExtentChain(**how), how["block_size"]
    edges = np.searchsorted(requests.time_ns, instants, side="left")
    taken, done = [], 0
    for now, edge in enumerate(edges.tolist()):
        chain.apply(Batch(*(column[done:edge] for column in requests[:4])))
        done = edge
        assert matrix.live_blocks[now] * block_size == chain.present().size.sum()
        held = matrix.snapshot_bytes([one for one in kept if one < now], now=now)
        assert held + matrix.live_blocks[now] * block_size == chain.data_used
        if now in kept:
            taken.append(chain.snapshot())
    if kept:
        exclusive = matrix.exclusive_bytes(kept, now=len(instants) - 1)
        assert exclusive.tolist() == [chain.exclusive(one) for one in taken]


def test_instants_of_extents_must_increase():
    for wrong in ([], [3, 3]):
        with pytest.raises(UsageError, match="instants must be increasing"):
            ExtentCounter(np.array(wrong), capacity=MIB)
