"""The sections of a page that tell about a trace."""

from collections.abc import Iterator

from snapsim import viz
from snapsim.report.blocks import Items, Section, Table, bullets, facts, picture, section
from snapsim.traces import statistics
from snapsim.traces.change_figures import change_figures
from snapsim.traces.changes import ChangeTrace, between
from snapsim.traces.info import TraceInfo, kinds_text
from snapsim.traces.pacing import pace
from snapsim.traces.statistics import Summary
from snapsim.traces.trace import Trace
from snapsim.units import format_duration, format_size

_PAGE = 4096


def about_trace(trace: Trace) -> tuple[str, list[Section]]:
    """Return everything that a page tells about a trace.

    Parameters
    ----------
    trace : Trace
        The trace; of a change trace the figures of what changed.

    Returns
    -------
    answer : str
        What it holds, in a sentence or two.
    sections : list of Section
        In the order of the page.
    """
    if isinstance(trace, ChangeTrace):
        figures = change_figures(trace)
        table = facts(f"What {figures.source} holds", figures.rows())
        told = bullets(tuple(text for _, text in figures.findings()))
        return " ".join(between(trace)), [section("trace", "The changes", table, told)]
    summary = statistics.summarise(trace)
    return trace_answer(summary), [trace_figures(trace, summary), *trace_sections(trace, summary)]


def trace_answer(summary: Summary) -> str:
    """Say in a sentence or two what a trace holds."""
    return (
        f"{summary.requests:,} requests in {_span(summary)}, "
        f"{summary.write_share:.1%} of them writes: {format_size(summary.written_bytes)} written to "
        f"{format_size(summary.distinct_written_bytes[_PAGE])} of distinct 4 KiB blocks."
    )


def trace_figures(trace: Trace, summary: Summary) -> Section:
    """Return the figures of a trace; of several volumes, those that make sense for the sum."""
    single = len(trace.volumes) == 1
    drawn = [viz.trace_overview(trace), viz.address_over_time(trace)] if single else []
    drawn += [viz.change_rate(trace), viz.working_set(trace)] if not single else []
    if summary.written_bytes and summary.span_ns > 0:
        drawn.append(viz.change_rate_by_interval(trace))
    return section("trace-figures", "The trace in pictures", *map(picture, drawn))


def trace_sections(trace: Trace, summary: Summary) -> Iterator[Section]:
    """Yield what is known about a trace: its figures in numbers, what looks wrong, which lines were dropped.

    Parameters
    ----------
    trace : Trace
        The trace.
    summary : Summary
        What `statistics.summarise(trace)` returned.

    Yields
    ------
    Section
        In the order of the page.
    """
    findings = statistics.sanity(summary)
    yield section(
        "trace",
        "The trace",
        facts(f"What {summary.source} holds", _numbers(summary)),
        _volumes(summary),
    )
    yield section(
        "sanity",
        "Does the trace look right?",
        Items(
            tuple(
                ({"ok": "", "note": "Note:", "warning": "Warning:"}[level], text) for level, text in findings
            )
        ),
        _drops(summary),
    )
    yield section("reading", "How the trace was read", _options(trace), bullets(trace.info.notes))


def _numbers(summary: Summary) -> list[tuple[str, str]]:
    capacity = summary.capacity_bytes
    distinct = {
        f"Distinct bytes written, blocks of {format_size(size)}": format_size(written)
        for size, written in summary.distinct_written_bytes.items()
    }
    factor = summary.overwrite_factor
    return [
        ("Format", summary.format),
        ("Starts", summary.start or "not recorded"),
        ("Lasts", _span(summary)),
        ("Requests", f"{summary.requests:,}"),
        ("Reads", f"{summary.reads:,} ({format_size(summary.read_bytes)})"),
        ("Writes", f"{summary.writes:,} ({format_size(summary.written_bytes)})"),
        ("Discards", f"{summary.discards:,} ({format_size(summary.discarded_bytes)})"),
        ("Flushes", f"{summary.flushes:,}"),
        *distinct.items(),
        ("Each byte was written", "never" if factor is None else f"{factor:.3g} times on average"),
        ("Capacity", "not recorded" if capacity is None else format_size(capacity)),
        ("Highest byte", format_size(summary.max_end_bytes)),
        ("Not 4 KiB aligned", f"{summary.unaligned_4k_share:.1%} of requests"),
    ]


def _span(summary: Summary) -> str:
    span = format_duration(summary.span_ns)
    return span if summary.time_scale == 1 else f"{span} ({pace(summary.time_scale)})"


def _volumes(summary: Summary) -> Table | None:
    if len(summary.volumes) < 2:
        return None
    rows = tuple(
        (
            name,
            f"{one.requests:,}",
            f"{one.write_share:.1%}",
            format_size(one.written_bytes),
            format_size(one.distinct_written_bytes[_PAGE]),
        )
        for name, one in summary.volumes.items()
    )
    head = ("Volume", "Requests", "Writes", "Written", "Distinct 4 KiB blocks written")
    return Table("Volumes", head, rows, frozenset({1, 2, 3, 4}))


def _drops(summary: Summary) -> Table | None:
    if not summary.drops:
        return None
    rows = tuple((drop.file, f"{drop.line:,}", drop.field, drop.reason) for drop in summary.drops)
    shown = f"the first {len(rows)}" if len(rows) < summary.dropped_lines else "all of them"
    return Table(
        f"Damaged lines that were dropped: {summary.dropped_lines:,}, {shown} below",
        ("File", "Line", "Field", "Reason"),
        rows,
        frozenset({1}),
    )


def _skipped(info: TraceInfo) -> str:
    kinds = f" ({kinds_text(info.skipped_kinds)})" if info.skipped_kinds else ""
    return f"{info.skipped_lines:,}{kinds}"


def _options(trace: Trace) -> Table:
    info = trace.info
    rows = [
        ("Fingerprint", info.fingerprint),
        ("Lines skipped (headers, other events)", _skipped(info)),
        ("Lines dropped (damaged)", f"{info.dropped_lines:,}"),
        ("Requests out of order in the file", f"{info.out_of_order:,}"),
        ("Alignment shift", format_size(info.shift_bytes)),
        ("Time scale", "1" if info.time_scale == 1 else pace(info.time_scale)),
        *info.options.items(),
    ]
    return facts("Reader, units and options in force", rows)
