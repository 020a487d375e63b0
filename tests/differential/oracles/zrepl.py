"""zrepl, restated: what a list of keep rules leaves of one file system's snapshots.

A snapshot is destroyed when *every* rule of the list would destroy it; an empty list keeps everything.

grid: the newest matching snapshot is the zero.  From there windows of the given lengths are laid backwards,
each open at its old end and closed at its young one; a window keeps its `keep` oldest.  What is older than
the last window, and whatever does not match the expression, is destroyed.

Traps
-----
- Windows are not calendar days: they hang on the newest snapshot and move with it.  A snapshot that is the
  oldest of its window today may be a younger one of the next window tomorrow, so one look at a long history
  is not what a daily prune ends up with.
- The newest snapshot is no exception: with `1x1h` and two snapshots within an hour (jitter is enough) the
  newest one is destroyed.  `1x1h(keep=all)` first, or last_n beside it, prevents that.
- A snapshot that matches no rule's expression is destroyed: also one made by hand.  Another rule (`regex`,
  negated) has to keep it.
- Right-closed: a snapshot exactly one window's length behind the zero is already in the next window.
- Lengths have to grow from window to window, unless all before keep everything; a month is only `30d`.
- A time zone plays no part: lengths of time between UTC instants.
- last_n counts matching snapshots; up to 0.6 it destroyed nothing at all while fewer than n snapshots,
  matching or not, existed.
"""

import re
from collections.abc import Mapping, Sequence

from snapsim.types import Snapshot
from tests.differential.oracles.wall import DAY, HOUR, MINUTE, WEEK

UNIT_S = {"s": 1, "m": MINUTE, "h": HOUR, "d": DAY, "w": WEEK}
INTERVAL = re.compile(r"\s*(\d+)\s*x\s*(\d+)\s*([smhdw])\s*(?:\(\s*keep\s*=\s*(all|\d+)\s*\))?\s*")
SECOND_NS = 1_000_000_000


def windows(text: str) -> list[tuple[int, int | None]]:
    """Return length [ns] and keep (None = all) of each window that a grid's text says, the youngest first."""
    laid: list[tuple[int, int | None]] = []
    for part in text.split("|"):
        said = INTERVAL.fullmatch(part)
        if not said:
            raise ValueError(f"{part!r} is no interval: write it like 24x1h or 1x1h(keep=all)")
        repeat, length = int(said[1]), int(said[2]) * UNIT_S[said[3]] * SECOND_NS
        keep = None if said[4] == "all" else int(said[4] or 1)
        if keep == 0:
            raise ValueError(f"{part!r} keeps nothing")
        if laid and length < laid[-1][0] and any(kept is not None for _, kept in laid):
            raise ValueError(f"{part!r} is shorter than the interval before it")
        laid += [(length, keep)] * repeat
    return laid


def grid(snapshots: Sequence[Snapshot], matching: Sequence[int], rule: Mapping) -> set[int]:
    """Return whom a grid keeps: the oldest ones of each window."""
    oldest_first = sorted(matching, key=lambda index: snapshots[index].time_ns)
    keep: set[int] = set()
    if not matching:
        return keep
    edge = snapshots[oldest_first[-1]].time_ns
    for length, count in windows(rule["grid"]):
        inside = [index for index in oldest_first if edge - length < snapshots[index].time_ns <= edge]
        keep.update(inside[:count])
        edge -= length
    return keep


def last_n(snapshots: Sequence[Snapshot], matching: Sequence[int], rule: Mapping) -> set[int]:
    """Return the newest `count`; of equal times the name that sorts last."""
    newest_first = sorted(
        matching, key=lambda index: (snapshots[index].time_ns, snapshots[index].name), reverse=True
    )
    return set(newest_first[: int(rule["count"])])


def by_name(snapshots: Sequence[Snapshot], matching: Sequence[int], rule: Mapping) -> set[int]:
    """Return whom the expression matches; with `negate` whom it does not."""
    return set(range(len(snapshots))) - set(matching) if rule.get("negate") else set(matching)


def not_replicated(snapshots: Sequence[Snapshot], matching: Sequence[int], rule: Mapping) -> set[int]:
    """Return whom the other side does not have yet."""
    return {index for index in matching if not snapshots[index].attributes.get("replicated")}


RULES = {"grid": grid, "last_n": last_n, "regex": by_name, "not_replicated": not_replicated}


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
        Of one file system, in any order.
    settings : Mapping
        `keep`: a list of rules as in zrepl's YAML, each a mapping with `type` (grid, last_n, regex,
        not_replicated) and its own keys (`grid`, `count`, `regex`, `negate`).
    now_ns : int
        Without effect: the newest matching snapshot is the reference.
    timezone : str
        Without effect.

    Returns
    -------
    set of int
        Indices into `snapshots`.

    Raises
    ------
    ValueError
        A grid that zrepl would refuse.
    """
    rules: Sequence[Mapping] = settings.get("keep", ())
    if not rules:
        return set(range(len(snapshots)))
    keep: set[int] = set()
    for rule in rules:
        pattern = re.compile(str(rule.get("regex", "")))
        matching = [index for index, snapshot in enumerate(snapshots) if pattern.search(snapshot.name)]
        keep |= RULES[rule["type"]](snapshots, matching, rule)
    return keep
