"""`zfs list -t snapshot -o name,creation[,used,...]`, with or without `-H` and `-p`."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from snapsim.policy.listings.source import Source
from snapsim.types import Snapshot

COMMAND = "zfs list -t snapshot -H -p -o name,creation,used"
DEFAULT_COLUMNS = ("name", "creation", "used")

# 1704103200, or, without -p, "Mon Jan  1 10:00 2024"
_CREATION = r"\d+|[^\W\d]{3} [^\W\d]{3} [ \d]\d [ \d]?\d:\d\d \d{4}"
_SPACED = re.compile(rf"(?P<name>\S+@.*?)\s+(?P<creation>{_CREATION})(?:\s+(?P<rest>\S.*))?")
_FIRST = re.compile(rf"(?:[^\s@|,]+@[^\t]*?\s+|[^\t@|,]+@[^\t]+\t)(?:{_CREATION})(?:\s|$)")

# How the tools that name their snapshots after a class do it.
_CLASSES = (
    re.compile(r"autosnap_.*_(?P<class>\w*ly)"),  # sanoid: autosnap_2024-01-31_23:59:01_daily
    re.compile(r"zfs-auto-snap_(?P<class>[A-Za-z]\w*)-\d{4}-\d\d-\d\d-\d{4}"),  # zfs-auto-snapshot: its label
    re.compile(r"(?P<class>.+?)[_-]?\d{8}_\d{6}_\d{3}"),  # zrepl: the job's prefix
)


def recognises(source: Source) -> bool:
    """Tell whether this is such a listing."""
    if source.json is not None or not source.lines:
        return False
    first = source.lines[0][1]
    return _is_header(first) or _FIRST.match(first) is not None


def _is_header(line: str) -> bool:
    words = line.split()
    return words[:1] == ["NAME"] and words == [word.upper() for word in words]


def read(source: Source) -> Iterator[Snapshot]:
    """Yield the snapshots of a listing; without a header the third column is `used`."""
    lines = source.lines
    columns: tuple[str, ...] = DEFAULT_COLUMNS
    if lines and _is_header(lines[0][1]):
        columns = tuple(lines[0][1].lower().split())
        if columns[:2] != DEFAULT_COLUMNS[:2]:
            where = lines[0][0]
            raise source.refusal(
                f"name and creation have to be the first columns: run {COMMAND}", where=where
            )
        lines = lines[1:]
    for where, line in lines:
        yield _snapshot(source, where, _fields(source, where, line), columns)


def _fields(source: Source, where: str, line: str) -> list[str]:
    fields = line.split("\t")
    if len(fields) > 1:
        return [field.strip() for field in fields]
    match = _SPACED.fullmatch(line.strip())
    if not match:
        raise source.refusal(f"a snapshot and its creation are expected: run {COMMAND}", where=where)
    return [match["name"], match["creation"], *(match["rest"] or "").split()]


def _snapshot(source: Source, where: str, fields: Sequence[str], columns: Sequence[str]) -> Snapshot:
    identity, creation = fields[0], fields[1]
    dataset, at, name = identity.partition("@")
    if not (dataset and at and name):
        raise source.refusal(f"{identity!r} is no snapshot: run {COMMAND}", where=where, field="name")
    if creation.isdecimal():
        time_ns = source.instant_s(int(creation), where, "creation")
    else:
        remedy = f"run {COMMAND}"
        time_ns = source.local(creation, ["%a %b %d %H:%M %Y"], where, "creation", remedy=remedy)
    attributes: dict[str, Any] = {"volume": dataset}
    others = dict(zip(columns[2:], fields[2:], strict=False))
    if others.get("used", "-") != "-":
        attributes["size_bytes"] = source.size(others["used"], where, "used")
    if others.get("userrefs", "-") not in {"-", "0"}:
        attributes["protected"] = True  # somebody holds it
    return Snapshot(time_ns, name, identity, classes=classes_of(name), attributes=attributes)


def classes_of(name: str) -> frozenset[str]:
    """Return the class that a snapshot's name says: sanoid's, zfs-auto-snapshot's label, or zrepl's prefix.

    Parameters
    ----------
    name : str
        What follows the `@`.

    Returns
    -------
    frozenset of str
        One class, or none.

    Examples
    --------
    >>> sorted(classes_of("autosnap_2024-01-31_23:59:01_daily"))
    ['daily']
    """
    matches = (pattern.fullmatch(name) for pattern in _CLASSES)
    return frozenset(next(([match["class"]] for match in matches if match), []))
