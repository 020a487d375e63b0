"""Memory by touched block: what the block table holds, for dense and for scattered footprints."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import bench_lifetimes, child
from benchmarks.measure import Scale, significant
from benchmarks.workloads import recorded, synthetic
from snapsim.engine.blocktable import LEAF_SLOTS
from snapsim.engine.blocktable_kernels import UNIFORM
from snapsim.engine.lifetimes_kernels import UNTOUCHED
from snapsim.types import Int64Array

_TIB = 1 << 40


def run(scale: Scale) -> list[dict[str, Any]]:
    """Return a row for each footprint."""
    return [*_traces(scale), *_made(scale)]


def _traces(scale: Scale) -> Iterator[dict[str, Any]]:
    for workload in (*recorded(), *synthetic(scale)):
        for block_size in bench_lifetimes.BLOCK_SIZES:
            counter = bench_lifetimes.counter_of(workload, block_size).add_all(workload.batches)
            table, memory = counter._table.arrays, counter._table.memory
            in_leaves = int(np.count_nonzero(table.leaves[: memory.slots] != UNTOUCHED))
            alike = LEAF_SLOTS * int(np.count_nonzero(table.directory < UNIFORM - UNTOUCHED))
            yield {
                "footprint": workload.name,
                "recorded": workload.recorded,
                "block_size": block_size,
                "capacity": workload.capacity,
                **_held(in_leaves + alike, memory.leaf_bytes, memory.directory_bytes),
                "leaf_fill": significant(in_leaves / max(memory.slots, 1)),
            }


def _made(scale: Scale) -> Iterator[dict[str, Any]]:
    """Write known sets of blocks in a process of its own, so that its memory can be seen from outside."""
    many = 1 << 12 if scale.name == "smoke" else 1 << 22
    rng = np.random.default_rng(1)
    few = rng.choice(64 * _TIB // 4096, size=many // 256, replace=False)
    footprints: dict[str, tuple[Int64Array, int]] = {
        "every block of 16 GiB": (np.arange(many), 16 << 30),
        "every other block of 32 GiB": (np.arange(many) * 2, 32 << 30),
        "one block in 64, of 64 GiB": (np.arange(many // 16) * 64, 64 << 30),
        "blocks scattered over 64 TiB": (few, 64 * _TIB),
    }
    for name, (blocks, capacity) in footprints.items():
        with tempfile.TemporaryDirectory(prefix="snapsim-bench-") as folder:
            file = Path(folder) / "offsets.npy"
            np.save(file, blocks.astype(np.int64) * 4096)
            found = child.measured("count_blocks", offsets=str(file), capacity=capacity)
        held = _held(len(blocks), found["leaf_bytes"], found["directory_bytes"])
        yield {
            "footprint": name,
            "recorded": False,
            "block_size": 4096,
            "capacity": capacity,
            **held,
            "leaf_fill": significant(len(blocks) / (found["leaf_bytes"] // 2)),
            "resident_bytes": found["resident_bytes"],
        }


def _held(written: int, leaf_bytes: int, directory_bytes: int) -> dict[str, Any]:
    return {
        "written_blocks": written,
        "leaf_bytes": leaf_bytes,
        "directory_bytes": directory_bytes,
        "bytes_per_block": significant((leaf_bytes + directory_bytes) / max(written, 1)),
    }
