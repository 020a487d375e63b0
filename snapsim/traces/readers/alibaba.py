"""Alibaba block traces of 2020: `device_id,opcode,offset,length,timestamp`, all devices in one file."""

import re
from collections.abc import Iterator
from pathlib import Path

from snapsim.errors import TraceError
from snapsim.traces.readers.base import Options, Raw, ReadLog, Units, matching_share, scaled
from snapsim.traces.readers.delimited import DelimitedReader, Field, Kind, Layout, Rows, name_codes
from snapsim.traces.source import Source
from snapsim.types import READ, WRITE
from snapsim.units import MICROSECOND

_SIZES = "device_size.csv"
_LINE = re.compile(r"\d+,[RW],\d+,\d+,\d+|device_id,opcode,.*")
_LAYOUT = Layout(
    fields=(
        Field("device_id", 0, Kind.NAME),
        Field("opcode", 1, Kind.OP),
        Field("offset", 2, Kind.INTEGER),
        Field("length", 3, Kind.INTEGER),
        Field("timestamp", 4, Kind.INTEGER),
    ),
    width=5,
    ops={"R": READ, "W": WRITE},
    header=("device_id", "opcode"),
)


class AlibabaReader(DelimitedReader):
    """Times are Unix microseconds, offsets and lengths bytes; a volume is a device.

    Capacities are taken from `device_size.csv` (`device_id,capacity` in bytes) where that lies beside the
    trace.
    """

    name = "alibaba"
    title = "Alibaba block traces 2020"
    extensions = (".csv",)
    units = Units(time=MICROSECOND, address=1, length=1)
    side_files = (_SIZES,)

    def sniff(self, head: bytes, name: str) -> bool:
        return matching_share(head, _LINE) > 0.9

    def layout(self, source: Source, options: Options) -> Layout:
        return _LAYOUT

    def read(self, source: Source, log: ReadLog, options: Options) -> Iterator[Raw]:
        sizes = source.path.with_name(_SIZES)
        if sizes.is_file():
            for device, size in _sizes(sizes):
                log.set_capacity(device, size)
        yield from super().read(source, log, options)

    def raw(self, rows: Rows, log: ReadLog, options: Options) -> Raw:
        log.set_start(0)
        return Raw(
            time_ns=scaled(rows.columns["timestamp"], options.units.time),
            op=rows.columns["opcode"],
            offset=scaled(rows.columns["offset"], options.units.address),
            length=scaled(rows.columns["length"], options.units.length),
            line=rows.line,
            volume=name_codes(rows.columns["device_id"], log),
        )


def _sizes(path: Path) -> Iterator[tuple[str, int]]:
    """Yield devices and their capacities.  [bytes]"""
    for number, line in Source(path).lines():
        device, _, size = line.partition(",")
        if size.strip().isdecimal():
            yield device.strip(), int(size)
        elif line.strip() and number > 1:
            msg = f"{path.name}, line {number}: {line[:40]!r} is not a device and its capacity in bytes"
            raise TraceError(msg)


READERS = (AlibabaReader(),)
