"""What a recording by bitmaps says about snapshots is what the writes themselves say, at its grain."""

import time

import numpy as np
import pytest

import snapsim as ss
from snapsim.recording.bitmaps import BitmapRecorder, to_trace
from snapsim.recording.disks import disks_of
from snapsim.recording.qmp import QmpMonitor
from tests.recording.qemus import MIB, image, qemu

SIZE = 16 * MIB


@pytest.mark.integration
@pytest.mark.needs_program("qemu-system-x86_64", "qemu-img")
@pytest.mark.parametrize("grain", [4096, 65536])
def test_lifetimes_and_growth_are_those_of_the_writes(tmp_path, grain):
    rng = np.random.default_rng(grain)
    times, offsets, lengths = [], [], []
    with qemu(tmp_path, {"d0": image(tmp_path / "d0.qcow2", SIZE)}) as running:
        running.io("write 0 3M")
        monitor = QmpMonitor(running.socket)
        recorder = BitmapRecorder.start(monitor, disks_of(monitor)[0], tmp_path / "a.recording", grain=grain)
        for _ in range(12):
            for _ in range(int(rng.integers(0, 12))):
                offset = int(rng.choice([0, 0, 4 * MIB, 12 * MIB])) + int(rng.integers(800)) * 512
                length = int(rng.integers(1, 200)) * 512
                running.io(f"write {offset} {length}")
                times.append(time.time_ns())
                offsets.append(offset)
                lengths.append(length)
            assert recorder.sample()
        recorder.end("enough")
        recorder.close()
        monitor.close()
    changes = to_trace(recorder.log)
    changes.save(tmp_path / "a.parquet")
    changes = ss.read_trace(tmp_path / "a.parquet")
    assert changes.initial == ((0, 3 * MIB),)
    assert changes.instants.tolist() == recorder.log.instants

    start = recorder.log.instants[0]
    writes = ss.Trace.from_arrays(
        np.array(times) - start, ["write"] * len(times), offsets, lengths, capacity=SIZE, start=start
    )
    for initial in ("thick", "thin", changes.initial):
        how = {"instants": changes.instants, "block_size": grain, "initial": initial}
        counted, want = (ss.count_lifetimes(trace, **how) for trace in (changes, writes))
        seen = ~np.eye(*want.counts.shape, k=-1, dtype=bool)  # versions that no snapshot saw are not known
        assert (counted.counts[seen] == want.counts[seen]).all()
        policy = ss.Policy(keep_last=4)
        kept = [
            ss.growth(one, policy.timeline(changes.instants), mechanism="dm-thin") for one in (counted, want)
        ]
        assert kept[0].frame["snapshot_bytes"].tolist() == kept[1].frame["snapshot_bytes"].tolist()
        assert kept[1].frame["snapshot_bytes"].max() > 0


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.needs_program("qemu-system-x86_64", "qemu-img", "nbdinfo")
def test_sampling_a_scattered_8_gib_disk_takes_well_under_a_second(tmp_path):
    """A bound that only a mistake of some factor breaks."""
    with qemu(tmp_path, {"d0": image(tmp_path / "d0.qcow2", 8 << 30)}) as running:
        monitor = QmpMonitor(running.socket)
        recorder = BitmapRecorder.start(monitor, disks_of(monitor)[0], tmp_path / "a.recording", grain=65536)
        for block in np.random.default_rng(1).choice(131072, 10_000, replace=False).tolist():
            running.io(f"write -z {block * 65536} 4k")
        begun = time.monotonic()
        assert recorder.sample()
        took = time.monotonic() - begun
        recorder.end("enough")
        recorder.close()
        monitor.close()
        assert recorder.changed == [10_000 * 65536]
        assert took < 5
