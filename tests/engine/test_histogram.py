"""Histograms: against sorted lists, and the laws that they obey."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapsim.engine.histogram import Histogram, interval_latencies
from snapsim.errors import UsageError

VALUES = st.lists(st.one_of(st.integers(0, 300), st.integers(0, 2**63 - 1)), max_size=60)
BITS = st.integers(1, 10)


def exact(values, percent):
    """The value of rank ceil(percent / 100 * n), counted from 1."""
    return sorted(values)[max(math.ceil(percent * len(values) / 100), 1) - 1]


def bucket(value, bits):
    """The twin: drop places until bits + 1 are left; count what was dropped."""
    dropped = 0
    while value >> dropped >= 2 << bits:
        dropped += 1
    return value if value < 1 << bits else ((dropped + 1) << bits) + (value >> dropped) - (1 << bits)


@given(VALUES, BITS)
def test_counts_equal_the_twin_and_sums_are_exact(values, bits):
    histogram = Histogram(bits).record(values)
    expected = np.zeros(len(histogram.counts), np.int64)
    for value in values:
        expected[bucket(value, bits)] += 1
    np.testing.assert_array_equal(histogram.counts, expected)
    assert histogram.count == len(values)
    assert histogram.total == sum(values)
    if values:
        assert (histogram.minimum, histogram.maximum) == (min(values), max(values))
        assert histogram.mean == sum(values) / len(values)


@given(VALUES.filter(bool), BITS, st.floats(0, 100))
def test_percentiles_are_within_the_stated_error(values, bits, percent):
    histogram = Histogram(bits).record(values)
    true = exact(values, percent)
    assert abs(histogram.percentile(percent) - true) <= histogram.relative_error * true * (1 + 1e-12)


@given(st.lists(VALUES, max_size=4), BITS)
def test_merged_parts_equal_the_whole(parts, bits):
    whole = Histogram(bits).record([value for part in parts for value in part])
    merged = Histogram(bits)
    for part in parts:
        merged.merge(Histogram(bits).record(part))
    in_turn = Histogram(bits)
    for part in parts:
        in_turn.record(part)
    for one in (merged, in_turn):
        np.testing.assert_array_equal(one.counts, whole.counts)
        assert (one.total, one.minimum, one.maximum) == (whole.total, whole.minimum, whole.maximum)


@given(BITS)
def test_edges_are_where_buckets_begin(bits):
    edges = Histogram(bits).edges()
    assert [bucket(int(edge), bits) for edge in edges] == list(range(len(edges)))
    assert np.all(np.diff(edges) > 0)


def test_memory_does_not_grow_with_what_is_recorded():
    histogram = Histogram()
    before = histogram.counts.nbytes
    histogram.record(np.random.default_rng(1).integers(0, 2**62, 10_000))
    assert histogram.counts.nbytes == before < 60_000


def test_sums_beyond_64_bits():
    assert Histogram().record(np.full(100, 2**63 - 1)).total == 100 * (2**63 - 1)


def test_nothing_recorded():
    empty = Histogram()
    assert empty.count == empty.minimum == empty.maximum == 0
    assert math.isnan(empty.mean)
    assert math.isnan(empty.percentile(99))
    assert Histogram().merge(empty).record([7]).merge(Histogram()).minimum == 7


def test_intervals():
    latencies = interval_latencies([25, 1, 9, 12], [400, 100, 300, 7], interval_ns=10)
    assert latencies.start_ns.tolist() == [0, 10, 20]
    assert latencies.count.tolist() == [2, 1, 1]
    assert latencies.mean_ns.tolist() == [200, 7, 400]
    assert latencies.percentiles_ns[50.0].tolist() == pytest.approx(
        [100, 7, 400], rel=latencies.relative_error
    )
    assert latencies.percentiles_ns[99.9].tolist() == pytest.approx(
        [300, 7, 400], rel=latencies.relative_error
    )
    assert latencies.whole.total == 807
    none = interval_latencies([], [], interval_ns=10)
    assert len(none.start_ns) == len(none.mean_ns) == none.whole.count == 0


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Histogram(0),
        lambda: Histogram(17),
        lambda: Histogram().record([-1]),
        lambda: Histogram().percentile(101),
        lambda: Histogram(5).merge(Histogram(6)),
        lambda: interval_latencies([1], [1, 2], interval_ns=1),
        lambda: interval_latencies([1], [1], interval_ns=0),
    ],
)
def test_what_makes_no_sense_is_refused(wrong):
    with pytest.raises(UsageError):
        wrong()
