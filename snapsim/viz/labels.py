"""Names written beside what they name, so that nobody has to look up a legend."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.artist import Artist
from matplotlib.axes import Axes

from snapsim.viz.style import ink


class EndLabel(NamedTuple):
    """A name at the right end of a series.

    Attributes
    ----------
    height : float
        Where the series ends, in data coordinates.
    text : str
        Its name.
    color : str
        Its colour.
    """

    height: float
    text: str
    color: str


def label_ends(axes: Axes, labels: Sequence[EndLabel], *, size: float = 9.5) -> None:
    """Write the names of series at the right edge, moved apart where they would overlap.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Its limits and scale must be final.
    labels : sequence of EndLabel
        In any order.
    size : float
        Font size.  [points]
    """
    points = axes.get_window_extent().height * 72 / axes.figure.dpi
    transform = axes.transData + axes.transAxes.inverted()
    wanted = [float(transform.transform((0.0, label.height))[1]) for label in labels]
    for label, height in zip(labels, spread(wanted, gap=1.3 * size / points), strict=True):
        axes.annotate(
            label.text, xy=(1, height), xycoords="axes fraction", xytext=(6, 0), textcoords="offset points",
            ha="left", va="center", color=ink(label.color), fontsize=size, annotation_clip=False,
        )  # fmt: skip


def spread(wanted: Sequence[float], *, gap: float) -> list[float]:
    """Move positions on the unit interval apart as little as needed, keeping their order.

    Parameters
    ----------
    wanted : sequence of float
        Where each would like to be.
    gap : float
        The least distance between neighbours.

    Returns
    -------
    list of float
        One position each, in the order given.

    Examples
    --------
    >>> [round(place, 3) for place in spread([0.5, 0.5, 0.9], gap=0.1)]
    [0.45, 0.55, 0.9]
    """
    clusters: list[_Cluster] = []
    for index in sorted(range(len(wanted)), key=wanted.__getitem__):
        clusters.append(_Cluster((index,), wanted, gap))
        while len(clusters) > 1 and clusters[-1].low < clusters[-2].low + len(clusters[-2].members) * gap:
            clusters[-2:] = [_Cluster(clusters[-2].members + clusters[-1].members, wanted, gap)]
    placed = [0.0] * len(wanted)
    for cluster in clusters:
        for position, index in enumerate(cluster.members):
            placed[index] = cluster.low + position * gap
    return placed


class _Cluster:
    """Neighbours that touch: they stand around the middle of what they want, inside the interval."""

    def __init__(self, members: tuple[int, ...], wanted: Sequence[float], gap: float) -> None:
        self.members = members
        width = (len(members) - 1) * gap
        middle = sum(wanted[member] for member in members) / len(members)
        self.low = max(min(middle - width / 2, 1 - width), 0.0)


def key_above(axes: Axes, series: Sequence[tuple[Artist, str]]) -> None:
    """Name series above the axes, where they cross too often for names at their ends.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where.
    series : sequence of (matplotlib.artist.Artist, str)
        What was drawn, with a label, and its colour.
    """
    key = axes.legend(
        handles=[artist for artist, _ in series], loc="lower right", bbox_to_anchor=(1, 1), ncols=len(series),
        borderaxespad=0.1, handlelength=1.8, columnspacing=1.2,
    )  # fmt: skip
    for text, (_, color) in zip(key.get_texts(), series, strict=True):
        text.set_color(ink(color))


def label_peak(axes: Axes, x: float, y: float, text: str, *, color: str) -> None:
    """Mark the highest point, and write what it is into the headroom above everything that is drawn.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Its limits must be final.
    x, y : float
        The point, in data coordinates.
    text : str
        What to write.
    color : str
        Its colour.
    """
    left, right = axes.get_xlim()
    share = (x - left) / (right - left)
    align = "left" if share < 0.25 else "right" if share > 0.75 else "center"
    axes.plot([x], [y], marker="^", markersize=8, color=color, clip_on=False, zorder=5)
    axes.annotate(
        text, xy=(x, y), xytext=(share, 0.98), textcoords="axes fraction", ha=align, va="top",
        color=ink(color), fontweight="bold", arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.8},
    )  # fmt: skip
