"""Draw the pictures of README.md from the recording in `data/`, and say their alternative text.

Usage: ``python tools/readme_figures.py`` after a change of the figures; a test compares the alternative text
in README.md with what this prints.
"""

from pathlib import Path

import snapsim as ss
from snapsim.viz import Figure

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"


def storage_growth() -> Figure:
    """Draw the answer that `make demo` gives, for a disk of which an image map says what it held."""
    traces = ROOT / "data" / "traces"
    policy = ss.Policy.from_toml(ROOT / "data" / "policies" / "demo.toml")
    lifetimes = ss.count_lifetimes(
        ss.read_trace(traces / "postgres.parquet"),
        schedules=policy,
        block_size="64KiB",
        initial=traces / "postgres.initial-map.json",
    )
    # the map says what existed before the trace: no bounds have to be drawn
    growth = ss.growth(
        lifetimes, policy.timeline(lifetimes.instants), mechanism="qcow2-external", bounds=False
    )
    return ss.viz.storage_growth(growth)


def main() -> None:
    """Write the pictures."""
    figure = storage_growth()
    IMAGES.mkdir(exist_ok=True)
    path = figure.save(IMAGES / "storage_growth.png", dpi=144)
    print(f"{path.relative_to(ROOT)}: {figure.alt}")


if __name__ == "__main__":
    main()
