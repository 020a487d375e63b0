"""`snapsim record nbd`: an image served to a guest, every request recorded."""

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

from cyclopts import Parameter

from snapsim.cli.output import check_writable, print_json
from snapsim.cli.progress import bar
from snapsim.cli.reading import Json
from snapsim.cli.record.kept import kept
from snapsim.cli.wording import worded
from snapsim.errors import RecordingError, UsageError

if TYPE_CHECKING:
    from snapsim.recording.interrupts import Stop
    from snapsim.recording.nbd import Finished, NbdRecorder

__all__ = ["finish_and_tell", "nbd"]

_STEP_NS = 500_000_000


def nbd(
    image: Annotated[Path, Parameter(help="The disk: a raw image, a block device, or any format of QEMU's.")],
    *,
    output: Annotated[Path, Parameter(name=("--output", "-o"))],
    for_: Annotated[str | None, Parameter(name="--for", metavar="DURATION")] = None,
    socket: Annotated[Path | None, Parameter()] = None,
    image_format: Annotated[str | None, Parameter(metavar="FORMAT")] = None,
    contents: bool = False,
    permute: Annotated[str | None, Parameter(metavar="SIZE")] = None,
    rotate: Annotated[str, Parameter(metavar="SIZE")] = "64MiB",
    linger: Annotated[str, Parameter(metavar="DURATION")] = "10s",
    resume: bool = False,
    as_json: Json = False,
) -> None:
    """Serve an image to a QEMU guest or any NBD client, and record every request.

    The recording grows in NAME.recording beside OUTPUT, and ends when the last client has left.  Ctrl-C never
    takes the disk from a guest: the server stays, and --resume takes the recording up again.  Killed or not,
    everything up to the last request can be read: see snapsim record finish.

    Parameters
    ----------
    image : Path
        The disk.  Nothing else may write to it meanwhile.
    output : Path
        The trace to make, NAME.parquet.  Its map of what was allocated becomes NAME.initial-map.json.
    for_ : str or None
        Stop recording so long from now ("2h"); the image is served on until the last client leaves.
    socket : Path or None
        Where clients connect; NAME.recording/nbd.sock unless said.
    image_format : str or None
        Format of the image ("raw", "qcow2"), where it should not be guessed.
    contents : bool
        Fingerprint what is written, to study duplicates and compression.  The data is not stored.
    permute : str or None
        Shuffle the addresses in units of this size ("1MiB"), so that the trace can be shown to others.
    rotate : str
        Compress the log each time it has grown by this.
    linger : str
        How long to wait for another client after the last one left.
    resume : bool
        Take up a recording that was interrupted.
    as_json : bool
        Print JSON when it is over.

    Raises
    ------
    UsageError
        The image, the output or an option cannot be used so.
    """
    from snapsim.recording.folder import alone
    from snapsim.recording.interrupts import stopping
    from snapsim.recording.nbd import NbdRecorder, agree, prepare
    from snapsim.units import SECOND, parse_duration, parse_size

    folder = folder_of(output)
    length = None if for_ is None else parse_duration(for_) / SECOND
    unit = None if permute is None else parse_size(permute)
    rotate_bytes, linger_seconds = parse_size(rotate), parse_duration(linger) / SECOND
    with worded():
        if not resume:
            prepare(image, folder, socket=socket, image_format=image_format, contents=contents, permute=unit)
        elif not folder.is_dir():
            raise UsageError(f"there is no recording {folder} to resume")
        else:
            agree(folder, image=image, socket=socket, image_format=image_format, contents=contents)
        with alone(folder), stopping() as stop:  # heard from here on, so that no server is left behind
            recorder = NbdRecorder(folder, rotate_bytes=rotate_bytes, linger_seconds=linger_seconds)
            try:
                started = recorder.serve()
            except RecordingError:
                if not resume:  # nobody was served: nothing to resume
                    shutil.rmtree(folder)
                raise
            _say(_welcome(image, recorder, started=started))
            left = not _follow(recorder, stop, length)
    if left:
        _say(
            f"the image is still in use and goes on being served and recorded: resume with the same command "
            f"and --resume, or, when its clients have left,\n  snapsim record finish {folder} -o {output}"
        )
        return
    with kept(folder):
        finish_and_tell(folder, output, permute=unit, as_json=as_json)


def folder_of(output: Path) -> Path:
    """Return the folder in which the recording of a trace grows.

    Parameters
    ----------
    output : Path
        NAME.parquet.

    Returns
    -------
    Path
        NAME.recording.

    Raises
    ------
    UsageError
        The name does not end in .parquet, or cannot be written.
    """
    if output.suffix != ".parquet":
        raise UsageError(f"--output {output}: a trace's name ends in .parquet")
    check_writable(output)
    return output.with_suffix(".recording")


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
    from snapsim.recording.nbd import finish

    with bar("storing the trace", unit="B") as progress, worded():
        done = finish(folder, output, permute=permute, progress=progress)
    if as_json:
        print_json(_facts(done))
        return
    print(f"{done.trace}\nstored as {done.path}")
    print(f"allocated before the first request: {done.initial_map} (use it with --initial)")
    if done.key is not None:
        print(f"secret of the fingerprints: {done.key} (keep it to yourself, or delete it)")
    print(f"{folder} is not needed any more")


def _facts(done: "Finished") -> dict[str, Any]:
    info = done.trace.info
    return {
        "trace": done.path,
        "initial_map": done.initial_map,
        "key": done.key,
        "requests": info.requests,
        "span_ns": info.span_ns,
        "capacity_bytes": info.capacities[0],
        "fingerprint": info.fingerprint,
    }


def _welcome(image: Path, recorder: "NbdRecorder", *, started: bool) -> str:
    what = "serving" if started else "still serving"
    return (
        f"{what} {image} at {recorder.socket}; for a QEMU guest:\n"
        f"  -drive 'file=nbd+unix:///?socket={quote(str(recorder.socket))},if=none,id=disk,format=raw,cache=none,"
        "discard=unmap,detect-zeroes=off'\n"
        "  -device virtio-blk-pci,drive=disk,request-merging=off"
    )


def _follow(recorder: "NbdRecorder", stop: "Stop", length: float | None) -> bool:
    """Follow a recording until its clients have left; tell whether its servers ended."""
    began, cramped = time.monotonic(), False
    with _status() as show:
        while recorder.serving and not recorder.idle and not stop.wanted:
            stop.wait_until(time.time_ns() + _STEP_NS)
            recorder.step()
            if length is not None and recorder.recording and time.monotonic() - began >= length:
                recorder.end_recording()
                _say("the time is over: nothing more is recorded; the image is served until it is left")
            if recorder.recording and recorder.cramped and not cramped:
                _say(
                    f"the disk of {recorder.folder} is full or nearly so: requests that it has no room for "
                    "are missing from the recording; the image is served all the same"
                )
            cramped = recorder.cramped
            show(recorder, time.monotonic() - began)
        if stop.wanted and recorder.serving and recorder.activity.connected > 0:
            return False
        recorder.stop()
    return True


@contextmanager
def _status() -> Iterator[Any]:
    """Show what goes by in one line, if standard error is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _recorder, _seconds: None
        return
    from snapsim.units import SECOND, format_duration, format_size

    def show(recorder: "NbdRecorder", seconds: float) -> None:
        seen = recorder.activity
        clients = f"{seen.connected} connected" if seen.connected else "no client"
        print(
            f"\r\x1b[K{format_duration(int(seconds) * SECOND)}: {seen.requests:,} requests, "
            f"{format_size(seen.written)} written, {clients}",
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
