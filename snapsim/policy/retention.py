"""Rules as values, and as the arrays that the kernels take; the kernels' verdicts as sentences."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from snapsim.policy import judgement_kernels as judgement
from snapsim.policy import retention_kernels as queues
from snapsim.policy.buckets import BucketSpec, CalendarKeys, Every, describe_bucket, local_datetime
from snapsim.policy.tables import Select
from snapsim.policy.times import parse_instant
from snapsim.policy.windows import Window
from snapsim.types import Int64Array, Snapshot
from snapsim.units import format_duration

UNLIMITED = "unlimited"
REFERENCES = ("now", "newest", "newest_not_future", "newest_complete")
"""From where ages and windows count, in the order of the kernel's codes; anything else is a fixed time."""

_MOST_QUEUES = 62  # a bit of an int64 each
_FOREVER = int(np.iinfo(np.int64).max)


@dataclass(frozen=True)
class Rule:
    """One retention rule: everything in it has to hold.

    Attributes
    ----------
    name : str
        "last", "hourly", ..., "within"; what reasons call it.
    bucket : str or Every
        How time is divided; "each" puts every snapshot into a bucket of its own.
    count : int or None
        Non-empty buckets that the rule keeps; None is unlimited, 0 a mere sieve (in a cascade).
    window : Window or None
        Only snapshots inside it.
    closed : bool
        Whether the very beginning of the window is inside.
    pick : {"newest", "oldest"}
        Which of a bucket.
    keep : int or None
        How many of a bucket; None for all.
    back : int or None
        Only buckets that are at most so many before that of now, empty ones included; -1 for later ones.
    back_in : str or None
        The calendar buckets in which `back` counts, if not those of the rule.
    age_ns : (int, int) or None
        Only ages from the first on and below the second.  [ns]
    select : Select
        Which snapshots the rule is about.
    reference : str
        From where ages and windows count.
    """

    name: str
    bucket: BucketSpec = "each"
    count: int | None = None
    window: Window | None = None
    closed: bool = False
    pick: str = "newest"
    keep: int | None = 1
    back: int | None = None
    back_in: str | None = None
    age_ns: tuple[int, int] | None = None
    select: Select = field(default=Select())
    reference: str = "newest_not_future"

    @property
    def limited(self) -> bool:
        """Whether it lets anything go."""
        return (
            self.count is not None
            or self.window is not None
            or self.back is not None
            or self.age_ns is not None
            or (self.bucket != "each" and self.keep is not None)
        )

    def told(self) -> str:
        """Say the rule in few words; nothing for one that only sieves for others."""
        if self.count == 0 or (self.window and not self.window.length_ns):
            return ""
        far = self.window or self.back is not None or self.age_ns
        often = UNLIMITED if self.count is None and not far else "" if self.count is None else str(self.count)
        # distances in seconds, and those that only let the future in, are said by the rule's name
        back = (
            ""
            if self.back is None or self.back < 0 or "second" in {self.bucket, self.back_in}
            else f"{self.back} back"
        )
        window = self.window.text if self.window else ""
        if window and often:
            window = f"within {window}"
        return " ".join(filter(None, (self.name, often, window, back)))

    def __str__(self) -> str:
        parts = [
            f"{self.count} of {describe_bucket(self.bucket).plural}"
            if self.count is not None
            else UNLIMITED
            if self.window is None and self.back is None and self.age_ns is None
            else ""
        ]
        if self.window:
            parts.append(f"within {self.window.text}")
        if self.back is not None:
            parts.append(f"{self.back} {describe_bucket(self.back_in or self.bucket).plural} back")
        if self.age_ns:
            parts.append(f"aged {format_duration(self.age_ns[0])} to {format_duration(self.age_ns[1])}")
        return f"{self.name} ({', '.join(part for part in parts if part)})"


