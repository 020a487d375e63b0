"""MSR Cambridge block traces: `Timestamp,Hostname,DiskNumber,Type,Offset,Size,ResponseTime`.

Source: SNIA IOTTA repository, traces 386 to 388.
"""

import re

import numpy as np
import pandas as pd

from snapsim.traces.readers.base import Options, Raw, ReadLog, Units, matching_share, scaled
from snapsim.traces.readers.delimited import DelimitedReader, Field, Kind, Layout, Rows
from snapsim.traces.source import Source
from snapsim.types import READ, WRITE

FILETIME_TICK = 100
"""A Windows filetime counts these since 1601.  [ns]"""

_UNIX_EPOCH = 11_644_473_600 * 10_000_000  # 1970 in ticks since 1601

_LINE = re.compile(r"\d+,[^,]+,\d+,(?:Read|Write),\d+,\d+(?:,\d+)?|Timestamp,Hostname,.*", re.IGNORECASE)
_LAYOUT = Layout(
    fields=(
        Field("Timestamp", 0, Kind.INTEGER),
        Field("Hostname", 1, Kind.NAME),
        Field("DiskNumber", 2, Kind.NAME),
        Field("Type", 3, Kind.OP),
        Field("Offset", 4, Kind.INTEGER),
        Field("Size", 5, Kind.INTEGER),
        Field("ResponseTime", 6, Kind.INTEGER, unit=FILETIME_TICK, optional=True),
    ),
    width=7,
    ops={"Read": READ, "Write": WRITE, "read": READ, "write": WRITE, "R": READ, "W": WRITE},
    header=("timestamp", "hostname"),
)


class MsrReader(DelimitedReader):
    """Times are Windows filetimes, offsets and sizes bytes; a volume is a disk of a host: `rsrch_1`."""

    name = "msr"
    title = "MSR Cambridge"
    extensions = (".csv",)
    units = Units(time=FILETIME_TICK, address=1, length=1)

    def sniff(self, head: bytes, name: str) -> bool:
        return matching_share(head, _LINE) > 0.9

    def layout(self, source: Source, options: Options) -> Layout:
        return _LAYOUT

    def raw(self, rows: Rows, log: ReadLog, options: Options) -> Raw:
        log.set_start(0)
        ticks = rows.columns["Timestamp"]
        if options.units.time == FILETIME_TICK:
            ticks = ticks - _UNIX_EPOCH
        return Raw(
            time_ns=scaled(ticks, options.units.time),
            op=rows.columns["Type"],
            offset=scaled(rows.columns["Offset"], options.units.address),
            length=scaled(rows.columns["Size"], options.units.length),
            line=rows.line,
            volume=_volumes(rows.columns["Hostname"], rows.columns["DiskNumber"], log),
            latency_ns=rows.columns["ResponseTime"],
        )


def _volumes(
    hosts: pd.Categorical, disks: pd.Categorical, log: ReadLog
) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    """Disk numbers repeat across hosts, so that both make the volume."""
    width = len(disks.categories)
    pairs = hosts.codes.astype(np.int64) * width + disks.codes
    seen, first = np.unique(pairs, return_index=True)
    table = np.zeros(len(hosts.categories) * width, np.int32)
    for pair in seen[np.argsort(first)]:
        table[pair] = log.volume(
            f"{str(hosts.categories[pair // width]).strip()}_{disks.categories[pair % width]}"
        )
    return table[pairs]


READERS = (MsrReader(),)
