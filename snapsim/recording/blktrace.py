"""Record the requests of a block device of this machine, through the kernel's block tracer.

blktrace hands over what all processors traced as one stream, which goes to segments in the folder of the
recording (`segments`).  One action of each request is traced, and only that: to be sent to the device where
it has queues of its own, else to be queued.  Its time is the request's; how long it took is not known.
"""

import errno
import os
import re
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from snapsim.errors import RecordingError, UsageError
from snapsim.recording.block_devices import BlockDevice, debugfs_for_tracing
from snapsim.recording.folder import alone, read_state, write_state
from snapsim.recording.interrupts import Stop
from snapsim.recording.segments import Segments
from snapsim.traces.atomic import replacing
from snapsim.traces.formats import open_trace
from snapsim.traces.privacy import permuted
from snapsim.traces.source import Progress
from snapsim.traces.trace import Trace

__all__ = ["ACTIONS", "KIND", "Recorded", "finish", "prepare", "record"]

KIND = "blktrace"

ACTIONS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    # every event that has any of the bits passes, so one of them that all events of an action have is enough
    "sent": ("D", ("issue", "requeue")),
    "queued": ("Q", ("queue",)),
    "completed": ("C", ("complete",)),
}
"""What may be traced: the reader's name for it, and blktrace's names of the events."""

_STEP = 0.25  # seconds
_PATIENCE = 10.0  # seconds that blktrace gets to hand over the rest
_READ = 1 << 18
_LAST_TOLD = 1 << 12  # bytes of its messages that are kept: there is no end to them when it cannot read


@dataclass
class Recorded:
    """How a recording is going.

    Attributes
    ----------
    events : int
        Events received: about one for each request.
    kept_bytes : int
        What the recording takes on the disk.  [bytes]
    dropped : int
        Events that the kernel had no room for.
    torn : int
        Events that were read before the kernel had written them, and are lost.
    seconds : float
        How long it has been going.  [s]
    why : str
        Why it ended.
    """

    events: int = 0
    kept_bytes: int = 0
    dropped: int = 0
    torn: int = 0
    seconds: float = 0.0
    why: str = ""


def prepare(device: BlockDevice, folder: Path, *, action: str | None = None) -> Path:
    """Make the folder of a recording, if the device can be traced.

    Parameters
    ----------
    device : BlockDevice
        What to record.
    folder : Path
        What to make; usually NAME.recording.
    action : str or None
        One of `ACTIONS`; "sent" when None, or "queued" for a device without queues of its own.

    Returns
    -------
    Path
        Where debugfs is mounted.

    Raises
    ------
    RecordingError
        The device cannot be traced, or is traced already.
    UsageError
        The action is unknown, the device never sees it, or the folder exists.
    StoreError
        The folder cannot be written.
    """
    if action is not None and action not in ACTIONS:
        raise UsageError(f"action={action!r} is unknown: choose from {', '.join(ACTIONS)}")
    if action == "sent" and not device.queues:
        raise UsageError(
            f"nothing is ever sent to {device.path}, which only passes requests on: choose queued"
        )
    debugfs = debugfs_for_tracing(device)
    if folder.exists():
        raise UsageError(f"{folder} exists: finish that recording first, or choose another name")
    state = {
        "kind": KIND,
        "device": asdict(device) | {"path": str(device.path)},
        "action": action or ("sent" if device.queues else "queued"),
        "started": datetime.now(UTC).isoformat(timespec="microseconds"),
        "seconds": None,
        "dropped": 0,
        "torn": 0,
    }
    with replacing(folder.absolute()) as place:
        (place / folder.name).mkdir(mode=0o700)
        write_state(place / folder.name, state)
    return debugfs


