"""`snapsim record blktrace`: the requests of a block device of this machine."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from snapsim.cli.output import print_json, warn
from snapsim.cli.progress import bar
from snapsim.cli.reading import Json
from snapsim.cli.record.kept import kept
from snapsim.cli.record.nbd import folder_of
from snapsim.cli.wording import worded

if TYPE_CHECKING:
    from snapsim.recording.blktrace import Recorded

__all__ = ["blktrace", "finish_and_tell"]


def blktrace(
    device: Annotated[Path, Parameter(help="A disk, a partition or a mapped device: /dev/vda.")],
    *,
    output: Annotated[Path, Parameter(name=("--output", "-o"))],
    for_: Annotated[str | None, Parameter(name="--for", metavar="DURATION")] = None,
    action: str | None = None,
    limit: Annotated[str, Parameter(metavar="SIZE")] = "10GiB",
    segment: Annotated[str, Parameter(metavar="SIZE")] = "16MiB",
    buffer: Annotated[str, Parameter(metavar="SIZE")] = "512KiB",
    buffers: int = 8,
    permute: Annotated[str | None, Parameter(metavar="SIZE")] = None,
    as_json: Json = False,
) -> None:
    """Record the requests of a block device of this machine, through the kernel's tracer; needs root.

    The recording grows in NAME.recording beside OUTPUT.  Ctrl-C ends it as if the time were over; if it is
    killed, everything up to the last request can be read: see snapsim record finish.

    Parameters
    ----------
    device : Path
        What to record.
    output : Path
        The trace to make, NAME.parquet.
    for_ : str or None
        How long ("1h"); until Ctrl-C unless said.
    action : str or None
        What to count: requests sent to the device, queued (before they are merged) or completed; sent, where
        the device has queues of its own, unless said.
    limit : str
        End when the recording takes this much of the disk.
    segment : str
        Compress what was recorded each time it has grown by this.
    buffer : str
        Size of each of the kernel's buffers, where events are dropped.
    buffers : int
        Number of the kernel's buffers for each processor.
    permute : str or None
        Shuffle the addresses in units of this size ("1MiB"), so that the trace can be shown to others.
    as_json : bool
        Print JSON when it is over.
    """
    from snapsim.recording.blktrace import prepare, record
    from snapsim.recording.block_devices import carries, find
    from snapsim.recording.interrupts import stopping
    from snapsim.units import SECOND, parse_duration, parse_size

    folder = folder_of(output)
    seconds = None if for_ is None else parse_duration(for_) / SECOND
    unit = None if permute is None else parse_size(permute)
    sizes = {"segment_bytes": parse_size(segment), "limit_bytes": parse_size(limit)}
    room = (max(parse_size(buffer) >> 10, 1), buffers)
    with worded():
        found = find(device)
        debugfs = prepare(found, folder, action=action)
        if carries(found, folder):
            warn(f"{folder} is on {device} itself, so the recording records its own writes")
        end = "until Ctrl-C" if for_ is None else f"for {for_}, or until Ctrl-C"
        _say(f"recording {device} {end}")
        with stopping() as stop, _status() as show:
            done = record(
                found, folder, debugfs=debugfs, stop=stop, seconds=seconds, buffers=room, show=show, **sizes
            )
    _say(f"recorded {done.events:,} events in {done.seconds:.1f} s: {done.why}")
    with kept(folder):
        finish_and_tell(folder, output, permute=unit, as_json=as_json)


def finish_and_tell(folder: Path, output: Path, *, permute: int | None, as_json: bool) -> None:
    """Make the trace of a recording, and say what it is.

    Parameters
    ----------
    folder : Path
        The recording.
    output : Path
        NAME.parquet.
    permute : int or None
        Unit in which addresses are shuffled.  [bytes]
    as_json : bool
        Print JSON.
    """
    from snapsim.recording.blktrace import finish

    with bar("storing the trace", unit="B") as progress, worded():
        trace = finish(folder, output, permute=permute, progress=progress)
    info = trace.info
    if as_json:
        print_json(
            {
                "trace": output,
                "requests": info.requests,
                "span_ns": info.span_ns,
                "capacity_bytes": info.capacities[0],
                "notes": info.notes,
                "fingerprint": info.fingerprint,
            }
        )
        return
    for note in info.notes:
        if "are missing" in note or "counted again" in note:
            warn(note)
    print(f"{trace}\nstored as {output}\n{folder} is not needed any more")


@contextmanager
def _status() -> Iterator["Callable[[Recorded], None]"]:
    """Show how it goes in one line, if standard error is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _going: None
        return
    from snapsim.units import SECOND, format_duration, format_size

    def show(going: "Recorded") -> None:
        lost = f", {going.dropped:,} DROPPED" if going.dropped else ""
        print(
            f"\r\x1b[K{format_duration(int(going.seconds) * SECOND)}: {going.events:,} events, "
            f"{format_size(going.kept_bytes)}{lost}",
            end="",
            file=sys.stderr,
            flush=True,
        )

    try:
        yield show
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
