"""Checked columns from whatever a caller has: lists, arrays, series, names."""

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from snapsim.errors import TraceError, UsageError
from snapsim.traces.readers.base import OP_NAMES
from snapsim.types import FLUSH, Batch, Int64Array, Op, UInt8Array
from snapsim.units import parse_size

_INT64_MAX = int(np.iinfo(np.int64).max)
_YEAR_FIRST = re.compile(r"\s*[12][0-9]{3}")

When = int | str | datetime | np.datetime64 | pd.Timestamp


def columns_from(
    time_ns: npt.ArrayLike,
    op: npt.ArrayLike,
    offset: npt.ArrayLike,
    length: npt.ArrayLike,
    *,
    volume: object = None,
    latency_ns: npt.ArrayLike | None = None,
    digest: npt.ArrayLike | None = None,
) -> tuple[Batch, tuple[str, ...]]:
    """Return checked columns of the right types in the caller's order, and the volumes' names.

    Raises
    ------
    TraceError
        Columns of different lengths, or a value that no request can have: the message names column and index.
    """
    codes, volumes = _volumes(volume)
    batch = Batch(
        time_ns=_integers("time_ns", time_ns),
        op=_ops(op),
        offset=_integers("offset", offset),
        length=_integers("length", length),
        volume=codes,
        latency_ns=None if latency_ns is None else _integers("latency_ns", latency_ns),
        digest=None if digest is None else np.array(digest, dtype=object),
    )
    rows = len(batch.time_ns)
    for name, column in zip(Batch._fields, batch, strict=True):
        if column is not None and len(column) != rows:
            msg = f"column {name} has {len(column)} values but time_ns {rows}: a column needs one per request"
            raise TraceError(msg)
    _refuse(batch.time_ns < 0, "time_ns", "is negative: times count from the trace's start", batch.time_ns)
    _refuse(batch.offset < 0, "offset", "is negative", batch.offset)
    _refuse(batch.length < 0, "length", "is negative", batch.length)
    _refuse(
        (batch.length == 0) & (batch.op != FLUSH),
        "length",
        "is zero, which only a FLUSH may have",
        batch.length,
    )
    _refuse(batch.offset > _INT64_MAX - batch.length, "length", "reaches past 2^63 bytes", batch.length)
    if batch.latency_ns is not None:
        unknown = "is negative: only -1 is allowed, where it is not known"
        _refuse(batch.latency_ns < -1, "latency_ns", unknown, batch.latency_ns)
    if batch.digest is not None:
        kinds = np.array([not isinstance(value, bytes) for value in batch.digest], bool)
        _refuse(kinds, "digest", "is not bytes", batch.digest)
    if codes is not None and len(volumes) <= 1:
        batch = batch._replace(volume=None)
    return batch, volumes


def check_capacity(batch: Batch, volumes: tuple[str, ...], capacities: tuple[int | None, ...]) -> None:
    """Raise TraceError for the first request that reaches beyond its volume."""
    for code, (name, size) in enumerate(zip(volumes, capacities, strict=True)):
        if size is not None:
            beyond = (batch.offset + batch.length > size) & (batch.length > 0)
            if batch.volume is not None:
                beyond &= batch.volume == code
            what = f"volume {name!r}" if name else "the volume"
            _refuse(
                beyond,
                "offset",
                f"plus length lies beyond the capacity of {what}, {size} bytes",
                batch.offset,
            )


def capacities_from(capacity: object, volumes: tuple[str, ...]) -> tuple[int | None, ...]:
    """Return one capacity per volume from None, one size for all, or a mapping from names.  [bytes]"""
    if capacity is None:
        return (None,) * len(volumes)
    if isinstance(capacity, Mapping):
        unknown = [name for name in capacity if str(name) not in volumes]
        if unknown:
            msg = f"capacity names volume {unknown[0]!r}, but the trace has {', '.join(map(repr, volumes))}"
            raise TraceError(msg)
        sizes = {str(name): parse_size(_plain(size)) for name, size in capacity.items()}
        return tuple(sizes.get(name) for name in volumes)
    return (parse_size(_plain(capacity)),) * len(volumes)


