"""Turn results into the tables of README.md and docs/benchmarks.md: `python -m benchmarks.report`."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.promises import PROMISES, Results, Rows
from benchmarks.run import NAMES, RESULTS

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- benchmarks:begin -->", "<!-- benchmarks:end -->"
FIGURE = ROOT / "docs" / "images" / "benchmarks.svg"
Row = Mapping[str, Any]


def load(folder: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """Return the results that there are, by benchmark."""
    files = {name: folder / f"{name}.json" for name in NAMES}
    return {
        name: json.loads(file.read_text(encoding="utf-8")) for name, file in files.items() if file.exists()
    }


def rows_of(results: Mapping[str, Mapping[str, Any]]) -> Results:
    """Return the rows alone."""
    rows = {name: result["rows"] for name, result in results.items()}
    with_lru = [row for row in rows.get("lifetimes", ()) if "lru_per_second" in row]
    return rows | ({"lru": with_lru} if with_lru else {})


# the block of README.md


def summary(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the headline, what was promised and measured, and the machine."""
    rows = rows_of(results)
    return "\n\n".join((headline(rows), promises(rows), machine(results)))


def headline(rows: Results) -> str:
    """Return the one number that people remember."""
    named = [row for row in rows["lifetimes"] if row["trace"] == "postgres" and row["block_size"] == 65536]
    row = (named or rows["lifetimes"])[0]
    return (
        f"**{_millions(row['lifetimes_per_second'])} million requests a second on one core**: lifetimes of "
        f"{_size(row['block_size'])} blocks, counted from the recorded trace `{row['trace']}` "
        f"({row['requests']:,} requests of {row['blocks_per_request']} blocks on average)."
    )


def promises(rows: Results) -> str:
    """Return the table of promises."""
    lines = []
    for promise in PROMISES:
        measured, kept = promise.measure(rows)
        lines.append((promise.what, promise.promised, measured, "yes" if kept else "**no**"))
    return table(("what", "promised", "measured (medians)", "kept"), lines)


def machine(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return machine and circumstances, as they were captured."""
    texts = []
    for one in _distinct([result["machine"] for result in results.values()]):
        caches = ", ".join(f"{level} {size}" for level, size in one["caches"].items())
        versions = ", ".join(
            f"{title} {one[name]}"
            for name, title in (
                ("python", "Python"),
                ("numpy", "NumPy"),
                ("numba", "Numba"),
                ("pyarrow", "pyarrow"),
                ("libcachesim", "libcachesim"),
            )
            if one[name]
        )
        texts.append(
            f"{one['cpu']}, {one['cores']} cores ({caches}), {one['ram_bytes'] / 2**30:.0f} GiB of RAM, "
            f"{one['os']}, {one['kernel']}; {versions}."
        )
    runs = [result["run"] for result in results.values()]
    loads = [run[key] for run in runs for key in ("load_before", "load_after")]
    commits = ", ".join(_distinct([f"snapsim {run['snapsim']} at {run['commit']}" for run in runs]))
    dates = sorted(run["date"] for run in runs)
    when = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    command = "; ".join(f"`{command}`" for command in _distinct([run["command"] for run in runs]))
    texts.append(
        f"{commits}, {when}, with {command}. Load average during the runs: {min(loads)} to {max(loads)}."
    )
    return "Measured on: " + " ".join(texts)


# the block of docs/benchmarks.md


def details(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return every table."""
    rows = rows_of(results)
    return "\n\n".join((summary(results), *(section(name, rows[name]) for name in TABLES if name in rows)))


def section(name: str, rows: Rows) -> str:
    """Return the table of one benchmark, with its title."""
    title, columns = TABLES[name]
    lines = [tuple(column(row) for column in columns.values()) for row in rows]
    return f"### {title}\n\n{table(tuple(columns), lines)}"


def table(heads: tuple[str, ...], lines: list[tuple[str, ...]]) -> str:
    """Return a Markdown table; columns of numbers are right-aligned."""
    numeric = [
        all(line[i][:1].isdigit() or line[i] in {"", "–"} for line in lines) for i in range(len(heads))
    ]
    rule = ["---:" if right else "---" for right in numeric]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, rule, *lines))


def _distinct(values: list[Any]) -> list[Any]:
    return [value for i, value in enumerate(values) if value not in values[:i]]


def _size(size: int) -> str:
    for unit, factor in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size} B"


def _millions(spread: Mapping[str, float]) -> str:
    return f"{spread['median'] / 1e6:.3g}"


def _spread(value: Mapping[str, float] | None, factor: float = 1.0) -> str:
    """Write a median and its quartiles."""
    if value is None:
        return "–"
    median, low, high = (_number(value[name] * factor) for name in ("median", "low", "high"))
    return f"{median} ({low} to {high})"


def _number(value: float) -> str:
    """Write three digits, without an exponent where there are four or five before the point."""
    return f"{value:,.0f}" if 1000 <= value < 1e6 else f"{value:.3g}"


def _text(key: str) -> Callable[[Row], str]:
    return lambda row: str(row[key])


def _count(key: str) -> Callable[[Row], str]:
    return lambda row: f"{row[key]:,}"


def _of(key: str, factor: float = 1.0) -> Callable[[Row], str]:
    return lambda row: _spread(row.get(key), factor)


def _bytes(key: str) -> Callable[[Row], str]:
    return lambda row: _size(row[key]) if key in row else "–"


