import numpy as np
import pytest

import snapsim as ss
from snapsim import statistics, viz
from snapsim.errors import UsageError, VolumeSelectionError
from snapsim.units import DAY, GIB, HOUR, KIB, MIB

FIGURES = [
    viz.address_over_time,
    viz.write_share,
    viz.change_rate,
    viz.change_rate_by_interval,
    viz.working_set,
    viz.trace_overview,
]


def steps(axes, position):
    """Values of the stepped line that was drawn at a position."""
    return axes.patches[position].get_data()


def test_change_rate_draws_the_table_of_the_statistics(trace):
    figure = viz.change_rate(trace, every="6h", block_size="64KiB")
    frame = statistics.change_rate(trace, every="6h", block_size="64KiB")
    (axes,) = figure.fig.axes
    area, changed, written = (steps(axes, position) for position in range(3))
    unit = 1024  # six blocks of 64 KiB in six hours are 18.2 B/s: shown in B/s
    assert axes.get_ylabel() == "Change rate [B/s]"
    np.testing.assert_allclose(changed.values, frame["change_rate"])
    np.testing.assert_allclose(area.values, changed.values)
    np.testing.assert_allclose(written.values, frame["written_bytes"] / (6 * 3600))
    np.testing.assert_allclose(np.diff(changed.edges), 0.25)  # days
    assert axes.get_xlabel() == "Time [UTC], from 2026-01-01"
    assert unit * 64 * 6 == frame["changed_bytes"].max()
    assert repr(figure) == (
        "Figure change rate: 2 series, 0-3.96d in steps of 6h, 384 KiB changed in the interval with most, "
        "384 KiB on average over 16 intervals"
    )


def test_change_rate_shows_rates_in_a_fitting_unit():
    busy = ss.Trace.from_arrays([0, 1, 60 * 10**9], ["write"] * 3, [0, 0, 0], [GIB, GIB, 512])
    (axes,) = viz.change_rate(busy, every="1min").fig.axes
    assert axes.get_ylabel() == "Change rate [MiB/s]"
    np.testing.assert_allclose(steps(axes, 1).values[0], GIB / MIB / 60)
    np.testing.assert_allclose(steps(axes, 2).values[0], 2 * GIB / MIB / 60)


def test_change_rate_by_interval_falls_with_the_interval(trace):
    figure = viz.change_rate_by_interval(trace, intervals=["1h", "1d"], block_size="64KiB")
    (axes,) = figure.fig.axes
    mean, largest = axes.lines
    # 16 places: a day holds 24 writes to 16 blocks, an hour one
    np.testing.assert_array_equal(mean.get_xdata(), [HOUR, DAY])
    np.testing.assert_allclose(mean.get_ydata(), [24 * 64 * KIB, MIB])
    np.testing.assert_allclose(largest.get_ydata(), [24 * 64 * KIB, MIB])
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1h", "1d"]
    assert axes.get_ylabel() == "Change rate [per day]"
    assert "1.5 MiB a day measured over 1h, 1 MiB a day over 1d" in figure.text


def test_working_set_grows_to_what_is_touched(trace):
    figure = viz.working_set(trace, every="1d")
    (axes,) = figure.fig.axes
    touched, written = axes.lines
    assert touched.get_ydata().tolist() == pytest.approx([0, 1, 1, 1, 1])
    assert written.get_ydata().tolist() == pytest.approx([0, 1, 1, 1, 1])
    assert axes.get_ylabel() == "Working set [MiB]"
    assert {text.get_text() for text in axes.texts} == {"touched", "written"}
    assert figure.text == (
        "Figure working set: 2 series, 0-3.96d, blocks of 4 KiB, "
        "1 MiB read or written, 1 MiB written at the end"
    )


def test_write_share_has_gaps_where_nothing_happens():
    trace = ss.Trace.from_arrays(
        [0, 0, 0, 0, 120 * HOUR - 1],
        ["write", "read", "read", "read", "write"],
        [0] * 5,
        [512, 512, 512, 512, 512],
    )
    figure = viz.write_share(trace)
    (axes,) = figure.fig.axes
    of_requests = steps(axes, 0).values
    assert of_requests[0] == 0.25
    assert np.isnan(of_requests[1:-1]).all()
    assert of_requests[-1] == 1.0
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "of requests (40.0% in all)",
        "of bytes (40.0% in all)",
    ]
    assert "40.0% of requests, 40.0% of bytes" in figure.text


def test_addresses_draw_all_bytes(trace):
    figure = viz.address_over_time(trace)
    writes, reads, bar = figure.fig.axes
    assert (writes.get_title(loc="left"), reads.get_title(loc="left")) == ("Writes", "Reads")
    assert writes.get_ylabel() == "Address [MiB]"
    assert bar.get_ylabel() == "Bytes per cell"
    for axes, total in ((writes, 96 * 64 * KIB), (reads, 24 * 4 * KIB)):
        cells = axes.collections[0].get_array()
        assert cells.sum() == total
    assert "writes 6 MiB, reads 96 KiB" in figure.text


def test_a_kind_that_does_not_occur_has_no_panel():
    trace = ss.Trace.from_arrays([0, HOUR], ["write"] * 2, [0, MIB], [512, 512])
    assert len(viz.address_over_time(trace).fig.axes) == 2  # one panel and the colour bar


def test_the_overview_has_four_titled_panels(trace):
    figure = viz.trace_overview(trace)
    titles = [axes.get_title(loc="left") for axes in figure.fig.axes]
    assert titles[:4] == [
        "Where it writes (bytes per cell)",
        "How much is writing",
        "How much changes per 1h",
        "How much is ever touched",
    ]
    assert "120 requests, 80.0% of reads and writes are writes, 6 MiB written to 1 MiB" in figure.text


@pytest.mark.parametrize("draw", FIGURES)
def test_an_empty_trace_is_refused(draw):
    with pytest.raises(UsageError, match="no request"):
        draw(ss.Trace.from_arrays([], [], [], []))


@pytest.mark.parametrize("draw", [viz.address_over_time, viz.write_share, viz.trace_overview])
def test_addresses_of_several_volumes_are_refused(draw):
    with pytest.raises(VolumeSelectionError):
        draw(ss.Trace.from_arrays([0, 1], ["write"] * 2, [0, 0], [512, 512], volume=["a", "b"]))


def test_totals_of_several_volumes_are_drawn():
    trace = ss.Trace.from_arrays([0, HOUR], ["write"] * 2, [0, 0], [4096, 4096], volume=["a", "b"])
    assert "8 KiB written at the end" in viz.working_set(trace).text
    assert "4 KiB changed in the interval with most" in viz.change_rate(trace, every="1h").text


def test_reads_alone_have_no_change_rate_by_interval():
    trace = ss.Trace.from_arrays([0, HOUR], ["read"] * 2, [0, 0], [4096, 4096])
    with pytest.raises(UsageError, match="choose shorter intervals"):
        viz.change_rate_by_interval(trace)


def test_a_paced_recording_says_so(trace, monkeypatch):
    import dataclasses

    paced = dataclasses.replace(trace.info, time_scale=24.0)
    monkeypatch.setattr(type(trace), "info", property(lambda _self: paced))
    assert "each second standing for 24" in viz.working_set(trace).caption
