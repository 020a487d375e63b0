"""Any other table of requests: the caller names the columns, or the header names them beyond doubt."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

from snapsim.errors import TraceError, UsageError
from snapsim.traces.readers.base import OP_NAMES, Options, Raw, ReadLog, Units, sample_lines, scaled
from snapsim.traces.readers.delimited import DelimitedReader, Field, Kind, Layout, Rows, name_codes
from snapsim.traces.source import Source
from snapsim.units import MICROSECOND, MILLISECOND, SECOND

_NEEDED = ("time", "op", "offset", "length")
_ROLES = (*_NEEDED, "volume", "latency")

# what a column may be called so that its role and its unit are beyond doubt: name -> (role, unit)
_NAMES: Mapping[str, tuple[str, int]] = {
    **{f"{stem}_{unit}": ("time", size)
       for stem in ("time", "timestamp")
       for unit, size in (("ns", 1), ("us", MICROSECOND), ("ms", MILLISECOND), ("s", SECOND))},
    **{f"{stem}_{unit}": ("latency", size)
       for stem in ("latency", "response")
       for unit, size in (("ns", 1), ("us", MICROSECOND), ("ms", MILLISECOND), ("s", SECOND))},
    "op": ("op", 1), "operation": ("op", 1), "type": ("op", 1), "rw": ("op", 1),
    "offset": ("offset", 1), "offset_bytes": ("offset", 1), "sector": ("offset", 512), "lba": ("offset", 512),
    "length": ("length", 1), "length_bytes": ("length", 1), "size_bytes": ("length", 1),
    "sectors": ("length", 512),
    "volume": ("volume", 1), "device": ("volume", 1),
}  # fmt: skip
_SEPARATORS = {"tab": "\t", "space": r"\s+", "comma": ",", "semicolon": ";"}


class _Column(NamedTuple):
    """Where a role's column is and what one count in it means by its name (0 when the name does not say)."""

    position: int
    unit: int


class CsvReader(DelimitedReader):
    """Columns by name or number; times may have decimals."""

    name = "csv"
    title = "CSV with named columns"
    extensions = (".csv", ".tsv", ".txt")
    units = Units(time=1, address=1, length=1)
    options: ClassVar[Mapping[str, str]] = {
        "columns": 'Columns by header name or number from 1: "time=ts,op=rw,offset=lba,length=size"; '
        "volume and latency (ns) are optional.",
        "separator": 'One character, or "tab", "space", "comma", "semicolon".',
        "ops": 'What the texts in the op column mean, where they are not plain names: "0=read,1=write".',
        "clock": '"unix" when times count from 1970, "relative" (the default) when from anything else.',
    }

    def sniff(self, head: bytes, name: str) -> bool:
        roles = [_NAMES[title][0] for title in _titles(sample_lines(head, 1), ",") if title in _NAMES]
        return all(roles.count(role) == 1 for role in _NEEDED)

    def layout(self, source: Source, options: Options) -> Layout:
        return self._layout(source, options)[0]

    def read(self, source: Source, log: ReadLog, options: Options) -> Iterator[Raw]:
        _, units = self._layout(source, options)
        clock = str(options.get("clock", "relative"))
        if clock not in ("unix", "relative"):
            msg = f'option clock={clock!r} is unknown: choose "unix" or "relative"'
            raise UsageError(msg)
        if clock == "unix":
            log.set_start(0)
        for name, unit in units._asdict().items():
            log.set_option(f"{name}_column_unit", unit)
        yield from super().read(source, log, Options(units, options.values))

    def _layout(self, source: Source, options: Options) -> tuple[Layout, Units]:
        text = str(options.get("separator", ","))
        separator = _SEPARATORS.get(text, text)
        if separator != r"\s+" and len(separator) != 1:
            msg = f"option separator={text!r} is unknown: one character, or {', '.join(_SEPARATORS)}"
            raise UsageError(msg)
        first = next((line for _, line in source.lines() if line.strip()), "")
        columns, has_header = _columns(first, separator, options.get("columns"), source.name)
        units = Units(*(
            given if given != 1 else columns[role].unit or 1
            for role, given in zip(("time", "offset", "length"), options.units, strict=True)
        ))  # fmt: skip
        kinds = {"time": Kind.DECIMAL, "op": Kind.OP, "volume": Kind.NAME, "latency": Kind.DECIMAL}
        scale = {"time": units.time, "latency": columns["latency"].unit or 1 if "latency" in columns else 1}
        fields = tuple(
            Field(
                role,
                column.position,
                kinds.get(role, Kind.INTEGER),
                scale.get(role, 1),
                optional=role == "latency",
            )
            for role, column in columns.items()
        )
        return Layout(
            fields=fields,
            width=max(len(_titles([first], separator)), 1 + max(field.position for field in fields)),
            ops={**OP_NAMES, **_ops(options.get("ops"))},
            separator=separator,
            header=(first.strip().lower(),) if has_header else (),
        ), units

    def raw(self, rows: Rows, log: ReadLog, options: Options) -> Raw:
        columns: Mapping[str, Any] = rows.columns
        return Raw(
            time_ns=columns["time"],
            op=columns["op"],
            offset=scaled(columns["offset"], options.units.address),
            length=scaled(columns["length"], options.units.length),
            line=rows.line,
            volume=name_codes(columns["volume"], log) if "volume" in columns else None,
            latency_ns=columns.get("latency"),
        )


