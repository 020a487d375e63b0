"""Counting lifetimes, per core: against a loop that only loads and stores, and against libCacheSim's LRU."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import lru
from benchmarks.baseline_kernels import load_and_store
from benchmarks.measure import Scale, interleaved, rate, ratio
from benchmarks.workloads import Workload, recorded, synthetic
from snapsim.engine.blocktable import BlockTable
from snapsim.engine.counter import LifetimeCounter
from snapsim.engine.lifetimes import Counting
from snapsim.engine.lifetimes_kernels import FIRST_BIRTH
from snapsim.engine.reference import ReferenceVolume
from snapsim.types import Batch

BLOCK_SIZES = (4096, 65536)
_CHECKED = 2_000
_LRU_REQUESTS = 1_000_000  # libCacheSim runs this many at most, snapsim the same ones beside it


def run(scale: Scale) -> list[dict[str, Any]]:
    """Return a row for each trace and block size."""
    rows = []
    for workload in _workloads(scale):
        for block_size in BLOCK_SIZES:
            check(workload, block_size)
            rows.append(_row(workload, block_size, scale))
    return rows


def _workloads(scale: Scale) -> Iterator[Workload]:
    for workload in (*recorded(), *synthetic(scale)):
        yield first(workload, scale.requests) if scale.name == "smoke" else workload


def _row(workload: Workload, block_size: int, scale: Scale) -> dict[str, Any]:
    seconds = interleaved(
        {"lifetimes": lambda: count(workload, block_size), "loop": lambda: loop(workload, block_size)},
        rounds=scale.rounds,
        least_seconds=scale.least_seconds,
    )
    requests = workload.requests
    blocks = workload.blocks(block_size)
    row = {
        "trace": workload.name,
        "about": workload.about,
        "recorded": workload.recorded,
        "block_size": block_size,
        "requests": requests,
        "blocks_per_request": round(blocks / requests, 2),
        "epochs": len(workload.instants) + 1,
        "lifetimes_per_second": rate(requests, seconds["lifetimes"]),
        "loop_per_second": rate(requests, seconds["loop"]),
        "to_loop": ratio(seconds["loop"], seconds["lifetimes"]),
    }
    return row | _against_lru(first(workload, _LRU_REQUESTS), block_size, scale)


def _against_lru(workload: Workload, block_size: int, scale: Scale) -> dict[str, Any]:
    """Return requests/s of the LRU: requests as single objects, and block by block where that differs."""
    if lru.libcachesim is None:
        return {}
    answer: dict[str, Any] = {}
    several = workload.blocks(block_size) > 1.05 * workload.requests
    for expanded in (False, True) if several else (False,):
        with tempfile.TemporaryDirectory(prefix="snapsim-bench-") as folder:
            cache = lru.LruRun(workload, block_size, expanded=expanded, folder=Path(folder))
            candidates = {"lifetimes": lambda: count(workload, block_size), "lru": cache}
            if not expanded:
                candidates["lru_as_it_comes"] = cache.as_it_comes
            seconds = interleaved(
                candidates, rounds=min(scale.rounds, 5), least_seconds=scale.least_seconds / 2
            )
        for name in list(candidates)[1:]:
            key = "lru_by_block" if expanded else name
            answer[f"{key}_per_second"] = rate(workload.requests, seconds[name])
            answer[f"to_{key}"] = ratio(seconds[name], seconds["lifetimes"])
    return answer | {"lru_requests": workload.requests}


def counter_of(workload: Workload, block_size: int) -> LifetimeCounter:
    """Return a counter for a workload."""
    return LifetimeCounter(
        workload.instants,
        Counting(block_size=block_size),
        capacity=workload.capacity,
        capacity_known=workload.capacity_known,
        start_ns=workload.start_ns,
    )


def count(workload: Workload, block_size: int) -> float:
    """Count a trace with a new table; return the time without the making of the counter.  [s]"""
    counter = counter_of(workload, block_size)
    begin = time.process_time()
    for batch in workload.batches:
        counter.add(batch)
    return time.process_time() - begin


def loop(workload: Workload, block_size: int) -> float:
    """Load and store over a new table of the same kind; return the time.  [s]"""
    table = table_of(workload, block_size)
    begin = time.process_time()
    _walk(workload, block_size, table)
    return time.process_time() - begin


def table_of(workload: Workload, block_size: int) -> BlockTable:
    """Return a table as the counter makes it, with room for every leaf: the loop cannot ask for more."""
    return new_table(-(-workload.capacity // block_size), len(workload.instants))


def new_table(n_blocks: int, n_instants: int) -> BlockTable:
    """Return an empty table with room for every leaf."""
    table = BlockTable(n_blocks, max_code=n_instants + 1 + FIRST_BIRTH)
    table.reserve(len(table.arrays.directory))
    return table


def _walk(workload: Workload, block_size: int, table: BlockTable) -> None:
    boundaries = workload.instants - workload.start_ns
    n_blocks = -(-workload.capacity // block_size)
    capacity = workload.capacity if workload.capacity_known else np.iinfo(np.int64).max
    directory, leaves, _, used = table.arrays
    epoch, shift = 0, block_size.bit_length() - 1
    for batch in workload.batches:
        epoch, _ = load_and_store(
            *batch[:4], epoch, boundaries, shift, n_blocks, capacity, directory, leaves, used
        )


def check(workload: Workload, block_size: int) -> None:
    """See that counter, loop and the readable twin did the same, before anything is timed."""
    table, counter = table_of(workload, block_size), counter_of(workload, block_size)
    _walk(workload, block_size, table)
    counter.add_all(workload.batches)
    slots = table.memory.slots
    np.testing.assert_array_equal(table.arrays.directory, counter._table.arrays.directory)
    np.testing.assert_array_equal(table.arrays.leaves[:slots], counter._table.arrays.leaves[:slots])

    few = first(workload, _CHECKED)
    matrix = counter_of(few, block_size).add_all(few.batches).finish()
    volume = ReferenceVolume(
        few.instants.tolist(), block_size=block_size, capacity=few.capacity, initial="thin"
    ).run(few.batches, start_ns=few.start_ns)
    expected = {cell: number for cell, number in volume.matrix().items() if cell[0] >= 0}
    cells = (matrix.cells.birth, matrix.cells.epoch, matrix.cells.count)
    found = zip(*(column.tolist() for column in cells), strict=True)
    assert {(birth, death): number for birth, death, number in found if birth >= 0} == expected


def first(workload: Workload, requests: int) -> Workload:
    """Return the same with no more than so many requests."""
    batches, left = [], requests
    for batch in workload.batches:
        if left > 0:
            batches.append(Batch(*(column[:left] for column in batch[:4])))
        left -= len(batch.op)
    return workload._replace(batches=tuple(batches))
