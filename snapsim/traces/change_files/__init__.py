"""Files that other systems write about what changed between two snapshots.  A module a format."""

from pathlib import Path

from snapsim.errors import UnknownFormatError, UsageError
from snapsim.traces.change_files.base import LARGEST, ChangeFile, ChangeFormat, refuse
from snapsim.traces.change_files.ebs import EBS
from snapsim.traces.change_files.listing import LIST, LIST_JSON
from snapsim.traces.change_files.qemu_map import QEMU_MAP
from snapsim.traces.change_files.rbd import RBD_JSON, RBD_TEXT
from snapsim.traces.change_files.rbd_export import RBD_EXPORT
from snapsim.traces.change_files.thin_delta import THIN_DELTA
from snapsim.traces.change_files.vmware import VMWARE
from snapsim.traces.source import Source

__all__ = ["CHANGE_FORMATS", "ChangeFile", "parse_changes"]

CHANGE_FORMATS: dict[str, ChangeFormat] = {
    one.name: one
    for one in (THIN_DELTA, RBD_TEXT, RBD_JSON, RBD_EXPORT, EBS, VMWARE, QEMU_MAP, LIST, LIST_JSON)
}
"""Every format, by its name."""


def parse_changes(path: Path | str, *, format: str | None = None) -> ChangeFile:  # noqa: A002
    """Read what one file says changed between two snapshots.

    Parameters
    ----------
    path : path
        The file, compressed or not.
    format : str, optional
        A name in `CHANGE_FORMATS`, where it is not recognised.

    Returns
    -------
    ChangeFile
        The extents, and what the file tells about itself.

    Raises
    ------
    UsageError
        There is no such format.
    UnknownFormatError
        The file is of no format that is known, or looks like two.
    TraceError
        The file is not there, or is damaged; the message names the line or field.
    """
    if format is not None and format not in CHANGE_FORMATS:
        raise UsageError(f"there is no format {format!r} of changes: there are {', '.join(CHANGE_FORMATS)}")
    source = Source(path)
    found = _recognised(source) if format is None else CHANGE_FORMATS[format]
    file = found.parse(source)
    if (file.capacity or 0) > LARGEST:
        refuse(source, "", f"a volume of {file.capacity} bytes is beyond any disk")
    return file


def _recognised(source: Source) -> ChangeFormat:
    head = source.head(1 << 16)
    if not head.strip():
        refuse(source, "", "is empty, as a command that failed leaves it: write it again")
    found = [one for one in CHANGE_FORMATS.values() if one.recognises(_plain(head))]
    if len(found) != 1:
        names = ", ".join(one.name for one in found or CHANGE_FORMATS.values())
        said = "could be any of" if found else "is of no format of changes that is known. Known are"
        raise UnknownFormatError(f"{source.path} {said} {names}: name the one with --format (format=)")
    return found[0]


def _plain(head: bytes) -> bytes:
    """Return text in UTF-16, which PowerShell writes, as UTF-8."""
    if head[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        return head
    return head[: len(head) // 2 * 2].decode("utf-16", "replace").encode()
