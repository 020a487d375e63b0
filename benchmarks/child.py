"""Work that needs a process of its own: `python -m benchmarks.child WHAT JSON` prints what it measured.

A process of its own has its own peak of memory, and can be held to one core.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def measured(what: str, **arguments: Any) -> dict[str, Any]:
    """Run one of the tasks below in a new process on one core; return what it printed."""
    command = [sys.executable, "-m", "benchmarks.child", what, json.dumps(arguments)]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=Path(__file__).resolve().parent.parent
    )
    if done.returncode:
        raise RuntimeError(f"benchmarks.child {what} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def resident() -> int:
    """Return the memory in use now.  [bytes]"""
    return _status("VmRSS")


def peak() -> int:
    """Return the most memory that was in use (`ru_maxrss` would include that of the parent).  [bytes]"""
    return _status("VmHWM")


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return 0


def import_msr(source: str, target: str) -> dict[str, Any]:
    """Import an MSR file into a stored trace."""
    from snapsim.traces.formats import convert_trace, sniff

    assert sniff(source) == "msr"  # loads every reader beforehand
    before = resident()
    begin = time.process_time()
    trace = convert_trace(source, target, format="msr")
    seconds = time.process_time() - begin
    return {"seconds": seconds, "requests": len(trace), "before": before, "peak": peak()}


def pandas_csv(source: str) -> dict[str, Any]:
    """Parse the same file with pandas; nothing is checked, sorted or stored."""
    import pandas as pd

    begin = time.process_time()
    frame = pd.read_csv(source, header=None)
    return {"seconds": time.process_time() - begin, "requests": len(frame), "peak": peak()}


def arrow_csv(source: str) -> dict[str, Any]:
    """Parse the same file with pyarrow; nothing is checked, sorted or stored."""
    from pyarrow import csv

    begin = time.process_time()
    options = csv.ReadOptions(use_threads=False, autogenerate_column_names=True)
    table = csv.read_csv(source, read_options=options)
    return {"seconds": time.process_time() - begin, "requests": table.num_rows, "peak": peak()}


def count_blocks(offsets: str, capacity: int) -> dict[str, Any]:
    """Write a 4 KiB block at each offset of a file; say what the block table holds."""
    import numpy as np

    from snapsim.engine.counter import LifetimeCounter
    from snapsim.engine.lifetimes import Counting
    from snapsim.types import WRITE, Batch

    def counter() -> LifetimeCounter:
        return LifetimeCounter(np.array([10**18]), Counting(block_size=4096), capacity=capacity)

    places = np.load(offsets, mmap_mode="r")
    one = np.zeros(1, np.int64)
    counter().add(Batch(one, np.ones(1, np.uint8), one, one + 4096))  # compiled, and gone again
    before = resident()
    fresh = counter()
    for first in range(0, len(places), 1 << 18):
        part = np.array(places[first : first + (1 << 18)])
        n = len(part)
        fresh.add(Batch(np.zeros(n, np.int64), np.full(n, WRITE, np.uint8), part, np.full(n, 4096, np.int64)))
    memory = fresh._table.memory
    return {
        "leaf_bytes": memory.leaf_bytes,
        "directory_bytes": memory.directory_bytes,
        "resident_bytes": resident() - before,
        "peak": peak(),
    }


def count_lazily(requests: int) -> dict[str, Any]:
    """Count a made trace that exists one batch at a time."""
    from benchmarks.measure import SMOKE
    from benchmarks.workloads import week
    from snapsim import count_lifetimes

    count_lifetimes(week(SMOKE, "uniform", requests=1000), every="1h", block_size="4KiB")
    before = resident()
    begin = time.process_time()
    trace = week(SMOKE, "uniform", requests=requests, lazy=True)
    lifetimes = count_lifetimes(trace, every="1h", block_size="4KiB")
    seconds = time.process_time() - begin
    table = lifetimes.memory.leaf_bytes + lifetimes.memory.directory_bytes
    return {"seconds": seconds, "before": before, "peak": peak(), "table_bytes": table}


TASKS: dict[str, Callable[..., dict[str, Any]]] = {
    task.__name__: task for task in (import_msr, pandas_csv, arrow_csv, count_blocks, count_lazily)
}

if __name__ == "__main__":
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    print(json.dumps(TASKS[sys.argv[1]](**json.loads(sys.argv[2]))))
