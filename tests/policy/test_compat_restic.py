"""The presets of restic decide as restic does."""

import random
from functools import partial

import pytest

from snapsim.errors import PolicyError
from snapsim.policy import Policy
from snapsim.types import Snapshot
from tests.differential.oracles import restic
from tests.differential.random_cases import DAY, HOUR, snapshots
from tests.policy.preset_cases import FAR, kept, moment, say

CASES = 1500
WINDOWS = {"1h": "1h", "26h": "26h", "1d": "1d", "7d": "7d", "1m": "1mo", "2m3d": "2mo3d", "1y": "1y",
           "1y5m7d2h": "1y5mo7d2h"}  # fmt: skip
ORACLES = {"restic": restic.kept, "restic-0.14": restic.kept_0_14}


def settings(chance, counts):
    """Return random options of `restic forget`."""
    chosen = {f"keep_{rule}": chance.choice(counts) for rule in restic.KEYS if chance.random() < 0.35}
    for rule in ("", "_hourly", "_daily", "_weekly", "_monthly", "_yearly"):
        if chance.random() < 0.2:
            chosen[f"keep_within{rule}"] = chance.choice(list(WINDOWS))
    if chance.random() < 0.3:
        chosen["keep_tag"] = chance.sample(
            [["a"], ["a", "b"], ["typo"], [""], ["release"]], k=chance.randint(1, 2)
        )
    return chosen


def in_our_words(chosen):
    return {
        key: [[tag for tag in tags if tag] for tags in value]
        if key == "keep_tag"
        else WINDOWS[value]
        if key.startswith("keep_within")
        else value
        for key, value in chosen.items()
    }


def history(chance):
    result = snapshots(chance)
    if chance.random() < 0.15:
        result += [Snapshot(FAR + n * HOUR, id=f"future {n}") for n in range(chance.randint(1, 2))]
    return result


@pytest.mark.parametrize("tool", ORACLES)
def test_random_options(tool):
    chance = random.Random(20240331)
    counts = (0, 1, 2, 3, 7, 1000) + (("unlimited",) if tool == "restic" else ())
    thinned = 0
    for _ in range(CASES):
        chosen, listed = settings(chance, counts), history(chance)
        now_ns = moment(chance, [one.time_ns for one in listed])
        # restic looks at its clock after the snapshots were listed: what is dated now is not the future
        expected = ORACLES[tool](listed, chosen, now_ns=now_ns + 1, timezone="UTC")
        if not (any(chosen.values()) or chosen.get("keep_tag")):
            assert len(expected) == len(listed)  # restic does nothing, and such a policy is refused here
            with pytest.raises(PolicyError, match="keeps nothing"):
                say(tool, chosen)
            continue
        policy = say(tool, in_our_words(chosen))
        assert kept(policy, listed, now_ns) == expected, (chosen, now_ns)
        thinned += 0 < len(expected) < len(listed)
    assert thinned >= CASES // 2


DAYS = [Snapshot(1_700_000_000_000_000_000 + n * DAY, id=str(n)) for n in range(5)]


def test_the_last_one_of_a_group_is_not_deleted_any_more():
    decide = partial(kept, snapshots=DAYS, now_ns=DAYS[-1].time_ns)
    assert decide(Policy(compat="restic", keep_tag=[["typo"]])) == set(range(5))
    assert decide(Policy(compat="restic-0.14", keep_tag=[["typo"]])) == set()


def test_only_the_future_is_no_reference_and_every_window_is_open():
    future = [Snapshot(FAR + n * DAY, id=str(n)) for n in range(3)]
    policy = Policy(compat="restic", keep_within="1d")
    assert kept(policy, future, DAYS[0].time_ns) == {0, 1, 2}
    assert restic.kept(future, {"keep_within": "1d"}, now_ns=DAYS[0].time_ns, timezone="UTC") == {0, 1, 2}


@pytest.mark.parametrize("key", ["keep_secondly", "keep_minutely", "keep_quarterly"])
def test_what_restic_has_not(key):
    with pytest.raises(PolicyError, match=rf"{key} has no meaning for restic"):
        Policy(compat="restic", **{key: 3})
