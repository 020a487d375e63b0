"""The guest, operations and merges on one device, to the nanosecond."""

import numpy as np
import pytest

from snapsim.devices.model import Device
from snapsim.devices.parts import Access
from snapsim.engine.queueing import Work
from snapsim.planning.replay_device import MERGE, STOP, Pace, SharedDevice, merge_parts
from snapsim.types import READ, WRITE
from snapsim.units import SECOND


def simple(channels=1):
    """Return a device that takes 100 ns for whatever it is asked."""
    access = Access(random=100, sequential=100)
    return Device(
        name="simple", title="simple", kind="ssd", capacity=1 << 30, read=access, write=access, flush=100,
        discard=100, channels=channels, evidence=(),
    ).parameters()  # fmt: skip


class Listener:
    """Remember what is finished."""

    def __init__(self):
        self.rows = []

    def __call__(self, done):
        self.rows += zip(*(column.tolist() for column in done), strict=True)

    def of(self, kind):
        return sorted((arrival, finish) for arrival, finish, one, _ in self.rows if one == kind)


def writes(n):
    return Work.single(np.full(n, WRITE), np.arange(n) * 10_000, np.full(n, 4096))


def shared(**how):
    listener = Listener()
    return SharedDevice(simple(), listener, **how), listener


def test_what_stops_the_guest_is_alone():
    device, told = shared()
    device.guest(np.array([0, 10]), np.full(2, WRITE), writes(2))
    # two requests of the guest are finished at 200; only then two operations, one after the other
    assert device.alone(50, writes(2)) == 400
    device.guest(np.array([60, 390, 1000]), np.full(3, WRITE), writes(3))
    device.finish()
    assert told.of(STOP) == [(50, 300), (50, 400)]
    # those that came meanwhile waited, and their latency counts from when they came
    assert told.of(WRITE) == [(0, 100), (10, 200), (60, 500), (390, 600), (1000, 1100)]


def test_one_stop_after_the_other():
    device, _ = shared()
    assert device.alone(50, writes(1)) == 150
    assert device.alone(50, writes(1)) == 250


def test_what_does_nothing_stops_nobody():
    device, _ = shared()
    device.guest(np.array([0]), np.array([WRITE]), writes(1))
    assert device.alone(50, writes(0)) == 50


def test_before_the_trace_begins():
    device, told = shared(first_ns=-1000)
    assert device.alone(-1000, writes(1)) == -900
    device.finish()
    assert told.of(STOP) == [(-1000, -900)]


@pytest.mark.parametrize("size", [1, 2, 5])
def test_merges_stand_in_the_same_queue(size):
    device, told = shared()
    device.merge(np.array([100, 150]), writes(2), number=3)
    arrivals = np.array([100, 100, 120, 150, 600])
    for begin in range(0, 5, size):
        some = arrivals[begin : begin + size]
        device.guest(some, np.full(len(some), READ), writes(len(some)))
    device.finish()
    # at one time the guest comes first
    assert told.of(READ) == [(100, 200), (100, 300), (120, 500), (150, 600), (600, 800)]
    assert told.of(MERGE - 3) == [(100, 400), (150, 700)]


def test_the_load_is_judged_by_when_requests_came():
    device, _ = shared(first_ns=-10_000)
    device.alone(-10_000, writes(1))
    device.guest(np.arange(10) * 10, np.full(10, WRITE), writes(10))
    device.alone(90, writes(1))
    device.guest(np.array([100]), np.array([WRITE]), writes(1))
    device.finish()
    device.alone(50_000, writes(1))
    load = device.load(limits_ns=0)
    assert load.saturated
    # eleven writes and what stopped them; snapshots long before and after them say nothing about it
    assert load.offered == pytest.approx(1200 / 100, rel=0.1)
    assert load.utilisation == 1
    assert load.drain_ns == 1200 - 100


def test_an_idle_device():
    device, _ = shared()
    device.finish()
    assert device.load(limits_ns=0).utilisation == 0


def test_merges_have_a_pace_and_wait_for_each_other():
    pace = Pace(1000)
    due, end = pace.due(5 * SECOND, np.array([500, 1000, 500]))
    assert (due / SECOND).tolist() == [5, 5.5, 6.5]
    assert end == 7 * SECOND
    due, end = pace.due(6 * SECOND, np.array([1000]))
    assert (due / SECOND).tolist() == [7]
    assert pace.due(60 * SECOND, np.array([1000]))[0].tolist() == [60 * SECOND]


def test_parts_of_a_merge_are_as_large_as_what_they_move():
    work = Work(
        op=np.array([READ, WRITE, READ, WRITE, WRITE], np.uint8),
        offset=np.zeros(5, np.int64),
        length=np.array([10, 10, 30, 5, 6]),
        first_op=np.array([0, 2, 5, 5]),
        stage=np.array([0, 1, 0, 1, 1]),
    )
    assert merge_parts(work).tolist() == [10, 30, 0]
