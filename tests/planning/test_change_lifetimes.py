"""Lifetimes of a change trace are those of the trace that made the changes, and nothing else is pretended."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import snapsim as ss
from snapsim.errors import PolicyError, UsageError
from snapsim.planning.instants import among
from snapsim.testing import strategies
from snapsim.types import DISCARD, FLUSH, READ, WRITE, WRITE_ZEROES
from snapsim.units import DAY, HOUR, MIB

WRITES = (WRITE, WRITE_ZEROES)
GRAIN = 4096


def changes_of(volume, instants, grain):
    """Say what changed between instants, unit by unit: the twin that tells what a snapshot tool would."""
    found = []
    last = instants[0] * 0 - 1
    for instant in instants:
        written, gone = set(), set()
        for time, op, offset, length in zip(*volume.requests[:4], strict=True):
            if not last <= time < instant or op in (READ, FLUSH):
                continue
            end = offset + length
            touched = range(offset // grain, -(-end // grain))
            if op == DISCARD:
                whole = {
                    unit
                    for unit in touched
                    if offset <= unit * grain and end >= min((unit + 1) * grain, volume.capacity)
                }
                gone |= whole
                written -= whole
            else:
                written |= set(touched)
                gone -= set(touched)
        found.append(ss.Changed(*([(unit * grain, grain) for unit in units] for units in (written, gone))))
        last = instant
    return found


def pair_of(volume, instants, grain):
    """Return the trace, up to the last snapshot, and the change trace of one volume."""
    before = volume.requests.time_ns < instants[-1]
    columns = [column[before] for column in volume.requests[:4]]
    known = ss.Trace.from_arrays(*columns, capacity=volume.capacity, start=0)
    changed = ss.ChangeTrace.from_changes(
        instants, changes_of(volume, instants, grain), capacity=volume.capacity, grain=grain
    )
    return known, changed


def seen(lifetimes):
    """Return how many versions there are of each birth and death, of those that an instant sees."""
    counts = lifetimes.counts
    birth, death = np.indices(counts.shape)
    return np.where(birth - 1 < death, counts, 0)


@st.composite
def cases(draw, ops=None):
    volume = draw(strategies.volumes(large=False, **({} if ops is None else {"ops": ops})))
    grain = max(draw(st.sampled_from([1, 2, 3, 512, 4096])), volume.capacity // 200)
    return volume, draw(strategies.instants()), grain


@given(cases(), st.sampled_from(["thick", "thin"]))
def test_the_matrix_is_that_of_the_trace_at_the_grain(case, initial):
    volume, instants, grain = case
    known, changed = pair_of(volume, instants, grain)
    expected = ss.count_lifetimes(known, instants=instants, block_size=grain, initial=initial)
    found = ss.count_lifetimes(changed, block_size=grain, initial=initial)
    assert np.array_equal(seen(found), seen(expected))


@given(cases(ops=(READ, *WRITES, FLUSH)), st.integers(1, 5))
def test_without_discards_the_matrix_is_exact_at_every_multiple_of_the_grain(case, times):
    volume, instants, grain = case
    known, changed = pair_of(volume, instants, grain)
    expected = ss.count_lifetimes(known, instants=instants, block_size=grain * times)
    found = ss.count_lifetimes(changed, block_size=grain * times)
    assert np.array_equal(seen(found), seen(expected))


@given(cases(), st.data())
def test_any_of_its_instants_may_be_chosen(case, data):
    volume, instants, grain = case
    known, changed = pair_of(volume, instants, grain)
    some = sorted(data.draw(st.sets(st.sampled_from(instants.tolist()), min_size=1)))
    expected = ss.count_lifetimes(known, instants=some, block_size=grain)
    found = ss.count_lifetimes(changed, instants=some, block_size=grain)
    # what the last of the chosen ones does not see may differ: it never becomes part of a snapshot
    n = len(some)
    assert np.array_equal(seen(found)[: n + 1], seen(expected)[: n + 1])


@pytest.fixture(scope="module")
def month():
    """A month of random writes, and what changed from day to day."""
    random = np.random.default_rng(7)
    n, capacity = 500, 4 * MIB
    time = np.sort(random.integers(0, 30 * DAY, n))
    offset = random.integers(0, capacity // GRAIN - 8, n) * GRAIN
    length = random.integers(1, 8, n) * GRAIN
    known = ss.Trace.from_arrays(time, ["write"] * n, offset, length, capacity=capacity, start="2026-01-01")
    instants = ss.count_lifetimes(known, every="1d", block_size=GRAIN).instants
    epoch = np.searchsorted(instants, known.start_ns + time, side="right")
    changes = [
        ss.Changed(np.column_stack((offset, length))[epoch == i]) if i else None for i in range(len(instants))
    ]
    changed = ss.ChangeTrace.from_changes(instants, changes, capacity=capacity, grain=GRAIN)
    return known, changed


@pytest.mark.parametrize(
    "mechanism", ["qcow2-external", "qcow2-internal", "dm-thin", "wafl", "zfs", "rbd", "ebs"]
)
def test_growth_is_that_of_the_trace(month, mechanism):
    policy = ss.Policy(schedule="@daily", keep_daily=7, keep_weekly=3)
    size = ss.mechanism(mechanism).block_size
    one, other = (
        ss.growth(counted, policy.timeline(counted.instants), mechanism=mechanism)
        for counted in (ss.count_lifetimes(trace, schedules=[policy], block_size=size) for trace in month)
    )
    assert one.frame.equals(other.frame)
    assert one.snapshots.equals(other.snapshots)
    assert one.coverage.verdict in other.coverage.verdict
    said = "The trace is of changes between 31 snapshots"
    assert said in other.coverage.verdict
    assert any(said in text for text in other.assumptions)
    assert other.provenance["trace"]["changes_between_snapshots"] == 31
    assert said not in one.text()


def test_evaluate_and_comparisons_are_those_of_the_trace(month):
    policies = {
        "week": ss.Policy(schedule="@daily", keep_daily=7),
        "month": ss.Policy(schedule="@daily", keep_last=20),
    }
    frames, texts = [], []
    for trace in month:
        counted = ss.count_lifetimes(trace, schedules=list(policies.values()), block_size="64KiB")
        frames.append(ss.evaluate(counted, policies.values(), mechanism="dm-thin"))
        both = ss.side_by_side(policies, lifetimes=counted, mechanism="dm-thin")
        frames.append(both.space)
        texts.append(both.text())
    assert frames[0].equals(frames[2])
    assert frames[1].equals(frames[3])
    assert texts[1].startswith(texts[0])
    assert "changes between 31 snapshots" in texts[1]


def test_a_schedule_that_is_finer_than_the_snapshots_is_followed_as_far_as_they_go(month):
    _, changed = month
    hourly = ss.Policy(schedule="@hourly", keep_hourly=48)
    counted = ss.count_lifetimes(changed, schedules=[hourly], block_size="64KiB")
    assert np.array_equal(counted.instants, changed.instants)
    with pytest.raises(PolicyError, match="coalesce=True"):
        hourly.timeline(counted.instants)
    timeline = ss.run_policy(hourly, counted)
    assert np.array_equal(timeline.instants[timeline.created], changed.instants)
    assert timeline.merged_ticks == 30 * 23
    growth = ss.growth(counted, timeline, mechanism="dm-thin")
    assert any("schedule is finer than the instants: 690 of its ticks" in text for text in growth.assumptions)
    assert "schedule is finer than the instants: 690 of its ticks fell together" in growth.text()


def test_a_number_of_snapshots_reaches_as_far_as_the_snapshots_are_apart(month):
    """Forty-eight hourly ones are forty-eight days where there is one a day: thirty show the start only."""
    _, changed = month
    counted = ss.count_lifetimes(changed, block_size="64KiB")
    hourly = ss.Policy(schedule="@hourly", keep_hourly=48, keep_daily=3)
    timeline = ss.run_policy(hourly, counted)
    assert timeline.policy_reach_ns == 48 * DAY
    coverage = ss.growth(counted, timeline, mechanism="dm-thin").coverage
    assert not coverage.steady
    assert "The policy reaches back 48d, the trace lasts 30d" in coverage.verdict
    assert not ss.evaluate(counted, [timeline], mechanism="dm-thin").steady[0]
    few = ss.run_policy(ss.Policy(schedule="@hourly", keep_hourly=5, keep_daily=7), counted)
    assert few.policy_reach_ns == 7 * DAY
    assert ss.growth(counted, few, mechanism="dm-thin").coverage.steady
    for policy in (hourly, ss.Policy(schedule="@hourly", keep_within="3d", keep_daily=2)):
        timeline = ss.run_policy(policy, counted)
        held = max(len(timeline.kept(place)) for place in range(len(timeline.instants)))
        assert held == min(timeline.policy_reach_ns // DAY, len(timeline.instants))


def test_every_takes_the_first_instant_not_before_each(month):
    _, changed = month
    weekly = ss.count_lifetimes(changed, every="7d", block_size=GRAIN).instants
    assert np.isin(weekly, changed.instants).all()
    assert (weekly[0], weekly[-1]) == (changed.instants[0], changed.instants[-1])
    assert len(weekly) == 6
    assert np.array_equal(
        ss.count_lifetimes(changed, every="1h", block_size=GRAIN).instants, changed.instants
    )


@given(st.sets(st.integers(0, 50), min_size=1), st.sets(st.integers(0, 60)))
def test_among_against_a_search(own, asked):
    own = sorted(own)
    expected = {own[0], own[-1]} | {
        next(one for one in own if one >= tick) for tick in asked if tick <= own[-1]
    }
    assert among(np.array(own), np.array(sorted(asked), np.int64)).tolist() == sorted(expected)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"block_size": 512}, "changes are known in units of 4 KiB"),
        ({"block_size": 6144}, "multiple of it"),
        ({"instants": ["2026-01-01T12:00"]}, "2026-01-01T12:00:00.* is none of the 31 snapshots"),
        ({"initial": "read-first"}, "needs the disk's requests"),
        ({"every": "1d", "instants": [0]}, "were given"),
    ],
)
def test_what_it_cannot_tell_is_refused(month, how, message):
    with pytest.raises(UsageError, match=message):
        ss.count_lifetimes(month[1], **{"block_size": GRAIN, **how})


def test_a_mechanism_with_smaller_blocks_is_refused(month):
    _, changed = month
    counted = ss.count_lifetimes(changed, block_size="64KiB")
    with pytest.raises(UsageError, match="known in units of 4 KiB"):
        counted.recount(block_size=512)


def test_io_is_refused(month):
    _, changed = month
    timeline = ss.Policy(schedule="@daily", keep_last=3).timeline(changed.instants)
    for asked in (
        lambda: ss.replay(changed, timeline),
        lambda: ss.compare_mechanisms(changed, timeline),
        lambda: ss.restore_times(changed, timeline),
    ):
        with pytest.raises(UsageError, match="this is a change trace"):
            asked()


def test_what_it_held_at_first_is_known_if_the_source_says_so(month):
    known, changed = month
    held = [(0, 10 * GRAIN)]
    named = ss.ChangeTrace.from_changes(
        changed.instants, changed.changes(), capacity=changed.capacity, grain=GRAIN, initial=held
    )
    found = ss.count_lifetimes(named, block_size=GRAIN)
    assert found.counting.initial == ((0, 10 * GRAIN),)
    expected = ss.count_lifetimes(known, every="1d", block_size=GRAIN, initial=held)
    assert np.array_equal(seen(found), seen(expected))
    timeline = ss.Policy(schedule="@daily", keep_last=3).timeline(found.instants)
    frame = ss.growth(found, timeline, mechanism="wafl").frame
    assert frame["lower_bytes"].equals(frame["snapshot_bytes"])  # nothing is left to be bounded
    assert frame["upper_bytes"].equals(frame["snapshot_bytes"])
    assert ss.count_lifetimes(named, block_size=GRAIN, initial="thin").counting.initial == "thin"


def test_a_group_has_the_instants_that_all_have(month):
    known, changed = month
    some = ss.ChangeTrace.from_changes(
        changed.instants[::2],
        [None, *(ss.Changed([(0, GRAIN)]) for _ in changed.instants[2::2])],
        capacity=MIB,
        grain=GRAIN,
    )
    group = ss.count_group({"a": changed, "b": some, "c": known}, block_size=GRAIN)
    assert all(np.array_equal(one.instants, changed.instants[::2]) for one in group.values())
    other = ss.ChangeTrace.from_changes(
        changed.instants[:2] + HOUR, [None, ss.Changed([])], capacity=MIB, grain=GRAIN
    )
    with pytest.raises(UsageError, match="no snapshot of the same moment"):
        ss.count_group({"a": changed, "b": other}, block_size=GRAIN)


def test_a_report_says_what_it_is(month, tmp_path):
    _, changed = month
    counted = ss.count_lifetimes(changed, block_size="64KiB")
    timeline = ss.Policy(schedule="@daily", keep_last=3).timeline(counted.instants)
    answer = ss.growth(counted, timeline, mechanism="dm-thin")
    page = ss.report.write(answer, tmp_path / "page.html", trace=changed, lifetimes=counted).read_text()
    assert "changes between 31 snapshots" in page
    assert "IOPS" not in page
    assert "changes between 31" in ss.report.write_trace(changed, tmp_path / "trace.html").read_text()
