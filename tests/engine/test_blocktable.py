"""The block table against loops over single blocks, at word and leaf edges, and while it grows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snapsim.engine import blocktable
from snapsim.engine import blocktable_kernels as kernels
from snapsim.engine.blocktable import LEAF_SLOTS, BlockTable
from snapsim.engine.counter import LifetimeCounter
from snapsim.engine.lifetimes import Counting
from snapsim.engine.reference import ReferenceVolume
from snapsim.types import DISCARD, READ, WRITE, WRITE_ZEROES, Batch

DTYPES = pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
LARGEST = {np.uint16: 65_535, np.uint32: 70_000}  # 70,000 does not fit into 16 bits
LEAVES = 3

# One example writes whole leaves, block by block where nothing is compiled.
FEW = settings(max_examples=max(settings.default.max_examples // 5, 10))


@st.composite
def runs(draw, largest):
    """Codes in runs, as requests leave them, and a part of them."""
    pieces = draw(
        st.lists(st.tuples(st.sampled_from((0, 1, 2, 3, 256, largest)), st.integers(1, 13)), max_size=8)
    )
    codes = [code for code, times in pieces for _ in range(times)]
    codes += [0] * (-len(codes) % 4 + 4)
    first = draw(st.integers(0, len(codes)))
    return codes, first, draw(st.integers(first, len(codes)))


def table(codes, dtype):
    """Return slots that hold codes, and the same memory as words."""
    words = np.zeros(len(codes) * np.dtype(dtype).itemsize // 8, np.uint64)
    leaves = words.view(dtype)
    leaves[:] = codes
    return leaves, words


def tallied(codes, largest):
    tally = np.zeros(largest + 1, np.int64)
    for code in codes:
        tally[code] += 1
    return tally


@DTYPES
@given(st.data())
def test_tallies_count_every_code_of_a_run(dtype, data):
    largest = LARGEST[dtype]
    codes, first, stop = data.draw(runs(largest))
    leaves, words = table(codes, dtype)
    for words_too in (False, True):
        tally = np.zeros(largest + 1, np.int64)
        if words_too:
            kernels.tally_run(leaves, words, first, stop, tally)
        else:
            kernels.tally_slots(leaves, first, stop, tally)
        np.testing.assert_array_equal(tally, tallied(codes[first:stop], largest))
    assert leaves.tolist() == codes


@DTYPES
@given(st.data())
def test_exchanges_store_one_code_and_count_the_old_ones(dtype, data):
    largest = LARGEST[dtype]
    codes, first, stop = data.draw(runs(largest))
    code = data.draw(st.sampled_from((0, 2, 257, largest)))
    for words_too in (False, True):
        leaves, words = table(codes, dtype)
        tally = np.zeros(largest + 1, np.int64)
        if words_too:
            kernels.exchange_run(leaves, words, first, stop, code, tally)
        else:
            kernels.exchange_slots(leaves, first, stop, code, tally)
        assert leaves.tolist() == codes[:first] + [code] * (stop - first) + codes[stop:]
        np.testing.assert_array_equal(tally, tallied(codes[first:stop], largest))


@st.composite
def extents(draw):
    """Blocks, mostly from or to the edges of words and leaves."""
    near = st.tuples(st.integers(0, LEAVES), st.integers(-9, 9)).map(
        lambda place: min(max(place[0] * LEAF_SLOTS + place[1], 0), LEAVES * LEAF_SLOTS)
    )
    first, stop = sorted((draw(near), draw(near)))
    return first, stop


@DTYPES
@FEW
@given(st.data())
def test_a_table_is_one_array_of_codes(dtype, data):
    """Overwrite, replace and tally runs over several leaves, uniform or not."""
    largest = LARGEST[dtype]
    built = BlockTable(LEAVES * LEAF_SLOTS, max_code=largest)
    assert built.dtype == dtype
    directory, leaves, words, used = built.arrays
    expected = np.zeros(LEAVES * LEAF_SLOTS, np.int64)
    some = st.sampled_from((0, 1, 2, largest))
    steps = data.draw(
        st.lists(
            st.tuples(st.sampled_from(("overwrite", "replace", "tally")), extents(), some, some), max_size=8
        )
    )
    for what, (first, stop), code, other in [*steps, ("tally", (0, LEAVES * LEAF_SLOTS), 0, 0)]:
        run = expected[first:stop]
        tally = np.zeros(largest + 1, np.int64)
        if what == "replace":
            replaced = kernels.replace(directory, leaves, used, first, stop, other, code)
            assert replaced == np.count_nonzero(run == other)
            run[run == other] = code
            continue
        if what == "overwrite":
            kernels.overwrite(directory, leaves, words, used, first, stop, code, tally)
        else:
            kernels.tally_codes(directory, leaves, words, first, stop, tally)
        np.testing.assert_array_equal(tally, np.bincount(run, minlength=largest + 1))
        if what == "overwrite":
            run[:] = code
    assert used[0] <= LEAVES


# --- growing ------------------------------------------------------------------------------------------------


def spread(n_leaves):
    """Requests over the edges of all leaves in turn, so that most need two new ones; then all over again."""
    rng = np.random.default_rng(11)
    edges = np.concatenate(([1], np.arange(2, n_leaves, 2), rng.integers(1, n_leaves, 3 * n_leaves)))
    n = len(edges)
    before, after = rng.integers(1, 20, n), rng.integers(1, 20, n)
    after[0] = -1  # one leaf only: after it an odd number is in use
    before[0] = 9
    op = rng.choice(np.array([WRITE, WRITE_ZEROES, DISCARD, READ], np.uint8), n)
    op[: n_leaves // 2] = WRITE
    return Batch(np.arange(n), op, (edges * LEAF_SLOTS - before) * 512, (before + after) * 512)


@pytest.mark.parametrize("at_once", [0, 3 * 4096 * 2, 17 * 4096 * 2])
@pytest.mark.parametrize(
    "mode", [("thin", "write"), ("read-first", "death"), (((512, 512 * 9000),), "touch")]
)
def test_a_table_that_grows_counts_as_ever(monkeypatch, at_once, mode):
    """Beyond the memory that is asked for at once, leaves are added while requests are counted."""
    initial, zeroes = mode
    n_leaves = 64
    capacity = n_leaves * LEAF_SLOTS * 512
    requests = spread(n_leaves)
    instants = np.array([10, 60, 120, 180])
    counting = Counting(block_size=512, initial=initial, zeroes=zeroes)
    reference = ReferenceVolume(
        instants.tolist(), block_size=512, capacity=capacity, initial=initial, discard=counting.discard,
        zeroes=zeroes, grain=1,
    ).run([requests])  # fmt: skip

    monkeypatch.setattr(blocktable, "_AT_ONCE_BYTES", at_once)
    matrix = LifetimeCounter(instants, counting, capacity=capacity).add(requests).finish()
    assert matrix.memory.leaf_bytes > 40 * LEAF_SLOTS * 2 > at_once
    expected = np.zeros_like(matrix.counts)
    for (birth, death), number in reference.matrix().items():
        expected[birth + 1, death] += number
    np.testing.assert_array_equal(matrix.counts, expected)
    reads = np.zeros_like(matrix.counts)
    for (birth, epoch), number in reference.reads.items():
        if birth is not None:
            reads[birth + 1, epoch] += number
    np.testing.assert_array_equal(matrix.read_counts, reads)


def test_what_was_stored_stays_when_a_table_grows(monkeypatch):
    """There is always room for as many more leaves as were asked for."""
    monkeypatch.setattr(blocktable, "_AT_ONCE_BYTES", 0)
    n_leaves, tally = 200, np.zeros(300, np.int64)
    built = BlockTable(n_leaves * LEAF_SLOTS, max_code=299)
    for leaf in range(n_leaves):
        built.reserve(2)
        directory, leaves, words, used = built.arrays
        assert kernels.free_leaves(leaves, used) >= 2
        kernels.overwrite(
            directory, leaves, words, used, leaf * LEAF_SLOTS, leaf * LEAF_SLOTS + 3, leaf, tally
        )
    directory, leaves, words, used = built.arrays
    assert len(words) * 4 <= (n_leaves + 2) * LEAF_SLOTS
    held = np.zeros(300, np.int64)
    for leaf in range(n_leaves):
        kernels.tally_codes(directory, leaves, words, leaf * LEAF_SLOTS, leaf * LEAF_SLOTS + 3, held)
    assert held[:n_leaves].tolist() == [3] * n_leaves
