"""When data was written and how long it lived: the picture of a lifetime matrix."""

import numpy as np
from matplotlib.axes import Axes

from snapsim.engine.lifetimes import LifetimeMatrix
from snapsim.types import Int64Array
from snapsim.units import HOUR, format_duration, format_size
from snapsim.viz.binning import CoarseMatrix, coarsen
from snapsim.viz.fields import color_bar, draw_field, size_norm
from snapsim.viz.figure import Figure
from snapsim.viz.scales import FloatArray, TimeScale
from snapsim.viz.style import new_figure, style


def lifetime_heatmap(lifetimes: LifetimeMatrix) -> Figure:
    """Draw how much data was born and died when.

    Parameters
    ----------
    lifetimes : LifetimeMatrix
        Of any number of instants; neighbouring epochs are joined until the picture can be read.

    Returns
    -------
    Figure
        Birth from left to right, death upwards; beside it what was there before and what is alive after.
    """
    birth, death, count = lifetimes.cells.birth, lifetimes.cells.epoch, lifetimes.cells.count
    n, size = lifetimes.n_instants, lifetimes.block_size
    coarse = coarsen(birth, death, count * size, n_instants=n)
    scale = instants_scale(lifetimes.instants, known=not getattr(lifetimes.origin, "start_assumed", False))
    edges = scale.values(_edges(lifetimes.instants, coarse.epochs))
    with style():
        fig = new_figure(figsize=(7.2, 6.4))
        panels = fig.subplot_mosaic("ca\nbi", width_ratios=[1, 22], height_ratios=[1, 22])
        _draw(panels, coarse, edges, scale)

    born = int(count[birth >= 0].sum()) * size
    unseen = int(count[birth == death].sum()) * size
    share = f"{unseen / born:.0%}" if born else "nothing"
    alive = format_size(int(coarse.alive.sum()))
    span = format_duration(int(lifetimes.instants[-1] - lifetimes.instants[0]))
    facts = (
        f"Of {format_size(born)} written in blocks of {format_size(size)}, {share} was overwritten or "
        f"discarded before the next instant, so that no snapshot sees it; {alive} is alive at the end."
    )
    return Figure(
        fig,
        caption=(
            "Lifetimes: when data was written (left to right) and when it was overwritten or discarded "
            f"(upwards); the distance from the diagonal is how long it lived. {facts} "
            f"Of what existed before the trace, {format_size(int(coarse.initial.sum()))} was overwritten "
            f"or discarded and {format_size(coarse.untouched)} was not (not drawn)."
        ),
        alt=(
            f"Heat map of data by the time it was written and the time it was overwritten, "
            f"{n:,} instants over {span}; lighter is more data. {facts}"
        ),
        text=(
            f"Figure lifetimes: {n:,} instants over {span}, blocks of {format_size(size)}, "
            f"{format_size(born)} written, {share} dead before the next instant, {alive} alive at the end"
        ),
    )


def instants_scale(instants: Int64Array, *, known: bool) -> TimeScale:
    """Return the time axis of instants; dates only where they are known and not assumed."""
    return TimeScale.fitting(int(instants[0]), int(instants[-1]), known=known)


def _draw(panels: dict[str, Axes], coarse: CoarseMatrix, edges: FloatArray, scale: TimeScale) -> None:
    """Fill the panels: c corner, a alive at the end, b before the trace, i inside the trace."""
    norm = size_norm([coarse.bytes, coarse.initial, coarse.alive])
    strip = np.array([0.0, 1.0])
    inside, initial, alive = panels["i"], panels["b"], panels["a"]
    draw_field(inside, edges, edges, coarse.bytes.T, norm)
    draw_field(initial, strip, edges, coarse.initial[:, np.newaxis], norm)
    draw_field(alive, edges, strip, coarse.alive[np.newaxis, :], norm)
    inside.plot(edges, edges, color="#BBBBBB", linewidth=0.8, zorder=0)

    limits = _limits(coarse, edges)
    inside.set(xlim=limits, ylim=limits)
    alive.set(xlim=limits, ylim=(0, 1), xticks=[], yticks=[])
    initial.set(xlim=(0, 1), ylim=limits, xticks=[])
    scale.apply(inside, label=False, ticks=6 if scale.calendar else 10)  # dates are wide
    for axes in (inside, initial):
        scale.apply(axes, vertical=True, label=False)
    inside.tick_params(labelleft=False)
    inside.set_xlabel(f"Birth: {scale.label[0].lower()}{scale.label[1:]}")
    initial.set_ylabel(f"Death: {scale.label[0].lower()}{scale.label[1:]}")
    initial.set_xlabel("Before\nthe trace", fontsize=9.5, ha="right", x=1, labelpad=16)
    alive.set_title("Alive after the last instant, by birth", fontweight="normal", fontsize=9.5, pad=4)
    for axes in (inside, initial, alive):
        for spine in axes.spines.values():
            spine.set_visible(True)
    panels["c"].set_axis_off()
    color_bar(list(panels.values()), norm, label="Data per cell")


def _limits(coarse: CoarseMatrix, edges: FloatArray) -> tuple[float, float]:
    """Leave out what lies before the first birth and after the last death."""
    by_birth = coarse.bytes.any(axis=1) | (coarse.alive > 0)
    by_death = coarse.bytes.any(axis=0) | (coarse.initial > 0)
    used = np.flatnonzero(by_birth | by_death)
    first, last = (int(used[0]), int(used[-1])) if len(used) else (0, len(edges) - 2)
    return float(edges[first]), float(edges[last + 1])


def _edges(instants: Int64Array, epochs: Int64Array) -> Int64Array:
    """Return when each epoch begins; the first and the last are open and get the usual width."""
    usual = int(np.median(np.diff(instants))) if len(instants) > 1 else HOUR
    times = np.concatenate(([instants[0] - usual], instants, [instants[-1] + usual]))
    edges: Int64Array = times[epochs]
    return edges
