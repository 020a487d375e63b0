"""fio's I/O logs, versions 2 and 3.

Version 2 is ``file action offset length``, and only ``wait`` lines carry time; version 3 begins each line
with a time stamp.  Source: fio(1), "Trace file format".  Every file of the log is a volume.
"""

import re
from collections.abc import Iterator

import numpy as np

from snapsim.errors import RefusedFileError
from snapsim.traces.readers.base import Options, Raw, Reader, ReadLog, Units, scaled
from snapsim.traces.readers.tokens import BoolArray, Tokens, accept, blocks, word, word_in
from snapsim.traces.readers.volumes import volume_codes
from snapsim.traces.source import Source
from snapsim.types import DISCARD, FLUSH, READ, WRITE, Int64Array
from snapsim.units import MICROSECOND

_OPS = {
    b"read": READ, b"write": WRITE, b"trim": DISCARD,
    b"sync": FLUSH, b"datasync": FLUSH, b"sync_file_range": FLUSH,
}  # fmt: skip
_FILE_ACTIONS = (b"add", b"open", b"close", b"unlink")
_WAIT = word(b"wait")
_FIRST_LINE = re.compile(rb"\s*fio version (\d+) iolog")
_VERSION_1 = re.compile(rb"\s*[01]\s*,\s*\d+\s*,\s*\d+\s")
# fio(1): a wait below 100 microseconds is discarded
_SHORTEST_WAIT = 100


class FioLog(Reader):
    """Reader of fio's I/O logs."""

    name = "fio"
    title = "fio I/O log, versions 2 and 3"
    extensions = (".iolog", ".fiolog", ".log")
    units = Units(time=MICROSECOND, address=1, length=1)

    def sniff(self, head: bytes, name: str) -> bool:
        """Tell whether the first line names fio's log, of any version."""
        del name
        return _FIRST_LINE.match(head) is not None

    def read(self, source: Source, log: ReadLog, options: Options) -> Iterator[Raw]:
        """Yield the requests in file order."""
        version = _version(source)
        log.set_option("version", version)
        now, waited = 0, False
        for lines in blocks(source, log):
            header = (lines.word(0) == word(b"fio")) & (lines.word(1) == word(b"version"))
            log.skip(int(header.sum()), "header")
            events = lines.rows(~header)
            if version == 2:
                times, waits = _waits(events, now, log)
                now, waited = int(times[-1]) if len(times) else now, waited or bool(waits.any())
                yield _requests(events.rows(~waits), times[~waits], 0, log, options)
            else:
                times, timed = events.decimal(0)
                good = accept(log, events, ("timestamp", timed, "not a number"))
                yield _requests(events.rows(good), times[good], 1, log, options)
        if version == 2 and not waited:
            log.note("the log has no wait lines, so it tells the order of the requests but not their times")


READERS = (FioLog(),)


def _version(source: Source) -> int:
    head = source.head(1 << 12)
    match = _FIRST_LINE.match(head)
    version = int(match[1]) if match else 1 if _VERSION_1.match(head) else None
    if version in {2, 3}:
        return version
    if version is None:
        msg = (
            f'{source.name} is no fio log: its first line should be "fio version 2 iolog" or the same with 3'
        )
    elif version == 1:
        msg = f"{source.name} is a fio log of version 1, which has no times: write version 2 or 3"
    else:
        msg = f"{source.name} is a fio log of version {version}, and only versions 2 and 3 are known"
    raise RefusedFileError(msg)


def _waits(events: Tokens, now: int, log: ReadLog) -> tuple[Int64Array, BoolArray]:
    """Return the time at each line of a version 2 log, counted on from `now`, and which lines are waits."""
    # "wait 1000" and, with a file as in all other lines, "file wait 1000"
    bare = (events.word(0) == _WAIT) & (events.counts == 2)
    waits = bare | (events.word(1) == _WAIT)
    (short, short_readable), (long, long_readable) = events.decimal(1), events.decimal(2)
    readable = np.where(bare, short_readable, long_readable) | ~waits
    accept(log, events, ("wait", readable, "not a number of microseconds"))
    length = np.where(waits & readable, np.where(bare, short, long), 0)
    length[length < _SHORTEST_WAIT] = 0
    log.skip(int((waits & readable).sum()), "wait")
    return now + np.cumsum(length), waits


def _requests(lines: Tokens, times: Int64Array, shift: int, log: ReadLog, options: Options) -> Raw:
    action = lines.word(1 + shift)
    file_action = word_in(action, _FILE_ACTIONS)
    op = np.full(len(action), 255, np.uint8)
    for name, code in _OPS.items():
        op[action == word(name)] = code
    flush = op == FLUSH
    (offset, placed), (length, sized) = lines.decimal(2 + shift), lines.decimal(3 + shift)
    good = accept(
        log,
        lines,
        ("action", (op != 255) | file_action, "not an action of fio"),
        ("offset", placed | flush | file_action, "not a number"),
        ("length", sized | flush | file_action, "not a number"),
    )
    log.skip(int((good & file_action).sum()), "file action")
    keep = good & ~file_action
    file, names = lines.rows(keep).distinct(shift)
    return Raw(
        scaled(times[keep], options.units.time),
        op[keep],
        np.where(flush, 0, scaled(offset, options.units.address))[keep],
        np.where(flush, 0, scaled(length, options.units.length))[keep],
        lines.line[keep],
        volume_codes(log, file, names.__getitem__),
    )
