"""The real borg 1.2: its pruning functions, in one child process of the system's Python."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from snapsim.types import Snapshot

RULES = ("secondly", "minutely", "hourly", "daily", "weekly", "monthly", "yearly")
CHILD = Path(__file__).with_name("borg_child.py")


class BorgCase(NamedTuple):
    """One question; settings as `oracles.borg.kept` takes them."""

    snapshots: Sequence[Snapshot]
    settings: Mapping[str, object]
    now_ns: int
    timezone: str = "UTC"


class RealBorg:
    """Borg's own decisions."""

    def prune(self, cases: Sequence[BorgCase]) -> list[set[int]]:
        """Return, for each case, the indices of the snapshots that borg keeps."""
        lines = "".join(json.dumps(_message(case)) + "\n" for case in cases)
        done = subprocess.run(
            ["/usr/bin/python3", CHILD],
            input=lines, env={**os.environ, "PYTHONPATH": "/usr/lib/python3/dist-packages"},
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            message = f"borg's functions could not be called: {done.stderr.strip()}"
            raise RuntimeError(message)
        return [set(json.loads(line)) for line in done.stdout.splitlines()]


def _message(case):
    args = {rule: case.settings.get(f"keep_{rule}") for rule in RULES}
    args["within"] = case.settings.get("keep_within")
    if "keep_last" in case.settings:  # borg stores both options in one place
        args["secondly"] = case.settings["keep_last"]
    return {
        "timezone": case.timezone,
        "now_us": case.now_ns // 1000,
        "archives": [[s.time_ns // 1000, bool(s.attributes.get("incomplete"))] for s in case.snapshots],
        "args": args,
    }
