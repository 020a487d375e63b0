"""Decisions as people read them: letters, table, calendar."""

import numpy as np
import pandas as pd
import pytest

import snapsim as ss
from snapsim.policy import explaining
from snapsim.policy.decisions import fingerprint
from snapsim.policy.times import parse_instant
from snapsim.units import DAY, HOUR

START = parse_instant("2026-01-01T00:00Z")  # a Thursday


def daily(n, **changes):
    return [
        ss.Snapshot(time_ns=START + day * DAY, name=f"s{day}", id=f"s{day}", **changes) for day in range(n)
    ]


def test_letters_of_the_usual_rules():
    policy = ss.Policy(keep_last=1, keep_hourly=2, keep_daily=3, keep_weekly=4, keep_monthly=5,
                       keep_quarterly=6, keep_yearly=7, keep_within="1d", keep_within_daily="2d")  # fmt: skip
    assert "".join(explaining.rule_letters(policy).values()) == "lhdwmqyiD"


def test_rules_with_names_of_their_own_get_letters_that_are_free():
    rules = [{"name": "one", "bucket": "day"}, {"name": "two", "bucket": "week"}]
    policy = ss.Policy(keep_daily=1, keep=rules, keep_tag=[["release"]])
    letters = explaining.rule_letters(policy)
    assert letters["daily"] == "d"
    assert len(set(letters.values())) == len(letters) == 4


def test_both_rules_of_a_class_share_a_letter():
    letters = explaining.rule_letters(ss.Policy(compat="sanoid", keep_daily=7))
    assert letters["daily"] == letters["daily within"] == "d"


def test_the_longest_name_is_the_rule_that_a_reason_speaks_of():
    policy = ss.Policy(keep_within="1d", keep_within_daily="30d")
    held = ss.explain(policy, daily(10), START + 9 * DAY)
    assert held.frame["letters"].tolist() == ["D"] * 9 + ["iD"]


def test_the_table_has_a_row_for_each_decision():
    policy = ss.Policy(keep_daily=2, keep_weekly=2)
    got = ss.explain(policy, daily(10)[::-1], START + 10 * DAY)
    frame = got.frame
    assert frame["snapshot"].tolist() == [f"s{day}" for day in range(10)]
    assert frame["age_ns"].tolist() == [(10 - day) * DAY for day in range(10)]
    # 4 January and 11 January are Sundays; the newest is Saturday the 10th
    assert frame.loc[frame["keep"], "snapshot"].tolist() == ["s3", "s8", "s9"]
    assert frame["letters"].tolist() == [""] * 3 + ["w"] + [""] * 4 + ["d", "dw"]
    decided = policy.decide(daily(10), START + 10 * DAY)
    assert got.fingerprint == fingerprint(decided)
    assert frame["reasons"].tolist() == ["; ".join(one.reasons) for one in decided]
    assert [one.name for one in got.kept] == ["s3", "s8", "s9"]
    assert len(got.deleted) == 7


def test_what_stays_without_a_rule_is_marked():
    held = [ss.Snapshot(time_ns=START, name="held", tags=frozenset({"hold"})), *daily(5)[1:]]
    got = ss.explain(ss.Policy(keep_last=1, protect={"tags": ["hold"]}), held, START + 5 * DAY)
    assert got.frame["letters"].tolist() == ["!", "", "", "", "l"]
    assert "! another reason" in got.key


def test_a_guard_that_trips_keeps_everything_and_says_so():
    got = ss.explain(ss.Policy(keep_last=1, guards={"max_delete_fraction": 0.5}), daily(4), START + 4 * DAY)
    assert not got.deleted
    assert "guard:" in got.text()
    assert got.frame["letters"].tolist() == ["!", "!", "!", "l"]


def test_text_says_what_the_frame_says():
    got = ss.explain(ss.Policy(keep_last=1), daily(3), START + 3 * DAY)
    lines = got.text().splitlines()
    assert lines[1] == "at 2026-01-04T00:00:00Z, of 3 snapshots 1 stays and 2 go"
    assert [line.split()[0] for line in lines[3:6]] == ["delete", "delete", "keep"]
    assert lines[-1] == f"fingerprint: {got.fingerprint}"


