"""`growth` against a volume that is followed by hand, and what its answers say."""

import json
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import snapsim as ss
from snapsim import schema
from snapsim.engine.reference import ReferenceVolume
from snapsim.errors import MechanismError, UsageError
from snapsim.testing import strategies
from snapsim.units import DAY, HOUR, MINUTE

START = 1_704_067_200 * 10**9  # 2024-01-01T00:00Z, a Monday
UNIT = 4096

# One example is a whole answer, and there are many mechanisms: together they are as many as elsewhere.
FEW = settings(max_examples=max(settings.default.max_examples // 20, 5))


def history(volume: strategies.Volume, policy: ss.Policy, *, mechanism: str, block_size: int = UNIT):
    """Return growth and, for the same requests and mechanism, the reference."""
    batch = volume.requests
    trace = ss.Trace.from_arrays(*batch[:4], capacity=volume.capacity, start=0)
    lifetimes = ss.count_lifetimes(trace, every=20, block_size=block_size)
    timeline = policy.timeline(lifetimes.instants)
    answer = ss.growth(lifetimes, timeline, mechanism=mechanism)
    need = answer.mechanism.matrices(block_size)[0]
    reference = ReferenceVolume(
        lifetimes.instants.tolist(), block_size=need.block_size, capacity=volume.capacity,
        initial=need.initial or "thick", discard=need.discard, zeroes=need.zeroes, grain=need.grain,
    ).run([batch])  # fmt: skip
    return answer, timeline, reference


SHARED = (
    "wafl",
    "zfs",
    "dm-thin",
    "qcow2-internal",
    "rbd",
    "qcow2-external",
    "se-sparse",
    "avhdx",
    "qcow2-external-extl2",
)


@pytest.mark.parametrize("name", SHARED)
@FEW
@given(st.data())
def test_snapshot_space_is_what_only_snapshots_show(name, data):
    """Every instant of every history: data that snapshots alone need, before and after the prune."""
    mechanism = ss.mechanism(name)
    policy = ss.Policy(
        schedule="20ns", keep_last=data.draw(st.integers(1, 4)), keep_within=data.draw(st.integers(1, 90))
    )
    volume = data.draw(strategies.volumes(max_requests=20))
    answer, timeline, reference = history(volume, policy, mechanism=name, block_size=mechanism.block_size)
    size = reference.block_size
    for t in range(len(timeline.instants)):
        row = answer.frame.iloc[t]
        kept, before = timeline.kept(t).tolist(), timeline.before_prune(t).tolist()
        assert row["snapshots"] == len(kept)
        assert row["live_bytes"] == size * reference.live(t)
        assert row["snapshot_bytes"] == size * reference.snapshot_only(kept, t)
        assert row["peak_bytes"] >= size * reference.snapshot_only(before, t)
        gone = sorted(set(before) - set(kept))
        assert row["freed_bytes"] == size * reference.freed(before, gone, t)
        if mechanism.deletion.kind == "merge" and len(gone) == 1:
            place = before.index(gone[0])
            newer = before[place + 1] if place + 1 < len(before) else t
            assert row["merged_bytes"] == size * reference.written(gone[0], newer)


@FEW
@given(st.data())
def test_private_stores_hold_what_was_written_since(data):
    policy = ss.Policy(schedule="20ns", keep_last=3)
    volume = data.draw(strategies.volumes(max_requests=20))
    answer, timeline, reference = history(volume, policy, mechanism="dm-snapshot")
    held = 0
    for t in range(len(timeline.instants)):
        row = answer.frame.iloc[t]
        stores = reference.private_stores(timeline.kept(t).tolist(), t)
        assert row["snapshot_bytes"] == UNIT * sum(stores)
        assert row["metadata_bytes"] == UNIT * sum(2 + store // 256 for store in stores)
        assert row["peak_bytes"] == UNIT * sum(reference.private_stores(timeline.before_prune(t).tolist(), t))
        assert row["snapshot_bytes"] == held + row["copied_bytes"] - row["freed_bytes"]
        held = row["snapshot_bytes"]


@FEW
@given(st.data())
def test_a_detached_store_holds_every_snapshot_incrementally(data):
    policy = ss.Policy(schedule="20ns", keep_last=2)
    volume = data.draw(strategies.volumes(max_requests=20))
    answer, timeline, reference = history(volume, policy, mechanism="ebs", block_size=512 << 10)
    held = [reference.detached(timeline.kept(t).tolist()) for t in range(len(timeline.instants))]
    assert answer.frame["snapshot_bytes"].tolist() == [(512 << 10) * one for one in held]


@pytest.fixture(scope="module")
def week() -> ss.Trace:
    """A week of writes, 600 an hour, to a volume of 256 MiB."""
    rng = np.random.default_rng(7)
    n = 7 * 24 * 600
    times = np.sort(rng.integers(0, 7 * DAY, n))
    return ss.Trace.from_arrays(
        times,
        np.ones(n, np.uint8),
        rng.integers(0, 1 << 16, n) * UNIT,
        np.full(n, UNIT),
        capacity=1 << 28,
        start=START,
    )


@pytest.fixture(scope="module")
def lifetimes(week) -> ss.LifetimeMatrix:
    return ss.count_lifetimes(week, every="1h", block_size="64KiB")


@pytest.fixture(scope="module")
def policy() -> ss.Policy:
    return ss.Policy(schedule="@hourly", keep_hourly=24, keep_daily=3)


@pytest.mark.parametrize("name", ss.mechanisms())
def test_every_mechanism_answers(week, policy, name):
    """Columns are registered, sums are sums, bounds enclose, nothing is negative."""
    mechanism = ss.mechanism(name)
    counted = ss.count_lifetimes(week, every="6h", block_size=mechanism.block_size)
    daily = ss.Policy(schedule="6h", keep_last=4, keep_daily=3)
    answer = ss.growth(counted, daily.timeline(counted.instants), mechanism=mechanism)
    frame = answer.frame
    schema.check_columns(frame.columns)
    assert frame["time"].dtype == schema.QUANTITIES["time"].dtype
    whole = frame.drop(columns="time")
    assert (whole.dtypes == np.int64).all()
    assert (whole >= 0).all().all()
    parts = frame[["live_bytes", "snapshot_bytes", "metadata_bytes", "memory_bytes"]].sum(axis=1)
    assert parts.equals(frame["total_bytes"])
    assert (frame["peak_bytes"] >= frame["snapshot_bytes"]).all()
    assert (frame["lower_bytes"] <= frame["snapshot_bytes"]).all()
    assert (frame["upper_bytes"] >= frame["snapshot_bytes"]).all()
    assert answer.mechanism.title in answer.text()
    assert answer.coverage.verdict in answer.text()
    json.dumps(answer.summary())


def test_the_peak_is_the_largest_transient(lifetimes, policy):
    answer = ss.growth(lifetimes, policy.timeline(lifetimes.instants), mechanism="qcow2-external")
    assert (
        answer.peak["snapshot_bytes"]
        == answer.frame["peak_bytes"].max()
        > answer.frame["snapshot_bytes"].max()
    )
    assert answer.peak["snapshots"] == answer.frame["snapshots"].max() + 1
    assert answer.percentiles["p50"] == int(np.sort(answer.frame["snapshot_bytes"])[len(answer.frame) // 2])


def test_layers_hold_data_metadata_and_files(lifetimes, policy):
    """Files are as long as what is in them, but for the end of an empty layer's last cluster."""
    answer = ss.growth(lifetimes, policy.timeline(lifetimes.instants), mechanism="qcow2-external")
    frame = answer.frame
    assert (frame["file_bytes"] >= frame["allocated_bytes"] - 65536 * (frame["snapshots"] + 1)).all()
    assert (frame["file_bytes"] <= frame["allocated_bytes"]).all()


def test_memory_images_are_counted_once_per_vm(lifetimes):
    policy = ss.Policy(schedule="@hourly", keep_last=5, memory="full", ram="1GiB")
    timeline = policy.timeline(lifetimes.instants)
    alone = ss.growth(lifetimes, timeline, mechanism="qcow2-internal")
    assert alone.frame["memory_bytes"].max() == 5 << 30
    both = ss.growth({"vda": lifetimes, "vdb": lifetimes}, timeline, mechanism="qcow2-internal")
    assert both.frame["memory_bytes"].equals(alone.frame["memory_bytes"])
    assert both.frame["snapshot_bytes"].equals(2 * alone.frame["snapshot_bytes"])
    parts = both.frame[["live_bytes", "snapshot_bytes", "metadata_bytes", "memory_bytes"]].sum(axis=1)
    assert parts.equals(both.frame["total_bytes"])


def test_a_group_peaks_with_its_sum_not_with_its_parts():
    """Two volumes that are busy at different times: the peak of the sum is less than the sum of the peaks."""

    def busy(at: int) -> ss.Trace:
        times = np.arange(500) * 10**9 + at
        return ss.Trace.from_arrays(
            times, [1] * 500, np.arange(500) * UNIT, [UNIT] * 500, capacity=1 << 24, start=START
        )

    group = ss.count_group({"a": busy(0), "b": busy(DAY)}, every="1h", block_size=UNIT)
    timeline = ss.Policy(schedule="1h", keep_last=3).timeline(group["a"].instants)
    both = ss.growth(group, timeline, mechanism="wafl")
    alone = [ss.growth(one, timeline, mechanism="wafl").peak["snapshot_bytes"] for one in group.values()]
    assert both.peak["snapshot_bytes"] == max(alone) < sum(alone)
    assert set(both.members) == {"a", "b"}
    assert set(both.summary()["members"]) == {"a", "b"}


@pytest.mark.parametrize(
    ("keep", "steady", "words"),
    [
        ({"keep_hourly": 24}, True, "the steady state was reached."),
        ({"keep_daily": 5}, True, "less than one more reach"),
        ({"keep_weekly": 4}, False, "only the start-up was seen"),
        ({"keep_last": "unlimited"}, False, "without end"),
    ],
)
def test_the_coverage_verdict(lifetimes, keep, steady, words):
    timeline = ss.Policy(schedule="@hourly", **keep).timeline(lifetimes.instants)
    coverage = ss.growth(lifetimes, timeline, mechanism="dm-thin", bounds=False).coverage
    assert coverage.steady is steady
    assert words in coverage.verdict


def test_the_snapshot_table_tells_sizes_and_reasons(lifetimes, policy):
    answer = ss.growth(lifetimes, policy.timeline(lifetimes.instants), mechanism="qcow2-internal")
    last = len(lifetimes.instants) - 1
    kept = answer.timeline.kept(last)
    table = answer.snapshots
    assert len(table) == len(kept)
    schema.check_columns(table.columns)
    data = lifetimes.recount(**answer.mechanism.matrices("64KiB")[0].counting())
    assert table["exclusive_bytes"].tolist() == data.exclusive_bytes(kept, last).tolist()
    assert table["written_bytes"].tolist()[1:] == [
        data.written_bytes(int(a), int(b)) for a, b in pairwise(kept)
    ]
    assert all("hourly" in reasons or "daily" in reasons for reasons in table["reasons"])
    assert table["age_ns"].tolist()[-1] == 0


def test_a_store_of_fixed_size_fills_up(lifetimes, week):
    small = ss.mechanism("dm-snapshot").with_options(block_size="64KiB", size="4MiB")
    timeline = ss.Policy(schedule="@daily", keep_last=3).timeline(lifetimes.instants)
    answer = ss.growth(lifetimes, timeline, mechanism=small)
    assert "become invalid" in " ".join(answer.findings)
    assert answer.frame["snapshot_bytes"].max() <= 3 * (4 << 20)
    large = ss.mechanism("dm-snapshot").with_options(block_size="64KiB", size="1GiB")
    assert not ss.growth(lifetimes, timeline, mechanism=large).findings


def test_a_thick_zvol_says_what_its_first_snapshot_needs(week):
    counted = ss.count_lifetimes(week, every="6h", block_size="16KiB")
    timeline = ss.Policy(schedule="6h", keep_last=3).timeline(counted.instants)
    thick = ss.mechanism("zfs").with_options(refreservation=True)
    thin_answer = ss.growth(counted, timeline, mechanism="zfs")
    answer = ss.growth(counted, timeline, mechanism=thick)
    assert "first snapshot fails" in " ".join(answer.findings)
    assert (answer.frame["allocated_bytes"] > thin_answer.frame["allocated_bytes"]).all()


def test_too_long_a_chain_is_noticed(lifetimes):
    counted = lifetimes.recount(block_size=4096)
    timeline = ss.Policy(schedule="@hourly", keep_last=40).timeline(counted.instants)
    assert "allows 32" in " ".join(ss.growth(counted, timeline, mechanism="se-sparse").findings)


def test_provenance_names_trace_policy_and_versions(lifetimes, policy, week):
    answer = ss.growth(lifetimes, policy.timeline(lifetimes.instants), mechanism="qcow2-external")
    assert answer.provenance["trace"]["fingerprint"] == week.fingerprint
    assert answer.provenance["snapsim"] == ss.__version__
    assert ss.Policy.from_toml(answer.provenance["policy"]).describe() == policy.describe()


def test_assumptions_are_said(policy):
    bare = ss.Trace.from_arrays([0, 5 * MINUTE], [1, 1], [0, 0], [UNIT, UNIT])
    counted = ss.count_lifetimes(bare, every="30min", block_size="64KiB")
    late = ss.Policy(schedule="50 * * * *", keep_last=2)
    answer = ss.growth(counted, late.timeline(counted.instants), mechanism="qcow2-internal")
    told = " ".join(answer.assumptions)
    assert "2001-01-01" in told
    assert "end where the requests end" in told
    assert "upper bound" in told


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m, t: ss.growth(m, t, mechanism="qcow3"), MechanismError, "unknown"),
        (lambda m, t: ss.growth(m, t, mechanism="ebs"), MechanismError, "64 KiB does not fit ebs"),
        (lambda _, t: ss.growth({}, t, mechanism="zfs"), UsageError, "at least one volume"),
        (
            lambda m, t: ss.growth(m, t.policy.timeline(m.instants[1:]), mechanism="qcow2-internal"),
            UsageError,
            "other instants",
        ),
    ],
    ids=["mechanism", "block size", "empty group", "instants"],
)
def test_what_makes_no_sense_is_refused(lifetimes, policy, call, error, message):
    with pytest.raises(error, match=message):
        call(lifetimes, policy.timeline(lifetimes.instants))


def test_the_reserve_leaves_out_what_the_volume_has_anyway(week):
    """Without snapshots nothing is reserved, although the mechanism keeps tables for the volume."""
    for name in (
        "zfs",
        "dm-thin",
        "se-sparse",
        "qcow2-external",
        "qcow2-internal",
        "avhdx",
        "dm-snapshot",
        "ebs",
    ):
        mechanism = ss.mechanism(name)
        counted = ss.count_lifetimes(week, every="1d", block_size=mechanism.block_size)
        never = ss.Policy(schedule="0 0 1 1 *", keep_last=1).timeline(counted.instants[1:])
        assert len(never) == 0
        none = ss.count_lifetimes(week, instants=counted.instants[1:], block_size=mechanism.block_size)
        answer = ss.growth(none, never, mechanism=mechanism, bounds=False)
        assert answer.peak["reserve_bytes"] == 0
        assert answer.peak["total_bytes"] == int(
            (answer.frame["live_bytes"] + answer.frame["metadata_bytes"]).max()
        )
        assert "No snapshot was taken" in answer.coverage.verdict
        assert not answer.coverage.steady


def test_the_reserve_holds_one_snapshot_more_than_are_kept(lifetimes):
    policy = ss.Policy(schedule="@hourly", keep_last=5, memory="full", ram="1GiB")
    answer = ss.growth(lifetimes, policy.timeline(lifetimes.instants), mechanism="qcow2-internal")
    assert answer.peak["snapshots"] == 6
    memory = 6 << 30
    assert answer.peak["reserve_bytes"] > memory + answer.peak["snapshot_bytes"]
    group = ss.growth([lifetimes, lifetimes], answer.timeline, mechanism="qcow2-internal")
    assert group.peak["reserve_bytes"] - memory == 2 * (answer.peak["reserve_bytes"] - memory)
    frame = answer.frame
    assert (frame["peak_allocated_bytes"] >= frame["allocated_bytes"]).all()
    assert (frame["peak_total_bytes"] >= frame["total_bytes"]).all()


def test_a_pool_that_is_full_says_when(week):
    counted = ss.count_lifetimes(week, every="6h", block_size="64KiB")
    timeline = ss.Policy(schedule="6h", keep_last=3).timeline(counted.instants)
    plain = ss.growth(counted, timeline, mechanism="dm-thin", bounds=False)
    needed = plain.peak["allocated_bytes"]
    sized = {
        size: ss.growth(
            counted, timeline, mechanism=ss.mechanism("dm-thin").with_options(size=size), bounds=False
        )
        for size in (needed, needed - 1)
    }
    assert not any("pool" in finding for finding in sized[needed].findings)
    assert any("is full by 2024-01-0" in finding for finding in sized[needed - 1].findings)
    # together two volumes fill a pool that has room for either
    pool = ss.mechanism("dm-thin").with_options(size=needed + 1)
    assert not ss.growth(counted, timeline, mechanism=pool, bounds=False).findings
    both = ss.growth([counted, counted], timeline, mechanism=pool, bounds=False)
    assert sum("is full by" in finding for finding in both.findings) == 1


def test_coverage_counts_only_what_instants_and_trace_share(week):
    """Instants long before the trace, or only over a part of it, do not make it longer."""
    policy = ss.Policy(schedule="1d", keep_last=3)
    early = START - 40 * DAY + np.arange(48) * DAY
    counted = ss.count_lifetimes(week, instants=early, block_size="64KiB")
    answer = ss.growth(counted, policy.timeline(counted.instants), mechanism="dm-thin", bounds=False)
    assert answer.coverage.trace_span_ns <= 7 * DAY
    part = ss.count_lifetimes(week, instants=START + np.arange(3) * HOUR, block_size="64KiB")
    hourly = ss.Policy(schedule="1h", keep_daily=2)
    answer = ss.growth(part, hourly.timeline(part.instants), mechanism="dm-thin", bounds=False)
    assert answer.coverage.trace_span_ns == 2 * HOUR
    assert not answer.coverage.steady


def test_a_group_is_covered_as_its_shortest_member(week):
    group = ss.count_group({"long": week, "short": week.window(None, "2h")}, every="1h", block_size="64KiB")
    timeline = ss.Policy(schedule="1h", keep_hourly=24).timeline(group["long"].instants)
    assert not ss.growth(group, timeline, mechanism="dm-thin", bounds=False).coverage.steady


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, t: ss.growth(m, t.policy, mechanism="zfs"), "timeline is a Policy"),
        (lambda m, t: ss.growth(m.origin, t, mechanism="zfs"), "lifetimes is a Trace"),
        (lambda m, t: ss.growth([m, m.origin], t, mechanism="zfs"), "lifetimes of '1' are a Trace"),
        (
            lambda m, t: ss.growth([m, m.recount(block_size=4096)], t, mechanism="zfs"),
            "blocks of 64 KiB and 4 KiB",
        ),
        (lambda m, _: m.recount(size=1), "takes no 'size'"),
        (lambda _, __: ss.count_lifetimes("trace.csv", every="1h", block_size=512), "trace is a str"),
        (lambda m, _: ss.count_lifetimes(m.origin, every="1h", block_size=512, initial=5), "pairs of whole"),
        (
            lambda m, _: ss.count_lifetimes(m.origin, every="1h", block_size=512, initial=[(0.5, 9)]),
            "pairs of whole",
        ),
        (
            lambda m, _: ss.count_lifetimes(m.origin, every="1h", block_size=512, initial=[1, 2]),
            "pairs of whole",
        ),
        (lambda m, _: ss.count_lifetimes(m.origin, instants="2024-01-01", block_size=512), "several points"),
        (lambda m, _: ss.count_lifetimes(m.origin, instants=[pd.NaT], block_size=512), "cannot be read"),
    ],
)
def test_mistaken_arguments_get_a_sentence(lifetimes, policy, call, message):
    with pytest.raises(UsageError, match=message):
        call(lifetimes, policy.timeline(lifetimes.instants))


def test_only_the_classes_that_save_memory_cost_it():
    hour = 3600 * 10**9
    trace = ss.Trace.from_arrays([5], ["write"], [0], [4096], capacity="1MiB", start=0)
    instants = np.arange(0, 49 * hour, hour)
    lifetimes = ss.count_lifetimes(trace, instants=instants, block_size="4KiB")
    classes = {
        "hourly": {"schedule": "@hourly", "keep": 3},
        "daily": {"schedule": "@daily", "keep": 2, "kind": "full", "ram": "1GiB"},
    }
    timeline = ss.Policy(classes=classes).timeline(instants)
    held = ss.growth(lifetimes, timeline, mechanism="qcow2-internal").frame
    days = [sum(1 for day in (0, 24, 48) if day <= now) for now in range(49)]
    assert (held["memory_bytes"] // (1 << 30)).tolist() == [min(count, 2) for count in days]
    assert held["peak_total_bytes"].iloc[48] - held["total_bytes"].iloc[48] >= 1 << 30
