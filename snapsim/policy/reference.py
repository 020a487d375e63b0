"""The rule engine once more: slow, plain Python, meant to be read.

It shares nothing with the fast one: calendars come from `datetime`, buckets are lists, and every prune looks
at every snapshot again.  The tests demand that both agree about the whole language, space rules excepted.

Read it from `decide` downwards.  "Newest first" is the order of everything in here.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING

from snapsim.policy.buckets import RECORDED, WEEKDAYS, Every
from snapsim.policy.retention import Rule
from snapsim.policy.zones import zone
from snapsim.types import Snapshot
from snapsim.units import parse_duration

if TYPE_CHECKING:
    from snapsim.policy.policy import Policy
    from snapsim.policy.tables import Select

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CALENDAR_REFERENCES = {"now", "newest", "newest_not_future", "newest_complete"}
_PARTS_PER_MILLION = 1_000_000


def decide(policy: "Policy", snapshots: Sequence[Snapshot], now_ns: int) -> list[bool]:
    """Say which snapshots stay.

    Parameters
    ----------
    policy : Policy
        The policy; its rules about space are left out.
    snapshots : sequence of Snapshot
        What exists.
    now_ns : int
        The time of the decision, UTC.  [ns]

    Returns
    -------
    list of bool
        For each snapshot whether it stays.
    """
    stay: set[int] = set()
    for group in _groups(policy, snapshots):
        stay |= _decide_group(_Prune(policy, snapshots, group, now_ns))
    return [index in stay for index in range(len(snapshots))]


def ranks(policy: "Policy", snapshots: Sequence[Snapshot], now_ns: int) -> list[dict[str, int]]:
    """Say which rules keep each snapshot, and at which place.

    Parameters
    ----------
    policy : Policy
        The policy.
    snapshots : sequence of Snapshot
        What exists.
    now_ns : int
        The time of the decision, UTC.  [ns]

    Returns
    -------
    list of dict of str to int
        For each snapshot the rank, by name, of each rule that keeps it: 1 is the newest bucket, 0 the oldest
        snapshot that is kept while a count is not used up.
    """
    found: list[dict[str, int]] = [{} for _ in snapshots]
    for group in _groups(policy, snapshots):
        for index, by_rule in _let_rules_speak(_Prune(policy, snapshots, group, now_ns)).items():
            found[index] = by_rule
    return found


def run(
    policy: "Policy",
    instants: Sequence[int],
    due: Iterable[int],
    classes: Mapping[int, frozenset[str]] | None = None,
) -> list[tuple[int, int]]:
    """Take and prune, one instant after the other.

    Parameters
    ----------
    policy : Policy
        The policy.
    instants : sequence of int
        Instants, UTC, ascending.  [ns]
    due : iterable of int
        Indices of the instants at which a snapshot is taken.
    classes : mapping of int to frozenset of str, optional
        The classes of the snapshots, by instant.

    Returns
    -------
    list of (int, int)
        Instant of creation and of deletion (or the number of instants) of each snapshot.
    """
    due = sorted(due)
    existing: list[int] = []
    deleted: dict[int, int] = {}
    for now in due:
        existing.append(now)
        snapshots = [
            Snapshot(instants[index], classes=classes[index] if classes else frozenset())
            for index in existing
        ]
        stay = decide(policy, snapshots, instants[now])
        deleted.update({index: now for index, stays in zip(existing, stay, strict=True) if not stays})
        existing = [index for index in existing if index not in deleted]
    return [(index, deleted.get(index, len(instants))) for index in due]


# ---------------------------------------- one prune of one group


@dataclass(frozen=True)
class _Prune:
    """One decision about one group: what everything below asks questions about."""

    policy: "Policy"
    snapshots: Sequence[Snapshot]
    group: list[int]
    now_ns: int

    def time(self, index: int) -> int:
        return self.snapshots[index].time_ns

    def is_future(self, index: int) -> bool:
        return self.time(index) > self.now_ns

    @property
    def managed(self) -> list[int]:
        """What the policy may touch at all."""
        return [index for index in self.group if _is_about(self.policy.select, self.snapshots[index])]

    @property
    def protected(self) -> set[int]:
        """What carries a mark that protects it."""
        protect = self.policy.protect
        unfinished = [index for index in self.group if self.snapshots[index].attributes.get("incomplete")]
        newest = max((self.time(index) for index in self.group), default=0)
        finished = [self.time(index) for index in self.group if index not in unfinished]
        running = [one for one in unfinished if not finished or self.time(one) > max(finished)]
        young = 0 if protect.incomplete_within is None else parse_duration(protect.incomplete_within)
        found = {
            index
            for index in running
            if protect.incomplete_newest
            and (
                len({self.time(one) for one in running if self.time(one) > self.time(index)})
                < protect.incomplete_count
                or newest - self.time(index) < young
            )
        }
        for index in self.managed:
            one = self.snapshots[index]
            known = one.attributes
            if (
                one.tags & set(protect.tags)
                or (protect.important and known.get("important"))
                or (protect.in_use and (known.get("in_use") or known.get("protected")))
                or (protect.incremental_base and known.get("incremental_base"))
                or (protect.not_replicated and known.get("replicated") is False)
            ):
                found.add(index)
        return found & set(self.managed)

    @property
    def doomed(self) -> set[int]:
        """Unfinished ones that are not the newest: no rule can keep them."""
        if not self.policy.protect.incomplete_newest:
            return set()
        unfinished = {index for index in self.managed if self.snapshots[index].attributes.get("incomplete")}
        return unfinished - self.protected

    @property
    def candidates(self) -> list[int]:
        """What rules decide about."""
        protected, doomed = self.protected, self.doomed
        return [
            index
            for index in self.managed
            if index not in doomed
            and (index not in protected or self.policy.protect.protected_counts)
            and not (self.policy.future == "ignore" and self.is_future(index))
        ]


def _groups(policy: "Policy", snapshots: Sequence[Snapshot]) -> list[list[int]]:
    """Split snapshots into groups, each newest first."""

    def value(snapshot: Snapshot, key: str) -> object:
        own = {"class": snapshot.classes, "classes": snapshot.classes, "tags": snapshot.tags}
        found = own.get(key, snapshot.kind if key == "kind" else snapshot.attributes.get(key))
        return frozenset(found) if isinstance(found, list | tuple | set) else found

    def age_order(index: int) -> tuple[object, ...]:
        one = snapshots[index]
        number = one.attributes.get("number", 0) if policy.order == "number" else 0
        return (number, one.time_ns, one.id, one.name, one.kind, sorted(one.classes), sorted(one.tags))

    groups: dict[object, list[int]] = {}
    for index, snapshot in enumerate(snapshots):
        groups.setdefault(tuple(value(snapshot, key) for key in policy.group_by), []).append(index)
    return [sorted(group, key=age_order, reverse=True) for group in groups.values()]


def _is_about(select: "Select", snapshot: Snapshot) -> bool:
    """Say whether a selection takes a snapshot."""
    known = snapshot.attributes
    demands = [
        select.classes is None or any(name in snapshot.classes for name in select.classes),
        select.tags is None or all(tag in snapshot.tags for tag in select.tags),
        select.tags != () or len(snapshot.tags) == 0,
        select.name is None or re.search(select.name, snapshot.name) is not None,
        select.kinds is None or snapshot.kind.value in select.kinds,
        select.important is None or select.important == bool(known.get("important")),
        *(
            known.get(key) in value if isinstance(value, tuple) else known.get(key) == value
            for key, value in select.attributes
        ),
    ]
    return all(demands) is not select.exclude


def _decide_group(prune: _Prune) -> set[int]:
    """Return what stays of one group."""
    policy, managed = prune.policy, prune.managed
    safe = _kept_safe(prune)
    stay = safe | (set(_let_rules_speak(prune)) - prune.doomed)
    stay = _limited(prune, stay, safe)
    going = len(managed) - len(stay)
    share = policy.guards.max_delete_fraction
    too_much = share is not None and going > len(managed) * Fraction(share).limit_denominator(
        _PARTS_PER_MILLION
    )
    if (policy.guards.refuse_delete_all and not stay) or too_much:
        stay = set(managed)
    stay |= set(prune.group) - set(managed)
    return _with_other_halves(prune, stay) if policy.protect.pairs else stay


def _kept_safe(prune: _Prune) -> set[int]:
    """Return what stays whatever rules and limits say."""
    policy = prune.policy
    safe = set(prune.protected)
    if policy.min_age is not None:
        youngest = prune.now_ns - parse_duration(policy.min_age)
        safe |= {index for index in prune.managed if prune.time(index) > youngest}
    if policy.future != "count":
        safe |= {index for index in prune.managed if prune.is_future(index)}
    safe |= set(prune.managed[: policy.protect.newest]) - prune.doomed
    if policy.protect.just_taken:
        second = prune.now_ns // 10**9
        safe |= {index for index in prune.managed if prune.time(index) // 10**9 == second} - prune.doomed
    if policy.protect.last_of_class:
        last: dict[str, int] = {}
        for index in prune.managed:
            if index in prune.doomed and index not in safe:
                continue
            for name in prune.snapshots[index].classes:
                last.setdefault(name, index)
        safe |= set(last.values())
    return safe


def _limited(prune: _Prune, stay: set[int], safe: set[int]) -> set[int]:
    """Return what is left when the oldest go that are too old or too many."""
    limits = prune.policy.limits
    if limits.on_violation != "merge_oldest":
        return stay
    if limits.max_age is not None:
        oldest = prune.now_ns - parse_duration(limits.max_age)
        stay = {index for index in stay if index in safe or prune.time(index) >= oldest}
    most = [one for one in (limits.chain_max, limits.chain_hard, limits.snapshots_hard) if one is not None]
    if most:
        others = [index for index in prune.managed if index in stay - safe]
        stay = safe | set(others[: max(min(most) - len(safe), 0)])
    return stay


def _with_other_halves(prune: _Prune, stay: set[int]) -> set[int]:
    """Add the other half of every pair of which one half stays."""
    pairs = {
        frozenset((one, other))
        for one in prune.group
        for other in prune.group
        if prune.snapshots[one].attributes.get("pair") == prune.snapshots[other].id
    }
    for pair in pairs:  # halves that different algorithms clean up each wait for the other
        if len({prune.snapshots[index].attributes.get("cleanup") for index in pair}) > 1:
            stay = stay | pair
    while added := {index for pair in pairs if pair & stay for index in pair} - stay:
        stay = stay | added
    return stay


# ---------------------------------------- rules, in five ways


def _let_rules_speak(prune: _Prune) -> dict[int, dict[str, int]]:
    """Return what rules keep, and with which rank."""
    policy = prune.policy
    candidates = prune.candidates
    kept: dict[int, dict[str, int]] = {}
    out_of_play: set[int] = set()  # what an earlier rule has taken away from later ones
    for rule in policy.rules:
        about = [index for index in candidates if _is_about(rule.select, prune.snapshots[index])]
        reference = _reference(prune, rule, about)
        in_play = [index for index in about if index not in out_of_play]
        inside = [index for index in in_play if _is_inside(prune, rule, reference, index)]
        looked_at = in_play if policy.combine == "cascade" else inside
        buckets = _buckets(prune, rule, reference, looked_at)
        if policy.combine == "claim":
            buckets = [bucket for bucket in buckets if not any(index in kept for index in bucket)]
        picked = [_picked(prune, rule, bucket) for bucket in buckets]

        # what uses up the count
        counting = picked
        if policy.combine == "sequential":
            counting = [[index for index in bucket if index not in kept] for bucket in picked]
        if policy.combine == "cascade":
            counting = [[index for index in bucket if index in inside] for bucket in picked]
        uses = [bucket for bucket in counting if bucket]
        if policy.tie_break == "all" and rule.keep == 1:
            uses = [[index] for bucket in uses for index in bucket]

        ranked = {index: rank for rank, bucket in enumerate(uses, 1) for index in bucket}
        mine = {index: rank for index, rank in ranked.items() if rule.count is None or rank <= rule.count}
        unmet = rule.count is None or len(uses) < rule.count
        if candidates and unmet and _keeps_oldest(policy, rule) and candidates[-1] in looked_at:
            oldest = candidates[-1]
            if oldest not in mine and not (policy.combine == "sequential" and oldest in kept):
                mine[oldest] = 0
        for index, rank in mine.items():
            kept.setdefault(index, {})[rule.name] = rank

        representatives = {index for bucket in picked for index in bucket}
        if policy.combine == "partition":
            out_of_play |= set(inside)
        elif policy.combine == "cascade":
            out_of_play |= set(in_play) - representatives
        elif policy.combine == "claim":
            claimed = [bucket for bucket in buckets if any(index in mine for index in bucket)]
            out_of_play |= {index for bucket in claimed for index in bucket} - representatives
    return kept


def _keeps_oldest(policy: "Policy", rule: Rule) -> bool:
    """Say whether a rule keeps the oldest snapshot while its count is not used up."""
    if rule.count == 0 or policy.oldest == "never":
        return False
    if policy.oldest == "each_counted_rule":
        return rule.count is not None
    if policy.oldest == "last_rule":
        return rule is [one for one in policy.rules if one.count != 0][-1]
    return True


def _reference(prune: _Prune, rule: Rule, about: Sequence[int]) -> int | None:
    """Return the snapshot's time, or the fixed time, from which a rule counts ages."""
    if rule.reference == "now":
        return prune.now_ns
    if rule.reference not in _CALENDAR_REFERENCES:
        moment = datetime.fromisoformat(rule.reference)
        return (moment - _EPOCH) // timedelta(microseconds=1) * 1000
    if rule.reference == "newest_not_future":
        about = [index for index in about if not prune.is_future(index)]
    if rule.reference == "newest_complete":
        about = [index for index in about if not prune.snapshots[index].attributes.get("incomplete")]
    return max((prune.time(index) for index in about), default=None)


