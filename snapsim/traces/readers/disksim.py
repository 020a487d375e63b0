"""ASCII traces of DiskSim and of the SSD simulators that took its form: `time device sector sectors flag`.

In all of them bit 0 of the flag says read; but DiskSim's times are milliseconds with decimals and its devices
have addresses of their own, while SSDsim and MQSim count nanoseconds and ignore the device.
"""

import re
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from snapsim.traces.readers.base import (
    Options,
    Raw,
    Reader,
    ReadLog,
    Units,
    choice,
    matching_share,
    sample_lines,
    scaled,
)
from snapsim.traces.readers.delimited import SPACES, DelimitedReader, Field, Kind, Layout, Rows, name_codes
from snapsim.traces.source import Source
from snapsim.types import READ, WRITE
from snapsim.units import MILLISECOND

_LINE = re.compile(r"\s*(?:\d+|\d*\.\d+)\s+\d+\s+\d+\s+\d+\s+\d+\s*")
_FLAGS = {"1=read": READ, "1=write": WRITE}
_DEVICES = ("volume", "ignore")


class _AsciiReader(DelimitedReader):
    """What the three have in common."""

    extensions = (".trace", ".ascii", ".trc")
    options: ClassVar[Mapping[str, str]] = {
        "flag": 'What bit 0 of the flag means: "1=read" (the default) or "1=write".',
        "devices": '"volume" makes each device a volume; "ignore" takes all addresses as one volume\'s.',
    }
    devices: ClassVar[str]

    def layout(self, source: Source, options: Options) -> Layout:
        return Layout(
            fields=(
                Field(
                    "time",
                    0,
                    Kind.INTEGER if options.units.time == 1 else Kind.DECIMAL,
                    unit=options.units.time,
                ),
                Field("device", 1, Kind.NAME),
                Field("sector", 2, Kind.INTEGER),
                Field("sectors", 3, Kind.INTEGER),
                Field("flag", 4, Kind.INTEGER),
            ),
            width=5,
            ops={},
            separator=SPACES,
            header=("time", "sector"),
        )

    def raw(self, rows: Rows, log: ReadLog, options: Options) -> Raw:
        one = choice(options, "flag", "1=read", tuple(_FLAGS))
        devices = choice(options, "devices", self.devices, _DEVICES)
        log.set_option("flag", one)
        log.set_option("devices", devices)
        if devices == "ignore" and len(np.unique(rows.columns["device"].codes)) > 1:
            log.note(
                'the device column is ignored: all share one address space (devices="volume" parts them)'
            )
        set_, clear = (READ, WRITE) if _FLAGS[one] == READ else (WRITE, READ)
        return Raw(
            time_ns=rows.columns["time"],
            op=np.where(rows.columns["flag"] & 1, np.uint8(set_), np.uint8(clear)),
            offset=scaled(rows.columns["sector"], options.units.address),
            length=scaled(rows.columns["sectors"], options.units.length),
            line=rows.line,
            volume=name_codes(rows.columns["device"], log) if devices == "volume" else None,
        )


class DiskSimReader(_AsciiReader):
    """Milliseconds, sectors of 512 bytes; a volume is a device."""

    name = "disksim"
    title = "DiskSim ASCII"
    units = Units(time=MILLISECOND, address=512, length=512)
    devices = "volume"

    def sniff(self, head: bytes, name: str) -> bool:
        return matching_share(head, _LINE) > 0.9 and _has_decimals(head)


class SsdSimReader(_AsciiReader):
    """Nanoseconds, sectors of 512 bytes; the device is ignored, as the simulator does."""

    name = "ssdsim"
    title = "SSDsim ASCII"
    units = Units(time=1, address=512, length=512)
    devices = "ignore"

    def sniff(self, head: bytes, name: str) -> bool:
        return matching_share(head, _LINE) > 0.9 and not _has_decimals(head)


class MqSimReader(SsdSimReader):
    """As SSDsim's, to the last letter: never sniffed, but it has its name."""

    name = "mqsim"
    title = "MQSim ASCII"

    def sniff(self, head: bytes, name: str) -> bool:
        return False


def _has_decimals(head: bytes) -> bool:
    return any("." in line for line in sample_lines(head))


READERS: tuple[Reader, ...] = (DiskSimReader(), SsdSimReader(), MqSimReader())
