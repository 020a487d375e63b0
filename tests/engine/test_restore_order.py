"""A lazy restore against its plain twin, and what an order must do."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snapsim.engine.reference_restore import ReferenceRestore
from snapsim.engine.restore_order import BlockReads, LazyRestore
from snapsim.errors import UsageError
from snapsim.testing import strategies
from snapsim.types import READ, WRITE, Batch

FEW = settings(max_examples=max(settings.default.max_examples // 4, 10))


def requests(*rows):
    time, op, offset, length = zip(*rows, strict=True)
    return Batch(np.array(time), np.array(op, np.uint8), np.array(offset), np.array(length))


@FEW
@given(st.data())
def test_the_kernel_does_what_the_twin_does(data):
    volume = data.draw(strategies.volumes(large=False))
    size = data.draw(st.sampled_from((1, 3, 512, 4096)))
    n_blocks = -(-volume.capacity // size)
    if n_blocks > 3000:
        size, n_blocks = 4096, -(-volume.capacity // 4096)
    order = data.draw(st.lists(st.integers(0, n_blocks - 1), max_size=30, unique=True))
    steps = data.draw(st.lists(st.integers(0, 40), min_size=len(order), max_size=len(order)))
    how = {
        "capacity": volume.capacity, "block_size": size, "step_ns": steps,
        "fetch_ns": data.draw(st.integers(0, 60)), "waits": data.draw(st.booleans()),
    }  # fmt: skip
    lazy, plain = LazyRestore(order, **how), ReferenceRestore(order, **how)
    cuts = data.draw(st.lists(st.integers(0, 40), max_size=3))
    parts = [lazy.use(batch) for batch in strategies.batches(volume.requests, cuts)]
    got = [tuple(map(int, row)) for met in parts for row in zip(*met, strict=True)]
    assert got == plain.use(volume.requests)
    assert lazy.fetched == plain.fetched
    assert lazy.complete() == plain.complete()
    times = sorted(plain.ready.values())
    assert lazy.present(times).tolist() == [sum(one <= time for one in times) for time in times]


def test_what_is_needed_first_comes_first():
    reads = requests((100, READ, 7 * 4096, 4096), (200, READ, 5 * 4096, 4096))
    how = {"capacity": 8 * 4096, "block_size": 4096, "step_ns": 50, "fetch_ns": 500}
    linear = LazyRestore(np.arange(8), **how).use(reads)
    learned = LazyRestore([7, 5, 0, 1, 2, 3, 4, 6], **how).use(reads)
    assert learned.stall_ns.tolist() == [0, 0]
    assert linear.missed.tolist() == [1, 1]
    assert linear.stall_ns.sum() >= 1000


def test_a_write_of_a_whole_block_needs_nothing_and_a_part_needs_the_rest():
    how = {"capacity": 8192, "block_size": 4096, "step_ns": 1000, "fetch_ns": 300}
    lazy = LazyRestore([1, 0], **how)
    met = lazy.use(requests((0, WRITE, 0, 4096), (1, READ, 0, 4096), (2, WRITE, 4096, 512)))
    assert met.missed.tolist() == [0, 0, 1]
    assert lazy.fetched == 0  # block 1 was under way: it is waited for, not fetched once more
    assert met.finish_ns[2] == 1000


def test_a_guest_that_waits_is_late_with_all_that_follows():
    how = {"capacity": 8192, "block_size": 4096, "step_ns": 10**6, "fetch_ns": 100}
    reads = requests((0, READ, 4096, 4096), (1, READ, 4096, 4096))
    assert LazyRestore([0, 1], **how).use(reads).issued_ns.tolist() == [0, 101]
    assert LazyRestore([0, 1], **how, waits=False).use(reads).issued_ns.tolist() == [0, 1]


def test_reads_are_learned_batch_by_batch():
    batch = requests((0, READ, 8192, 4096), (1, READ, 0, 8192), (2, WRITE, 12288, 4096), (3, READ, 0, 1))
    whole = BlockReads.none().add(batch, 4096)
    assert whole.hottest().tolist() == [0, 2, 1]
    assert whole.needed().tolist() == [2, 0, 1]
    cut = BlockReads.none()
    for part in strategies.batches(batch, [1, 2]):
        cut = cut.add(part, 4096)
    assert [column.tolist() for column in cut] == [column.tolist() for column in whole]


@pytest.mark.parametrize("order", [[0, 0], [2], [-1]])
def test_an_order_that_cannot_be(order):
    with pytest.raises(UsageError, match="the order names a block"):
        LazyRestore(order, capacity=8192, block_size=4096, step_ns=1, fetch_ns=1)


def test_what_takes_less_than_nothing():
    with pytest.raises(UsageError, match="negative"):
        LazyRestore([0], capacity=8192, block_size=4096, step_ns=-1, fetch_ns=1)
    with pytest.raises(UsageError, match="outside"):
        LazyRestore([0], capacity=8192, block_size=4096, step_ns=1, fetch_ns=1).use(
            requests((0, READ, 8192, 1))
        )
