"""btrbk 0.32, restated: which snapshots of one subvolume `btrbk prune` keeps.

Time is what the snapshot's *name* says, on the wall of the machine that prunes.  Hours run on a scale
without daylight saving.  Days start at `preserve_hour_of_day`, weeks on `preserve_day_of_week`; months and
years start with the first such day.  Every snapshot has a distance to now in each of these units, and the
oldest of a unit stands for it: the first of each hour, of those the first of each day, of those the first
of each week, month, year.  A unit's representative is kept when its distance is at most N.

Traps
-----
- "2d" keeps up to three days: today, yesterday and the day before.  Empty days count as well, so a machine
  that was off for eight days has nothing left of "7d".
- "0d" is off; "*d" keeps every day.
- It is a cascade: the monthly one is the first weekly of its month, which is the first daily of its week.
  A snapshot that is not the first of its hour can only be kept by `snapshot_preserve_min`.
- With weeks from Sunday 2024-01-01 (a Monday) belongs to December 2023, and to the year 2023.  Months in
  the distance are those of the corrected date against the *uncorrected* month of now: on such a day the
  current month is already one away.
- `snapshot_preserve_min` is `all` unless said: a `snapshot_preserve` alone deletes nothing.
- A snapshot of a later clock hour than now's is always kept; it is also what `latest` then means, and the one
  that was really the newest loses that protection.
- Day names without a time (`timestamp_format short`) ignore `preserve_hour_of_day`.
- The hour that is shown twice in autumn is one hour: names of both halves mix.
- The latest snapshot that a target has as well is never deleted (`incremental_base` here).
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from snapsim.types import Snapshot
from tests.differential.oracles.wall import HOUR, wall, wall_seconds

WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
UNITS = "hdwmy"
DEFAULTS = {
    "snapshot_preserve": "no",
    "snapshot_preserve_min": "all",
    "preserve_day_of_week": "sunday",
    "preserve_hour_of_day": 0,
    "timestamp_format": "long",
}


def written(shown: datetime, form: str) -> datetime:
    """Return what is left of a time in a name: the day (short), the minute (long), the second (long-iso)."""
    if form == "short":
        return shown.replace(hour=0, minute=0, second=0)
    return shown.replace(second=0) if form == "long" else shown


def distances(shown: datetime, now: datetime, *, weekday: str, hour: int) -> dict[str, int]:
    """Return how many hours, days, weeks, months and years a snapshot is away from now."""
    late = shown.hour - hour
    back = (shown.weekday() + 1) % 7 - WEEKDAYS.index(weekday)
    if late < 0:
        late, back = late + 24, back - 1
    back %= 7
    # Months and years start with the first such weekday: days before it belong to the month before.
    owner = shown.replace(day=1) - timedelta(days=1) if shown.day <= back else shown
    # (btrbk cuts toward zero: only snapshots from the future would show it, and those are kept anyway.)
    hours = wall_seconds(now) // HOUR - wall_seconds(shown) // HOUR
    days = (hours + late) // 24
    years = now.year - owner.year
    return {
        "h": hours,
        "d": days,
        "w": (days + back) // 7,
        "m": 12 * years + now.month - owner.month,
        "y": years,
    }


def kept(
    snapshots: Sequence[Snapshot],
    settings: Mapping[str, object],
    *,
    now_ns: int,
    timezone: str,
) -> set[int]:
    """Return the indices of the snapshots that survive.

    Parameters
    ----------
    snapshots : sequence of Snapshot
        Of one subvolume, in any order; of equal names in the order of creation.
    settings : Mapping
        Keys as in btrbk.conf: `snapshot_preserve`, `snapshot_preserve_min`, `preserve_day_of_week`,
        `preserve_hour_of_day`, `timestamp_format`.
    now_ns : int
        The moment of the run.  [ns since 1970, UTC]
    timezone : str
        The zone of the machine that prunes.

    Returns
    -------
    set of int
        Indices into `snapshots`.
    """
    said = DEFAULTS | dict(settings)
    form = str(said["timestamp_format"])
    shown = [written(wall(snapshot.time_ns, timezone), form) for snapshot in snapshots]
    # A name with an offset tells the instant itself, any other only what the wall showed.
    name_time = [s.time_ns for s in snapshots] if form == "long-iso" else shown
    order = sorted(range(len(snapshots)), key=lambda index: (name_time[index], snapshots[index].time_ns))
    hour = 0 if form == "short" else int(said["preserve_hour_of_day"])
    now = wall(now_ns, timezone)
    away = [distances(s, now, weekday=str(said["preserve_day_of_week"]), hour=hour) for s in shown]

    keep = {
        index
        for index in order
        if away[index]["h"] < 0 or snapshots[index].attributes.get("incremental_base")
    }
    least = str(said["snapshot_preserve_min"])
    if least == "all":
        keep.update(order)
    elif least == "latest":
        keep.update(order[-1:])
    else:
        keep.update(index for index in order if away[index][least[-1]] <= int(least[:-1]))

    matrix = {
        unit.lower(): count
        for count, unit in re.findall(r"(\*|\d+)([hdwmyHDWMY])", str(said["snapshot_preserve"]))
    }
    runners = order
    for unit in UNITS:
        first: dict[int, int] = {}
        for index in runners:
            first.setdefault(away[index][unit], index)
        runners = [first[distance] for distance in sorted(first, reverse=True)]
        count = matrix.get(unit, "0")
        if count == "*":
            keep.update(runners)
        elif int(count):
            keep.update(index for index in runners if away[index][unit] <= int(count))
    return keep
