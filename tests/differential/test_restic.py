"""The real restic against its restatement, and against the preset."""

import random
import time
from datetime import datetime

import pytest

from snapsim.policy import Policy
from snapsim.types import Snapshot
from tests.differential.forged_restic import RealRestic
from tests.differential.oracles import restic
from tests.differential.random_cases import DAY, HOUR, SECOND, ZONES, offset_s, snapshots

pytestmark = [pytest.mark.integration, pytest.mark.needs_program("restic")]

POLICIES, SCENARIOS = 26, 40
FUTURE = 4_102_444_800 * 1_000_000_000  # 2100-01-01


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    return RealRestic(tmp_path_factory.mktemp("restic"))


def settings(chance):
    """Return random options of `restic forget`."""
    chosen = {
        f"keep_{rule}": chance.choice((-1, 0, 1, 2, 3, 7, 1000))
        for rule in restic.KEYS
        if chance.random() < 0.35
    }
    for rule in ("", "_hourly", "_daily", "_weekly", "_monthly", "_yearly"):
        if chance.random() < 0.2:
            chosen[f"keep_within{rule}"] = chance.choice(
                ("1h", "26h", "1d", "7d", "1m", "2m3d", "1y", "1d1d", "1y5m7d2h")
            )
    if chance.random() < 0.3:
        chosen["keep_tag"] = chance.sample(
            [["a"], ["a", "b"], ["typo"], [""], ["release"]], k=chance.randint(1, 2)
        )
    return chosen


def arguments(chosen):
    """Return the same as command-line arguments."""
    result = []
    for key, value in chosen.items():
        values = [",".join(tags) for tags in value] if key == "keep_tag" else [value]
        result += [f"--{key.replace('_', '-')}={value}" for value in values]
    return result


def history(chance):
    """Return random snapshots; sometimes one of them is dated far ahead."""
    result = snapshots(chance)
    if chance.random() < 0.15:
        result += [Snapshot(FUTURE + n * HOUR, id=f"future {n}") for n in range(chance.randint(1, 2))]
    return result


def kept_ids(history, chosen, timezone, oracle=restic.kept_0_14):
    indices = oracle(history, chosen, now_ns=time.time_ns(), timezone=timezone)
    return {history[i].id for i in indices}


def test_random_policies_keep_what_restic_keeps(real):
    chance = random.Random(20240331)
    compared = thinned = 0
    for _ in range(POLICIES):
        chosen, timezone = settings(chance), chance.choice(ZONES)
        scenarios = {f"host-{n}": history(chance) for n in range(SCENARIOS)}
        answers = real.forget(scenarios, arguments(chosen), timezone)
        for name, listed in scenarios.items():
            assert kept_ids(listed, chosen, timezone) == answers[name], (chosen, timezone, name)
            compared += 1
            thinned += 0 < len(answers[name]) < len(listed)
    assert compared >= 1000
    assert thinned >= 500  # neither everything nor nothing stays: the cases decide something


OURS = {"1m": "1mo", "2m3d": "2mo3d", "1d1d": "1d", "1y5m7d2h": "1y5mo7d2h"}


def preset(chosen):
    """Return the same as a policy, or None where restic is given nothing to do."""
    said = {}
    for key, value in chosen.items():
        if key == "keep_tag":
            said[key] = [[tag for tag in tags if tag] for tags in value]
        elif key.startswith("keep_within"):
            said[key] = OURS.get(value, value)
        elif value != 0:
            said[key] = max(value, 0)  # of 0.14: less than none is none, but it is a policy
    if not said:
        return None
    if not any(said.values()):  # such a one is refused here; restic deletes everything
        said = {"keep_tag": [["what no snapshot has"]]}
    return Policy(compat="restic-0.14", **said)


def test_the_preset_keeps_what_restic_keeps(real):
    """In UTC: elsewhere windows of the calendar depend on where restic runs, as the test below shows."""
    chance = random.Random(16)
    compared = thinned = 0
    while compared < POLICIES * SCENARIOS:
        chosen = settings(chance)
        policy = preset(chosen)
        if policy is None:
            continue
        scenarios = {f"host-{n}": history(chance) for n in range(SCENARIOS)}
        answers = real.forget(scenarios, arguments(chosen))
        now_ns = time.time_ns()
        for name, listed in scenarios.items():
            kept = {one.snapshot.id for one in policy.decide(listed, now_ns) if one.keep}
            assert kept == answers[name], (chosen, name)
            compared += 1
            thinned += 0 < len(kept) < len(listed)
    assert thinned >= 500


@pytest.mark.parametrize(
    ("chosen", "count"),
    [
        ({"keep_daily": -1}, 0),  # 0.14 reads "unlimited" of borg as "none"
        ({"keep_tag": [["typo"]]}, 0),
        ({"keep_daily": 0}, 5),  # no policy: nothing is done
        ({"keep_within": "2d"}, 2),  # open at its edge
        ({"keep_daily": 2, "keep_last": 3}, 3),
    ],
)
def test_what_surprises(real, chosen, count):
    days = [Snapshot(1_700_000_000_000_000_000 + n * DAY, id=str(n)) for n in range(5)]
    answers = real.forget({"host": days}, arguments(chosen))
    assert answers["host"] == kept_ids(days, chosen, "UTC")
    assert len(answers["host"]) == count


def at(text, zone_offset_s):
    moment = datetime.fromisoformat(text)
    return Snapshot(int(moment.timestamp()) * SECOND, id=text, attributes={"utc_offset_s": zone_offset_s})


def test_the_zone_of_the_process_matters_only_to_calendar_windows(real):
    """Go takes a written offset for the local zone where it can, and knows that this zone's day has 23 hours.

    A day before April 1, 00:00+02:00 is March 31, 00:00: +02:00 for one who knows the offset only, and
    +01:00 for one who knows Berlin.
    """
    host = [at("2024-03-30T22:30Z", 3600), at("2024-03-31T22:00Z", 7200)]
    for timezone, count in (("UTC", 2), ("Europe/Berlin", 1)):
        answers = real.forget({"host": host}, ["--keep-within=1d"], timezone)
        assert answers["host"] == kept_ids(host, {"keep_within": "1d"}, timezone)
        assert len(answers["host"]) == count


NIGHTS = {  # when clocks change
    "Europe/Berlin": ("2024-03-31T01:00Z", "2024-10-27T01:00Z"),
    "Europe/London": ("2024-03-31T01:00Z", "2024-10-27T01:00Z"),
    "America/New_York": ("2024-03-10T07:00Z", "2024-11-03T06:00Z"),
    "Australia/Lord_Howe": ("2024-04-06T15:00Z", "2024-10-05T15:30Z"),
}


@pytest.mark.parametrize("timezone", NIGHTS)
def test_windows_that_start_in_a_night_when_clocks_change(real, timezone):
    """A window of whole days starts at an hour that the local clock shows twice, or never."""
    scenarios = {}
    for night in NIGHTS[timezone]:
        change = at(night, 0).time_ns
        for shift in range(-15, 16):
            newest = change + 3 * DAY + shift * HOUR // 3
            instants = [newest, *(change + step * HOUR // 6 for step in range(-48, 49))]
            scenarios[f"{night} {shift}"] = [
                Snapshot(t, id=str(t), attributes={"utc_offset_s": offset_s(t, timezone)}) for t in instants
            ]
    answers = real.forget(scenarios, ["--keep-within=3d"], timezone)
    for name, listed in scenarios.items():
        assert kept_ids(listed, {"keep_within": "3d"}, timezone) == answers[name], name
    assert len({len(kept) for kept in answers.values()}) > 10
