"""Measuring: plans, reports that fio gave, fits of devices whose parameters are known, and fio itself."""

import json
import subprocess
from pathlib import Path

import pytest

from snapsim.devices import Access, Device, device_toml, measuring, parse_device
from snapsim.devices.fitting import fit_device
from snapsim.devices.measuring import Job, Reading, plan_measurement, read_report, run_plan
from snapsim.errors import MeasurementError, UsageError
from snapsim.planning.calibration import compare_readings, predict

MIB = 1 << 20
RECORDED = json.loads((Path(__file__).parent / "fio" / "recorded.json").read_text())


def plan(target="file", **how):
    return plan_measurement(Path(target), **{"size": 256 * MIB, "seconds": 0.5, **how})


def recorded():
    """What fio 3.33 reported for the whole plan, half a second a job, on a virtual disk."""
    jobs = plan().jobs
    assert len(jobs) == len(RECORDED)
    return [read_report(report, job) for report, job in zip(RECORDED, jobs, strict=True)]


def fitted(readings):
    return fit_device(readings, name="mine", title="Mine", capacity=256 * MIB, source="a test")


def test_a_plan_writes_only_to_its_target():
    commands = [plan("a:b").layout(), *map(plan("a:b").command, plan("a:b").jobs)]
    for command in commands:
        assert command[0] == "fio"
        names = [word for word in command if word.startswith("--filename=")]
        assert names == [
            f"--filename={Path.cwd()}/a\\:b".replace(str(Path.cwd()), str(Path.cwd()).replace(":", "\\:"))
        ]
        assert f"--size={256 * MIB}" in command
    # only the first command may make the file: a target that vanished is not made anew
    assert all("--allow_file_create=0" in command for command in commands[1:])
    assert "--direct=0" in plan(direct=False).layout()


def test_a_plan_measures_everything_that_a_device_needs():
    jobs = plan().jobs
    assert len(set(jobs)) == len(jobs)
    assert {job.pattern for job in jobs if job.depth == 1} == {"read", "randread", "write", "randwrite"}
    assert {job.op for job in jobs if job.depth > 8} == {"read", "write"}
    assert sum(job.flush for job in jobs) == 1
    assert str(jobs[0]) == "random reads of 4 KiB, 1 at a time"


@pytest.mark.parametrize("wrong", [{"size": MIB}, {"seconds": 0}, {"seconds": 1e9}])
def test_plans_that_measure_nothing(wrong):
    with pytest.raises(UsageError):
        plan(**wrong)


def test_a_recorded_report_is_read():
    first = recorded()[0]
    side = RECORDED[0]["jobs"][0]["read"]
    assert first.requests == side["total_ios"]
    assert first.latency_ns == side["lat_ns"]["mean"]
    assert first.operations == pytest.approx(first.requests / 0.5, rel=0.02)
    assert first.throughput == pytest.approx(first.operations * 4096, rel=0.01)
    assert first.flush_ns == 0
    assert recorded()[-1].flush_ns == RECORDED[-1]["jobs"][0]["sync"]["lat_ns"]["mean"]


def test_a_device_from_recorded_reports():
    one = fitted(recorded())
    assert one.validated
    assert parse_device(device_toml(one), source="again") == one
    by_job = {each.job: each for each in compare_readings(one, recorded())}
    # the extremes that the fit is made of come out again
    most = max((each for each in recorded() if each.job.op == "read"), key=lambda each: each.operations)
    assert by_job[most.job].error == pytest.approx(0, abs=0.02)
    assert by_job[Job(pattern="randwrite", size=4096, flush=True)].error == pytest.approx(0, abs=0.1)
    assert by_job[Job(pattern="randread", size=4096)].error == pytest.approx(0, abs=0.2)


