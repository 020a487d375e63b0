"""The depth of a chain from which on a merge pays."""

import numpy as np
import pytest

import snapsim as ss
from snapsim.errors import UsageError
from snapsim.planning.commit_point import looked_into
from snapsim.units import MINUTE

GIVEN = {"reads_per_hour": 1e6, "passed": 0.5, "missed": 0.1, "layer_bytes": "1GiB"}


def test_layers_that_a_read_looks_into():
    assert looked_into(1, [1, 2, 5]).tolist() == [1, 2, 5]
    assert looked_into(0, [1, 2, 5]).tolist() == [1, 1, 1]
    assert looked_into(0.5, [1, 2, 3]).tolist() == [1, 1.5, 1.75]


def test_it_adds_up():
    frame = ss.commit_point(depths=[2, 3, 8], **GIVEN)
    one_more = frame["extra_read_ns_per_hour"].to_numpy() / (frame["layers_per_read"].to_numpy() - 1)
    np.testing.assert_allclose(one_more, one_more[0])
    assert frame["extra_read_ns_per_hour"].is_monotonic_increasing
    # what a merge saves is the difference to one layer less
    assert frame["saved_ns_per_hour"].iloc[1] == pytest.approx(frame["extra_read_ns_per_hour"].diff().iloc[1])
    np.testing.assert_allclose(frame["break_even_hours"] * frame["saved_ns_per_hour"], frame["commit_ns"])
    # on a disk both cost more
    disk = ss.commit_point(depths=[2, 3, 8], device="hdd", **GIVEN)
    assert (disk["commit_ns"] > frame["commit_ns"]).all()
    assert (disk["saved_ns_per_hour"] > frame["saved_ns_per_hour"]).all()


def test_where_nothing_passes_a_merge_never_pays():
    frame = ss.commit_point(**{**GIVEN, "passed": 0})
    assert np.isinf(frame["break_even_hours"]).all()
    assert (frame["extra_read_ns_per_hour"] == 0).all()


def test_from_a_replay():
    """Every block lies below all snapshots: every layer lets every read pass."""
    rng = np.random.default_rng(1)
    op = np.where(np.arange(2000) % 4 == 0, ss.WRITE, ss.READ)
    offset = np.where(op == ss.WRITE, rng.integers(0, 16, 2000), rng.integers(16, 256, 2000)) * 65536
    trace = ss.Trace.from_arrays(
        np.arange(2000) * MINUTE // 200, op, offset, np.full(2000, 65536), capacity="16MiB", start=0
    )
    timeline = ss.Policy(schedule="1min", keep_last=3).timeline(np.arange(11) * MINUTE)
    replayed = ss.replay(trace, timeline, device="sata-ssd")
    frame = ss.commit_point(replayed, depths=[2, 8])
    np.testing.assert_allclose(frame["layers_per_read"], [2, 8])
    hour = 1500 * 60 / (len(replayed.frame) * replayed.interval_ns / MINUTE)
    by_hand = ss.commit_point(
        depths=[2, 8], reads_per_hour=hour, passed=1, device="sata-ssd", layer_bytes="1MiB",
        missed=replayed.frame["metadata_read_bytes"].sum() / 4096
        / (replayed.layers_per_read * 1500),
    )  # fmt: skip
    np.testing.assert_allclose(frame["saved_ns_per_hour"], by_hand["saved_ns_per_hour"], rtol=1e-6)
    merged = replayed.operations["moved_bytes"]
    share = merged[merged > 0].mean() / (1 << 20)
    np.testing.assert_allclose(frame["commit_ns"], by_hand["commit_ns"] * share)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"depths": [1, 2]}, "at least 2"),
        ({"depths": []}, "at least 2"),
        ({"passed": 1.5}, "between 0 and 1"),
        ({"missed": -1}, "not be negative"),
        ({"layer_bytes": None}, "layer_bytes is not known: give it"),
    ],
)
def test_what_makes_no_sense_is_refused(change, told):
    with pytest.raises(UsageError, match=told):
        ss.commit_point(**{**GIVEN, **change})
