"""`snapsim record bitmaps`: what changes on a disk of a running guest, interval by interval."""

import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from snapsim.cli.output import print_json, print_table, warn
from snapsim.cli.reading import Json
from snapsim.cli.record.kept import kept
from snapsim.cli.record.nbd import folder_of
from snapsim.errors import RecordingError, UsageError

if TYPE_CHECKING:
    from snapsim.recording.bitmaps import BitmapRecorder
    from snapsim.recording.change_log import ChangeLog
    from snapsim.recording.disks import Disk
    from snapsim.recording.qmp import Monitor

__all__ = ["CHANGES", "bitmaps", "finish_changes"]

CHANGES = "changes"
"""What recordings by bitmaps say that they are."""

_GUEST = Group("The guest", sort_key=2)
_INSTEAD = Group("Instead of recording", sort_key=4)
_TERMINATED = 143


def bitmaps(
    *,
    output: Annotated[Path | None, Parameter(name=("--output", "-o"), metavar="NAME.parquet")] = None,
    qmp: Annotated[Path | None, Parameter(metavar="SOCKET", group=_GUEST)] = None,
    libvirt: Annotated[str | None, Parameter(metavar="DOMAIN", group=_GUEST)] = None,
    connect: Annotated[str, Parameter(metavar="URI", group=_GUEST)] = "qemu:///system",
    device: Annotated[Sequence[str], Parameter(metavar="DISK", group=_GUEST)] = (),
    every: Annotated[str, Parameter(metavar="SPAN")] = "1min",
    lasting: Annotated[str | None, Parameter(name="--for", metavar="SPAN")] = None,
    granularity: Annotated[str, Parameter(metavar="SIZE")] = "64KiB",
    resume: bool = False,
    list_disks: Annotated[bool, Parameter(name="--list", group=_INSTEAD)] = False,
    clean: Annotated[bool, Parameter(group=_INSTEAD)] = False,
    exchange_folder: Annotated[Path | None, Parameter(metavar="DIR", group=_GUEST)] = None,
    as_json: Json = False,
) -> int:
    """Sample what a running QEMU or libvirt guest changes, interval by interval; the guest runs on.

    The recording grows in NAME.recording beside OUTPUT until Ctrl-C.  Killed or not, every interval that has
    ended can be read: see snapsim record finish.  While QEMU runs, --resume takes it up again, and nothing
    that changed meanwhile is lost.

    Parameters
    ----------
    output : Path, optional
        The trace to make, NAME.parquet.
    qmp : Path, optional
        The QMP socket that QEMU was started with (-qmp unix:SOCKET,server=on,wait=off).
    libvirt : str, optional
        A running libvirt domain, instead.
    connect : str
        Where libvirt is.
    device : sequence of str
        Which disk, where there are several; may be repeated: each gets a recording of its own.
    every : str
        The interval. Samples are taken at its multiples since the Unix epoch: on the hour, on the minute.
    lasting : str, optional
        For how long ("2h"), counted from where the recording began; until Ctrl-C unless said.
    granularity : str
        The unit of what changes, a power of two: small blocks are counted as whole ones.
    resume : bool
        Take up a recording whose recorder was killed.
    list_disks : bool
        Show the guest's disks.
    clean : bool
        Remove what recorders that were killed have left in QEMU. Nothing of other tools is touched.
    exchange_folder : Path, optional
        A folder in which QEMU may open files, where it runs as another user.
    as_json : bool
        Print JSON.
    """
    from snapsim.units import format_duration, parse_duration, parse_size

    every_ns, grain = parse_duration(every), parse_size(granularity)
    if every_ns <= 0:
        raise UsageError("--every has to be longer than nothing")
    lasting_ns = None if lasting is None else parse_duration(lasting)
    monitor, targets, folder = _guest(qmp, libvirt, connect)
    with closing(monitor):
        exchange = exchange_folder or folder
        if clean:
            _clean(monitor, exchange, as_json=as_json)
            return 0
        from snapsim.recording.disks import disks_of

        disks = disks_of(monitor, targets)
        if list_disks:
            _list(disks, as_json=as_json)
            return 0
        recorders = _recorders(monitor, _outputs(output, disks, device), exchange, grain=grain, resume=resume)
        if not as_json:
            for one in recorders:
                print(_begun(one))
            lasts = "" if lasting_ns is None else f", for {format_duration(lasting_ns)}"
            print(f"every {format_duration(every_ns)}{lasts}; Ctrl-C ends it", flush=True)
        stopped_by = _record(recorders, every_ns, lasting_ns)
    with kept(*(one.log.folder for one in recorders)):
        _finish([(one.log, one.log.folder.with_suffix(".parquet")) for one in recorders], as_json=as_json)
    return _TERMINATED if stopped_by == signal.SIGTERM else 0


