"""Requests on a device, batch by batch: what `queueing.serve` says, in the memory of what is waiting."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from snapsim.devices import ServiceParameters
from snapsim.engine import queueing_kernels as kernels
from snapsim.engine.queueing import Load, Work, check_work, expect, fresh_state
from snapsim.errors import UsageError
from snapsim.types import Int64Array, UInt8Array

__all__ = ["Completed", "DeviceQueue"]


class Completed(NamedTuple):
    """Requests that are finished.

    Attributes
    ----------
    request : int64 array, shape (n,)
        Their numbers since the beginning, increasing.
    issued_ns, finish_ns : int64 arrays, shape (n,)
        [ns]
    service_ns : int64 array, shape (n,)
        Time that their operations were served, without waiting, summed.  [ns]
    """

    request: Int64Array
    issued_ns: Int64Array
    finish_ns: Int64Array
    service_ns: Int64Array

    @property
    def latency_ns(self) -> Int64Array:
        """From issue to finish.  [ns]"""
        return self.finish_ns - self.issued_ns


class DeviceQueue:
    """A device that is given requests in an open loop, batch by batch.

    A batch may end anywhere: what comes out does not depend on it.  What is kept between batches is what is
    not finished; on a saturated device that grows, and `load` says so.

    Parameters
    ----------
    parameters : ServiceParameters
        The device.
    cold : uint8 array, shape (n_units,), optional
        Which units have to be fetched (`queueing.cold_volume`); is updated.
    """

    def __init__(self, parameters: ServiceParameters, *, cold: UInt8Array | None = None) -> None:
        self._parameters = parameters
        self._cold = np.empty(0, np.uint8) if cold is None else cold
        empty = np.empty(0, np.int64)
        self._time = self._number = self._issued = self._finish = self._service = empty
        self._work = Work.single(empty, empty, empty)
        self._state = fresh_state(parameters, n_ops=0, next_op=empty)
        self._taken = 0
        self._first: int | None = None
        self._last = self._end = 0

    @property
    def pending(self) -> int:
        """Requests that are not finished as far as is known."""
        return len(self._time)

    def add(self, time_ns: npt.ArrayLike, work: Work) -> Completed:
        """Take the next requests.

        Parameters
        ----------
        time_ns : int64 array, shape (n_requests,)
            When each is issued, not decreasing, and not before those of earlier batches.  [ns]
        work : Work
            What they do.

        Returns
        -------
        Completed
            What was finished before the last of them, whatever may still come.

        Raises
        ------
        UsageError
            Arrays do not fit together, or times decrease.
        """
        time = np.ascontiguousarray(time_ns, np.int64)
        check_work(time, work)
        n = len(time)
        if n == 0:
            return self._completed()
        if np.any(np.diff(time) < 0) or (self._first is not None and time[0] < self._last):
            raise UsageError("requests must come in order of time")
        self._first = int(time[0]) if self._first is None else self._first
        self._last = int(time[-1])
        self._append(time, work)
        return self._run(self._last)

    def finish(self) -> Completed:
        """Return the requests that are left; the device is idle afterwards.

        Returns
        -------
        Completed
            All that had not been returned.
        """
        return self._run(kernels.NEVER)

    def load(self) -> Load:
        """Say how hard the device had to work.

        Returns
        -------
        Load
            Of everything until now; complete after `finish`.
        """
        if self._first is None:
            return Load(utilisation=0.0, offered=0.0, longest_queue=0, drain_ns=0, saturated=False)
        work, gated, longest = (int(total) for total in self._state.totals)
        return Load.of(
            requests=self._taken,
            first=self._first,
            last=self._last,
            end=max(self._end, self._last),
            work=work,
            gated=gated,
            channels=self._parameters.channels,
            longest_queue=longest,
        )

    def _append(self, time: Int64Array, work: Work) -> None:
        """Put requests behind those that are carried."""
        old, state = self._work, self._state
        n_old, n_ops = len(self._time), len(old.op) + len(work.op)
        first_op = np.concatenate((old.first_op, work.first_op[1:] + len(old.op)))
        self._work = Work(
            op=np.concatenate((old.op, work.op)),
            offset=np.concatenate((old.offset, work.offset)),
            length=np.concatenate((old.length, work.length)),
            stage=np.concatenate((old.stage, work.stage)),
            first_op=first_op,
        )
        self._time = np.concatenate((self._time, time))
        more = np.zeros(len(time), np.int64)
        self._number = np.concatenate((self._number, self._taken + np.arange(len(time), dtype=np.int64)))
        self._issued, self._finish = (
            np.concatenate((each, more - 1)) for each in (self._issued, self._finish)
        )
        self._service = np.concatenate((self._service, more))
        self._taken += len(time)
        new = fresh_state(
            self._parameters, n_ops=n_ops, next_op=np.concatenate((state.next_op, first_op[n_old:-1]))
        )
        waiting = state.queue[state.cursor[kernels.WAITING_FROM] : state.cursor[kernels.WAITING_TO]]
        new.queue[: len(waiting)] = waiting
        new.overtaken[: len(state.overtaken)] = state.overtaken
        new.left[:n_old] = state.left
        new.busy_time[:], new.busy_item[:] = state.busy_time, state.busy_item
        new.cursor[:] = state.cursor
        new.cursor[kernels.WAITING_FROM], new.cursor[kernels.WAITING_TO] = 0, len(waiting)
        new.totals[:] = state.totals
        self._state = new

    def _run(self, horizon: int) -> Completed:
        expect(self._state, self._time, np.flatnonzero(self._issued < 0))
        columns = self._work.columns()
        start, end = np.zeros((2, len(self._work.op)), np.int64)  # of what is served in this call
        kernels.serve_requests(
            self._parameters,
            horizon,
            self._state,
            self._time,
            np.full(len(self._time), kernels.OPEN, np.int64),
            *columns,
            self._cold,
            self._issued,
            self._finish,
            start,
            end,
        )
        np.add.at(self._service, columns[-1], end - start)
        return self._completed()

    def _completed(self) -> Completed:
        """Return what is finished, and keep the rest under new numbers."""
        done = self._finish >= 0
        out = Completed(self._number[done], self._issued[done], self._finish[done], self._service[done])
        if not done.any():
            return out
        self._end = max(self._end, int(out.finish_ns.max()))
        kept, work, state = ~done, self._work, self._state
        sizes = np.diff(work.first_op)
        kept_ops = np.repeat(kept, sizes)
        renumbered = np.cumsum(kept_ops) - 1
        first_op = np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes[kept])))
        moved = first_op[:-1] - work.first_op[:-1][kept]
        waiting = state.queue[state.cursor[kernels.WAITING_FROM] : state.cursor[kernels.WAITING_TO]]
        serving = int(state.cursor[kernels.IN_SERVICE])
        new = fresh_state(self._parameters, n_ops=int(kept_ops.sum()), next_op=state.next_op[kept] + moved)
        new.queue[: len(waiting)] = renumbered[waiting]
        new.overtaken[:] = state.overtaken[kept_ops]
        new.left[:] = state.left[kept]
        new.busy_time[:serving] = state.busy_time[:serving]
        new.busy_item[:serving] = renumbered[state.busy_item[:serving]]
        new.cursor[:] = state.cursor
        new.cursor[kernels.WAITING_FROM], new.cursor[kernels.WAITING_TO] = 0, len(waiting)
        new.totals[:] = state.totals
        self._state = new
        self._work = Work(
            op=work.op[kept_ops],
            offset=work.offset[kept_ops],
            length=work.length[kept_ops],
            stage=work.stage[kept_ops],
            first_op=first_op,
        )
        self._time, self._number = self._time[kept], self._number[kept]
        self._issued, self._finish = self._issued[kept], self._finish[kept]
        self._service = self._service[kept]
        return out
