"""Names of trace formats, and the front door: any file in, a `Trace` out."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from snapsim.errors import RefusedFileError, TraceError, UnitError, UnknownFormatError, UsageError
from snapsim.traces import importing, store
from snapsim.traces.arrays import When, unix_ns
from snapsim.traces.readers.base import Options, Reader, Units
from snapsim.traces.refusals import late_refusal, refusal
from snapsim.traces.source import Progress, Source
from snapsim.traces.trace import Trace
from snapsim.units import SECOND, format_duration, format_size, parse_duration, parse_size

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

# format names -> module of snapsim.traces.readers, in which READERS lists the reader of that name
_MODULES: Mapping[str, str] = {
    "msr": "msr",
    "systor": "systor",
    "alibaba": "alibaba",
    "tencent": "tencent",
    "spc": "spc",
    "vscsi": "vscsi",
    "cloudphysics-csv": "cloudphysics_csv",
    "blkparse": "blkparse",
    "blktrace": "blktrace",
    "fio": "fio",
    "fiu": "fiu",
    "blkreplay": "blkreplay",
    "hp-srt": "hp_srt",
    "disksim": "disksim",
    "ssdsim": "disksim",
    "mqsim": "disksim",
    "octf": "octf",
    "log-writes": "log_writes",
    "nbdkit": "nbdkit",
    "csv": "csv",
}

FORMATS: tuple[str, ...] = tuple(_MODULES)
"""Names of the formats that can be read."""


@dataclass(frozen=True)
class TraceFormat:
    """One format, for lists and help.

    Attributes
    ----------
    name : str
        What `format=` takes.
    title : str
        A short phrase.
    extensions : tuple of str
        Usual file name endings.
    units : str
        What its numbers mean unless overridden.
    options : Mapping
        Its own options: name to one sentence.
    """

    name: str
    title: str
    extensions: tuple[str, ...]
    units: str
    options: Mapping[str, str]


@cache
def reader(name: str) -> Reader:
    """Return the reader of a format.

    Raises
    ------
    UnknownFormatError
        There is no format of that name.
    """
    plain = name.lower().replace("_", "-")
    if plain not in _MODULES:
        msg = f"format {name!r} is unknown: choose from {', '.join(FORMATS)}"
        raise UnknownFormatError(msg)
    module = import_module(f"snapsim.traces.readers.{_MODULES[plain]}")
    found: Reader = next(one for one in module.READERS if one.name == plain)
    return found


def formats() -> tuple[TraceFormat, ...]:
    """Return every format that can be read."""
    return tuple(
        TraceFormat(
            name=one.name,
            title=one.title,
            extensions=one.extensions,
            units=f"time {format_duration(one.units.time)}, "
            f"addresses {format_size(one.units.address)}, lengths {format_size(one.units.length)}",
            options=one.options,
        )
        for one in map(reader, FORMATS)
    )


def sniff(path: str | os.PathLike[str]) -> str:
    """Tell the format of a file from its contents.

    Parameters
    ----------
    path : path
        The file; gzip, xz, bzip2 and zstd are looked into.

    Returns
    -------
    str
        One of `FORMATS`.

    Raises
    ------
    RefusedFileError
        The file is recognised as something that is no usable trace.
    UnknownFormatError
        No reader recognises it, or several do.
    """
    source = Source(path)
    head = source.head()
    _refuse(source, head)
    found = [one.name for one in map(reader, FORMATS) if one.sniff(head, source.plain_name)]
    if len(found) == 1:
        return found[0]
    if found:
        msg = f"{source.name} could be {' or '.join(found)}: say which with format={found[0]!r}"
        raise UnknownFormatError(msg)
    if reason := late_refusal(head):
        msg = f"{source.name} {reason}"
        raise RefusedFileError(msg)
    msg = f"{source.name} is in no known format: if it is, name it with format=, one of {', '.join(FORMATS)}"
    raise UnknownFormatError(msg)


def _refuse(source: Source, head: bytes) -> None:
    reason = refusal(head, source.name)
    if reason is not None:
        msg = f"{source.name} {reason}"
        raise RefusedFileError(msg)


def read_trace(path: Paths, *, format: str | None = None, **options: Any) -> Trace:  # noqa: A002
    """Read a trace into memory.

    Parameters
    ----------
    path : path or sequence of paths
        A file, a folder of files, or several files that together make one trace; or a stored trace.
    format : str or None
        Name of the format (`FORMATS`); recognised from the contents when None.
    **options
        See `open_trace`.

    Returns
    -------
    Trace
        In memory, sorted by time.

    Raises
    ------
    TraceError
        The file is damaged beyond the limit, of no known format, or no trace at all.
    UsageError
        An option or a unit makes no sense.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
    ...     _ = file.write("128166372003061629,usr,0,Write,8192,4096,1200")
    ...     file.flush()
    ...     trace = read_trace(file.name)
    >>> trace.info.format, trace.volumes, len(trace)
    ('msr', ('usr_0',), 1)
    """
    stored = _stored(path, format, options)
    if stored is not None:
        return _selected(store.read(stored), options)
    return importing.to_memory(_job(path, format, **options))


def open_trace(path: Paths, *, format: str | None = None, **options: Any) -> Trace:  # noqa: A002
    """Open a trace of any size, to be streamed.

    A stored trace is streamed as it is; any other file is imported out of core, in bounded memory, to a
    scratch store that is removed when the trace is no longer used.

    Parameters
    ----------
    path, format
        As for `read_trace`.
    **options
        `time_unit` ("us", "100ns"), `address_unit`, `length_unit` ("512B", "4KiB") override the format's
        units; `shift` is added to every offset ("512B", "-3584B", to undo a partition offset); `volume`
        selects by name; `capacity` is the size of each volume, or a mapping from names; `start` the time of
        the first request; `damage_limit` the largest share of damaged lines (0.001); `progress` is called
        with (bytes done, bytes in all); `source` is what results call the trace, the names of its files
        unless said.  Formats have options of their own: see `formats`.

    Returns
    -------
    Trace
        Streamed from disk.

    Raises
    ------
    TraceError, UsageError
        As for `read_trace`.
    """
    stored = _stored(path, format, options)
    if stored is not None:
        return _selected(store.open(stored), options)
    return importing.to_scratch(_job(path, format, **options))


def convert_trace(
    path: Paths,
    target: str | os.PathLike[str],
    *,
    format: str | None = None,  # noqa: A002 - the word that users look for
    **options: Any,
) -> Trace:
    """Import files into a stored trace, in bounded memory and atomically.

    Parameters
    ----------
    path, format, **options
        As for `open_trace`.
    target : path
        Where the stored trace goes, usually NAME.parquet; a stored trace there is replaced.

    Returns
    -------
    Trace
        The stored trace, streamed.

    Raises
    ------
    TraceError, UsageError
        As for `read_trace`; nothing is left behind.
    StoreError
        `target` cannot be written.
    """
    stored = _stored(path, format, options)
    if stored is not None:
        return store.open(store.write(_selected(store.open(stored), options), target))
    return store.open(importing.to_store(_job(path, format, **options), Path(target)))


def _stored(path: Paths, name: str | None, options: Mapping[str, Any]) -> Path | None:
    """Return the path of a stored trace, or None when it has to be imported."""
    if not isinstance(path, str | os.PathLike):
        return None
    place = Path(path)
    if name not in (None, "parquet") or not place.exists() or not store.is_stored(place):
        if name == "parquet":
            msg = f"{place} is no stored trace"
            raise TraceError(msg)
        return None
    given = [option for option, value in options.items() if value is not None and option not in _FOR_STORED]
    if given:
        msg = f"{place.name} is stored already: {given[0]} applies only when a trace is imported"
        raise UsageError(msg)
    return place


_FOR_STORED = ("volume", "progress", "damage_limit")


def _selected(trace: Trace, options: Mapping[str, Any]) -> Trace:
    volume = options.get("volume")
    return trace if volume is None else trace.select(volume=volume)


def _job(
    path: Paths,
    name: str | None,
    *,
    time_unit: str | int | None = None,
    address_unit: str | int | None = None,
    length_unit: str | int | None = None,
    shift: str | int | None = None,
    volume: str | int | Sequence[str | int] | None = None,
    capacity: object = None,
    start: When | None = None,
    damage_limit: float = 0.001,
    progress: Progress | None = None,
    source: str | None = None,
    **own: Any,
) -> importing.Job:
    if not 0 <= damage_limit <= 1:
        msg = f"damage_limit={damage_limit!r}: it is a share, between 0 and 1"
        raise UsageError(msg)
    one, paths = _files(path, name)
    unknown = [option for option in own if option not in one.options]
    if unknown:
        known = ", ".join(one.options) or "none"
        msg = f"format {one.name} has no option {unknown[0]!r}: its own options are {known}"
        raise UsageError(msg)
    units = Units(
        time=one.units.time if time_unit is None else _time_unit(time_unit),
        address=one.units.address if address_unit is None else _size_unit("address_unit", address_unit),
        length=one.units.length if length_unit is None else _size_unit("length_unit", length_unit),
    )
    names = None if volume is None else [volume] if isinstance(volume, str | int) else volume
    return importing.Job(
        paths=paths,
        reader=one,
        options=Options(units, {option: value for option, value in own.items() if value is not None}),
        shift=_shift(shift),
        volumes=None if names is None else tuple(str(one) for one in names),
        capacity=capacity,
        start_ns=None if start is None else unix_ns(start),
        damage_limit=damage_limit,
        progress=progress,
        source=source,
    )


def _files(path: Paths, name: str | None) -> tuple[Reader, tuple[Path, ...]]:
    """Return the reader of a trace and all files that it is made of."""
    given = [Path(path)] if isinstance(path, str | os.PathLike) else [Path(one) for one in path]
    if not given:
        msg = "no file to read"
        raise UsageError(msg)
    files = [file for one in given for file in (_listed(one) if one.is_dir() else [one])]
    one = reader(name) if name is not None else _common_reader(files)
    files = [file for file in files if file in given or not _is_side_file(file, one)]
    gathered = dict.fromkeys(part for file in files for part in one.gather(file))
    for file in gathered:
        source = Source(file)
        _refuse(source, source.head())
    return one, tuple(gathered)


def _common_reader(files: list[Path]) -> Reader:
    side_files = [pattern for one in map(reader, FORMATS) for pattern in one.side_files]
    main = [file for file in files if not any(fnmatch(file.name, pattern) for pattern in side_files)] or files
    names = {sniff(file): file for file in main}
    if len(names) > 1:
        (first, one), (second, other), *_ = names.items()
        msg = f"{one.name} is {first} but {other.name} is {second}: files of one trace need one format"
        raise UnknownFormatError(msg)
    return reader(next(iter(names)))


def _is_side_file(file: Path, one: Reader) -> bool:
    return any(fnmatch(file.name, pattern) for pattern in one.side_files)


def _listed(folder: Path) -> list[Path]:
    files = sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
    if not files:
        msg = f"{folder} has no files in it"
        raise RefusedFileError(msg)
    return files


def _time_unit(unit: str | int) -> int:
    size = parse_duration(f"1{unit}" if isinstance(unit, str) and unit[:1].isalpha() else unit)
    if not 1 <= size <= SECOND:
        msg = f'time_unit {unit!r} is out of range: write it like "us", "100ns" or "s"'
        raise UnitError(msg)
    return size


def _size_unit(name: str, unit: str | int) -> int:
    size = parse_size(f"1{unit}" if isinstance(unit, str) and unit[:1].isalpha() else unit)
    if not size:
        msg = f'{name} {unit!r} is out of range: write it like "512B" or "4KiB"'
        raise UnitError(msg)
    return size


def _shift(shift: str | int | None) -> int:
    if shift is None:
        return 0
    if isinstance(shift, str) and shift.strip()[:1] in ("-", "+"):
        sign = -1 if shift.strip()[0] == "-" else 1
        return sign * parse_size(shift.strip()[1:])
    if isinstance(shift, int) and shift < 0:
        return -parse_size(-shift)
    return parse_size(shift)
