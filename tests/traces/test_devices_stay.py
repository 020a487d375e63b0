"""What is no file is never replaced: as root, writing to a device's path would take its place."""

import os

import pytest

from snapsim.errors import StoreError, UsageError
from snapsim.traces.atomic import replacing
from snapsim.viz.figure import write_atomically


def test_a_pipe_is_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(StoreError, match="would be replaced"), replacing(pipe):
        pass
    with pytest.raises(UsageError, match="would be replaced"):
        write_atomically(pipe, b"")
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]
