"""The real borg 1.2 against its restatement, and against the preset."""

import random

import pytest

from snapsim.policy import Policy
from snapsim.types import Snapshot
from tests.differential.oracles import borg
from tests.differential.random_cases import DAY, HOUR, SECOND, ZONES, times
from tests.differential.real_borg import BorgCase, RealBorg

pytestmark = [pytest.mark.integration, pytest.mark.needs_program("borg")]

CASES = 2000


def case(chance):
    """Return a random history, random options of `borg prune`, and a clock."""
    instants = times(chance)
    archives = [
        Snapshot(time_ns, id=str(n), attributes={"incomplete": chance.random() < 0.05})
        for n, time_ns in enumerate(instants)
    ]
    chosen = {
        f"keep_{rule}": chance.choice((-7, -1, 0, 1, 2, 3, 7, 1000))
        for rule in borg.KEYS
        if chance.random() < 0.35
    }
    if chance.random() < 0.25:
        chosen["keep_within"] = chance.choice(("1H", "12H", "2d", "1w", "1m", "1y"))
    if "keep_secondly" not in chosen and chance.random() < 0.25:
        chosen["keep_last"] = chance.randint(0, 5)
    now_ns = max(instants, default=0) + chance.choice((0, SECOND, HOUR, DAY, 40 * DAY, -3 * DAY))
    return BorgCase(archives, chosen, now_ns, chance.choice(ZONES))


OURS = {"1H": "1h", "12H": "12h", "1w": "7d", "1m": "31d", "1y": "365d"}


def preset(question):
    """Return the same as a policy, or None where borg refuses to do anything."""
    said = {
        key: OURS.get(value, value) if key == "keep_within" else "unlimited" if value < 0 else value
        for key, value in question.settings.items()
    }
    if not any(said.values()):
        return None
    return Policy(compat="borg-1.2", timezone=question.timezone, **said)


def test_random_options_keep_what_borg_keeps():
    chance = random.Random(20231029)
    cases = [case(chance) for _ in range(CASES)]
    thinned = presets = 0
    for question, answer in zip(cases, RealBorg().prune(cases), strict=True):
        kept = borg.kept(
            question.snapshots, question.settings, now_ns=question.now_ns, timezone=question.timezone
        )
        assert kept == answer, question
        if policy := preset(question):
            decisions = policy.decide(question.snapshots, question.now_ns)
            assert {n for n, one in enumerate(decisions) if one.keep} == answer, question
            presets += 1
        thinned += 0 < len(answer) < len(question.snapshots)
    assert thinned >= CASES // 2
    assert presets >= 1500


def daily(count, last):
    return [Snapshot(last - n * DAY) for n in range(count)]


JAN_31 = 1_706_702_400 * SECOND  # 2024-01-31T12:00Z


@pytest.mark.parametrize(
    ("chosen", "kept"),
    [
        # Jan 31 is kept by "daily" and takes January: "monthly" goes on with December and November.
        ({"keep_daily": 2, "keep_monthly": 2}, {0, 1, 31, 62}),
        # an unmet count keeps the oldest, unlimited ones never do
        ({"keep_monthly": 9}, {0, 31, 62, 79}),
        ({"keep_monthly": -1}, {0, 31, 62}),
    ],
)
def test_what_surprises(chosen, kept):
    question = BorgCase(daily(80, JAN_31), chosen, JAN_31)
    assert RealBorg().prune([question]) == [kept]
    assert borg.kept(question.snapshots, chosen, now_ns=JAN_31, timezone="UTC") == kept


def test_a_window_alone_deletes_everything_old():
    question = BorgCase(daily(5, JAN_31), {"keep_within": "2d"}, JAN_31 + 9 * DAY)
    assert RealBorg().prune([question]) == [set()]
