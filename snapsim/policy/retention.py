"""Which snapshots are kept, and why.

A rule keeps the newest snapshot of each of its newest `count` non-empty buckets, or everything inside a
window; a snapshot is kept if any rule keeps it.  Ranks and rivals come from the kernels; here they are
prepared and told.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from snapsim.policy import retention_kernels as kernels
from snapsim.policy.buckets import BUCKETS, ROWS, CalendarKeys, local_datetime
from snapsim.policy.windows import Window
from snapsim.types import Int64Array
from snapsim.units import format_duration

UNLIMITED = "unlimited"
NO_REFERENCE = int(np.iinfo(np.int64).min)
"""Nothing to count a window back from: it keeps everything."""

_HUGE = 1 << 40


@dataclass(frozen=True)
class Rule:
    """One retention rule.

    Attributes
    ----------
    name : str
        "last", "hourly", ..., "within".
    bucket : str
        Name of the bucket (`snapsim.policy.buckets.BUCKETS`); "each" puts every snapshot into its own.
    count : int or None
        Non-empty buckets that the rule keeps; None is unlimited.
    window : Window or None
        Only snapshots inside it are kept; then `bucket` is "each" and `count` None.
    """

    name: str
    bucket: str
    count: int | None = None
    window: Window | None = None


def to_arrays(rules: Sequence[Rule]) -> kernels.RuleArrays:
    """Return rules in the form that the kernels take.

    Parameters
    ----------
    rules : sequence of Rule
        At most 62.

    Returns
    -------
    retention_kernels.RuleArrays
        The same as arrays.
    """
    windows = [rule for rule in rules if rule.window]
    return kernels.RuleArrays(
        row=np.array([ROWS[rule.bucket] for rule in rules], dtype=np.int64),
        most=np.array(
            [_HUGE if rule.count is None else min(rule.count, _HUGE) for rule in rules], dtype=np.int64
        ),
        window=np.array([windows.index(rule) if rule.window else -1 for rule in rules], dtype=np.int64),
    )


def to_catalog(
    rules: Sequence[Rule], keys: CalendarKeys, column: Int64Array, *, reference_ns: int | None = None
) -> kernels.Catalog:
    """Return snapshots in the form that the kernels take.

    Parameters
    ----------
    rules : sequence of Rule
        The rules whose windows matter.
    keys : CalendarKeys
        Buckets of all instants.
    column : int64 array, shape (n_snapshots,)
        Instant of each snapshot, as an index into `keys`, ascending.
    reference_ns : int, optional
        End of every window; without it each snapshot is the reference while it is the newest.  [ns]

    Returns
    -------
    retention_kernels.Catalog
        The same as arrays.
    """
    column = column.copy()  # read-only or not, the kernels see one type and are compiled once
    time_ns = keys.time_ns[column]
    windows = [rule.window for rule in rules if rule.window]
    start = np.empty((len(windows), column.size), dtype=np.int64)
    for row, window in enumerate(windows):
        if reference_ns is None:
            start[row] = window.start(time_ns, keys.timezone)
        elif reference_ns == NO_REFERENCE:
            start[row] = NO_REFERENCE
        else:
            start[row] = window.start(np.array([reference_ns]), keys.timezone)[0]
    return kernels.Catalog(time_ns, column, keys.table, start)


@dataclass(frozen=True)
class Explainer:
    """Turns ranks and rivals into sentences.

    Attributes
    ----------
    rules : sequence of Rule
        The rules.
    verdicts : retention_kernels.Verdicts
        What the kernels found.
    time_ns : int64 array, shape (n_snapshots,)
        When the snapshots were taken.  [ns]
    timezone : str
        IANA name of the zone in which buckets are named.
    label : callable
        From a snapshot's index to what people call it.
    """

    rules: Sequence[Rule]
    verdicts: kernels.Verdicts
    time_ns: Int64Array
    timezone: str
    label: Callable[[int], str]

    def reasons(self, snapshot: int, *, keep: bool, reference_ns: int) -> tuple[str, ...]:
        """Say why a snapshot is kept, or why it is not.

        Parameters
        ----------
        snapshot : int
            Its index.
        keep : bool
            Whether it is kept.
        reference_ns : int
            End of the windows at the time of the decision.  [ns]

        Returns
        -------
        tuple of str
            One sentence for each rule that keeps it; if none does, one for each rule.
        """
        held = self.verdicts.rival[:, snapshot] == kernels.HELD
        return tuple(
            self._kept(rule, int(self.verdicts.rank[row, snapshot]))
            if keep
            else self._dropped(rule, int(self.verdicts.rival[row, snapshot]), snapshot, reference_ns)
            for row, rule in enumerate(self.rules)
            if held[row] == keep
        )

    @staticmethod
    def _kept(rule: Rule, rank: int) -> str:
        if rule.window:
            return f"{rule.name} {rule.window.text}"
        return f"{rule.name} {rank} of {UNLIMITED if rule.count is None else rule.count}"

    def _dropped(self, rule: Rule, rival: int, snapshot: int, reference_ns: int) -> str:
        bucket = BUCKETS[ROWS[rule.bucket]]
        time_ns = int(self.time_ns[snapshot])
        if rule.window:
            return (
                f"{rule.name} {rule.window.text}: {format_duration(reference_ns - time_ns)} before the newest"
            )
        if rival == kernels.OUTSIDE_COUNT:
            plural = bucket.plural if rule.count != 1 else bucket.plural.removesuffix("s")
            return f"{rule.name}: {rule.count} of {rule.count} newer {plural} kept"
        when = bucket.label(local_datetime(time_ns, self.timezone))
        return f"{rule.name}: {when} is represented by {self.label(rival)}"
