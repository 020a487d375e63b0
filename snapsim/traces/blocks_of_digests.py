"""Content digests of requests, cut into those of blocks of 4 KiB, whatever the scheme.

A content is a number of 64 bits that stands for what is in a block: equal contents have equal numbers, and
zeroes have 0.  Two different contents have the same number with a chance of one in 2^56 or less.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from snapsim.errors import UsageError
from snapsim.traces import fingerprints
from snapsim.types import DISCARD, FLUSH, WRITE_ZEROES, Batch, Int64Array

BLOCK = fingerprints.BLOCK
_SECTOR = 512
_MD5 = 16

UInt64Array = npt.NDArray[np.uint64]
BoolArray = npt.NDArray[np.bool_]


class Blocks(NamedTuple):
    """Blocks that requests read or write, with their contents.

    Attributes
    ----------
    row : int64 array, shape (n,)
        Which request.
    block : int64 array, shape (n,)
        Which block of the volume.
    content : uint64 array, shape (n,)
        What is in it, or in the part of it that the request covers.
    whole : bool array, shape (n,)
        Whether the request covers the whole block.
    size_class : uint8 array, shape (n,), or None
        The first bytes of the fingerprints; see `snapsim.traces.fingerprints`.
    """

    row: Int64Array
    block: Int64Array
    content: UInt64Array
    whole: BoolArray
    size_class: npt.NDArray[np.uint8] | None

    def take(self, keep: BoolArray) -> "Blocks":
        """Return those that a mask picks."""
        return Blocks._make(column[keep] if column is not None else None for column in self)


def blocks_of(batch: Batch, scheme: str) -> tuple[Blocks, Int64Array]:
    """Cut the digests of requests into blocks.

    Parameters
    ----------
    batch : Batch
        Requests of one volume, with digests.
    scheme : str
        "snapsim-1", "md5-4096" or "md5-512"; see `TraceInfo.contents`.

    Returns
    -------
    blocks : Blocks
        In the order of the requests.
    undigested : int64 array
        The reads and writes that have no digest, or one that does not fit their length and place.

    Raises
    ------
    UsageError
        The scheme is unknown.
    """
    if scheme not in _SCHEMES:
        msg = f"content digests {scheme!r} are unknown: choose from {', '.join(_SCHEMES)}"
        raise UsageError(msg)
    sizes, cut = _SCHEMES[scheme]
    rows = len(batch.time_ns)
    digests = np.full(rows, b"", object) if batch.digest is None else batch.digest
    given = np.fromiter(map(len, digests), np.int64, rows)
    data = (batch.op != DISCARD) & (batch.op != WRITE_ZEROES) & (batch.op != FLUSH)
    good = data & (given > 0) & (given == sizes(batch.offset, batch.length))
    row = np.flatnonzero(good)
    return cut(batch, row, b"".join(digests[row])), np.flatnonzero(data & ~good)


def _spread(first: Int64Array, count: Int64Array) -> tuple[Int64Array, Int64Array]:
    """Return for each of `count` successive numbers from `first`: which request, and the number."""
    before = np.cumsum(count) - count
    which = np.repeat(np.arange(len(count)), count)
    return which, np.arange(int(count.sum())) + np.repeat(first - before, count)


def _places(batch: Batch, row: Int64Array) -> tuple[Int64Array, Int64Array, BoolArray]:
    """Return the requests and numbers of all blocks that requests overlap, and which they cover whole."""
    offset, end = batch.offset[row], batch.offset[row] + batch.length[row]
    first = offset // BLOCK
    which, block = _spread(first, -(-end // BLOCK) - first)
    whole = (block * BLOCK >= offset[which]) & ((block + 1) * BLOCK <= end[which])
    return row[which], block, whole


def _fingerprint_size(offset: Int64Array, length: Int64Array) -> Int64Array:
    return fingerprints.SIZE * (-(-(offset + length) // BLOCK) - offset // BLOCK)


def _fingerprinted(batch: Batch, row: Int64Array, digests: bytes) -> Blocks:
    content = np.frombuffer(digests, "<u8").astype(np.uint64)
    rows, block, whole = _places(batch, row)
    return Blocks(rows, block, content, whole, (content & np.uint64(255)).astype(np.uint8))


def _md5_of_blocks(batch: Batch, row: Int64Array, digests: bytes) -> Blocks:
    rows, block, whole = _places(batch, row)
    return Blocks(rows, block, _md5_words(digests, BLOCK), whole, None)


def _md5_of_sectors(batch: Batch, row: Int64Array, digests: bytes) -> Blocks:
    """Join the sums of a block's sectors: a polynomial in an odd number, modulo 2^64; 0 stays 0."""
    words = _md5_words(digests, _SECTOR)
    which, sector = _spread(batch.offset[row] // _SECTOR, batch.length[row] // _SECTOR)
    per_block = BLOCK // _SECTOR
    powers = np.power(np.uint64(0x9E3779B97F4A7C15), np.arange(per_block, dtype=np.uint64))
    starts = (np.diff(which, prepend=-1) != 0) | (sector % per_block == 0)
    rows, block, whole = _places(batch, row)
    terms = words * powers[sector % per_block]
    content = np.add.reduceat(terms, np.flatnonzero(starts)) if len(terms) else terms
    return Blocks(rows, block, content, whole, None)


def _md5_words(digests: bytes, size: int) -> UInt64Array:
    """Return 64 bits of each MD5 sum, 0 for that of zeroes."""
    words = np.frombuffer(digests, "<u8").astype(np.uint64)[::2]
    zero = hashlib.md5(bytes(size), usedforsecurity=False).digest()[:8]
    return np.where(words == np.frombuffer(zero, "<u8")[0], np.uint64(0), words)


def _whole_units(unit: int) -> Callable[[Int64Array, Int64Array], Int64Array]:
    """Return how long MD5 digests have to be: 0, which none is, for a request off the units' boundaries."""

    def size(offset: Int64Array, length: Int64Array) -> Int64Array:
        return np.where((offset | length) % unit == 0, _MD5 * (length // unit), 0)

    return size


_Sizes = Callable[[Int64Array, Int64Array], Int64Array]
_Cut = Callable[[Batch, Int64Array, bytes], Blocks]
_SCHEMES: Mapping[str, tuple[_Sizes, _Cut]] = {
    fingerprints.SCHEME: (_fingerprint_size, _fingerprinted),
    "md5-4096": (_whole_units(BLOCK), _md5_of_blocks),
    "md5-512": (_whole_units(_SECTOR), _md5_of_sectors),
}
