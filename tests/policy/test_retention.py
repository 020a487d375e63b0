"""Named cases of retention, each with one known answer."""

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapsim.errors import PolicyError
from snapsim.policy import Policy
from snapsim.types import Snapshot
from snapsim.units import DAY, HOUR, MINUTE, SECOND


def snapshot(text, zone="UTC", **more):
    """A snapshot taken at a wall clock time, which is also its id."""
    when = datetime.fromisoformat(text)
    if when.utcoffset() is None:
        when = when.replace(tzinfo=UTC if zone == "UTC" else ZoneInfo(zone))
    return Snapshot(round(when.timestamp()) * SECOND, **{"id": text, **more})


def decide(texts, *, now="2100-01-01T00:00Z", zone="UTC", **rules):
    policy = Policy(schedule="1h", timezone=zone, **rules)
    return policy.decide([snapshot(text, zone) for text in texts], now)


def kept(texts, **more):
    return [decision.snapshot.id for decision in decide(texts, **more) if decision.keep]


# ---------------------------------------- clocks that are changed

FALL_BACK = [
    "2024-10-27T01:30+02:00",
    "2024-10-27T02:30+02:00",
    "2024-10-27T02:30+01:00",
    "2024-10-27T03:30+01:00",
]


def test_hour_that_is_shown_twice_is_one_bucket_in_its_zone():
    assert kept(FALL_BACK, zone="Europe/Berlin", keep_hourly=24) == [FALL_BACK[0], *FALL_BACK[2:]]


def test_hour_that_is_shown_twice_is_two_buckets_in_utc():
    assert kept(FALL_BACK, keep_hourly=24) == FALL_BACK


def test_hour_that_is_skipped_uses_no_count():
    texts = ["2024-03-31T00:30+01:00", "2024-03-31T01:30+01:00", "2024-03-31T03:30+02:00"]
    assert kept(texts, zone="Europe/Berlin", keep_hourly=2) == texts[1:]


def test_day_that_is_left_and_entered_again_keeps_one():
    """In St John's the clock went from 00:01 on the 29th back to 23:01 on the 28th: days 28, 29, 28, 29."""
    texts = [
        "2000-10-28T23:30-02:30",
        "2000-10-29T00:00:30-02:30",
        "2000-10-28T23:30-03:30",
        "2000-10-29T00:30-03:30",
    ]
    assert kept(texts, zone="America/St_Johns", keep_daily=7) == texts[2:]
    # after the third snapshot the 28th is the newest day again, and then it is not
    assert kept(texts[:3], zone="America/St_Johns", keep_daily=7) == texts[1:3]
    assert kept(texts[:3], zone="America/St_Johns", keep_daily=1) == texts[2:3]
    assert kept(texts, zone="America/St_Johns", keep_daily=1) == texts[3:]


def test_days_of_23_and_25_hours_do_not_change_within_1d():
    """A day of a window is 24 hours, whatever the wall clock says."""
    spring = ["2024-03-30T13:00+01:00", "2024-03-31T13:00+02:00"]
    assert kept(spring, zone="Europe/Berlin", keep_within="1d") == spring
    autumn = ["2024-10-26T13:00+02:00", "2024-10-27T13:00+01:00"]
    assert kept(autumn, zone="Europe/Berlin", keep_within="1d") == autumn[1:]


def test_shift_of_half_an_hour():
    """On Lord Howe Island 01:30 to 02:00 comes twice; both belong to the hour from 01:00."""
    texts = [
        "2024-04-07T01:15+11:00",
        "2024-04-07T01:45+11:00",
        "2024-04-07T01:45+10:30",
        "2024-04-07T02:15+10:30",
    ]
    assert kept(texts, zone="Australia/Lord_Howe", keep_hourly=24) == texts[2:]


def test_zone_decides_what_a_day_is():
    texts = ["2024-05-01T20:00Z", "2024-05-01T23:00Z"]
    assert kept(texts, keep_daily=7) == texts[1:]
    assert kept(texts, zone="Europe/Berlin", keep_daily=7) == texts