def _is_inside(prune: _Prune, rule: Rule, reference: int | None, index: int) -> bool:
    """Say whether a snapshot is as young as a rule wants it."""
    policy, time_ns = prune.policy, prune.time(index)
    if rule.back is not None:
        name = rule.back_in or str(rule.bucket)
        here = bucket_number(policy, name, time_ns, _offset(prune.snapshots[index]))
        if present_number(policy, name, prune.now_ns) - here > rule.back:
            return False
    if reference is None:  # nothing to count ages from
        return True
    if rule.age_ns is not None:
        low, high = rule.age_ns
        return low <= _age(reference, time_ns) < high
    if rule.window is not None:
        clock = _offset_at(prune, rule, reference)
        start = window_start(rule, reference + clock, policy.calendar.zone) - clock
        return time_ns > start or (rule.closed and time_ns == start)
    return True


def _age(reference: int, time_ns: int) -> int:
    """Return an age; what is later than the reference has none yet."""
    return max(reference - time_ns, 0)


def _offset_at(prune: _Prune, rule: Rule, reference: int) -> int:
    """Return how far the reference's own clock is from UTC, where recorded clocks count.  [ns]"""
    if prune.policy.timezone != RECORDED or rule.reference not in _CALENDAR_REFERENCES - {"now"}:
        return 0
    about = [index for index in prune.candidates if _is_about(rule.select, prune.snapshots[index])]
    if rule.reference == "newest_complete":
        about = [index for index in about if not prune.snapshots[index].attributes.get("incomplete")]
    newest = next(index for index in about if prune.time(index) == reference)
    return _offset(prune.snapshots[newest])


