"""Measuring a device with fio: a plan that can be shown, its commands, and what they report."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from snapsim.errors import MeasurementError, UsageError
from snapsim.units import format_size

__all__ = ["Job", "Plan", "Reading", "plan_measurement", "read_report", "run_plan"]

SIZES = (4 << 10, 64 << 10, 1 << 20)
DEPTHS = (4, 16, 32)
LARGEST = SIZES[-1]

_GRACE = 600.0  # seconds that a job may take longer than it should: laying out the file, a slow disk
_LIBRARY = "libaio" if sys.platform.startswith("linux") else "posixaio"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run of fio.

    Attributes
    ----------
    pattern : {"read", "randread", "write", "randwrite"}
        As fio calls it.
    size : int
        Of each request.  [bytes]
    depth : int
        Requests that are kept waiting.
    flush : bool
        Every write is followed by a flush.
    """

    pattern: Literal["read", "randread", "write", "randwrite"]
    size: int
    depth: int = 1
    flush: bool = False

    @property
    def op(self) -> Literal["read", "write"]:
        """What it does."""
        return "read" if self.pattern.endswith("read") else "write"

    @property
    def random(self) -> bool:
        """Whether requests go anywhere."""
        return self.pattern.startswith("rand")

    def __str__(self) -> str:
        """Say it in words."""
        kind = "random" if self.random else "sequential"
        more = ", each flushed" if self.flush else ""
        return f"{kind} {self.op}s of {format_size(self.size)}, {self.depth} at a time{more}"


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What one job measured.

    Attributes
    ----------
    job : Job
        Which.
    requests : int
        That were finished.
    operations : float
        Requests a second.
    throughput : float
        [bytes/s]
    latency_ns : float
        Mean, from submission to completion.  [ns]
    flush_ns : float
        Mean of the flushes; 0 where there were none.  [ns]
    """

    job: Job
    requests: int
    operations: float
    throughput: float
    latency_ns: float
    flush_ns: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What will be run, on what.

    Attributes
    ----------
    target : Path
        A file, or a block device; it is overwritten.
    size : int
        How much of it is used, from its start.  [bytes]
    seconds : float
        For each job.
    direct : bool
        Past the page cache.
    jobs : tuple of Job
        In order; before them the whole size is written once.
    """

    target: Path
    size: int
    seconds: float
    direct: bool
    jobs: tuple[Job, ...]

    def layout(self) -> list[str]:
        """Return the command that writes everything once, so that later jobs meet real data."""
        return [*self._common(), "--rw=write", f"--bs={LARGEST}", "--iodepth=4", "--end_fsync=1"]

    def command(self, job: Job) -> list[str]:
        """Return the command of a job."""
        timed = [f"--runtime={round(self.seconds * 1000)}ms", "--time_based", "--randseed=1"]
        flush = ["--fsync=1"] if job.flush else []
        pattern = [f"--rw={job.pattern}", f"--bs={job.size}", f"--iodepth={job.depth}"]
        return [*self._common(), *pattern, *timed, *flush, "--allow_file_create=0"]

    def _common(self) -> list[str]:
        # in a file name fio takes a colon for the start of the next one
        name = str(self.target.absolute()).replace("\\", "\\\\").replace(":", "\\:")
        return [
            *("fio", "--name=snapsim", "--output-format=json", "--thread"),
            *(f"--filename={name}", f"--size={self.size}", f"--direct={int(self.direct)}"),
            *(f"--ioengine={_LIBRARY}", "--randrepeat=1", "--refill_buffers"),
        ]


