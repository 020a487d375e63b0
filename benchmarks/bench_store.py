"""The trace store, and import: Parquet there and back, MSR text in."""

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

import snapsim as ss
from benchmarks import child
from benchmarks.measure import Scale, interleaved, rate, ratio
from benchmarks.workloads import week
from snapsim.traces import store

_FILETIME_2007 = 128_166_372_000_000_000
_ROWS = 1 << 20


def run(scale: Scale) -> list[dict[str, Any]]:
    """Return a row for each operation."""
    with tempfile.TemporaryDirectory(prefix="snapsim-bench-") as folder:
        return [*_parquet(Path(folder), scale), *_msr(Path(folder), scale)]


def _parquet(folder: Path, scale: Scale) -> list[dict[str, Any]]:
    trace = week(scale, "mixture")
    path = trace.save(folder / "trace.parquet")
    assert ss.read_trace(path).fingerprint == ss.open_trace(path).fingerprint == trace.fingerprint

    def write() -> float:
        begin = time.perf_counter()
        store.write(trace, folder / "again.parquet")
        return time.perf_counter() - begin

    def read() -> float:
        begin = time.perf_counter()
        store.read(path)
        return time.perf_counter() - begin

    def stream() -> float:
        begin = time.perf_counter()
        requests = sum(len(batch.op) for batch in store.open(path).batches())
        seconds = time.perf_counter() - begin
        assert requests == len(trace)
        return seconds

    def arrow() -> float:
        begin = time.perf_counter()
        table = pq.read_table(path, columns=["time_ns", "op", "offset", "length"])
        [column.to_numpy() for column in table.columns]
        return time.perf_counter() - begin

    run_by_name = {"write": write, "read": read, "stream": stream, "pyarrow": arrow}
    seconds = interleaved(run_by_name, rounds=scale.rounds)
    common = {"requests": len(trace), "bytes": path.stat().st_size, "rounds": scale.rounds}
    titles = {
        "write": "Parquet, write",
        "read": "Parquet, read into memory",
        "stream": "Parquet, streamed in batches",
        "pyarrow": "the same file with pyarrow alone",
    }
    return [
        {
            "what": title,
            "key": name,
            **common,
            "per_second": rate(len(trace), seconds[name]),
            "to_pyarrow": ratio(seconds["pyarrow"], seconds[name]),
        }
        for name, title in titles.items()
    ]


def _msr(folder: Path, scale: Scale) -> list[dict[str, Any]]:
    """Import on one core; the longer file shows that memory does not grow with it."""
    small, large = folder / "small.csv", folder / "large.csv"
    write_msr(small, scale.csv_bytes // 4)
    write_msr(large, scale.csv_bytes)
    target = folder / "imported.parquet"

    def imported(source: Path) -> dict[str, Any]:
        return child.measured("import_msr", source=str(source), target=str(target))

    results: dict[str, list[dict[str, Any]]] = {"import": [], "pandas": [], "pyarrow": [], "large": []}

    def task(name: str, what: str, **arguments: str) -> float:
        found = child.measured(what, **arguments)
        results[name].append(found)
        return found["seconds"]

    seconds = interleaved(
        {
            "import": lambda: task("import", "import_msr", source=str(small), target=str(target)),
            "pandas": lambda: task("pandas", "pandas_csv", source=str(small)),
            "pyarrow": lambda: task("pyarrow", "arrow_csv", source=str(small)),
        },
        rounds=min(scale.rounds, 5),
    )
    results["large"] = [imported(large) for _ in range(min(scale.rounds, 3))]
    seconds["large"] = [one["seconds"] for one in results["large"]]
    shutil.rmtree(target, ignore_errors=True)
    requests = {results[name][0]["requests"] for name in ("import", "pandas", "pyarrow")}
    assert len(requests) == 1, f"the parsers disagree about the number of rows: {requests}"
    titles = {
        "import": ("MSR text into the store, one core", small),
        "large": ("MSR text into the store, one core", large),
        "pandas": ("the same text with pandas.read_csv, parsed only", small),
        "pyarrow": ("the same text with pyarrow.csv, one thread, parsed only", small),
    }
    return [
        {
            "what": title,
            "key": f"msr-{name}",
            "requests": results[name][0]["requests"],
            "bytes": file.stat().st_size,
            "rounds": len(seconds[name]),
            "per_second": rate(results[name][0]["requests"], seconds[name]),
            "peak_bytes": max(one["peak"] for one in results[name]),
        }
        for name, (title, file) in titles.items()
    ]


def write_msr(path: Path, size: int) -> None:
    """Write a file of the form of the MSR Cambridge traces, of about so many bytes."""
    rng = np.random.default_rng(1)
    ticks = _FILETIME_2007
    columns = ["time", "host", "disk", "type", "offset", "size", "response"]
    options = csv.WriteOptions(include_header=False, quoting_style="none")
    with pa.OSFile(str(path), "wb") as file:
        while file.tell() < size:
            n = min(_ROWS, (size - file.tell()) // 58 + 1)  # 58 bytes a row
            times = ticks + np.cumsum(rng.integers(1, 300_000, n))
            ticks = int(times[-1])
            arrays = [
                pa.array(times),
                pa.array(["srv"]).take(pa.array(np.zeros(n, np.int64))),
                pa.array(np.ones(n, np.int64)),
                pa.array(["Read", "Write"]).take(pa.array(rng.integers(0, 2, n))),
                pa.array(rng.integers(0, 1 << 24, n) * 4096),
                pa.array(rng.integers(1, 16, n) * 4096),
                pa.array(rng.integers(100, 100_000, n)),
            ]
            csv.write_csv(pa.table(arrays, names=columns), file, options)
