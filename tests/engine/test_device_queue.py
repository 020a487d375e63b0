"""Batch by batch is the same as at once."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapsim.engine.device_queue import DeviceQueue
from snapsim.engine.queueing import Work, cold_volume, serve
from snapsim.errors import UsageError
from tests.engine.test_queueing import devices, reads, request_lists, simple, work_of


def part(work, begin, end):
    ops = slice(work.first_op[begin], work.first_op[end])
    return Work(
        op=work.op[ops],
        offset=work.offset[ops],
        length=work.length[ops],
        stage=work.stage[ops],
        first_op=work.first_op[begin : end + 1] - work.first_op[begin],
    )


@given(devices(), request_lists(), st.lists(st.integers(0, 12), max_size=5), st.booleans())
def test_batches_may_end_anywhere(one, requests, cuts, restored):
    parameters = one.parameters()
    requests.sort(key=lambda request: request.time)
    time, work = np.array([request.time for request in requests]), work_of(requests)
    cold = [cold_volume(parameters, 1 << 17) if restored else np.empty(0, np.uint8) for _ in range(2)]
    whole = serve(parameters, time, work, cold=cold[0])
    queue = DeviceQueue(parameters, cold=cold[1])
    edges = [0, *sorted(min(cut, len(time)) for cut in cuts), len(time)]
    done = [queue.add(time[a:b], part(work, a, b)) for a, b in pairwise(edges)]
    done.append(queue.finish())
    number, issued, finish, service = (np.concatenate(column) for column in zip(*done, strict=True))
    assert sorted(number.tolist()) == list(range(len(time)))
    assert all(np.all(np.diff(each.request) > 0) for each in done)
    np.testing.assert_array_equal(issued, whole.issued_ns[number])
    np.testing.assert_array_equal(finish, whole.finish_ns[number])
    lasting = np.concatenate(([0], np.cumsum(whole.op_finish_ns - whole.op_start_ns)))
    np.testing.assert_array_equal(service, np.diff(lasting[work.first_op])[number])
    np.testing.assert_array_equal(cold[0], cold[1])
    assert queue.load() == whole.load()
    assert queue.pending == 0


def test_memory_follows_what_waits():
    fast, slow = DeviceQueue(simple().parameters()), DeviceQueue(simple().parameters())
    for batch in range(10):
        fast.add((batch * 100 + np.arange(100)) * 110, reads(100))
        slow.add((batch * 100 + np.arange(100)) * 50, reads(100))
    assert fast.pending <= 2
    assert slow.pending >= 490
    assert not fast.load().saturated
    slow.finish()
    assert slow.load().saturated


def test_time_that_runs_backwards():
    queue = DeviceQueue(simple().parameters())
    assert queue.load().utilisation == 0
    queue.add([5, 7], reads(2))
    assert len(queue.add([], reads(0)).request) == 0
    for times in ([6, 8], [9, 8]):
        with pytest.raises(UsageError, match="order of time"):
            queue.add(times, reads(2))
