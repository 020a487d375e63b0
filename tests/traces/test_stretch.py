"""Paced recordings: times stretched to those that they represent."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapsim.errors import UsageError
from snapsim.traces.formats import open_trace, read_trace
from snapsim.traces.pacing import ratio
from snapsim.traces.trace import Trace
from snapsim.types import WRITE
from snapsim.units import DAY, HOUR, MINUTE, SECOND

START = "2026-06-01T00:00Z"


def trace_of(times, **options):
    n = len(times)
    return Trace.from_arrays(times, [WRITE] * n, np.arange(n) * 512, [512] * n, **options)


def rows(trace, **options):
    return [
        row
        for batch in trace.batches(**options)
        for row in zip(batch.time_ns.tolist(), batch.offset.tolist(), strict=True)
    ]


def test_times_are_multiplied_and_said_to_be():
    real = trace_of([0, 3, 20 * MINUTE], start="2026-11-22T14:00Z", latency_ns=[7, 8, 9])
    week = real.stretch(504, start=START)
    assert [row[0] for row in rows(week)] == [0, 1512, 7 * DAY]
    assert week.info.time_scale == 504
    assert week.info.span_ns == 7 * DAY
    assert week.start_ns == 1780272000 * SECOND
    assert week.info.notes == (
        "paced recording: one second of it stands for 504 seconds; times are the represented ones",
    )
    assert "1 s stands for 8.4min (x504)" in repr(week)
    (batch,) = week.batches(columns=["latency_ns"])
    assert batch.latency_ns.tolist() == [7, 8, 9]
    assert real.info.time_scale == 1
    assert "stands for" not in repr(real)


def test_the_start_stays_where_it_was_unless_told():
    assert trace_of([0], start=START).stretch(2).start_ns == 1780272000 * SECOND
    assert trace_of([0]).stretch(2).start_assumed


def test_two_scales_multiply_and_the_note_says_the_product_once():
    twice = trace_of([0, 5]).stretch(6).stretch(60)
    assert rows(twice)[1][0] == 1800
    assert twice.info.time_scale == 360
    assert len(twice.info.notes) == 1
    assert "360 seconds" in twice.info.notes[0]
    undone = twice.stretch(1 / 360)
    assert (undone.info.time_scale, undone.info.notes, rows(undone)[1][0]) == (1, (), 5)


def test_it_survives_the_store(tmp_path):
    digests = [b"12345678"] * 3
    real = trace_of([0, 3, 10**9], start=START, digest=digests, contents="snapsim-1", capacity="1MiB")
    week = real.stretch(360, start="2026-06-01T06:00Z")
    week.save(tmp_path / "week.parquet")
    for read in (read_trace, open_trace):
        again = read(tmp_path / "week.parquet")
        assert again.info == week.info
        assert rows(again) == rows(week)
        assert (again.info.time_scale, again.info.contents) == (360, "snapsim-1")
        assert next(again.batches(columns=["digest"])).digest.tolist() == digests
    streamed = open_trace(tmp_path / "week.parquet").stretch(0.5)
    assert rows(streamed) == rows(week.stretch(0.5))
    assert streamed.info.contents == streamed.window(0, 5).info.contents == "snapsim-1"


@given(
    times=st.lists(st.integers(0, 10**6), max_size=30),
    scale=st.sampled_from([1, 7, 360, 0.5, 1.5, 1 / 3, 2.7182818284]),
    start=st.integers(0, 10**6),
    length=st.integers(0, 10**6),
    again=st.integers(0, 1000),
)
def test_a_window_of_a_stretched_trace_is_the_stretched_trace_cut(times, scale, start, length, again):
    exact = ratio(scale)
    trace = trace_of(times).stretch(scale)
    whole = sorted((int(Fraction(time) * exact), place * 512) for place, time in enumerate(times))
    # ties of stretched times keep the order of the real ones
    assert [time for time, _ in rows(trace, rows=3)] == [time for time, _ in whole]
    expected = [(t - start, o) for t, o in rows(trace) if start <= t < start + length]
    window = trace.window(start, start + length)
    assert rows(window, rows=4) == expected
    narrower = [(t - again, o) for t, o in expected if t >= again]
    assert rows(window.window(again, None)) == narrower
    assert window.info.time_scale == trace.info.time_scale


def test_a_stored_trace_is_narrowed_by_its_row_groups(tmp_path):
    times = np.arange(1000) * SECOND
    trace_of(times).save(tmp_path / "t.parquet")
    stretched = open_trace(tmp_path / "t.parquet").stretch(3600)
    window = stretched.window("10h", "12h")
    assert rows(window) == [(0, 10 * 512), (HOUR, 11 * 512)]
    assert len(window) == 2


def test_volumes_are_selected():
    trace = trace_of([0, 1, 2], volume=["a", "b", "a"]).stretch(10)
    assert rows(trace.select(volume="a")) == [(0, 0), (20, 1024)]


@pytest.mark.parametrize("scale", [0, -3, float("nan"), float("inf"), True, "60", None, 1e-9, 1e12])
def test_a_scale_that_makes_no_sense_is_refused(scale):
    with pytest.raises(UsageError, match="time scale"):
        trace_of([0, 1]).stretch(scale)


def test_a_scale_that_reaches_too_far_is_refused():
    with pytest.raises(UsageError, match="beyond the year 2262"):
        trace_of([0, 10 * HOUR]).stretch(900_000)
    with pytest.raises(UsageError, match="not a point in time"):
        trace_of([0]).stretch(2, start="noon")


@pytest.mark.parametrize("times", [[], [5]])
def test_short_traces(times):
    trace = trace_of(times).stretch(60)
    assert [time for time, _ in rows(trace)] == [60 * time for time in times]
    assert trace.span_ns == 0
