"""Sorting more requests than fit into memory: sorted runs on disk, merged volume by volume."""

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from snapsim.traces.merging import Columns, Stream, merged
from snapsim.traces.readers.base import Raw
from snapsim.traces.table import EXTRAS
from snapsim.types import Batch

RUN_ROWS = 1 << 21
"""Requests that are sorted in memory at a time."""

_PIECE_ROWS = 1 << 14
_COLUMNS = ("time_ns", "sequence", "op", "offset", "length", *EXTRAS)

NamedColumns = dict[str, npt.NDArray[Any]]


class Spool:
    """Requests in, in file order; each volume's requests out, sorted stably by time.

    Parameters
    ----------
    folder : Path
        For runs that do not fit into memory; the caller removes it.
    run_rows : int
        Requests to sort in memory at a time.
    """

    def __init__(self, folder: Path, *, run_rows: int = RUN_ROWS) -> None:
        self._folder = folder
        self._run_rows = run_rows
        self._waiting: list[Raw | Batch] = []
        self._waiting_rows = 0
        self._taken = 0
        self._runs = 0
        self._streams: dict[int, list[Stream]] = {}
        self.extras: tuple[str, ...] | None = None

    def add(self, rows: Raw | Batch) -> None:
        """Take in the next requests; all must have the same optional columns as the first."""
        if self.extras is None:
            self.extras = tuple(name for name in EXTRAS if getattr(rows, name) is not None)
        self._waiting.append(rows)
        self._waiting_rows += len(rows.time_ns)
        if self._waiting_rows >= self._run_rows:
            self._spill(*self._sorted())

    def volumes(self) -> list[int]:
        """Finish taking in; return the codes of the volumes that have requests."""
        if self._waiting_rows:
            columns, segments = self._sorted()
            for code, start, stop in segments:
                rows = tuple(column[start:stop] for column in columns.values())
                self._streams.setdefault(code, []).append(Stream(int(rows[0][0]), partial(_slices, rows)))
        return sorted(self._streams)

    def merged(self, code: int) -> Iterator[NamedColumns]:
        """Yield the requests of a volume in time order, as columns; call after `volumes`."""
        names = ("time_ns", "sequence", "op", "offset", "length", *(self.extras or ()))
        for columns in merged(self._streams.pop(code)):
            yield dict(zip(names, columns, strict=True))

    def _sorted(self) -> tuple[NamedColumns, list[tuple[int, int, int]]]:
        """Sort what is waiting by volume and time; return columns and (code, first, last row) of each."""
        waiting, self._waiting = self._waiting, []
        rows, self._waiting_rows = self._waiting_rows, 0
        columns: NamedColumns = {
            name: np.concatenate([getattr(part, name) for part in waiting])
            for name in ("time_ns", "op", "offset", "length", *(self.extras or ()))
        }
        columns["sequence"] = np.arange(self._taken, self._taken + rows)
        self._taken += rows
        columns = {name: columns[name] for name in _COLUMNS if name in columns}
        if waiting[0].volume is None:
            codes = np.zeros(rows, np.int32)
        else:
            codes = np.concatenate([part.volume for part in waiting if part.volume is not None])
        del waiting
        time_ns = columns["time_ns"]
        one_volume = bool((codes == codes[0]).all())
        if not one_volume or (time_ns[1:] < time_ns[:-1]).any():
            order = np.argsort(time_ns, kind="stable") if one_volume else np.lexsort((time_ns, codes))
            codes = codes[order]
            for name in columns:
                columns[name] = columns[name][order]
        starts = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]])
        return columns, list(
            zip(codes[starts].tolist(), starts.tolist(), [*starts[1:].tolist(), rows], strict=True)
        )

    def _spill(self, columns: NamedColumns, segments: list[tuple[int, int, int]]) -> None:
        path = self._folder / f"run-{self._runs}.arrow"
        self._runs += 1
        table = pa.table({name: pa.array(column) for name, column in columns.items()})
        piece = 0
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            for code, start, stop in segments:
                first = piece
                for row in range(start, stop, _PIECE_ROWS):
                    writer.write_table(table.slice(row, min(_PIECE_ROWS, stop - row)))
                    piece += 1
                stream = Stream(int(columns["time_ns"][start]), partial(_pieces, path, first, piece))
                self._streams.setdefault(code, []).append(stream)


def _pieces(path: str | os.PathLike[str], first: int, last: int) -> Iterator[Columns]:
    """Read pieces of a run; not memory-mapped, so that what was read does not count as memory in use."""
    with pa.OSFile(str(path), "rb") as file:
        reader = pa.ipc.open_file(file)
        for index in range(first, last):
            yield arrays_of(reader.get_batch(index).columns)


def _slices(columns: Columns) -> Iterator[Columns]:
    for first in range(0, len(columns[0]), _PIECE_ROWS):
        yield tuple(column[first : first + _PIECE_ROWS] for column in columns)


def arrays_of(columns: Sequence[Any]) -> Columns:
    """Return Arrow columns as arrays, without copying numbers."""
    return tuple(
        column.to_numpy(zero_copy_only=False)
        if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)
        else column.to_numpy()
        for column in columns
    )
