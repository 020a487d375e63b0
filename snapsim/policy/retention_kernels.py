"""The rule engine: which snapshots the rules keep, over integer keys.

Every rule keeps the newest snapshot of each of its newest `count` buckets (rules are OR-ed: the mode that
restic uses).  Snapshots are admitted one after the other, oldest first.  Each rule holds its representatives
in a queue: a newer snapshot of the same bucket takes the place of the older one, a new bucket may push the
oldest out.  What a count let go never comes back, because later snapshots only make more buckets newer; so
deleting what no rule holds does not change what the queues will hold.  This is the quick way through a
simulated year for the commonest policies; `judgement_kernels` decides about all others, and both agree.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from snapsim._jit import kernel
from snapsim.types import Int64Array

OUTSIDE_COUNT = -1
"""Newer buckets use up the rule's count."""
OUTSIDE_WINDOW = -2
"""The snapshot lies outside the rule's window."""
HELD = -3
"""The rule keeps the snapshot."""


class RuleArrays(NamedTuple):
    """Retention rules as arrays.

    Attributes
    ----------
    row : int64 array, shape (n_rules,)
        Row of the key table: the bucket.
    most : int64 array, shape (n_rules,)
        Non-empty buckets that the rule keeps; a huge number where it is unlimited.
    window : int64 array, shape (n_rules,)
        Row of the window starts, or -1.  A rule with a window puts every snapshot into a bucket of its own
        and is unlimited (a bucket whose newest snapshot leaves a window and comes back would need more
        state).
    """

    row: Int64Array
    most: Int64Array
    window: Int64Array


class Catalog(NamedTuple):
    """Snapshots in order of time, as arrays.

    Attributes
    ----------
    time_ns : int64 array, shape (n_snapshots,)
        When they were taken, ascending.  [ns]
    column : int64 array, shape (n_snapshots,)
        Column of the key table.
    table : int32 array, shape (n_buckets, n_columns)
        Dense calendar keys.
    window_start : int64 array, shape (n_windows, n_snapshots)
        Where each window starts when the snapshot is the newest that exists.  [ns]
    """

    time_ns: Int64Array
    column: Int64Array
    table: npt.NDArray[np.int32]
    window_start: Int64Array


class Queues(NamedTuple):
    """What the rules hold.

    Attributes
    ----------
    entry : int32 array, shape (n_rules, n_snapshots)
        Representatives, oldest first.
    where : int32 array, shape (n_rules, n_columns)
        Position in `entry` of a bucket's representative, or -1.  Valid if not below `first`.
    first, edge, end : int64 arrays, shape (n_rules,)
        The count admits `entry[first:end]`, the window `entry[edge:end]`.
    mask : int64 array, shape (n_snapshots,)
        Bit r is set where rule r holds the snapshot.
    """

    entry: npt.NDArray[np.int32]
    where: npt.NDArray[np.int32]
    first: Int64Array
    edge: Int64Array
    end: Int64Array
    mask: Int64Array


class Verdicts(NamedTuple):
    """Why each snapshot is kept or not, rule by rule.

    Attributes
    ----------
    step : int64 array, shape (n_snapshots,)
        The snapshot after whose admission it was deleted; n_snapshots where it is kept.
    rank : int32 array, shape (n_rules, n_snapshots)
        1 for the newest bucket of the rule, 2 for the next, ...; 0 where the rule does not keep the snapshot.
    rival : int32 array, shape (n_rules, n_snapshots)
        The snapshot that represents the bucket instead, or `OUTSIDE_COUNT`, `OUTSIDE_WINDOW`, `HELD`.
    """

    step: Int64Array
    rank: npt.NDArray[np.int32]
    rival: npt.NDArray[np.int32]


@kernel
def empty_queues(rules, catalog):
    """Return the queues before the first snapshot."""
    n_rules = rules.row.shape[0]
    n_snapshots = catalog.time_ns.shape[0]
    return Queues(
        np.empty((n_rules, n_snapshots), dtype=np.int32),
        np.full((n_rules, catalog.table.shape[1]), -1, dtype=np.int32),
        np.zeros(n_rules, dtype=np.int64),
        np.zeros(n_rules, dtype=np.int64),
        np.zeros(n_rules, dtype=np.int64),
        np.zeros(n_snapshots, dtype=np.int64),
    )


