"""`snapsim data`: the traces that come with snapsim, and where public ones are found."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from snapsim.cli.app import group
from snapsim.cli.output import print_json, print_table
from snapsim.cli.reading import Json
from snapsim.cli.wording import known
from snapsim.errors import UsageError

if TYPE_CHECKING:
    from snapsim.traces.library import PublicFile, PublicSet, Recording

__all__ = ["app", "fetch", "files_of", "list_data", "path", "show"]

app = group("data", "Find traces: those that come with snapsim, and public ones.")

Name = Annotated[str, Parameter(metavar="NAME")]


@app.command(name="list")
def list_data(*, as_json: Json = False) -> None:
    """List the recordings that come with snapsim, and public sets.

    Parameters
    ----------
    as_json : bool
        Print JSON, with licences and citations.
    """
    from snapsim.traces.library import public_sets, recordings

    if as_json:
        print_json({
            "recordings": [_recording_facts(one) for one in recordings().values()],
            "sets": [_set_facts(one) for one in public_sets().values()],
        })  # fmt: skip
        return
    from snapsim.units import format_size

    print("Recorded by this project, and here:\n")
    print_table(
        ("name", "time", "requests", "written", "has"),
        [
            (one.name, _time(one), f"{one.requests:,}", format_size(one.written_bytes), ", ".join(one.has))
            for one in recordings().values()
        ],
        below=[one.title for one in recordings().values()],
    )
    print("\nEvery command that reads a trace takes @NAME.\nsnapsim data path NAME says where the file is.")
    print("\nPublished by others, and not here:\n")
    print_table(
        ("name", "format", "how to get it"),
        [(one.name, one.format, _way(one)) for one in public_sets().values()],
        below=[one.title for one in public_sets().values()],
    )
    print("\nsnapsim data show NAME says all about one: licence, citation, what you get.")


@app.command
def show(name: Name, /, *, as_json: Json = False) -> None:
    """Say everything about a recording or a public set: terms, citation, where it is.

    Parameters
    ----------
    name : str
        As snapsim data list says it.
    as_json : bool
        Print JSON.
    """
    one = _find(name)
    from snapsim.traces.library import PublicSet

    facts = _set_facts(one) if isinstance(one, PublicSet) else _recording_facts(one)
    if as_json:
        print_json(facts)
        return
    rows = _set_rows(one) if isinstance(one, PublicSet) else _recording_rows(one)
    width = max(len(head) for head, _ in rows)
    print("\n".join(f"{head:<{width}}  {text}" for head, text in rows))


@app.command
def path(
    name: Name,
    /,
    *,
    part: Annotated[Literal["trace", "initial-map", "provenance"], Parameter(name="--part")] = "trace",
    as_json: Json = False,
) -> None:
    """Print where a recording is, or a public set that was fetched.

    Parameters
    ----------
    name : str
        As snapsim data list says it.
    part : str
        Of a recording: the trace, what was allocated before it (for --initial), or how it was recorded.
    as_json : bool
        Print JSON.

    Raises
    ------
    UsageError
        There is none of that name, or it was not fetched.
    """
    found = files_of(name, part)
    if as_json:
        print_json({"name": name, "paths": found})
    else:
        print("\n".join(map(str, found)))


@app.command
def fetch(
    name: Name,
    /,
    *,
    file: Annotated[str | None, Parameter(metavar="FILE")] = None,
    to: Annotated[Path | None, Parameter(metavar="FOLDER")] = None,
    sha256: Annotated[str | None, Parameter(metavar="HEX")] = None,
    yes: bool = False,
    as_json: Json = False,
) -> None:
    """Download a public set, after saying what, from where, how large it is and on what terms.

    Asks first; where nobody can be asked, --yes is needed.  What is there already stays as it is.

    Parameters
    ----------
    name : str
        As snapsim data list says it.
    file : str or None
        Only this file of the set.
    to : Path or None
        Where to put it, instead of the cache (SNAPSIM_DATA_DIR names another one).
    sha256 : str or None
        What the file's SHA-256 has to be, instead of what snapsim knows.
    yes : bool
        Do not ask.
    as_json : bool
        Print JSON.

    Raises
    ------
    UsageError
        It cannot be downloaded like this, or nobody agreed.
    """
    from snapsim.traces.fetching import downloads, fetched, place, sha256_of
    from snapsim.traces.fetching import fetch as download
    from snapsim.traces.library import PublicSet

    one = _find(name)
    if not isinstance(one, PublicSet):
        raise UsageError(f"{name} comes with snapsim, there is nothing to fetch: it is {one.path}")
    if to is not None and not to.is_dir():
        raise UsageError(f"{to} is no folder: make it first")
    wanted = downloads(one, file=file, sha256=sha256)
    missing = [each for each in wanted if not fetched(one, each, to)]
    if missing:
        _announce(one, missing, to)
        _agree(yes=yes)
    told = []
    for each in wanted:
        where = download(one, each, to)
        told.append({
            "file": each.name, "path": where, "sha256": sha256_of(where), "pinned": bool(each.sha256),
            "downloaded": each in missing,
        })  # fmt: skip
    if as_json:
        print_json({"name": name, "files": told})
        return
    for each, got in zip(wanted, told, strict=True):
        how = "downloaded" if got["downloaded"] else "there already"
        checked = "as pinned" if got["pinned"] else f"not pinned: --sha256 {got['sha256']} would"
        print(f"{place(one, each, to)}\n  {how}; SHA-256 {checked}; read with --format {one.format}")


def _announce(one: "PublicSet", missing: "list[PublicFile]", to: Path | None) -> None:
    from snapsim.traces.fetching import place
    from snapsim.units import format_size

    lines = [f"{one.title} ({one.name})", f"licence: {one.licence}", f"cite: {one.citation}"]
    for each in missing:
        pinned = f"SHA-256 {each.sha256}" if each.sha256 else "no known SHA-256"
        lines += [
            f"download {each.address}",
            f"  {format_size(each.size_bytes)}, {pinned}, to {place(one, each, to)}",
        ]
    print("\n".join(lines), file=sys.stderr, flush=True)


def _agree(*, yes: bool) -> None:
    """Ask, or refuse where nobody can be asked."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("nothing was downloaded, because nobody can be asked here: add --yes to agree")
    print("Download? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise UsageError("nothing was downloaded")


def _find(name: str) -> "Recording | PublicSet":
    from snapsim.traces.library import public_sets, recordings

    everything: dict[str, Recording | PublicSet] = {**recordings(), **public_sets()}
    return everything[known("recording or public set", name.removeprefix("@"), list(everything))]


def files_of(name: str, part: str = "trace") -> list[Path]:
    """Return where the files of a recording, or of a public set that was fetched, are.

    Parameters
    ----------
    name : str
        As snapsim data list says it.
    part : {"trace", "initial-map", "provenance"}
        Of a recording; public sets have traces only.

    Returns
    -------
    list of Path
        One or more.

    Raises
    ------
    UsageError
        There is none of that name, or it was not fetched.
    """
    one = _find(name)
    from snapsim.traces.fetching import fetched, place
    from snapsim.traces.library import PublicSet

    if not isinstance(one, PublicSet):
        return [{"trace": one.path, "initial-map": one.initial_map, "provenance": one.provenance_path}[part]]
    if part != "trace":
        raise UsageError(f"{name} is a public set: only recordings have what --part {part} prints")
    found = [place(one, each) for each in one.files if fetched(one, each)]
    if not found:
        if one.files:
            raise UsageError(f"{one.name} was not fetched yet: snapsim data fetch {one.name} does")
        raise UsageError(f"{one.name} is not here: go to {one.home} and {one.agree}")
    return found


def _time(one: "Recording") -> str:
    """Write how long a recording is; of a paced one, what it stands for, how long it took, and its scale."""
    from snapsim.units import SECOND, format_duration

    span, real = (
        format_duration(round(seconds * SECOND)) for seconds in (one.span_seconds, one.real_seconds)
    )
    return span if one.time_scale == 1 else f"{span} ({real} x{one.time_scale:g})"


def _way(one: "PublicSet") -> str:
    return "snapsim data fetch" if one.files else "its page"


def _recording_facts(one: "Recording") -> dict[str, Any]:
    return {**asdict(one), "real_seconds": one.real_seconds}


def _set_facts(one: "PublicSet") -> dict[str, Any]:
    return {**asdict(one), "fetch": bool(one.files)}


def _recording_rows(one: "Recording") -> list[tuple[str, str]]:
    from snapsim.units import format_size

    return [
        ("name", one.name),
        ("what it is", one.title),
        ("what is in it", one.about),
        ("time", one.span),
        ("requests", f"{one.requests:,}, {format_size(one.written_bytes)} written"),
        ("has", ", ".join(one.has) or "neither discards nor digests"),
        ("licence", one.licence),
        ("trace", str(one.path)),
        ("initial map", str(one.initial_map)),
        ("provenance", str(one.provenance_path)),
        ("fingerprint", one.fingerprint),
    ]


def _set_rows(one: "PublicSet") -> list[tuple[str, str]]:
    from snapsim.units import format_size

    rows = [
        ("name", one.name),
        ("what it is", one.title),
        ("what you get", one.gives),
        ("format", one.format),
        ("home page", one.home),
        ("licence", one.licence),
        ("cite", one.citation),
    ]
    if one.agree:
        rows.append(("to get it", f"go to the home page and {one.agree}"))
    for each in one.files:
        rows += [
            ("file", f"{each.name}, {format_size(each.size_bytes)}"),
            ("", each.address),
            ("", f"SHA-256 {each.sha256}" if each.sha256 else "no known SHA-256: pin one with --sha256"),
        ]
    return rows
