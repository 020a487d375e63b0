"""How figures look: one style, used without touching other settings, and one line style per quantity.

Colours are those of Okabe and Ito (2008), which people with any common colour vision tell apart; a quantity
has the same colour, dash and marker in every figure, so that nothing hangs on the colour alone.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib import colors
from matplotlib import style as mpl_style
from matplotlib.figure import Figure as MplFigure

STYLE_FILE = Path(__file__).with_name("snapsim.mplstyle")

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILLION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GREY = "#888888"

_CONTRAST = 4.5  # of text against its ground: WCAG 2.1, level AA
_LOCK = threading.RLock()


class Series(NamedTuple):
    """How one quantity is drawn everywhere.

    Attributes
    ----------
    color : str
        Hexadecimal colour.
    dash : str
        matplotlib line style.
    marker : str
        matplotlib marker.
    hatch : str
        Pattern of its area, where it has one.
    """

    color: str
    dash: str
    marker: str
    hatch: str = ""


SERIES: dict[str, Series] = {
    "live_bytes": Series(GREY, "-", "", ".."),
    "snapshot_bytes": Series(BLUE, "-", "o"),
    "metadata_bytes": Series(ORANGE, "-", "s", "//"),
    "memory_bytes": Series(PURPLE, "-", "D", "xx"),
    "peak_bytes": Series(VERMILLION, "--", "^"),
    "exclusive_bytes": Series(BLUE, "-", "o"),
    "written_bytes": Series(VERMILLION, "--", "^"),
    "change_rate": Series(BLUE, "-", "o"),
    "write_rate": Series(VERMILLION, "--", "^"),
    "working_set_bytes": Series(GREEN, "--", "s"),
    "written_set_bytes": Series(BLUE, "-", "o"),
    "requests": Series(BLUE, "-", "o"),
    "bytes": Series(VERMILLION, "--", "^"),
    "write_amplification": Series(VERMILLION, "-", "^"),
    "read_amplification": Series(BLUE, "--", "o"),
    "space_amplification": Series(GREEN, "-", "s"),
    "latency_mean_ns": Series(GREEN, "-", "s"),
}


@contextmanager
def style() -> Iterator[None]:
    """Use snapsim's style inside a `with`, whatever the caller has set; everything is as before afterwards.

    matplotlib keeps its settings per process, so threads take turns.
    """
    with _LOCK, mpl_style.context(["default", STYLE_FILE]):
        yield


def new_figure(**changes: Any) -> MplFigure:
    """Return an empty figure that no plotting window, notebook or global list knows about.

    Parameters
    ----------
    **changes : Any
        Arguments of `matplotlib.figure.Figure`; call it inside `style()`.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.
    """
    return MplFigure(**changes)


def ink(color: str) -> str:
    """Darken a colour until text in it can be read on white.

    Parameters
    ----------
    color : str
        Any matplotlib colour.

    Returns
    -------
    str
        Hexadecimal colour whose contrast against white is at least 4.5 (WCAG 2.1 AA).

    Examples
    --------
    >>> ink("#0072B2"), ink("#E69F00")
    ('#0072b2', '#9b6b00')
    """
    rgb = colors.to_rgb(color)
    while 1.05 / (_luminance(rgb) + 0.05) < _CONTRAST:
        rgb = (rgb[0] * 0.97, rgb[1] * 0.97, rgb[2] * 0.97)
    return colors.to_hex(rgb)


def _luminance(rgb: tuple[float, float, float]) -> float:
    """Relative luminance of an sRGB colour (WCAG 2.1)."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
