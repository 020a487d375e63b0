"""The figure of docs/benchmarks.md: time by number of requests."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_STYLES = {  # colours of Okabe and Ito, and a marker and dashes for those who do not see them
    "lifetimes": ("#0072B2", "o", "-", "lifetimes"),
    "loop": ("#000000", "s", "--", "load-and-store loop"),
    "libCacheSim LRU": ("#D55E00", "^", "-.", "libCacheSim LRU"),
    "readable twin": ("#009E73", "D", ":", "readable twin (Python)"),
}


def save(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw seconds over requests, both logarithmic, with a line for each way to count."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    settings = {"svg.hashsalt": "snapsim", "svg.fonttype": "none", "font.family": "sans-serif"}
    with plt.rc_context(settings):
        figure, axes = plt.subplots(figsize=(7.2, 4.5), layout="constrained")
        for what, (colour, marker, dashes, label) in _STYLES.items():
            some = [row for row in rows if row["what"] == what]
            if not some:
                continue
            x = [row["requests"] for row in some]
            y, low, high = ([row["seconds"][key] for row in some] for key in ("median", "low", "high"))
            axes.plot(x, y, color=colour, marker=marker, linestyle=dashes, markersize=5)
            axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
            axes.annotate(
                label, (x[-1], y[-1]), xytext=(7, 0), textcoords="offset points", color=colour, va="center"
            )
        axes.set(xscale="log", yscale="log", xlabel="Requests", ylabel="Time [s]")
        axes.margins(x=0.28)
        axes.set_xlim(left=min(row["requests"] for row in rows) / 1.5)
        axes.grid(visible=True, which="major", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)
