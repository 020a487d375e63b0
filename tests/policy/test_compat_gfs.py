"""Grandfather, father, son: the newest of each of the newest days, weeks, months, years that have one."""

import random
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from snapsim.types import Snapshot
from tests.differential.random_cases import SECOND, ZONES
from tests.policy.preset_cases import kept, moment, say, times

CASES = 1500
KEYS = {
    "daily": lambda t: t.date(),
    "weekly": lambda t: t.isocalendar()[:2],
    "monthly": lambda t: (t.year, t.month),
    "yearly": lambda t: t.year,
}


def expected(listed, chosen, timezone):
    """Say it again, in the plainest way."""
    clock = ZoneInfo(timezone)
    result = set()
    for rule, key in KEYS.items():
        newest = {}
        for index, one in sorted(enumerate(listed), key=lambda pair: pair[1].time_ns):
            shown = datetime.fromtimestamp(one.time_ns // SECOND, tz=UTC).astimezone(clock)
            newest[key(shown)] = index
        ranked = sorted(newest.values(), key=lambda index: -listed[index].time_ns)
        result |= set(ranked[: chosen.get(f"keep_{rule}", 0)])
    return result


def test_random_options():
    chance = random.Random(7461)
    thinned = 0
    for _ in range(CASES):
        chosen = {f"keep_{rule}": chance.choice((0, 1, 2, 3, 7)) for rule in KEYS if chance.random() < 0.6}
        listed = [Snapshot(time_ns, id=str(n)) for n, time_ns in enumerate(times(chance))]
        timezone, now_ns = chance.choice(ZONES), moment(chance, [one.time_ns for one in listed])
        if not any(chosen.values()):
            continue
        answer = kept(say("gfs", chosen, timezone=timezone), listed, now_ns)
        assert answer == expected(listed, chosen, timezone), (chosen, timezone)
        thinned += 0 < len(answer) < len(listed)
    assert thinned >= CASES // 2
