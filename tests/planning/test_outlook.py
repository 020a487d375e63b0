"""`evaluate` says what `growth` says, to the last byte, for every mechanism and any policy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import snapsim as ss
from snapsim import schema
from snapsim.errors import MechanismError, UsageError
from snapsim.testing import strategies
from snapsim.units import HOUR

START = 1_704_067_200 * 10**9  # 2024-01-01T00:00Z
FEW = settings(max_examples=max(settings.default.max_examples // 20, 5))


def told_by_growth(answer: ss.Growth) -> dict[str, object]:
    """The row, formed from the answer over time."""
    frame, timeline, peak = answer.frame, answer.timeline, answer.peak
    instants = timeline.instants
    lasts = np.diff(instants, append=instants[-1] + (instants[-1] - instants[-2] if len(instants) > 1 else 1))
    row = {
        "policy": timeline.policy.describe(),
        "snapshots_peak": peak["snapshots"],
        "reach_ns": timeline.reach_ns,
        "steady": answer.coverage.steady,
        **{f"{name}_peak_bytes": peak[f"{name}_bytes"] for name in ("snapshot", "reserve", "total")},
        "allocated_peak_bytes": peak["allocated_bytes"],
        "snapshot_mean_bytes": np.average(frame["snapshot_bytes"], weights=lasts),
        **{f"snapshot_{name}_bytes": value for name, value in answer.percentiles.items()},
        "snapshots_end": frame["snapshots"].iloc[-1],
    }
    row |= {
        f"{name}_end_bytes": frame[f"{name}_bytes"].iloc[-1] for name in ("snapshot", "metadata", "total")
    }
    return row | {
        f"{name}_total_bytes": frame[f"{name}_bytes"].sum() for name in ("merged", "copied", "freed")
    }


@st.composite
def policies(draw):
    keep = draw(
        st.dictionaries(
            st.sampled_from(("keep_last", "keep_within", "keep_hourly")),
            st.integers(1, 60),
            min_size=1,
        )
    )
    memory = draw(st.sampled_from(({}, {"memory": "full", "ram": 4096})))
    return ss.Policy(schedule=f"{draw(st.sampled_from((20, 40, 100)))}ns", **keep, **memory)


@pytest.mark.parametrize("name", ss.mechanisms())
@FEW
@given(st.data())
def test_a_row_is_what_growth_says(name, data):
    mechanism = ss.mechanism(name)
    volume = data.draw(strategies.volumes(max_requests=20))
    trace = ss.Trace.from_arrays(*volume.requests[:4], capacity=volume.capacity, start=0)
    lifetimes = ss.count_lifetimes(trace, every=20, block_size=mechanism.block_size)
    chosen = data.draw(st.lists(policies(), min_size=1, max_size=3))
    frame = ss.evaluate(lifetimes, chosen, mechanism=mechanism)
    schema.check_columns(frame.columns)
    for row, policy in zip(frame.to_dict("records"), chosen, strict=True):
        timeline = policy.timeline(lifetimes.instants)
        assert row == told_by_growth(ss.growth(lifetimes, timeline, mechanism=mechanism, bounds=False))


@pytest.fixture(scope="module")
def group() -> dict[str, ss.LifetimeMatrix]:
    """Two volumes of a few days, written at random."""
    rng = np.random.default_rng(5)
    traces = {
        name: ss.Trace.from_arrays(
            np.sort(rng.integers(0, 96 * HOUR, 4000)), np.ones(4000, np.uint8),
            rng.integers(0, 1 << 10, 4000) * 65536, np.full(4000, 65536), capacity=1 << 26, start=START,
        )
        for name in ("vda", "vdb")
    }  # fmt: skip
    return ss.count_group(traces, every="1h", block_size="64KiB")


POLICIES = (
    ss.Policy(schedule="@hourly", keep_hourly=24, keep_daily=3),
    ss.Policy(schedule="6h", keep_last=3, memory="full", ram="1GiB"),
    ss.Policy(schedule="@daily", keep_last="unlimited"),
)


@pytest.mark.parametrize("name", ["dm-thin", "qcow2-external", "qcow2-internal", "dm-snapshot"])
def test_a_group_is_summed_on_one_clock(group, name):
    mechanism = ss.mechanism(name).with_options(block_size="64KiB")
    frame = ss.evaluate(group, POLICIES, mechanism=mechanism)
    for row, policy in zip(frame.to_dict("records"), POLICIES, strict=True):
        timeline = policy.timeline(group["vda"].instants)
        assert row == told_by_growth(ss.growth(group, timeline, mechanism=mechanism, bounds=False))


def test_timelines_are_taken_as_they_are(group):
    one = group["vda"]
    timelines = [policy.timeline(one.instants) for policy in POLICIES]
    given_policies = ss.evaluate(one, POLICIES, mechanism="dm-thin")
    assert ss.evaluate(one, timelines, mechanism="dm-thin").equals(given_policies)
    dtypes = {name: str(dtype) for name, dtype in given_policies.dtypes.items()}
    assert dtypes == {name: schema.QUANTITIES[name].dtype for name in given_policies.columns}


@pytest.mark.parametrize(
    ("chosen", "mechanism", "error", "message"),
    [
        ((), "dm-thin", UsageError, "at least one policy"),
        (("keep 3",), "dm-thin", UsageError, "policies hold a str"),
        (POLICIES, "qcow3", MechanismError, "unknown"),
        (POLICIES, "ebs", MechanismError, "does not fit ebs"),
    ],
    ids=["none", "text", "mechanism", "block size"],
)
def test_what_makes_no_sense_is_refused(group, chosen, mechanism, error, message):
    with pytest.raises(error, match=message):
        ss.evaluate(group["vda"], chosen, mechanism=mechanism)


def test_a_timeline_of_other_instants_is_refused(group):
    other = POLICIES[0].timeline(group["vda"].instants[1:])
    with pytest.raises(UsageError, match="other instants"):
        ss.evaluate(group["vda"], [other], mechanism="dm-thin")
    with pytest.raises(UsageError, match="at least one volume"):
        ss.evaluate({}, POLICIES, mechanism="dm-thin")
