"""Policies side by side: ladders, space, and the bounds beside them."""

import numpy as np
import pandas as pd
import pytest

import snapsim as ss
from snapsim.errors import UsageError
from snapsim.tuning.side_by_side import EVERYTHING, own_ladder
from snapsim.units import HOUR, MINUTE

POLICIES = {
    "short": ss.Policy(schedule="1h", keep_last=6),
    "long": ss.Policy(schedule="1h", keep_hourly=6, keep_daily=3),
}


@pytest.fixture(scope="module")
def lifetimes():
    rng = np.random.default_rng(3)
    hours = np.arange(24 * 8, dtype=np.int64)
    trace = ss.Trace.from_arrays(
        hours * HOUR + 30 * MINUTE,
        ["write"] * len(hours),
        rng.integers(0, 64, len(hours)) * 65536,
        np.full(len(hours), 65536),
        capacity="4MiB",
        start="2026-01-01T00:00Z",
    )
    return ss.count_lifetimes(trace, every="1h", block_size="64KiB", initial="thin")


@pytest.fixture(scope="module")
def answer(lifetimes):
    return ss.side_by_side(POLICIES, lifetimes=lifetimes, mechanism="qcow2-external")


def test_space_is_what_evaluate_says_and_everything_stands_beside_it(answer, lifetimes):
    space = answer.space
    assert space["policy"].tolist() == ["short", "long", EVERYTHING]
    told = ss.evaluate(lifetimes, POLICIES.values(), mechanism="qcow2-external")
    for column in ("snapshot_peak_bytes", "snapshot_mean_bytes", "snapshot_end_bytes"):
        assert space[column].tolist()[:2] == told[column].tolist()
        assert space[column].iloc[2] >= space[column].max()


def test_the_least_possible_is_no_more_than_the_policy_holds(answer):
    own, least = (answer.space[name].tolist()[:2] for name in ("snapshot_end_bytes", "clairvoyant_bytes"))
    assert all(0 < bound <= held for bound, held in zip(least, own, strict=True))
    assert pd.isna(answer.space["clairvoyant_bytes"].iloc[2])


def test_a_policy_meets_its_own_ladder(answer):
    for timeline in answer.comparison.timelines.values():
        instants = timeline.instants
        taken = instants[timeline.kept(-1)]
        ladder = own_ladder(timeline)
        assert ladder.met_by(taken, now_ns=int(instants[-1]), start_ns=int(taken[0]))
        assert ladder.reach_ns == instants[-1] - taken[0]


def test_ladders_are_those_of_each_policy(answer):
    for name, timeline in answer.comparison.timelines.items():
        own = answer.ladders[answer.ladders["policy"] == name].drop(columns="policy").reset_index(drop=True)
        pd.testing.assert_frame_equal(own, ss.recovery_ladder(timeline).reset_index(drop=True))


def test_text_says_all_of_it(answer, lifetimes):
    text = answer.text()
    assert "age" in text
    assert "short: median, worst" in text
    assert EVERYTHING in text
    assert "least possible" in text
    assert "paced" not in text
    paced = ss.count_lifetimes(lifetimes.origin.stretch(2), every="1h", block_size="64KiB")
    assert (
        "\nthe recording was paced: 1 s stands for 2s (x2)"
        in ss.side_by_side(POLICIES, lifetimes=paced).text()
    )


def test_a_summary_is_plain(answer):
    told = answer.summary()
    assert list(told["policies"]) == ["short", "long"]
    assert told["space"][2]["clairvoyant_bytes"] is None
    assert {row["policy"] for row in told["ladders"]} == {"short", "long"}
    assert len(told["only"]["long"]) == told["policies"]["long"]["only_here"]


def test_without_lifetimes_there_is_no_space():
    hours = HOUR * np.arange(100)
    answer = ss.side_by_side(POLICIES, hours)
    assert answer.space is None
    assert answer.summary()["space"] is None
    assert EVERYTHING not in answer.text()


def test_instants_come_from_one_place(lifetimes):
    for wrong in ({}, {"instants": lifetimes.instants, "lifetimes": lifetimes}):
        with pytest.raises(UsageError, match="either instants or lifetimes"):
            ss.side_by_side(POLICIES, **wrong)


def test_policies_act_on_the_pool_and_on_what_is_written(lifetimes):
    policies = {
        "pressed": ss.Policy(
            schedule="1h", keep_last=20, space={"snapshots_max": 0.02, "soft": {"keep_last": 2}}
        ),
        "quiet": ss.Policy(classes={"six": {"schedule": "6h", "keep": 4, "quiet": "3h"}}),
    }
    answer = ss.side_by_side(policies, lifetimes=lifetimes, mechanism="qcow2-external", pool_size="16MiB")
    timelines = answer.comparison.timelines
    for name, policy in policies.items():
        size = "16MiB" if policy.space else None
        alone = ss.run_policy(policy, lifetimes, mechanism="qcow2-external", pool_size=size)
        assert timelines[name].deleted.tolist() == alone.deleted.tolist()
    assert timelines["pressed"].kept(-1).size < 20
    with pytest.raises(UsageError, match="cannot be told without lifetimes"):
        ss.side_by_side(POLICIES, lifetimes.instants, pool_size="16MiB")
