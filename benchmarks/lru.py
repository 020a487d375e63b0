"""libCacheSim's LRU on the same requests: the yardstick of trace-driven simulation."""

import time
from collections import OrderedDict
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.workloads import Workload

try:
    import libcachesim
except ImportError:  # it is in the extra `bench`
    libcachesim = None

_RECORD = np.dtype([("time", "<u4"), ("object", "<u8"), ("size", "<u4"), ("next", "<i8")])  # oracleGeneral
_CHECKED = 50_000


class LruRun:
    """An LRU cache of a tenth of the working set, fed from a binary file by compiled code.

    Parameters
    ----------
    workload : Workload
        Requests; those of length 0 are left out.
    block_size : int
        An object is a block.  [bytes]
    expanded : bool
        Whether a request becomes one object for each block that it touches; otherwise it is its first block.
    folder : Path
        Where the file goes.
    """

    def __init__(self, workload: Workload, block_size: int, *, expanded: bool, folder: Path) -> None:
        seconds, objects = _objects(workload, block_size, expanded=expanded)
        self.objects = objects
        self.capacity = max(len(np.unique(objects)) // 10, 1)
        records = np.zeros(len(objects), _RECORD)
        records["time"], records["object"], records["size"], records["next"] = seconds, objects + 1, 1, -1
        self._path = folder / "requests.oracleGeneral"
        records.tofile(self._path)
        self._check()

    def __call__(self) -> float:
        """Run all requests, the hash table sized for the cache (of 2**8 to 2**24 the fastest).  [s]"""
        seconds, _ = self._run(len(self.objects), hash_bits=self.capacity.bit_length() + 3)
        return seconds

    def as_it_comes(self) -> float:
        """Do the same with the package's own size of the hash table (2**24 buckets).  [s]"""
        seconds, _ = self._run(len(self.objects), hash_bits=24)
        return seconds

    def _run(self, requests: int, *, hash_bits: int) -> tuple[float, float]:
        reader = libcachesim.TraceReader(str(self._path), libcachesim.TraceType.ORACLE_GENERAL_TRACE)
        cache = libcachesim.LRU(self.capacity, hashpower=hash_bits)
        begin = time.process_time()
        misses, _ = cache.process_trace(reader, 0, requests)
        return time.process_time() - begin, misses

    def _check(self) -> None:
        """See that it is the LRU that everybody knows, on requests that it read right."""
        requests = min(_CHECKED, len(self.objects))
        cache: OrderedDict[int, None] = OrderedDict()
        misses = 0
        for one in self.objects[:requests].tolist():
            if one in cache:
                cache.move_to_end(one)
                continue
            misses += 1
            if len(cache) == self.capacity:
                cache.popitem(last=False)
            cache[one] = None
        _, found = self._run(requests, hash_bits=16)
        if round(found * requests) != misses:
            msg = f"libCacheSim misses {found * requests:.0f} times, an LRU cache {misses} times"
            raise AssertionError(msg)


def _objects(
    workload: Workload, block_size: int, *, expanded: bool
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    time_ns, offset, length = (
        np.concatenate([batch[column] for batch in workload.batches]) for column in (0, 2, 3)
    )
    some = length > 0
    seconds, first = time_ns[some] // 10**9, offset[some] // block_size
    if not expanded:
        return seconds, first
    counts = (offset[some] + length[some] - 1) // block_size - first + 1
    ends = np.cumsum(counts)
    within = np.arange(ends[-1]) - np.repeat(ends - counts, counts)
    return np.repeat(seconds, counts), np.repeat(first, counts) + within
