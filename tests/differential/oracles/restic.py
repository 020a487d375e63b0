"""What `restic forget` keeps of one group, restated: 0.14, and 0.17 and newer."""

import re
from collections.abc import Mapping, Sequence
from zoneinfo import ZoneInfo

from snapsim.types import Snapshot
from tests.differential.oracles.gotime import EPOCH, HOUR_S, SECOND, add_date, fixed, timedelta, wall

UNLIMITED = -1
ZERO_TIME = -(10**30)  # Go's zero time: everything is younger than something before it

KEYS = {  # in restic's order; `index` is the place in the list, newest first
    "last": lambda _, index: index,
    "hourly": lambda shown, _: (shown.date(), shown.hour),
    "daily": lambda shown, _: shown.date(),
    "weekly": lambda shown, _: shown.isocalendar()[:2],
    "monthly": lambda shown, _: (shown.year, shown.month),
    "yearly": lambda shown, _: shown.year,
}


def kept(
    snapshots: Sequence[Snapshot], settings: Mapping[str, object], *, now_ns: int, timezone: str
) -> set[int]:
    """Return the indices that restic 0.17 or newer keeps.

    Settings: keep_last, keep_hourly ... keep_yearly (a number or "unlimited"), keep_within and
    keep_within_hourly ... keep_within_yearly ("1y5m7d2h"), keep_tag (a list of lists of tags).  The zone is
    that of the pruning process.
    """
    counts = {rule: _count(settings.get(f"keep_{rule}", 0)) for rule in KEYS}
    if min(counts.values()) < UNLIMITED:
        message = "restic refuses negative counts"
        raise ValueError(message)
    everything = set(range(len(snapshots)))
    if not _says_something(settings, counts):
        return everything  # refused: no policy was given
    chosen = _apply(
        snapshots, settings, counts, now_ns=now_ns, timezone=timezone, keep_oldest=True, unlimited=True
    )
    return chosen or everything  # refused: it would remove the last snapshot of the group


def kept_0_14(
    snapshots: Sequence[Snapshot], settings: Mapping[str, object], *, now_ns: int, timezone: str
) -> set[int]:
    """Return the indices that restic 0.14 keeps; counts are numbers, and negative ones keep nothing."""
    counts = {rule: int(settings.get(f"keep_{rule}", 0)) for rule in KEYS}
    if not _says_something(settings, counts):
        return set(range(len(snapshots)))
    return _apply(
        snapshots, settings, counts, now_ns=now_ns, timezone=timezone, keep_oldest=False, unlimited=False
    )


def _apply(snapshots, settings, counts, *, now_ns, timezone, keep_oldest, unlimited):
    order = sorted(range(len(snapshots)), key=lambda i: -snapshots[i].time_ns)
    offsets = [snapshot.attributes.get("utc_offset_s", 0) for snapshot in snapshots]
    since = _window_starts(snapshots, order, offsets, settings, now_ns, timezone)
    counts = dict(counts)
    previous = {}
    result = set()
    for index, i in enumerate(order):
        snapshot, shown = snapshots[i], wall(snapshots[i].time_ns, offsets[i])
        is_oldest = keep_oldest and index == len(order) - 1
        if any(_has_tags(snapshot, tags) for tags in settings.get("keep_tag", ())):
            result.add(i)
        if "" in since and snapshot.time_ns > since[""]:
            result.add(i)
        active = [rule for rule in KEYS if counts[rule] > 0 or (unlimited and counts[rule] == UNLIMITED)]
        active += [f"within_{rule}" for rule in KEYS if rule in since and snapshot.time_ns > since[rule]]
        for rule in active:
            key = KEYS[rule.removeprefix("within_")](shown, index)
            if is_oldest or rule not in previous or key != previous[rule]:
                result.add(i)
                previous[rule] = key
                if counts.get(rule, 0) > 0:
                    counts[rule] -= 1
    return result


def _window_starts(snapshots, order, offsets, settings, now_ns, timezone):
    """Return {rule: start}, "" for keep_within itself; a snapshot has to be younger than the start."""
    lengths = {rule: _duration(settings.get(f"keep_within_{rule}")) for rule in KEYS}
    lengths[""] = _duration(settings.get("keep_within"))
    lengths = {rule: length for rule, length in lengths.items() if any(length)}
    newest = next((i for i in order if snapshots[i].time_ns < now_ns), None)
    if newest is None:  # nothing but the future
        return dict.fromkeys(lengths, ZERO_TIME)
    time_ns = snapshots[newest].time_ns
    clock = _clock(time_ns, offsets[newest], timezone)
    return {
        rule: add_date(time_ns, -years, -months, -days, clock) - hours * HOUR_S * SECOND
        for rule, (years, months, days, hours) in lengths.items()
    }


def _clock(time_ns, offset_s, timezone):
    """Go takes the local zone for a time that is written with the offset that this zone has then."""
    zone = ZoneInfo(timezone)

    def local(second):
        return int((EPOCH + timedelta(seconds=second)).astimezone(zone).utcoffset().total_seconds())

    return local if local(time_ns // SECOND) == offset_s else fixed(offset_s)


def _has_tags(snapshot, tags):
    return (list(tags) == [""] and not snapshot.tags) or (set(tags) <= snapshot.tags)


def _count(value):
    return UNLIMITED if value == "unlimited" else int(value) if int(value) >= 0 else UNLIMITED - 1


def _duration(text):
    """Return years, months, days and hours; a unit that is given twice has its last value."""
    parts = {unit: int(number) for number, unit in re.findall(r"(\d+)([ymdh])", text or "")}
    return tuple(parts.get(unit, 0) for unit in "ymdh")


def _says_something(settings, counts):
    windows = ["keep_within", *(f"keep_within_{rule}" for rule in KEYS)]
    return (
        any(counts.values())
        or bool(settings.get("keep_tag"))
        or any(any(_duration(settings.get(key))) for key in windows)
    )
