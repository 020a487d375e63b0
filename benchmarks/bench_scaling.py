"""Time by the number of requests: from ten thousand to a hundred million on one volume."""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import bench_lifetimes, child, lru
from benchmarks.baseline_kernels import load_and_store
from benchmarks.measure import Scale, interleaved, spread
from benchmarks.workloads import prepared, week
from snapsim.engine.counter import LifetimeCounter
from snapsim.engine.lifetimes import Counting
from snapsim.engine.reference import ReferenceVolume
from snapsim.planning.instants import regular

_BLOCK_SIZE = 4096
_IN_MEMORY = 10**6  # more requests than this are drawn batch by batch, and only the two kernels count them
_REFERENCE = 10**5


def run(scale: Scale) -> list[dict[str, Any]]:
    """Return a row for each number of requests and each way to count them."""
    rows: list[dict[str, Any]] = []
    requests = 10**3 if scale.name == "smoke" else 10**4
    while requests <= scale.largest:
        seconds = _small(requests, scale) if requests <= _IN_MEMORY else _large(requests, scale)
        rows += [
            {
                "requests": requests,
                "what": what,
                "rounds": len(times),
                "seconds": spread(times),
                "ns_per_request": spread([one / requests * 1e9 for one in times]),
            }
            for what, times in seconds.items()
        ]
        requests *= 10
    lazily = child.measured("count_lazily", requests=scale.largest)
    rows.append({"requests": scale.largest, "what": "count_lifetimes, drawn lazily", "rounds": 1, **lazily})
    return rows


def _small(requests: int, scale: Scale) -> dict[str, list[float]]:
    workload = prepared("", "", week(scale, "uniform", requests=requests), recorded=False)
    bench_lifetimes.check(workload, _BLOCK_SIZE)
    candidates = {
        "lifetimes": lambda: bench_lifetimes.count(workload, _BLOCK_SIZE),
        "loop": lambda: bench_lifetimes.loop(workload, _BLOCK_SIZE),
    }
    with tempfile.TemporaryDirectory(prefix="snapsim-bench-") as folder:
        if lru.libcachesim is not None:
            candidates["libCacheSim LRU"] = lru.LruRun(
                workload, _BLOCK_SIZE, expanded=False, folder=Path(folder)
            )
        seconds = interleaved(candidates, rounds=scale.rounds, least_seconds=scale.least_seconds / 4)
    if requests <= _REFERENCE:

        def reference() -> float:
            volume = ReferenceVolume(
                workload.instants.tolist(), block_size=_BLOCK_SIZE, capacity=workload.capacity, initial="thin"
            )
            begin = time.process_time()
            volume.run(workload.batches, start_ns=workload.start_ns)
            return time.process_time() - begin

        seconds |= interleaved({"readable twin": reference}, rounds=min(scale.rounds, 5))
    return seconds


def _large(requests: int, scale: Scale) -> dict[str, list[float]]:
    """Time both kernels batch by batch, without the drawing of the batches."""
    trace = week(scale, "uniform", requests=requests, lazy=True)
    # the span is known; `last_ns` would cost a pass over the trace
    instants = regular("1h", start_ns=trace.start_ns, last_ns=trace.start_ns + 7 * 86400 * 10**9 - 1)
    seconds: dict[str, list[float]] = {"lifetimes": [], "loop": []}
    boundaries, n_blocks = instants - trace.start_ns, trace.capacity // _BLOCK_SIZE
    for _ in range(5 if requests > 10**7 else scale.rounds):
        counter = LifetimeCounter(
            instants, Counting(block_size=_BLOCK_SIZE), capacity=trace.capacity, start_ns=trace.start_ns
        )
        table = bench_lifetimes.new_table(n_blocks, len(instants))
        directory, leaves, _, used = table.arrays
        spent = dict.fromkeys(seconds, 0.0)
        epoch = 0
        for batch in trace.batches():
            columns = tuple(np.ascontiguousarray(column) for column in batch[:4])
            begin = time.process_time()
            counter.add(batch)
            middle = time.process_time()
            epoch, _ = load_and_store(
                *columns, epoch, boundaries, 12, n_blocks, trace.capacity, directory, leaves, used
            )
            spent["lifetimes"] += middle - begin
            spent["loop"] += time.process_time() - middle
        for name, total in spent.items():
            seconds[name].append(total)
    return seconds
