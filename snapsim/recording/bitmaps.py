"""Record what changes on a disk of a running QEMU, by dirty bitmaps that are read every interval."""

import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from snapsim.errors import RecordingError, UsageError
from snapsim.recording.bitmap_reading import allocated, carried_out, withdraw
from snapsim.recording.change_log import ChangeLog
from snapsim.recording.dirty_bitmaps import Bitmap, begin, bitmaps_of, cut, ours_everywhere, remove
from snapsim.recording.disks import Disk, what_changed
from snapsim.recording.interrupts import Stop
from snapsim.recording.qmp import CommandRefusedError, Monitor, MonitorLostError

if TYPE_CHECKING:
    from snapsim.traces.changes import ChangeTrace

__all__ = ["BitmapRecorder", "clean", "keep_recording", "to_trace"]

_OVER = {
    "shutdown": "the guest has shut down",
    "guest-panicked": "the guest has panicked",
    "internal-error": "QEMU has stopped the guest after an internal error",
    "postmigrate": "the guest was migrated to another host",
    "finish-migrate": "the guest is being migrated to another host",
}


class BitmapRecorder:
    """Records one disk into a folder: make one with `start` or `resume`.

    Everything that has to survive a crash is on disk or in QEMU: the folder has what was read, and the names
    of the bitmaps in QEMU say what was not.

    Parameters
    ----------
    monitor : Monitor
        The QEMU.
    disk : Disk
        Which disk.
    log : ChangeLog
        The folder, locked.
    bitmaps : sequence of Bitmap
        Those of this recording, the oldest first; the last one is recording.
    exchange : Path, optional
        A folder in which QEMU may open files; a private one in the folder for temporary files unless given.

    Attributes
    ----------
    changed : list of int
        What each interval has changed, in whole grains, since this recorder began.  [bytes]
    trouble : str or None
        Why the last intervals could not be read or stored yet; they wait in QEMU.
    """

    def __init__(
        self,
        monitor: Monitor,
        disk: Disk,
        log: ChangeLog,
        bitmaps: Sequence[Bitmap],
        exchange: Path | None = None,
    ) -> None:
        self.monitor, self.disk, self.log = monitor, disk, log
        self.changed: list[int] = []
        self.trouble: str | None = None
        self._bitmaps, self._exchange = list(bitmaps), exchange

    @classmethod
    def start(
        cls, monitor: Monitor, disk: Disk, folder: Path, *, grain: int, exchange: Path | None = None,
        **about: Any,
    ) -> Self:  # fmt: skip
        """Begin a recording.

        Parameters
        ----------
        monitor : Monitor
            The QEMU.
        disk : Disk
            Which disk.
        folder : Path
            The folder to make.
        grain : int
            What one bit stands for, a power of two.  [bytes]
        exchange : Path, optional
            A folder in which QEMU may open files.
        **about
            What the folder is to remember.

        Returns
        -------
        BitmapRecorder
            At work.

        Raises
        ------
        UsageError
            The folder exists, or the grain is no power of two that QEMU takes.
        RecordingError
            QEMU refuses.
        """
        if grain < 512 or grain > 2**31 or grain & (grain - 1):
            raise UsageError(f"granularity {grain}: QEMU takes powers of two from 512 B to 2 GiB")
        if folder.exists():
            raise UsageError(f"{folder} exists: choose another name")
        name = secrets.token_hex(4)
        first = Bitmap(disk.node, name, time.time_ns())
        begin(monitor, first, grain=grain)
        try:
            # what keeps bitmaps from being read is found now, and not when nobody looks any more
            carried_out(monitor, [first], grain=grain, capacity=disk.capacity, folder=exchange)
            held = allocated(monitor, disk)
            known = {"unknown_at_start": held} if isinstance(held, str) else {}
            log = ChangeLog.create(
                folder, grain=grain, capacity=disk.capacity, instant=first.since_ns,
                initial=None if isinstance(held, str) else held,
                recording=name, disk=disk._asdict(), **known, **about,
            )  # fmt: skip
            log.lock()
        except BaseException:
            _remove_quietly(monitor, [first])
            raise
        return cls(monitor, disk, log, [first], exchange)

    @classmethod
    def resume(cls, monitor: Monitor, folder: Path, *, exchange: Path | None = None) -> Self:
        """Go on with a recording whose recorder was killed.

        Parameters
        ----------
        monitor : Monitor
            The QEMU.
        folder : Path
            The recording.
        exchange : Path, optional
            A folder in which QEMU may open files.

        Returns
        -------
        BitmapRecorder
            At work; what changed meanwhile counts into the interval that was running.

        Raises
        ------
        RecordingError
            It has ended, another process is at it, or QEMU has forgotten what changed since.
        StoreError
            It is no recording.
        """
        log = ChangeLog.open(folder)
        if log.ended is not None:
            raise RecordingError(f"{folder} has ended ({log.ended}): record under another name")
        log.lock()
        about = log.about["disk"]
        disk = Disk(**{**about, "names": tuple(about["names"])})
        bitmaps = bitmaps_of(monitor, disk.node, log.about["recording"])
        last = log.instants[-1]
        known = [one.since_ns for one in bitmaps]
        why: str | None = "QEMU was started anew, or its bitmap removed"
        if last in known:
            why = what_changed(monitor, disk)
        if why is not None:
            log.unlock()
            raise RecordingError(
                f"{folder} cannot go on: {why}, and what changed since is not known; "
                f"snapsim record finish makes a trace of what it has"
            )
        withdraw(monitor, log.about["recording"], folder=exchange)
        _remove_quietly(monitor, [one for one in bitmaps if one.since_ns < last])  # read before the crash
        return cls(monitor, disk, log, [one for one in bitmaps if one.since_ns >= last], exchange)

    def sample(self) -> bool:
        """End an interval and store what it changed.

        Where it cannot be read or stored just now, it waits in QEMU, and `trouble` says why.

        Returns
        -------
        bool
            Whether the recording goes on; if not, `log.ended` says why.

        Raises
        ------
        RecordingError
            The recording has to end, and what waits cannot be read: QEMU still has it.
        """
        before = self._bitmaps[-1]
        after = before._replace(since_ns=max(time.time_ns(), before.since_ns + 1))
        try:
            try:
                cut(self.monitor, before, after, grain=self.log.grain)
            except CommandRefusedError as error:
                why = what_changed(self.monitor, self.disk) or f"QEMU says: {error.reason}"
                self._end(f"{why}; the last interval is left out")
                return False
            self._bitmaps.append(after)
            if changed := what_changed(self.monitor, self.disk):
                self._bitmaps.pop()
                _remove_quietly(self.monitor, [after])  # what it and the one before saw is not all there was
                self._end(f"{changed}; the last interval is left out")
                return False
            over = _OVER.get(self._status())
            if over is None:
                self._try_to_read()
            else:
                self._end(over)
        except MonitorLostError as error:
            self.log.end(f"{error}; the last interval is left out")
        return self.log.ended is None

    def end(self, why: str) -> None:
        """End the recording, and leave nothing in QEMU.

        Parameters
        ----------
        why : str
            The reason, for people.

        Raises
        ------
        RecordingError
            What waits cannot be read or stored: QEMU still has it, and `resume` goes on.
        """
        try:
            self._end(why)
        except MonitorLostError as error:
            self.log.end(f"{why}; {error}")

    def close(self) -> None:
        """Let go of the folder."""
        self.log.unlock()

    def _end(self, why: str) -> None:
        self._read()
        _remove_quietly(self.monitor, self._bitmaps)
        self.log.end(why)

    def _try_to_read(self) -> None:
        try:
            self._read()
            self.trouble = None
        except MonitorLostError:
            raise
        except RecordingError as error:
            self.trouble = str(error)

    def _read(self) -> None:
        """Store what the bitmaps that do not record any more have seen, then remove them."""
        seen = self._bitmaps[:-1]
        if not seen:
            return
        found = carried_out(
            self.monitor, seen, grain=self.log.grain, capacity=self.log.capacity, folder=self._exchange
        )
        for one, after, extents in zip(seen, [*seen[1:], self._bitmaps[-1]], found, strict=True):
            self.log.append(after.since_ns, extents)
            self.changed.append(int(extents[:, 1].sum()))
            self._bitmaps.remove(one)
            _remove_quietly(self.monitor, [one])

    def _status(self) -> str:
        try:
            return str(self.monitor.execute("query-status")["status"])
        except CommandRefusedError:  # qemu-storage-daemon has no guest
            return "running"


