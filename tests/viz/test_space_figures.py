import numpy as np
import pytest

import snapsim as ss
from snapsim import viz
from snapsim.errors import UsageError
from snapsim.units import DAY, HOUR, MIB


def test_parts_are_stacked_and_the_transient_peak_is_drawn(growth):
    figure = viz.storage_growth(growth)
    (axes,) = figure.fig.axes
    peaks, data, whole, *_ = axes.lines
    frame = growth.frame
    np.testing.assert_allclose(data.get_ydata(), frame["snapshot_bytes"] / MIB)
    np.testing.assert_allclose(whole.get_ydata(), (frame["snapshot_bytes"] + frame["metadata_bytes"]) / MIB)
    np.testing.assert_allclose(peaks.get_ydata(), frame["peak_bytes"] / MIB)
    np.testing.assert_allclose(np.diff(data.get_xdata()), 1 / 24)  # days
    assert axes.get_ylabel() == "Space [MiB]"
    assert axes.get_xlabel() == "Time [UTC], from 2026-01-01"
    assert [text.get_text() for text in axes.texts[1:]] == ["Snapshot data", "Metadata"]


def test_the_highest_point_is_marked_and_named(growth):
    # a day overwrites all 16 places, an hour one: 16 + 16 + 6 blocks of 64 KiB before the prune
    figure = viz.storage_growth(growth)
    (axes,) = figure.fig.axes
    marker = axes.lines[-1]
    assert marker.get_ydata().tolist() == [growth.peak["snapshot_bytes"] / MIB]
    assert axes.texts[0].get_text() == "peak 2.38 MiB of snapshot data"


def test_no_peak_is_shown_without_the_coverage_verdict(growth):
    figure = viz.storage_growth(growth)
    said = growth.coverage.verdict.rstrip(".")
    assert "reaches back 3d" in said
    for text in (figure.caption, figure.alt, figure.text):
        assert "peak 2.38 MiB after 2.83d" in text.replace("Peak", "peak")
        assert said in text
    assert figure.text.startswith("Figure storage growth: 5 series, 0-4d, ")


def test_bounds_are_a_band(growth):
    (axes,) = viz.storage_growth(growth).fig.axes
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == ["snapshot data: lower to upper bound", "before prunes, during merges"]
    corners = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert corners.max() == pytest.approx(growth.frame["upper_bytes"].max() / MIB)


def test_no_band_where_the_bounds_agree(lifetimes):
    policy = ss.Policy(schedule="@hourly", keep_last=2)
    growth = ss.growth(
        lifetimes, policy.timeline(lifetimes.instants), mechanism="qcow2-internal", bounds=False
    )
    figure = viz.storage_growth(growth)
    (axes,) = figure.fig.axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["before prunes, during merges"]
    assert "By what existed" not in figure.caption


def test_live_data_can_lie_below(growth):
    (axes,) = viz.storage_growth(growth, live=True).fig.axes
    peaks, live, data, *_ = axes.lines
    frame = growth.frame
    np.testing.assert_allclose(live.get_ydata(), frame["live_bytes"] / MIB)
    np.testing.assert_allclose(data.get_ydata(), (frame["live_bytes"] + frame["snapshot_bytes"]) / MIB)
    np.testing.assert_allclose(peaks.get_ydata(), (frame["live_bytes"] + frame["peak_bytes"]) / MIB)


def test_memory_images_are_a_part(grow, lifetimes):
    growth = grow(lifetimes, keep_last=3, memory="memory", ram="16MiB")
    figure = viz.storage_growth(growth)
    (axes,) = figure.fig.axes
    assert "Memory images" in [text.get_text() for text in axes.texts]
    assert max(line.get_ydata().max() for line in axes.lines) >= 48


def test_an_assumed_start_shows_no_dates(grow, record):
    growth = grow(ss.count_lifetimes(record(start=None), every="1h", block_size="64KiB"))
    (axes,) = viz.storage_growth(growth).fig.axes
    assert axes.get_xlabel() == "Time since the start [d]"
    assert axes.get_xlim() == (0, 4)


