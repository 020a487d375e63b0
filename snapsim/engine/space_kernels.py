"""Kernels that follow which kept snapshots are neighbours."""

from snapsim._jit import kernel


@kernel(allocates=False)
def link(created, deleted, order, older, newer, newest_after, previous, following):
    """Follow the chain of existing snapshots through all creations and deletions.

    Parameters
    ----------
    created, deleted : int64 arrays, shape (n_snapshots,)
        Instants; `created` increasing; `deleted` is the number of instants for a snapshot that is kept.
    order : int64 array, shape (n_deletions,)
        Snapshots in the order of their deletion.
    older, newer : int64 arrays, shape (n_snapshots,)
        Work space: the neighbours of each existing snapshot, -1 for none.
    newest_after : int64 array, shape (n_instants,)
        Filled with the newest snapshot that exists after each instant, -1 for none.
    previous, following : int64 arrays, shape (n_deletions,)
        Filled with the neighbours of each snapshot when it is deleted, -1 for none.
    """
    taken = 0
    gone = 0
    newest = -1
    for instant in range(newest_after.shape[0]):
        if taken < created.shape[0] and created[taken] == instant:
            older[taken] = newest
            newer[taken] = -1
            if newest >= 0:
                newer[newest] = taken
            newest = taken
            taken += 1
        while gone < order.shape[0] and deleted[order[gone]] == instant:
            one = order[gone]
            before, after = older[one], newer[one]
            previous[gone] = before
            following[gone] = after
            if before >= 0:
                newer[before] = after
            if after >= 0:
                older[after] = before
            else:
                newest = before
            gone += 1
        newest_after[instant] = newest
