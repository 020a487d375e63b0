"""Sections to one HTML file that needs nothing from elsewhere, written whole or not at all."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import jinja2

from snapsim._version import __version__
from snapsim.engine.lifetimes import LifetimeMatrix
from snapsim.planning.growth import Growth
from snapsim.planning.replay import Replayed
from snapsim.report.blocks import Section
from snapsim.report.growth_sections import growth_answer, growth_sections, growth_title, provenance_section
from snapsim.report.replay_sections import replay_answer, replay_sections, replay_title
from snapsim.report.trace_sections import about_trace
from snapsim.traces.trace import Trace
from snapsim.viz.figure import write_atomically


def write(
    growth: Growth,
    path: str | os.PathLike[str],
    *,
    trace: Trace | None = None,
    lifetimes: LifetimeMatrix | None = None,
    title: str | None = None,
) -> Path:
    """Write the answer of `growth` as one HTML page.

    Parameters
    ----------
    growth : Growth
        The answer.
    path : str or path
        The file to write; its folder must exist.
    trace : Trace, optional
        The trace behind the answer; with it the page shows the trace's figures, its sanity report and its
        dropped lines.
    lifetimes : LifetimeMatrix, optional
        Drawn as a heat map.
    title : str, optional
        The page's heading.

    Returns
    -------
    pathlib.Path
        Where the page is.

    Raises
    ------
    UsageError
        The file cannot be written; what was there before stays as it was.
    """
    sections = list(growth_sections(growth, lifetimes))
    if trace is not None:
        sections += about_trace(trace)[1]
    sections.append(provenance_section(growth.provenance))
    return _write(path, title or growth_title(growth), growth_answer(growth), sections)


def write_replay(
    replayed: Replayed,
    path: str | os.PathLike[str],
    *,
    trace: Trace | None = None,
    title: str | None = None,
) -> Path:
    """Write the answer of `replay` as one HTML page.

    Parameters
    ----------
    replayed : Replayed
        The answer.
    path : str or path
        The file to write; its folder must exist.
    trace : Trace, optional
        The trace behind the answer; with it the page shows the trace's figures and its sanity report.
    title : str, optional
        The page's heading.

    Returns
    -------
    pathlib.Path
        Where the page is.

    Raises
    ------
    UsageError
        The file cannot be written; what was there before stays as it was.
    """
    sections = list(replay_sections(replayed))
    if trace is not None:
        sections += about_trace(trace)[1]
    sections.append(provenance_section(replayed.provenance))
    return _write(path, title or replay_title(replayed), replay_answer(replayed), sections)


def write_trace(trace: Trace, path: str | os.PathLike[str], *, title: str | None = None) -> Path:
    """Write what a trace is as one HTML page.

    Parameters
    ----------
    trace : Trace
        The trace; one volume or several.
    path : str or path
        The file to write; its folder must exist.
    title : str, optional
        The page's heading.

    Returns
    -------
    pathlib.Path
        Where the page is.

    Raises
    ------
    UsageError
        The trace holds no request, or the file cannot be written.
    """
    answer, sections = about_trace(trace)
    return _write(path, title or f"Trace {trace.info.source}", answer, sections)


def _write(path: str | os.PathLike[str], title: str, answer: str, sections: Sequence[Section]) -> Path:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("snapsim.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("page.html.j2").render(
        title=title,
        answer=answer,
        sections=[one for one in sections if one.blocks],
        version=__version__,
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    return write_atomically(Path(path), page.encode())
