"""The CSV form of CloudPhysics vscsi traces: `version,time,op,size,lbn`, with ops as SCSI opcodes."""

import numpy as np

from snapsim.traces.readers.base import Options, Raw, ReadLog, Units, sample_lines, scaled
from snapsim.traces.readers.delimited import DelimitedReader, Field, Kind, Layout, Rows
from snapsim.traces.readers.scsi import OPS, SECTOR, known_extents
from snapsim.traces.source import Source
from snapsim.types import FLUSH
from snapsim.units import SECOND

_OPS: dict[str, int | str] = {
    text: OPS.get(code, f"SCSI command 0x{code:02x}")
    for code in range(256)
    for text in (f"{code:x}", f"{code:02x}")
}
_LAYOUT = Layout(
    fields=(
        Field("time", 1, Kind.INTEGER),
        Field("op", 2, Kind.OP),
        Field("size", 3, Kind.INTEGER),
        Field("lbn", 4, Kind.INTEGER),
    ),
    width=5,
    ops=_OPS,
    header=("version", "lbn"),
)


class CloudPhysicsCsvReader(DelimitedReader):
    """Times are whole seconds of the host's uptime, sizes bytes, addresses sectors of 512 bytes."""

    name = "cloudphysics-csv"
    title = "CloudPhysics vscsi as CSV"
    extensions = (".csv",)
    units = Units(time=SECOND, address=SECTOR, length=1)

    def sniff(self, head: bytes, name: str) -> bool:
        lines = sample_lines(head)
        return bool(lines) and lines[0].replace(" ", "").lower() == "version,time,op,size,lbn"

    def layout(self, source: Source, options: Options) -> Layout:
        return _LAYOUT

    def raw(self, rows: Rows, log: ReadLog, options: Options) -> Raw:
        if options.units.time == SECOND:
            log.note("times are whole seconds: within a second only the order of requests is known")
        columns = rows.columns
        op, flush = columns["op"], columns["op"] == FLUSH
        raw = Raw(
            time_ns=scaled(columns["time"], options.units.time),
            op=op,
            offset=np.where(flush, 0, scaled(columns["lbn"], options.units.address)),
            length=np.where(flush, 0, scaled(columns["size"], options.units.length)),
            line=rows.line,
        )
        keep = known_extents(op, columns["size"], log)
        return raw if keep.all() else raw.take(keep)


READERS = (CloudPhysicsCsvReader(),)
