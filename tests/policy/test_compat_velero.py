"""The preset of Velero decides as Velero does."""

import random

import pytest

from snapsim.errors import PolicyError
from snapsim.policy import Policy
from snapsim.types import Snapshot
from tests.differential.oracles import velero
from tests.policy.preset_cases import kept, moment, times

CASES = 1500


def test_random_lives():
    chance = random.Random(720)
    thinned = edges = 0
    for _ in range(CASES):
        ttl = chance.choice(("1h0m0s", "24h0m0s", "168h", "720h0m0s", "36h30m", "8760h0m0s", ""))
        listed = [Snapshot(time_ns, id=str(n)) for n, time_ns in enumerate(times(chance))]
        now_ns = moment(chance, [one.time_ns for one in listed])
        if listed and chance.random() < 0.3:  # one is exactly as old as it may become
            now_ns = chance.choice(listed).time_ns + velero.duration(ttl or "720h")
            edges += 1
        expected = velero.kept(listed, {"ttl": ttl}, now_ns=now_ns, timezone="UTC")
        said = {"expire": {"ttl": velero.duration(ttl)}}
        policy = Policy(compat="velero", **(said if ttl else {}))
        assert kept(policy, listed, now_ns) == expected, (ttl, now_ns)
        thinned += 0 < len(expected) < len(listed)
    assert thinned >= CASES // 4
    assert edges >= CASES // 6


def test_what_velero_has_not():
    with pytest.raises(PolicyError, match="keep_daily has no meaning for Velero"):
        Policy(compat="velero", keep_daily=3)
