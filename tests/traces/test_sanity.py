"""The sanity report: plausible traces pass, and each way of misreading one is named."""

import dataclasses

import numpy as np
import pytest

from snapsim.traces import synthetic
from snapsim.traces.readers.base import DroppedLine
from snapsim.traces.statistics import sanity, summarise
from snapsim.traces.trace import Trace
from snapsim.types import DISCARD, READ, WRITE
from snapsim.units import DAY, SECOND

SECTOR = 512


def plausible(*, time=1, address=1, length=1, op=lambda op: op):
    """Make a day of ordinary requests, distorted as if units had been mistaken."""
    rng = np.random.default_rng(3)
    n = 2000
    times = np.sort(rng.integers(0, DAY, n))
    ops = rng.choice([READ, WRITE, DISCARD], n, p=[0.4, 0.5, 0.1])
    offsets = rng.integers(0, 1 << 21, n) * 4096
    lengths = rng.choice([4096, 65536], n)
    return Trace.from_arrays(
        (times * time).astype(np.int64),
        op(ops),
        (offsets * address).astype(np.int64),
        (lengths * length).astype(np.int64),
        start="2026-03-01T00:00Z",
    )


def warnings(trace):
    return [finding.text for finding in sanity(trace) if finding.level == "warning"]


def test_an_ordinary_trace_is_all_right():
    findings = sanity(plausible())
    assert {finding.level for finding in findings} == {"ok"}
    text = "\n".join(finding.text for finding in findings)
    for words in (
        "2026-03-01",
        "7.99 GiB",
        "requests a second",
        "requests write",
        "4 KiB to 64 KiB",
        "no line is damaged",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("distortion", "hint"),
    [
        ({"time": 1e-6}, "coarser than assumed (`time_unit`)"),
        ({"time": 1e-9}, "more than any disk serves"),
        ({"time": 1e5}, "finer than assumed (`time_unit`)"),
        ({"address": SECTOR**2}, "bytes, not sectors (`address_unit`)"),
        ({"length": 1 / SECTOR}, "sectors, not bytes (`length_unit`)"),
        ({"length": SECTOR**2}, "bytes, not sectors (`length_unit`)"),
        ({"address": 1 / SECTOR}, "in sectors (`address_unit`"),
        ({"op": lambda op: np.where(op == WRITE, READ, op)}, "right way round"),
    ],
)
def test_wrong_units_are_warned_of(distortion, hint):
    assert any(hint in text for text in warnings(plausible(**distortion)))


def test_a_corrupt_time_stamp_shows_as_a_gap():
    rows = np.arange(100)
    trace = Trace.from_arrays(np.append(rows * SECOND, 400 * DAY), [WRITE] * 101, [0] * 101, [4096] * 101)
    assert any("no request for 400d" in text for text in warnings(trace))


def test_an_offset_partition_suggests_the_shift_that_aligns_it():
    offsets = np.arange(100) * 4096 + 63 * SECTOR
    trace = Trace.from_arrays(np.arange(100) * SECOND, [WRITE] * 100, offsets, [4096] * 100)
    texts = [finding.text for finding in sanity(trace) if finding.level == "note"]
    assert any("at 3584 modulo 4096" in text and "`shift=512`" in text for text in texts)


def test_lines_clock_and_assumptions_are_reported():
    summary = dataclasses.replace(
        summarise(plausible()),
        start_ns=None,
        out_of_order=3,
        skipped_lines=44,
        skipped_kinds={"header": 2, "summary": 42},
        dropped_lines=2,
        drops=(DroppedLine("a.csv", 17, "offset", "is negative"),),
        time_scale=60.0,
        shift_bytes=512,
        notes=("the first present action is used: Q",),
    )
    text = "\n".join(finding.text for finding in sanity(summary) if finding.level in {"note", "warning"})
    for words in (
        "steps back 3 times",
        "damaged lines dropped: 2; the first: a.csv, line 17, offset: is negative",
        "2001-01-01T00:00Z is assumed",
        "60 seconds",
        "shifted by 512 bytes",
        "the first present action is used: Q",
    ):
        assert words in text
    assert any("44 (42 summary, 2 header)" in finding.text for finding in sanity(summary))


def test_many_back_steps_are_a_warning():
    summary = dataclasses.replace(summarise(plausible()), out_of_order=1000)
    assert any("steps back 1,000 times" in text for text in warnings(summary))


def test_traces_without_reads_or_with_one_length_are_noted():
    trace = synthetic.uniform(capacity="1GiB", duration="1h", n_requests=2000)
    text = "\n".join(finding.text for finding in sanity(trace) if finding.level == "note")
    assert "no reads" in text
    assert "no discards" in text
    assert "every request is 4 KiB long" in text
    assert not warnings(trace)


def test_a_small_address_space_is_noted():
    trace = synthetic.uniform(capacity="1MiB", duration="1h", n_requests=2000, read_share=0.5)
    assert any("very little for a disk" in finding.text for finding in sanity(trace))


def test_the_pace_is_said_once():
    trace = Trace.from_arrays([0, SECOND], ["write"] * 2, [0, 0], [4096, 4096]).stretch(60)
    assert sum("stands for" in finding.text for finding in sanity(trace)) == 1
