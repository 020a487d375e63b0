"""The vocabulary that every part shares: op codes, request batches, snapshots, decisions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]
UInt8Array = npt.NDArray[np.uint8]


class Op(IntEnum):
    """What a request does.  The codes are stored in traces: they never change."""

    READ = 0
    WRITE = 1
    DISCARD = 2
    WRITE_ZEROES = 3
    FLUSH = 4


READ, WRITE, DISCARD, WRITE_ZEROES, FLUSH = (int(op) for op in Op)


class Batch(NamedTuple):
    """Consecutive requests as columns of equal length.

    Attributes
    ----------
    time_ns : int64 array, shape (n_requests,)
        Time since the trace's start.  [ns]
    op : uint8 array, shape (n_requests,)
        Op codes (`Op`).
    offset : int64 array, shape (n_requests,)
        First byte.  [bytes]
    length : int64 array, shape (n_requests,)
        Number of bytes; 0 only for FLUSH.  [bytes]
    volume : int32 array, shape (n_requests,), or None
        Index into the trace's tuple of volume names; None when the trace has one volume.
    latency_ns : int64 array, shape (n_requests,), or None
        Service time; -1 where it is not known.  [ns]
    digest : object array of bytes, shape (n_requests,), or None
        Content digests of the request's data, concatenated; `b""` where there is none.
    """

    time_ns: Int64Array
    op: UInt8Array
    offset: Int64Array
    length: Int64Array
    volume: npt.NDArray[np.int32] | None = None
    latency_ns: Int64Array | None = None
    digest: npt.NDArray[np.object_] | None = None


class SnapshotKind(StrEnum):
    """What a snapshot holds."""

    DISK = "disk"
    MEMORY = "memory"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One snapshot, as policies and catalogs see it: metadata only.

    Attributes
    ----------
    time_ns : int
        When it was taken, nanoseconds since the Unix epoch, UTC.  [ns]
    name : str
        The name that people see.
    id : str
        What identifies it; the name when the system has nothing better.
    kind : SnapshotKind
        Disk contents, memory, or both.
    classes : frozenset of str
        The schedule classes that asked for it ("hourly", "daily", ...).
    tags : frozenset of str
        Free labels.
    attributes : Mapping
        Whatever else its system knows about it.
    """

    time_ns: int
    name: str = ""
    id: str = ""
    kind: SnapshotKind = SnapshotKind.DISK
    classes: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    attributes: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Decision:
    """What a policy says about one snapshot, and why.

    Attributes
    ----------
    snapshot : Snapshot
        The snapshot in question.
    keep : bool
        Whether the policy keeps it.
    reasons : tuple of str
        For a kept one every rule that keeps it ("daily 3 of 7"); otherwise why none does.
    """

    snapshot: Snapshot
    keep: bool
    reasons: tuple[str, ...]
