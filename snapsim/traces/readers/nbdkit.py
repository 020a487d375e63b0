"""The log of nbdkit's log filter: every request that a virtual machine sent to its disk.

A request is two lines, joined by connection and id; ``...`` ends the call and begins the answer::

    2026-11-22 12:19:16.329142 connection=1 Read id=9 offset=0xfffdf000 count=0x1000 ...
    2026-11-22 12:19:16.329153 connection=1 ...Read id=9 return=0

Source: nbdkit-log-filter(1).  The stamps are the recording machine's wall clock, hence the `timezone` option.
"""

import re
from collections.abc import Iterator, Mapping
from typing import ClassVar, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pandas as pd

from snapsim.errors import UsageError
from snapsim.traces.readers.base import Options, Raw, Reader, ReadLog, scaled
from snapsim.traces.readers.tokens import (
    BoolArray,
    Tokens,
    WordArray,
    accept,
    integers,
    tokenise,
    word,
    word_in,
)
from snapsim.traces.source import Source
from snapsim.types import DISCARD, FLUSH, READ, WRITE, WRITE_ZEROES, Int64Array, UInt8Array
from snapsim.units import HOUR, SECOND

_OPS = {b"Read": READ, b"Write": WRITE, b"Trim": DISCARD, b"Zero": WRITE_ZEROES, b"Flush": FLUSH}
_OTHER = (b"Connect", b"Disconnect", b"Extents", b"Cache", b"Ready", b"Fork", b"Preconnect", b"ListExports")
_DOTS = word(b"...")
_CONNECTION = word(b"connection=")
_FAILED = word(b"-1")
_WAITING, _UNANSWERED, _ANSWERED, _REFUSED = range(4)
# how many requests may wait for the answer of an older one before that one counts as never answered
_PATIENCE = 1 << 20
_MAX_CONNECTION, _MAX_ID = 1 << 22, 1 << 40


_FIRST_LINE = re.compile(
    rb"\s*\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ (connection=\d+ )?(\.\.\.)?("
    + b"|".join((*_OPS, *_OTHER))
    + rb")\b"
)


class _Requests(NamedTuple):
    """Requests in the order in which they were sent, and what is known of their answers."""

    time_ns: Int64Array
    line: Int64Array
    op: UInt8Array
    offset: Int64Array
    length: Int64Array
    key: Int64Array
    latency_ns: Int64Array
    state: UInt8Array

    def rows(self, keep: slice | BoolArray) -> "_Requests":
        return _Requests(*(column[keep] for column in self))

    def then(self, later: "_Requests") -> "_Requests":
        return _Requests(*(np.concatenate(pair) for pair in zip(self, later, strict=True)))


class _Answers(NamedTuple):
    time_ns: Int64Array
    line: Int64Array
    key: Int64Array
    failed: BoolArray


class NbdkitLog(Reader):
    """Reader of nbdkit's log filter."""

    name = "nbdkit"
    title = "nbdkit log filter: every request to a virtual machine's disk"
    extensions = (".log",)
    options: ClassVar[Mapping[str, str]] = {
        "timezone": "time zone of the machine that wrote the log, whose wall clock it shows (UTC unless said)"
    }

    def sniff(self, head: bytes, name: str) -> bool:
        """Tell whether the first line is one of the log filter's."""
        del name
        return _FIRST_LINE.match(head) is not None

    def read(self, source: Source, log: ReadLog, options: Options) -> Iterator[Raw]:
        """Yield the requests in the order in which they were sent, timed from their call, with their latency."""
        clock = _WallClock(options.get("timezone", "UTC"))
        log.set_option("timezone", clock.timezone)
        log.set_start(0)
        waiting, sizes, orphans, unanswered = _NOTHING, set[int](), 0, 0
        for first_line, block in source.chunks():
            requests, answers, capacities = _parse(tokenise(block, first_line=first_line), clock, log)
            sizes |= capacities
            waiting, lost = _match(waiting.then(requests), answers)
            orphans += lost
            open_rows = np.flatnonzero(waiting.state == _WAITING)
            ready = int(open_rows[0]) if len(open_rows) else len(waiting.state)
            ready = max(ready, len(waiting.state) - _PATIENCE)
            unanswered += int((waiting.state[:ready] < _ANSWERED).sum())
            yield _finish(waiting.rows(slice(ready)), log, options)
            waiting = waiting.rows(slice(ready, None))
        unanswered += int((waiting.state < _ANSWERED).sum())
        yield _finish(waiting, log, options)
        log.skip(orphans, "answer without its call")
        if unanswered:
            log.note(
                f"{unanswered} requests were never answered (the recording was cut off): kept, without latency"
            )
        if sizes:
            log.set_capacity("", max(sizes))
        if len(sizes) > 1:
            log.note(f"the connections saw disks of {len(sizes)} sizes; the largest is taken as the capacity")


