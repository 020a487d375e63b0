"""Kernels of the queueing model: when each operation starts and finishes on a device."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from snapsim._jit import kernel

READ, FLUSH = 0, 4
NANOSECONDS = 1_000_000_000
OPEN = -1

WORK, GATED, LONGEST, N_TOTALS = 0, 1, 2, 3
"""Places in `QueueState.totals`."""

DUE, IN_SERVICE, WAITING_FROM, WAITING_TO, HEAD, GATE, COMING, COMING_TO, N_CURSOR = 0, 1, 2, 3, 4, 5, 6, 7, 8
"""Places in `QueueState.cursor`."""

NEVER = (1 << 63) - 1


@kernel(allocates=False)
def transfer_time(length, rate):
    """Return what `length` bytes take at `rate` bytes a second, rounded down.  [ns]"""
    if rate == 0:
        return 0
    coarse = 8 if rate >= 1 << 33 else 0  # so that the product fits
    part = (length % rate >> coarse) * NANOSECONDS // (rate >> coarse)
    return length // rate * NANOSECONDS + part


@kernel(allocates=False)
def seek_time(seek_distance, seek_ns, distance):
    """Interpolate the seek curve; no movement takes no time.  [ns]"""
    last = seek_distance.shape[0] - 1
    if distance == 0 or last < 0:
        return 0
    if distance >= seek_distance[last]:
        return seek_ns[last]
    low, high = 0, last
    while high - low > 1:
        middle = (low + high) // 2
        if seek_distance[middle] <= distance:
            low = middle
        else:
            high = middle
    width = seek_distance[high] - seek_distance[low]
    # 1/1024 of a width is fine enough, and the product fits
    share = (distance - seek_distance[low]) * 1024 // width
    return seek_ns[low] + (seek_ns[high] - seek_ns[low]) * share // 1024


@kernel(allocates=False)
def positioning(seek_distance, seek_ns, rotation, track, latency, now, head, offset):
    """Return overhead, seek and rotation before the first byte.  [ns]"""
    if head == offset:
        return latency[1]
    taken = latency[0] + seek_time(seek_distance, seek_ns, abs(offset - head))
    if rotation > 0:
        angle = offset % track * rotation // track
        taken += (angle - (now + taken)) % rotation
    return taken


@kernel(allocates=False)
def local_rate(rate, inner, capacity, offset):
    """Return the transfer rate at an address.  [bytes/s]"""
    if rate == 0 or inner == 1024:
        return rate
    # the address in 1/1024 of the disk: zones are as coarse
    zone = min(offset // (capacity // 1024 + 1), 1023)
    return max(rate * (1024 * 1024 - (1024 - inner) * zone) // (1024 * 1024), 1)


@kernel(allocates=False)
def thaw(cold, unit, op, offset, length):
    """Warm the units that an operation touches; return how many have to be fetched for it."""
    if cold.shape[0] == 0 or length == 0 or op == FLUSH:
        return 0
    fetched = 0
    last = min((offset + length - 1) // unit, cold.shape[0] - 1)
    for number in range(offset // unit, last + 1):
        if cold[number]:
            cold[number] = 0
            whole = offset <= number * unit and (number + 1) * unit <= offset + length
            if op == READ or not whole:
                fetched += 1
    return fetched


@kernel(allocates=False)
def push(heap_time, heap_item, size, time, item):
    """Put an item into a heap ordered by time, then item; return its new size."""
    place = size
    while place > 0:
        parent = (place - 1) >> 1
        if heap_time[parent] < time or (heap_time[parent] == time and heap_item[parent] < item):
            break
        heap_time[place], heap_item[place] = heap_time[parent], heap_item[parent]
        place = parent
    heap_time[place], heap_item[place] = time, item
    return size + 1


@kernel(allocates=False)
def pop(heap_time, heap_item, size):
    """Take the first item out of a heap; return its new size."""
    size -= 1
    time, item = heap_time[size], heap_item[size]
    place = 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        right = child + 1
        if right < size and (
            heap_time[right] < heap_time[child]
            or (heap_time[right] == heap_time[child] and heap_item[right] < heap_item[child])
        ):
            child = right
        if time < heap_time[child] or (time == heap_time[child] and item < heap_item[child]):
            break
        heap_time[place], heap_item[place] = heap_time[child], heap_item[child]
        place = child
    heap_time[place], heap_item[place] = time, item
    return size


class QueueState(NamedTuple):
    """Where a simulation stands between two calls.

    Attributes
    ----------
    due_time, due_item : int64 arrays, shape (n_requests,)
        Requests that are still to be issued: from `COMING` to `COMING_TO` those whose time is known from the
        beginning, sorted; before that, where their forerunners were, a heap of followers.  [ns]
    busy_time, busy_item : int64 arrays, shape (channels,)
        Heap of operations in service, by their finish.  [ns]
    queue : int64 array, shape (n_ops,)
        Operations that wait, in order.
    overtaken : int64 array, shape (n_ops,)
        How often each was overtaken.
    next_op, left : int64 arrays, shape (n_requests,)
        First operation of the next stage; operations of this stage that are not done.
    cursor : int64 array, shape (8,)
        Sizes of the heaps, ends of the queue, head, when the limits allow the next start, ends of what comes.
    totals : int64 array, shape (3,)
        Service time, time at the limits, most operations waiting.
    """

    due_time: npt.NDArray[np.int64]
    due_item: npt.NDArray[np.int64]
    busy_time: npt.NDArray[np.int64]
    busy_item: npt.NDArray[np.int64]
    queue: npt.NDArray[np.int64]
    overtaken: npt.NDArray[np.int64]
    next_op: npt.NDArray[np.int64]
    left: npt.NDArray[np.int64]
    cursor: npt.NDArray[np.int64]
    totals: npt.NDArray[np.int64]


@kernel
def serve_requests(
    parameters,
    horizon,
    state,
    time,
    follower,
    op,
    offset,
    length,
    stage,
    first_op,
    request_of,
    cold,
    issued,
    finish,
    op_start,
    op_finish,
):
    """Serve requests up to a moment; fill `issued`, `finish`, `op_start`, `op_finish` and the state.

    Two clocks drive it: requests that become due (a heap of times) and operations that finish (another one).
    Whatever is due waits in one queue in the order in which it became so.  What happens at `horizon` or later
    is left for the next call: requests that come then are not known yet.
    """
    channels, window, capacity = parameters.channels, parameters.window, parameters.capacity
    latency, rate = parameters.latency, parameters.rate
    spacing, throughput = parameters.spacing, parameters.throughput
    seek_distance, seek_ns = parameters.seek_distance, parameters.seek_time
    rotation, track, inner, moves = parameters.rotation, parameters.track, parameters.inner, parameters.moves
    cold_unit, cold_penalty = parameters.cold_unit, parameters.cold_penalty

    due_time, due_item, busy_time, busy_item = (
        state.due_time,
        state.due_item,
        state.busy_time,
        state.busy_item,
    )
    queue, overtaken, next_op, left = state.queue, state.overtaken, state.next_op, state.left
    cursor, totals = state.cursor, state.totals
    due, in_service = cursor[DUE], cursor[IN_SERVICE]
    waiting_from, waiting_to = cursor[WAITING_FROM], cursor[WAITING_TO]
    head, gate = cursor[HEAD], cursor[GATE]
    coming, coming_to = cursor[COMING], cursor[COMING_TO]

    while True:
        # the first of what comes, or of the followers; a list is cheaper than a heap of all
        listed = coming < coming_to and (
            due == 0
            or due_time[coming] < due_time[0]
            or (due_time[coming] == due_time[0] and due_item[coming] < due_item[0])
        )
        next_due = due_time[coming] if listed else due_time[0] if due > 0 else NEVER
        next_done = busy_time[0] if in_service > 0 else NEVER
        if min(next_due, next_done) >= horizon:
            break
        # what finishes at a moment does so before anything becomes due
        if next_done <= next_due:
            now, number = busy_time[0], busy_item[0]
            in_service = pop(busy_time, busy_item, in_service)
            request = request_of[number]
            left[request] -= 1
            if left[request] > 0:
                request = OPEN
        else:
            now = next_due
            if listed:
                request = due_item[coming]
                coming += 1
            else:
                request = due_item[0]
                due = pop(due_time, due_item, due)
            issued[request] = now
        if request != OPEN:
            number = next_op[request]
            if number == first_op[request + 1]:
                finish[request] = now
                if follower[request] != OPEN:
                    due = push(due_time, due_item, due, now + time[follower[request]], follower[request])
            else:
                this_stage = stage[number]
                while number < first_op[request + 1] and stage[number] == this_stage:
                    queue[waiting_to] = number
                    waiting_to += 1
                    left[request] += 1
                    number += 1
                next_op[request] = number
                totals[LONGEST] = max(totals[LONGEST], waiting_to - waiting_from)
        # everything of this moment has to be known before something is chosen
        if (
            (in_service > 0 and busy_time[0] == now)
            or (due > 0 and due_time[0] == now)
            or (coming < coming_to and due_time[coming] == now)
        ):
            continue
        while in_service < channels and waiting_from < waiting_to:
            chosen = waiting_from
            if window > 1 and overtaken[queue[waiting_from]] < window:
                best = np.int64(1) << 62
                for place in range(waiting_from, min(waiting_from + window, waiting_to)):
                    candidate = queue[place]
                    taken = np.int64(0)
                    code = op[candidate]
                    if moves[code]:
                        taken = positioning(
                            seek_distance,
                            seek_ns,
                            rotation,
                            track,
                            latency[code],
                            now,
                            head,
                            offset[candidate],
                        )
                    if taken < best:
                        best, chosen = taken, place
            number = queue[chosen]
            for place in range(chosen, waiting_from, -1):
                queue[place] = queue[place - 1]
                overtaken[queue[place]] += 1
            waiting_from += 1

            code, begin, size = op[number], offset[number], length[number]
            start = max(now, gate)
            cost = max(spacing[code], transfer_time(size, throughput[code]))
            if moves[code]:
                service = positioning(
                    seek_distance, seek_ns, rotation, track, latency[code], start, head, begin
                )
                service += transfer_time(size, local_rate(rate[code], inner, capacity, begin))
                head = begin + size
            else:
                service = latency[code, 0]
            service += thaw(cold, cold_unit, code, begin, size) * cold_penalty
            service = max(service, cost)
            gate = start + cost
            op_start[number], op_finish[number] = start, start + service
            totals[WORK] += service
            totals[GATED] += cost
            in_service = push(busy_time, busy_item, in_service, start + service, number)
    cursor[DUE], cursor[IN_SERVICE] = due, in_service
    cursor[WAITING_FROM], cursor[WAITING_TO] = waiting_from, waiting_to
    cursor[HEAD], cursor[GATE] = head, gate
    cursor[COMING], cursor[COMING_TO] = coming, coming_to