def _buckets(prune: _Prune, rule: Rule, reference: int | None, looked_at: Sequence[int]) -> list[list[int]]:
    """Put snapshots into buckets; the bucket with the newest snapshot is the first."""
    buckets: list[list[int]] = []
    keys: list[object] = []
    for index in looked_at:
        key = _bucket_key(prune, rule, reference, index)
        if prune.policy.adjacency == "run":
            found = len(keys) - 1 if keys and keys[-1] == key else None
        else:
            found = keys.index(key) if key in keys else None
        if found is None:
            keys.append(key)
            buckets.append([])
            found = -1
        buckets[found].append(index)
    return buckets


def _bucket_key(prune: _Prune, rule: Rule, reference: int | None, index: int) -> object:
    """Return what is equal for two snapshots of one bucket."""
    policy, time_ns = prune.policy, prune.time(index)
    offset = _offset(prune.snapshots[index])
    if isinstance(rule.bucket, Every):
        if rule.bucket.align == "epoch":
            return time_ns // rule.bucket.every_ns
        if rule.bucket.align == "wall":
            away = _wall_clock(policy, time_ns, offset) - (_EPOCH + _micros(time_ns)).replace(tzinfo=None)
            return (time_ns + away // timedelta(microseconds=1) * 1000) // rule.bucket.every_ns
        low = rule.age_ns[0] if rule.age_ns else 0
        return (_age(prune.now_ns if reference is None else reference, time_ns) - low) // rule.bucket.every_ns
    if rule.bucket == "each":
        return index
    if rule.bucket == "all":
        return "all"
    return bucket_number(policy, rule.bucket, time_ns, offset)


def _picked(prune: _Prune, rule: Rule, bucket: Sequence[int]) -> list[int]:
    """Return the representatives of a bucket, newest first."""
    if rule.keep is None:
        return list(bucket)
    from_the_end = list(bucket) if rule.pick == "newest" else list(reversed(bucket))
    if prune.policy.tie_break == "all" and rule.keep == 1:
        # everything that no one nearer to that end outdoes
        times = [prune.time(index) for index in from_the_end]
        best = max if rule.pick == "newest" else min
        found = {
            index for place, index in enumerate(from_the_end) if times[place] == best(times[: place + 1])
        }
    else:
        found = set(from_the_end[: rule.keep])
    return [index for index in bucket if index in found]


# ---------------------------------------- calendars


def _micros(time_ns: int) -> timedelta:
    return timedelta(microseconds=time_ns // 1000)


def _offset(snapshot: Snapshot) -> int:
    """Return how far a snapshot's recorded clock is from UTC.  [ns]"""
    return int(snapshot.attributes.get("utc_offset_s", 0)) * 10**9


def _wall_clock(policy: "Policy", time_ns: int, offset_ns: int) -> datetime:
    """Return what the clock shows that counts, as a datetime without zone."""
    if policy.timezone == RECORDED:
        return (_EPOCH + _micros(time_ns + offset_ns)).replace(tzinfo=None)
    return (_EPOCH + _micros(time_ns)).astimezone(zone(policy.timezone)).replace(tzinfo=None, fold=0)


def bucket_number(policy: "Policy", name: str, time_ns: int, offset_ns: int = 0) -> int:
    """Return the number of the calendar bucket that a moment belongs to.

    Parameters
    ----------
    policy : Policy
        Whose zone, starts of days and weeks and months count.
    name : str
        "second", "minute", "hour", "day", "week", "month", "week13", "quarter" or "year".
    time_ns : int
        The moment, UTC.  [ns]
    offset_ns : int
        Its recorded distance to UTC, which counts if the policy's zone is "recorded".  [ns]

    Returns
    -------
    int
        Equal for two moments exactly if they share the bucket; neighbours differ by one.
    """
    shown = _wall_clock(policy, time_ns, offset_ns)
    hours = shown.toordinal() * 24 + shown.hour
    if name in {"hour", "minute", "second"}:
        minutes = hours * 60 + shown.minute
        return {"hour": hours, "minute": minutes, "second": minutes * 60 + shown.second}[name]
    hour, minute = policy.day_start.split(":")
    day = (shown - timedelta(hours=int(hour), minutes=int(minute))).date()
    into_week = (day.weekday() - WEEKDAYS.index(policy.week_start)) % 7
    first_of_week = day - timedelta(days=into_week)
    if name == "week13":
        # a week belongs to the year in which most of its days are; the last of four stretches may be longer
        middle = first_of_week + timedelta(days=3)
        week = (middle - date(middle.year, 1, 1)).days // 7 + 1
        return middle.year * 4 + min((week - 1) // 13, 3)
    # (btrbk counts from the date, which before the hour at which days begin is a day ahead)
    month = shown.date() - timedelta(days=into_week) if policy.month_starts == "week_start" else day
    return {
        "day": day.toordinal(),
        "week": first_of_week.toordinal() // 7,
        "month": month.year * 12 + month.month - 1,
        "quarter": month.year * 4 + (month.month - 1) // 3,
        "year": month.year,
    }[name]


def present_number(policy: "Policy", name: str, now_ns: int) -> int:
    """Return the number of the bucket from which others are counted back.

    Parameters
    ----------
    policy : Policy
        Whose calendar counts.
    name : str
        As for `bucket_number`.
    now_ns : int
        The present, UTC.  [ns]

    Returns
    -------
    int
        As `bucket_number`; but where months begin with weeks, the present month and year are the calendar's.
    """
    if policy.month_starts == "week_start" and name in {"month", "quarter", "year"}:
        today = _wall_clock(policy, now_ns, 0).date()
        return {
            "month": today.year * 12 + today.month - 1,
            "quarter": today.year * 4 + (today.month - 1) // 3,
            "year": today.year,
        }[name]
    return bucket_number(policy, name, now_ns, 0)


def window_start(rule: Rule, reference_ns: int, timezone: str) -> int:
    """Return where a rule's window starts.

    Parameters
    ----------
    rule : Rule
        A rule with a window.
    reference_ns : int
        End of the window, UTC.  [ns]
    timezone : str
        IANA name of the zone whose calendar counts.

    Returns
    -------
    int
        What is inside is strictly later, UTC.  [ns]

    Raises
    ------
    ValueError
        The rule has no window.
    """
    if rule.window is None:
        msg = f"rule {rule.name} has no window"
        raise ValueError(msg)
    window = rule.window
    if not window.months and not window.days:
        return reference_ns - window.duration_ns
    micros, rest_ns = divmod(reference_ns, 1000)
    local = (_EPOCH + timedelta(microseconds=micros)).astimezone(zone(timezone)).replace(tzinfo=None, fold=0)
    year, month = divmod(local.year * 12 + local.month - 1 - window.months, 12)
    # "31 February" runs over into March, as in Go's AddDate
    shown = local.replace(year=year, month=month + 1, day=1) + timedelta(days=local.day - 1 - window.days)
    return (
        (_first_showing(shown, timezone) - _EPOCH) // timedelta(microseconds=1) * 1000
        + rest_ns
        - window.duration_ns
    )


def _first_showing(shown: datetime, timezone: str) -> datetime:
    """Return the first moment at which the clock shows a time, or the end of the jump that skips it."""
    clock = zone(timezone)
    moment = shown.replace(tzinfo=clock).astimezone(UTC)
    if moment.astimezone(clock).replace(tzinfo=None, fold=0) == shown:
        return moment
    after = (
        shown.replace(tzinfo=clock, fold=1).astimezone(UTC).replace(microsecond=0)
    )  # still before the jump
    while after.astimezone(clock).replace(tzinfo=None, fold=0) < shown:
        after += timedelta(seconds=1)
    return after