def unix_ns(when: When) -> int:
    """Return a point in time as Unix time.

    Parameters
    ----------
    when : int, str, datetime or Timestamp
        Nanoseconds since the Unix epoch, ISO 8601 text, or a point in time; UTC unless it says otherwise.

    Returns
    -------
    int
        Since 1970-01-01T00:00Z.  [ns]

    Raises
    ------
    UsageError
        It is not a point in time between the years 1678 and 2262.
    """
    try:
        if isinstance(when, int | np.integer) and not isinstance(when, bool | np.timedelta64):
            if abs(int(when)) > _INT64_MAX:
                raise ValueError  # noqa: TRY301
            return int(when)
        # pandas would read fractions and durations as nanoseconds, and not-a-time as the first of all times;
        # of text without a year in front it would guess the order of day and month, or take today
        point = isinstance(when, date | np.datetime64) or (isinstance(when, str) and _YEAR_FIRST.match(when))
        stamp = pd.Timestamp(when if point else "not a time")
        if pd.isna(stamp):
            raise ValueError  # noqa: TRY301
        stamp = stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp.tz_convert("UTC")
        return int(stamp.as_unit("ns").value)
    except (ValueError, TypeError, OverflowError) as error:
        msg = f'{when!r} is not a point in time: write it like "2026-03-01T12:00Z"'
        if not isinstance(when, str):  # a command line knows no numbers
            msg += ", or give whole nanoseconds since 1970"
        raise UsageError(msg) from error


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, np.integer) else value


def _integers(name: str, values: npt.ArrayLike) -> Int64Array:
    try:
        array = np.asarray(values)
        if array.dtype.kind == "O":  # integers beyond 63 bits, or a mixture
            _refuse(np.array([not isinstance(value, int | np.integer) for value in array], bool),
                    name, "is not a whole number", array)  # fmt: skip
            _refuse(np.array([abs(int(value)) > _INT64_MAX for value in array], bool),
                    name, "does not fit into 63 bits", array)  # fmt: skip
    except (ValueError, TypeError, OverflowError) as error:
        msg = f"column {name} is not an array of whole numbers: {error}"
        raise TraceError(msg) from error
    if array.ndim != 1:
        msg = f"column {name} has {array.ndim} dimensions: it needs to be one-dimensional"
        raise TraceError(msg)
    if array.dtype.kind == "f" and len(array):
        _refuse(~(np.abs(array) <= 2**53) | (array != np.trunc(array)),
                name, "is not an exact whole number", array)  # fmt: skip
    elif array.dtype.kind == "u":
        _refuse(array > _INT64_MAX, name, "does not fit into 63 bits", array)
    elif array.dtype.kind not in "iOf":
        msg = f"column {name} holds {array.dtype}, not whole numbers"
        raise TraceError(msg)
    return _owned(array.astype(np.int64, copy=False), values)


def _ops(values: npt.ArrayLike) -> UInt8Array:
    array = np.asarray(values)
    if array.dtype.kind in "UTOS" and array.ndim == 1 and not all(isinstance(value, int) for value in array):
        codes, names = pd.factorize(
            np.array([str(getattr(value, "name", value)) for value in array], dtype=object)
        )
        known = np.array([OP_NAMES.get(str(name).lower(), -1) for name in names] or [-1])
        ops = known[codes] if len(codes) else np.empty(0, np.int64)
    else:
        ops = _integers("op", array)
    _refuse(
        (ops < 0) | (ops > max(Op)), "op", "is no op: use 0 to 4 or names such as READ, WRITE, DISCARD", array
    )
    return _owned(ops.astype(np.uint8, copy=False), values)


def _volumes(volume: object) -> tuple[npt.NDArray[np.int32] | None, tuple[str, ...]]:
    if volume is None:
        return None, ("",)
    if isinstance(volume, str | int):
        return None, (str(volume),)
    given = np.asarray(volume, dtype=object)
    codes, names = pd.factorize(given)
    _refuse(codes < 0, "volume", "is missing", given)
    same, texts = pd.factorize(np.array([str(name) for name in names], dtype=object))  # 1 and "1" are one
    return same[codes].astype(np.int32), tuple(texts) or ("",)


def _owned(array: npt.NDArray[Any], given: object) -> npt.NDArray[Any]:
    """Return a copy unless the caller cannot reach the memory: a trace does not change."""
    return array.copy() if np.may_share_memory(array, np.asarray(given)) else array


def _refuse(bad: npt.NDArray[np.bool_], column: str, what: str, values: npt.NDArray[Any]) -> None:
    if bad.any():
        index = int(np.argmax(bad))
        value = values[index]
        msg = f"column {column}, index {index}: {value!s} {what}"
        raise TraceError(msg)
