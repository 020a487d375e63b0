"""Kernels that follow which kept snapshots are neighbours, sum their stores, and choose among them."""

import numpy as np

from snapsim._jit import kernel
from snapsim.engine.boxsums_kernels import first_at_least, tail_sum

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
def add_stores(arrays, created, last, unit, size, staircase, between, held, tables, final):
    """Sum private stores by instant, one store after the other.

    What the store of k holds at T, BOX((-inf, k] x (k, T]), is a running sum along one row: that of the prefix
    sums, and the cells of the few rows between it and k, which `between` has by column.  No look-up is made
    for a pair of them, and a store only grows, so that its tables are a staircase that is climbed once.

    Parameters
    ----------
    arrays : BoxArrays
        The counts; without prefix sums all rows are between.
    created, last : int64 arrays, shape (n_snapshots,)
        First and last instant of each store; `created` increasing.
    unit : int
        Size of a block.  [bytes]
    size : int
        What data can take at most; 0 for no limit.  [bytes]
    staircase : int64 array, shape (3,)
        Tables of an empty store [bytes], and how much is added [bytes] for every so many blocks.
    between : int64 array, shape (n_columns + 1,)
        Work space, zero.
    held, tables : int64 arrays, shape (n_instants,)
        Added to: data and tables of all stores, up to the last instant of each.  [bytes]
    final : int64 array, shape (n_snapshots,)
        Filled with what each store holds at its last instant.  [blocks]
    """
    prefix, start, column, running = arrays.prefix, arrays.start, arrays.column, arrays.running
    stride = arrays.stride[0]
    least, step, width = staircase[0], staircase[1], staircase[2]
    most = size if size else np.int64(1 << 62)
    low, high = 0, 0  # rows that `between` has
    for one in range(created.shape[0]):
        taken = created[one]
        end = taken + 2
        group = end // stride if stride else 0
        if group * stride != low:
            for cell in range(start[low], start[high]):
                between[column[cell]] = 0
            low = high = group * stride
        for cell in range(start[high], start[end]):
            between[column[cell]] += running[cell + 1] - running[cell]
        high = end
        before = np.int64(prefix[group, taken + 1])
        blocks = np.int64(0)
        table = least
        full = width
        for instant in range(taken, last[one] + 1):
            if instant > taken:
                before -= between[instant]
                blocks = np.int64(prefix[group, instant + 1]) - before
            while blocks >= full:
                table += step
                full += width
            held[instant] += min(blocks * unit, most)
            tables[instant] += table
        final[one] = blocks


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
