"""Open CAS I/O traces, decoded to CSV: `ts_ns,op,lba512,len512,flush,fua,device,...`."""

import numpy as np

from snapsim.traces.readers.base import Options, Raw, ReadLog, Units, sample_lines, scaled
from snapsim.traces.readers.delimited import DelimitedReader, Field, Kind, Layout, Rows, name_codes
from snapsim.traces.source import Source
from snapsim.types import DISCARD, FLUSH, READ, WRITE

_HEADER = "ts_ns,op,lba512,len512,flush,fua,device"
_LAYOUT = Layout(
    fields=(
        Field("ts_ns", 0, Kind.INTEGER),
        Field("op", 1, Kind.OP),
        Field("lba512", 2, Kind.INTEGER),
        Field("len512", 3, Kind.INTEGER),
        Field("flush", 4, Kind.INTEGER),
        Field("device", 6, Kind.NAME),
    ),
    width=7,
    ops={"R": READ, "W": WRITE, "D": DISCARD},
    header=("ts_ns", "lba512"),
    more_fields=True,
)


class OctfReader(DelimitedReader):
    """Times are nanoseconds from the start, addresses and lengths sectors of 512 bytes; a volume is a device.

    A write of no sectors with the flush mark is a FLUSH.
    """

    name = "octf"
    title = "Open CAS I/O trace as CSV"
    extensions = (".csv",)
    units = Units(time=1, address=512, length=512)

    def sniff(self, head: bytes, name: str) -> bool:
        return any(line.startswith(_HEADER) for line in sample_lines(head, 1))

    def layout(self, source: Source, options: Options) -> Layout:
        return _LAYOUT

    def raw(self, rows: Rows, log: ReadLog, options: Options) -> Raw:
        only_flush = (rows.columns["len512"] == 0) & (rows.columns["flush"] != 0)
        return Raw(
            time_ns=scaled(rows.columns["ts_ns"], options.units.time),
            op=np.where(only_flush, np.uint8(FLUSH), rows.columns["op"]),
            offset=scaled(rows.columns["lba512"], options.units.address),
            length=scaled(rows.columns["len512"], options.units.length),
            line=rows.line,
            volume=name_codes(rows.columns["device"], log),
        )


READERS = (OctfReader(),)
