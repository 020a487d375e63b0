"""The policy over time: create, prune, create, prune, ... as one kernel call."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from snapsim import schema
from snapsim.errors import PolicyError
from snapsim.policy import judgement_kernels as judgement
from snapsim.policy import retention
from snapsim.policy.agenda import Agenda, simulated
from snapsim.policy.buckets import CalendarKeys, shared_keys
from snapsim.policy.decisions import decide, number_table, words
from snapsim.policy.loop_kernels import simulate_steps
from snapsim.policy.policy import Policy
from snapsim.policy.reach import reach
from snapsim.policy.retention_kernels import Verdicts, replay
from snapsim.policy.schedule import Interval, Schedule
from snapsim.policy.space import decide_with_space
from snapsim.policy.tables import Select
from snapsim.policy.taking import together
from snapsim.policy.times import format_instant
from snapsim.types import Decision, Int64Array, Snapshot, SnapshotKind
from snapsim.units import format_duration, parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from snapsim.policy.space import Pool, PoolAt, Usage
    from snapsim.policy.triggers import Event


class Taken(NamedTuple):
    """The instants at which a schedule's ticks are taken.

    Attributes
    ----------
    created : int64 array, shape (n_snapshots,)
        Index of the instant, ascending.
    asked : uint64 array, shape (n_snapshots,)
        Bit p is set where part p of the schedule asked for the snapshot.
    shifted_ticks : int
        Ticks that fell between two instants.
    max_shift_ns : int
        How long the one that waited longest had to wait.  [ns]
    merged_ticks : int
        Ticks of one schedule that fell on an instant with the one before, and are one snapshot with it.
    """

    created: Int64Array
    asked: npt.NDArray[np.uint64]
    shifted_ticks: int
    max_shift_ns: int
    merged_ticks: int = 0


@dataclass(frozen=True, eq=False)
class Timeline:
    """Which snapshots a policy holds at each instant.

    At instant i a snapshot is taken first, if one is due; then the prune follows.  So "before the prune" at i
    exist those with `created <= i <= deleted`, and after it those with `created <= i < deleted`.

    Attributes
    ----------
    policy : Policy
        The policy.
    instants : int64 array, shape (n_instants,)
        When snapshots could be taken, UTC.  [ns]
    created : int64 array, shape (n_snapshots,)
        Instant at which each snapshot was taken, as an index, ascending.
    deleted : int64 array, shape (n_snapshots,)
        Instant at which it was pruned; n_instants while it is kept.
    taken : Taken
        Which schedules asked for each snapshot, and how many ticks fell between instants.
    verdicts : retention_kernels.Verdicts or None
        What each rule said last about each snapshot; None where that is found out once reasons are asked for.
    told : tuple of tuple of str, or None
        The reasons, where rules about space had a say.
    agenda : Agenda or None
        What the classes of the policy took, where it has classes.
    pool : callable or None
        How full the pool was, which they acted on.
    """

    policy: Policy
    instants: Int64Array
    created: Int64Array
    deleted: Int64Array
    taken: Taken
    verdicts: Verdicts | None = None
    told: tuple[tuple[str, ...], ...] | None = None
    agenda: Agenda | None = None
    pool: "PoolAt | None" = None

    def __len__(self) -> int:
        return self.created.size

    def __repr__(self) -> str:
        first, last = (format_instant(int(self.instants[index])) for index in (0, -1))
        return (
            f"<Timeline of {self.policy.describe()}: {len(self)} snapshots from {first} to {last}, "
            f"{self.kept(self.instants.size - 1).size} kept at the end, {self.max_live} at most>"
        )

    @property
    def kind(self) -> SnapshotKind:
        """What each snapshot holds."""
        return self.policy.kind

    @property
    def ram(self) -> int | Int64Array:
        """Guest memory saved with every snapshot, or with each: (n_snapshots,) if classes differ.  [bytes]"""
        return self.policy.ram if self.agenda is None else self.agenda.takes.ram

    @property
    def shifted_ticks(self) -> int:
        """Ticks that fell between two instants and were taken at the later one."""
        return self.taken.shifted_ticks

    @property
    def max_shift_ns(self) -> int:
        """How long the tick that waited longest had to wait for an instant.  [ns]"""
        return self.taken.max_shift_ns

    @property
    def merged_ticks(self) -> int:
        """Ticks of one schedule that fell on an instant with the one before, and are one snapshot with it."""
        return self.taken.merged_ticks

    @cached_property
    def live_counts(self) -> Int64Array:
        """Snapshots that exist after the prune at each instant: int64, shape (n_instants,)."""
        n_instants = self.instants.size
        change = np.bincount(self.created, minlength=n_instants + 1) - np.bincount(
            self.deleted, minlength=n_instants + 1
        )
        return np.cumsum(change[:n_instants])

    @cached_property
    def max_live(self) -> int:
        """Most snapshots that exist after a prune."""
        return int(self.live_counts.max(initial=0))

    @cached_property
    def reach_ns(self) -> int:
        """Oldest age that a snapshot reached before it was pruned, or until the last instant.  [ns]"""
        until = np.minimum(self.deleted, self.instants.size - 1)
        return int((self.instants[until] - self.instants[self.created]).max(initial=0))

    @cached_property
    def policy_reach_ns(self) -> int | None:
        """How far back the policy reaches once it has run for long enough; None without a limit.  [ns]

        As `Policy.reach_ns`; but where ticks are merged, snapshots are farther apart than the schedule says,
        and a number of them reaches farther back.
        """
        times = self.instants[self.created]
        apart = int(times[-1] - times[0]) // (len(times) - 1) if self.merged_ticks and len(times) > 1 else 0
        return reach(self.policy.schedule, self.policy.rules, self.policy.schedule_classes, apart_ns=apart)

    @cached_property
    def findings(self) -> tuple[str, ...]:
        """What the policy's limits, triggers and quiet windows have to say; one sentence each."""
        return (*_beyond_limits(self), *_left_aside(self.agenda))

    def kept(self, i: int) -> Int64Array:
        """Return the snapshots that exist after the prune at an instant.

        Parameters
        ----------
        i : int
            Index of the instant; negative ones count from the end.

        Returns
        -------
        int64 array, shape (n_kept,)
            The instants at which they were taken, as indices, ascending.

        Raises
        ------
        IndexError
            There is no such instant.
        """
        i = self._index(i)
        return self.created[(self.created <= i) & (self.deleted > i)]

    def before_prune(self, i: int) -> Int64Array:
        """Return the snapshots that exist just before the prune at an instant.

        Parameters
        ----------
        i : int
            Index of the instant; negative ones count from the end.

        Returns
        -------
        int64 array, shape (n_existing,)
            The instants at which they were taken, as indices, ascending.

        Raises
        ------
        IndexError
            There is no such instant.
        """
        i = self._index(i)
        return self.created[(self.created <= i) & (self.deleted >= i)]

    def decisions(self, i: int) -> list[Decision]:
        """Return what the prune at an instant decided, with reasons.

        Parameters
        ----------
        i : int
            Index of the instant; negative ones count from the end.

        Returns
        -------
        list of Decision
            One for each snapshot that existed just before the prune, oldest first.

        Raises
        ------
        IndexError
            There is no such instant.
        """
        i = self._index(i)
        existing = np.flatnonzero((self.created <= i) & (self.deleted >= i))
        snapshots = [self.snapshot(int(number)) for number in existing]
        if self.pool is None:
            return decide(self.policy, snapshots, int(self.instants[i]))
        number = {time_ns: index for index, time_ns in enumerate(self.instants[self.created].tolist())}
        pool = _pool_at(self.pool, number, self.created, i)
        return decide_with_space(self.policy, snapshots, int(self.instants[i]), pool)

    def snapshot(self, number: int) -> Snapshot:
        """Return one of the snapshots as a value.

        Parameters
        ----------
        number : int
            Which one, in order of time.

        Returns
        -------
        Snapshot
            Named by its time.
        """
        time_ns = int(self.instants[self.created[number]])
        snapshot = _snapshot(self.policy, time_ns, int(self.taken.asked[number]))
        if self.agenda is None:
            return snapshot
        take = self.agenda.takes.take(number)
        return replace(snapshot, kind=take.kind, attributes={"consistency": take.consistency.value})

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row for each snapshot: when it was taken and deleted, its age then, and why.

        Age and reasons are those of the prune that deleted it, or of the last one if none did.
        """
        last = self.instants.size - 1
        taken_ns = self.instants[self.created]
        until_ns = self.instants[np.minimum(self.deleted, last)]
        gone = self.deleted <= last
        deleted = pd.to_datetime(pd.Series(until_ns), unit="ns", utc=True).where(pd.Series(gone))
        frame = pd.DataFrame(
            {
                "taken": pd.to_datetime(pd.Series(taken_ns), unit="ns", utc=True),
                "deleted": deleted,
                "age_ns": until_ns - taken_ns,
                "reasons": pd.Series(self._last_reasons(), dtype=object),
            }
        )
        schema.check_columns(frame.columns)
        return frame

    def _last_reasons(self) -> list[str]:
        if self.told is not None:
            return ["; ".join(reasons) for reasons in self.told]
        time_ns = self.instants[self.created]
        verdicts, stays = self.verdicts, None
        if verdicts is None:
            keys = shared_keys(self.instants, self.policy.calendar)
            verdicts, stays = judgement.simulate(*_simulated(self.policy, keys, self.taken))
        told = retention.Explainer(
            self.policy.rules,
            verdicts,
            time_ns,
            self.policy.calendar.zone,
            lambda rival: format_instant(int(time_ns[rival])),
            stays,
            words(self.policy),
            hints=False,
        )
        last = len(self) - 1
        return [
            "; ".join(told.reasons(number, keep=step > last, reference_ns=int(time_ns[min(step, last)])))
            for number, step in enumerate(verdicts.step.tolist())
        ]

    def _index(self, i: int) -> int:
        n_instants = self.instants.size
        if not -n_instants <= i < n_instants:
            msg = f"instant {i} does not exist: there are {n_instants}"
            raise IndexError(msg)
        return i % n_instants


def _beyond_limits(timeline: Timeline) -> "Iterator[str]":
    limits = timeline.policy.limits
    most = max((timeline.before_prune(int(i)).size for i in np.unique(timeline.created)), default=0)
    for key, limit in (("chain_max", limits.chain_max), ("the hard limit", limits.hard)):
        if limit is not None and timeline.max_live > limit:
            yield f"{timeline.max_live} snapshots exist at once, but {key} of the policy is {limit}."
        elif limit is not None and most > limit:
            yield f"{most} snapshots exist just before a prune, but {key} of the policy is {limit}."
    if limits.max_age is not None and timeline.reach_ns > parse_duration(limits.max_age):
        yield f"Snapshots grow {format_duration(timeline.reach_ns)} old, but max_age is {limits.max_age}."


def _left_aside(agenda: Agenda | None) -> "Iterator[str]":
    if agenda is None:
        return
    for name, moves in agenda.quiet.items():
        yield f"Class {name}: {moves.describe()}."
    for name, count in agenda.left_out.items():
        if count:
            yield f"Class {name}: {count} ticks were left out (too little written, or one was being taken)."


def run(
    policy: Policy,
    instants: npt.ArrayLike,
    *,
    writes: npt.ArrayLike | None = None,
    downtimes: "Sequence[tuple[int, int]]" = (),
    events: "Sequence[Event]" = (),
    duration_ns: int = 0,
    pool: "PoolAt | None" = None,
    coalesce: bool = False,
    progress: Callable[[int, int | None], None] | None = None,
) -> Timeline:
    """Run a policy over time; see `Policy.timeline`.

    Parameters
    ----------
    policy : Policy
        The policy.
    instants : int64 array, shape (n_instants,)
        When snapshots can be taken, UTC, strictly ascending.  [ns]
    writes, downtimes, events, duration_ns
        What classes act on; see `Policy.timeline`.
    pool : callable, optional
        Says how full the pool is; see `Policy.timeline`.
    coalesce : bool
        Ticks of one schedule that fall on one instant are one snapshot, instead of an error.
    progress : callable, optional
        Called with the instants done and all of them.

    Returns
    -------
    Timeline
        Which snapshots exist when, and why.

    Raises
    ------
    PolicyError
        Instants are not ascending, or too far apart for the schedule.
    """
    keys = shared_keys(_as_nanoseconds(instants), policy.calendar)
    agenda = None
    if policy.classes:
        agenda = simulated(
            policy.schedule_classes,
            keys.time_ns,
            policy=policy.name,
            writes=writes,
            downtimes=downtimes,
            events=events,
            duration_ns=duration_ns,
        )
        taken = Taken(agenda.index, agenda.takes.asked, 0, agenda.max_delay_ns)
    elif policy.schedule is None:
        raise PolicyError('schedule is missing, so that nothing would be taken: give one, such as "@hourly"')
    else:
        _only_for_classes(writes=writes, downtimes=downtimes, events=events, duration_ns=duration_ns)
        taken = _taken(keys, policy.schedule, coalesce=coalesce)
    if pool is not None or not {"class", "classes", "kind"}.isdisjoint(policy.group_by):
        return replace(_one_by_one(policy, keys.time_ns, taken, pool, progress), agenda=agenda)
    timeline = replace(_loop(policy, keys, taken), agenda=agenda) if agenda else _loop(policy, keys, taken)
    if progress is not None:
        progress(keys.time_ns.size, keys.time_ns.size)
    return timeline


def _only_for_classes(**given: Any) -> None:
    """Refuse what a plain schedule would not look at."""
    for name, value in given.items():
        if value is not None and np.any(value if isinstance(value, int) else np.size(value)):
            raise PolicyError(
                f"{name} is given, but this policy has no classes that could act on it: write its schedule "
                'as classes={"hourly": {"schedule": "@hourly", ...}}'
            )


def _loop(policy: Policy, keys: CalendarKeys, taken: Taken, *, queues: bool | None = None) -> Timeline:
    verdicts = None
    if _fits_queues(policy, keys) if queues is None else queues:
        verdicts = replay(
            retention.to_queues(policy.rules),
            retention.to_queue_catalog(policy.rules, keys, taken.created),
        )
        step = verdicts.step
    else:
        step = simulate_steps(*_simulated(policy, keys, taken))
    # A step counts snapshots; one past the last stands for one past the last instant.
    deleted = np.append(taken.created, keys.time_ns.size)[step]
    deleted.flags.writeable = False
    return Timeline(policy, keys.time_ns, taken.created, deleted, taken, verdicts)


def _simulated(
    policy: Policy, keys: CalendarKeys, taken: Taken
) -> tuple[judgement.RuleTable, judgement.Semantics, judgement.Candidates, int]:
    """Return what the kernels of the event loop take."""
    return (
        retention.to_table(policy.rules),
        policy.semantics,
        _candidates(policy, keys, taken),
        retention.key_count(policy.rules, keys),
    )


def _one_by_one(
    policy: Policy,
    instants: Int64Array,
    taken: Taken,
    pool: "PoolAt | None",
    progress: Callable[[int, int | None], None] | None,
) -> Timeline:
    """Take and prune one by one: what goes depends on the pool, and that on what is there, or on groups."""
    snapshots = [
        _snapshot(policy, *one)
        for one in zip(instants[taken.created].tolist(), taken.asked.tolist(), strict=True)
    ]
    number = {snapshot.time_ns: index for index, snapshot in enumerate(snapshots)}
    deleted = np.full(len(snapshots), instants.size, dtype=np.int64)
    told: list[tuple[str, ...]] = [()] * len(snapshots)
    live: list[Snapshot] = []
    for snapshot, instant in zip(snapshots, taken.created.tolist(), strict=True):
        live.append(snapshot)
        now_ns = snapshot.time_ns
        decisions = (
            decide(policy, live, now_ns)
            if pool is None
            else decide_with_space(policy, live, now_ns, _pool_at(pool, number, taken.created, instant))
        )
        for decision in decisions:
            index = number[decision.snapshot.time_ns]
            told[index] = decision.reasons
            if not decision.keep:
                deleted[index] = instant
        live = [decision.snapshot for decision in decisions if decision.keep]
        if progress is not None:
            progress(instant + 1, instants.size)
    deleted.flags.writeable = False
    return Timeline(policy, instants, taken.created, deleted, taken, told=tuple(told), pool=pool)


def _pool_at(pool: "PoolAt", number: dict[int, int], created: Int64Array, instant: int) -> "Pool":
    """Return the pool at one instant, asked about snapshots instead of instants."""

    def ask(kept: "Sequence[Snapshot]") -> "Usage":
        indices = sorted(number[snapshot.time_ns] for snapshot in kept)
        return pool(created[np.array(indices, dtype=np.int64)], instant)

    return ask


def _fits_queues(policy: Policy, keys: CalendarKeys) -> bool:
    """Say whether the quick way gives the same answer: nothing overrules the rules, and none looks back."""
    semantics = policy.semantics
    return (
        policy.combine == "any"
        and policy.oldest == "never"
        and policy.tie_break == "newest_id"
        and not semantics.min_age
        and not semantics.newest
        and not semantics.last_of_class
        and semantics.chain_max == judgement.HUGE
        and semantics.max_age == np.iinfo(np.int64).max
        and semantics.most_deleted >= 1_000_000
        and retention.plain(policy.rules)
        and (policy.adjacency == "set" or all(keys.ascends(rule.bucket) for rule in policy.rules))
    )


def _candidates(policy: Policy, keys: CalendarKeys, taken: Taken) -> judgement.Candidates:
    """Return the snapshots that a policy takes in the form that the general kernel takes."""
    rules, created = policy.rules, taken.created.copy()
    time_ns = keys.time_ns[created]
    after, until = retention.window_table(rules, keys)
    return judgement.Candidates(
        time_ns,
        created,
        keys.table([rule.bucket for rule in rules]),
        number_table(rules, keys),
        after,
        until,
        _selections(policy, time_ns, taken.asked),
        np.zeros(created.size, dtype=np.int64),
        np.ones(created.size, dtype=np.bool_),
        taken.asked.copy(),
    )


def _selections(policy: Policy, time_ns: Int64Array, asked: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Return what each rule that selects is about: where none asks for names, only classes differ."""
    selects = [rule.select for rule in policy.rules if rule.select]
    if not selects:
        return np.zeros((0, 0), dtype=np.bool_)
    which, inverse = np.arange(asked.size), np.arange(asked.size)
    if all(select.name is None for select in selects):
        _, which, inverse = np.unique(asked, return_index=True, return_inverse=True)
    distinct = zip(time_ns[which].tolist(), asked[which].tolist(), strict=True)
    snapshots = [_snapshot(policy, *one) for one in distinct]
    return np.ascontiguousarray(retention.selection_table(policy.rules, snapshots)[:, inverse])


