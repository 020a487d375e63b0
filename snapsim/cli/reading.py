"""Options that every command has that reads a trace, and reading with them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from snapsim.cli.output import warn
from snapsim.cli.progress import bar
from snapsim.cli.wording import as_options, assignments, known, worded
from snapsim.errors import UsageError

if TYPE_CHECKING:
    from snapsim.traces.change_figures import ChangeFigures
    from snapsim.traces.contents import Contents
    from snapsim.traces.figures import Summary
    from snapsim.traces.sanity import Finding
    from snapsim.traces.trace import Trace

__all__ = [
    "File",
    "Json",
    "Reading",
    "contents_of",
    "findings_of",
    "load",
    "named",
    "summary_of",
    "warn_about",
]

Json = Annotated[bool, Parameter(name="--json")]
"""`--json` of every command."""

_FILE_HELP = (
    "A trace: a file of any known format, a folder of files that make up one, "
    "or @NAME as in snapsim data list."
)

File = Annotated[Path, Parameter(required=True, help=_FILE_HELP)]
"""A trace, as an argument."""

_IN_MEMORY = 64 << 20  # bytes on disk; at most some ten times that as columns


@Parameter(name="*", group=Group("Reading the trace", sort_key=10))
@dataclass(frozen=True, kw_only=True)
class Reading:
    """How to read a trace.

    Attributes
    ----------
    format : str or None
        Name of the format, where it is not recognised: see snapsim trace formats.
    volume : sequence of str
        Take only this volume; may be repeated.
    start : str or None
        When the first request was made (ISO 8601; UTC unless said), where the trace does not know.
    capacity : str or None
        Size of each volume ("8GiB"), where the trace does not know.
    shift : str or None
        Add this to every offset ("512B", "-3584B"), to undo the offset of a partition.
    time_unit : str or None
        What one unit of time is ("us", "100ns"), instead of what the format says.
    address_unit : str or None
        What one unit of an address is ("512B"), instead of what the format says.
    length_unit : str or None
        What one unit of a length is ("512B"), instead of what the format says.
    damage_limit : float or None
        Largest share of damaged lines that is put up with; 0.001 unless said.
    reader_option : sequence of str
        An option of the format as name=value (action=D); may be repeated.
    """

    format: Annotated[str | None, Parameter(metavar="NAME")] = None
    volume: Annotated[Sequence[str], Parameter(metavar="NAME")] = ()
    start: Annotated[str | None, Parameter(metavar="TIME")] = None
    capacity: Annotated[str | None, Parameter(metavar="SIZE")] = None
    shift: Annotated[str | None, Parameter(metavar="SIZE", allow_leading_hyphen=True)] = None
    time_unit: Annotated[str | None, Parameter(metavar="UNIT")] = None
    address_unit: Annotated[str | None, Parameter(metavar="UNIT")] = None
    length_unit: Annotated[str | None, Parameter(metavar="UNIT")] = None
    damage_limit: Annotated[float | None, Parameter(metavar="SHARE")] = None
    reader_option: Annotated[Sequence[str], Parameter(metavar="NAME=VALUE")] = ()

    def options(self) -> dict[str, Any]:
        """Return what was given, as keywords of `snapsim.read_trace`.

        Raises
        ------
        UsageError
            The format is unknown, or a reader option is no pair.
        """
        given = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "reader_option"}
        chosen = {name: value for name, value in given.items() if value not in (None, ())}
        if self.format is not None:
            from snapsim.traces.formats import FORMATS

            chosen["format"] = known("format", self.format.lower().replace("_", "-"), (*FORMATS, "parquet"))
        if self.volume:
            chosen["volume"] = list(self.volume)
        return chosen | assignments(self.reader_option, option="--reader-option")


def load(path: Path, reading: Reading) -> "Trace":
    """Read a trace: into memory if it is small, otherwise to be streamed.

    Parameters
    ----------
    path : Path
        As typed.
    reading : Reading
        How.

    Returns
    -------
    Trace
        All volumes, unless some were selected.

    Raises
    ------
    SnapsimError
        As `snapsim.read_trace`.
    """
    options = reading.options()
    from snapsim.traces.formats import open_trace, read_trace

    path = named(path)
    read = read_trace if size_of(path) <= _IN_MEMORY else open_trace
    with bar(f"reading {path.name}", unit="B") as progress, worded():
        return read(path, progress=progress, **options)


def named(path: Path) -> Path:
    """Return the path that was typed, or that of the recording or fetched file that @NAME stands for.

    Parameters
    ----------
    path : Path
        As typed; a file that is called so comes first.

    Returns
    -------
    Path
        Of a trace.

    Raises
    ------
    UsageError
        There is none of that name, or it was not fetched.
    """
    if not str(path).startswith("@") or path.exists():
        return path
    from snapsim.cli.data import files_of

    files = files_of(str(path).removeprefix("@"))
    if len(files) > 1:
        raise UsageError(f"{path} has {len(files)} files: give one of {', '.join(map(str, files))}")
    return files[0]


def size_of(path: Path) -> int:
    """Return the bytes that a file, or all files of a folder, take; 0 if there is none."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def summary_of(trace: "Trace") -> "Summary | ChangeFigures":
    """Count what a trace holds.

    Parameters
    ----------
    trace : Trace
        What was read.

    Returns
    -------
    Summary or ChangeFigures
        Its figures.
    """
    from snapsim.traces.changes import ChangeTrace
    from snapsim.traces.summary import summarise

    if isinstance(trace, ChangeTrace):
        from snapsim.traces.change_figures import change_figures

        return change_figures(trace)
    with bar("looking", unit="requests") as progress:
        return summarise(trace, progress=progress)


def contents_of(trace: "Trace") -> "Contents | None":
    """Count what the content digests of a trace say.

    Parameters
    ----------
    trace : Trace
        What was read.

    Returns
    -------
    Contents or None
        None where it has no digests.
    """
    if not trace.info.contents:
        return None
    from snapsim.traces.contents import contents

    with bar("comparing contents", unit="requests") as progress:
        return contents(trace, progress=progress)


def findings_of(summary: "Summary | ChangeFigures") -> "list[Finding]":
    """Say what looks wrong with a trace, in terms of options.

    Parameters
    ----------
    summary : Summary or ChangeFigures
        Its figures.

    Returns
    -------
    list of Finding
        The sanity report.
    """
    from snapsim.traces.figures import Summary
    from snapsim.traces.sanity import sanity

    found = sanity(summary) if isinstance(summary, Summary) else summary.findings()
    return [finding._replace(text=as_options(finding.text)) for finding in found]


def warn_about(path: Path, trace: "Trace") -> None:
    """Warn of a trace that has probably been misread, on standard error.

    A stored trace was looked at when it was stored.

    Parameters
    ----------
    path : Path
        Where it came from.
    trace : Trace
        What was read.
    """
    from snapsim.traces.store import is_stored

    if is_stored(named(path)):
        return
    for finding in findings_of(summary_of(trace)):
        if finding.level == "warning":
            warn(f"{path}: {finding.text}")
