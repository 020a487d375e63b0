"""What deleting frees, against sets of versions: every subset of the kept snapshots, every way of sharing."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import snapsim as ss
from snapsim.engine.reference import ReferenceVolume
from snapsim.errors import UsageError
from snapsim.testing import strategies
from snapsim.units import HOUR

FEW = settings(max_examples=max(settings.default.max_examples // 8, 5))
SHARING = ("wafl", "qcow2-external", "dm-snapshot", "ebs")  # shared, layers, private, detached
every_sharing = pytest.mark.parametrize("name", SHARING)


def subsets(kept):
    return [list(one) for n in range(len(kept) + 1) for one in combinations(kept, n)]


@st.composite
def questions(draw, name):
    """Lifetimes, snapshots kept at an instant, and what a set of them holds according to the reference."""
    mechanism = ss.mechanism(name)
    volume = draw(strategies.volumes(max_requests=25))
    trace = ss.Trace.from_arrays(*volume.requests[:4], capacity=volume.capacity, start=0)
    size = {"dm-snapshot": 4096, "wafl": 4096}.get(name, mechanism.block_size)
    lifetimes = ss.count_lifetimes(trace, every=20, block_size=size)
    need = mechanism.matrices(size)[0]
    reference = ReferenceVolume(
        lifetimes.instants.tolist(), block_size=need.block_size, capacity=volume.capacity,
        initial=need.initial or "thick", discard=need.discard, zeroes=need.zeroes, grain=need.grain,
    ).run([volume.requests])  # fmt: skip
    now = draw(st.integers(0, lifetimes.n_instants - 1))
    kept = sorted(draw(st.sets(st.integers(0, now), max_size=6)))

    def held(some):
        blocks = {
            "private": lambda: sum(reference.private_stores(some, now)),
            "detached": lambda: reference.detached(some),
        }.get(mechanism.sharing, lambda: reference.snapshot_only(some, now))
        return need.block_size * blocks()

    return lifetimes, kept, now, held


@every_sharing
@FEW
@given(st.data())
def test_any_set_frees_what_nobody_else_shows(name, data):
    lifetimes, kept, now, held = data.draw(questions(name))
    meter = ss.SpaceMeter(lifetimes, name)
    whole = held(kept)
    assert meter(kept, now) == whole
    alone = ss.exclusive(lifetimes, kept, mechanism=name, now=now)
    assert alone["exclusive_bytes"].tolist() == [whole - held([k for k in kept if k != one]) for one in kept]
    for gone in subsets(kept):
        freed = ss.freed_if_deleted(lifetimes, kept, gone, mechanism=name, now=now)
        assert freed == whole - held([one for one in kept if one not in gone])
        assert freed >= alone["exclusive_bytes"][[kept.index(one) for one in gone]].sum()


@every_sharing
@pytest.mark.parametrize("objective", ["fewest", "smallest_gap"])
@FEW
@given(st.data())
def test_no_subset_is_cheaper(name, objective, data):
    lifetimes, kept, now, held = data.draw(questions(name))
    protected = data.draw(st.sets(st.sampled_from(kept))) if kept else set()
    whole = held(kept)
    most = whole - held(sorted(protected))
    free = data.draw(st.integers(0, most))
    time = lifetimes.instants

    def cost(gone):
        rest = [one for one in kept if one not in gone]
        edges = time[[kept[0] if kept else now, *rest, now]]
        gap = int(np.diff(edges).max()) if objective == "smallest_gap" else 0
        return gap, len(gone), held(rest)

    found = ss.cheapest_deletion(
        lifetimes, kept, free, mechanism=name, now=now, protected=sorted(protected), objective=objective
    )
    gone = found.deleted.tolist()
    enough = [
        cost(some)
        for some in subsets(kept)
        if not protected & set(some) and whole - held([k for k in kept if k not in some]) >= free
    ]
    assert cost(gone) == min(enough)
    assert sorted([*gone, *found.remaining]) == kept
    assert not protected & set(gone)
    assert found.freed_bytes == whole - held(found.remaining.tolist()) >= free
    assert found.largest_gap_ns == int(np.diff(time[[kept[0] if kept else now, *found.remaining, now]]).max())
    assert len(found.frame) == len(gone)
    with pytest.raises(UsageError, match="cannot be freed"):
        ss.cheapest_deletion(lifetimes, kept, most + 1, mechanism=name, now=now, protected=sorted(protected))


@every_sharing
@FEW
@given(st.data())
def test_victims_go_until_the_level_is_reached(name, data):
    lifetimes, kept, now, held = data.draw(questions(name))
    assume(kept)
    meter = ss.SpaceMeter(lifetimes, name)
    protected = data.draw(st.sets(st.sampled_from(kept)))
    level = data.draw(st.integers(0, held(kept) + 1))
    for order in ("oldest", "largest_exclusive"):
        gone = meter.victims(kept, now, level=level, order=order, protected=protected)
        rest = list(kept)
        for one in gone:
            assert held(rest) > level
            free = [k for k in rest if k not in protected]
            alone = {k: held(rest) - held([x for x in rest if x != k]) for k in free}
            assert one == (free[0] if order == "oldest" else max(free, key=lambda k: (alone[k], -k)))
            rest.remove(one)
        assert held(rest) <= level or set(rest) <= protected


@pytest.fixture(scope="module")
def lifetimes() -> ss.LifetimeMatrix:
    """Sixteen hours of writes at random to 64 blocks."""
    rng = np.random.default_rng(11)
    trace = ss.Trace.from_arrays(
        np.sort(rng.integers(0, 16 * HOUR, 400)), np.ones(400, np.uint8), rng.integers(0, 64, 400) * 65536,
        np.full(400, 65536), capacity=1 << 22, start=0,
    )  # fmt: skip
    return ss.count_lifetimes(trace, every="1h", block_size="64KiB")


def test_timelines_and_points_in_time_are_understood(lifetimes):
    timeline = ss.Policy(schedule="@hourly", keep_last=5).timeline(lifetimes.instants)
    kept = timeline.kept(-1)
    points = pd.to_datetime(lifetimes.instants[kept], utc=True)
    by_timeline = ss.exclusive(lifetimes, timeline, mechanism="qcow2-internal")
    assert by_timeline.equals(ss.exclusive(lifetimes, points, mechanism="qcow2-internal"))
    assert by_timeline.equals(ss.exclusive(lifetimes, kept, mechanism="qcow2-internal"))
    found = ss.cheapest_deletion(
        lifetimes, timeline, "1MiB", mechanism="qcow2-internal", protected=points[:2]
    )
    assert set(found.deleted) <= set(kept[2:])
    assert "snapshots, frees" in repr(found)
    growth = ss.growth(lifetimes, timeline, mechanism="qcow2-internal", bounds=False)
    assert by_timeline["exclusive_bytes"].tolist() == growth.snapshots["exclusive_bytes"].tolist()


def test_a_meter_says_what_growth_says(lifetimes):
    timeline = ss.Policy(schedule="@hourly", keep_last=5).timeline(lifetimes.instants)
    frame = ss.growth(lifetimes, timeline, mechanism="qcow2-external", bounds=False).frame
    alone = ss.SpaceMeter(lifetimes, "qcow2-external")
    pool = ss.SpaceMeter(lifetimes, "qcow2-external", with_volume=True)
    for now in range(lifetimes.n_instants):
        kept = timeline.kept(now)
        assert alone(kept, now) == frame["snapshot_bytes"][now]
        assert pool(kept, now) == frame["snapshot_bytes"][now] + frame["live_bytes"][now]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: ss.exclusive(m, [99], mechanism="qcow2-internal"), "kept holds instant 99"),
        (lambda m: ss.exclusive(m, [-1], mechanism="qcow2-internal"), "kept holds instant -1"),
        (lambda m: ss.exclusive(m, [0], mechanism="qcow2-internal", now=99), "now is 99"),
        (lambda _: ss.exclusive({}, [0], mechanism="qcow2-internal"), "count one volume"),
        (lambda m: ss.freed_if_deleted(m, [0], [1], mechanism="qcow2-internal"), "deleted holds instant 1"),
        (
            lambda m: ss.cheapest_deletion(m, [0], 0, mechanism="qcow2-internal", protected=[1]),
            "protected holds instant 1",
        ),
        (
            lambda m: ss.cheapest_deletion(m, [0], 0, mechanism="qcow2-internal", objective="best"),
            "objective='best'",
        ),
        (
            lambda m: ss.SpaceMeter(m, "qcow2-internal").victims([0], 1, level=0, order="newest"),
            "order='newest'",
        ),
        (
            lambda m: ss.exclusive(m, pd.DatetimeIndex(["1970-01-01"]), mechanism="qcow2-internal"),
            "time zone",
        ),
        (
            lambda m: ss.exclusive(m, pd.DatetimeIndex(["1970-01-01T00:01Z"]), mechanism="qcow2-internal"),
            "not one of the instants",
        ),
        (
            lambda m: ss.exclusive(
                m, ss.Policy(schedule="1h", keep_last=1).timeline(m.instants[1:]), mechanism="qcow2-internal"
            ),
            "other instants",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(lifetimes, call, message):
    with pytest.raises(UsageError, match=message):
        call(lifetimes)
