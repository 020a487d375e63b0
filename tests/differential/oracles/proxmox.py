"""What Proxmox keeps of one backup group, restated: Backup Server's prune, and that of Proxmox VE's
vzdump."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from snapsim.types import Snapshot

SECOND = 1_000_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

KEYS = {  # in the order in which the rules run
    "last": lambda t: t.strftime("%Y-%m-%d %H:%M:%S"),
    "hourly": lambda t: t.strftime("%Y-%m-%d %H"),
    "daily": lambda t: t.date(),
    "weekly": lambda t: t.isocalendar()[:2],
    "monthly": lambda t: (t.year, t.month),
    "yearly": lambda t: t.year,
}


def kept(
    snapshots: Sequence[Snapshot], settings: Mapping[str, object], *, now_ns: int, timezone: str
) -> set[int]:
    """Return the indices that stay.

    Settings: keep_last, keep_hourly ... keep_yearly; nothing above 0 keeps everything.  Attributes that
    count: `protected` and `incomplete` (a backup that was not finished).
    """
    limits = {rule: settings.get(f"keep_{rule}") or 0 for rule in KEYS}
    everything = range(len(snapshots))
    if not any(limits.values()):
        return set(everything)
    order = sorted(everything, key=lambda i: -snapshots[i].time_ns)
    shown = [_shown(snapshot, timezone) for snapshot in snapshots]
    protected = {i for i in order if snapshots[i].attributes.get("protected")}
    unfinished = {i for i in order if snapshots[i].attributes.get("incomplete")} - protected
    set_aside = protected | (
        unfinished & set(order[:1])
    )  # an unfinished one stays if it is the newest of all
    removed = unfinished - set_aside
    chosen = set()
    for rule, limit in limits.items():
        key = KEYS[rule]
        covered = {key(shown[i]) for i in chosen}
        claimed = set()
        for i in order if limit else ():
            bucket = key(shown[i])
            if i in chosen | set_aside | removed or bucket in covered:
                continue
            if bucket in claimed:
                removed.add(i)  # for good: no later rule sees it
            elif len(claimed) == limit:
                break
            else:
                claimed.add(bucket)
                chosen.add(i)
    return chosen | set_aside


def _shown(snapshot, timezone):
    return (EPOCH + timedelta(seconds=snapshot.time_ns // SECOND)).astimezone(ZoneInfo(timezone))
