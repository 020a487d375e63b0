"""Count what a program does to its files: every read, write and flush that reaches the operating system.

`/proc/PID/io` counts bytes too, but with those of pipes and event counters, and it knows no flushes and no
offsets.  strace knows all of it, and which file it was.  The program is expected to prompt before it takes
each line of its input, as qemu-io does: the prompts cut the calls into one step a line.
"""

import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from snapsim.types import Int64Array
from snapsim.validation.running import run

__all__ = ["FLUSHED", "PREPARED", "READ_CALL", "WRITTEN", "Calls", "count_calls", "parse_calls"]

READ_CALL, WRITTEN, FLUSHED, PREPARED = range(4)
"""Kinds of calls; what is `PREPARED` was given space, or made to read as zeros, without being written."""

_KINDS = {
    "pread64": READ_CALL,
    "preadv": READ_CALL,
    "preadv2": READ_CALL,
    "pwrite64": WRITTEN,
    "pwritev": WRITTEN,
    "pwritev2": WRITTEN,
    "fdatasync": FLUSHED,
    "fsync": FLUSHED,
    "fallocate": PREPARED,
}
_TRACED = ",".join([*_KINDS, "write"])

# 463   pwrite64(4</images/top.qcow2>, ""..., 65536, 131072) = 65536
_LINE = re.compile(r"^(?P<thread>\d+) +(?P<rest>.*)$")
_UNFINISHED = " <unfinished ...>"
_RESUMED = re.compile(r"^<\.\.\. \w+ resumed>")
_CALL = re.compile(r"^(?P<name>\w+)\((?P<fd>\d+)<(?P<path>[^>]*)>(?P<arguments>.*)\) += (?P<result>-?\d+)")
_OFFSET = re.compile(r"(\d+)$")
_RANGE = re.compile(r"(\d+), (\d+)$")


class Calls(NamedTuple):
    """System calls on files, in the order in which they were made.

    Attributes
    ----------
    step : int64 array, shape (n_calls,)
        The line of input that they belong to, from 1; 0 is before the first, n_lines + 1 after the last.
    kind : int64 array, shape (n_calls,)
        `READ_CALL`, `WRITTEN`, `FLUSHED` or `PREPARED`.
    file : int64 array, shape (n_calls,)
        Index into `files`.
    offset, length : int64 arrays, shape (n_calls,)
        What was read or written; 0 for a flush.  [bytes]
    files : tuple of str
        Paths.
    """

    step: Int64Array
    kind: Int64Array
    file: Int64Array
    offset: Int64Array
    length: Int64Array
    files: tuple[str, ...]

    def select(self, which: npt.NDArray[np.bool_]) -> "Calls":
        """Return some of the calls.

        Parameters
        ----------
        which : bool array, shape (n_calls,)
            The ones that are wanted.

        Returns
        -------
        Calls
            With the same `files`.
        """
        step, kind, file, offset, length = (column[which] for column in self[:5])
        return Calls(step, kind, file, offset, length, self.files)

    def number(self, kind: int, n_lines: int) -> Int64Array:
        """Return how many calls of a kind each step made, shape (n_lines + 2,)."""
        return np.bincount(self.step[self.kind == kind], minlength=n_lines + 2)

    def bytes(self, kind: int, n_lines: int) -> Int64Array:
        """Return how many bytes each step moved with calls of a kind, shape (n_lines + 2,)."""
        some = self.kind == kind
        total = np.zeros(n_lines + 2, np.int64)
        np.add.at(total, self.step[some], self.length[some])
        return total


def count_calls(command: Sequence[str], lines: Sequence[str]) -> Calls:
    """Run a program that prompts for its input and count its calls on files.

    Parameters
    ----------
    command : sequence of str
        The program and its arguments.
    lines : sequence of str
        Its input.

    Returns
    -------
    Calls
        Those that succeeded.

    Raises
    ------
    SnapsimError
        strace or the program is missing, or the program failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "calls"
        tracer = ["strace", "-f", "-y", "--seccomp-bpf", "-s", "0", "-e", f"trace={_TRACED}"]
        run(
            *tracer,
            "-e",
            "signal=none",
            "-o",
            str(log),
            *command,
            text="".join(f"{line}\n" for line in lines),
        )
        with log.open(encoding="utf-8", errors="replace") as text:
            return parse_calls(text)


def parse_calls(lines: Iterable[str]) -> Calls:
    """Read what strace wrote (`-f -y -s 0`).

    Parameters
    ----------
    lines : iterable of str
        Its lines.

    Returns
    -------
    Calls
        Those on files that succeeded.
    """
    rows: list[tuple[int, int, int, int, int]] = []
    files: dict[str, int] = {}
    step = -1  # the first prompt comes when everything is open
    for name, fd, path, arguments, result in _whole_calls(lines):
        if name == "write":
            step += fd == 1
            continue
        if result < 0 or not path.startswith("/"):
            continue
        kind = _KINDS[name]
        offset, length = _extent(name, arguments, result)
        rows.append((max(step, 0) + (step >= 0), kind, files.setdefault(path, len(files)), offset, length))
    steps, kinds, places, offsets, lengths = np.array(rows, np.int64).reshape(-1, 5).T
    return Calls(steps, kinds, places, offsets, lengths, tuple(files))


def _whole_calls(lines: Iterable[str]) -> Iterator[tuple[str, int, str, str, int]]:
    """Join what other threads interrupted; a call counts where it began."""
    begun: dict[str, str] = {}
    for line in lines:
        if (found := _LINE.match(line.rstrip("\n"))) is None:
            continue
        thread, rest = found["thread"], found["rest"]
        if rest.endswith(_UNFINISHED):
            begun[thread] = rest.removesuffix(_UNFINISHED)
            continue
        if (resumed := _RESUMED.match(rest)) is not None:
            rest = begun.pop(thread, "") + rest[resumed.end() :]
        if (call := _CALL.match(rest)) is not None:
            yield call["name"], int(call["fd"]), call["path"], call["arguments"], int(call["result"])


def _extent(name: str, arguments: str, result: int) -> tuple[int, int]:
    if name == "fallocate":
        offset, length = _RANGE.search(arguments).groups()  # type: ignore[union-attr]
        return int(offset), int(length)
    if _KINDS[name] == FLUSHED:
        return 0, 0
    if name.endswith("2"):  # preadv2 and pwritev2 end with flags
        arguments = arguments.rpartition(",")[0]
    place = _OFFSET.search(arguments)
    return int(place[1]) if place else 0, result
