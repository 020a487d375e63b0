"""Space over time against questions about sets of versions, at every instant."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapsim.engine import space
from snapsim.engine.boxsums import BoxSums
from snapsim.engine.counter import LifetimeCounter
from snapsim.engine.metadata import Staircase
from snapsim.engine.reference import ReferenceVolume
from snapsim.errors import UsageError
from snapsim.testing import strategies


@st.composite
def histories(draw):
    """A volume, its matrix, its reference, and snapshots that come and go."""
    volume = draw(strategies.volumes())
    instants = draw(strategies.instants(max_size=12))
    counting = draw(strategies.countings(capacity=volume.capacity))
    matrix = LifetimeCounter(instants, counting, capacity=volume.capacity).add(volume.requests).finish()
    reference = ReferenceVolume(
        instants.tolist(), block_size=counting.block_size, capacity=volume.capacity, initial=counting.initial,
        discard=counting.discard, zeroes=counting.zeroes, grain=counting.grain,
    ).run([volume.requests])  # fmt: skip
    created, deleted = draw(strategies.existences(n_instants=len(instants)))
    return matrix, reference, space.chain(created, deleted, n_instants=len(instants))


def kept_at(chain, t):
    return [int(c) for c, d in zip(chain.created, chain.deleted, strict=True) if c <= t < d]


def before_prune(chain, t):
    return [int(c) for c, d in zip(chain.created, chain.deleted, strict=True) if c <= t <= d]


@given(histories())
def test_shared_space_over_time(history):
    matrix, reference, chain = history
    held = space.shared(space.count_gaps(matrix, chain), chain)
    freed = chain.deletions.per_instant(held.freed)
    for t in range(chain.n_instants):
        assert held.after[t] == reference.snapshot_only(kept_at(chain, t), t)
        assert held.before[t] == reference.snapshot_only(before_prune(chain, t), t)
        gone = [one for one in before_prune(chain, t) if one not in kept_at(chain, t)]
        assert freed[t] == reference.freed(before_prune(chain, t), gone, t)
    np.testing.assert_array_equal(matrix.live_blocks, [reference.live(t) for t in range(chain.n_instants)])


@given(histories())
def test_detached_store_over_time(history):
    matrix, reference, chain = history
    held = space.detached(space.count_gaps(matrix, chain), chain)
    for t in range(chain.n_instants):
        assert held.after[t] == reference.detached(kept_at(chain, t))
        assert held.before[t] == reference.detached(before_prune(chain, t))


@given(histories(), st.sampled_from([0, 1 << 8, 1 << 40]), st.sampled_from([0, 700, 9000]), st.integers(1, 3))
def test_private_stores_over_time(history, memory, size, width):
    """Every store at every instant, with prefix sums, with a few of them and with none."""
    matrix, reference, chain = history
    sums = BoxSums.build(
        matrix.cells.birth, matrix.cells.epoch, matrix.cells.count, n_instants=chain.n_instants, memory=memory
    )
    matrix.__dict__["sums"] = sums
    staircase = Staircase(7, 5, width)
    stores = space.private_stores(matrix, chain, staircase=staircase, size=size)
    for t in range(chain.n_instants):
        blocks = reference.private_stores(before_prune(chain, t), t)
        assert stores.held[t] == sum(min(one * matrix.block_size, size or 1 << 60) for one in blocks)
        assert stores.tables[t] == sum(7 + 5 * (one // width) for one in blocks)
    last = np.minimum(chain.deleted, chain.n_instants - 1).tolist()
    alone = zip(chain.created.tolist(), last, strict=True)
    assert stores.final.tolist() == [reference.private_stores([taken], t)[0] for taken, t in alone]


@given(histories())
def test_layers_over_time(history):
    """The sum over layers, and what merges move and need, with every layer made by hand."""
    matrix, reference, chain = history
    summed = space.sum_over_layers(space.count_gaps(matrix, chain).layers, chain)
    for t in range(chain.n_instants):
        ends = [None, *kept_at(chain, t), t]
        assert summed[t] == sum(reference.written(low, high) for low, high in pairwise(ends))
    moves, gone = space.merges(space.count_gaps(matrix, chain), chain), chain.deletions
    for i, at in enumerate(gone.at.tolist()):
        low = None if gone.previous[i] == space.OPEN else int(gone.previous[i])
        dropped, high = int(gone.dropped[i]), int(gone.following[i])
        assert (high == at) if gone.newest[i] else (high in before_prune(chain, at))
        assert moves.moved[i] == reference.written(dropped, high)
        grown = reference.written(low, high) - reference.written(low, dropped)
        assert moves.extra[i] == max(grown, 0)


@given(histories())
def test_peaks_follow_deletions_one_by_one(history):
    matrix, _, chain = history
    counts = space.count_gaps(matrix, chain)
    held, moves = space.shared(counts, chain), space.merges(counts, chain)
    expected = np.maximum(held.before, held.after)
    for t in range(chain.n_instants):
        level = int(held.before[t])
        for i in np.flatnonzero(chain.deletions.at == t):
            expected[t] = max(expected[t], level + int(moves.extra[i]))
            level -= int(held.freed[i])
        assert level == held.after[t]
    np.testing.assert_array_equal(space.peaks(held, chain, moves.extra), expected)


@given(st.data())
def test_neighbours_equal_those_found_naively(data):
    """`chain` against looking at the list of existing snapshots at each deletion."""
    n = data.draw(st.integers(1, 15))
    created, deleted = data.draw(strategies.existences(n_instants=n))
    chain = space.chain(created, deleted, n_instants=n)
    expected = []
    newest = []
    existing: list[int] = []
    for t in range(n):
        existing += [int(c) for c in created if c == t]
        for one in [int(c) for c, d in zip(created, deleted, strict=True) if d == t]:
            place = existing.index(one)
            older = existing[place - 1] if place else space.OPEN
            newer = existing[place + 1] if place + 1 < len(existing) else t
            expected.append((t, older, one, newer, place + 1 == len(existing)))
            existing.remove(one)
        newest.append(existing[-1] if existing else space.OPEN)
    gone = chain.deletions
    columns = (gone.at, gone.previous, gone.dropped, gone.following, gone.newest)
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == expected
    assert chain.created[gone.number].tolist() == gone.dropped.tolist()
    assert chain.newest_after.tolist() == newest
    assert chain.count().tolist() == [len(kept_at(chain, t)) for t in range(n)]
    assert chain.count(before_prune=True).tolist() == [len(before_prune(chain, t)) for t in range(n)]


@pytest.mark.parametrize(
    ("created", "deleted"),
    [([1, 1], [2, 2]), ([1], [0]), ([3], [4]), ([0], [9])],
    ids=["twice", "backwards", "outside", "later"],
)
def test_impossible_histories_are_refused(created, deleted):
    with pytest.raises(UsageError, match="snapshots"):
        space.chain(created, deleted, n_instants=3)
