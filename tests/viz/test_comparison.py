import re

import numpy as np
import pytest

from snapsim import viz
from snapsim.errors import UsageError
from snapsim.units import MIB


@pytest.fixture
def pair(grow, lifetimes):
    return {name: grow(lifetimes, mechanism=name) for name in ("dm-thin", "qcow2-external")}


def test_lines_are_the_most_that_is_held_since_the_instant_before(pair):
    (axes,) = viz.growth_comparison(pair).fig.axes
    lines = axes.lines[::2]
    for line, growth in zip(lines, pair.values(), strict=True):
        np.testing.assert_allclose(line.get_ydata(), growth.frame["peak_bytes"] / MIB)
    assert len({line.get_linestyle() for line in lines}) == 2
    assert len({line.get_marker() for line in lines}) == 2
    assert [text.get_text() for text in axes.texts] == list(pair)


def test_peaks_are_marked(pair):
    (axes,) = viz.growth_comparison(pair).fig.axes
    marked = [mark.get_ydata()[0] * MIB for mark in axes.lines[1::2]]
    assert marked == pytest.approx([growth.peak["snapshot_bytes"] for growth in pair.values()])


def test_the_coverage_verdict_is_said_once_where_it_is_the_same(pair, grow, lifetimes):
    same = viz.growth_comparison(pair).text
    assert len(re.findall("The policy reaches back", same)) == 1
    unlike = viz.growth_comparison({"three": grow(lifetimes, keep_last=3), "all": grow(lifetimes)})
    assert "three: The policy reaches back 3h" in unlike.text
    assert "all: The policy reaches back 3d" in unlike.caption


def test_bars_are_stacked_from_what_is_held_at_the_peak(pair):
    figure = viz.peak_comparison(pair)
    (axes,) = figure.fig.axes
    data, tables = axes.containers
    np.testing.assert_allclose(
        [bar.get_width() for bar in data], [one.peak["snapshot_bytes"] / MIB for one in pair.values()]
    )
    for bar, below, growth in zip(tables, data, pair.values(), strict=True):
        at = growth.frame["peak_bytes"].argmax()
        assert bar.get_width() * MIB == pytest.approx(growth.frame["metadata_bytes"].iloc[at])
        assert bar.get_x() == pytest.approx(below.get_width())
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "dm-thin\n(64 KiB blocks)",
        "qcow2-external\n(64 KiB blocks)",
    ]
    assert "dm-thin (64 KiB blocks) 2.38 MiB snapshot data + " in figure.text


def test_memory_images_count(grow, lifetimes):
    figure = viz.peak_comparison({"memory": grow(lifetimes, keep_last=3, memory="memory", ram="16MiB")})
    assert "48 MiB memory images" in figure.text


def test_nothing_and_too_much_to_compare_are_refused(growth):
    with pytest.raises(UsageError, match="give at least one answer"):
        viz.peak_comparison({})
    with pytest.raises(UsageError, match="compare at most 6, or use peak_comparison"):
        viz.growth_comparison({str(number): growth for number in range(7)})
