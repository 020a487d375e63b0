"""The clairvoyant bound against every subset of the instants; ladders against gaps measured by hand."""

from itertools import combinations, pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import snapsim as ss
from snapsim.engine.boxsums import BoxSums
from snapsim.errors import CapacityError, UnitError, UsageError
from snapsim.testing import strategies
from snapsim.units import HOUR

FEW = settings(max_examples=max(settings.default.max_examples // 8, 5))
SHARING = ("wafl", "qcow2-external", "dm-snapshot", "ebs")  # shared, layers, private, detached
every_sharing = pytest.mark.parametrize("name", SHARING)


@st.composite
def counted(draw, name):
    """Lifetimes over a few instants; their space is compared with sets of versions in test_reclaim."""
    volume = draw(strategies.volumes(max_requests=25))
    trace = ss.Trace.from_arrays(*volume.requests[:4], capacity=volume.capacity, start=0)
    instants = np.array(sorted(draw(st.sets(st.integers(0, 210), min_size=1, max_size=9))), np.int64)
    size = {"dm-snapshot": 4096, "wafl": 4096}.get(name, ss.mechanism(name).block_size)
    return ss.count_lifetimes(trace, instants=instants, block_size=size)


@st.composite
def ladders(draw):
    ages = sorted(draw(st.sets(st.integers(1, 250), min_size=1, max_size=3)))
    return ss.Ladder(tuple((age, draw(st.integers(20, 150))) for age in ages))


def met(ladder, instants, kept, now):
    """The ladder, said gap by gap."""
    ends = [int(instants[one]) for one in kept] + [int(instants[now])]
    before = [int(instants[0]), *ends[:-1]]
    for low, high in zip(before, ends, strict=True):
        age = int(instants[now]) - high
        longest = next((gap for up_to, gap in ladder.steps if age < up_to), None)
        if longest is not None and high - low > longest:
            return False
    return True


@every_sharing
@FEW
@given(st.data())
def test_no_choice_that_meets_the_ladder_needs_less(name, data):
    lifetimes, ladder = data.draw(counted(name)), data.draw(ladders())
    now = data.draw(st.integers(0, lifetimes.n_instants - 1))
    meter = ss.SpaceMeter(lifetimes, name)
    time = lifetimes.instants
    enough = []
    for n in range(now + 2):
        for kept in combinations(range(now + 1), n):
            ok = ladder.met_by(time[list(kept)], now_ns=int(time[now]), start_ns=int(time[0]))
            assert ok == met(ladder, time, kept, now)
            if ok:
                enough.append(meter(kept, now))
    if not enough:
        with pytest.raises(UsageError, match="too far apart"):
            ss.clairvoyant(lifetimes, ladder, mechanism=name, now=now)
        return
    choice = ss.clairvoyant(lifetimes, ladder, mechanism=name, now=now)
    assert choice.snapshot_bytes == min(enough) == meter(choice.kept, now)
    assert met(ladder, time, choice.kept.tolist(), now)
    looser = ss.Ladder(tuple((age, gap + 30) for age, gap in ladder.steps))
    assert ss.clairvoyant(lifetimes, looser, mechanism=name, now=now).snapshot_bytes <= min(enough)


@pytest.fixture(scope="module")
def lifetimes() -> ss.LifetimeMatrix:
    """Ten days of writes at random."""
    rng = np.random.default_rng(11)
    n = 6000
    trace = ss.Trace.from_arrays(
        np.sort(rng.integers(0, 240 * HOUR, n)), np.ones(n, np.uint8), rng.integers(0, 512, n) * 65536,
        np.full(n, 65536), capacity=1 << 25, start=0,
    )  # fmt: skip
    return ss.count_lifetimes(trace, every="1h", block_size="64KiB")


@pytest.mark.parametrize("name", ["qcow2-internal", "qcow2-external"])
def test_a_policy_lies_between_the_bounds(lifetimes, name):
    """24 hourly and 7 daily points meet the ladder that they promise, and need more than the least."""
    ladder = ss.Ladder.of([("23h", "1h"), ("5d", "24h")])
    timeline = ss.Policy(schedule="1h", keep_hourly=24, keep_daily=7).timeline(lifetimes.instants)
    growth = ss.growth(lifetimes, timeline, mechanism=name, bounds=False).frame
    at = np.arange(0, lifetimes.n_instants, 7)
    frame = ss.space_bounds(lifetimes, ladder, mechanism=name, at=at)
    time = lifetimes.instants
    for now in at:
        assert ladder.met_by(time[timeline.kept(now)], now_ns=int(time[now]), start_ns=int(time[0]))
    held = growth["snapshot_bytes"].to_numpy()[at]
    assert (frame["clairvoyant_bytes"] <= held).all()
    assert (frame["clairvoyant_bytes"] < held).any()
    assert (frame["everything_bytes"] >= held).all()
    assert frame["time"].tolist() == growth["time"].iloc[at].tolist()
    kept_all = ss.Policy(schedule="1h", keep_last="unlimited").timeline(time)
    everything = ss.growth(lifetimes, kept_all, mechanism=name, bounds=False).frame["snapshot_bytes"]
    assert frame["everything_bytes"].tolist() == everything.iloc[at].tolist()


def test_instants_are_spread_unless_they_are_named(lifetimes):
    ladder = [("1d", "2h"), ("7d", "1d")]
    spread = ss.space_bounds(lifetimes, ladder, mechanism="qcow2-internal")
    assert len(spread) == 64
    last = pd.to_datetime(lifetimes.instants[-1:], utc=True)
    named = ss.space_bounds(lifetimes, ladder, mechanism="qcow2-internal", at=last)
    assert named.iloc[0].equals(spread.iloc[-1])


def brute_force(timeline, ages, run):
    """Bands of the ladder, instant by instant."""
    gaps, points = {band: [] for band in ages}, dict.fromkeys(ages, 0)
    for now in run:
        kept = timeline.instants[timeline.kept(now)].tolist()
        t = int(timeline.instants[now])
        ends = [*kept, *([t] if kept and kept[-1] != t else [])]
        for low, high in ages:
            points[low, high] += sum(low <= t - one < high for one in kept)
            gaps[low, high] += [b - a for a, b in pairwise(ends) if low <= t - b < high]
    return gaps, points


@FEW
@given(st.data())
def test_the_ladder_of_a_policy_is_what_its_gaps_are(data):
    instants = np.array(sorted(data.draw(st.sets(st.integers(0, 300), min_size=2, max_size=25))), np.int64)
    schedule = int(np.diff(instants).max())
    rules = data.draw(st.sampled_from(({"keep_last": 3}, {"keep_last": 1}, {"keep_within": 90})))
    timeline = ss.Policy(schedule=f"{schedule}ns", **rules).timeline(instants)
    at = data.draw(st.none() | st.integers(-len(instants), len(instants) - 1))
    edges = [0, *sorted(data.draw(st.sets(st.integers(1, 300), min_size=1, max_size=4)))]
    bands = list(pairwise(edges))
    run = range(len(instants)) if at is None else [at % len(instants)]
    gaps, points = brute_force(timeline, bands, run)
    frame = ss.recovery_ladder(timeline, at, ages=edges[1:])
    rows = {(row["age_from_ns"], row["age_to_ns"]): row for row in frame.to_dict("records")}
    for band in bands:
        if band not in rows:
            assert not gaps[band]
            assert not points[band]
            continue
        row, seen = rows[band], sorted(gaps[band])
        assert row["mean_points"] == pytest.approx(points[band] / len(run))
        if seen:
            assert row["worst_gap_ns"] == seen[-1]
            assert row["median_gap_ns"] == seen[(len(seen) - 1) // 2]
        else:
            assert pd.isna(row["worst_gap_ns"])
            assert pd.isna(row["median_gap_ns"])


def test_a_ladder_of_hours_and_days(lifetimes):
    """At hour 240 there are the hours 240 to 217, and of days 9 to 5 the last hours: 239, 215, ..., 119."""
    timeline = ss.Policy(schedule="1h", keep_hourly=24, keep_daily=7).timeline(lifetimes.instants)
    frame = ss.recovery_ladder(timeline, -1)
    assert frame["worst_gap_ns"].tolist() == [HOUR, 2 * HOUR, 24 * HOUR]
    assert frame["median_gap_ns"].tolist() == [HOUR, HOUR, 24 * HOUR]
    assert frame["age_to_ns"].tolist() == [HOUR, 24 * HOUR, 7 * 24 * HOUR]
    assert frame["mean_points"].tolist() == [1, 23, 5]


def test_a_ladder_says_what_it_asks_for():
    ladder = ss.Ladder.of([("1d", "1h"), ("7d", "1d")])
    assert ss.Ladder.of(ladder) is ladder
    assert str(ladder) == "1h up to 1d, 1d up to 7d"
    assert ladder.reach_ns == 7 * 24 * HOUR
    assert ladder.allowed(np.array([0, 24 * HOUR - 1, 24 * HOUR])).tolist() == [HOUR, HOUR, 24 * HOUR]
    assert ladder.allowed(np.array([7 * 24 * HOUR]))[0] > 10**18


@pytest.mark.parametrize(
    ("steps", "error"),
    [((), UsageError), ([("1d", "1h"), ("1d", "1d")], UsageError), ([(0, 1)], UsageError),
     ([(1, 0)], UsageError), ([("1d", "soon")], UnitError)],
)  # fmt: skip
def test_ladders_that_make_no_sense_are_refused(steps, error):
    with pytest.raises(error):
        ss.Ladder.of(steps)


def test_what_makes_no_sense_is_refused(lifetimes):
    timeline = ss.Policy(schedule="1h", keep_last=3).timeline(lifetimes.instants)
    with pytest.raises(UsageError, match="too far apart"):
        ss.clairvoyant(lifetimes, [("1d", "1min")], mechanism="qcow2-internal")
    with pytest.raises(UsageError, match="now is 999"):
        ss.clairvoyant(lifetimes, [("1d", "1h")], mechanism="qcow2-internal", now=999)
    with pytest.raises(UsageError, match="ascend"):
        ss.recovery_ladder(timeline, ages=("1d", "1h"))
    with pytest.raises(IndexError, match="does not exist"):
        ss.recovery_ladder(timeline, 999)


def test_more_instants_than_prefix_sums_are_kept_for_are_refused(lifetimes):
    data = ss.SpaceMeter(lifetimes, "qcow2-internal").matrix
    cells = data.cells
    swept = BoxSums.build(cells.birth, cells.epoch, cells.count, n_instants=data.n_instants, memory=100)
    kept = data.sums
    data.__dict__["sums"] = swept
    try:
        with pytest.raises(CapacityError, match="too many"):
            ss.clairvoyant(lifetimes, [("1d", "1h")], mechanism="qcow2-internal")
    finally:
        data.__dict__["sums"] = kept