@pytest.mark.parametrize("channels", [1, 3, 8])
@pytest.mark.parametrize("rate", [0, 200_000_000])
def test_a_device_that_is_known_is_found_again(channels, rate):
    """Measurements made up by the model itself: the fit returns its parameters."""
    truth = Device(
        name="truth",
        title="Truth",
        kind="ssd",
        capacity=256 * MIB,
        read=Access(random=80_000, sequential=30_000, rate=rate),
        write=Access(random=120_000, sequential=110_000, rate=rate),
        flush=2_000_000,
        discard=0,
        channels=channels,
        queue_depth=32,
        evidence=(),
    )
    readings = []
    for job in plan().jobs:
        operations = predict(truth, job)
        flush = truth.flush if job.flush else 0
        readings.append(
            Reading(
                job=job,
                requests=2000,
                operations=operations,
                throughput=operations * job.size,
                latency_ns=job.depth * 1e9 / operations - flush,
                flush_ns=flush,
            )
        )
    found = fitted(readings)
    assert found.channels == channels
    assert found.flush == truth.flush
    for mine, true in ((found.read, truth.read), (found.write, truth.write)):
        assert mine.random == pytest.approx(true.random, rel=0.01)
        assert mine.sequential == pytest.approx(true.sequential, rel=0.01)
        assert mine.rate == (pytest.approx(true.rate, rel=0.01) if rate else 0)
    assert all(abs(one.error) < 0.03 for one in compare_readings(found, readings))


@pytest.mark.parametrize(
    ("left_out", "match"),
    [
        (lambda job: job.flush, "no flush"),
        (lambda job: job.op == "write" and not job.flush, "no write was"),
        (lambda job: job.pattern == "read" and job.depth == 1, "no sequential read"),
    ],
)
def test_something_was_not_measured(left_out, match):
    with pytest.raises(MeasurementError, match=match):
        fitted([one for one in recorded() if not left_out(one.job)])


@pytest.mark.parametrize("report", [{}, {"jobs": []}, {"jobs": [{"read": None}]}, {"jobs": [{"read": {}}]}])
def test_reports_of_something_else(report):
    with pytest.raises(MeasurementError, match="must be of fio 3"):
        read_report(report, Job(pattern="read", size=4096))


def test_a_job_without_a_request():
    report = json.loads(json.dumps(RECORDED[0]))
    report["jobs"][0]["read"]["total_ios"] = 0
    with pytest.raises(MeasurementError, match="more seconds"):
        read_report(report, plan().jobs[0])


@pytest.mark.parametrize(
    ("returned", "match"),
    [
        (
            subprocess.CompletedProcess(
                [], 1, "", "fio: looks like your file system does not support direct=1\n"
            ),
            "--buffered",
        ),
        (subprocess.CompletedProcess([], 3, "", ""), "exit status 3"),
        (subprocess.CompletedProcess([], 0, "no report", ""), "gave no report"),
        (subprocess.TimeoutExpired("fio", 1), "did not come to an end"),
    ],
)
def test_fio_fails(returned, match, monkeypatch):
    def run(*arguments, **how):
        if isinstance(returned, Exception):
            raise returned
        return returned

    monkeypatch.setattr(measuring.shutil, "which", lambda name: name)
    monkeypatch.setattr(measuring.subprocess, "run", run)
    with pytest.raises(MeasurementError, match=match):
        run_plan(plan())


def test_fio_is_missing(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MeasurementError, match="install the package fio"):
        run_plan(plan())


@pytest.mark.integration
@pytest.mark.needs_program("fio")
def test_fio_itself(tmp_path):
    """The whole plan on a small file: every job gives a reading, and a device comes of it."""
    target = tmp_path / "odd: name"
    steps = []
    small = plan(target, size=8 * MIB + 5, seconds=0.05, direct=False)
    version, readings = run_plan(small, progress=lambda done, total: steps.append((done, total)))
    assert version.startswith("fio-3")
    assert [one.job for one in readings] == list(small.jobs)
    assert target.stat().st_size == small.size == 8 * MIB
    assert [path.name for path in tmp_path.iterdir()] == ["odd: name"]
    assert steps[0] == (0, len(small.jobs))
    one = fitted(readings)
    assert one.read.operations > 0
    assert one.flush > 0
