"""The real btrbk, the restated one, and snapsim's own preset keep the same snapshots."""

import random
from datetime import UTC, datetime

import pytest

from snapsim.policy.translation.common import export_policy, import_policy
from snapsim.types import Snapshot
from tests.differential.btrbk import RealBtrbk, names
from tests.differential.btrfs_mount import btrfs_mount
from tests.differential.oracles.btrbk import UNITS, WEEKDAYS, kept
from tests.differential.oracles.wall import DAY, HOUR, WEEK
from tests.policy.test_compat_btrbk import named
from tests.policy.tool_cases import snapshot, survivors

pytestmark = [pytest.mark.integration, pytest.mark.needs_program("btrbk", "faketime")]

CASES = 60
# In autumn's long day, in spring's short one, at the turn of a year, in a leap February, and on a plain day.
NOWS = ["2024-10-27T03:30", "2024-03-31T09:15", "2024-01-01T00:05", "2024-02-29T23:59", "2025-07-16T12:00"]
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]


def epoch(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def taken(times):
    return [Snapshot(time_ns=time * 10**9) for time in times]


@pytest.fixture(scope="module")
def btrfs(tmp_path_factory):
    with btrfs_mount(tmp_path_factory.mktemp("btrbk")) as point:
        yield point


@pytest.fixture
def folder(btrfs, request):
    place = btrfs / "".join(c if c.isalnum() else "-" for c in request.node.name)
    place.mkdir()
    return place


def case(seed):
    draw = random.Random(seed)
    now = epoch(draw.choice(NOWS)) + draw.randrange(HOUR)
    spans = [(6 * HOUR, 12), (4 * DAY, 16), (6 * WEEK, 16), (500 * DAY, 12), (5 * 365 * DAY, 6)]
    times = {now - draw.randrange(span) for span, count in spans for _ in range(draw.randint(0, count))}
    times |= {now + draw.randrange(3 * DAY) for _ in range(draw.randint(0, 2)) if draw.random() < 0.4}
    if draw.random() < 0.5:  # quarter hours: several in an hour, and the border of hours hit
        times = {time // 900 * 900 for time in times}
    counts = {unit: draw.choice(["0", "1", "2", "3", "5", "*"]) for unit in UNITS if draw.random() < 0.7}
    least = draw.choice(["latest", "latest", *(f"{draw.randint(1, 4)}{unit}" for unit in UNITS[:3])])
    settings = {
        "snapshot_preserve": " ".join(f"{count}{unit}" for unit, count in counts.items()) or "no",
        "snapshot_preserve_min": least,
        "preserve_day_of_week": draw.choice(WEEKDAYS),
        "preserve_hour_of_day": draw.choice([0, 0, 3, 22]),
        "timestamp_format": draw.choice(["long", "long", "long", "short", "long-iso"]),
    }
    times = list(times or {now})
    draw.shuffle(times)
    return taken(times), settings, now * 10**9, draw.choice(ZONES)


def compare(folder, snapshots, settings, now_ns, timezone):
    named = names(snapshots, settings.get("timestamp_format", "long"), timezone)
    expected = {named[index] for index in kept(snapshots, settings, now_ns=now_ns, timezone=timezone)}
    assert RealBtrbk(folder).prune(snapshots, settings, now_ns, timezone) == expected
    return expected


@pytest.mark.parametrize("seed", range(CASES))
def test_the_real_program_keeps_what_is_restated(folder, seed):
    compare(folder, *case(seed))


@pytest.mark.parametrize("seed", range(100, 124))
def test_the_real_program_keeps_what_the_policy_keeps_that_it_was_written_from(folder, seed):
    snapshots, settings, now_ns, timezone = case(seed)
    form = settings["timestamp_format"]
    text = "".join(f"{key} {value}\n" for key, value in settings.items())
    policy = import_policy(text, "btrbk", timezone=timezone).policy
    written = dict(line.split(maxsplit=1) for line in export_policy(policy, "btrbk").splitlines())
    snapshots.sort(key=lambda one: one.time_ns)
    left = RealBtrbk(folder).prune(snapshots, {**written, "timestamp_format": form}, now_ns, timezone)
    told = [snapshot(n, named(one.time_ns // 10**9, form, timezone)) for n, one in enumerate(snapshots)]
    name_of = names(snapshots, form, timezone)
    assert {name_of[index] for index in survivors(policy, told, now_ns // 10**9)} == left


def test_cases_delete_and_keep():
    """The cases are worth comparing: most delete something and keep something of their own."""
    shares = []
    for seed in range(CASES):
        snapshots, settings, now_ns, timezone = case(seed)
        shares.append(len(kept(snapshots, settings, now_ns=now_ns, timezone=timezone)) / len(snapshots))
    assert sum(0.1 < share < 0.9 for share in shares) > 0.7 * CASES


def test_two_days_are_three_and_empty_ones_count(folder):
    now = epoch("2024-05-15T12:00")
    settings = {"snapshot_preserve": "2d", "snapshot_preserve_min": "latest"}
    days = taken(now - n * DAY for n in (0, 2, 3, 4))
    assert compare(folder, days, settings, now * 10**9, "UTC") == {"work.20240515T1200", "work.20240513T1200"}


def test_nothing_is_deleted_unless_the_minimum_is_said(folder):
    now = epoch("2024-05-15T12:00")
    days = taken(now - n * DAY for n in range(9))
    assert len(compare(folder, days, {"snapshot_preserve": "2d"}, now * 10**9, "UTC")) == 9


def test_with_weeks_from_sunday_the_first_of_january_is_of_december(folder):
    now = epoch("2024-01-20T12:00")
    settings = {"snapshot_preserve": "1m 0y", "snapshot_preserve_min": "latest"}
    days = taken(epoch(f"{day}T06:00") for day in ("2023-12-03", "2024-01-01", "2024-01-07", "2024-01-19"))
    # The 1st is a second one of December, so December's is the 3rd; January begins with Sunday the 7th.
    expected = {"work.20231203T0600", "work.20240107T0600", "work.20240119T0600"}
    assert compare(folder, days, settings, now * 10**9, "UTC") == expected


def test_one_from_the_future_is_kept_and_is_the_latest(folder):
    now = epoch("2024-05-15T12:00")
    settings = {"snapshot_preserve": "no", "snapshot_preserve_min": "latest"}
    stamps = taken([now - DAY, now - HOUR, now + 2 * HOUR])
    assert compare(folder, stamps, settings, now * 10**9, "UTC") == {"work.20240515T1400"}