def matches(select: Select, snapshot: Snapshot) -> bool:
    """Say whether a rule is about a snapshot.

    Parameters
    ----------
    select : Select
        What the rule is about.
    snapshot : Snapshot
        The snapshot.

    Returns
    -------
    bool
        Whether every key that is given matches; the contrary if `exclude` is set.
    """
    found = (
        (select.classes is None or not snapshot.classes.isdisjoint(select.classes))
        and (
            select.tags is None
            or (snapshot.tags.issuperset(select.tags) if select.tags else not snapshot.tags)
        )
        and (select.name is None or re.search(select.name, snapshot.name) is not None)
        and (select.kinds is None or snapshot.kind.value in select.kinds)
        and (select.important is None or bool(snapshot.attributes.get("important")) == select.important)
        and all(
            snapshot.attributes.get(key) in (value if isinstance(value, tuple) else (value,))
            for key, value in select.attributes
        )
    )
    return found != select.exclude


def plain(rules: Sequence[Rule]) -> bool:
    """Say whether queues can follow rules: each keeps the newest of its newest buckets, or a window.

    Parameters
    ----------
    rules : sequence of Rule
        Rules that are combined by "any".

    Returns
    -------
    bool
        Whether `to_queues` takes them.
    """
    return len(rules) <= _MOST_QUEUES and all(
        rule.pick == "newest"
        and rule.keep == 1
        and rule.back is None
        and rule.age_ns is None
        and rule.count != 0
        and not rule.select
        and not (isinstance(rule.bucket, Every) and rule.bucket.align == "reference")
        and (rule.window is None or (rule.bucket == "each" and rule.count is None))
        and rule.reference != "newest_complete"
        and rule.reference in REFERENCES
        for rule in rules
    )


def to_queues(rules: Sequence[Rule]) -> queues.RuleArrays:
    """Return plain rules in the form that the queues take.

    Parameters
    ----------
    rules : sequence of Rule
        At most 62, all `plain`.

    Returns
    -------
    retention_kernels.RuleArrays
        The same as arrays.
    """
    windows = [rule for rule in rules if rule.window]
    return queues.RuleArrays(
        row=np.arange(len(rules)),
        most=np.array(
            [judgement.HUGE if rule.count is None else min(rule.count, judgement.HUGE) for rule in rules],
            dtype=np.int64,
        ),
        window=np.array([windows.index(rule) if rule.window else -1 for rule in rules], dtype=np.int64),
    )


def to_queue_catalog(rules: Sequence[Rule], keys: CalendarKeys, column: Int64Array) -> queues.Catalog:
    """Return snapshots in the form that the queues take.

    Parameters
    ----------
    rules : sequence of Rule
        The rules, all `plain`.
    keys : CalendarKeys
        Buckets of all instants.
    column : int64 array, shape (n_snapshots,)
        Instant of each snapshot, as an index into `keys`, ascending.

    Returns
    -------
    retention_kernels.Catalog
        The same as arrays; each snapshot is the reference while it is the newest.
    """
    column = column.copy()  # read-only or not, the kernels see one type and are compiled once
    time_ns = keys.time_ns[column]
    windows = [(rule.window, rule.closed) for rule in rules if rule.window]
    start = np.empty((len(windows), column.size), dtype=np.int64)
    for row, (window, closed) in enumerate(windows):
        start[row] = window.start(time_ns, keys.calendar.zone) - closed
    return queues.Catalog(time_ns, column, keys.table([rule.bucket for rule in rules]), start)


def to_table(rules: Sequence[Rule]) -> judgement.RuleTable:
    """Return rules in the form that `judgement_kernels` takes.

    Parameters
    ----------
    rules : sequence of Rule
        The rules.

    Returns
    -------
    judgement_kernels.RuleTable
        The same as arrays.
    """

    def numbers(values: Sequence[int]) -> Int64Array:
        return np.array(values, dtype=np.int64)

    def rows(wanted: Sequence[bool]) -> Int64Array:
        return np.where(wanted, np.cumsum(numbers([int(one) for one in wanted])) - 1, -1).astype(np.int64)

    def huge(value: int | None) -> int:
        return judgement.HUGE if value is None else min(value, judgement.HUGE)

    counted_back = [
        rule.bucket.every_ns if isinstance(rule.bucket, Every) and rule.bucket.align == "reference" else 0
        for rule in rules
    ]
    return judgement.RuleTable(
        row=np.arange(len(rules)),
        most=numbers([huge(rule.count) for rule in rules]),
        per_bucket=numbers([huge(rule.keep) for rule in rules]),
        from_oldest=numbers([int(rule.pick == "oldest") for rule in rules]),
        window=rows([rule.window is not None or rule.age_ns is not None for rule in rules]),
        back=numbers([-1 if rule.back is None else rule.back for rule in rules]),
        number=rows([rule.back is not None for rule in rules]),
        every=numbers(counted_back),
        lowest=numbers([rule.age_ns[0] if rule.age_ns else 0 for rule in rules]),
        selection=rows([bool(rule.select) for rule in rules]),
        reference=numbers(
            [
                REFERENCES.index(rule.reference) if rule.reference in REFERENCES else judgement.FIXED
                for rule in rules
            ]
        ),
        fixed=numbers(
            [0 if rule.reference in REFERENCES else fixed_reference(rule.reference) for rule in rules]
        ),
    )


