"""Figures of replays: what is drawn is what was counted, and it can be read."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

import snapsim as ss
from snapsim import viz
from snapsim.errors import UsageError
from snapsim.units import DAY, MILLISECOND, MINUTE, SECOND
from snapsim.viz.replay_parts import PERCENTILES
from snapsim.viz.scales import duration_ticks
from tests.viz.replays import make_chain_cost, make_comparison, make_replay
from tests.viz.test_layout import _assert_readable as assert_readable

OVER_TIME = [viz.amplification, viz.latency_over_time, viz.burst, viz.latency_distribution]


@pytest.fixture(scope="module")
def replay():
    return make_replay(full=7)


def panels(figure):
    return [axes for axes in figure.fig.axes if axes.axison]


def stepped(axes):
    """Return the values of every stepped line, without areas."""
    return [
        patch.get_data().values for patch in axes.patches if hasattr(patch, "get_data") and not patch.fill
    ]


@pytest.mark.parametrize("draw", OVER_TIME)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"n": 1},
        {"n": 31, "step": 10 * MILLISECOND},
        {"n": 200, "step": DAY, "device": "hdd"},
        {"full": 120},
        {"full": 3, "keep": 30},
    ],
    ids=str,
)
def test_replays_can_be_read(draw, changes):
    assert_readable(draw(make_replay(**changes)))


def test_comparisons_and_chains_can_be_read():
    assert_readable(viz.mechanisms_compared(make_comparison()))
    assert_readable(viz.mechanisms_compared(make_comparison(device=None)))
    assert_readable(viz.latency_distribution(make_comparison().runs))
    assert_readable(viz.chain_cost(make_chain_cost()))
    assert_readable(viz.chain_cost(make_chain_cost(caches=(64,), layers=(3, 5))))


def test_amplification_is_drawn_as_counted_with_gaps_where_nobody_asked(replay):
    figure = viz.amplification(replay)
    operations, moved, held = panels(figure)
    written, read = stepped(moved)
    np.testing.assert_array_equal(written, replay.frame["write_amplification"])
    np.testing.assert_array_equal(read, replay.frame["read_amplification"])
    assert np.isnan(read).any()
    np.testing.assert_array_equal(stepped(held)[0], replay.frame["space_amplification"])
    taken, deleted = (len(line.get_xdata()) for line in operations.lines)
    assert (taken, deleted) == (12, 7)
    merges = [bar.get_width() for bar in operations.patches]
    assert merges == pytest.approx([2.0] * 7)  # minutes
    below, guest = (int(replay.frame[name].sum()) for name in ("written_bytes", "guest_written_bytes"))
    assert f"{below / guest:.2f} bytes written" in figure.text
    assert "12 snapshots taken, 7 deleted, which moved 2.05 GiB" in figure.caption


def test_what_is_zero_stands_at_the_foot_of_a_logarithmic_axis():
    replay = make_replay()
    replay.frame.loc[3, "read_amplification"] = 0.0
    axes = panels(viz.amplification(replay))[1]
    assert stepped(axes)[1][3] == axes.get_ylim()[0]


def test_requests_that_take_no_time_stand_at_the_foot_and_keep_their_names():
    replay = make_replay()
    replay.frame["latency_p50_ns"] = 0.0
    figure = viz.latency_over_time(replay)
    axes = panels(figure)[1]
    assert set(axes.patches[0].get_data().values) == {axes.get_ylim()[0]}
    assert "p50" in [text.get_text() for text in axes.texts]
    assert_readable(figure)
    for kind in ("read", "write", "all"):
        replay.latencies[kind].record(np.zeros(40_000, np.int64))
    assert_readable(viz.latency_distribution(replay))
    assert_readable(viz.latency_distribution({"one": replay}))
    comparison = make_comparison()
    comparison.runs["dm-thin"].latencies["all"].record(np.zeros(40_000, np.int64))
    assert_readable(viz.mechanisms_compared(comparison))


def test_ratios_over_many_decades_have_plain_ticks():
    replay = make_replay()
    replay.frame.loc[3, "read_amplification"] = 40_000.0
    replay.frame.loc[5, "write_amplification"] = 0.03
    figure = viz.amplification(replay)
    figure.fig.draw_without_rendering()
    ticks = [tick.get_text() for tick in panels(figure)[1].get_yticklabels()]
    assert {"0.1", "1", "100", "10,000"} <= set(ticks)
    assert_readable(figure)


def test_percentiles_differ_by_dash_or_width_and_carry_their_names(replay):
    figure = viz.latency_over_time(replay)
    _, latency, load = panels(figure)
    lines = [patch for patch in latency.patches if hasattr(patch, "get_data")]
    looks = {(line.get_linestyle(), line.get_linewidth()) for line in lines}
    assert len(looks) == len(lines) == 4
    for line, name in zip(lines, PERCENTILES, strict=True):
        np.testing.assert_array_equal(line.get_data().values, replay.frame[name])
    assert [text.get_text() for text in latency.texts] == ["p50", "p95", "p99", "p99.9"]
    np.testing.assert_array_equal(stepped(load)[0], replay.frame["utilisation"])


def test_saturated_intervals_are_hatched_and_said(replay):
    figure = viz.latency_over_time(replay)
    latency = panels(figure)[1]
    (area,) = [patch for patch in latency.patches if patch.get_hatch()]
    assert (area.get_x(), area.get_width()) == (0, pytest.approx(7))  # minutes
    assert "saturated" in latency.get_legend().get_texts()[0].get_text()
    assert "In 7 of 120 intervals more comes than the device can do." in figure.text
    calm = viz.latency_over_time(make_replay())
    assert panels(calm)[1].get_legend() is None
    assert "keeps up in every interval" in calm.text
    over = viz.latency_over_time(make_replay(full=120))
    for said in (over.caption, over.alt, over.text):
        assert "The device is saturated" in said


def test_bursts_go_by_the_age_of_the_newest_snapshot(replay):
    figure = viz.burst(replay)
    written, latency = panels(figure)
    np.testing.assert_array_equal(stepped(written)[0], replay.bursts["write_amplification"])
    mean, p99 = stepped(latency)
    np.testing.assert_array_equal(mean, replay.bursts["latency_mean_ns"])
    np.testing.assert_array_equal(p99, replay.bursts["latency_p99_ns"])
    assert [tick.get_text() for tick in latency.get_xticklabels()][:3] == ["0", "1s", "2s"]
    assert "write amplification 15.00 from 0, 2.40 from 10min" in figure.text
    assert len(panels(viz.burst(make_replay(device=None)))) == 1


def test_a_distribution_has_marks_at_the_percentiles(replay):
    figure = viz.latency_distribution(replay)
    (axes,) = panels(figure)
    lines = axes.lines
    assert len(lines) == 4
    marks = lines[1].get_ydata()
    expected = [replay.latencies["read"].percentile(percent) for percent in (50.0, 95.0, 99.0, 99.9)]
    np.testing.assert_allclose(marks, expected)
    assert sorted(text.get_text() for text in axes.texts) == ["reads", "writes"]
    # 5,000 reads end where one of them is left, 15,000 writes later
    assert lines[0].get_xdata()[-1] == pytest.approx(np.log10(5000))
    assert lines[2].get_xdata()[-1] == pytest.approx(np.log10(15000))


def test_distributions_of_several_replays_name_the_saturated_one():
    figure = viz.latency_distribution(make_comparison().runs)
    (axes,) = panels(figure)
    names = {text.get_text() for text in axes.texts}
    assert names == {"dm-snapshot", "dm-thin", "qcow2-external", "qcow2-internal (saturated)"}
    colors = {to_hex(line.get_color()) for line in axes.lines}
    assert len(colors) == 4


def test_distributions_can_be_of_reads_or_writes_alone(replay):
    (axes,) = panels(viz.latency_distribution(replay, kind="write"))
    assert axes.get_xlabel() == "Writes that are not slower"
    assert [text.get_text() for text in axes.texts] == ["writes"]
    figure = viz.latency_distribution({"one": replay, "other": replay}, kind="read")
    reads = panels(figure)[0].lines[1].get_ydata()
    assert reads[0] == replay.latencies["read"].percentile(50)
    assert figure.text.startswith("Figure latency distribution of reads: 2 series: one p50")
    with pytest.raises(UsageError, match="none of read, write, all"):
        viz.latency_distribution(replay, kind="flush")


def test_mechanisms_are_rows():
    comparison = make_comparison()
    figure = viz.mechanisms_compared(comparison)
    written, read, space, latency = panels(figure)
    for axes, below, asked in (
        (written, "written_bytes", "guest_written_bytes"),
        (read, "read_bytes", "guest_read_bytes"),
    ):
        expected = [run.frame[below].sum() / run.frame[asked].sum() for run in comparison.runs.values()]
        np.testing.assert_allclose([bar.get_width() for bar in axes.patches], expected)
    assert [bar.get_width() for bar in space.patches] == pytest.approx([1.36] * 4)
    assert [tick.get_text() for tick in written.get_yticklabels()] == [
        "dm-snapshot\n(modelled)", "dm-thin\n(modelled)", "qcow2-external", "qcow2-internal",
    ]  # fmt: skip
    assert "dm-thin (modelled) 5.01 written" in figure.text
    assert "(modelled)" in viz.amplification(comparison.runs["dm-thin"]).caption
    assert "(modelled)" not in viz.amplification(comparison.runs["qcow2-external"]).caption
    # its space was compared, its I/O was not
    assert "(modelled)" in viz.amplification(make_replay(mechanism="xfs-reflink")).caption
    assert [text.get_text() for text in latency.texts] == ["saturated"]
    assert "qcow2-internal" in figure.text.split(";")[-1]
    assert figure.text.endswith("(saturated)")


def test_a_chain_is_drawn_beside_its_formula():
    frame = make_chain_cost()
    figure = viz.chain_cost(frame)
    reads, extents, rate = panels(figure)
    for place, size in enumerate(sorted(set(frame["cache_bytes"]))):
        own = frame[frame["cache_bytes"] == size]
        counted, formula = reads.lines[2 * place : 2 * place + 2]
        np.testing.assert_array_equal(counted.get_ydata(), own["reads_per_read"])
        np.testing.assert_array_equal(formula.get_ydata(), own["expected_reads"])
    assert [text.get_text() for text in reads.texts] == ["128 KiB", "512 KiB", "1 MiB", "2 MiB"]
    np.testing.assert_allclose(extents.lines[0].get_ydata(), own["extents_per_mib"])
    np.testing.assert_allclose(rate.lines[0].get_ydata(), own["sequential_rate"] / 2**20)
    assert "1.01 with 2 MiB" in figure.text


def test_a_merge_pays_where_the_frame_says():
    frame = ss.commit_point(
        reads_per_hour=1e5, passed=0.98, missed=0.2, layer_bytes="1GiB", device="hdd", depths=(2, 4, 8, 40)
    )
    figure = viz.commit_point(frame)
    costs, pays = panels(figure)
    for line, name in zip(
        costs.lines, ("extra_read_ns_per_hour", "saved_ns_per_hour", "commit_ns"), strict=True
    ):
        np.testing.assert_array_equal(line.get_ydata(), frame[name])
    assert pays.get_ylabel() == "A merge has paid after [min]"
    np.testing.assert_allclose(pays.lines[0].get_ydata(), 60 * frame["break_even_hours"])
    assert_readable(figure)
    never = viz.commit_point(frame.assign(break_even_hours=np.inf, saved_ns_per_hour=0.0))
    assert "has paid never with 2 layers" in never.text
    assert_readable(never)
    assert_readable(viz.commit_point(frame.iloc[:1]))
    with pytest.raises(UsageError, match="at least one"):
        viz.commit_point(frame.iloc[:0])


def test_what_cannot_be_drawn_is_refused(replay):
    without = make_replay(device=None)
    for draw in (viz.latency_over_time, viz.latency_distribution):
        with pytest.raises(UsageError, match="no device"):
            draw(without)
    empty = make_replay()
    empty.frame, empty.bursts = empty.frame.iloc[:0], empty.bursts.iloc[:0]
    for draw, why in ((viz.amplification, "no interval"), (viz.burst, "no request comes after")):
        with pytest.raises(UsageError, match=why):
            draw(empty)
    with pytest.raises(UsageError, match="cannot be told apart"):
        viz.latency_distribution({str(number): replay for number in range(7)})
    nothing = make_comparison()
    nothing.runs = {}
    with pytest.raises(UsageError, match="nothing to compare"):
        viz.mechanisms_compared(nothing)
    with pytest.raises(UsageError, match="at least one"):
        viz.chain_cost(make_chain_cost().iloc[:0])
    with pytest.raises(UsageError, match="cannot be told apart"):
        viz.chain_cost(make_chain_cost(caches=range(1, 9)))


@pytest.mark.parametrize(
    ("low", "high"), [(1, 10), (950, 1100), (3e4, 2e9), (SECOND, 20 * MINUTE), (1, 1e16), (7e3, 8e3)]
)
def test_durations_have_ticks_inside_the_axis(low, high):
    ticks = duration_ticks(low, high)
    assert ticks == sorted(ticks)
    assert len(ticks) <= 7
    assert all(low <= tick <= high for tick in ticks)
