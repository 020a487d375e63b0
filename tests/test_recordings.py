"""The bundled recordings are what their provenance says they are, and what the library promises of them."""

import importlib.util
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import snapsim as ss
from snapsim.traces.statistics import summarise
from snapsim.types import WRITE

ROOT = Path(__file__).resolve().parent.parent
TRACES = ROOT / "data" / "traces"
WORKLOADS = ROOT / "data" / "record" / "workloads"
NAMES = sorted(path.name.removesuffix(".provenance.toml") for path in TRACES.glob("*.provenance.toml"))
NEW = [name for name in NAMES if name != "postgres"]
HOUR_NS = 3600 * 10**9
DAY_NS = 24 * HOUR_NS


def provenance(name: str) -> dict[str, Any]:
    return tomllib.loads((TRACES / f"{name}.provenance.toml").read_text())


def test_at_least_six_recordings_and_the_workload_of_each():
    assert len(NEW) >= 6
    assert {provenance(name)["recording"]["workload"] for name in NAMES} == {
        path.name for path in WORKLOADS.iterdir()
    }
    assert sum(path.stat().st_size for path in TRACES.iterdir()) < 60 << 20


@pytest.mark.parametrize("name", NAMES)
def test_the_trace_has_the_figures_of_its_provenance(name):
    told = provenance(name)
    trace = ss.read_trace(TRACES / f"{name}.parquet")
    summary = summarise(trace)
    measured = summary.to_dict() | {"span_ns": summary.span_ns, "fingerprint": trace.fingerprint}
    common = [
        key for key, value in told["trace"].items() if key in measured and not isinstance(value, dict | float)
    ]
    assert {"requests", "writes", "written_bytes", "span_ns", "fingerprint"} <= set(common)
    assert set(told["trace"]) <= {*measured, "real_seconds", "represented_seconds"}, "figures by other names"
    for key, sizes in told["trace"].items():
        assert not isinstance(sizes, dict) or sizes == measured[key]
    assert {key: told["trace"][key] for key in common} == {key: measured[key] for key in common}
    assert told["trace"]["span_seconds"] == pytest.approx(measured["span_seconds"], abs=1e-6)
    assert told["trace"]["time_scale"] == told["recording"]["time_scale"] == trace.info.time_scale
    assert trace.info.source == name
    assert told["recording"]["capacity_bytes"] == trace.capacity
    assert told["recording"]["failed_phases"] == 0


@pytest.mark.parametrize("name", NAMES)
def test_the_guest_counted_the_same(name):
    told = provenance(name)
    for key, counted in told["guest_counted"].items():
        assert told["trace"][key] == pytest.approx(counted, rel=0.01), key


@pytest.mark.parametrize("name", NEW)
def test_recordings_last_twenty_minutes_of_real_time(name):
    told = provenance(name)
    assert told["trace"]["real_seconds"] >= 20 * 60
    represented = told["trace"]["real_seconds"] * told["recording"]["time_scale"]
    assert told["trace"]["represented_seconds"] == pytest.approx(represented)


@pytest.mark.parametrize("name", NAMES)
def test_the_map_of_the_disk_before_the_first_request_covers_it(name):
    extents = json.loads((TRACES / f"{name}.initial-map.json").read_text())
    ends = [extent["start"] + extent["length"] for extent in extents]
    assert ends[-1] == provenance(name)["recording"]["capacity_bytes"]
    assert [0, *ends[:-1]] == [extent["start"] for extent in extents]


