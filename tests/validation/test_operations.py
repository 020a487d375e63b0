"""Sequences of operations."""

import numpy as np
import pytest

from snapsim.errors import UsageError
from snapsim.types import DISCARD, FLUSH, READ, WRITE, WRITE_ZEROES, Batch
from snapsim.validation.operations import REQUESTS, Operation, epochs, random_operations, trace_operations

CAPACITY = (16 << 20) + 1536
BLOCK = 4096


def batch(*rows):
    op, offset, length = np.array(rows, np.int64).T
    return Batch(np.arange(len(rows)), op.astype(np.uint8), offset, length)


@pytest.mark.parametrize("seed", range(40))
def test_random_operations_fit_the_volume_and_name_snapshots_that_exist(seed):
    operations = random_operations(seed, capacity=CAPACITY, block_size=BLOCK, requests=50, steps=9)
    assert operations == random_operations(seed, capacity=CAPACITY, block_size=BLOCK, requests=50, steps=9)
    assert sum(one.kind in REQUESTS for one in operations) == 50
    assert sum(one.kind not in REQUESTS for one in operations) == 9
    kept, taken = [], 0
    for one in operations:
        if one.kind in REQUESTS:
            assert one.offset >= 0
            assert one.length > 0
            assert one.offset + one.length <= CAPACITY
        if one.kind == "zeroes":
            assert one.offset % BLOCK == one.length % BLOCK == 0
        if one.kind == "snapshot":
            kept.append(taken)
            taken += 1
        if one.kind == "delete":
            kept.remove(one.snapshot)
        if one.kind == "revert":
            del kept[kept.index(one.snapshot) + 1 :]


def test_random_operations_are_of_every_kind():
    kinds = {
        one.kind for seed in range(30) for one in random_operations(seed, capacity=CAPACITY, block_size=BLOCK)
    }
    assert kinds == {"write", "discard", "zeroes", "snapshot", "delete", "revert"}


def test_what_is_not_wanted_does_not_happen():
    for seed in range(20):
        plain = random_operations(seed, capacity=CAPACITY, block_size=BLOCK, frees=False)
        assert not {one.kind for one in plain} & {"discard", "zeroes"}
        apart = random_operations(seed, capacity=CAPACITY, block_size=BLOCK, merges=False)
        assert "delete" not in {one.kind for one in apart}


def test_a_volume_without_room():
    with pytest.raises(UsageError, match="too small"):
        random_operations(0, capacity=8192, block_size=4096)


def test_a_trace_is_folded_into_a_small_volume():
    rows = [
        (READ, 0, 4096),  # before the first change: left out in any case
        (WRITE, 10 * BLOCK + 512, 700),  # sectors
        (READ, 0, 4096),
        (FLUSH, 0, 0),
        (WRITE_ZEROES, 3 * BLOCK + 512, 4096),  # blocks
        (DISCARD, 7 * BLOCK, 3 * BLOCK),  # up to the end
    ]
    how = {"capacity": 8 * BLOCK, "requests": 10, "every": 10, "block_size": BLOCK}
    changes = [
        Operation("write", 2 * BLOCK + 512, 1024),
        Operation("flush"),
        Operation("zeroes", 3 * BLOCK, 2 * BLOCK),
        Operation("discard", 7 * BLOCK, BLOCK),
    ]
    assert trace_operations([batch(*rows)], **how) == changes
    assert trace_operations([batch(*rows)], **how, reads=True) == [
        changes[0], Operation("read", 0, 4096), *changes[1:],
    ]  # fmt: skip
    assert trace_operations([batch(*rows[:3]), batch(*rows[3:])], **how | {"requests": 2}) == changes[:2]


def test_snapshots_come_between_the_requests_of_a_trace():
    rows = [(WRITE, i * BLOCK, BLOCK) for i in range(8)]
    operations = trace_operations([batch(*rows)], capacity=8 * BLOCK, requests=8, every=2, keep=2)
    steps = [(one.kind, one.snapshot) for one in operations if one.kind not in REQUESTS]
    assert steps == [("snapshot", -1), ("snapshot", -1), ("snapshot", -1), ("delete", 0)]
    counts = [(len(requests), None if then is None else then.kind) for requests, then in epochs(operations)]
    assert counts == [(2, "snapshot"), (2, "snapshot"), (2, "snapshot"), (0, "delete"), (2, None)]
