"""Edge cases of retention, each with its one known answer, in the numbering of the catalogue of cases.

1 clocks put back, 2 clocks put forward and other zones, 3 weeks, 4 months, 5 edges of windows, 6 ties,
7 order and the future, 8 counts, 9 the oldest, 10 empty buckets, 11 interplay of rules, 12 tags and groups,
13 pins and pairs, 14 space, 15 iteration, 16 names and schedules, 17 far times and many snapshots.
"""

import random
from datetime import datetime
from itertools import permutations

import numpy as np
import pytest

from snapsim.errors import PolicyError
from snapsim.policy import Policy
from snapsim.policy.due import due
from snapsim.policy.name_templates import NameTemplate
from snapsim.policy.naming import SnapshotName, format_name, parse_name
from snapsim.policy.schedule import Schedule
from snapsim.policy.space import Usage
from snapsim.types import Snapshot
from snapsim.units import DAY, HOUR, MINUTE, SECOND

NEW_YORK = "America/New_York"
LATER = "2100-01-01T00:00Z"


def at(text):
    """Nanoseconds of a time with its offset; UTC where it has none."""
    when = datetime.fromisoformat(text)
    if when.utcoffset() is None:
        when = datetime.fromisoformat(text + "+00:00")
    return round(when.timestamp()) * SECOND


def snapshot(text, **more):
    """A snapshot called by its time, which it also recorded with its offset."""
    away = datetime.fromisoformat(text).utcoffset()
    attributes = {
        "cleanup": "timeline",
        "utc_offset_s": 0 if away is None else round(away.total_seconds()),
        **more.pop("attributes", {}),
    }
    return Snapshot(at(text), **{"id": text, **more}, attributes=attributes)


def kept(texts, *, now=LATER, pool=None, **rules):
    """Ids of what stays."""
    snapshots = [one if isinstance(one, Snapshot) else snapshot(one) for one in texts]
    decisions = Policy(**rules).decide(snapshots, now, pool=pool)
    return [decision.snapshot.id for decision in decisions if decision.keep]


def days(first, n, step=DAY):
    """Noons (or other times) one after the other."""
    return [f"{np.datetime64(at(first) + place * step, 'ns').astype('datetime64[s]')}" for place in range(n)]


# ---------------------------------------- 1: the hour that comes twice

FALL = ["2024-11-03T00:30-04:00", "2024-11-03T01:30-04:00", "2024-11-03T01:30-05:00"]


def test_4_01_hour_shown_twice_restic_merges_by_recorded_offset():
    assert kept(FALL, compat="restic-0.14", keep_hourly=5) == [FALL[0], FALL[2]]
    assert kept(FALL, compat="restic", keep_hourly=2) == [FALL[0], FALL[2]]


def test_4_01_hour_shown_twice_borg_and_snapper_merge_in_their_zone():
    assert kept(FALL, compat="borg-1.2", timezone=NEW_YORK, keep_hourly=2) == [FALL[0], FALL[2]]
    numbered = [
        snapshot(text, attributes={"number": place, "cleanup": "timeline"}) for place, text in enumerate(FALL)
    ]
    assert kept(numbered, compat="snapper", timezone=NEW_YORK, keep_hourly=2) == FALL[:2]  # the oldest of it


def test_4_01_hour_shown_twice_utc_does_not_merge():
    assert kept(FALL, compat="borg-1.2", timezone="UTC", keep_hourly=2) == FALL[1:]
    assert kept(FALL, keep_hourly=3) == FALL


def test_4_01_minutes_come_again_as_a_b_a():
    texts = ["2024-11-03T01:30-04:00", "2024-11-03T01:31-04:00", "2024-11-03T01:30-05:00"]
    assert kept(texts, timezone=NEW_YORK, keep_minutely=9) == texts[1:]
    assert kept(texts, timezone=NEW_YORK, keep_minutely=9, adjacency="run") == texts
    assert kept(texts, timezone=NEW_YORK, keep_minutely=2, adjacency="run") == texts[1:]


# ---------------------------------------- 2: the hour that never comes, and other zones


def test_4_02_spring_gap_is_no_bucket():
    texts = ["2024-03-31T00:30+01:00", "2024-03-31T01:30+01:00", "2024-03-31T03:30+02:00"]
    assert kept(texts, timezone="Europe/Berlin", keep_hourly=3) == texts
    assert kept(texts, timezone="Europe/Berlin", keep_hourly=2) == texts[1:]


def test_4_02_a_day_of_a_window_is_24_hours():
    spring = ["2024-03-30T13:00+01:00", "2024-03-31T13:00+02:00"]  # 23 hours apart
    autumn = ["2024-10-26T13:00+02:00", "2024-10-27T13:00+01:00"]  # 25
    for texts, wanted in ((spring, spring), (autumn, autumn[1:])):
        assert kept(texts, timezone="Europe/Berlin", keep_within="1d") == wanted
        assert kept(texts, compat="restic-0.14", keep_within="1d") == wanted


def test_4_02_days_of_23_and_25_hours_are_one_bucket():
    spring = ["2024-03-31T00:00+01:00", "2024-03-31T23:59+02:00"]
    autumn = ["2024-10-27T00:00+02:00", "2024-10-27T23:59+01:00"]
    for texts in (spring, autumn):
        assert kept(texts, timezone="Europe/Berlin", keep_daily=5) == texts[1:]


def test_4_02_lord_howe_shifts_by_half_an_hour():
    texts = [f"2024-04-07T{clock}" for clock in ("01:15+11:00", "01:45+11:00", "01:45+10:30", "02:15+10:30")]
    assert kept(texts, timezone="Australia/Lord_Howe", keep_hourly=9) == texts[2:]
    assert kept(texts, timezone="UTC", keep_hourly=9) == texts[1::2]  # 14:15, 14:45, 15:15, 15:45


