"""Represented time: a recording whose activity was paced stands for a longer time than it took.

The times of a paced recording are multiplied once, by `Trace.stretch`, and are the represented ones from then
on.  Its `TraceInfo.time_scale` says by how much, and everything that names the trace says it too.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from snapsim.errors import UsageError
from snapsim.traces.info import Extent, measure
from snapsim.traces.table import Table, rows_of
from snapsim.types import Batch, Int64Array
from snapsim.units import SECOND, format_duration

_INT64_MAX = 2**63 - 1
_LARGEST_DENOMINATOR = 10**6
_NUMBERS = (int, float, np.integer, np.floating)
PACED = "paced recording: one second of it stands for "
"""How the note of a paced recording begins."""


def ratio(scale: object) -> Fraction:
    """Return a time scale as a fraction, so that times are multiplied exactly.

    Parameters
    ----------
    scale : int or float
        Represented time divided by real time.

    Returns
    -------
    Fraction
        The scale itself where it is whole or a simple fraction, else the nearest one with a denominator of no
        more than a million.

    Raises
    ------
    UsageError
        It is not a positive number, or so small or large that no time is left or fits.
    """
    if not isinstance(scale, _NUMBERS) or isinstance(scale, bool) or not math.isfinite(scale) or scale <= 0:
        msg = f"time scale {scale!r} makes no sense: it is represented time divided by real time, above zero"
        raise UsageError(msg)
    exact = Fraction(int(scale) if scale == int(scale) else float(scale))
    simple = exact.limit_denominator(_LARGEST_DENOMINATOR)
    if not simple or simple > _LARGEST_DENOMINATOR:
        msg = f"time scale {scale!r} is out of range: it must lie between a millionth and a million"
        raise UsageError(msg)
    return simple


def pace(scale: float) -> str:
    """Write a time scale for people.

    Examples
    --------
    >>> pace(360.0)
    '1 s stands for 6min (x360)'
    """
    return f"1 s stands for {format_duration(round(scale * SECOND))} (x{scale:.6g})"


def pace_lines(scales: Iterable[float]) -> list[str]:
    """Write what an answer says of the pace of its recordings: a line for each time scale but 1.

    Examples
    --------
    >>> pace_lines([1.0, 360.0, 360.0])
    ['  time scale          1 s stands for 6min (x360)']
    """
    return [f"  time scale          {pace(scale)}" for scale in sorted(set(scales)) if scale != 1]


def paced_notes(notes: Sequence[str], scale: float) -> tuple[str, ...]:
    """Return a trace's notes with the one sentence about its pace, if it has one.

    Parameters
    ----------
    notes : sequence of str
        The notes before; an earlier sentence about the pace is replaced.
    scale : float
        The time scale over all.

    Returns
    -------
    tuple of str
        The notes.
    """
    others = tuple(note for note in notes if not note.startswith(PACED))
    if scale == 1:
        return others
    return (*others, f"{PACED}{scale:.6g} seconds; times are the represented ones")


@dataclass(frozen=True)
class StretchedTable:
    """Requests of another table at other times; see `Table`.

    Attributes
    ----------
    inner : Table
        Where the requests are, at their own times.
    scale : Fraction
        What its times are multiplied by; they are rounded down.
    inner_ns : int
        Time of the inner table's whole trace at which `inner` begins.  [ns]
    start_ns, stop_ns : int or None
        Only requests of this half-open span of represented times are given.  [ns]
    origin_ns : int
        Represented time of time 0.  [ns]
    """

    inner: Table
    scale: Fraction
    inner_ns: int = 0
    start_ns: int | None = None
    stop_ns: int | None = None
    origin_ns: int = 0

    @property
    def volumes(self) -> tuple[str, ...]:
        """Volume names."""
        return self.inner.volumes

    @property
    def extras(self) -> tuple[str, ...]:
        """Names of the optional columns that there are."""
        return self.inner.extras

    def scan(self, rows: int, extras: Sequence[str] = ()) -> Iterator[Batch]:
        """Yield batches of at most `rows` requests."""
        for batch in self.inner.scan(rows, extras):
            time_ns = stretched(batch.time_ns + self.inner_ns, self.scale)
            first = 0 if self.start_ns is None else int(np.searchsorted(time_ns, self.start_ns))
            last = len(time_ns) if self.stop_ns is None else int(np.searchsorted(time_ns, self.stop_ns))
            if first < last:
                time_ns = time_ns - self.origin_ns
                time_ns.flags.writeable = False
                yield rows_of(batch._replace(time_ns=time_ns), slice(first, last))

    def narrow(
        self, start_ns: int | None, stop_ns: int | None, codes: Sequence[int] | None
    ) -> "StretchedTable":
        """Return a part of it; the inner table skips what is surely outside."""
        table = self
        if start_ns is not None:
            start = self.origin_ns + start_ns
            first = start if self.start_ns is None else max(start, self.start_ns)
            # the earliest own time that may be stretched to `first` or later
            skipped = max(int(Fraction(first) / self.scale) - self.inner_ns, 0)
            table = replace(
                table,
                inner=table.inner.narrow(skipped, None, None),
                inner_ns=table.inner_ns + skipped,
                start_ns=first,
                origin_ns=start,
            )
        if stop_ns is not None:
            stop = self.origin_ns + stop_ns
            last = stop if self.stop_ns is None else min(stop, self.stop_ns)
            after = math.ceil((Fraction(last) + 1) / self.scale) - table.inner_ns
            table = replace(table, inner=table.inner.narrow(None, max(after, 0), None), stop_ns=last)
        if codes is not None:
            table = replace(table, inner=table.inner.narrow(None, None, codes))
        return table

    def extent(self) -> Extent:
        """Measure it in one pass."""
        return measure(self.scan(1 << 20), len(self.volumes))


def stretched(time_ns: Int64Array, scale: Fraction) -> Int64Array:
    """Return times multiplied by a scale, exactly and rounded down.

    Parameters
    ----------
    time_ns : int64 array, shape (n,)
        Times.  [ns]
    scale : Fraction
        As `ratio` returns it.

    Returns
    -------
    int64 array, shape (n,)
        Represented times.  [ns]
    """
    if scale.denominator == 1:
        return time_ns * scale.numerator
    whole, rest = np.divmod(time_ns, scale.denominator)  # no product leaves 63 bits that the result is in
    result: Int64Array = whole * scale.numerator + rest * scale.numerator // scale.denominator
    return result


def check_reach(last_ns: int, scale: Fraction, start_ns: int) -> None:
    """Refuse a scale by which the last request would come after the year 2262.

    Raises
    ------
    UsageError
        The represented time does not fit into 63 bits of nanoseconds since 1970.
    """
    if last_ns * scale + max(start_ns, 0) > _INT64_MAX:
        msg = (
            f"a time scale of {float(scale):g} would put the last request, "
            f"{format_duration(last_ns)} after the start, beyond the year 2262"
        )
        raise UsageError(msg)
