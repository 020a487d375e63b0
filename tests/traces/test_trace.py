"""Trace: made from arrays, cut, selected, shown."""

import pickle
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapsim.errors import TraceError, UnitError, UsageError, VolumeSelectionError
from snapsim.traces.formats import open_trace
from snapsim.traces.trace import ASSUMED_START_NS, Trace
from snapsim.types import DISCARD, FLUSH, READ, WRITE, WRITE_ZEROES
from snapsim.units import DAY, HOUR, SECOND

START = "2026-03-01T12:00Z"


def rows(trace, **options):
    return [
        row
        for batch in trace.batches(**options)
        for row in zip(*(column.tolist() for column in batch if column is not None), strict=True)
    ]


def small(**changes):
    columns = {"time_ns": [0, 5, 10], "op": [1, 0, 1], "offset": [0, 512, 1024], "length": [512, 512, 512]}
    positional = {name: changes.pop(name, column) for name, column in columns.items()}
    return Trace.from_arrays(*positional.values(), **changes)


@pytest.mark.parametrize("kind", [list, tuple, np.array, pd.Series])
def test_any_sequence_is_taken(kind):
    trace = Trace.from_arrays(kind([3, 1]), kind([1, 0]), kind([0, 512]), kind([512, 1024]))
    assert rows(trace) == [(1, 0, 512, 1024), (3, 1, 0, 512)]
    assert trace.info.out_of_order == 1


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 10**6))))
def test_sorting_is_stable_and_back_steps_are_counted(pairs):
    times = [time for time, _ in pairs]
    offsets = [offset for _, offset in pairs]
    trace = Trace.from_arrays(times, [WRITE] * len(pairs), offsets, [1] * len(pairs))
    assert [(row[0], row[2]) for row in rows(trace)] == sorted(pairs, key=lambda pair: pair[0])
    assert trace.info.out_of_order == sum(after < before for before, after in pairwise(times))


def test_the_caller_cannot_change_a_trace_afterwards():
    times = np.array([0, 5, 10])
    trace = small(time_ns=times)
    times[:] = 99
    assert [row[0] for row in rows(trace)] == [0, 5, 10]
    batch = next(trace.batches())
    with pytest.raises(ValueError, match="read-only"):
        batch.offset[0] = 7
    with pytest.raises(AttributeError, match="frozen"):
        trace.capacity = 5


def test_ops_by_name():
    names = ["Read", "w", "DISCARD", "write_zeroes", "flush"]
    trace = Trace.from_arrays(range(5), names, [0] * 5, [512, 512, 512, 512, 0])
    assert next(trace.batches()).op.tolist() == [READ, WRITE, DISCARD, WRITE_ZEROES, FLUSH]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"op": [1, 5, 0]}, "column op, index 1: 5 is no op"),
        ({"op": ["read", "write", "burn"]}, "column op, index 2: burn is no op"),
        ({"offset": [0, 0, -512]}, "column offset, index 2: -512 is negative"),
        ({"time_ns": [0, -1, 2]}, "column time_ns, index 1: -1 is negative"),
        ({"length": [1, 0, 1]}, "column length, index 1: 0 is zero, which only a FLUSH may have"),
        ({"length": [1, -3, 1]}, "column length, index 1: -3 is negative"),
        ({"offset": [0, 2**63 - 10, 0]}, "column length, index 1: 512 reaches past 2^63 bytes"),
        (
            {"offset": np.array([0, 2**63, 0], np.uint64)},
            "column offset, index 1: 9223372036854775808 does not fit",
        ),
        (
            {"offset": [0, 2**70, 0]},
            "column offset, index 1: 1180591620717411303424 does not fit into 63 bits",
        ),
        ({"offset": [0, 0.5, 0]}, "column offset, index 1: 0.5 is not an exact whole number"),
        ({"time_ns": ["a", "b", "c"]}, "column time_ns holds <U1, not whole numbers"),
        ({"time_ns": [[0, 1, 2]]}, "column time_ns has 2 dimensions"),
        ({"time_ns": [0, 1]}, "column op has 3 values but time_ns 2"),
        (
            {"capacity": 1024},
            "column offset, index 2: 1024 plus length lies beyond the capacity of the volume, 1024 bytes",
        ),
        ({"capacity": {"b": 5}, "volume": "a"}, "capacity names volume 'b', but the trace has 'a'"),
        ({"volume": ["a", None, "b"]}, "column volume, index 1"),
        ({"latency_ns": [5, -1, -2]}, "column latency_ns, index 2: -2 is negative"),
        ({"digest": [b"a", "b", b""]}, "column digest, index 1: b is not bytes"),
    ],
)
def test_bad_input_is_named_with_column_and_index(changes, message):
    with pytest.raises(TraceError) as error:
        small(**changes)
    assert message in str(error.value)


