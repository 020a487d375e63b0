"""The traces that benchmarks run: the project's own recording, made ones, and public ones where they are."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

import snapsim as ss
from benchmarks.measure import Scale
from snapsim.planning.instants import regular
from snapsim.traces.synthetic import Sequential, Zipf
from snapsim.types import Batch, Int64Array

ROOT = Path(__file__).resolve().parent.parent
_PUBLIC = {
    "cloudphysics": ("cloudphysics/cloudPhysicsIO.vscsi", {}),
    "msr web_0 (first 100,000)": ("msr/web_0_first100k.csv.gz", {}),
}


class Workload(NamedTuple):
    """A trace made ready to be counted.

    Attributes
    ----------
    name, about : str
        What it is called, and what it is.
    recorded : bool
        Whether a real disk was recorded.
    capacity : int
        Size of the volume.  [bytes]
    capacity_known : bool
        Whether that is known, or only the highest address.
    start_ns : int
        Of the trace.  [ns]
    instants : int64 array
        Every hour.  [ns]
    batches : tuple of Batch
        All requests, in memory, cut as `count_lifetimes` cuts them.
    """

    name: str
    about: str
    recorded: bool
    capacity: int
    capacity_known: bool
    start_ns: int
    instants: Int64Array
    batches: tuple[Batch, ...]

    @property
    def requests(self) -> int:
        """Number of requests."""
        return sum(len(batch.op) for batch in self.batches)

    def blocks(self, block_size: int) -> int:
        """Return how many blocks the requests touch, each counted as often as it is touched."""
        total = 0
        for batch in self.batches:
            some = batch.length > 0
            first = batch.offset[some] // block_size
            total += int(((batch.offset[some] + batch.length[some] - 1) // block_size - first + 1).sum())
        return total


def prepared(name: str, about: str, trace: ss.Trace, *, recorded: bool) -> Workload:
    """Load a trace of one volume and lay the hours over it."""
    return Workload(
        name=name,
        about=about,
        recorded=recorded,
        capacity=trace.capacity,
        capacity_known=trace.capacity_known,
        start_ns=trace.start_ns,
        instants=regular("1h", start_ns=trace.start_ns, last_ns=trace.start_ns + trace.last_ns),
        batches=tuple(
            Batch(*(np.ascontiguousarray(column) for column in batch[:4])) for batch in trace.batches()
        ),
    )


def week(scale: Scale, pattern: str, *, requests: int | None = None, lazy: bool = False) -> ss.Trace:
    """Make a week of requests on a volume of 64 GiB."""
    count = scale.requests if requests is None else requests
    common = {"capacity": "64GiB", "duration": "7d", "n_requests": count, "seed": 1, "lazy": lazy}
    if pattern == "uniform":
        return ss.synthetic.uniform(**common)
    if pattern == "zipf":
        return ss.synthetic.zipf(read_share=0.3, **common)
    log = Sequential(request_size="16KiB", region=(0, "1GiB"))
    data = Zipf(
        request_size={"4KiB": 6, "8KiB": 2, "16KiB": 1, "64KiB": 1},
        read_share=0.4,
        region=("1GiB", "63GiB"),
    )
    return ss.synthetic.mixture([(log, 1), (data, 3)], **common)


def synthetic(scale: Scale) -> Iterator[Workload]:
    """Yield the made traces."""
    about = {
        "uniform": "4 KiB writes, everywhere alike",
        "zipf": "4 KiB, 30 % reads, Zipf 0.99",
        "mixture": "a log of 16 KiB writes beside scattered 4 to 64 KiB, 30 % reads",
    }
    for name, text in about.items():
        yield prepared(name, f"{text}; 64 GiB, 7 days", week(scale, name), recorded=False)


def recorded() -> Iterator[Workload]:
    """Yield the recorded traces: the project's own, and public ones that SNAPSIM_PUBLIC_TRACES leads to."""
    own = ROOT / "data" / "traces" / "postgres.parquet"
    if own.exists():
        yield prepared("postgres", "PostgreSQL in a virtual machine", ss.read_trace(own), recorded=True)
    folder = os.environ.get("SNAPSIM_PUBLIC_TRACES")
    for name, (path, options) in _PUBLIC.items():
        if folder and (Path(folder) / path).exists():
            trace = ss.read_trace(Path(folder) / path, **options)
            yield prepared(name, f"public, {len(trace):,} requests", trace, recorded=True)