def test_4_02_zone_without_daylight_saving():
    texts = ["2024-03-30T18:29Z", "2024-03-30T18:30Z"]  # midnight in India
    assert kept(texts, timezone="Asia/Kolkata", keep_daily=2) == texts
    assert kept(texts, timezone="UTC", keep_daily=2) == texts[1:]


def test_4_02_host_changes_its_zone_between_runs():
    """Recorded offsets decide the same wherever restic runs; a local zone moves the borders of days."""
    texts = ["2024-05-01T20:00+02:00", "2024-05-01T23:30+02:00"]
    assert kept(texts, compat="restic-0.14", keep_daily=5) == texts[1:]
    assert kept(texts, compat="gfs", timezone="Europe/Berlin", keep_daily=5) == texts[1:]
    assert kept(texts, compat="gfs", timezone="Europe/Helsinki", keep_daily=5) == texts
    moved = ["2024-05-01T22:00+02:00", "2024-05-01T20:30-04:00"]  # taken in Berlin, then in New York
    assert kept(moved, compat="restic-0.14", keep_daily=5) == moved[1:]
    assert kept(moved, compat="gfs", timezone="UTC", keep_daily=5) == moved


# ---------------------------------------- 3: weeks


@pytest.mark.parametrize(
    ("texts", "wanted"),
    [
        (["2020-12-27", "2020-12-28", "2021-01-03", "2021-01-04"], [0, 2, 3]),  # 2020-W53
        (["2024-12-29", "2024-12-30", "2025-01-05", "2025-01-06"], [0, 2, 3]),  # 2025-W01
        (["2025-12-28", "2025-12-29", "2026-01-04", "2026-01-05"], [0, 2, 3]),  # 2026-W01
    ],
)
@pytest.mark.parametrize("tool", ["snapsim", "restic-0.14", "proxmox", "kopia", "gfs"])
def test_4_03_iso_weeks_at_the_turn_of_the_year(texts, wanted, tool):
    assert kept(texts, compat=tool, keep_weekly=3) == [texts[place] for place in wanted]


def test_4_03_week_across_two_months_is_owned_by_weekly_under_claim():
    """Wednesday 31 January and Thursday 1 February 2024 share a week; January has no other left."""
    texts = ["2024-01-31", "2024-02-01"]
    assert kept(texts, compat="proxmox", keep_weekly=1, keep_monthly=2) == texts[1:]
    assert kept(texts, keep_weekly=1, keep_monthly=2) == texts


def test_4_03_weeks_that_start_on_sunday():
    texts = ["2024-06-01", "2024-06-02", "2024-06-03"]  # Saturday, Sunday, Monday
    assert kept(texts, keep_weekly=5) == texts[1:]
    assert kept(texts, keep_weekly=5, week_start="sunday") == [texts[0], texts[2]]


def test_4_03_weeks_since_the_epoch_start_on_thursday():
    texts = ["2024-06-05T23:00", "2024-06-06T00:00", "2024-06-12T23:59"]  # Wednesday, Thursday, Wednesday
    rule = {"bucket": {"every": "7d", "align": "epoch"}}
    assert kept(texts, keep=[rule]) == [texts[0], texts[2]]
    newest = "2024-06-13T01:00"
    rules = {"compat": "zfs-autobackup", "plan": "1w1y", "now": "2024-06-13T02:00Z"}
    assert kept([*texts, newest], **rules) == [*texts[:2], newest]  # the oldest of each


def test_4_03_months_that_start_with_a_week():
    """With weeks from Sunday, Monday 2024-01-01 belongs to December 2023 and to the year 2023."""
    texts = ["2023-12-31", "2024-01-01", "2024-01-07"]
    axes = {"week_start": "sunday", "month_starts": "week_start"}
    assert kept(texts, keep_monthly=5, **axes) == texts[1:]
    assert kept(texts, keep_yearly=5, **axes) == texts[1:]  # the year 2024 begins on its first Sunday
    assert kept(texts, keep_yearly=5) == [texts[0], texts[2]]


# ---------------------------------------- 4: months


@pytest.mark.parametrize(
    ("window", "newest", "edge"),
    [
        ("1mo", "2023-03-31T12:00", "2023-03-03T12:00"),
        ("1mo", "2024-03-31T12:00", "2024-03-02T12:00"),
        ("1mo", "2024-05-31T12:00", "2024-05-01T12:00"),
        ("1mo", "2024-02-29T12:00", "2024-01-29T12:00"),
        ("1y", "2024-02-29T12:00", "2023-03-01T12:00"),
    ],
)
@pytest.mark.parametrize("tool", ["snapsim", "restic-0.14"])
def test_4_04_days_that_a_month_does_not_have_run_over(window, newest, edge, tool):
    inside = Snapshot(at(edge) + 1, id="inside")
    assert kept([edge, inside, newest], compat=tool, keep_within=window) == ["inside", newest]


def test_4_04_a_recorded_clock_counts_its_own_months():
    """One month before 00:30 on 1 March in Berlin is 00:30 on 1 February there: 31 January in UTC."""
    newest, edge = "2024-03-01T00:30+01:00", "2024-02-01T00:30+01:00"
    inside = Snapshot(at(edge) + 1, id="inside", attributes={"utc_offset_s": 3600})
    assert kept([edge, inside, newest], compat="restic-0.14", keep_within="1mo") == ["inside", newest]


