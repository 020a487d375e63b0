"""The queueing model against its slow twin, against queueing theory, and against arithmetic by hand."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapsim.devices import Access, Cold, Device, Mechanics, device
from snapsim.engine.queueing import Work, cold_volume, serve
from snapsim.engine.reference_queue import Operation, ReferenceDevice, Request
from snapsim.errors import UsageError
from snapsim.types import DISCARD, FLUSH, READ, WRITE, WRITE_ZEROES

SECOND = 10**9


def simple(**changes):
    """A device that takes 100 ns a read and 300 ns a write, one at a time."""
    facts = {
        "name": "simple", "title": "simple", "kind": "ssd", "capacity": 1 << 30,
        "read": Access(random=100, sequential=100), "write": Access(random=300, sequential=300),
        "flush": 50, "discard": 20, "evidence": (),
    }  # fmt: skip
    return Device(**{**facts, **changes})


def reads(n):
    return Work.single(np.full(n, READ), np.zeros(n), np.full(n, 4096))


def work_of(requests):
    operations = [one for request in requests for one in request.operations]
    columns = np.array(operations, np.int64).reshape(len(operations), 4)
    first = np.cumsum([0, *(len(request.operations) for request in requests)])
    return Work(
        op=columns[:, 0].astype(np.uint8),
        offset=columns[:, 1].copy(),
        length=columns[:, 2].copy(),
        stage=columns[:, 3].copy(),
        first_op=first.astype(np.int64),
    )


@st.composite
def devices(draw):
    mechanics = Mechanics(
        rpm=7200, track_to_track=1000, average_seek=7000, full_stroke=15000, inner_share=0.5
    )
    access = st.builds(
        Access,
        random=st.integers(0, 500),
        sequential=st.integers(0, 100),
        rate=st.sampled_from([10**6, 3 * 10**8, 1 << 35]),
        operations=st.sampled_from([0, 3 * 10**6, 10**7]),
        throughput=st.sampled_from([0, 10**9, 1 << 36]),
    )
    return simple(
        channels=draw(st.integers(1, 4)),
        queue_depth=draw(st.integers(1, 4)),
        order=draw(st.sampled_from(["arrival", "nearest"])),
        read=draw(access),
        write=draw(access),
        zeroes=draw(st.sampled_from(["write", "discard"])),
        mechanics=mechanics if draw(st.booleans()) else Mechanics(),
        cold=draw(st.sampled_from([Cold(), Cold(unit=8192, penalty=1000)])),
    )


@st.composite
def request_lists(draw):
    closed = draw(st.booleans())
    requests = []
    for _ in range(draw(st.integers(1, 12))):
        stages = sorted(draw(st.lists(st.integers(0, 3), max_size=4)))
        operations = [
            Operation(
                draw(st.sampled_from([READ, WRITE, DISCARD, WRITE_ZEROES, FLUSH])),
                draw(st.integers(0, 40)) * 2048,
                draw(st.integers(0, 6)) * 2048,
                stage,
            )
            for stage in stages
        ]
        time = draw(st.integers(0, 1500))
        requests.append(Request(time, operations, draw(st.integers(0, 3)) if closed else None))
    return requests


@given(devices(), request_lists(), st.booleans())
def test_every_start_and_finish_equals_the_twin(one, requests, restored):
    parameters = one.parameters()
    cold = cold_volume(parameters, 1 << 17) if restored else np.empty(0, np.uint8)
    reference = ReferenceDevice(parameters, set(range(len(cold))))
    reference.run(requests)
    user = None if requests[0].user is None else [request.user for request in requests]
    served = serve(
        parameters, [request.time for request in requests], work_of(requests), user=user, cold=cold
    )
    assert served.issued_ns.tolist() == [request.issued for request in requests]
    assert served.finish_ns.tolist() == [request.finish for request in requests]
    times = [request.times[i] for request in requests for i in range(len(request.operations))]
    assert list(zip(served.op_start_ns.tolist(), served.op_finish_ns.tolist(), strict=True)) == times
    assert set(np.flatnonzero(cold).tolist()) == reference.cold


@given(devices(), request_lists())
def test_laws(one, requests):
    """Little's law and the utilisation law hold exactly; stages and channels are respected."""
    user = None if requests[0].user is None else [request.user for request in requests]
    work = work_of(requests)
    served = serve(one.parameters(), [request.time for request in requests], work, user=user)

    # Little: requests present, summed over time, are latencies, summed over requests
    moments = np.unique(np.concatenate((served.issued_ns, served.finish_ns)))
    present = sum(
        int(b - a) * int(np.sum((served.issued_ns <= a) & (served.finish_ns >= b)))
        for a, b in pairwise(moments)
    )
    assert present == served.latency_ns.sum()

    # utilisation: throughput times mean service time is the share of time that channels are busy
    span = int(served.finish_ns.max() - served.issued_ns.min())
    service = served.op_finish_ns - served.op_start_ns
    if span and len(service):
        busy = len(service) / span * service.mean()
        assert served.load().utilisation * one.channels == pytest.approx(busy)
        series = served.load_series(max(span // 3, 1))
        width = max(span // 3, 1) * one.channels
        assert series.utilisation.sum() * width == pytest.approx(service.sum())
        assert series.arrivals.sum() == len(requests)
        assert series.backlog[-1] == 0

    assert np.all(service >= 0)
    for begin, end in zip(work.first_op[:-1], work.first_op[1:], strict=True):
        for later in range(begin, end):
            before = [i for i in range(begin, end) if work.stage[i] < work.stage[later]]
            assert all(served.op_finish_ns[i] <= served.op_start_ns[later] for i in before)
    for start in served.op_start_ns:
        assert np.sum((served.op_start_ns <= start) & (served.op_finish_ns > start)) <= one.channels


@pytest.mark.compiled
@pytest.mark.parametrize("share", [0.3, 0.6, 0.8])
def test_one_channel_and_random_arrivals_wait_as_long_as_theory_says(share):
    """M/D/1: the mean wait is rho D / (2 (1 - rho)) (Pollaczek and Khinchine)."""
    n = 1_000_000
    gaps = np.random.default_rng(7).exponential(100 / share, n)
    arrivals = np.cumsum(gaps).round().astype(np.int64)
    served = serve(simple().parameters(), arrivals, reads(n))
    wait = (served.op_start_ns - served.issued_ns).mean()
    load = served.load()
    assert load.offered == pytest.approx(share, rel=0.01)
    assert load.utilisation == pytest.approx(share, rel=0.01)
    assert not load.saturated
    assert wait == pytest.approx(share * 100 / (2 * (1 - share)), rel=0.05)


def test_as_much_as_channels_can_do_in_a_closed_loop():
    """Throughput is min(users, channels) over the service time."""
    for users, channels in ((1, 4), (3, 4), (4, 4), (9, 4)):
        served = serve(
            simple(channels=channels).parameters(), np.zeros(400), reads(400), user=np.arange(400) % users
        )
        rounds = -(-400 // min(users, channels))
        assert served.finish_ns.max() == rounds * 100
        assert np.isnan(served.load().offered)
        assert not served.load().saturated


def test_think_times():
    served = serve(simple().parameters(), [1000, 500, 0], reads(3), user=[4, 4, 4])
    assert served.issued_ns.tolist() == [1000, 1600, 1700]
    assert served.start_ns.tolist() == served.issued_ns.tolist()


def test_saturation_is_reported():
    arrivals = np.arange(1000) * 90
    served = serve(simple().parameters(), arrivals, reads(1000))
    load = served.load()
    assert load.saturated
    assert load.offered == pytest.approx(100 / 90)
    assert load.utilisation == 1
    assert load.drain_ns == 1000 * 100 - 999 * 90
    series = served.load_series(9000)
    assert series.saturated[:10].all()
    assert np.all(np.diff(series.backlog[:10]) > 0)
    assert not serve(simple().parameters(), np.arange(1000) * 110, reads(1000)).load().saturated


def test_saturation_of_a_limit_is_reported():
    """Channels have time, but the device takes no more requests a second."""
    limited = simple(channels=64, read=Access(random=100, sequential=100, operations=1_000_000))
    load = serve(limited.parameters(), np.arange(1000) * 900, reads(1000)).load()
    assert load.saturated
    assert load.offered == pytest.approx(1000 / 900)
    # requests that wait for the limit do not keep a channel busy: each starts when it may
    assert load.utilisation == pytest.approx(1000 / 1000 / 64, rel=0.01)


def test_a_burst_after_which_there_is_time():
    arrivals = np.concatenate((np.zeros(50), [100_000]))
    served = serve(simple().parameters(), arrivals, reads(51))
    assert not served.load().saturated
    series = served.load_series(1000)
    assert series.saturated.tolist()[:2] == [True, False]
    assert series.backlog[:6].tolist() == [40, 30, 20, 10, 0, 0]


def test_requests_without_operations_take_no_time():
    work = work_of([Request(5, []), Request(7, [Operation(FLUSH, 0, 0)]), Request(9, [])])
    served = serve(simple().parameters(), [5, 7, 9], work)
    assert served.latency_ns.tolist() == [0, 50, 0]
    assert served.start_ns.tolist() == [5, 7, 9]


def test_nothing_to_do():
    served = serve(simple().parameters(), [], reads(0))
    assert served.load().utilisation == 0
    assert len(served.load_series(10).start_ns) == 0


def test_a_turning_disk():
    """7200 rpm: what has just passed under the head comes round after 8.33 ms."""
    disk = simple(
        read=Access(random=0, sequential=0, rate=120_000_000), mechanics=Mechanics(rpm=7200), channels=1
    )
    parameters = disk.parameters()
    assert parameters.rotation == 8_333_333
    assert parameters.track == 999_999
    served = serve(parameters, [0, 0, 0], Work.single([READ] * 3, [0, 12_000, 0], [12_000] * 3))
    assert served.op_finish_ns[0] == 100_000
    assert served.op_finish_ns[1] == 200_000
    assert served.op_finish_ns[2] == 8_333_333 + 100_000


@pytest.mark.compiled
def test_random_reads_of_a_disk_take_what_its_data_sheet_adds_up_to():
    """Overhead, average seek, half a revolution, transfer."""
    disk = device("hdd")
    n = 100_000
    offset = np.random.default_rng(3).integers(0, disk.capacity // 4096, n) * 4096
    served = serve(
        disk.parameters(),
        np.zeros(n),
        Work.single(np.full(n, READ), offset, np.full(n, 4096)),
        user=np.zeros(n),
    )
    expected = disk.read.random + disk.mechanics.average_seek + 60e9 / 7200 / 2
    assert served.latency_ns.mean() == pytest.approx(expected, rel=0.01)


def test_choosing_the_nearest_is_faster_and_starves_nobody():
    disk = device("hdd")
    n = 600
    offset = np.random.default_rng(5).integers(0, 10**6, n) * 4096 * 200
    offset[10] = 3_999_999_995_904  # far away from all others
    work = Work.single(np.full(n, READ), offset, np.full(n, 4096))
    near = serve(disk.parameters(), np.zeros(n), work)
    first = serve(disk.parameters()._replace(window=1), np.zeros(n), work)
    assert near.finish_ns.max() < 0.7 * first.finish_ns.max()
    place = np.argsort(near.op_start_ns).tolist().index(10)
    assert place <= 10 + disk.queue_depth


def test_cold_reads_are_paid_once():
    store = device("network")
    parameters = store.parameters()
    cold = cold_volume(parameters, 10 << 20)
    assert len(cold) == 20
    half = 1 << 18
    work = Work.single(
        [READ, READ, WRITE, READ, WRITE, READ],
        np.array([0, 1, 2, 2, 4, 4]) * half,
        [4096] * 4 + [2 * half, 4096],
    )
    served = serve(parameters, np.arange(6) * SECOND, work, cold=cold)
    penalty = store.cold.penalty
    extra = served.latency_ns - serve(parameters, np.arange(6) * SECOND, work).latency_ns
    # first read; the same unit; a write to a part of the next; its read; a whole unit; its read
    assert extra.tolist() == [penalty, 0, penalty, 0, 0, 0]
    assert cold.sum() == 17


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"first_op": np.array([0, 1])}, "first_op"),
        ({"first_op": np.array([0, 2, 1, 3])}, "rise"),
        ({"length": np.zeros(2, np.int64)}, "same length"),
        ({"op": np.full(3, 5, np.uint8)}, "op code"),
        ({"offset": np.full(3, -1)}, "negative"),
        ({"first_op": np.array([0, 0, 0, 3]), "stage": np.array([1, 0, 2])}, "decrease"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changes, match):
    facts = {name: getattr(reads(3), name) for name in ("op", "offset", "length", "stage", "first_op")}
    with pytest.raises(UsageError, match=match):
        serve(simple().parameters(), [0, 0, 0], Work(**{**facts, **changes}))


def test_users_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match="user has 2"):
        serve(simple().parameters(), [0, 0, 0], reads(3), user=[1, 1])
    with pytest.raises(UsageError, match="negative"):
        serve(simple().parameters(), [0, -1, 0], reads(3), user=[1, 1, 1])
    with pytest.raises(UsageError, match="interval"):
        serve(simple().parameters(), [0, 0, 0], reads(3)).load_series(0)
