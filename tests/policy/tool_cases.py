"""Random snapshots for the presets: at the edges in which snapshot tools differ."""

import random

from snapsim.policy import Policy
from snapsim.types import Snapshot
from tests.differential import random_cases

CASES = 1200
SECOND = 10**9
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata")


def series(draw: random.Random, *, ties: bool = True) -> tuple[list[int], int]:
    """Return seconds, ascending, some twice, some from the future, and now among or near them."""
    times = sorted({time_ns // SECOND for time_ns in random_cases.times(draw, resolution=SECOND)})
    if not times:
        return [], draw.choice(random_cases.ANCHORS) // SECOND
    now = draw.choice([times[-1], times[-1], draw.choice(times), times[-1] + draw.randrange(3 * 86_400)])
    extra = [now - edge for edge in (3600, 86_400, 7 * 86_400, 31 * 86_400) if draw.random() < 0.2]
    times = sorted({*times, *extra})
    if ties and draw.random() < 0.3:
        times = sorted(times + draw.sample(times, k=min(3, len(times))))
    return times, now


def snapshot(
    number: int, time_s: int, name: str = "", *, classes: tuple[str, ...] = (), **attributes
) -> Snapshot:
    """Return a snapshot whose id follows the order of its number."""
    return Snapshot(
        time_ns=time_s * SECOND,
        name=name,
        id=f"{number:05d}",
        classes=frozenset(classes),
        attributes={"number": number, **attributes},
    )


def survivors(policy: Policy, snapshots: list[Snapshot], now_s: int) -> set[int]:
    """Return the indices of what a policy keeps."""
    decisions = policy.decide(snapshots, now_s * SECOND)
    assert [one.snapshot for one in decisions] == snapshots
    assert all(one.reasons for one in decisions)
    return {index for index, one in enumerate(decisions) if one.keep}
