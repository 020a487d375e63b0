"""Space over time: what kept snapshots hold while they come and go.

Total shared space is a sum over gaps between neighbours, so that a creation or deletion changes one term.
For kept snapshots
k_1 < ... < k_m at time T, with BOX the range sum over births and deaths (`LifetimeMatrix.boxes`):

- between two instants the space grows by the versions that died and that a snapshot sees: BOX((-inf, k_m] x
(T - 1, T]);
- a creation changes nothing;
- a deletion of k_i gives back BOX((k_{i-1}, k_i] x (k_i, k_{i+1}]).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from snapsim.engine.lifetimes import LifetimeMatrix
from snapsim.engine.space_kernels import link
from snapsim.errors import UsageError
from snapsim.types import Int64Array

OPEN = -2
"""Stands for k_0: every birth lies after it, that of initial content (-1) too."""

_PAIRS_AT_ONCE = 1 << 21


class Deletions(NamedTuple):
    """Deletions in order of time, and the oldest first at one instant.

    Attributes
    ----------
    at : int64 array, shape (n_deletions,)
        Instant of the deletion.
    previous, dropped, following : int64 arrays, shape (n_deletions,)
        Instants of the snapshot and of its neighbours when it was deleted: `OPEN` where there is no older
        one, and
        the instant of the deletion where there is no newer one, because the volume itself follows then.
    newest : bool array, shape (n_deletions,)
        Whether there was no newer one.
    """

    at: Int64Array
    previous: Int64Array
    dropped: Int64Array
    following: Int64Array
    newest: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Chain:
    """Snapshots that come and go, and who are neighbours.

    Attributes
    ----------
    created, deleted : int64 arrays, shape (n_snapshots,)
        Instants; `deleted` is the number of instants for a snapshot that is kept.
    newest_after, newest_before : int64 arrays, shape (n_instants,)
        Newest snapshot after everything that happens at an instant, and before anything does; `OPEN` for
        none.
    deletions : Deletions
        The deletions.
    """

    created: Int64Array
    deleted: Int64Array
    newest_after: Int64Array
    newest_before: Int64Array
    deletions: Deletions

    @property
    def n_instants(self) -> int:
        """The number of instants."""
        return len(self.newest_after)

    def count(self, *, before_prune: bool = False) -> Int64Array:
        """Count the snapshots that exist after (or just before) the prune at each instant.

        Parameters
        ----------
        before_prune : bool
            Count those too that are deleted at the instant.

        Returns
        -------
        int64 array, shape (n_instants,)
            The number of snapshots.
        """
        n = self.n_instants
        came = np.bincount(self.created, minlength=n)[:n]
        went = np.bincount(self.deleted, minlength=n)[:n]
        after = np.cumsum(came - went)
        return after + went if before_prune else after


def chain(created: npt.ArrayLike, deleted: npt.ArrayLike, *, n_instants: int) -> Chain:
    """Find out who are neighbours, over all creations and deletions.

    Parameters
    ----------
    created, deleted : int64 arrays, shape (n_snapshots,)
        Instants; `created` increasing, `deleted` later, or the number of instants for a snapshot that is
        kept.
    n_instants : int
        The number of instants.

    Returns
    -------
    Chain
        The neighbours.

    Raises
    ------
    UsageError
        The instants are out of order or out of range.
    """
    begin, end = np.asarray(created, dtype=np.int64), np.asarray(deleted, dtype=np.int64)
    if begin.shape != end.shape or np.any(np.diff(begin) <= 0) or np.any(end <= begin):
        msg = "snapshots must be created at increasing instants and deleted later"
        raise UsageError(msg)
    if len(begin) and (begin[0] < 0 or begin[-1] >= n_instants or end.max() > n_instants):
        msg = f"snapshots lie outside the {n_instants} instants"
        raise UsageError(msg)
    order = np.lexsort((begin, end))[: np.count_nonzero(end < n_instants)]
    newest = np.empty(n_instants, np.int64)
    previous, following = np.empty(len(order), np.int64), np.empty(len(order), np.int64)
    link(begin, end, order, np.empty_like(begin), np.empty_like(begin), newest, previous, following)

    at_instant = np.append(begin, OPEN)  # index -1, "none", becomes OPEN
    at = end[order]
    deletions = Deletions(
        at,
        at_instant[previous],
        begin[order],
        np.where(following < 0, at, at_instant[following]),
        following < 0,
    )
    newest_after = at_instant[newest]
    newest_before = np.concatenate((np.array([OPEN]), newest_after[:-1]))
    return Chain(begin, end, newest_after, newest_before, deletions)


def per_instant(at: Int64Array, values: Int64Array, n_instants: int) -> Int64Array:
    """Sum int64 values by instant, exactly."""
    total = np.zeros(n_instants, dtype=np.int64)
    np.add.at(total, at, values)
    return total


class SharedSpace(NamedTuple):
    """Versions that only snapshots hold.

    Attributes
    ----------
    before, after : int64 arrays, shape (n_instants,)
        Just before anything happens at an instant, and after everything did.  [blocks]
    freed : int64 array, shape (n_deletions,)
        What each deletion gives back.  [blocks]
    died : int64 array, shape (n_instants,)
        Versions that died since the instant before and stayed because a snapshot sees them.  [blocks]
    """

    before: Int64Array
    after: Int64Array
    freed: Int64Array
    died: Int64Array


def shared(matrix: LifetimeMatrix, snapshots: Chain) -> SharedSpace:
    """Follow the space that only snapshots need, where versions are shared or kept in layers.

    Parameters
    ----------
    matrix : LifetimeMatrix
        The counts.
    snapshots : Chain
        Who exists when.

    Returns
    -------
    SharedSpace
        `after[T]` = sum over i of BOX((k_{i-1}, k_i] x (k_i, T]).
    """
    n = snapshots.n_instants
    now = np.arange(n)
    gone = snapshots.deletions
    died = matrix.boxes(OPEN, snapshots.newest_before, now - 1, now)
    freed = matrix.boxes(gone.previous, gone.dropped, gone.dropped, gone.following)
    after = np.cumsum(died - per_instant(gone.at, freed, n))
    before = died + np.concatenate((np.zeros(1, np.int64), after[:-1]))
    return SharedSpace(before, after, freed, died)


def detached(matrix: LifetimeMatrix, snapshots: Chain) -> SharedSpace:
    """Follow an incremental store elsewhere: each snapshot adds what the one before it does not hold.

    Parameters
    ----------
    matrix : LifetimeMatrix
        The counts.
    snapshots : Chain
        Who exists when.

    Returns
    -------
    SharedSpace
        `after[T]` = sum over i of BOX((k_{i-1}, k_i] x (k_i, inf]); `before` is taken between creation and
        prune.
    """
    n = snapshots.n_instants
    gone = snapshots.deletions
    added = matrix.boxes(snapshots.newest_before[snapshots.created], snapshots.created, snapshots.created, n)
    until = np.where(gone.newest, n, gone.following)
    freed = matrix.boxes(gone.previous, gone.dropped, gone.dropped, until)
    came = per_instant(snapshots.created, added, n)
    after = np.cumsum(came - per_instant(gone.at, freed, n))
    before = came + np.concatenate((np.zeros(1, np.int64), after[:-1]))
    return SharedSpace(before, after, freed, np.zeros(n, np.int64))


def live(matrix: LifetimeMatrix, n_instants: int) -> Int64Array:
    """Return what the volume shows at each instant: BOX((-inf, T] x (T, inf]).  [blocks]"""
    now = np.arange(n_instants)
    return matrix.boxes(OPEN, now, now, n_instants)


class Merges(NamedTuple):
    """What merging a layer away moves, for each deletion.

    Attributes
    ----------
    moved : int64 array, shape (n_deletions,)
        Commit: the newer layer is copied down into the older one: BOX((k_i, k_{i+1}] x (k_{i+1}, inf]).
        [blocks]
    extra : int64 array, shape (n_deletions,)
        How much the older layer grows before the newer one can go: the merged layer less the older one.
        [blocks]
    """

    moved: Int64Array
    extra: Int64Array


def merges(matrix: LifetimeMatrix, snapshots: Chain) -> Merges:
    """Return what deletions move where every snapshot is a layer.

    Parameters
    ----------
    matrix : LifetimeMatrix
        The counts.
    snapshots : Chain
        Who exists when.

    Returns
    -------
    Merges
        One element a deletion.
    """
    gone, n = snapshots.deletions, snapshots.n_instants
    moved = matrix.boxes(gone.dropped, gone.following, gone.following, n)
    merged = matrix.boxes(gone.previous, gone.following, gone.following, n)
    lower = matrix.boxes(gone.previous, gone.dropped, gone.dropped, n)
    return Merges(moved, np.maximum(merged - lower, 0))


def peaks(space: SharedSpace, snapshots: Chain, extra: Int64Array | None = None) -> Int64Array:
    """Return the most space between each instant and the one before.

    Parameters
    ----------
    space : SharedSpace
        The space.
    snapshots : Chain
        Who exists when.
    extra : int64 array, shape (n_deletions,), optional
        What each deletion needs for as long as it lasts; deletions run one after the other, the oldest first.

    Returns
    -------
    int64 array, shape (n_instants,)
        At least `space.before`.
    """
    peak = np.maximum(space.before, space.after)
    gone = snapshots.deletions
    if extra is not None and len(gone.at):
        done = np.cumsum(space.freed) - space.freed
        first = np.searchsorted(gone.at, gone.at)
        freed_at_instant_before = done - done[first]
        np.maximum.at(peak, gone.at, space.before[gone.at] - freed_at_instant_before + extra)
    return peak


LayerValue = Callable[[Int64Array, Int64Array], Int64Array]
"""Takes the older and the newer end of layers and returns what each of them amounts to."""


def layer_boxes(
    matrices: Mapping[str, LifetimeMatrix], low: Int64Array, high: Int64Array
) -> dict[str, Int64Array]:
    """Count what layers (low, high] hold, by every matrix: BOX((low, high] x (high, inf]).  [blocks]"""
    return {name: matrix.boxes(low, high, high, matrix.n_instants) for name, matrix in matrices.items()}


def sum_over_layers(value: LayerValue, snapshots: Chain) -> Int64Array:
    """Sum a quantity over all layers, the active one included, after everything that happens at each instant.

    A layer lasts from the creation of its newer snapshot, or the merge that made it, until either end is
    deleted.

    Parameters
    ----------
    value : callable
        What a layer amounts to.
    snapshots : Chain
        Who exists when.

    Returns
    -------
    int64 array, shape (n_instants,)
        The sum.
    """
    n = snapshots.n_instants
    gone = snapshots.deletions
    inner = ~gone.newest  # has a newer neighbour, with which it is merged
    made = per_instant(
        snapshots.created, value(snapshots.newest_before[snapshots.created], snapshots.created), n
    )
    made += per_instant(gone.at[inner], value(gone.previous[inner], gone.following[inner]), n)
    ended = per_instant(gone.at, value(gone.previous, gone.dropped), n)
    ended += per_instant(gone.at[inner], value(gone.dropped[inner], gone.following[inner]), n)
    return np.cumsum(made - ended) + value(snapshots.newest_after, np.arange(n))


class Stores(NamedTuple):
    """Private stores at points in time.

    Attributes
    ----------
    snapshot : int64 array, shape (n_pairs,)
        Which snapshot, as an index into `Chain.created`.
    instant : int64 array, shape (n_pairs,)
        When.
    blocks : int64 array, shape (n_pairs,)
        BOX((-inf, k] x (k, T]): blocks that the store of k holds at T.  [blocks]
    """

    snapshot: Int64Array
    instant: Int64Array
    blocks: Int64Array


def private_stores(matrix: LifetimeMatrix, snapshots: Chain) -> Iterator[Stores]:
    """Yield every private store at every instant from its creation to its deletion, both included.

    Parameters
    ----------
    matrix : LifetimeMatrix
        Counted with initial="thick" and discard="ignore".
    snapshots : Chain
        Who exists when.

    Yields
    ------
    Stores
        All instants of some snapshots.
    """
    last = np.minimum(snapshots.deleted, snapshots.n_instants - 1)
    length = last - snapshots.created + 1
    start = 0
    while start < len(length):
        within = np.cumsum(length[start:]) <= _PAIRS_AT_ONCE
        stop = start + max(int(np.count_nonzero(within)), 1)
        which = np.repeat(np.arange(start, stop), length[start:stop])
        offset = np.arange(len(which)) - np.repeat(
            np.cumsum(length[start:stop]) - length[start:stop], length[start:stop]
        )
        taken = snapshots.created[which]
        yield Stores(which, taken + offset, matrix.boxes(OPEN, taken, taken, taken + offset))
        start = stop
