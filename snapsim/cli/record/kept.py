"""What a recorder says when all was recorded and only its trace could not be stored."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from snapsim.errors import StoreError

__all__ = ["kept"]


@contextmanager
def kept(*folders: Path) -> Iterator[None]:
    """Add to the error of a trace that cannot be stored how to make it again.

    Parameters
    ----------
    *folders : Path
        The recordings.

    Yields
    ------
    None
        To the code that makes the traces.

    Raises
    ------
    StoreError
        The same, with the way out.
    """
    try:
        yield
    except StoreError as error:
        commands = " and ".join(
            f"snapsim record finish {shlex.quote(str(folder))} "
            f"-o {shlex.quote(str(folder.with_suffix('.parquet')))}"
            for folder in folders
        )
        raise StoreError(f"{error}. What was recorded is there: make the trace by {commands}") from None
