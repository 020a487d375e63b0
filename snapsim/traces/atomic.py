"""Writing so that a file or folder is either whole or not there, whatever happens."""

import os
import secrets
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from snapsim.errors import StoreError


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Give a folder beside `target`; what is put there under the name of `target` takes its place at the end.

    When anything fails, the process is interrupted or asked to terminate, `target` stays as it was and the
    folder is removed.

    Parameters
    ----------
    target : Path
        A file or folder to make or to replace.

    Yields
    ------
    Path
        The folder, on the same file system.

    Raises
    ------
    StoreError
        The folder of `target` cannot be written to, or `target` is a device.
    """
    if target.exists() and not (target.is_file() or target.is_dir()):
        msg = f"{target} is neither a file nor a folder, and would be replaced: name a file"
        raise StoreError(msg)
    folder = target.parent / f".{target.name}.partial-{os.getpid()}-{secrets.token_hex(4)}"
    with terminable():
        try:
            folder.mkdir()
        except OSError as error:
            msg = f"{target} cannot be written: {error.strerror or error}"
            raise StoreError(msg) from error
        try:
            yield folder
            _swap(folder / target.name, target, folder / "replaced")
        except OSError as error:
            msg = f"{target} cannot be written: {error.strerror or error}"
            raise StoreError(msg) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _swap(new: Path, target: Path, aside: Path) -> None:
    if new.is_dir() or target.is_dir():  # a folder is not replaced in one step: it goes aside first
        if target.exists():
            target.rename(aside)
        try:
            new.rename(target)
        except BaseException:
            if aside.exists():
                aside.rename(target)
            raise
    else:
        new.replace(target)


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM unwind the stack, so that clean-up runs, unless the program handles it already."""
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
    ):
        yield
        return

    def leave(signum: int, _frame: object) -> NoReturn:
        raise SystemExit(128 + signum)

    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
