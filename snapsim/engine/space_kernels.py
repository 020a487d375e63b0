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
def add_stores(arrays, created, last, unit, size, staircase, between, blocks, held, climbs, final):
    """Sum private stores by instant, one store after the other.

    What the store of k holds at T, BOX((-inf, k] x (k, T]), lies in one row of the prefix sums for all T; the
    cells of the few rows between that row and k are added up beside it (without prefix sums, those of all
    rows: they stay from one store to the next).  So no look-up is made for a pair of them.

    Parameters
    ----------
    arrays : BoxArrays
        The counts.
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
    blocks : int64 array, shape (n_instants,)
        Work space.
    held : int64 array, shape (n_instants,)
        Added to: data of all stores, up to the last instant of each.  [bytes]
    climbs : int64 array, shape (n_instants + 1,)
        Added to: how much the tables of all stores change at an instant.  [bytes]
    final : int64 array, shape (n_snapshots,)
        Filled with what each store holds at its last instant.  [blocks]
    """
    prefix, start, column, running = arrays.prefix, arrays.start, arrays.column, arrays.running
    stride = arrays.stride[0]
    least, step, width = staircase[0], staircase[1], staircase[2]
    rows = 0
    for one in range(created.shape[0]):
        taken = created[one]
        length = last[one] + 1 - taken
        end = taken + 2
        group = end // stride if stride else 0
        row_sums = prefix[group, taken + 1 : taken + 1 + length]
        store, sums = blocks[:length], held[taken : taken + length]
        base = np.int64(row_sums[0])
        for i in range(length):
            store[i] = np.int64(row_sums[i]) - base
        if stride:
            found = False
            for row in range(group * stride, end):
                cell = first_at_least(column, start[row], start[row + 1], taken + 1)
                while cell < start[row + 1] and column[cell] <= last[one]:
                    between[column[cell]] += running[cell + 1] - running[cell]
                    cell += 1
                    found = True
        else:
            for cell in range(start[rows], start[end]):
                between[column[cell]] += running[cell + 1] - running[cell]
            rows = end
            found = True
        if found:
            beside = between[taken : taken + length]
            total = np.int64(0)
            for i in range(1, length):
                total += beside[i]
                store[i] += total
            if stride:
                beside[:] = 0
        if size:
            for i in range(length):
                sums[i] += min(store[i] * unit, size)
        else:
            for i in range(length):
                sums[i] += store[i] * unit
        final[one] = store[length - 1]
        table = least
        climbs[taken] += least
        full = width
        while full <= final[one]:  # a store only grows
            here = first_at_least(store, 0, length, full)
            steps = (store[here] - full) // width + 1
            climbs[taken + here] += steps * step
            table += steps * step
            full += steps * width
        climbs[taken + length] -= table


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
