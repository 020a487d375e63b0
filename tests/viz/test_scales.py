import numpy as np
import pytest

from snapsim.units import DAY, GIB, HOUR, KIB, MIB, MINUTE, SECOND, TIB
from snapsim.viz.scales import ByteScale, TimeScale, label_sizes, power_ticks
from snapsim.viz.style import new_figure

START = 1_767_225_600 * SECOND  # 2026-01-01T00:00Z


@pytest.mark.parametrize(
    ("largest", "unit"),
    [(0, "B"), (1023, "B"), (KIB, "KiB"), (MIB - 1, "KiB"), (MIB, "MiB"), (5 * GIB, "GiB"), (2**60, "PiB")],
)
def test_bytes_are_shown_in_the_largest_unit_that_is_reached(largest, unit):
    assert ByteScale.fitting(largest).unit == unit


def test_bytes_become_numbers_in_that_unit():
    np.testing.assert_array_equal(ByteScale.fitting(TIB).values([TIB, 512 * GIB]), [1.0, 0.5])


@pytest.mark.parametrize(
    ("span", "label"),
    [
        (90 * SECOND, "Time since 2026-01-01 00:00 UTC [s]"),
        (2 * HOUR, "Time since 2026-01-01 00:00 UTC [min]"),
        (30 * HOUR, "Time since 2026-01-01 00:00 UTC [h]"),
        (7 * DAY, "Time [UTC], from 2026-01-01"),
    ],
)
def test_short_recordings_count_from_their_start_and_long_ones_show_dates(span, label):
    assert TimeScale.fitting(START, START + span).label == label


def test_an_assumed_start_is_never_shown_as_a_date():
    scale = TimeScale.fitting(START, START + 7 * DAY, known=False)
    assert scale.label == "Time since the start [d]"
    assert scale.limits == (0.0, 7.0)


def ticks(scale, **options):
    fig = new_figure(figsize=(8, 3))
    axes = fig.subplots()
    axes.set_xlim(scale.limits)
    scale.apply(axes, **options)
    fig.draw_without_rendering()
    low, high = scale.limits
    pairs = zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
    return [text.get_text() for place, text in pairs if low <= place <= high]


def test_ticks_fall_where_people_expect_them():
    assert ticks(TimeScale.fitting(START, START + 2 * HOUR)) == [
        "0",
        "15",
        "30",
        "45",
        "60",
        "75",
        "90",
        "105",
        "120",
    ]
    assert (
        ticks(TimeScale.fitting(START, START + 30 * HOUR))
        == ["0", "3", "6", "9", "12", "15", "18", "21", "24", "27", "30"][:11]
    )
    days = ticks(TimeScale.fitting(START, START + 7 * DAY))
    assert days[1:3] == ["02 Jan", "03 Jan"]
    assert len(ticks(TimeScale.fitting(START, START + 7 * DAY), ticks=5)) <= 5


SPANS = [1, SECOND, 90 * MINUTE, *(days * DAY for days in (2, 2.96, 3, 5, 20, 32, 61, 90, 400, 800, 4000))]


@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("room", [5, 6, 10])
def test_there_are_a_few_ticks_whatever_the_span(span, known, room):
    scale = TimeScale.fitting(START + 7 * HOUR, START + 7 * HOUR + int(span), known=known)
    assert 2 <= len(ticks(scale, ticks=room)) <= room + 1


def test_dates_are_those_of_utc():
    scale = TimeScale.fitting(START + 12 * HOUR, START + 7 * DAY)
    np.testing.assert_array_equal(scale.values([START, START + DAY]), [20454.0, 20455.0])


def test_logarithmic_axes_of_bytes_have_iec_ticks():
    fig = new_figure()
    axes = fig.subplots()
    axes.set(yscale="log", ylim=(1000, 5e6))
    label_sizes(axes.yaxis, 1000, 5e6)
    fig.draw_without_rendering()
    assert [text.get_text() for text in axes.get_yticklabels()] == [
        "1 KiB",
        "4 KiB",
        "16 KiB",
        "64 KiB",
        "256 KiB",
        "1 MiB",
        "4 MiB",
    ]


@pytest.mark.parametrize(("low", "high"), [(5, 7), (1, 2), (512, 2**60), (3, 3.5)])
def test_powers_of_two_are_few_and_never_none(low, high):
    assert 1 <= len(power_ticks(low, high)) <= 7
