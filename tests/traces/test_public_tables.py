"""Public traces that are tables of text: recognised, read to the last line, streamed and in memory."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from snapsim.errors import RefusedFileError
from snapsim.traces.formats import convert_trace, open_trace, read_trace, sniff
from snapsim.types import WRITE
from snapsim.units import MIB


class Case(NamedTuple):
    """A file and what was counted in it."""

    file: str
    format: str
    requests: int
    written_mib: float
    seconds: float
    start: str | None  # on 22 February 2007
    volumes: tuple[str, ...] = ("",)
    skipped: int = 0


CASES = [
    Case("msr/rsrch_1.csv", "msr", 13_780, 163.3, 576_557.6, "20:01:47.523227500", ("rsrch_1",)),
    Case("msr/wdev_1.csv", "msr", 1_055, 5.3, 595_003.2, "18:03:51.806099900", ("wdev_1",)),
    Case(
        "msr/web_0_first100k.csv.gz", "msr", 100_000, 351.1, 13_818.2, "17:22:16.593402500", ("web_0",)
    ),
    Case("msr/hm_0_part.csv", "msr", 7_016, 6.8, 148.4, "17:24:38.363007500", ("hm_0",)),
    Case("cloudphysics/cloudPhysicsIO.csv.gz", "cloudphysics-csv", 113_872, 2297.0, 7_200, None, skipped=1),
    Case("ssdsim/DTRS100M.trace.gz", "ssdsim", 127_043, 725.6, 30_000.0, None),
    Case("ssdsim/example.ascii", "ssdsim", 10_000, 28.5, 259.6, None),
    Case("mqsim/tpcc-small.trace", "ssdsim", 6_999, 22.3, 0.1, None),
    Case("octf/ycsb_a_rocksdb_xfs_a.csv.gz", "octf", 64_420, 7_977.8, 24.7, None, ("271581186",), skipped=1),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.file)
def test_every_line_is_a_request(public_traces, tmp_path, case):
    path = public_traces / case.file
    assert sniff(path) == case.format
    trace = read_trace(path, damage_limit=0)
    info = trace.info
    assert (info.requests, info.volumes) == (case.requests, case.volumes)
    assert (info.skipped_lines, info.dropped_lines, info.out_of_order) == (case.skipped, 0, 0)
    assert round(info.span_ns / 1e9, 1) == case.seconds
    assert info.start_ns == (
        None if case.start is None else pd.Timestamp(f"2007-02-22 {case.start}").as_unit("ns").value
    )
    columns = next(trace.batches())
    assert round(columns.length[columns.op == WRITE].sum() / MIB, 1) == case.written_mib
    assert not np.any((columns.length | columns.offset) % 512)
    assert open_trace(path).info == info
    assert convert_trace(path, tmp_path / "x.parquet").info == info


def test_the_two_forms_of_the_vmware_trace_agree(public_traces):
    binary = next(read_trace(public_traces / "cloudphysics/cloudPhysicsIO.vscsi").batches())
    text = next(read_trace(public_traces / "cloudphysics/cloudPhysicsIO.csv.gz").batches())
    for name in ("op", "offset", "length"):
        np.testing.assert_array_equal(getattr(binary, name), getattr(text, name))
    assert np.abs(binary.time_ns - text.time_ns).max() < 10**9


def test_a_file_that_went_through_a_spreadsheet_is_refused(public_traces):
    for options in ({}, {"format": "msr"}, {"format": "csv", "columns": "time=1,op=2,offset=3,length=4"}):
        with pytest.raises(
            RefusedFileError, match=r"web3-excel-damaged.txt was damaged by a spreadsheet: line 2 has"
        ):
            read_trace(public_traces / "malformed/web3-excel-damaged.txt", **options)


def test_a_shift_aligns_a_partition(public_traces):
    path = public_traces / "msr/web_0_first100k.csv.gz"
    shares = [
        np.mean(
            np.concatenate([batch.offset for batch in read_trace(path, shift=shift).batches()]) % 4096 == 0
        )
        for shift in (0, 512)
    ]
    assert shares[0] < 0.05
    assert shares[1] > 0.85


def test_rows_that_share_a_second_stay_in_file_order(public_traces):
    trace = read_trace(public_traces / "cloudphysics/cloudPhysicsIO.csv.gz")
    frame = pd.read_csv(public_traces / "cloudphysics/cloudPhysicsIO.csv.gz")
    np.testing.assert_array_equal(next(trace.batches()).offset, frame["lbn"].to_numpy() * 512)
