"""Running commands: in this process for what they print, as a process of its own for what the shell sees."""

import json
import os
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest

import snapsim as ss
from snapsim.cli import main
from tests.conftest import hear_interrupts

HOUR = 3_600_000_000_000

MSR_LINE = b"128166372003061629,usr,0,Write,8192,4096,1200\n"


class Run(NamedTuple):
    """What a command left behind."""

    status: int
    out: str
    err: str

    @property
    def json(self):
        """Standard output, all of it, as JSON."""
        return json.loads(self.out)


@pytest.fixture
def run(capsys, monkeypatch):
    """Run a command in this process."""
    monkeypatch.delenv("SNAPSIM_DEBUG", raising=False)

    def command(*arguments):
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        return Run(status, *capsys.readouterr())

    return command


@pytest.fixture
def refused(run):
    """Run a command that fails; return its one line, and check everything that holds for all failures."""

    def command(*arguments, status):
        got = run(*arguments)
        assert got.status == status, got
        assert not got.out
        assert got.err.startswith("snapsim: error: ")
        assert got.err.count("\n") == 1
        assert "Traceback" not in got.err
        return got.err.removeprefix("snapsim: error: ").removesuffix("\n")

    return command


def spawn(*arguments, **how):
    """Start a command as a process of its own."""
    environment = {**os.environ, "COLUMNS": "100"}
    environment.pop("SNAPSIM_DEBUG", None)
    return subprocess.Popen(
        [sys.executable, "-m", "snapsim.cli", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=hear_interrupts,  # noqa: PLW1509  the tests have no threads
        **how,
    )


@pytest.fixture
def process():
    """Run a command as a process of its own."""

    def command(*arguments, **how):
        with spawn(*arguments, **how) as child:
            out, err = child.communicate(timeout=120)
            return Run(child.returncode, out, err)

    return command


def _trace(seed, *, volume=None):
    """Three days with a request a minute or so: reads and writes on 16 MiB."""
    rng = np.random.default_rng(seed)
    n = 4000
    time = np.sort(rng.integers(0, 72 * HOUR, n))
    return ss.Trace.from_arrays(
        time,
        np.where(rng.random(n) < 0.3, ss.READ, ss.WRITE),
        rng.integers(0, 4096, n) * 4096,
        np.full(n, 4096),
        capacity="16MiB",
        start="2026-03-01T00:00Z",
        volume=volume,
    )


@pytest.fixture(scope="session")
def trace():
    """Give a small trace of one volume."""
    return _trace(1)


@pytest.fixture(scope="session")
def stored(trace, tmp_path_factory):
    """Give the trace, stored."""
    return trace.save(tmp_path_factory.mktemp("stored") / "small.parquet")


@pytest.fixture(scope="session")
def two_volumes(tmp_path_factory):
    """Give a stored trace of two volumes."""
    names = np.where(np.arange(4000) % 3 == 0, "log", "data")
    return _trace(2, volume=names).save(tmp_path_factory.mktemp("stored") / "machine.parquet")


@pytest.fixture(scope="session")
def msr(tmp_path_factory):
    """Give a trace as MSR CSV: an hour of writes, one a second."""
    path = tmp_path_factory.mktemp("msr") / "usr_0.csv"
    lines = (
        f"{128166372000000000 + second * 10**7},usr,0,{'Read' if second % 4 == 0 else 'Write'},"
        f"{second % 50 * 8192},8192,900\n"
        for second in range(3600)
    )
    path.write_text("".join(lines))
    return path


@pytest.fixture(scope="session")
def long_msr(tmp_path_factory):
    """Give a trace that takes a while to import."""
    path = tmp_path_factory.mktemp("msr") / "long.csv"
    path.write_bytes(MSR_LINE * 3_000_000)
    return path


@pytest.fixture
def policy_file(tmp_path):
    """Give a policy file."""
    path = tmp_path / "policies.toml"
    path.write_text('[policy.short]\nschedule = "@hourly"\nkeep_hourly = 12\nkeep_daily = 2\n')
    return path
