"""What a page is made of: sections of a few kinds of blocks; the template knows how each looks."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from snapsim.viz import Figure


class Text(NamedTuple):
    """A paragraph.

    Attributes
    ----------
    text : str
        Plain text.
    kind : str
        What the template calls this kind of block.
    """

    text: str
    kind: str = "text"


class Items(NamedTuple):
    """A list.

    Attributes
    ----------
    items : tuple of (str, str)
        A word that stands before the item ("Warning", or nothing), and the item.
    kind : str
        What the template calls this kind of block.
    """

    items: tuple[tuple[str, str], ...]
    kind: str = "items"


class Code(NamedTuple):
    """Text whose lines and spaces count.

    Attributes
    ----------
    text : str
        Plain text.
    label : str
        What it is, for those who do not see it.
    kind : str
        What the template calls this kind of block.
    """

    text: str
    label: str
    kind: str = "code"


class Table(NamedTuple):
    """A table; the first cell of each row names the row.

    Attributes
    ----------
    caption : str
        What the table shows.
    head : tuple of str
        Column heads, with units.
    rows : tuple of tuples of str
        Cells.
    numeric : frozenset of int
        Columns that are set flush right.
    kind : str
        What the template calls this kind of block.
    """

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[int] = frozenset()
    kind: str = "table"


class Picture(NamedTuple):
    """A figure.

    Attributes
    ----------
    html : str
        `<figure>` with everything in it.
    kind : str
        What the template calls this kind of block.
    """

    html: str
    kind: str = "picture"


Block = Text | Items | Code | Table | Picture


class Section(NamedTuple):
    """A part of a page.

    Attributes
    ----------
    name : str
        What links to it say; lower case, no spaces.
    title : str
        Its heading.
    blocks : tuple of Block
        What is in it; a section of nothing is left out.
    """

    name: str
    title: str
    blocks: tuple[Block, ...]


def section(name: str, title: str, *blocks: Block | None) -> Section:
    """Put a section together from the blocks that there are.

    Parameters
    ----------
    name, title : str
        As in `Section`.
    *blocks : Block or None
        None is skipped.

    Returns
    -------
    Section
        The section.
    """
    return Section(name, title, tuple(block for block in blocks if block is not None))


def bullets(texts: Iterable[str], *, word: str = "") -> Items | None:
    """Return a list of texts, or nothing when there are none."""
    items = tuple((word, text) for text in texts)
    return Items(items) if items else None


def facts(caption: str, rows: Sequence[tuple[str, str]]) -> Table:
    """Return a table of two columns: what, and its value."""
    return Table(caption, ("Quantity", "Value"), tuple(rows))


def picture(figure: Figure) -> Picture:
    """Draw a figure and let go of it."""
    html = figure.to_html()
    figure.close()
    return Picture(html)
