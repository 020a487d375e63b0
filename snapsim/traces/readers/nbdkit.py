"""The log of nbdkit's log filter: every request that a virtual machine sent to its disk.

A request is two lines, joined by connection and id; ``...`` ends the call and begins the answer::

    2026-11-22 12:19:16.329142 connection=1 Read id=9 offset=0xfffdf000 count=0x1000 ...
    2026-11-22 12:19:16.329153 connection=1 ...Read id=9 return=0

Source: nbdkit-log-filter(1).  The stamps are the recording machine's wall clock, hence the `timezone`
option.

A recording with fingerprints of contents (`snapsim record nbd --contents`) says ``contents=`` where a client
connects, and ``digest=`` in the calls of its writes.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from snapsim.traces.fingerprints import BLOCK, SCHEME, SIZE
from snapsim.traces.readers.base import Options, Raw, Reader, ReadLog, scaled
from snapsim.traces.readers.tokens import (
    BoolArray,
    Tokens,
    WordArray,
    accept,
    blocks,
    integers,
    word,
    word_in,
)
from snapsim.traces.readers.wallclock import TIMEZONE_OPTION, WallClock, wall_clock
from snapsim.traces.source import Source
from snapsim.types import DISCARD, FLUSH, READ, WRITE, WRITE_ZEROES, Int64Array, UInt8Array
from snapsim.units import SECOND

_OPS = {b"Read": READ, b"Write": WRITE, b"Trim": DISCARD, b"Zero": WRITE_ZEROES, b"Flush": FLUSH}
_OTHER = (b"Connect", b"Disconnect", b"Extents", b"Cache", b"Ready", b"Fork", b"Preconnect", b"ListExports")
_FIRST_LINE = re.compile(
    rb"\s*\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6} (connection=\d+ )?(\.\.\.)?("
    + b"|".join((*_OPS, *_OTHER))
    + rb")\b"
)
_DOTS, _DIGEST = word(b"..."), word(b"digest=")
_WAITING, _UNANSWERED, _ANSWERED, _REFUSED = range(4)
# how many requests may queue behind one that waits for its answer before it counts as never answered
_PATIENCE = 1 << 20
_MAX_CONNECTION, _MAX_ID = 1 << 22, 1 << 40


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
    digest: npt.NDArray[np.object_]

    def rows(self, keep: Any) -> "_Requests":
        return _Requests(*(column[keep] for column in self))

    def then(self, later: "_Requests") -> "_Requests":
        columns: Any = zip(self, later, strict=True)
        return _Requests(*(np.concatenate(pair) for pair in columns))


class _Calls(NamedTuple):
    """Lines that begin or end a request."""

    lines: Tokens
    action: WordArray
    time_ns: Int64Array
    key: Int64Array
    identified: BoolArray

    def rows(self, keep: BoolArray) -> "_Calls":
        columns: Any = self[1:]
        return _Calls(self.lines.rows(keep), *(column[keep] for column in columns))


class _Answers(NamedTuple):
    time_ns: Int64Array
    line: Int64Array
    key: Int64Array
    failed: BoolArray


_NOTHING = _Requests(*(np.zeros(0, dtype) for dtype in ("i8", "i8", "u1", "i8", "i8", "i8", "i8", "u1", "O")))


class NbdkitLog(Reader):
    """Reader of nbdkit's log filter."""

    name = "nbdkit"
    title = "nbdkit log filter: every request to a virtual machine's disk"
    extensions = (".log",)
    options: ClassVar[Mapping[str, str]] = {"timezone": TIMEZONE_OPTION}

    def sniff(self, head: bytes, name: str) -> bool:
        """Tell whether the first line is one of the log filter's."""
        del name
        return _FIRST_LINE.match(head) is not None

    def read(self, source: Source, log: ReadLog, options: Options) -> Iterator[Raw]:
        """Yield the requests in the order in which they were sent, timed from their call, with latencies."""
        clock = wall_clock(options, log)
        log.set_start(0)
        queue, sizes, unanswered, digested = _NOTHING, set[int](), 0, False
        for lines in blocks(source, log):
            calls, answers, capacities = _parse(lines, clock, log)
            digested = log.contents == SCHEME
            sizes |= capacities
            if capacities:
                log.set_capacity("", max(sizes))
            queue = queue.then(_requests(calls, log, digested=digested))
            _match(queue, answers, log)
            waiting = np.flatnonzero(queue.state == _WAITING)
            ready = int(waiting[0]) if len(waiting) else len(queue.state)
            ready = max(ready, len(queue.state) - _PATIENCE)
            unanswered += int((queue.state[:ready] < _ANSWERED).sum())
            if ready:  # what comes before the first client cannot tell whether there are digests
                yield _finish(queue.rows(slice(ready)), log, options, digested=digested)
            queue = queue.rows(slice(ready, None))
        unanswered += int((queue.state < _ANSWERED).sum())
        yield _finish(queue, log, options, digested=digested)
        if unanswered:
            log.note(
                f"{unanswered} requests were never answered (the recording ended): kept, without latency"
            )
        if len(sizes) > 1:
            log.note(f"the connections saw disks of {len(sizes)} sizes; the largest is taken as the capacity")


