"""Which parsed requests cannot be real: the same checks for every format, a column at a time."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from snapsim.traces.readers.base import BAD_OP, MAX_EXAMPLES, OUT_OF_RANGE, Raw, ReadLog
from snapsim.types import FLUSH, Int64Array
from snapsim.units import DAY

FARTHEST_NS = 366 * DAY
"""A stamp farther than this from the bulk of the others is garbage.  [ns]"""

_INT64_MAX = int(np.iinfo(np.int64).max)
_SAMPLE = 4096


class Fault(NamedTuple):
    """Rows that have the same thing wrong with them.

    Attributes
    ----------
    rows : bool array, shape (n,)
        Where.
    field : str
        The column, as `Raw` names it.
    reason : str
        What is wrong with its value, as the end of a sentence.
    """

    rows: npt.NDArray[np.bool_]
    field: str
    reason: str


class Clock:
    """Remembers when accepted requests were, so that garbage stamps stand out even in a short last chunk."""

    def __init__(self) -> None:
        self._recent = np.empty(0, np.int64)

    def garbage(self, time_ns: Int64Array) -> npt.NDArray[np.bool_]:
        """Return which stamps are more than `FARTHEST_NS` from the median of these and of recent ones."""
        if not len(time_ns):
            return np.zeros(0, bool)
        sample = np.concatenate([self._recent, time_ns[:: len(time_ns) // _SAMPLE + 1]])
        centre = int(np.partition(sample, len(sample) // 2)[len(sample) // 2])
        low, high = max(centre - FARTHEST_NS, OUT_OF_RANGE), min(centre + FARTHEST_NS, _INT64_MAX)
        garbage = (time_ns < low) | (time_ns > high)
        accepted = time_ns[~garbage]
        self._recent = accepted[:: len(accepted) // _SAMPLE + 1] if len(accepted) else self._recent
        return garbage


def faults(raw: Raw, capacity: Int64Array | int | None) -> Iterator[Fault]:
    """Yield what is wrong with requests, except for their times' distance from each other.

    Parameters
    ----------
    raw : Raw
        Parsed requests.
    capacity : int64 array of shape (n,), int or None
        Size of each request's volume; None when it is not known.  [bytes]

    Yields
    ------
    Fault
        Possibly without any row; a row may have several faults.
    """
    offset, length = raw.offset, raw.length
    yield Fault(raw.op == BAD_OP, "op", "is not a known op")
    for name in ("time_ns", "offset", "length"):
        yield Fault(getattr(raw, name) == OUT_OF_RANGE, name, "does not fit into 63 bits")
    yield Fault(offset < 0, "offset", "is negative")
    yield Fault(length < 0, "length", "is negative")
    yield Fault((length == 0) & (raw.op != FLUSH), "length", "is zero")
    yield Fault(offset > _INT64_MAX - np.maximum(length, 0), "length", "reaches past 2^63 bytes")
    if capacity is not None:
        beyond = (length > 0) & (offset > capacity - np.minimum(length, capacity))
        yield Fault(
            beyond | ((length > 0) & (length > capacity)), "offset", "plus length lies beyond the capacity"
        )


def validated(raw: Raw, log: ReadLog, clock: Clock, capacity: Int64Array | int | None) -> Raw:
    """Return the requests that can be real; report the others.

    Parameters
    ----------
    raw : Raw
        Parsed requests.
    log : ReadLog
        Gets the damaged lines.
    clock : Clock
        Of this import.
    capacity : int64 array of shape (n,), int or None
        Size of each request's volume.  [bytes]

    Returns
    -------
    Raw
        `raw` itself when nothing is wrong.
    """
    good = np.ones(len(raw.time_ns), bool)
    for fault in faults(raw, capacity):
        _report(raw, fault, good, log)
    rows = np.flatnonzero(good)
    garbage = np.zeros(len(good), bool)
    garbage[rows] = clock.garbage(raw.time_ns[rows] if len(rows) < len(good) else raw.time_ns)
    _report(raw, Fault(garbage, "time", "ns is more than a year away from the times around it"), good, log)
    return raw if good.all() else raw.take(good)


def _report(raw: Raw, fault: Fault, good: npt.NDArray[np.bool_], log: ReadLog) -> None:
    """Report the rows of a fault that were good so far, with their values, and mark them."""
    if not fault.rows.any():
        return
    rows = np.flatnonzero(fault.rows & good)
    good[rows] = False
    values = getattr(raw, "time_ns" if fault.field == "time" else fault.field)
    field = fault.field.removesuffix("_ns")
    for row in rows[:MAX_EXAMPLES]:
        value = "the value" if values[row] == OUT_OF_RANGE else str(values[row])
        log.drop(raw.line[row], field, f"{value} {fault.reason}")
    log.drop_rows(raw.line[rows[MAX_EXAMPLES:]], field, fault.reason)
