"""The preset of Proxmox decides as Proxmox does."""

import random

import pytest

from snapsim.errors import PolicyError
from snapsim.policy import Policy
from snapsim.types import Snapshot
from tests.differential.oracles import proxmox
from tests.differential.random_cases import ZONES
from tests.policy.preset_cases import kept, moment, say, times, with_attributes

CASES = 1500


def test_random_options():
    chance = random.Random(4940514)
    thinned = everything = 0
    for _ in range(CASES):
        chosen = {
            f"keep_{rule}": chance.choice((0, 1, 2, 3, 7, 1000))
            for rule in proxmox.KEYS
            if chance.random() < 0.35
        }
        listed = [Snapshot(time_ns, id=str(n)) for n, time_ns in enumerate(times(chance))]
        listed = with_attributes(chance, listed, incomplete=0.1, protected=0.1)
        timezone, now_ns = chance.choice(ZONES), moment(chance, [one.time_ns for one in listed])
        expected = proxmox.kept(listed, chosen, now_ns=now_ns, timezone=timezone)
        policy = say("proxmox", chosen, timezone=timezone)
        assert kept(policy, listed, now_ns) == expected, (chosen, now_ns, timezone)
        thinned += 0 < len(expected) < len(listed)
        everything += not any(chosen.values())
    assert thinned >= CASES // 2
    assert everything >= 20


def test_what_proxmox_has_not():
    with pytest.raises(PolicyError, match="keep_within has no meaning for Proxmox"):
        Policy(compat="proxmox", keep_within="2d")
