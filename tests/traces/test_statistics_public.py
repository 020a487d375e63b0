"""Figures of public traces, as a survey of the files gives them (MiB, GiB and per cent, rounded)."""

from typing import NamedTuple

import pytest

from snapsim.traces.formats import read_trace
from snapsim.traces.statistics import sanity, summarise
from snapsim.units import GIB, MIB


class Row(NamedTuple):
    """One file of the survey; None where it gives no figure."""

    file: str
    requests: int
    write_percent: str
    written: str
    unique_written: str | None
    unique_touched: str | None
    max_end: str | None
    unaligned_percent: int
    volume: str | None = None


SURVEY = [
    Row("hp/ajw.1week.srt", 40_293, "77.3", "188.5", "11.5", "24.8", "0.3", 31, volume="0x08000008"),
    Row("msr/rsrch_1.csv", 13_780, "99.7", "163.3", "112.4", "112.4", "178.4", 7),
    Row("msr/wdev_1.csv", 1_055, "100.0", "5.3", "1.4", "1.4", "50.9", 0),
    Row("msr/web_0_first100k.csv.gz", 100_000, "38.4", "351.1", "187.6", "2003.8", "33.9", 99),
    Row("msr/hm_0_part.csv", 7_016, "17.0", "6.8", "4.6", "52.8", "13.9", 10),
    Row("cloudphysics/cloudPhysicsIO.vscsi", 113_872, "58.7", "2297.0", "815.2", "1051.6", "31.3", 100),
    Row("cloudphysics/cloudPhysicsIO.csv.gz", 113_872, "58.7", "2297.0", "815.2", "1051.6", "31.3", 100),
    Row("blkreplay/linux-mysql.load.gz", 80_794, "91.1", "1050.5", "485.5", "556.9", "30.3", 10),
    Row("blkreplay/linux-webserver-2.load.gz", 269_007, "44.6", "1064.5", "310.1", "1906.4", "720.6", 7),
    Row("ssdsim/DTRS100M.trace.gz", 127_043, "11.0", "725.6", "718.9", "4969.8", "153.2", 3),
    Row("ssdsim/example.ascii", 10_000, "59.2", "28.5", "14.1", "27.9", "0.5", 100),
    Row("mqsim/tpcc-small.trace", 6_999, "37.4", "22.3", "30.7", "79.8", "216.7", 87),
    Row("fiu/mail_cheetah-110108_first10000.blkparse.gz", 9_997, "11.0", "4.3", "3.5", "35.9", "277.1", 0),
    # the survey takes the two devices of this file for one address space
    Row("fiu/homes.replay.0", 1_000, "99.8", "3.9", "0.5", "0.5", "0.0", 0),
    Row("blktrace/f2fs.blkparse.txt.gz", 5_727, "17.5", "419.5", "397.5", "908.2", "2.6", 0),
    Row("octf/ycsb_a_rocksdb_xfs_a.csv.gz", 64_420, "99.6", "7977.8", "1703.4", None, None, 0),
]

# distinct MiB written in blocks of 512 B, 4 KiB, 64 KiB, 1 MiB; commonest write offsets modulo 4096, per cent
BY_BLOCK_SIZE = {
    "hp/ajw.1week.srt": (("11.0", "11.5", "40.9", "163.0"), {0: 89, 2048: 9}),
    "msr/rsrch_1.csv": (("110.6", "112.4", "138.4", "410.0"), {0: 100}),
    "msr/web_0_first100k.csv.gz": (("177.9", "187.6", "268.5", "1069.0"), {3584: 89}),
    "cloudphysics/cloudPhysicsIO.vscsi": (("805.8", "815.2", "919.4", "1854.0"), {3584: 75, 2048: 19}),
    "blkreplay/linux-mysql.load.gz": (("485.5", "485.5", "790.2", "2804.0"), {0: 91}),
    "blkreplay/linux-webserver-2.load.gz": (("310.0", "310.1", "704.6", "4866.0"), {0: 85}),
    "ssdsim/DTRS100M.trace.gz": (("718.8", "718.9", "748.9", "909.0"), {0: 100}),
}


def summary_of(public_traces, file, volume=None):
    return summarise(read_trace(public_traces / file, volume=volume))


@pytest.mark.parametrize("row", SURVEY, ids=lambda row: row.file)
def test_the_survey_is_reproduced(public_traces, row):
    summary = summary_of(public_traces, row.file, row.volume)
    assert summary.requests == row.requests
    # a half may be rounded either way
    assert 100 * summary.write_share == pytest.approx(float(row.write_percent), abs=0.0501)
    assert f"{summary.written_bytes / MIB:.1f}" == row.written
    assert round(100 * summary.unaligned_4k_share) == row.unaligned_percent
    if row.unique_written:
        assert f"{summary.distinct_written_bytes[4096] / MIB:.1f}" == row.unique_written
    if row.unique_touched:
        assert f"{summary.distinct_touched_bytes[4096] / MIB:.1f}" == row.unique_touched
    if row.max_end:
        assert f"{summary.max_end_bytes / GIB:.1f}" == row.max_end


@pytest.mark.parametrize("file", BY_BLOCK_SIZE)
def test_distinct_bytes_at_every_block_size(public_traces, file):
    volume = next(row.volume for row in SURVEY if row.file == file)
    summary = summary_of(public_traces, file, volume)
    distinct, residues = BY_BLOCK_SIZE[file]
    assert tuple(f"{size / MIB:.1f}" for size in summary.distinct_written_bytes.values()) == distinct
    shares = {
        residue: round(100 * count / summary.writes) for residue, count in summary.write_residues.items()
    }
    assert dict(list(shares.items())[: len(residues)]) == residues


def test_the_whole_file_of_several_volumes(public_traces):
    summary = summary_of(public_traces, "hp/ajw.1week.srt")
    assert summary.requests == 44_519
    assert round(summary.written_bytes / 1e6, 1) == 201.8
    assert sum(figures.requests for figures in summary.volumes.values()) == 44_519


@pytest.mark.parametrize(("file", "back_steps"), [("f2fs", 392), ("ext4", 824)])
def test_back_steps_between_processors(public_traces, file, back_steps):
    assert summary_of(public_traces, f"blktrace/{file}.blkparse.txt.gz").out_of_order == back_steps


def test_discards_are_counted_apart(public_traces):
    summary = summary_of(public_traces, "octf/ycsb_a_rocksdb_xfs_a.csv.gz")
    assert (summary.reads, summary.writes, summary.discards) == (1, 64_188, 231)


def test_a_partition_offset_is_found_and_the_suggested_shift_cures_it(public_traces):
    path = public_traces / "msr/web_0_first100k.csv.gz"
    assert any("`shift=512`" in finding.text for finding in sanity(read_trace(path)))
    before, after = summarise(read_trace(path)), summarise(read_trace(path, shift=512))
    assert next(iter(after.write_residues)) == 0
    assert after.distinct_written_bytes[4096] < before.distinct_written_bytes[4096]
    assert after.distinct_written_bytes[512] == before.distinct_written_bytes[512]


def test_a_span_that_hints_at_a_wrong_time_unit_is_warned_of(public_traces):
    path = public_traces / "mqsim/tpcc-small.trace"
    warned, fine = (
        [finding.text for finding in sanity(read_trace(path, time_unit=unit)) if finding.level == "warning"]
        for unit in ("1ns", "1us")
    )
    assert ["is the time unit coarser than assumed (`time_unit`)?" in text for text in warned] == [True]
    assert not fine
