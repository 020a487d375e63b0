"""Replaying requests through chains of snapshots: against libCacheSim's LRU on the same requests."""

import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import snapsim as ss
from benchmarks import lru
from benchmarks.bench_lifetimes import first
from benchmarks.measure import Scale, interleaved, rate, ratio, significant
from benchmarks.workloads import Workload, prepared, recorded, week
from snapsim.engine.device_queue import DeviceQueue
from snapsim.engine.replay import Replay
from snapsim.types import Batch

_BLOCK_SIZE = 65536
_DEPTHS = (1, 4, 8)
_LONG = (16, 64)
_REQUESTS = 10**6
_LENGTHS = (10**5, 10**6, 10**7)
_MECHANISM = "qcow2-external"
_DEVICE = "nvme"
_CUT = 1 << 18  # requests that are replayed at a time, as `ss.replay` does

WAYS = {
    "counts": "I/O counts with tables",
    "places": "the same with places",
    "work": "the same with operations for a device",
    "full": "the same through the device: latency",
}
"""What is done with each request, each way more than the one before."""


def run(scale: Scale) -> list[dict[str, Any]]:
    """Return a row for each trace, length of chain and way, then for lengths of the trace."""
    rows: list[dict[str, Any]] = []
    most = min(scale.requests, _REQUESTS)
    for workload in _workloads(scale, most):
        with tempfile.TemporaryDirectory(prefix="snapsim-bench-") as folder:
            cache = _lru(workload, Path(folder))
            for depth in _DEPTHS if scale.name == "full" else _DEPTHS[-1:]:
                rows += _rows(workload, depth, tuple(WAYS), cache, scale)
            if not workload.recorded and scale.name == "full":
                for depth in _LONG:
                    rows += _rows(workload, depth, ("full",), cache, scale)
    if scale.name == "full":
        for requests in _LENGTHS:
            workload = _made(scale, requests)._replace(name="zipf, by length")
            rows += _rows(workload, _DEPTHS[-1], ("counts", "full"), {}, scale._replace(rounds=3))
    return rows


def _workloads(scale: Scale, most: int) -> Iterator[Workload]:
    for workload in recorded():
        if scale.name != "full":
            yield first(workload, most)
            break
        yield workload
    yield _made(scale, most)


def _made(scale: Scale, requests: int) -> Workload:
    return prepared("zipf", "", week(scale, "zipf", requests=requests), recorded=False)


def _lru(workload: Workload, folder: Path) -> dict[str, Callable[[], float]]:
    if lru.libcachesim is None:
        return {}
    cache = lru.LruRun(workload, _BLOCK_SIZE, expanded=False, folder=folder)
    return {"lru": cache, "lru_as_it_comes": cache.as_it_comes}


def _rows(
    workload: Workload, depth: int, ways: tuple[str, ...], cache: dict[str, Callable[[], float]], scale: Scale
) -> list[dict[str, Any]]:
    candidates = {way: _candidate(workload, depth, way) for way in ways} | cache
    seconds = interleaved(candidates, rounds=min(scale.rounds, 3))
    rows = []
    for way in ways:
        row = {
            "trace": workload.name,
            "recorded": workload.recorded,
            "block_size": _BLOCK_SIZE,
            "requests": workload.requests,
            "snapshots": depth,
            "way": way,
            "about": WAYS[way],
            "per_second": rate(workload.requests, seconds[way]),
            "ns_per_request": significant(float(np.median(seconds[way])) / workload.requests * 1e9),
        }
        for name in cache:
            row[f"{name}_per_second"] = rate(workload.requests, seconds[name])
            row[f"to_{name}"] = ratio(seconds[name], seconds[way])
        rows.append(row)
    return rows


def _candidate(workload: Workload, depth: int, way: str) -> Callable[[], float]:
    return lambda: timed(workload, depth, way)


def timed(workload: Workload, depth: int, way: str) -> float:
    """Replay all requests, a snapshot after each equal part of them; time what is done with requests.  [s]"""
    chain = chain_of(workload, places=way != "counts")
    queue = DeviceQueue(ss.device(_DEVICE).parameters()) if way == "full" else None
    seconds = 0.0
    for part, batch in enumerate(parts(workload, depth + 1)):
        if part:
            chain.create()
        for at in range(0, len(batch.op), _CUT):
            cut = Batch(*(column[at : at + _CUT] for column in batch[:4]))
            begin = time.process_time()
            if way in {"counts", "places"}:
                chain.replay(cut)
            else:
                _, work = chain.work(cut)
                if queue is not None:
                    queue.add(cut.time_ns, work)
            seconds += time.process_time() - begin
    if queue is not None:
        begin = time.process_time()
        queue.finish()
        seconds += time.process_time() - begin
    return seconds


def chain_of(workload: Workload, *, places: bool) -> Replay:
    """Return the chain that is measured, without snapshots."""
    return Replay.of(
        ss.mechanism(_MECHANISM),
        capacity=workload.capacity,
        capacity_known=workload.capacity_known,
        block_size=_BLOCK_SIZE,
        places=places,
    )


def parts(workload: Workload, n: int) -> Iterator[Batch]:
    """Yield all requests in `n` parts of equal length."""
    columns = [np.concatenate([batch[i] for batch in workload.batches]) for i in range(4)]
    edges = np.linspace(0, workload.requests, n + 1).astype(np.int64)
    for a, b in pairwise(edges):
        yield Batch(*(column[a:b] for column in columns))
