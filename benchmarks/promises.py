"""What the project promises about its speed, each beside what was measured."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

Rows = Sequence[Mapping[str, Any]]
Results = Mapping[str, Rows]


class Promise(NamedTuple):
    """One promise.

    Attributes
    ----------
    what : str
        The quantity.
    promised : str
        In words.
    measure : callable
        Results by benchmark in; what was measured, in words, and whether that keeps the promise.
    """

    what: str
    promised: str
    measure: Callable[[Results], tuple[str, bool]]


def _least(rows: Rows, key: str, limit: float) -> tuple[str, bool]:
    """Describe the range of a ratio's medians; every one has to reach the limit."""
    medians = [(row[key]["median"], row) for row in rows if key in row]
    if not medians:
        return "not measured", False
    (low, worst), (high, _) = min(medians, key=_first), max(medians, key=_first)
    name = f"{worst['trace']}, {worst['block_size'] // 1024} KiB blocks"
    return f"{low:.2f} to {high:.2f}; least: {name}", low >= limit


def _first(pair: tuple[float, Any]) -> float:
    return pair[0]


def _recorded(results: Results) -> Rows:
    return [row for row in results["lifetimes"] if row["recorded"]]


def _loop_on_traces(results: Results) -> tuple[str, bool]:
    return _least(_recorded(results), "to_loop", 0.75)


def _loop_on_random(results: Results) -> tuple[str, bool]:
    random = [row for row in results["lifetimes"] if row["trace"] == "uniform" and row["block_size"] == 4096]
    return _least(random, "to_loop", 0.85)


def _as_it_comes(results: Results) -> tuple[str, bool]:
    return _least(results["lifetimes"], "to_lru_as_it_comes", 10)


def _sized(results: Results) -> tuple[str, bool]:
    return _least(results["lifetimes"], "to_lru", 10)


def _by_block(results: Results) -> tuple[str, bool]:
    """Take the LRU's requests where nearly each of them has one block."""
    rows = [row | {"blocks": row.get("to_lru_by_block", row.get("to_lru"))} for row in results["lifetimes"]]
    return _least([row for row in rows if row["blocks"]], "blocks", 10)


def _per_second(results: Results, key: str, limit: float) -> tuple[str, bool]:
    (row,) = (row for row in results["store"] if row["key"] == key)
    median = row["per_second"]["median"]
    return f"{median / 1e6:.3g} M/s", median >= limit


def _import_memory(results: Results) -> tuple[str, bool]:
    (small,) = (row for row in results["store"] if row["key"] == "msr-import")
    (large,) = (row for row in results["store"] if row["key"] == "msr-large")
    mib = [row["peak_bytes"] / 2**20 for row in (small, large)]
    sizes = [row["bytes"] / 1e9 for row in (small, large)]
    text = f"{mib[0]:.0f} MiB for {sizes[0]:.2g} GB, {mib[1]:.0f} MiB for {sizes[1]:.2g} GB"
    return text, mib[1] < 1024 and mib[1] < mib[0] * 1.5


def _memory(results: Results) -> tuple[str, bool]:
    (row,) = (row for row in results["memory"] if row["footprint"].startswith("every other block"))
    return f"{row['bytes_per_block']:.3g} B", row["bytes_per_block"] <= 4.01


def _linear(results: Results) -> tuple[str, bool]:
    rows = [row for row in results["scaling"] if row["what"] == "lifetimes" and row["requests"] >= 10**6]
    costs = {row["requests"]: row["ns_per_request"]["median"] for row in rows}
    if len(costs) < 2:
        return "not measured", False
    text = ", ".join(
        f"{cost:.1f} ns at {requests:.0e}".replace("e+0", "e") for requests, cost in costs.items()
    )
    return text, max(costs.values()) == costs[min(costs)] or max(costs.values()) < 1.5 * min(costs.values())


def _import_time(results: Results) -> tuple[str, bool]:
    (row,) = (row for row in results["start"] if row["key"] == "import-snapsim")
    return f"{row['seconds']['median']:.3f} s", row["seconds"]["median"] < 0.3


