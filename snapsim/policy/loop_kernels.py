"""Through a simulated year without reasons: when each snapshot goes.

`judgement_kernels` says why, for every rule and every snapshot; that takes several passes over what exists
after each of thousands of snapshots.  When only the instants of deletion are asked for, and snapshots carry
no marks and come in the order of time, a bucket is a stretch of neighbours: one pass for each rule picks,
counts, and ends where the count is used up.  What does not fit is left to `judgement_kernels.simulate`, which
remains the one statement of what rules mean; both agree.
"""

import numpy as np

from snapsim._jit import kernel
from snapsim.policy.judgement_kernels import (
    ANY,
    CASCADE,
    CLAIM,
    EACH_COUNTED_RULE,
    FOREVER,
    HUGE,
    LAST_RULE,
    NEVER,
    PARTITION,
    SEQUENTIAL,
    simulate,
)

NOT_ABOUT = -1
"""Stands for the key of a snapshot that a rule is not about."""


@kernel(allocates=False)
def stretches(rules, semantics, snapshots, keys, alone):
    """Write down the keys of each rule, and say whether one pass decides as the general engine does.

    Parameters
    ----------
    rules : RuleTable
        The rules.
    semantics : Semantics
        How they work together.
    snapshots : Candidates
        Those that are taken.
    keys : int32 array, shape (n_rules, n_snapshots)
        Filled with the bucket keys, or `NOT_ABOUT`.
    alone : bool array, shape (n_rules,)
        Filled with whether every snapshot has a bucket of its own.

    Returns
    -------
    bool
        Whether nothing overrules the rules, and each bucket is a stretch of neighbours that one represents.
    """
    combine = semantics.combine
    apart = combine in (ANY, SEQUENTIAL)
    if combine == PARTITION or not (apart or semantics.oldest == NEVER):
        return False
    if semantics.min_age > 0 or semantics.newest > 0 or semantics.just_taken or semantics.last_of_class:
        return False
    if semantics.chain_max < HUGE or semantics.max_age < FOREVER or semantics.most_deleted < 1_000_000:
        return False
    time_ns, column, table = snapshots.time_ns, snapshots.column, snapshots.table
    n_snapshots = time_ns.shape[0]
    for one in range(n_snapshots):
        if snapshots.mark[one] != 0 or (one > 0 and time_ns[one] <= time_ns[one - 1]):
            return False
    for rule in range(rules.row.shape[0]):
        row, selection, number = rules.row[rule], rules.selection[rule], rules.number[rule]
        if rules.per_bucket[rule] != 1 or rules.every[rule] > 0 or rules.window[rule] >= 0:
            return False
        if (number >= 0 and combine != CASCADE) or (selection >= 0 and not apart):
            return False
        alone[rule] = True
        greatest = np.int32(-1)
        for one in range(n_snapshots):
            if selection >= 0 and not snapshots.selected[selection, one]:
                keys[rule, one] = NOT_ABOUT
                continue
            key = table[row, column[one]]
            if key <= greatest:
                alone[rule] = False
                if key < greatest and not semantics.run:
                    return False  # the wall clock was put back: a bucket comes again
            if number >= 0 and one > 0:
                numbers = snapshots.numbers[number]
                if numbers[column[one]] < numbers[column[one - 1]]:
                    return False
            greatest = key
            keys[rule, one] = key
    return True


@kernel(allocates=False)
def keep_counted(rule, n_live, order, now, rules, semantics, keys, kept, last_active):
    """Any, sequential: keep the representatives of the newest buckets, and perhaps the oldest of all.

    Parameters
    ----------
    rule : int
        The rule.
    n_live : int
        How many snapshots exist.
    order : int64 array, shape (at least n_live,)
        Snapshots that exist, oldest first.
    now : int
        What `kept` says of those that a rule keeps in this prune.
    rules, semantics, keys
        As described above.
    kept : int64 array, shape (n_snapshots,)
        The prune in which each was kept last; modified in place.
    last_active : int
        The last rule that keeps anything.
    """
    most, from_oldest = rules.most[rule], rules.from_oldest[rule]
    sequential = semantics.combine == SEQUENTIAL
    used = 0
    previous = np.int32(NOT_ABOUT)
    winner = np.int64(-1)
    for place in range(n_live - 1, -1, -1):
        one = order[place]
        key = keys[rule, one]
        if key == NOT_ABOUT:
            continue
        if key == previous:
            if from_oldest:
                winner = one
            continue
        if winner >= 0 and not (sequential and kept[winner] == now):
            kept[winner] = now
            used += 1
            if used == most:
                return
        previous, winner = key, one
    if winner >= 0 and not (sequential and kept[winner] == now):
        kept[winner] = now
        used += 1
    if used >= most or semantics.oldest == NEVER or (semantics.oldest == EACH_COUNTED_RULE and most >= HUGE):
        return
    end = order[0]
    if keys[rule, end] != NOT_ABOUT and (semantics.oldest != LAST_RULE or rule == last_active):
        kept[end] = now


