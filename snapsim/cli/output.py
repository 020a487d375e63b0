"""What commands print and write."""

import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

from snapsim.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["check_writable", "print_json", "print_table", "warn", "write_csv"]

_TERMINAL = 80  # columns that every terminal has


def print_json(value: Any) -> None:
    """Print one JSON value.

    Parameters
    ----------
    value
        Mappings, sequences, text, numbers (NumPy's too; what is not finite becomes null), paths.
    """
    print(json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False))


def _plain(value: Any) -> Any:
    match value:
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case str():
            return str(value)
        case bool() | int() | None:
            return value
        case float():
            return value if math.isfinite(value) else None
        case os.PathLike():
            return os.fspath(value)
        case list() | tuple() | set() | frozenset():
            return [_plain(item) for item in value]
        case _ if hasattr(value, "tolist"):  # NumPy's numbers and arrays
            return _plain(value.tolist())
        case _:
            return str(value)


def print_table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], *, below: Sequence[str] | None = None
) -> None:
    """Print rows under their heads, the columns aligned.

    Parameters
    ----------
    heads : sequence of str
        One for each column.
    rows : sequence of sequences of str
        The cells.
    below : sequence of str, optional
        What is said of each row in lines of its own, where a column would be too wide for a terminal.
    """
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()
        for cells in (heads, ["-" * width for width in widths], *rows)
    ]
    if below is not None:
        told = [fill(text, _TERMINAL, initial_indent="    ", subsequent_indent="    ") for text in below]
        lines[2:] = [line for pair in zip(lines[2:], told, strict=True) for line in pair]
    print("\n".join(lines))


def warn(text: str) -> None:
    """Print a warning to standard error.

    Parameters
    ----------
    text : str
        One sentence.
    """
    print(f"snapsim: warning: {text}", file=sys.stderr)


def check_writable(path: Path | None) -> None:
    """Refuse a place that cannot be written to, before anything long is begun.

    Parameters
    ----------
    path : Path or None
        A file to write; None is fine.

    Raises
    ------
    UsageError
        Its folder is missing or may not be written to, or it is a folder or a device itself.
    """
    if path is None:
        return
    folder = path.absolute().parent
    if path.is_dir():
        raise UsageError(f"{path} is a folder: name a file in it")
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} is no file but a device or a pipe, which would be replaced: name a file")
    if not folder.is_dir():
        raise UsageError(f"{path} cannot be written: there is no folder {folder}")
    if not os.access(folder, os.W_OK):
        raise UsageError(f"{path} cannot be written: the folder {folder} is not writable for you")


def write_csv(frame: "pd.DataFrame", path: Path) -> None:
    """Write a frame as CSV, whole or not at all.

    Parameters
    ----------
    frame : DataFrame
        Times are written with their offset from UTC.
    path : Path
        The file to make or to replace.

    Raises
    ------
    StoreError
        It cannot be written; what was there before stays.
    """
    from snapsim.traces.atomic import replacing

    target = path.absolute()
    with replacing(target) as folder:
        frame.to_csv(folder / target.name, index=False)
