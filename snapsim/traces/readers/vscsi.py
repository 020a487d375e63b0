"""CloudPhysics vscsi: SCSI commands of a virtual disk as binary records, little endian, in two versions.

The field `version` tells them apart by its high byte (0x0100, 0x0200), at its own place in each layout.
The clock is the host's uptime in microseconds; v2 adds the response time.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from snapsim.errors import RefusedFileError
from snapsim.traces.readers.base import OUT_OF_RANGE, Options, Raw, Reader, ReadLog, Units, scaled
from snapsim.traces.readers.records import Records, fixed_records
from snapsim.traces.readers.scsi import OPS, SECTOR, known_extents
from snapsim.traces.source import Source
from snapsim.types import FLUSH, Int64Array
from snapsim.units import MICROSECOND

_V1 = np.dtype(
    [("serial", "<u4"), ("length", "<u4"), ("segments", "<u4"), ("command", "<u2"), ("version", "<u2"),
     ("block", "<u8"), ("time", "<u8")]
)  # fmt: skip
_V2 = np.dtype(
    [("command", "<u2"), ("version", "<u2"), ("serial", "<u4"), ("length", "<u4"), ("segments", "<u4"),
     ("block", "<u8"), ("time", "<u8"), ("response", "<u8")]
)  # fmt: skip
_LAYOUTS: Mapping[int, np.dtype[Any]] = {1: _V1, 2: _V2}

_OTHER = 255
_OP_OF_COMMAND = np.full(256, _OTHER, np.uint8)
_OP_OF_COMMAND[list(OPS)] = list(OPS.values())


class Vscsi(Reader):
    """Reader of CloudPhysics' binary vscsi records."""

    name = "vscsi"
    title = "CloudPhysics vscsi: SCSI commands of a virtual disk, binary, v1 and v2"
    extensions = (".vscsi", ".vscsitrace")
    units = Units(time=MICROSECOND, address=SECTOR, length=1)

    def sniff(self, head: bytes, name: str) -> bool:
        """Tell whether every record of the head carries the same known version and a SCSI command."""
        del name
        return _version(head) is not None

    def read(self, source: Source, log: ReadLog, options: Options) -> Iterator[Raw]:
        """Yield the requests; commands that move no data are skipped by kind."""
        version = _version(source.head())
        if version is None:
            msg = f"{source.name} holds no vscsi records: neither version 1 nor 2 stands where it should"
            raise RefusedFileError(msg)
        log.set_option("version", version)
        with source.binary() as stream:
            for number, records in fixed_records(stream, _LAYOUTS[version], log):
                yield _requests(number, records, version, log, options)


READERS = (Vscsi(),)


def _version(head: bytes) -> int | None:
    for version, dtype in _LAYOUTS.items():
        records = np.frombuffer(head, dtype, len(head) // dtype.itemsize)
        # a damaged record or two do not change what the file is
        if len(records) and _plausible(records, version).mean() > 0.99:
            return version
    return None


def _plausible(records: Records, version: int) -> Any:
    return ((records["version"] >> 8) == version) & (records["command"] < 256)


def _requests(number: Int64Array, records: Records, version: int, log: ReadLog, options: Options) -> Raw:
    good = _plausible(records, version)
    log.drop_rows(number[~good], "version", "no record of this version begins here")
    number, records = number[good], records[good]
    op = _OP_OF_COMMAND[records["command"]]
    length = records["length"].astype(np.int64)
    _skip_others(records["command"][op == _OTHER], log)
    keep = (op != _OTHER) & known_extents(op, length, log)
    number, records, op, length = number[keep], records[keep], op[keep], length[keep]
    flush = op == FLUSH
    offset = scaled(_int64(records["block"]), options.units.address)
    latency = scaled(_int64(records["response"]), options.units.time) if version == 2 else None
    return Raw(
        scaled(_int64(records["time"]), options.units.time),
        op,
        np.where(flush, 0, offset),
        np.where(flush, 0, scaled(length, options.units.length)),
        number,
        latency_ns=latency,
    )


def _skip_others(commands: Any, log: ReadLog) -> None:
    counts = np.bincount(commands, minlength=256)
    for code in np.flatnonzero(counts).tolist():
        log.skip(int(counts[code]), f"SCSI command 0x{code:02x}")


def _int64(field: Any) -> Int64Array:
    fits: Int64Array = np.where(field < 2**63, field, 0).astype(np.int64)
    return np.where(field < 2**63, fits, OUT_OF_RANGE)
