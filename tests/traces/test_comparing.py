"""Traces side by side in one table."""

import math

import pytest

import snapsim as ss
from snapsim.errors import UsageError
from snapsim.schema import QUANTITIES
from snapsim.traces.comparing import fitting_interval
from snapsim.traces.fingerprints import fingerprints
from snapsim.units import DAY, HOUR, MINUTE, SECOND


def twice_an_hour(**changes):
    """Ten hours, in each of which one block is written twice, off its boundary in the last."""
    times = [hour * HOUR + half * 30 * MINUTE for hour in range(10) for half in range(2)]
    offsets = [hour * 4096 for hour in range(10) for _ in range(2)]
    return ss.Trace.from_arrays(times, ["write"] * 20, offsets, [4096] * 20, **changes)


def test_a_row_holds_what_the_statistics_say():
    trace = twice_an_hour(start="2026-01-01T00:00Z")
    frame = ss.compare_traces({"plain": trace}, every="1h")
    (row,) = frame.to_dict("records")
    summary = ss.statistics.summarise(trace)
    assert row["trace"] == "plain"
    assert row["written_bytes"] == summary.written_bytes == 20 * 4096
    assert row["overwrite_factor"] == summary.overwrite_factor == 2
    assert row["working_set_bytes"] == row["written_set_bytes"] == 10 * 4096
    assert row["changed_share"] == 0.5, "each hour writes one block twice"
    assert row["change_rate"] == pytest.approx(4096 / 3600)
    assert math.isnan(row["duplicate_share"])
    assert set(frame.columns) <= set(QUANTITIES)
    finer = ss.compare_traces({"plain": trace}, every="15min")
    assert finer["changed_share"].item() == 1, "no quarter of an hour writes a block twice"


def test_a_paced_trace_is_compared_by_the_time_that_it_represents():
    real = twice_an_hour()
    both = ss.compare_traces({"real": real, "paced": real.stretch(24)}).set_index("trace")
    assert both.loc["paced", "time_scale"] == 24
    assert both.loc["paced", "span_ns"] == 24 * both.loc["real", "span_ns"]
    assert both.loc["paced", "change_rate"] < both.loc["real", "change_rate"] / 20


def test_contents_are_compared_where_there_are_digests():
    digest = [fingerprints(bytes(4096), 0, b"k")] * 10 + [fingerprints(b"page" * 1024, 0, b"k")] * 10
    told = ss.compare_traces({"a": twice_an_hour(digest=digest, contents="snapsim-1"), "b": twice_an_hour()})
    assert told["zero_share"].tolist()[0] == 0.5
    assert told["duplicate_share"].tolist()[0] == 0.45
    assert told["zero_share"].isna().tolist() == [False, True]


def test_files_are_opened_and_the_default_is_the_library(tmp_path):
    path = twice_an_hour().save(tmp_path / "t.parquet")
    assert ss.compare_traces({"file": path})["requests"].item() == 20
    frame = ss.compare_traces()
    assert frame["trace"].tolist() == list(ss.recordings())
    assert frame["requests"].tolist() == [one.requests for one in ss.recordings().values()]


def test_a_trace_without_writes_has_no_factor():
    frame = ss.compare_traces({"reads": ss.Trace.from_arrays([0, 5], ["read"] * 2, [0, 0], [512, 512])})
    assert math.isnan(frame["overwrite_factor"].item())
    assert math.isnan(frame["changed_share"].item())


def test_nothing_is_refused():
    with pytest.raises(UsageError, match="nothing to compare"):
        ss.compare_traces({})


@pytest.mark.parametrize(
    ("span", "interval"), [(20 * MINUTE, 15 * SECOND), (7 * DAY, HOUR), (1, 1000), (4000 * DAY, 7 * DAY)]
)
def test_the_interval_fits_the_trace(span, interval):
    trace = ss.Trace.from_arrays([0, span], ["write"] * 2, [0, 0], [512, 512])
    assert fitting_interval(trace) == interval
