"""FIU traces (SRCMap, IODedup): requests of 4 KiB with the content digest of what they read or wrote.

A line is ``time pid process block sectors R|W major minor digest``, read from the right because a process
may be called anything.  The digest is one MD5 of the 4 KiB, or (the homes traces) one for each 512 bytes.
The time is that of a local clock without an epoch, and starts anew with each day's file.  Source: the
README of SNIA IOTTA 391.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from snapsim.traces.readers.base import (
    Options,
    Raw,
    Reader,
    ReadLog,
    Units,
    choice,
    matching_share,
    scaled,
)
from snapsim.traces.readers.tokens import BoolArray, Tokens, accept, blocks
from snapsim.traces.readers.tracer import UNKNOWN, rwbs
from snapsim.traces.readers.volumes import volume_codes
from snapsim.traces.source import Source
from snapsim.types import READ, WRITE, Int64Array

_LINE = re.compile(r"\d+ +\d+ +.*\d+ +\d+ +[RW] +\d+ +\d+ +([0-9a-f]{32})+\s*")
_TIME, _BLOCK, _SECTORS, _RW, _MAJOR, _MINOR, _DIGEST = 0, -6, -5, -4, -3, -2, -1
_FIELDS = 8
_MD5_DIGITS = 32
_MD5_BYTES = 16
_PIECES = (4096, 512)
# tar's extended headers, as in "28 ctime=1410563671.7201132"; its padding holds zero bytes
_TAR_RECORD = re.compile(r"\d+ [A-Za-z.]+=\S*")


class Fiu(Reader):
    """Reader of FIU's traces with content digests."""

    name = "fiu"
    title = "FIU (SRCMap, IODedup) with content digests"
    extensions = (".blkparse", ".fiu")
    units = Units(time=1, address=512, length=512)
    options: ClassVar[Mapping[str, str]] = {
        "devices": '"ignore" (the default): all addresses are one volume\'s; "volume": each device is one.',
    }

    def sniff(self, head: bytes, name: str) -> bool:
        """Tell whether most of the first lines end with a digest, as FIU's do."""
        del name
        return matching_share(head, _LINE) > 0.5

    def read(self, source: Source, log: ReadLog, options: Options) -> Iterator[Raw]:
        """Yield the requests in file order, with their digests."""
        for lines in blocks(source, log):
            raw = _requests(_without_archive(lines, log), log, options)
            log.set_contents(_contents(raw, log.contents))
            yield raw


READERS = (Fiu(),)


def _without_archive(lines: Tokens, log: ReadLog) -> Tokens:
    """Leave out the headers and the padding of a tar archive that some copies are glued to.

    A record that shares its line with them is left out too: nothing says that it is whole.
    """
    archive = lines.holds(0)
    for row in np.flatnonzero(lines.counts < _FIELDS).tolist():
        archive[row] |= _TAR_RECORD.fullmatch(lines.text(row)) is not None
    log.skip(int(archive.sum()), "archive header")
    return lines.rows(~archive)


def _requests(lines: Tokens, log: ReadLog, options: Options) -> Raw:
    time_ns, timed = lines.decimal(_TIME)
    block, placed = lines.decimal(_BLOCK)
    sectors, sized = lines.decimal(_SECTORS)
    op, _ = rwbs(lines, _RW)
    (major, has_major), (minor, has_minor) = lines.decimal(_MAJOR), lines.decimal(_MINOR)
    digest, digested = _digests(lines)
    good = accept(
        log,
        lines,
        ("line", lines.counts >= _FIELDS, "fewer fields than a request has"),
        ("time", timed, "not a number"),
        ("block", placed, "not a number"),
        ("sectors", sized, "not a number"),
        ("rw", (op != UNKNOWN) & ((op == READ) | (op == WRITE)), "neither R nor W"),
        ("device", has_major & has_minor & (major < 1 << 31) & (minor < 1 << 32), "not two numbers"),
        ("digest", digested, "not the hexadecimal digits of MD5 sums"),
    )
    return Raw(
        scaled(time_ns[good], options.units.time),
        op[good],
        scaled(block[good], options.units.address),
        scaled(sectors[good], options.units.length),
        lines.line[good],
        _volumes((major << 32 | minor)[good], log, options),
        digest=digest[good],
    )


def _contents(raw: Raw, before: str | None) -> str:
    """Return what all digests so far are a sum of each of; "" where that is not the same throughout."""
    sizes = np.fromiter(map(len, raw.digest if raw.digest is not None else ()), np.int64)
    fitting = [
        f"md5-{piece}" for piece in _PIECES if np.array_equal(sizes, _MD5_BYTES * -(-raw.length // piece))
    ]
    if before in fitting:
        return before or ""
    return fitting[0] if fitting and before is None else ""


def _volumes(device: Int64Array, log: ReadLog, options: Options) -> npt.NDArray[np.int32] | None:
    devices = choice(options, "devices", "ignore", ("ignore", "volume"))
    log.set_option("devices", devices)
    if devices == "volume":
        return volume_codes(log, device, lambda number: f"{number >> 32},{number & 0xFFFFFFFF}")
    if len(np.unique(device)) > 1:
        log.note('several devices share one address space: they are ignored (devices="volume" parts them)')
    return None


def _digests(lines: Tokens) -> tuple[npt.NDArray[np.object_], BoolArray]:
    """Read the digests: bytes, and which could be read."""
    start, stop = lines.field(_DIGEST)
    size = stop - start
    digests: Any = np.full(len(size), b"", object)
    good = np.zeros(len(size), np.bool_)
    for digits in np.unique(size).tolist():
        rows = np.flatnonzero(size == digits)
        if digits == 0 or digits % _MD5_DIGITS:
            continue
        values = lines.digits(start[rows], digits)
        readable = (values < 16).all(axis=1)
        packed = np.ascontiguousarray(values[:, ::2] << 4 | values[:, 1::2] & 15)
        # numpy's void keeps zero bytes at the end, which its byte strings drop
        digests[rows] = packed.view(f"V{digits // 2}").ravel().tolist()
        good[rows] = readable
    return digests, good
