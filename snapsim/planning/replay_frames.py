"""The tidy frames of a replay."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from snapsim import schema
from snapsim.planning.replay_drive import Operation
from snapsim.planning.replay_tallies import AGES, PERCENTILES, Bursts, Intervals
from snapsim.types import Int64Array
from snapsim.units import MIB

__all__ = ["bursts_frame", "intervals_frame", "operations_frame", "ratio"]

Numbers = Int64Array | npt.NDArray[np.float64]


def ratio(over: Numbers, under: Numbers) -> npt.NDArray[np.float64]:
    """Divide; NaN where there is nothing to divide by: an amplification without requests is not known."""
    over, under = np.asarray(over, np.float64), np.asarray(under, np.float64)
    found = np.full(over.shape, np.nan)
    np.divide(over, under, out=found, where=under != 0)
    return found


def intervals_frame(intervals: Intervals, *, channels: int) -> pd.DataFrame:
    """Return a row an interval.

    Parameters
    ----------
    intervals : Intervals
        What was counted.
    channels : int
        Of the device; 0 without one.

    Returns
    -------
    DataFrame
        See `Replayed.frame`.
    """
    one = intervals
    guest = ("requests", "guest_read_bytes", "guest_written_bytes")
    beneath = ("read_bytes", "written_bytes", "metadata_read_bytes", "metadata_written_bytes", "flushes")
    columns: dict[str, object] = {
        "time": pd.to_datetime(one.time_ns(), unit="ns", utc=True).as_unit("ns"),
        **{name: one[name] for name in (*guest, *beneath, "copied_bytes", "copy_read_bytes")},
        "layers_per_read": ratio(one["lookups"], one["block_reads"]),
        "write_amplification": ratio(one["written_bytes"], one["guest_written_bytes"]),
        "read_amplification": ratio(one["read_bytes"], one["guest_read_bytes"]),
        "space_amplification": ratio(one["total"], one["live"]),
        "depth": one["depth"],
        "extents_per_mib": ratio(one["extents"] * MIB, one["extent_bytes"]),
        **{f"latency_{name}_ns": one.latency(name) for name in ("mean", *PERCENTILES, "max")},
    }
    if channels:
        space = channels * one.length_ns
        done = np.cumsum(one["done"])
        offered = np.maximum(one["offered_ns"] / space, one["limits_ns"] / one.length_ns)
        columns |= {
            "backlog": (np.cumsum(one["requests"]) - done).astype(np.float64),
            "utilisation": np.minimum(one["served_ns"] / space, 1.0),
            "saturated": offered > 1,
        }
    else:
        unknown = np.full(one.n, np.nan)
        columns |= {"backlog": unknown, "utilisation": unknown, "saturated": np.zeros(one.n, np.bool_)}
    return _checked(pd.DataFrame(columns))


def operations_frame(operations: list[Operation], *, start_ns: int) -> pd.DataFrame:
    """Return a row for each snapshot that is taken or deleted."""
    columns = dict(zip(Operation._fields, zip(*operations, strict=True), strict=True)) if operations else {}

    def times(name: str) -> pd.DatetimeIndex:
        since = np.array(columns.get(name, ()), np.int64)
        return pd.to_datetime(start_ns + since, unit="ns", utc=True).as_unit("ns")

    def numbers(name: str, dtype: type) -> npt.NDArray[np.generic]:
        return np.array(columns.get(name, ()), dtype)

    frame = pd.DataFrame(
        {
            "time": times("time_ns"),
            "action": pd.Series(list(columns.get("action", ())), dtype="object"),
            "taken": times("taken_ns"),
            "pause_ns": numbers("pause_ns", np.float64),
            **{
                name: numbers(name, np.int64)
                for name in ("moved_bytes", "read_bytes", "written_bytes", "extra_bytes")
            },
            "merge_duration_ns": numbers("merge_duration_ns", np.float64),
        }
    )
    return _checked(frame)


def bursts_frame(bursts: Bursts) -> pd.DataFrame:
    """Return a row for each bin of ages of the newest snapshot, up to the last that a request fell into."""
    n = int(np.flatnonzero(bursts.sums["requests"]).max(initial=-1)) + 1
    sums = {name: column[:n] for name, column in bursts.sums.items()}
    found = [bursts.latencies.get(place) for place in range(n)]
    unknown = float("nan")
    return _checked(
        pd.DataFrame(
            {
                "age_ns": AGES[:n],
                **sums,
                "write_amplification": ratio(sums["written_bytes"], sums["guest_written_bytes"]),
                "latency_mean_ns": np.array([one.mean if one else unknown for one in found], np.float64),
                "latency_p99_ns": np.array(
                    [one.percentile(99) if one else unknown for one in found], np.float64
                ),
            }
        )
    )


def _checked(frame: pd.DataFrame) -> pd.DataFrame:
    schema.check_columns(frame.columns)
    return frame
