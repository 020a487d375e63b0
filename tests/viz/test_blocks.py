"""Figures of single blocks: what is written in the cells, which arrows there are, and what the words say."""

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.text import Text

import snapsim as ss
from snapsim.engine.chain import ORGANISATIONS

THICK_FRAME = 2.6


def some(organisation, blocks=6):
    disk = ss.demonstrate(organisation, blocks=blocks).snapshot().after
    disk = disk.write(1, blocks=2).after.snapshot().after
    return disk.write(2).after.discard(3).after


def cells(axes):
    """Return the labels by row, from top to bottom."""
    names = [label.get_text() for label in axes.get_yticklabels()]
    found = {name: {} for name in names}
    for text in axes.texts:
        block, height = text.get_position()
        found[names[height]][block] = text.get_text()
    return found


def arrows(axes):
    return [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]


def framed(axes):
    """Return (block, row) of the cells with a thick frame."""
    names = [label.get_text() for label in axes.get_yticklabels()]
    return {
        (round(patch.get_x() + 0.42), names[round(patch.get_y() + 0.34)])
        for patch in axes.patches
        if isinstance(patch, Rectangle) and patch.get_linewidth() == THICK_FRAME
    }


@pytest.mark.parametrize("organisation", ORGANISATIONS)
def test_every_cell_says_its_version(organisation):
    disk = some(organisation)
    (axes,) = ss.viz.chain_blocks(disk).fig.axes
    shown = cells(axes)
    for row in disk.rows():
        labels = {
            block: "∅" if one is None else disk.chain.label(one) for block, one in sorted(row.cells.items())
        }
        assert shown[row.name] == labels
    if organisation == "overlays":
        assert [shown["volume shows"].get(block, "-") for block in range(6)] == list(disk.shows())


@pytest.mark.parametrize("organisation", ORGANISATIONS)
@pytest.mark.parametrize("blocks", [4, 6, 16])
def test_nothing_is_cut_off_and_no_words_overlap(organisation, blocks):
    disk = some(organisation, blocks)
    for figure in (
        ss.viz.chain_blocks(disk, highlight=disk.read(0, blocks=3).steps),
        ss.viz.operation(*disk.write(0, blocks=2)),
        ss.viz.operation(*disk.delete(0)),
    ):
        canvas = FigureCanvasAgg(figure.fig)
        canvas.draw()
        boxes = [
            text.get_window_extent(canvas.get_renderer())
            for text in figure.fig.findobj(Text)
            if text.get_visible() and text.get_text().strip()
        ]
        whole = figure.fig.bbox
        assert all(box.x0 >= -1 and box.x1 <= whole.x1 + 1 for box in boxes)
        assert all(box.y0 >= -1 and box.y1 <= whole.y1 + 1 for box in boxes)
        for number, box in enumerate(boxes):
            assert not any(box.shrunk(0.98, 0.9).overlaps(other) for other in boxes[number + 1 :])


def test_a_read_has_an_arrow_through_the_layers_and_a_frame_where_it_is_found():
    disk = some("overlays")
    figure = ss.viz.chain_blocks(disk, highlight=disk.read(1).steps)
    (axes,) = figure.fig.axes
    assert len(arrows(axes)) == 1
    assert [line.get_linestyle() for line in axes.lines] == [":"]
    assert framed(axes) == {(1, "layer of snapshot 1")}
    assert "not in the active layer; the layer of snapshot 1 has it" in figure.text
    assert "Dotted arrows" in figure.caption


@pytest.mark.parametrize(("organisation", "n_copies"), [("shared-store", 1), ("private-stores", 2)])
def test_a_write_in_place_has_an_arrow_for_each_copy(organisation, n_copies):
    walk = some(organisation).write(0)
    figure = ss.viz.operation(*walk)
    before, after = figure.fig.axes
    assert len(arrows(before)) == n_copies == walk.steps.total()["copied_blocks"]
    assert len(framed(after)) == n_copies + 1
    assert (0, "volume") in framed(after)
    assert "Solid arrows are copies" in figure.caption


def test_after_a_commit_only_what_was_copied_down_is_new():
    walk = some("overlays").delete(0)
    _, after = ss.viz.operation(*walk).fig.axes
    assert framed(after) == {(1, "layer of snapshot 1"), (2, "layer of snapshot 1")}
    _, after = ss.viz.operation(*some("overlays").delete(0, how="stream")).fig.axes
    assert framed(after) == {(block, "layer of snapshot 1") for block in (0, 3, 4, 5)}


@pytest.mark.parametrize("organisation", ORGANISATIONS)
def test_taking_a_snapshot_moves_nothing(organisation):
    before, after = ss.viz.operation(*some(organisation).snapshot()).fig.axes
    assert not arrows(before)
    assert not framed(after)


def test_the_words_say_what_the_picture_shows():
    figure = ss.viz.operation(*some("overlays").write(0))
    kept = "before 9 blocks, 4 only for snapshots, after 10 blocks, 5 only for snapshots"
    done = "1. block 0: v1 is written to the active layer; v0 stays where it is."
    assert figure.text == f"Figure operation: overlays, {kept}, 1 cell new or changed; {done}"
    assert "active layer: v1 . v2 ∅ . .; layer of snapshot 1: . v1 v1 . . ." in figure.alt


def test_the_same_state_gives_the_same_bytes():
    assert (
        ss.viz.chain_blocks(some("shared-tree")).render() == ss.viz.chain_blocks(some("shared-tree")).render()
    )
