"""Synthetic traces: closed forms, distributions, and exact repeatability."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snapsim.errors import UsageError
from snapsim.traces import synthetic
from snapsim.traces.arrivals import Day, positions
from snapsim.traces.statistics import change_rate, summarise
from snapsim.traces.synthetic import Mixture, Sequential, Uniform, Zipf, generate
from snapsim.traces.zipf import Permutation, draw_ranks
from snapsim.types import DISCARD, READ, WRITE
from snapsim.units import DAY, HOUR, KIB, MIB, SECOND

ONE_MIX = Mixture(
    [
        (Sequential(region=(0, "1MiB")), 1),
        (Zipf(region=("1MiB", "15MiB"), read_share=0.5, request_size={"4KiB": 3, "64KiB": 1}), 2),
        (Uniform(discard_share=0.2, read_share=0.3), 1),
    ],
)
ALL_PATTERNS = [Uniform(), Zipf(), Zipf(theta=1.0), Sequential(request_size={512: 1, 3072: 2}), ONE_MIX]


def columns(trace, **options):
    batches = list(trace.batches(**options))
    return [np.concatenate([batch[column] for batch in batches]) for column in range(4)]


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


# closed forms


@pytest.mark.parametrize(("blocks", "writes"), [(1, 1), (1000, 1000), (1 << 16, 200_000), (1 << 20, 300_000)])
def test_uniform_writes_touch_the_expected_number_of_blocks(blocks, writes):
    trace = synthetic.uniform(capacity=blocks * 4096, duration="1d", n_requests=writes, seed=11)
    touched = summarise(trace).distinct_written_bytes[4096] / 4096
    untouched = (1 - 1 / blocks) ** writes
    expected = blocks * (1 - untouched)
    # variance of the number of empty cells (classical occupancy)
    both = (1 - 2 / blocks) ** writes if blocks > 2 else 0.0
    spread = math.sqrt(max(blocks * untouched + blocks * (blocks - 1) * both - (blocks * untouched) ** 2, 0))
    assert abs(touched - expected) <= 4 * spread


def test_uniform_offsets_are_uniform():
    _, _, offset, length = columns(
        synthetic.uniform(capacity="400KiB", duration="1h", n_requests=100_000, seed=2)
    )
    counts = np.bincount(offset // 4096, minlength=100)
    assert counts.size == 100
    assert (offset % 4096 == 0).all()
    assert (length == 4096).all()
    assert ((counts - 1000) ** 2 / 1000).sum() < 149  # chi-squared with 99 degrees of freedom, 0.1 %


def test_a_sequential_trace_writes_everything_as_often_as_it_goes_round():
    trace = synthetic.sequential(capacity="1MiB", duration="1h", n_requests=3 * 256, request_size="4KiB")
    summary = summarise(trace)
    assert summary.overwrite_factor == 3
    assert summary.distinct_written_bytes[512] == MIB
    assert (columns(trace)[2] == np.tile(np.arange(256) * 4096, 3)).all()


def test_a_circular_log_stays_in_its_place():
    trace = synthetic.circular_log(
        capacity="1GiB",
        duration="1h",
        n_requests=1000,
        log_offset="8MiB",
        log_size="100KiB",
        request_size="12KiB",
    )
    _, op, offset, _ = columns(trace)
    assert (op == WRITE).all()
    assert sorted(set(offset.tolist())) == [
        8 * MIB + 12 * KIB * step for step in range(8)
    ]  # 4 KiB are left over


@given(
    st.dictionaries(st.integers(1, 30), st.integers(0, 3), max_size=4).filter(
        lambda sizes: any(sizes.values())
    ),
    st.integers(0, 40),
    st.lists(st.integers(1, 50), min_size=1, max_size=4),
)
@settings(max_examples=50)
def test_a_sequential_stream_goes_on_where_it_stopped(sizes, spare, draws):
    capacity = max(sizes) + spare
    pattern = Sequential(request_size=sizes)
    seed = np.random.SeedSequence(1)
    stream = pattern.stream(capacity, seed)
    position = 0
    for n in draws:
        requests = stream(np.random.default_rng(n), n)
        for offset, length in zip(requests.offset.tolist(), requests.length.tolist(), strict=True):
            expected = position if position + length <= capacity else 0
            assert offset == expected
            position = offset + length


@pytest.mark.parametrize("theta", [0.5, 0.99, 1.0, 1.7])
@pytest.mark.parametrize("items", [1, 2, 100])
def test_zipf_ranks_follow_the_law(theta, items):
    n = 200_000
    ranks = draw_ranks(np.random.default_rng(4), n, items=items, theta=theta)
    weights = np.arange(1, items + 1) ** -theta
    expected = n * weights / weights.sum()
    counts = np.bincount(ranks, minlength=items + 1)
    assert counts[0] == 0
    assert counts.size == items + 1
    # chi-squared: mean items - 1, variance 2 (items - 1)
    assert ((counts[1:] - expected) ** 2 / expected).sum() <= items - 1 + 4 * math.sqrt(2 * items)


def test_zipf_reaches_any_number_of_items():
    ranks = draw_ranks(np.random.default_rng(4), 10_000, items=1 << 34, theta=0.99)
    assert ranks.min() == 1
    assert 1 << 32 < ranks.max() <= 1 << 34


def test_zipf_is_skewed_and_its_hot_blocks_are_scattered():
    _, _, offset, _ = columns(synthetic.zipf(capacity="40MiB", duration="1h", n_requests=100_000, seed=5))
    counts = np.bincount(offset // 4096, minlength=10_240)
    hottest = np.argsort(counts)[::-1][:100]
    assert counts[hottest].sum() > 0.45 * 100_000  # the law gives 0.54 for 100 of 10,240 items
    assert counts[hottest].sum() < 0.6 * 100_000
    assert 0.3 < np.mean(hottest < 5120) < 0.7
    other = columns(synthetic.zipf(capacity="40MiB", duration="1h", n_requests=100_000, seed=6))[2]
    assert np.bincount(other // 4096).argmax() != counts.argmax()


@given(st.integers(1, 5000), st.integers(0, 100))
@settings(max_examples=50)
def test_a_permutation_maps_items_onto_items(items, seed):
    order = Permutation(items, np.random.SeedSequence(seed))(np.arange(items))
    assert sorted(order.tolist()) == list(range(items))


# arrivals


def test_a_poisson_process_of_exactly_n_arrivals_has_uniform_positions_whatever_the_chunks():
    for chunk in (1, 7, 500, 10_000):
        drawn = np.concatenate(list(positions(np.random.default_rng(8), 5000, chunk=chunk, even=False)))
        assert drawn.size == 5000
        assert (np.diff(drawn) >= 0).all()
        grid = np.arange(1, 5001) / 5000
        # Kolmogorov-Smirnov, 0.1 %
        assert np.abs(drawn - grid).max() < 1.95 / math.sqrt(5000)


def test_even_arrivals_are_evenly_spaced():
    trace = synthetic.uniform(capacity="1MiB", duration="100s", n_requests=50, arrivals="even")
    assert (columns(trace)[0] == np.arange(50) * 2 * SECOND).all()


def test_rate_times_duration_gives_the_number_of_requests():
    assert len(synthetic.uniform(capacity="1MiB", duration="1h", rate=0.5)) == 1800


@pytest.mark.parametrize("start", ["2026-03-01T00:00Z", "2026-03-01T17:45Z"])
def test_a_diurnal_trace_is_busy_by_day_and_quiet_at_night(start):
    trace = synthetic.diurnal(
        capacity="1GiB", duration="4d", n_requests=400_000, night_level=0.2, peak_hour=15, start=start, seed=9
    )
    frame = change_rate(trace)[1:-1]  # whole hours only
    requests = frame.groupby(frame["time"].dt.hour)["requests"].mean()
    hours = np.arange(24)
    swing = 0.8 / 1.2
    turn = 2 * np.pi / 24
    mean = 400_000 / 96
    # the rate's mean over each hour
    expected = mean * (1 + swing / turn * (np.sin(turn * (hours + 1 - 15)) - np.sin(turn * (hours - 15))))
    assert (
        np.abs(requests.to_numpy() / expected - 1).max() < 0.06
    )  # over 4 standard errors of the quietest hour
    assert trace.span_ns < 4 * DAY


def test_a_day_maps_the_ends_of_a_span_to_its_ends():
    warped = Day().warp(np.array([0.0, 1.0]), start_ns=17 * HOUR, duration_ns=5 * DAY // 2)
    assert warped == pytest.approx([0, 5 * DAY / 2], abs=SECOND)
    # from peak to peak the rate is symmetric
    warped = Day(peak_hour=17).warp(np.array([0.0, 0.5, 1.0]), start_ns=17 * HOUR, duration_ns=DAY)
    assert warped == pytest.approx([0, DAY / 2, DAY], abs=SECOND)


# repeatability and laziness


@pytest.mark.parametrize("pattern", ALL_PATTERNS, ids=lambda pattern: type(pattern).__name__)
def test_the_same_seed_gives_the_same_trace_lazily_and_in_memory(pattern):
    options = {"capacity": "16MiB", "duration": "2d", "n_requests": 300_000, "day": Day()}
    trace = generate(pattern, seed=1, **options)
    lazy = generate(pattern, seed=1, lazy=True, **options)
    whole = columns(trace)
    assert len(trace) == len(lazy) == 300_000
    assert same(whole, columns(lazy, rows=100_001))
    assert same(whole, columns(lazy))  # a second pass
    assert trace.fingerprint == lazy.fingerprint
    assert trace.fingerprint != generate(pattern, seed=2, **options).fingerprint
    time, _, offset, length = whole
    assert (np.diff(time) >= 0).all()
    assert 0 <= time[0] <= time[-1] < 2 * DAY
    assert offset.min() >= 0
    assert (offset + length).max() <= 16 * MIB


@pytest.mark.parametrize(("start", "stop"), [("3h", "20h"), (None, "1h"), ("1d", None), ("5h", "5h")])
def test_a_window_of_a_lazy_trace_is_the_window_of_the_same_trace_in_memory(start, stop):
    options = {"capacity": "16MiB", "duration": "2d", "n_requests": 300_000}
    whole, lazy = (generate(ONE_MIX, lazy=lazy, **options).window(start, stop) for lazy in (False, True))
    assert len(whole) == len(lazy)
    assert whole.fingerprint == lazy.fingerprint
    assert whole.window("1h", "2h").fingerprint == lazy.window("1h", "2h").fingerprint


def test_shares_and_sizes_are_what_was_asked_for():
    pattern = Uniform(read_share=0.5, discard_share=0.1, request_size={"4KiB": 3, "16KiB": 1})
    _, op, _, length = columns(generate(pattern, capacity="1GiB", duration="1h", n_requests=100_000))
    assert np.mean(op == READ) == pytest.approx(0.5, abs=0.007)
    assert np.mean(op == DISCARD) == pytest.approx(0.1, abs=0.004)
    assert np.mean(length == 4 * KIB) == pytest.approx(0.75, abs=0.006)
    assert set(length.tolist()) == {4 * KIB, 16 * KIB}


def test_a_mixture_keeps_the_weights_and_the_regions():
    parts = [(Uniform(region=(0, "1MiB")), 1), (Sequential(region=("1MiB", "1MiB")), 3)]
    trace = synthetic.mixture(parts, capacity="2MiB", duration="1h", n_requests=40_000)
    offset = columns(trace)[2]
    assert np.mean(offset >= MIB) == pytest.approx(0.75, abs=0.009)
    walk = offset[offset >= MIB] - MIB
    assert (walk == np.arange(walk.size) * 4096 % MIB).all()


def test_the_trace_says_how_it_was_made():
    trace = synthetic.zipf(
        theta=0.8, capacity="1GiB", duration="1d", n_requests=10, seed=7, start="2026-03-01"
    )
    assert trace.info.format == "synthetic"
    assert trace.capacity == 1 << 30
    assert trace.capacity_known
    assert not trace.start_assumed
    assert trace.info.options["seed"] == "7"
    assert "theta=0.8" in trace.info.options["pattern"]
    assert synthetic.uniform(capacity="1MiB", duration="1h", n_requests=1).start_assumed


def test_a_trace_of_no_requests():
    for lazy in (False, True):
        assert len(synthetic.uniform(capacity="1MiB", duration="1h", n_requests=0, lazy=lazy)) == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: generate(Uniform(), capacity="1MiB", duration="1h"), "either n_requests or rate"),
        (
            lambda: generate(Uniform(), capacity="1MiB", duration="1h", rate=1, n_requests=1),
            "either n_requests or rate",
        ),
        (lambda: generate(Uniform(), capacity="1MiB", duration=0, n_requests=1), "must not be negative"),
        (lambda: generate(Uniform(), capacity="1MiB", duration="1h", n_requests=-1), "must not be negative"),
        (lambda: generate(Uniform(), capacity="2KiB", duration="1h", n_requests=1), "do not fit"),
        (
            lambda: generate(Uniform(region=(1, 8192)), capacity=8192, duration="1h", n_requests=1),
            "reaches beyond",
        ),
        (lambda: Uniform(read_share=0.7, discard_share=0.4), "together at most 1"),
        (lambda: Uniform(read_share=-0.1), "together at most 1"),
        (lambda: Uniform(request_size=0), "must be positive"),
        (lambda: Uniform(request_size={"4KiB": 0}), "must be positive"),
        (lambda: Zipf(theta=0), "more than 0"),
        (lambda: Mixture([]), "mixture needs"),
        (lambda: Mixture([(Uniform(), 0)]), "mixture needs"),
        (lambda: Day(night_level=0), "night_level"),
        (lambda: Day(peak_hour=24), "peak_hour"),
    ],
)
def test_what_cannot_be_made_is_refused(make, message):
    with pytest.raises(UsageError, match=message):
        make()