def test_a_group_says_how_many_volumes(lifetimes):
    policy = ss.Policy(schedule="@hourly", keep_last=2)
    group = ss.growth(
        {"a": lifetimes, "b": lifetimes}, policy.timeline(lifetimes.instants), mechanism="qcow2-internal"
    )
    assert ", 2 volumes." in viz.storage_growth(group).caption


def test_sizes_of_the_snapshots_at_the_end(growth):
    figure = viz.snapshot_sizes(growth)
    (axes,) = figure.fig.axes
    written, _, exclusive = (patch.get_data().values for patch in axes.patches)
    np.testing.assert_array_equal(written, growth.snapshots["written_bytes"])
    np.testing.assert_array_equal(exclusive, growth.snapshots["exclusive_bytes"])
    figure.fig.draw_without_rendering()
    ages = [text.get_text() for text in axes.get_xticklabels()]
    assert ages == ["0", "1h", "2h", "3h", "4h", "5h", "1d"]
    assert axes.get_xlabel() == "Age of the snapshot"
    assert (
        figure.text == "Figure snapshot sizes: 2 series, 7 snapshots, 1.06 MiB held by one snapshot alone, "
        "at most 1 MiB by one"
    )


def test_many_snapshots_leave_room_between_ages(grow, lifetimes):
    (axes,) = viz.snapshot_sizes(grow(lifetimes, keep_last=1000)).fig.axes
    assert 5 <= len(axes.get_xticks()) <= 14


def test_no_snapshot_no_sizes(lifetimes):
    timeline = ss.Policy(schedule="1000d", keep_last=1).timeline(lifetimes.instants)
    with pytest.raises(UsageError, match="no snapshot is kept"):
        viz.snapshot_sizes(ss.growth(lifetimes, timeline, mechanism="qcow2-internal"))


def test_heatmap_draws_every_byte_once(lifetimes):
    figure = viz.lifetime_heatmap(lifetimes)
    inside, initial, alive = (
        next(axes for axes in figure.fig.axes if axes.get_label() == name).collections[0].get_array()
        for name in "iba"
    )
    # 96 writes to 16 blocks: the first 16 end what was there before, the last 16 are alive
    assert (inside.sum(), initial.sum(), alive.sum()) == (80 * 65536, 16 * 65536, 16 * 65536)
    assert figure.text == (
        "Figure lifetimes: 97 instants over 4d, blocks of 64 KiB, 6 MiB written, "
        "0% dead before the next instant, "
        "1 MiB alive at the end"
    )
    assert "1 MiB was overwritten or discarded and 1 MiB was not" in figure.caption


def test_heatmap_of_a_year_of_hours_is_joined():
    n = 365 * 24
    time = np.arange(n, dtype=np.int64) * HOUR
    trace = ss.Trace.from_arrays(time, ["write"] * n, np.zeros(n, np.int64), [4096] * n, start="2025-01-01")
    figure = viz.lifetime_heatmap(ss.count_lifetimes(trace, every="1h", block_size="4KiB"))
    inside = next(axes for axes in figure.fig.axes if axes.get_label() == "i")
    cells = inside.collections[0].get_array()
    assert max(cells.shape) <= 180
    assert cells.sum() == (n - 1) * 4096
    assert inside.get_xlabel() == "Birth: time [UTC], from 2025-01-01"
    assert inside.get_xlim()[1] - inside.get_xlim()[0] == pytest.approx(365, abs=5)


def test_heatmap_of_nothing_written():
    trace = ss.Trace.from_arrays([0, DAY], ["read"] * 2, [0, 0], [4096] * 2)
    figure = viz.lifetime_heatmap(ss.count_lifetimes(trace, every="1h", block_size="4KiB"))
    assert "0 B written, nothing dead" in figure.text
    figure.render()
