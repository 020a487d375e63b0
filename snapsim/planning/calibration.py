"""A measured device against its model: does the model do as many requests a second as the disk did?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from snapsim.devices import Device
from snapsim.devices.measuring import Job, Reading
from snapsim.engine.queueing import Work, serve
from snapsim.types import FLUSH, READ, WRITE

__all__ = ["Comparison", "compare_readings", "predict"]

_REQUESTS = 2000


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One job, measured and predicted.

    Attributes
    ----------
    job : Job
        Which.
    measured, predicted : float
        Requests a second.
    """

    job: Job
    measured: float
    predicted: float

    @property
    def error(self) -> float:
        """How far the prediction is off, as a share of what was measured."""
        return self.predicted / self.measured - 1


def predict(device: Device, job: Job) -> float:
    """Return how many requests a second a device does in a job.

    Parameters
    ----------
    device : Device
        The model.
    job : Job
        What is run: a closed loop without think time, as many users as requests are kept waiting.

    Returns
    -------
    float
        Requests a second; those that are flushed count with their flush.
    """
    rng = np.random.default_rng(1)
    places = max(device.capacity // job.size, 1)
    number = rng.integers(0, places, _REQUESTS) if job.random else np.arange(_REQUESTS) % places
    code = READ if job.op == "read" else WRITE
    steps = 2 if job.flush else 1
    op = np.full((_REQUESTS, steps), FLUSH, np.uint8)
    op[:, 0] = code
    offset, length = np.zeros((2, _REQUESTS, steps), np.int64)
    offset[:, 0], length[:, 0] = number * job.size, job.size
    work = Work(
        op=op.ravel(),
        offset=offset.ravel(),
        length=length.ravel(),
        stage=np.tile(np.arange(steps, dtype=np.int64), _REQUESTS),
        first_op=np.arange(_REQUESTS + 1, dtype=np.int64) * steps,
    )
    served = serve(device.parameters(), np.zeros(_REQUESTS), work, user=np.arange(_REQUESTS) % job.depth)
    return _REQUESTS * 1e9 / max(int(served.finish_ns.max()), 1)


def compare_readings(device: Device, readings: Sequence[Reading]) -> list[Comparison]:
    """Compare a device with what was measured.

    Parameters
    ----------
    device : Device
        The model.
    readings : sequence of Reading
        What was measured.

    Returns
    -------
    list of Comparison
        One for each reading.
    """
    return [
        Comparison(job=one.job, measured=one.operations, predicted=predict(device, one.job))
        for one in readings
    ]
