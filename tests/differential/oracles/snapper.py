"""snapper 0.10, restated: what `snapper cleanup number` and `snapper cleanup timeline` keep.

Each algorithm looks at the snapshots whose cleanup field names it, from the highest *number* to the lowest.
number: the first NUMBER_LIMIT, and the first NUMBER_LIMIT_IMPORTANT of those with important=yes.  timeline:
the first in each of the newest N hours, days, weeks, months (quarters) and years that hold a snapshot.
What is left over dies, unless it is the default or the mounted subvolume, younger than the minimum age, or
one half of a pre/post pair whose other half stays.

Traps
-----
- Newest means highest number, not latest date: after the clock was set back, the snapshots with the latest
  dates are the old ones and go first.
- The one kept of a day is its *first* (00:00), not its last: the newest snapshot of today goes as soon as
  it is older than the minimum age, unless it is the first of its hour.
- A snapshot is the first of its bucket if, going down the numbers, the bucket is left before an older
  snapshot is met.  Two with the same second are both first, and use up two of the count.
- Weeks start on Monday; 2024-12-30 and 2025-01-05 are in one week.  (The program tests for leap years with
  the years since 1900, which goes wrong for 2000; no week crossed from that year into the next, so it never
  shows.)
- Buckets are those of the zone of the process: a cron job with another TZ moves the border of the day.
- An important snapshot uses up a place of NUMBER_LIMIT as well.
- A pair is deleted whole or not at all: a kept post keeps its pre alive, whatever the limits say.
- Minimum age: a snapshot exactly that old may be deleted.
- A range "2-10" behaves like 10, then goes down towards 2, oldest first, while space is short.  Limits that
  are all plain numbers never look at space at all, whatever SPACE_LIMIT and FREE_LIMIT say.
- Empty hours and days do not count: after weeks without a snapshot, old ones stay.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime

from snapsim.types import Snapshot
from tests.differential.oracles.wall import seconds, wall

DEFAULTS = {
    "NUMBER_CLEANUP": "yes",
    "NUMBER_MIN_AGE": 1800,
    "NUMBER_LIMIT": "50",
    "NUMBER_LIMIT_IMPORTANT": "10",
    "TIMELINE_CLEANUP": "yes",
    "TIMELINE_MIN_AGE": 1800,
    "TIMELINE_LIMIT_HOURLY": "10",
    "TIMELINE_LIMIT_DAILY": "10",
    "TIMELINE_LIMIT_WEEKLY": "0",
    "TIMELINE_LIMIT_MONTHLY": "10",
    "TIMELINE_LIMIT_QUARTERLY": "0",
    "TIMELINE_LIMIT_YEARLY": "10",
}
LOWER, UPPER = 0, -1


BUCKETS: dict[str, Callable[[datetime], tuple[int, ...]]] = {
    "TIMELINE_LIMIT_HOURLY": lambda t: (t.year, t.month, t.day, t.hour),
    "TIMELINE_LIMIT_DAILY": lambda t: (t.year, t.month, t.day),
    "TIMELINE_LIMIT_WEEKLY": lambda t: t.isocalendar()[:2],
    "TIMELINE_LIMIT_MONTHLY": lambda t: (t.year, t.month),
    "TIMELINE_LIMIT_QUARTERLY": lambda t: (t.year, (t.month - 1) // 3),
    "TIMELINE_LIMIT_YEARLY": lambda t: (t.year,),
}


def limit(text: object, bound: int) -> int:
    """Return the lower or upper bound of a number or a range such as 2-10."""
    return int(str(text).split("-")[bound])


def by_number(
    snapshots: Sequence[Snapshot], newest_first: Sequence[int], said: Mapping, bound: int
) -> set[int]:
    """Return whom the limits of the number algorithm keep."""
    important = [index for index in newest_first if snapshots[index].attributes.get("important")]
    return {
        *newest_first[: limit(said["NUMBER_LIMIT"], bound)],
        *important[: limit(said["NUMBER_LIMIT_IMPORTANT"], bound)],
    }


def by_timeline(
    snapshots: Sequence[Snapshot], newest_first: Sequence[int], said: Mapping, bound: int, timezone: str
) -> set[int]:
    """Return whom the limits of the timeline algorithm keep."""
    shown = {index: wall(snapshots[index].time_ns, timezone) for index in newest_first}
    time = {index: seconds(snapshots[index].time_ns) for index in newest_first}

    def first(place: int, bucket: Callable) -> bool:
        index = newest_first[place]
        for lower in newest_first[place + 1 :]:
            if bucket(shown[lower]) != bucket(shown[index]):
                return True
            if time[lower] < time[index]:
                return False
        return True

    keep = set()
    for name, bucket in BUCKETS.items():
        firsts = [index for place, index in enumerate(newest_first) if first(place, bucket)]
        keep.update(firsts[: limit(said[name], bound)])
    return keep


def kept(
    snapshots: Sequence[Snapshot],
    settings: Mapping[str, object],
    *,
    now_ns: int,
    timezone: str,
) -> set[int]:
    """Return the indices of the snapshots that survive both algorithms, number first.

    Parameters
    ----------
    snapshots : sequence of Snapshot
        Of one configuration.  Attributes: number, cleanup, important, in_use, pair (id of the other half).
    settings : Mapping
        Keys as in snapper's configuration files.  Space is an observation, not a setting: `space_satisfied`
        and `free_satisfied` are functions of the set of surviving indices; without one, its loop does not
        run.
    now_ns : int
        The moment of the run.  [ns since 1970, UTC]
    timezone : str
        The zone of the process.

    Returns
    -------
    set of int
        Indices into `snapshots`.
    """
    said = DEFAULTS | dict(settings)
    of_id = {snapshot.id: index for index, snapshot in enumerate(snapshots)}
    alive = set(range(len(snapshots)))

    def deletable(candidates: Collection[int], min_age: int) -> set[int]:
        youngest = seconds(now_ns) - min_age
        free = {
            index
            for index in candidates
            if not snapshots[index].attributes.get("in_use") and seconds(snapshots[index].time_ns) <= youngest
        }
        partner = {index: of_id.get(snapshots[index].attributes.get("pair")) for index in free}
        return {index for index in free if partner[index] not in alive or partner[index] in free}

    def candidates(algorithm: str, bound: int) -> list[int]:
        newest_first = sorted(
            (index for index in alive if snapshots[index].attributes.get("cleanup") == algorithm),
            key=lambda index: snapshots[index].attributes["number"],
            reverse=True,
        )
        if algorithm == "number":
            keep = by_number(snapshots, newest_first, said, bound)
        else:
            keep = by_timeline(snapshots, newest_first, said, bound, timezone)
        return [index for index in reversed(newest_first) if index not in keep]

    def one_more(algorithm: str, min_age: int) -> set[int]:
        going = candidates(algorithm, LOWER)
        prefixes = (deletable(going[: n + 1], min_age) for n in range(len(going)))
        return next((gone for gone in prefixes if gone), set())

    limits = {"number": ("NUMBER_LIMIT", "NUMBER_LIMIT_IMPORTANT"), "timeline": tuple(BUCKETS)}
    for algorithm, names in limits.items():
        if said[f"{algorithm.upper()}_CLEANUP"] != "yes":
            continue
        min_age = int(said[f"{algorithm.upper()}_MIN_AGE"])
        alive -= deletable(candidates(algorithm, UPPER), min_age)
        if all(limit(said[name], LOWER) == limit(said[name], UPPER) for name in names):
            continue
        for observed in ("space_satisfied", "free_satisfied"):
            satisfied = said.get(observed) or (lambda _: True)
            while not satisfied(frozenset(alive)) and (gone := one_more(algorithm, min_age)):
                alive -= gone
    return alive
