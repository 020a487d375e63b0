"""Where made-up requests go: access patterns as values, and the streams of requests that they start.

A pattern says which part of the volume it uses, how long its requests are and what they do.  A stream draws
requests batch by batch and remembers what the next batch needs (a sequential pattern: its position).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from snapsim.errors import UsageError
from snapsim.traces.zipf import Permutation, draw_ranks
from snapsim.types import DISCARD, READ, WRITE, Int64Array, UInt8Array
from snapsim.units import format_size, parse_size

Size = int | str


class Requests(NamedTuple):
    """Drawn requests, without times.

    Attributes
    ----------
    op : uint8 array, shape (n,)
        Op codes.
    offset, length : int64 arrays, shape (n,)
        First byte and number of bytes.  [bytes]
    """

    op: UInt8Array
    offset: Int64Array
    length: Int64Array


Stream = Callable[[np.random.Generator, int], Requests]
"""Draws the next n requests."""


class Pattern(ABC):
    """What every access pattern can do: start a stream of requests on a volume."""

    @abstractmethod
    def stream(self, capacity: int, seed: np.random.SeedSequence) -> Stream:
        """Start a stream.

        Parameters
        ----------
        capacity : int
            Size of the volume.  [bytes]
        seed : numpy.random.SeedSequence
            For choices that hold for the whole stream, such as which blocks are hot.

        Returns
        -------
        callable
            Takes a generator and a number of requests; returns the next `Requests`.

        Raises
        ------
        UsageError
            The pattern's part of the volume lies beyond its end, or is shorter than a request.
        """


@dataclass(frozen=True, kw_only=True)
class _OnePattern(Pattern):
    request_size: Size | Mapping[Size, float] = "4KiB"
    read_share: float = 0.0
    discard_share: float = 0.0
    region: tuple[Size, Size] | None = None

    def __post_init__(self) -> None:
        shares = (self.read_share, self.discard_share)
        if min(shares) < 0 or sum(shares) > 1:
            msg = (
                f"read_share={shares[0]}, discard_share={shares[1]}: shares are 0 or more, together at most 1"
            )
            raise UsageError(msg)
        sizes, weights = self._sizes()
        if not sizes or min(sizes) <= 0 or min(weights) < 0 or not sum(weights) > 0:
            msg = f"request_size={self.request_size!r}: sizes and the weights' sum must be positive"
            raise UsageError(msg)

    def stream(self, capacity: int, seed: np.random.SeedSequence) -> Stream:
        first, size = (parse_size(limit) for limit in self.region or (0, capacity))
        sizes, weights = self._sizes()
        if first + size > capacity:
            msg = f"region={self.region!r} reaches beyond the volume's capacity of {format_size(capacity)}"
            raise UsageError(msg)
        if size < max(sizes):
            msg = f"requests of {format_size(max(sizes))} do not fit into {format_size(size)}"
            raise UsageError(msg)
        choices = np.array(sizes, np.int64)
        cumulated = np.cumsum(weights) / sum(weights)
        place = self._places(size, sizes, seed)

        def draw(rng: np.random.Generator, n: int) -> Requests:
            if choices.size == 1:
                length = np.full(n, choices[0])
            else:
                length = choices[
                    np.searchsorted(cumulated, rng.random(n), side="right").clip(max=choices.size - 1)
                ]
            op = np.full(n, WRITE, np.uint8)
            if self.read_share or self.discard_share:
                chance = rng.random(n)
                op[chance < self.read_share + self.discard_share] = DISCARD
                op[chance < self.read_share] = READ
            return Requests(op, first + place(rng, length), length)

        return draw

    @abstractmethod
    def _places(self, size: int, sizes: Sequence[int], seed: np.random.SeedSequence) -> "_Places": ...

    def _sizes(self) -> tuple[list[int], list[float]]:
        if isinstance(self.request_size, Mapping):
            return [parse_size(size) for size in self.request_size], list(self.request_size.values())
        return [parse_size(self.request_size)], [1.0]


_Places = Callable[[np.random.Generator, Int64Array], Int64Array]
"""Draws offsets within the region for requests of given lengths."""


@dataclass(frozen=True, kw_only=True)
class Uniform(_OnePattern):
    """Every place is equally likely.

    Parameters
    ----------
    request_size : int, str or mapping
        Length of the requests, or lengths with their weights; offsets are multiples of their greatest common
        divisor.  [bytes]
    read_share, discard_share : float
        Share of the requests that read, that discard; the others write.
    region : (int or str, int or str), optional
        First byte and size of the part of the volume that is used; the whole volume unless given.  [bytes]
    """

    def _places(self, size: int, sizes: Sequence[int], seed: np.random.SeedSequence) -> _Places:
        del seed
        grid = math.gcd(*sizes)

        def place(rng: np.random.Generator, length: Int64Array) -> Int64Array:
            longest = length if len(sizes) > 1 else sizes[0]  # one bound for all is drawn much faster
            return rng.integers(0, (size - longest) // grid + 1, length.size) * grid

        return place


@dataclass(frozen=True, kw_only=True)
class Zipf(_OnePattern):
    """Some places are much hotter than others.

    The r-th hottest is hit in proportion to r to the power -theta; hot places are scattered over the region.

    Parameters
    ----------
    request_size : int, str or mapping
        Length of the requests, or lengths with their weights; offsets are multiples of their greatest common
        divisor.  [bytes]
    read_share, discard_share : float
        Share of the requests that read, that discard; the others write.
    region : (int or str, int or str), optional
        First byte and size of the part of the volume that is used; the whole volume unless given.  [bytes]
    theta : float
        Exponent, more than 0; 0.99 is usual.
    """

    theta: float = 0.99

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (0 < self.theta < math.inf):
            msg = f"theta={self.theta}: a Zipf exponent must be more than 0; use Uniform for 0"
            raise UsageError(msg)

    def _places(self, size: int, sizes: Sequence[int], seed: np.random.SeedSequence) -> _Places:
        grid = math.gcd(*sizes)
        slots = size // grid
        scatter = Permutation(slots, seed)

        def place(rng: np.random.Generator, length: Int64Array) -> Int64Array:
            slot = scatter(draw_ranks(rng, length.size, items=slots, theta=self.theta) - 1)
            return np.minimum(slot, (size - length) // grid) * grid

        return place


@dataclass(frozen=True, kw_only=True)
class Sequential(_OnePattern):
    """From the first byte of the region to the last, and again: a request that no longer fits begins anew.

    Parameters
    ----------
    request_size : int, str or mapping
        Length of the requests, or lengths with their weights.  [bytes]
    read_share, discard_share : float
        Share of the requests that read, that discard; the others write.
    region : (int or str, int or str), optional
        First byte and size of the part of the volume that is used; the whole volume unless given.  [bytes]
    """

    def _places(self, size: int, sizes: Sequence[int], seed: np.random.SeedSequence) -> _Places:
        del seed
        position = 0
        most = size // min(sizes)

        def place(rng: np.random.Generator, length: Int64Array) -> Int64Array:
            nonlocal position
            del rng
            offset = np.empty_like(length)
            done = 0
            while done < length.size:
                ahead = length[done : done + most]
                end = position + np.cumsum(ahead)
                fit = int(np.searchsorted(end, size, side="right"))
                offset[done : done + fit] = (end - ahead)[:fit]
                position = int(end[fit - 1]) if fit else position
                done += fit
                if fit < ahead.size or position == size:
                    position = 0
            return offset

        return place


@dataclass(frozen=True)
class Mixture(Pattern):
    """Each request comes from one of several patterns, chosen at random.

    Parameters
    ----------
    parts : sequence of (Pattern, float)
        Patterns and their weights.
    """

    parts: Sequence[tuple[Pattern, float]] = field(default=())

    def __post_init__(self) -> None:
        """Check the weights; keep the parts as a tuple, so that the value cannot change."""
        object.__setattr__(self, "parts", tuple((pattern, float(weight)) for pattern, weight in self.parts))
        weights = [weight for _, weight in self.parts]
        if not weights or min(weights) < 0 or not sum(weights) > 0:
            msg = "a mixture needs patterns whose weights are not negative and not all zero"
            raise UsageError(msg)

    def stream(self, capacity: int, seed: np.random.SeedSequence) -> Stream:
        """Start a stream of each part, and choose between them.

        Parameters
        ----------
        capacity : int
            Size of the volume.  [bytes]
        seed : numpy.random.SeedSequence
            Each part gets a seed of its own from it.

        Returns
        -------
        callable
            Takes a generator and a number of requests; returns the next `Requests`.
        """
        seeds = (
            np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, part))
            for part in range(len(self.parts))
        )
        streams = [pattern.stream(capacity, own) for (pattern, _), own in zip(self.parts, seeds, strict=True)]
        weights = np.array([weight for _, weight in self.parts])

        def draw(rng: np.random.Generator, n: int) -> Requests:
            chosen = rng.choice(len(streams), size=n, p=weights / weights.sum())
            mixed = Requests(np.empty(n, np.uint8), np.empty(n, np.int64), np.empty(n, np.int64))
            for part, stream in enumerate(streams):
                rows = np.flatnonzero(chosen == part)
                mixed.op[rows], mixed.offset[rows], mixed.length[rows] = stream(rng, rows.size)
            return mixed

        return draw
