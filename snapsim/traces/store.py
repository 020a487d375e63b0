"""Stored traces: Parquet, written atomically, streamed by row groups, one file per volume.

A trace of one volume is a file.  One of several is a folder that holds `volume=<name>/part-0.parquet` for
each and `_metadata`, with a column `sequence` that keeps the order of requests of different volumes at the
same time.  The key "snapsim" of the Parquet metadata is the `TraceInfo`.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from snapsim.errors import StoreError
from snapsim.traces.atomic import replacing
from snapsim.traces.changes import trace_of
from snapsim.traces.info import Extent, TraceInfo, measure
from snapsim.traces.merging import Columns, Stream, merged
from snapsim.traces.spool import NamedColumns, Spool, arrays_of
from snapsim.traces.table import EXTRAS, MemoryTable
from snapsim.traces.trace import Trace
from snapsim.types import Batch

KEY = b"snapsim"
METADATA = "_metadata"

_GROUP_ROWS = 1 << 20
_MERGE_ROWS = 1 << 22  # rows of all volumes together that a merge may hold
_THREADED_ROWS = 1 << 17  # smaller row groups are read faster by one thread
_TYPES: Mapping[str, pa.DataType] = {
    "time_ns": pa.int64(), "op": pa.uint8(), "offset": pa.int64(), "length": pa.int64(),
    "sequence": pa.int64(), "latency_ns": pa.int64(), "digest": pa.binary(),
}  # fmt: skip
_DELTA = {"time_ns", "sequence", "offset"}
_DICTIONARY = ["op", "length"]


def write(trace: Trace, path: str | os.PathLike[str], *, compression: str = "lz4") -> Path:
    """Store a trace, atomically: `path` is the whole trace, or what it was before.

    Parameters
    ----------
    trace : Trace
        In memory or streamed; bounded memory.
    path : path
        A file, or for several volumes a folder, to make or to replace; usually NAME.parquet.
    compression : str
        "lz4" (fast) or "zstd" (smaller).

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    StoreError
        The place cannot be written to, or holds a folder that is no stored trace.
    """
    target = checked_target(path)
    info = trace.info
    with replacing(target) as folder:
        new = folder / target.name
        batches = trace.batches(columns=EXTRAS)
        if len(trace.volumes) == 1:
            write_file(new, (_named(batch) for batch in batches), info, compression=compression)
        else:
            spool = Spool(folder)
            for batch in batches:
                spool.add(batch)
            volumes = [(trace.volumes[code], spool.merged(code)) for code in spool.volumes()]
            write_volumes(new, volumes, info, extras=spool.extras or (), compression=compression)
    return target


def checked_target(path: str | os.PathLike[str]) -> Path:
    """Return where to write, made absolute; StoreError if that is a folder that is no stored trace."""
    target = Path(path).absolute()
    if target.is_dir() and any(target.iterdir()):
        _info(target)  # so that no other folder is ever replaced
    return target


def _named(batch: Batch) -> NamedColumns:
    columns = batch._replace(volume=None)._asdict()
    return {name: column for name, column in columns.items() if column is not None}


def write_file(
    path: Path,
    pieces: Iterator[NamedColumns],
    info: TraceInfo | Callable[[], TraceInfo] | None,
    *,
    compression: str = "lz4",
    group_rows: int = _GROUP_ROWS,
) -> pq.FileMetaData:
    """Write one Parquet file of time-ordered columns, cut anywhere; not atomic by itself.

    Parameters
    ----------
    path : Path
        The file.
    pieces : iterator of mappings from column name to array
        All with the same columns.
    info : TraceInfo, callable or None
        Kept in the file; a callable is asked when all pieces are written.
    compression : str
        Of the pages.
    group_rows : int
        Requests in a row group.

    Returns
    -------
    FileMetaData
        Of the file.
    """
    writer: pq.ParquetWriter | None = None
    waiting: list[NamedColumns] = []
    rows = 0
    collected: list[pq.FileMetaData] = []
    try:
        for piece in pieces:
            if writer is None:
                writer = _writer(path, tuple(piece), compression, collected)
            waiting.append(piece)
            rows += len(piece["time_ns"])
            while rows >= group_rows:
                group, waiting = _first_rows(waiting, group_rows)
                rows -= group_rows
                writer.write_table(_table(group), row_group_size=group_rows)
        if writer is None:
            writer = _writer(path, ("time_ns", "op", "offset", "length"), compression, collected)
        if rows:
            writer.write_table(_table(_first_rows(waiting, rows)[0]), row_group_size=group_rows)
        final = info() if callable(info) else info
        if final is not None:
            writer.add_key_value_metadata({KEY.decode(): final.to_json()})
    finally:
        if writer is not None:
            writer.close()
    return collected[0]


def _writer(
    path: Path, names: tuple[str, ...], compression: str, collected: list[pq.FileMetaData]
) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        path,
        _schema(names),
        compression=compression,
        use_dictionary=[name for name in names if name in _DICTIONARY],
        column_encoding={name: "DELTA_BINARY_PACKED" for name in names if name in _DELTA},
        write_statistics=["time_ns"],
        metadata_collector=collected,
        store_schema=False,
    )


def _table(columns: NamedColumns) -> pa.Table:
    arrays = [pa.array(column, type=_TYPES[name]) for name, column in columns.items()]
    return pa.table(arrays, schema=_schema(tuple(columns)))


def _schema(names: tuple[str, ...]) -> pa.Schema:
    return pa.schema([pa.field(name, _TYPES[name], nullable=False) for name in names])


def _first_rows(pieces: list[NamedColumns], rows: int) -> tuple[NamedColumns, list[NamedColumns]]:
    """Cut the first `rows` rows off pieces; return them joined, and the rest."""
    whole = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    rest = {name: column[rows:].copy() for name, column in whole.items()}
    return {name: column[:rows] for name, column in whole.items()}, [rest] if len(rest["time_ns"]) else []


def write_volumes(
    folder: Path,
    volumes: Sequence[tuple[str, Iterator[NamedColumns]]],
    info: TraceInfo | Callable[[], TraceInfo],
    *,
    extras: Sequence[str],
    compression: str = "lz4",
) -> None:
    """Write the folder of a trace of several volumes; not atomic by itself.

    Parameters
    ----------
    folder : Path
        Made here.
    volumes : sequence of (name, iterator of columns)
        Of each volume its time-ordered requests with their sequence numbers.
    info : TraceInfo or callable
        Kept in the metadata; a callable is asked when all volumes are written.
    extras : sequence of str
        Optional columns that the volumes have.
    compression : str
        Of the pages.
    """
    group_rows = max(1024, min(_GROUP_ROWS, _MERGE_ROWS // max(len(volumes), 1)))
    folder.mkdir()
    collected = []
    for name, pieces in volumes:
        part = folder / _part(name)
        part.parent.mkdir()
        metadata = write_file(part, pieces, None, compression=compression, group_rows=group_rows)
        metadata.set_file_path(_part(name))
        collected.append(metadata)
    final = info() if callable(info) else info
    schema = _schema(("time_ns", "sequence", "op", "offset", "length", *extras))
    pq.write_metadata(
        schema.with_metadata({KEY: final.to_json().encode()}), folder / METADATA, metadata_collector=collected
    )


def _part(name: str) -> str:
    return f"volume={quote(name, safe='') or '%00'}/part-0.parquet"


def read(path: str | os.PathLike[str]) -> Trace:
    """Read a stored trace into memory.

    Parameters
    ----------
    path : path
        What `write` made.

    Returns
    -------
    Trace
        In memory.

    Raises
    ------
    StoreError
        It is missing, incomplete, or not a stored trace.
    """
    trace = open(path)
    batches = trace.batches(columns=EXTRAS)
    table = MemoryTable.gathered(batches, trace.volumes, rows=len(trace))
    return trace_of(table, trace.info, measured=True)


def open(path: str | os.PathLike[str], *, keep: object = None) -> Trace:  # noqa: A001 - store.open, like store.read
    """Open a stored trace to be streamed.

    Parameters
    ----------
    path : path
        What `write` made.
    keep : object
        Something that has to live as long as the trace does.

    Returns
    -------
    Trace
        Reads the file while its batches are asked for.

    Raises
    ------
    StoreError
        It is missing, incomplete, or not a stored trace.
    """
    place = Path(path).absolute()
    info, metadata = _info(place)
    parts: dict[str, list[_Group]] = {}
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        file = group.column(0).file_path
        first, last = (int(getattr(group.column(0).statistics, side)) for side in ("min", "max"))
        groups = parts.setdefault(file, [])
        groups.append(_Group(len(groups), group.num_rows, first, last))
    if place.is_dir():
        files = tuple(_File(place / _part(name), tuple(parts.get(_part(name), ()))) for name in info.volumes)
    else:
        files = (_File(place, tuple(parts.get("", ()))),)
    missing = [file.path for file in files if file.groups and not file.path.is_file()]
    if missing:
        msg = f"{place} is incomplete: {missing[0].relative_to(place)} is missing"
        raise StoreError(msg)
    extras = tuple(name for name in EXTRAS if name in metadata.schema.names)
    return trace_of(StoredTable(files, info.volumes, extras, keep=keep), info, measured=True)


def is_stored(path: Path) -> bool:
    """Tell whether a path is a Parquet file or a folder with Parquet metadata, whoever made it."""
    if path.is_dir():
        return (path / METADATA).is_file()
    if not path.is_file():  # to open a pipe is to wait for a writer
        return False
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _info(place: Path) -> tuple[TraceInfo, pq.FileMetaData]:
    source = place / METADATA if place.is_dir() else place
    if not source.exists():
        what = "holds no stored trace" if place.is_dir() else "does not exist"
        msg = f"{place} {what}"
        raise StoreError(msg)
    try:
        metadata = pq.read_metadata(source)
    except (pa.ArrowInvalid, OSError) as error:
        msg = f"{source} is not complete Parquet: {error}; make it again"
        raise StoreError(msg) from error
    text = (metadata.metadata or {}).get(KEY)
    if text is None:
        msg = f"{place} is Parquet, but no stored trace: it lacks the metadata that snapsim writes"
        raise StoreError(msg)
    try:
        return TraceInfo.from_json(text), metadata
    except (ValueError, TypeError, KeyError) as error:
        msg = f"{place} was stored by another version of snapsim: {error}; import the trace again"
        raise StoreError(msg) from error


class _Group(NamedTuple):
    """A row group: its number in the file, its rows, and the times of its first and last row.  [ns]"""

    number: int
    rows: int
    first_ns: int
    last_ns: int


class _File(NamedTuple):
    """The file of one volume."""

    path: Path
    groups: tuple[_Group, ...]


@dataclass(frozen=True)
class StoredTable:
    """Requests in Parquet files, one a volume; see `Table`.

    Attributes
    ----------
    files : tuple
        File and row groups of each volume.
    volumes, extras : tuple of str
        Volume names, and the optional columns.
    start_ns, stop_ns : int or None
        Only requests of this half-open span of stored times are given.  [ns]
    origin_ns : int
        Stored time of time 0.  [ns]
    keep : object
        Lives as long as the table does.
    """

    files: tuple[_File, ...]
    volumes: tuple[str, ...]
    extras: tuple[str, ...]
    start_ns: int | None = None
    stop_ns: int | None = None
    origin_ns: int = 0
    keep: object = None

    def scan(self, rows: int, extras: Sequence[str] = ()) -> Iterator[Batch]:
        """Yield batches of at most `rows` requests."""
        one = len(self.files) == 1
        names = ("time_ns", *(() if one else ("sequence",)), "op", "offset", "length", *extras)
        if one:
            pieces = self._pieces(self.files[0], names)
        else:
            pieces = merged([
                Stream(groups[0].first_ns - self.origin_ns, partial(self._coded, code, file, names))
                for code, file in enumerate(self.files)
                if (groups := self._groups(file))
            ])  # fmt: skip
        for piece in pieces:
            columns = dict(zip(names if one else (*names, "volume"), piece, strict=True))
            columns.pop("sequence", None)
            for first in range(0, len(columns["time_ns"]), rows):
                yield Batch(**{name: column[first : first + rows] for name, column in columns.items()})

    def narrow(self, start_ns: int | None, stop_ns: int | None, codes: Sequence[int] | None) -> "StoredTable":
        """Return a part of it, still streamed."""
        table = self
        if start_ns is not None:
            start = self.origin_ns + start_ns
            first = start if self.start_ns is None else max(start, self.start_ns)
            table = replace(table, start_ns=first, origin_ns=start)
        if stop_ns is not None:
            stop = self.origin_ns + stop_ns
            table = replace(table, stop_ns=stop if self.stop_ns is None else min(stop, self.stop_ns))
        if codes is not None:
            files = tuple(self.files[code] for code in codes)
            table = replace(table, files=files, volumes=tuple(self.volumes[code] for code in codes))
        return table

    def extent(self) -> Extent:
        """Measure it in one pass."""
        return measure(self.scan(1 << 20), len(self.volumes))

    def _groups(self, file: _File) -> list[_Group]:
        return [
            group
            for group in file.groups
            if (self.start_ns is None or group.last_ns >= self.start_ns)
            and (self.stop_ns is None or group.first_ns < self.stop_ns)
        ]

    def _pieces(self, file: _File, names: tuple[str, ...]) -> Iterator[Columns]:
        try:
            for group in self._groups(file):
                # opened anew for each row group: thousands of volumes are more than a process may keep open
                with pq.ParquetFile(file.path) as parquet:
                    table = parquet.read_row_group(
                        group.number, list(names), use_threads=group.rows > _THREADED_ROWS
                    )
                columns = table.combine_chunks()
                yield self._cut(arrays_of([columns[name].chunk(0) for name in names]))
        except (pa.ArrowInvalid, OSError) as error:
            msg = f"{file.path} cannot be read: {error}"
            raise StoreError(msg) from error

    def _coded(self, code: int, file: _File, names: tuple[str, ...]) -> Iterator[Columns]:
        for piece in self._pieces(file, names):
            yield (*piece, np.full(len(piece[0]), code, np.int32))

    def _cut(self, columns: Columns) -> Columns:
        time_ns = columns[0]
        first = 0 if self.start_ns is None else int(np.searchsorted(time_ns, self.start_ns))
        last = len(time_ns) if self.stop_ns is None else int(np.searchsorted(time_ns, self.stop_ns))
        cut = tuple(column[first : max(first, last)] for column in columns)
        return (cut[0] - self.origin_ns, *cut[1:]) if self.origin_ns else cut