def _outputs(output: Path | None, disks: list["Disk"], wanted: Sequence[str]) -> dict["Disk", Path]:
    """Return the trace to make of each disk; where there are several, the disk's name is part of its name."""
    from snapsim.recording.disks import choose

    if output is None:
        raise UsageError("say which trace to make: --output NAME.parquet")
    folder_of(output)
    chosen = [choose(disks, one) for one in dict.fromkeys(wanted)] or [choose(disks, None)]
    several = len(chosen) > 1
    return {one: output.with_stem(f"{output.stem}-{one.name}") if several else output for one in chosen}


def _guest(
    qmp: Path | None, libvirt: str | None, connect: str
) -> tuple["Monitor", dict[str, str] | None, Path | None]:
    """Return the monitor, other names of disks, and a folder in which QEMU may open files."""
    if (qmp is None) == (libvirt is None):
        raise UsageError("say which guest: --qmp SOCKET, or --libvirt DOMAIN")
    if qmp is not None:
        from snapsim.recording.qmp import QmpMonitor

        return QmpMonitor(qmp), None, None
    from snapsim.recording.libvirt import VirshMonitor

    monitor = VirshMonitor(str(libvirt), connect=connect)
    folder = monitor.exchange_folder()
    return monitor, monitor.targets(), None if folder is None else Path(folder)


def _recorders(
    monitor: "Monitor", outputs: dict["Disk", Path], exchange: Path | None, *, grain: int, resume: bool
) -> list["BitmapRecorder"]:
    """Begin a recorder for each disk, or go on with it."""
    from snapsim.recording.bitmaps import BitmapRecorder

    begun: list[BitmapRecorder] = []
    with ExitStack() as undo:
        for disk, output in outputs.items():
            folder = folder_of(output)
            if resume:
                recorder = BitmapRecorder.resume(monitor, folder, exchange=exchange)
                undo.callback(recorder.close)
            elif folder.exists():
                raise UsageError(f"{folder} exists: take it up again with --resume, or choose another name")
            else:
                recorder = BitmapRecorder.start(monitor, disk, folder, grain=grain, exchange=exchange)
                undo.callback(recorder.close)
                undo.callback(recorder.end, "another disk could not be recorded")
            begun.append(recorder)
        undo.pop_all()
    return begun


def _begun(one: "BitmapRecorder") -> str:
    from snapsim.units import format_size

    folder, intervals = one.log.folder, len(one.log.instants) - 1
    what = (
        f"going on with {folder}, {intervals} intervals so far"
        if intervals
        else f"recording {one.disk.name} ({format_size(one.disk.capacity)}, {one.disk.file}) into {folder}"
    )
    return f"{what}, in units of {format_size(one.log.grain)}"