def test_a_size_that_cannot_be_read_is_a_unit_error():
    with pytest.raises(UnitError):
        small(capacity="12 parsecs")


@pytest.mark.parametrize(
    "start",
    [
        START,
        1_772_366_400 * SECOND,
        datetime(2026, 3, 1, 12, tzinfo=UTC),
        datetime(2026, 3, 1, 13, tzinfo=timezone(timedelta(hours=1))),
        pd.Timestamp("2026-03-01T12:00"),
        np.datetime64("2026-03-01T12:00"),
    ],
)
def test_a_start_in_any_form_is_utc(start):
    trace = small(start=start)
    assert (trace.start_ns, trace.start_assumed) == (1_772_366_400 * SECOND, False)


@pytest.mark.parametrize(
    "start",
    [
        *("yesterday-ish", "9999-01-01", 1.5, True, pd.NaT, pd.Timedelta("1h"), 1 << 63, -(1 << 63)),
        # which of the two is the day would be guessed, and the others depend on when they are asked
        *("01/03/2026", "13/01/2026", "12:00", "now", "today"),
    ],
)
def test_what_is_no_point_in_time_is_refused(start):
    with pytest.raises(UsageError, match="is not a point in time"):
        small(start=start)


def test_volumes_are_told_apart_by_their_names():
    trace = small(volume=[1, "1", 2])
    assert (trace.volumes, [row[-1] for row in rows(trace)]) == (("1", "2"), [0, 0, 1])


def test_without_a_start_the_assumed_one_is_said_to_be_assumed():
    trace = small()
    assert (trace.start_ns, trace.start_assumed) == (ASSUMED_START_NS, True)
    assert pd.Timestamp(ASSUMED_START_NS) == pd.Timestamp("2001-01-01")
    assert "assumed" in repr(trace)


def test_capacity_is_known_or_what_is_touched():
    assert (small().capacity, small().capacity_known) == (1536, False)
    assert (small(capacity="1MiB").capacity, small(capacity="1MiB").capacity_known) == (1 << 20, True)


def test_windows_are_half_open_and_begin_where_they_are_cut():
    trace = small(time_ns=[0, HOUR, 2 * HOUR], start=START)
    window = trace.window("1h", "2h")
    assert rows(window) == [(0, 0, 512, 512)]
    assert window.start_ns == trace.start_ns + HOUR
    assert len(trace.window(1)) == 2
    assert rows(trace.window("2026-03-01T13:00Z")) == rows(trace.window(HOUR))
    assert len(trace.window("90min", "2026-03-01T14:00:00.000000001Z")) == 1
    assert trace.window().fingerprint == trace.fingerprint
    for hour in (timedelta(hours=1), pd.Timedelta("1h"), np.timedelta64(1, "h")):
        assert rows(trace.window(hour)) == rows(trace.window("1h"))


def test_a_window_in_a_window_is_no_larger(tmp_path):
    trace = small(time_ns=[0, HOUR, 2 * HOUR], start=START)
    trace.save(tmp_path / "x.parquet")
    for whole in (trace, open_trace(tmp_path / "x.parquet")):
        inner = whole.window("1h", "2h")
        for wider in (inner.window(-HOUR, 5 * HOUR), inner.window(START, "2026-03-02")):
            assert rows(wider) == [(HOUR, 0, 512, 512)]
            assert (wider.start_ns, wider.span_ns) == (trace.start_ns, 0)


