"""Tencent cloud block storage traces: `Timestamp,Offset,Size,IOType,VolumeID`, all volumes in one file.

Source: SNIA IOTTA repository, parallel traces; published at ATC '20.
"""

import re

from snapsim.traces.readers.base import Options, Raw, ReadLog, Units, matching_share, scaled
from snapsim.traces.readers.delimited import DelimitedReader, Field, Kind, Layout, Rows, name_codes
from snapsim.traces.source import Source
from snapsim.types import READ, WRITE
from snapsim.units import SECOND

_LINE = re.compile(r"\d{9,10},\d+,\d+,[01],\d+|Timestamp,Offset,Size,IOType,VolumeID", re.IGNORECASE)
_LAYOUT = Layout(
    fields=(
        Field("Timestamp", 0, Kind.INTEGER),
        Field("Offset", 1, Kind.INTEGER),
        Field("Size", 2, Kind.INTEGER),
        Field("IOType", 3, Kind.OP),
        Field("VolumeID", 4, Kind.NAME),
    ),
    width=5,
    ops={"0": READ, "1": WRITE},
    header=("timestamp", "iotype"),
)


class TencentReader(DelimitedReader):
    """Times are whole Unix seconds, offsets and sizes sectors of 512 bytes.

    Many requests share a second; within it they stay in file order.
    """

    name = "tencent"
    title = "Tencent cloud block storage"
    extensions = (".csv",)
    units = Units(time=SECOND, address=512, length=512)

    def sniff(self, head: bytes, name: str) -> bool:
        return matching_share(head, _LINE) > 0.9

    def layout(self, source: Source, options: Options) -> Layout:
        return _LAYOUT

    def raw(self, rows: Rows, log: ReadLog, options: Options) -> Raw:
        log.set_start(0)
        if options.units.time == SECOND:
            log.note("times are whole seconds: within a second only the order of requests is known")
        return Raw(
            time_ns=scaled(rows.columns["Timestamp"], options.units.time),
            op=rows.columns["IOType"],
            offset=scaled(rows.columns["Offset"], options.units.address),
            length=scaled(rows.columns["Size"], options.units.length),
            line=rows.line,
            volume=name_codes(rows.columns["VolumeID"], log),
        )


READERS = (TencentReader(),)
