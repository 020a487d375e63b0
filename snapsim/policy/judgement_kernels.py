"""One prune: which snapshots the rules keep, in every way in which tools combine rules.

The snapshots that exist come newest first.  Each rule looks at those that it is about (`select`) and that are
inside its window, puts them into buckets, and picks representatives.  What a rule does with them is the
combine mode:

- any: a rule keeps the representatives of its newest `count` buckets; rules know nothing of each other;
- sequential: rules one after the other; a representative that is kept already uses up no count;
- claim: rules one after the other; a rule passes over buckets in which something is kept already, and what it
  does not pick from a bucket that it claims is lost for later rules;
- partition: a snapshot belongs to the first rule whose window it is in, and to no other;
- cascade: of what the rule before was about, a rule looks only at the representatives.

Everything is small integers; the same code decides once about a catalog (`decide_once`) and after each of the
thousands of snapshots of a simulated year (`simulate`).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from snapsim._jit import kernel
from snapsim.policy.retention_kernels import HELD, OUTSIDE_COUNT, OUTSIDE_WINDOW, Verdicts
from snapsim.types import Int64Array
from snapsim.units import SECOND

NOT_SELECTED = -4
"""The rule is not about the snapshot."""
KEPT_EARLIER = -5
"""Sequential: an earlier rule keeps it already."""
LOST_EARLIER = -6
"""Claim: an earlier rule picked another one from its bucket."""
OTHER_RULE = -7
"""Partition: an earlier rule is responsible for snapshots of this age."""
COVERED = -8
"""Claim: something that an earlier rule keeps covers its bucket."""
OLDEST = -9
"""The rule keeps it as the oldest, because its count is not used up."""
SIEVED = -10
"""Cascade: the level below picked another one."""

ANY, SEQUENTIAL, CLAIM, PARTITION, CASCADE = range(5)
NEVER, EACH_RULE, EACH_COUNTED_RULE, LAST_RULE = range(4)
NOW, NEWEST, NEWEST_NOT_FUTURE, NEWEST_COMPLETE, FIXED = range(5)
COUNT_FUTURE, KEEP_FUTURE, IGNORE_FUTURE = range(3)

UNMANAGED, MARKED, FUTURE, YOUNG, AMONG_NEWEST, LAST_OF_CLASS, GUARDED, JUST_TAKEN = range(1, 9)
"""Why a snapshot stays although no rule keeps it (`Stays.why`)."""
TOO_MANY, TOO_OLD, UNFINISHED = range(1, 4)
"""Why a snapshot goes although a rule keeps it (`Stays.limit`)."""

HUGE = 1 << 40
"""Stands for a count without limit."""
NO_TIME = np.iinfo(np.int64).min
"""Nothing to count a window back from: it keeps everything."""
FOREVER = int(np.iinfo(np.int64).max)
"""Stands for an age without limit.  [ns]"""


class RuleTable(NamedTuple):
    """Rules as arrays, shape (n_rules,) each.

    Attributes
    ----------
    row : int64 array
        Row of the key table.
    most : int64 array
        Buckets that the rule keeps; `HUGE` where it is unlimited, 0 for a mere sieve of a cascade.
    per_bucket : int64 array
        How many of a bucket are picked; `HUGE` for all.
    from_oldest : int64 array
        1 where the oldest of a bucket are picked.
    window : int64 array
        Row of `after` and `until`, or -1.
    back : int64 array
        Buckets back from that of now (-1: only later ones), for a rule that has a row of `number`.
    number : int64 array
        Row of the bucket numbers, or -1.
    every : int64 array
        Length of buckets that are counted back from the reference, or 0.  [ns]
    lowest : int64 array
        Age at which those buckets begin.  [ns]
    selection : int64 array
        Row of `selected`, or -1 where the rule is about every snapshot.
    reference : int64 array
        From where ages and windows count: `NOW`, `NEWEST`, `NEWEST_NOT_FUTURE`, `NEWEST_COMPLETE`, `FIXED`.
    fixed : int64 array
        The time of a `FIXED` reference.  [ns]
    """

    row: Int64Array
    most: Int64Array
    per_bucket: Int64Array
    from_oldest: Int64Array
    window: Int64Array
    back: Int64Array
    number: Int64Array
    every: Int64Array
    lowest: Int64Array
    selection: Int64Array
    reference: Int64Array
    fixed: Int64Array


class Semantics(NamedTuple):
    """What is the same for all rules.

    Attributes
    ----------
    combine, oldest, future : int
        As the constants above.
    run : int
        1 if a bucket ends where the key changes, even if the same key comes again.
    ties : int
        1 if snapshots of one instant all represent their bucket.
    marked_counts : int
        1 if protected snapshots use up counts and fill buckets.
    min_age : int
        Younger ones stay.  [ns]
    newest : int
        So many of the newest stay.
    just_taken : int
        1 if those of the very second of the decision stay.
    last_of_class : int
        1 if the last snapshot of each class stays.
    chain_max : int
        The oldest go when more would stay; `HUGE` for no limit.
    max_age : int
        Older ones go; the largest integer for no limit.  [ns]
    refuse_all : int
        1 if a run that would delete everything deletes nothing.
    most_deleted : int
        Largest share of a group that a run may delete, in parts per million.
    """

    combine: int
    oldest: int
    future: int
    run: int
    ties: int
    marked_counts: int
    min_age: int
    newest: int
    just_taken: int
    last_of_class: int
    chain_max: int
    max_age: int
    refuse_all: int
    most_deleted: int


class Candidates(NamedTuple):
    """Snapshots as arrays, in order of time (or of number).

    Attributes
    ----------
    time_ns : int64 array, shape (n_snapshots,)
        When they were taken.  [ns]
    column : int64 array, shape (n_snapshots,)
        Column of the tables.
    table : int32 array, shape (n_rows, n_columns)
        Dense bucket keys.
    numbers : int64 array, shape (2 n_numbers, n_columns)
        Consecutive bucket numbers: of snapshots in the first half of the rows, of the present in the other.
    after, until : int64 arrays, shape (n_windows, n_columns)
        For each reference the window (after, until].  [ns]
    selected : bool array, shape (n_selections, n_snapshots)
        What rules are about.
    mark : int64 array, shape (n_snapshots,)
        0, or `UNMANAGED` or `MARKED`; -`UNFINISHED` for one that goes whatever rules say.
    complete : bool array, shape (n_snapshots,)
        Whether it is finished.
    classes : uint64 array, shape (n_snapshots,)
        Its classes, a bit each.
    """

    time_ns: Int64Array
    column: Int64Array
    table: npt.NDArray[np.int32]
    numbers: Int64Array
    after: Int64Array
    until: Int64Array
    selected: npt.NDArray[np.bool_]
    mark: Int64Array
    complete: npt.NDArray[np.bool_]
    classes: npt.NDArray[np.uint64]


class Work(NamedTuple):
    """Room to work in, allocated once for thousands of prunes.

    Attributes
    ----------
    stamp, ordinal : int64 arrays, shape (n_keys,)
        When a bucket was last seen, and its number within the prune.
    bucket : int64 array, shape (n_snapshots,)
        Bucket of each place in the order, or a negative code.
    outside : int64 array, shape (n_snapshots,)
        1 where the place lies outside of the rule's window; in a cascade it has a bucket nevertheless.
    picked : int64 array, shape (n_snapshots,)
        1 where the place represents its bucket.
    rank_of : int64 array, shape (n_snapshots + 1,)
        How often a bucket was picked from; then its rank.
    first_rank : int64 array, shape (n_snapshots + 1,)
        The rank of the first representative of each bucket; 0 where none uses up a count.
    winner : int64 array, shape (n_snapshots + 1,)
        The key of each bucket that is counted back from the reference; then its first representative.
    kept : int64 array, shape (n_snapshots,)
        Whether a rule keeps the place.
    lost : int64 array, shape (n_snapshots,)
        Whether the place is lost for later rules.
    clock : int64 array, shape (1,)
        Counts the rules that were looked at, for `stamp`.
    """

    stamp: Int64Array
    ordinal: Int64Array
    bucket: Int64Array
    outside: Int64Array
    picked: Int64Array
    rank_of: Int64Array
    first_rank: Int64Array
    winner: Int64Array
    kept: Int64Array
    lost: Int64Array
    clock: Int64Array


class Stays(NamedTuple):
    """What overrules the rules, shape (n_snapshots,) each.

    Attributes
    ----------
    why : int64 array
        Why it stays although no rule keeps it; 0 for nothing.
    limit : int64 array
        Why it goes although a rule keeps it; 0 for nothing.
    """

    why: Int64Array
    limit: Int64Array


@kernel
def make_work(n_snapshots, n_keys):
    """Allocate room to work in."""
    return Work(
        np.zeros(n_keys + 1, dtype=np.int64),
        np.zeros(n_keys + 1, dtype=np.int64),
        np.zeros(n_snapshots, dtype=np.int64),
        np.zeros(n_snapshots, dtype=np.int64),
        np.zeros(n_snapshots, dtype=np.int64),
        np.zeros(n_snapshots + 1, dtype=np.int64),
        np.zeros(n_snapshots + 1, dtype=np.int64),
        np.zeros(n_snapshots + 1, dtype=np.int64),
        np.zeros(n_snapshots, dtype=np.int64),
        np.zeros(n_snapshots, dtype=np.int64),
        np.zeros(1, dtype=np.int64),
    )


@kernel(allocates=False)
def reference_of(rule, order, n_live, now_ns, rules, semantics, snapshots):
    """Return the place in the order from which a rule counts ages; -1 for now, -2 for nothing."""
    mode = rules.reference[rule]
    if mode in (NOW, FIXED):
        return -1
    selection = rules.selection[rule]
    best = -2
    for place in range(n_live):
        one = order[place]
        if snapshots.mark[one] != 0 and not (semantics.marked_counts and snapshots.mark[one] == MARKED):
            continue
        if selection >= 0 and not snapshots.selected[selection, one]:
            continue
        not_future = mode == NEWEST_NOT_FUTURE or semantics.future == IGNORE_FUTURE
        if not_future and snapshots.time_ns[one] > now_ns:
            continue
        if mode == NEWEST_COMPLETE and not snapshots.complete[one]:
            continue
        if best < 0 or snapshots.time_ns[one] > snapshots.time_ns[order[best]]:
            best = place
    return best


@kernel(allocates=False)
def divide(rule, order, n_live, now_column, now_ns, rules, semantics, snapshots, work):
    """Put the candidates of one rule into buckets, numbered from the newest; negative codes for the others.

    Returns
    -------
    int
        The number of buckets.
    """
    bucket, outside, stamp, ordinal, keys = work.bucket, work.outside, work.stamp, work.ordinal, work.winner
    table, numbers = snapshots.table, snapshots.numbers
    row, window, back, number = rules.row[rule], rules.window[rule], rules.back[rule], rules.number[rule]
    every, lowest, selection = rules.every[rule], rules.lowest[rule], rules.selection[rule]
    cascade = semantics.combine == CASCADE
    present = numbers.shape[0] // 2
    place = reference_of(rule, order, n_live, now_ns, rules, semantics, snapshots)
    reference_column = now_column
    reference_ns = rules.fixed[rule] if rules.reference[rule] == FIXED else now_ns
    if place >= 0:
        reference_column = snapshots.column[order[place]]
        reference_ns = snapshots.time_ns[order[place]]
    elif place == -2:
        window = -1
    work.clock[0] += 1
    now = work.clock[0]
    n_buckets = 0
    previous = np.int64(-1)
    greatest = NO_TIME
    for place in range(n_live):
        one = order[place]
        time_ns = snapshots.time_ns[one]
        mark = snapshots.mark[one]
        if mark == UNMANAGED or mark < 0 or (mark == MARKED and not semantics.marked_counts):
            bucket[place] = NOT_SELECTED
            continue
        if semantics.future == IGNORE_FUTURE and time_ns > now_ns:
            bucket[place] = NOT_SELECTED
            continue
        if selection >= 0 and not snapshots.selected[selection, one]:
            bucket[place] = NOT_SELECTED
            continue
        beyond = window >= 0 and (
            time_ns <= snapshots.after[window, reference_column]
            or time_ns > snapshots.until[window, reference_column]
        )
        if (
            number >= 0
            and numbers[number + present, now_column] - numbers[number, snapshots.column[one]] > back
        ):
            beyond = True
        outside[place] = beyond
        if work.lost[place]:
            bucket[place] = SIEVED if cascade else LOST_EARLIER
            continue
        if beyond and not cascade:
            bucket[place] = OUTSIDE_WINDOW
            continue
        if every > 0:
            # such keys are not dense; only where numbers are out of the order of time does one come back
            age = max(reference_ns, time_ns) - time_ns
            if age < 0:  # more than int64 holds
                age = FOREVER
            key = (age - lowest) // every
            same = n_buckets - 1
            while same >= 0 and keys[same] != key:
                same = -1 if semantics.run or key > greatest else same - 1
            if same < 0:
                same = n_buckets
                keys[same] = key
                n_buckets += 1
            greatest = max(greatest, key)
            bucket[place] = same
            continue
        key = np.int64(table[row, snapshots.column[one]])
        if semantics.run:
            if key != previous:
                ordinal[key] = n_buckets
                n_buckets += 1
            previous = key
        elif stamp[key] != now:
            stamp[key] = now
            ordinal[key] = n_buckets
            n_buckets += 1
        bucket[place] = ordinal[key]
    return n_buckets


@kernel(allocates=False)
def pick(rule, order, n_live, n_buckets, rules, semantics, snapshots, work):
    """Mark the places that represent their buckets."""
    bucket, picked, taken, winner = work.bucket, work.picked, work.rank_of, work.winner
    per_bucket = rules.per_bucket[rule]
    for number in range(n_buckets):
        taken[number] = 0
        winner[number] = -1
    from_oldest = rules.from_oldest[rule]
    for step in range(n_live):
        place = n_live - 1 - step if from_oldest else step
        picked[place] = 0
        number = bucket[place]
        if number < 0:
            continue
        if winner[number] == -1:
            winner[number] = place
        if semantics.ties and per_bucket == 1:
            # it represents its bucket unless one further on is strictly older (or newer)
            ahead = snapshots.time_ns[order[place]] - snapshots.time_ns[order[winner[number]]]
            if from_oldest:
                ahead = -ahead
            if ahead >= 0:
                picked[place] = 1
                winner[number] = place
        elif taken[number] < per_bucket:
            picked[place] = 1
            taken[number] += 1


@kernel
def judge(order, n_live, now_column, now_ns, rules, semantics, snapshots, work, rank, rival):
    """Let every rule speak about the snapshots that exist.

    Parameters
    ----------
    order : int64 array, shape (at least n_live,)
        Snapshots that exist, newest first.
    n_live : int
        How many.
    now_column : int
        Column of the present.
    now_ns : int
        The present.  [ns]
    rules, semantics, snapshots, work
        As described above.
    rank, rival : int32 arrays, shape (n_rules, n_snapshots)
        Filled for the snapshots that exist, as `Verdicts` describes; where a count is used up, `rank` says
        which one would be needed.
    """
    kept, lost, bucket, picked, winner = work.kept, work.lost, work.bucket, work.picked, work.winner
    rank_of, first_rank, outside = work.rank_of, work.first_rank, work.outside
    combine = semantics.combine
    n_rules = rules.row.shape[0]
    for place in range(n_live):
        kept[place] = 0
        lost[place] = 0
    last_active = -1
    for rule in range(n_rules):
        if rules.most[rule] > 0:
            last_active = rule
    # the oldest that any rule may look at
    end = -1
    for place in range(n_live):
        one = order[place]
        mark = snapshots.mark[one]
        if mark == UNMANAGED or mark < 0 or (mark == MARKED and not semantics.marked_counts):
            continue
        if semantics.future == IGNORE_FUTURE and snapshots.time_ns[one] > now_ns:
            continue
        end = place
    for rule in range(n_rules):
        most = rules.most[rule]
        n_buckets = divide(rule, order, n_live, now_column, now_ns, rules, semantics, snapshots, work)
        pick(rule, order, n_live, n_buckets, rules, semantics, snapshots, work)
        # how often each bucket is picked from by what uses up the count
        for number in range(n_buckets):
            rank_of[number] = 0
        if combine == CLAIM:
            # nothing is taken from a bucket in which an earlier rule keeps something
            for place in range(n_live):
                if bucket[place] >= 0 and kept[place]:
                    rank_of[bucket[place]] = COVERED
        for place in range(n_live):
            number = bucket[place]
            if number < 0 or not picked[place]:
                continue
            if rank_of[number] == COVERED:
                picked[place] = 0
            elif not (combine == SEQUENTIAL and kept[place]) and not (combine == CASCADE and outside[place]):
                rank_of[number] += 1
        # and so its rank, or the rank before that of its first
        each = semantics.ties and rules.per_bucket[rule] == 1
        used = 0
        for number in range(n_buckets):
            first_rank[number] = 0
            if rank_of[number] > 0:
                first_rank[number] = used + 1
                n_picked = rank_of[number]
                rank_of[number] = used if each else used + 1
                used += n_picked if each else 1
        for place in range(n_live):
            one = order[place]
            number = bucket[place]
            rank[rule, one] = 0
            if number < 0:
                rival[rule, one] = number
            elif rank_of[number] == COVERED:
                rival[rule, one] = KEPT_EARLIER if kept[place] else COVERED
            elif not picked[place]:
                rival[rule, one] = order[winner[number]]  # unless it turns out that the count is used up
            elif combine == SEQUENTIAL and kept[place]:
                rival[rule, one] = KEPT_EARLIER
            elif combine == CASCADE and outside[place]:
                rival[rule, one] = OUTSIDE_WINDOW
            else:
                if each:
                    rank_of[number] += 1
                rank[rule, one] = rank_of[number]
                # the rank says which count would be needed
                rival[rule, one] = OUTSIDE_COUNT if rank_of[number] > most else HELD
        for place in range(n_live):
            one = order[place]
            number = bucket[place]
            if number >= 0 and not picked[place] and first_rank[number] > most and combine != CASCADE:
                rival[rule, one] = OUTSIDE_COUNT
        add_oldest(rule, end, used, last_active, order, rules, semantics, work, rank, rival)
        for place in range(n_live):
            one = order[place]
            if rival[rule, one] == HELD or rival[rule, one] == OLDEST:
                kept[place] = 1
            number = bucket[place]
            if combine == CASCADE:
                if number >= 0 and not picked[place]:
                    lost[place] = 1
            elif combine == PARTITION:
                if number >= 0:
                    lost[place] = 1
            elif combine == CLAIM and number >= 0 and rival[rule, one] >= 0:
                lost[place] = 1
        if combine == PARTITION:
            for place in range(n_live):
                one = order[place]
                if rival[rule, one] == LOST_EARLIER:
                    rival[rule, one] = OTHER_RULE


@kernel(allocates=False)
def add_oldest(rule, end, used, last_active, order, rules, semantics, work, rank, rival):
    """Keep the oldest snapshot of all where a rule's count is not used up."""
    most = rules.most[rule]
    if semantics.oldest == NEVER or end < 0 or most == 0 or used >= most:
        return
    counted = most < HUGE
    if semantics.oldest == EACH_COUNTED_RULE and not counted:
        return
    if semantics.oldest == LAST_RULE and rule != last_active:
        return
    one = order[end]
    if work.bucket[end] < 0 or rival[rule, one] == HELD:
        return
    if semantics.combine == SEQUENTIAL and work.kept[end]:
        return
    rank[rule, one] = used + 1
    rival[rule, one] = OLDEST


