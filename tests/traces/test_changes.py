"""Change traces: what they are made of, what is refused, that they survive being stored."""

import json

import numpy as np
import pandas as pd
import pytest

import snapsim as ss
from snapsim.errors import TraceError, UnitError, UsageError, VolumeSelectionError
from snapsim.traces import statistics
from snapsim.traces.change_figures import change_figures
from snapsim.traces.info import TraceInfo
from snapsim.traces.privacy import permuted
from snapsim.types import DISCARD, WRITE
from snapsim.units import DAY, MIB

DAYS = ["2026-03-01", "2026-03-02", "2026-03-04"]
FIRST = pd.Timestamp(DAYS[0], tz="UTC").value
GRAIN = 4096


def made(changes=None, **more):
    changes = changes or [
        None,
        ss.Changed([(0, 2 * GRAIN)], [(4 * GRAIN, GRAIN)]),
        ss.Changed([(GRAIN, GRAIN)]),
    ]
    how = {"capacity": MIB, "grain": GRAIN, "initial": [(0, 5 * GRAIN)], "names": list("abc")} | more
    return ss.ChangeTrace.from_changes(DAYS, changes, **how)


def plain(trace):
    """Return changes as lists, so that they can be compared."""
    return [
        None if one is None else tuple(np.asarray(part).tolist() for part in one) for one in trace.changes()
    ]


def test_requests_are_just_before_the_instants_that_show_them():
    trace = made()
    [batch] = trace.batches()
    assert (batch.time_ns + trace.start_ns).tolist() == [FIRST + DAY - 1] * 2 + [FIRST + 3 * DAY - 1]
    assert batch.op.tolist() == [WRITE, DISCARD, WRITE]
    assert trace.instants.tolist() == [FIRST, FIRST + DAY, FIRST + 3 * DAY]
    assert (trace.grain, trace.names, trace.initial) == (GRAIN, ("a", "b", "c"), ((0, 5 * GRAIN),))
    assert trace.span_ns == 3 * DAY
    assert isinstance(trace, ss.Trace)


def test_the_trace_lasts_to_its_last_instant_even_if_nothing_changed():
    trace = made([None, ss.Changed([(0, GRAIN)]), ss.Changed([])])
    assert trace.start_ns + trace.last_ns == FIRST + 3 * DAY
    assert len(trace) == 1


def test_what_came_before_the_first_instant_may_be_known():
    trace = made([ss.Changed([(0, GRAIN)]), ss.Changed([]), ss.Changed([(0, GRAIN)])])
    assert plain(trace)[0] == ([[0, GRAIN]], [])
    [batch] = trace.batches()
    assert int(batch.time_ns[0]) + trace.start_ns == FIRST - 1


def test_extents_are_sorted_joined_and_cut_at_the_end_of_the_volume():
    capacity = 10 * GRAIN + 512
    written = [(8 * GRAIN, 3 * GRAIN), (2 * GRAIN, GRAIN), (0, GRAIN), (GRAIN, GRAIN), (5 * GRAIN, 0)]
    trace = made([None, ss.Changed(written, [(0, 4 * GRAIN)]), ss.Changed([])], capacity=capacity)
    assert plain(trace)[1] == (
        [[0, 3 * GRAIN], [8 * GRAIN, 2 * GRAIN + 512]],
        [[3 * GRAIN, GRAIN]],  # what is in both sets was written after it was discarded
    )


def test_it_survives_the_store(tmp_path):
    trace = made(notes=("from a test",), format="test", source="here")
    trace.save(tmp_path / "c.parquet")
    for read in (ss.read_trace, ss.open_trace):
        again = read(tmp_path / "c.parquet")
        assert isinstance(again, ss.ChangeTrace)
        assert again.info == trace.info
        assert plain(again) == plain(trace)
    assert again.info.notes == ("from a test",)


