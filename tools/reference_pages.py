"""Write the pages of `docs/reference/` from the code: what they say cannot be out of date.

Usage: ``python tools/reference_pages.py`` writes the pages; a test fails when one differs from the code.
"""

import contextlib
import inspect
import io
import os
import re
import sys
import types
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"
WIDTH = 100  # of the command line's help

os.environ["COLUMNS"] = str(WIDTH)  # before the command line is imported

import snapsim as ss  # noqa: E402  see above
from snapsim import errors, schema  # noqa: E402
from snapsim.cli import running  # noqa: E402
from snapsim.devices import Device  # noqa: E402
from snapsim.mechanisms import Mechanism  # noqa: E402
from snapsim.traces.formats import formats, open_trace, reader  # noqa: E402
from snapsim.units import format_duration, format_size  # noqa: E402

HEAD = "<!-- Written by tools/reference_pages.py: change the code that it reads, not this page. -->"


def pages() -> dict[str, str]:
    """Return every page by its file name."""
    return {
        "formats.md": _page("Trace formats", _formats()),
        "mechanisms.md": _page("Mechanisms", _mechanisms()),
        "devices.md": _page("Storage devices", _devices()),
        "quantities.md": _page("Reported quantities", _quantities()),
        "cli.md": _page("The command line", _cli()),
        "exit_codes.md": _page("Errors and exit statuses", _exit_codes()),
        "python.md": _page("Public names", _python()),
    }


def _page(title: str, parts: Iterable[str]) -> str:
    return "\n\n".join([f"# {title}", HEAD, *parts]) + "\n"


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")


def _markdown(docstring: str | None) -> str:
    """Return a docstring's text: double backquotes are single ones in Markdown."""
    return inspect.cleandoc(docstring or "").replace("``", "`").replace("::\n\n", ":\n\n")


def _first_line(docstring: str | None) -> str:
    return _markdown(docstring).split("\n\n")[0].replace("\n", " ")


# --- formats ------------------------------------------------------------------------------------------------


def _formats() -> Iterator[str]:
    yield (
        "A file's format is recognised by its contents; `format=` (`--format`) names it where it is not. "
        "gzip, xz, bzip2 and zstd are looked through. Stored traces (Parquet) are recognised too, and are "
        "what every command reads fastest."
    )
    found = formats()
    yield _table(
        ("name", "what it is", "usual endings", "units unless overridden"),
        [(f"[`{one.name}`](#{one.name})", one.title, " ".join(one.extensions), one.units) for one in found],
    )
    yield "## Options of every format"
    yield "In Python keywords of `ss.read_trace` and `ss.open_trace`, at a shell options with dashes."
    yield _section(open_trace.__doc__, "**options")
    described: dict[str, str] = {}
    for one in found:
        yield f"## {one.name}"
        own = reader(one.name)
        module = type(own).__module__
        first = described.setdefault(module, one.name)
        yield _markdown(sys.modules[module].__doc__) if first == one.name else f"See [{first}](#{first})."
        about = _first_line(vars(type(own)).get("__doc__"))
        if about and not about.startswith("Reader of"):
            yield f"`{one.name}`: {about}"
        if one.options:
            yield _table(("option", "what it says"), [(f"`{k}`", text) for k, text in one.options.items()])


def _section(docstring: str | None, name: str) -> str:
    """Return what a numpydoc docstring says about one parameter."""
    text = _markdown(docstring)
    found = re.search(rf"^{re.escape(name)}\n((?:    .*\n|\n)+)", text, re.MULTILINE)
    if found is None:
        raise LookupError(f"no parameter {name} is documented")
    return inspect.cleandoc(found[1])


# --- mechanisms ---------------------------------------------------------------------------------------------

_SHARING = {
    "shared": "one store, in which all snapshots share versions",
    "layers": "a layer for each snapshot, on top of the one before",
    "private": "a store for each snapshot, nothing shared between them",
    "detached": "a copy elsewhere, in increments",
}
_DELETION = {
    "drop": "the space is free at once",
    "async": "the space is freed in the background",
    "merge": "the layer is first copied into its neighbour",
}


def _mechanisms() -> Iterator[str]:
    yield (
        "What each system does with blocks, tables and pool space, as data: one TOML file each. "
        "**Validated** means compared with the real system and found equal, or as near as the text says. "
        "**Modelled** means taken from source code, a specification or documentation, and never compared "
        "with a running system."
    )
    found = [ss.mechanism(name) for name in ss.mechanisms()]
    yield _table(
        ("name", "system", "family", "data is kept as", "block", "data formula"),
        [
            (
                f"[`{one.name}`](#{one.name})",
                one.title,
                one.family,
                one.sharing,
                f"{format_size(one.block_size)} {one.block.name}",
                _status(one),
            )
            for one in found
        ],
    )
    for one in found:
        yield from _mechanism(one)