@kernel
def settle(order, n_live, now_ns, semantics, snapshots, work, stays):
    """Say what stays, after the rules have spoken: marks, ages, limits, guards.

    Parameters
    ----------
    order, n_live, now_ns, semantics, snapshots, work
        As for `judge`; `work.kept` says what rules keep.
    stays : Stays
        Filled for the snapshots that exist.

    Returns
    -------
    int
        How many of them go.
    """
    kept, why, limit = work.kept, stays.why, stays.limit
    managed = 0
    for place in range(n_live):
        one = order[place]
        mark = snapshots.mark[one]
        why[one] = 0
        limit[one] = 0
        if mark == UNMANAGED:
            why[one] = UNMANAGED
            continue
        managed += 1
        time_ns = snapshots.time_ns[one]
        if mark == MARKED:
            why[one] = MARKED
        elif semantics.future != COUNT_FUTURE and time_ns > now_ns:
            why[one] = FUTURE
        elif semantics.min_age > 0 and time_ns > now_ns - semantics.min_age:
            why[one] = YOUNG
        elif mark < 0:
            limit[one] = -mark
        elif semantics.just_taken and time_ns // SECOND == now_ns // SECOND:
            why[one] = JUST_TAKEN
        elif managed <= semantics.newest:
            why[one] = AMONG_NEWEST
    if semantics.last_of_class:
        seen = np.uint64(0)
        for place in range(n_live):
            one = order[place]
            if why[one] == UNMANAGED or limit[one] != 0:
                continue
            if snapshots.classes[one] & ~seen and why[one] == 0:
                why[one] = LAST_OF_CLASS
            seen |= snapshots.classes[one]
    staying = 0
    for place in range(n_live):
        if why[order[place]] not in (0, UNMANAGED):
            staying += 1
    # what limits cannot touch takes up room as well
    for place in range(n_live):
        one = order[place]
        if why[one] != 0 or limit[one] != 0 or not kept[place]:
            continue
        if semantics.max_age < FOREVER and snapshots.time_ns[one] < now_ns - semantics.max_age:
            limit[one] = TOO_OLD
        elif staying >= semantics.chain_max:
            limit[one] = TOO_MANY
        else:
            staying += 1
    going = managed - staying
    if going and (
        (semantics.refuse_all and staying == 0) or going * 1_000_000 > managed * semantics.most_deleted
    ):
        for place in range(n_live):
            one = order[place]
            if why[one] == 0 and (limit[one] != 0 or not kept[place]):
                why[one] = GUARDED
                limit[one] = 0
        going = 0
    return going


