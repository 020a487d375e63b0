"""Kernels that follow which kept snapshots are neighbours, sum their stores, and choose among them."""

import numpy as np

from snapsim._jit import kernel
from snapsim.engine.boxsums_kernels import tail_sum

NEVER = np.int64(1 << 61)
"""Longer than any path; two of them still fit."""


@kernel(allocates=False)
def link(
    created,
    deleted,
    order,
    older,
    newer,
    below,
    newest_after,
    active,
    previous,
    following,
    gap_older,
    gap_newer,
):
    """Follow the chain of existing snapshots, and the gaps between them, through all creations and deletions.

    Gaps are numbered: T for the one between the newest snapshot and instant T, n + j for the one that
    deletion j joins from two, n + n_deletions for the empty one of a snapshot that was taken this moment.

    Parameters
    ----------
    created, deleted : int64 arrays, shape (n_snapshots,)
        Instants; `created` increasing; `deleted` is the number of instants for a snapshot that is kept.
    order : int64 array, shape (n_deletions,)
        Snapshots in the order of their deletion.
    older, newer, below : int64 arrays, shape (n_snapshots,)
        Work space: the neighbours of each existing snapshot, -1 for none, and the gap to the older one.
    newest_after : int64 array, shape (n_instants,)
        Filled with the newest snapshot that exists after each instant, -1 for none.
    active : int64 array, shape (n_instants,)
        Filled with the gap between that snapshot and the instant.
    previous, following : int64 arrays, shape (n_deletions,)
        Filled with the neighbours of each snapshot when it is deleted, -1 for none.
    gap_older, gap_newer : int64 arrays, shape (n_deletions,)
        Filled with the gaps that each deletion joins.
    """
    n = newest_after.shape[0]
    empty = n + order.shape[0]
    taken = 0
    gone = 0
    newest = -1
    for instant in range(n):
        gap = instant
        if taken < created.shape[0] and created[taken] == instant:
            older[taken] = newest
            newer[taken] = -1
            below[taken] = instant
            if newest >= 0:
                newer[newest] = taken
            newest = taken
            taken += 1
            gap = empty
        while gone < order.shape[0] and deleted[order[gone]] == instant:
            one = order[gone]
            before, after = older[one], newer[one]
            previous[gone] = before
            following[gone] = after
            gap_older[gone] = below[one]
            if before >= 0:
                newer[before] = after
            if after >= 0:
                older[after] = before
                gap_newer[gone] = below[after]
                below[after] = n + gone
            else:
                newest = before
                gap_newer[gone] = gap
                gap = n + gone
            gone += 1
        newest_after[instant] = newest
        active[instant] = gap


@kernel(allocates=False)
def add_stores(snapshot, instant, taken, table, created, deleted, size, sums):
    """Sum private stores by instant.

    Parameters
    ----------
    snapshot, instant : int64 arrays, shape (n_pairs,)
        Which store, and when: all instants of one store in order, then those of the next.
    taken, table : int64 arrays, shape (n_pairs,)
        What it holds then, and the tables in it.  [bytes]
    created, deleted : int64 arrays, shape (n_snapshots,)
        Instants.
    size : int
        What each store takes from the start; 0 where it grows.  [bytes]
    sums : int64 array, shape (7, n_instants)
        Added to: data before the prune, tables before it; data after it, tables after it, allocated; copied
        since the instant before; freed.  [bytes]
    """
    for i in range(snapshot.shape[0]):
        one, now = snapshot[i], instant[i]
        sums[0, now] += taken[i]
        sums[1, now] += table[i]
        if now < deleted[one]:
            sums[2, now] += taken[i]
            sums[3, now] += table[i]
            sums[4, now] += size or taken[i] + table[i]
        else:
            sums[6, now] += taken[i]
        if now > created[one]:
            sums[5, now] += taken[i] - taken[i - 1]


@kernel(allocates=False)
def least_path(arrays, node, first, opens, joined, joined_last, least, origin):
    """Find the instants at which snapshots hold least, so that no gap is longer than allowed.

    The instants are 0..now, and the path ends at `now`, which is no snapshot.  A snapshot b after a snapshot
    a adds node[b] less the versions that a shows too and b still does.

    Parameters
    ----------
    arrays : BoxArrays
        The counts; their prefix sums are used.
    node : int64 array, shape (now + 1,)
        What a snapshot holds alone; 0 for the last.  [blocks]
    first : int64 array, shape (now + 1,)
        The oldest instant that may be the one before.
    opens : bool array, shape (now + 1,)
        Whether there need not be one before.
    joined, joined_last : int
        1 where neighbours share versions, 0 where they do not; the same for the newest snapshot and `now`.
    least : int64 array, shape (now + 1,)
        Filled with the least sum up to each instant; at least `NEVER` where there is none.  [blocks]
    origin : int64 array, shape (now + 1,)
        Filled with the snapshot before, -1 for none.
    """
    prefix, start, column, running = arrays.prefix, arrays.start, arrays.column, arrays.running
    stride = arrays.stride[0]
    now = node.shape[0] - 1
    for b in range(now + 1):
        shares = joined if b < now else joined_last
        best = np.int64(0) if opens[b] else NEVER
        came = -1
        for a in range(first[b], b):
            total = least[a]
            if total < NEVER:
                if shares:
                    total -= tail_sum(prefix, start, column, running, stride, a + 2, b + 1)
                if total < best:
                    best = total
                    came = a
        least[b] = min(best + node[b], NEVER)
        origin[b] = came
