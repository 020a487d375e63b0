import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import snapsim as ss
from snapsim.errors import UsageError, VolumeSelectionError
from snapsim.viz.binning import coarsen, map_activity

REQUESTS = st.lists(
    st.tuples(
        st.integers(0, 10**6),
        st.sampled_from(["read", "write", "write_zeroes", "discard", "flush"]),
        st.integers(0, 10**5),
        st.integers(1, 10**5),
    ),
    min_size=1,
    max_size=30,
)


def naive_map(trace, activity):
    """Every byte of every request on its own."""
    time, cells = activity.time_edges_ns - trace.start_ns, activity.address_edges
    read, written = np.zeros_like(activity.read_bytes), np.zeros_like(activity.written_bytes)
    for row in trace.to_frame().itertuples():
        column = np.searchsorted(time, row.time.value - trace.start_ns, side="right") - 1
        target = {"READ": read, "WRITE": written, "WRITE_ZEROES": written}.get(row.op)
        if target is not None:
            for cell in range(len(cells) - 1):
                inside = min(cells[cell + 1], row.offset + row.length) - max(cells[cell], row.offset)
                target[column, cell] += max(inside, 0)
    return read, written


@given(REQUESTS, st.integers(1, 7), st.integers(1, 7))
def test_every_byte_is_counted_in_its_cell(requests, n_times, n_addresses):
    time, op, offset, length = map(list, zip(*requests, strict=True))
    length = [0 if name == "flush" else size for name, size in zip(op, length, strict=True)]
    trace = ss.Trace.from_arrays(time, op, offset, length, start="2026-01-01")
    activity = map_activity(trace, n_times=n_times, n_addresses=n_addresses)
    read, written = naive_map(trace, activity)
    np.testing.assert_array_equal(activity.read_bytes, read)
    np.testing.assert_array_equal(activity.written_bytes, written)
    assert activity.read_bytes.shape[0] <= n_times
    assert activity.read_bytes.shape[1] <= n_addresses
    assert activity.reads.sum() == op.count("read")
    assert activity.writes.sum() == op.count("write") + op.count("write_zeroes")


def test_only_one_volume_has_addresses():
    trace = ss.Trace.from_arrays([0, 1], ["write"] * 2, [0, 0], [512, 512], volume=["a", "b"])
    with pytest.raises(VolumeSelectionError, match="a, b"):
        map_activity(trace)


def test_nothing_cannot_be_drawn():
    with pytest.raises(UsageError, match="no request"):
        map_activity(ss.Trace.from_arrays([], [], [], []))


@st.composite
def cells(draw):
    n = draw(st.integers(1, 40))
    table = draw(
        st.lists(st.tuples(st.integers(-1, n), st.integers(0, n), st.integers(1, 2**53)), max_size=30)
    )
    kept = [(birth, death, size) for birth, death, size in table if birth <= death]
    birth, death, size = (np.array([row[i] for row in kept], dtype=np.int64) for i in range(3))
    return n, birth.astype(np.int32), death.astype(np.int32), size


@given(cells(), st.integers(1, 50))
def test_joining_epochs_loses_no_byte(matrix, n_bins):
    n, birth, death, size = matrix
    coarse = coarsen(birth, death, size, n_instants=n, n_bins=n_bins)
    whole = int(coarse.bytes.sum()) + int(coarse.initial.sum()) + int(coarse.alive.sum()) + coarse.untouched
    assert whole == int(size.sum())
    assert len(coarse.initial) <= n_bins
    assert coarse.epochs[0] == 0
    assert coarse.epochs[-1] == n + 1
    assert not np.tril(coarse.bytes, -1).any()  # nothing dies before it is born


def test_enough_bins_keep_every_epoch_apart():
    n, birth, death, size = (
        3,
        np.array([-1, -1, 0, 1, 1], np.int32),
        np.array([1, 3, 0, 2, 3], np.int32),
        np.array([1, 2, 4, 8, 16]),
    )
    coarse = coarsen(birth, death, size, n_instants=n, n_bins=4)
    assert coarse.bytes.tolist() == [[4, 0, 0, 0], [0, 0, 8, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert coarse.initial.tolist() == [0, 1, 0, 0]
    assert coarse.alive.tolist() == [0, 16, 0, 0]
    assert coarse.untouched == 2