def test_repr_tells_what_it_is():
    text = repr(made())
    assert text.startswith("ChangeTrace\n")
    assert "3 changed extents, no requests" in text
    assert "2026-03-04" in text
    assert "ChangeTrace" in made()._repr_html_()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([None, ss.Changed([(0, GRAIN)])], "3 instants and 2 changes"),
        ([None, None, ss.Changed([])], r"changes\[1\] \(up to 2026-03-02 00:00:00 UTC\) is None"),
        ([None, [(0, GRAIN)], ss.Changed([])], r"changes\[1\] .* is a list: give Changed"),
        ([None, ss.Changed([(1, GRAIN)]), ss.Changed([])], r"changes\[1\].*written, extent 0: .*grain"),
        ([None, ss.Changed([], [(0, 100)]), ss.Changed([])], r"changes\[1\].*discarded, extent 0"),
        ([None, ss.Changed([]), ss.Changed([(0, GRAIN), (MIB, GRAIN)])], r"changes\[2\].*extent 1.*beyond"),
        ([None, ss.Changed([(-GRAIN, GRAIN)]), ss.Changed([])], "negative offset"),
        ([None, ss.Changed([0, GRAIN]), ss.Changed([])], "pairs of a whole offset"),
        ([None, ss.Changed([(0.5, 1.5)]), ss.Changed([])], "pairs of a whole offset"),
        ([None, ss.Changed([(0, 1, 2)]), ss.Changed([])], "pairs of a whole offset"),
        ([None, ss.Changed([(0, 1), (2,)]), ss.Changed([])], "pairs of a whole offset"),
    ],
)
def test_changes_that_cannot_be(changes, message):
    with pytest.raises((TraceError, UsageError), match=message):
        made(changes)


@pytest.mark.parametrize(
    ("instants", "message"),
    [
        (["2026-03-01", "2026-03-01", "2026-03-02"], r"instants\[1\], 2026-03-01 .* is not after"),
        (["2026-03-01", "2026-03-03", "2026-03-02"], r"instants\[2\]"),
        ([], "instants is empty"),
        ("2026-03-01", "in a list"),
        (7, "in a list"),
        (["soon", 1, 2], "not a point in time"),
    ],
)
def test_instants_that_cannot_be(instants, message):
    with pytest.raises(UsageError, match=message):
        ss.ChangeTrace.from_changes(instants, [None] * 3, capacity=MIB, grain=GRAIN)


def test_instants_of_every_kind():
    index = pd.DatetimeIndex(DAYS)
    for instants in (index, index.tz_localize("UTC"), index.as_unit("ns").asi8, list(index)):
        trace = ss.ChangeTrace.from_changes(
            instants, [None, ss.Changed([]), ss.Changed([])], capacity=MIB, grain=GRAIN
        )
        assert trace.instants.tolist() == [FIRST, FIRST + DAY, FIRST + 3 * DAY]


def test_other_mistakes():
    for more, message in (
        ({"names": ["a"]}, "3 instants and 1 names"),
        ({"grain": 0}, "at least one byte"),
        ({"initial": [(0, 2 * MIB)]}, "initial, extent 0"),
    ):
        with pytest.raises((TraceError, UsageError), match=message):
            made(**more)
    with pytest.raises(UnitError):
        made(grain="4 apples")
    with pytest.raises(UsageError, match="requests are no changes"):
        ss.ChangeTrace.from_arrays([0], ["write"], [0], [512])
    with pytest.raises(UsageError, match="from_changes"):
        ss.ChangeTrace(made().table, ss.Trace.from_arrays([0], [1], [0], [512]).info, measured=False)
    with pytest.raises(AttributeError, match="frozen"):
        made().grain = 1
    with pytest.raises(VolumeSelectionError):
        made().select(volume="vdb")
    assert made().select(volume="") is not None


def test_a_window_begins_with_what_its_first_snapshot_shows():
    trace = made()
    late = trace.window("2026-03-02")
    assert isinstance(late, ss.ChangeTrace)
    assert late.names == ("b", "c")
    assert late.initial == ((0, 4 * GRAIN),)
    assert plain(late) == [None, ([[GRAIN, GRAIN]], [])]
    assert late.window().names == ("b", "c")
    early = trace.window(stop="2026-03-02")
    assert early.names == ("a", "b")
    assert plain(early) == plain(trace)[:2]
    assert early.initial == trace.initial
    assert trace.window("36h").names == ("c",)
    with pytest.raises(UsageError, match="holds no snapshot"):
        trace.window("2026-03-05")


