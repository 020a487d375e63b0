"""HP's SRT traces: a text header that describes the disks, then big-endian records of 32-bit numbers.

Block numbers count the header's sectors (256 bytes on the disks of 1992) from the disk's start.  A device
number is a section of a disk: disk in bits 8 to 15, section in bits 0 to 7; each is a volume, named in
hexadecimal.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import ClassVar

import numpy as np

from snapsim.errors import RefusedFileError
from snapsim.traces.readers.base import Options, Raw, Reader, ReadLog, Units, scaled
from snapsim.traces.readers.records import Records, SizedRecords
from snapsim.traces.readers.volumes import volume_codes
from snapsim.traces.readers.wallclock import TIMEZONE_OPTION, wall_clock
from snapsim.traces.source import Source
from snapsim.types import READ, WRITE, Int64Array
from snapsim.units import MICROSECOND, SECOND

_FIELDS = (
    "size", "id", "second", "microsecond", "start", "stop", "bytes", "block", "device", "driver",
    "cylinder", "flags", "info", "queue",
)  # fmt: skip
_RECORD = np.dtype([(name, ">i4") for name in _FIELDS])
_ID_AT = 4
# an id is a version and a kind: version 4, kind 1 is a short I/O record
_VERSION_4 = b"\x00\x04"
_IO_KIND = 1
_READ_FLAG = 1

_MAGIC = b"$$TR_IOREC"
_FORM_FEED = b"\x0c"
_LONGEST_HEADER = 1 << 20
_DISK = re.compile(
    r"(?P<disk>\d+)\s*->\s*\{\s*disktype.*?nspt\s*=\s*(?P<nspt>\d+).*?ntpc\s*=\s*(?P<ntpc>\d+)"
    r".*?ncyl\s*=\s*(?P<ncyl>\d+).*?sectorsize\s*=\s*(?P<sectorsize>\d+)",
    re.DOTALL,
)
_TRACE_DATE = re.compile(r'tracedate\s*=\s*"([^"]+)"')


class HpSrt(Reader):
    """Reader of HP's SRT traces."""

    name = "hp-srt"
    title = "HP SRT (Cello, hplajw): a workstation's disks in the 1990s"
    extensions = (".srt",)
    units = Units(time=MICROSECOND, address=256, length=1)
    options: ClassVar[Mapping[str, str]] = {"timezone": TIMEZONE_OPTION}

    def sniff(self, head: bytes, name: str) -> bool:
        """Tell whether the file begins as the header of an SRT trace does."""
        del name
        return head.startswith(_MAGIC)

    def read(self, source: Source, log: ReadLog, options: Options) -> Iterator[Raw]:
        """Yield the requests in file order, timed from their arrival, with their latency."""
        head, feed, _ = source.head(_LONGEST_HEADER).partition(_FORM_FEED)
        if not head.startswith(_MAGIC) or not feed:
            raise RefusedFileError(f"{source.name} is no SRT trace: it has no header that a form feed ends")
        header = head.decode("latin-1")
        log.skip(header.count("\n") + 1, "header")
        _set_start(header, log, options)
        capacities = _capacities(header, options)
        if capacities:
            log.note("each volume is a section of a disk; its addresses and capacity are those of the disk")
        records = SizedRecords(_RECORD, size=(">i", 0), magic=_VERSION_4, magic_at=_ID_AT)
        with source.binary() as stream:
            stream.read(len(head) + len(feed))
            for number, rows, _, _ in records.read(stream, log):
                yield _requests(number, rows, capacities, log, options)


READERS = (HpSrt(),)


def _set_start(header: str, log: ReadLog, options: Options) -> None:
    match = _TRACE_DATE.search(header)
    if match is None:
        return
    try:
        date = datetime.strptime(match[1], "%a %b %d %H:%M:%S %Y").replace(tzinfo=UTC)
    except ValueError:
        log.note(f"the header's date {match[1]!r} cannot be read, so the trace's start is unknown")
        return
    local_ns = np.array([int(date.timestamp()) * SECOND], np.int64)
    log.set_start(int(wall_clock(options, log).to_utc(local_ns)[0]))


def _capacities(header: str, options: Options) -> dict[int, int]:
    """Read each disk's size from its geometry."""
    sizes = {}
    for disk in _DISK.finditer(header):
        if int(disk["sectorsize"]) == options.units.address:
            sectors = int(disk["nspt"]) * int(disk["ntpc"]) * int(disk["ncyl"])
            sizes[int(disk["disk"])] = sectors * options.units.address
    return sizes


def _requests(
    number: Int64Array, rows: Records, capacities: dict[int, int], log: ReadLog, options: Options
) -> Raw:
    io = (rows["id"] & 0xFFFF) == _IO_KIND
    log.skip(int((~io).sum()), "record of another kind")
    number, rows = number[io], rows[io]
    unit = options.units
    devices = rows["device"].astype(np.int64)
    for device in np.unique(devices).tolist():
        if (disk := device >> 8 & 0xFF) in capacities:
            log.set_capacity(_device_name(device), capacities[disk])
    fields = {
        name: rows[name].astype(np.int64) for name in ("second", "microsecond", "stop", "block", "bytes")
    }
    return Raw(
        scaled(fields["second"] * (SECOND // MICROSECOND) + fields["microsecond"], unit.time),
        np.where(rows["flags"] & _READ_FLAG, READ, WRITE).astype(np.uint8),
        scaled(fields["block"], unit.address),
        scaled(fields["bytes"], unit.length),
        number,
        volume_codes(log, devices, _device_name),
        np.maximum(scaled(fields["stop"], unit.time), -1),
    )


def _device_name(device: int) -> str:
    return f"0x{device & 0xFFFFFFFF:08x}"