# ---------------------------------------- calendar edges


@pytest.mark.parametrize(
    ("texts", "weeks"),
    [
        (
            ["2020-12-27", "2020-12-28", "2021-01-03", "2021-01-04"],
            [0, 2, 3],
        ),  # 28 December to 3 January: 2020-W53
        (
            ["2024-12-29", "2024-12-30", "2025-01-05", "2025-01-06"],
            [0, 2, 3],
        ),  # 30 December to 5 January: 2025-W01
        (["2026-01-03", "2026-01-04", "2026-01-05"], [1, 2]),
        (["1969-12-28", "1969-12-29", "1970-01-01", "1970-01-04", "1970-01-05"], [0, 3, 4]),
    ],
)
def test_iso_weeks_at_the_turn_of_the_year(texts, weeks):
    assert kept(texts, keep_weekly=10) == [texts[index] for index in weeks]


def test_week_that_belongs_to_two_months_counts_for_both():
    """Wednesday 31 July and Thursday 1 August 2024: one week, two months."""
    texts = ["2024-07-31", "2024-08-01"]
    assert kept(texts, keep_weekly=4, keep_monthly=4) == texts
    assert kept(texts, keep_weekly=4) == texts[1:]


def test_months_quarters_and_years_start_at_midnight():
    texts = ["2023-12-31T23:59:59", "2024-01-01T00:00:00", "2024-03-31T23:59:59", "2024-04-01T00:00:00"]
    assert kept(texts, keep_monthly=9) == texts
    assert kept(texts, keep_quarterly=9) == [texts[0], texts[2], texts[3]]
    assert kept(texts, keep_yearly=9) == [texts[0], texts[3]]


def test_far_years_and_the_epoch():
    texts = ["1900-01-01T00:00", "1969-12-31T23:59:59", "1970-01-01T00:00", "2099-12-31", "2100-01-01"]
    assert kept(texts, keep_daily="unlimited", now="2200-01-01T00:00Z") == texts
    assert kept(texts, keep_yearly="unlimited", now="2200-01-01T00:00Z") == texts


# ---------------------------------------- windows


@pytest.mark.parametrize("nanoseconds", [-1, 0, 1])
def test_edge_of_a_window_is_outside(nanoseconds):
    policy = Policy(schedule="1h", keep_within="2d")
    pair = [Snapshot(10 * DAY - 2 * DAY + nanoseconds, id="old"), Snapshot(10 * DAY, id="new")]
    assert [decision.keep for decision in policy.decide(pair, 10 * DAY)] == [nanoseconds > 0, True]


def test_windows_end_at_the_newest_snapshot_not_at_now():
    """A machine that was off for a year loses nothing when it comes back."""
    texts = ["2023-01-01", "2023-01-02", "2023-01-03"]
    assert kept(texts, keep_within="36h", now="2024-06-01T00:00Z") == texts[1:]


@pytest.mark.parametrize(
    ("window", "reference", "start"),
    [
        ("1mo", "2023-03-31", "2023-03-03"),  # 31 February
        ("1mo", "2024-03-31", "2024-03-02"),
        ("1mo", "2024-05-31", "2024-05-01"),  # 31 April
        ("1mo", "2024-02-29", "2024-01-29"),
        ("1y", "2024-02-29", "2023-03-01"),
        ("1y2mo", "2024-02-29", "2022-12-29"),
        ("1mo1d", "2024-05-15", "2024-04-14"),
        ("12mo", "2024-01-01", "2023-01-01"),
    ],
)
def test_calendar_windows_run_over_like_dates_do(window, reference, start):
    edge = snapshot(start)
    texts = [Snapshot(edge.time_ns, id="edge"), Snapshot(edge.time_ns + 1, id="inside"), snapshot(reference)]
    decisions = Policy(schedule="1h", keep_within=window).decide(texts, "2100-01-01T00:00Z")
    assert [decision.keep for decision in decisions] == [False, True, True]