def _status(one: Mechanism) -> str:
    if not one.validated:
        return "modelled"
    return "validated as a lower bound" if one.lower_bound else "validated"


def _mechanism(one: Mechanism) -> Iterator[str]:
    yield f"## {one.name}"
    low, high = format_size(one.block.minimum), format_size(one.block.maximum)
    limits = {"advised": one.limits.advised, "refused above": one.limits.hard}
    known = ", ".join(f"{what} {count:,}" for what, count in limits.items() if count)
    facts = {
        "system": one.title,
        "data": _SHARING[one.sharing],
        "block": f"{one.block.name} of {format_size(one.block_size)}; possible: "
        + (low if low == high else f"{low} to {high}"),
        "overwriting": "copies the old block aside" if one.copies_old_data else "copies no old data",
        "deleting": _DELETION[one.deletion.kind],
        "metadata formula": f"`{one.metadata.kind}`",
        "file length": one.file_length,
        "snapshots": known or "no limit known",
        "block model": "a lower bound" if one.lower_bound else "exact within what is said below",
        "options": ", ".join(f"`{name}={value}`" for name, value in one.options().items()) or "none",
    }
    yield _table(("", ""), facts.items())
    yield "Counted as:"
    yield _table(
        ("matrix", "block", "a DISCARD is", "a WRITE_ZEROES is", "before the trace"),
        [
            (need.name, format_size(need.block_size), need.discard, need.zeroes, need.initial or "as asked")
            for need in one.matrices()
        ],
    )
    yield "Evidence:"
    evidence = [(item.about, item.status, item.source) for item in one.evidence]
    yield _table(("about", "status", "where it comes from"), evidence)
    if one.caveats:
        yield "Keep in mind:"
        yield "\n".join(f"- {text}" for text in one.caveats)


# --- devices ------------------------------------------------------------------------------------------------


def _devices() -> Iterator[str]:
    yield (
        "How long storage devices take, as data: one TOML file each. **Data sheet** is what a maker "
        "promises, **literature** what others published, **measured here** what `snapsim device measure` "
        "found, and **assumed** what nobody measured: a plausible figure that a measurement should replace."
    )
    found = [ss.device(name) for name in ss.devices()]
    yield _table(
        ("name", "device", "requests at a time", "next request"),
        [(f"[`{one.name}`](#{one.name})", one.title, one.channels, _order(one)) for one in found],
    )
    for one in found:
        yield f"## {one.name}"
        yield _table(("", "random", "sequential", "rate of a channel", "at most"), _accesses(one))
        facts = {
            "capacity": format_size(one.capacity),
            "flush": format_duration(one.flush),
            "discard": format_duration(one.discard),
            "write zeroes": f"as a {one.zeroes}",
            **_mechanics(one),
        }
        yield _table(("", ""), facts.items())
        yield "Evidence:"
        evidence = [(item.about, item.status, item.source) for item in one.evidence]
        yield _table(("about", "status", "where it comes from"), evidence)
        if one.caveats:
            yield "Keep in mind:"
            yield "\n".join(f"- {text}" for text in one.caveats)


def _order(one: Device) -> str:
    return f"the nearest of {one.queue_depth}" if one.order == "nearest" else "the first that came"


def _accesses(one: Device) -> Iterator[tuple[str, ...]]:
    for name, access in (("read", one.read), ("write", one.write)):
        most = [f"{access.operations:,} a second"] if access.operations else []
        most += [f"{format_size(access.throughput)}/s"] if access.throughput else []
        times = format_duration(access.random), format_duration(access.sequential)
        yield name, *times, f"{format_size(access.rate)}/s" if access.rate else "", ", ".join(most)


def _mechanics(one: Device) -> dict[str, str]:
    facts = {}
    if one.mechanics.rpm:
        part = one.mechanics
        seeks = part.track_to_track, part.average_seek, part.full_stroke
        facts["revolutions a minute"] = f"{part.rpm:,}"
        facts["seeks: next track, average, full stroke"] = ", ".join(format_duration(each) for each in seeks)
        facts["rate at the inner edge"] = f"{part.inner_share:.0%} of that at the outer edge"
    if one.cold.unit:
        facts["first read of a cold block"] = (
            f"{format_duration(one.cold.penalty)} more for each {format_size(one.cold.unit)}"
        )
    return facts


# --- quantities ---------------------------------------------------------------------------------------------


def _quantities() -> Iterator[str]:
    yield (
        "Every column of a result frame has this name, dtype and unit; axes, tables and JSON keys use the "
        "same ones. A unit of 1 is a count or a ratio."
    )
    yield _table(
        ("name", "dtype", "unit", "called", "meaning"),
        [(f"`{one.name}`", one.dtype, one.unit, one.label, one.doc) for one in schema.QUANTITIES.values()],
    )


