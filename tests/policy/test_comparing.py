"""One policy beside another: once against over time, start-up, what only one holds, what if."""

from dataclasses import replace

import numpy as np
import pytest

import snapsim as ss
from snapsim.errors import PolicyError
from snapsim.policy import comparing
from snapsim.policy.times import parse_instant
from snapsim.units import DAY, HOUR

START = parse_instant("2024-01-01T00:00Z")
SIX_HOURLY = np.arange(START, START + 400 * DAY, 6 * HOUR)
COUNTS = {"keep_daily": 7, "keep_weekly": 4, "keep_monthly": 6}
STABLE = ("snapsim", "restic", "restic-0.14", "borg-1.2", "borg-2", "snapper", "btrbk", "kopia")
# what research for this project found with 114 dates: how many snapshots each view has, and how many differ
UNSTABLE = {
    "proxmox": ({"compat": "proxmox", **COUNTS}, 17, 17, 5.1),
    "zrepl": ({"compat": "zrepl", "grid": {"spec": "7x1d|4x7d|6x30d"}}, 16, 17, 15.2),
    "znapzend": ({"compat": "znapzend", "plan": "7d=>1d,4w=>1w,6mon=>1mon"}, 16, 18, None),
    "zfs-autobackup": ({"compat": "zfs-autobackup", "plan": "1d7d,1w4w,1m6m"}, 16, 19, None),
}


@pytest.mark.parametrize("tool", STABLE)
def test_once_is_over_time_for_tools_that_are_stable(tool):
    frame = ss.one_shot(ss.Policy(schedule="6h", compat=tool, **COUNTS), SIX_HOURLY, dates=10)
    assert len(frame) == 10
    assert not frame[["only_iterated", "only_one_shot"]].any(axis=None)
    assert (frame["snapshots_iterated"] == frame["snapshots_one_shot"]).all()
    assert "the same at 10 of 10 dates" in comparing.one_shot_text(frame)


@pytest.mark.parametrize("tool", UNSTABLE)
def test_once_is_not_over_time_for_the_others(tool):
    settings, iterated, once, differ = UNSTABLE[tool]
    frame = ss.one_shot(ss.Policy(schedule="6h", **settings), SIX_HOURLY, dates=19)
    same = (frame["only_iterated"] == 0) & (frame["only_one_shot"] == 0)
    assert same.sum() <= 1
    assert frame["snapshots_iterated"].mean() == pytest.approx(iterated, abs=1)
    assert frame["snapshots_one_shot"].mean() == pytest.approx(once, abs=1)
    if differ is not None:
        assert frame["only_iterated"].mean() == pytest.approx(differ, abs=1.2)
    difference = frame["snapshots_iterated"] - frame["only_iterated"]
    assert (difference == frame["snapshots_one_shot"] - frame["only_one_shot"]).all()
    assert "instead of after every snapshot" in comparing.one_shot_text(frame)


def test_a_guard_does_not_hide_the_difference():
    policy = ss.Policy(schedule="6h", keep_last=2, guards={"max_delete_fraction": 0.4})
    frame = ss.one_shot(policy, SIX_HOURLY[:100], dates=3)
    assert frame["snapshots_one_shot"].tolist() == [2, 2, 2]


