"""Kernel of a volume that is used while it is still being restored."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from snapsim._jit import kernel

ABSENT = (1 << 63) - 1  # a block that nobody has fetched yet

# places in `RestoreState.cursor`
FREE, NEXT, DELAY, FETCHED = 0, 1, 2, 3
CURSOR_SIZE = 4

_READ, _WRITE, _DISCARD, _WRITE_ZEROES = 0, 1, 2, 3


class RestoreState(NamedTuple):
    """Arrays that carry a restore from one batch to the next.

    Attributes
    ----------
    ready : int64 array, shape (n_blocks,)
        When each block is there; `ABSENT` until then.  [ns]
    order : int64 array, shape (n_restored,)
        The blocks in the order in which they are restored.
    cursor : int64 array, shape (CURSOR_SIZE,)
        When the link is free, the next place in the order, how far the guest is behind, and blocks that were
        fetched because the guest asked for them.
    """

    ready: npt.NDArray[np.int64]
    order: npt.NDArray[np.int64]
    cursor: npt.NDArray[np.int64]


@kernel(allocates=False)
def restore_until(now, step, state):
    """Restore in the background, block after block, whatever begins before `now`."""
    ready, order, cursor = state.ready, state.order, state.cursor
    free, place = cursor[FREE], cursor[NEXT]
    while free < now and place < order.shape[0]:
        block = order[place]
        if ready[block] == ABSENT:
            free += step[place]
            ready[block] = free
        place += 1
    cursor[FREE], cursor[NEXT] = free, place


@kernel(allocates=False)
def use_while_restoring(
    time, op, offset, length, block_size, size, step, fetch, waits, state, finish, missed
):
    """Let requests meet a volume that is being restored.

    Parameters
    ----------
    time : int64 array, shape (n_requests,)
        When the guest would make each request if nothing kept it.  [ns]
    op : uint8 array, shape (n_requests,)
        Op codes.
    offset, length : int64 arrays, shape (n_requests,)
        Inside the volume.  [bytes]
    block_size, size : int
        Of a block, and of the volume.  [bytes]
    step : int64 array, shape (n_restored,)
        What each place in the order takes in the background.  [ns]
    fetch : int
        What a block takes on demand.  [ns]
    waits : int
        1: the guest goes on only when a request is done; what it waited, all that follows is late.
    state : RestoreState
        Modified in place.
    finish : int64 array, shape (n_requests,)
        Filled: when each request has all that it needs.  [ns]
    missed : int64 array, shape (n_requests,)
        Filled: blocks that had to be waited for.
    """
    ready, cursor = state.ready, state.cursor
    for i in range(time.shape[0]):
        now = time[i] + cursor[DELAY]
        restore_until(now, step, state)
        done = now
        waited = np.int64(0)
        if length[i] > 0 and op[i] <= _WRITE_ZEROES:
            end = offset[i] + length[i]
            for block in range(offset[i] // block_size, (end - 1) // block_size + 1):
                there = ready[block]
                if there <= now:
                    continue
                begin = block * block_size
                whole = offset[i] <= begin and min(begin + block_size, size) <= end
                if op[i] != _READ and whole:
                    ready[block] = now  # new contents: nothing has to come from the snapshot
                    continue
                if op[i] == _DISCARD:
                    continue  # a part of a block cannot be let go
                if there == ABSENT:
                    there = max(cursor[FREE], now) + fetch
                    cursor[FREE] = there
                    cursor[FETCHED] += 1
                    ready[block] = there
                done = max(done, there)
                waited += 1
        finish[i] = done
        missed[i] = waited
        if waits:
            cursor[DELAY] += done - now