def record(
    device: BlockDevice,
    folder: Path,
    *,
    debugfs: Path,
    stop: Stop,
    seconds: float | None = None,
    segment_bytes: int = 16 << 20,
    limit_bytes: int | None = None,
    buffers: tuple[int, int] = (512, 8),
    show: Callable[[Recorded], object] | None = None,
) -> Recorded:
    """Trace a device until the time is over, somebody wants an end, or there is no more room.

    Parameters
    ----------
    device : BlockDevice
        What `prepare` was asked about.
    folder : Path
        What `prepare` made.
    debugfs : Path
        What `prepare` returned.
    stop : Stop
        Asked several times a second.
    seconds : float or None
        How long; until somebody wants an end when None.  [s]
    segment_bytes : int
        Compress what was received each time it has this size.  [bytes]
    limit_bytes : int or None
        End when the recording takes this much of the disk.  [bytes]
    buffers : tuple of (int, int)
        The kernel's room for each processor: KiB in each buffer, and their number.
    show : callable or None
        Called several times a second.

    Returns
    -------
    Recorded
        How it went.

    Raises
    ------
    RecordingError
        blktrace failed; what was recorded before can be finished.
    """
    state = read_state(folder)
    going = Recorded()
    told = bytearray()
    with alone(folder):
        segments = Segments(folder, device.name, size=segment_bytes)
        command = _command(device, debugfs, str(state["action"]), buffers)
        # a session of its own: a Ctrl-C at the keyboard is for the recorder, which asks blktrace for the rest
        tracer = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
            start_new_session=True, bufsize=0,
        )  # fmt: skip
        began = time.monotonic()
        counter = debugfs / "block" / device.name / "dropped"

        def ending() -> str:
            going.seconds = time.monotonic() - began
            going.events, going.kept_bytes = segments.records, segments.kept
            going.dropped = max(going.dropped, _number(counter))
            if show is not None:
                show(going)
            if stop.wanted:
                return "interrupted"
            if seconds is not None and going.seconds >= seconds:
                return "the time is over"
            if limit_bytes is not None and segments.kept >= limit_bytes:
                return f"the recording takes {segments.kept} bytes, which is its limit"
            return ""

        try:
            _follow(tracer, segments, told, going, ending)
            segments.close()
        except OSError as error:  # a full disk: the segments are whole up to there
            raise RecordingError(f"{folder}: {error.strerror or error}; {_kept(folder)}") from error
        finally:
            _end(tracer)
            going.events, going.kept_bytes, going.torn = segments.records, segments.kept, segments.torn
            state |= {"seconds": going.seconds, "dropped": going.dropped, "torn": going.torn}
            with suppress(OSError):
                write_state(folder, state)
    if not segments.records:
        shutil.rmtree(folder)
    if tracer.returncode != 0 or not segments.records:
        reason = _failure(device, told.decode(errors="replace"), tracer.returncode)
        raise RecordingError(f"{reason}; {_kept(folder)}" if segments.records else reason)
    return going


def _command(device: BlockDevice, debugfs: Path, action: str, buffers: tuple[int, int]) -> list[str]:
    masks = [word for name in ACTIONS[action][1] for word in ("-a", name)]
    size, count = buffers
    command = [
        "blktrace", "-d", str(device.path), "-r", str(debugfs), *masks,
        "-b", str(size), "-n", str(count), "-o", "-",
    ]  # fmt: skip
    # whoever kills the recorder ends blktrace, which would go on tracing for nobody and block the next one
    return ["setpriv", "--pdeathsig", "INT", *command] if shutil.which("setpriv") else command


def _follow(
    tracer: subprocess.Popen[bytes],
    segments: Segments,
    told: bytearray,
    going: Recorded,
    ending: Callable[[], str],
) -> None:
    """Take what the tracer sends until it ends; ask it to end when there is a reason."""
    assert tracer.stdout is not None  # noqa: S101  both are pipes
    assert tracer.stderr is not None  # noqa: S101
    patience = 0.0
    with selectors.DefaultSelector() as waiting:
        waiting.register(tracer.stdout, selectors.EVENT_READ)
        waiting.register(tracer.stderr, selectors.EVENT_READ)
        look = 0.0
        while waiting.get_map():
            for key, _ in waiting.select(_STEP):
                data = os.read(key.fd, _READ)
                if not data:
                    waiting.unregister(key.fileobj)
                elif key.fileobj is tracer.stdout:
                    segments.add(data)
                else:
                    told += data
                    del told[:-_LAST_TOLD]
            now = time.monotonic()
            if now < look:
                continue
            look = now + _STEP
            if not going.why:
                # it says this for ever when another program ends the trace
                going.why = "blktrace cannot read any more" if b"failed read" in told else ending()
                if going.why:
                    tracer.send_signal(signal.SIGINT)
                    patience = now + _PATIENCE
            elif now > patience:
                tracer.kill()


