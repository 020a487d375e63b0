"""Traces side by side: what is different about their disks, in one table."""

import os
from collections.abc import Mapping
from typing import Any

import pandas as pd

from snapsim import schema
from snapsim.errors import UsageError
from snapsim.traces.activity import change_rate
from snapsim.traces.contents import contents
from snapsim.traces.formats import open_trace
from snapsim.traces.library import recordings
from snapsim.traces.summary import summarise
from snapsim.traces.trace import Trace
from snapsim.units import DAY, HOUR, MICROSECOND, MILLISECOND, MINUTE, SECOND, parse_duration

__all__ = ["compare_traces", "fitting_interval"]

Traces = Mapping[str, "Trace | str | os.PathLike[str]"]

_BLOCK = 4096
_INTERVALS = (
    MICROSECOND, MILLISECOND, 10 * MILLISECOND, 100 * MILLISECOND, SECOND, 5 * SECOND, 15 * SECOND, MINUTE,
    5 * MINUTE, 15 * MINUTE, HOUR, 6 * HOUR, DAY, 7 * DAY,
)  # fmt: skip
_AT_MOST = 200


def compare_traces(traces: Traces | None = None, *, every: int | str | None = None) -> pd.DataFrame:
    """Put traces side by side: size, pace, change rate, working set, overwriting, alignment, contents.

    Blocks are of 4 KiB.  Times of paced recordings are the represented ones: their rates are, too.

    Parameters
    ----------
    traces : mapping of str to Trace or path, optional
        By the name that each row gets; the recordings that come with snapsim by default.
    every : int or str, optional
        Interval over which changes are counted, for all of them; a usual one that cuts each into at most 200
        by default.  [ns]

    Returns
    -------
    pandas.DataFrame
        One row per trace: `trace`, `time_scale`, `span_ns`, `requests`, `write_share`, `written_bytes`,
        `discarded_bytes`, `working_set_bytes` (read or written), `written_set_bytes`, `overwrite_factor`,
        `interval_ns`, `change_rate` (distinct bytes per second, by intervals), `changed_share`
        (of the bytes written), `unaligned_share`; `zero_share`, `duplicate_share`, `unchanged_share` and
        `compressed_share`, missing where a trace has no digests that tell.

    Raises
    ------
    UsageError
        There is no trace, or `every` cuts one into too many intervals.
    TraceError, StoreError
        A file cannot be read.
    """
    given: Traces = recordings() if traces is None else traces
    if not given:
        msg = "there is nothing to compare: give at least one trace"
        raise UsageError(msg)
    rows = [
        _row(name, one if isinstance(one, Trace) else open_trace(one), every) for name, one in given.items()
    ]
    frame = pd.DataFrame(rows)
    schema.check_columns(frame.columns)
    return frame


def fitting_interval(trace: Trace) -> int:
    """Return the shortest usual interval that cuts a trace into no more than 200.  [ns]"""
    return next((one for one in _INTERVALS if trace.span_ns <= _AT_MOST * one), _INTERVALS[-1])


def _row(name: str, trace: Trace, every: int | str | None) -> dict[str, Any]:
    summary = summarise(trace)
    interval = fitting_interval(trace) if every is None else parse_duration(every)
    changes = change_rate(trace, every=interval, block_size=_BLOCK)
    changed = int(changes["changed_bytes"].sum())
    inside = contents(trace) if trace.info.contents else None
    shares = ("zero_share", "duplicate_share", "unchanged_share", "compressed_share")
    missing = float("nan")
    return {
        "trace": name,
        "time_scale": trace.info.time_scale,
        "span_ns": summary.span_ns,
        "requests": summary.requests,
        "write_share": summary.write_share,
        "written_bytes": summary.written_bytes,
        "discarded_bytes": summary.discarded_bytes,
        "working_set_bytes": summary.distinct_touched_bytes[_BLOCK],
        "written_set_bytes": summary.distinct_written_bytes[_BLOCK],
        "overwrite_factor": missing if summary.overwrite_factor is None else summary.overwrite_factor,
        "interval_ns": interval,
        "change_rate": changed / (len(changes) * interval / SECOND) if len(changes) else missing,
        # a block that is written in part counts as a whole one: no more than all is shown
        "changed_share": min(changed / summary.written_bytes, 1.0) if summary.written_bytes else missing,
        "unaligned_share": summary.unaligned_4k_share,
        **{
            share: missing if inside is None or (value := getattr(inside, share)) is None else value
            for share in shares
        },
    }
