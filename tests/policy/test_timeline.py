"""The event loop: which ticks are taken when, what is refused, and what a timeline tells."""

import re
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapsim import schema
from snapsim.errors import PolicyError
from snapsim.policy import Policy, preset, presets, reference
from snapsim.policy.buckets import Calendar, shared_keys
from snapsim.types import SnapshotKind
from snapsim.units import DAY, HOUR, MINUTE

START = round(datetime(2024, 1, 1, tzinfo=UTC).timestamp()) * 10**9
HOURS = START + np.arange(24 * 60) * HOUR


def test_by_hand():
    """Last two of every second hour."""
    timeline = Policy(schedule="2h", keep_last=2).timeline(HOURS[:8])
    assert timeline.created.tolist() == [0, 2, 4, 6]
    assert timeline.deleted.tolist() == [4, 6, 8, 8]
    assert [timeline.before_prune(i).tolist() for i in range(8)] == [
        [0], [0], [0, 2], [0, 2], [0, 2, 4], [2, 4], [2, 4, 6], [4, 6],
    ]  # fmt: skip
    assert [timeline.kept(i).tolist() for i in range(8)] == [
        [0],
        [0],
        [0, 2],
        [0, 2],
        [2, 4],
        [2, 4],
        [4, 6],
        [4, 6],
    ]
    assert timeline.live_counts.tolist() == [1, 1, 2, 2, 2, 2, 2, 2]
    assert len(timeline) == 4
    assert timeline.max_live == 2
    assert timeline.reach_ns == 4 * HOUR
    assert timeline.kept(-1).tolist() == [4, 6]
    with pytest.raises(IndexError, match="instant 8 does not exist: there are 8"):
        timeline.kept(8)


@given(
    st.sampled_from(presets()),
    st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata"]),
    st.integers(0, 10**5),
    st.sampled_from([15 * MINUTE, 5 * MINUTE]),
)
def test_presets_against_the_naive_loop(name, zone, start, step):
    policy = Policy.from_toml(preset(name).to_toml().replace("schedule", f'timezone = "{zone}"\nschedule'))
    instants = START + start * MINUTE + np.arange(100) * step
    timeline = policy.timeline(instants)
    # a tick is taken at the first instant that is not before it
    due = {
        next(index for index, instant in enumerate(instants.tolist()) if instant >= tick)
        for tick in policy.ticks(int(instants[0]), int(instants[-1]) + 1).tolist()
    }
    wanted = reference.run(policy, instants.tolist(), due)
    assert list(zip(timeline.created.tolist(), timeline.deleted.tolist(), strict=True)) == wanted


def test_every_decision_of_a_year_has_reasons_and_agrees():
    policy = Policy(schedule="@hourly", keep_hourly=5, keep_daily=3, keep_weekly=2, keep_within="8h")
    timeline = policy.timeline(HOURS)
    told = timeline.frame["reasons"]
    for instant in range(0, HOURS.size, 7):
        for created, decision in zip(
            timeline.before_prune(instant).tolist(), timeline.decisions(instant), strict=True
        ):
            assert decision.reasons
            assert decision.keep == (created in timeline.kept(instant))
            if not decision.keep:
                said = re.sub(r" \(a count of \d+ would keep it\)", "", "; ".join(decision.reasons))
                assert told[created] == said


def test_calendar_window_that_moves_back_takes_snapshots_in_again():
    """One month before 31 March is 3 March, one month before 1 April is 1 March.

    On 31 March only `keep_last` holds the snapshot of 2 March; on 1 April only the window does.
    """
    noons = START + 366 * DAY + np.arange(59, 120) * DAY + 12 * HOUR  # from 1 March 2025
    policy = Policy(schedule="0 12 * * *", keep_last=30, keep_within="1mo")
    timeline = policy.timeline(noons)
    reasons = {
        (decision.snapshot.name[:10], instant): decision.reasons
        for instant in (30, 31, 32)
        for decision in timeline.decisions(instant)
    }
    assert reasons["2025-03-02", 30] == ("last 30 of 30",)
    assert reasons["2025-03-02", 31] == ("within 1mo",)
    assert reasons["2025-03-02", 32] == (
        "last: 30 of 30 newer snapshots kept (a count of 32 would keep it)",
        "within 1mo: 31d before the newest",
    )
    assert timeline.deleted[:3].tolist() == [30, 32, 33]


# ---------------------------------------- ticks and instants


def test_ticks_of_different_schedules_make_one_snapshot():
    timeline = Policy(schedule=["@hourly", "@daily", "0 */6 * * *"], keep_last=100).timeline(HOURS[:25])
    assert timeline.created.tolist() == list(range(25))
    assert timeline.shifted_ticks == 0
    assert timeline.max_shift_ns == 0
    assert timeline.snapshot(0).classes == {"hourly", "daily", "0 */6 * * *"}
    assert timeline.snapshot(6).classes == {"hourly", "0 */6 * * *"}
    assert timeline.snapshot(7).classes == {"hourly"}


def test_shifted_ticks_are_counted():
    """Midnight in Kolkata is 18:30 UTC: half an hour before the next instant."""
    timeline = Policy(schedule="@daily", keep_last=9, timezone="Asia/Kolkata").timeline(HOURS[:49])
    assert timeline.created.tolist() == [19, 43]
    assert timeline.shifted_ticks == 2
    assert timeline.max_shift_ns == 30 * MINUTE


def test_ticks_outside_of_the_instants_are_not_taken():
    timeline = Policy(schedule="1h", keep_last=9).timeline(HOURS[2:5] + 1)
    assert timeline.created.tolist() == [1, 2]


