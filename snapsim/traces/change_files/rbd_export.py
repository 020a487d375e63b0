"""`rbd export-diff`: a stream of records, version 1 or 2; the data in it is passed over.

The format is Ceph's doc/dev/rbd-diff.rst: a tag, in version 2 the length of the record, and what it holds.
"""

import struct

from snapsim.traces.change_files.base import ChangeFile, ChangeFormat, Runs, refuse
from snapsim.traces.source import Source, Stream

__all__ = ["RBD_EXPORT"]

_MAGIC = {b"rbd diff v1\n": 1, b"rbd diff v2\n": 2}
_SIZE = 12
_CHUNK = 1 << 20
_LONGEST_NAME = 1 << 16


class _Records:
    """The records of one file."""

    def __init__(self, source: Source, stream: Stream) -> None:
        self.source, self.stream, self.place = source, stream, 0

    def take(self, size: int) -> bytes:
        data = self.stream.read(size)
        self.place += len(data)
        if len(data) < size:
            refuse(self.source, f"byte {self.place}", "the file is cut off")
        return data

    def number(self, code: str = "<Q") -> int:
        (value,) = struct.unpack(code, self.take(struct.calcsize(code)))
        return int(value)

    def skip(self, size: int) -> None:
        while size:
            part = min(size, _CHUNK)
            self.take(part)
            size -= part

    def name(self) -> str:
        size = self.number("<I")
        if size > _LONGEST_NAME:
            refuse(self.source, f"byte {self.place}", f"a snapshot's name of {size} bytes cannot be")
        return self.take(size).decode("utf-8", "replace")


def _parse(source: Source) -> ChangeFile:
    written, discarded = Runs(source), Runs(source)
    names: dict[bytes, str] = {}
    capacity = None
    with source.binary() as stream:
        records = _Records(source, stream)
        version = _MAGIC.get(stream.read(_SIZE))
        records.place = _SIZE
        if version is None:
            refuse(source, "", "does not begin as rbd export-diff does")
        while (tag := records.take(1)) != b"e":
            size = records.number() if version > 1 else None
            if tag in (b"f", b"t"):
                names[tag] = records.name()
            elif tag == b"s":
                capacity = records.number()
            elif tag in (b"w", b"z"):
                offset, length = records.number(), records.number()
                (written if tag == b"w" else discarded).add(offset, length, f"byte {records.place}")
                records.skip(length if tag == b"w" else 0)
            elif size is not None:
                records.skip(size)  # version 2 can be extended: what is not known is passed over
            else:
                refuse(source, f"byte {records.place}", f"a record {tag!r} is not known")
        if stream.read(1):
            refuse(source, f"byte {records.place}", "something follows the record that ends the file")
    return ChangeFile(
        written.table(),
        discarded.table(),
        capacity=capacity,
        older=names.get(b"f"),
        newer=names.get(b"t"),
        whole=b"f" not in names,
    )


RBD_EXPORT = ChangeFormat(
    "rbd_export", "rbd export-diff (binary)", lambda head: head[:_SIZE] in _MAGIC, _parse
)
