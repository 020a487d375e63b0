"""Formats that are tables of text: typed and fast where lines are good, line by line where they are not.

A chunk of lines is parsed as typed columns.  When that fails, the chunk is halved until the lines in question
are few, and those are looked at one by one: damaged lines are reported with their field and what is wrong
with it.
"""

import io
import re
import warnings
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from snapsim.traces.readers.base import BAD_OP, NOTHING, Options, Raw, Reader, ReadLog, scaled
from snapsim.traces.readers.decimals import decimals
from snapsim.traces.source import Source
from snapsim.types import Int64Array

_INT64_MAX = int(np.iinfo(np.int64).max)
_FEW_LINES = 2000
_TEXT_WIDTH = 40
_SKIPPED_OP = 254

SPACES = r"\s+"


class Kind(Enum):
    """How the text of a field is read."""

    INTEGER = "whole number"
    DECIMAL = "decimal number"
    NAME = "name"
    OP = "op"


_DTYPES = {Kind.DECIMAL: f"S{_TEXT_WIDTH}", Kind.NAME: "category", Kind.OP: "category"}


class Field(NamedTuple):
    """One field of a line that is used.

    Attributes
    ----------
    name : str
        What messages call it, and the key of its column.
    position : int
        0-based position in the line.
    kind : Kind
        INTEGER and DECIMAL give an int64 column, NAME a categorical, OP op codes.
    unit : int
        What an INTEGER or DECIMAL is multiplied by.
    optional : bool
        Whether the text may be missing or blank; the value is then -1.
    """

    name: str
    position: int
    kind: Kind
    unit: int = 1
    optional: bool = False


class Layout(NamedTuple):
    """How the lines of a file are built.

    Attributes
    ----------
    fields : tuple of Field
        Those that are used.
    width : int
        Most fields that a line may have.
    ops : Mapping
        Text of an op to its code, or to the kind of event that is skipped.
    separator : str
        One character, or `SPACES`.
    header : tuple of str
        Words of which a header line has at least one, in lower case.
    more_fields : bool
        Whether lines may have fields beyond `width`, to be ignored.
    """

    fields: tuple[Field, ...]
    width: int
    ops: Mapping[str, int | str]
    separator: str = ","
    header: tuple[str, ...] = ("timestamp", "offset", "lba", "opcode")
    more_fields: bool = False


class Rows(NamedTuple):
    """Parsed lines.

    Attributes
    ----------
    line : int64 array, shape (n,)
        1-based line numbers.
    columns : Mapping
        Field name to its column, shape (n,).
    """

    line: Int64Array
    columns: Mapping[str, Any]


class DelimitedReader(Reader):
    """A format whose lines are fields with separators between them."""

    @abstractmethod
    def layout(self, source: Source, options: Options) -> Layout:
        """Return how the lines of this file are built."""

    @abstractmethod
    def raw(self, rows: Rows, log: ReadLog, options: Options) -> Raw:
        """Make requests of parsed lines."""

    def read(self, source: Source, log: ReadLog, options: Options) -> Iterator[Raw]:
        layout = self.layout(source, options)
        for first, chunk in source.chunks():
            for rows in parse(chunk, first, layout, log):
                yield self.raw(rows, log, options)
            yield NOTHING  # so that the damage is judged even when no line is good


def name_codes(names: pd.Categorical, log: ReadLog) -> npt.NDArray[np.int32]:
    """Return the volume codes of a column of names; new volumes get theirs in the order of their lines."""
    used, first = np.unique(names.codes, return_index=True)
    table = np.zeros(len(names.categories), np.int32)
    for code in used[np.argsort(first)]:
        table[code] = log.volume(str(names.categories[code]).strip())
    return np.asarray(table[names.codes], np.int32)


