"""The cheapest set of snapshots to delete: dynamic programming over the sequence of those that stay.

Positions are 0 for "none yet", 1..m for the m snapshots, and m + 1 for now, which always stays.  Choosing who
stays is choosing a path from 0 to m + 1; the space that remains is the sum over its steps.
"""

import numpy as np
import numpy.typing as npt

from snapsim.types import Int64Array

__all__ = ["fewest", "smallest_gap"]

_NEVER = np.int64(1 << 61)  # two of them still fit
Flags = npt.NDArray[np.bool_]


def fewest(
    costs: Int64Array, times: Int64Array, stay: Flags, limit: int, longest: int | None = None
) -> Flags:
    """Find who stays so that as few as possible go.

    Parameters
    ----------
    costs : int64 array, shape (m + 1, m)
        What each snapshot holds beside each older neighbour (`SpaceMeter.costs`).  [bytes]
    times : int64 array, shape (m + 1,)
        When each was taken, and now.  [ns]
    stay : bool array, shape (m,)
        Snapshots that have to stay.
    limit : int
        Most that may remain; it can be reached.  [bytes]
    longest : int, optional
        Longest gap between those that stay.  [ns]

    Returns
    -------
    bool array, shape (m,)
        Who stays: of equally few deletions those that leave least.
    """
    steps = _steps(costs, times, stay, longest)
    m = len(stay)
    # least[d, j]: least space of a path to position j on which d snapshots were left out
    least = np.full((m + 1, m + 2), _NEVER)
    origin = np.zeros((m + 1, m + 2), np.int64)
    least[0, 0] = 0
    position = np.arange(m + 2)
    for dropped in range(m + 1):
        for j in range(1, m + 2):
            before = position[max(0, j - 1 - dropped) : j]
            total = least[dropped - (j - 1 - before), before] + steps[before, j]
            best = int(np.argmin(total))
            if total[best] < least[dropped, j]:
                least[dropped, j], origin[dropped, j] = total[best], before[best]
        if least[dropped, m + 1] <= limit:
            return _walk(origin, dropped)
    raise AssertionError("the limit cannot be reached")  # pragma: no cover  the caller has seen that it can


def _walk(origin: Int64Array, dropped: int) -> Flags:
    m = origin.shape[1] - 2
    remains = np.zeros(m, np.bool_)
    j = m + 1
    while j:
        before = int(origin[dropped, j])
        dropped -= j - 1 - before
        j = before
        if j:
            remains[j - 1] = True
    return remains


def smallest_gap(costs: Int64Array, times: Int64Array, stay: Flags, limit: int) -> int:
    """Find the shortest gap that suffices: a binary search over all gaps, a shortest path for each.

    Parameters
    ----------
    costs, times, stay, limit
        As in `fewest`.

    Returns
    -------
    int
        The longest time between those that stay.  [ns]
    """
    gaps = np.unique(_gaps(times))
    low, high = 0, len(gaps) - 1
    while low < high:
        middle = (low + high) // 2
        if _least(_steps(costs, times, stay, int(gaps[middle]))) <= limit:
            high = middle
        else:
            low = middle + 1
    return int(gaps[low])


def _least(steps: Int64Array) -> int:
    """Length of the shortest path."""
    least = np.full(len(steps), _NEVER)
    least[0] = 0
    for j in range(1, len(steps)):
        least[j] = np.minimum((least[:j] + steps[:j, j]).min(), _NEVER)
    return int(least[-1])


def _gaps(times: Int64Array) -> Int64Array:
    """Time from each position to each: none yet counts from the oldest snapshot."""
    at = np.concatenate((times[:1], times))
    return np.maximum(np.subtract.outer(at, at).T, 0)


def _steps(costs: Int64Array, times: Int64Array, stay: Flags, longest: int | None) -> Int64Array:
    """What each step costs, shape (m + 2, m + 2); never for one over a snapshot that has to stay."""
    m = len(stay)
    steps = np.full((m + 2, m + 2), _NEVER)
    steps[: m + 1, 1 : m + 1] = costs
    steps[: m + 1, m + 1] = 0
    staying = np.concatenate((np.zeros(2, np.int64), np.cumsum(stay)))  # of positions before this one
    after = np.append(staying[1:], staying[-1])
    refused = np.less.outer(after, staying) | np.tri(m + 2, dtype=np.bool_)
    if longest is not None:
        refused |= _gaps(times) > longest
    steps[refused] = _NEVER
    return steps