@kernel
def decide_once(order, now_column, now_ns, rules, semantics, snapshots, n_keys):
    """Decide once about everything in a catalog.

    Parameters
    ----------
    order : int64 array, shape (n_snapshots,)
        All snapshots, newest first.
    now_column : int
        Column of the present.
    now_ns : int
        The present.  [ns]
    rules : RuleTable
        The rules.
    semantics : Semantics
        How they work together.
    snapshots : Candidates
        The catalog.
    n_keys : int
        Largest bucket key plus one.

    Returns
    -------
    Verdicts, Stays
        `step` is n_snapshots where a snapshot stays, and n_snapshots - 1 where it goes.
    """
    n_snapshots = order.shape[0]
    n_rules = rules.row.shape[0]
    work = make_work(n_snapshots, n_keys)
    stays = Stays(np.zeros(n_snapshots, dtype=np.int64), np.zeros(n_snapshots, dtype=np.int64))
    step = np.full(n_snapshots, n_snapshots, dtype=np.int64)
    rank = np.zeros((n_rules, n_snapshots), dtype=np.int32)
    rival = np.zeros((n_rules, n_snapshots), dtype=np.int32)
    judge(order, n_snapshots, now_column, now_ns, rules, semantics, snapshots, work, rank, rival)
    settle(order, n_snapshots, now_ns, semantics, snapshots, work, stays)
    for place in range(n_snapshots):
        one = order[place]
        if stays.limit[one] != 0 or not (stays.why[one] or work.kept[place]):
            step[one] = n_snapshots - 1
    return Verdicts(step, rank, rival), stays