def test_a_window_counts_from_the_first_snapshot_also_where_it_is_known_what_came_before():
    trace = made([ss.Changed([(0, GRAIN)])] * 3)
    assert trace.window(stop="1d").names == ("a", "b")
    assert trace.window("1d", "1d").names == trace.window("2026-03-02", "2026-03-02").names == ("b",)
    assert trace.window("0s").names == ("a", "b", "c")


def test_a_window_of_a_trace_whose_start_is_unknown_does_not_pretend_to_know():
    assert made(initial=None).window("2026-03-02").initial is None


def test_stretched_instants_keep_their_changes(tmp_path):
    trace = made().stretch(7, start="2026-01-01")
    start = pd.Timestamp("2026-01-01", tz="UTC").value
    assert trace.instants.tolist() == [start, start + 7 * DAY, start + 21 * DAY]
    assert trace.info.time_scale == 7
    assert plain(trace) == plain(made())
    trace.save(tmp_path / "w.parquet")
    assert ss.read_trace(tmp_path / "w.parquet").info == trace.info


def test_a_scale_that_leaves_no_time_between_two_snapshots_is_named():
    trace = ss.ChangeTrace.from_changes(
        [0, 1, DAY], [None, ss.Changed([]), ss.Changed([])], capacity=MIB, grain=GRAIN
    )
    with pytest.raises(UsageError, match=r"a time scale of 0\.5 puts two snapshots at one nanosecond"):
        trace.stretch(0.5)
    assert trace.stretch(2).instants.tolist() == [0, 2, 2 * DAY]


@pytest.mark.parametrize("damage", [{"grain": 0}, {"grain": None}, {"instants": []}, {"instants": [2, 1]}])
def test_stored_snapshots_that_cannot_be_are_refused(damage):
    values = json.loads(made().info.to_json())
    values["changes"] |= damage
    with pytest.raises((ValueError, TypeError)):
        TraceInfo.from_json(json.dumps(values))


def test_figures():
    figures = change_figures(made())
    assert figures.changed_bytes == 3 * GRAIN
    assert figures.distinct_changed_bytes == 2 * GRAIN
    assert figures.discarded_bytes == GRAIN
    assert figures.largest_changed_bytes == 2 * GRAIN
    assert (figures.shortest_interval_ns, figures.longest_interval_ns) == (DAY, 2 * DAY)
    assert figures.held_at_start_bytes == 5 * GRAIN
    assert figures.to_dict()["kind"] == "changes"
    assert "3, 1d to 2d apart" in figures.text()
    assert "6 KiB an interval, 8 KiB at most" in figures.text()
    assert [one.level for one in figures.findings()] == ["note"]
    before_first = [ss.Changed([(0, 2 * GRAIN)]), ss.Changed([(0, GRAIN)]), ss.Changed([])]
    assert "4 KiB an interval, 8 KiB at most" in change_figures(made(before_first)).text()
    alone = ss.ChangeTrace.from_changes(DAYS[:1], [None], capacity=MIB, grain=GRAIN)
    assert "changes between 1 snapshot: " in change_figures(alone).notes[0]
    nothing = change_figures(made([None, ss.Changed([]), ss.Changed([])], initial=None))
    assert [one.level for one in nothing.findings()] == ["warning", "note", "note"]


@pytest.mark.parametrize(
    "asked",
    [
        statistics.summarise,
        statistics.sanity,
        statistics.overwrite_factor,
        statistics.change_rate,
        statistics.change_rate_by_interval,
        statistics.working_set,
        statistics.alignment_histogram,
        permuted,
        ss.viz.trace_overview,
        ss.viz.address_over_time,
        ss.viz.write_share,
        ss.viz.change_rate,
        ss.viz.working_set,
        lambda trace: ss.clones(trace, 3),
        ss.boot_orders,
    ],
    ids=lambda asked: asked.__name__,
)
def test_what_needs_requests_is_refused(asked):
    with pytest.raises(UsageError, match="this is a change trace: it knows what changed between 3 snapshots"):
        asked(made())