def test_nothing_exists():
    got = ss.explain(ss.Policy(keep_last=1), [], START)
    assert got.frame.empty
    assert "of 0 snapshots 0 stay and 0 go" in got.text()
    assert got.calendar.text() == "nothing is kept"


def test_a_snapshot_of_the_future_has_an_age_that_says_so():
    got = ss.explain(ss.Policy(keep_last=2), daily(3), START + 1 * DAY)
    assert "in 1d" in got.text()


def test_the_calendar_has_a_row_for_each_week():
    policy = ss.Policy(schedule="6h", keep_daily=3, keep_weekly=2)
    instants = np.arange(START, START + 10 * DAY, 6 * HOUR)  # up to Saturday, 10 January, 18:00
    held = ss.calendar(policy.timeline(instants))
    assert held.frame.index.tolist() == ["2025-12-29", "2026-01-05"]
    assert held.frame.columns.tolist() == ["Mo", "Tu", "We", "Th", "Fr", "Sa", "Su"]
    assert held.frame.loc["2025-12-29"].tolist() == ["", "", "", "", "", "", "w"]
    assert held.frame.loc["2026-01-05"].tolist() == ["", "", "", "d", "d", "dw", ""]


def test_several_points_of_a_day_are_counted():
    instants = np.arange(START, START + DAY, HOUR)
    held = ss.calendar(ss.Policy(schedule="1h", keep_hourly=6, keep_daily=1).timeline(instants))
    assert held.frame.to_numpy().tolist() == [["", "", "", "hd 6", "", "", ""]]
    assert "hd 6" in held.text()


def test_weeks_without_a_point_are_counted():
    instants = np.arange(START, START + 100 * DAY, DAY)  # to Friday, 10 April
    text = ss.calendar(ss.Policy(schedule="1d", keep_daily=1, keep_monthly=3).timeline(instants)).text()
    assert [line.split("  ")[0] for line in text.splitlines()] == [
        "week of", "2026-02-23", "(4 weeks without)", "2026-03-30", "2026-04-06", "rules: d daily; m monthly",
    ]  # fmt: skip


def test_days_are_those_of_the_policys_zone_and_week():
    instants = np.arange(START, START + 3 * DAY, 6 * HOUR)
    policy = ss.Policy(schedule="6h", keep_last=1, timezone="Asia/Tokyo", week_start="sunday")
    # Saturday 18:00 UTC is Sunday in Tokyo
    held = ss.calendar(policy.timeline(instants))
    assert held.frame.columns[0] == "Su"
    assert held.frame.index.tolist() == ["2026-01-04"]
    assert held.frame.loc["2026-01-04"].tolist() == ["l"] + [""] * 6


def test_recorded_offsets_say_which_day_it_is():
    late = ss.Snapshot(time_ns=START - HOUR, name="late", attributes={"utc_offset_s": 7200})
    held = ss.explain(ss.Policy(timezone="recorded", keep_last=1), [late], START).calendar
    assert held.frame.loc["2025-12-29"].tolist() == ["", "", "", "l", "", "", ""]


def test_an_instant_of_a_timeline_is_explained():
    timeline = ss.Policy(schedule="1d", keep_last=2).timeline(np.arange(START, START + 5 * DAY, DAY))
    got = explaining.explain_instant(timeline, 3)
    assert [one.keep for one in got.decisions] == [False, True, True]
    assert got.now_ns == START + 3 * DAY
    with pytest.raises(IndexError, match="does not exist"):
        ss.calendar(timeline, 5)


def test_columns_are_registered():
    got = ss.explain(ss.Policy(keep_last=1), daily(2), START + 2 * DAY).frame
    assert isinstance(got["taken"].dtype, pd.DatetimeTZDtype)
    assert got["keep"].dtype == bool


def test_what_snapper_takes_by_itself_is_its_own():
    policy = ss.Policy(schedule="6h", compat="snapper", keep_daily=3)
    timeline = policy.timeline(np.arange(START, START + 20 * DAY, 6 * HOUR))
    held = ss.calendar(timeline)
    assert len(held.explanation.kept) == timeline.kept(-1).size > 0
    assert {day.letters for day in held.days} == {"d"}
