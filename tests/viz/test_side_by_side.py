import numpy as np
import pytest

import snapsim as ss
from snapsim import viz
from snapsim.errors import UsageError
from snapsim.traces.fingerprints import fingerprints
from snapsim.units import HOUR, KIB


def digested():
    pages = [bytes(4096), b"page" * 1024, b"page" * 1024, b"other" * 819 + b"!"]
    return ss.Trace.from_arrays(
        [0, HOUR, 2 * HOUR, 3 * HOUR],
        ["write"] * 4,
        [0, 4096, 8192, 512],
        [4096] * 4,
        digest=[fingerprints(page, offset, b"k") for page, offset in zip(pages, [0, 0, 0, 512], strict=True)],
        contents="snapsim-1",
        start="2026-01-01T00:00Z",
    )


def test_change_rates_draws_a_panel_for_each_trace(trace):
    figure = viz.change_rates({"steady": trace, "paced": trace.stretch(7), "small": digested()})
    steady, paced, small, empty = figure.fig.axes
    assert [axes.get_title(loc="left") for axes in (steady, paced, small)] == [
        "steady (3.96d)",
        "paced (27.7d, x7)",
        "small (3h)",
    ]
    assert not empty.get_visible()
    frame = ss.statistics.change_rate(trace, every="1h")
    area, dashed = (one.get_data() for one in steady.patches)
    np.testing.assert_allclose(area.values, frame["changed_bytes"] / KIB)
    np.testing.assert_allclose(dashed.values, frame["written_bytes"] / KIB)
    assert steady.get_ylabel() == "per 1h [KiB]"
    assert "paced: 27.7d of represented time, 1 s stands for 7s (x7)" in figure.caption
    assert repr(figure).startswith("Figure change rates: 3 panels: steady: 3.96d, 64 KiB of 64 KiB per 1h")


def test_traces_compared_has_a_bar_for_each_value_that_is_known(trace):
    frame = ss.compare_traces({"steady": trace, "paced": trace.stretch(7), "small": digested()})
    figure = viz.traces_compared(frame)
    shown = [axes for axes in figure.fig.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in shown] == [
        "Change rate, a day",
        "Ever written",
        "Overwrite factor",
        "Seen by snapshots",
        "Not 4 KiB aligned",
        "Zero blocks",
        "Duplicate blocks",
        "Compress to",
    ]
    assert [text.get_text() for text in shown[0].get_yticklabels()] == ["steady", "paced (x7)", "small"]
    factors = [bar.get_width() for bar in shown[2].patches]
    np.testing.assert_allclose(factors, frame["overwrite_factor"])
    assert [text.get_text() for text in shown[5].texts] == ["33%"], "only one of the traces has digests"
    assert [text.get_text() for text in shown[4].texts] == ["0%", "0%", "25%"]
    assert "Paced recordings, by their represented time: paced: 1 s stands for 7s (x7)." in figure.caption
    assert "duplicate blocks 33% (small)" in repr(figure)
    assert "overwrite factor 1.33 (small) to 6 (paced)" in figure.alt


def test_quantities_that_no_trace_has_are_left_out(trace):
    figure = viz.traces_compared(ss.compare_traces({"steady": trace}))
    titles = [axes.get_title(loc="left") for axes in figure.fig.axes if axes.get_visible()]
    assert "Zero blocks" not in titles
    assert len(titles) == 5


def test_what_cannot_be_drawn_is_refused(trace):
    with pytest.raises(UsageError, match="0 traces: between 1 and 12"):
        viz.change_rates({})
    with pytest.raises(UsageError, match="13 traces"):
        viz.change_rates({str(number): trace for number in range(13)})
    with pytest.raises(UsageError, match="no request"):
        viz.change_rates({"empty": ss.Trace.from_arrays([], [], [], [])})
    frame = ss.compare_traces({"steady": trace})
    with pytest.raises(UsageError, match=r"give what snapsim\.compare_traces returns"):
        viz.traces_compared(frame[:0])
    with pytest.raises(UsageError, match=r"give what snapsim\.compare_traces returns"):
        viz.traces_compared(frame[["trace"]])
