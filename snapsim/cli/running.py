"""One run of the command line: what the shell gets back, whatever happens."""

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NoReturn

from snapsim.errors import SnapsimError

__all__ = ["main"]

FAILED, USAGE, NO_MEMORY = 1, 2, 4
INTERRUPTED, BROKEN_PIPE, TERMINATED = 130, 141, 143  # as shells report SIGINT, SIGPIPE and SIGTERM


class _Terminated(KeyboardInterrupt):
    """SIGTERM: like Ctrl-C, it unwinds the stack, so that nothing stays half-written."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `snapsim`.

    Parameters
    ----------
    arguments : sequence of str, optional
        Instead of those of the process.

    Returns
    -------
    int
        The exit status: see `snapsim --help`.
    """
    with _terminable():
        try:
            status = _command(sys.argv[1:] if arguments is None else list(arguments))
            sys.stdout.flush()
        except BrokenPipeError:
            _close_stdout()
            return BROKEN_PIPE
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  nobody else is there to catch it
            text, status = _told(error)
            _say(text)
        return status


def _command(arguments: list[str]) -> int:
    from snapsim.cli.app import app

    # the exceptions come here, and the status goes back to the caller
    result = app.meta(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    return result if isinstance(result, int) else 0


def _told(error: BaseException) -> tuple[str, int]:
    """Return the one line that people get, and the exit status."""
    from cyclopts import CycloptsError

    match error:
        case _Terminated():
            return "terminated", TERMINATED
        case KeyboardInterrupt():
            return "interrupted", INTERRUPTED
        case SnapsimError():
            return f"error: {error}", error.exit_status
        case CycloptsError():
            error.verbose = False
            return f"error: {_parse_error(error)}", USAGE
        case MemoryError():
            return f"error: this does not fit into memory{f': {error}' if str(error) else ''}", NO_MEMORY
        case OSError():
            return f"error: {os_error(error)}", FAILED
        case _:
            hint = "this is a bug in snapsim; --debug shows where"
            return f"error: {type(error).__name__}: {error} ({hint})", FAILED


def os_error(error: OSError) -> str:
    """Say what the operating system refused, and for which file."""
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason


def _parse_error(error: Exception) -> str:
    """Say what is wrong with the arguments, and where to look."""
    from cyclopts import UnusedCliTokensError

    chain = getattr(error, "command_chain", None) or ()
    where = " ".join(("snapsim", *chain, "--help"))
    text = str(error)
    if isinstance(error, UnusedCliTokensError):
        text = f"too many arguments: {' '.join(error.unused_tokens or ())}"
    text = text.replace("int|Literal[unlimited]", "a whole number, and it is not unlimited either")
    return f"{text.removesuffix('.')} (see {where})"


def _say(text: str) -> None:
    """Write one line to standard error, if there is one."""
    with suppress(OSError):
        print(f"snapsim: {' '.join(text.split())}", file=sys.stderr, flush=True)


def _close_stdout() -> None:
    """Point standard output nowhere, so that Python does not complain about it when it ends."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        sys.stdout = None


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM unwind the stack as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(_signum: int, _frame: object) -> NoReturn:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
