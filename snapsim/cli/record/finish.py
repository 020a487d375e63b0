"""`snapsim record finish`: a trace of a recording that was interrupted."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from snapsim.cli.reading import Json
from snapsim.cli.record.bitmaps import CHANGES, finish_changes
from snapsim.cli.record.nbd import finish_and_tell, folder_of
from snapsim.errors import UsageError

__all__ = ["finish"]


def finish(
    folder: Annotated[Path, Parameter(help="NAME.recording.")],
    *,
    output: Annotated[Path, Parameter(name=("--output", "-o"))],
    permute: Annotated[str | None, Parameter(metavar="SIZE")] = None,
    as_json: Json = False,
) -> None:
    """Make a trace of a recording that was interrupted, up to its last request.

    The recording stays as it is, and can be taken up again.

    Parameters
    ----------
    folder : Path
        The recording.
    output : Path
        The trace to make, NAME.parquet.
    permute : str or None
        Shuffle the addresses in units of this size ("1MiB"), so that the trace can be shown to others.
    as_json : bool
        Print JSON.
    """
    from snapsim.recording.folder import read_state
    from snapsim.units import parse_size

    folder_of(output)
    kind = read_state(folder)["kind"]
    unit = None if permute is None else parse_size(permute)
    if kind == CHANGES:
        if permute is not None:
            raise UsageError("--permute: the addresses of a recording by bitmaps cannot be shuffled")
        finish_changes(folder, output, as_json=as_json)
        return
    if kind == "blktrace":
        from snapsim.cli.record.blktrace import finish_and_tell as finish_blktrace

        finish_blktrace(folder, output, permute=unit, as_json=as_json)
        return
    finish_and_tell(folder, output, permute=unit, as_json=as_json)