def _lazily(row: Row) -> str:
    if "peak" not in row:
        return "–"
    return f"{_size(row['peak'])}, of it {_size(row['before'])} before, {_size(row['table_bytes'])} table"


TABLES: Mapping[str, tuple[str, Mapping[str, Callable[[Row], str]]]] = {
    "lifetimes": (
        "Lifetimes, one core, hourly epochs",
        {
            "trace": _text("trace"),
            "block": _bytes("block_size"),
            "requests": _count("requests"),
            "blocks a request": _text("blocks_per_request"),
            "lifetimes [M requests/s]": _of("lifetimes_per_second", 1e-6),
            "load-and-store loop [M requests/s]": _of("loop_per_second", 1e-6),
            "times the loop": _of("to_loop"),
        },
    ),
    "lru": (
        "Lifetimes against libCacheSim's LRU, one core",
        {
            "trace": _text("trace"),
            "block": _bytes("block_size"),
            "requests": _count("lru_requests"),
            "LRU as it comes [M requests/s]": _of("lru_as_it_comes_per_second", 1e-6),
            "times that": _of("to_lru_as_it_comes"),
            "hash table sized [M requests/s]": _of("lru_per_second", 1e-6),
            "times that ": _of("to_lru"),
            "sized, block by block [M requests/s]": _of("lru_by_block_per_second", 1e-6),
            "times that  ": _of("to_lru_by_block"),
        },
    ),
    "scaling": (
        "Time by number of requests: random 4 KiB writes on 64 GiB",
        {
            "requests": _count("requests"),
            "what": _text("what"),
            "seconds": lambda row: (
                _spread(row["seconds"]) if isinstance(row["seconds"], dict) else f"{row['seconds']:.3g}"
            ),
            "ns a request": _of("ns_per_request"),
            "rounds": _text("rounds"),
            "peak memory": _lazily,
        },
    ),
    "memory": (
        "Memory of the block table",
        {
            "written": _text("footprint"),
            "volume": _bytes("capacity"),
            "block": _bytes("block_size"),
            "blocks written": _count("written_blocks"),
            "leaves": _bytes("leaf_bytes"),
            "directory": _bytes("directory_bytes"),
            "used part of the leaves": lambda row: f"{row['leaf_fill']:.2%}",
            "bytes a block": lambda row: f"{row['bytes_per_block']:,.4g}",
            "growth of the process": _bytes("resident_bytes"),
        },
    ),
    "store": (
        "Trace store and import",
        {
            "what": _text("what"),
            "requests": _count("requests"),
            "file": _bytes("bytes"),
            "M requests/s": _of("per_second", 1e-6),
            "times pyarrow alone": _of("to_pyarrow"),
            "peak memory": _bytes("peak_bytes"),
            "rounds": _text("rounds"),
        },
    ),
    "start": (
        "Start",
        {
            "what": _text("what"),
            "seconds": _of("seconds"),
            "processor seconds": _of("cpu_seconds"),
            "rounds": _text("rounds"),
        },
    ),
    "policies": (
        "Policies, one core: decisions and space over a year",
        {
            "policy, hourly snapshots": _text("policy"),
            "decides as": _text("tool"),
            "mechanism": _text("mechanism"),
            "instants": _count("instants"),
            "most live": _text("max_live"),
            "`evaluate` a second": _of("per_second"),
            "timeline alone": _of("timeline_per_second"),
            "`growth` alone, with its frames": _of("growth_per_second"),
        },
    ),
    "replay": (
        "Replay of qcow2 overlays on an NVMe device against libCacheSim's LRU, one core",
        {
            "trace": _text("trace"),
            "block": _bytes("block_size"),
            "requests": _count("requests"),
            "snapshots": _text("snapshots"),
            "what": _text("about"),
            "M requests/s": _of("per_second", 1e-6),
            "ns a request": lambda row: _number(row["ns_per_request"]),
            "LRU as it comes [M requests/s]": _of("lru_as_it_comes_per_second", 1e-6),
            "times that": _of("to_lru_as_it_comes"),
            "hash table sized [M requests/s]": _of("lru_per_second", 1e-6),
            "times that ": _of("to_lru"),
        },
    ),
}


def replaced(text: str, block: str) -> str:
    """Return a document with the marked block replaced; unchanged when it has no marks."""
    if BEGIN not in text:
        return text
    before, rest = text.split(BEGIN, 1)
    if END not in rest:
        raise ValueError(f"{BEGIN} has no {END} after it")
    return f"{before}{BEGIN}\n{block}\n{END}{rest.split(END, 1)[1]}"


def documents(results: Mapping[str, Mapping[str, Any]]) -> dict[Path, str]:
    """Return the block of each document."""
    return {ROOT / "README.md": summary(results), ROOT / "docs" / "benchmarks.md": details(results)}


def main() -> None:
    """Rewrite the marked blocks and draw the figure."""
    from benchmarks.figure import save

    results = load()
    missing = [name for name in NAMES if name not in results]
    if missing:
        raise SystemExit(f"no results of {', '.join(missing)}: run `python -m benchmarks.run` first")
    for path, block in documents(results).items():
        text = path.read_text(encoding="utf-8")
        path.write_text(replaced(text, block), encoding="utf-8")
    save(results["scaling"]["rows"], FIGURE)


if __name__ == "__main__":
    main()