def test_no_tick_at_all():
    timeline = Policy(schedule="@yearly", keep_last=3).timeline(HOURS[5:9])
    assert len(timeline) == timeline.max_live == timeline.reach_ns == 0
    assert timeline.kept(2).size == timeline.before_prune(2).size == 0
    assert timeline.decisions(2) == []
    assert timeline.frame.empty
    assert "0 snapshots from 2024-01-01T05:00:00Z" in repr(timeline)


def test_coarse_instants_are_refused_with_the_remedy():
    message = (
        r"instants are too far apart for schedule '15min': its ticks at 2024-01-01T00:15:00Z and "
        r"2024-01-01T00:30:00Z \(15min apart\) would fall on one instant; "
        r'count lifetimes with every="15min" or schedules=\[policy.schedule\]'
    )
    with pytest.raises(PolicyError, match=message):
        Policy(schedule=["@hourly", "15min"], keep_last=3).timeline(HOURS)
    with pytest.raises(
        PolicyError, match=r"schedule '@hourly': .* count lifetimes with schedules=\[policy.schedule\]"
    ):
        Policy(schedule="@hourly", keep_last=3).timeline(HOURS[::2])


def test_ticks_coalesce_where_that_is_asked_for():
    policy = Policy(schedule=["@hourly", "15min"], keep_last=30)
    coarse = policy.timeline(HOURS[:5], coalesce=True)
    assert coarse.created.tolist() == [0, 1, 2, 3, 4]
    assert coarse.merged_ticks == 4 * 3  # of four ticks up to each hour, one is taken
    assert policy.timeline(policy.schedule.ticks(int(HOURS[0]), int(HOURS[4]))).merged_ticks == 0


@given(st.sampled_from(["@hourly", "25min", "*/20 * * * *", ("@hourly", "40min")]), st.integers(0, 10**4))
def test_the_remedy_works(schedule, start):
    policy = Policy(schedule=schedule, keep_last=3, timezone="Europe/Berlin")
    first = START + start * MINUTE
    timeline = policy.timeline(policy.schedule.ticks(first, first + 2 * DAY))
    assert timeline.shifted_ticks == 0
    assert np.array_equal(timeline.created, np.arange(timeline.instants.size))


@pytest.mark.parametrize(
    ("instants", "message"),
    [
        ([], "flat, non-empty array"),
        ([[1, 2]], "flat, non-empty array"),
        ([1.0, 2.0], "whole nanoseconds"),
        ([1, 3, 3], "instants have to ascend, but number 2 is not after"),
        ([5, 3], "instants have to ascend, but number 1 is not after"),
    ],
)
def test_instants_that_make_no_sense(instants, message):
    with pytest.raises(PolicyError, match=message):
        Policy(schedule="1h", keep_last=3).timeline(instants)


def test_instants_may_be_datetimes():
    policy = Policy(schedule="1h", keep_last=3)
    stamps = pd.date_range("2024-01-01", periods=48, freq="h", unit="us")
    assert np.array_equal(policy.timeline(stamps.to_numpy()).deleted, policy.timeline(HOURS[:48]).deleted)


def test_keys_are_computed_once_for_equal_instants():
    assert shared_keys(HOURS, Calendar("UTC")) is shared_keys(HOURS.copy(), Calendar("UTC"))
    assert shared_keys(HOURS, Calendar("UTC")) is not shared_keys(HOURS, Calendar("Europe/Berlin"))
    first = Policy(schedule="1h", keep_last=3).timeline(HOURS)
    second = Policy(schedule="1h", keep_last=4).timeline(HOURS.copy())
    assert first.created is second.created
    for shared in (first.instants, first.created, first.deleted):
        with pytest.raises(ValueError, match="read-only"):
            shared[0] = 1


# ---------------------------------------- what it tells


def test_frame():
    timeline = Policy(schedule="1h", keep_last=2).timeline(HOURS[:4])
    frame = timeline.frame
    schema.check_columns(frame.columns)
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == {
        name: schema.QUANTITIES[name].dtype for name in ("taken", "deleted", "age_ns", "reasons")
    }
    assert frame["taken"].tolist() == [pd.Timestamp(instant, tz="UTC") for instant in HOURS[:4]]
    assert frame["deleted"].tolist()[:2] == [pd.Timestamp(instant, tz="UTC") for instant in HOURS[2:4]]
    assert frame["deleted"].isna().tolist() == [False, False, True, True]
    assert frame["age_ns"].tolist() == [2 * HOUR, 2 * HOUR, HOUR, 0]
    assert frame["reasons"].tolist() == ["last: 2 of 2 newer snapshots kept"] * 2 + [
        "last 2 of 2",
        "last 1 of 2",
    ]


def test_kind_and_ram():
    full = Policy(schedule="1h", keep_last=2, memory="full", ram="4GiB").timeline(HOURS[:4])
    assert full.kind is full.snapshot(0).kind is SnapshotKind.FULL
    assert full.ram == 4 * 1024**3
    disk = Policy(schedule="1h", keep_last=2).timeline(HOURS[:4])
    assert disk.kind is SnapshotKind.DISK
    assert disk.ram == 0


def test_repr():
    timeline = Policy(schedule="1h", keep_last=2, name="short").timeline(HOURS[:4])
    assert repr(timeline) == (
        "<Timeline of short: 1h, keep last 2 (UTC): 4 snapshots from 2024-01-01T00:00:00Z to "
        "2024-01-01T03:00:00Z, 2 kept at the end, 2 at most>"
    )


def test_progress_is_reported():
    seen = []
    Policy(schedule="1h", keep_last=2).timeline(
        HOURS[:4], progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(4, 4)]