@pytest.mark.parametrize("name", ["file-server", "oltp-week"])
def test_a_represented_week_has_days_and_nights_and_a_weekend(name):
    monday = pd.Timestamp(provenance(name)["recording"]["represented_from"])
    trace = ss.read_trace(TRACES / f"{name}.parquet")
    hours = np.zeros(7 * 24)
    for batch in trace.batches():
        since = batch.time_ns + trace.start_ns - monday.value
        rows = (batch.op == WRITE) & (since >= 0) & (since < 7 * DAY_NS)
        hours += np.bincount(since[rows] // HOUR_NS, weights=batch.length[rows], minlength=7 * 24)
    written = hours.reshape(7, 24)  # medians: what runs beside the day's work is in few hours
    assert monday.isoformat() == "2026-11-09T00:00:00+00:00"
    assert trace.start_ns + trace.span_ns >= monday.value + 7 * DAY_NS
    busy, evening = np.median(written[:5, 9:17]), np.median(written[:5, 20:24])
    assert busy > 1.5 * evening > 0
    assert busy > 1.5 * np.median(written[5:, 9:17]) > 0


def test_some_have_discards_and_one_has_digests():
    assert sum(provenance(name)["trace"]["discards"] > 0 for name in NEW) >= 3
    assert [name for name in NAMES if provenance(name)["recording"].get("contents")] == ["file-server"]


LOG = """\
2026-11-23 00:00:00.000000 connection=1 Connect export="" tls=0 size=0x100000 write=1 flush=1 trim=1 zero=2
2026-11-23 00:00:00.100000 connection=1 Read id=1 offset=0x0 count=0x200 ...
2026-11-23 00:00:00.200000 connection=1 ...Read id=1 return=0
2026-11-23 00:00:01.000000 connection=1 Write id=2 offset=0x1000 count=0x1000 ...
2026-11-23 00:00:01.200000 connection=1 ...Write id=2 return=0
2026-11-23 00:00:02.000000 connection=1 Flush id=3 ...
2026-11-23 00:00:02.200000 connection=1 ...Flush id=3 return=0
"""


@pytest.fixture
def convert(tmp_path, monkeypatch):
    """Give a folder as record.sh leaves it, and what converts it."""
    work, target = tmp_path / "work", tmp_path / "made" / "short"
    work.mkdir()
    (work / "disk.log").write_text(LOG)
    (work / "initial-map.json").write_text("[]")
    (work / "guest-packages.txt").write_text("dpkg 1 installed\n")
    stat = [0] * 17
    stat[6] = 8  # sectors written
    (work / "provenance.toml").write_text(f"[recording]\ntime_scale = 1.0\n\n[final]\nstat = {stat}\n")
    spec = importlib.util.spec_from_file_location("convert", ROOT / "data" / "record" / "convert.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", ["convert.py", str(work), str(target)])
    return work, target, module.main


def test_a_short_recording_is_not_refused_for_what_the_emulator_did(convert):
    work, target, main = convert
    main()
    trace = ss.read_trace(target.with_suffix(".parquet"))
    told = tomllib.loads(target.with_suffix(".provenance.toml").read_text())
    assert told["trace"]["fingerprint"] == trace.fingerprint
    assert told["trace"]["source"] == trace.info.source == "short"
    assert (told["trace"]["flushes"], told["guest_counted"]["flushes"]) == (1, 0)
    assert target.with_suffix(".guest-packages.txt").read_text() == (work / "guest-packages.txt").read_text()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("disk.log", None, "disk.log is missing: give the WORKDIR"),
        ("provenance.toml", "[recording]\ntime_scale = 1.0\n", "no final counts of the guest"),
        ("disk.log", "nothing\n", "disk.log"),
        (
            "disk.log",
            LOG.replace("Write", "Trim"),
            "written_bytes: 0 in the trace, 4096 by the guest's count",
        ),
    ],
)
def test_what_cannot_be_converted_is_one_sentence(convert, name, text, message):
    work, target, main = convert
    (work / name).unlink() if text is None else (work / name).write_text(text)
    with pytest.raises(SystemExit, match=message):
        main()
    assert not target.parent.exists()


@pytest.mark.needs_program("bash")
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "usage: record.sh"),
        (["no-such", "x"], "no workload 'no-such'"),
        (["idle"], "usage: record.sh"),
        (["idle", "x", "--unit", "0"], "--unit must be a positive whole number"),
        (["oltp-week", "x", "--unit", "7"], "--unit must divide"),
        (["idle", "x", "--set", "speed=3"], "no parameter 'speed'"),
        (["idle", "x", "y"], "not also y"),
        (["idle", "x", "--disk", "much"], "--disk must be a size such as 8G, not 'much'"),
    ],
)
def test_the_recorder_says_what_is_wrong_before_it_does_anything(tmp_path, arguments, told):
    done = subprocess.run(
        ["bash", ROOT / "data" / "record" / "record.sh", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert told in done.stderr
    assert not list(tmp_path.iterdir())