def _snapshot(policy: Policy, time_ns: int, asked: int) -> Snapshot:
    texts = policy.schedule.texts if policy.schedule else ()
    # "@hourly" asks for the class "hourly"
    names = [one.name for one in policy.classes] or [text.removeprefix("@") for text in texts]
    classes = frozenset(name for part, name in enumerate(names) if asked >> part & 1)
    asking = [one for one in policy.schedule_classes if one.name in classes]
    name = format_instant(time_ns)
    return Snapshot(
        time_ns=time_ns,
        name=name,
        id=name,
        kind=together(one.kind for one in asking) if asking else policy.kind,
        classes=classes,
        attributes=_own_attributes(policy.select),
    )


@lru_cache(maxsize=256)
def _own_attributes(select: Select) -> Mapping[str, object]:
    """Return the attributes by which a policy knows its own: what snapper takes has cleanup "timeline"."""
    if select.exclude:
        return MappingProxyType({})
    return MappingProxyType(
        {
            key: value if not isinstance(value, tuple) else "timeline" if "timeline" in value else value[0]
            for key, value in select.attributes
        }
    )


def _as_nanoseconds(instants: npt.ArrayLike) -> Int64Array:
    array = np.asarray(instants)
    if array.dtype.kind == "M":
        array = array.astype("datetime64[ns]").astype(np.int64)
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "iu":
        raise PolicyError("instants have to be a flat, non-empty array of whole nanoseconds (UTC)")
    return array.astype(np.int64, copy=False)


