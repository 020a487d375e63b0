"""What the two forms of Linux block traces share: which action to count, and the RWBS letters.

A request passes through several actions (queued, issued to the device, completed ...) and each is an event;
to count more than one of them is to count requests several times.
"""

from collections.abc import Callable, Iterable

import numpy as np

from snapsim.errors import UsageError
from snapsim.traces.readers.base import Options, ReadLog
from snapsim.traces.readers.tokens import BoolArray, Tokens
from snapsim.types import DISCARD, FLUSH, READ, WRITE, UInt8Array

CHOICES = ("Q", "D", "C")
"""Actions that may be counted, preferred first: queued by the file system, sent to the device, completed."""

ACTION_OPTION = (
    "which action to count: Q (queued), D (sent to the device), C (completed), or auto (first present)"
)

NONE, UNKNOWN = 254, 255
"""Ops that are no requests: neither data nor flush, and letters that nobody knows."""

_OPS = {"R": READ, "W": WRITE, "D": DISCARD, "F": FLUSH, "N": NONE}
_MODIFIERS = set("EFASMBPV")


def choose_action(options: Options, log: ReadLog, present: Callable[[], Iterable[set[str]]]) -> str:
    """Decide which action to count, and report the choice.

    Parameters
    ----------
    options : Options
        `action`: one of `CHOICES`, or "auto".
    log : ReadLog
        Takes the choice; a choice made for an earlier file of the same import stands.
    present : callable
        Yields the actions that occur, part of the trace by part; asked only when it has to be, and only until
        the first choice occurs.

    Returns
    -------
    str
        One of `CHOICES`.

    Raises
    ------
    UsageError
        Another action is asked for.
    """
    wanted = str(options.get("action", "auto"))
    if wanted.upper() in CHOICES:
        log.set_option("action", wanted.upper())
        return wanted.upper()
    if wanted.lower() != "auto":
        msg = f"action {wanted!r} cannot be counted: choose Q (queued), D (sent), C (completed) or auto"
        raise UsageError(msg)
    if "action" not in log.options:
        seen: set[str] = set()
        for part in present():
            seen |= part
            if CHOICES[0] in seen:
                break
        choice = next((action for action in CHOICES if action in seen), CHOICES[0])
        log.set_option("action", f"{choice} (first present of {', '.join(CHOICES)})")
    return log.options["action"][0]


def decode(letters: str) -> tuple[int, bool]:
    """Read RWBS letters: ``[F]`` preflush, one of ``R W D F N``, then modifiers.

    Parameters
    ----------
    letters : str
        For example "R", "RA" (read-ahead), "WS", "FWFS", "DS" (a discard; an action D is another thing).

    Returns
    -------
    op : int
        An op code, `NONE` or `UNKNOWN`.
    flushes : bool
        Whether the device's cache is flushed, before the data if there are any.

    Examples
    --------
    >>> decode("RA"), decode("FWFS"), decode("FN")
    ((0, False), (1, True), (254, True))
    """
    preflush = letters[:1] == "F" and letters[1:2] in _OPS
    body = letters[1:] if preflush else letters
    op = _OPS.get(body[:1], UNKNOWN)
    if not set(body[1:]) <= _MODIFIERS:
        return UNKNOWN, False
    return op, preflush or op == FLUSH


def rwbs(lines: Tokens, position: int) -> tuple[UInt8Array, BoolArray]:
    """Read a field of RWBS letters of every line.

    Parameters
    ----------
    lines : Tokens
        The lines.
    position : int
        Which token holds the letters.

    Returns
    -------
    op : uint8 array, shape (n_lines,)
        Op codes, `NONE` or `UNKNOWN`.
    flushes : bool array, shape (n_lines,)
        Which requests flush.
    """
    codes, texts = lines.distinct(position)
    decoded = [decode(text) for text in texts]
    ops = np.array([op for op, _ in decoded], np.uint8)
    flushes = np.array([flush for _, flush in decoded], np.bool_)
    return ops[codes], flushes[codes]
