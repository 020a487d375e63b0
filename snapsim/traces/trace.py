"""`Trace`: a disk's requests in time order, in memory or streamed from a store."""

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from snapsim.errors import UnitError, UsageError, VolumeSelectionError
from snapsim.traces.arrays import When, capacities_from, check_capacity, columns_from, unix_ns
from snapsim.traces.info import Extent, TraceInfo, fingerprint, kinds_text
from snapsim.traces.pacing import StretchedTable, check_reach, pace, paced_notes, ratio
from snapsim.traces.readers.base import DroppedLine
from snapsim.traces.table import EXTRAS, MemoryTable, Table, rows_of
from snapsim.types import Batch, Op
from snapsim.units import format_duration, format_size, parse_duration

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ASSUMED_START_NS", "DroppedLine", "Trace", "TraceInfo"]

Moment = When | timedelta | np.timedelta64

ASSUMED_START_NS = 978_307_200 * 10**9
"""2001-01-01T00:00Z, where a trace without an absolute start is taken to begin.  [ns]"""


class Trace:
    """A disk's requests in time order.

    Small and frozen: it refers to columns in memory or to a stored data set that is streamed.  Made by
    `snapsim.read_trace`, `snapsim.open_trace`, `Trace.from_arrays` or `snapsim.synthetic`.

    Parameters
    ----------
    table : Table
        Where the requests are.
    info : TraceInfo
        What is known about them.
    measured : bool
        Whether the counts and the fingerprint of `info` are those of `table`; otherwise they are measured
        when they are first asked for.
    """

    _table: Table
    _info: TraceInfo
    _measured: bool

    def __init__(self, table: Table, info: TraceInfo, *, measured: bool) -> None:
        self.__dict__.update(_table=table, _info=info, _measured=measured)

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse: a trace does not change."""
        msg = f"a Trace is frozen: {name} cannot be set"
        raise AttributeError(msg)

    @classmethod
    def from_arrays(
        cls,
        time_ns: npt.ArrayLike,
        op: npt.ArrayLike,
        offset: npt.ArrayLike,
        length: npt.ArrayLike,
        *,
        capacity: int | str | Mapping[Any, Any] | None = None,
        start: When | None = None,
        volume: object = None,
        latency_ns: npt.ArrayLike | None = None,
        digest: npt.ArrayLike | None = None,
        contents: str = "",
    ) -> Self:
        """Make a trace from columns; they are copied.

        Parameters
        ----------
        time_ns : array_like of int, shape (n,)
            Time since the trace's start, in any order: requests are sorted stably by time.  [ns]
        op : array_like of int or str, shape (n,)
            Op codes, or names such as "read", "WRITE", "discard".
        offset, length : array_like of int, shape (n,)
            First byte and number of bytes; length 0 only for FLUSH.  [bytes]
        capacity : int, str, mapping or None
            Size of the volume, of each volume, or by volume name; None when it is not known.  [bytes]
        start : int, str, datetime, Timestamp or None
            When time 0 was: ns since the Unix epoch, ISO 8601 text or a point in time, UTC unless it says
            otherwise.
        volume : str, array_like or None
            Name of the one volume, or the volume name of each request.
        latency_ns : array_like of int, shape (n,), or None
            Service time, -1 where it is not known.  [ns]
        digest : array_like of bytes, shape (n,), or None
            Content digests, concatenated.
        contents : str
            What the digests are; see `TraceInfo.contents`.

        Returns
        -------
        Trace
            In memory.

        Raises
        ------
        TraceError
            A column or a value that no trace can have; the message names column and index.

        Examples
        --------
        >>> trace = Trace.from_arrays([0, 10], ["write", "read"], [0, 0], [4096, 4096], capacity="1MiB")
        >>> len(trace), trace.capacity
        (2, 1048576)
        """
        columns, volumes = columns_from(
            time_ns, op, offset, length, volume=volume, latency_ns=latency_ns, digest=digest
        )
        capacities = capacities_from(capacity, volumes)
        check_capacity(columns, volumes, capacities)
        steps_back = int(np.count_nonzero(columns.time_ns[1:] < columns.time_ns[:-1]))
        if steps_back:
            order = np.argsort(columns.time_ns, kind="stable")
            columns = rows_of(columns, order)
        info = TraceInfo(
            format="arrays",
            source="arrays",
            volumes=volumes,
            capacities=capacities,
            start_ns=None if start is None else unix_ns(start),
            out_of_order=steps_back,
            contents=contents,
        )
        return cls(MemoryTable(columns, volumes), info, measured=False)

    # what it is

    @property
    def info(self) -> TraceInfo:
        """Everything that is known about the trace; may take a pass over the requests."""
        if not self._measured:
            extent = self._extent
            info = dataclasses.replace(
                self._info,
                requests=extent.requests,
                span_ns=extent.last_ns - extent.first_ns,
                max_end=extent.max_end,
                fingerprint=fingerprint(self._table.scan(1 << 20), self.volumes),
            )
            self.__dict__.update(_info=info, _measured=True)
        return self._info

    @property
    def _extent(self) -> Extent:
        if "_extent_" not in self.__dict__:
            self.__dict__["_extent_"] = self._table.extent()
        extent: Extent = self.__dict__["_extent_"]
        return extent

    @property
    def table(self) -> Table:
        """Where the requests are: for those who put another table before it."""
        return self._table

    def __len__(self) -> int:
        """Return the number of requests."""
        return self._info.requests if self._measured else self._extent.requests

    @property
    def volumes(self) -> tuple[str, ...]:
        """Volume names; `("",)` for one unnamed volume."""
        return self._table.volumes

    @property
    def span_ns(self) -> int:
        """Time from the first request to the last.  [ns]"""
        return self._info.span_ns if self._measured else self._extent.last_ns - self._extent.first_ns

    @property
    def last_ns(self) -> int:
        """Time of the last request, from the trace's start; 0 when there is none.  [ns]"""
        return self._extent.last_ns

    @property
    def max_end(self) -> tuple[int, ...]:
        """One past the highest byte touched, per volume.  [bytes]"""
        return self._info.max_end if self._measured else self._extent.max_end

    @property
    def capacity(self) -> int:
        """Size of the one volume: the known capacity, else one past the highest byte touched.  [bytes]

        Raises
        ------
        VolumeSelectionError
            The trace has several volumes.
        """
        self._one_volume("capacity")
        known = self._info.capacities[0]
        return known if known is not None else self.max_end[0]

    @property
    def capacity_known(self) -> bool:
        """Whether `capacity` is known and not merely what the requests touch."""
        self._one_volume("capacity_known")
        return self._info.capacities[0] is not None

    @property
    def start_ns(self) -> int:
        """Unix time, UTC, of time 0; 2001-01-01T00:00Z when it is not known.  [ns]"""
        return ASSUMED_START_NS if self._info.start_ns is None else self._info.start_ns

    @property
    def start_assumed(self) -> bool:
        """Whether `start_ns` is assumed because the trace does not say it."""
        return self._info.start_ns is None

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the requests: equal for equal requests, however they are stored or cut."""
        return self.info.fingerprint

    # what is in it

    def batches(self, *, rows: int = 1 << 20, columns: Sequence[str] | None = None) -> Iterator[Batch]:
        """Yield the requests in time order, in bounded memory.

        Parameters
        ----------
        rows : int
            Requests in a batch, at most.
        columns : sequence of str or None
            Optional columns to read as well: "latency_ns", "digest".  A batch has None for those that it
            lacks.

        Returns
        -------
        iterator of Batch
            Read-only columns.

        Raises
        ------
        UsageError
            `rows` is not positive, or a column is unknown.
        """
        if rows < 1:
            msg = f"rows={rows}: a batch needs at least one request"
            raise UsageError(msg)
        wanted = tuple(columns or ())
        unknown = [name for name in wanted if name not in Batch._fields]
        if unknown:
            msg = f"column {unknown[0]!r} is unknown: choose from {', '.join(EXTRAS)}"
            raise UsageError(msg)
        return self._table.scan(rows, tuple(name for name in wanted if name in self._table.extras))

    def window(self, start: Moment | None = None, stop: Moment | None = None) -> "Trace":
        """Return the requests of a span of time, as a trace that begins where the span begins.

        Parameters
        ----------
        start, stop : str, int, timedelta, datetime, Timestamp or None
            Half-open.  Durations such as "90min" or a timedelta and whole numbers (ns) count from the trace's
            start; ISO 8601 text and points in time are absolute, UTC unless they say otherwise.  None leaves
            that side open.

        Returns
        -------
        Trace
            Its time 0 is `start`; it has the same volumes.

        Raises
        ------
        UsageError
            It would stop before it starts, or a text is neither a duration nor a point in time.
        """
        first, last = (since(when, self.start_ns) for when in (start, stop))
        if first is not None and last is not None and last < first:
            msg = f"window stops at {stop!r}, before it starts at {start!r}"
            raise UsageError(msg)
        info = self._info
        if first and info.start_ns is not None:
            info = dataclasses.replace(info, start_ns=info.start_ns + first)
        return Trace(self._table.narrow(first, last, None), info, measured=False)

    def stretch(self, scale: float, *, start: When | None = None) -> "Trace":
        """Return the trace of a paced recording at the times that it represents.

        Where a recording's activity was paced so that, say, seven days pass in twenty minutes, one second of
        it stands for many.  Snapshots are taken by the represented clock.  Latencies stay as measured.

        Parameters
        ----------
        scale : int or float
            What times are multiplied by: represented time divided by real time.  Whole scales are exact; with
            others, times are rounded down.
        start : int, str, datetime, Timestamp or None
            When time 0 was, in represented time; what it was before when None.

        Returns
        -------
        Trace
            Streamed if this one is.  Its `time_scale` is multiplied, and a note says so.

        Raises
        ------
        UsageError
            The scale is not between a millionth and a million, or times would not fit.

        Examples
        --------
        >>> trace = Trace.from_arrays([0, 10], ["write", "write"], [0, 0], [512, 512])
        >>> week = trace.stretch(504, start="2026-06-01T00:00Z")
        >>> week.span_ns, week.info.time_scale
        (5040, 504.0)
        """
        exact = ratio(scale)
        start_ns = self._info.start_ns if start is None else unix_ns(start)
        check_reach(self.last_ns, exact, ASSUMED_START_NS if start_ns is None else start_ns)
        total = self._info.time_scale * float(scale)
        info = dataclasses.replace(
            self._info,
            start_ns=start_ns,
            time_scale=total,
            notes=paced_notes(self._info.notes, total),
        )
        return Trace(StretchedTable(self._table, exact), info, measured=False)

    def select(self, *, volume: str | int | Sequence[str | int]) -> "Trace":
        """Return the requests of one volume or of several.

        Parameters
        ----------
        volume : str or sequence of str
            Names as `volumes` lists them.

        Returns
        -------
        Trace
            With the same start.

        Raises
        ------
        VolumeSelectionError
            The trace has no volume of that name.
        """
        names = [str(volume)] if isinstance(volume, str | int) else [str(name) for name in volume]
        codes = [code_of(name, self.volumes) for name in dict.fromkeys(names)]
        if not codes:
            msg = "select needs at least one volume name"
            raise VolumeSelectionError(msg)
        if tuple(codes) == tuple(range(len(self.volumes))):
            return self
        info = dataclasses.replace(
            self._info,
            volumes=tuple(self.volumes[code] for code in codes),
            capacities=tuple(self._info.capacities[code] for code in codes),
        )
        return Trace(self._table.narrow(None, None, codes), info, measured=False)

    def to_frame(self) -> pd.DataFrame:
        """Return the requests as a frame.

        Returns
        -------
        DataFrame
            Columns `time` (datetime64[ns, UTC]), `op` (categorical names), `offset`, `length` [bytes];
            `volume` (categorical) when there are several, `latency_ns` when the trace has it (-1 where it is
            not known).
        """
        extras = tuple(name for name in self._table.extras if name == "latency_ns")
        batches = list(self._table.scan(1 << 20, extras))

        def column(name: str, dtype: type) -> npt.NDArray[Any]:
            parts = [getattr(batch, name) for batch in batches]
            return np.concatenate(parts) if parts else np.empty(0, dtype)

        stamps = (column("time_ns", np.int64) + self.start_ns).view("datetime64[ns]")
        frame = {
            "time": pd.Series(stamps).dt.tz_localize("UTC"),
            "op": pd.Categorical.from_codes(column("op", np.uint8), pd.Index([op.name for op in Op])),
            "offset": column("offset", np.int64),
            "length": column("length", np.int64),
        }
        if len(self.volumes) > 1:
            frame["volume"] = pd.Categorical.from_codes(column("volume", np.int32), pd.Index(self.volumes))
        if extras:
            frame["latency_ns"] = column("latency_ns", np.int64)
        return pd.DataFrame(frame)

    def save(self, path: str | os.PathLike[str]) -> "Path":
        """Store the trace as Parquet, atomically; see `snapsim.traces.store.write`.

        Parameters
        ----------
        path : path
            A file, or for several volumes a folder; usually NAME.parquet.

        Returns
        -------
        Path
            Where it is.
        """
        from snapsim.traces import store

        return store.write(self, path)

    # how it looks

    def _facts(self) -> dict[str, str]:
        info = self._info
        names = [name for name in self.volumes if name]
        start = pd.Timestamp(self.start_ns, unit="ns", tz="UTC").strftime("%Y-%m-%d %H:%M:%S UTC")
        facts = {
            "source": f"{info.source} ({info.format})",
            "requests": f"{len(self):,}",
            "span": f"{format_duration(self.span_ns)} from {start}{' (assumed)' * self.start_assumed}",
            "highest byte": format_size(max(self.max_end)),
        }
        if info.time_scale != 1:
            facts["time scale"] = pace(info.time_scale)
        if names:
            shown = ", ".join(names[:5]) + (f", ... ({len(names):,} in all)" if len(names) > 5 else "")
            facts["volume" if len(names) == 1 else "volumes"] = shown
        if len(self.volumes) == 1 and info.capacities[0] is not None:
            facts["capacity"] = format_size(info.capacities[0])
        if info.contents:
            facts["contents"] = f"digests ({info.contents})"
        if info.out_of_order:
            facts["out of order"] = f"{info.out_of_order:,}"
        if info.skipped_kinds:
            facts["skipped"] = kinds_text(info.skipped_kinds)
        if info.dropped_lines:
            facts["damaged lines dropped"] = f"{info.dropped_lines:,}"
        return facts

    def __repr__(self) -> str:
        """Show what the trace is, a fact a line."""
        facts = self._facts()
        width = max(map(len, facts))
        return "Trace\n" + "\n".join(f"  {name:<{width}}  {value}" for name, value in facts.items())

    def _repr_html_(self) -> str:
        import html

        rows = "".join(
            f'<tr><th scope="row" style="text-align:left">{html.escape(name)}</th>'
            f'<td style="text-align:left">{html.escape(value)}</td></tr>'
            for name, value in self._facts().items()
        )
        return f"<table><caption>Trace</caption><tbody>{rows}</tbody></table>"

    def _one_volume(self, what: str) -> None:
        if len(self.volumes) > 1:
            names = ", ".join(self.volumes[:5]) + (", ..." if len(self.volumes) > 5 else "")
            msg = f"{what} needs one volume, not {len(self.volumes)} ({names}): use trace.select(volume=...)"
            raise VolumeSelectionError(msg)


def since(when: Moment | None, origin_ns: int) -> int | None:
    """Return a moment of a window as the time since a point in time; None where it has no bound.  [ns]"""
    if when is None:
        return None
    if isinstance(when, timedelta | np.timedelta64):
        return int(pd.Timedelta(when).as_unit("ns").value)
    if isinstance(when, int | np.integer) and not isinstance(when, bool):
        return int(when)
    if isinstance(when, str):
        try:
            return parse_duration(when)
        except UnitError:
            if not when[:4].isdigit():
                raise
    return unix_ns(when) - origin_ns


def code_of(name: str, volumes: Sequence[str]) -> int:
    """Return the position of a volume name, or raise VolumeSelectionError that lists the names there are."""
    if name in volumes:
        return volumes.index(name)
    shown = ", ".join(repr(volume) for volume in volumes[:10]) + (", ..." if len(volumes) > 10 else "")
    msg = f"the trace has no volume {name!r}: it has {shown}"
    raise VolumeSelectionError(msg)