def _end(tracer: subprocess.Popen[bytes]) -> None:
    """See the tracer gone, whatever happened to the recorder."""
    if tracer.poll() is None:
        tracer.send_signal(signal.SIGINT)
        try:
            tracer.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            tracer.kill()
    tracer.wait()
    for pipe in (tracer.stdout, tracer.stderr):
        if pipe is not None:
            pipe.close()


def _kept(folder: Path) -> str:
    return f"what was recorded before is kept: snapsim record finish {folder}"


def _failure(device: BlockDevice, told: str, status: int) -> str:
    lines = [line for line in told.splitlines() if line.strip()]
    line = next((line for line in lines if "failed" in line), lines[-1] if lines else "")
    code = re.search(r" (\d+)/", line)
    reasons = {
        errno.EPERM: "the kernel forbids it, as it does when it is locked down (Secure Boot)",
        errno.EBUSY: "somebody else traces it, or its disk, already",
        errno.ENOTTY: "the kernel has no CONFIG_BLK_DEV_IO_TRACE, or no trace of this kind of device",
        errno.ENOMEM: "there is not enough memory for the buffers: make them smaller",
    }
    reason = "" if code is None else reasons.get(int(code[1]), "")
    said = f"blktrace ended with status {status}" + (f": {line}" if line else "")
    return f"{device.path} cannot be traced: {reason} ({said})" if reason else f"{device.path}: {said}"


def _notes(state: Mapping[str, Any], trace: Trace) -> tuple[str, ...]:
    """Say what people should know about a recording of this kind."""
    again = trace.info.skipped_kinds.get("action R", 0)
    name = state["device"]["name"]
    found = {
        f"what was on {name} before the first request is not known": True,
        "the recorder was killed: events that the kernel had no room for were not counted": (
            state["seconds"] is None
        ),
        f"{state['dropped']} events are missing, as the kernel had no room for them": state["dropped"] > 0,
        f"{state['torn']} events are missing, as they were read before the kernel had written them": (
            state["torn"] > 0
        ),
        f"the driver sent {again} requests back, and they are counted again": again > 0,
        "requests are those of the file system, before the kernel merges them": state["action"] == "queued",
        "times are those at which requests were completed": state["action"] == "completed",
    }
    return tuple(text for text, holds in found.items() if holds)


def _number(path: Path) -> int:
    """Read a number that the kernel shows; 0 when it is not there any more."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0


def finish(
    folder: Path, target: Path, *, permute: int | None = None, progress: Progress | None = None
) -> Trace:
    """Make a trace of a recording, however it ended; the recording stays as it is.

    Parameters
    ----------
    folder : Path
        The recording.
    target : Path
        The stored trace to make, NAME.parquet.
    permute : int or None
        Shuffle the addresses in units of this, by a key that is thrown away.  [bytes]
    progress : callable or None
        Called with (bytes done, bytes in all).

    Returns
    -------
    Trace
        The stored trace.

    Raises
    ------
    RecordingError
        Another recorder works on it, or there is nothing in it.
    """
    folder = folder.absolute()
    with alone(folder):
        state = read_state(folder)
        if state["kind"] != KIND:
            raise RecordingError(f"{folder} is a recording of another kind: {state['kind']}")
        device = state["device"]
        first = next((path for path in sorted(folder.glob("*.blktrace.0*")) if path.stat().st_size > 0), None)
        if first is None:
            raise RecordingError(f"{folder} holds no requests")
        options: dict[str, Any] = {
            "format": "blktrace",
            "action": ACTIONS[state["action"]][0],
            "capacity": device["capacity"],
            "shift": -device["start"] or None,
            "progress": progress,
            "source": target.name.removesuffix(".parquet"),
        }
        raw = open_trace(first, **options)
        # what several processors saw comes interleaved: that is not the clock stepping back
        info = replace(raw.info, out_of_order=0, notes=(*raw.info.notes, *_notes(state, raw)))
        trace = Trace(raw.table, info, measured=True)
        if permute is not None:
            trace = permuted(trace, unit=permute).trace
        trace.save(target)
    return open_trace(target)