@given(st.lists(st.integers(0, 100), max_size=30), st.lists(st.integers(0, 110), min_size=1, max_size=5))
def test_windows_side_by_side_are_the_whole(times, cuts):
    trace = Trace.from_arrays(
        times, [WRITE] * len(times), range(0, 512 * len(times), 512), [512] * len(times)
    )
    edges = [0, *sorted(cuts), 1000]
    found = [
        (row[0] + first, *row[1:])
        for first, last in pairwise(edges)
        for row in rows(trace.window(first, last))
    ]
    assert found == rows(trace)


def test_a_window_that_stops_before_it_starts_is_refused():
    with pytest.raises(UsageError, match="before it starts"):
        small().window("2h", "1h")
    with pytest.raises(UnitError):
        small().window("5 bananas")


def test_volumes_are_selected_by_name():
    trace = small(volume=["a", "b", "a"], capacity={"a": "1MiB"}, start=START)
    assert trace.volumes == ("a", "b")
    only = trace.select(volume="a")
    assert (only.volumes, only.capacity, rows(only)) == (
        ("a",),
        1 << 20,
        [(0, 1, 0, 512), (10, 1, 1024, 512)],
    )
    turned = trace.select(volume=["b", "a"])
    assert (turned.volumes, turned.info.capacities) == (("b", "a"), (None, 1 << 20))
    assert turned.fingerprint == trace.fingerprint
    for bad in ("capacity", "capacity_known"):
        with pytest.raises(VolumeSelectionError, match=r"trace\.select"):
            getattr(trace, bad)
    with pytest.raises(VolumeSelectionError, match=r"no volume 'c': it has 'a', 'b'"):
        trace.select(volume="c")
    with pytest.raises(VolumeSelectionError, match="at least one"):
        trace.select(volume=[])


def test_the_frame_has_times_names_and_volumes():
    frame = small(volume=["a", "b", "a"], start=START, latency_ns=[1, -1, 3]).to_frame()
    assert frame.columns.tolist() == ["time", "op", "offset", "length", "volume", "latency_ns"]
    assert str(frame["time"].dtype) == "datetime64[ns, UTC]"
    assert frame["time"].iloc[0] == pd.Timestamp(START)
    assert frame["op"].tolist() == ["WRITE", "READ", "WRITE"]
    assert frame["volume"].tolist() == ["a", "b", "a"]
    assert Trace.from_arrays([], [], [], []).to_frame().empty


def test_batches_hold_what_was_asked_for():
    trace = small(latency_ns=[1, 2, 3])
    assert [len(batch.time_ns) for batch in trace.batches(rows=2)] == [2, 1]
    assert next(trace.batches()).latency_ns is None
    assert next(trace.batches(columns=["latency_ns", "digest"])).latency_ns.tolist() == [1, 2, 3]
    with pytest.raises(UsageError, match="rows=0"):
        trace.batches(rows=0)
    with pytest.raises(UsageError, match="'colour' is unknown"):
        trace.batches(columns=["colour"])


def test_the_fingerprint_is_that_of_the_requests():
    trace = small()
    assert trace.fingerprint == small(capacity="1GiB", start=START).fingerprint
    assert trace.fingerprint != small(op=[1, 1, 1]).fingerprint
    assert trace.fingerprint != small(volume="a").fingerprint
    assert len(trace.fingerprint) == 64


def test_it_shows_what_a_person_wants_to_see():
    trace = small(time_ns=[0, DAY, 7 * DAY], volume="db<1>", capacity="10GiB", start=START)
    text = repr(trace)
    for fact in ("3", "7d from 2026-03-01 12:00:00 UTC", "10 GiB", "db<1>"):
        assert fact in text
    assert "db&lt;1&gt;" in trace._repr_html_()
    assert "... (9 in all)" in repr(
        Trace.from_arrays(range(9), [1] * 9, [0] * 9, [1] * 9, volume=list("abcdefghi"))
    )


def test_it_travels_to_other_processes():
    trace = small(volume=["a", "b", "a"])
    assert pickle.loads(pickle.dumps(trace)).fingerprint == trace.fingerprint


def test_no_requests_at_all():
    trace = Trace.from_arrays([], [], [], [])
    assert (len(trace), trace.span_ns, trace.capacity, list(trace.batches())) == (0, 0, 0, [])
