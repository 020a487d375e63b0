"""Figures of restores: what they say, and that they can be read."""

import pytest

import snapsim as ss
from snapsim import viz
from snapsim.errors import UsageError
from tests.viz.test_layout import _assert_readable as assert_readable


@pytest.fixture(scope="module")
def timeline(lifetimes):
    return ss.Policy(schedule="@hourly", keep_hourly=12, keep_daily=3).timeline(lifetimes.instants)


def figures(trace, timeline):
    yield viz.restore_durations(ss.restore_times(trace, timeline, "dm-snapshot", "hdd"))
    yield viz.restore_durations(ss.restore_times(trace, timeline, "ebs", "network", target="nvme"))
    yield viz.boot_progress(ss.boot_orders(trace, "hdd", window="1d", reads=10, block_size="64KiB"))
    yield viz.clone_growth(ss.clones(trace, 5, stagger="1h", reset="12h"))
    yield viz.clone_growth(ss.clones(trace, 1))


def test_figures_can_be_read(trace, timeline):
    for figure in figures(trace, timeline):
        assert_readable(figure)


def test_what_restores_take(trace, timeline):
    restores = ss.restore_times(trace, timeline, "dm-snapshot", "hdd")
    figure = viz.restore_durations(restores)
    (axes,) = figure.fig.axes
    assert [line.get_label() for line in axes.get_lines()] == ["full", "partial", "incremental", "revert"]
    full = axes.get_lines()[0].get_ydata()
    assert full.tolist() == restores.frame.query("restore == 'full'")["duration_ns"].tolist()
    assert ss.units.format_duration(restores.longest["full"]) in figure.text


def test_resets_are_drops(trace):
    room = ss.clones(trace, 3, reset="1d")
    figure = viz.clone_growth(room)
    top = figure.fig.axes[0].get_lines()[1].get_ydata()
    assert top.max() * 1024**2 == pytest.approx(room.peak["total_bytes"])
    assert "every 1d" in figure.caption


def test_no_snapshot_no_figure(trace):
    none = ss.Policy(schedule="@hourly", keep_last=1).timeline([trace.start_ns - 1])
    with pytest.raises(UsageError, match="no snapshot is kept"):
        viz.restore_durations(ss.restore_times(trace, none))
