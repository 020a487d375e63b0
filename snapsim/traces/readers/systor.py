"""SYSTOR '17 traces of virtual desktops: `Timestamp,Response,IOType,LUN,Offset,Size`.

Source: SNIA IOTTA repository, trace 4964.
"""

import re

from snapsim.traces.readers.base import Options, Raw, ReadLog, Units, matching_share, scaled
from snapsim.traces.readers.delimited import DelimitedReader, Field, Kind, Layout, Rows, name_codes
from snapsim.traces.source import Source
from snapsim.types import READ, WRITE
from snapsim.units import SECOND

_LINE = re.compile(
    r"\d{9,10}\.\d+,[\d.]*,[RW]?,\d+,\d+,\d*|Timestamp,Response,IOType,LUN,Offset,Size", re.IGNORECASE
)


class SystorReader(DelimitedReader):
    """Times are Unix seconds with nine decimals, offsets and sizes bytes; a volume is a LUN.

    A line without an IOType stands for a request that was never answered: it is skipped and counted.
    """

    name = "systor"
    title = "SYSTOR '17 virtual desktops"
    extensions = (".csv",)
    units = Units(time=SECOND, address=1, length=1)

    def sniff(self, head: bytes, name: str) -> bool:
        return matching_share(head, _LINE) > 0.9

    def layout(self, source: Source, options: Options) -> Layout:
        return Layout(
            fields=(
                Field("Timestamp", 0, Kind.DECIMAL, unit=options.units.time),
                Field("Response", 1, Kind.DECIMAL, unit=SECOND, optional=True),
                Field("IOType", 2, Kind.OP),
                Field("LUN", 3, Kind.NAME),
                Field("Offset", 4, Kind.INTEGER),
                Field(
                    "Size", 5, Kind.DECIMAL
                ),  # blank where there is no IOType: a column of integers would fail
            ),
            width=6,
            ops={"R": READ, "W": WRITE, "": "no response"},
            header=("timestamp", "iotype"),
        )

    def raw(self, rows: Rows, log: ReadLog, options: Options) -> Raw:
        log.set_start(0)
        return Raw(
            time_ns=rows.columns["Timestamp"],
            op=rows.columns["IOType"],
            offset=scaled(rows.columns["Offset"], options.units.address),
            length=scaled(rows.columns["Size"], options.units.length),
            line=rows.line,
            volume=name_codes(rows.columns["LUN"], log),
            latency_ns=rows.columns["Response"],
        )


READERS = (SystorReader(),)
