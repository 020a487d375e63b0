"""A recording of changes on disk: what was changed between instants, appended so that a crash loses nothing.

::

    NAME.recording/
        recording.json      what is recorded, and how
        initial.json        what the image held when it began: pairs of offset and length, or null
        changes.jsonl       one line for each instant, on disk before anything is forgotten elsewhere

A line of `changes.jsonl` holds the instant and what has changed since the one before, as lengths in units of
the grain that alternate between unchanged and changed, the first unchanged.  A last line says why it ended.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from snapsim.errors import RecordingError, StoreError, UsageError
from snapsim.traces.atomic import replacing
from snapsim.types import Int64Array

__all__ = ["ChangeLog", "from_runs", "to_runs"]

_FORMAT = "snapsim changes 1"


def to_runs(extents: Int64Array, grain: int) -> list[int]:
    """Write extents as alternating lengths.

    Parameters
    ----------
    extents : ndarray of int64, shape (k, 2)
        Offsets, multiples of the grain, and lengths, ascending; the last may end within a grain.  [bytes]
    grain : int
        The unit.  [bytes]

    Returns
    -------
    list of int
        Unchanged, changed, unchanged, ...  [grains]

    Examples
    --------
    >>> to_runs(np.array([[0, 8], [12, 4]]), 4)
    [0, 2, 1, 1]
    """
    starts = extents[:, 0] // grain
    ends = -(-extents.sum(axis=1) // grain)
    edges = np.column_stack((starts, ends)).ravel()
    return [int(length) for length in np.diff(edges, prepend=0)]


def from_runs(runs: list[int], grain: int, capacity: int) -> Int64Array:
    """Read what `to_runs` wrote.

    Parameters
    ----------
    runs : list of int
        Unchanged, changed, unchanged, ...  [grains]
    grain : int
        The unit.  [bytes]
    capacity : int
        Where the disk ends.  [bytes]

    Returns
    -------
    ndarray of int64, shape (k, 2)
        Offsets and lengths.  [bytes]

    Examples
    --------
    >>> from_runs([0, 2, 1, 1], 4, 14).tolist()
    [[0, 8], [12, 2]]
    """
    edges = np.minimum(np.cumsum(np.array(runs, np.int64)) * grain, capacity).reshape(-1, 2)
    return np.column_stack((edges[:, 0], edges[:, 1] - edges[:, 0]))


@dataclass
class ChangeLog:
    """A recording on disk.

    Attributes
    ----------
    folder : Path
        Where it is.
    about : dict
        What is recorded: "recording", "grain", "capacity", "disk", ...
    instants : list of int
        So far, Unix time.  [ns]
    ended : str or None
        Why it ended; None while it goes on, or where the recorder was killed.
    """

    folder: Path
    about: dict[str, Any]
    instants: list[int] = field(default_factory=list)
    ended: str | None = None

    @classmethod
    def create(
        cls,
        folder: Path,
        *,
        grain: int,
        capacity: int,
        instant: int,
        initial: Int64Array | None,
        **about: Any,
    ) -> Self:
        """Begin a recording.

        Parameters
        ----------
        folder : Path
            The folder to make.
        grain : int
            The unit of what changes.  [bytes]
        capacity : int
            Size of the disk.  [bytes]
        instant : int
            When it begins, Unix time.  [ns]
        initial : ndarray of int64, shape (k, 2), or None
            Offsets and lengths of what the image holds; None where that is not known.  [bytes]
        **about
            What else is worth knowing, as JSON can hold it.

        Returns
        -------
        ChangeLog
            With one instant.

        Raises
        ------
        UsageError
            The folder exists.
        StoreError
            It cannot be made.
        """
        if folder.exists():
            raise UsageError(f"{folder} exists: choose another name")
        known = {"kind": "changes", "format": _FORMAT, "grain": grain, "capacity": capacity, **about}
        held = None if initial is None else initial.tolist()
        with replacing(folder) as partial:
            made = partial / folder.name
            made.mkdir()
            (made / "recording.json").write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
            (made / "initial.json").write_text(json.dumps(held) + "\n", encoding="utf-8")
            (made / "changes.jsonl").write_text(json.dumps({"time_ns": instant}) + "\n", encoding="utf-8")
            for path in (*made.iterdir(), made):
                _sync(path)
        _sync(folder.parent)
        return cls(folder, known, [instant])

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open a recording that exists.

        Parameters
        ----------
        folder : Path
            The recording.

        Returns
        -------
        ChangeLog
            Up to the last whole line.

        Raises
        ------
        StoreError
            It is missing, or no recording of changes.
        """
        try:
            about = json.loads((folder / "recording.json").read_text(encoding="utf-8"))
            found = cls(folder, about)
            for line in found._lines():
                if "ended" in line:
                    found.ended = line["ended"]
                else:
                    found.instants.append(line["time_ns"])
            known = about["format"] == _FORMAT
        except FileNotFoundError as error:
            raise StoreError(f"{error.filename} is missing: {folder} is no recording of changes") from None
        except (NotADirectoryError, ValueError, KeyError, TypeError):
            known = False
        if not known:
            raise StoreError(f"{folder} is no recording of changes, or is damaged")
        if not found.instants:
            raise StoreError(f"{folder / 'changes.jsonl'} is damaged: it has no instant")
        return found

    @property
    def grain(self) -> int:
        """The unit of what changes.  [bytes]"""
        return int(self.about["grain"])

    @property
    def capacity(self) -> int:
        """Size of the disk.  [bytes]"""
        return int(self.about["capacity"])

    def append(self, instant: int, extents: Int64Array) -> None:
        """Add what changed between the last instant and this one; it is on disk when this returns.

        Parameters
        ----------
        instant : int
            Later than the last one, Unix time.  [ns]
        extents : ndarray of int64, shape (k, 2)
            Offsets and lengths, ascending.  [bytes]
        """
        self._write({"time_ns": instant, "runs": to_runs(extents, self.grain)})
        self.instants.append(instant)

    def end(self, why: str) -> None:
        """End it.

        Parameters
        ----------
        why : str
            The reason, for people.
        """
        if self.ended is None:
            self._write({"ended": why})
            self.ended = why

    def initial(self) -> list[tuple[int, int]] | None:
        """Return offsets and lengths of what the image held when it began, None if unknown.  [bytes]"""
        held = json.loads((self.folder / "initial.json").read_text(encoding="utf-8"))
        return None if held is None else [(int(offset), int(length)) for offset, length in held]

    def changes(self) -> Iterator[Int64Array]:
        """Yield what changed up to each instant but the first: offsets and lengths, shape (k, 2).  [bytes]"""
        for line in self._lines():
            if "runs" in line:
                yield from_runs(line["runs"], self.grain, self.capacity)

    def lock(self) -> None:
        """Keep other recorders out until `unlock`, or until this process ends.

        Raises
        ------
        RecordingError
            Another one is at work.
        """
        self._held = (self.folder / "changes.jsonl").open("r+b", buffering=0)
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._held.close()
            raise RecordingError(f"{self.folder} is being recorded by another process") from None
        whole = sum(map(len, self._whole_lines()))
        self._held.truncate(whole)  # the torn line that a crash may have left
        self._held.seek(whole)

    def unlock(self) -> None:
        """Let other recorders in."""
        self._held.close()

    def _write(self, line: dict[str, Any]) -> None:
        place = self._held.tell()
        try:
            rest = json.dumps(line, separators=(",", ":")).encode() + b"\n"
            while rest:
                rest = rest[self._held.write(rest) :]  # where the disk is about to be full, only a part fits
            os.fsync(self._held.fileno())
        except OSError as error:
            with suppress(OSError):
                self._held.truncate(place)
                self._held.seek(place)
            raise RecordingError(f"{self.folder} cannot be written: {error.strerror or error}") from None

    def _whole_lines(self) -> Iterator[bytes]:
        with (self.folder / "changes.jsonl").open("rb") as file:
            # the last one is torn where a crash came in between
            yield from (line for line in file if line.endswith(b"\n"))

    def _lines(self) -> Iterator[dict[str, Any]]:
        return map(json.loads, self._whole_lines())


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
