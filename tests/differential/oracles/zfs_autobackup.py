"""zfs-autobackup, restated: what a thinner text such as `10,1d1w,1w1m,1m1y` leaves of one data set's
snapshots.

A plain number keeps that many of the newest.  `1d1w` reads: one in each block of a day, until a week old.
A snapshot not older than the rule's age takes block number floor(UTC seconds / period) if it is free; from
old to new, so the oldest of a block stays.

Traps
-----
- Blocks are cut from 1970-01-01 00:00 UTC: days at UTC midnight wherever the machine stands, weeks from
  Thursday, "months" every 30 days, "years" every 365.25 days; none of them is a calendar's.
- Rules of the same period share their blocks: `1d1w,1d1m` is `1d1m`.
- The age is closed: exactly a week old is still within `1w`.
- The newest N take blocks like any other: they are kept beside, not instead.
- As the oldest one of a block gets too old for its rule, the block is free again: its next snapshot takes
  it, if it still exists.  A run every day therefore ends up elsewhere than one look at a long history.
- Never more than the plain number: with at most N snapshots, nothing is deleted at all.
- A last plain number wins over earlier ones; none at all means 0, not the default of 10.
- The newest snapshot and the one in common with the other side (`incremental_base` here) are never thinned.
- A period longer than the age is refused (`1m1w`).
"""

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction

from snapsim.types import Snapshot
from tests.differential.oracles.wall import DAY, HOUR, MINUTE, WEEK, seconds

UNIT_S = {"y": Fraction(1461, 4) * DAY, "m": 30 * DAY, "w": WEEK, "d": DAY, "h": HOUR, "min": MINUTE, "s": 1}
RULE = re.compile(r"(\d+)(y|min|m|w|d|h|s)(\d+)(y|min|m|w|d|h|s)")


def rules(text: str) -> tuple[int, list[tuple[Fraction, Fraction]]]:
    """Return how many of the newest stay, and period and age of each rule.  [s]"""
    always, pairs = 0, []
    for part in filter(None, text.lower().split(",")):
        if part.isdigit():
            always = int(part)
            continue
        said = RULE.fullmatch(part)
        if not said:
            raise ValueError(f"{part!r} is neither a number nor a rule such as 1d1w")
        period, age = (Fraction(int(said[i]) * UNIT_S[said[i + 1]]) for i in (1, 3))
        if period > age:
            raise ValueError(f"{part!r}: the period is longer than the age")
        pairs.append((period, age))
    return always, pairs


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
        Of one data set, in any order.
    settings : Mapping
        `thinner`: the text of --keep-source or --keep-target.
    now_ns : int
        The moment of the run.  [ns since 1970, UTC]
    timezone : str
        Without effect.

    Returns
    -------
    set of int
        Indices into `snapshots`.

    Raises
    ------
    ValueError
        A text that zfs-autobackup would refuse.
    """
    always, pairs = rules(str(settings["thinner"]))
    order = sorted(range(len(snapshots)), key=lambda index: snapshots[index].time_ns)
    keep = {index for index in order if snapshots[index].attributes.get("incremental_base")}
    keep.update(order[-max(always, 1) :])
    taken = set()
    for index in order:
        time = seconds(snapshots[index].time_ns)
        for period, age in pairs:
            block = (period, time // period)
            if seconds(now_ns) - time <= age and block not in taken:
                taken.add(block)
                keep.add(index)
    return keep