def plan_measurement(target: Path, *, size: int, seconds: float = 2.0, direct: bool = True) -> Plan:
    """Plan what is measured.

    Parameters
    ----------
    target : Path
        A file, or a block device; running the plan overwrites it.
    size : int
        How much of it to use: more than any cache below holds, or the cache is what is measured.  [bytes]
    seconds : float
        For each job.
    direct : bool
        Past the page cache.

    Returns
    -------
    Plan
        Nothing was run or written.

    Raises
    ------
    UsageError
        There is too little space or time to measure anything.
    """
    if size < 4 * LARGEST:
        raise UsageError(f"{format_size(size)} is too little to measure on: take at least 4 MiB")
    if not 0.05 <= seconds <= 3600:
        raise UsageError(f"{seconds:g} seconds for a job make no sense: take 0.05 to 3600")
    alone = [Job(pattern=pattern, size=each) for pattern in ("randread", "read") for each in SIZES]
    alone += [Job(pattern=pattern, size=each) for pattern in ("randwrite", "write") for each in SIZES]
    crowd = [
        Job(pattern=pattern, size=SIZES[0], depth=depth)
        for pattern in ("randread", "randwrite")
        for depth in DEPTHS
    ]
    streams = [Job(pattern=pattern, size=LARGEST, depth=DEPTHS[0]) for pattern in ("read", "write")]
    flush = Job(pattern="randwrite", size=SIZES[0], flush=True)
    return Plan(
        target=target,
        size=size // LARGEST * LARGEST,
        seconds=seconds,
        direct=direct,
        jobs=(*alone, *crowd, *streams, flush),
    )


def run_plan(plan: Plan, *, progress: Callable[[int, int], None] | None = None) -> tuple[str, list[Reading]]:
    """Run fio.  The target is overwritten.

    Parameters
    ----------
    plan : Plan
        What to run.
    progress : callable, optional
        Called with (jobs done, jobs in all).

    Returns
    -------
    version : str
        Of fio.
    readings : list of Reading
        One for each job.

    Raises
    ------
    MeasurementError
        fio is missing, or a job failed.
    """
    if shutil.which("fio") is None:
        raise MeasurementError("fio, which measures, is not installed: install the package fio")
    _run(plan.layout(), what="writing everything once", patience=_GRACE)
    readings, version = [], ""
    for number, job in enumerate(plan.jobs):
        if progress is not None:
            progress(number, len(plan.jobs))
        report = _run(plan.command(job), what=str(job), patience=plan.seconds + _GRACE)
        version = str(report.get("fio version", "fio"))
        readings.append(read_report(report, job))
    return version, readings


def _run(command: list[str], *, what: str, patience: float) -> Mapping[str, Any]:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=patience, check=False)
    except subprocess.TimeoutExpired as error:
        raise MeasurementError(f"fio did not come to an end ({what})") from error
    if done.returncode != 0:
        said = [line for line in (*done.stderr.splitlines(), *done.stdout.splitlines()) if "fio:" in line]
        reason = said[0].strip() if said else f"exit status {done.returncode}"
        hint = "; --buffered goes through the page cache" if "direct" in reason or "Invalid" in reason else ""
        raise MeasurementError(f"fio failed ({what}): {reason}{hint}")
    try:
        # warnings may stand before the report
        report: Mapping[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])
    except ValueError as error:
        raise MeasurementError(f"fio gave no report ({what})") from error
    return report


def read_report(report: Mapping[str, Any], job: Job) -> Reading:
    """Read what fio says about a job.

    Parameters
    ----------
    report : mapping
        Its JSON.
    job : Job
        Which.

    Returns
    -------
    Reading
        Means.

    Raises
    ------
    MeasurementError
        It did not finish a single request, or the report is not one of fio 3.
    """
    try:
        (one,) = report["jobs"]
        side = one[job.op]
        requests, latency = int(side["total_ios"]), float(side["lat_ns"]["mean"])
        operations, throughput = float(side["iops"]), float(side["bw_bytes"])
        flush = float(one["sync"]["lat_ns"]["mean"]) if job.flush else 0.0
    except (KeyError, TypeError, ValueError) as error:
        raise MeasurementError(f"the report of fio cannot be read ({job}): it must be of fio 3") from error
    if requests == 0 or operations <= 0 or latency <= 0 or (job.flush and flush <= 0):
        raise MeasurementError(f"not a single request was finished ({job}): give each job more seconds")
    return Reading(
        job=job,
        requests=requests,
        operations=operations,
        throughput=throughput,
        latency_ns=latency,
        flush_ns=flush,
    )