def _titles(lines: list[str], separator: str) -> list[str]:
    parts = [
        part for line in lines for part in (line.split() if separator == r"\s+" else line.split(separator))
    ]
    return [part.strip().strip('"').lower() for part in parts]


def _columns(first: str, separator: str, wanted: object, name: str) -> tuple[dict[str, _Column], bool]:
    """Return the column of each role, and whether the first line is a header."""
    titles = _titles([first], separator)
    if wanted is None:
        found = {
            _NAMES[title][0]: _Column(place, _NAMES[title][1])
            for place, title in enumerate(titles)
            if title in _NAMES
        }
        missing = [role for role in _NEEDED if role not in found]
        if missing:
            msg = (f'{name} has no column that is known to be the {missing[0]}: name the columns, '
                   'for example columns="time=ts,op=rw,offset=lba,length=size"')  # fmt: skip
            raise TraceError(msg)
        return found, True
    pairs = dict(wanted) if isinstance(wanted, Mapping) else _pairs("columns", str(wanted))
    odd = [role for role in pairs if role not in _ROLES] or [role for role in _NEEDED if role not in pairs]
    if odd:
        what = "no role" if odd[0] in pairs else "missing"
        msg = f"option columns: {odd[0]!r} is {what}; roles are {', '.join(_ROLES)}"
        raise UsageError(msg)
    by_number = all(re.fullmatch(r"[1-9][0-9]*", str(title)) for title in pairs.values())
    columns = {}
    for role, title in pairs.items():
        text = str(title).strip().lower()
        if not by_number and text not in titles:
            msg = f"{name} has no column {title!r}: its first line has {', '.join(titles)}"
            raise TraceError(msg)
        columns[role] = _Column(
            int(text) - 1 if by_number else titles.index(text), _NAMES.get(text, ("", 0))[1]
        )
    if by_number:
        places = [column.position for role, column in columns.items() if role in ("offset", "length")]
        numbers = [titles[place] for place in places if place < len(titles)]
        return columns, not all(re.fullmatch(r"[+-]?[0-9]+", number) for number in numbers)
    return columns, True


def _ops(given: object) -> dict[str, int]:
    pairs = dict(given) if isinstance(given, Mapping) else _pairs("ops", str(given)) if given else {}
    unknown = [meaning for meaning in pairs.values() if str(meaning).lower() not in OP_NAMES]
    if unknown:
        msg = f'option ops: {unknown[0]!r} is no op; write it like "0=read,1=write"'
        raise UsageError(msg)
    return {str(text): OP_NAMES[str(meaning).lower()] for text, meaning in pairs.items()}


def _pairs(option: str, text: str) -> dict[str, str]:
    parts = [part.partition("=") for part in text.split(",") if part.strip()]
    if not all(sign for _, sign, _ in parts):
        msg = f'option {option}={text!r} cannot be read: write it like "a=b,c=d"'
        raise UsageError(msg)
    return {key.strip(): value.strip() for key, _, value in parts}


READERS = (CsvReader(),)