@pytest.mark.parametrize(
    ("rules", "length"),
    [
        ({"compat": "borg-1.2", "keep_within": "31d"}, 31 * DAY - 1),  # m; what is as old as that is out
        ({"compat": "borg-1.2", "keep_within": "365d"}, 365 * DAY - 1),  # y
        ({"compat": "znapzend", "plan": "1m=>1d"}, 30 * DAY),
        ({"compat": "znapzend", "plan": "1y=>1d"}, 36_525 * DAY // 100),
        ({"compat": "zfs-autobackup", "plan": "1d1m"}, 30 * DAY),
        ({"compat": "zfs-autobackup", "plan": "1d1y"}, 36_525 * DAY // 100),
        ({"keep": [{"within": "30.44d", "edge": "closed"}], "reference": "now"}, 3044 * DAY // 100),  # snapm
    ],
)
def test_4_04_months_of_other_lengths(rules, length):
    now = at("2024-06-01")
    pair = [Snapshot(now - length - 1, id="out"), Snapshot(now - length, id="in")]
    assert kept(pair, now=now, **rules) == ["in"]


@pytest.mark.parametrize(("rule", "length"), [("monthly", 31 * DAY), ("yearly", 36_525 * DAY // 100)])
def test_4_04_sanoid_counts_31_days_and_365_and_a_quarter(rule, length):
    now = at("2024-06-01")
    two = [Snapshot(now - length - age, id=str(age), classes=frozenset({rule})) for age in (1, 0)]
    newest = Snapshot(now, id="now", classes=frozenset({rule}))
    assert kept([*two, newest], compat="sanoid", now=now, **{f"keep_{rule}": 1}) == ["0", "now"]


# ---------------------------------------- 5: edges of windows


@pytest.mark.parametrize(
    ("closed", "rules"),
    [
        (False, {"compat": "restic-0.14", "keep_within": "2d"}),
        (False, {"compat": "borg-1.2", "keep_within": "2d"}),
        (True, {"compat": "borg-2", "keep_within": "2d"}),
        (True, {"compat": "kopia", "keep_daily": 2}),
        (True, {"compat": "sanoid", "keep_daily": 2}),
        (True, {"compat": "zfs-autobackup", "plan": "1d2d"}),
        (True, {"compat": "znapzend", "plan": "2d=>1d"}),
        (False, {"compat": "velero", "expire": {"ttl": "2d"}}),
        (False, {"compat": "zrepl", "grid": {"spec": "2x1d"}}),
    ],
    ids=lambda one: one["compat"] if isinstance(one, dict) else "closed" if one else "open",
)
def test_4_05_edge_of_a_window(closed, rules):
    now = at("2024-06-10")
    daily = {"classes": frozenset({"daily"})}
    # three are newer in sanoid's eyes: its count keeps two of them
    newest = [Snapshot(now, id="a", **daily), Snapshot(now, id="b", **daily)]
    for shift, inside in ((-1, False), (0, closed), (1, True)):
        old = Snapshot(now - 2 * DAY + shift, id="old", **daily)
        assert ("old" in kept([old, *newest], now=now, **rules)) is inside


def test_4_05_windows_of_a_grid_are_closed_at_their_young_end():
    texts = ["2024-06-10T10:00", "2024-06-10T11:00", "2024-06-10T12:00"]
    assert kept(texts, compat="zrepl", grid={"spec": "2x1h"}) == texts[1:]  # exactly 2 h is beyond
    assert kept(texts, compat="zrepl", grid={"spec": "1x1h | 1x2h"}) == [texts[0], texts[2]]


# ---------------------------------------- 6: ties


def test_4_06_same_second_is_one_bucket_for_keep_last_of_borg_and_proxmox():
    texts = [
        Snapshot(DAY, id="a"),
        Snapshot(DAY + 5 * SECOND // 10, id="b"),
        Snapshot(DAY + 2 * SECOND, id="c"),
    ]
    for tool in ("borg-1.2", "proxmox"):
        assert kept(texts, compat=tool, keep_last=2) == ["b", "c"]
    assert kept(texts, compat="restic-0.14", keep_last=2) == ["b", "c"]
    assert kept(texts, compat="restic-0.14", keep_last=3) == ["a", "b", "c"]
    assert kept(texts, compat="borg-1.2", keep_last=3) == [
        "a",
        "b",
        "c",
    ]  # the oldest, for the count is unmet
    assert kept(texts, compat="proxmox", keep_last=3) == ["b", "c"]


def test_4_06_same_minute_and_less_than_a_second():
    texts = [Snapshot(DAY + shift, id=str(shift)) for shift in (0, 1, MINUTE - 1, MINUTE)]
    assert kept(texts, keep_minutely=5) == [str(MINUTE - 1), str(MINUTE)]
    assert kept(texts, keep_secondly=5) == ["1", str(MINUTE - 1), str(MINUTE)]
    assert kept(texts, keep_last=2) == [str(MINUTE - 1), str(MINUTE)]


def test_4_06_twins_are_both_the_first_for_snapper():
    twins = [
        Snapshot(DAY, id=str(number), attributes={"number": number, "cleanup": "timeline"})
        for number in (1, 2)
    ]
    older = Snapshot(DAY - HOUR, id="0", attributes={"number": 0, "cleanup": "timeline"})
    assert kept([older, *twins], compat="snapper", keep_hourly=2) == ["1", "2"]  # two of the count
    assert kept([older, *twins], compat="snapper", keep_hourly=3) == ["0", "1", "2"]
    assert kept([older, *twins], compat="snapper", keep_daily=3) == ["0", "1", "2"]  # two days


def test_4_06_every_order_of_the_input_gives_the_same():
    snapshots = [Snapshot(DAY, id=name) for name in "abc"] + [Snapshot(DAY + 1, id="a")]
    for rules in ({"keep_daily": 1}, {"keep_last": 2}, {"keep_last": 3}):
        found = {frozenset(kept(some, **rules)) for some in permutations(snapshots)}
        assert len(found) == 1
    assert kept(snapshots[:3][::-1], keep_last=1) == ["c"]


# ---------------------------------------- 7: order, and the future


def test_4_07_snapper_goes_by_number_not_by_date():
    """After the clock was put back, the latest dates are old numbers, and go first."""
    numbers = ["2024-06-01", "2024-06-02", "2024-06-03", "2024-01-01", "2024-01-02"]
    snapshots = [
        snapshot(text, attributes={"number": number, "cleanup": "timeline"})
        for number, text in enumerate(numbers)
    ]
    assert kept(snapshots, compat="snapper", keep_daily=2) == numbers[3:]
    assert kept(snapshots, compat="gfs", keep_daily=2) == numbers[1:3]


def test_4_07_clock_put_back_leaves_the_newest_by_time():
    """A tool that goes by time takes what was taken after the step for the older ones."""
    texts = ["2024-06-02T12:00", "2024-06-02T13:00", "2024-06-02T12:30"]
    assert kept(texts, keep_last=1) == texts[1:2]


def test_4_07_snapshots_from_the_future_eat_the_counts_of_restic():
    texts = ["2024-01-01", "2024-01-02", "2099-01-01", "2099-01-02"]
    now = "2024-01-03T00:00Z"
    assert kept(texts, now=now, compat="restic-0.14", keep_daily=2) == texts[2:]
    assert kept(texts, now=now, compat="restic-0.14", keep_within="36h") == texts[0:]
    assert kept(texts, now=now, keep_daily=2) == texts[2:]
    assert kept(texts, now=now, keep_daily=2, future="ignore") == texts
    assert kept(texts, now=now, keep_daily=1, future="ignore") == texts[1:]
    assert kept(texts, now=now, keep_daily=1, future="keep") == texts[2:]


# ---------------------------------------- 8: counts

WEEK = days("2024-01-01T12:00", 7)


@pytest.mark.parametrize("count", [-1, -7])
def test_4_08_negative_counts_are_refused(count):
    for tool in ("snapsim", "restic-0.14", "restic", "borg-1.2", "proxmox"):
        with pytest.raises(PolicyError, match=f'keep_daily is {count}: .* write "unlimited"'):
            Policy(compat=tool, keep_daily=count)


@pytest.mark.parametrize("count", ["unlimited", 7, 8, 10**30])
def test_4_08_more_than_there_are(count):
    tools = ["snapsim", "restic", "borg-1.2", "borg-2", "snapper"]
    if count != "unlimited":  # which these two cannot say
        tools += ["restic-0.14", "proxmox"]
    for tool in tools:
        assert kept(WEEK, compat=tool, keep_daily=count) == WEEK


def test_4_08_zero_is_off():
    assert kept(WEEK, keep_daily=0, keep_last=1) == WEEK[-1:]
    for tool in ("snapsim", "restic", "restic-0.14", "borg-1.2", "borg-2", "snapper"):
        with pytest.raises(PolicyError, match="keeps nothing"):
            Policy(compat=tool, keep_daily=0)


def test_4_08_nothing_but_zeros_keeps_everything_with_proxmox_zrepl_and_kopia():
    for tool in ("proxmox", "kopia"):
        assert kept(WEEK, compat=tool, keep_daily=0) == WEEK
    assert kept(WEEK, compat="zrepl") == WEEK


def test_4_08_no_snapshots_and_a_single_one():
    for tool in ("snapsim", "restic", "borg-1.2", "proxmox", "snapper", "btrbk", "kopia"):
        assert kept([], compat=tool, keep_daily=1) == []
        assert kept(WEEK[:1], compat=tool, keep_daily=1, now=WEEK[0] + "Z") == WEEK[:1]


def test_4_08_one_snapshot_and_min_age():
    """Nothing selects it; its age alone keeps it, and after that the guard."""
    rules = {"keep_tag": [["release"]], "min_age": "1h", "guards": {"refuse_delete_all": False}}
    for minutes, wanted in ((59, WEEK[:1]), (60, []), (61, [])):
        assert kept(WEEK[:1], now=at(WEEK[0]) + minutes * MINUTE, **rules) == wanted
    assert kept(WEEK[:1], now=LATER, keep_tag=[["release"]]) == WEEK[:1]


# ---------------------------------------- 9: the oldest


def test_4_09_count_unmet_by_exactly_one():
    hours = ["2024-01-01T01:00", "2024-01-01T02:00", "2024-01-02T01:00", "2024-01-02T02:00"]
    for tool in ("restic", "borg-1.2", "borg-2"):
        assert kept(hours, compat=tool, keep_daily=3) == [hours[0], hours[1], hours[3]]
        assert kept(hours, compat=tool, keep_daily=2) == [hours[1], hours[3]]  # met: the oldest vanishes
    for tool in ("snapsim", "restic-0.14", "proxmox"):
        assert kept(hours, compat=tool, keep_daily=3) == [hours[1], hours[3]]


def test_4_09_unlimited_keeps_the_oldest_or_not():
    hours = ["2024-01-01T01:00", "2024-01-01T02:00"]
    assert kept(hours, compat="restic", keep_daily="unlimited") == hours
    assert kept(hours, compat="borg-1.2", keep_daily="unlimited") == hours[1:]
    # borg 2 never calls an unlimited rule used up either, if it is the last one
    assert kept(hours, compat="borg-2", keep_daily="unlimited") == hours


def test_4_09_oldest_outside_of_the_window():
    assert kept(WEEK, compat="restic", keep_within_monthly="3d") == WEEK[-1:]
    assert kept(WEEK, compat="restic", keep_within_monthly="7d") == [WEEK[0], WEEK[-1]]
    month = [{"bucket": "month", "within": "3d", "edge": "closed"}]
    assert kept(WEEK, compat="borg-2", keep=month, now=WEEK[-1] + "Z") == WEEK[-1:]


def test_4_09_oldest_that_is_kept_already():
    assert kept(WEEK, compat="borg-1.2", keep_daily=8) == WEEK
    decisions = Policy(compat="borg-1.2", keep_daily=8).decide([snapshot(text) for text in WEEK], LATER)
    assert decisions[0].reasons == ("daily 7 of 8",)


def test_4_09_several_rules_add_the_same_oldest():
    decisions = Policy(compat="restic", keep_monthly=2, keep_yearly=2).decide(
        [snapshot(text) for text in WEEK], LATER
    )
    said = "the oldest, while the count is not used up"
    assert decisions[0].reasons == (f"monthly: {said}", f"yearly: {said}")
    assert kept(WEEK, compat="restic", keep_monthly=2, keep_yearly=2) == [WEEK[0], WEEK[-1]]


def test_4_09_only_the_last_rule_of_borg_2_keeps_the_oldest():
    texts = days("2024-01-01T00:00", 30, 6 * HOUR)
    week, hour = {"bucket": "week", "count": 20}, {"bucket": "hour", "count": 2}
    assert texts[0] not in kept(texts, compat="borg-2", keep=[week, hour])  # the last one is met
    assert texts[0] in kept(texts, compat="borg-2", keep=[hour, week])


# ---------------------------------------- 10: empty buckets


def test_4_10_machine_that_was_off_for_weeks():
    """Three dailies: days that have a snapshot (restic, borg, ...), or days of the calendar (btrbk, ...)."""
    texts = ["2024-01-01T12:00", "2024-01-02T12:00", "2024-03-01T12:00"]
    now = "2024-03-01T18:00Z"
    for tool in ("snapsim", "restic", "restic-0.14", "borg-1.2", "borg-2", "proxmox", "snapper"):
        assert kept(texts, compat=tool, keep_daily=3, now=now) == texts
    assert kept(texts, compat="btrbk", keep_daily=3, now=now) == texts[2:]
    assert kept(texts, compat="kopia", keep_daily=3, now=now) == texts[2:]
    assert kept(texts, compat="zrepl", grid={"spec": "3x1d"}, now=now) == texts[2:]
    assert kept(texts, compat="znapzend", plan="3d=>1d", now=now) == texts[2:]


def test_4_10_btrbk_counts_today_as_well():
    assert kept(WEEK, compat="btrbk", keep_daily=2, now=WEEK[-1] + "Z") == WEEK[-3:]


# ---------------------------------------- 11: how rules work together

SEASON = days("2023-11-15T12:00", 78)  # until 31 January 2024


def test_4_11_a_kept_snapshot_takes_its_bucket_but_no_count_with_borg():
    """On 31 January, two daily and two monthly: 30 and 31, December, and November or the oldest."""
    assert SEASON[-1] == "2024-01-31T12:00:00"
    assert kept(SEASON, compat="borg-1.2", keep_daily=2, keep_monthly=2) == [
        "2023-11-30T12:00:00", "2023-12-31T12:00:00", "2024-01-30T12:00:00", "2024-01-31T12:00:00"
    ]  # fmt: skip


def test_4_11_a_kept_snapshot_uses_up_every_count_with_restic():
    assert kept(SEASON, compat="restic-0.14", keep_daily=2, keep_monthly=2) == [
        "2023-12-31T12:00:00", "2024-01-30T12:00:00", "2024-01-31T12:00:00"
    ]  # fmt: skip


def test_4_11_loser_of_a_claimed_week_is_lost_for_monthly_with_proxmox():
    """The week from 29 January to 4 February belongs to `weekly`: the last of January dies in it."""
    texts = ["2024-01-28T12:00", "2024-01-31T12:00", "2024-02-04T12:00"]
    assert kept(texts, compat="proxmox", keep_weekly=1, keep_monthly=2) == [texts[0], texts[2]]
    assert kept(texts, keep_weekly=1, keep_monthly=2) == texts[1:]


def test_4_11_order_of_rules_counts_unless_they_are_combined_by_any():
    day, month = {"bucket": "day", "count": 2}, {"bucket": "month", "count": 1}
    texts = ["2024-01-30", "2024-01-31", "2024-02-01"]
    for combine in ("sequential", "claim"):
        assert kept(texts, combine=combine, keep=[day, month]) == texts[1:]
        assert kept(texts, combine=combine, keep=[month, day]) == texts
    assert kept(texts, keep=[day, month]) == kept(texts, keep=[month, day]) == texts[1:]


def test_4_11_twins_claim_their_bucket_even_if_the_count_is_used_up_between_them():
    twins = [Snapshot(DAY + HOUR, id=name) for name in "ab"]
    rules = {"combine": "claim", "tie_break": "all", "keep": [{"bucket": "day", "count": 1}, {"count": 9}]}
    assert kept([Snapshot(DAY, id="older"), *twins], **rules) == ["a", "b"]
    assert kept([Snapshot(DAY - 1, id="older"), *twins], **rules) == ["older", "a", "b"]


# ---------------------------------------- 12: tags and groups


def tagged(*lists):
    return [snapshot(text, tags=frozenset(tags)) for text, tags in zip(WEEK, lists, strict=False)]


def test_4_12_tags_and_lists_or():
    snapshots = tagged({"audit"}, {"audit", "2026"}, {"release"}, set(), {"other"})
    assert kept(snapshots, keep_tag=[["release"], ["audit", "2026"]]) == WEEK[1:3]


def test_4_12_empty_list_is_a_snapshot_without_tags():
    assert kept(tagged({"a"}, set(), {"b"}), keep_tag=[[]]) == WEEK[1:2]


def test_4_12_tag_that_nobody_has_would_delete_everything():
    snapshots = tagged({"a"}, set(), {"b"})
    assert kept(snapshots, keep_tag=[["typo"]]) == WEEK[:3]
    assert kept(snapshots, compat="restic", keep_tag=[["typo"]]) == WEEK[:3]
    assert kept(snapshots, compat="restic-0.14", keep_tag=[["typo"]]) == []  # as that version does
    decisions = Policy(keep_tag=[["typo"]]).decide(snapshots, LATER)
    assert decisions[0].reasons == ("guard: everything would go, so nothing is deleted",)


def test_4_12_paths_that_change_make_groups_in_which_everything_stays():
    snapshots = [snapshot(text, attributes={"paths": (f"/data-{text}",)}) for text in WEEK]
    assert kept(snapshots, keep_daily=1, group_by=["host", "paths"]) == WEEK
    assert kept(snapshots, keep_daily=1, group_by=["host"]) == WEEK[-1:]
    turned = [
        snapshot(text, attributes={"paths": paths})
        for text, paths in zip(WEEK, [("/a", "/b"), ("/b", "/a")], strict=False)
    ]
    assert kept(turned, keep_daily=1, group_by="paths") == WEEK[1:2]


def test_4_12_two_series_in_one_place_prune_each_other_unless_grouped():
    snapshots = [snapshot(text, attributes={"host": "ab"[place % 2]}) for place, text in enumerate(WEEK)]
    assert kept(snapshots, keep_daily=2) == WEEK[-2:]
    assert kept(snapshots, keep_daily=2, group_by=["host"]) == WEEK[-4:]


# ---------------------------------------- 13: pins and pairs


def test_4_13_pins_count_or_do_not():
    snapshots = [snapshot(text, tags=frozenset({"hold"} if text == WEEK[5] else ())) for text in WEEK]
    hold = {"tags": ["hold"]}
    assert kept(snapshots, keep_daily=2, protect=hold) == [WEEK[4], WEEK[5], WEEK[6]]
    assert kept(snapshots, keep_daily=2, protect={**hold, "protected_counts": True}) == WEEK[5:]


def test_4_13_protected_backups_neither_count_nor_cover_with_proxmox():
    hours = ["2024-01-01T10:00", "2024-01-02T10:00", "2024-01-02T11:00"]
    snapshots = [snapshot(text, attributes={"protected": text == hours[2]}) for text in hours]
    assert kept(snapshots, compat="proxmox", keep_daily=1) == hours[1:]
    snapshots[0] = snapshot(hours[0], attributes={"protected": True, "incomplete": True})
    assert kept(snapshots, compat="proxmox", keep_daily=1) == hours


def test_4_13_half_of_a_pair_stays_with_the_other():
    """Only the later half knows of the earlier one, as in snapper's lists; it works both ways."""
    for staying in (0, 6):
        snapshots = [
            snapshot(text, attributes={"number": place, **({"pair": WEEK[0]} if place == 6 else {})},
                     tags=frozenset({"hold"} if place == staying else ()))
            for place, text in enumerate(WEEK)
        ]  # fmt: skip
        rules = {"keep": [{"bucket": "each", "select": {"tags": ["hold"]}}]}
        assert kept(snapshots, **rules) == [WEEK[0], WEEK[6]]
        assert kept(snapshots, **rules, protect={"pairs": False}) == [WEEK[staying]]


def test_4_13_important_ones_count_for_both_limits_of_snapper():
    snapshots = [
        snapshot(text, attributes={"number": place, "important": place in {0, 2, 6}})
        for place, text in enumerate(WEEK)
    ]
    rules = [{"count": 2}, {"count": 2, "select": {"important": True}}]
    assert kept(snapshots, compat="snapper", keep=rules) == [WEEK[2], WEEK[5], WEEK[6]]


def test_4_13_in_use_and_default_never_go():
    snapshots = [
        snapshot(text, attributes={"number": place, "in_use": place == 1, "cleanup": "number"})
        for place, text in enumerate(WEEK)
    ]
    for tool in ("snapsim", "snapper"):
        assert kept(snapshots, compat=tool, keep_last=1) == [WEEK[1], WEEK[6]]


def test_4_13_base_of_the_next_increment_never_goes():
    snapshots = [snapshot(text, attributes={"incremental_base": text == WEEK[2]}) for text in WEEK]
    assert kept(snapshots, keep_last=1) == [WEEK[2], WEEK[6]]
    now = WEEK[-1] + "Z"
    assert WEEK[2] in kept(snapshots, compat="znapzend", plan="1d=>1h", now=now)
    assert WEEK[2] in kept(snapshots, compat="zfs-autobackup", plan="1", now=now)


def test_4_13_unfinished_one_stays_if_it_is_the_newest():
    for unfinished, wanted in (({6}, WEEK[5:]), ({5}, WEEK[6:]), ({5, 6}, [WEEK[4], WEEK[6]])):
        snapshots = [
            snapshot(text, attributes={"incomplete": place in unfinished}) for place, text in enumerate(WEEK)
        ]
        assert kept(snapshots, compat="proxmox", keep_last=1) == wanted
        assert kept(snapshots, compat="borg-1.2", keep_last=1) == wanted


def test_4_13_young_unfinished_one_is_not_deleted_under_its_writer():
    snapshots = [snapshot(text, attributes={"incomplete": text == WEEK[5]}) for text in WEEK]
    rules = {"keep_last": 1, "protect": {"incomplete_newest": True}, "now": WEEK[6] + "Z"}
    assert kept(snapshots, **rules) == WEEK[6:]
    assert kept(snapshots, **rules, min_age="25h") == WEEK[5:]


# ---------------------------------------- 14: space


def pool(*, size=100, used=0, sizes):
    def ask(staying):
        held = sum(sizes.get(one.id, 0) for one in staying)
        return Usage(size, held, size - used - held)

    return ask


TENS = dict.fromkeys(WEEK, 10)
SPACE = {"snapshots_max": 0.4, "soft": {"keep_daily": 2}}


def test_4_14_space_that_cannot_be_had_stops_at_the_lower_bounds():
    space = {"free_min": 0.9, "soft": {"keep_daily": 2}}
    assert kept(WEEK, keep_daily=5, space=space, pool=pool(used=90, sizes=TENS)) == WEEK[-2:]


def test_4_14_space_that_is_there_already():
    assert kept(WEEK, keep_daily=5, space=SPACE, pool=pool(size=1000, sizes=TENS)) == WEEK[-5:]


def test_4_14_exactly_the_share_is_not_below_it():
    assert kept(WEEK, keep_daily=5, space=SPACE, pool=pool(size=100, sizes=TENS)) == WEEK[-3:]
    assert kept(WEEK, keep_daily=5, space=SPACE, pool=pool(size=101, sizes=TENS)) == WEEK[-4:]


def test_4_14_deletions_that_free_nothing_go_on():
    shared = {**TENS, WEEK[2]: 0, WEEK[3]: 0, WEEK[4]: 0, WEEK[5]: 31}
    assert kept(WEEK, keep_daily=5, space=SPACE, pool=pool(sizes=shared)) == WEEK[-2:]


def test_4_14_one_range_and_one_fixed_limit():
    texts = days("2024-01-01T12:00", 15)
    space = {"snapshots_max": 0.05, "soft": {"keep_daily": 1}}
    sizes = dict.fromkeys(texts, 10)
    weekly = ["2024-01-07T12:00:00", "2024-01-14T12:00:00", "2024-01-15T12:00:00"]
    assert kept(texts, keep_daily=5, keep_weekly=3, space=space, pool=pool(sizes=sizes)) == weekly


# ---------------------------------------- 15: again and again


def replay(policy, times):
    """Take one after the other, and prune after each."""
    live = []
    for place, time_ns in enumerate(times):
        live.append(Snapshot(time_ns, id=f"{place:06}", attributes={"number": place, "cleanup": "timeline"}))
        live = [decision.snapshot for decision in policy.decide(live, time_ns) if decision.keep]
    return [one.time_ns for one in live]


def one_shot(policy, times):
    every = [
        Snapshot(time_ns, id=f"{place:06}", attributes={"number": place, "cleanup": "timeline"})
        for place, time_ns in enumerate(times)
    ]
    return [one.snapshot.time_ns for one in policy.decide(every, times[-1]) if one.keep]


YEAR = [at("2023-01-01T00:00") + place * 12 * HOUR for place in range(400)]
COUNTS = {"keep_daily": 7, "keep_weekly": 4, "keep_monthly": 6}


@pytest.mark.parametrize("tool", ["restic-0.14", "restic", "borg-1.2", "borg-2", "snapper", "btrbk", "kopia"])
def test_4_15_one_prune_of_everything_equals_a_prune_after_each(tool):
    policy = Policy(compat=tool, **COUNTS)
    assert replay(policy, YEAR) == one_shot(policy, YEAR)


@pytest.mark.parametrize(
    "rules",
    [
        {"compat": "proxmox", **COUNTS},
        {"compat": "zrepl", "grid": {"spec": "7x1d | 4x7d | 6x30d"}},
        {"compat": "znapzend", "plan": "7d=>1d,28d=>7d,180d=>30d"},
        {"compat": "zfs-autobackup", "plan": "1d1w,1w1m,1m6m"},
    ],
    ids=lambda rules: rules["compat"],
)
def test_4_15_one_prune_of_everything_differs_from_a_prune_after_each(rules):
    policy = Policy(**rules)
    assert replay(policy, YEAR) != one_shot(policy, YEAR)


def test_4_15_monthlies_of_proxmox_are_sundays_in_the_long_run():
    """Weekly thinning destroys the end of a month before `keep-monthly` ever sees it."""
    policy = Policy(compat="proxmox", **COUNTS)
    daily = [at("2023-01-01T12:00") + place * DAY for place in range(400)]
    oldest = [np.datetime64(time_ns, "ns").astype("datetime64[D]") for time_ns in replay(policy, daily)[:5]]
    assert all((int(day.astype(int)) + 3) % 7 == 6 for day in oldest)
    shown = [np.datetime64(time_ns, "ns").astype("datetime64[D]") for time_ns in one_shot(policy, daily)[:5]]
    assert [str(day)[8:] for day in shown] == ["31", "31", "30", "31", "30"]


def test_4_15_raising_one_count_deletes_another_snapshot_with_proxmox():
    """Weekly 1 and monthly 2 keep Sunday 9 August and Tuesday 28 July; with a daily, 2 August instead."""
    texts = ["2026-07-28T12:00", "2026-08-02T12:00", "2026-08-09T12:00"]
    rules = {"compat": "proxmox", "keep_weekly": 1, "keep_monthly": 2}
    assert kept(texts, **rules) == [texts[0], texts[2]]
    assert kept(texts, **rules, keep_daily=1) == texts[1:]


def test_4_15_snapper_twice_is_not_once_where_numbers_are_out_of_order():
    chance = random.Random(3)
    changed = {True: 0, False: 0}
    policy = Policy(compat="snapper", keep_hourly=3, keep_daily=3, keep_weekly=2)
    for in_order in (True, False):
        for _ in range(300):
            times = sorted(chance.randrange(40) * HOUR * 3 for _ in range(25))
            if not in_order:
                chance.shuffle(times)
            every = [
                Snapshot(time_ns, id=str(number), attributes={"number": number, "cleanup": "timeline"})
                for number, time_ns in enumerate(times)
            ]
            once = [one.snapshot for one in policy.decide(every, 200 * DAY) if one.keep]
            twice = [one.snapshot for one in policy.decide(once, 200 * DAY) if one.keep]
            changed[in_order] += twice != once
    assert changed[True] == 0
    assert changed[False] > 0


def test_4_15_start_until_the_steady_state():
    """Four weeklies need four weeks: the number of snapshots grows until then, and never again."""
    policy = Policy(schedule="@daily", keep_daily=3, keep_weekly=4)
    counts = policy.timeline(at("2024-01-01") + np.arange(100) * DAY).live_counts
    assert counts[:4].tolist() == [1, 2, 3, 3]
    assert counts[40:].max() == counts[:40].max() == 6
    assert counts[40:].min() == 5


def test_4_15_missed_prunes_change_nothing_in_the_end():
    """Restic's rules forget how often they were applied."""
    policy = Policy(compat="restic-0.14", **COUNTS)
    live = []
    for place, time_ns in enumerate(YEAR):
        live.append(Snapshot(time_ns, id=f"{place:06}"))
        if place % 17 == 0 or time_ns == YEAR[-1]:
            live = [decision.snapshot for decision in policy.decide(live, time_ns) if decision.keep]
    assert [one.time_ns for one in live] == replay(policy, YEAR)


# ---------------------------------------- 16: names, and schedules in months that are too short


def test_4_16_names_of_the_hour_that_comes_twice_do_not_collide():
    moments = [at("2024-10-27T00:30Z"), at("2024-10-27T01:30Z")]
    local = NameTemplate("s_{local:%Y%m%dT%H%M%z}", timezone="Europe/Berlin", drivers=("btrfs",))
    assert [local.format(SnapshotName("", moment)) for moment in moments] == [
        "s_20241027T0230+0200",
        "s_20241027T0230+0100",
    ]


def test_4_16_two_in_one_minute_are_numbered():
    first = format_name(SnapshotName("db", 5 * SECOND))
    second = format_name(SnapshotName("db", 55 * SECOND), taken={first})
    assert second == f"{first}-02"
    assert parse_name(second).time_ns == parse_name(first).time_ns == 0


def test_4_16_foreign_names_that_look_alike_are_not_ours():
    for text in ("db_disk_20240230_0000_auto", "db_disk_20240101_2400_auto", "db_disk_20240101_0000_auto_2"):
        assert parse_name(text) is None


def test_4_16_the_thirty_first_is_left_out_where_there_is_none():
    span = at("2024-01-01"), at("2024-07-01")
    months = Schedule.of("0 0 31 * *").ticks(*span).astype("datetime64[ns]").astype("datetime64[D]")
    assert [str(day) for day in months] == ["2024-01-31", "2024-03-31", "2024-05-31"]


def test_4_16_missed_yearly_snapshot_is_caught_up():
    found = due(Schedule.of("@yearly"), at("2023-01-01"), at("2024-02-03T12:00"))
    assert (found.tick_ns.tolist(), found.at_ns.tolist()) == ([at("2024-01-01")], [at("2024-02-03T12:00")])


# ---------------------------------------- 17: far times, and many snapshots


def test_4_17_leap_second_is_refused():
    with pytest.raises(PolicyError, match="now '2016-12-31T23:59:60Z' cannot be read"):
        Policy(keep_last=1).decide([], "2016-12-31T23:59:60Z")


def test_4_17_from_1900_to_2100():
    texts = ["1900-01-01", "1900-02-28", "1900-03-01", "1969-12-31", "1970-01-01", "2099-12-31", "2100-03-01"]
    for tool in ("snapsim", "restic", "borg-1.2", "proxmox", "snapper", "gfs"):
        numbered = [
            snapshot(text, attributes={"number": place, "cleanup": "timeline"})
            for place, text in enumerate(texts)
        ]
        assert kept(numbered, compat=tool, keep_daily=9, now="2200-01-01T00:00Z") == texts
    assert kept(texts, keep_monthly=9, timezone="Europe/Berlin", now="2200-01-01T00:00Z") == texts


def test_4_17_the_epoch_itself():
    around = [Snapshot(shift, id=str(shift)) for shift in (-1, 0, 1)]
    assert kept(around, keep_daily=5) == ["-1", "1"]
    assert kept(around, keep_yearly=5) == ["-1", "1"]
    assert kept(around, keep_secondly=5) == ["-1", "1"]
    assert kept(around, keep_last=2) == ["0", "1"]
    assert kept(around, keep_within="1h", now=0) == ["-1", "0", "1"]


def test_4_17_ages_of_three_centuries_do_not_overflow():
    old, now = snapshot("1700-01-01"), "2250-01-01T00:00Z"
    assert kept([old, snapshot("2249-12-31")], now=now, keep_last=1, min_age="1h") == ["2249-12-31"]
    limits = {"max_age": "1d", "on_violation": "merge_oldest"}
    assert kept([old, snapshot("2250-01-01")], now=now, keep_last=9, limits=limits) == ["2250-01-01"]
    grid = {"spec": "2x1d", "anchor": "now"}
    assert kept([old, snapshot("2250-01-01")], now=now, grid=grid) == ["2250-01-01"]


def test_4_17_datetimes_without_zone_are_refused():
    for now in (datetime(2024, 1, 1), "2024-01-01T00:00"):  # noqa: DTZ001 - that is the point
        with pytest.raises(PolicyError, match="has no time zone"):
            Policy(keep_last=1).decide([], now)


@pytest.mark.parametrize(
    ("rules", "wanted"),
    [
        ({"keep_hourly": 24, "keep_last": 60}, 82),
        ({"compat": "borg-1.2", "keep_hourly": 24, "keep_daily": 7}, 31),
        ({"compat": "proxmox", "keep_hourly": 24, "keep_daily": 7}, 31),
        ({"compat": "zrepl", "grid": {"spec": "1x1h(keep=all) | 24x1h | 35x1d"}}, 60 + 24 + 35),
        ({"compat": "btrbk", "keep_hourly": 23, "keep_daily": 7}, None),
        ({"keep": [{"bucket": {"every": "1h", "align": "reference"}, "count": 1000}]}, 1000),
    ],
)
def test_4_17_a_hundred_thousand_snapshots(rules, wanted):
    """Decided in one call; their number is a closed form."""
    n = 100_000
    snapshots = [
        Snapshot(
            at("2024-01-01") + minute * MINUTE,
            id=f"{minute:06}",
            attributes={"number": minute, "cleanup": "timeline"},
        )
        for minute in range(n)
    ]
    decisions = Policy(**rules).decide(snapshots, snapshots[-1].time_ns)
    staying = sum(decision.keep for decision in decisions)
    assert len(decisions) == n
    assert staying == wanted if wanted else 0 < staying < 40
