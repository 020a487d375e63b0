"""Seek time as a function of distance, from the three figures that data sheets give."""

import numpy as np

from snapsim.devices.parts import Mechanics
from snapsim.errors import DeviceError
from snapsim.types import Int64Array

POINTS = 513


def seek_curve(mechanics: Mechanics, *, capacity: int) -> tuple[Int64Array, Int64Array]:
    """Return seek times at some distances; kernels interpolate between them.

    The curve is t(x) = t0 + b sqrt(x) + c x for a distance x as a share of the disk (Lee and Katz, "An
    analytic performance model of disk arrays", SIGMETRICS 1993).  Two random places are x apart with density
    2 (1 - x), so the mean of sqrt(x) is 8/15 and that of x is 1/3: with the average and the full stroke that
    makes two equations for b and c.

    Parameters
    ----------
    mechanics : Mechanics
        The three figures.
    capacity : int
        Size of the disk.  [bytes]

    Returns
    -------
    distance : int64 array, shape (n_points,)
        Increasing, from 0 to the capacity.  [bytes]
    time : int64 array, shape (n_points,)
        Not decreasing.  [ns]

    Raises
    ------
    DeviceError
        No such curve has these three figures.
    """
    first = mechanics.track_to_track
    b, c = np.linalg.solve(
        [[8 / 15, 1 / 3], [1.0, 1.0]], [mechanics.average_seek - first, mechanics.full_stroke - first]
    )
    if b < -1e-6 or b / 2 + c < -1e-6:
        raise DeviceError(
            "mechanics: track_to_track, average_seek and full_stroke do not fit together: "
            "seeks would get shorter with distance"
        )
    share = np.linspace(0, 1, POINTS) ** 2  # close together where a square root bends
    distance = np.round(share * capacity).astype(np.int64)
    time = np.round(first + b * np.sqrt(share) + c * share).astype(np.int64)
    keep = np.concatenate(([True], np.diff(distance) > 0))
    return distance[keep], time[keep]
