"""The parts of a device: plain frozen data, the sections of a device file."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from snapsim.errors import DeviceError
from snapsim.units import parse_duration, parse_size

Size = Annotated[int, BeforeValidator(parse_size)]
"""Bytes; in a file also text such as "4 TB"."""

Duration = Annotated[int, BeforeValidator(parse_duration)]
"""Nanoseconds; in a file text such as "77us"."""

Count = Annotated[int, Field(ge=0, strict=True)]
Topic = Literal["capacity", "read", "write", "flush", "discard", "parallelism", "mechanics", "cold reads"]

STRICT = ConfigDict(extra="forbid")

FASTEST = 1 << 37  # bytes a second: a kernel computes with this and nanoseconds in 64 bits


@dataclass(frozen=True, kw_only=True)
class Access:
    """What reading, or writing, takes.

    A request occupies one channel for `random` or `sequential` and then for its length at `rate`.  The device
    as a whole takes at most `operations` requests and `throughput` bytes a second; 0 means no limit.

    Attributes
    ----------
    random : int
        Before the first byte of a request elsewhere than where the one before ended.  [ns]
    sequential : int
        The same where a request goes on where the one before ended.  [ns]
    rate : int
        Transfer on one channel; 0: the length does not matter.  [bytes/s]
    operations : int
        Requests a second, all channels together.
    throughput : int
        Bytes a second, all channels together.  [bytes/s]
    """

    __pydantic_config__ = STRICT
    random: Duration
    sequential: Duration
    rate: Size = 0
    operations: Count = 0
    throughput: Size = 0

    def __post_init__(self) -> None:
        """Refuse what a kernel could not compute."""
        if max(self.rate, self.throughput) > FASTEST:
            raise DeviceError("rate and throughput must be at most 128 GiB a second")
        if self.operations > 10**9:
            raise DeviceError("operations must be at most a thousand million a second")


@dataclass(frozen=True, kw_only=True)
class Mechanics:
    """An arm and a platter; all 0 where there is none.

    Attributes
    ----------
    rpm : int
        Revolutions a minute.
    track_to_track, average_seek, full_stroke : int
        To the next track; averaged over pairs of random places; across the whole disk.  [ns]
    inner_share : float
        Transfer rate at the inner edge, where addresses end, over that at the outer edge.
    """

    __pydantic_config__ = STRICT
    rpm: Count = 0
    track_to_track: Duration = 0
    average_seek: Duration = 0
    full_stroke: Duration = 0
    inner_share: Annotated[float, Field(gt=0, le=1)] = 1.0

    def __post_init__(self) -> None:
        """Refuse what is no disk."""
        if 0 < self.rpm < 1000:
            raise DeviceError(f"mechanics.rpm is {self.rpm}, but must be 0 or at least 1000")


@dataclass(frozen=True, kw_only=True)
class Cold:
    """Blocks that are fetched from elsewhere when they are first read.

    Attributes
    ----------
    unit : int
        What is fetched at a time; 0: nothing is ever cold.  [bytes]
    penalty : int
        What fetching one adds.  [ns]
    """

    __pydantic_config__ = STRICT
    unit: Size = 0
    penalty: Duration = 0


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Where figures come from.

    Attributes
    ----------
    about : str
        Which part of the device.
    status : {"measured here", "data sheet", "literature", "assumed"}
        Measured by `snapsim device measure`; what the maker promises; what others published; or a plain
        assumption that nobody measured, to be replaced by a measurement.
    source : str
        In which way, in our own words.
    """

    __pydantic_config__ = STRICT
    about: Topic
    status: Literal["measured here", "data sheet", "literature", "assumed"]
    source: str
