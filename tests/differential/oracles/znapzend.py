"""znapzend, restated: what a backup plan such as `7d=>1h,30d=>4h,1y=>1d` leaves of one data set's snapshots.

The plan says: until this age, one in each of such slots.  A snapshot belongs to the level with the smallest
age that is not below its own, and to slot number floor(wall time / interval) of that level.  From old to
new, the first in a slot stays.  What is older than the oldest level goes.

Traps
-----
- The wall clock's numbers are taken for seconds since 1970: the same plan cuts days at local midnight,
  weeks on Thursdays (1970-01-01 was one), and multiples of 30 days (its month) nowhere in particular.
- Levels count their slots apart: where a coarse level meets a fine one, a slot is split and may hold two,
  and the snapshot that the finer level kept last may not be the first of a coarse slot, so a gap opens.
- The slots are not days kept: `7d=>1d` has eight slots when now is in the middle of one.
- An age equal to the level's limit still belongs to the level.
- A month is 30 days, a year 365.25 days; `m` is a month, `min` a minute.
- A snapshot stamped with the second of the run never goes, nor does the newest one that a destination also
  has (`incremental_base` here); both use up their slot.
- One from the future has a negative age: it belongs to the finest level.
- In autumn the hour shown twice is one slot of the wall; in spring the missing one is an empty slot.
"""

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction

from snapsim.types import Snapshot
from tests.differential.oracles.wall import DAY, HOUR, MINUTE, WEEK, wall, wall_seconds

YEAR = Fraction(1461, 4) * DAY
UNIT_S = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), MINUTE),
    **dict.fromkeys(("h", "hour", "hours"), HOUR),
    **dict.fromkeys(("d", "day", "days"), DAY),
    **dict.fromkeys(("w", "week", "weeks"), WEEK),
    **dict.fromkeys(("m", "mon", "mons", "month", "months"), 30 * DAY),
    **dict.fromkeys(("y", "year", "years"), YEAR),
}


def length(text: str) -> Fraction:
    """Return the seconds that a text such as 4h or 1year says."""
    said = re.fullmatch(r"\s*(\d+)\s*([a-z]+)\s*", text)
    if not said or said[2] not in UNIT_S or not int(said[1]):
        raise ValueError(f"{text!r} is no length of time")
    return Fraction(int(said[1]) * UNIT_S[said[2]])


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
        Of one data set, in any order.
    settings : Mapping
        `plan`: the text of src_plan or dst_plan.
    now_ns : int
        The moment of the run.  [ns since 1970, UTC]
    timezone : str
        The zone of the process ("UTC" where the time format ends in Z).

    Returns
    -------
    set of int
        Indices into `snapshots`.

    Raises
    ------
    ValueError
        A plan that znapzend would refuse.
    """
    plan = {}
    for level in str(settings["plan"]).split(","):
        until, _, interval = level.partition("=>")
        plan[length(until)] = length(interval)
    time = [wall_seconds(wall(snapshot.time_ns, timezone)) for snapshot in snapshots]
    now = wall_seconds(wall(now_ns, timezone))
    taken = set()
    keep = set()
    for index in sorted(range(len(snapshots)), key=lambda index: snapshots[index].time_ns):
        level = min((until for until in plan if until >= now - time[index]), default=None)
        slot = level and (level, time[index] // plan[level])
        if level and (slot not in taken or time[index] == now):
            keep.add(index)
        if snapshots[index].attributes.get("incremental_base"):
            keep.add(index)
        if level:
            taken.add(slot)
    return keep
