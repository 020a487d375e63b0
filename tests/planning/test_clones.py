"""Clones against chains with overlays, closed forms, and what makes no sense."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import snapsim as ss
from snapsim import schema
from snapsim.engine.chain import Chain
from snapsim.engine.lifetimes import Counting
from snapsim.errors import SnapsimError
from snapsim.testing import strategies
from snapsim.types import Batch

KIB, MIB, HOUR = 1 << 10, 1 << 20, 3_600_000_000_000
FEW = settings(max_examples=max(settings.default.max_examples // 10, 8), deadline=None)


def _trace(n=1500, *, seed=1, capacity="64MiB", span=6):
    rng = np.random.default_rng(seed)
    return ss.Trace.from_arrays(
        np.sort(rng.integers(0, span * HOUR, n)),
        np.where(rng.random(n) < 0.3, ss.READ, ss.WRITE),
        rng.integers(0, 512, n) * 64 * KIB,
        np.full(n, 4 * KIB),
        capacity=capacity,
        start="2026-03-01T00:00Z",
    )


@pytest.fixture(scope="module")
def trace():
    return _trace()


@FEW
@given(st.data())
def test_an_overlay_is_what_a_chain_holds(data):
    """Also after resets: a fresh overlay, and the requests since."""
    volume = data.draw(strategies.volumes(large=False, max_requests=30))
    if not len(volume.requests.time_ns):
        return
    trace = ss.Trace.from_arrays(*volume.requests[:4], capacity=volume.capacity)
    every, period, shift = (
        20,
        data.draw(st.sampled_from([None, 40, 100])),
        data.draw(st.sampled_from([0, 20, 60])),
    )
    room = ss.clones(trace, 2, every=every, reset=period, stagger=shift, block_size="512B")
    counting = Counting(block_size=512, discard="death", zeroes="death")
    time = volume.requests.time_ns
    for age, overlay, before in zip(
        *(room.frame[c] for c in ("age_ns", "overlay_bytes", "peak_bytes")), strict=True
    ):
        held = []
        for start in (0, shift):
            now = age - start
            since = (age // period * period if period else 0) - start
            chain = Chain("overlays", counting, capacity=volume.capacity)
            chain.snapshot()
            some = (time >= max(since, 0)) & (time < now)
            chain.apply(Batch(*(column[some] for column in volume.requests[:4])))
            held.append(int(chain.layers()[-1]) * 512)
        assert overlay == sum(held)
        assert before >= overlay


def test_the_frame(trace):
    room = ss.clones(trace, 5, stagger="30min", reset="2h")
    for frame in (room.frame, room.ways, room.members):
        for name in frame.columns:
            assert frame[name].dtype == schema.QUANTITIES[name].dtype, name
    frame = room.frame
    assert frame["clones"].iloc[0] == 1
    assert frame["clones"].iloc[-1] == 5
    at_reset = (frame["age_ns"] % (2 * HOUR) == 0) & (frame["age_ns"] > 0)
    assert (frame["overlay_bytes"][at_reset & (frame["clones"] == 5)] == 0).all()
    # between resets nothing is freed but what a trace discards
    assert (frame["freed_bytes"][~at_reset] == 0).all()
    assert frame["freed_bytes"].sum() > 0
    assert room.resets == at_reset.sum()
    assert (frame["total_bytes"] == frame["overlay_bytes"] + frame["metadata_bytes"] + room.base_bytes).all()


def test_clones_that_begin_at_once_are_multiples(trace):
    one, ten = (ss.clones(trace, count) for count in (1, 10))
    assert (ten.frame["overlay_bytes"] == 10 * one.frame["overlay_bytes"]).all()
    assert ten.peak["largest_bytes"] == one.peak["largest_bytes"]
    # every block that is written, once
    columns = trace.to_frame()
    written = columns[columns["op"] == "WRITE"]["offset"] // (64 * KIB)
    assert one.frame["overlay_bytes"].iloc[-1] == written.nunique() * 64 * KIB


def test_traces_are_dealt_out_in_turn(trace):
    busy, idle = trace, _trace(10, seed=2)
    both = ss.clones({"busy": busy, "idle": idle}, 3)
    assert both.members["trace"].tolist() == ["busy", "idle", "busy"]
    alone = [ss.clones(one, 1).members["overlay_bytes"].iloc[0] for one in (busy, idle)]
    assert both.members["overlay_bytes"].tolist() == [alone[0], alone[1], alone[0]]
    assert ss.clones([busy, idle], 2).members["trace"].tolist() == ["1", "2"]


def test_ways_to_keep_clones(trace):
    room = ss.clones(trace, 20, device="hdd")
    ways = room.ways.set_index("way")
    assert ways.loc["full copies", "total_bytes"] == 20 * 64 * MIB
    assert ways.loc["full copies", "saved_bytes"] == 0
    assert ways.loc["overlays", "total_bytes"] == room.peak["total_bytes"]
    # 1,000 writes on 32 MiB touch each of its eight objects
    assert ways.loc["objects", "total_bytes"] == 64 * MIB + 20 * 32 * MIB
    assert ways.loc["overlays", "total_bytes"] < ways.loc["objects", "total_bytes"]
    assert ways.loc["overlays", "reset_ns"] < ways.loc["full copies", "reset_ns"]
    assert (ways["reset_bytes"] == [0, 0, 20 * 64 * MIB]).all()


def test_a_base_that_is_partly_filled(trace):
    room = ss.clones(trace, 3, initial=[(0, 8 * MIB)])
    assert room.base_bytes == 8 * MIB
    assert room.frame["overlay_bytes"].equals(ss.clones(trace, 3).frame["overlay_bytes"])
    # a full copy holds the base and what is written beyond it
    written = {int(at) // (64 * KIB) for at in trace.to_frame().query("op == 'WRITE'")["offset"]}
    copy = len(written | set(range(128))) * 64 * KIB
    assert room.ways.set_index("way").loc["full copies", "total_bytes"] == 3 * copy


def test_every_mechanism_that_can(trace):
    for name in ss.mechanisms():
        if name == "ebs":
            continue
        room = ss.clones(trace, 2, mechanism=name)
        assert room.frame["overlay_bytes"].is_monotonic_increasing, name
        assert room.frame["overlay_bytes"].iloc[-1] > 0, name


def test_the_answer_in_words(trace):
    room = ss.clones(trace, 20, reset="2h", stagger="10min")
    text = room.text()
    assert "20 clones of a base of 64 MiB" in text
    assert "every 2h" in text
    assert repr(room) == text
    assert "<pre" in room._repr_html_()
    summary = room.summary()
    assert summary["clones"] == len(summary["members"]) == 20
    assert summary["resets"] == room.resets > 0
    assert any("had not been reset" in text for text in summary["assumptions"])
    assert "resets" not in ss.clones(trace, 1).text()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"count": 0}, "at least 1"),
        ({"count": 2, "stagger": "7min", "every": "5min"}, "stagger of 7min is no multiple"),
        ({"count": 2, "reset": "7min", "every": "5min"}, "reset of 7min is no multiple"),
        ({"count": 2, "reset": "0s"}, "cannot be zero"),
        ({"count": 2, "every": "0s"}, "cannot be zero"),
        ({"count": 2, "every": "1us"}, "choose a longer one"),
        ({"count": 2, "object_size": 1}, "too small"),
        ({"count": 2, "mechanism": "ebs"}, "full copy"),
        ({"count": 2, "block_size": "3KiB"}, "does not fit"),
    ],
)
def test_what_makes_no_sense(trace, how, message):
    with pytest.raises(SnapsimError, match=message):
        ss.clones(trace, **how)


def test_what_is_no_trace(trace):
    for wrong, message in ((3, "is a int"), ({}, "at least one trace"), ([trace, 3], "trace 2 is a int")):
        with pytest.raises(SnapsimError, match=message):
            ss.clones(wrong, 1)
