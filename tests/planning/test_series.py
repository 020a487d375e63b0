"""Space of one volume, instant by instant, against figures worked out by hand.

Ten blocks.  Three of them are overwritten between the instants 0 and 1, two others between 1 and 2.
"""

from dataclasses import replace

import numpy as np
import pytest

import snapsim as ss
from snapsim.engine import space
from snapsim.mechanisms import Limits, Metadata
from snapsim.planning.series import Series, follow, matrices
from snapsim.units import HOUR, KIB, MIB, format_size

BLOCKS = 10
WRITTEN = [5, 5, 5, 15, 15]  # times; instants are 0, 10 and 20
MAPS = ss.mechanism("rbd").with_options(object_bytes=4096)  # objects as small as the blocks
START = 1_704_067_200 * 10**9


def series(
    mechanism: ss.Mechanism, created=(0,), deleted=(2,), *, times=WRITTEN, initial="thick", start=0
) -> Series:
    """Follow the volume on a mechanism, with snapshots at the instants `created` until `deleted`."""
    unit = mechanism.block_size
    n = len(times)
    trace = ss.Trace.from_arrays(
        times, ["write"] * n, np.arange(n) * unit, [unit] * n, capacity=BLOCKS * unit, start=start
    )
    lifetimes = ss.count_lifetimes(trace, instants=[0, 10, 20], block_size=unit, initial=initial)
    chain = space.chain(created, deleted, n_instants=3)
    counted = matrices(lifetimes, mechanism)
    return follow(mechanism, counted, chain, block_size=unit, capacity=trace.capacity)


def test_a_file_stays_as_long_as_before_the_prune():
    """At instant 2 the snapshot still holds five old blocks when it is deleted."""
    mechanism = replace(ss.mechanism("qcow2-internal"), metadata=Metadata(), adjustable=())
    got, unit = series(mechanism), mechanism.block_size
    assert got.allocated.tolist() == [10 * unit, 13 * unit, 10 * unit]
    assert got.files.tolist() == [10 * unit, 13 * unit, 15 * unit]
    assert series(replace(mechanism, file_length="none")).files.tolist() == [0, 0, 0]


def test_tables_are_fullest_while_the_snapshot_to_be_deleted_exists():
    """RBD keeps one object map for the image and one for each snapshot: two bits for each of ten objects."""
    got = series(MAPS)
    assert got.metadata.tolist() == [6, 6, 3]
    assert got.tables_most.tolist() == [6, 6, 6]
    assert got.tables_alone.tolist() == [3, 3, 3]


def test_a_thick_volume_needs_what_it_holds_when_the_first_snapshot_is_taken():
    """Nothing is there at instant 0, three blocks are at instant 1, when the first snapshot is taken."""
    mechanism = ss.mechanism("zfs").with_options(refreservation=True)
    (finding,) = series(mechanism, (1, 2), (3, 3), initial="thin").findings
    assert f"unless {format_size(3 * mechanism.block_size)} are free" in finding
    (never,) = series(mechanism, (), (), initial="thin").findings
    assert f"unless {format_size(0)} are free" in never


def test_what_a_raidz_pads_is_allocated():
    """8 KiB are two sectors, one of parity, and one of padding: 16 KiB."""
    plain = ss.mechanism("zfs").with_options(block_size="8KiB")
    raidz = plain.with_options(raidz_width=3, raidz_parity=1)
    got = series(raidz)
    assert (got.live + got.snapshot).tolist() == [10 * 8 * KIB, 13 * 8 * KIB, 10 * 8 * KIB]
    assert (got.allocated - got.metadata).tolist() == [10 * 16 * KIB, 13 * 16 * KIB, 10 * 16 * KIB]
    mirror = series(plain)
    assert (mirror.allocated - mirror.metadata).tolist() == (mirror.live + mirror.snapshot).tolist()


