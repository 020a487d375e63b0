"""The real snapper, the restated one, and snapsim's own preset keep the same snapshots."""

import random
from datetime import UTC, datetime

import pytest

from snapsim.policy.translation.common import export_policy, import_policy
from snapsim.types import Snapshot
from tests.differential.btrfs_mount import btrfs_mount
from tests.differential.oracles.snapper import kept
from tests.differential.oracles.wall import DAY, HOUR, WEEK
from tests.differential.snapper import RealSnapper
from tests.policy.tool_cases import survivors

pytestmark = [pytest.mark.integration, pytest.mark.needs_program("snapper", "faketime")]

CASES = 60
NOWS = ["2024-10-27T03:30", "2024-03-31T09:15", "2025-01-02T00:05", "2024-02-29T23:59", "2001-01-07T12:00"]
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]
RULES = ["HOURLY", "DAILY", "WEEKLY", "MONTHLY", "YEARLY"]


def epoch(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def snapshot(number, time, cleanup="timeline", **attributes):
    said = {"number": number, "cleanup": cleanup, **attributes}
    return Snapshot(time_ns=time * 10**9, name=str(number), id=str(number), attributes=said)


@pytest.fixture(scope="module")
def btrfs(tmp_path_factory):
    with btrfs_mount(tmp_path_factory.mktemp("snapper")) as point:
        yield point


@pytest.fixture
def folder(btrfs, request):
    place = btrfs / "".join(c if c.isalnum() else "-" for c in request.node.name)
    place.mkdir()
    return place


def limits(draw):
    """Draw limits, in some cases ranges; FREE_LIMIT is met always or never."""
    ranges = draw.random() < 0.3

    def bound():
        low, high = sorted(draw.sample(range(7), k=2))
        return f"{low}-{high}" if ranges and draw.random() < 0.5 else str(high if draw.random() < 0.8 else 0)

    settings = {f"TIMELINE_LIMIT_{rule}": bound() for rule in RULES}
    settings |= {"NUMBER_LIMIT": bound(), "NUMBER_LIMIT_IMPORTANT": bound()}
    settings |= {f"{name}_MIN_AGE": draw.choice([0, 1800, 5 * HOUR]) for name in ("NUMBER", "TIMELINE")}
    short = draw.random() < 0.6
    return settings | {
        "FREE_LIMIT": "0.9999" if short else "0.0",
        "free_satisfied": (lambda _: False) if short else None,
    }


def case(seed):
    draw = random.Random(seed)
    now = epoch(draw.choice(NOWS)) + draw.randrange(HOUR)
    spans = [(6 * HOUR, 8), (4 * DAY, 12), (6 * WEEK, 12), (500 * DAY, 8), (4 * 365 * DAY, 4)]
    times = [now - draw.randrange(span) for span, count in spans for _ in range(draw.randint(1, count))]
    times += [
        now - 1800,
        now - 5 * HOUR,
        now + draw.randrange(2 * DAY),
    ]  # the minimum age itself, and the future
    if draw.random() < 0.5:  # half hours: the same second twice, and the border of buckets hit
        times = [time // 1800 * 1800 for time in times]
    times.sort()
    if draw.random() < 0.3:  # a clock that was set
        turn = draw.randrange(len(times))
        times = times[turn:] + times[:turn]
    numbers = sorted(draw.sample(range(1, 200), k=len(times)))
    snapshots, pre = [], None
    for number, time in zip(numbers, times, strict=True):
        said = {"cleanup": draw.choice(["timeline", "timeline", "number", "number", ""])}
        if said["cleanup"] == "number":
            said["important"] = draw.random() < 0.3
            if pre is not None:
                said |= {"pair": str(pre), "pair_role": "post"}
                pre = None
            elif draw.random() < 0.3:
                pre = number
        snapshots.append(snapshot(number, time, **said))
    return paired(snapshots, draw), limits(draw), now * 10**9, draw.choice(ZONES)


def paired(snapshots, draw):
    """Tell the pre half of its post half; in some pairs the halves are cleaned up by different algorithms."""
    post_of = {s.attributes["pair"]: s.id for s in snapshots if "pair" in s.attributes}
    whole = []
    for one in snapshots:
        said = dict(one.attributes)
        if one.id in post_of:
            said |= {"pair": post_of[one.id], "pair_role": "pre"}
            if draw.random() < 0.2:
                said["cleanup"] = draw.choice(["timeline", ""])
        whole.append(snapshot(said.pop("number"), one.time_ns // 10**9, **said))
    draw.shuffle(whole)
    return whole


def compare(folder, snapshots, settings, now_ns, timezone):
    keep = kept(snapshots, settings, now_ns=now_ns, timezone=timezone)
    expected = {snapshots[index].attributes["number"] for index in keep}
    assert RealSnapper(folder).prune(snapshots, settings, now_ns, timezone) == expected
    return expected


@pytest.mark.parametrize("seed", range(CASES))
def test_the_real_program_keeps_what_is_restated(folder, seed):
    compare(folder, *case(seed))


PLAIN = [seed for seed in range(100, 160) if not any("-" in str(value) for value in case(seed)[1].values())][
    :24
]


@pytest.mark.parametrize("seed", PLAIN)
def test_the_real_program_keeps_what_the_policy_keeps_that_it_was_written_from(folder, seed):
    snapshots, settings, now_ns, timezone = case(seed)
    text = "".join(f'{key}="{value}"\n' for key, value in settings.items() if key.isupper())
    policy = import_policy(text, "snapper", timezone=timezone).policy
    written = dict(line.replace('"', "").split("=") for line in export_policy(policy, "snapper").splitlines())
    left = RealSnapper(folder).prune(snapshots, written, now_ns, timezone)
    ours = {snapshots[index].attributes["number"] for index in survivors(policy, snapshots, now_ns // 10**9)}
    assert ours == left


def test_cases_delete_and_keep():
    """The cases are worth comparing: most delete something and keep something of their own."""
    shares = []
    for seed in range(CASES):
        snapshots, settings, now_ns, timezone = case(seed)
        shares.append(len(kept(snapshots, settings, now_ns=now_ns, timezone=timezone)) / len(snapshots))
    assert sum(0.1 < share < 0.9 for share in shares) > 0.7 * CASES


NOW = epoch("2024-05-15T12:00")
NONE = {f"TIMELINE_LIMIT_{rule}": "0" for rule in RULES} | {"TIMELINE_MIN_AGE": 0, "NUMBER_MIN_AGE": 0}


def test_the_first_of_a_day_is_kept_and_the_newest_goes(folder):
    today = [snapshot(n, NOW - (4 - n) * HOUR) for n in (1, 2, 3)]
    assert compare(folder, today, NONE | {"TIMELINE_LIMIT_DAILY": "1"}, NOW * 10**9, "UTC") == {1}


def test_newest_is_the_highest_number(folder):
    set_back = [snapshot(n, NOW - (n % 3 + 1) * DAY, "number") for n in (1, 2, 3)]
    assert compare(folder, set_back, NONE | {"NUMBER_LIMIT": "1"}, NOW * 10**9, "UTC") == {3}


def test_twins_of_one_second_use_two_of_the_count(folder):
    twins = [snapshot(1, NOW - 3 * DAY), snapshot(2, NOW - 2 * DAY), snapshot(3, NOW - 2 * DAY)]
    assert compare(folder, twins, NONE | {"TIMELINE_LIMIT_DAILY": "2"}, NOW * 10**9, "UTC") == {2, 3}


def test_a_kept_post_keeps_its_pre(folder):
    pair = [
        snapshot(1, NOW - 3 * DAY, "number", pair="2", pair_role="pre"),
        snapshot(2, NOW - 2 * DAY, "number", pair="1", pair_role="post"),
        snapshot(3, NOW - 2 * DAY, "number"),
    ]
    settings = NONE | {"NUMBER_LIMIT": "2", "NUMBER_LIMIT_IMPORTANT": "0"}
    assert compare(folder, pair, settings, NOW * 10**9, "UTC") == {1, 2, 3}


def test_important_ones_use_up_the_plain_limit_too(folder):
    four = [snapshot(n, NOW - (9 - n) * DAY, "number", important=n > 2) for n in (1, 2, 3, 4)]
    settings = NONE | {"NUMBER_LIMIT": "2", "NUMBER_LIMIT_IMPORTANT": "2"}
    assert compare(folder, four, settings, NOW * 10**9, "UTC") == {3, 4}


@pytest.mark.parametrize(("limit", "left"), [("10", 10), ("2-10", 2)])
def test_only_a_range_looks_at_space(folder, limit, left):
    many = [snapshot(n, NOW - (20 - n) * DAY, "number") for n in range(1, 15)]
    settings = NONE | {"NUMBER_LIMIT": limit, "FREE_LIMIT": "0.9999", "free_satisfied": lambda _: False}
    assert len(compare(folder, many, settings, NOW * 10**9, "UTC")) == left


@pytest.mark.parametrize(("younger", "left"), [(1, {1, 2}), (0, {2})])
def test_the_minimum_age_itself_may_go(folder, younger, left):
    two = [snapshot(1, NOW - 1800 + younger, "number"), snapshot(2, NOW - 60, "number")]
    settings = NONE | {"NUMBER_LIMIT": "1", "NUMBER_MIN_AGE": 1800}
    assert compare(folder, two, settings, NOW * 10**9, "UTC") == left


def test_the_hour_shown_twice_is_one(folder):
    night = [snapshot(1, epoch("2024-10-27T00:30")), snapshot(2, epoch("2024-10-27T01:30"))]  # 02:30 both
    settings = NONE | {"TIMELINE_LIMIT_HOURLY": "9"}
    assert compare(folder, night, settings, NOW * 10**9 + 2 * 10**16, "Europe/Berlin") == {1}


def test_a_week_crosses_the_turn_of_the_year(folder):
    days = ["2024-12-29", "2024-12-30", "2025-01-05", "2025-01-06"]  # Sunday, Monday, Sunday, Monday
    week = [snapshot(n, epoch(f"{day}T12:00")) for n, day in enumerate(days, 1)]
    settings = NONE | {"TIMELINE_LIMIT_WEEKLY": "9"}
    assert compare(folder, week, settings, epoch("2025-02-01T00:00") * 10**9, "UTC") == {1, 2, 4}


def test_the_default_subvolume_is_never_deleted(folder):
    three = [snapshot(n, NOW - (9 - n) * DAY, "number", in_use=n == 1) for n in (1, 2, 3)]
    settings = NONE | {"NUMBER_LIMIT": "1", "NUMBER_LIMIT_IMPORTANT": "0"}
    assert compare(folder, three, settings, NOW * 10**9, "UTC") == {1, 3}
