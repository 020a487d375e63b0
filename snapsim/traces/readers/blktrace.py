"""Linux's binary block traces, ``<device>.blktrace.<cpu>``, one per processor, in the host's byte order.

Only one action of each request is counted (`tracer.choose_action`).  Times are those of the kernel's clock;
what Unix time that is stands only in a notification.  Source: the kernel's
include/uapi/linux/blktrace_api.h.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from snapsim.errors import RefusedFileError
from snapsim.traces.compression import plain_name
from snapsim.traces.readers.base import OUT_OF_RANGE, Options, Raw, Reader, ReadLog, Units, scaled
from snapsim.traces.readers.records import Records, SizedRecords
from snapsim.traces.readers.tracer import ACTION_OPTION, choose_action
from snapsim.traces.readers.volumes import volume_codes
from snapsim.traces.source import Source
from snapsim.types import DISCARD, FLUSH, READ, WRITE, Int64Array
from snapsim.units import SECOND

_VERSION = 7
_MAGIC = 0x65617400
_HEADER = np.dtype(
    [("magic", "u4"), ("sequence", "u4"), ("time", "u8"), ("sector", "u8"), ("bytes", "u4"), ("action", "u4"),
     ("pid", "u4"), ("device", "u4"), ("cpu", "u4"), ("error", "u2"), ("pdu", "u2")]
)  # fmt: skip
_PDU_AT = 46
_MINOR_BITS = 20

# low half of `action`: what happened; its bit 8 says that a control group's id precedes the payload
_ACTIONS = {"Q": 1, "D": 7, "C": 8}
_ACTION_MASK = 0xFF
_ACTION_NAMES = ("", "Q", "M", "F", "G", "S", "R", "D", "C", "P", "U", "UT", "I", "X", "B", "A")
# high half: categories
_WRITE_BIT, _FLUSH_BIT, _PASSTHROUGH_BIT, _NOTIFY_BIT, _DISCARD_BIT = (
    1 << 16 + bit for bit in (1, 2, 9, 10, 13)
)
_NOTIFY_TIMESTAMP = 1

_CPU_FILE = re.compile(r"(?P<device>.+\.blktrace)\.(?P<cpu>\d+)")


class Blktrace(Reader):
    """Reader of the block tracer's binary files."""

    name = "blktrace"
    title = "blktrace binary files: Linux block tracing, all processors' files together"
    extensions = (".blktrace.0",)
    units = Units(time=1, address=512, length=1)
    options: ClassVar[Mapping[str, str]] = {"action": ACTION_OPTION}

    def sniff(self, head: bytes, name: str) -> bool:
        """Tell whether the first record begins with the tracer's magic number, in either byte order."""
        del name
        return _byte_order(head) is not None

    def gather(self, path: Path) -> tuple[Path, ...]:
        """Return the files of all processors, in the order of their numbers."""
        match = _CPU_FILE.fullmatch(plain_name(path.name))
        if match is None:
            return (path,)
        found: dict[int, Path] = {int(match["cpu"]): path}
        for sibling in sorted(path.parent.iterdir()):
            other = _CPU_FILE.fullmatch(plain_name(sibling.name))
            if other is not None and other["device"] == match["device"]:
                found.setdefault(int(other["cpu"]), sibling)
        return tuple(found[cpu] for cpu in sorted(found))

    def read(self, source: Source, log: ReadLog, options: Options) -> Iterator[Raw]:
        """Yield the requests of the chosen action of one processor, in file order."""
        action = choose_action(options, log, lambda: _present(self.gather(source.path)))
        log.set_option("byte order", {"<": "little endian", ">": "big endian"}[_order(source)])
        for number, headers, place, block in _records(source, log):
            notify = (headers["action"] & _NOTIFY_BIT) != 0
            _set_start(headers, place, block, log)
            yield _requests(number[~notify], headers[~notify], action, log, options)
            log.skip(int(notify.sum()), "notification")


READERS = (Blktrace(),)


def _byte_order(head: bytes) -> Literal["<", ">"] | None:
    orders: tuple[Literal["<"], Literal[">"]] = ("<", ">")
    for order in orders:
        if len(head) >= 4 and int(np.frombuffer(head, f"{order}u4", 1)[0]) & 0xFFFFFF00 == _MAGIC:
            return order
    return None


