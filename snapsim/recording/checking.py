"""A trace with fingerprints of contents, compared with the image that was recorded."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from snapsim.errors import RecordingError, TraceError, UsageError
from snapsim.recording.rebuilding import refuse_other_formats
from snapsim.traces.fingerprints import BLOCK, SCHEME, SIZE, fingerprint
from snapsim.traces.trace import Trace
from snapsim.types import DISCARD, WRITE, WRITE_ZEROES
from snapsim.units import format_size

_UNTOUCHED, _KNOWN, _UNKNOWN = range(3)


@dataclass(frozen=True)
class ContentsCheck:
    """How the contents that a trace leaves compare with an image.

    Attributes
    ----------
    equal, different : int
        Blocks of 4 KiB whose contents the trace knows, that the image has and has not.
    unknown : int
        Blocks that were written in part, discarded, or written without a fingerprint last.
    untouched : int
        Blocks that the trace does not change.
    zeroes : int
        Those of `equal` that hold zeroes only.
    first_different : int or None
        Where the first of `different` begins.  [bytes]
    keyed : bool
        Whether hashes were compared; without the key only which blocks are zero and how well they compress.
    """

    equal: int
    different: int
    unknown: int
    untouched: int
    zeroes: int
    first_different: int | None
    keyed: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the figures by name."""
        return asdict(self)

    def text(self) -> str:
        """Say it in a few lines."""
        how = "hashes" if self.keyed else "zeroes and size classes only, as there is no key"
        where = "" if self.first_different is None else f", the first at byte {self.first_different}"
        return "\n".join(
            (
                f"{self.equal + self.different:,} blocks of {format_size(BLOCK)} compared ({how}):",
                f"  equal      {self.equal:,}, of them zeroes {self.zeroes:,}",
                f"  different  {self.different:,}{where}",
                f"  unknown    {self.unknown:,} (written in part, discarded, or without a fingerprint)",
                f"  untouched  {self.untouched:,}",
            )
        )


def check_contents(
    trace: Trace,
    image: str | os.PathLike[str],
    *,
    key: bytes | None = None,
    discard: str = "unknown",
) -> ContentsCheck:
    """Compare the last contents of each block, as a trace has them, with an image.

    Parameters
    ----------
    trace : Trace
        Of one volume, with fingerprints of what was written.
    image : path
        The raw image as the recording left it, or a copy.
    key : bytes or None
        The secret of the recording's fingerprints; without it only zeroes and compressed sizes are compared.
    discard : str
        What a discard leaves: "zeroes", as files and most disks do, or "unknown".

    Returns
    -------
    ContentsCheck
        How many blocks are equal.

    Raises
    ------
    UsageError
        The trace has no such fingerprints, or `discard` is something else.
    TraceError
        A fingerprint does not fit its request.
    RecordingError
        The image ends before the trace does, or cannot be read.
    """
    name, source = trace.info.source, Path(image)
    if discard not in {"zeroes", "unknown"}:
        raise UsageError(f"discard={discard!r} is unknown: choose zeroes or unknown")
    if (scheme := trace.info.contents) != SCHEME:
        raise UsageError(
            f"{name} has {f'contents as {scheme}' if scheme else 'no fingerprints'}: nothing to compare"
        )
    if trace.info.shift_bytes:
        raise UsageError(f"{name} was imported with shift={trace.info.shift_bytes}: import it without")
    try:
        refuse_other_formats(source)
        with source.open("rb") as file:
            size = os.lseek(file.fileno(), 0, os.SEEK_END)
            if size < trace.max_end[0]:
                raise RecordingError(
                    f"{image} has {size} bytes, and {name} reaches to byte {trace.max_end[0]}: it is the "
                    "image of something else"
                )
            return _compared(_last(trace, size, zeroing=discard == "zeroes"), file.fileno(), key)
    except OSError as error:
        raise RecordingError(f"{image} cannot be read: {error.strerror or error}") from error


class _Blocks(NamedTuple):
    """What a trace leaves in each block: a fingerprint, and whether that is known."""

    prints: npt.NDArray[np.uint64]
    state: npt.NDArray[np.uint8]


def _last(trace: Trace, size: int, *, zeroing: bool) -> _Blocks:
    count = -(-size // BLOCK)
    blocks = _Blocks(np.zeros(count, np.uint64), np.zeros(count, np.uint8))
    done = 0
    for batch in trace.batches(columns=("digest",)):
        digests = batch.digest
        if digests is None:
            raise UsageError(f"{trace.info.source} has no fingerprints: record or import it with contents")
        columns = (column.tolist() for column in (batch.op, batch.offset, batch.length))
        for row, (given, offset, length) in enumerate(zip(*columns, strict=True)):
            op = WRITE_ZEROES if zeroing and given == DISCARD else given
            if op in {WRITE, WRITE_ZEROES, DISCARD} and not _change(
                blocks, op, (offset, offset + length), digests[row], size=size
            ):
                raise TraceError(
                    f"{trace.info.source}, request {done + row}: its fingerprints have {len(digests[row])} "
                    f"bytes, which do not fit {length} bytes at {offset}"
                )
        done += len(batch.op)
    return blocks


def _change(blocks: _Blocks, op: int, extent: tuple[int, int], digest: bytes, *, size: int) -> bool:
    """Take one request; tell whether its fingerprints are as many as it needs."""
    start, stop = extent
    first, last = start // BLOCK, -(-stop // BLOCK)
    # blocks that the request covers whole; the disk's last block may be a short one
    inner, outer = -(-start // BLOCK), last if stop == size else stop // BLOCK
    blocks.state[first:last] = _UNKNOWN
    if op == DISCARD or (op == WRITE and not digest):
        return True
    if op == WRITE:
        if len(digest) != (last - first) * SIZE:
            return False
        blocks.prints[first:last] = np.frombuffer(digest, np.uint64)
    else:
        blocks.prints[first:last] = 0
    blocks.state[inner:outer] = _KNOWN
    return True


def _compared(blocks: _Blocks, descriptor: int, key: bytes | None) -> ContentsCheck:
    known = np.flatnonzero(blocks.state == _KNOWN)
    equal = zeroes = 0
    first: int | None = None
    for block in known.tolist():
        expected = blocks.prints[block].tobytes()
        found = fingerprint(os.pread(descriptor, BLOCK, block * BLOCK), key or b"")
        if _same(expected, found, keyed=key is not None):
            equal += 1
            zeroes += not any(expected)
        elif first is None:
            first = block * BLOCK
    counts = np.bincount(blocks.state, minlength=3).tolist()
    return ContentsCheck(
        equal=equal,
        different=len(known) - equal,
        unknown=counts[_UNKNOWN],
        untouched=counts[_UNTOUCHED],
        zeroes=zeroes,
        first_different=first,
        keyed=key is not None,
    )


def _same(expected: bytes, found: bytes, *, keyed: bool) -> bool:
    # with the key the hash decides: the size class is zlib's, and another build of it may pack better
    return expected[1:] == found[1:] if keyed else expected[0] == found[0]