def fixed_reference(text: str) -> int:
    """Return the fixed time from which a rule counts ages.

    Parameters
    ----------
    text : str
        ISO 8601.

    Returns
    -------
    int
        UTC.  [ns]
    """
    return parse_instant(text, what="reference")


def window_table(rules: Sequence[Rule], keys: CalendarKeys) -> tuple[Int64Array, Int64Array]:
    """Return the windows of all rules that have one, for every reference.

    Parameters
    ----------
    rules : sequence of Rule
        The rules.
    keys : CalendarKeys
        All instants that can be a reference.

    Returns
    -------
    after, until : int64 arrays, shape (n_windows, n_instants)
        What is inside is later than `after` and not later than `until`.  [ns]
    """
    bounded = [rule for rule in rules if rule.window is not None or rule.age_ns is not None]
    after = np.full((len(bounded), keys.time_ns.size), judgement.NO_TIME, dtype=np.int64)
    until = np.full_like(after, _FOREVER)
    low_end = int(np.iinfo(np.int64).min)
    for row, rule in enumerate(bounded):
        reference = keys.time_ns
        if rule.reference not in REFERENCES:
            reference = np.full_like(reference, fixed_reference(rule.reference))
        if rule.window is not None:
            # a recorded clock goes on at its own distance to UTC
            clock = 0 if keys.offset_ns is None else keys.offset_ns
            after[row] = rule.window.start(reference + clock, keys.calendar.zone) - clock - rule.closed
        if rule.age_ns is not None:
            least, most = rule.age_ns
            after[row] = np.maximum(reference, low_end + most) - most
            if least:
                until[row] = np.maximum(reference, low_end + least) - least
    return after, until


def selection_table(rules: Sequence[Rule], snapshots: Sequence[Snapshot]) -> npt.NDArray[np.bool_]:
    """Return what each rule that selects is about.

    Parameters
    ----------
    rules : sequence of Rule
        The rules.
    snapshots : sequence of Snapshot
        The snapshots.

    Returns
    -------
    bool array, shape (n_selections, n_snapshots)
        A row for each rule that has a `select`.
    """
    selecting = [rule.select for rule in rules if rule.select]
    return np.array(
        [[matches(select, snapshot) for snapshot in snapshots] for select in selecting], dtype=np.bool_
    ).reshape(len(selecting), len(snapshots))


def key_count(rules: Sequence[Rule], keys: CalendarKeys) -> int:
    """Return how many different bucket keys rules can meet.

    Parameters
    ----------
    rules : sequence of Rule
        The rules.
    keys : CalendarKeys
        All instants.

    Returns
    -------
    int
        The largest key plus one.
    """
    return int(keys.table([rule.bucket for rule in rules]).max(initial=0)) + 1


