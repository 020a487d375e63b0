"""The least and the most that snapshots can hold: the clairvoyant choice, and keeping everything.

At one instant the space of kept snapshots is a sum over gaps between neighbours, so that the choice with the
least space that meets a recovery-point ladder is a shortest path over the gaps.  Pointwise, it is a lower
bound for every policy that meets the ladder at that instant; the choices at successive instants need not be
one history that could have happened.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from snapsim import schema
from snapsim.engine.boxsums_kernels import SWEEP
from snapsim.engine.lifetimes import LifetimeMatrix
from snapsim.engine.space_kernels import NEVER, least_path
from snapsim.errors import CapacityError, UsageError
from snapsim.mechanisms import Mechanism
from snapsim.planning.reclaim import SpaceMeter, instant_indices
from snapsim.tuning.ladder import Ladder
from snapsim.types import Int64Array

__all__ = ["Choice", "clairvoyant", "space_bounds"]

Steps = Ladder | Iterable[tuple[int | str, int | str]]

_POINTS = 64


class Choice(NamedTuple):
    """The clairvoyant choice at one instant.

    Attributes
    ----------
    kept : int64 array
        Instants of the snapshots, as indices.
    snapshot_bytes : int
        What they hold.  [bytes]
    """

    kept: Int64Array
    snapshot_bytes: int


def clairvoyant(
    lifetimes: LifetimeMatrix, ladder: Steps, *, mechanism: str | Mechanism, now: int | None = None
) -> Choice:
    """Choose the snapshots that meet a recovery-point ladder with the least space, knowing all that happened.

    Parameters
    ----------
    lifetimes : LifetimeMatrix
        One volume, counted at the mechanism's block size; snapshots can lie at its instants.
    ladder : Ladder, or iterable of (age, gap)
        Up to which age recovery points may be how far apart: [("1d", "1h"), ("7d", "1d"), ("30d", "7d")].
    mechanism : str or Mechanism
        How the system keeps snapshots.
    now : int, optional
        Index of the instant at which is asked; the last one by default.

    Returns
    -------
    Choice
        The snapshots, and what they hold.  Nothing is asked for before the first instant.

    Raises
    ------
    UsageError
        The instants lie too far apart for the ladder.
    CapacityError
        There are too many instants for prefix sums in memory.

    Examples
    --------
    >>> import snapsim as ss
    >>> writes = ss.Trace.from_arrays(
    ...     [10, 30, 50], ["write"] * 3, [0] * 3, [4096] * 3, capacity="1MiB", start=0
    ... )
    >>> lifetimes = ss.count_lifetimes(writes, every=20, block_size="4KiB")
    >>> ss.clairvoyant(lifetimes, [("100ns", "40ns")], mechanism="wafl", now=3)
    Choice(kept=array([1]), snapshot_bytes=4096)
    """
    return _choose(SpaceMeter(lifetimes, mechanism), Ladder.of(ladder), now)


def space_bounds(
    lifetimes: LifetimeMatrix,
    ladder: Steps,
    *,
    mechanism: str | Mechanism,
    at: pd.DatetimeIndex | Sequence[int] | Int64Array | None = None,
) -> pd.DataFrame:
    """Say the least and the most that snapshots hold over time.

    Parameters
    ----------
    lifetimes : LifetimeMatrix
        As in `clairvoyant`.
    ladder : Ladder, or iterable of (age, gap)
        As in `clairvoyant`.
    mechanism : str or Mechanism
        How the system keeps snapshots.
    at : DatetimeIndex or sequence of int, optional
        Which instants to look at; 64 of them, evenly spread, by default.

    Returns
    -------
    DataFrame
        One row an instant: time, clairvoyant_bytes, clairvoyant_snapshots, everything_bytes.

    Raises
    ------
    UsageError
        The instants lie too far apart for the ladder, or there is no such instant.
    CapacityError
        There are too many instants for prefix sums in memory.

    Examples
    --------
    >>> import snapsim as ss
    >>> writes = ss.Trace.from_arrays(
    ...     [10, 30, 50], ["write"] * 3, [0] * 3, [4096] * 3, capacity="1MiB", start=0
    ... )
    >>> lifetimes = ss.count_lifetimes(writes, every=20, block_size="4KiB")
    >>> frame = ss.space_bounds(lifetimes, [("100ns", "40ns")], mechanism="wafl")
    >>> frame[["clairvoyant_bytes", "everything_bytes"]].to_numpy().tolist()
    [[0, 0], [0, 4096], [0, 8192], [4096, 12288]]
    """
    meter, steps = SpaceMeter(lifetimes, mechanism), Ladder.of(ladder)
    n = meter.matrix.n_instants
    spread = np.linspace(0, n - 1, min(n, _POINTS)).round().astype(np.int64)
    chosen = spread if at is None else instant_indices(meter.matrix, at)
    choices = [_choose(meter, steps, int(now)) for now in chosen]
    frame = pd.DataFrame(
        {
            "time": pd.to_datetime(meter.matrix.instants[chosen], unit="ns", utc=True).as_unit("ns"),
            "clairvoyant_bytes": [choice.snapshot_bytes for choice in choices],
            "clairvoyant_snapshots": [len(choice.kept) for choice in choices],
            "everything_bytes": [meter(np.arange(now + 1), int(now)) for now in chosen],
        }
    )
    schema.check_columns(frame.columns)
    return frame


def _choose(meter: SpaceMeter, ladder: Ladder, now: int | None) -> Choice:
    matrix, sharing = meter.matrix, meter.mechanism.sharing
    at = matrix.n_instants - 1 if now is None else now
    if not 0 <= at < matrix.n_instants:
        msg = f"now is {at}, but instants are numbered 0 to {matrix.n_instants - 1}"
        raise UsageError(msg)
    if matrix.sums.arrays.stride[0] == SWEEP:
        count = f"{matrix.n_instants:,}"
        msg = f"{count} instants are too many for the clairvoyant bound: count with a longer `every`"
        raise CapacityError(msg)
    times = matrix.instants[: at + 1]
    age = times[-1] - times
    allowed = ladder.allowed(age)
    index = np.arange(at + 1)
    alone = matrix.live_blocks[: at + 1].copy()
    if sharing == "private":
        alone -= matrix.sums.survivors(index, np.full(at + 1, at))
    alone[at] = 0
    # beyond the ladder's reach nobody asks for a snapshot before, and more of them never hold less
    opens = (age >= ladder.reach_ns) | (times - times[0] <= allowed)
    first = np.where(age >= ladder.reach_ns, index, np.searchsorted(times, times - allowed))
    least, origin = np.empty((2, at + 1), np.int64)
    joined = int(sharing != "private")
    least_path(
        matrix.sums.arrays, alone, first, opens, joined, joined and int(sharing != "detached"), least, origin
    )
    if least[at] >= NEVER:
        msg = f"no choice of these instants meets the ladder ({ladder}): they lie too far apart"
        raise UsageError(msg)
    kept = []
    one = int(origin[at])
    while one >= 0:
        kept.append(one)
        one = int(origin[one])
    return Choice(np.array(kept[::-1], dtype=np.int64), int(least[at]) * matrix.block_size)