def _record(recorders: list["BitmapRecorder"], every_ns: int, lasting_ns: int | None) -> int:
    """Record until it is enough; return the signal that ended it."""
    from snapsim.recording.bitmaps import keep_recording
    from snapsim.recording.interrupts import stopping
    from snapsim.units import format_duration, format_size

    first = min(one.log.instants[0] for one in recorders)
    until = None if lasting_ns is None else first + lasting_ns
    with stopping() as stop, _line() as say:
        troubled: set[str] = set()

        def show(one: "BitmapRecorder") -> None:
            if one.trouble is not None and one.log.folder.name not in troubled:
                warn(f"{one.trouble}; nothing is lost, QEMU keeps what changed until that has passed")
                troubled.add(one.log.folder.name)
            if one.trouble is None:
                troubled.discard(one.log.folder.name)
            count, so_far = len(one.log.instants) - 1, format_duration(time.time_ns() - first)
            last = format_size(one.changed[-1]) if one.changed else "nothing yet"
            say(
                f"{one.disk.name}: {count} intervals in {so_far}; {last} changed in the last, "
                f"{format_size(sum(one.changed))} in all"
            )

        try:
            keep_recording(recorders, stop, every_ns=every_ns, until_ns=until, told=show)
        except RecordingError as error:
            raise RecordingError(
                f"{error}. Nothing is lost: QEMU has what was not stored, and --resume goes on"
            ) from None
        finally:
            for one in recorders:
                one.close()
    return stop.wanted


@contextmanager
def _line() -> Iterator[Callable[[str], None]]:
    """Give what writes over one line of standard error, if that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _text: None
        return
    try:
        yield lambda text: print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def finish_changes(folder: Path, output: Path, *, as_json: bool) -> None:
    """Make the trace of a recording of changes that was interrupted, and say what it is.

    Parameters
    ----------
    folder : Path
        The recording; it stays as it is.
    output : Path
        NAME.parquet.
    as_json : bool
        Print JSON.
    """
    from snapsim.recording.change_log import ChangeLog

    _finish([(ChangeLog.open(folder), output)], as_json=as_json)


def _finish(recordings: Sequence[tuple["ChangeLog", Path]], *, as_json: bool) -> None:
    """Make the traces of recordings, and say what they are."""
    from snapsim.recording.bitmaps import to_trace
    from snapsim.units import format_duration, format_size

    made = []
    for log, path in recordings:
        if len(log.instants) < 2:
            warn(
                f"{log.folder}: {log.ended or 'the recorder was killed'}; no interval has ended, so no trace"
            )
            continue
        trace = to_trace(log)
        trace.save(path)
        changed = sum(int(extents[:, 1].sum()) for extents in log.changes())
        made.append(_told(log, path, changed))
        if not as_json:
            span = format_duration(log.instants[-1] - log.instants[0])
            print(f"{path}: {len(log.instants) - 1} intervals, {span}, {format_size(changed)} changed")
            print(f"  ended: {log.ended or 'the recorder was killed'}")
    if as_json:
        print_json(made)


def _told(log: "ChangeLog", path: Path, changed: int) -> dict[str, Any]:
    return {
        "trace": path,
        "recording": log.folder,
        "disk": log.about["disk"]["names"][0],
        "capacity_bytes": log.capacity,
        "grain_bytes": log.grain,
        "instants": log.instants,
        "changed_bytes": changed,
        "ended": log.ended,
    }


def _list(disks: list["Disk"], *, as_json: bool) -> None:
    from snapsim.units import format_size

    if as_json:
        print_json([one._asdict() for one in disks])
        return
    print_table(
        ("--device", "also called", "size", "image"),
        [(one.name, ", ".join(one.names[1:]), format_size(one.capacity), one.file) for one in disks],
    )


def _clean(monitor: "Monitor", exchange: Path | None, *, as_json: bool) -> None:
    from snapsim.recording.bitmaps import clean

    removed = clean(monitor, exchange=exchange)
    if as_json:
        print_json(removed)
        return
    for recording, count in removed.items():
        print(f"recording {recording}: {count} dirty bitmaps removed")
    if not removed:
        print("there is nothing of a recorder in this QEMU")
