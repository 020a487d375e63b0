"""Where a trace's requests are: the protocol that `Trace` reads through, and the table in memory."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from snapsim.traces.info import Extent, measure
from snapsim.types import Batch

EXTRAS = ("latency_ns", "digest")
"""Optional columns: read only when asked for."""


EMPTY = Batch(np.empty(0, np.int64), np.empty(0, np.uint8), np.empty(0, np.int64), np.empty(0, np.int64))
"""No requests."""


class Table(Protocol):
    """Requests in time order.

    Attributes
    ----------
    volumes : tuple of str
        What the batches' volume codes refer to; with one volume, batches have no codes.
    extras : tuple of str
        The optional columns that it has.
    """

    @property
    def volumes(self) -> tuple[str, ...]:
        """Volume names."""
        ...

    @property
    def extras(self) -> tuple[str, ...]:
        """Names of the optional columns that there are."""
        ...

    def scan(self, rows: int, extras: Sequence[str] = ()) -> Iterator[Batch]:
        """Yield batches of at most `rows` requests, in bounded memory."""
        ...

    def narrow(self, start_ns: int | None, stop_ns: int | None, codes: Sequence[int] | None) -> "Table":
        """Return the requests of start_ns <= time < stop_ns, with times from start_ns, of some volumes."""
        ...

    def extent(self) -> Extent:
        """Return how much there is and how far it reaches."""
        ...


class MemoryTable:
    """Requests in arrays.

    Parameters
    ----------
    columns : Batch
        Time-ordered columns; they are made read-only and not copied.
    volumes : tuple of str
        Volume names.
    """

    def __init__(self, columns: Batch, volumes: tuple[str, ...]) -> None:
        self.columns = Batch._make(_frozen(column) for column in columns)
        self.volumes = volumes

    @classmethod
    def gathered(cls, batches: Iterable[Batch], volumes: tuple[str, ...], *, rows: int) -> "MemoryTable":
        """Gather batches of `rows` requests in all."""
        columns: dict[str, npt.NDArray[Any]] = {}
        first = 0
        for batch in batches:
            last = first + len(batch.time_ns)
            for name, column in batch._asdict().items():
                if column is not None:
                    columns.setdefault(name, np.empty(rows, column.dtype))[first:last] = column
            first = last
        return cls(Batch(**columns) if columns else EMPTY, volumes)

    @property
    def extras(self) -> tuple[str, ...]:
        """Names of the optional columns that there are."""
        return tuple(name for name in EXTRAS if getattr(self.columns, name) is not None)

    def scan(self, rows: int, extras: Sequence[str] = ()) -> Iterator[Batch]:
        """Yield batches of at most `rows` requests."""
        unwanted = set(EXTRAS).difference(extras)
        columns = Batch._make(
            None if name in unwanted else column for name, column in self.columns._asdict().items()
        )
        for first in range(0, len(columns.time_ns), rows):
            yield rows_of(columns, slice(first, first + rows))

    def narrow(self, start_ns: int | None, stop_ns: int | None, codes: Sequence[int] | None) -> "MemoryTable":
        """Return a part of it; one span of time is not copied."""
        columns, volumes = self.columns, self.volumes
        first = 0 if start_ns is None else int(np.searchsorted(columns.time_ns, start_ns))
        last = len(columns.time_ns) if stop_ns is None else int(np.searchsorted(columns.time_ns, stop_ns))
        columns = rows_of(columns, slice(first, max(first, last)))
        if start_ns:
            columns = columns._replace(time_ns=columns.time_ns - start_ns)
        if codes is not None and columns.volume is not None:
            new_codes = np.full(len(volumes), -1, np.int32)
            new_codes[list(codes)] = np.arange(len(codes), dtype=np.int32)
            codes_here = new_codes[columns.volume]
            columns = rows_of(columns._replace(volume=codes_here), codes_here >= 0)
            volumes = tuple(volumes[code] for code in codes)
            if len(volumes) == 1:
                columns = columns._replace(volume=None)
        return MemoryTable(columns, volumes)

    def extent(self) -> Extent:
        """Return how much there is and how far it reaches."""
        return measure(self.scan(1 << 22), len(self.volumes))


def rows_of(columns: Batch, rows: slice | npt.NDArray[Any]) -> Batch:
    """Return the rows that a slice, a mask or an index array picks."""
    return Batch._make(column[rows] if column is not None else None for column in columns)


def _frozen(column: npt.NDArray[Any] | None) -> npt.NDArray[Any] | None:
    if column is None:
        return None
    view = column.view()
    view.flags.writeable = False
    return view
