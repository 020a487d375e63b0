"""CSV: one row a snapshot, one column a field of `Snapshot` or a well-known attribute of it."""

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from snapsim.errors import UsageError
from snapsim.policy.listings.source import Source
from snapsim.types import Snapshot, SnapshotKind
from snapsim.units import parse_size

SEPARATOR = ";"  # between the classes, tags or paths of one snapshot
_BOOLEANS = {
    **dict.fromkeys(("yes", "true", "1"), True),
    **dict.fromkeys(("no", "false", "0"), False),
}

Reading = Callable[[str], Any]


def _boolean(text: str) -> bool:
    if text.lower() not in _BOOLEANS:
        msg = f"yes or no is expected, and this is {text!r}"
        raise UsageError(msg)
    return _BOOLEANS[text.lower()]


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        msg = f"a whole number is expected, and this is {text!r}"
        raise UsageError(msg) from None


def _list(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split(SEPARATOR) if part)


def _kind(text: str) -> SnapshotKind:
    if text not in set(SnapshotKind):
        msg = f"{text!r} is no kind of snapshot: say {', '.join(SnapshotKind)}"
        raise UsageError(msg)
    return SnapshotKind(text)


FIELDS: Mapping[str, Reading] = {"name": str, "id": str, "kind": _kind, "classes": _list, "tags": _list}
ALIASES = {"class": "classes", "tag": "tags"}
ATTRIBUTES: Mapping[str, Reading] = {
    **dict.fromkeys(("host", "volume", "pair", "pair_role", "description", "cleanup"), str),
    **dict.fromkeys(("number", "utc_offset_s", "expires_ns"), _integer),
    **dict.fromkeys(("important", "in_use", "protected", "incomplete", "incremental_base"), _boolean),
    "paths": _list,
    "size_bytes": parse_size,
}
TIMES = ("time", "time_ns")  # ISO 8601, or nanoseconds since the Unix epoch


def recognises(source: Source) -> bool:
    """Tell whether this is such a listing: its first line names the columns, and one of them is the time."""
    return bool(source.lines) and bool(set(TIMES) & set(_columns(source.lines[0][1])))


def _columns(line: str) -> list[str]:
    names = [name.strip() for name in next(csv.reader([line.removeprefix("\ufeff")]), [])]
    return [ALIASES.get(name, name) for name in names]


def read(source: Source) -> Iterator[Snapshot]:
    """Yield the snapshots of a table; an empty cell says nothing."""
    reader = csv.reader(io.StringIO(source.text, newline=""), strict=True)
    columns: list[str] = []
    try:
        for row in reader:
            where = f"line {reader.line_num}"
            if not row:
                continue
            if not columns:
                columns = _columns_of(source, row, where)
                continue
            if len(row) != len(columns):
                problem = (
                    f"{len(columns)} cells are expected, and these are {len(row)}: quote cells with commas"
                )
                raise source.refusal(problem, where=where)
            yield _snapshot(source, where, dict(zip(columns, row, strict=True)))
    except csv.Error as error:
        problem = f"this is no CSV ({error}): quote cells with commas, quotes or line ends"
        raise source.refusal(problem, where=f"line {reader.line_num}") from None


def _columns_of(source: Source, row: list[str], where: str) -> list[str]:
    stripped = [name.strip().removeprefix("\ufeff") for name in row]
    columns = [ALIASES.get(name, name) for name in stripped]
    known = [*TIMES, *FIELDS, *ATTRIBUTES]
    unknown = [name for name in columns if name not in known]
    if unknown:
        names = ", ".join(map(repr, unknown))
        raise source.refusal(f"unknown column {names}: there are {', '.join(known)}", where=where)
    if len(set(columns)) < len(columns):
        raise source.refusal("a column stands there twice: leave one out", where=where)
    if len(set(TIMES) & set(columns)) != 1:
        raise source.refusal("one of the columns time and time_ns is needed", where=where)
    return columns


def _snapshot(source: Source, where: str, record: Mapping[str, str]) -> Snapshot:
    given = {column: text for column, text in record.items() if text != ""}
    fields: dict[str, Any] = {}
    attributes: dict[str, Any] = {}
    for column, text in given.items():
        target, reading = (fields, FIELDS) if column in FIELDS else (attributes, ATTRIBUTES)
        if column not in TIMES:
            try:
                target[column] = reading[column](text)
            except UsageError as error:
                raise source.refusal(str(error), where=where, field=column) from None
    for column in ("classes", "tags"):
        fields[column] = frozenset(fields.get(column, ()))
    name = fields.setdefault("name", fields.get("id", ""))
    fields.setdefault("id", name)
    return Snapshot(time_ns=_time(source, where, given, attributes), attributes=attributes, **fields)


def _time(source: Source, where: str, given: Mapping[str, str], attributes: dict[str, Any]) -> int:
    if "time_ns" in given:
        try:
            return _integer(given["time_ns"])
        except UsageError as error:
            raise source.refusal(str(error), where=where, field="time_ns") from None
    if "time" not in given:
        raise source.refusal("the time is missing: every snapshot has one", where=where, field="time")
    moment = source.moment(given["time"], where, "time")
    if moment.offset_s:
        attributes.setdefault("utc_offset_s", moment.offset_s)
    return moment.time_ns
