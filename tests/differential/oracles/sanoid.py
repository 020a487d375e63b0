"""sanoid 2.1, restated: what `sanoid --prune-snapshots` keeps.

A snapshot's class is the last `_...ly` of its name, and a class of the configuration has a length of its
own: frequently (`frequent_period` minutes), hourly, daily, weekly 7 d, monthly 31 d, yearly 365.25 d.  A
class keeps its newest N *or* whatever is not older than N lengths.

Traps
-----
- "daily = 7" is not seven days: ten dailies taken today are all kept (young), and after a month without a
  snapshot the newest seven are kept however old they are.
- The edge is closed: a snapshot exactly N lengths old stays.
- `daily = 0` does not switch the class off, it deletes all of its snapshots that are older than this
  second.
- A class that the configuration does not know ("autosnap_x_quarterly") and a name that does not start with
  "autosnap" are never pruned.
- Classes do not help each other: an hourly one cannot stand in for a lost daily one.
- Clocks: ages are differences of UTC seconds; no time zone and no calendar is involved.  A month is 31
  days, a year 365.25 days.
- Of two snapshots of a class with the same second either may go: the order is that of a hash.
- `prune_defer = 60` prunes nothing while the pool is filled by at most 60 %: the limit itself still defers.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from fractions import Fraction

from snapsim.types import Snapshot
from tests.differential.oracles.wall import DAY, HOUR, MINUTE, WEEK, seconds

DEFAULTS = {
    "frequently": 0,
    "hourly": 48,
    "daily": 90,
    "weekly": 0,
    "monthly": 6,
    "yearly": 0,
    "frequent_period": 15,
    "autoprune": "yes",
    "prune_defer": 0,
}
LENGTHS = {
    "hourly": HOUR,
    "daily": DAY,
    "weekly": WEEK,
    "monthly": 31 * DAY,
    "yearly": Fraction(1461, 4) * DAY,
}
OURS = re.compile(r"autosnap.*_(\w*ly)")


def class_of(name: str) -> str | None:
    """Return the class that a snapshot's name tells, None for a snapshot that is not sanoid's."""
    ours = OURS.fullmatch(name)
    return ours.group(1) if ours else None


def kept(
    snapshots: Sequence[Snapshot],
    settings: Mapping[str, object],
    *,
    now_ns: int,
    timezone: str = "UTC",
) -> set[int]:
    """Return the indices of the snapshots that survive.

    Parameters
    ----------
    snapshots : sequence of Snapshot
        Of one dataset, in any order.
    settings : Mapping
        Keys as in sanoid.conf; what is missing has sanoid's own default.  `capacity` is not a setting but the
        pool's filling, which `prune_defer` is compared with.  [%]
    now_ns : int
        The moment of the run.  [ns since 1970, UTC]
    timezone : str
        Without effect.

    Returns
    -------
    set of int
        Indices into `snapshots`.
    """
    said = DEFAULTS | dict(settings)
    everything = set(range(len(snapshots)))
    defer = int(said["prune_defer"])
    if said["autoprune"] != "yes" or (defer and int(said.get("capacity", 100)) <= defer):
        return everything
    lengths = LENGTHS | {"frequently": int(said["frequent_period"]) * MINUTE}
    classes = defaultdict(list)
    for index in sorted(everything, key=lambda index: snapshots[index].time_ns, reverse=True):
        classes[class_of(snapshots[index].name)].append(index)
    gone = set()
    for name, length in lengths.items():
        limit = int(said[name])
        oldest = seconds(now_ns) - limit * length
        gone |= {index for index in classes[name][limit:] if seconds(snapshots[index].time_ns) < oldest}
    return everything - gone
