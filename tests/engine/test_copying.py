"""Copying against the queues of the devices, closed forms, and laws."""

import numpy as np
import pytest

from snapsim.devices import device
from snapsim.engine import copying
from snapsim.engine.copying import Pieces, copy_time
from snapsim.errors import UsageError

MIB = 1 << 20
NAMES = pytest.mark.parametrize("name", ["hdd", "sata-ssd", "nvme", "network"])


def scattered(n, *, seed=1, size=65536, span=64 << 30):
    rng = np.random.default_rng(seed)
    place = rng.choice(span // size, (2, n), replace=False) * size
    return Pieces(place[0], np.sort(place[1]), np.full(n, size))


def whole(size):
    return Pieces(np.array([0]), np.array([0]), np.array([size]))


def test_pieces_are_cut_into_chunks():
    pieces = Pieces(np.array([0, 5000]), np.array([100, 200]), np.array([2500, 10]))
    chunks, n = pieces.chunks(1000, 100)
    assert n == 4
    assert chunks.source.tolist() == [0, 1000, 2000, 5000]
    assert chunks.target.tolist() == [100, 1100, 2100, 200]
    assert chunks.length.tolist() == [1000, 1000, 500, 10]
    assert pieces.total == chunks.total == 2510


def test_runs_are_counted_on_both_sides():
    pieces = Pieces(np.array([0, 10, 50]), np.array([0, 20, 30]), np.array([10, 10, 10]))
    assert pieces.runs() == (2, 2)
    assert whole(5).runs() == (1, 1)
    assert Pieces(*np.zeros((3, 0), np.int64)).runs() == (0, 0)


@NAMES
@pytest.mark.parametrize("shared", [True, False])
def test_samples_say_what_the_whole_says(name, shared, monkeypatch):
    one = device(name).parameters()
    pieces = scattered(3000)
    monkeypatch.setattr(copying, "SAMPLED", 10**9)
    exact = copy_time(pieces, one, None if shared else one)
    monkeypatch.setattr(copying, "SAMPLED", 1024)
    sampled = copy_time(pieces, one, None if shared else one)
    for got, wanted in zip(sampled, exact, strict=True):
        assert got == pytest.approx(wanted, rel=0.1)


def test_a_limit_on_bytes_is_what_a_long_copy_takes():
    nvme = device("nvme")
    took = copy_time(whole(4 << 30), nvme.parameters(), device("nvme").parameters(), streams=64)
    assert took.read_ns == pytest.approx((4 << 30) / nvme.read.throughput * 1e9, rel=0.02)
    assert took.duration_ns == pytest.approx((4 << 30) / nvme.write.throughput * 1e9, rel=0.02)


def test_one_disk_does_both():
    hdd = device("hdd").parameters()
    two = copy_time(whole(256 * MIB), hdd, hdd, streams=1)
    one = copy_time(whole(256 * MIB), hdd, streams=1)
    rate = device("hdd").read.rate
    assert two.read_ns == pytest.approx((256 * MIB) / rate * 1e9, rel=0.05)
    assert one.duration_ns > two.read_ns + two.write_ns  # and its arm goes to and fro


@NAMES
def test_more_streams_are_not_slower_and_the_bounds_hold(name):
    one = device(name).parameters()
    pieces = scattered(500)
    took = [copy_time(pieces, one, one, streams=n) for n in (1, 4, 32)]
    assert took[0].duration_ns >= took[1].duration_ns >= took[2].duration_ns
    for each in took:
        flush = int(one.latency[4, 0])
        assert max(each.read_ns, each.write_ns) <= each.duration_ns - flush <= each.read_ns + each.write_ns


def test_a_network_between():
    nvme = device("nvme").parameters()
    took = copy_time(whole(1 << 30), nvme, nvme, network=100 * MIB)
    assert took.duration_ns == pytest.approx(10.24e9, rel=0.01)


def test_a_cold_source_is_fetched_first():
    net = device("network")
    warm = copy_time(whole(64 * MIB), net.parameters(), net.parameters(), streams=1)
    cold = copy_time(whole(64 * MIB), net.parameters(), net.parameters(), streams=1, cold=True)
    assert cold.read_ns - warm.read_ns == pytest.approx(128 * net.cold.penalty, rel=0.4)
    assert cold.write_ns == warm.write_ns


def test_nothing_takes_nothing():
    empty = Pieces(*np.zeros((3, 0), np.int64))
    assert copy_time(empty, device("hdd").parameters()) == (0, 0, 0)


@pytest.mark.parametrize("wrong", [{"chunk": 0}, {"streams": 0}])
def test_a_copy_that_cannot_be(wrong):
    with pytest.raises(UsageError, match="at least one"):
        copy_time(whole(1), device("hdd").parameters(), **wrong)
