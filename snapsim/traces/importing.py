"""From files in any format to one trace: read, check, limit the damage, sort, keep in memory or store."""

import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from snapsim.errors import DamagedTraceError, TraceError, VolumeSelectionError
from snapsim.traces import store
from snapsim.traces.arrays import capacities_from
from snapsim.traces.atomic import replacing, terminable
from snapsim.traces.info import Fingerprint, TraceInfo, raise_ends
from snapsim.traces.readers.base import OUT_OF_RANGE, Options, Raw, Reader, ReadLog
from snapsim.traces.source import Progress, Source
from snapsim.traces.spool import NamedColumns, Spool
from snapsim.traces.table import EMPTY, MemoryTable, rows_of
from snapsim.traces.trace import Trace
from snapsim.traces.validation import Clock, validated
from snapsim.types import FLUSH, Batch, Int64Array
from snapsim.units import format_duration, format_size

_INT64_MAX = int(np.iinfo(np.int64).max)
_SHOWN_DROPS = 3


@dataclass(frozen=True)
class Job:
    """What to import and how.

    Attributes
    ----------
    paths : tuple of Path
        Files that make one trace.
    reader : Reader
        Their format.
    options : Options
        Units in force and the reader's own options.
    shift : int
        Added to every offset.  [bytes]
    volumes : tuple of str or None
        Only these.
    capacity : int, str, mapping or None
        Size of each volume, or by volume name.  [bytes]
    start_ns : int or None
        Unix time of the first request, where the caller knows better.  [ns]
    damage_limit : float
        Largest share of damaged lines.
    progress : callable or None
        Called with (bytes done, bytes in all), as they are on disk.
    source : str or None
        What people know the trace by; the names of the files when None.
    """

    paths: tuple[Path, ...]
    reader: Reader
    options: Options
    shift: int = 0
    volumes: tuple[str, ...] | None = None
    capacity: object = None
    start_ns: int | None = None
    damage_limit: float = 0.001
    progress: Progress | None = None
    source: str | None = None


def to_memory(job: Job) -> Trace:
    """Import into memory.

    Raises
    ------
    TraceError
        The files cannot be used; DamagedTraceError when too many of their lines are damaged.
    """
    run = _Run(job)
    parts = [Batch(raw.time_ns, raw.op, raw.offset, raw.length, raw.volume, raw.latency_ns, raw.digest)
             for raw in run.requests()]  # fmt: skip
    codes, info = run.codes(), run.info()
    columns: dict[str, Any] = {}
    for name in Batch._fields if parts else ():
        pieces = [getattr(part, name) for part in parts]
        columns[name] = None if pieces[0] is None else np.concatenate(pieces)
        for index, part in enumerate(parts):  # frees each column's pieces before the next is joined
            parts[index] = Batch._make(
                None if one == name else column for one, column in part._asdict().items()
            )
    batch = Batch(**columns) if columns else EMPTY
    if (batch.time_ns[1:] < batch.time_ns[:-1]).any():
        order = np.argsort(batch.time_ns, kind="stable")
        batch = rows_of(batch, order)
    volume = None
    if batch.volume is not None and len(codes) > 1:
        new_codes = np.zeros(max(codes) + 1, np.int32)
        new_codes[codes] = np.arange(len(codes), dtype=np.int32)
        volume = new_codes[batch.volume]
    batch = batch._replace(time_ns=batch.time_ns - run.first_ns, volume=volume)
    return Trace(MemoryTable(batch, info.volumes), info, measured=False)


def to_store(job: Job, target: Path) -> Path:
    """Import into a store, in bounded memory and atomically.

    Parameters
    ----------
    job : Job
        What to import and how.
    target : Path
        The file (or for several volumes the folder) to make or to replace.

    Returns
    -------
    Path
        `target`.

    Raises
    ------
    TraceError
        The files cannot be used; nothing is left behind.
    StoreError
        `target` cannot be written.
    """
    target = store.checked_target(target)
    with replacing(target) as folder:
        _store(job, folder, folder / target.name)
    return target


def to_scratch(job: Job) -> Trace:
    """Import into a store that is removed when the trace is no longer used, in bounded memory."""
    with terminable():
        scratch = _Scratch()
        try:
            _store(job, scratch.folder, scratch.folder / "trace.parquet")
            return store.open(scratch.folder / "trace.parquet", keep=scratch)
        except BaseException:
            scratch.remove()
            raise


