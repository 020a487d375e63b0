"""Programs that believe it is another time, in another zone."""

import os
import subprocess
from collections.abc import Mapping, Sequence

from tests.differential.oracles.wall import seconds


def run_at(
    command: Sequence[str | os.PathLike],
    *,
    now_ns: int,
    timezone: str,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run a program whose clock stands still at an instant; return what it printed.

    Parameters
    ----------
    command : sequence of str
        The program, found on the PATH of `environment` or of this process, and its arguments.
    now_ns : int
        What its clock shows.  [ns since 1970, UTC]
    timezone : str
        Its zone (IANA).
    environment : Mapping, optional
        Variables to add or to replace.

    Returns
    -------
    str
        Its standard output and, after it, its standard error.

    Raises
    ------
    AssertionError
        The program failed; with all that it printed.
    """
    done = subprocess.run(
        ["faketime", "-f", str(seconds(now_ns)), *command],
        env={**os.environ, "LC_ALL": "C", "TZ": timezone, "FAKETIME_FMT": "%s", **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr
