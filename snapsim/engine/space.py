"""Space over time: what kept snapshots hold while they come and go.

Total shared space is a sum over gaps between neighbours, so that a creation or deletion changes one term.
For kept snapshots
k_1 < ... < k_m at time T, with BOX the range sum over births and deaths (`LifetimeMatrix.boxes`):

- between two instants the space grows by the versions that died and that a snapshot sees: BOX((-inf, k_m] x
(T - 1, T]);
- a creation changes nothing;
- a deletion of k_i gives back BOX((k_{i-1}, k_i] x (k_i, k_{i+1}]).

Whatever the mechanism, the versions in each gap are counted once (`count_gaps`).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from snapsim.engine.lifetimes import LifetimeMatrix
from snapsim.engine.metadata import Staircase
from snapsim.engine.space_kernels import add_stores, link
from snapsim.errors import UsageError
from snapsim.types import Int64Array

OPEN = -2
"""Stands for k_0: every birth lies after it, that of initial content (-1) too."""


class Deletions(NamedTuple):
    """Deletions in order of time, and the oldest first at one instant.

    Attributes
    ----------
    at : int64 array, shape (n_deletions,)
        Instant of the deletion.
    number : int64 array, shape (n_deletions,)
        Which snapshot, as an index into `Chain.created`.
    previous, dropped, following : int64 arrays, shape (n_deletions,)
        Instants of the snapshot and of its neighbours when it was deleted: `OPEN` where there is no older
        one, and
        the instant of the deletion where there is no newer one, because the volume itself follows then.
    newest : bool array, shape (n_deletions,)
        Whether there was no newer one.
    first : int64 array, shape (n_instants + 1,)
        First deletion at or after each instant.
    """

    at: Int64Array
    number: Int64Array
    previous: Int64Array
    dropped: Int64Array
    following: Int64Array
    newest: npt.NDArray[np.bool_]
    first: Int64Array

    def per_instant(self, values: Int64Array) -> Int64Array:
        """Sum what deletions amount to by instant, exactly: int64, shape (n_instants,)."""
        total = np.zeros(len(values) + 1, np.int64)
        np.cumsum(values, out=total[1:])
        return np.diff(total[self.first])


class Gaps(NamedTuple):
    """Every gap between neighbours that there ever is: each is counted once, whoever asks.

    Gap T is the one between the newest snapshot and instant T, and stays if a snapshot is taken then; gap
    n_instants + j is the one that deletion j joins; the last one is empty, and lies between a snapshot and
    the instant at which it is taken.

    Attributes
    ----------
    low, high : int64 arrays, shape (n_instants + n_deletions,)
        Instants; `low` is `OPEN` where there is no older snapshot.  The empty gap is left out.
    older, newer : int64 arrays, shape (n_deletions,)
        The gaps that each deletion joins.
    active : int64 array, shape (n_instants,)
        The gap between the newest snapshot and each instant, after everything that happens at it.
    """

    low: Int64Array
    high: Int64Array
    older: Int64Array
    newer: Int64Array
    active: Int64Array


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
    gaps : Gaps
        What lies between neighbours.
    exist_after, exist_before : int64 arrays, shape (n_instants,)
        How many snapshots exist after the prune at each instant, and just before it.
    """

    created: Int64Array
    deleted: Int64Array
    newest_after: Int64Array
    newest_before: Int64Array
    deletions: Deletions
    gaps: Gaps
    exist_after: Int64Array
    exist_before: Int64Array

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
        return self.exist_before if before_prune else self.exist_after


