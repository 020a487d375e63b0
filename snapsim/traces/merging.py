"""Merging sorted streams of columns in bounded memory."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Columns = tuple[npt.NDArray[Any], ...]
"""Columns of equal length; first the time, second a sequence number that decides between equal times."""


_Key = tuple[int, int]
_LAST = (1 << 64, 0)


class Stream(NamedTuple):
    """Rows sorted by (time, sequence).

    Attributes
    ----------
    first_ns : int
        Time of its first row, or an earlier one: the stream is not opened before the merge gets there.  [ns]
    open : callable
        Returns an iterator of its rows, a piece at a time.
    """

    first_ns: int
    open: Callable[[], Iterator[Columns]]


@dataclass
class _Cursor:
    """An open stream and the pieces of it that were loaded and not yet given out."""

    source: Iterator[Columns]
    pieces: deque[Columns] = field(default_factory=deque)

    def load(self) -> int:
        """Load another piece; return its rows, 0 when there is none."""
        for piece in self.source:
            if len(piece[0]):
                self.pieces.append(piece)
                return len(piece[0])
        return 0

    def end(self) -> _Key:
        """Return time and sequence number of the last row that is loaded."""
        time, sequence = self.pieces[-1][:2]
        return int(time[-1]), int(sequence[-1])

    def take(self, limit: _Key) -> Iterator[Columns]:
        """Take off the rows up to and including a time and sequence number."""
        while self.pieces:
            time, sequence = self.pieces[0][:2]
            if (int(time[-1]), int(sequence[-1])) <= limit:
                yield self.pieces.popleft()
                continue
            low, high = np.searchsorted(time, limit[0], "left"), np.searchsorted(time, limit[0], "right")
            stop = int(low + np.searchsorted(sequence[low:high], limit[1], "right"))
            if stop:
                yield tuple(column[:stop] for column in self.pieces[0])
                self.pieces[0] = tuple(column[stop:] for column in self.pieces[0])
            return


def merged(streams: Sequence[Stream], *, rows: int = 1 << 19) -> Iterator[Columns]:
    """Merge streams into one that is sorted by (time, sequence).

    Pieces are loaded, always of the stream that is behind, until `rows` are in memory; then everything goes
    out that no later piece can precede.

    Parameters
    ----------
    streams : sequence of Stream
        Sorted; sequence numbers differ between rows of equal time.
    rows : int
        How many rows to hold, besides one piece of every stream that overlaps the others at the time.

    Yields
    ------
    tuple of arrays
        Columns of the next rows, at least one row.
    """
    waiting = sorted(streams, key=lambda stream: stream.first_ns, reverse=True)
    behind: list[
        tuple[_Key, int, _Cursor]
    ] = []  # a heap of the streams that may have more, by what they have
    done: list[_Cursor] = []
    opened = held = 0
    while waiting or behind or done:
        while True:
            if waiting and (not behind or waiting[-1].first_ns <= behind[0][0][0]):
                cursor = _Cursor(waiting.pop().open())
                opened += 1
                order = opened
            elif behind and (held < rows) and (len(behind) + len(done) > 1 or not held):
                _, order, cursor = heappop(behind)
            else:
                break
            loaded = cursor.load()
            held += loaded
            if loaded:
                heappush(behind, (cursor.end(), order, cursor))
            elif cursor.pieces:
                done.append(cursor)
        limit = behind[0][0] if behind else _LAST
        parts = [part for cursor in (*done, *(one for *_, one in behind)) for part in cursor.take(limit)]
        held -= sum(len(part[0]) for part in parts)
        done = [cursor for cursor in done if cursor.pieces]
        empty = [entry for entry in behind if not entry[2].pieces]
        behind = [entry for entry in behind if entry[2].pieces]
        heapify(behind)
        for _, order, cursor in empty:
            if loaded := cursor.load():
                held += loaded
                heappush(behind, (cursor.end(), order, cursor))
        if len(parts) == 1:
            yield parts[0]
        elif parts:
            yield _interleaved(parts)


def _interleaved(parts: list[Columns]) -> Columns:
    columns = tuple(np.concatenate(pieces) for pieces in zip(*parts, strict=True))
    order = np.lexsort((columns[1], columns[0]))
    return tuple(column[order] for column in columns)
