"""Turn a finished recording into what the project keeps: the trace, its provenance, the allocated extents.

Run as ``python data/record/convert.py WORKDIR data/traces/NAME`` after record.sh.  Writes NAME with the
endings .parquet, .provenance.toml, .initial-map.json and .guest-packages.txt.  The times of a paced recording
become the represented ones.  Refuses a trace that differs by more than 1 % from what the guest's own kernel
counted (/sys/block/vda/stat, read after the root file system was made read-only), two reads and two flushes
of the emulator's own aside, and one whose digests are not those of the image that the recording left.
"""

import argparse
import json
import sys
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from snapsim.errors import TraceError
from snapsim.recording.checking import check_contents
from snapsim.traces import store
from snapsim.traces.formats import read_trace
from snapsim.traces.statistics import summarise
from snapsim.traces.trace import Trace

SECTOR = 512  # of /sys/block/*/stat, whatever the disk's own
TOLERANCE = 0.01
# what the emulator itself asks for before the guest's kernel starts, and after it
EMULATOR = {"reads": 2, "read_bytes": 2 * SECTOR, "flushes": 2}
LEFT = ("provenance.toml", "disk.log", "initial-map.json", "guest-packages.txt")


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


def represented_start(recording: Mapping[str, Any], start_ns: int) -> int:
    """Return the represented time of the first request.  [ns]

    The job said when the represented time began; what came before it is stretched alike.
    """
    before_ns = nanoseconds(recording["represented_from_host"]) - start_ns
    return nanoseconds(recording["represented_from"]) - int(recording["time_scale"]) * before_ns


def nanoseconds(when: datetime) -> int:
    """Turn a time of a provenance file, which has whole microseconds, into Unix time."""
    return (when - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000


def stamp(ns: int) -> str:
    """Write Unix time as TOML does."""
    return f"{datetime.fromtimestamp(ns // 10**9, UTC):%Y-%m-%dT%H:%M:%S}.{ns % 10**9 // 1000:06d}Z"


def trace_table(facts: Mapping[str, Any], counted: Mapping[str, int]) -> str:
    """Write the TOML tables ``[trace]`` and ``[guest_counted]``.

    Strings, numbers and lists of them are written alike in JSON and in TOML.
    """
    plain = {name: value for name, value in facts.items() if isinstance(value, str | int | float)}
    lines = ["", "[trace]                      # measured on the converted trace"]
    lines += [f"{name} = {json.dumps(value)}" for name, value in plain.items()]
    for name, table in facts.items():
        if name.startswith("distinct_") and isinstance(table, Mapping):
            lines += ["", f"[trace.{name}]             # by block size"]
            lines += [f"{key} = {json.dumps(value)}" for key, value in table.items()]
    lines += ["", "[guest_counted]              # the same by the guest's kernel, from the final stat"]
    lines += [f"{name} = {value}" for name, value in counted.items()]
    return "\n".join(lines) + "\n"


def compare_contents(trace: Trace, work: Path) -> str:
    """Compare the digests with the image that record.sh --keep left; return the TOML table that says so."""
    image, key = work / "disk.raw", work / "disk.log.key"
    if not image.exists():
        sys.exit(f"{image} is missing: record with --keep, so that the digests can be compared with it")
    check = check_contents(trace, image, key=bytes.fromhex(key.read_text()))
    if check.different:
        sys.exit(f"{check.text()}\nnothing written")
    lines = [
        "",
        "[contents_check]             # the digests, compared with the image that the recording left",
    ]
    names = ("equal", "different", "unknown", "untouched", "zeroes")
    return "\n".join([*lines, *(f"{name}_blocks_4096 = {getattr(check, name)}" for name in names)]) + "\n"


def main() -> None:
    """Convert, compare, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("workdir", type=Path, help="where record.sh left the recording")
    parser.add_argument("target", type=Path, help="path without suffix, e.g. data/traces/postgres")
    arguments = parser.parse_args()
    work, target = arguments.workdir, arguments.target

    for name in LEFT:
        if not (work / name).is_file():
            sys.exit(f"{work / name} is missing: give the WORKDIR of a recording that record.sh has finished")
    provenance = (work / "provenance.toml").read_text()
    told = tomllib.loads(provenance)
    if "final" not in told:
        sys.exit(
            f"{work}/provenance.toml has no final counts of the guest: see console.log, and record again"
        )
    try:
        trace = read_trace(work / "disk.log", format="nbdkit", timezone="UTC", source=target.name)
    except TraceError as error:
        sys.exit(str(error))
    real_ns = trace.span_ns
    scale = told["recording"]["time_scale"]
    if scale != 1:
        start_ns = represented_start(told["recording"], trace.start_ns)
        trace = trace.stretch(int(scale), start=start_ns)
        provenance = provenance.replace(
            "\n\n[parameters]", f"\nrepresented_start = {stamp(start_ns)}\n\n[parameters]", 1
        )
    summary = summarise(trace)
    counted = kernel_counts(told["final"]["stat"])
    for name, expected in counted.items():
        measured = getattr(summary, name)
        if abs(measured - expected) > TOLERANCE * expected + EMULATOR.get(name, 0):
            sys.exit(f"{name}: {measured} in the trace, {expected} by the guest's count; nothing written")

    facts = summary.to_dict() | {
        "span_ns": summary.span_ns,
        "real_seconds": real_ns / 1e9,
        "represented_seconds": trace.span_ns / 1e9,
        "fingerprint": trace.fingerprint,
    }
    checked = compare_contents(trace, work) if told["recording"].get("contents") else ""
    target.parent.mkdir(parents=True, exist_ok=True)
    store.write(trace, target.with_name(f"{target.name}.parquet"), compression="zstd")
    replace(
        target.with_name(f"{target.name}.provenance.toml"), provenance + trace_table(facts, counted) + checked
    )
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