@kernel
def simulate(rules, semantics, snapshots, n_keys):
    """Run the event loop: take a snapshot, prune, take the next.

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
    Verdicts, Stays
        As of the prune that deleted a snapshot, or of the last one.
    """
    n_snapshots = snapshots.time_ns.shape[0]
    n_rules = rules.row.shape[0]
    work = make_work(n_snapshots, n_keys)
    stays = Stays(np.zeros(n_snapshots, dtype=np.int64), np.zeros(n_snapshots, dtype=np.int64))
    step = np.full(n_snapshots, n_snapshots, dtype=np.int64)
    rank = np.zeros((n_rules, n_snapshots), dtype=np.int32)
    rival = np.zeros((n_rules, n_snapshots), dtype=np.int32)
    order = np.empty(n_snapshots, dtype=np.int64)
    n_live = 0
    for new in range(n_snapshots):
        for place in range(n_live, 0, -1):
            order[place] = order[place - 1]
        order[0] = new
        n_live += 1
        now_ns = snapshots.time_ns[new]
        judge(order, n_live, snapshots.column[new], now_ns, rules, semantics, snapshots, work, rank, rival)
        if settle(order, n_live, now_ns, semantics, snapshots, work, stays):
            left = 0
            for place in range(n_live):
                one = order[place]
                if stays.limit[one] != 0 or not (stays.why[one] or work.kept[place]):
                    step[one] = new
                else:
                    order[left] = one
                    left += 1
            n_live = left
    return Verdicts(step, rank, rival), stays