# --- command line -------------------------------------------------------------------------------------------


def _cli() -> Iterator[str]:
    from snapsim.cli.app import app

    yield "What `--help` prints, command by command. Exit statuses have [a page of their own](exit_codes.md)."
    for path in [(), *_commands(app, ())]:
        words = " ".join(("snapsim", *path))
        yield f"## {words}"
        yield f"```text\n{_help(path)}\n```"


def _commands(app: object, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for name in app:  # type: ignore[attr-defined]
        if not name.startswith("-"):
            yield (*path, name)
            yield from _commands(app[name], (*path, name))  # type: ignore[index]


def _help(path: tuple[str, ...]) -> str:
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        status = running.main([*path, "--help"])
    if status:
        raise RuntimeError(f"snapsim {' '.join(path)} --help left with status {status}")
    return "\n".join(line.rstrip() for line in output.getvalue().strip().splitlines())


# --- errors -------------------------------------------------------------------------------------------------


def _exit_codes() -> Iterator[str]:
    yield (
        "The command line prints one line to standard error, `snapsim: error: ...`, and leaves with the "
        "status of the error. It never shows a traceback for a user's mistake; `--debug` shows where an "
        "error was raised."
    )
    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    by_status: dict[int, list[str]] = {}
    for one in classes:
        by_status.setdefault(one.exit_status, []).append(f"`{one.__name__}`")
    others = {
        0: "done",
        running.FAILED: "failed: a bug, or the operating system refused something",
        running.USAGE: "a mistake in the command line, a policy or a mechanism file",
        3: "a trace that cannot be read or stored",
        running.NO_MEMORY: "not enough memory",
        running.INTERRUPTED: "interrupted (Ctrl-C)",
        running.BROKEN_PIPE: "nobody reads the output",
        running.TERMINATED: "terminated",
    }
    yield _table(
        ("status", "meaning", "errors in Python"),
        [(status, text, ", ".join(by_status.get(status, []))) for status, text in sorted(others.items())],
    )
    yield "## Errors in Python"
    yield "All are in `ss.errors`; `except ss.errors.SnapsimError` catches every one."
    tree = [(one.__name__, one.__bases__[0].__name__, _first_line(one.__doc__)) for one in classes]
    yield _table(("error", "is a", "meaning"), [(f"`{one}`", f"`{base}`", text) for one, base, text in tree])


# --- public names -------------------------------------------------------------------------------------------


def _python() -> Iterator[str]:
    yield (
        "`import snapsim as ss` gives these; `help(ss.growth)` has parameters, units, errors and an example."
    )
    names = [name for name in ss.__all__ if name != "__version__"]
    values = {name: _public(name) for name in names}
    functions = {name: value for name, value in values.items() if inspect.isfunction(value) or _cached(value)}
    kinds = {name: value for name, value in values.items() if isinstance(value, type)}
    modules = {name: value for name, value in values.items() if isinstance(value, types.ModuleType)}
    constants = {name: value for name, value in values.items() if isinstance(value, int)}
    yield "## Functions"
    yield _summary({f"{name}({_parameters(value)})": value for name, value in functions.items()})
    yield "## Types"
    yield _summary(kinds)
    yield "## Op codes"
    yield _table(("name", "code"), [(f"`{name}`", value) for name, value in constants.items()])
    yield "## Modules"
    for name, module in modules.items():
        yield f"### {name}\n\n{_first_line(module.__doc__)}"
        if name == "errors":
            yield "[All of them](exit_codes.md), with what the shell gets."
            continue
        defined = (each for each, value in vars(module).items() if _is_defined_in(module, value))
        public = [each for each in getattr(module, "__all__", defined) if not each.startswith("_")]
        inside = {f"{name}.{each}": getattr(module, each) for each in public}
        yield _summary({each: value for each, value in inside.items() if callable(value)})


def _public(name: str) -> object:
    """Return a public name; `snapsim.mechanisms` is a package too, which may be called."""
    value = getattr(ss, name)
    return getattr(value, name) if isinstance(value, types.ModuleType) and callable(value) else value


def _is_defined_in(module: types.ModuleType, value: object) -> bool:
    return inspect.isfunction(value) and value.__module__ == module.__name__


def _cached(value: object) -> bool:
    return hasattr(value, "__wrapped__")


def _parameters(function: object) -> str:
    return ", ".join(inspect.signature(function).parameters)  # type: ignore[arg-type]


def _summary(values: dict[str, object]) -> str:
    rows = [(f"`{name}`", _first_line(value.__doc__)) for name, value in values.items()]
    return _table(("name", "what it is"), rows)


def main() -> None:
    """Write the pages."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        path = FOLDER / name
        temporary = path.with_suffix(".tmp")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
        print(path.relative_to(FOLDER.parent.parent))


if __name__ == "__main__":
    main()
