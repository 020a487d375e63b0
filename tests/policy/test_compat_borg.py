"""The presets of borg decide as borg does."""

import random
from itertools import pairwise

import pytest

from snapsim.errors import PolicyError
from snapsim.policy import Policy
from snapsim.types import Snapshot
from tests.differential.oracles import borg
from tests.differential.random_cases import ZONES
from tests.policy.preset_cases import kept, moment, say, times

CASES = 1500
WINDOWS = {"1H": "1h", "12H": "12h", "2d": "2d", "1w": "7d", "1m": "31d", "1y": "365d"}
BUCKETS = {"13weekly": "week13", "3monthly": "quarter"}


def archives(chance):
    return [
        Snapshot(time_ns, id=str(n), tags=frozenset({"@PROT"} if chance.random() < 0.1 else ()),
                 attributes={"incomplete": chance.random() < 0.07})
        for n, time_ns in enumerate(times(chance))
    ]  # fmt: skip


def options(chance):
    chosen = {
        f"keep_{rule}": chance.choice((-7, -1, 0, 1, 2, 3, 7, 1000))
        for rule in borg.KEYS
        if chance.random() < 0.35
    }
    if chance.random() < 0.25:
        chosen["keep_within"] = chance.choice(list(WINDOWS))
    if "keep_secondly" not in chosen and chance.random() < 0.25:
        chosen["keep_last"] = chance.randint(0, 5)
    return chosen


def in_our_words(chosen):
    return {
        key: WINDOWS[value] if key == "keep_within" else "unlimited" if value < 0 else value
        for key, value in chosen.items()
    }


def test_random_options_of_1_2():
    chance = random.Random(20231029)
    thinned = 0
    for _ in range(CASES):
        chosen, listed, timezone = options(chance), archives(chance), chance.choice(ZONES)
        if not any(chosen.values()):
            continue
        now_ns = moment(chance, [one.time_ns for one in listed])
        expected = borg.kept(listed, chosen, now_ns=now_ns, timezone=timezone)
        policy = say("borg-1.2", in_our_words(chosen), timezone=timezone)
        assert kept(policy, listed, now_ns) == expected, (chosen, now_ns, timezone)
        thinned += 0 < len(expected) < len(listed)
    assert thinned >= CASES // 2


def options_2(chance):
    """Return rules, each with a number or an interval; those of intervals get longer."""
    rules = [rule for rule in borg.KEYS_2 if chance.random() < 0.35]
    lengths = sorted(chance.sample(["1H", "12H", "2d", "1w", "1m", "1y"], k=6), key=borg.interval)
    chosen = {}
    for rule in rules:
        if chance.random() < 0.35 and lengths:
            place = chance.randrange(len(lengths))
            chosen[rule], lengths = lengths[place], lengths[place + 1 :]
        else:
            chosen[rule] = chance.choice((-1, 0, 1, 2, 3, 7, 1000))
    return {rule if rule == "keep" else f"keep_{rule}": limit for rule, limit in chosen.items()}


def long_forms(chosen):
    names = {("keep" if rule == "keep" else f"keep_{rule}"): rule for rule in borg.KEYS_2}
    buckets = {"keep": "each", "secondly": "second", "minutely": "minute", "hourly": "hour", "daily": "day",
               "weekly": "week", "monthly": "month", "yearly": "year", **BUCKETS}  # fmt: skip
    rules = []
    for key, rule in names.items():
        limit = chosen.get(key)
        if limit:
            said = (
                {"within": WINDOWS[limit]}
                if isinstance(limit, str)
                else {"count": "unlimited" if limit < 0 else limit}
            )
            rules.append({"name": rule, "bucket": buckets[rule], **said})
    return rules


def short_forms(chosen):
    """Return the same in short, or None where there is no short form."""
    result = {}
    for key, limit in chosen.items():
        name = "keep_last" if key == "keep" else "keep_quarterly" if key == "keep_3monthly" else key
        if isinstance(limit, str):
            name = "keep_within" if key == "keep" else key.replace("keep_", "keep_within_")
            if key in {"keep_secondly", "keep_minutely", "keep_3monthly"}:
                return None
        if key == "keep_13weekly":
            return None
        result[name] = WINDOWS[limit] if isinstance(limit, str) else "unlimited" if limit < 0 else limit
    return result


def sound(chosen):
    limits = [chosen.get("keep" if rule == "keep" else f"keep_{rule}") for rule in borg.KEYS_2]
    limits = [limit for limit in limits if limit]
    return bool(limits) and not any(
        earlier == -1 and isinstance(later, int)
        for place, earlier in enumerate(limits)
        for later in limits[place + 1 :]
    )


def test_random_options_of_2():
    chance = random.Random(13)
    thinned = compared = shorter = 0
    while compared < CASES:
        chosen, listed, timezone = options_2(chance), archives(chance), chance.choice(ZONES)
        if not sound(chosen):
            continue
        listed = [Snapshot(one.time_ns, id=one.id, tags=one.tags) for one in listed]
        now_ns = moment(chance, [one.time_ns for one in listed])
        expected = borg.kept_2(listed, chosen, now_ns=now_ns, timezone=timezone)
        policy = Policy(compat="borg-2", keep=long_forms(chosen), timezone=timezone)
        assert kept(policy, listed, now_ns) == expected, (chosen, now_ns, timezone)
        if (short := short_forms(chosen)) is not None:
            policy = Policy(compat="borg-2", **short, timezone=timezone)
            assert kept(policy, listed, now_ns) == expected, (chosen, now_ns, timezone)
            shorter += 1
        compared += 1
        thinned += 0 < len(expected) < len(listed)
    assert thinned >= CASES // 3
    assert shorter >= CASES // 4


def test_lengths_grow():
    """What the random options above are made of."""
    lengths = [borg.interval(one) for one in WINDOWS]
    assert all(earlier < later for earlier, later in pairwise(lengths))


def test_one_option_of_two_names():
    with pytest.raises(PolicyError, match="keep_last and keep_secondly are one option"):
        Policy(compat="borg-1.2", keep_last=3, keep_secondly=2)


def test_a_number_or_an_interval():
    with pytest.raises(PolicyError, match="keep_daily and keep_within_daily are one option"):
        Policy(compat="borg-2", keep_daily=3, keep_within_daily="2d")
