"""Requests on a device: when each is issued, starts and finishes.

Open loop: requests come when the trace says.  Closed loop: each user issues the next request some time after
the last one finished.  A request is a list of operations in stages; those of one stage run at the same time,
and the next stage begins when all of them are done.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from snapsim.devices import ServiceParameters
from snapsim.engine import queueing_kernels as kernels
from snapsim.errors import UsageError
from snapsim.types import Int64Array, UInt8Array

__all__ = ["Load", "LoadSeries", "Served", "Work", "cold_volume", "serve"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Work:
    """What requests ask of a device.

    Attributes
    ----------
    op : uint8 array, shape (n_ops,)
        Op codes.
    offset, length : int64 arrays, shape (n_ops,)
        [bytes]
    first_op : int64 array, shape (n_requests + 1,)
        First operation of each request, and the end; a request may have none.
    stage : int64 array, shape (n_ops,)
        Not decreasing inside a request.
    """

    op: UInt8Array
    offset: Int64Array
    length: Int64Array
    first_op: Int64Array
    stage: Int64Array

    @classmethod
    def single(cls, op: npt.ArrayLike, offset: npt.ArrayLike, length: npt.ArrayLike) -> "Work":
        """Return the work of requests that are one operation each."""
        codes = np.ascontiguousarray(op, np.uint8)
        return cls(
            op=codes,
            offset=np.ascontiguousarray(offset, np.int64),
            length=np.ascontiguousarray(length, np.int64),
            first_op=np.arange(len(codes) + 1, dtype=np.int64),
            stage=np.zeros(len(codes), np.int64),
        )

    def columns(self) -> tuple[UInt8Array, Int64Array, Int64Array, Int64Array, Int64Array, Int64Array]:
        """Return what kernels take: the columns, and the request of each operation."""
        request = np.repeat(np.arange(len(self.first_op) - 1, dtype=np.int64), np.diff(self.first_op))
        return self.op, self.offset, self.length, self.stage, self.first_op, request


@dataclass(frozen=True, kw_only=True)
class Load:
    """How hard a device has to work.

    Attributes
    ----------
    utilisation : float
        Share of the channels' time, from the first request to the last finish, that is service.
    offered : float
        Work that comes a second over what the device can do in one; of the channels or of its limits,
        whichever is worse.  NaN in a closed loop, where work comes only when some is done.
    longest_queue : int
        Most operations waiting at a time.
    drain_ns : int
        From the last arrival to the last finish.  [ns]
    saturated : bool
        More is offered than the device can do: waits grow as long as the trace lasts, and latencies say
        nothing but how long it is.
    """

    utilisation: float
    offered: float
    longest_queue: int
    drain_ns: int
    saturated: bool

    @classmethod
    def of(
        cls,
        *,
        requests: int,
        first: int,
        last: int,
        end: int,
        work: int,
        gated: int,
        channels: int,
        longest_queue: int,
        open_loop: bool = True,
    ) -> "Load":
        """Return the load of requests from `first` to `last`, finished at `end`, that took `work` in all."""
        offered = float("nan")
        if open_loop:
            # n arrivals span n - 1 gaps
            needed = max(work / channels, gated) * (requests - 1) / requests
            offered = needed / (last - first) if last > first else float(needed > 0)
        return cls(
            utilisation=work / (channels * (end - first)) if end > first else 0.0,
            offered=offered,
            longest_queue=longest_queue,
            drain_ns=end - last,
            saturated=bool(offered >= 1),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadSeries:
    """Load, interval by interval.

    Attributes
    ----------
    start_ns : int64 array, shape (n_intervals,)
        Where each begins.  [ns]
    arrivals : int64 array, shape (n_intervals,)
        Requests issued in it.
    utilisation : float64 array, shape (n_intervals,)
        Share of its channels' time that is service.
    backlog : int64 array, shape (n_intervals,)
        Requests issued and not finished at its end.
    saturated : bool array, shape (n_intervals,)
        Work that came in it would have taken longer than it.
    """

    start_ns: Int64Array
    arrivals: Int64Array
    utilisation: npt.NDArray[np.float64]
    backlog: Int64Array
    saturated: npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Served:
    """When everything happened.

    Attributes
    ----------
    issued_ns, finish_ns : int64 arrays, shape (n_requests,)
        [ns]
    op_start_ns, op_finish_ns : int64 arrays, shape (n_ops,)
        Of the service, without the wait.  [ns]
    channels : int
        Of the device.
    gated_ns : int
        Least time that the device's limits allow for all of it.  [ns]
    longest_queue : int
        Most operations waiting at a time.
    open_loop : bool
        Whether arrivals were given.
    first_op : int64 array, shape (n_requests + 1,)
        As given.
    """

    issued_ns: Int64Array
    finish_ns: Int64Array
    op_start_ns: Int64Array
    op_finish_ns: Int64Array
    channels: int
    gated_ns: int
    longest_queue: int
    open_loop: bool
    first_op: Int64Array

    @property
    def latency_ns(self) -> Int64Array:
        """From issue to finish of each request.  [ns]"""
        return self.finish_ns - self.issued_ns

    @property
    def start_ns(self) -> Int64Array:
        """When the first operation of each request started; its finish where it has none.  [ns]"""
        begin, end = self.first_op[:-1], self.first_op[1:]
        starts = self.finish_ns.copy()
        some = end > begin
        if some.any():
            starts[some] = np.minimum.reduceat(self.op_start_ns, begin[some])
        return starts

    def load(self) -> Load:
        """Say how hard the device had to work.

        Returns
        -------
        Load
            Of the whole.
        """
        if len(self.issued_ns) == 0:
            return Load(utilisation=0.0, offered=0.0, longest_queue=0, drain_ns=0, saturated=False)
        work = int((self.op_finish_ns - self.op_start_ns).sum())
        first, last = int(self.issued_ns.min()), int(self.issued_ns.max())
        end = int(self.finish_ns.max())
        return Load.of(
            requests=len(self.issued_ns),
            first=first,
            last=last,
            end=end,
            work=work,
            gated=self.gated_ns,
            channels=self.channels,
            longest_queue=self.longest_queue,
            open_loop=self.open_loop,
        )

    def load_series(self, interval_ns: int) -> LoadSeries:
        """Say how hard the device had to work, interval by interval.

        Parameters
        ----------
        interval_ns : int
            Length of an interval; the first begins at a multiple of it.  [ns]

        Returns
        -------
        LoadSeries
            From the first request to the last finish.

        Raises
        ------
        UsageError
            The interval is not at least 1 ns.
        """
        if interval_ns < 1:
            raise UsageError("an interval must be at least 1 ns")
        if len(self.issued_ns) == 0:
            none = np.empty(0, np.int64)
            return LoadSeries(
                start_ns=none, arrivals=none, utilisation=np.empty(0), backlog=none, saturated=none > 0
            )
        first = int(self.issued_ns.min()) // interval_ns
        last = int(self.finish_ns.max()) // interval_ns
        edges = np.arange(first, last + 2, dtype=np.int64) * interval_ns
        arrived = np.searchsorted(np.sort(self.issued_ns), edges)
        # what finishes at an edge is finished there, unless it only arrives there
        at_once = self.finish_ns == self.issued_ns
        finished = np.searchsorted(np.sort(self.finish_ns[~at_once]), edges, side="right")
        finished += np.searchsorted(np.sort(self.finish_ns[at_once]), edges)
        busy = _before(self.op_start_ns, edges) - _before(self.op_finish_ns, edges)
        service = self.op_finish_ns - self.op_start_ns
        running = np.concatenate((np.zeros(1, np.int64), np.cumsum(service)))
        by_request = running[self.first_op[1:]] - running[self.first_op[:-1]]
        offered = np.zeros(len(edges) - 1, np.int64)
        np.add.at(offered, self.issued_ns // interval_ns - first, by_request)
        space = self.channels * interval_ns
        return LoadSeries(
            start_ns=edges[:-1],
            arrivals=np.diff(arrived),
            utilisation=np.asarray(np.diff(busy) / space, np.float64),
            backlog=(arrived - finished)[1:],
            saturated=offered > space,
        )


def _before(times: Int64Array, edges: Int64Array) -> Int64Array:
    """Return how long before each edge the times lie, summed; sums wrap round, differences are right."""
    ordered = np.sort(times)
    running = np.concatenate((np.zeros(1, np.int64), np.cumsum(ordered)))
    count = np.searchsorted(ordered, edges)
    return count * edges - running[count]


def cold_volume(parameters: ServiceParameters, capacity: int) -> UInt8Array:
    """Return the state of a volume that was just restored: every unit has to be fetched.

    Parameters
    ----------
    parameters : ServiceParameters
        The device.
    capacity : int
        Size of the volume.  [bytes]

    Returns
    -------
    uint8 array, shape (n_units,)
        1 where a unit is cold; empty where nothing on this device ever is.
    """
    units = -(-capacity // parameters.cold_unit) if parameters.cold_unit else 0
    return np.ones(units, np.uint8)


def serve(
    parameters: ServiceParameters,
    time_ns: npt.ArrayLike,
    work: Work,
    *,
    user: npt.ArrayLike | None = None,
    cold: UInt8Array | None = None,
) -> Served:
    """Serve requests on a device.

    Parameters
    ----------
    parameters : ServiceParameters
        The device: `snapsim.device(...).parameters()`.
    time_ns : int64 array, shape (n_requests,)
        Open loop: when each request is issued.  Closed loop: how long its user thinks before it; the first
        of a user counts from 0.  [ns]
    work : Work
        What the requests do.
    user : int64 array, shape (n_requests,), optional
        Closed loop: whose request it is; each user has one request at a time, in the order given.
    cold : uint8 array, shape (n_units,), optional
        Which units have to be fetched (`cold_volume`); is updated.

    Returns
    -------
    Served
        When everything happened.

    Raises
    ------
    UsageError
        Arrays do not fit together, or think times are negative.
    """
    time = np.ascontiguousarray(time_ns, np.int64)
    n = len(time)
    check_work(time, work)
    follower, is_first = np.full(n, kernels.OPEN, np.int64), np.ones(n, np.bool_)
    if user is not None:
        users = np.ascontiguousarray(user, np.int64)
        if len(users) != n:
            raise UsageError(f"user has {len(users)} entries for {n} requests")
        if np.any(time < 0):
            raise UsageError("think times must not be negative")
        order = np.argsort(users, kind="stable")
        same = users[order[1:]] == users[order[:-1]]
        follower[order[:-1][same]] = order[1:][same]
        is_first[order[1:][same]] = False
    issued, finish = np.zeros(n, np.int64), np.zeros(n, np.int64)
    start, end = np.zeros(len(work.op), np.int64), np.zeros(len(work.op), np.int64)
    state = fresh_state(parameters, n_ops=len(work.op), next_op=work.first_op[:-1].copy())
    expect(state, time, np.flatnonzero(is_first))
    kernels.serve_requests(
        parameters,
        kernels.NEVER,
        state,
        time,
        follower,
        *work.columns(),
        np.empty(0, np.uint8) if cold is None else cold,
        issued,
        finish,
        start,
        end,
    )
    totals = state.totals
    return Served(
        issued_ns=issued,
        finish_ns=finish,
        op_start_ns=start,
        op_finish_ns=end,
        channels=parameters.channels,
        gated_ns=int(totals[kernels.GATED]),
        longest_queue=int(totals[kernels.LONGEST]),
        open_loop=user is None,
        first_op=work.first_op,
    )


def fresh_state(parameters: ServiceParameters, *, n_ops: int, next_op: Int64Array) -> kernels.QueueState:
    """Return the state of an idle device."""
    cursor = np.zeros(kernels.N_CURSOR, np.int64)
    cursor[kernels.HEAD], cursor[kernels.GATE] = kernels.OPEN, -(1 << 62)
    return kernels.QueueState(
        due_time=np.zeros(len(next_op), np.int64),
        due_item=np.zeros(len(next_op), np.int64),
        busy_time=np.zeros(parameters.channels, np.int64),
        busy_item=np.zeros(parameters.channels, np.int64),
        queue=np.zeros(n_ops, np.int64),
        overtaken=np.zeros(n_ops, np.int64),
        next_op=next_op,
        left=np.zeros(len(next_op), np.int64),
        cursor=cursor,
        totals=np.zeros(kernels.N_TOTALS, np.int64),
    )


def expect(state: kernels.QueueState, time: Int64Array, requests: Int64Array) -> None:
    """Let requests become due at their times."""
    ordered = requests[np.argsort(time[requests], kind="stable")]
    state.due_item[: len(ordered)] = ordered
    state.due_time[: len(ordered)] = time[ordered]
    state.cursor[kernels.DUE], state.cursor[kernels.COMING] = 0, 0
    state.cursor[kernels.COMING_TO] = len(ordered)


def check_work(time: Int64Array, work: Work) -> None:
    """Refuse arrays that do not fit together.

    Raises
    ------
    UsageError
        With what is wrong.
    """
    n_ops = len(work.op)
    if len(work.first_op) != len(time) + 1:
        raise UsageError(
            f"first_op has {len(work.first_op)} entries for {len(time)} requests: one more is needed"
        )
    if not len(work.offset) == len(work.length) == len(work.stage) == n_ops:
        raise UsageError("op, offset, length and stage must have the same length")
    if work.first_op[0] != 0 or work.first_op[-1] != n_ops or np.any(np.diff(work.first_op) < 0):
        raise UsageError("first_op must rise from 0 to the number of operations")
    if n_ops and (work.op.max() > kernels.FLUSH or min(work.offset.min(), work.length.min()) < 0):
        raise UsageError("an operation has an unknown op code, a negative offset or a negative length")
    falls = np.flatnonzero(np.diff(work.stage) < 0) + 1
    if not np.isin(falls, work.first_op).all():
        raise UsageError("stages must not decrease inside a request")