@lru_cache(maxsize=256)
def _taken(keys: CalendarKeys, schedule: Schedule, *, coalesce: bool) -> Taken:
    """Move the ticks of every part of a schedule to instants; thousands of policies share the answer."""
    instants = keys.time_ns
    if np.any(instants[1:] <= instants[:-1]):
        where = int(np.flatnonzero(instants[1:] <= instants[:-1])[0]) + 1
        raise PolicyError(f"instants have to ascend, but number {where} is not after the one before it")
    asked = np.zeros(instants.size, dtype=np.uint64)
    shifted, max_shift, merged = 0, 0, 0
    for part, one in enumerate(schedule.parts):
        ticks = one.ticks(int(instants[0]), int(instants[-1]) + 1)
        index = np.searchsorted(instants, ticks)
        crowded = np.flatnonzero(index[1:] == index[:-1])
        merged += crowded.size
        if crowded.size and not coalesce:
            _refuse_coarse(one.text, ticks[crowded[0] : crowded[0] + 2], one)
        shift = instants[index] - ticks
        shifted += int(np.count_nonzero(shift))
        max_shift = max(max_shift, int(shift.max(initial=0)))
        asked[index] |= np.uint64(1) << np.uint64(part)
    created = np.flatnonzero(asked)
    asked = asked[created]
    created.flags.writeable = asked.flags.writeable = False
    return Taken(created, asked, shifted, max_shift, merged)


def _refuse_coarse(text: str, ticks: "Sequence[int] | Int64Array", part: object) -> None:
    first, second = (format_instant(int(tick)) for tick in ticks)
    every = f'every="{part.text}" or ' if isinstance(part, Interval) else ""
    raise PolicyError(
        f"instants are too far apart for schedule {text!r}: its ticks at {first} and {second} "
        f"({format_duration(int(ticks[1]) - int(ticks[0]))} apart) would fall on one instant; "
        f"count lifetimes with {every}schedules=[policy.schedule], or, where no other instants are known, "
        "give coalesce=True, which makes them one snapshot"
    )
