"""Merging sorted streams of columns in bounded memory."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Columns = tuple[npt.NDArray[Any], ...]
"""Columns of equal length; the first is the time, the second a sequence number that decides between equal times."""


class Stream(NamedTuple):
    """Rows sorted by (time, sequence).

    Attributes
    ----------
    first_ns : int
        Time of its first row, or any earlier time: the stream is not opened before the merge gets there.  [ns]
    open : callable
        Returns an iterator of its rows, a piece at a time.
    """

    first_ns: int
    open: Callable[[], Iterator[Columns]]


@dataclass
class _Cursor:
    """An open stream and the piece of it that was not yet given out."""

    pieces: Iterator[Columns]
    piece: Columns = field(default=())

    def refill(self) -> bool:
        while not self.piece or not len(self.piece[0]):
            piece = next(self.pieces, None)
            if piece is None:
                return False
            self.piece = piece
        return True

    def take(self, time: int, sequence: int) -> Columns:
        """Take off the rows up to and including (time, sequence)."""
        times = self.piece[0]
        low, high = np.searchsorted(times, time, "left"), np.searchsorted(times, time, "right")
        stop = int(low + np.searchsorted(self.piece[1][low:high], sequence, "right"))
        taken = tuple(column[:stop] for column in self.piece)
        self.piece = tuple(column[stop:] for column in self.piece)
        return taken


def merged(streams: Sequence[Stream]) -> Iterator[Columns]:
    """Merge streams into one that is sorted by (time, sequence).

    Memory is that of one piece of each stream that overlaps the others at the time.

    Parameters
    ----------
    streams : sequence of Stream
        Sorted; sequence numbers differ between rows of equal time.

    Yields
    ------
    tuple of arrays
        Columns of the next rows, at least one row.
    """
    waiting = sorted(streams, key=lambda stream: stream.first_ns, reverse=True)
    cursors: list[_Cursor] = []
    while waiting or cursors:
        limit = min(((int(c.piece[0][-1]), int(c.piece[1][-1])) for c in cursors), default=None)
        while waiting and (limit is None or waiting[-1].first_ns <= limit[0]):
            cursor = _Cursor(waiting.pop().open())
            if cursor.refill():
                cursors.append(cursor)
                end = (int(cursor.piece[0][-1]), int(cursor.piece[1][-1]))
                limit = end if limit is None else min(limit, end)
        if limit is None:
            return
        parts = [part for cursor in cursors if len((part := cursor.take(*limit))[0])]
        cursors = [cursor for cursor in cursors if cursor.refill()]
        yield parts[0] if len(parts) == 1 else _interleaved(parts)


def _interleaved(parts: list[Columns]) -> Columns:
    columns = tuple(np.concatenate(pieces) for pieces in zip(*parts, strict=True))
    order = np.lexsort((columns[1], columns[0]))
    return tuple(column[order] for column in columns)
