"""Run the programs that real systems are driven with."""

import re
import shutil
import subprocess

from snapsim.errors import SnapsimError

__all__ = ["PACKAGES", "need", "qemu_version", "run"]

PACKAGES = {
    "qemu-img": "qemu-utils",
    "qemu-io": "qemu-utils",
    "qemu-storage-daemon": "qemu-system-common",
    "strace": "strace",
    "btrfs": "btrfs-progs",
    "mkfs.btrfs": "btrfs-progs",
    "mkfs.xfs": "xfsprogs",
    "filefrag": "e2fsprogs",
}
"""The Debian packages that bring them."""

_FAILURE = re.compile("fail|error|no space|denied|cannot|could not", re.IGNORECASE)


def need(*programs: str) -> None:
    """See that programs are there.

    Parameters
    ----------
    *programs : str
        Their names.

    Raises
    ------
    SnapsimError
        One is missing; the message says which package has it.
    """
    for program in programs:
        if shutil.which(program) is None:
            package = PACKAGES.get(program, program)
            raise SnapsimError(
                f"the program {program} is missing: install it (on Debian and Ubuntu: the package {package})"
            )


def run(*command: str, text: str | None = None) -> str:
    """Run a program to its end.

    Parameters
    ----------
    *command : str
        The program and its arguments.
    text : str, optional
        Its input.

    Returns
    -------
    str
        Its output.

    Raises
    ------
    SnapsimError
        It is missing, or it failed; the message has what it said.
    """
    need(command[0])
    done = subprocess.run(command, input=text, text=True, capture_output=True, check=False)
    if done.returncode:
        raise SnapsimError(
            f"{' '.join(command[:3])} ended with status {done.returncode}: "
            f"{_reason(done.stderr, done.stdout)}"
        )
    return done.stdout


def _reason(*outputs: str) -> str:
    """Return the line that says why a program failed: qemu-io says it among its prompts."""
    lines = [line.replace("qemu-io>", "").strip() for output in outputs for line in output.splitlines()]
    said = [line for line in lines if line]
    found = [line for line in said if _FAILURE.search(line)]
    return found[0] if found else said[-1] if said else "no message"


def qemu_version() -> str:
    """Return QEMU's version, as it says it."""
    return run("qemu-img", "--version").splitlines()[0].split()[2]
