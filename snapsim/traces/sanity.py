"""What looks wrong with a trace.  Wrong units are this field's commonest mistake: here people see them."""

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from snapsim.traces.figures import Summary
from snapsim.traces.info import kinds_text
from snapsim.traces.pacing import PACED
from snapsim.traces.summary import summarise
from snapsim.traces.trace import Trace
from snapsim.units import DAY, MIB, PIB, SECOND, format_duration, format_size

_MAX_SPAN = 3653 * DAY
_MAX_IOPS = 5_000_000
_MAX_REQUEST = 1 << 30
_MANY = 1000


class Finding(NamedTuple):
    """One line of the sanity report.

    Attributes
    ----------
    level : {"ok", "note", "warning"}
        "note" is worth knowing; "warning" means that the trace has probably been misread.
    text : str
        One or two sentences: the fact, and what to do about it.
    """

    level: Literal["ok", "note", "warning"]
    text: str

    def __str__(self) -> str:
        """Show the level and the text, for a line of a report."""
        return f"{self.level:<7}  {self.text}"


def sanity(trace: Trace | Summary) -> list[Finding]:
    """Say what a trace looks like and what is implausible about it.

    Parameters
    ----------
    trace : Trace or Summary
        The trace, or its summary, which saves the pass over it.

    Returns
    -------
    list of Finding
        Span, addresses, rate, mix, request sizes, alignment, clock, lines, assumptions: in this order.
    """
    summary = trace if isinstance(trace, Summary) else summarise(trace)
    if summary.requests == 0:
        return [Finding("warning", "the trace holds no request"), *_lines(summary)]
    return [finding for check in _CHECKS for finding in check(summary)]


def _span(summary: Summary) -> Iterator[Finding]:
    begin = f" from {summary.start}" if summary.start else ""
    fact = f"spans {format_duration(summary.span_ns)}{begin}"
    if summary.requests > 1 and summary.span_ns < SECOND:
        yield Finding(
            "warning", f"{fact}: less than a second; is the time unit coarser than assumed (`time_unit`)?"
        )
    elif summary.span_ns > _MAX_SPAN:
        yield Finding(
            "warning", f"{fact}: more than ten years; is the time unit finer than assumed (`time_unit`)?"
        )
    else:
        yield Finding("ok", fact)
    if summary.longest_gap_ns > max(summary.span_ns // 2, DAY):
        yield Finding(
            "warning",
            f"has no request for {format_duration(summary.longest_gap_ns)}: is a time stamp corrupt?",
        )


def _addresses(summary: Summary) -> Iterator[Finding]:
    fact = f"the highest byte lies at {format_size(summary.max_end_bytes)}"
    if summary.capacity_bytes is not None:
        fact += f" of {format_size(summary.capacity_bytes)}"
    if summary.max_end_bytes > PIB:
        yield Finding(
            "warning", f"{fact}: more than 1 PiB; are addresses bytes, not sectors (`address_unit`)?"
        )
    elif summary.max_end_bytes < 16 * MIB and summary.requests >= _MANY:
        yield Finding(
            "note", f"{fact}: very little for a disk; are addresses sectors, not bytes (`address_unit`)?"
        )
    else:
        yield Finding("ok", fact)
    if summary.unaligned_512:
        yield Finding(
            "warning",
            f"{summary.unaligned_512:,} requests do not begin and end at multiples of 512 bytes; "
            "are addresses or lengths in sectors (`address_unit`, `length_unit`)?",
        )


def _rate(summary: Summary) -> Iterator[Finding]:
    if summary.mean_iops is None:
        return
    fact = f"{summary.mean_iops:,.4g} requests a second on average"
    if summary.mean_iops > _MAX_IOPS:
        yield Finding(
            "warning",
            f"{fact}: more than any disk serves; is the time unit coarser than assumed (`time_unit`)?",
        )
    else:
        yield Finding("ok", fact)


def _mix(summary: Summary) -> Iterator[Finding]:
    fact = f"{summary.write_share:.1%} of the requests write"
    if summary.writes == 0:
        yield Finding(
            "warning", f"{fact}: nothing is ever written; is the read/write flag taken the right way round?"
        )
    elif summary.reads == 0:
        yield Finding(
            "note", f"{fact}: the trace has no reads, which means that a cache or a filter took them out"
        )
    else:
        yield Finding("ok", fact)
    if summary.discards == 0:
        yield Finding("note", "the trace has no discards: space that the guest freed stays in every figure")


def _sizes(summary: Summary) -> Iterator[Finding]:
    if not summary.longest_bytes:
        return
    shortest, longest = summary.shortest_bytes, summary.longest_bytes
    if shortest == longest:
        fact = f"every request is {format_size(longest)} long"
    else:
        fact = f"requests are {format_size(shortest)} to {format_size(longest)} long"
    if longest < 512:
        yield Finding(
            "warning", f"{fact}: less than a sector; are lengths sectors, not bytes (`length_unit`)?"
        )
    elif longest > _MAX_REQUEST:
        yield Finding(
            "warning",
            f"{fact}: more than a disk takes at once; are lengths bytes, not sectors (`length_unit`)?",
        )
    elif shortest == longest and summary.requests >= _MANY:
        yield Finding("note", f"{fact}: the trace was split or rounded to that size")
    else:
        yield Finding("ok", fact)


def _alignment(summary: Summary) -> Iterator[Finding]:
    fact = f"{summary.unaligned_4k_share:.1%} of the requests are not aligned to 4 KiB"
    residue, count = next(iter(summary.write_residues.items()), (0, 0))
    if residue and 2 * count > summary.writes:
        share = count / summary.writes
        yield Finding(
            "note",
            f"{fact}: {share:.0%} of the writes lie at {residue} modulo 4096, as in a partition that begins "
            f"off a block boundary; reading with `shift={4096 - residue}` aligns them",
        )
    elif 2 * summary.unaligned_4k_share > 1:
        yield Finding("note", f"{fact}: in 4 KiB blocks or larger ones, many blocks are written in part")
    else:
        yield Finding("ok", fact)


def _clock(summary: Summary) -> Iterator[Finding]:
    if summary.out_of_order:
        share = summary.out_of_order / summary.requests
        level: Literal["note", "warning"] = "warning" if share > 0.1 else "note"
        yield Finding(
            level,
            f"the clock steps back {summary.out_of_order:,} times in file order; the requests were sorted",
        )
    else:
        yield Finding("ok", "the clock never steps back")


def _lines(summary: Summary) -> Iterator[Finding]:
    if summary.dropped_lines:
        example = f"; the first: {summary.drops[0]}" if summary.drops else ""
        yield Finding("note", f"damaged lines dropped: {summary.dropped_lines:,}{example}")
    else:
        yield Finding("ok", "no line is damaged")
    if summary.skipped_lines:
        yield Finding(
            "ok",
            f"lines that are no requests: {summary.skipped_lines:,} ({kinds_text(summary.skipped_kinds)})",
        )


def _assumptions(summary: Summary) -> Iterator[Finding]:
    if summary.start_ns is None:
        yield Finding("note", "the trace does not say when it began: 2001-01-01T00:00Z is assumed")
    if summary.time_scale != 1 and not any(note.startswith(PACED) for note in summary.notes):
        yield Finding(
            "note", f"the recording was paced: each second of it stands for {summary.time_scale:g} seconds"
        )
    if summary.shift_bytes:
        yield Finding("note", f"addresses were shifted by {summary.shift_bytes} bytes")
    yield from (Finding("note", note) for note in summary.notes)


_CHECKS: tuple[Callable[[Summary], Iterator[Finding]], ...] = (
    _span, _addresses, _rate, _mix, _sizes, _alignment, _clock, _lines, _assumptions,
)  # fmt: skip
