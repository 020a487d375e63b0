"""Heat maps of bytes: one logarithmic colour scale, from the smallest to the largest cell."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm

from snapsim.types import Int64Array
from snapsim.viz.scales import FloatArray, label_sizes

_COLORS = "cividis"


def size_norm(fields: Sequence[Int64Array]) -> LogNorm:
    """Return the colour scale that several fields share.

    Parameters
    ----------
    fields : sequence of int64 arrays, of any shapes
        [bytes]

    Returns
    -------
    matplotlib.colors.LogNorm
        At least an octave wide.
    """
    filled = np.concatenate([field[field > 0] for field in fields])
    low, high = (int(filled.min()), int(filled.max())) if len(filled) else (1, 2)
    return LogNorm(low, max(high, 2 * low))


def draw_field(axes: Axes, x: FloatArray, y: FloatArray, cells: Int64Array, norm: LogNorm) -> None:
    """Draw a field; empty cells stay white.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where.
    x, y : float arrays, shape (n_columns + 1,) and (n_rows + 1,)
        Edges of the cells.
    cells : int64 array, shape (n_rows, n_columns)
        [bytes]
    norm : LogNorm
        Colour scale.
    """
    axes.pcolormesh(x, y, np.ma.masked_equal(cells, 0), norm=norm, cmap=_COLORS, rasterized=True)
    axes.grid(visible=False)


def color_bar(axes: Sequence[Axes], norm: LogNorm, *, label: str = "") -> None:
    """Add the colour scale of one or several panels, with ticks such as "64 KiB".

    Parameters
    ----------
    axes : sequence of matplotlib.axes.Axes
        The panels.
    norm : LogNorm
        Their colour scale.
    label : str
        What the colours mean, unless a title says it.
    """
    bar = axes[0].figure.colorbar(
        ScalarMappable(norm, _COLORS), ax=list(axes), label=label, aspect=30, pad=0.02
    )
    bar.minorticks_off()
    label_sizes(bar.ax.yaxis, norm.vmin or 1, norm.vmax or 2)
