"""Turn a finished recording into what the project keeps: the trace, its provenance, the allocated extents.

Run as ``python data/record/convert.py WORKDIR data/traces/NAME`` after record_postgres.sh.  Writes NAME with
the endings .parquet, .toml, .initial-map.json and .guest-packages.txt.  Refuses a trace that differs by more
than 1 % from what the guest's own kernel counted (/sys/block/vda/stat, read after the root file system was
made read-only).
"""

import argparse
import json
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

from snapsim.traces import store
from snapsim.traces.formats import read_trace
from snapsim.traces.statistics import summarise

SECTOR = 512  # of /sys/block/*/stat, whatever the disk's own
TOLERANCE = 0.01


def kernel_counts(stat: list[int]) -> dict[str, int]:
    """Name the figures of Linux's Documentation/block/stat.rst that a trace can be held against.

    The kernel counts WRITE_ZEROES as writes, and so it counts flushes that carry no data: numbers of writes
    cannot be compared, bytes can.
    """
    return {
        "reads": stat[0],
        "read_bytes": stat[2] * SECTOR,
        "written_bytes": stat[6] * SECTOR,
        "discards": stat[11],
        "discarded_bytes": stat[13] * SECTOR,
        "flushes": stat[15],
    }


def trace_table(measured: Mapping[str, int], counted: Mapping[str, int], more: Mapping[str, object]) -> str:
    """Write the TOML table ``[trace]``; strings and integers are written alike in JSON and in TOML."""
    lines = ["", "[trace]                      # measured on the converted trace"]
    lines += [f"{name} = {json.dumps(value)}" for name, value in {**measured, **more}.items()]
    lines += ["", "[guest_counted]              # the same by the guest's kernel, from the final stat"]
    lines += [f"{name} = {value}" for name, value in counted.items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Convert, compare, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("workdir", type=Path, help="where record_postgres.sh left the recording")
    parser.add_argument("target", type=Path, help="path without suffix, e.g. data/traces/postgres")
    arguments = parser.parse_args()
    work, target = arguments.workdir, arguments.target

    provenance = (work / "provenance.toml").read_text()
    trace = read_trace(work / "disk.log", format="nbdkit", timezone="UTC")
    summary = summarise(trace)
    counted = kernel_counts(tomllib.loads(provenance)["final"]["stat"])
    measured = {name: getattr(summary, name) for name in counted}
    for name, expected in counted.items():
        if abs(measured[name] - expected) > TOLERANCE * expected:
            sys.exit(
                f"{name}: {measured[name]} in the trace, {expected} by the guest's count; nothing written"
            )

    more = {
        "requests": summary.requests,
        "writes": summary.writes,
        "write_zeroes": summary.write_zeroes,
        "zeroed_bytes": summary.zeroed_bytes,
        "distinct_written_bytes_4096": summary.distinct_written_bytes[4096],
        "distinct_touched_bytes_4096": summary.distinct_touched_bytes[4096],
        "span_ns": summary.span_ns,
        "out_of_order": summary.out_of_order,
        "dropped_lines": summary.dropped_lines,
        "fingerprint": trace.fingerprint,
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    store.write(trace, target.with_name(f"{target.name}.parquet"), compression="zstd")
    replace(target.with_name(f"{target.name}.toml"), provenance + trace_table(measured, counted, more))
    for name in ("initial-map.json", "guest-packages.txt"):
        replace(target.with_name(f"{target.name}.{name}"), (work / name).read_text())
    sys.stdout.write(f"{trace}\n")


def replace(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(text)
    part.replace(path)


if __name__ == "__main__":
    main()
