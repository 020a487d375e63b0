"""Starting: what importing costs, and the first and later calls of the command line."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.measure import Scale, interleaved, spread
from benchmarks.workloads import week

_IMPORTS = {"python": "pass", "numpy": "import numpy", "snapsim": "import snapsim"}
_POLICY = ("--schedule", "@hourly", "--keep-hourly", "24", "--keep-daily", "7")


class Spent(NamedTuple):
    """What a process took: time that passed, and time on processors.  [s]"""

    wall: float
    cpu: float


def run(scale: Scale) -> list[dict[str, Any]]:
    """Return a row for each thing that starts."""
    rows = _imports(scale)
    with tempfile.TemporaryDirectory(prefix="snapsim-bench-") as folder:
        trace = week(scale, "mixture", requests=min(scale.requests, 10**6))
        path = trace.save(Path(folder) / "week.parquet")
        about = f"{len(trace):,} made requests of 7 days"
        rows += _simulate(path, about, Path(folder) / "cache", scale)
        public = Path(os.environ.get("SNAPSIM_PUBLIC_TRACES", "missing")) / "msr" / "rsrch_1.csv"
        if public.exists():
            # the kernels are compiled by now: only later calls are measured
            rows += _simulate(public, "MSR rsrch_1, 7 days, from text", Path(folder) / "cache", scale)[1:]
    return rows


def _imports(scale: Scale) -> list[dict[str, Any]]:
    cpu: dict[str, list[float]] = {name: [] for name in _IMPORTS}

    def call(name: str) -> Callable[[], float]:
        def one() -> float:
            spent = _process([sys.executable, "-c", _IMPORTS[name]])
            cpu[name].append(spent.cpu)
            return spent.wall

        return one

    wall = interleaved({name: call(name) for name in _IMPORTS}, rounds=scale.rounds)
    return [
        {
            "what": f"import {name}",
            "key": f"import-{name}",
            "rounds": scale.rounds,
            "seconds": spread(_more(wall[name], wall["python"])),
            "cpu_seconds": spread(_more(cpu[name][-scale.rounds :], cpu["python"][-scale.rounds :])),
        }
        for name in ("snapsim", "numpy")
    ]


def _more(times: list[float], beginning: list[float]) -> list[float]:
    return [a - b for a, b in zip(times, beginning, strict=True)]


def _simulate(trace: Path, about: str, cache: Path, scale: Scale) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "snapsim.cli", "simulate", str(trace), *_POLICY]
    command += ["--mechanism", "qcow2-external", "--json"]
    calls = [_process(command, SNAPSIM_CACHE_DIR=str(cache)) for _ in range(1 + min(scale.rounds, 5))]
    return [
        {
            "what": f"snapsim simulate, {title} ({about})",
            "key": key,
            "rounds": len(some),
            "seconds": spread([one.wall for one in some]),
            "cpu_seconds": spread([one.cpu for one in some]),
        }
        for key, title, some in (
            ("first", "first call", calls[:1]),  # it compiles
            ("later", "later calls", calls[1:]),
        )
    ]


def _process(command: list[str], **environment: str) -> Spent:
    before, begin = os.times(), time.perf_counter()
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=os.environ | environment)
    wall, after = time.perf_counter() - begin, os.times()
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    return Spent(
        wall, after.children_user + after.children_system - before.children_user - before.children_system
    )
