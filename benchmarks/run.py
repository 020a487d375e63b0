"""Run benchmarks and keep what they measured: `python -m benchmarks.run [NAME ...]`."""

import argparse
import importlib
import json
import time
from pathlib import Path

from benchmarks.machine import describe, describe_run, load
from benchmarks.measure import FULL, SMOKE, Scale

NAMES = ("lifetimes", "scaling", "memory", "store", "start", "policies", "replay")
RESULTS = Path(__file__).resolve().parent / "results"


def measure(name: str, scale: Scale) -> dict[str, object]:
    """Run one benchmark; return its rows with the machine and the run."""
    run = describe_run()
    begin = time.monotonic()
    rows = importlib.import_module(f"benchmarks.bench_{name}").run(scale)
    run |= {"load_after": load(), "seconds": round(time.monotonic() - begin), "scale": scale.name}
    return {"benchmark": name, "machine": describe(), "run": run, "rows": rows}


def write(result: dict[str, object], folder: Path) -> Path:
    """Keep a result, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{result['benchmark']}.json"
    partial = target.with_suffix(".tmp")
    partial.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return partial.replace(target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all unless given")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: only to see that everything works")
    parser.add_argument("--results", type=Path, help="folder for the results (benchmarks/results)")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(NAMES)
    if unknown:
        parser.error(f"{unknown.pop()} is no benchmark: choose from {', '.join(NAMES)}")
    if arguments.smoke and arguments.results is None:
        parser.error("--smoke needs --results: it must not replace what was measured in full")
    for name in arguments.names or NAMES:
        print(f"{name} ...", end=" ", flush=True)
        result = measure(name, SMOKE if arguments.smoke else FULL)
        write(result, arguments.results or RESULTS)
        print(f"{result['run']['seconds']} s", flush=True)


if __name__ == "__main__":
    main()
