"""What kopia keeps of one source, restated, without the collision of its month and week names
(kopia#5096)."""

from collections.abc import Mapping, Sequence
from math import inf

from snapsim.types import Snapshot
from tests.differential.oracles.gotime import HOUR_S, SECOND, add_date, fixed, wall

UTC = fixed(0)
INCOMPLETE_AGE_NS, INCOMPLETE_COUNT = 4 * HOUR_S * SECOND, 3

KEYS = {
    "latest": lambda _, index: index,
    "hourly": lambda shown, _: (shown.date(), shown.hour),
    "daily": lambda shown, _: shown.date(),
    "weekly": lambda shown, _: shown.isocalendar()[:2],
    "monthly": lambda shown, _: (shown.year, shown.month),
    "annual": lambda shown, _: shown.year,
}
STARTS = {  # the oldest time that a rule of n units looks at, from the newest complete snapshot
    "latest": lambda *_: -inf,
    "hourly": lambda t, n: t - n * HOUR_S * SECOND,
    "daily": lambda t, n: add_date(t, 0, 0, -n, UTC),
    "weekly": lambda t, n: add_date(t, 0, 0, -7 * n, UTC),
    "monthly": lambda t, n: add_date(t, 0, -n, 0, UTC),
    "annual": lambda t, n: add_date(t, -n, 0, 0, UTC),
}


def kept(
    snapshots: Sequence[Snapshot], settings: Mapping[str, object], *, now_ns: int, timezone: str
) -> set[int]:
    """Return the indices that stay.

    Settings: keep_latest, keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_annual; all of them 0
    keeps every complete snapshot.  Attributes that count: `incomplete`, and `protected` (kopia calls it
    pinned). The calendar is UTC's, whatever the zone.
    """
    limits = {rule: settings.get(f"keep_{rule}") or 0 for rule in KEYS}
    if not any(limits.values()):
        limits["latest"] = inf
    order = sorted(range(len(snapshots)), key=lambda i: -snapshots[i].time_ns)
    chosen = {i for i in order if snapshots[i].attributes.get("protected")}
    complete = [i for i in order if not snapshots[i].attributes.get("incomplete")]
    for index, i in enumerate(order[: order.index(complete[0])] if complete else order):
        age = snapshots[order[0]].time_ns - snapshots[i].time_ns
        if age >= INCOMPLETE_AGE_NS and index >= INCOMPLETE_COUNT:
            break
        chosen.add(i)
    for rule, limit in limits.items():
        if not (limit and complete):
            continue
        start = STARTS[rule](snapshots[complete[0]].time_ns, limit)
        used = set()
        for index, i in enumerate(complete):
            key = KEYS[rule](wall(snapshots[i].time_ns, 0), index)
            if snapshots[i].time_ns >= start and key not in used and len(used) < limit:
                used.add(key)
                chosen.add(i)
    return chosen
