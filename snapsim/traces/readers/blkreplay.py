"""blkreplay's load files: a licence text, then one request a line.

The columns are ``start ; sector; length ; op ; replay_delay ; replay_duration``, the last two of no use here;
start in seconds, sector and length in sectors of 512 bytes.  The header may come again in the middle, where
files were joined.  Source: the files' own heading and blkreplay's conversion scripts.
"""

import re
from collections.abc import Iterator

import numpy as np

from snapsim.traces.readers.base import Options, Raw, Reader, ReadLog, Units, sample_lines, scaled
from snapsim.traces.readers.tokens import Tokens, accept, blocks, word
from snapsim.traces.readers.tracer import NONE, UNKNOWN, rwbs
from snapsim.traces.source import Source
from snapsim.types import FLUSH
from snapsim.units import SECOND

_HEADING = re.compile(r"\s*start\s*;\s*sector\s*;\s*length\s*;\s*op\b.*")
_ROW = re.compile(r"\s*\d+(\.\d+)?\s*;\s*\d+\s*;\s*\d+\s*;\s*[RWDF][A-Z]*\s*(;.*)?")
_SEPARATOR = b";"
_TIME, _SECTOR, _SECTORS, _OP = 0, 1, 2, 3


class Blkreplay(Reader):
    """Reader of blkreplay's load files."""

    name = "blkreplay"
    title = "blkreplay load"
    extensions = (".load",)
    units = Units(time=SECOND, address=512, length=512)

    def sniff(self, head: bytes, name: str) -> bool:
        """Tell whether the column heading or rows of such columns stand among the first lines."""
        del name
        lines = sample_lines(head)
        rows = sum(_ROW.fullmatch(line) is not None for line in lines)
        return any(_HEADING.fullmatch(line) for line in lines) or rows > len(lines) / 2

    def read(self, source: Source, log: ReadLog, options: Options) -> Iterator[Raw]:
        """Yield the requests in file order."""
        for lines in blocks(source, log, separators=_SEPARATOR):
            yield _requests(_without_header(lines, log), log, options)


READERS = (Blkreplay(),)


def _without_header(lines: Tokens, log: ReadLog) -> Tokens:
    """Leave out the text, which has no columns and begins with no digit, and the column heading."""
    start, _ = lines.field(0)
    first = lines.data[start]
    text = ~lines.holds(_SEPARATOR[0]) & ((first < ord("0")) | (first > ord("9")))
    header = text | (lines.word(0) == word(b"start"))
    log.skip(int(header.sum()), "header")
    return lines.rows(~header)


def _requests(lines: Tokens, log: ReadLog, options: Options) -> Raw:
    time_ns, timed = lines.time(_TIME, unit=options.units.time)
    sector, placed = lines.decimal(_SECTOR)
    sectors, sized = lines.decimal(_SECTORS)
    op, flushes = rwbs(lines, _OP)
    flush = flushes & (sectors == 0)
    good = accept(
        log,
        lines,
        ("start", timed, "not a decimal number of seconds"),
        ("sector", placed, "not a number"),
        ("length", sized, "not a number"),
        ("op", (op != UNKNOWN) & ((op != NONE) | flush), "not an operation"),
    )
    return Raw(
        time_ns[good],
        np.where(flush, np.uint8(FLUSH), op)[good],
        np.where(flush, 0, scaled(sector, options.units.address))[good],
        scaled(sectors, options.units.length)[good],
        lines.line[good],
    )
