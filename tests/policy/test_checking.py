"""What is odd about a policy."""

import numpy as np
import pytest

import snapsim as ss
from snapsim.policy.checking import Checkup
from snapsim.policy.times import parse_instant
from snapsim.units import DAY

START = parse_instant("2024-01-01T00:00Z")


def checked(days=100, **rules):
    policy = ss.Policy(schedule="1d", **rules)
    return Checkup(policy, policy.timeline(np.arange(START, START + days * DAY, DAY)))


def test_nothing_is_odd_about_a_usual_policy():
    assert checked(keep_daily=7, keep_weekly=4).findings == []


def test_what_people_mark_is_not_to_be_seen_in_a_simulation():
    assert checked(keep_last=3, keep_tag=[["release"]], keep=[{"select": {"name": "x"}}]).findings == []


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ({"keep_last": 5, "limits": {"chain_max": 3}}, "up to 5 snapshots, above chain_max 3"),
        ({"keep_last": 5, "limits": {"chain_hard": 4}}, "above the hard limit 4"),
        ({"keep_last": 5, "limits": {"chain_hard": 5}}, "fill the hard limit"),
        ({"keep_last": 5, "limits": {"max_age": "72h"}}, "get 4d old, above max_age 72h"),
        (
            {"keep_last": 5, "limits": {"chain_max": 3, "on_violation": "merge_oldest"}},
            "the oldest may be merged although rules keep it",
        ),
        ({"keep_last": 3, "keep_yearly": "unlimited"}, "rule yearly has no end"),
        ({"keep_last": 7, "keep_daily": 5}, "rule daily never matters"),
        ({"keep_last": 3, "keep": [{"name": "old", "age": ["30d", "60d"]}]}, "rule old keeps nothing"),
    ],
)
def test_odd_policies(rules, told):
    findings = checked(**rules).findings
    assert any(told in one for one in findings), findings


def test_a_guard_that_usual_prunes_trip():
    findings = checked(keep_last=1, guards={"max_delete_fraction": 0.4}).findings
    assert any("usual prunes would be stopped" in one for one in findings)


def test_by_hand_there_is_only_the_reach():
    assert Checkup(ss.Policy(keep_last=3), None).findings == []
    assert Checkup(ss.Policy(keep_last=3), None).start_up is None


def test_a_schedule_that_no_rule_is_about():
    (finding,) = checked(compat="sanoid", keep_daily=7).findings
    assert "give each class a schedule" in finding
