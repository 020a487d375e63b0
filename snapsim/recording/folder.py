"""A recording that is being made: a folder with a state that is always whole, and one recorder at a time."""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from snapsim.errors import RecordingError

STATE = "recording.json"
_LOCK = "lock"


def write_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Replace the state of a recording, whole or not at all, and see it on the disk.

    Parameters
    ----------
    folder : Path
        The recording.
    state : Mapping
        What JSON can hold.
    """
    part = folder / f".{STATE}.part"
    with part.open("w", encoding="utf-8") as file:
        json.dump(state, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    part.replace(folder / STATE)


def read_state(folder: Path) -> dict[str, Any]:
    """Read the state of a recording.

    Parameters
    ----------
    folder : Path
        The recording.

    Returns
    -------
    dict
        What `write_state` wrote.

    Raises
    ------
    RecordingError
        The folder is no recording.
    """
    try:
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not JSON"
        msg = f"{folder} is no recording: {STATE} in it cannot be read ({reason})"
        raise RecordingError(msg) from None
    if not isinstance(state, dict) or "kind" not in state:
        msg = f"{folder} is no recording: {STATE} in it says nothing about one"
        raise RecordingError(msg)
    return state


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a recording, so that only one recorder works on it; a killed one lets go.

    Parameters
    ----------
    folder : Path
        The recording.

    Raises
    ------
    RecordingError
        Another process holds it.
    """
    with (folder / _LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            msg = f"{folder} is in use: another recorder works on it"
            raise RecordingError(msg) from None
        yield
