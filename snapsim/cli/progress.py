"""Bars for what takes longer than a second; nothing where nobody watches."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["bar", "doing"]

Step = Callable[[int, int | None], None]

_DELAY = 1.0


@contextmanager
def bar(title: str, *, unit: str) -> Iterator[Step]:
    """Show how far something is, once it has taken a second, if standard error is a terminal.

    Parameters
    ----------
    title : str
        What is being done.
    unit : str
        What is counted; "B" for bytes.

    Yields
    ------
    callable
        To be called with (done, in all); when `done` gets smaller, the same thing is done once more.
    """
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from tqdm import tqdm

    with tqdm(
        desc=title,
        unit=unit if unit == "B" else f" {unit}",
        unit_scale=True,
        unit_divisor=1024 if unit == "B" else 1000,
        delay=_DELAY,
        leave=False,
        dynamic_ncols=True,
        file=sys.stderr,
    ) as shown:

        def step(done: int, total: int | None) -> None:
            if done < shown.n:
                shown.reset(total)
            shown.total = total
            shown.update(done - shown.n)

        yield step


@contextmanager
def doing(what: str) -> Iterator[None]:
    """Say what is being done while it lasts, if standard error is a terminal.

    Parameters
    ----------
    what : str
        For example "drawing".
    """
    if not sys.stderr.isatty():
        yield
        return
    print(f"{what} ...", end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
