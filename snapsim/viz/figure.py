"""A figure with everything that has to travel with it: caption, alternative text, and its facts in one line.

Notebook front ends drop alternative text that is given as output metadata, so the figure writes its own HTML.
The line of facts is the plain form: it is what a terminal shows and what a notebook's test compares.
"""

import base64
import io
import os
import secrets
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure as MplFigure

from snapsim.errors import UsageError
from snapsim.viz.style import style

_CSS_PIXELS_PER_INCH = 96
_DPI = 2 * _CSS_PIXELS_PER_INCH  # sharp on screens of twice the usual resolution
_NOTEBOOK_DPI = 3 * _CSS_PIXELS_PER_INCH // 2  # notebooks are committed with their figures: half the size
_SUFFIXES = ("png", "svg", "pdf")
# No dates, no version of the program: the same result gives the same bytes.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


@dataclass(frozen=True, eq=False, repr=False)
class Figure:
    """A drawn answer.

    Attributes
    ----------
    fig : matplotlib.figure.Figure
        The picture; not registered with pyplot, so nothing has to be closed for memory's sake.
    caption : str
        What is shown and what has to be known to read it.
    alt : str
        What the picture says, for who does not see it.
    text : str
        The facts in one line.
    """

    fig: MplFigure
    caption: str
    alt: str
    text: str

    def __repr__(self) -> str:
        """Return the facts in one line."""
        return self.text

    def _repr_html_(self) -> str:
        return self.to_html(dpi=_NOTEBOOK_DPI)

    def to_html(self, *, dpi: int | None = None) -> str:
        """Return the figure as HTML that needs nothing from elsewhere.

        Parameters
        ----------
        dpi : int, optional
            Resolution of the picture; 192 by default.

        Returns
        -------
        str
            `<figure>` with the picture inline, its alternative text and its caption.
        """
        data = base64.b64encode(self.render("png", dpi=dpi)).decode("ascii")
        width = round(self.fig.get_figwidth() * _CSS_PIXELS_PER_INCH)
        height = round(self.fig.get_figheight() * _CSS_PIXELS_PER_INCH)
        return (
            f'<figure><img alt="{escape(self.alt)}" width="{width}" height="{height}" '
            f'style="max-width:100%;height:auto" src="data:image/png;base64,{data}">'
            f"<figcaption>{escape(self.caption)}</figcaption></figure>"
        )

    def render(self, file_format: str = "png", *, dpi: int | None = None) -> bytes:
        """Draw the figure.

        Parameters
        ----------
        file_format : {"png", "svg", "pdf"}
            The kind of picture.
        dpi : int, optional
            Resolution; 192 by default.

        Returns
        -------
        bytes
            The file's contents: the same for the same figure.

        Raises
        ------
        UsageError
            Any other format.
        """
        if file_format not in _SUFFIXES:
            raise UsageError(f"figures cannot be saved as {file_format!r}: use {', '.join(_SUFFIXES)}")
        buffer = io.BytesIO()
        with style():
            self.fig.savefig(buffer, format=file_format, dpi=dpi or _DPI, metadata=_METADATA[file_format])
        return buffer.getvalue()

    def save(self, path: str | os.PathLike[str], *, dpi: int | None = None) -> Path:
        """Write the figure to a file, whole or not at all.

        Parameters
        ----------
        path : str or path
            Ends in .png, .svg or .pdf.
        dpi : int, optional
            Resolution; 192 by default.

        Returns
        -------
        pathlib.Path
            Where it is.

        Raises
        ------
        UsageError
            Another ending.
        """
        target = Path(path)
        return write_atomically(target, self.render(target.suffix.lower().removeprefix("."), dpi=dpi))

    def close(self) -> None:
        """Let go of everything that was drawn."""
        self.fig.clear()


def write_atomically(path: Path, data: bytes) -> Path:
    """Write a file so that readers see the old contents or the new, never half of it.

    Parameters
    ----------
    path : pathlib.Path
        The file to write; its folder must exist.
    data : bytes
        Its contents.

    Returns
    -------
    pathlib.Path
        The same path.

    Raises
    ------
    UsageError
        The folder is missing or cannot be written to, or the path is a device.
    """
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} is no file, and would be replaced: name a file")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UsageError(
            f"{path} cannot be written ({error.strerror}): name a file in a folder that exists"
        ) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path
