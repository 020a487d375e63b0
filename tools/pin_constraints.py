"""Write constraints.txt: the exact version of everything that any part of snapsim can bring in.

pip resolves the package with all its extras as if nothing were installed; only names and versions
are kept, no address.  Run it on the oldest supported Python (3.11): it needs the most packages, and the
versions that it gets install on the newer ones too.

Usage: ``python tools/pin_constraints.py`` (or ``make constraints``)
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
HEADER = """\
# Exact versions of everything that `pip install .` can bring in, extras included.
# Written by `make constraints` on Python {python}; every install goes through `-c constraints.txt`.
"""


def resolve(extras: list[str]) -> dict[str, str]:
    """Let pip choose a version for every package, without installing any."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        subprocess.run([*command, "--report", str(report), f"{ROOT}[{','.join(extras)}]"], check=True)
        installs = json.loads(report.read_text(encoding="utf-8"))["install"]
    packages = (install["metadata"] for install in installs)
    return {re.sub(r"[-_.]+", "-", package["name"]).lower(): package["version"] for package in packages}


def main() -> None:
    """Resolve, then replace constraints.txt in one step."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins = resolve(sorted(set(project["optional-dependencies"]) - UNPINNED))
    del pins[project["name"]]
    lines = [f"{name}=={version}\n" for name, version in sorted(pins.items())]
    target = ROOT / "constraints.txt"
    fresh = target.with_suffix(".tmp")
    fresh.write_text(
        HEADER.format(python=f"{sys.version_info.major}.{sys.version_info.minor}") + "".join(lines)
    )
    fresh.replace(target)
    print(f"{target.name}: {len(lines)} packages")


if __name__ == "__main__":
    main()