def chain(created: npt.ArrayLike, deleted: npt.ArrayLike, *, n_instants: int) -> Chain:
    """Find out who are neighbours, over all creations and deletions.

    Parameters
    ----------
    created, deleted : int64 arrays, shape (n_snapshots,)
        Instants; `created` increasing, `deleted` no earlier (a prune may delete what was just taken), or the
        number of instants for a snapshot that is kept.
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
    if begin.shape != end.shape or np.any(np.diff(begin) <= 0) or np.any(end < begin):
        msg = "snapshots must be created at increasing instants and deleted no earlier"
        raise UsageError(msg)
    if len(begin) and (begin[0] < 0 or begin[-1] >= n_instants or end.max() > n_instants):
        msg = f"snapshots lie outside the {n_instants} instants"
        raise UsageError(msg)
    narrow = end.astype(np.uint16) if n_instants < 1 << 16 else end  # sorted by radix, in a third of the time
    order = np.argsort(narrow, kind="stable")[: np.count_nonzero(end < n_instants)]
    older, newer, below = np.empty((3, len(begin)), np.int64)
    newest, active = np.empty((2, n_instants), np.int64)
    previous, following, gap_older, gap_newer = np.empty((4, len(order)), np.int64)
    link(
        begin, end, order, older, newer, below, newest, active, previous, following, gap_older, gap_newer
    )  # fmt: skip

    at_instant = np.append(begin, OPEN)  # index -1, "none", becomes OPEN
    at = end[order]
    deletions = Deletions(
        at,
        order,
        at_instant[previous],
        begin[order],
        np.where(following < 0, at, at_instant[following]),
        following < 0,
        np.concatenate((np.zeros(1, np.int64), np.cumsum(np.bincount(at, minlength=n_instants)))),
    )
    newest_after = at_instant[newest]
    newest_before = np.concatenate((np.array([OPEN]), newest_after[:-1]))
    gaps = Gaps(
        np.concatenate((newest_before, deletions.previous)),
        np.concatenate((np.arange(n_instants), deletions.following)),
        gap_older,
        gap_newer,
        active,
    )
    came = np.cumsum(np.bincount(begin, minlength=n_instants))
    after, before = came - deletions.first[1:], came - deletions.first[:-1]
    return Chain(begin, end, newest_after, newest_before, deletions, gaps, after, before)


class GapCounts(NamedTuple):
    """What a matrix counts in the gaps of a chain.

    Attributes
    ----------
    live : int64 array, shape (n_instants,)
        What the volume shows at each instant: BOX((-inf, T] x (T, inf]).  [blocks]
    survivors : int64 array, shape (n_instants + n_deletions,)
        What the older end of each gap shows and the newer one still does: BOX((-inf, low] x (high, inf]).
        [blocks]
    layers : int64 array, shape (n_instants + n_deletions + 1,)
        What the newer end shows and the older one does not: BOX((low, high] x (high, inf]); 0 for the empty
        gap, which is the last.  [blocks]
    """

    live: Int64Array
    survivors: Int64Array
    layers: Int64Array


def count_gaps(matrix: LifetimeMatrix, snapshots: Chain) -> GapCounts:
    """Count the versions in every gap: one look-up each, and all formulas below are sums of these.

    Every box of them has the gap's ends on both axes, and so
    BOX((a, b] x (b, c]) = live(b) - survivors(a, b) - survivors(b, c) + survivors(a, c).

    Parameters
    ----------
    matrix : LifetimeMatrix
        The counts.
    snapshots : Chain
        Who exists when.

    Returns
    -------
    GapCounts
        The versions.
    """
    gaps = snapshots.gaps
    survivors = np.empty(len(gaps.low), np.int64)
    next_to = gaps.low == gaps.high - 1  # what policies with a snapshot at every instant have in common
    apart = np.flatnonzero(~next_to)
    survivors[next_to] = matrix.step_survivors[gaps.high[next_to]]
    survivors[apart] = matrix.sums.survivors(gaps.low[apart], gaps.high[apart])
    layers = np.zeros(len(survivors) + 1, np.int64)
    np.subtract(matrix.live_blocks[gaps.high], survivors, out=layers[:-1])
    return GapCounts(matrix.live_blocks, survivors, layers)


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


def shared(counts: GapCounts, snapshots: Chain) -> SharedSpace:
    """Follow the space that only snapshots need, where versions are shared or kept in layers.

    Parameters
    ----------
    counts : GapCounts
        What `count_gaps` returned.
    snapshots : Chain
        Who exists when.

    Returns
    -------
    SharedSpace
        `after[T]` = sum over i of BOX((k_{i-1}, k_i] x (k_i, T]).
    """
    n = snapshots.n_instants
    kept = np.append(counts.survivors, 0)[snapshots.gaps.active]
    kept = np.where(snapshots.gaps.active == len(counts.survivors), counts.live, kept)
    died = np.concatenate((np.zeros(1, np.int64), kept[:-1])) - counts.survivors[:n]
    freed = _freed(counts, snapshots)
    after = np.cumsum(died - snapshots.deletions.per_instant(freed))
    before = died + np.concatenate((np.zeros(1, np.int64), after[:-1]))
    return SharedSpace(before, after, freed, died)


def _freed(counts: GapCounts, snapshots: Chain) -> Int64Array:
    """BOX((k_{i-1}, k_i] x (k_i, k_{i+1}]) for every deletion."""
    gaps, n = snapshots.gaps, snapshots.n_instants
    newer = gaps.newer
    survivors = np.append(counts.survivors, 0)[newer]
    fresh = newer == len(counts.survivors)  # deleted when it was taken: all that it shows is alive
    survivors[fresh] = counts.live[snapshots.deletions.at[fresh]]
    freed: Int64Array = counts.layers[gaps.older] - survivors + counts.survivors[n:]
    return freed


def detached(counts: GapCounts, snapshots: Chain) -> SharedSpace:
    """Follow an incremental store elsewhere: each snapshot adds what the one before it does not hold.

    Parameters
    ----------
    counts : GapCounts
        What `count_gaps` returned.
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
    came = np.zeros(n, np.int64)
    came[snapshots.created] = counts.layers[snapshots.created]
    freed = np.where(gone.newest, counts.layers[snapshots.gaps.older], _freed(counts, snapshots))
    after = np.cumsum(came - gone.per_instant(freed))
    before = came + np.concatenate((np.zeros(1, np.int64), after[:-1]))
    return SharedSpace(before, after, freed, np.zeros(n, np.int64))


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