def _remove_quietly(monitor: Monitor, bitmaps: Sequence[Bitmap]) -> None:
    for one in bitmaps:
        try:
            remove(monitor, one)
        except (CommandRefusedError, MonitorLostError):  # it is gone, with its node or with QEMU
            continue


def keep_recording(
    recorders: Sequence[BitmapRecorder], stop: Stop, *, every_ns: int, until_ns: int | None = None,
    told: Callable[[BitmapRecorder], None] = lambda _: None,
) -> None:  # fmt: skip
    """Sample at the multiples of an interval since the Unix epoch, until it is enough.

    Parameters
    ----------
    recorders : sequence of BitmapRecorder
        One for each disk.
    stop : Stop
        Who may want an end earlier.
    every_ns : int
        The interval.  [ns]
    until_ns : int, optional
        When to end, Unix time.  [ns]
    told : callable
        Called after each sample.
    """
    at_work = list(recorders)
    while at_work:
        tick = (time.time_ns() // every_ns + 1) * every_ns
        stop.wait_until(tick if until_ns is None else min(tick, until_ns))
        over = until_ns is not None and time.time_ns() >= until_ns
        wanted = stop.wanted  # as it is before the samples: they have to show what was written until then
        for one in list(at_work):
            goes_on = one.sample()
            told(one)
            if goes_on and (over or wanted):
                one.end("it has lasted as long as asked" if over else "it was stopped")
            if one.log.ended is not None:
                at_work.remove(one)


def to_trace(log: ChangeLog) -> "ChangeTrace":
    """Make a trace of a recording.

    Parameters
    ----------
    log : ChangeLog
        The recording, ended or not.

    Returns
    -------
    ChangeTrace
        What changed between the instants.

    Raises
    ------
    RecordingError
        It has one instant only.
    """
    if len(log.instants) < 2:
        raise RecordingError(f"{log.folder} has no interval that has ended: there is nothing to make of it")
    from snapsim.traces.changes import Changed, ChangeTrace

    why = log.about.get("unknown_at_start")
    unknown = [] if why is None else [f"What the image held when it began is not known: {why}."]
    changes = [None, *(Changed(written=extents, discarded=None) for extents in log.changes())]
    return ChangeTrace.from_changes(
        log.instants,
        changes,
        capacity=log.capacity,
        grain=log.grain,
        initial=log.initial(),
        format="dirty-bitmaps",
        source=log.folder.name.removesuffix(".recording"),
        notes=("Recorded by dirty bitmaps, in which a discard is a write.", *unknown),
    )


def clean(monitor: Monitor, *, exchange: Path | None = None) -> dict[str, int]:
    """Remove everything of ours from a QEMU: what recorders that were killed have left.

    Parameters
    ----------
    monitor : Monitor
        The QEMU.
    exchange : Path, optional
        A folder in which QEMU may open files; a private one in the folder for temporary files unless given.

    Returns
    -------
    dict of str to int
        How many bitmaps were removed, by recording.
    """
    bitmaps = ours_everywhere(monitor)
    counts = dict(Counter(one.recording for one in bitmaps))
    for recording in counts:
        withdraw(monitor, recording, folder=exchange)
    for one in bitmaps:
        remove(monitor, one)
    return counts
