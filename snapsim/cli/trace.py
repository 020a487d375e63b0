"""`snapsim trace`: what a trace is, what is in it, and the stored form of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from snapsim.cli.app import group
from snapsim.cli.output import check_writable, print_json, print_table
from snapsim.cli.progress import bar
from snapsim.cli.reading import File, Json, Reading, contents_of, findings_of, load, named, summary_of
from snapsim.cli.wording import worded
from snapsim.errors import UsageError

if TYPE_CHECKING:
    from snapsim.traces.sanity import Finding
    from snapsim.traces.trace import Trace

__all__ = ["app", "convert", "formats", "info", "stats"]

app = group("trace", "Look at traces, convert them, count what is in them.")

_MARKS = {"ok": "ok", "note": "note", "warning": "WARNING"}


@app.command
def info(*files: File, reading: Reading = Reading(), as_json: Json = False) -> None:  # noqa: B008  frozen
    """Say what a trace is, and what looks wrong with it.

    Wrong units are the commonest mistake with traces: read the lines marked WARNING.

    Parameters
    ----------
    *files : Path
        Each is a trace of its own.
    reading : Reading
        How to read them.
    as_json : bool
        Print JSON: an object for one file, a list for several.
    """
    told = []
    for number, file in enumerate(files):
        trace = load(file, reading)
        findings = findings_of(summary_of(trace))
        if as_json:
            told.append(_facts(trace, findings))
        else:
            print("\n" * bool(number) + f"{trace}\n{_lines(findings)}")
    if as_json:
        print_json(told if len(told) > 1 else told[0])


@app.command
def stats(*files: File, reading: Reading = Reading(), as_json: Json = False) -> None:  # noqa: B008  frozen
    """Count what a trace holds: requests, bytes, distinct bytes, alignment, contents where it has digests.

    Parameters
    ----------
    *files : Path
        Each is a trace of its own.
    reading : Reading
        How to read them.
    as_json : bool
        Print JSON: an object for one file, a list for several.
    """
    told = []
    for number, file in enumerate(files):
        trace = load(file, reading)
        summary = summary_of(trace)
        inside = contents_of(trace)
        if as_json:
            told.append(summary.to_dict() | ({"contents": inside.to_dict()} if inside else {}))
        else:
            text = f"{summary.text()}\n{inside.text()}" if inside else summary.text()
            print("\n" * bool(number) + text)
    if as_json:
        print_json(told if len(told) > 1 else told[0])


@app.command(usage="Usage: snapsim trace convert SOURCE... TARGET.parquet [OPTIONS]")
def convert(
    *files: Annotated[Path, Parameter(required=True, help="The files of one trace; last, what to write.")],
    reading: Reading = Reading(),  # noqa: B008  frozen
    as_json: Json = False,
) -> None:
    """Store a trace of any format as Parquet, which all commands read fastest.

    Works in bounded memory, and whole or not at all: what was there before stays when it fails or is
    interrupted.  Several volumes become a folder.

    Parameters
    ----------
    *files : Path
        The files that make one trace, then the stored trace to write.
    reading : Reading
        How to read them.
    as_json : bool
        Print JSON.

    Raises
    ------
    UsageError
        There is no target, or something else is in its place.
    """
    *typed, target = files
    sources = [named(source) for source in typed]
    if not sources:
        raise UsageError(f"only {target} is given: name the files to convert, and after them what to write")
    _check_target(target)
    options = reading.options()
    from snapsim.traces.formats import convert_trace

    names = sources[0].name if len(sources) == 1 else f"{len(sources)} files"
    what = sources[0] if len(sources) == 1 else sources  # one path may be a stored trace, or a folder
    with bar(f"converting {names}", unit="B") as progress, worded():
        trace = convert_trace(what, target, progress=progress, **options)
    findings = findings_of(summary_of(trace))
    if as_json:
        print_json({"target": target, **_facts(trace, findings)})
    else:
        print(f"{trace}\n{_lines(findings)}\nstored as {target}")


@app.command
def formats(*, as_json: Json = False) -> None:
    """List the formats that can be read, with their units and options.

    Parameters
    ----------
    as_json : bool
        Print JSON.
    """
    from snapsim.traces.formats import formats as all_formats

    found = all_formats()
    if as_json:
        print_json([one.__dict__ for one in found])
        return
    print_table(
        ("format", "what it is", "endings", "units"),
        [(one.name, one.title, " ".join(one.extensions), one.units) for one in found],
    )
    print("\nOptions, given as --reader-option name=value:\n")
    print_table(
        ("format", "option", "what it says"),
        [(one.name, name, text) for one in found for name, text in one.options.items()],
    )
    print("\nStored traces (parquet) are recognised too; gzip, xz, bzip2 and zstd are looked through.")


def _check_target(target: Path) -> None:
    """Refuse to write where a slip of the fingers would cost somebody a file."""
    from snapsim.traces.store import is_stored

    if target.suffix != ".parquet":
        raise UsageError(
            f"{target} is no name for a stored trace: the last file is what to write, and ends in .parquet"
        )
    if target.is_file() and not is_stored(target):
        raise UsageError(f"{target} exists and is no stored trace: choose another name, or remove it first")
    if not target.is_dir():
        check_writable(target)


def _lines(findings: "list[Finding]") -> str:
    return "\n".join(f"  {_MARKS[finding.level]:<12}  {finding.text}" for finding in findings)


def _facts(trace: "Trace", findings: "list[Finding]") -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(trace.info), "findings": [finding._asdict() for finding in findings]}
