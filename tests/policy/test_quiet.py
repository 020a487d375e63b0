"""Quiet windows against brute force, and over the two nights of the year."""

from datetime import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapsim.errors import PolicyError
from snapsim.policy.quiet import quiet_moves
from snapsim.policy.schedule import Schedule
from snapsim.units import HOUR, MINUTE, SECOND

times = st.sets(st.integers(0, 60), min_size=1, max_size=25).map(sorted)


def array(values):
    return np.array(values, dtype=np.int64)


@given(times, times, st.data(), st.integers(0, 30), st.none() | st.integers(61, 80))
def test_each_tick_goes_to_the_quietest_instant_of_its_window(instants, ticks, data, window, within):
    ticks = [tick for tick in ticks if tick <= instants[-1]]
    writes = data.draw(st.lists(st.integers(0, 4), min_size=len(instants) + 1, max_size=len(instants) + 1))
    moves = quiet_moves(array(ticks), array(instants), writes, window_ns=window, within_ns=within)
    for number, tick in enumerate(ticks):
        following = [*ticks[number + 1 :], 10**6 if within is None else within][0]
        usual = next(index for index, instant in enumerate(instants) if instant >= tick)
        window_of = [
            index
            for index, instant in enumerate(instants)
            if tick <= instant <= tick + window and instant < following
        ] or [usual]
        wanted = min(window_of, key=lambda index: (writes[index + 1], index))
        assert moves.index[number] == wanted
        assert moves.at_ns[number] == instants[wanted]
        assert moves.activity_at_tick[number] == writes[usual + 1]
        assert moves.activity_at_move[number] == writes[wanted + 1]
    assert np.all(moves.activity_at_move <= moves.activity_at_tick)
    assert moves.saved == (moves.activity_at_tick - moves.activity_at_move).sum() >= 0
    assert np.all(np.diff(moves.at_ns) >= 0)


@given(times, st.integers(0, 30))
def test_a_wider_window_is_never_worse(instants, window):
    writes = [(7 * instant) % 11 for instant in [*instants, 61]]
    ticks = array(instants[::4])
    narrow, wide = (
        quiet_moves(ticks, array(instants), writes, window_ns=length) for length in (window, 2 * window)
    )
    assert wide.saved >= narrow.saved
    assert quiet_moves(ticks, array(instants), writes, window_ns=0).index.tolist() == list(
        range(len(instants))[::4]
    )


def test_what_it_says():
    hours = np.arange(5) * HOUR
    moves = quiet_moves(hours[:4:2], hours, [99, 10, 4, 6, 6, 0], window_ns=HOUR)
    assert moves.at_ns.tolist() == [HOUR, 2 * HOUR]
    assert moves.describe() == (
        "1 of 2 snapshots moved to a quieter instant, at most 1h after their tick; "
        "activity after a snapshot falls from 16 to 10 (38 %)"
    )
    silent = quiet_moves(hours[:1], hours, [0] * 6, window_ns=HOUR)
    assert silent.describe().endswith("falls from 0 to 0")
    assert quiet_moves(hours[:0], hours, [0] * 6, window_ns=HOUR).saved == 0


@pytest.mark.parametrize(
    ("zone", "night", "reached"),
    [
        # ticks at 02:15 and 03:15: in spring they come closer, so that the first window ends earlier
        ("Europe/Berlin", "2024-03-31T01:00Z", [10, 45]),
        ("Europe/Berlin", "2024-10-27T01:00Z", [45, 45]),
        ("Australia/Lord_Howe", "2024-10-05T15:30Z", [40, 45]),
        ("Asia/Kolkata", "2024-03-31T01:00Z", [45, 45]),
    ],
)
def test_the_night_in_which_the_window_shrinks(zone, night, reached):
    middle = round(datetime.fromisoformat(night).timestamp()) * SECOND
    start = middle // MINUTE * MINUTE - 12 * HOUR
    ticks = Schedule.of(["15 2 * * *", "15 3 * * *"], timezone=zone).ticks(start, start + 24 * HOUR)
    instants = start + 5 * MINUTE * np.arange(400)
    # later is always quieter: each goes to the end of its window
    moves = quiet_moves(ticks, instants, np.arange(401)[::-1], window_ns=45 * MINUTE)
    assert ((moves.at_ns - ticks) // MINUTE).tolist() == reached


@pytest.mark.parametrize(
    ("ticks", "instants", "writes", "window", "message"),
    [
        ([0], [0, 1], [0, 0], 1, "2 instants have 3 epochs, but there are counts of writes for 2"),
        ([0], [0], [0, 0], -1, "quiet window is -1ns: give a duration"),
        ([1, 1], [1], [0, 0], 1, "ticks have to ascend"),
        ([1], [1, 1], [0, 0, 0], 1, "instants have to ascend"),
        ([2 * SECOND], [1], [0, 0], 1, "no instant follows the tick at 1970-01-01T00:00:02Z"),
        ([0], [], [0], 1, "no instant follows the tick at 1970"),
    ],
)
def test_what_is_refused(ticks, instants, writes, window, message):
    with pytest.raises(PolicyError, match=message):
        quiet_moves(array(ticks), array(instants), writes, window_ns=window)
