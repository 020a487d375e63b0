"""The text that blkparse prints by default.

A line is ``major,minor cpu sequence time pid action RWBS sector + sectors [process]``.  Only one action of
each request is counted (`tracer.choose_action`); lines of other actions and the summary at the end are
skipped.  The stamps are relative to the first event.  Source: blkparse(1).
"""

import re
from collections.abc import Iterator, Mapping
from typing import ClassVar

import numpy as np

from snapsim.traces.readers.base import Options, Raw, Reader, ReadLog, Units, matching_share, scaled
from snapsim.traces.readers.tokens import BoolArray, Tokens, accept, blocks, integers, word, word_in
from snapsim.traces.readers.tracer import ACTION_OPTION, CHOICES, NONE, UNKNOWN, choose_action, rwbs
from snapsim.traces.readers.volumes import volume_codes
from snapsim.traces.source import Source
from snapsim.types import FLUSH
from snapsim.units import SECOND

_ACTIONS = tuple(b"Q G I D C P U UT S X M F B A R m".split())
_DEVICE, _TIME, _ACTION, _RWBS, _SECTOR, _PLUS, _SECTORS = 0, 3, 5, 6, 7, 8, 9
_EVENT = re.compile(r"\s*\d+,\d+\s+\d+\s+\d+\s+\d+\.\d+\s+\d+\s+[A-Za-z]{1,2}\s.*")
_SUMMARY = re.compile(
    r"\s*(CPU\d+ \(|Total \(|Throughput|Events|Skips|Reads? |Writes? |IO unplugs|Trace started|Input file)"
)


class Blkparse(Reader):
    """Reader of blkparse's default text."""

    name = "blkparse"
    title = "blkparse text: Linux block tracing"
    extensions = (".blkparse", ".blkparse.txt", ".txt")
    units = Units(time=SECOND, address=512, length=512)
    options: ClassVar[Mapping[str, str]] = {"action": ACTION_OPTION}

    def sniff(self, head: bytes, name: str) -> bool:
        """Tell whether most of the first lines are events."""
        del name
        return matching_share(head, _EVENT) > 0.5

    def read(self, source: Source, log: ReadLog, options: Options) -> Iterator[Raw]:
        """Yield the requests of the chosen action, in file order."""
        action = choose_action(options, log, lambda: _present(source))
        for lines in blocks(source, log):
            yield _requests(_events(lines, action, log), log, options)


READERS = (Blkparse(),)


def _present(source: Source) -> Iterator[set[str]]:
    for lines in blocks(source, ReadLog()):
        events = lines.word(_ACTION)[_devices(lines)]
        yield {choice for choice in CHOICES if (events == word(choice.encode())).any()}


def _devices(lines: Tokens) -> BoolArray:
    """Tell which lines begin with a device, ``major,minor``, as every event does."""
    start, stop = lines.field(_DEVICE)
    comma = stop.copy()
    for position in range(int((stop - start).max(initial=0)) if len(start) else 0):
        here = np.minimum(start + position, stop)
        comma = np.where((lines.data[here] == ord(",")) & (here < comma), here, comma)
    _, major = integers(lines.data, start, comma)
    _, minor = integers(lines.data, np.minimum(comma + 1, stop), stop)
    return major & minor


def _events(lines: Tokens, action: str, log: ReadLog) -> Tokens:
    """Return the events of one action; skip the others and what is no event."""
    event = _devices(lines)
    other = lines.rows(~event)
    summary = np.array(
        [_SUMMARY.match(other.text(row)) is not None for row in range(len(other.line))], np.bool_
    )
    log.skip(int(summary.sum()), "summary")
    accept(log, other, ("device", summary, "neither an event nor part of the summary"))
    lines = lines.rows(event)
    actions = lines.word(_ACTION)
    good = accept(log, lines, ("action", word_in(actions, _ACTIONS), "not an action of blkparse"))
    for name in _ACTIONS:
        if name.decode() != action:
            log.skip(int((actions == word(name)).sum()), f"action {name.decode()}")
    return lines.rows(good & (actions == word(action.encode())))


def _requests(lines: Tokens, log: ReadLog, options: Options) -> Raw:
    op, flushes = rwbs(lines, _RWBS)
    time_ns, timed = lines.time(_TIME, unit=options.units.time)
    sized = lines.word(_PLUS) == word(b"+")
    sector, placed = lines.decimal(_SECTOR)
    sectors, counted = lines.decimal(_SECTORS)
    failed = _failed(lines)
    # a flush without data has no "+ sectors"; neither has a command that is passed through to the device
    flush = flushes & ~(sized & (sectors > 0))
    idle = ~flush & (~sized | (op == NONE)) & (op != UNKNOWN)
    good = accept(
        log,
        lines,
        ("time", timed, "not a decimal number of seconds"),
        ("RWBS", op != UNKNOWN, "letters that blkparse does not print"),
        ("sector", placed | flush | idle, "not a number"),
        ("sectors", counted | flush | idle, "not a number"),
    )
    log.skip(int((good & idle).sum()), "event without sectors")
    log.skip(int((good & failed & ~idle).sum()), "failed")
    keep = good & ~idle & ~failed
    device, names = lines.rows(keep).distinct(_DEVICE)
    return Raw(
        time_ns[keep],
        np.where(flush, np.uint8(FLUSH), op)[keep],
        np.where(flush, 0, scaled(sector, options.units.address))[keep],
        np.where(flush, 0, scaled(sectors, options.units.length))[keep],
        lines.line[keep],
        volume_codes(log, device, names.__getitem__),
    )


def _failed(lines: Tokens) -> BoolArray:
    """Tell which completions carry an error, as in ``[-5]``; others end with ``[0]`` or a process."""
    start, stop = lines.field(-1)
    digits = np.minimum(start + len("[-"), stop)
    _, number = integers(lines.data, digits, np.maximum(stop - len("]"), digits))
    negative: BoolArray = (lines.word(-1) & np.uint64(0xFFFF)) == word(b"[-")
    return number & negative
