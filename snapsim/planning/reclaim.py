"""What deleting snapshots would free: alone, together, and the cheapest way to free so much.

All answers are about the data that snapshots hold at one instant.  For kept snapshots k_1 < ... < k_m at T
(k_0 = -infinity, k_{m+1} = T) the space is a sum of one term for each snapshot and its older neighbour,
whatever the mechanism shares (formulas: `snapsim.engine.space`):

- shared, layers: BOX((k_{i-1}, k_i] x (k_i, T]);
- detached: BOX((k_{i-1}, k_i] x (k_i, inf]);
- private: BOX((-inf, k_i] x (k_i, T]), whoever is the neighbour.

Deleting a set joins gaps, so that it frees at least what its members would free alone.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from snapsim import schema
from snapsim.engine import space
from snapsim.engine.lifetimes import LifetimeMatrix
from snapsim.errors import UsageError
from snapsim.mechanisms import Mechanism
from snapsim.mechanisms import mechanism as find_mechanism
from snapsim.planning.cheapest import fewest, smallest_gap
from snapsim.planning.series import matrices
from snapsim.policy.timeline import Timeline
from snapsim.types import Int64Array
from snapsim.units import format_size, parse_size

__all__ = ["Reclaim", "SpaceMeter", "cheapest_deletion", "exclusive", "freed_if_deleted"]

Instants = Timeline | pd.DatetimeIndex | Sequence[int] | Int64Array
"""Snapshots: what a timeline keeps, points in time, or indices of instants."""

Objective = Literal["fewest", "smallest_gap"]
Order = Literal["oldest", "largest_exclusive"]


class SpaceMeter:
    """Says how much data kept snapshots hold at any instant: fast enough for a rule that asks at each.

    Parameters
    ----------
    lifetimes : LifetimeMatrix
        One volume, counted at the mechanism's block size.
    mechanism : str or Mechanism
        How the system keeps snapshots.
    with_volume : bool
        Add what the volume itself shows, as where both lie in one pool.

    Examples
    --------
    >>> import snapsim as ss
    >>> writes = ss.Trace.from_arrays(
    ...     [10, 30, 50], ["write"] * 3, [0] * 3, [4096] * 3, capacity="1MiB", start=0
    ... )
    >>> meter = ss.SpaceMeter(ss.count_lifetimes(writes, every=20, block_size="4KiB"), "wafl")
    >>> meter([0, 1, 2], 3)  # the block before and after its first write, and after its second
    12288
    >>> meter.victims([0, 1, 2], 3, level=8192, order="oldest")
    [0]
    """

    def __init__(
        self, lifetimes: LifetimeMatrix, mechanism: str | Mechanism, *, with_volume: bool = False
    ) -> None:
        _check_one(lifetimes)
        self.mechanism = find_mechanism(mechanism)
        self.matrix = matrices(lifetimes, self.mechanism)["data"]
        self.with_volume = with_volume

    def __call__(self, kept: npt.ArrayLike, now: int) -> int:
        """Return what snapshots hold.

        Parameters
        ----------
        kept : int64 array, shape (n_kept,)
            Instants of the snapshots, as indices, increasing.
        now : int
            The instant at which is asked, none of the snapshots later.

        Returns
        -------
        int
            Data that only snapshots need, and with `with_volume` that of the volume.  [bytes]
        """
        taken = np.asarray(kept, dtype=np.int64)
        older = np.concatenate((np.array([space.OPEN]), taken[:-1]))[: len(taken)]
        blocks = int(self._terms(older, taken, now).sum())
        if self.with_volume:
            blocks += int(self.matrix.live_blocks[now])
        return blocks * self.matrix.block_size

    def exclusive(self, kept: npt.ArrayLike, now: int) -> Int64Array:
        """Return what deleting each snapshot alone would free.

        Parameters
        ----------
        kept, now
            As in a call.

        Returns
        -------
        int64 array, shape (n_kept,)
            [bytes]
        """
        taken = np.asarray(kept, dtype=np.int64)
        older = np.concatenate((np.array([space.OPEN]), taken[:-1]))[: len(taken)]
        freed = self._terms(older, taken, now)
        newer, inner = taken[1:], older[:-1]
        freed[:-1] += self._terms(taken[:-1], newer, now) - self._terms(inner, newer, now)
        return freed * self.matrix.block_size

    def freed(self, kept: npt.ArrayLike, deleted: npt.ArrayLike, now: int) -> int:
        """Return what deleting a set of snapshots together would free.

        Parameters
        ----------
        kept, now
            As in a call.
        deleted : int64 array
            Some of `kept`.

        Returns
        -------
        int
            At least the sum of their exclusive bytes.  [bytes]
        """
        rest = np.setdiff1d(np.asarray(kept, dtype=np.int64), np.asarray(deleted, dtype=np.int64))
        return self(kept, now) - self(rest, now)

    def victims(
        self,
        kept: Iterable[int],
        now: int,
        *,
        level: int,
        order: Order = "oldest",
        protected: Iterable[int] = (),
    ) -> list[int]:
        """Return the snapshots to delete, one after the other, until the rest holds no more than a level.

        Parameters
        ----------
        kept, now
            As in a call.
        level : int
            What the rest may hold.  [bytes]
        order : {"oldest", "largest_exclusive"}
            The oldest first; or each time the one whose deletion frees most by then, the older of equal ones.
        protected : iterable of int
            Snapshots that stay.

        Returns
        -------
        list of int
            In the order of deletion; all but the protected ones if even that is not enough.

        Raises
        ------
        UsageError
            There is no such order.
        """
        if order not in {"oldest", "largest_exclusive"}:
            msg = f'order={order!r} is not "oldest" or "largest_exclusive"'
            raise UsageError(msg)
        rest = np.array(sorted(kept), dtype=np.int64)
        stay = np.array(sorted(protected), dtype=np.int64)
        held, gone = self(rest, now), []
        while held > level:
            free = ~np.isin(rest, stay)
            if not free.any():
                break
            alone = self.exclusive(rest, now)
            one = int(np.argmax(free if order == "oldest" else np.where(free, alone, -1)))
            gone.append(int(rest[one]))
            held -= int(alone[one])
            rest = np.delete(rest, one)
        return gone

    def costs(self, kept: Int64Array, now: int) -> Int64Array:
        """Return what a snapshot holds for every older neighbour that it could have.

        Parameters
        ----------
        kept, now
            As in a call.

        Returns
        -------
        int64 array, shape (n_kept + 1, n_kept)
            Element (i, j), i <= j: bytes of snapshot j when snapshot i - 1 is the next older one, row 0 when
            there is none; 0 where i > j.  [bytes]
        """
        table = np.zeros((len(kept) + 1, len(kept)), np.int64)
        row, column = np.triu_indices(len(kept))
        older = np.concatenate((np.array([space.OPEN]), kept))[row]
        table[row, column] = self._terms(older, kept[column], now) * self.matrix.block_size
        return table

    def _terms(self, older: Int64Array, taken: Int64Array, now: int) -> Int64Array:
        """What each snapshot adds beside its older neighbour.  [blocks]"""
        matrix, sharing = self.matrix, self.mechanism.sharing
        if sharing == "private":
            return matrix.boxes(space.OPEN, taken, taken, now)
        return matrix.boxes(older, taken, taken, matrix.n_instants if sharing == "detached" else now)


@dataclass(frozen=True, kw_only=True, eq=False)
class Reclaim:
    """Which snapshots to delete in order to free space.

    Attributes
    ----------
    deleted, remaining : int64 arrays
        Instants of snapshots, as indices.
    freed_bytes : int
        What deleting all of `deleted` frees.  [bytes]
    largest_gap_ns : int
        Longest time between neighbours among the remaining snapshots, up to now and since the oldest that
        existed before.  [ns]
    frame : DataFrame
        One row for each snapshot to delete: taken, age_ns, exclusive_bytes.
    """

    deleted: Int64Array
    remaining: Int64Array
    freed_bytes: int
    largest_gap_ns: int
    frame: pd.DataFrame

    def __repr__(self) -> str:
        """Say how many and how much."""
        return f"<Reclaim: {len(self.deleted)} snapshots, frees {format_size(self.freed_bytes)}>"


def exclusive(
    lifetimes: LifetimeMatrix, kept: Instants, *, mechanism: str | Mechanism, now: int | None = None
) -> pd.DataFrame:
    """Say what deleting each kept snapshot alone would free.

    Parameters
    ----------
    lifetimes : LifetimeMatrix
        One volume, counted at the mechanism's block size.
    kept : Timeline, DatetimeIndex or sequence of int
        The snapshots: those that a timeline keeps at `now`, points in time, or indices of instants.
    mechanism : str or Mechanism
        How the system keeps snapshots.
    now : int, optional
        Index of the instant at which is asked; the last one by default.

    Returns
    -------
    DataFrame
        One row for each snapshot, oldest first: taken, age_ns, exclusive_bytes.

    Examples
    --------
    >>> import snapsim as ss
    >>> writes = ss.Trace.from_arrays(
    ...     [10, 30, 50], ["write"] * 3, [0] * 3, [4096] * 3, capacity="1MiB", start=0
    ... )
    >>> lifetimes = ss.count_lifetimes(writes, every=20, block_size="4KiB")
    >>> ss.exclusive(lifetimes, [0, 2], mechanism="wafl")["exclusive_bytes"].tolist()
    [4096, 4096]
    """
    meter, taken, at = _asked(lifetimes, kept, mechanism, now)
    return _table(meter, taken, at)


def freed_if_deleted(
    lifetimes: LifetimeMatrix,
    kept: Instants,
    deleted: pd.DatetimeIndex | Sequence[int] | Int64Array,
    *,
    mechanism: str | Mechanism,
    now: int | None = None,
) -> int:
    """Say what deleting any set of snapshots together would free.

    Parameters
    ----------
    lifetimes : LifetimeMatrix
        One volume, counted at the mechanism's block size.
    kept : Timeline, DatetimeIndex or sequence of int
        As in `exclusive`.
    deleted : DatetimeIndex or sequence of int
        Some of them, neighbours or not.
    mechanism : str or Mechanism
        How the system keeps snapshots.
    now : int, optional
        Index of the instant at which is asked; the last one by default.

    Returns
    -------
    int
        At least the sum of what each would free alone: versions that only the deleted ones share count too.
        [bytes]

    Examples
    --------
    >>> import snapsim as ss
    >>> writes = ss.Trace.from_arrays([10, 50], ["write"] * 2, [0] * 2, [4096] * 2, capacity="1MiB", start=0)
    >>> lifetimes = ss.count_lifetimes(writes, every=20, block_size="4KiB")
    >>> [ss.freed_if_deleted(lifetimes, [1, 2], one, mechanism="wafl") for one in ([1], [2], [1, 2])]
    [0, 0, 4096]
    """
    meter, taken, at = _asked(lifetimes, kept, mechanism, now)
    return meter.freed(taken, _some(meter.matrix, deleted, taken, "deleted"), at)


def cheapest_deletion(
    lifetimes: LifetimeMatrix,
    kept: Instants,
    free: int | str,
    *,
    mechanism: str | Mechanism,
    now: int | None = None,
    protected: pd.DatetimeIndex | Sequence[int] | Int64Array = (),
    objective: Objective = "fewest",
) -> Reclaim:
    """Find the snapshots whose deletion frees so much at the least cost.

    The answer is exact, not greedy: dynamic programming over (newest snapshot kept so far, number deleted),
    because the space is a sum over neighbours.  It takes O(m^2) steps for m snapshots and each number
    deleted, at most O(m^3).

    Parameters
    ----------
    lifetimes : LifetimeMatrix
        One volume, counted at the mechanism's block size.
    kept : Timeline, DatetimeIndex or sequence of int
        As in `exclusive`.
    free : int or str
        How much to free at least, such as "10GiB".  [bytes]
    mechanism : str or Mechanism
        How the system keeps snapshots.
    now : int, optional
        Index of the instant at which is asked; the last one by default.
    protected : DatetimeIndex or sequence of int
        Snapshots that have to stay.
    objective : {"fewest", "smallest_gap"}
        Delete as few as possible; or leave the longest time without a recovery point as short as possible
        (since the oldest that existed, and up to now), and then delete as few as possible.  Of equally few,
        those that free most.

    Returns
    -------
    Reclaim
        What to delete.

    Raises
    ------
    UsageError
        All snapshots that are not protected hold less than that, or there is no such objective.

    Examples
    --------
    >>> import snapsim as ss
    >>> writes = ss.Trace.from_arrays([10, 50], ["write"] * 2, [0] * 2, [4096] * 2, capacity="1MiB", start=0)
    >>> lifetimes = ss.count_lifetimes(writes, every=20, block_size="4KiB")
    >>> ss.cheapest_deletion(lifetimes, [0, 1, 2], "4KiB", mechanism="wafl").deleted.tolist()
    [0]
    """
    meter, taken, at = _asked(lifetimes, kept, mechanism, now)
    stay = np.isin(taken, _some(meter.matrix, protected, taken, "protected"))
    wanted = parse_size(free)
    held = meter(taken, at)
    times = meter.matrix.instants[np.append(taken, at)]
    costs = meter.costs(taken, at)
    if objective not in {"fewest", "smallest_gap"}:
        msg = f'objective={objective!r} is not "fewest" or "smallest_gap"'
        raise UsageError(msg)
    most = held - meter(taken[stay], at)
    if wanted > most:
        msg = (
            f"{format_size(wanted)} cannot be freed: all {np.count_nonzero(~stay)} snapshots that are not "
            f"protected hold {format_size(most)} together"
        )
        raise UsageError(msg)
    longest = smallest_gap(costs, times, stay, held - wanted) if objective == "smallest_gap" else None
    remains = fewest(costs, times, stay, held - wanted, longest)
    rest, gone = taken[remains], taken[~remains]
    edges = np.concatenate((times[:1], meter.matrix.instants[rest], times[-1:]))
    return Reclaim(
        deleted=gone,
        remaining=rest,
        freed_bytes=held - meter(rest, at),
        largest_gap_ns=int(np.diff(edges).max()),
        frame=_table(meter, taken, at)[~remains].reset_index(drop=True),
    )


def _check_one(lifetimes: object) -> None:
    if not isinstance(lifetimes, LifetimeMatrix):
        msg = f"lifetimes is a {type(lifetimes).__name__}: count one volume with snapsim.count_lifetimes"
        raise UsageError(msg)


def _asked(
    lifetimes: LifetimeMatrix, kept: Instants, mechanism: str | Mechanism, now: int | None
) -> tuple[SpaceMeter, Int64Array, int]:
    meter = SpaceMeter(lifetimes, mechanism)
    n = meter.matrix.n_instants
    at = n - 1 if now is None else int(now)
    if not 0 <= at < n:
        msg = f"now is {at}, but instants are numbered 0 to {n - 1}"
        raise UsageError(msg)
    if isinstance(kept, Timeline):
        if not np.array_equal(kept.instants, meter.matrix.instants):
            msg = "the timeline is one of other instants: make it with policy.timeline(lifetimes.instants)"
            raise UsageError(msg)
        return meter, kept.kept(at), at
    taken = instant_indices(meter.matrix, kept)
    if len(taken) and (taken[0] < 0 or taken[-1] > at):
        msg = f"kept holds instant {taken[0] if taken[0] < 0 else taken[-1]}: it must lie in 0 to now ({at})"
        raise UsageError(msg)
    return meter, taken, at


def instant_indices(
    matrix: LifetimeMatrix, points: pd.DatetimeIndex | Sequence[int] | Int64Array
) -> Int64Array:
    """Return points in time, or indices, as indices of instants, ascending."""
    if not isinstance(points, pd.DatetimeIndex):
        return np.unique(np.asarray(points, dtype=np.int64))
    if points.tz is None:
        msg = "points in time need a time zone: use .tz_localize(...)"
        raise UsageError(msg)
    time_ns = points.as_unit("ns").asi8
    found = np.searchsorted(matrix.instants, time_ns)
    wrong = np.flatnonzero(matrix.instants[np.minimum(found, matrix.n_instants - 1)] != time_ns)
    if len(wrong):
        msg = f"{points[wrong[0]]} is not one of the instants at which lifetimes were counted"
        raise UsageError(msg)
    return np.unique(found)


def _some(
    matrix: LifetimeMatrix,
    points: pd.DatetimeIndex | Sequence[int] | Int64Array,
    kept: Int64Array,
    name: str,
) -> Int64Array:
    some = instant_indices(matrix, points)
    missing = np.setdiff1d(some, kept)
    if len(missing):
        msg = f"{name} holds instant {int(missing[0])}, which is not among the kept snapshots"
        raise UsageError(msg)
    return some


def _table(meter: SpaceMeter, taken: Int64Array, now: int) -> pd.DataFrame:
    instants = meter.matrix.instants
    frame = pd.DataFrame(
        {
            "taken": pd.to_datetime(instants[taken], unit="ns", utc=True).as_unit("ns"),
            "age_ns": instants[now] - instants[taken],
            "exclusive_bytes": meter.exclusive(taken, now),
        }
    )
    schema.check_columns(frame.columns)
    return frame