def parse(chunk: bytes, first: int, layout: Layout, log: ReadLog) -> Iterator[Rows]:
    """Parse a chunk of whole lines, of which the first has number `first`; damaged ones go to the log."""
    while (end := chunk.find(b"\n") + 1) and _is_header(chunk[:end].decode("utf-8", "replace"), layout):
        log.skip(kind="header")
        first, chunk = first + 1, chunk[end:]
    if not chunk:
        return
    if b"\r" in chunk:
        chunk = chunk.replace(b"\r\n", b"\n")
    frame = None if b"\r" in chunk else _typed(chunk, layout)
    if frame is not None:
        yield _finished(frame, np.arange(first, first + len(frame)), layout, log)
    elif chunk.count(b"\n") > _FEW_LINES:
        middle = chunk.find(b"\n", len(chunk) // 2) + 1 or len(chunk)
        if middle == len(chunk):
            middle = chunk.rfind(b"\n", 0, len(chunk) // 2) + 1
        yield from parse(chunk[:middle], first, layout, log)
        yield from parse(chunk[middle:], first + chunk.count(b"\n", 0, middle), layout, log)
    else:
        good, lines = _good_lines(chunk, first, layout, log)
        if len(lines):
            frame = _typed(good, layout)
            if frame is None or len(frame) != len(lines):
                message = f"{log.file}, from line {first}: lines parsed one by one but not together"
                raise AssertionError(message)
            yield _finished(frame, lines, layout, log)


def _typed(chunk: bytes, layout: Layout) -> pd.DataFrame | None:
    """Return the lines as a frame, columns named by position, or None when not all of them can be parsed.

    Integers are inferred and then checked, because a column that is *asked* to be int64 silently takes
    1.8E+11, and rounds its neighbours on the way.
    """
    here = len(_parts(chunk[: chunk.find(b"\n") + 1 or len(chunk)].decode("utf-8", "replace"), layout))
    if here > _most_fields(layout):
        return None
    fields = [field for field in layout.fields if field.position < here]
    if len(fields) < len(layout.fields) and not all(
        field.optional for field in set(layout.fields).difference(fields)
    ):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            frame = pd.read_csv(
                io.BytesIO(chunk),
                sep=layout.separator,
                header=None,
                names=list(range(here)),
                # with columns to use, longer lines would be let through
                usecols=sorted(field.position for field in fields) if layout.more_fields else None,
                index_col=False,
                dtype={field.position: _DTYPES[field.kind] for field in fields if field.kind in _DTYPES},
                engine="c",
                na_filter=False,
                low_memory=True,  # pieces that stay in the processor's cache: twice as fast
                skip_blank_lines=False,
                quoting=3,
            )
    except (ValueError, OverflowError, Warning):  # pandas' parser errors are ValueErrors
        return None
    integers = (field for field in fields if field.kind is Kind.INTEGER and not field.optional)
    return frame if all(frame[field.position].dtype == np.int64 for field in integers) else None


def _finished(frame: pd.DataFrame, line: Int64Array, layout: Layout, log: ReadLog) -> Rows:
    """Turn texts into values; leave out and report the rows whose texts mean nothing."""
    keep = np.ones(len(line), bool)
    columns: dict[str, Any] = {}
    for field in sorted(
        layout.fields, key=lambda field: field.kind is not Kind.OP
    ):  # a skipped event is not damaged
        if field.position not in frame.columns:
            columns[field.name] = np.full(len(line), -1, np.int64)
            continue
        column = frame[field.position]
        if field.kind is Kind.NAME:
            columns[field.name] = column.array
        elif field.kind is Kind.OP:
            columns[field.name] = _ops(column.array, line, field, layout, log)
            keep &= columns[field.name] < _SKIPPED_OP
        elif column.dtype == np.int64:
            columns[field.name] = scaled(column.to_numpy(), field.unit)
        else:
            texts = column.to_numpy().astype(f"S{_TEXT_WIDTH}", copy=False)
            columns[field.name], bad = decimals(texts, field.unit)
            if field.optional:
                columns[field.name][bad] = -1
            elif bad.any():
                for index in np.flatnonzero(bad & keep):
                    log.drop(
                        line[index], field.name, _not_a(texts[index].decode("utf-8", "replace"), field.kind)
                    )
                keep &= ~bad
    if keep.all():
        return Rows(line, columns)
    return Rows(line[keep], {name: column[keep] for name, column in columns.items()})


def _ops(
    names: pd.Categorical, line: Int64Array, field: Field, layout: Layout, log: ReadLog
) -> npt.NDArray[np.uint8]:
    table = np.empty(len(names.categories), np.uint8)
    for code, name in enumerate(names.categories):
        text = str(name).strip()
        meaning = layout.ops.get(text, layout.ops.get(text.lower()))
        if isinstance(meaning, int):
            table[code] = meaning
        elif meaning is not None:
            table[code] = _SKIPPED_OP
            log.skip(int(np.count_nonzero(names.codes == code)), meaning)
        else:
            table[code] = BAD_OP
            known = ", ".join(text for text, op in layout.ops.items() if isinstance(op, int))
            log.drop_rows(line[names.codes == code], field.name, f"{_shown(str(name))} is none of {known}")
    return table[names.codes] if len(table) else np.empty(0, np.uint8)


def _good_lines(chunk: bytes, first: int, layout: Layout, log: ReadLog) -> tuple[bytes, Int64Array]:
    """Return the lines whose fields can be parsed, and their numbers; report the others."""
    good, numbers = [], []
    for number, line in enumerate(chunk.removesuffix(b"\n").split(b"\n"), start=first):
        text = line.decode("utf-8", "replace").removesuffix("\r")
        if not text.strip():
            log.skip(kind="blank line")
        elif text.lstrip().startswith("#"):
            log.skip(kind="comment")
        elif _is_header(text, layout):
            log.skip(kind="header")
        elif wrong := _wrong(text, layout):
            log.drop(number, *wrong)
        else:
            good.append(text)
            numbers.append(number)
    return "\n".join(good).encode(), np.array(numbers, np.int64)


def _wrong(text: str, layout: Layout) -> tuple[str, str] | None:
    """Return the field that is wrong in a line and what is wrong with it, or None."""
    if "\r" in text or "\0" in text:
        return "line", "has control characters in it"
    parts = _parts(text, layout)
    if len(parts) > _most_fields(layout):
        return "line", f"has {len(parts)} fields where at most {layout.width} are expected"
    for field in layout.fields:
        if field.position >= len(parts) and not field.optional:
            return field.name, f"is missing: the line has only {len(parts)} field{'s' * (len(parts) != 1)}"
    for field in layout.fields:
        if field.kind is Kind.INTEGER and not field.optional:
            part = parts[field.position].strip()
            if re.fullmatch(r"[+-]?[0-9]+", part) is None:
                return field.name, _not_a(part, field.kind)
            if abs(int(part)) > _INT64_MAX:
                return field.name, f"{_shown(part)} does not fit into 63 bits"
    return None


def _parts(text: str, layout: Layout) -> list[str]:
    return text.split() if layout.separator == SPACES else text.split(layout.separator)


def _most_fields(layout: Layout) -> int:
    return layout.width + 32 * layout.more_fields


def _is_header(text: str, layout: Layout) -> bool:
    lower = text.lower()
    return any(word in lower for word in layout.header)


def _not_a(text: str, kind: Kind) -> str:
    return f"{_shown(text)} is not a {kind.value}" if text.strip() else "is empty"


def _shown(text: str) -> str:
    return repr(text if len(text) <= _TEXT_WIDTH else text[:_TEXT_WIDTH] + "...")
