"""`snapper list`: the table, `--jsonout` and `--csvout`."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any

from snapsim.policy.listings.source import Source
from snapsim.types import Snapshot

COMMAND = "snapper --utc --iso --jsonout list"
FORMATS = ("%Y-%m-%d %H:%M:%S", "%a %b %d %H:%M:%S %Y")  # --iso (or a machine's format), and the C locale
TABLE = {"#": "number", "Pre #": "pre-number", "Used Space": "used-space"}  # the other heads, in lower case
FLAGS = "-+*"  # behind a number: active, default, both

_RULE = re.compile(r"[-─═]+(?:[+┼╪][-─═]+)+")


def recognises(source: Source) -> bool:
    """Tell whether this is such a listing."""
    if isinstance(source.json, dict):
        lists = [records for records in source.json.values() if records != []]
        return bool(source.json) and all(source.is_list_of("pre-number", within=records) for records in lists)
    head = source.lines[0][1] if source.lines else ""
    is_table = len(source.lines) > 1 and _RULE.fullmatch(source.lines[1][1].strip()) is not None
    return is_table or {"number", "pre-number"} <= set(head.strip().split(","))


def read(source: Source) -> Iterator[Snapshot]:
    """Yield the snapshots of a listing; number 0 is no snapshot but the current state."""
    if source.json is not None:
        records = list(_json_records(source))
    elif _RULE.fullmatch(source.lines[1][1].strip()) if len(source.lines) > 1 else False:
        records = list(_table_records(source))
    else:
        reader = csv.DictReader(io.StringIO(source.text))
        records = [(f"line {reader.line_num}", _texts(record)) for record in reader]
    several = len({record.get("config") for _, record in records}) > 1
    taken = [(where, record) for where, record in records if _number(source, where, record, "number")]
    posts = {
        (record.get("config"), _number(source, where, record, "pre-number")): _identity(
            record, several=several
        )
        for where, record in taken
        if record.get("pre-number")
    }
    for where, record in taken:
        yield _snapshot(source, where, record, posts, several=several)


def _json_records(source: Source) -> Iterator[tuple[str, dict[str, str]]]:
    if not isinstance(source.json, dict):
        raise source.refusal(f"this is no listing of snapper's: run {COMMAND}")
    for config, values in source.json.items():
        for where, record in source.records(values):
            userdata = record.get("userdata") or {}
            if isinstance(userdata, dict):
                record["userdata"] = ",".join(f"{key}={value}" for key, value in userdata.items())
            yield f"config {config}, {where}", {"config": config, **_texts(record)}


def _texts(record: Mapping[Any, Any]) -> dict[str, str]:
    words = {None: "", True: "yes", False: "no"}
    return {
        str(key): words[value] if value is None or isinstance(value, bool) else str(value)
        for key, value in record.items()
    }


def _table_records(source: Source) -> Iterator[tuple[str, dict[str, str]]]:
    """Cut the table where its rule is crossed: a description may hold the separator."""
    (_, head), (_, rule), *rows = source.lines
    edges = [index for index, character in enumerate(rule) if character in "+┼╪"]
    names = [TABLE.get(cell, cell.lower()) for cell in _cells(head, edges)]
    if not {"number", "date"} <= set(names):
        raise source.refusal(f"there is no column # or Date: run {COMMAND}", where=source.lines[0][0])
    for where, row in rows:
        if any(row[edge : edge + 1] not in {"|", "│"} for edge in edges):
            raise source.refusal(f"the row does not fit the table's columns: run {COMMAND}", where=where)
        record = dict(zip(names, _cells(row, edges), strict=True))
        flag = record["number"][-1:]
        record["number"] = record["number"].rstrip(FLAGS)
        record["active"] = "yes" if flag and flag in FLAGS else "no"
        yield where, record


def _cells(row: str, edges: Iterable[int]) -> list[str]:
    bounds = [-1, *edges, len(row)]
    return [row[low + 1 : high].strip() for low, high in pairwise(bounds)]


def _number(source: Source, where: str, record: Mapping[str, str], key: str) -> int:
    if not record.get(key, "").isdecimal():
        raise source.refusal(f"a number is expected: run {COMMAND}", where=where, field=key)
    return int(record[key])


def _identity(record: Mapping[str, str], *, several: bool) -> str:
    return f"{record.get('config')}/{record['number']}" if several else record["number"]


def _snapshot(
    source: Source, where: str, record: dict[str, str], posts: Mapping[Any, str], *, several: bool
) -> Snapshot:
    number = _number(source, where, record, "number")
    date = record.get("date", "")
    attributes: dict[str, Any] = {"number": number}
    for ours, theirs in (("volume", "subvolume"), ("description", "description"), ("cleanup", "cleanup")):
        if record.get(theirs):
            attributes[ours] = record[theirs]
    userdata = frozenset(part.strip() for part in record.get("userdata", "").split(",") if part.strip())
    if "important=yes" in userdata:
        attributes["important"] = True
    if "yes" in {record.get("active"), record.get("default")}:
        attributes["in_use"] = True
    if record.get("pre-number"):
        attributes["pair"] = _identity({**record, "number": record["pre-number"]}, several=several)
        attributes["pair_role"] = "post"
    elif record.get("type") == "pre":
        attributes["pair_role"] = "pre"
        if (record.get("config"), number) in posts:
            attributes["pair"] = posts[record.get("config"), number]
    if record.get("used-space"):
        attributes["size_bytes"] = source.size(record["used-space"], where, "used-space")
    return Snapshot(
        time_ns=source.local(date, FORMATS, where, "date", remedy=f"run {COMMAND}"),
        name=record["number"],
        id=_identity(record, several=several),
        classes=frozenset({record["cleanup"]} if record.get("cleanup") else ()),
        tags=userdata,
        attributes=attributes,
    )
