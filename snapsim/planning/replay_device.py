"""The guest and what is done to snapshots on one device: who waits for whom.

What stops the guest, as taking a snapshot does, is alone on the device: what the guest asked for before is
finished first, and what it asks for in the meantime waits.  A merge runs in the background: its parts come at
a pace and stand in the same queue as the guest's requests.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from snapsim.devices import ServiceParameters
from snapsim.engine.device_queue import Completed, DeviceQueue
from snapsim.engine.queueing import Load, Work
from snapsim.types import READ, Int64Array
from snapsim.units import SECOND

__all__ = ["MERGE", "STOP", "Finished", "Pace", "SharedDevice", "merge_parts"]

STOP, MERGE = -1, -2
"""Kinds of requests that are not the guest's; the n-th merge is `MERGE - n`.  Others are op codes."""

_TOGETHER = 1 << 16  # requests that are handed to the queue at a time


class Finished(NamedTuple):
    """Requests that are done.

    Attributes
    ----------
    arrival_ns : int64 array, shape (n,)
        When the guest asked for it; a part of a merge: when it was due.  [ns]
    finish_ns : int64 array, shape (n,)
        [ns]
    kind : int64 array, shape (n,)
        Op codes; `STOP`, `MERGE` and less.
    service_ns : int64 array, shape (n,)
        Time that the device worked on it.  [ns]
    """

    arrival_ns: Int64Array
    finish_ns: Int64Array
    kind: Int64Array
    service_ns: Int64Array


class _Waiting(NamedTuple):
    """Requests that are still to be handed to the queue."""

    arrival: Int64Array
    kind: Int64Array
    work: Work


class Pace:
    """When the parts of merges are due: one merge after the other, at a speed.

    Parameters
    ----------
    speed : int
        [bytes/s]
    """

    def __init__(self, speed: int) -> None:
        self._speed = speed
        self._free = -(1 << 62)

    def due(self, time_ns: int, sizes: Int64Array) -> tuple[Int64Array, int]:
        """Return when each part is due, and when the last has been given its time.

        Parameters
        ----------
        time_ns : int
            When the merge is asked for.  [ns]
        sizes : int64 array, shape (n_parts,)
            [bytes]

        Returns
        -------
        tuple of int64 array, shape (n_parts,), and int
            [ns]
        """
        start = max(time_ns, self._free)
        edges = np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes)))
        seconds, rest = np.divmod(edges, self._speed)
        times = start + seconds * SECOND + (rest * (SECOND / self._speed)).astype(np.int64)
        self._free = int(times[-1])
        return times[:-1], self._free


def merge_parts(work: Work) -> Int64Array:
    """Return what each part of a merge moves: what it reads or what it writes, whichever is more.  [bytes]"""
    request, n = work.columns()[-1], len(work.first_op) - 1
    reading = work.op == READ
    moved = [np.bincount(request[of], work.length[of], minlength=n) for of in (reading, ~reading)]
    return np.maximum(*moved).astype(np.int64)


