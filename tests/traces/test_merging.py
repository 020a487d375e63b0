"""Merging sorted streams gives what sorting everything would give."""

from functools import partial

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from snapsim.traces.merging import Stream, merged

ROWS = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 3)), max_size=60)


def pieces(rows, size):
    for first in range(0, len(rows), size):
        yield tuple(rows[first : first + size].T)


@given(ROWS, st.integers(1, 7), st.integers(1, 20), st.integers(0, 3))
def test_merged_streams_are_sorted_by_time_and_sequence(rows, piece, held, early):
    table = np.array(
        [(time, number, stream) for number, (time, stream) in enumerate(rows)], np.int64
    ).reshape(-1, 3)
    streams = []
    for stream in range(4):
        mine = table[table[:, 2] == stream]
        mine = mine[np.argsort(mine[:, 0], kind="stable")]
        if len(mine):
            streams.append(Stream(int(mine[0, 0]) - early, partial(pieces, mine, piece)))
    found = [np.stack(columns, axis=1) for columns in merged(streams, rows=held)]
    assert all(len(part) for part in found)
    expected = table[np.argsort(table[:, 0], kind="stable")]
    np.testing.assert_array_equal(np.concatenate(found) if found else expected[:0], expected)


def test_streams_that_follow_each_other_are_opened_one_after_the_other():
    opened = []

    def one(first):
        opened.append(first)
        yield np.arange(first, first + 10), np.arange(first, first + 10)

    found = merged([Stream(first, partial(one, first)) for first in (20, 0, 10)], rows=1)
    next(found)
    assert opened == [0]
    assert sum(len(columns[0]) for columns in found) == 20
