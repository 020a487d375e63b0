"""Quiet windows: a snapshot waits, inside a window, for the instant with the least write activity.

A copy-on-write or redirect-on-write volume pays for a snapshot with the writes that follow it, and a guest
is frozen for the moment of it; both cost least where little is written.  What counts as the activity of an
instant is what is written in the epoch that begins with it.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from snapsim.errors import PolicyError
from snapsim.policy.times import format_instant
from snapsim.types import Int64Array
from snapsim.units import format_duration


@dataclass(frozen=True, eq=False)
class QuietMoves:
    """Where the ticks of a schedule went, and what that saved.

    Attributes
    ----------
    tick_ns : int64 array, shape (n_ticks,)
        The ticks, UTC.  [ns]
    index : int64 array, shape (n_ticks,)
        The instant at which each is taken, as an index.
    at_ns : int64 array, shape (n_ticks,)
        The same as a time, UTC.  [ns]
    activity_at_tick : int64 array, shape (n_ticks,)
        What is written after the first instant not before the tick.  [the unit of `writes`]
    activity_at_move : int64 array, shape (n_ticks,)
        What is written after the chosen instant; never more.  [the unit of `writes`]
    """

    tick_ns: Int64Array
    index: Int64Array
    at_ns: Int64Array
    activity_at_tick: Int64Array
    activity_at_move: Int64Array

    @property
    def saved(self) -> int:
        """Activity that all moves together avoid.  [the unit of `writes`]"""
        return int((self.activity_at_tick - self.activity_at_move).sum())

    @property
    def moved(self) -> int:
        """Ticks that did not stay where they were."""
        return int(np.count_nonzero(self.activity_at_move < self.activity_at_tick))

    @property
    def max_delay_ns(self) -> int:
        """How long after its tick the latest snapshot is taken.  [ns]"""
        return int((self.at_ns - self.tick_ns).max(initial=0))

    def describe(self) -> str:
        """Say in a sentence what the moves saved.

        Returns
        -------
        str
            One sentence.
        """
        total = int(self.activity_at_tick.sum())
        share = f" ({100 * self.saved / total:.0f} %)" if total else ""
        return (
            f"{self.moved} of {self.tick_ns.size} snapshots moved to a quieter instant, "
            f"at most {format_duration(self.max_delay_ns)} after their tick; "
            f"activity after a snapshot falls from {total:,} to {total - self.saved:,}{share}"
        )


def quiet_moves(
    ticks: Int64Array,
    instants: Int64Array,
    writes: npt.ArrayLike,
    *,
    window_ns: int,
    within_ns: int | None = None,
) -> QuietMoves:
    """Move each tick of a schedule to the quietest instant of its window.

    The window of a tick reaches from it to `window_ns` later, and ends before the next tick.  Among equally
    quiet instants the earliest is taken.  Without an instant in its window a tick is taken at the first one
    after it, as if there were no window.

    Parameters
    ----------
    ticks : int64 array, shape (n_ticks,)
        When snapshots are due, UTC, strictly ascending.  [ns]
    instants : int64 array, shape (n_instants,)
        When snapshots can be taken, UTC, strictly ascending.  [ns]
    writes : int64 array, shape (n_instants + 1,)
        What is written in each epoch: before the first instant, between two instants, after the last one.
        Bytes or requests.  Epochs of different lengths are compared as they are.
    window_ns : int
        How long after its tick a snapshot may be taken.  [ns]
    within_ns : int, optional
        The tick after the last one, if it is known: the last window ends before it, too.  [ns]

    Returns
    -------
    QuietMoves
        The instant of each tick, and the activity there and where it would have been.

    Raises
    ------
    PolicyError
        The window is negative, the arrays do not fit together, or a tick is after the last instant.

    Examples
    --------
    >>> hour = 3600 * 10**9
    >>> quarters = np.arange(8, dtype=np.int64) * hour // 4
    >>> moves = quiet_moves(quarters[::4], quarters, [0, 9, 5, 5, 7, 1, 0, 3, 8], window_ns=hour // 2)
    >>> moves.index.tolist(), moves.saved
    ([1, 5], 5)
    """
    activity = np.asarray(writes, dtype=np.int64)
    _check(ticks, instants, activity, window_ns)
    first = np.searchsorted(instants, ticks)
    following = np.append(ticks[1:], np.iinfo(np.int64).max if within_ns is None else within_ns)
    # the window is closed, and the next tick is not in it
    stop = np.minimum(
        np.searchsorted(instants, ticks + window_ns, side="right"), np.searchsorted(instants, following)
    )
    stop = np.maximum(stop, first + 1)
    length = stop - first
    tick = np.repeat(np.arange(ticks.size), length)
    instant = np.arange(tick.size) + np.repeat(first - (np.cumsum(length) - length), length)
    order = np.lexsort((instant, activity[instant + 1], tick))
    index = instant[order][np.cumsum(length) - length]
    return QuietMoves(ticks, index, instants[index], activity[first + 1], activity[index + 1])


def _check(ticks: Int64Array, instants: Int64Array, activity: Int64Array, window_ns: int) -> None:
    if window_ns < 0:
        raise PolicyError(f'quiet window is -{format_duration(-window_ns)}: give a duration such as "30min"')
    if activity.shape != (instants.size + 1,):
        raise PolicyError(
            f"quiet window: {instants.size} instants have {instants.size + 1} epochs, but there are "
            f"counts of writes for {activity.size}: give one for each epoch, the first and the last included"
        )
    for what, times in (("ticks", ticks), ("instants", instants)):
        if np.any(times[1:] <= times[:-1]):
            raise PolicyError(f"quiet window: {what} have to ascend: sort them and drop repetitions")
    if ticks.size and (not instants.size or ticks[-1] > instants[-1]):
        raise PolicyError(
            f"quiet window: no instant follows the tick at {format_instant(int(ticks[-1]))}: "
            "leave out ticks after the last instant"
        )