class SharedDevice:
    """A device that the guest shares with what snapshots cost.

    Times are those of the trace.

    Parameters
    ----------
    parameters : ServiceParameters
        The device.
    listen : callable
        Is told which requests are `Finished`.
    first_ns : int
        When something comes first; before the trace's start where a snapshot is taken there.  [ns]
    """

    def __init__(
        self, parameters: ServiceParameters, listen: Callable[[Finished], None], *, first_ns: int = 0
    ) -> None:
        self._origin = min(first_ns, 0)  # a queue's clock knows no negative times
        self._queue = DeviceQueue(parameters)
        self._listen, self._channels = listen, parameters.channels
        self._guest: list[_Waiting] = []
        self._collected = 0
        self._parts = _Waiting(*_nothing())
        self._resume = -(1 << 62)
        self._n = self._work = self._stops = 0
        self._first, self._last, self._end = (1 << 62), -(1 << 62), -(1 << 62)
        self._number = self._arrival = self._kind = np.empty(0, np.int64)

    def guest(self, arrival_ns: Int64Array, kind: Int64Array, work: Work) -> None:
        """Take the guest's next requests.

        Parameters
        ----------
        arrival_ns : int64 array, shape (n_requests,)
            Not decreasing.  [ns]
        kind : int64 array, shape (n_requests,)
            Op codes.
        work : Work
            What they do.
        """
        self._guest.append(_Waiting(arrival_ns, kind, work))
        self._collected += len(arrival_ns)
        if self._collected >= _TOGETHER:
            self._hand_over(int(arrival_ns[-1]))

    def merge(self, due_ns: Int64Array, work: Work, *, number: int) -> None:
        """Take the parts of a merge.

        Parameters
        ----------
        due_ns : int64 array, shape (n_parts,)
            After those of earlier merges.  [ns]
        work : Work
            A request for each part.
        number : int
            Counts merges.
        """
        kind = np.full(len(due_ns), MERGE - number, np.int64)
        self._parts = _together([self._parts, _Waiting(due_ns, kind, work)])

    def alone(self, time_ns: int, work: Work) -> int:
        """Do something that the guest waits for: nothing else is served in the meantime.

        Parameters
        ----------
        time_ns : int
            When it is asked for.  [ns]
        work : Work
            What it does, one request after the other.

        Returns
        -------
        int
            When the guest goes on.  [ns]
        """
        if not len(work.op):
            return time_ns
        self._hand_over(time_ns)
        now = max(time_ns, self._resume, self._finished(self._queue.finish()))
        for place in range(len(work.first_op) - 1):
            part = _select(work, np.array([place]))
            waiting = _Waiting(np.array([time_ns]), np.full(1, STOP, np.int64), part)
            earlier = self._add(np.array([now]), waiting)
            now = max(now, self._finished(earlier), self._finished(self._queue.finish()))
        self._resume = now
        return now

    def finish(self) -> None:
        """Let everything end that is asked for."""
        self._hand_over((1 << 63) - 1)
        self._finished(self._queue.finish())

    def load(self, *, limits_ns: int) -> Load:
        """Say how hard the device had to work, complete after `finish`.

        What waits for a snapshot to be taken is issued later than it came: what is offered is judged by when
        it came.

        Parameters
        ----------
        limits_ns : int
            Least time that the device's limits allow for all of it.  [ns]

        Returns
        -------
        Load
            Of the whole.
        """
        queue = self._queue.load()
        if self._last < self._first:
            return queue
        return Load.of(
            requests=self._n,
            first=self._first,
            last=self._last,
            end=max(self._end, self._last),
            work=self._work,
            gated=limits_ns,
            channels=self._channels,
            longest_queue=queue.longest_queue,
        )

    def _hand_over(self, until: int) -> None:
        """Give the queue what the guest asked for, and the parts of merges that are due before `until`."""
        n = int(np.searchsorted(self._parts.arrival, until))
        due, self._parts = _first(self._parts, n), _rest(self._parts, n)
        # at one time the guest comes first, wherever batches end
        both = _together([*self._guest, due])
        order = np.argsort(both.arrival, kind="stable")
        self._guest, self._collected = [], 0
        if len(order):
            chosen = _Waiting(both.arrival[order], both.kind[order], _select(both.work, order))
            self._finished(self._add(np.maximum(chosen.arrival, self._resume), chosen))

    def _add(self, issue: Int64Array, waiting: _Waiting) -> Completed:
        n = len(issue)
        if waiting.kind[0] != STOP:
            if self._last >= self._first:
                self._work += self._stops
            self._stops = 0
            self._first = min(self._first, int(waiting.arrival[0]))
            self._last = max(self._last, int(waiting.arrival[-1]))
        self._number = np.concatenate((self._number, self._n + np.arange(n, dtype=np.int64)))
        self._arrival = np.concatenate((self._arrival, waiting.arrival))
        self._kind = np.concatenate((self._kind, waiting.kind))
        self._n += n
        return self._queue.add(issue - self._origin, waiting.work)

    def _finished(self, done: Completed) -> int:
        """Tell who listens; return when the last of them was finished."""
        if not len(done.request):
            return -(1 << 62)
        place = np.searchsorted(self._number, done.request)
        finish = done.finish_ns + self._origin
        self._listen(Finished(self._arrival[place], finish, self._kind[place], done.service_ns))
        stops = self._kind[place] == STOP
        # what is done to snapshots before the first request and after the last one says nothing about them
        self._stops += int(done.service_ns[stops].sum())
        self._work += int(done.service_ns[~stops].sum())
        self._end = max(self._end, int(finish[~stops].max(initial=self._end)))
        left = np.ones(len(self._number), np.bool_)
        left[place] = False
        self._number, self._arrival, self._kind = (
            column[left] for column in (self._number, self._arrival, self._kind)
        )
        return int(finish.max())


def _nothing() -> tuple[Int64Array, Int64Array, Work]:
    empty = np.empty(0, np.int64)
    return empty, empty, Work.single(empty, empty, empty)


def _together(parts: list[_Waiting]) -> _Waiting:
    works = [part.work for part in parts]
    ends = np.cumsum([0, *(len(work.op) for work in works)])
    first = [work.first_op[:-1] + end for work, end in zip(works, ends[:-1], strict=True)]
    return _Waiting(
        np.concatenate([part.arrival for part in parts]),
        np.concatenate([part.kind for part in parts]),
        Work(
            op=np.concatenate([work.op for work in works]),
            offset=np.concatenate([work.offset for work in works]),
            length=np.concatenate([work.length for work in works]),
            stage=np.concatenate([work.stage for work in works]),
            first_op=np.concatenate((*first, ends[-1:])),
        ),
    )


def _select(work: Work, order: Int64Array) -> Work:
    """Return some requests in another order."""
    sizes = np.diff(work.first_op)[order]
    first = np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes)))
    ops = np.repeat(work.first_op[:-1][order] - first[:-1], sizes) + np.arange(first[-1])
    return Work(
        op=work.op[ops],
        offset=work.offset[ops],
        length=work.length[ops],
        stage=work.stage[ops],
        first_op=first,
    )


def _first(waiting: _Waiting, n: int) -> _Waiting:
    order = np.arange(n, dtype=np.int64)
    return _Waiting(waiting.arrival[:n], waiting.kind[:n], _select(waiting.work, order))


def _rest(waiting: _Waiting, n: int) -> _Waiting:
    order = np.arange(n, len(waiting.arrival), dtype=np.int64)
    return _Waiting(waiting.arrival[n:], waiting.kind[n:], _select(waiting.work, order))