def merges(counts: GapCounts, snapshots: Chain) -> Merges:
    """Return what deletions move where every snapshot is a layer.

    Parameters
    ----------
    counts : GapCounts
        What `count_gaps` returned.
    snapshots : Chain
        Who exists when.

    Returns
    -------
    Merges
        One element a deletion.
    """
    gaps, n = snapshots.gaps, snapshots.n_instants
    extra = counts.layers[n:-1] - counts.layers[gaps.older]
    return Merges(counts.layers[gaps.newer], np.maximum(extra, 0))


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
        freed_at_instant_before = done - done[gone.first[gone.at]]
        np.maximum.at(peak, gone.at, space.before[gone.at] - freed_at_instant_before + extra)
    return peak


def sum_over_layers(values: Int64Array, snapshots: Chain) -> Int64Array:
    """Sum a quantity over all layers, the active one included, after everything that happens at each instant.

    A layer lasts from the creation of its newer snapshot, or the merge that made it, until either end is
    deleted.

    Parameters
    ----------
    values : int64 array, shape (n_instants + n_deletions + 1,)
        What the layer of each gap amounts to; the empty one last.
    snapshots : Chain
        Who exists when.

    Returns
    -------
    int64 array, shape (n_instants,)
        The sum.
    """
    n, gaps, gone = snapshots.n_instants, snapshots.gaps, snapshots.deletions
    frozen = np.zeros(n, np.int64)
    frozen[snapshots.created] = values[snapshots.created]
    # the newest snapshot is merged into the active layer, which is added at the end
    joined = np.where(gone.newest, 0, values[n:-1] - values[gaps.newer])
    frozen += gone.per_instant(joined - values[gaps.older])
    return np.cumsum(frozen) + values[gaps.active]


class Stores(NamedTuple):
    """Private stores, summed.

    Attributes
    ----------
    held, tables : int64 arrays, shape (n_instants,)
        Data and tables of all stores just before the prune at each instant.  [bytes]
    final : int64 array, shape (n_snapshots,)
        BOX((-inf, k] x (k, T]): what the store of each snapshot k holds when it is deleted, or at the end.
        [blocks]
    """

    held: Int64Array
    tables: Int64Array
    final: Int64Array


def private_stores(
    matrix: LifetimeMatrix, snapshots: Chain, *, staircase: Staircase, size: int = 0
) -> Stores:
    """Sum private stores by instant, from the creation of each to its deletion, both included.

    Parameters
    ----------
    matrix : LifetimeMatrix
        Counted with initial="thick" and discard="ignore".
    snapshots : Chain
        Who exists when.
    staircase : Staircase
        What the tables of one store take.
    size : int
        How much data a store can take; 0 for no limit.  [bytes]

    Returns
    -------
    Stores
        The sums.
    """
    n = snapshots.n_instants
    held, blocks = np.zeros((2, n), np.int64)
    between, climbs = np.zeros((2, n + 1), np.int64)
    final = np.zeros(len(snapshots.created), np.int64)
    add_stores(
        matrix.sums.arrays, snapshots.created, np.minimum(snapshots.deleted, n - 1), matrix.block_size, size,
        np.array(staircase, np.int64), between, blocks, held, climbs, final,
    )  # fmt: skip
    return Stores(held, np.cumsum(climbs)[:-1], final)