READERS = (NbdkitLog(),)


def _parse(lines: Tokens, clock: WallClock, log: ReadLog) -> tuple[_Calls, _Answers, set[int]]:
    local_ns, timed = _stamps(lines)
    connected = lines.word(2) == word(b"connection=")
    connection, numbered = lines.decimal(2, skip=len("connection="))
    place = np.where(connected, 3, 2)
    answer = (_word_at(lines, place) & np.uint64(0xFFFFFF)) == _DOTS
    action = _word_at(lines, place, skip=np.where(answer, len("..."), 0))
    request = word_in(action, _OPS) & connected
    good = accept(
        log,
        lines,
        ("time", timed, "not a date and a time of day"),
        ("connection", numbered & (connection < _MAX_CONNECTION) | ~connected, "not a number"),
        ("action", request | word_in(action, _OTHER), "not an action of the log filter"),
    )
    for name in _OTHER:
        log.skip(int((good & (action == word(name)) & ~answer).sum()), name.decode())
    connects = np.flatnonzero(good & (action == word(b"Connect"))).tolist()
    texts = [lines.text(row) for row in connects]
    sizes = {int(size, 16) for text in texts for size in re.findall(r" size=(0x[0-9a-f]+)", text)}
    if log.contents is None and texts:  # the first connection speaks for all: a column is there or is not
        log.set_contents(SCHEME if f" contents={SCHEME}" in texts[0] else "")
    keep = good & request
    number, identified = lines.decimal(4, skip=len("id="))
    key = (connection << 40) | number
    time_ns = clock.to_utc(local_ns[keep])
    calls = _Calls(
        lines.rows(keep), action[keep], time_ns, key[keep], (identified & (number < _MAX_ID))[keep]
    )
    return calls.rows(~answer[keep]), _answers(calls.rows(answer[keep]), log), sizes


def _word_at(lines: Tokens, place: Int64Array, *, skip: int | Int64Array = 0) -> WordArray:
    return np.where(place == 3, lines.word(3, skip=skip), lines.word(2, skip=skip))


def _stamps(lines: Tokens) -> tuple[Int64Array, BoolArray]:
    """Read ``YYYY-MM-DD HH:MM:SS.ffffff`` as nanoseconds on the wall clock; tell which could be read."""
    (date, date_end), (time, time_end) = lines.field(0), lines.field(1)
    good = (date_end - date == len("2026-11-22")) & (time_end - time == len("12:19:16.329142"))
    layout = (
        (date, 0, 4),
        (date, 5, 7),
        (date, 8, 10),
        (time, 0, 2),
        (time, 3, 5),
        (time, 6, 8),
        (time, 9, 15),
    )
    values = []
    for start, begin, end in layout:
        value, readable = integers(
            lines.data, np.where(good, start + begin, 0), np.where(good, start + end, 0)
        )
        values.append(value)
        good &= readable
    year, month, day, hour, minute, second, micro = values
    good &= (year >= 1970) & (year < 2262) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    good &= (hour < 24) & (minute < 60) & (second <= 60)
    months = np.where(good, (year - 1970) * 12 + month - 1, 0).astype("M8[M]")
    days = months.astype("M8[D]").astype(np.int64) + day - 1
    seconds = ((days * 24 + hour) * 60 + minute) * 60 + second
    return np.where(good, seconds * SECOND + micro * 1000, 0), good