def test_dates_tell_their_progress():
    seen = []
    ss.one_shot(
        ss.Policy(schedule="6h", keep_last=2),
        SIX_HOURLY[:50],
        dates=4,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_the_start_up_of_a_count():
    timeline = ss.Policy(schedule="1d", keep_last=10).timeline(np.arange(START, START + 60 * DAY, DAY))
    got = ss.start_up(timeline)
    assert (got.fewest, got.most) == (10, 10)
    assert got.count_ns == got.reach_ns == got.settled_ns == 9 * DAY
    assert (got.nearest_ns, got.farthest_ns) == (9 * DAY, 9 * DAY)


def test_a_run_that_is_too_short_has_not_settled():
    timeline = ss.Policy(schedule="1d", keep_last=100).timeline(np.arange(START, START + 60 * DAY, DAY))
    assert ss.start_up(timeline).settled_ns is None


def test_a_rule_without_end_never_settles():
    timeline = ss.Policy(schedule="1d", keep_daily=7, keep_yearly="unlimited").timeline(
        np.arange(START, START + 100 * DAY, DAY)
    )
    assert ss.start_up(timeline).settled_ns is None


def test_reach_is_the_age_of_the_oldest():
    timeline = ss.Policy(schedule="6h", **COUNTS).timeline(SIX_HOURLY)
    got = comparing.reached(timeline)
    for i in (0, 5, 200, 1000, 1599):
        assert got[i] == SIX_HOURLY[i] - SIX_HOURLY[timeline.kept(i)[0]]


def test_before_the_first_snapshot_nothing_is_reached():
    timeline = ss.Policy(schedule="@weekly", keep_last=1).timeline(np.arange(START, START + 8 * DAY, DAY))
    got = comparing.reached(timeline)
    assert (got[:6] == 0).all()
    assert got[6:].tolist() == [0, DAY]


def test_what_only_one_holds_and_what_all_hold():
    policy = ss.Policy(schedule="6h", **COUNTS)
    two = ss.compare({"A": policy, "B": ss.vary(policy, "double daily")}, SIX_HOURLY)
    last = {name: set(SIX_HOURLY[one.kept(-1)].tolist()) for name, one in two.timelines.items()}
    assert set(two.only("A").tolist()) == last["A"] - last["B"] == set()
    assert set(two.only("B").tolist()) == last["B"] - last["A"]
    assert set(two.common().tolist()) == last["A"] & last["B"]
    # the seven days more, but for the Sunday that weekly keeps anyway
    assert len(two.only("B")) == 6
    figures = two.figures()
    assert figures["B"]["only_here"] == 6
    assert figures["A"]["end"] == len(last["A"])
    assert figures["A"]["taken"] == len(SIX_HOURLY)


def test_the_frame_has_a_row_for_each_policy_and_instant():
    two = ss.compare({"A": ss.Policy(schedule="6h", keep_last=3)}, SIX_HOURLY[:10])
    assert two.frame["snapshots"].tolist() == [1, 2] + [3] * 8
    assert two.frame["reach_ns"].tolist() == [0, 6 * HOUR] + [12 * HOUR] * 8


def test_text_names_policies_and_differences():
    policy = ss.Policy(schedule="6h", keep_last=3, name="three")
    text = ss.compare({"three": policy, "six": ss.vary(policy, "double last")}, SIX_HOURLY[:100]).text()
    assert text.startswith("three: 6h, keep last 3 (UTC)\nsix: three, double last: 6h, keep last 6 (UTC)\n")
    assert "only six: 3 (" in text
    assert "only three: 0" in text


def test_nothing_to_compare():
    with pytest.raises(PolicyError, match="nothing to compare"):
        ss.compare({}, SIX_HOURLY)
    with pytest.raises(PolicyError, match="policy A has no schedule"):
        comparing.common_instants({"A": ss.Policy(keep_last=1)}, START, START + DAY)
    with pytest.raises(PolicyError, match="no snapshot is due"):
        comparing.common_instants(
            {"A": ss.Policy(schedule="@yearly", keep_last=1)}, START + DAY, START + 2 * DAY
        )


def test_common_instants_are_the_union_of_ticks():
    policies = {"A": ss.Policy(schedule="6h", keep_last=1), "B": ss.Policy(schedule="8h", keep_last=1)}
    hours = (comparing.common_instants(policies, START, START + DAY) - START) // HOUR
    assert hours.tolist() == [0, 6, 8, 12, 16, 18]


BASE = ss.Policy(
    schedule="@daily", keep_hourly=5, keep_daily=7, keep_monthly=6, keep_yearly="unlimited", keep_within="2d",
    keep_within_daily="36h",
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "key", "value"),
    [
        ("drop monthly", "keep_monthly", 0),
        ("drop keep_yearly", "keep_yearly", 0),
        ("double daily", "keep_daily", 14),
        ("halve hourly", "keep_hourly", 3),
        ("daily 14", "keep_daily", 14),
        ("yearly 3", "keep_yearly", 3),
        ("monthly unlimited", "keep_monthly", "unlimited"),
        ("weekly 4", "keep_weekly", 4),
        ("drop within", "keep_within", None),
        ("double within", "keep_within", "4d"),
        ("within 3d", "keep_within", "3d"),
        ("halve within daily", "keep_within_daily", "18h"),
    ],
)
def test_one_rule_is_changed_and_nothing_else(change, key, value):
    changed = ss.vary(BASE, change)
    assert changed.name == change
    assert replace(changed, name="", **{key: getattr(BASE, key)}) == BASE
    assert getattr(changed, key) == value


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("", "cannot be read"),
        ("monthly", "cannot be read"),
        ("drop monthly 3", "cannot be read"),
        ("drop fortnightly", "there is no rule 'fortnightly'"),
        ("drop weekly", "has no keep_weekly"),
        ("double yearly", "unlimited already"),
        ("daily -1", "keep_daily is '-1'"),
    ],
)
def test_changes_that_make_no_sense_are_refused(change, message):
    with pytest.raises(PolicyError, match=message):
        ss.vary(BASE, change)


def test_a_change_that_leaves_nothing_is_refused():
    with pytest.raises(PolicyError, match="keeps nothing"):
        ss.vary(ss.Policy(keep_daily=7), "drop daily")
