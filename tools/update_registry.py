"""Bring the recordings in data/registry.toml up to date with data/traces/.

    .venv/bin/python tools/update_registry.py

Each recording gets the figures of its trace and the title of its provenance; `about`, what is in it in one or
two sentences, stays as it was: write it by hand for a new one.  What comes after them stays too.
"""

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

import snapsim as ss

FOLDER = Path(__file__).resolve().parents[1] / "data"
REGISTRY = FOLDER / "registry.toml"
END = "# ----"  # the line that the public sets begin with


def entry(name: str, about: str) -> str:
    """Return the TOML table of one recording."""
    provenance = f"traces/{name}.provenance.toml"
    told = tomllib.loads((FOLDER / provenance).read_text())["recording"]
    trace = ss.open_trace(FOLDER / "traces" / f"{name}.parquet")
    summary = ss.statistics.summarise(trace)
    has = [("discards", summary.discards > 0), ("digests", bool(trace.info.contents))]
    values: dict[str, Any] = {
        "title": told["title"],
        "about": about,
        "file": f"traces/{name}.parquet",
        "provenance": provenance,
        "initial_map": f"traces/{name}.initial-map.json",
        "time_scale": float(trace.info.time_scale),
        "span_seconds": summary.span_seconds,
        "requests": summary.requests,
        "written_bytes": summary.written_bytes,
        "has": [feature for feature, there in has if there],
        "licence": told["licence"],
        "fingerprint": trace.fingerprint,
    }
    # strings, numbers and lists of them are written alike in JSON and in TOML
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
    return "\n".join([f"[recordings.{name}]", *lines]) + "\n\n"


def main() -> int:
    """Rewrite the recordings; say which of them lack a description."""
    text = REGISTRY.read_text()
    before = tomllib.loads(text).get("recordings", {})
    start = text.index("[recordings.", text.index("\n\n"))
    stop = text.index(END, start)
    names = sorted(path.stem for path in (FOLDER / "traces").glob("*.parquet"))
    abouts = {name: before.get(name, {}).get("about", "") for name in names}
    part = REGISTRY.with_name(f"{REGISTRY.name}.part")
    part.write_text(text[:start] + "".join(entry(name, abouts[name]) for name in names) + text[stop:])
    part.replace(REGISTRY)
    lacking = [name for name in names if not abouts[name]]
    if lacking:
        print(f"write `about` for {', '.join(lacking)} in {REGISTRY.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
