"""What else decides whether a tick is run: bytes written since, events, and the run before it.

All of it is arithmetic on arrays of one entry a tick; the real run asks with arrays of one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from snapsim.errors import PolicyError
from snapsim.types import Int64Array
from snapsim.units import format_size

Overlap = Literal["skip", "queue"]
"""What happens to a tick that comes while the last snapshot is still being taken."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, or is about to, and that snapshots are taken for.

    Attributes
    ----------
    name : str
        What happened: "before-upgrade"; or a class's own name, where somebody asks for it by hand.
    time_ns : int
        When, UTC.  [ns]
    """

    name: str
    time_ns: int


class Serial(NamedTuple):
    """Runs of which no two overlap.

    Attributes
    ----------
    which : int64 array, shape (n_runs,)
        Which of the moments are run, ascending.
    at_ns : int64 array, shape (n_runs,)
        When each starts; never before its moment.  [ns]
    """

    which: Int64Array
    at_ns: Int64Array


def written_enough(
    written: npt.ArrayLike,
    *,
    min_written: int = 1,
    since: int = 0,
    written_when_taken: npt.ArrayLike | None = None,
    forced: npt.ArrayLike | None = None,
) -> npt.NDArray[np.intp]:
    """Return the ticks at which enough was written since the last one that was taken.

    Parameters
    ----------
    written : int64 array, shape (n_ticks,)
        Bytes written from the start until each tick; never descending.  [bytes]
    min_written : int
        Fewest bytes that are worth a snapshot; 1 means on any change, 0 always.  [bytes]
    since : int
        The same count at the last snapshot before the first tick; 0 if there is none.  [bytes]
    written_when_taken : int64 array, shape (n_ticks,), optional
        The same count when a tick's snapshot is really taken, where a quiet window moves it: not before the
        tick, and not after the next one.  [bytes]
    forced : bool array, shape (n_ticks,), optional
        Ticks that are taken whatever was written: events.

    Returns
    -------
    int64 array, shape (n_taken,)
        Indices of the ticks that are taken, ascending: each the first one that has enough.

    Raises
    ------
    PolicyError
        `min_written` is negative, or the count descends.

    Examples
    --------
    >>> written_enough([0, 10, 10, 30, 35], min_written=20).tolist()
    [3]
    >>> written_enough([0, 10, 10, 30, 35]).tolist()
    [1, 3, 4]
    """
    count = np.asarray(written, dtype=np.int64)
    if min_written < 0:
        raise PolicyError(f'min_written is {min_written}: give a size that is not negative, such as "1MiB"')
    _ascending(count, since)
    if min_written == 0:
        return np.arange(count.size)
    then = count if written_when_taken is None else np.asarray(written_when_taken, dtype=np.int64)
    events = np.zeros(0, dtype=np.intp) if forced is None else np.flatnonzero(np.asarray(forced))
    taken: list[int] = []
    last, index = since, -1
    while True:
        enough = int(np.searchsorted(count, last + min_written))
        event = int(np.searchsorted(events, index, side="right"))
        index = max(min(enough, int(events[event]) if event < events.size else count.size), index + 1)
        if index >= count.size:
            return np.array(taken, dtype=np.intp)
        taken.append(index)
        last = int(then[index])


def _ascending(count: Int64Array, since: int) -> None:
    rise = np.diff(count, prepend=since)
    if rise.size and rise.min() < 0:
        where = int(np.argmin(rise >= 0))
        raise PolicyError(
            f"bytes written descend at tick {where}, to {format_size(int(count[where]))}: "
            "give the bytes written since the start, not since the last tick"
        )


def event_times(events: Iterable[Event], names: Iterable[str]) -> Int64Array:
    """Return when events of some names happen.

    Parameters
    ----------
    events : iterable of Event
        What happens, in any order.
    names : iterable of str
        The names that count.

    Returns
    -------
    int64 array, shape (n_times,)
        Ascending, without repetition, UTC.  [ns]
    """
    wanted = frozenset(names)
    times = {event.time_ns for event in events if event.name in wanted}
    return np.array(sorted(times), dtype=np.int64)


def without_overlap(
    moments_ns: Int64Array, duration_ns: int | Int64Array, overlap: Overlap = "skip"
) -> Serial:
    """Return which moments are run, and when, if a run takes its time and no two may run at once.

    Parameters
    ----------
    moments_ns : int64 array, shape (n_moments,)
        When something is to be run, ascending; repeated moments are several runs.  [ns]
    duration_ns : int or int64 array, shape (n_moments,)
        How long each takes.  [ns]
    overlap : {"skip", "queue"}
        A moment during a run is left out, or waits until the runs before it have ended.

    Returns
    -------
    Serial
        The moments that are run, and when.

    Raises
    ------
    PolicyError
        A duration is negative, moments descend, or there is no such rule.
    """
    if overlap not in get_args(Overlap):
        raise PolicyError(f'overlap is {overlap!r}: give "skip" or "queue"')
    duration = np.broadcast_to(np.asarray(duration_ns, dtype=np.int64), moments_ns.shape)
    if duration.size and duration.min() < 0:
        raise PolicyError("duration of a snapshot is negative: give the time that taking it takes")
    if np.any(moments_ns[1:] < moments_ns[:-1]):
        raise PolicyError("moments have to ascend: sort them before asking which of them overlap")
    if overlap == "queue":
        # start[i] = max over j <= i of moment[j] + what runs from j on take: a running maximum
        before = np.cumsum(duration) - duration
        return Serial(np.arange(moments_ns.size), before + np.maximum.accumulate(moments_ns - before))
    ends = moments_ns + duration
    if not np.any(moments_ns[1:] < ends[:-1]):
        return Serial(np.arange(moments_ns.size), moments_ns)
    index, run = 0, []
    while index < moments_ns.size:
        run.append(index)
        # one that takes no time does not stand in its own way
        index = max(int(np.searchsorted(moments_ns, ends[index])), index + 1)
    kept = np.array(run, dtype=np.int64)
    return Serial(kept, moments_ns[kept])


def unheard(events: Sequence[Event], names: Iterable[str]) -> None:
    """Refuse events that nothing is taken for.

    Parameters
    ----------
    events : sequence of Event
        What happens.
    names : iterable of str
        The names that some class of the policy listens to.

    Raises
    ------
    PolicyError
        An event has another name.
    """
    known = dict.fromkeys(names)
    for event in events:
        if event.name not in known:
            raise PolicyError(
                f"no class takes a snapshot for event {event.name!r}: "
                f"the events are {', '.join(known) or 'none'}; give a class events = [{event.name!r}]"
            )
