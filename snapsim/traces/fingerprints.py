"""Fingerprints of what requests carry: enough to study duplicates and compression, not to read the data.

A request's data is cut at the multiples of `BLOCK` of the disk's addresses; each piece (the first and the
last may be short) gets `SIZE` bytes.  The first byte is the size class of the compressed piece: 0 for a piece
of zeroes only (all its bytes are then 0), 255 for one that does not shrink, else its size in 254ths of the
piece.  The others are a hash with a secret key: equal pieces of one recording have equal fingerprints, and
nobody without the key can test whether a known file is on the disk.

This module uses the standard library only: nbdkit loads it into an interpreter that has nothing else.
"""

import hashlib
import itertools
import zlib

BLOCK = 4096
"""Bytes of the disk that get one fingerprint.  [bytes]"""

SIZE = 8
"""Length of a fingerprint.  [bytes]"""

SCHEME = "snapsim-1"
"""The name by which traces say that their digests are these fingerprints."""

INCOMPRESSIBLE = 255

_ZERO = bytes(SIZE)
_ZEROES = bytes(BLOCK)
_CLASSES = 254


def fingerprint(piece: bytes, key: bytes) -> bytes:
    """Return the fingerprint of one piece.

    Parameters
    ----------
    piece : bytes
        At most `BLOCK` bytes.
    key : bytes
        The recording's secret, at most 64 bytes.

    Returns
    -------
    bytes
        Of length `SIZE`.
    """
    if piece == _ZEROES[: len(piece)]:
        return _ZERO
    packed = len(zlib.compress(piece, 1))
    size_class = -(-packed * _CLASSES // len(piece)) if packed < len(piece) else INCOMPRESSIBLE
    return bytes((size_class,)) + hashlib.blake2b(piece, digest_size=SIZE - 1, key=key).digest()


def fingerprints(data: bytes, offset: int, key: bytes) -> bytes:
    """Return the fingerprints of a request's data.

    Parameters
    ----------
    data : bytes
        What is written or read.
    offset : int
        Where on the disk its first byte is.  [bytes]
    key : bytes
        The recording's secret, at most 64 bytes.

    Returns
    -------
    bytes
        `SIZE` bytes for each block that the request overlaps.

    Examples
    --------
    >>> fingerprints(bytes(8192), 0, b"secret").hex()
    '00000000000000000000000000000000'
    >>> len(fingerprints(b"text" * 1024, 512, b"secret")) // SIZE
    2
    """
    first = BLOCK - offset % BLOCK
    cuts = [0, *range(first, len(data), BLOCK), len(data)]
    return b"".join(
        fingerprint(data[start:stop], key) for start, stop in itertools.pairwise(cuts) if start < stop
    )
