"""The preset of kopia decides as kopia does, but for its mistake (the names of weeks and months collide)."""

import random

import pytest

from snapsim.errors import PolicyError
from snapsim.policy import Policy
from snapsim.types import Snapshot
from snapsim.units import HOUR
from tests.differential.oracles import kopia
from tests.policy.preset_cases import kept, moment, say, times, with_attributes

CASES = 1500
OURS = {"keep_latest": "keep_last", "keep_annual": "keep_yearly"}


def test_random_options():
    chance = random.Random(5096)
    thinned = running = 0
    for _ in range(CASES):
        chosen = {
            f"keep_{rule}": chance.choice((0, 1, 2, 3, 7, 48, 1000))
            for rule in kopia.KEYS
            if chance.random() < 0.35
        }
        instants = times(chance)
        listed = [Snapshot(time_ns, id=str(n)) for n, time_ns in enumerate(instants)]
        listed = with_attributes(chance, listed, incomplete=0.1, protected=0.1)
        if instants and chance.random() < 0.3:  # the newest ones were interrupted
            newest = max(instants)
            listed += [
                Snapshot(newest + n * chance.choice((HOUR // 2, 3 * HOUR)), id=f"running {n}",
                         attributes={"incomplete": True})
                for n in range(1, chance.randint(2, 7))
            ]  # fmt: skip
            running += 1
        listed = list({one.time_ns: one for one in listed}.values())
        now_ns = moment(chance, [one.time_ns for one in listed])
        expected = kopia.kept(listed, chosen, now_ns=now_ns, timezone="UTC")
        policy = say("kopia", {OURS.get(key, key): value for key, value in chosen.items()})
        assert kept(policy, listed, now_ns) == expected, (chosen, now_ns)
        thinned += 0 < len(expected) < len(listed)
    assert thinned >= CASES // 2
    assert running >= CASES // 5


def test_what_kopia_has_not():
    with pytest.raises(PolicyError, match="keep_secondly has no meaning for kopia"):
        Policy(compat="kopia", keep_secondly=3)
    with pytest.raises(PolicyError, match='keep_daily is "unlimited", which kopia cannot say'):
        Policy(compat="kopia", keep_daily="unlimited")