def test_calendar_window_follows_the_wall_clock():
    """One month before noon in summer time is noon in winter time."""
    texts = ["2024-03-10T12:00+01:00", "2024-03-10T12:00:01+01:00", "2024-04-10T12:00+02:00"]
    assert kept(texts, zone="Europe/Berlin", keep_within="1mo") == texts[1:]


# ---------------------------------------- the future, ties, counts


def test_snapshots_from_the_future_use_up_counts_and_stay_within():
    texts = ["2024-01-01", "2024-01-02", "2030-01-01", "2030-01-02"]
    now = "2024-01-02T12:00Z"
    assert kept(texts, now=now, keep_daily=2) == texts[2:]
    assert kept(texts, now=now, keep_within="1h") == texts[1:]
    # a snapshot taken this very moment is not in the future
    assert kept(texts, now="2024-01-02T00:00Z", keep_within="1h") == texts[1:]


def test_window_without_any_snapshot_in_the_past_keeps_everything():
    texts = ["2030-01-01", "2031-01-01"]
    assert kept(texts, now="2024-01-01T00:00Z", keep_within="1h") == texts
    assert kept(texts, now="2024-01-01T00:00Z", keep_within="1mo", zone="Europe/Berlin") == texts


def test_of_two_in_the_same_second_the_larger_id_is_the_newer():
    pair = [Snapshot(DAY, id="b"), Snapshot(DAY, id="a")]
    policy = Policy(schedule="1h", keep_daily=3)
    assert [decision.keep for decision in policy.decide(pair, DAY)] == [True, False]
    assert [decision.keep for decision in policy.decide(pair[::-1], DAY)] == [False, True]
    assert [decision.keep for decision in Policy(schedule="1h", keep_last=2).decide(pair, DAY)] == [
        True,
        True,
    ]


def test_a_nanosecond_is_enough_to_be_newer():
    pair = [Snapshot(DAY + 1, id="a"), Snapshot(DAY, id="b")]
    assert [decision.keep for decision in Policy(schedule="1h", keep_hourly=3).decide(pair, DAY)] == [
        True,
        False,
    ]


DAYS = [f"2024-01-{day:02}" for day in range(1, 11)]


@pytest.mark.parametrize(
    ("count", "expected"),
    [(1, DAYS[-1:]), (3, DAYS[-3:]), (10, DAYS), (11, DAYS), (10**30, DAYS), ("unlimited", DAYS)],
)
def test_counts(count, expected):
    assert kept(DAYS, keep_daily=count) == expected
    assert kept(DAYS, keep_last=count) == expected


def test_count_zero_switches_a_rule_off():
    assert kept(DAYS, keep_daily=0, keep_last=2) == DAYS[-2:]


def test_empty_buckets_are_not_counted():
    """Off for half a year: three daily snapshots are those of the last three days that have one."""
    texts = ["2024-01-01", "2024-01-02", "2024-07-01"]
    assert kept(texts, keep_daily=3) == texts


def test_snapshot_that_one_rule_keeps_still_counts_for_the_others():
    """Rules do not know of each other: the newest is the daily, weekly and monthly one."""
    texts = ["2024-01-29", "2024-01-30", "2024-01-31"]
    assert kept(texts, keep_last=1, keep_daily=1, keep_weekly=1, keep_monthly=1) == texts[2:]


def test_the_oldest_is_nothing_special():
    """Unmet counts do not rescue the oldest snapshot (restic from 0.16 on does that)."""
    texts = ["2024-01-01T01:00", "2024-01-01T02:00", "2024-01-02T01:00"]
    assert kept(texts, keep_daily=7) == texts[1:]


def test_nothing_and_a_single_one():
    policy = Policy(schedule="1h", keep_last=1)
    assert policy.decide([], 0) == []
    assert policy.decide([Snapshot(5)], 0)[0].keep


