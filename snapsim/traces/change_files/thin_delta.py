"""`thin_delta`: what differs between two thin volumes of a device-mapper pool, as XML.

Ranges are in the pool's data blocks; `data_block_size` is in sectors of 512 bytes.  A range is an element of
its own, or with --verbose a `range` inside one (one release writes `rang` inside `left_only`).
"""

from xml.parsers import expat

from snapsim.traces.change_files.base import ChangeFile, ChangeFormat, Runs, refuse, whole
from snapsim.traces.source import Source

__all__ = ["THIN_DELTA"]

_SECTOR = 512
_CHUNK = 1 << 20
_KINDS = ("same", "different", "left_only", "right_only")


class _Handler:
    """Follows the elements of one file."""

    def __init__(self, source: Source, parser: expat.XMLParserType) -> None:
        self.source, self.parser = source, parser
        self.written, self.discarded = Runs(source), Runs(source)
        self.block = 0
        self.path: list[str] = []
        self.compared: tuple[str | None, str | None] | None = None

    def where(self) -> str:
        return f"line {self.parser.CurrentLineNumber}"

    def number(self, name: str, attributes: dict[str, str], key: str) -> int:
        if key not in attributes:
            refuse(self.source, self.where(), f"<{name}> has no {key}")
        return whole(self.source, f"{self.where()}, {key} of <{name}>", attributes[key])

    def start(self, name: str, attributes: dict[str, str]) -> None:
        above = self.path[-1] if self.path else None
        self.path.append(name)
        if above is None:
            if name != "superblock":
                refuse(self.source, self.where(), f"<{name}> is not what thin_delta writes: <superblock> is")
            self.block = _SECTOR * self.number(name, attributes, "data_block_size")
            if not self.block:
                refuse(self.source, self.where(), "data_block_size is 0")
        elif name == "diff" and above == "superblock":
            if self.compared is not None:
                refuse(self.source, self.where(), "a second <diff>: one file compares two thin volumes")
            self.compared = (attributes.get("left"), attributes.get("right"))
        elif name in _KINDS and above == "diff":
            if "begin" in attributes or "length" in attributes:
                self.range(name, name, attributes)
        elif name in ("range", "rang") and above in _KINDS:
            self.range(above, name, attributes)
        else:
            refuse(self.source, self.where(), f"<{name}> inside <{above}> is not what thin_delta writes")

    def range(self, kind: str, name: str, attributes: dict[str, str]) -> None:
        begin, length = (self.number(name, attributes, key) * self.block for key in ("begin", "length"))
        if kind in ("different", "right_only"):
            self.written.add(begin, length, self.where())
        elif kind == "left_only":
            self.discarded.add(begin, length, self.where())

    def end(self, name: str) -> None:
        self.path.pop()


def _parse(source: Source) -> ChangeFile:
    parser = expat.ParserCreate()
    handler = _Handler(source, parser)
    parser.StartElementHandler, parser.EndElementHandler = handler.start, handler.end
    try:
        with source.binary() as stream:
            while part := stream.read(_CHUNK):
                parser.Parse(part, False)
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        refuse(source, f"line {error.lineno}", f"is no XML, or is cut off ({expat.ErrorString(error.code)})")
    if handler.compared is None:
        refuse(source, "", "has no <diff>: thin_delta --thin1 OLD --thin2 NEW writes one")
    older, newer = handler.compared
    return ChangeFile(
        handler.written.table(),
        handler.discarded.table(),
        grain=handler.block,
        older=older,
        newer=newer,
        whole=False,
    )


def _recognises(head: bytes) -> bool:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    return text.startswith(b"<") and b"<superblock" in text


THIN_DELTA = ChangeFormat("thin_delta", "thin_delta of two thin volumes (XML)", _recognises, _parse)
