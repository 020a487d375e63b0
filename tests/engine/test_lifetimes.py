"""The lifetime matrix against its readable twin, and the laws that it obeys."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapsim.engine.counter import LifetimeCounter
from snapsim.engine.lifetimes import Counting, LifetimeMatrix
from snapsim.engine.reference import ReferenceVolume
from snapsim.errors import CapacityError, UsageError
from snapsim.testing import strategies
from snapsim.types import DISCARD, FLUSH, READ, WRITE, WRITE_ZEROES, Batch

INSTANTS = np.array([10, 20, 30, 40], dtype=np.int64)


def count(requests, instants=INSTANTS, *, capacity=16 * 4096, cuts=(), known=True, **how) -> LifetimeMatrix:
    counting = how.pop("counting", None) or Counting(**{"block_size": 4096, **how})
    counter = LifetimeCounter(instants, counting, capacity=capacity, capacity_known=known)
    return counter.add_all(strategies.batches(requests, list(cuts))).finish()


def batch(*rows: tuple[int, int, int, int]) -> Batch:
    time, op, offset, length = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    return Batch(time, op.astype(np.uint8), offset, length)


def twin(volume, instants, counting, *, known=True) -> ReferenceVolume:
    reference = ReferenceVolume(
        instants.tolist(),
        block_size=counting.block_size,
        capacity=volume.capacity,
        initial=counting.initial,
        discard=counting.discard,
        zeroes=counting.zeroes,
        grain=counting.grain,
        capacity_known=known,
    )
    return reference.run([volume.requests])


@given(st.data())
def test_matrix_and_reads_equal_the_reference(data):
    """Every cell, for every mode, however the requests are cut into batches."""
    volume = data.draw(strategies.volumes())
    instants = data.draw(strategies.instants())
    counting = data.draw(strategies.countings(capacity=volume.capacity))
    known = data.draw(st.booleans())
    cuts = data.draw(st.lists(st.integers(0, 40), max_size=3))
    matrix = count(
        volume.requests, instants, capacity=volume.capacity, counting=counting, cuts=cuts, known=known
    )
    reference = twin(volume, instants, counting, known=known)

    expected = np.zeros_like(matrix.counts)
    for (birth, death), number in reference.matrix().items():
        expected[birth + 1, death] += number
    np.testing.assert_array_equal(matrix.counts, expected)

    reads, absent = np.zeros_like(matrix.counts), np.zeros(len(instants) + 1, np.int64)
    for (birth, epoch), number in reference.reads.items():
        if birth is None:
            absent[epoch] += number
        else:
            reads[birth + 1, epoch] += number
    np.testing.assert_array_equal(matrix.read_counts, reads)
    np.testing.assert_array_equal(matrix.absent_reads, absent)


@given(st.data())
def test_all_formulas_equal_questions_about_sets(data):
    """The formulas of one volume, for any kept subset at any time."""
    volume = data.draw(strategies.volumes())
    instants = data.draw(strategies.instants())
    counting = data.draw(strategies.countings(capacity=volume.capacity))
    matrix = count(volume.requests, instants, capacity=volume.capacity, counting=counting)
    reference = twin(volume, instants, counting)
    now = data.draw(st.integers(0, len(instants) - 1))
    kept = sorted(data.draw(st.sets(st.integers(0, now))))
    dropped = sorted(data.draw(st.sets(st.sampled_from(kept)))) if kept else []
    size = counting.block_size

    assert matrix.live_bytes(now) == size * reference.live(now)
    assert matrix.snapshot_bytes(kept, now) == size * reference.snapshot_only(kept, now)
    assert matrix.exclusive_bytes(kept, now).tolist() == [
        size * one for one in reference.exclusive(kept, now)
    ]
    assert matrix.freed_bytes(kept, dropped, now) == size * reference.freed(kept, dropped, now)
    assert matrix.private_store_bytes(kept, now).tolist() == [
        size * one for one in reference.private_stores(kept, now)
    ]
    assert matrix.detached_bytes(kept, now) == size * reference.detached(kept)
    for i in range(len(kept)):
        assert matrix.merged_layer_bytes(kept, i, now) == size * reference.merged_layer(kept, i, now)
        assert matrix.written_bytes(kept[i], now) == size * reference.written(kept[i], now)
    assert matrix.written_bytes(None, now) == size * reference.written(None, now)


@given(st.data())
def test_private_store_is_the_distinct_blocks_written_since(data):
    volume = data.draw(strategies.volumes(ops=(READ, WRITE, DISCARD)))
    instants = data.draw(strategies.instants())
    counting = Counting(block_size=4096, initial="thick", discard="ignore")
    matrix = count(volume.requests, instants, capacity=volume.capacity, counting=counting)
    reference = twin(volume, instants, counting)
    now = len(instants) - 1
    # what is written after the last instant is not in any store at that instant
    inside = volume.requests.time_ns < instants[-1]
    limited = strategies.Volume(volume.capacity, Batch(*(column[inside] for column in volume.requests[:4])))
    since = [len(blocks) for blocks in twin(limited, instants, counting).written_since]
    assert matrix.private_store_bytes(list(range(now + 1)), now).tolist() == [
        4096 * number for number in since
    ]
    assert reference.private_stores(list(range(now + 1)), now) == since


@given(st.data())
def test_freed_is_super_additive_and_all_deleted_returns_to_nothing(data):
    volume = data.draw(strategies.volumes())
    matrix = count(volume.requests, data.draw(strategies.instants()), capacity=volume.capacity)
    now = matrix.n_instants - 1
    kept = sorted(data.draw(st.sets(st.integers(0, now))))
    assert (
        matrix.freed_bytes(kept, kept, now)
        == matrix.snapshot_bytes(kept, now)
        >= matrix.exclusive_bytes(kept, now).sum()
    )
    assert matrix.snapshot_bytes([], now) == 0


@given(st.data())
def test_adding_reads_changes_no_space_and_renumbering_blocks_changes_nothing(data):
    volume = data.draw(strategies.volumes(ops=(READ, WRITE, DISCARD)))
    instants = data.draw(strategies.instants())
    matrix = count(volume.requests, instants, capacity=volume.capacity)
    without = volume.requests.op != READ
    fewer = Batch(*(column[without] for column in volume.requests[:4]))
    np.testing.assert_array_equal(count(fewer, instants, capacity=volume.capacity).counts, matrix.counts)

    far = 5 * 4096 * 4096
    moved = volume.requests._replace(offset=volume.requests.offset + far)
    shifted = count(moved, instants, capacity=volume.capacity + far, known=False, initial="thin")
    here = count(volume.requests, instants, capacity=volume.capacity, known=False, initial="thin")
    np.testing.assert_array_equal(shifted.counts, here.counts)


def test_shape_and_meaning_of_rows_and_columns():
    """Row 0 is initial content, row b + 1 birth b; the last column is alive after the last instant."""
    matrix = count(
        batch((5, WRITE, 0, 4096), (15, WRITE, 0, 1), (45, WRITE, 0, 4096), (46, WRITE, 4096, 4096))
    )
    assert matrix.counts.shape == (6, 5)
    assert matrix.counts[:, 0].tolist() == [
        1,
        0,
        0,
        0,
        0,
        0,
    ]  # the initial block died before the first instant
    assert matrix.counts[1].tolist() == [0, 1, 0, 0, 0]  # born before instant 0, died between 0 and 1
    assert matrix.counts[2].tolist() == [0, 0, 0, 0, 1]  # alive at the last instant, overwritten later
    assert matrix.counts[5, 4] == 2
    assert matrix.counts[0, 4] == 15


def test_a_snapshot_sees_exactly_the_requests_with_an_earlier_time():
    at = count(batch((20, WRITE, 0, 4096)), initial="thin")
    before = count(batch((19, WRITE, 0, 4096)), initial="thin")
    assert [at.live_bytes(i) for i in range(4)] == [0, 0, 4096, 4096]
    assert [before.live_bytes(i) for i in range(4)] == [0, 4096, 4096, 4096]


def test_box_takes_open_sides_and_clips():
    matrix = count(batch((5, WRITE, 0, 4096), (15, WRITE, 0, 4096)))
    everything = matrix.counts.sum()
    assert matrix.box(None, None, None, None) == everything
    assert matrix.box(-np.inf, np.inf, -np.inf, np.inf) == everything
    assert matrix.box(-99, 99, -99, 99) == everything
    assert matrix.box(-1, None, None, None) == everything - matrix.counts[0].sum()
    assert matrix.box(2, 2, None, None) == matrix.box(3, 1, None, None) == 0


@pytest.mark.parametrize(("zeroes", "rows"), [("write", [1, 1]), ("touch", [1, 1]), ("death", [0, 1])])
def test_zeroes_over_a_whole_and_a_part_of_a_block(zeroes, rows):
    matrix = count(batch((5, WRITE_ZEROES, 0, 4096 + 512)), zeroes=zeroes, initial="thin")
    assert int(matrix.births[0]) == sum(rows)


def test_discard_of_a_part_kills_nothing_but_touches():
    part = batch((5, DISCARD, 512, 4096))
    assert count(part).counts[0, 0] == 0
    assert count(part, discard="touch").births[0] == 2
    assert count(part, discard="touch", grain=4096).births[0] == 0
    assert count(batch((5, DISCARD, 512, 2 * 4096)), discard="touch", grain=4096).births[0] == 1


def test_the_end_of_the_volume_ends_the_last_block():
    end = batch((5, DISCARD, 4096, 512))
    assert count(end, capacity=4096 + 512).counts[0, 0] == 1
    assert count(end, capacity=4096 + 512, known=False).counts[0, 0] == 0


@pytest.mark.compiled
def test_discard_of_a_huge_volume_needs_no_leaves():
    capacity = 64 << 40
    matrix = count(batch((5, DISCARD, 0, capacity), (15, WRITE, 1 << 44, 4096)), capacity=capacity)
    assert matrix.counts[0, 0] == capacity // 4096
    assert matrix.memory.leaf_bytes == 2 * 4096
    assert matrix.live_bytes(3) == 4096


@pytest.mark.compiled
def test_epochs_beyond_16_bits_use_a_wider_table():
    instants = np.arange(70_000, dtype=np.int64)
    rows = [(0, WRITE, 0, 4096 * 16), (69_990, WRITE, 4096, 4096 * 11), (69_999, WRITE, 0, 4096)]
    matrix = count(batch(*rows), instants, initial="thin")
    assert matrix.box(69_990, 69_991, None, None) == 11
    assert matrix.exclusive_bytes([1, 69_995], 69_999).tolist() == [11 * 4096, 0]
    with pytest.raises(CapacityError, match=r"use \.cells"):
        matrix.counts  # noqa: B018


def test_sparse_sums_equal_dense_ones():
    """More rows than the memory for prefix sums allows: the rows between are read from the cells."""
    from snapsim.engine.boxsums import SWEEP, BoxSums

    rng = np.random.default_rng(3)
    n = 60
    rows = [
        (int(t), WRITE, int(b) * 4096, 4096)
        for t, b in zip(np.sort(rng.integers(0, n, 3000)), rng.integers(0, 40, 3000), strict=True)
    ]
    matrix = count(batch(*rows), np.arange(n, dtype=np.int64), capacity=40 * 4096)
    sparse = BoxSums.build(
        matrix.cells.birth, matrix.cells.epoch, matrix.cells.count, n_instants=n, memory=5000
    )
    assert int(sparse.arrays.stride[0]) > 1
    swept = BoxSums.build(
        matrix.cells.birth, matrix.cells.epoch, matrix.cells.count, n_instants=n, memory=100
    )
    assert int(swept.arrays.stride[0]) == SWEEP
    bounds = [rng.integers(-2, n + 1, 500) for _ in range(4)]
    np.testing.assert_array_equal(sparse.query(*bounds), matrix.sums.query(*bounds))
    np.testing.assert_array_equal(swept.query(*bounds), matrix.sums.query(*bounds))
    low, high = rng.integers(-2, n + 1, 500), rng.integers(-1, n + 1, 500)
    for sums in (matrix.sums, sparse, swept):
        np.testing.assert_array_equal(sums.survivors(low, high), matrix.sums.query(-2, low, high, n))


def test_sums_past_32_bits_are_kept_in_64():
    """As many versions as a large volume has in small blocks: nothing wraps."""
    from snapsim.engine.boxsums import BoxSums

    births, deaths = np.array([-1, 0, 1], np.int32), np.array([1, 2, 2], np.int32)
    for count, dtype in (((1 << 30) - 1, np.int32), (1 << 40, np.int64)):
        sums = BoxSums.build(births, deaths, np.array([count, count, 1]), n_instants=2)
        assert sums.arrays.prefix.dtype == dtype
        assert sums.query(-2, 2, -1, 2) == 2 * count + 1
        assert sums.survivors(np.array([0, 1]), np.array([0, 1])).tolist() == [2 * count, count + 1]


def test_chain_depth_of_reads():
    matrix = count(batch((5, WRITE, 0, 4096), (25, READ, 0, 4096), (26, READ, 4096, 4096)))
    # the written block's version lies under snapshots 0 and 1, the initial content of the other one as well
    assert matrix.chain_depth_reads([0, 1]).tolist() == [0, 0, 0, 2]
    assert matrix.chain_depth_reads([2]).tolist() == [0, 2, 0]


def test_memory_is_two_bytes_a_slot():
    matrix = count(batch(*((5, WRITE, leaf << 24, 4096) for leaf in range(10))), capacity=1 << 32)
    assert matrix.memory == (10 * 4096 * 2, 256 * 4, 10 * 4096)


def test_flushes_and_empty_requests_change_nothing():
    matrix = count(batch((5, FLUSH, 0, 0), (6, FLUSH, 4096, 0)))
    assert matrix.births.sum() == 0
    assert matrix.counts[0].tolist() == [0, 0, 0, 0, 16]


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda m: m.snapshot_bytes([2, 1], 3), "increasing"),
        (lambda m: m.snapshot_bytes([3], 2), "between 0 and now"),
        (lambda m: m.live_bytes(4), "numbered 0 to 3"),
        (lambda m: m.freed_bytes([1], [2], 3), "instant 2, which is not among"),
        (lambda m: m.written_bytes(3, 1), "swap them"),
        (lambda m: m.merged_layer_bytes([1], 1), "there are 1 kept"),
        (lambda m: m.recount(block_size=512), "does not know its trace"),
    ],
)
def test_questions_that_make_no_sense_are_refused(ask, message):
    with pytest.raises(UsageError, match=message):
        ask(count(batch((5, WRITE, 0, 4096))))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"block_size": 0}, "at least one byte"),
        ({"block_size": 4096, "discard": "trim"}, "death, ignore, touch"),
        ({"block_size": 4096, "zeroes": "ignore"}, "write, death, touch"),
        ({"block_size": 4096, "initial": "full"}, "read-first"),
        ({"block_size": 4096, "grain": 0}, "at least one byte"),
    ],
)
def test_wrong_ways_of_counting_are_refused(how, message):
    with pytest.raises(UsageError, match=message):
        Counting(**how)


def test_instants_must_increase():
    with pytest.raises(UsageError, match="increasing"):
        LifetimeCounter(np.array([2, 1]), Counting(block_size=1), capacity=1)


def test_a_map_beyond_the_volume_is_refused():
    with pytest.raises(UsageError, match="beyond the volume"):
        LifetimeCounter(INSTANTS, Counting(block_size=512, initial=((0, 1 << 20),)), capacity=4096)


def test_a_flush_may_name_any_offset():
    """Also where the table is large enough for look-ups to be made beforehand."""
    rows = [(5, WRITE, leaf << 24, 4096) for leaf in range(1200)]
    flushes = [(6, FLUSH, 1 << 60, 0)] * 200
    assert count(batch(*rows, *flushes), capacity=1200 << 24, initial="thin").births[0] == 1200


@pytest.mark.parametrize("row", [(5, WRITE, 1 << 40, 4096), (5, READ, -4096, 4096), (5, WRITE, 0, -1)])
def test_requests_outside_the_volume_are_refused(row):
    with pytest.raises(UsageError, match="outside the volume"):
        count(batch(row))


def test_a_map_that_overflows_is_refused():
    with pytest.raises(UsageError, match="beyond the volume"):
        LifetimeCounter(INSTANTS, Counting(block_size=512, initial=((1 << 62, 1 << 62),)), capacity=4096)
