"""`snapsim changes qcow2`: the layers of a qcow2 chain, or an image's internal snapshots."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from snapsim.cli.changes.writing import Target, check_target, write
from snapsim.cli.progress import doing
from snapsim.cli.reading import Json

__all__ = ["qcow2"]


def qcow2(
    image: Annotated[Path, Parameter(metavar="TOP.qcow2")],
    /,
    *,
    output: Target,
    at: Annotated[Sequence[str], Parameter(metavar="TIME", consume_multiple=True)] = (),
    internal: bool = False,
    as_json: Json = False,
) -> None:
    """Make a trace of the layers of a qcow2 chain: each is what changed between two snapshots.

    Of an image without backing files, internal snapshots are read.  Only tables are read, so it takes a
    moment; no running guest may write to the image.

    Parameters
    ----------
    image : Path
        The topmost file.
    output : Path
        The change trace to write.
    at : sequence of str
        When each state was the current one, the oldest first (ISO 8601; UTC unless said): one for each file
        of the chain, base and topmost one included.  Unless given, when the files were last written; of
        internal snapshots, what the image says.
    internal : bool
        Read internal snapshots, although there are backing files.
    as_json : bool
        Print JSON.
    """
    check_target(output)
    with doing(f"reading {image.name}"):
        from snapsim.recording.qcow2_chain import read_qcow2, read_qcow2_snapshots

        read = read_qcow2_snapshots if internal else read_qcow2
        trace = read(image, instants=list(at) or None)
    write(trace, output, as_json=as_json)
