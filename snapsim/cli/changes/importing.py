"""`snapsim changes import`: files that other systems write about what changed between two snapshots."""

from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter

from snapsim.cli.changes.writing import Target, check_target, write
from snapsim.cli.progress import doing
from snapsim.cli.reading import Json
from snapsim.errors import UsageError

__all__ = ["import_"]


def import_(
    snapshots: Annotated[Sequence[str], Parameter(metavar="TIME=FILE", required=True)] = (),
    /,
    *,
    output: Target,
    format: str | None = None,  # noqa: A002  the word that users look for
    capacity: str | None = None,
    grain: str | None = None,
    as_json: Json = False,
) -> None:
    """Make a trace of files that say what changed between snapshots.

    One TIME=FILE for each snapshot, the oldest first: when it was taken (ISO 8601; UTC unless said), and the
    file that says what changed since the one before.  The first may be TIME= alone, where what it holds is
    not known, or list all that it holds.

    Parameters
    ----------
    snapshots : sequence of str
        TIME=FILE for each, the oldest first, as in 2026-03-01T12:00Z=monday.json: when it was taken (UTC
        unless said), and what changed since the one before.  The first may be TIME= alone, or list all that
        it holds.
    output : Path
        The change trace to write.
    format : str
        thin_delta, rbd, rbd_json, rbd_export, ebs, vmware, qemu_map, list or list_json, where a file is not
        recognised.
    capacity : str
        Size of the volume, as in 20GiB, where no file tells it.
    grain : str
        The unit to count in, as in 64KiB, to which extents are widened.  Unless given, what the files say, or
        the largest power of two that all extents are multiples of.
    as_json : bool
        Print JSON.
    """
    check_target(output)
    given = [_split(one) for one in snapshots]
    with doing("reading the changes"):
        from snapsim.traces.change_files.reading import read_changes

        trace = read_changes(given, format=format, capacity=capacity, grain=grain)
    write(trace, output, as_json=as_json)


def _split(text: str) -> tuple[str, str | None]:
    when, equals, file = text.partition("=")
    if not equals or not when.strip():
        raise UsageError(f"{text}: write TIME=FILE, as in 2026-03-01T12:00Z=monday.json")
    return when.strip(), file or None
