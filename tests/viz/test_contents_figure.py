import numpy as np
import pytest

import snapsim as ss
from snapsim import viz
from snapsim.errors import UsageError
from snapsim.traces.fingerprints import fingerprints
from snapsim.viz.contents import share_text

NOISE = np.random.default_rng(5).bytes(4096)
PAGES = [bytes(4096), b"page" * 1024, b"page" * 1024, NOISE]


def recorded(pages=PAGES, *, scheme="snapsim-1", width=8):
    digest = [fingerprints(page, 0, b"k") for page in pages]
    return ss.Trace.from_arrays(
        range(len(pages)),
        ["write"] * len(pages),
        [4096 * place for place in range(len(pages))],
        [4096] * len(pages),
        digest=[(one + one)[:width] for one in digest],
        contents=scheme,
    )


def test_bars_are_the_shares_and_sizes_those_of_the_digests():
    figure = viz.block_contents(ss.statistics.contents(recorded()))
    shares, sizes = figure.fig.axes
    widths = np.array([bar.get_width() for bar in shares.patches]).reshape(3, 2)
    np.testing.assert_allclose(widths, [[0.5, 0.5], [0.25, 0.25], [0.25, 0.25]])
    assert [text.get_text() for text in shares.get_yticklabels()] == ["written", "at the end"]
    steps, zero, full = sizes.patches
    heights = steps.get_data().values
    assert heights[0] == 0.5, "two of four blocks shrink to next to nothing"
    assert heights.sum() == 0.5
    assert (zero.get_height(), full.get_height()) == (0.25, 0.25)
    assert repr(figure).startswith(
        "Figure block contents: 4 blocks; written: 50% new, 25% duplicate, 25% zero; at the end: 50% new"
    )
    assert "compress to" in figure.alt
    assert "4 blocks of 4 KiB that were written" in figure.caption


def test_md5_sums_have_no_sizes():
    figure = viz.block_contents(ss.statistics.contents(recorded(scheme="md5-4096", width=16)))
    assert len(figure.fig.axes) == 1
    assert "compress to" not in repr(figure)


def test_no_blocks_are_refused():
    with pytest.raises(UsageError, match="no block was written whole"):
        viz.block_contents(ss.statistics.contents(recorded([])))


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0%"), (0.0004, "<0.1%"), (0.0123, "1.2%"), (0.5, "50%"), (1, "100%")]
)
def test_shares_as_text(share, text):
    assert share_text(share) == text
