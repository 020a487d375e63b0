"""From measurements to a device: the model's parameters that explain them best."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from snapsim.devices.measuring import Reading
from snapsim.devices.model import MOST_CHANNELS, Device
from snapsim.devices.parts import FASTEST, Access, Evidence, Topic
from snapsim.errors import MeasurementError
from snapsim.units import SECOND

__all__ = ["fit_device"]

Floats = npt.NDArray[np.float64]


def fit_device(
    readings: Sequence[Reading],
    *,
    name: str,
    title: str,
    capacity: int,
    source: str,
    caveats: tuple[str, ...] = (),
) -> Device:
    """Fit a device to what was measured.

    One at a time, a request takes a time for its pattern plus its length over the rate (least squares of the
    relative error).  The channels are the most requests in service at a time: throughput times service time
    (Little's law).  The limits are the most that was seen.

    Parameters
    ----------
    readings : sequence of Reading
        Of reads and writes: random and sequential at several sizes one at a time, some with several waiting,
        and one with flushes.
    name, title : str
        Of the device.
    capacity : int
        What was measured on.  [bytes]
    source : str
        How it was measured, for the evidence.
    caveats : tuple of str
        What answers must repeat.

    Returns
    -------
    Device
        Of the kind "measured".

    Raises
    ------
    MeasurementError
        Something needed was not measured.
    """
    read, write = _access(readings, "read"), _access(readings, "write")
    flushes = [one.flush_ns for one in readings if one.job.flush]
    if not flushes:
        raise MeasurementError("no flush was measured: the plan needs a job with flushes")
    flush = round(float(np.mean(flushes)))
    channels = max(_channels(readings, "read"), _channels(readings, "write"))
    seen: tuple[Topic, ...] = ("read", "write", "flush", "parallelism")
    evidence = [Evidence(about=about, status="measured here", source=source) for about in seen]
    evidence += [
        Evidence(about="capacity", status="measured here", source="The part that was measured on."),
        Evidence(about="discard", status="assumed", source="As a flush; discards were not measured."),
    ]
    return Device(
        name=name,
        title=title,
        kind="measured",
        capacity=capacity,
        read=read,
        write=write,
        flush=flush,
        discard=flush,
        channels=channels,
        queue_depth=max(one.job.depth for one in readings),
        evidence=tuple(evidence),
        caveats=caveats,
    )


def _of(readings: Sequence[Reading], op: str) -> list[Reading]:
    found = [one for one in readings if one.job.op == op and not one.job.flush]
    if not found:
        raise MeasurementError(f"no {op} was measured")
    return found


def _access(readings: Sequence[Reading], op: str) -> Access:
    found = _of(readings, op)
    alone = [one for one in found if one.job.depth == 1]
    for kind, random in (("random", True), ("sequential", False)):
        if not any(one.job.random is random for one in alone):
            raise MeasurementError(f"no {kind} {op} was measured one at a time")
    latency = np.array([one.latency_ns for one in alone])
    columns = np.array([[one.job.random, not one.job.random, one.job.size] for one in alone], np.float64)
    random_ns, sequential_ns, byte_ns = _not_negative(columns / latency[:, None], np.ones(len(alone)))
    rate = min(round(SECOND / byte_ns), FASTEST) if byte_ns > SECOND / FASTEST else 0
    return Access(
        random=round(random_ns),
        sequential=round(sequential_ns),
        rate=rate,
        operations=max(round(max(one.operations for one in found)), 1),
        throughput=min(round(max(one.throughput for one in found)), FASTEST),
    )


def _not_negative(matrix: Floats, target: Floats) -> Floats:
    """Return the least-squares solution without negative parts: whatever would be negative is left out."""
    kept = list(range(matrix.shape[1]))
    solution = np.zeros(matrix.shape[1])
    while kept:
        part, *_ = np.linalg.lstsq(matrix[:, kept], target, rcond=None)
        if part.min() >= 0:
            solution[kept] = part
            break
        del kept[int(part.argmin())]
    return solution


def _channels(readings: Sequence[Reading], op: str) -> int:
    """Return how many of the smallest random requests are in service when most are waiting."""
    found = [one for one in _of(readings, op) if one.job.random]
    smallest = min(one.job.size for one in found)
    found = [one for one in found if one.job.size == smallest]
    service = min(one.latency_ns for one in found if one.job.depth == 1) / SECOND
    return min(max(round(max(one.operations for one in found) * service), 1), MOST_CHANNELS)