def _requests(calls: _Calls, log: ReadLog, *, digested: bool) -> _Requests:
    lines = calls.lines
    op = np.zeros(len(calls.action), np.uint8)
    for name, code in _OPS.items():
        op[calls.action == word(name)] = code
    flush = op == FLUSH
    offset, placed = lines.hexadecimal(5, skip=len("offset=0x"))
    length, sized = lines.hexadecimal(6, skip=len("count=0x"))
    good = accept(
        log,
        lines,
        ("end", lines.word(-1) == _DOTS, "the line was cut off"),
        ("id", calls.identified, "not a number"),
        ("offset", (placed & (lines.word(5) == word(b"offset=0"))) | flush, "not a hexadecimal number"),
        ("count", (sized & (lines.word(6) == word(b"count=0x"))) | flush, "not a hexadecimal number"),
    )
    offset[flush] = length[flush] = 0
    digest = np.full(len(op), b"", object)
    latency_ns, state = np.full(len(op), -1, np.int64), np.full(len(op), _WAITING, np.uint8)
    columns = (calls.time_ns, lines.line, op, offset, length, calls.key, latency_ns, state, digest)
    requests = _Requests(*columns)
    if digested:
        good &= _read_digests(lines, requests, good, log)
    return requests.rows(good)


def _read_digests(lines: Tokens, requests: _Requests, good: BoolArray, log: ReadLog) -> BoolArray:
    """Read the fingerprints of writes in place; drop the lines whose fingerprints are not theirs."""
    start, stop = lines.field(-2, skip=len("digest="))
    named = (lines.word(-2) & np.uint64(0xFFFFFFFFFFFFFF)) == _DIGEST
    first, last = requests.offset // BLOCK, (requests.offset + requests.length - 1) // BLOCK
    size = (last - first + 1) * SIZE
    fits = np.ones(len(good), bool)
    for row in np.flatnonzero(good & (requests.op == WRITE)).tolist():
        try:
            found = bytes.fromhex(lines.data[start[row] : stop[row]].tobytes().decode())
        except ValueError:
            found = b""
        fits[row] = named[row] and len(found) == size[row]
        requests.digest[row] = found
    log.drop_rows(lines.line[~fits], "digest", "is not one fingerprint for each block of the write")
    return fits


def _answers(calls: _Calls, log: ReadLog) -> _Answers:
    lines = calls.lines
    failed = lines.word(5) == word(b"return=-1")
    understood = failed | (lines.word(5) == word(b"return=0"))
    good = accept(
        log,
        lines,
        ("id", calls.identified, "not a number"),
        ("return", understood, "neither return=0 nor return=-1"),
    )
    return _Answers(calls.time_ns[good], lines.line[good], calls.key[good], failed[good])


def _match(queue: _Requests, answers: _Answers, log: ReadLog) -> None:
    """Give answers to the requests that wait for them.

    Sorted by connection and id, then by line, an answer belongs to the call just before it.  A call that is
    followed by another one of the same connection and id will never be answered: a second run, appended to
    the same log, numbers its connections from 1 again.
    """
    waiting = np.flatnonzero(queue.state == _WAITING)
    key = np.concatenate((queue.key[waiting], answers.key))
    order = np.lexsort((np.concatenate((queue.line[waiting], answers.line)), key))
    is_call = order < len(waiting)
    call_first = (key[order[:-1]] == key[order[1:]]) & is_call[:-1]
    queue.state[waiting[order[:-1][call_first & is_call[1:]]]] = _UNANSWERED
    hit = np.flatnonzero(call_first & ~is_call[1:])
    asked, given = waiting[order[hit]], order[hit + 1] - len(waiting)
    # a clock that was put back during the request tells nothing about its latency
    queue.latency_ns[asked] = np.maximum(answers.time_ns[given] - queue.time_ns[asked], -1)
    queue.state[asked] = np.where(answers.failed[given], _REFUSED, _ANSWERED)
    log.skip(len(answers.key) - len(hit), "answer without its call")


def _finish(queue: _Requests, log: ReadLog, options: Options, *, digested: bool) -> Raw:
    failed = queue.state == _REFUSED
    log.skip(int(failed.sum()), "failed")
    time_ns, line, op, offset, length, _, latency_ns, _, digest = queue.rows(~failed)
    offset, length = scaled(offset, options.units.address), scaled(length, options.units.length)
    kept = digest if digested else None
    return Raw(time_ns, op, offset, length, line, latency_ns=latency_ns, digest=kept)