_NOTHING = _Requests(*(np.zeros(0, dtype) for dtype in ("i8", "i8", "u1", "i8", "i8", "i8", "i8", "u1")))


class _WallClock:
    """Local wall-clock times to UTC; remembers whether the clock has already been put back."""

    def __init__(self, timezone: str) -> None:
        try:
            ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            msg = f'{timezone!r} is not a time zone: name one as in "UTC" or "Europe/Berlin"'
            raise UsageError(msg) from error
        self.timezone = timezone
        self._latest = np.iinfo(np.int64).min
        self._put_back = False

    def to_utc(self, local_ns: Int64Array) -> Int64Array:
        if self.timezone == "UTC" or len(local_ns) == 0:
            return local_ns
        # in the hour that happens twice, everything after a jump back of about an hour is the second pass
        latest = np.maximum.accumulate(np.concatenate(([self._latest], local_ns)))
        second_pass = np.maximum.accumulate(local_ns < latest[:-1] - HOUR // 2) | self._put_back
        self._latest, self._put_back = int(latest[-1]), bool(second_pass[-1])
        wall = pd.DatetimeIndex(local_ns.astype("M8[ns]"))
        aware = wall.tz_localize(self.timezone, ambiguous=~second_pass, nonexistent="shift_forward")
        return aware.tz_convert("UTC").as_unit("ns").asi8


def _stamps(lines: Tokens) -> tuple[Int64Array, BoolArray]:
    """Read ``YYYY-MM-DD HH:MM:SS.ffffff``: nanoseconds since 1970 on the wall clock, and which could be read."""
    (date, date_end), (time, time_end) = lines.field(0), lines.field(1)
    layout = (
        (date, 0, 4),
        (date, 5, 7),
        (date, 8, 10),
        (time, 0, 2),
        (time, 3, 5),
        (time, 6, 8),
        (time, 9, 15),
    )
    good = (date_end - date == len("2026-11-22")) & (time_end - time == len("12:19:16.329142"))
    values = []
    for start, begin, end in layout:
        value, readable = integers(
            lines.data, np.where(good, start + begin, 0), np.where(good, start + end, 0)
        )
        values.append(value)
        good = good & readable
    year, month, day, hour, minute, second, micro = values
    good &= (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31) & (year >= 1970) & (year < 2262)
    good &= (hour < 24) & (minute < 60) & (second <= 60)
    months = np.where(good, (year - 1970) * 12 + month - 1, 0).astype("M8[M]")
    days = months.astype("M8[D]").astype(np.int64) + day - 1
    seconds = ((days * 24 + hour) * 60 + minute) * 60 + second
    return np.where(good, seconds * SECOND + micro * 1000, 0), good


def _parse(lines: Tokens, clock: _WallClock, log: ReadLog) -> tuple[_Requests, _Answers, set[int]]:
    lines = lines.rows(lines.count > 0)
    local, timed = _stamps(lines)
    connected = lines.word(2) == _CONNECTION
    connection, numbered = lines.decimal(2, skip=len("connection="))
    place = np.where(connected, 3, 2)
    answer = (_at(lines, place) & np.uint64(0xFFFFFF)) == _DOTS
    action = _at(lines, place, skip=np.where(answer, len("..."), 0))
    request = word_in(action, _OPS) & connected
    known = request | word_in(action, _OTHER)
    good = accept(
        log,
        lines,
        ("time", timed, "not a date and a time of day"),
        ("connection", numbered & (connection < _MAX_CONNECTION) | ~connected, "not a number"),
        ("action", known, "not an action of the log filter"),
    )
    for name in _OTHER:
        log.skip(int((good & (action == word(name)) & ~answer).sum()), name.decode())
    connects = np.flatnonzero(good & (action == word(b"Connect")))
    sizes = {
        int(size, 16) for row in connects for size in re.findall(r" size=(0x[0-9a-f]+)", lines.text(row))
    }
    keep = good & request
    lines, answer, action = lines.rows(keep), answer[keep], action[keep]
    time_ns = clock.to_utc(local[keep])
    number, identified = lines.decimal(4, skip=len("id="))
    identified &= number < _MAX_ID
    key = connection[keep] << 40 | number
    requests = _calls(lines, ~answer, action, time_ns, key, identified, log)
    return requests, _answers(lines, answer, time_ns, key, identified, log), sizes


def _at(lines: Tokens, place: Int64Array, *, skip: int | Int64Array = 0) -> WordArray:
    """Return the word at a place that depends on the line (2 or 3)."""
    return np.where(place == 3, lines.word(3, skip=skip), lines.word(2, skip=skip))


def _calls(
    lines: Tokens, call: BoolArray, action: WordArray, time_ns: Int64Array, key: Int64Array, identified: BoolArray,
    log: ReadLog,
) -> _Requests:  # fmt: skip
    lines, action, time_ns, key, identified = (
        lines.rows(call),
        action[call],
        time_ns[call],
        key[call],
        identified[call],
    )
    op = np.zeros(len(action), np.uint8)
    for name, code in _OPS.items():
        op[action == word(name)] = code
    flush = op == FLUSH
    offset, placed = lines.hexadecimal(5, skip=len("offset=0x"))
    length, sized = lines.hexadecimal(6, skip=len("count=0x"))
    good = accept(
        log,
        lines,
        ("end", lines.word(-1) == _DOTS, "the line was cut off"),
        ("id", identified, "not a number"),
        ("offset", (placed & (lines.word(5) == word(b"offset=0"))) | flush, "not a hexadecimal number"),
        ("count", (sized & (lines.word(6) == word(b"count=0x"))) | flush, "not a hexadecimal number"),
    )
    offset[flush] = length[flush] = 0
    unknown = np.full(len(op), -1, np.int64)
    state = np.full(len(op), _WAITING, np.uint8)
    return _Requests(time_ns, lines.line, op, offset, length, key, unknown, state).rows(good)


def _answers(
    lines: Tokens,
    answer: BoolArray,
    time_ns: Int64Array,
    key: Int64Array,
    identified: BoolArray,
    log: ReadLog,
) -> _Answers:
    lines, identified = lines.rows(answer), identified[answer]
    returned = lines.word(5) == word(b"return=0")
    failed = (lines.word(5) == word(b"return=-")) & (lines.word(5, skip=len("return=")) == _FAILED)
    good = accept(
        log,
        lines,
        ("id", identified, "not a number"),
        ("return", returned | failed, "neither return=0 nor return=-1"),
    )
    return _Answers(time_ns[answer][good], lines.line[good], key[answer][good], failed[good])


def _match(requests: _Requests, answers: _Answers) -> tuple[_Requests, int]:
    """Give answers to the requests that wait for them; return also how many answers found none.

    Sorted by connection and id, then by line, an answer belongs to the call just before it.  A call that is followed
    by another one of the same connection and id will never be answered: connections are numbered from 1 again when
    a second run is appended to the log.
    """
    waiting = np.flatnonzero(requests.state == _WAITING)
    key = np.concatenate((requests.key[waiting], answers.key))
    order = np.lexsort((np.concatenate((requests.line[waiting], answers.line)), key))
    is_call = order < len(waiting)
    same = key[order[:-1]] == key[order[1:]]
    requests.state[waiting[order[:-1][same & is_call[:-1] & is_call[1:]]]] = _UNANSWERED
    hit = np.flatnonzero(same & is_call[:-1] & ~is_call[1:])
    asked, given = waiting[order[hit]], order[hit + 1] - len(waiting)
    # a clock that was put back during the request tells nothing about its latency
    requests.latency_ns[asked] = np.maximum(answers.time_ns[given] - requests.time_ns[asked], -1)
    requests.state[asked] = np.where(answers.failed[given], _REFUSED, _ANSWERED)
    return requests, len(answers.key) - len(hit)


def _finish(requests: _Requests, log: ReadLog, options: Options) -> Raw:
    failed = requests.state == _REFUSED
    log.skip(int(failed.sum()), "failed")
    time_ns, line, op, offset, length, _, latency_ns, _ = requests.rows(~failed)
    offset, length = scaled(offset, options.units.address), scaled(length, options.units.length)
    return Raw(time_ns, op, offset, length, line, latency_ns=latency_ns)


READERS = (NbdkitLog(),)