@pytest.mark.parametrize(
    ("created", "deleted", "held", "copied", "freed"),
    [
        ((0,), (3,), [10, 10, 10], [10, 0, 0], [0, 0, 0]),
        ((0, 1), (2, 3), [10, 13, 10], [10, 3, 0], [0, 0, 3]),
        ((0, 2), (2, 3), [10, 10, 10], [10, 0, 5], [0, 0, 5]),
        ((1,), (2,), [0, 10, 0], [0, 10, 0], [0, 0, 10]),
    ],
)
def test_a_detached_store_copies_what_the_snapshot_before_does_not_hold(
    created, deleted, held, copied, freed
):
    mechanism = ss.mechanism("ebs")
    got, unit = series(mechanism, created, deleted), mechanism.block_size
    assert (got.snapshot // unit).tolist() == held
    assert (got.copied // unit).tolist() == copied
    assert (got.freed // unit).tolist() == freed


@pytest.mark.parametrize(("room", "found"), [(5, True), (6, False), (7, False)])
def test_metadata_that_the_pool_cannot_hold_is_noticed(room, found):
    """The object maps take 6 bytes at most, at the deletion too."""
    small = replace(MAPS, pool=replace(MAPS.pool, metadata_size=room))
    for created, deleted in ((0,), (3,)), ((1,), (2,)), ((0,), (1,)):
        findings = series(small, created, deleted).findings
        assert any(text.startswith("Metadata grows past the") for text in findings) is found


def test_metadata_that_is_largest_just_before_the_prune_is_noticed():
    """A snapshot is taken at the instant at which the one before it goes: three maps for that moment."""
    got = series(replace(MAPS, pool=replace(MAPS.pool, metadata_size=8)), (0, 1), (1, 2))
    assert got.metadata.max() == 6
    assert got.tables_most.max() == 9
    assert len(got.findings) == 1


def test_files_that_grow_in_steps_are_allocated_in_steps():
    """A delta disk of a few grains of 512 B takes 64 KiB: the snapshot's layer and the active one."""
    stepped = ss.mechanism("vmfs-sparse").with_options(growth_step="64KiB")
    got = series(stepped)
    assert got.files.tolist() == [128 * KIB, 128 * KIB, 64 * KIB]
    assert got.allocated.tolist() == got.files.tolist()
    smooth = series(ss.mechanism("vmfs-sparse").with_options(growth_step=1))
    assert smooth.allocated.tolist() == (smooth.live + smooth.snapshot + smooth.metadata).tolist()
    assert (smooth.live + smooth.snapshot).tolist() == [10 * 512, 13 * 512, 10 * 512]
    assert series(ss.mechanism("vmfs-sparse")).allocated.tolist() == [32 * MIB, 32 * MIB, 16 * MIB]


@pytest.mark.parametrize(
    ("advised", "hard", "words"),
    [(3, 4, ""), (2, 3, "at most 2 are advised"), (1, 2, "allows 2"), (0, 0, ""), (0, 2, "allows 2")],
)
def test_as_many_snapshots_as_are_allowed_are_not_too_many(advised, hard, words):
    """Three exist just before the prune at instant 2."""
    mechanism = replace(ss.mechanism("vmfs-sparse"), limits=Limits(advised=advised, hard=hard))
    findings = series(mechanism, (0, 1, 2), (2, 3, 3)).findings
    assert len(findings) == bool(words)
    assert words in "".join(findings)


@pytest.fixture(scope="module")
def lifetimes() -> ss.LifetimeMatrix:
    """Three blocks, overwritten now and then; the instants lie 1, 1, 1 and 100 hours apart."""
    trace = ss.Trace.from_arrays(
        np.arange(1, 9) * 10 * HOUR, ["write"] * 8, np.arange(8) % 3 * 65536, [65536] * 8, capacity="1MiB",
        start=START,
    )  # fmt: skip
    instants = START + np.array([0, 1, 2, 3, 103]) * HOUR
    return ss.count_lifetimes(trace, instants=instants, block_size="64KiB")


def test_percentiles_count_time_not_instants(lifetimes):
    """The last instant lasts as long as the one before it: 1, 1, 1, 100 and 100 hours."""
    timeline = ss.Policy(schedule="0 0-3 1 * *", keep_last=2).timeline(lifetimes.instants)
    answer = ss.growth(lifetimes, timeline, mechanism="dm-thin", bounds=False)
    known = replace(answer, frame=answer.frame.assign(snapshot_bytes=[50, 40, 30, 20, 10]))
    # of 203 hours, 100 hold 10 at most, 200 hold 20, 201 hold 30
    assert known.percentiles == {"p50": 20, "p95": 20, "p99": 30}


def test_a_group_saves_the_memory_of_its_vm_once(lifetimes):
    policy = ss.Policy(schedule="0 0-3 1 * *", keep_last=2, memory="full", ram="1GiB")
    timeline = policy.timeline(lifetimes.instants)
    one = ss.growth(lifetimes, timeline, mechanism="qcow2-internal", bounds=False).frame
    frame = ss.growth([lifetimes] * 3, timeline, mechanism="qcow2-internal", bounds=False).frame
    memory = one["memory_bytes"]
    assert memory.max() == 2 << 30
    for name in ("total_bytes", "allocated_bytes"):
        assert (frame[name] - memory).tolist() == (3 * (one[name] - memory)).tolist()
    # snapshots that exist just before the prune, the new one included: none is taken at the last instant
    most = np.array([1, 2, 3, 3, 2]) << 30
    for name in ("reserve_bytes", "peak_total_bytes", "peak_allocated_bytes"):
        assert (frame[name] - most).tolist() == (3 * (one[name] - most)).tolist()
