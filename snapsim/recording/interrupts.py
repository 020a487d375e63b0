"""Ctrl-C as a request: what is under way is brought to its end first."""

import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Stop", "stopping"]


class Stop:
    """Whether somebody wants an end, and waiting for it.

    Attributes
    ----------
    wanted : int
        The signal that asked for an end; 0 when none did.
    """

    def __init__(self) -> None:
        self.wanted = 0
        self._hears, self._tells = os.pipe()

    def ask(self, signum: int = signal.SIGINT) -> None:
        """Want an end.

        Parameters
        ----------
        signum : int
            Why.
        """
        self.wanted = signum
        os.write(self._tells, b"!")

    def wait_until(self, when_ns: int) -> None:
        """Wait until then, or until somebody wants an end.

        Parameters
        ----------
        when_ns : int
            Unix time.  [ns]
        """
        while not self.wanted and (left := when_ns - time.time_ns()) > 0:
            # not longer at a time than a clock that is set takes to be noticed
            select.select([self._hears], [], [], min(left / 1e9, 10.0))

    def close(self) -> None:
        """Give the pipe back."""
        os.close(self._hears)
        os.close(self._tells)


@contextmanager
def stopping() -> Iterator[Stop]:
    """Let SIGINT and SIGTERM ask for an end; one that comes again interrupts as usual.

    Yields
    ------
    Stop
        What they ask.
    """
    stop = Stop()
    before: dict[int, Any] = {}

    def heard(signum: int, _frame: object) -> None:
        signal.signal(signum, before[signum])
        stop.ask(signum)

    for name in (signal.SIGINT, signal.SIGTERM):
        before[name] = signal.signal(name, heard)
    try:
        yield stop
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
        stop.close()
