"""The queueing model said slowly: one event at a time, looking through everything each time.

Readable enough to check by hand; `snapsim.engine.queueing` must agree with it to the nanosecond.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from snapsim.devices import ServiceParameters
from snapsim.types import FLUSH, READ

__all__ = ["Operation", "ReferenceDevice", "Request"]

_SECOND = 1_000_000_000


class Operation(NamedTuple):
    """One operation; those of a request with the same stage run together."""

    op: int
    offset: int
    length: int
    stage: int = 0


@dataclass
class Request:
    """A request: when it is issued (open loop), or how long its user thinks before it (closed loop)."""

    time: int
    operations: Sequence[Operation]
    user: int | None = None
    issued: int | None = None
    finish: int | None = None
    times: dict[int, tuple[int, int]] = field(default_factory=dict)  # operation -> start, finish


class ReferenceDevice:
    """A device that serves a list of requests.

    Parameters
    ----------
    parameters : ServiceParameters
        The device.
    cold : set of int
        Numbers of the units that have to be fetched.
    """

    def __init__(self, parameters: ServiceParameters, cold: set[int] | None = None) -> None:
        self.parameters = parameters
        self.cold = cold or set()
        self.head = -1
        self.gate: int | None = None

    def run(self, requests: Sequence[Request]) -> None:
        """Serve all requests; their times are written into them."""
        due = [(r.time, number) for number, r in enumerate(requests) if self._is_first(requests, number)]
        serving: list[
            tuple[int, int, int]
        ] = []  # finish, and where the operation stands among all, and whose
        waiting: list[tuple[int, int]] = []  # request, operation
        overtaken: dict[tuple[int, int], int] = {}
        left: dict[int, int] = {}
        begin = [0]
        for request in requests:
            begin.append(begin[-1] + len(request.operations))

        while due or serving:
            now = min([time for time, _ in due] + [time for time, _, _ in serving])
            while any(time == now for time, *_ in due + [entry[:2] for entry in serving]):
                done = min((entry for entry in serving if entry[0] == now), default=None)
                if done is not None:
                    serving.remove(done)
                    number = done[2]
                    left[number] -= 1
                    if left[number]:
                        continue
                else:
                    entry = min(entry for entry in due if entry[0] == now)
                    due.remove(entry)
                    number = entry[1]
                    requests[number].issued = now
                request = requests[number]
                ahead = [i for i in range(len(request.operations)) if i not in request.times]
                if not ahead:
                    request.finish = now
                    later = [
                        i for i in range(number + 1, len(requests)) if self._same_user(requests, number, i)
                    ]
                    if later:
                        due.append((now + requests[later[0]].time, later[0]))
                    continue
                stage = request.operations[ahead[0]].stage
                together = [i for i in ahead if request.operations[i].stage == stage]
                waiting += [(number, i) for i in together]
                left[number] = len(together)
            while waiting and len(serving) < self.parameters.channels:
                chosen = self._choose(requests, waiting, overtaken, now)
                for passed in waiting[: waiting.index(chosen)]:
                    overtaken[passed] = overtaken.get(passed, 0) + 1
                waiting.remove(chosen)
                number, i = chosen
                times = self._start(requests[number].operations[i], now)
                requests[number].times[i] = times
                serving.append((times[1], begin[number] + i, number))

    @staticmethod
    def _same_user(requests: Sequence[Request], one: int, other: int) -> bool:
        return requests[one].user is not None and requests[one].user == requests[other].user

    def _is_first(self, requests: Sequence[Request], number: int) -> bool:
        return not any(self._same_user(requests, before, number) for before in range(number))

    def _choose(
        self,
        requests: Sequence[Request],
        waiting: list[tuple[int, int]],
        overtaken: dict[tuple[int, int], int],
        now: int,
    ) -> tuple[int, int]:
        window = self.parameters.window
        if window == 1 or overtaken.get(waiting[0], 0) >= window:
            return waiting[0]
        return min(waiting[:window], key=lambda one: self._reach(requests[one[0]].operations[one[1]], now))

    def _reach(self, operation: Operation, now: int) -> int:
        """Return the time until the first byte; 0 for what goes nowhere."""
        p = self.parameters
        if not p.moves[operation.op]:
            return 0
        if operation.offset == self.head:
            return int(p.latency[operation.op, 1])
        taken = int(p.latency[operation.op, 0]) + self._seek(abs(operation.offset - self.head))
        if p.rotation:
            angle = operation.offset % p.track * p.rotation // p.track
            taken += (angle - (now + taken)) % p.rotation
        return taken

    def _seek(self, distance: int) -> int:
        points = list(
            zip(self.parameters.seek_distance.tolist(), self.parameters.seek_time.tolist(), strict=True)
        )
        if not points or distance == 0:
            return 0
        if distance >= points[-1][0]:
            return int(points[-1][1])
        number = max(i for i, (at, _) in enumerate(points[:-1]) if at <= distance)
        (x0, t0), (x1, t1) = points[number], points[number + 1]
        share = (distance - x0) * 1024 // (x1 - x0)
        return int(t0 + (t1 - t0) * share // 1024)

    def _start(self, operation: Operation, now: int) -> tuple[int, int]:
        p = self.parameters
        op, offset, length, _ = operation
        start = now if self.gate is None else max(now, self.gate)
        cost = max(int(p.spacing[op]), _transfer(length, int(p.throughput[op])))
        if p.moves[op]:
            rate = int(p.rate[op])
            if rate and p.inner != 1024:
                zone = min(offset // (p.capacity // 1024 + 1), 1023)
                rate = max(rate * (1024 * 1024 - (1024 - p.inner) * zone) // (1024 * 1024), 1)
            service = self._reach(operation, start) + _transfer(length, rate)
            self.head = offset + length
        else:
            service = int(p.latency[op, 0])
        service = max(service + self._fetch(operation) * p.cold_penalty, cost)
        self.gate = start + cost
        return start, start + service

    def _fetch(self, operation: Operation) -> int:
        op, offset, length, _ = operation
        if op == FLUSH or length == 0 or not self.cold:
            return 0
        unit = self.parameters.cold_unit
        touched = self.cold & set(range(offset // unit, (offset + length - 1) // unit + 1))
        self.cold -= touched
        partly = [n for n in touched if offset > n * unit or (n + 1) * unit > offset + length]
        return len(touched if op == READ else partly)


def _transfer(length: int, rate: int) -> int:
    if rate == 0:
        return 0
    if rate < 1 << 33:
        return length * _SECOND // rate
    return length // rate * _SECOND + (length % rate >> 8) * _SECOND // (rate >> 8)
