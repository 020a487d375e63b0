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
HOUR = 3_600_000_000_000
START = 1_767_225_600_000_000_000  # 2026-01-01T00:00Z


@pytest.mark.integration
@pytest.mark.needs_program("qemu-system-x86_64", "qemu-img")
@pytest.mark.parametrize(("grain", "mechanism"), [(4096, "wafl"), (65536, "dm-thin")])
def test_lifetimes_and_growth_are_those_of_the_writes(tmp_path, grain, mechanism):
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
    times = np.array(times)
    interval = np.searchsorted(recorder.log.instants, times, side="right") - 1
    recorder.log.instants[:] = START + HOUR * np.arange(13)  # an interval of the test stands for an hour
    changes = to_trace(recorder.log)
    changes.save(tmp_path / "a.parquet")
    changes = ss.read_trace(tmp_path / "a.parquet")
    assert changes.initial == ((0, 3 * MIB),)
    writes = ss.Trace.from_arrays(
        interval * HOUR + times - times[0],
        ["write"] * len(times),
        offsets,
        lengths,
        capacity=SIZE,
        start=START,
    )
    for initial in ("thick", "thin", changes.initial):
        how = {"instants": changes.instants, "block_size": grain, "initial": initial}
        counted, want = (ss.count_lifetimes(trace, **how) for trace in (changes, writes))
        seen = ~np.eye(*want.counts.shape, k=-1, dtype=bool)  # versions that no snapshot saw are not known
        assert (counted.counts[seen] == want.counts[seen]).all()
        timeline = ss.Policy(schedule="@hourly", keep_last=4).timeline(changes.instants)
        grown, expected = (ss.growth(one, timeline, mechanism=mechanism).frame for one in (counted, want))
        assert grown["snapshot_bytes"].tolist() == expected["snapshot_bytes"].tolist()
        assert expected["snapshot_bytes"].max() > 0


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.needs_program("qemu-system-x86_64", "qemu-img")
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
