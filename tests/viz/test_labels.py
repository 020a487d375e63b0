from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import colors

from snapsim.viz.labels import EndLabel, label_ends, label_peak, spread
from snapsim.viz.style import SERIES, ink, new_figure


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_labels_are_apart_in_order_and_inside(wanted):
    gap = 0.1
    placed = spread(wanted, gap=gap)
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    heights = [placed[index] for index in order]
    assert all(higher - lower >= gap - 1e-9 for lower, higher in pairwise(heights))
    assert min(placed) >= -1e-9
    assert max(placed) <= 1 + 1e-9


@given(st.lists(st.integers(0, 20), min_size=1, max_size=5, unique=True))
def test_labels_with_room_stay_where_they_are(steps):
    wanted = [step / 20 for step in steps]
    assert spread(wanted, gap=0.04) == pytest.approx(wanted)


def test_a_pair_moves_apart_by_the_same_amount():
    assert spread([0.5, 0.5], gap=0.2) == pytest.approx([0.4, 0.6])


def test_end_labels_carry_the_colour_of_their_series_and_can_be_read():
    axes = new_figure().subplots()
    axes.set_ylim(0, 10)
    label_ends(axes, [EndLabel(2.0, "low", "#E69F00"), EndLabel(8.0, "high", "#0072B2")])
    low, high = axes.texts
    assert (low.get_text(), high.get_text()) == ("low", "high")
    assert low.xy[1] == pytest.approx(0.2)
    assert high.xy[1] == pytest.approx(0.8)
    assert low.get_color() == ink("#E69F00")


@pytest.mark.parametrize(("x", "align"), [(0.0, "left"), (5.0, "center"), (10.0, "right")])
def test_the_name_of_the_peak_leans_inwards(x, align):
    axes = new_figure().subplots()
    axes.set(xlim=(0, 10), ylim=(0, 1))
    label_peak(axes, x, 0.5, "peak", color="#D55E00")
    (text,) = axes.texts
    assert text.get_ha() == align
    assert axes.lines[0].get_xydata().tolist() == [[x, 0.5]]


def contrast(color):
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colors.to_rgb(color)
    ]
    return 1.05 / (0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05)


@pytest.mark.parametrize("color", sorted({look.color for look in SERIES.values()}))
def test_text_in_any_series_colour_meets_the_contrast_rule(color):
    assert contrast(ink(color)) >= 4.5


def test_black_stays_black():
    assert ink("#000000") == "#000000"


@pytest.mark.parametrize(
    "together",
    [
        ("live_bytes", "snapshot_bytes", "metadata_bytes", "memory_bytes", "peak_bytes"),
        ("exclusive_bytes", "written_bytes"),
        ("change_rate", "write_rate"),
        ("working_set_bytes", "written_set_bytes"),
        ("requests", "bytes"),
    ],
)
def test_series_of_one_figure_differ_in_more_than_colour(together):
    looks = [SERIES[name] for name in together]
    assert len({look.color for look in looks}) == len(looks)
    assert len({(look.dash, look.marker, look.hatch) for look in looks}) == len(looks)