def _order(source: Source) -> Literal["<", ">"]:
    head = source.head(4)
    order = _byte_order(head)
    if order is None:
        raise RefusedFileError(f"{source.name} does not begin with blktrace's magic number")
    version = head[0 if order == "<" else 3]
    if version != _VERSION:
        msg = f"{source.name} is blktrace version {version}, not {_VERSION}: convert it with blkparse"
        raise RefusedFileError(msg)
    return order


def _records(source: Source, log: ReadLog) -> Iterator[tuple[Int64Array, Records, Int64Array, bytes]]:
    order = _order(source)
    header = _HEADER.newbyteorder(order)
    magic = np.array([_MAGIC | _VERSION], f"{order}u4").tobytes()
    records = SizedRecords(
        header, size=(f"{order}H", _PDU_AT), extra=header.itemsize, magic=magic, magic_at=0
    )
    with source.binary() as stream:
        yield from records.read(stream, log)


def _present(paths: tuple[Path, ...]) -> Iterator[set[str]]:
    for path in paths:
        for _, headers, _, _ in _records(Source(path), ReadLog()):
            kinds = headers["action"][(headers["action"] & _NOTIFY_BIT) == 0] & _ACTION_MASK
            yield {choice for choice, kind in _ACTIONS.items() if (kinds == kind).any()}


def _set_start(headers: Records, place: Int64Array, block: bytes, log: ReadLog) -> None:
    """Take the Unix time of the kernel clock's zero from the first time notification."""
    if log.start_ns is not None:
        return
    kind = headers["action"] & ~np.uint32(0xFFFF0000)
    stamps = np.flatnonzero(((headers["action"] & _NOTIFY_BIT) != 0) & (kind == _NOTIFY_TIMESTAMP))
    for row in stamps[headers["pdu"][stamps] >= 8][:1].tolist():
        payload = int(place[row]) + _HEADER.itemsize
        seconds, nanoseconds = np.frombuffer(block, headers.dtype["magic"], 2, payload).tolist()
        log.set_start(seconds * SECOND + nanoseconds - int(headers["time"][row]))


def _requests(number: Int64Array, headers: Records, action: str, log: ReadLog, options: Options) -> Raw:
    kinds = headers["action"] & _ACTION_MASK
    chosen = kinds == _ACTIONS[action]
    for kind, count in enumerate(np.bincount(kinds[~chosen]).tolist()):
        known = 0 < kind < len(_ACTION_NAMES)
        log.skip(count, f"action {_ACTION_NAMES[kind] if known else kind}")
    number, headers = number[chosen], headers[chosen]
    bits, size = headers["action"], headers["bytes"].astype(np.int64)
    flush = (size == 0) & ((bits & _FLUSH_BIT) != 0)
    idle = ((size == 0) & ~flush) | ((bits & _PASSTHROUGH_BIT) != 0)
    failed = (headers["error"] != 0) & (action == "C") & ~idle
    log.skip(int(idle.sum()), "event without sectors")
    log.skip(int(failed.sum()), "failed")
    op = np.select(
        [flush, (bits & _DISCARD_BIT) != 0, (bits & _WRITE_BIT) != 0], [FLUSH, DISCARD, WRITE], READ
    ).astype(np.uint8)
    sector = np.where(headers["sector"] < 2**63, headers["sector"], 0).astype(np.int64)
    offset = np.where(headers["sector"] < 2**63, scaled(sector, options.units.address), OUT_OF_RANGE)
    keep = ~idle & ~failed
    return Raw(
        scaled(headers["time"].astype(np.int64), options.units.time)[keep],
        op[keep],
        np.where(flush, 0, offset)[keep],
        np.where(flush, 0, scaled(size, options.units.length))[keep],
        number[keep],
        volume_codes(log, headers["device"][keep].astype(np.int64), _device_name),
    )


def _device_name(device: int) -> str:
    return f"{device >> _MINOR_BITS},{device & (1 << _MINOR_BITS) - 1}"
