"""The rule engine once more: slow, plain Python, meant to be read.

It shares nothing with the fast one: calendars come from `datetime`, buckets are kept in sets, and every prune
looks at every snapshot again.  The tests demand that both agree.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from snapsim.policy.retention import Rule
from snapsim.policy.zones import zone

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def bucket_of(name: str, time_ns: int, timezone: str) -> object:
    """Return the bucket that a moment belongs to.

    Parameters
    ----------
    name : str
        "second", "minute", "hour", "day", "week", "month", "quarter" or "year".
    time_ns : int
        The moment, UTC.  [ns]
    timezone : str
        IANA name of the zone.

    Returns
    -------
    object
        Equal for two moments exactly if they share the bucket.
    """
    when = (_EPOCH + timedelta(microseconds=time_ns // 1000)).astimezone(zone(timezone))
    keys: dict[str, object] = {
        "second": (when.date(), when.hour, when.minute, when.second),
        "minute": (when.date(), when.hour, when.minute),
        "hour": (when.date(), when.hour),
        "day": when.date(),
        "week": when.isocalendar()[:2],
        "month": (when.year, when.month),
        "quarter": (when.year, (when.month - 1) // 3),
        "year": when.year,
    }
    return keys[name]


def keep(
    snapshots: Sequence[tuple[int, str]], rules: Iterable[Rule], *, now_ns: int, timezone: str
) -> list[dict[str, int]]:
    """Say which rules keep each snapshot.

    Parameters
    ----------
    snapshots : sequence of (int, str)
        Time (UTC, ns) and id of each.
    rules : iterable of Rule
        The rules.
    now_ns : int
        The time of the decision, UTC.  [ns]
    timezone : str
        IANA name of the zone of the buckets.

    Returns
    -------
    list of dict
        For each snapshot, in order of the input, the rank by name of each rule that keeps it (1 is the newest
        bucket). Whatever has an empty one is pruned.
    """
    newest_first = sorted(range(len(snapshots)), key=lambda index: snapshots[index], reverse=True)
    past = [snapshots[index][0] for index in newest_first if snapshots[index][0] <= now_ns]
    kept: list[dict[str, int]] = [{} for _ in snapshots]
    for rule in rules:
        start = window_start(rule, past[0], timezone) if rule.window and past else None
        seen: set[object] = set()
        for index in newest_first:
            time_ns = snapshots[index][0]
            if start is not None and time_ns <= start:
                continue
            bucket = index if rule.bucket == "each" else bucket_of(str(rule.bucket), time_ns, timezone)
            if bucket in seen:
                continue
            if rule.count is not None and len(seen) == rule.count:
                break
            seen.add(bucket)
            kept[index][rule.name] = len(seen)
    return kept


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
    if not rule.window.months:
        return reference_ns - rule.window.duration_ns
    micros, rest_ns = divmod(reference_ns, 1000)
    local = (_EPOCH + timedelta(microseconds=micros)).astimezone(zone(timezone)).replace(tzinfo=None, fold=0)
    year, month = divmod(local.year * 12 + local.month - 1 - rule.window.months, 12)
    # "31 February" runs over into March, as in Go's AddDate
    shown = local.replace(year=year, month=month + 1, day=1) + timedelta(days=local.day - 1)
    return (
        (_first_showing(shown, timezone) - _EPOCH) // timedelta(microseconds=1) * 1000
        + rest_ns
        - rule.window.duration_ns
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


def run(
    instants: Sequence[int], due: Iterable[int], rules: Sequence[Rule], *, timezone: str
) -> list[tuple[int, int]]:
    """Take and prune, one instant after the other.

    Parameters
    ----------
    instants : sequence of int
        Instants, UTC, ascending.  [ns]
    due : iterable of int
        Indices of the instants at which a snapshot is taken.
    rules : sequence of Rule
        The rules.
    timezone : str
        IANA name of the zone of the buckets.

    Returns
    -------
    list of (int, int)
        Instant of creation and of deletion (or the number of instants) of each snapshot.
    """
    wanted = set(due)
    existing: list[int] = []
    deleted: dict[int, int] = {}
    for now, time_ns in enumerate(instants):
        if now not in wanted:
            continue
        existing.append(now)
        verdicts = keep(
            [(instants[index], "") for index in existing], rules, now_ns=time_ns, timezone=timezone
        )
        deleted.update({index: now for index, why in zip(existing, verdicts, strict=True) if not why})
        existing = [index for index in existing if index not in deleted]
    return [(index, deleted.get(index, len(instants))) for index in sorted(wanted)]