class _Scratch:
    """A folder that is removed when nothing refers to it any more, at the latest when the program ends."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="snapsim-"))
        self.remove = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)


def _store(job: Job, folder: Path, new: Path) -> None:
    run = _Run(job)
    spool = Spool(folder)
    for raw in run.requests():
        spool.add(raw)
    codes = run.codes()
    spool.volumes()
    fingerprint = Fingerprint(tuple(run.log.volumes) or ("",))

    def pieces(code: int, *, sequence: bool) -> Iterator[NamedColumns]:
        for columns in spool.merged(code):
            columns["time_ns"] = columns["time_ns"] - run.first_ns
            run.earliest_ns = min(run.earliest_ns, int(columns["time_ns"][0]))
            run.latest_ns = max(run.latest_ns, int(columns["time_ns"][-1]))
            fingerprint.update_volume(code, columns)
            if not sequence:
                del columns["sequence"]
            yield columns

    def info() -> TraceInfo:
        return run.info(fingerprint)

    if len(codes) == 1:
        store.write_file(new, pieces(codes[0], sequence=False), info)
    else:
        volumes = [(run.log.volumes[code], pieces(code, sequence=True)) for code in codes]
        store.write_volumes(new, volumes, info, extras=spool.extras or ())


@dataclass
class _Run:
    """One import: checked requests in file order, and what is noticed on the way."""

    job: Job
    log: ReadLog = field(default_factory=ReadLog)
    rows: int = 0
    first_ns: int = 0
    earliest_ns: int = _INT64_MAX
    latest_ns: int = 0
    out_of_order: int = 0
    counts: Int64Array = field(default_factory=lambda: np.zeros(1, np.int64))
    ends: Int64Array = field(default_factory=lambda: np.zeros(1, np.int64))

    def requests(self) -> Iterator[Raw]:
        """Yield good requests of the wanted volumes."""
        sources = [Source(path) for path in self.job.paths]
        total, before = sum(source.size for source in sources), 0
        settled = (0, 0)
        clock = Clock()
        for source in sources:
            self.log.file = source.name
            previous: int | None = None
            read = 0
            for raw in self.job.reader.read(source, self.log, self.job.options):
                if source.done > read:  # all lines of what was read before have come
                    self._limit_damage(*settled, done=before + read, total=total)
                    read = source.done
                good = validated(self._shifted(raw), self.log, clock, self._capacity(raw))
                previous = self._note_times(good.time_ns, previous)
                self.rows += len(good.time_ns)
                settled = (self.rows, self.log.dropped)
                if self.job.progress is not None:
                    self.job.progress(min(before + source.done, total), total)
                wanted = self._wanted(good)
                self._count(wanted)
                if len(wanted.time_ns):
                    yield wanted
            before += source.size
        self._limit_damage(self.rows, self.log.dropped, done=total, total=total)
        self._check_any()
        if self.job.progress is not None:
            self.job.progress(total, total)

    def _shifted(self, raw: Raw) -> Raw:
        if not self.job.shift:
            return raw
        shift = self.job.shift
        outside = raw.offset > _INT64_MAX - shift if shift > 0 else raw.offset == OUT_OF_RANGE
        moved = np.where(outside, OUT_OF_RANGE, np.where(outside, 0, raw.offset) + shift)
        # a flush is about no place, and its 0 must not become a negative one
        return raw._replace(offset=np.where(raw.op == FLUSH, raw.offset, moved))

    def _capacity(self, raw: Raw) -> Int64Array | int | None:
        sizes = self._capacities()
        if raw.volume is None:
            return sizes.get("")
        if not sizes:
            return None
        table = np.array([sizes.get(name, _INT64_MAX) for name in self.log.volumes], np.int64)
        return table[raw.volume]

    def _capacities(self) -> Mapping[str, int]:
        """Return the sizes that are known, by volume name; a shift moves a volume's end as well.  [bytes]"""
        names = tuple(self.log.volumes) or ("",)
        given = self.job.capacity
        if isinstance(given, Mapping):
            given = {name: size for name, size in given.items() if str(name) in names}
        sizes = dict(self.log.capacities)
        sizes.update({name: size for name, size in zip(names, capacities_from(given, names), strict=True)
                      if size is not None})  # fmt: skip
        return {name: size + max(self.job.shift, 0) for name, size in sizes.items()}

    def _note_times(self, time_ns: Int64Array, previous: int | None) -> int | None:
        if not len(time_ns):
            return previous
        first = int(time_ns.min())
        self.first_ns = min(self.first_ns, first) if self.rows else first
        self.out_of_order += int(np.count_nonzero(time_ns[1:] < time_ns[:-1]))
        self.out_of_order += previous is not None and int(time_ns[0]) < previous
        return int(time_ns[-1])

    def _wanted(self, raw: Raw) -> Raw:
        names = self.job.volumes
        if names is None or raw.volume is None:
            return raw
        wanted = np.array([name in names for name in self.log.volumes], bool)[raw.volume]
        return raw if wanted.all() else raw.take(wanted)

    def _count(self, raw: Raw) -> None:
        volumes = max(len(self.log.volumes), 1)
        if volumes > len(self.counts):
            self.counts = np.concatenate([self.counts, np.zeros(volumes - len(self.counts), np.int64)])
            self.ends = np.concatenate([self.ends, np.zeros(volumes - len(self.ends), np.int64)])
        if raw.volume is None:
            self.counts[0] += len(raw.time_ns)
        else:
            self.counts += np.bincount(raw.volume, minlength=volumes)
        raise_ends(self.ends, raw.offset, raw.length, raw.volume)

    def _limit_damage(self, rows: int, dropped: int, *, done: int, total: int) -> None:
        """Stop when the damage up to here is already more than the limit allows for all that is to come."""
        if not done:
            return
        expected = (rows + dropped) * max(total, done) / done
        if dropped > self.job.damage_limit * expected:
            raise DamagedTraceError(_damage(self.job, self.log, rows + dropped, dropped, whole=done >= total))

    def _check_any(self) -> None:
        names, wanted = self.log.volumes, self.job.volumes
        if wanted is not None:
            missing = [name for name in wanted if name not in names]
            if missing:
                shown = ", ".join(map(repr, names[:10])) + (", ..." if len(names) > 10 else "")
                msg = f"{_names(self.job.paths)} has no volume {missing[0]!r}: it has {shown or 'none'}"
                raise VolumeSelectionError(msg)
        if not self.rows:
            skipped = sum(self.log.skipped.values())
            msg = f"{_names(self.job.paths)} has no request in it: {skipped:,} other lines were skipped"
            raise TraceError(msg)

    def codes(self) -> list[int]:
        """Return the codes of the volumes that have requests, in the order in which they were first seen."""
        return np.flatnonzero(self.counts).tolist() or [0]

    def info(self, fingerprint: Fingerprint | None = None) -> TraceInfo:
        """Return what is known now; without a fingerprint, span and fingerprint are left to be measured."""
        job, log, codes = self.job, self.log, self.codes()
        volumes = tuple(log.volumes[code] for code in codes) if log.volumes else ("",)
        sizes = self._capacities()
        start = job.start_ns
        if start is None and log.start_ns is not None:
            start = log.start_ns + self.first_ns
        units = job.options.units
        return TraceInfo(
            format=job.reader.name,
            source=_names(job.paths) if job.source is None else job.source,
            volumes=volumes,
            capacities=tuple(sizes.get(name) for name in volumes),
            start_ns=start,
            requests=int(self.counts.sum()),
            span_ns=max(self.latest_ns - self.earliest_ns, 0),
            max_end=tuple(self.ends[codes].tolist()),
            out_of_order=self.out_of_order,
            skipped_lines=sum(log.skipped.values()),
            skipped_kinds=dict(log.skipped),
            dropped_lines=log.dropped,
            drops=tuple(log.drops),
            time_scale=log.time_scale,
            shift_bytes=job.shift,
            options={
                "time_unit": format_duration(units.time),
                "address_unit": format_size(units.address),
                "length_unit": format_size(units.length),
                **log.options,
            },
            notes=tuple(log.notes),
            fingerprint="" if fingerprint is None else fingerprint.hexdigest(),
            contents=log.contents or "",
        )


def _names(paths: Sequence[str | os.PathLike[str]]) -> str:
    names = [Path(path).name for path in paths]
    return ", ".join(names[:3]) + (f", ... ({len(names)} files)" if len(names) > 3 else "")


def _damage(job: Job, log: ReadLog, lines: int, dropped: int, *, whole: bool) -> str:
    examples = "; ".join(str(drop) for drop in log.drops[:_SHOWN_DROPS])
    more = "; ..." if log.dropped > _SHOWN_DROPS else ""
    return (
        f"{_names(job.paths)}: {dropped:,} of {'' if whole else 'the first '}{lines:,} lines are damaged "
        f"({100 * dropped / lines:.3g} %, the limit is {100 * job.damage_limit:g} %): {examples}{more}. "
        f"Check the format ({job.reader.name}) and its units, or raise the limit with damage_limit"
    )
