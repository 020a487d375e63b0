"""Figures of traces that are small enough to count by hand or by brute force."""

import json
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snapsim import schema
from snapsim.errors import UnitError, UsageError
from snapsim.traces import statistics, store, synthetic
from snapsim.traces.trace import Trace
from snapsim.types import DISCARD, FLUSH, READ, WRITE, WRITE_ZEROES
from snapsim.units import DAY, HOUR, MINUTE, SECOND, parse_duration

ISSUE_KEYS = {
    "format",
    "requests",
    "reads",
    "writes",
    "discards",
    "flushes",
    "read_bytes",
    "written_bytes",
    "discarded_bytes",
    "span_seconds",
    "capacity_bytes",
    "max_end_bytes",
    "distinct_written_bytes",
    "distinct_touched_bytes",
    "unaligned_4k_share",
    "out_of_order",
    "skipped_lines",
    "dropped_lines",
    "volumes",
}

# each example makes a whole trace and passes over it
fewer = settings(max_examples=settings().max_examples // 4)

START = "2026-03-01T00:30:00Z"


def trace_of(rows, **options):
    """Make a trace of rows (time_ns, op, offset, length[, volume])."""
    columns = list(zip(*rows, strict=True)) if rows else [[], [], [], []]
    if len(columns) == 5:
        options["volume"] = list(columns[4])
    return Trace.from_arrays(*(np.array(column, np.int64) for column in columns[:4]), **options)


@st.composite
def traces(draw, volumes=1):
    ops = st.sampled_from([READ, WRITE, DISCARD, WRITE_ZEROES, FLUSH])
    rows = draw(
        st.lists(
            st.tuples(
                st.integers(0, 30) | st.integers(0, 5 * HOUR),
                ops,
                st.integers(0, 40_000),
                st.integers(1, 20_000),
                st.sampled_from([f"disk{volume}" for volume in range(volumes)]),
            ),
            min_size=1,
            max_size=40,
        ),
    )
    rows = [row[:2] + ((0, 0) if row[1] == FLUSH else row[2:4]) + row[4:] for row in rows]
    return sorted(rows, key=lambda row: row[0])


def blocks(rows, size, ops):
    return {
        (volume, block)
        for _, op, offset, length, volume in rows
        if op in ops
        for block in range(offset // size, (offset + length - 1) // size + 1)
    }


def in_small_batches(trace, rows=3):
    """Let the trace come in batches that end anywhere."""

    class Small:
        def __getattr__(self, name):
            return getattr(trace, name)

        def __len__(self):
            return len(trace)

        def batches(self):
            return trace.batches(rows=rows)

    return Small()


@fewer
@given(traces(volumes=3))
def test_summary_equals_counting_by_hand(rows):
    summary = statistics.summarise(in_small_batches(trace_of(rows, start=START)))
    written, touched = (WRITE, WRITE_ZEROES), (READ, WRITE, WRITE_ZEROES)

    def total(*ops):
        return sum(row[3] for row in rows if row[1] in ops)

    def count(*ops):
        return sum(row[1] in ops for row in rows)

    assert summary.requests == len(rows)
    assert (summary.reads, summary.writes) == (count(READ), count(*written))
    assert (summary.discards, summary.flushes, summary.write_zeroes) == (
        count(DISCARD),
        count(FLUSH),
        count(WRITE_ZEROES),
    )
    assert (summary.read_bytes, summary.written_bytes) == (total(READ), total(*written))
    assert (summary.discarded_bytes, summary.zeroed_bytes) == (total(DISCARD), total(WRITE_ZEROES))
    assert summary.span_ns == rows[-1][0] - rows[0][0]
    assert summary.max_end_bytes == max(row[2] + row[3] for row in rows)
    for size in statistics.BLOCK_SIZES:
        assert summary.distinct_written_bytes[size] == len(blocks(rows, size, written)) * size
        assert summary.distinct_touched_bytes[size] == len(blocks(rows, size, touched)) * size
    assert summary.rewritten_bytes == total(*written) - len(blocks(rows, 1, written))
    extents = [row for row in rows if row[1] != FLUSH]
    assert summary.unaligned_4k == sum(row[2] % 4096 > 0 or row[3] % 4096 > 0 for row in extents)
    assert summary.unaligned_512 == sum(row[2] % 512 > 0 or row[3] % 512 > 0 for row in extents)
    assert summary.longest_gap_ns == max((b[0] - a[0] for a, b in pairwise(rows)), default=0)
    minutes = pd.Series([row[0] // MINUTE for row in rows]).value_counts()
    assert summary.busiest_minute["requests"] == minutes.max()
    assert summary.busiest_minute["start_seconds"] == 60 * min(minutes.index[minutes == minutes.max()])


@fewer
@given(traces(volumes=3))
def test_volumes_add_up_and_equal_the_volume_alone(rows):
    trace = trace_of(rows)
    summary = statistics.summarise(trace)
    assert tuple(summary.volumes) == trace.volumes
    for name in ("requests", "writes", "written_bytes", "rewritten_bytes"):
        assert getattr(summary, name) == sum(getattr(one, name) for one in summary.volumes.values())
    for name, figures in summary.volumes.items():
        alone = statistics.summarise(trace.select(volume=name))
        assert alone.volumes[name] == figures


def test_the_json_has_the_agreed_keys_and_no_other_types():
    trace = trace_of(
        [(0, WRITE, 0, 4096, "a"), (SECOND, READ, 512, 512, "b"), (2 * SECOND, FLUSH, 0, 0, "b")],
        capacity={"a": 8192},
        start=START,
    )
    given_ = statistics.summarise(trace).to_dict()
    assert set(given_) >= ISSUE_KEYS
    assert json.loads(json.dumps(given_)) == given_
    assert given_["start"] == "2026-03-01T00:30:00Z"
    assert given_["distinct_written_bytes"] == {"512": 4096, "4096": 4096, "65536": 65536, "1048576": 1048576}
    assert given_["distinct_touched_bytes"] == {
        "512": 4608,
        "4096": 8192,
        "65536": 131072,
        "1048576": 2097152,
    }
    assert given_["unaligned_4k_share"] == 0.5  # the flush has no extent
    assert given_["capacity_bytes"] is None  # that of b is not known
    assert [volume["volume"] for volume in given_["volumes"]] == ["a", "b"]
    assert [volume["capacity_bytes"] for volume in given_["volumes"]] == [8192, None]
    assert given_["mean_iops"] == 1.5


def test_capacities_add_up_when_all_are_known():
    trace = trace_of([(0, WRITE, 0, 1, "a"), (1, WRITE, 0, 1, "b")], capacity={"a": 1000, "b": 24})
    assert statistics.summarise(trace).capacity_bytes == 1024


def test_an_empty_trace_has_a_summary_and_is_reported():
    summary = statistics.summarise(trace_of([]))
    assert summary.requests == summary.span_ns == summary.max_end_bytes == 0
    assert summary.write_share == summary.unaligned_4k_share == 0
    assert summary.mean_iops is summary.overwrite_factor is summary.busiest_minute is None
    assert json.dumps(summary.to_dict())
    assert summary.text()
    assert [finding.level for finding in statistics.sanity(summary)][:1] == ["warning"]


def test_overwrite_factor():
    rows = [(0, WRITE, 0, 4096), (1, WRITE, 2048, 4096), (2, WRITE_ZEROES, 0, 4096), (3, READ, 0, 4096)]
    assert statistics.overwrite_factor(trace_of(rows)) == 3 * 4096 / 6144
    assert statistics.overwrite_factor(trace_of(rows[3:])) is None


def test_progress_is_reported_to_the_end():
    seen = []
    statistics.summarise(
        trace_of([(0, WRITE, 0, 1)] * 5), progress=lambda done, whole: seen.append((done, whole))
    )
    assert seen == [(5, 5)]


def test_the_text_tells_a_person_the_main_figures():
    text = statistics.summarise(
        trace_of([(0, WRITE, 0, 4096, "a"), (SECOND, READ, 0, 512, "b")], start=START)
    ).text()
    for words in ("2026-03-01T00:30:00Z", "1s", "1 (4 KiB, each byte 1 times)", "volume a"):
        assert words in text


# alignment


@fewer
@given(traces(volumes=2), st.integers(1, 9000))
def test_alignment_histogram_equals_counting(rows, modulo):
    frame = statistics.alignment_histogram(in_small_batches(trace_of(rows)), modulo=modulo)
    extents = [row for row in rows if row[1] != FLUSH]
    assert frame["residue_bytes"].tolist() == sorted({row[2] % modulo for row in extents})
    for residue, requests, reads, writes in frame.itertuples(index=False):
        ops = [row[1] for row in extents if row[2] % modulo == residue]
        assert (requests, reads, writes) == (
            len(ops),
            ops.count(READ),
            ops.count(WRITE) + ops.count(WRITE_ZEROES),
        )


@pytest.mark.parametrize("modulo", [0, "2MiB"])
def test_alignment_histogram_refuses_sizes_that_make_no_sense(modulo):
    with pytest.raises(UsageError, match="between 1 byte and 1 MiB"):
        statistics.alignment_histogram(trace_of([]), modulo=modulo)


# over time


@fewer
@given(traces(volumes=2), st.sampled_from(["1h", "37min", "1d"]), st.sampled_from([512, 4096, 10_000]))
def test_change_rate_equals_counting_by_interval(rows, every, size):
    trace = trace_of(rows, start=START)
    frame = statistics.change_rate(in_small_batches(trace), every=every, block_size=size)
    length = pd.Timedelta(parse_duration(every), "ns")
    begin = pd.Timestamp(START).floor(length)
    ends = pd.Timestamp(START) + pd.Timedelta(rows[-1][0], "ns")
    expected = pd.date_range(begin, ends.floor(length), freq=length, unit="ns")
    assert frame["time"].tolist() == expected.tolist()
    for row in frame.itertuples():
        low, high = (
            (moment - pd.Timestamp(START)) // pd.Timedelta(1, "ns")
            for moment in (row.time, row.time + length)
        )
        inside = [one for one in rows if low <= one[0] < high]
        changed = len(blocks(inside, size, (WRITE, WRITE_ZEROES))) * size
        assert row.requests == len(inside)
        assert row.reads == sum(one[1] == READ for one in inside)
        assert row.writes == sum(one[1] in (WRITE, WRITE_ZEROES) for one in inside)
        assert row.read_bytes == sum(one[3] for one in inside if one[1] == READ)
        assert row.written_bytes == sum(one[3] for one in inside if one[1] in (WRITE, WRITE_ZEROES))
        assert row.changed_bytes == changed
        assert row.change_rate == pytest.approx(changed / length.total_seconds())


@fewer
@given(traces(volumes=2), st.sampled_from(["1h", "37min", "1d"]), st.sampled_from([512, 4096]))
def test_working_set_sees_what_came_before_each_instant(rows, every, size):
    trace = trace_of(rows, start=START)
    frame = statistics.working_set(in_small_batches(trace), every=every, block_size=size)
    length = pd.Timedelta(parse_duration(every), "ns")
    last = pd.Timestamp(START) + pd.Timedelta(rows[-1][0], "ns")
    assert frame["time"].iloc[0] == pd.Timestamp(START).floor(length)
    assert frame["time"].iloc[-1] == last.floor(length) + length
    assert (frame["time"].diff().dropna() == length).all()
    for row in frame.itertuples():
        before = [one for one in rows if pd.Timestamp(START) + pd.Timedelta(one[0], "ns") < row.time]
        assert row.working_set_bytes == len(blocks(before, size, (READ, WRITE, WRITE_ZEROES))) * size
        assert row.written_set_bytes == len(blocks(before, size, (WRITE, WRITE_ZEROES))) * size


@fewer
@given(traces(volumes=2), st.sampled_from([512, 4096]))
def test_change_rate_by_interval_equals_counting_each_length(rows, size):
    ladder = (
        "1min",
        "90s",
        "5min",
        "15min",
        "1h",
        "100min",
    )  # 90 s and 100 min are not multiples of all before them
    frame = statistics.change_rate_by_interval(
        in_small_batches(trace_of(rows)), ladder=ladder, block_size=size
    )
    expected = []
    for step in sorted(map(parse_duration, ladder)):
        count, rest = divmod(rows[-1][0], step)
        count += rest >= 0.99 * step
        changed = [
            len(blocks([row for row in rows if row[0] // step == interval], size, (WRITE, WRITE_ZEROES)))
            * size
            for interval in range(count)
        ]
        if changed:
            expected.append(
                (step, count, sum(changed) / count, max(changed), sum(changed) / count / (step / SECOND))
            )
    assert frame["interval_ns"].tolist() == [row[0] for row in expected]
    for row, wanted in zip(frame.itertuples(index=False), expected, strict=True):
        assert tuple(row) == pytest.approx(wanted)


def test_frames_have_registered_columns_of_the_registered_types():
    trace = trace_of([(0, WRITE, 0, 4096), (3 * HOUR, READ, 0, 4096)])
    frames = [
        statistics.change_rate(trace),
        statistics.working_set(trace),
        statistics.change_rate_by_interval(trace),
        statistics.alignment_histogram(trace),
        statistics.change_rate(trace_of([])),
        statistics.working_set(trace_of([])),
        statistics.change_rate_by_interval(trace_of([])),
        statistics.alignment_histogram(trace_of([])),
    ]
    for frame in frames:
        assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == {
            name: schema.QUANTITIES[name].dtype for name in frame
        }
    assert [len(frame) for frame in frames] == [4, 5, 4, 1, 0, 0, 0, 0]


def test_a_trace_without_a_start_begins_in_2001():
    frame = statistics.change_rate(trace_of([(0, WRITE, 0, 1)]))
    assert frame["time"].tolist() == [pd.Timestamp("2001-01-01T00:00Z")]


def test_intervals_of_no_length_or_by_the_million_are_refused():
    trace = trace_of([(0, WRITE, 0, 1), (DAY, WRITE, 0, 1)])
    with pytest.raises(UsageError, match="time unit"):
        statistics.change_rate(trace, every="1ms")
    for call in (statistics.change_rate, statistics.working_set):
        with pytest.raises(UsageError, match="interval length"):
            call(trace, every=0)
        with pytest.raises(UsageError, match="block size"):
            call(trace, block_size=0)
    with pytest.raises(UnitError, match="minutes or months"):
        statistics.change_rate(trace, every="5m")


def test_a_stored_trace_has_the_same_summary_when_it_is_streamed(tmp_path):
    rng = np.random.default_rng(3)
    n = 5000
    trace = Trace.from_arrays(
        np.sort(rng.integers(0, DAY, n)),
        rng.choice([READ, WRITE, DISCARD], n),
        rng.integers(0, 1 << 16, n) * 512,
        rng.integers(1, 64, n) * 512,
        volume=rng.choice(["root", "swap", "data"], n),
        start=START,
    )
    streamed = store.open(trace.save(tmp_path / "trace.parquet"))
    assert {volume: statistics.summarise(streamed).volumes[volume] for volume in trace.volumes} == dict(
        statistics.summarise(trace).volumes
    )
    assert statistics.change_rate(streamed).equals(statistics.change_rate(trace))


def test_a_generated_trace_is_stored_without_being_held(tmp_path):
    lazy = synthetic.uniform(capacity="1GiB", duration="1d", n_requests=20_000, lazy=True, seed=4)
    stored = store.open(lazy.save(tmp_path / "trace.parquet"))
    assert stored.fingerprint == lazy.fingerprint
    assert stored.info.options == lazy.info.options
    assert statistics.summarise(stored).to_dict() == statistics.summarise(lazy).to_dict()