def _simulate(results: Results) -> tuple[str, bool]:
    rows = [row for row in results["start"] if row["key"] == "later"]
    worst = max(rows, key=lambda row: row["seconds"]["median"])
    text = f"{worst['seconds']['median']:.2f} s ({worst['cpu_seconds']['median']:.2f} s of processor time)"
    return text, worst["seconds"]["median"] < 2


def _policies(results: Results, *ways: str) -> tuple[str, bool]:
    rows = [row for row in results["policies"] if row["way"] in ways]
    low, high = (pick(row["per_second"]["median"] for row in rows) for pick in (min, max))
    live = max(row["max_live"] for row in rows)
    return f"{low:.3g} to {high:.3g} a second, up to {live} live", low >= 200


def _replay(results: Results, key: str, *, way: str = "full") -> tuple[str, bool]:
    """Take every trace at chains of up to eight snapshots, all of the replay or a part."""
    rows = [row for row in results["replay"] if row["way"] == way and row["snapshots"] <= 8]
    return _least(rows, key, 2)


def _replay_linear(results: Results) -> tuple[str, bool]:
    rows = [row for row in results["replay"] if row["trace"] == "zipf, by length" and row["way"] == "full"]
    costs = {row["requests"]: row["ns_per_request"] for row in rows}
    text = ", ".join(f"{cost:.0f} ns at {n:.0e}".replace("e+0", "e") for n, cost in costs.items())
    return text, bool(costs) and costs[max(costs)] < 1.5 * costs[min(costs)]


PROMISES = (
    Promise(
        "lifetimes against the load-and-store loop, recorded traces",
        "0.75 or more",
        _loop_on_traces,
    ),
    Promise("the same, random 4 KiB writes", "0.85 or more", _loop_on_random),
    Promise(
        "lifetimes against libCacheSim's LRU as it comes, a request = an object",
        "10 times or more",
        _as_it_comes,
    ),
    Promise("the same, the LRU's hash table sized for the cache", "10 times or more", _sized),
    Promise("the same, the LRU going block by block, as lifetimes do", "10 times or more", _by_block),
    Promise("linear time", "equal cost per request up to 1e8", _linear),
    Promise("memory where leaves are half full", "4 B a block or less", _memory),
    Promise("Parquet, read", "50 M requests/s", lambda results: _per_second(results, "read", 50e6)),
    Promise(
        "MSR text into the store, one core",
        "5 M rows/s",
        lambda results: _per_second(results, "msr-import", 5e6),
    ),
    Promise("memory of an import", "under 1 GiB, whatever the size", _import_memory),
    Promise("import snapsim", "under 0.3 s", _import_time),
    Promise("snapsim simulate, a week, after the first call", "under 2 s", _simulate),
    Promise(
        "policies, a year of hourly instants, one core, versions shared or in layers",
        "200 a second",
        lambda results: _policies(results, "shared", "layers"),
    ),
    Promise(
        "the same, a store for each snapshot (dm-snapshot)",
        "200 a second",
        lambda results: _policies(results, "private"),
    ),
    Promise(
        "the same, deciding as borg 1.2, Proxmox, snapper and btrbk do",
        "200 a second",
        lambda results: _policies(results, "general"),
    ),
    Promise(
        "replay, I/O counts with tables, up to 8 snapshots, against libCacheSim's LRU as it comes",
        "2 times or more",
        lambda results: _replay(results, "to_lru_as_it_comes", way="counts"),
    ),
    Promise(
        "replay with latency, up to 8 snapshots, against libCacheSim's LRU as it comes",
        "2 times or more",
        lambda results: _replay(results, "to_lru_as_it_comes"),
    ),
    Promise(
        "the same, the LRU's hash table sized for the cache",
        "2 times or more",
        lambda results: _replay(results, "to_lru"),
    ),
    Promise("replay: linear time", "equal cost per request up to 1e7", _replay_linear),
)
