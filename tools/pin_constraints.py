"""Write constraints.txt: the exact version of everything that any part of snapsim can bring in.

pip resolves the declared dependencies with all extras as if nothing were installed; only names and versions
are kept, no address.  It resolves for the oldest supported Python, 3.11.0: that needs the most packages, some
releases ask for a later patch of 3.11 than distributions ship, and what it gets installs on newer ones too.

Usage: ``python tools/pin_constraints.py`` on Python 3.11 (or ``make constraints``)
"""

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UNPINNED = {"libvirt"}  # libvirt-python is built against the system's libvirt and has to match its version
OLDEST_PYTHON = "3.11.0"
HEADER = f"""\
# Exact versions of everything that snapsim can bring in, extras included; every install goes through
# `-c constraints.txt`.  Written by `make constraints` for Python {OLDEST_PYTHON} and later.
"""


def resolve(requirements: list[str]) -> dict[str, str]:
    """Let pip choose a version for every package, without installing any."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        command += ["--python-version", OLDEST_PYTHON, "--only-binary", ":all:", "--target", folder]
        subprocess.run([*command, "--report", str(report), *requirements], check=True)
        installs = json.loads(report.read_text(encoding="utf-8"))["install"]
    packages = (install["metadata"] for install in installs)
    return {re.sub(r"[-_.]+", "-", package["name"]).lower(): package["version"] for package in packages}


def main() -> None:
    """Resolve, then replace constraints.txt in one step."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [line for extra in sorted(set(extras) - UNPINNED) for line in extras[extra]]
    pins = resolve([*project["dependencies"], *wanted])
    lines = [f"{name}=={version}\n" for name, version in sorted(pins.items())]
    target = ROOT / "constraints.txt"
    fresh = target.with_suffix(".tmp")
    fresh.write_text(HEADER + "".join(lines), encoding="utf-8")
    fresh.replace(target)
    print(f"{target.name}: {len(lines)} packages")


if __name__ == "__main__":
    main()
