"""Guests that start before their volume is restored: orders, costs of devices, and what makes no sense."""

import numpy as np
import pytest

import snapsim as ss
from snapsim import schema
from snapsim.errors import SnapsimError

KIB, MIB, SECOND = 1 << 10, 1 << 20, 10**9


def _boot(seed, *, n=300):
    """A guest that reads the same scattered blocks whenever it starts, at slightly different times."""
    places = np.random.default_rng(1).integers(0, 512, n) * 512 * KIB
    rng = np.random.default_rng(seed)
    return np.sort(rng.integers(0, 10 * SECOND, n)), places


@pytest.fixture(scope="module")
def trace():
    """Two starts, an hour apart."""
    (first, places), (second, again) = _boot(2), _boot(3)
    return ss.Trace.from_arrays(
        np.concatenate((first, second + 3600 * SECOND)),
        ["read"] * (2 * len(places)),
        np.concatenate((places, again)),
        np.full(2 * len(places), 4 * KIB),
        capacity="256MiB",
        start="2026-03-01T06:00Z",
    )


def rows(boots):
    return boots.frame.set_index("order")


def test_what_is_learned_serves_sooner(trace):
    boots = ss.boot_orders(trace, "network", reads=300, rate="10MiB", window="1min")
    table = rows(boots)
    assert table.loc["needed", "duration_ns"] < table.loc["linear", "duration_ns"]
    assert table.loc["hottest", "duration_ns"] < table.loc["linear", "duration_ns"]
    assert table.loc["needed", "hit_share"] > table.loc["linear", "hit_share"]
    assert (table["duration_ns"] >= boots.undisturbed_ns).all()
    # what is fetched on demand comes past the limit of the background
    assert (table["complete_ns"] <= 25.6 * SECOND).all()
    assert boots.size == 256 * MIB


def test_learned_from_another_start(trace):
    boots = ss.boot_orders(
        trace, "network", after="1h", learn_after=0, window="1min", reads=300, rate="10MiB"
    )
    table = rows(boots)
    assert "another part" in boots.learned
    assert table.loc["needed", "duration_ns"] < table.loc["linear", "duration_ns"]
    absolute = ss.boot_orders(
        trace, "network", after="2026-03-01T07:00Z", learn_after="2026-03-01T06:00Z", window="1min",
        reads=300, rate="10MiB",
    )  # fmt: skip
    assert absolute.frame.equals(boots.frame)


def test_delays_add_up_where_the_guest_waits(trace):
    how = {"reads": 300, "window": "1min", "rate": "2MiB", "orders": ["linear"]}
    waiting, open_loop = (ss.boot_orders(trace, "network", waits=each, **how) for each in (True, False))
    late = waiting.frame["duration_ns"].iloc[0] - waiting.undisturbed_ns
    assert late == waiting.frame["stall_ns"].iloc[0]
    assert open_loop.frame["duration_ns"].iloc[0] < waiting.frame["duration_ns"].iloc[0]


def test_the_frames(trace):
    boots = ss.boot_orders(trace, "hdd", window="1min", reads=100)
    for frame in (boots.frame, boots.progress):
        for name in frame.columns:
            assert frame[name].dtype == schema.QUANTITIES[name].dtype, name
    for order, part in boots.progress.groupby("order"):
        assert part["reads_served"].is_monotonic_increasing, order
        assert part["reads_served"].iloc[-1] == 300
        assert part["restored_bytes"].iloc[-1] == 256 * MIB
        assert part["age_ns"].iloc[0] == 0
    assert rows(boots).loc["linear", "reads_served"] == 100


def test_devices_decide_what_a_block_takes(trace):
    hdd, nvme, net = (ss.boot_orders(trace, name, window="1min") for name in ("hdd", "nvme", "network"))
    assert hdd.step_ns < hdd.jump_ns < hdd.fetch_ns
    assert nvme.fetch_ns < hdd.fetch_ns
    assert net.fetch_ns > ss.device("network").cold.penalty
    given = ss.boot_orders(trace, "hdd", window="1min", rate="1MiB")
    assert given.step_ns == given.jump_ns == SECOND // 2


def test_a_part_of_the_volume(trace):
    boots = ss.boot_orders(trace, "network", initial=[(0, 64 * MIB)], window="1min")
    assert boots.size == 64 * MIB
    assert (rows(boots)["hit_share"] > 0.7).all()  # most of what is read holds nothing


def test_fewer_reads_than_asked_for(trace):
    boots = ss.boot_orders(trace, window="1min", reads=10**6)
    assert boots.reads == 300
    assert (boots.frame["reads_served"] == 300).all()


def test_the_answer_in_words(trace):
    boots = ss.boot_orders(trace, window="1min", reads=100)
    text = boots.text()
    assert "256 MiB" in text
    assert "first 100 reads" in text
    assert "all there" in text
    assert repr(boots) == text
    assert "<pre" in boots._repr_html_()
    assert [one["order"] for one in boots.summary()["orders"]] == ["linear", "hottest", "needed"]
    assert any("most it can give" in text for text in boots.summary()["assumptions"])


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"orders": ["random"]}, "must be some of"),
        ({"orders": []}, "must be some of"),
        ({"reads": 0}, "reads must be"),
        ({"rate": 0}, "at least one byte"),
        ({"after": "30min", "window": "1min"}, "no guest to serve"),
        ({"learn_after": "30min", "window": "1min"}, "no read to learn"),
        ({"initial": "thin"}, "thick"),
        ({"initial": [(256 * MIB, 1)]}, "outside the volume"),
        ({"block_size": 0}, "block_size"),
        ({"window": "soon"}, "soon"),
        ({"device": "floppy"}, "floppy"),
    ],
)
def test_what_makes_no_sense(trace, how, message):
    with pytest.raises(SnapsimError, match=message):
        ss.boot_orders(trace, **how)


def test_what_is_no_trace():
    with pytest.raises(SnapsimError, match="trace is a list"):
        ss.boot_orders([])
