"""The chain against dicts, against the lifetime matrix, and against laws, in all ways of keeping the past."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snapsim.engine.blocktable import BlockTable
from snapsim.engine.chain import ABSENT_BIRTH, ORGANISATIONS, Chain
from snapsim.engine.counter import LifetimeCounter
from snapsim.engine.lifetimes import Counting
from snapsim.engine.reference_chain import ReferenceChain
from snapsim.engine.runs import Runs
from snapsim.errors import UsageError
from snapsim.testing import strategies
from snapsim.types import FLUSH, Batch

EVERY = pytest.mark.parametrize("organisation", ORGANISATIONS)
FEW = settings(max_examples=max(settings.default.max_examples // 20, 5))  # one example takes a second
PLAIN = Counting(block_size=4096, initial="thin")


@st.composite
def lives(draw, *, reverts=True, large=False):
    """A volume, a way of counting that a chain can start with, and a sequence of operations."""
    volume = draw(strategies.volumes(large=large))
    counting = draw(strategies.countings(capacity=volume.capacity))
    if counting.initial == "read-first":
        counting = replace(counting, initial="thick")
    return volume, counting, draw(strategies.steps(requests=volume.requests, reverts=reverts))


def chains(volume, counting, known):
    return {
        name: Chain(name, counting, capacity=volume.capacity, capacity_known=known) for name in ORGANISATIONS
    }


def twin(volume, counting, known):
    return ReferenceChain(
        block_size=counting.block_size, capacity=volume.capacity, capacity_known=known,
        initial=counting.initial, discard=counting.discard, zeroes=counting.zeroes, grain=counting.grain,
    )  # fmt: skip


def carry_out(chain, step):
    """Take one step in a chain; return what it moved."""
    if step.kind == "requests":
        return chain.apply(step.requests)
    if step.kind == "snapshot":
        return chain.snapshot()
    if step.kind == "flatten":
        return chain.flatten()
    if not chain.snapshots:
        return None
    chosen = chain.snapshots[step.pick % len(chain.snapshots)]
    return chain.revert(chosen) if step.kind == "revert" else chain.delete(chosen, how=step.kind)


def carry_out_slowly(reference, step):
    """Take the same step in the twin; return (moved by commit or stream, versions given up, extra)."""
    if step.kind == "requests":
        reference.apply(step.requests)
    elif step.kind == "snapshot":
        reference.snapshot()
    elif step.kind == "flatten":
        layers = reference.layers()
        copied = sum(layers[:-1]) if reference.kept else 0
        freed = reference.flatten()
        return copied - freed, freed, copied - freed
    elif reference.kept:
        place = step.pick % len(reference.kept)
        chosen = list(reference.kept)[place]
        if step.kind == "revert":
            copied = reference.own_stores()[place]
            return copied, reference.revert(chosen), 0
        lower, upper = reference.layers()[place : place + 2]
        freed = reference.delete(chosen)
        merged = lower + upper - freed
        if step.kind == "commit":
            return upper, freed, max(merged - lower, 0)
        return merged - upper, freed, max(merged - upper, 0)
    return 0, 0, 0


@given(lives(), st.booleans())
def test_every_organisation_agrees_with_dicts_after_every_step(life, known):
    """Contents of every snapshot, layers, stores, what operations move and free, and how deep reads look."""
    agree_with_dicts(*life, known)


@FEW
@given(lives(large=True), st.booleans())
def test_every_organisation_agrees_with_dicts_over_several_leaves(life, known):
    agree_with_dicts(*life, known)


def agree_with_dicts(volume, counting, steps, known):
    made, reference = chains(volume, counting, known), twin(volume, counting, known)
    for step in steps:
        copies_before = reference.own_stores()
        before = list(reference.kept)
        moved, freed, extra = carry_out_slowly(reference, step)
        for name, chain in made.items():
            outcome = carry_out(chain, step)
            assert chain.snapshots == tuple(reference.kept)
            assert chain.live == len(reference.now)
            for one in (None, *reference.kept):
                assert chain.contents(one).per_block().tolist() == reference.births(one)
            if chain.organisation.redirects:
                assert chain.layers().tolist() == reference.layers()
                assert chain.total == reference.total()
            else:
                assert chain.stores().tolist() == reference.stores()
                assert chain.private_stores().tolist() == reference.own_stores()
            if step.kind in {"commit", "stream", "revert", "flatten"} and outcome is not None:
                gone = [
                    copies
                    for one, copies in zip(before, copies_before, strict=True)
                    if one not in reference.kept
                ]
                if name == "overlays":
                    assert outcome == (0 if step.kind == "revert" else moved, freed, extra)
                elif name == "shared-tree":
                    assert outcome == (0, freed, 0)
                elif name == "shared-store":
                    assert outcome == (moved if step.kind == "revert" else 0, freed, 0)
                elif step.kind != "revert":
                    assert outcome == (0, sum(gone), 0)
    reads = reference.lookups
    for chain in made.values():
        assert {d: n for d, n in enumerate(chain.lookups.tolist()) if n} == dict(reads)


@given(st.data())
def test_space_equals_the_matrix(data):
    """Without reverts: at every snapshot that is taken, whatever was deleted before."""
    volume, counting, steps = data.draw(lives(reverts=False))
    made = chains(volume, counting, known=True)
    rows, clock, seen = [], 0, []
    for step in [*steps, strategies.Step("snapshot", 0, steps[0].requests)]:
        for chain in made.values():
            carry_out(chain, step)
        if step.kind == "requests":
            rows.append(step.requests._replace(time_ns=np.full(len(step.requests.op), clock, np.int64)))
        if step.kind == "snapshot":
            clock += 1
            seen.append((made["overlays"].snapshots, made["overlays"].layers(), made["overlays"].live,
                         made["shared-tree"].snapshot_only, made["shared-store"].snapshot_only,
                         made["shared-store"].stores(), made["private-stores"].private_stores()))  # fmt: skip
    instants = np.arange(
        1, clock + 1, dtype=np.int64
    )  # snapshot i ends epoch i: requests at time i are before it
    counter = LifetimeCounter(instants, counting, capacity=volume.capacity)
    matrix = counter.add_all(rows).finish()
    size = counting.block_size
    for now, (kept, layers, live, in_tree, in_store, stores, private) in enumerate(seen):
        *older, newest = kept
        assert newest == now
        assert matrix.live_bytes(now) == size * live
        assert matrix.snapshot_bytes(older, now) == size * in_tree == size * in_store
        newer, n = np.array(kept), len(instants)
        older_ends = np.array([-2, *older])
        np.testing.assert_array_equal(matrix.boxes(older_ends, newer, newer, n), layers[:-1])
        assert layers[-1] == stores[-1] == 0
        assert matrix.private_store_bytes(older, now).tolist() == (size * private[:-1]).tolist()
        np.testing.assert_array_equal(matrix.boxes(-2, newer[:-1], newer[:-1], newer[1:]), stores[:-1])


@given(st.data())
def test_merges_keep_contents_and_all_deleted_is_the_plain_size(data):
    volume, counting, steps = data.draw(lives())
    for chain in chains(volume, counting, known=True).values():
        for step in steps:
            carry_out(chain, step)
        order = data.draw(st.permutations(chain.snapshots))
        now, live = chain.contents(), chain.live
        for gone in order:
            rest = {one: chain.contents(one) for one in chain.snapshots if one != gone}
            chain.delete(gone, how=data.draw(st.sampled_from(("commit", "stream"))))
            for one, before in rest.items():
                np.testing.assert_equal(chain.contents(one), before)
        np.testing.assert_equal(chain.contents(), now)
        assert chain.total == chain.live == live
        assert chain.snapshot_only == 0


@given(st.data())
def test_batches_of_any_size_give_the_same_chain(data):
    volume, counting, steps = data.draw(lives())
    whole, cut = (Chain("overlays", counting, capacity=volume.capacity) for _ in range(2))
    for step in steps:
        carry_out(whole, step)
        if step.kind == "requests":
            for piece in strategies.batches(
                step.requests, data.draw(st.lists(st.integers(0, 40), max_size=4))
            ):
                cut.apply(piece)
        else:
            carry_out(cut, step)
    np.testing.assert_equal(cut.contents(), whole.contents())
    assert cut.layers().tolist() == whole.layers().tolist()
    assert cut.lookups.tolist() == whole.lookups.tolist()


RUNS = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 5), st.integers(0, 3)), max_size=8)


def as_dict(runs):
    return {
        block: code
        for first, stop, code in zip(*(column.tolist() for column in runs), strict=True)
        for block in range(first, stop)
    }


def as_runs(blocks):
    first = np.array(sorted(blocks), np.int64)
    return Runs.sort(first, first + 1, np.array([blocks[block] for block in first.tolist()], np.int64))


@given(RUNS, RUNS)
def test_laying_runs_over_runs(below, above):
    lower, upper = (
        {block: code for first, n, code in runs for block in range(first, first + n)}
        for runs in (below, above)
    )
    merged = as_runs(lower).under(as_runs(upper))
    assert as_dict(merged) == {**lower, **upper}
    assert merged.blocks == len(lower | upper)
    assert merged.live == sum(code & 1 for code in {**lower, **upper}.values())
    np.testing.assert_equal(merged, merged.joined())


@given(RUNS)
def test_the_union_of_extents(extents):
    table = np.array([(first, first + n) for first, n, _ in extents], np.int64).reshape(-1, 2)
    covered = {block for first, n, _ in extents for block in range(first, first + n)}
    assert as_dict(Runs.union(table[:, 0], table[:, 1], 1)) == dict.fromkeys(sorted(covered), 1)


@EVERY
@pytest.mark.compiled
def test_a_huge_volume_needs_no_leaves_and_few_runs(organisation):
    """64 TiB at 4 KiB: a discard of all of it under a snapshot, and the way back."""
    capacity = 64 << 40
    chain = Chain(organisation, replace(PLAIN, initial="thick"), capacity=capacity)
    before = chain.snapshot()
    chain.discard(0, capacity)
    chain.write(1 << 44, 8192)
    assert chain.live == 2
    assert chain.memory.leaf_bytes <= 2 * 4096 * 2
    assert chain.total == capacity // 4096 + 2
    assert chain.contents(before).first.tolist() == [0]
    assert chain.revert(before).freed == 2
    assert chain.live == chain.total == capacity // 4096


@EVERY
def test_a_request_that_logs_more_runs_than_there_is_room_for(organisation):
    """It goes on where it stopped; the log holds two leaves of single blocks at first."""
    n = 5 * 4096 + 17
    chain = Chain(organisation, replace(PLAIN, block_size=1), capacity=n)
    every_other = np.arange(0, n, 2)
    ones = np.ones(len(every_other), np.int64)
    chain.apply(Batch(0 * ones, ones.astype(np.uint8), every_other, ones))
    before = chain.snapshot()
    chain.discard(0, n)
    chain.write(0, n)
    assert chain.snapshot_only == len(every_other)
    assert chain.contents(before).per_block().tolist() == ([0, ABSENT_BIRTH] * n)[:n]
    chain.revert(before)
    assert chain.contents().per_block().tolist() == ([0, ABSENT_BIRTH] * n)[:n]


@EVERY
def test_thousands_of_snapshots(organisation):
    """Each of 2100 snapshots is followed by a write to the next of seven blocks."""
    chain = Chain(organisation, PLAIN, capacity=1 << 30)
    for i in range(2100):
        chain.write(i % 7 * 4096, 4096)
        chain.snapshot()
    held = dict.fromkeys(ORGANISATIONS, 2100 - 7)
    held["private-stores"] = sum(min(i + 1, 2099 - i, 7) for i in range(2100))
    assert (chain.live, chain.snapshot_only) == (7, held[organisation])
    assert chain.contents(1000).per_block()[:8].tolist() == [994, 995, 996, 997, 998, 999, 1000, ABSENT_BIRTH]
    for one in chain.snapshots[:2090]:
        chain.delete(one)
    assert len(chain.snapshots) == 10
    held = dict.fromkeys(ORGANISATIONS, 9)
    held["private-stores"] = sum(min(2099 - i, 7) for i in range(2090, 2100))
    assert chain.snapshot_only == held[organisation]
    assert chain.contents(2095).per_block()[:8].tolist() == [
        *range(2093, 2096),
        *range(2089, 2093),
        ABSENT_BIRTH,
    ]


def test_more_epochs_than_16_bits_hold():
    """The table becomes a wider one, and nothing that was written before is lost."""
    chain = Chain("shared-tree", PLAIN, capacity=1 << 30)
    chain.write(0, 4096)
    chain.epoch = 32_760  # two codes an epoch: 16 bits last for eight more
    for _ in range(20):
        first = chain.snapshot()
        chain.delete(first)
        chain.write(4096, 4096)
    first = chain.snapshot()
    chain.write(2 * 4096, 4096)
    assert chain.contents().per_block()[:4].tolist() == [0, 32_780, 32_781, ABSENT_BIRTH]
    assert chain.contents(first).per_block()[:4].tolist() == [0, 32_780, ABSENT_BIRTH, ABSENT_BIRTH]


def test_a_wider_table_holds_the_same_codes():
    table = BlockTable(5000, max_code=7)
    arrays = table.arrays
    arrays.leaves[:] = 7
    arrays.used[0] = 1
    table.widen(max_code=65_535)
    assert table.dtype == np.uint16
    table.widen(max_code=65_536)
    assert table.dtype == np.uint32
    assert (table.arrays.leaves[: len(arrays.leaves)] == 7).all()
    table.reserve(1 << 12)  # it can still grow
    assert table.memory.leaf_bytes == 4 * 4096


def test_requests_one_by_one_and_how_deep_reads_look():
    chain = Chain("overlays", Counting(block_size=4096, initial="thick", zeroes="death"), capacity=8 * 4096)
    chain.snapshot()
    chain.write(0, 4096)
    chain.snapshot()
    chain.discard(4096, 4096)
    chain.write_zeroes(2 * 4096, 4096 + 1)
    chain.read(0, 8 * 4096)
    assert chain.contents().per_block().tolist() == [1, ABSENT_BIRTH, ABSENT_BIRTH, 2, -1, -1, -1, -1]
    assert chain.layers().tolist() == [8, 1, 1]
    assert chain.lookups.tolist() == [3, 1, 4]


def test_flushes_may_name_any_offset():
    chain = Chain("overlays", PLAIN, capacity=4096)
    rows = np.array([1 << 60]), np.array([0])
    chain.apply(Batch(np.array([0]), np.array([FLUSH], np.uint8), *rows))
    assert chain.total == 0


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda chain: chain.delete(3), "there is no snapshot 3: the newest that exist are 0"),
        (lambda chain: chain.revert(-1), "no snapshot -1"),
        (lambda chain: chain.contents(7), "no snapshot 7"),
        (lambda chain: chain.delete(0, how="merge"), "commit, stream"),
        (
            lambda chain: chain.write(4096, 1 << 20),
            "request 0 of the batch lies outside the volume of 64 KiB",
        ),
        (lambda chain: chain.read(-1, 4), "outside the volume"),
        (lambda chain: chain.stores(), "ask for layers"),
    ],
)
def test_what_makes_no_sense_is_refused(ask, message):
    chain = Chain("overlays", PLAIN, capacity=1 << 16)
    chain.snapshot()
    with pytest.raises(UsageError, match=message):
        ask(chain)


def test_stores_are_not_layers():
    with pytest.raises(UsageError, match="ask for stores"):
        Chain("shared-store", PLAIN, capacity=4096).layers()


@pytest.mark.parametrize(
    ("organisation", "how", "message"),
    [
        ("linked list", {}, "shared-store, private-stores, overlays, shared-tree"),
        ("overlays", {"initial": "read-first"}, "give a map"),
        ("overlays", {"initial": ((0, 1 << 20),)}, "beyond the volume"),
    ],
)
def test_chains_that_cannot_start_are_refused(organisation, how, message):
    with pytest.raises(UsageError, match=message):
        Chain(organisation, replace(PLAIN, **how), capacity=4096)
