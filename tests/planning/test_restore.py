"""What restores move, against plain sets and the chain's own reverts; and how they are timed."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import snapsim as ss
from snapsim import schema
from snapsim.engine.chain import ABSENT_BIRTH, ORGANISATIONS, Chain
from snapsim.engine.lifetimes import Counting
from snapsim.engine.reference_chain import ReferenceChain
from snapsim.errors import SnapsimError, UsageError
from snapsim.planning.restore_contents import States, organisation_of, pieces, states
from snapsim.testing import strategies

KIB, MIB, HOUR = 1 << 10, 1 << 20, 3_600_000_000_000
FEW = settings(max_examples=max(settings.default.max_examples // 10, 8), deadline=None)
POLICY = ss.Policy(schedule="1h", keep_last=3)


def _trace(n=2000, *, seed=1, start="2026-03-01T00:00Z", span=6):
    rng = np.random.default_rng(seed)
    return ss.Trace.from_arrays(
        np.sort(rng.integers(0, span * HOUR, n)),
        np.where(rng.random(n) < 0.4, ss.READ, ss.WRITE),
        rng.integers(0, 256, n) * 16 * KIB,
        np.full(n, 4 * KIB),
        capacity="8MiB",
        start=start,
    )


@pytest.fixture(scope="module")
def trace():
    return _trace()


@pytest.fixture(scope="module")
def timeline(trace):
    return POLICY.timeline(ss.count_lifetimes(trace, every="1h", block_size="64KiB").instants)


def row(restores, way, place=-1):
    return restores.frame[restores.frame["restore"] == way].iloc[place]


@FEW
@given(st.data(), st.sampled_from(sorted(ORGANISATIONS)))
def test_what_is_copied_is_what_plain_sets_say(data, organisation):
    volume = data.draw(strategies.volumes(large=False))
    counting = Counting(block_size=max(volume.capacity // 12, 1), initial="thin")
    chain = Chain(organisation, counting, capacity=volume.capacity)
    plain = ReferenceChain(block_size=counting.block_size, capacity=volume.capacity, initial="thin")
    for batch in strategies.batches(volume.requests, data.draw(st.lists(st.integers(0, 40), max_size=3))):
        chain.apply(batch)
        plain.apply(batch)
        chain.snapshot()
        plain.snapshot()
    last = list(chain.snapshots[:-1])
    shown = [chain.contents(one) for one in last]
    state = States(
        shown, chain.contents(), None, chain.organisation.redirects, counting.block_size, volume.capacity
    )
    present = plain.births(None)
    for number, contents in zip(last, shown, strict=True):
        there = plain.births(number)
        full, _ = pieces(state, contents)
        changed, gone = pieces(state, contents, base=state.now)
        wanted = {block for block, birth in enumerate(there) if birth != ABSENT_BIRTH}
        differ = {block for block, birth in enumerate(there) if birth != present[block]}
        assert _blocks(full, state) == wanted
        assert _blocks(changed, state) == wanted & differ
        lost = {block for block in differ - wanted if present[block] != ABSENT_BIRTH}
        assert gone == sum(_size(block, state) for block in lost)
        some = np.array(sorted(data.draw(st.sets(st.integers(0, len(there) - 1)))), np.int64)
        part, _ = pieces(state, contents, only=some)
        assert _blocks(part, state) == wanted & set(some.tolist())
        # going back inside the system: what was copied away is copied back, a pointer costs nothing
        moved = copy.deepcopy(chain).revert(number).moved
        assert moved == (0 if state.redirects else len(wanted & differ))
        _check_places(full, state)


def _size(block, state):
    return min((block + 1) * state.block_size, state.capacity) - block * state.block_size


def _blocks(parts, state):
    found = []
    for first, length in zip(parts.target.tolist(), parts.length.tolist(), strict=True):
        assert first % state.block_size == 0
        found += range(first // state.block_size, -(-(first + length) // state.block_size))
    assert sum(_size(block, state) for block in found) == parts.total
    assert len(found) == len(set(found))
    return set(found)


def _check_places(parts, state):
    """No two pieces lie at one place."""
    order = np.argsort(parts.source)
    ends = (parts.source + -(-parts.length // state.block_size) * state.block_size)[order]
    assert (parts.source[order][1:] >= ends[:-1]).all()


def test_the_frame(trace, timeline):
    restores = ss.restore_times(trace, timeline)
    frame = restores.frame
    assert len(frame) == 3 * 4
    for name in frame.columns:
        assert frame[name].dtype == schema.QUANTITIES[name].dtype, name
    assert ((frame["duration_ns"] > 0) == ((frame["moved_bytes"] > 0) | (frame["restore"] == "revert"))).all()
    full = frame[frame["restore"] == "full"]
    assert (full["moved_bytes"] == 8 * MIB).all()
    assert (full["write_extents"] == 1).all()
    assert (full["read_extents"] > 1).all()
    incremental = frame[frame["restore"] == "incremental"]["moved_bytes"]
    assert incremental.is_monotonic_decreasing  # the older, the more differs
    assert incremental.iloc[-1] == 0  # the newest was taken at the last instant
    assert (frame["age_ns"] == [2 * HOUR] * 4 + [HOUR] * 4 + [0] * 4).all()
    assert restores.longest["full"] == full["duration_ns"].max()


def test_incremental_is_what_the_matrix_says(trace, timeline):
    """With every request a write and nothing discarded: blocks born after the snapshot, alive at the end."""
    counted = ss.count_lifetimes(trace, every="1h", block_size="64KiB")
    got = ss.restore_times(trace, timeline).frame.query("restore == 'incremental'")["moved_bytes"].tolist()
    last = counted.n_instants - 1
    assert got == [counted.written_bytes(int(k), last) for k in timeline.kept(-1)]


def test_an_earlier_moment_and_another_base(trace, timeline):
    at = "2026-03-01T04:30Z"
    restores = ss.restore_times(trace, timeline, at=at)
    assert restores.frame["taken"].max().hour == 4
    assert ss.restore_times(trace, timeline, at="4h30min").frame.equals(restores.frame)
    based = ss.restore_times(trace, timeline, at=at, base="3h")
    assert row(based, "incremental", 1)["moved_bytes"] == 0
    assert row(based, "incremental", 0)["moved_bytes"] > 0
    assert "2026-03-01T03:00" in based.base
    counted = ss.count_lifetimes(trace, every="1h", block_size="64KiB")
    assert row(based, "incremental", 2)["moved_bytes"] == counted.written_bytes(3, 4)


def test_how_systems_go_back(trace, timeline):
    def back(name):
        return row(ss.restore_times(trace, timeline, name), "revert", 0)

    swapped, copied = back("zfs"), back("dm-snapshot")
    assert swapped["moved_bytes"] == 0
    assert copied["moved_bytes"] > 0
    nvme = ss.device("nvme")
    assert swapped["duration_ns"] == nvme.write.random + nvme.flush
    assert copied["duration_ns"] > swapped["duration_ns"]
    assert "revert" not in set(ss.restore_times(trace, timeline, "ebs").frame["restore"])


def test_every_mechanism_can_be_restored_from(trace, timeline):
    for name in ss.mechanisms():
        assert organisation_of(ss.mechanism(name)) in ORGANISATIONS
        restores = ss.restore_times(trace, timeline, name)
        assert row(restores, "full")["moved_bytes"] >= row(restores, "incremental")["moved_bytes"], name


def test_a_part_is_what_was_read_most(trace, timeline):
    part = row(ss.restore_times(trace, timeline, part="25%"), "partial")
    assert part["moved_bytes"] == 2 * MIB
    extents = row(ss.restore_times(trace, timeline, part=[(0, 1), (65536, 65537)]), "partial")
    assert extents["moved_bytes"] == 3 * 65536
    assert extents["write_extents"] == 1


def test_devices_and_the_way_between(trace, timeline):
    def full(**how):
        return row(ss.restore_times(trace, timeline, **how), "full")["duration_ns"]

    assert full(device="hdd", target="nvme") < full(device="hdd")
    assert full(target="nvme", network="1MiB") > 8e9
    assert full(streams=1) > full(streams=32)


def test_the_answer_in_words(trace, timeline):
    restores = ss.restore_times(trace, timeline, "dm-snapshot", "hdd", target="nvme")
    text = restores.text()
    assert "from Hard disk, 7200 rpm, 4 TB to NVMe" in text
    assert text.count("2026-03-01 0") == 3
    assert repr(restores) == text
    assert "<pre" in restores._repr_html_()
    summary = restores.summary()
    assert summary["device"] == "hdd"
    assert len(summary["restores"]) == 12
    assert summary["restores"][0]["taken"] == "2026-03-01T04:00:00Z"
    assert any("upper bound" in text for text in summary["assumptions"])


def test_many_snapshots_are_told_by_their_newest(trace):
    policy = ss.Policy(schedule="10min", keep_last="unlimited")
    timeline = policy.timeline(ss.count_lifetimes(trace, every="10min", block_size="64KiB").instants)
    text = ss.restore_times(trace, timeline, streams=1).text()
    assert "older ones" in text
    assert text.count("2026-03-01 0") == 24


def test_no_snapshot_no_restore(trace):
    policy = ss.Policy(schedule="1h", keep_last=1)
    timeline = policy.timeline(np.array([trace.start_ns - 10**9]))
    restores = ss.restore_times(trace, timeline)
    assert restores.frame.empty
    assert "0 snapshots" in restores.text()
    assert restores.summary()["restores"] == []


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"part": "a lot"}, "no share"),
        ({"part": "0%"}, "no share"),
        ({"part": [(0, 9 * MIB)]}, "outside the volume"),
        ({"part": [(0.5, 1)]}, "pairs of whole"),
        ({"at": "2020-01-01"}, "before the first instant"),
        ({"base": "2026-03-01T01:00Z"}, "no snapshot from then"),
        ({"streams": 0}, "streams must be"),
        ({"chunk": 0}, "chunk must be"),
        ({"network": 0}, "network must be"),
        ({"initial": "read-first"}, "read-first"),
        ({"device": "floppy"}, "floppy"),
        ({"mechanism": "tape"}, "tape"),
    ],
)
def test_what_makes_no_sense(trace, timeline, how, message):
    with pytest.raises(SnapsimError, match=message):
        ss.restore_times(trace, timeline, **how)


def test_what_is_no_trace_and_no_timeline(trace, timeline):
    with pytest.raises(UsageError, match="trace is a list"):
        ss.restore_times([], timeline)
    with pytest.raises(UsageError, match="timeline is a Policy"):
        ss.restore_times(trace, POLICY)


def test_batches_may_end_anywhere(trace, monkeypatch):
    taken = trace.start_ns + np.array([0, HOUR, 2 * HOUR, 2 * HOUR + 1])
    how = (ss.mechanism("zfs"), taken, trace.start_ns + 5 * HOUR)
    whole = states(trace, *how)
    scan = type(trace).batches
    monkeypatch.setattr(type(trace), "batches", lambda self, **_: scan(self, rows=7))
    cut = states(trace, *how)
    for one, other in zip([*whole.snapshots, whole.now], [*cut.snapshots, cut.now], strict=True):
        assert one.per_block().tolist() == other.per_block().tolist()
    assert whole.reads.hottest().tolist() == cut.reads.hottest().tolist()
