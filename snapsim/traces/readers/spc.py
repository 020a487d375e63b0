"""SPC traces, as in the UMass repository: `ASU,LBA,Size,Opcode,Timestamp[,...]`.

Source: Storage Performance Council, trace file format specification, revision 1.0.1.
"""

import re

from snapsim.traces.readers.base import Options, Raw, ReadLog, Units, matching_share, scaled
from snapsim.traces.readers.delimited import DelimitedReader, Field, Kind, Layout, Rows, name_codes
from snapsim.traces.source import Source
from snapsim.types import READ, WRITE
from snapsim.units import SECOND

_LINE = re.compile(r"\s*\d+\s*,\s*\d+\s*,\s*\d+\s*,\s*[rRwW]\s*,\s*\d*\.?\d+(?:[eE][+-]?\d+)?\s*(?:,.*)?")


class SpcReader(DelimitedReader):
    """Addresses are blocks of 512 bytes but sizes are bytes; times are seconds from the start.

    A volume is an application storage unit (ASU): each has addresses of its own, from 0.
    """

    name = "spc"
    title = "SPC (UMass Financial, WebSearch)"
    extensions = (".spc",)
    units = Units(time=SECOND, address=512, length=1)

    def sniff(self, head: bytes, name: str) -> bool:
        return matching_share(head, _LINE) > 0.9

    def layout(self, source: Source, options: Options) -> Layout:
        return Layout(
            fields=(
                Field("ASU", 0, Kind.NAME),
                Field("LBA", 1, Kind.INTEGER),
                Field("Size", 2, Kind.INTEGER),
                Field("Opcode", 3, Kind.OP),
                Field("Timestamp", 4, Kind.DECIMAL, unit=options.units.time),
            ),
            width=5,
            ops={"r": READ, "R": READ, "w": WRITE, "W": WRITE},
            header=("asu", "opcode"),
            more_fields=True,
        )

    def raw(self, rows: Rows, log: ReadLog, options: Options) -> Raw:
        return Raw(
            time_ns=rows.columns["Timestamp"],
            op=rows.columns["Opcode"],
            offset=scaled(rows.columns["LBA"], options.units.address),
            length=scaled(rows.columns["Size"], options.units.length),
            line=rows.line,
            volume=name_codes(rows.columns["ASU"], log),
        )


READERS = (SpcReader(),)
