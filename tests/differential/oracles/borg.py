"""What `borg prune` keeps, restated: 1.2, and 2."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from snapsim.types import Snapshot

MICROSECOND = 1_000
HOUR_NS = 3600 * 1_000_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PROTECTED = "@PROT"

UNIT_NS = {
    unit: hours * HOUR_NS for unit, hours in {"H": 1, "d": 24, "w": 168, "m": 31 * 24, "y": 365 * 24}.items()
}
UNIT_NS |= {"M": HOUR_NS // 60, "S": HOUR_NS // 3600}

KEYS = {  # in the order in which the rules run
    "secondly": lambda t: t.strftime("%Y-%m-%d %H:%M:%S"),
    "minutely": lambda t: t.strftime("%Y-%m-%d %H:%M"),
    "hourly": lambda t: t.strftime("%Y-%m-%d %H"),
    "daily": lambda t: t.date(),
    "weekly": lambda t: t.isocalendar()[:2],
    "monthly": lambda t: (t.year, t.month),
    "yearly": lambda t: t.year,
}
KEYS_2 = {
    "keep": lambda _: object(),  # every archive is a bucket of its own
    **{rule: KEYS[rule] for rule in ("secondly", "minutely", "hourly", "daily", "weekly", "monthly")},
    "13weekly": lambda t: (t.isocalendar()[0], min((t.isocalendar()[1] - 1) // 13, 3)),
    "3monthly": lambda t: (t.year, (t.month - 1) // 3),
    "yearly": KEYS["yearly"],
}


def kept(
    snapshots: Sequence[Snapshot], settings: Mapping[str, object], *, now_ns: int, timezone: str
) -> set[int]:
    """Return the indices that borg 1.2 keeps.

    Settings: keep_within ("2d": H, d, w, m = 31 d, y = 365 d), keep_last, keep_secondly, keep_minutely, ...
    keep_yearly; a negative number is unlimited.  An archive that was interrupted has the attribute
    `incomplete`.
    """
    order = _newest_first(range(len(snapshots)), snapshots)
    archives = [i for i in order if not snapshots[i].attributes.get("incomplete")]
    result = set(order[:1]) - set(archives)  # the newest checkpoint, if nothing is newer
    chosen = set()
    if "keep_within" in settings:
        since = now_ns - interval(settings["keep_within"])
        chosen |= {i for i in archives if snapshots[i].time_ns > since}
    counts = {rule: settings.get(f"keep_{rule}") for rule in KEYS}
    if "keep_last" in settings:  # the same option by another name
        counts["secondly"] = settings["keep_last"]
    for rule, count in counts.items():
        if not count:
            continue
        taken = _split(archives, snapshots, KEYS[rule], count, chosen, timezone)
        if archives and taken < count and archives[-1] not in chosen:
            chosen.add(archives[-1])
    return result | chosen


def _split(archives, snapshots, key, count, chosen, timezone):
    """Add to `chosen` the first archive of each bucket that is not in it yet; return how many were added."""
    previous, taken = None, 0
    for i in archives:
        bucket = key(_shown(snapshots[i], timezone))
        if bucket != previous:
            previous = bucket
            if i not in chosen:  # one that is in it already takes the bucket and leaves the count
                chosen.add(i)
                taken += 1
                if taken == count:
                    break
    return taken


def kept_2(
    snapshots: Sequence[Snapshot], settings: Mapping[str, object], *, now_ns: int, timezone: str
) -> set[int]:
    """Return the indices that borg 2 (from its 22nd beta on) keeps.

    Settings: keep, keep_secondly, ..., keep_13weekly, keep_3monthly, keep_yearly, each a number of buckets
    or an interval ("2d"); `from` is the instant that intervals count back from, in nanoseconds, instead of
    now.
    """
    base = settings.get("from", now_ns)
    order = _newest_first(range(len(snapshots)), snapshots)
    chosen = {i for i in order if PROTECTED in snapshots[i].tags}
    archives = [i for i in order if i not in chosen]
    if "from" in settings:  # those are kept, and the rules do not see them
        chosen |= {i for i in archives if snapshots[i].time_ns >= base}
        archives = [i for i in archives if i not in chosen]
    rules = {rule: settings.get(f"keep_{rule}" if rule != "keep" else rule) for rule in KEYS_2}
    rules = {rule: limit for rule, limit in rules.items() if limit}
    _refuse_nonsense(list(rules.values()))
    for rule, limit in rules.items():
        is_count = isinstance(limit, int)
        since = None if is_count else base - interval(limit)
        seen = [i for i in archives if since is None or snapshots[i].time_ns >= since]
        count = limit if is_count else -1
        taken = _split(seen, snapshots, KEYS_2[rule], count, chosen, timezone)
        is_last = rule == list(rules)[-1]
        has_room = count < 0 or taken < count  # an interval, or "unlimited", is never used up
        if is_last and has_room and archives and archives[-1] in seen:
            chosen.add(archives[-1])
    return chosen


def _refuse_nonsense(limits):
    lengths = [interval(limit) for limit in limits if not isinstance(limit, int)]
    if any(later <= earlier for earlier, later in pairwise(lengths)):
        message = "borg 2 refuses intervals that do not increase from rule to rule"
        raise ValueError(message)
    if -1 in limits and any(isinstance(limit, int) for limit in limits[limits.index(-1) + 1 :]):
        message = "borg 2 refuses a count after an unlimited rule"
        raise ValueError(message)


def interval(text: str) -> int:
    """Return an interval ("2d") in nanoseconds."""
    return int(text[:-1]) * UNIT_NS[text[-1]]


def _newest_first(indices, snapshots):
    return sorted(indices, key=lambda i: -snapshots[i].time_ns)


def _shown(snapshot, timezone):
    moment = EPOCH + timedelta(microseconds=snapshot.time_ns // MICROSECOND)
    return moment.astimezone(ZoneInfo(timezone)).replace(tzinfo=None)
