"""What a device is: how long it takes, how much it does at a time, and where it ends."""

from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import Field

from snapsim.devices.parts import STRICT, Access, Cold, Duration, Evidence, Mechanics, Size
from snapsim.devices.seeks import seek_curve
from snapsim.errors import DeviceError
from snapsim.types import DISCARD, FLUSH, READ, WRITE, WRITE_ZEROES, Int64Array, Op
from snapsim.units import MINUTE, SECOND

MOST_CHANNELS = 4096


class ServiceParameters(NamedTuple):
    """A device as kernels take it.

    Attributes
    ----------
    channels : int
        Requests that are served at a time.
    window : int
        Waiting requests among which the next one is chosen; 1: first come, first served.
    capacity : int
        [bytes]
    latency : int64 array, shape (5, 2)
        By op code; second axis: 0 random, 1 sequential.  [ns]
    rate : int64 array, shape (5,)
        Transfer on one channel, by op code; 0: none.  [bytes/s]
    spacing : int64 array, shape (5,)
        Least time from one start to the next, by op code.  [ns]
    throughput : int64 array, shape (5,)
        Of the device, by op code; 0: no limit.  [bytes/s]
    moves : int64 array, shape (5,)
        1 where an operation goes to its address: it may be sequential, and it seeks where there is an arm.
    seek_distance, seek_time : int64 arrays, shape (n_points,)
        The seek curve; empty: nothing moves.  [bytes], [ns]
    rotation : int
        One revolution; 0: nothing turns.  [ns]
    track : int
        What passes under the head in one revolution at the outer edge.  [bytes]
    inner : int
        Transfer rate where addresses end, in 1/1024 of that where they begin.
    cold_unit, cold_penalty : int
        As in `Cold`.  [bytes], [ns]
    """

    channels: int
    window: int
    capacity: int
    latency: Int64Array
    rate: Int64Array
    spacing: Int64Array
    throughput: Int64Array
    moves: Int64Array
    seek_distance: Int64Array
    seek_time: Int64Array
    rotation: int
    track: int
    inner: int
    cold_unit: int
    cold_penalty: int


@dataclass(frozen=True, kw_only=True)
class Device:
    """How long a storage device takes.

    Attributes
    ----------
    name : str
        What `snapsim.device` takes.
    title : str
        For headings.
    kind : {"hdd", "ssd", "nvme", "network", "measured"}
        What it is; the model is the same for all.
    capacity : int
        Largest address, for seeks and transfer zones.  [bytes]
    channels : int
        Requests that are served at the same time.
    queue_depth : int
        Waiting requests that the device knows of and can choose from.
    order : {"arrival", "nearest"}
        Which waiting request is next: the first one; or the one that is reached soonest, where none is
        overtaken more than `queue_depth` times.
    read, write : Access
        What requests take.
    flush, discard : int
        What a FLUSH and a DISCARD take.  [ns]
    zeroes : {"write", "discard"}
        A WRITE_ZEROES takes as long as that.
    mechanics : Mechanics
        Arm and platter.
    cold : Cold
        First reads of restored volumes.
    evidence : tuple of Evidence
        Where the figures come from.
    caveats : tuple of str
        What an answer must repeat.
    """

    __pydantic_config__ = STRICT
    name: str
    title: str
    kind: Literal["hdd", "ssd", "nvme", "network", "measured"]
    capacity: Size
    read: Access
    write: Access
    flush: Duration
    discard: Duration
    evidence: tuple[Evidence, ...]
    channels: Annotated[int, Field(ge=1, le=MOST_CHANNELS, strict=True)] = 1
    queue_depth: Annotated[int, Field(ge=1, le=1 << 16, strict=True)] = 1
    order: Literal["arrival", "nearest"] = "arrival"
    zeroes: Literal["write", "discard"] = "write"
    mechanics: Mechanics = field(default_factory=Mechanics)
    cold: Cold = field(default_factory=Cold)
    caveats: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check what concerns several parts."""
        if self.capacity < 1:
            raise DeviceError("capacity must be at least one byte")
        if self.mechanics.rpm and not self.read.rate:
            raise DeviceError("read.rate is missing: what turns needs a transfer rate")
        self.parameters()

    @property
    def validated(self) -> bool:
        """Whether reading and writing were measured on a running device."""
        measured = {item.about for item in self.evidence if item.status == "measured here"}
        return {"read", "write"} <= measured

    def parameters(self) -> ServiceParameters:
        """Return the device as kernels take it.

        Returns
        -------
        ServiceParameters
            Numbers and small arrays.
        """
        latency, columns = np.zeros((len(Op), 2), np.int64), np.zeros((3, len(Op)), np.int64)
        zeroes = self.write if self.zeroes == "write" else None
        for op, access in ((READ, self.read), (WRITE, self.write), (WRITE_ZEROES, zeroes)):
            if access is not None:
                latency[op] = access.random, access.sequential
                spacing = -(-SECOND // access.operations) if access.operations else 0
                columns[:, op] = access.rate, spacing, access.throughput
        latency[DISCARD] = self.discard
        latency[FLUSH] = self.flush
        if zeroes is None:
            latency[WRITE_ZEROES] = self.discard
        moves = np.zeros(len(Op), np.int64)
        moves[[READ, WRITE]] = 1
        moves[WRITE_ZEROES] = zeroes is not None
        empty = np.empty(0, np.int64)
        seeks = self.mechanics.full_stroke > 0
        distance, time = seek_curve(self.mechanics, capacity=self.capacity) if seeks else (empty, empty)
        rotation = MINUTE // self.mechanics.rpm if self.mechanics.rpm else 0
        return ServiceParameters(
            channels=self.channels,
            window=self.queue_depth if self.order == "nearest" else 1,
            capacity=self.capacity,
            latency=latency,
            rate=columns[0].copy(),
            spacing=columns[1].copy(),
            throughput=columns[2].copy(),
            moves=moves,
            seek_distance=distance,
            seek_time=time,
            rotation=rotation,
            track=max(self.read.rate * rotation // SECOND, 1),
            inner=round(1024 * self.mechanics.inner_share),
            cold_unit=self.cold.unit,
            cold_penalty=self.cold.penalty,
        )

    def document(self) -> dict[str, Any]:
        """Return the device as the document that its file would hold.

        Returns
        -------
        dict
            Sizes in bytes, durations in nanoseconds.
        """
        return {item.name: _plain(getattr(self, item.name)) for item in fields(self)}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "__dataclass_fields__"):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    return value
