"""Replay: every request through a chain of snapshots, on a device."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import snapsim as ss
from snapsim.engine.replay import Replay
from snapsim.errors import UsageError
from snapsim.planning.read_first import read_first_map
from snapsim.types import Batch
from snapsim.units import MIB, MINUTE, SECOND

N, SPAN = 3000, 20 * MINUTE
START = "2026-03-01T00:00:30Z"
RULES = ss.Policy(schedule="1min", keep_last=3)


def make_trace(seed=1, *, n=N, span=SPAN, size=4096, blocks=4096):
    rng = np.random.default_rng(seed)
    op = rng.choice([ss.READ, ss.WRITE, ss.FLUSH, ss.DISCARD], n, p=[0.3, 0.6, 0.05, 0.05])
    length = np.where(op == ss.FLUSH, 0, rng.integers(1, 9, n) * size)
    offset = np.where(op == ss.FLUSH, 0, rng.integers(0, blocks - 8, n) * size)
    return ss.Trace.from_arrays(
        np.sort(rng.integers(0, span, n)), op, offset, length, capacity=blocks * size, start=START
    )


def minutes(trace, policy=RULES):
    first = trace.start_ns // MINUTE
    last = (trace.start_ns + trace.last_ns) // MINUTE + 1
    return policy.timeline(np.arange(first, last + 1) * MINUTE)


@pytest.fixture(scope="module")
def trace():
    return make_trace()


@pytest.fixture(scope="module")
def timeline(trace):
    return minutes(trace)


@pytest.fixture(scope="module")
def answer(trace, timeline):
    return ss.replay(trace, timeline, "qcow2-external", "nvme", interval="30s")


def same(one, other):
    for name in ("frame", "operations", "bursts"):
        pd.testing.assert_frame_equal(getattr(one, name), getattr(other, name))
    assert one.load == other.load
    assert one.summary() == other.summary()


# --- what is counted


@pytest.mark.parametrize("mechanism", ["qcow2-external", "dm-snapshot"])
@pytest.mark.parametrize("rows", [1, 97, 1024])
def test_batches_of_any_size_give_the_same(trace, timeline, mechanism, rows):
    # merges at 1 MiB a second last into the next minute, and stand between the guest's requests
    short = trace.window(0, "4min") if rows == 1 else trace
    how = {"device": "sata-ssd", "interval": "30s", "merge_speed": "1MiB"}
    whole = ss.replay(short, timeline, mechanism, **how)
    same(whole, ss.replay(short, timeline, mechanism, batch=rows, **how))
    assert whole.load.longest_queue > 1


def counted_by_hand(trace, timeline, mechanism, how):
    """Return what the engine counts when it is driven request by request."""
    chain = Replay.of(ss.mechanism(mechanism), capacity=trace.capacity)
    guest, upkeep, names, begin = [], [], {}, 0
    batch = next(iter(trace.batches(rows=len(trace))))

    def carry_out(stop):
        guest.extend(
            chain.replay(Batch(*(column[i : i + 1] for column in batch[:4]))) for i in range(begin, stop)
        )
        return stop

    for instant, time in enumerate((timeline.instants - trace.start_ns).tolist()):
        begin = carry_out(int((batch.time_ns < time).sum()))
        for number in np.flatnonzero(timeline.created == instant).tolist():
            upkeep.append(chain.create())
            names[number] = upkeep[-1].snapshot
        for number in np.flatnonzero(timeline.deleted == instant).tolist():
            upkeep += [chain.remove(names.pop(number), how=how)]
    carry_out(len(trace))
    guest.append(chain.metadata_flush())
    sums = {name: sum(int(getattr(one, name).sum()) for one in guest) for name in guest[0]._fields}
    moved = [one.moves.moved * chain.counting.block_size for one in upkeep]
    for name in ("read_bytes", "written_bytes"):
        sums[name] += sums[f"metadata_{name}"] + sum(getattr(one, name) for one in upkeep)
    sums["flushes"] += sum(one.flushes for one in upkeep)
    return sums, moved, chain.total / chain.live


@pytest.mark.parametrize(
    ("mechanism", "how"),
    [("qcow2-external", "commit"), ("qcow2-external", "stream"), ("qcow2-external-extl2", "commit"),
     ("qcow2-internal", "commit"), ("dm-snapshot", "commit"), ("dm-thin", "commit")],
)  # fmt: skip
def test_the_sums_are_those_of_the_engine(trace, mechanism, how):
    short = trace.window(0, "6min")
    timeline = minutes(short)
    sums, moved, held = counted_by_hand(short, timeline, mechanism, how)
    got = ss.replay(short, timeline, mechanism, None, merge=how, interval="1min")
    for name in ("read_bytes", "written_bytes", "metadata_read_bytes", "metadata_written_bytes", "flushes"):
        assert got.frame[name].sum() == sums[name], name
    assert got.operations["moved_bytes"].tolist() == moved
    assert got.frame["space_amplification"].iloc[-1] == held
    reads = next(iter(short.batches(columns=())))
    some = reads.op == ss.READ
    first, stop = reads.offset[some], reads.offset[some] + reads.length[some]
    blocks = (-(-stop // got.version_bytes) - first // got.version_bytes).sum()
    assert got.layers_per_read == pytest.approx(sums["lookups"] / blocks)


def test_a_device_does_not_change_what_is_counted(trace, timeline, answer):
    without = ss.replay(trace, timeline, "qcow2-external", None, interval="30s")
    counted = [name for name, kind in without.frame.dtypes.items() if kind == np.int64]
    pd.testing.assert_frame_equal(without.frame[counted], answer.frame[counted])
    assert without.load is None
    assert not without.latencies
    assert without.frame["latency_p99_ns"].isna().all()
    assert without.frame["utilisation"].isna().all()
    assert not without.frame["saturated"].any()
    assert without.bursts["latency_mean_ns"].isna().all()


def test_a_snapshot_sees_what_came_earlier_only():
    """A write at the very instant is the first to a block that the snapshot shows; one before is not."""
    for when, filled in ((MINUTE - 1, 0), (MINUTE, 61440)):
        one = ss.Trace.from_arrays([when], ["write"], [4096], [4096], capacity="1MiB", start=0)
        got = ss.replay(
            one, ss.Policy(schedule="1min", keep_last=9).timeline([MINUTE]), "qcow2-external", None
        )
        assert got.frame["copied_bytes"].sum() == filled
        assert got.frame["copy_read_bytes"].sum() == (65536 if filled else 0)


def test_intervals_follow_the_clock(trace, answer):
    time = answer.frame["time"]
    assert time.iloc[0] == pd.Timestamp("2026-03-01T00:00:00Z")
    assert (time.diff().dropna() == pd.Timedelta("30s")).all()
    batch = next(iter(trace.batches(rows=len(trace))))
    place = (batch.time_ns + trace.start_ns - time.iloc[0].value) // (30 * SECOND)
    np.testing.assert_array_equal(answer.frame["requests"], np.bincount(place, minlength=len(time)))
    written = np.where(batch.op == ss.WRITE, batch.length, 0)
    by_hand = np.bincount(place, weights=written, minlength=len(time))
    np.testing.assert_array_equal(answer.frame["guest_written_bytes"], by_hand)


def test_a_part_of_a_trace_begins_where_it_begins(trace):
    part = trace.window("10min", "15min")
    late = RULES.timeline(minutes(trace).instants[12:17])
    got = ss.replay(part, late, device="nvme", interval="1min")
    assert got.frame["time"].iloc[0] == pd.Timestamp("2026-03-01T00:10:00Z")
    assert got.frame["requests"].iloc[0] > 0
    assert got.latencies["all"].count == len(part)


def test_amplification_without_requests_is_not_known(trace, timeline):
    got = ss.replay(trace, timeline, "qcow2-external", None, interval="100ms")
    idle = got.frame["guest_written_bytes"] == 0
    assert idle.any()
    assert (got.frame["written_bytes"][idle] > 0).any()  # merges go on
    assert got.frame["write_amplification"][idle].isna().all()
    amplified = got.frame[["write_amplification", "read_amplification", "space_amplification"]]
    assert not np.isinf(amplified.to_numpy()).any()


def test_bursts_hold_every_request_after_a_snapshot(trace, timeline, answer):
    batch = next(iter(trace.batches(rows=len(trace))))
    taken = timeline.instants[timeline.created] - trace.start_ns
    newest = np.searchsorted(taken, batch.time_ns, side="right") - 1
    age = batch.time_ns[newest >= 0] - taken[newest[newest >= 0]]
    edges = answer.bursts["age_ns"].to_numpy()
    np.testing.assert_array_equal(
        answer.bursts["requests"], np.bincount(np.searchsorted(edges, age, side="right") - 1)
    )
    early, late = answer.bursts["write_amplification"].iloc[[0, -1]]
    assert early > late  # first touches come first


# --- latencies


def test_every_request_has_a_latency(answer):
    assert answer.latencies["all"].count == N
    assert answer.latencies["read"].count + answer.latencies["write"].count < N  # flushes, discards
    frame = answer.frame
    weighted = (frame["latency_mean_ns"] * frame["requests"]).sum() / N
    assert weighted == pytest.approx(answer.latencies["all"].mean)
    assert frame["latency_max_ns"].max() == answer.latencies["all"].maximum
    assert (frame["latency_p50_ns"].dropna() <= frame["latency_p99_ns"].dropna()).all()
    assert frame["backlog"].iloc[-1] == 0
    assert frame["latency_mean_ns"].isna().equals(frame["requests"] == 0)
    assert not answer.load.saturated


def test_a_saturated_device_is_told(trace):
    fast = make_trace(n=2000, span=SECOND)
    got = ss.replay(fast, minutes(fast), "dm-snapshot", "hdd")
    assert got.load.saturated
    assert got.frame["saturated"].any()
    assert got.frame["backlog"].iloc[-1] > 0
    assert "does not cope" in got.text()
    assert "latency of" not in got.text()  # it would say nothing
    assert len(got.frame) < 1000  # a device that goes on adds no rows
    assert got.summary()["load"]["saturated"] is True


def test_operations_have_their_costs(trace, timeline, answer):
    got = answer.operations
    taken = got[got["action"] == "create"]
    gone = got[got["action"] == "delete"]
    assert taken["time"].astype("int64").tolist() == timeline.instants[timeline.created].tolist()
    assert len(gone) == (timeline.deleted < len(timeline.instants)).sum()
    assert (taken["pause_ns"] > 0).all()
    assert (gone["pause_ns"] == 0).all()
    merges = gone[gone["moved_bytes"] > 0]
    assert len(merges) > 5
    assert ((merges["time"] - merges["taken"]) == pd.Timedelta("3min")).all()
    # the last part comes when the others have been given their time
    least = (merges["moved_bytes"] - MIB) / (64 * MIB) * SECOND
    assert (merges["merge_duration_ns"] >= least).all()
    slow = ss.replay(trace, timeline, "qcow2-external", "nvme", merge_speed="256KiB").operations
    assert slow["merge_duration_ns"].max() > 10 * merges["merge_duration_ns"].max()


def test_a_snapshot_that_is_pruned_at_once(trace):
    timeline = minutes(trace)
    at_once = replace(timeline, deleted=timeline.created)
    got = ss.replay(trace, at_once, "qcow2-external", "nvme")
    assert got.operations["action"].tolist() == ["create", "delete"] * len(timeline)
    assert (got.frame["depth"] == 0).all()


# --- what existed before


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40), st.integers(1, 20)), min_size=1, max_size=30),
    st.integers(1, 8),
)
def test_what_is_read_first_existed(requests, block):
    op, offset, length = (np.array(column) for column in zip(*requests, strict=True))
    trace = ss.Trace.from_arrays(np.arange(len(op)), op, offset, length, capacity=64, start=0)
    first = {}
    for code, low, size in requests:
        for one in range(64):
            begin, end = one * block, min((one + 1) * block, 64)
            covered = low <= begin and end <= low + size
            touched = covered if code == ss.DISCARD else low < end and begin < low + size
            if begin < 64 and touched:
                first.setdefault(one, code)
    existed = {one for one, code in first.items() if code == ss.READ}
    extents = read_first_map(trace, block_size=block)
    assert {one for low, size in extents for one in range(low // block, (low + size) // block)} == existed


def test_read_first_is_the_map_that_it_stands_for(trace, timeline):
    extents = read_first_map(trace, block_size=65536)
    asked = ss.replay(trace, timeline, initial="read-first", device=None)
    given_ = ss.replay(trace, timeline, initial=extents, device=None)
    pd.testing.assert_frame_equal(asked.frame, given_.frame)
    assert any("read before it is written" in text for text in asked.assumptions)


# --- the answer


def test_without_any_snapshot(trace, timeline, answer):
    told = []
    got = ss.replay(
        trace, timeline, interval="30s", baseline=True, progress=lambda *one: told.append(one)
    )  # fmt: skip
    pd.testing.assert_frame_equal(got.frame, answer.frame)
    plain = got.baseline
    assert len(plain.operations) == 0
    assert plain.frame["copied_bytes"].sum() == 0
    assert plain.layers_per_read == 1
    assert plain.latencies["read"].mean < got.latencies["read"].mean
    assert told[-1] == (2 * N, 2 * N)
    assert "without snapshots" in got.text()
    assert got.summary()["baseline"]["operations"]["created"] == 0
    json.dumps(got.summary(), allow_nan=False)


def test_the_answer_is_plain_data_and_words(answer):
    summary = json.loads(json.dumps(answer.summary(), allow_nan=False))
    assert summary["totals"]["requests"] == N
    assert summary["operations"]["created"] == 22
    assert summary["provenance"]["replay"]["merge"] == "commit"
    text = " ".join(answer.text().split())
    assert max(map(len, answer.text().splitlines())) <= 110
    for part in (
        "a write",
        "a read",
        "after a snapshot",
        "stops the guest for",
        "merges",
        "copes: busy",
        "modelled",
    ):
        assert part in text
    assert repr(answer) == answer.text()
    assert answer._repr_html_().startswith("<pre")
    assert answer.coverage.verdict in text


def test_a_guest_that_does_nothing_of_a_kind():
    writes = ss.Trace.from_arrays([1, 2], ["write"] * 2, [0, 0], [4096] * 2, capacity="1MiB", start=0)
    reads = ss.Trace.from_arrays([1, 2], ["read"] * 2, [0, 0], [4096] * 2, capacity="1MiB", start=0)
    timeline = ss.Policy(schedule="1s", keep_last=2).timeline([0])
    assert "reads nothing" in ss.replay(writes, timeline).text()
    assert "writes nothing" in ss.replay(reads, timeline).text()
    assert ss.replay(writes, timeline).layers_per_read is None


def test_without_snapshots(trace):
    none = ss.Policy(schedule="0 0 1 1 *", keep_last=1).timeline([trace.start_ns, trace.start_ns + SPAN])
    assert len(none) == 0
    got = ss.replay(trace, none)
    assert len(got.operations) == len(got.bursts) == 0
    assert "No snapshot was taken" in " ".join(got.text().split())
    json.dumps(got.summary(), allow_nan=False)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"merge": "sideways"}, "none of commit, stream"),
        ({"merge_speed": 0}, "merge_speed is 0"),
        ({"interval": 0}, "cannot be zero"),
        ({"interval": "1us"}, "choose a longer one"),
        ({"loop": "closed"}, "not there yet"),
        ({"loop": "round"}, "none of open, closed"),
    ],
)
def test_what_makes_no_sense_is_refused(trace, timeline, change, told):
    with pytest.raises(UsageError, match=told):
        ss.replay(trace, timeline, **change)


def test_what_is_no_trace_is_refused(trace, timeline):
    with pytest.raises(UsageError, match="read one with"):
        ss.replay([1], timeline)
    with pytest.raises(UsageError, match="make one with"):
        ss.replay(trace, [1])
    empty = ss.Trace.from_arrays([], [], [], [], capacity="1MiB", start=0)
    with pytest.raises(UsageError, match="no requests"):
        ss.replay(empty, timeline)


# --- side by side


def test_mechanisms_side_by_side(trace, timeline, answer):
    told = []
    both = ss.compare_mechanisms(
        trace, timeline, ["dm-snapshot", "qcow2-external"], interval="30s",
        progress=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    same(both.runs["qcow2-external"], answer)
    row = both.frame.set_index("mechanism").loc["qcow2-external"]
    assert row["write_amplification"] == answer.summary()["ratios"]["write_amplification"]
    assert row["latency_write_p99_ns"] == answer.latencies["write"].percentile(99)
    assert told[-1] == (2 * N, 2 * N)
    assert both.text().count("\n") >= 5
    json.dumps(both.summary(), allow_nan=False)
    counted = ss.compare_mechanisms(trace, timeline, ["dm-thin"], None)
    assert "busy" not in counted.text()


def test_a_comparison_needs_different_mechanisms(trace, timeline):
    with pytest.raises(UsageError, match="given twice"):
        ss.compare_mechanisms(trace, timeline, ["wafl", "wafl"])
    with pytest.raises(UsageError, match="no mechanism"):
        ss.compare_mechanisms(trace, timeline, [])


def slow_merges(device, mechanism="qcow2-external", interval="100ms"):
    """Three seconds of writes to ever new places; snapshots every second, of which one is kept."""
    n = 3000
    places = [number * 7919 % 500 * 1048576 for number in range(n)]
    trace = ss.Trace.from_arrays(
        [number * 1_000_000 for number in range(n)], ["write"] * n, places, [4096] * n,
        capacity="512MiB", start=0,
    )  # fmt: skip
    timeline = ss.Policy(schedule="1s", keep_last=1).timeline([0, 10**9, 2 * 10**9, 3 * 10**9])
    return ss.replay(trace, timeline, mechanism, device, interval=interval, merge_speed="1MiB")


def test_what_goes_on_after_the_trace_adds_no_intervals_and_loses_no_bytes():
    counted, timed = slow_merges(None), slow_merges("hdd")
    assert len(timed.frame) == len(counted.frame) == 31
    for name in ("read_bytes", "written_bytes", "metadata_written_bytes", "flushes"):
        assert timed.frame[name].sum() == counted.frame[name].sum()
    assert timed.operations["merge_duration_ns"].max() > 31 * 10**8  # longer than the trace


def test_a_device_that_is_saturated_for_a_time_says_so_in_comparisons():
    compared = ss.compare_mechanisms(*steady_then_busy(), ["dm-snapshot"], "hdd", interval="1s")
    run = compared.runs["dm-snapshot"]
    full = int(run.frame["saturated"].sum())
    assert 0 < full < len(run.frame)
    assert not run.load.saturated
    assert f"dm-snapshot: the device is saturated in {full} of {len(run.frame)} intervals" in compared.text()


def steady_then_busy():
    """A minute in which one second asks for too much."""
    times = [*range(0, 60 * 10**9, 10**9), *range(30 * 10**9, 31 * 10**9, 5 * 10**6)]
    n = len(times)
    places = [number * 7919 % 500 * 1048576 for number in range(n)]
    trace = ss.Trace.from_arrays(times, ["write"] * n, places, [4096] * n, capacity="512MiB", start=0)
    return trace, ss.Policy(schedule="1h", keep_last=1).timeline([0])
