"""What a person would see at once: text cut off at the edge, labels on top of each other."""

import re
from itertools import combinations, pairwise

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

import snapsim as ss
from snapsim import viz
from snapsim.units import HOUR, KIB, MIB, MINUTE, SECOND


def _trace(span, *, start="2026-03-01", n=400, reach=300 * MIB):
    rng = np.random.default_rng(20260301)
    time = np.sort(rng.integers(0, span, n))
    offset = rng.zipf(1.3, n) % (reach // 4096) * 4096
    return ss.Trace.from_arrays(
        time, rng.choice(["read", "write"], n), offset, rng.integers(1, 64, n) * 4096, start=start
    )


TRACES = {
    "milliseconds": _trace(SECOND // 7),
    "minutes": _trace(25 * MINUTE, start=None),
    "hours": _trace(40 * HOUR),
    "months": _trace(100 * 24 * HOUR, reach=40 * KIB * MIB),
    "years": _trace(1500 * 24 * HOUR),
}
OF_TRACES = [
    viz.address_over_time,
    viz.write_share,
    viz.change_rate,
    viz.change_rate_by_interval,
    viz.working_set,
    viz.trace_overview,
]


def _every(span):
    return max(span // 60, 1)


def _answer(trace):
    every = _every(trace.span_ns)
    lifetimes = ss.count_lifetimes(trace, every=every, block_size="64KiB")
    timeline = ss.Policy(schedule=f"{every}ns", keep_last=30, memory="full", ram="8MiB").timeline(
        lifetimes.instants
    )
    return lifetimes, ss.growth(lifetimes, timeline, mechanism="qcow2-external")


def _of_answers(trace):
    lifetimes, growth = _answer(trace)
    yield viz.lifetime_heatmap(lifetimes)
    yield viz.storage_growth(growth)
    yield viz.storage_growth(growth, live=True)
    yield viz.snapshot_sizes(growth)


def _texts(figure):
    """Every text that is visible, with its box; ticks beyond the ends of an axis are not drawn."""
    canvas = FigureCanvasAgg(figure.fig)
    canvas.draw()
    renderer = canvas.get_renderer()
    hidden = set()
    for axes in figure.fig.axes:
        for axis, (low, high) in (
            (axes.xaxis, sorted(axes.get_xlim())),
            (axes.yaxis, sorted(axes.get_ylim())),
        ):
            slack = (high - low) * 1e-9
            for tick in axis.get_major_ticks() + axis.get_minor_ticks():
                if not low - slack <= tick.get_loc() <= high + slack or not tick.label1.get_visible():
                    hidden |= {tick.label1, tick.label2}
        if not axes.axison:
            hidden |= set(axes.findobj(Text))
    return [
        (text.get_text(), text.get_window_extent(renderer))
        for text in figure.fig.findobj(Text)
        if text.get_visible() and text.get_text().strip() and text not in hidden
    ]


def _assert_readable(figure):
    texts = _texts(figure)
    whole = figure.fig.bbox
    cut = [
        text
        for text, box in texts
        if box.x0 < -1 or box.y0 < -1 or box.x1 > whole.x1 + 1 or box.y1 > whole.y1 + 1
    ]
    assert not cut, f"cut off at the edge: {cut}"
    clashes = [
        (one, other)
        for (one, a), (other, b) in combinations(texts, 2)
        if min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 2
    ]
    assert not clashes, f"on top of each other: {clashes}"
    assert re.fullmatch(r"Figure [a-z ]+: .+", figure.text)
    assert "\n" not in figure.text
    assert figure.caption.endswith(".")
    assert figure.alt.endswith(".")
    assert len(figure.alt) > 40


@pytest.mark.parametrize("name", TRACES)
@pytest.mark.parametrize("draw", OF_TRACES)
def test_figures_of_traces_can_be_read(draw, name):
    _assert_readable(draw(TRACES[name]))


@pytest.mark.parametrize("name", TRACES)
def test_figures_of_answers_can_be_read(name):
    for figure in _of_answers(TRACES[name]):
        _assert_readable(figure)


def test_dates_below_a_narrow_panel_stand_apart():
    lifetimes = ss.count_lifetimes(_trace(205 * HOUR), every="1d", block_size="64KiB")
    dates = [box for text, box in _texts(viz.lifetime_heatmap(lifetimes)) if re.fullmatch(r"\d\d \w+", text)]
    lowest = min(box.y0 for box in dates)
    row = sorted((box.x0, box.x1) for box in dates if box.y0 < lowest + 2)
    assert len(row) > 2
    assert min(after - before for (_, before), (after, _) in pairwise(row)) > 5


@pytest.mark.public_traces
@pytest.mark.parametrize(
    "name", ["msr/rsrch_1.csv", "cloudphysics/cloudPhysicsIO.vscsi", "mqsim/tpcc-small.trace"]
)
def test_figures_of_real_traces_can_be_read(public_traces, name):
    trace = ss.read_trace(public_traces / name)
    trace = trace.select(volume=trace.volumes[0])
    for draw in OF_TRACES:
        _assert_readable(draw(trace))
