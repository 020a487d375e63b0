"""Statistics of a trace: everything that can be asked about one before any snapshot is simulated."""

import numpy as np
import pandas as pd

from snapsim import schema
from snapsim.errors import UsageError
from snapsim.traces.activity import change_rate, change_rate_by_interval, working_set
from snapsim.traces.changes import needs_requests
from snapsim.traces.contents import Contents, contents
from snapsim.traces.figures import Figures, Summary
from snapsim.traces.sanity import Finding, sanity
from snapsim.traces.summary import BLOCK_SIZES, summarise
from snapsim.traces.trace import Trace
from snapsim.types import DISCARD, READ, WRITE, WRITE_ZEROES
from snapsim.units import parse_size

__all__ = [
    "BLOCK_SIZES",
    "Contents",
    "Figures",
    "Finding",
    "Summary",
    "alignment_histogram",
    "change_rate",
    "change_rate_by_interval",
    "contents",
    "overwrite_factor",
    "sanity",
    "summarise",
    "working_set",
]


def overwrite_factor(trace: Trace) -> float | None:
    """Return written bytes per distinct byte written.

    Parameters
    ----------
    trace : Trace
        A trace of one or several volumes.

    Returns
    -------
    float or None
        1 when nothing is written twice; None when nothing is written.
    """
    return summarise(trace).overwrite_factor


def alignment_histogram(trace: Trace, *, modulo: int | str = "4KiB") -> pd.DataFrame:
    """Count requests by their offset modulo a block size.

    A partition that does not begin on a block boundary shows as one residue that dominates: shifting the
    addresses by `modulo` minus that residue lines the blocks up.

    Parameters
    ----------
    trace : Trace
        A trace of one or several volumes.
    modulo : int or str
        The block size, at most 1 MiB.  [bytes]

    Returns
    -------
    pandas.DataFrame
        One row per residue that occurs, ascending: `residue_bytes`, `requests`, `reads`, `writes`.  FLUSH
        requests have no address and do not count.

    Raises
    ------
    UsageError
        `modulo` is 0 or more than 1 MiB.
    """
    needs_requests(trace, "an alignment histogram")
    size = parse_size(modulo)
    if not 0 < size <= 1 << 20:
        msg = f"alignment modulo {modulo!r} is out of range: it must lie between 1 byte and 1 MiB"
        raise UsageError(msg)
    counts = np.zeros((5, size), np.int64)
    for batch in trace.batches():
        residue = batch.offset % size
        for op in (READ, WRITE, DISCARD, WRITE_ZEROES):
            counts[op] += np.bincount(residue[batch.op == op], minlength=size)
    occurs = np.flatnonzero(counts.any(axis=0))
    frame = pd.DataFrame(
        {
            "residue_bytes": occurs.astype(np.int64),
            "requests": counts.sum(axis=0)[occurs],
            "reads": counts[READ, occurs],
            "writes": counts[WRITE, occurs] + counts[WRITE_ZEROES, occurs],
        },
    )
    schema.check_columns(frame.columns)
    return frame
