"""Figures of policies: what is drawn is what was counted."""

import numpy as np
import pytest
from matplotlib.patches import Rectangle

import snapsim as ss
from snapsim import viz
from snapsim.errors import UsageError
from snapsim.policy.times import parse_instant
from snapsim.units import DAY, HOUR
from tests.viz.test_layout import _assert_readable as assert_readable

START = parse_instant("2026-01-01T00:00Z")
HOURS = np.arange(START, START + 300 * DAY, 6 * HOUR)
POLICY = ss.Policy(schedule="6h", keep_hourly=4, keep_daily=7, keep_weekly=4, keep_monthly=6)


@pytest.fixture(scope="module")
def two():
    return ss.side_by_side({"usual": POLICY, "without weeks": ss.vary(POLICY, "drop weekly")}, HOURS)


def test_a_calendar_has_a_cell_for_each_day():
    held = ss.calendar(POLICY.timeline(HOURS))
    figure = viz.recovery_calendar(held)
    (axes,) = figure.fig.axes
    cells = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert len(cells) == len(held.days)
    texts = {text.get_text() for text in axes.texts}
    assert texts == {day.letters if day.points == 1 else f"{day.letters} {day.points}" for day in held.days}
    named = [label.get_text() for label in axes.get_yticklabels()]
    assert named[-1] == held.frame.index[-1]
    assert "3 weeks without" in named
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "h hourly", "d daily", "w weekly", "m monthly",
    ]  # fmt: skip
    assert "recovery points on" in figure.text
    assert_readable(figure)


def test_a_calendar_of_a_catalog():
    snapshots = [ss.Snapshot(time_ns=START + day * DAY, tags=frozenset({"hold"})) for day in range(40)]
    policy = ss.Policy(keep_daily=3, protect={"tags": ["hold"]})
    assert_readable(viz.recovery_calendar(ss.explain(policy, snapshots, START + 40 * DAY).calendar))


def test_calendars_that_cannot_be_drawn():
    with pytest.raises(UsageError, match="nothing is kept"):
        viz.recovery_calendar(ss.explain(POLICY, [], START).calendar)
    many = ss.Policy(schedule="1d", keep_last=900).timeline(np.arange(START, START + 900 * DAY, DAY))
    with pytest.raises(UsageError, match="nobody can read"):
        viz.recovery_calendar(ss.calendar(many))


def test_ladders_are_drawn_as_counted(two):
    figure = viz.recovery_ladders(two.ladders)
    (axes,) = figure.fig.axes
    assert len(axes.lines) == 4
    for place, name in enumerate(["usual", "without weeks"]):
        own = two.ladders[two.ladders["policy"] == name]
        worst = axes.lines[2 * place + 1].get_ydata()[::2]
        # lines are moved apart by less than five per cent
        np.testing.assert_allclose(worst, own["worst_gap_ns"].to_numpy(float), rtol=0.05)
    assert {text.get_text() for text in axes.texts} == {"usual", "without weeks"}
    assert "usual" in figure.alt
    assert_readable(figure)


def test_ladders_that_cannot_be_drawn(two):
    with pytest.raises(UsageError, match="no gaps"):
        viz.recovery_ladders(two.ladders.iloc[:0])
    many = ss.side_by_side({str(n): ss.Policy(schedule="6h", keep_last=n) for n in range(2, 9)}, HOURS[:100])
    with pytest.raises(UsageError, match="cannot be told apart"):
        viz.recovery_ladders(many.ladders)


def test_once_and_over_time_are_two_lines():
    pve = ss.Policy(schedule="6h", compat="proxmox", keep_daily=7, keep_weekly=4, keep_monthly=3)
    frame = ss.one_shot(pve, HOURS, dates=12)
    figure = viz.one_shot_view(frame, title="Proxmox")
    (axes,) = figure.fig.axes
    iterated, once = axes.lines
    assert iterated.get_ydata().tolist() == frame["snapshots_iterated"].tolist()
    assert once.get_ydata().tolist() == frame["snapshots_one_shot"].tolist()
    assert "Proxmox" in figure.caption
    assert_readable(figure)
    with pytest.raises(UsageError, match="no date"):
        viz.one_shot_view(frame.iloc[:0])