@kernel(allocates=False)
def admit(new, rules, catalog, queues, lost):
    """Let every rule take note of the next snapshot.

    Parameters
    ----------
    new : int
        The snapshot; those before it have been admitted.
    rules, catalog, queues
        As described above; `queues` is modified in place.
    lost : int64 array, shape (n_rules * (n_snapshots + 2),)
        Filled with the snapshots that some rule let go; one may appear several times.

    Returns
    -------
    int
        How many entries of `lost` are filled.
    """
    row, most, window = rules.row, rules.most, rules.window
    time_ns, table, window_start = catalog.time_ns, catalog.table, catalog.window_start
    entry, where, mask = queues.entry, queues.where, queues.mask
    column = catalog.column[new]
    n_lost = 0
    for rule in range(row.shape[0]):
        bit = np.int64(1) << rule
        key = table[row[rule], column]
        first, end = queues.first[rule], queues.end[rule]
        position = where[rule, key]
        if position >= first:
            old = entry[rule, position]
            mask[old] &= ~bit
            lost[n_lost] = old
            n_lost += 1
            if position < end - 1:
                # The wall clock was put back across the start of a bucket, and the older bucket goes on:
                # close the gap.
                for place in range(position, end - 1):
                    moved = entry[rule, place + 1]
                    entry[rule, place] = moved
                    where[rule, table[row[rule], catalog.column[moved]]] = place
            end -= 1
        entry[rule, end] = new
        where[rule, key] = end
        end += 1
        mask[new] |= bit
        if end - first > most[rule]:
            old = entry[rule, first]
            mask[old] &= ~bit
            lost[n_lost] = old
            n_lost += 1
            first += 1
        if window[rule] >= 0:
            edge = queues.edge[rule]
            start = window_start[window[rule], new]
            while edge < end and time_ns[entry[rule, edge]] <= start:
                old = entry[rule, edge]
                mask[old] &= ~bit
                lost[n_lost] = old
                n_lost += 1
                edge += 1
            # A month after the 31st is shorter than one after the 1st, so a calendar window can move back.
            while edge > first and time_ns[entry[rule, edge - 1]] > start:
                edge -= 1
                old = entry[rule, edge]
                mask[old] |= bit  # of no effect if it is gone
            queues.edge[rule] = edge
        queues.first[rule] = first
        queues.end[rule] = end
    return n_lost


@kernel(allocates=False)
def explain(snapshot, rules, catalog, queues, rank, rival):
    """Write down what every rule says about one snapshot as the queues are now."""
    row, window, table = rules.row, rules.window, catalog.table
    column = catalog.column[snapshot]
    for rule in range(row.shape[0]):
        position = queues.where[rule, table[row[rule], column]]
        rank[rule, snapshot] = 0
        if position < queues.first[rule]:
            rival[rule, snapshot] = OUTSIDE_COUNT
        elif window[rule] >= 0 and position < queues.edge[rule]:
            rival[rule, snapshot] = OUTSIDE_WINDOW
        elif queues.entry[rule, position] != snapshot:
            rival[rule, snapshot] = queues.entry[rule, position]
        else:
            rival[rule, snapshot] = HELD
            rank[rule, snapshot] = queues.end[rule] - position


@kernel
def replay(rules, catalog):
    """Run the event loop: admit a snapshot, delete what no rule holds any more, admit the next.

    Parameters
    ----------
    rules : RuleArrays
        The rules.
    catalog : Catalog
        The snapshots that are taken.

    Returns
    -------
    Verdicts
        Ranks and rivals are those of the prune that deleted the snapshot, or of the last prune.
    """
    n_snapshots = catalog.time_ns.shape[0]
    n_rules = rules.row.shape[0]
    queues = empty_queues(rules, catalog)
    mask = queues.mask
    step = np.full(n_snapshots, n_snapshots, dtype=np.int64)
    lost = np.empty(n_rules * (n_snapshots + 2), dtype=np.int64)
    rank = np.zeros((n_rules, n_snapshots), dtype=np.int32)
    rival = np.zeros((n_rules, n_snapshots), dtype=np.int32)
    for new in range(n_snapshots):
        n_lost = admit(new, rules, catalog, queues, lost)
        for index in range(n_lost):
            old = lost[index]
            if mask[old] == 0 and step[old] == n_snapshots:
                step[old] = new
                explain(old, rules, catalog, queues, rank, rival)
    for snapshot in range(n_snapshots):
        if step[snapshot] == n_snapshots:
            explain(snapshot, rules, catalog, queues, rank, rival)
    return Verdicts(step, rank, rival)