def test_a_hundred_thousand_snapshots():
    """Their number matters in a catalog that nobody pruned; the answer is a closed form."""
    snapshots = [Snapshot(minute * MINUTE, id=f"{minute:06}") for minute in range(100_000)]
    decisions = Policy(schedule="1min", keep_hourly=24, keep_last=60).decide(snapshots, 10**18)
    chosen = [decision.snapshot.time_ns // MINUTE for decision in decisions if decision.keep]
    last = set(range(100_000 - 60, 100_000))
    assert set(chosen) == last | {99_999} | {
        hour * 60 - 1 for hour in range(100_000 // 60, 100_000 // 60 - 23, -1)
    }


# ---------------------------------------- reasons


def reasons(texts, **more):
    return [decision.reasons for decision in decide(texts, **more)]


def test_reasons():
    texts = ["2024-01-02T08:00", "2024-01-03T09:00", "2024-01-03T10:00", "2024-01-04T10:00"]
    assert reasons(texts, keep_last=1, keep_daily=2, keep_weekly="unlimited", keep_within="1d") == [
        ("last: 1 of 1 newer snapshot kept (a count of 4 would keep it)",
         "daily: 2 of 2 newer days kept (a count of 3 would keep it)",
         "weekly: 2024-W01 is represented by 2024-01-04T10:00", "within 1d: 2.08d before the newest"),
        ("last: 1 of 1 newer snapshot kept (a count of 3 would keep it)",
         "daily: 2024-01-03 is represented by 2024-01-03T10:00",
         "weekly: 2024-W01 is represented by 2024-01-04T10:00", "within 1d: 1.04d before the newest"),
        ("daily 2 of 2",),
        ("last 1 of 1", "daily 1 of 2", "weekly 1 of unlimited", "within 1d"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "bucket"),
    [("hourly", "2024-05-06 07h"), ("daily", "2024-05-06"), ("weekly", "2024-W19"), ("monthly", "2024-05"),
     ("quarterly", "2024-Q2"), ("yearly", "2024")],
)  # fmt: skip
def test_buckets_are_named_in_the_policy_s_zone(rule, bucket):
    texts = ["2024-05-06T05:10Z", "2024-05-06T05:20Z"]
    said = reasons(texts, zone="Europe/Berlin", **{f"keep_{rule}": 2})
    assert said == [(f"{rule}: {bucket} is represented by 2024-05-06T05:20Z",), (f"{rule} 1 of 2",)]


def test_reasons_call_snapshots_by_name_id_or_time():
    for newer, called in (
        (Snapshot(2 * SECOND, name="nightly", id="7"), "nightly"),
        (Snapshot(2 * SECOND, id="7"), "7"),
        (Snapshot(2 * SECOND), "1970-01-01T00:00:02Z"),
    ):
        decisions = Policy(schedule="1h", keep_daily=1).decide([Snapshot(SECOND), newer], DAY)
        assert decisions[0].reasons == (f"daily: 1970-01-01 is represented by {called}",)


# ---------------------------------------- laws

scattered = st.lists(st.integers(0, 400 * 24), max_size=60, unique=True)
rules = st.fixed_dictionaries(
    {},
    optional={f"keep_{name}": st.integers(1, 9) for name in ("last", "hourly", "daily", "weekly", "monthly")},
).filter(bool)


def at_hours(hours):
    return [Snapshot(hour * HOUR, id=str(hour)) for hour in hours]


def kept_ids(policy, snapshots):
    return {decision.snapshot.id for decision in policy.decide(snapshots, 400 * DAY) if decision.keep}


@given(scattered, rules, st.randoms(use_true_random=False))
def test_order_of_the_input_does_not_matter(hours, rules, shuffle):
    policy = Policy(schedule="1h", **rules)
    snapshots = at_hours(hours)
    before = {decision.snapshot.id: decision for decision in policy.decide(snapshots, 400 * DAY)}
    shuffle.shuffle(snapshots)
    after = policy.decide(snapshots, 400 * DAY)
    assert [decision.snapshot for decision in after] == snapshots
    assert {decision.snapshot.id: decision for decision in after} == before


@given(scattered, rules)
def test_deciding_twice_changes_nothing(hours, rules):
    policy = Policy(schedule="1h", keep_within="3d", **rules)
    once = kept_ids(policy, at_hours(hours))
    assert kept_ids(policy, [one for one in at_hours(hours) if one.id in once]) == once


@given(scattered, rules, st.data())
def test_raising_a_count_never_lets_a_snapshot_go(hours, rules, data):
    raised = data.draw(st.sampled_from(sorted(rules)))
    more = {**rules, raised: rules[raised] + data.draw(st.integers(1, 5))}
    snapshots = at_hours(hours)
    assert kept_ids(Policy(schedule="1h", **rules), snapshots) <= kept_ids(
        Policy(schedule="1h", **more), snapshots
    )


@given(scattered, rules)
def test_rules_are_or_ed(hours, rules):
    snapshots = at_hours(hours)
    alone = [kept_ids(Policy(schedule="1h", **{key: count}), snapshots) for key, count in rules.items()]
    assert kept_ids(Policy(schedule="1h", **rules), snapshots) == set().union(*alone)


@given(scattered, rules)
def test_every_decision_has_reasons(hours, rules):
    decisions = Policy(schedule="1h", keep_within="1d", **rules).decide(at_hours(hours), 0)
    assert all(decision.reasons for decision in decisions)
    assert not hours or any(decision.keep for decision in decisions)


def test_one_shot_equals_iterated():
    """Pruning after every snapshot for 400 days ends with what one prune of all of them keeps."""
    instants = np.arange(400 * 4) * 6 * HOUR
    policy = Policy(schedule="6h", keep_daily=7, keep_weekly=4, keep_monthly=6)
    timeline = policy.timeline(instants)
    generator = random.Random(1)
    for last in generator.sample(range(instants.size), 40):
        at_once = policy.decide(
            [Snapshot(time_ns) for time_ns in instants[: last + 1].tolist()], int(instants[last])
        )
        chosen = [decision.snapshot.time_ns for decision in at_once if decision.keep]
        assert instants[timeline.kept(last)].tolist() == chosen


# ---------------------------------------- now


def test_now_is_read_in_every_form():
    policy = Policy(schedule="1h", keep_within="1h")
    past, future = Snapshot(DAY), Snapshot(3 * DAY)
    for now in (
        2 * DAY,
        np.int64(2 * DAY),
        "1970-01-03T01:00+01:00",
        "1970-01-03T00:00Z",
        datetime(1970, 1, 3, tzinfo=UTC),
        datetime(1970, 1, 3, 2, tzinfo=ZoneInfo("Africa/Cairo")) + timedelta(0),
    ):
        assert policy.decide([Snapshot(0), past, future], now)[0].keep is False
    assert policy.decide([Snapshot(0), past, future], DAY - 1)[0].keep is True


@pytest.mark.parametrize(
    ("now", "message"),
    [
        (datetime(2024, 1, 1), "now .* has no time zone"),  # noqa: DTZ001 - that is the point
        ("2024-01-01T00:00", "now '2024-01-01T00:00' has no time zone: add one"),
        ("yesterday", "now 'yesterday' cannot be read"),
        (1.5, "now 1.5 is no point in time"),
        (True, "now True is no point in time"),
        (None, "now None is no point in time"),
        (2**63, "now .* is out of range"),
        ("2500-01-01T00:00Z", "now .* is out of range"),
    ],
)
def test_now_without_zone_or_sense_is_refused(now, message):
    with pytest.raises(PolicyError, match=message):
        Policy(schedule="1h", keep_last=1).decide([], now)
