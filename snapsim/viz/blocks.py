"""Snapshots block by block: where each version lies, what a read looks through, what an operation moves."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, Rectangle

from snapsim.engine.demonstration import Demonstration
from snapsim.engine.places import Row
from snapsim.engine.steps import Step
from snapsim.viz.figure import Figure
from snapsim.viz.style import (
    BLACK,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    YELLOW,
    new_figure,
    style,
)

_GROUNDS = ("#E4E4E4", SKY, ORANGE, "#7FD1B9", YELLOW, PURPLE, "#8FB6DA", "#EE9E6B")  # black is read on each
_SHOWN = "volume shows"
_NOTHING = object()
_NARROWEST = 6  # room for the title, in blocks
_MEANING = {
    "overlays": "A filled cell is held by a layer; where there is none, the layer below counts. ∅ hides it.",
    "shared-tree": "A solid cell is held; a dashed one points to what the snapshot before already holds.",
    "shared-store": "The volume is complete in itself; the store holds what only snapshots show.",
    "private-stores": "The volume is complete in itself; each store has a copy of all that changed since.",
}


def chain_blocks(chain: Demonstration, *, highlight: Sequence[Step] = ()) -> Figure:
    """Draw where each version lies.

    Parameters
    ----------
    chain : Demonstration
        The state to be drawn.
    highlight : sequence of Step
        What a read or a write does on this state, as arrows and frames.

    Returns
    -------
    Figure
        One column a block, one row a layer, store or table, the present on top.
    """
    lines = _lines(chain)
    with style():
        fig = new_figure(figsize=(_width(chain), _height(lines)))
        axes = fig.subplots()
        _draw(axes, lines, chain)
        looked = _arrows(axes, lines, highlight)
        axes.set_title(f"{chain.organisation}\n{_held(chain)}")
    told = f" {_told(highlight)}" if highlight else ""
    done = _DRAWN[looked] if highlight else ""
    return Figure(
        fig,
        caption=f"Blocks of a volume ({chain.organisation}). {_MEANING[chain.organisation]} {done}".strip(),
        alt=f"Table of cells, one column for each of {chain.n_blocks} blocks. {_spoken(chain)}.{told}",
        text=f"Figure chain blocks: {chain.organisation}, {_held(chain)}; {_spoken(chain)};{told}".rstrip(
            ";"
        ),
    )


def operation(before: Demonstration, after: Demonstration, steps: Sequence[Step] = ()) -> Figure:
    """Draw the state before and after an operation side by side, with what moved.

    Parameters
    ----------
    before, after : Demonstration
        The two states: `viz.operation(*walk)` draws a whole `Walk`.
    steps : sequence of Step
        What was done: copies are drawn as arrows into the state before, changed cells are framed in the
        state after.

    Returns
    -------
    Figure
        Left before, right after.
    """
    left, right = _lines(before), _lines(after)
    with style():
        height = max(_height(left), _height(right))
        fig = new_figure(figsize=(2 * _width(before) - 0.9, height))
        both = fig.subplots(1, 2)
        tallest = max(len(left), len(right))
        _draw(both[0], left, before, n_lines=tallest)
        _draw(both[1], right, after, n_lines=tallest)
        looked = _arrows(both[0], left, steps, frames=False)
        n_changed = _frame_changes(both[1], left, right, steps)
        both[0].set_title(f"Before\n{_held(before)}")
        both[1].set_title(f"After\n{_held(after)}")
    told = _told(steps)
    changed = f"{n_changed} cell{'s' * (n_changed != 1)} new or changed"
    return Figure(
        fig,
        caption=(
            f"An operation ({before.organisation}): before on the left, after on the right; what is new or "
            f"changed has a thick frame. {_DRAWN[looked]} {_MEANING[before.organisation]}"
        ),
        alt=f"Two tables of cells. Before: {_spoken(before)}. After: {_spoken(after)}. {told}",
        text=(
            f"Figure operation: {before.organisation}, before {_held(before)}, after {_held(after)}, "
            f"{changed}; {told}"
        ),
    )


_DRAWN = {
    "": "",
    "copy": "Solid arrows are copies.",
    "look": "Dotted arrows go through the layers that are looked into.",
    "both": "Solid arrows are copies, dotted ones go through the layers that are looked into.",
}


# --- what is drawn
# ------------------------------------------------------------------------------------------------


def _lines(chain: Demonstration) -> list[Row]:
    """Return rows from top to bottom; over files, what the volume shows comes first."""
    found = list(reversed(chain.rows()))
    if chain.organisation == "overlays":
        found.insert(0, Row(_SHOWN, dict(chain.chain.now), frozenset(chain.chain.now)))
    return found


def _draw(axes: Axes, lines: list[Row], chain: Demonstration, *, n_lines: int = 0) -> None:
    """Draw cells with their labels."""
    for height, row in enumerate(lines):
        for block in range(chain.n_blocks):
            _cell(axes, row, block, height, chain)
    axes.set(
        xlim=(-0.6, max(chain.n_blocks, _NARROWEST) - 0.4),
        ylim=(max(n_lines, len(lines)) - 0.4, -0.6),
        xlabel="Block",
    )
    axes.set_yticks(range(len(lines)), [row.name for row in lines])
    axes.set_xticks(range(chain.n_blocks))
    axes.xaxis.set_ticks_position("none")
    axes.yaxis.set_ticks_position("none")
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _cell(axes: Axes, row: Row, block: int, height: int, chain: Demonstration) -> None:
    """Draw one cell: what it holds, what it points to, or that it has nothing."""
    corner = (block - 0.42, height - 0.34)
    if block not in row.cells:
        axes.add_patch(Rectangle(corner, 0.84, 0.68, fill=False, edgecolor="#DDDDDD", linewidth=0.8))
        return
    version = row.cells[block]
    pointed = block in row.shared
    if version is None:
        ground, label = "white", "∅"
    else:
        label = chain.chain.label(version)
        ground = "white" if pointed else _GROUNDS[int(label[1:]) % len(_GROUNDS)]
    axes.add_patch(
        Rectangle(
            corner, 0.84, 0.68, facecolor=ground, edgecolor="#555555", linewidth=1,
            linestyle=(0, (2, 2)) if pointed else "-",
        )
    )  # fmt: skip
    axes.text(block, height, label, ha="center", va="center", color="#222222", zorder=4)


def _arrows(axes: Axes, lines: list[Row], steps: Sequence[Step], *, frames: bool = True) -> str:
    """Draw where data goes and where reads look; return which kinds were drawn."""
    places = {row.name: height for height, row in enumerate(lines)}
    drawn = set()
    for step in steps:
        if step.action == "look" and len(step.looked) + (_SHOWN in places) > 1:
            through = [places[_SHOWN]] * (_SHOWN in places) + [places[name] for name in step.looked]
            _arrow(axes, step.blocks[0], through[0], through[-1], color=BLACK, dotted=True)
            drawn.add("look")
        elif step.action in {"copy", "fill"} and step.source != step.target:
            for block in step.blocks:
                _arrow(axes, block, places[step.source], places[step.target], color=VERMILLION)
            drawn.add("copy")
        if frames and step.action in {"read", "write"}:
            _frame(axes, step.blocks, places[step.source or step.target])
    return "both" if len(drawn) == 2 else "".join(drawn)


def _arrow(axes: Axes, block: int, start: int, stop: int, *, color: str, dotted: bool = False) -> None:
    """Draw an arrow from one row to another, beside the labels."""
    way = 1 if stop > start else -1
    x, tail, head = block + 0.28, start + 0.05 * way, stop - 0.1 * way
    if dotted:  # the head is drawn whole
        axes.plot([x, x], [tail, head - 0.15 * way], color=color, linewidth=1.6, linestyle=":", zorder=5)
        tail = head - 0.2 * way
    axes.add_patch(
        FancyArrowPatch(
            (x, tail), (x, head), arrowstyle="-|>", mutation_scale=11, linewidth=1.6, color=color, zorder=5,
            shrinkA=0, shrinkB=0,
        )
    )  # fmt: skip


def _frame(axes: Axes, blocks: Sequence[int], height: int) -> None:
    for block in blocks:
        corner = (block - 0.42, height - 0.34)
        axes.add_patch(Rectangle(corner, 0.84, 0.68, fill=False, edgecolor=BLACK, linewidth=2.6, zorder=3))


def _frame_changes(axes: Axes, left: list[Row], right: list[Row], steps: Sequence[Step]) -> int:
    """Frame the cells that hold something else than before; return how many."""
    old = {row.name: row.cells for row in left}
    old |= {step.target: old[step.source] for step in steps if step.action == "rename"}
    count = 0
    for height, row in enumerate(right):
        before = row.cells if row.name == _SHOWN else old.get(row.name, {})
        changed = [block for block, held in row.cells.items() if before.get(block, _NOTHING) != held]
        _frame(axes, changed, height)
        count += len(changed)
    return count


def _width(chain: Demonstration) -> float:
    return 1.9 + 0.55 * max(chain.n_blocks, _NARROWEST)


def _height(lines: list[Row]) -> float:
    return 1.1 + 0.5 * len(lines)


# --- the same in words
# --------------------------------------------------------------------------------------------


def _held(chain: Demonstration) -> str:
    """Tell how much everything takes."""
    return f"{chain.total} blocks, {chain.snapshot_only} only for snapshots"


def _spoken(chain: Demonstration) -> str:
    """Say every row, from top to bottom."""
    told = []
    for row in _lines(chain):
        cells = []
        for block in range(chain.n_blocks):
            version = row.cells.get(block)
            if block not in row.cells:
                cells.append(".")
            elif version is None:
                cells.append("∅")
            else:
                label = chain.chain.label(version)
                cells.append(f"({label})" if block in row.shared and row.name != _SHOWN else label)
        told.append(f"{row.name}: {' '.join(cells)}")
    return "; ".join(told)


def _told(steps: Sequence[Step]) -> str:
    return " ".join(f"{number}. {step.text}." for number, step in enumerate(steps, 1)) or "Nothing is done."
