"""A folder in which file systems can be mounted from files, or a reason why not."""

import os
import tempfile
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from snapsim.errors import SnapsimError
from snapsim.units import GIB
from snapsim.validation.loop import loop_mount
from tests.conftest import skip_or_fail


@contextmanager
def mounting_folder(system):
    """Give a folder: in memory where there is such a place, since the file systems are flushed often."""
    reason = obstacle(system)
    if reason:
        skip_or_fail(reason)
    with temporary_folder() as folder:
        yield folder


@contextmanager
def temporary_folder():
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as name:
        yield Path(name)


@cache
def obstacle(system):
    """Say why a file system cannot be mounted here: not root, or a container without loop devices."""
    try:
        with temporary_folder() as folder, loop_mount(folder, system, size=GIB):
            return ""
    except SnapsimError as error:
        return f"a {system} in a file cannot be mounted here: {error}"