@kernel(allocates=False)
def claim(rule, n_view, view, now, rules, keys, alone, kept):
    """Claim: keep the representatives of buckets in which nothing is kept; the rest of those is lost.

    Parameters
    ----------
    rule : int
        The rule.
    n_view : int
        How many snapshots no earlier rule has taken away.
    view : int64 array, shape (at least n_view,)
        They themselves, newest first; modified in place.
    now, rules, keys, alone, kept
        As for `keep_counted`.

    Returns
    -------
    int
        How many are left for later rules.
    """
    most, from_oldest = rules.most[rule], rules.from_oldest[rule]
    used, left, start = 0, 0, 0
    if alone[rule]:
        while start < n_view and used < most:
            if kept[view[start]] != now:
                kept[view[start]] = now
                used += 1
            start += 1
        return n_view
    while start < n_view and used < most:
        key = keys[rule, view[start]]
        covered = kept[view[start]] == now
        end = start + 1
        while end < n_view and keys[rule, view[end]] == key:
            covered |= kept[view[end]] == now
            end += 1
        if not covered:
            winner = view[end - 1] if from_oldest else view[start]
            kept[winner] = now
            view[left] = winner
            left += 1
            used += 1
        elif left == start:
            left = end
        else:
            for place in range(start, end):
                view[left] = view[place]
                left += 1
        start = end
    if left == start:
        return n_view
    for place in range(start, n_view):
        view[left] = view[place]
        left += 1
    return left


@kernel(allocates=False)
def cascade(rule, n_view, view, now, now_column, rules, snapshots, keys, alone, kept):
    """Cascade: keep the representatives that lie inside; later rules look at representatives only.

    Parameters
    ----------
    rule : int
        The rule.
    n_view : int
        How many snapshots the rule looks at.
    view : int64 array, shape (at least n_view,)
        They themselves, newest first; modified in place.
    now, rules, keys, alone, kept
        As for `keep_counted`.
    now_column : int
        Column of the present.
    snapshots : Candidates
        Those that are taken.

    Returns
    -------
    int
        How many represent a bucket.
    """
    most, from_oldest, number = rules.most[rule], rules.from_oldest[rule], rules.number[rule]
    numbers, column = snapshots.numbers, snapshots.column
    least = np.int64(0)
    if number >= 0:
        least = numbers[number + numbers.shape[0] // 2, now_column] - rules.back[rule]
    used, left, start = 0, 0, 0
    if alone[rule]:
        # bucket numbers descend from here on: what follows one that lies outside does so, too
        while (
            start < n_view and used < most and (number < 0 or numbers[number, column[view[start]]] >= least)
        ):
            kept[view[start]] = now
            used += 1
            start += 1
        return n_view
    while start < n_view:
        key = keys[rule, view[start]]
        end = start + 1
        while end < n_view and keys[rule, view[end]] == key:
            end += 1
        winner = view[end - 1] if from_oldest else view[start]
        if used < most and (number < 0 or numbers[number, column[winner]] >= least):
            kept[winner] = now
            used += 1
        view[left] = winner
        left += 1
        start = end
    return left


@kernel
def simulate_steps(rules, semantics, snapshots, n_keys):
    """Run the event loop of `judgement_kernels.simulate` for its steps alone.

    Parameters
    ----------
    rules : RuleTable
        The rules.
    semantics : Semantics
        How they work together.
    snapshots : Candidates
        Those that are taken, in order of time.
    n_keys : int
        Largest bucket key plus one.

    Returns
    -------
    int64 array, shape (n_snapshots,)
        The snapshot after which each was deleted; n_snapshots where it is kept.
    """
    n_snapshots = snapshots.time_ns.shape[0]
    n_rules = rules.row.shape[0]
    keys = np.empty((n_rules, n_snapshots), dtype=np.int32)
    alone = np.empty(n_rules, dtype=np.bool_)
    if not stretches(rules, semantics, snapshots, keys, alone):
        verdicts, _ = simulate(rules, semantics, snapshots, n_keys)
        return verdicts.step
    combine = semantics.combine
    step = np.full(n_snapshots, n_snapshots, dtype=np.int64)
    kept = np.full(n_snapshots, -1, dtype=np.int64)
    order = np.empty(n_snapshots, dtype=np.int64)
    view = np.empty(n_snapshots, dtype=np.int64)
    last_active = -1
    for rule in range(n_rules):
        if rules.most[rule] > 0:
            last_active = rule
    n_live = 0
    for new in range(n_snapshots):
        order[n_live] = new
        n_live += 1
        n_view = n_live
        if combine in (CLAIM, CASCADE):
            for place in range(n_live):
                view[place] = order[n_live - 1 - place]
        for rule in range(last_active + 1):  # a mere sieve at the end changes nothing
            if combine == CASCADE:
                column = snapshots.column[new]
                n_view = cascade(rule, n_view, view, new, column, rules, snapshots, keys, alone, kept)
            elif rules.most[rule] > 0:
                if combine == CLAIM:
                    n_view = claim(rule, n_view, view, new, rules, keys, alone, kept)
                else:
                    keep_counted(rule, n_live, order, new, rules, semantics, keys, kept, last_active)
        left = 0
        while left < n_live and kept[order[left]] == new:
            left += 1
        first_gone = left
        for place in range(first_gone, n_live):
            one = order[place]
            if kept[one] == new:
                order[left] = one
                left += 1
            else:
                step[one] = new
        if semantics.refuse_all and left == 0:
            for place in range(n_live):
                step[order[place]] = n_snapshots
        else:
            n_live = left
    return step