_STAYS = {
    judgement.UNMANAGED: "not managed by this policy",
    judgement.MARKED: "protected",
    judgement.FUTURE: "dated after now",
    judgement.YOUNG: "younger than min_age {min_age}",
    judgement.AMONG_NEWEST: "protected: among the newest {newest}",
    judgement.LAST_OF_CLASS: "protected: the last of its class",
    judgement.JUST_TAKEN: "protected: just taken",
    judgement.GUARDED: "guard: {guard}, so nothing is deleted",
}
_GOES = {
    judgement.TOO_MANY: "limit chain_max {chain_max}: as many others stay",
    judgement.TOO_OLD: "limit max_age {max_age}: it is older",
    judgement.UNFINISHED: "unfinished, and not the newest",
}


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
    stays : judgement_kernels.Stays or None
        What overruled the rules.
    words : mapping of str to str
        What `min_age`, `newest`, `guard`, `chain_max` and `max_age` are.
    hints : bool
        Whether to say which count would be needed.
    """

    rules: Sequence[Rule]
    verdicts: queues.Verdicts
    time_ns: Int64Array
    timezone: str
    label: Callable[[int], str]
    stays: judgement.Stays | None = None
    words: dict[str, str] = field(default_factory=dict)
    hints: bool = True

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
            One sentence for each rule that keeps it, and what else does; if nothing does, one for each rule.
        """
        rival = self.verdicts.rival[:, snapshot]
        held = (rival == queues.HELD) | (rival == judgement.OLDEST)
        why = int(self.stays.why[snapshot]) if self.stays else 0
        limit = int(self.stays.limit[snapshot]) if self.stays else 0
        kept = [
            self._kept(rule, int(self.verdicts.rank[row, snapshot]), oldest=rival[row] == judgement.OLDEST)
            for row, rule in enumerate(self.rules)
            if held[row]
        ]
        if keep:
            return (*kept, _STAYS[why].format_map(self.words)) if why and not kept else tuple(kept)
        if limit:
            return (_GOES[limit].format_map(self.words),)
        return tuple(self._dropped(rule, row, snapshot, reference_ns) for row, rule in enumerate(self.rules))

    @staticmethod
    def _kept(rule: Rule, rank: int, *, oldest: bool) -> str:
        if oldest:
            return f"{rule.name}: the oldest, while the count is not used up"
        if rule.count is None and rule.window and rule.bucket == "each":
            return f"{rule.name} {rule.window.text}"
        if rule.count is None and rule.back is not None:
            return f"{rule.name} within {rule.back} back"
        if rule.count is None and rule.age_ns:
            return f"{rule.name} aged {format_duration(rule.age_ns[0])} to {format_duration(rule.age_ns[1])}"
        return f"{rule.name} {rank} of {UNLIMITED if rule.count is None else rule.count}"

    def _dropped(self, rule: Rule, row: int, snapshot: int, reference_ns: int) -> str:
        rival = int(self.verdicts.rival[row, snapshot])
        time_ns = int(self.time_ns[snapshot])
        bucket = describe_bucket(rule.bucket)
        if rival == queues.OUTSIDE_WINDOW:
            return f"{rule.name}{self._outside(rule, time_ns, reference_ns)}"
        if rival == queues.OUTSIDE_COUNT:
            plural = bucket.plural if rule.count != 1 else bucket.plural.removesuffix("s")
            needed = int(self.verdicts.rank[row, snapshot])
            hint = (
                f" (a count of {needed} would keep it)"
                if self.hints and rule.count and needed > rule.count
                else ""
            )
            return f"{rule.name}: {rule.count} of {rule.count} newer {plural} kept{hint}"
        if rival in _LOST:
            return f"{rule.name}: {_LOST[rival]}"
        when = bucket.label(local_datetime(time_ns, self.timezone))
        return f"{rule.name}: {when} is represented by {self.label(rival)}"

    @staticmethod
    def _outside(rule: Rule, time_ns: int, reference_ns: int) -> str:
        age = format_duration(abs(reference_ns - time_ns))
        if rule.back is not None:
            return f": more than {rule.back} {describe_bucket(rule.bucket).plural} back"
        if rule.age_ns:
            low, high = (format_duration(edge) for edge in rule.age_ns)
            return f": its age is {age}, not {low} to {high}"
        if rule.window is not None:
            since = "now" if rule.reference == "now" else "the newest"
            return f" {rule.window.text}: {age} before {since}"
        return ": outside"


_LOST = {
    judgement.NOT_SELECTED: "not about it",
    judgement.KEPT_EARLIER: "kept by an earlier rule already",
    judgement.LOST_EARLIER: "an earlier rule has chosen another one",
    judgement.OTHER_RULE: "an earlier rule decides about its age",
    judgement.COVERED: "what an earlier rule keeps stands for its bucket",
    judgement.SIEVED: "not chosen by the rule before",
}

__all__ = [
    "REFERENCES",
    "UNLIMITED",
    "Explainer",
    "Rule",
    "key_count",
    "matches",
    "plain",
    "replace",
    "selection_table",
    "to_queue_catalog",
    "to_queues",
    "to_table",
    "window_table",
]
