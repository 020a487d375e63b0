"""What is in the blocks that a trace writes: how much of it is new, and how far it shrinks."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.ticker import PercentFormatter

from snapsim.errors import UsageError
from snapsim.traces.statistics import Contents
from snapsim.viz.figure import Figure
from snapsim.viz.style import BLUE, GREEN, GREY, VERMILLION, new_figure, style

_BINS = 20
_LOOKS = {"new": (BLUE, ""), "duplicate": (VERMILLION, "//"), "zero": (GREY, "..")}


def block_contents(contents: Contents) -> Figure:
    """Draw what a trace's content digests say.

    Parameters
    ----------
    contents : Contents
        What `snapsim.statistics.contents` returns.

    Returns
    -------
    Figure
        Left, shares of the blocks: new contents, duplicates, zeroes; of all that were written, and of those
        at the end.  Right, where the digests tell: the written blocks by the size that they compress to.

    Raises
    ------
    UsageError
        No block was written whole.
    """
    if not contents.written_blocks:
        raise UsageError("no block was written whole, so there are no contents to draw")
    parts = _parts(contents)
    with style():
        wide = contents.size_classes is not None
        fig = new_figure(figsize=(8.8 if wide else 5.5, 2.6))
        shares, *sizes = fig.subplots(1, 2 if wide else 1, squeeze=False)[0]
        _draw_shares(shares, parts)
        if contents.size_classes is not None:
            _draw_sizes(sizes[0], contents.size_classes)
    written, final = (
        ", ".join(f"{share_text(share)} {name}" for name, share in part.items()) for part in parts.values()
    )
    shrink = contents.compressed_share
    compressed = "" if shrink is None else f"; blocks that are not zero compress to {share_text(shrink)}"
    facts = f"written: {written}; at the end: {final}{compressed}"
    return Figure(
        fig,
        caption=(
            f"Contents of {contents.written_blocks:,} blocks of 4 KiB that were written, and of the "
            f"{contents.final_blocks:,} that are known at the end, from digests ({contents.scheme}). "
            "A duplicate holds what another block holds, or what was written before."
        ),
        alt=f"Shares of blocks by what they hold, and the sizes that they compress to. {facts}.",
        text=f"Figure block contents: {contents.written_blocks:,} blocks; {facts}",
    )


def share_text(value: float) -> str:
    """Write a share for people: two digits, and "<0.1%" for next to nothing."""
    if 0 < value < 0.001:
        return "<0.1%"
    return f"{value:.0%}" if value >= 0.1 or not value else f"{value:.1%}"


def _parts(contents: Contents) -> dict[str, dict[str, float]]:
    """Return the shares of new contents, duplicates and zeroes among written and among final blocks."""
    return {
        "written": _shares(contents.distinct_blocks, contents.zero_blocks, contents.written_blocks),
        "at the end": _shares(
            contents.final_distinct_blocks, contents.final_zero_blocks, contents.final_blocks
        ),
    }


def _shares(new: int, zero: int, blocks: int) -> dict[str, float]:
    whole = max(blocks, 1)
    return {"new": new / whole, "duplicate": (blocks - new - zero) / whole, "zero": zero / whole}


def _draw_shares(axes: Axes, parts: Mapping[str, Mapping[str, float]]) -> None:
    """Draw a bar for each kind of blocks, its shares end to end."""
    rows = np.arange(len(parts))
    left = np.zeros(len(parts))
    handles = []
    for name, (color, hatch) in _LOOKS.items():
        width = np.array([part[name] for part in parts.values()])
        bars = axes.barh(
            rows, width, left=left, height=0.5, facecolor=to_rgba(color, 0.35), edgecolor=color, hatch=hatch,
            linewidth=0.8, label=name,
        )  # fmt: skip
        handles.append(bars)
        left += width
    axes.set(xlim=(0, 1), ylim=(len(parts) - 0.5, -0.5), xlabel="Share of the blocks")
    axes.set_yticks(rows, list(parts))
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.legend(handles=handles, loc="lower right", bbox_to_anchor=(1, 1), ncols=3, borderaxespad=0.1)


def _draw_sizes(axes: Axes, size_classes: tuple[int, ...]) -> None:
    """Draw the written blocks by the size that they compress to; those that do not shrink stand apart."""
    counts = np.array(size_classes, np.float64)
    share = counts / max(counts.sum(), 1)
    middle = (np.arange(1, 255) - 0.5) / 254
    heights, edges = np.histogram(middle, bins=_BINS, range=(0, 1), weights=share[1:255])
    axes.stairs(heights, edges, fill=True, facecolor=to_rgba(GREEN, 0.35), edgecolor=GREEN)
    axes.bar(-0.05, share[0], width=0.05, facecolor=to_rgba(GREY, 0.35), edgecolor=GREY, hatch="..")
    axes.bar(
        1.05, share[255], width=0.05, facecolor=to_rgba(VERMILLION, 0.35), edgecolor=VERMILLION, hatch="//"
    )
    axes.set(xlim=(-0.1, 1.1), ylabel="Share of the written blocks", xlabel="Compressed to")
    axes.set_ylim(0, 1.1 * max(float(heights.max()), float(share[0]), float(share[255]), 1e-9))
    axes.set_xticks([-0.05, 0.25, 0.5, 0.75, 1.05], ["zero", "25%", "50%", "75%", "does not\nshrink"])
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
