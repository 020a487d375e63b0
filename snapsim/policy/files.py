"""Policies as TOML: read with located errors, written so that reading gives back an equal policy."""

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, ValidationError

from snapsim.errors import PolicyError
from snapsim.policy.compat import AXES
from snapsim.policy.name_templates import DEFAULT_TEMPLATE
from snapsim.policy.policy import Policy
from snapsim.policy.tables import (
    COUNT,
    ArchiveTable,
    ClassTable,
    Expire,
    Grid,
    Guards,
    Keep,
    Limits,
    Protect,
    Select,
    Space,
    Table,
    told,
)

_Count = Annotated[int | Literal["unlimited"], Field(description=COUNT, json_schema_extra={"minimum": 0})]
_Within = Annotated[str | None, Field(description='text such as "48h", "7d" or "1mo"')]


def _one_of(axis: str) -> Any:
    more = ", or a time such as 2026-01-31T12:00Z" if axis == "reference" else ""
    values: list[Any] = [*AXES[axis], None]
    return Field(
        description=f"one of {', '.join(AXES[axis])}{more}",
        json_schema_extra={} if more else {"enum": values},
    )


def _tuples(value: object) -> object:
    return tuple(_tuples(one) for one in value) if isinstance(value, list) else value


class PolicyTable(Table):
    """The keys of a policy in TOML; each description says what a value has to be."""

    TITLE: ClassVar[str] = "policy"

    schedule: Annotated[
        str | list[str] | None,
        Field(description='text such as "15min", "@hourly" or "0 */6 * * *", or a list of such texts'),
    ] = None
    keep_last: _Count = 0
    keep_secondly: _Count = 0
    keep_minutely: _Count = 0
    keep_hourly: _Count = 0
    keep_daily: _Count = 0
    keep_weekly: _Count = 0
    keep_monthly: _Count = 0
    keep_quarterly: _Count = 0
    keep_yearly: _Count = 0
    keep_within: _Within = None
    keep_within_hourly: _Within = None
    keep_within_daily: _Within = None
    keep_within_weekly: _Within = None
    keep_within_monthly: _Within = None
    keep_within_yearly: _Within = None
    keep_tag: Annotated[
        tuple[tuple[str, ...], ...],
        BeforeValidator(_tuples),
        Field(description='lists of tags, such as [["release"], ["audit"]]'),
    ] = ()
    classes: Annotated[
        dict[str, ClassTable],
        Field(alias="class", default_factory=dict, description="tables [policy.NAME.class.CLASS]"),
    ]
    archive: Annotated[
        tuple[ArchiveTable, ...],
        BeforeValidator(_tuples),
        Field(description="tables [[policy.NAME.archive]]"),
    ] = ()
    naming: Annotated[str, Field(description='a template such as "snapsim_{utc:%Y%m%dT%H%M%SZ}_{class}"')] = (
        DEFAULT_TEMPLATE
    )
    keep: Annotated[
        tuple[Keep, ...],
        BeforeValidator(_tuples),
        Field(description="tables [[policy.NAME.keep]], a rule each"),
    ] = ()
    grid: Annotated[Grid | None, Field(description="a table with spec")] = None
    expire: Annotated[Expire | None, Field(description="a table with ttl or max_count")] = None
    plan: Annotated[str, Field(description="text in the own words of znapzend or zfs-autobackup")] = ""
    compat: Annotated[str, Field(description="the name of a tool")] = "snapsim"
    combine: Annotated[str | None, _one_of("combine")] = None
    reference: Annotated[str | None, _one_of("reference")] = None
    oldest: Annotated[str | None, _one_of("oldest")] = None
    adjacency: Annotated[str | None, _one_of("adjacency")] = None
    future: Annotated[str | None, _one_of("future")] = None
    order: Annotated[str | None, _one_of("order")] = None
    tie_break: Annotated[str | None, _one_of("tie_break")] = None
    week_start: Annotated[str | None, _one_of("week_start")] = None
    day_start: Annotated[str, Field(description='a time of day such as "00:00"')] = "00:00"
    month_starts: Annotated[str | None, _one_of("month_starts")] = None
    group_by: Annotated[
        tuple[str, ...], BeforeValidator(_tuples), Field(description='a list such as ["host", "volume"]')
    ] = ()
    min_age: Annotated[str | None, Field(description='a duration such as "1h"')] = None
    select: Annotated[Select | None, Field(description="a table")] = None
    protect: Annotated[Protect | None, Field(description="a table")] = None
    space: Annotated[Space | None, Field(description="a table")] = None
    limits: Annotated[Limits | None, Field(description="a table")] = None
    guards: Annotated[Guards | None, Field(description="a table")] = None
    timezone: Annotated[
        str | None, Field(description='the IANA name of a time zone, such as "UTC", or "recorded"')
    ] = None
    name: Annotated[str, Field(description="text")] = ""
    memory: Annotated[Literal["disk", "memory", "full"], Field(description='"disk", "memory" or "full"')] = (
        "disk"
    )
    ram: Annotated[int | str | None, Field(description='bytes, or text such as "4GiB"')] = None


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a policy file, for editors that check and complete.

    Returns
    -------
    dict
        JSON Schema, draft 2020-12: one policy at the top level, or several in tables `[policy.NAME]`.
    """
    one = PolicyTable.model_json_schema(by_alias=True, mode="validation")
    definitions = one.pop("$defs", {})
    definitions["Policy"] = {**one, "title": "Policy"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "snapsim policy file",
        "anyOf": [
            {
                "type": "object",
                "properties": {
                    "policy": {"type": "object", "additionalProperties": {"$ref": "#/$defs/Policy"}}
                },
                "required": ["policy"],
                "additionalProperties": False,
            },
            {"$ref": "#/$defs/Policy"},
        ],
        "$defs": definitions,
    }


class _Source:
    """Where a policy came from, for messages."""

    def __init__(self, text: str, name: str) -> None:
        self.text, self.name = text, name

    def error(self, message: str, *, key: str = "", table: str = "", inside: str = "") -> PolicyError:
        line = self._line(key, table, inside)
        return PolicyError(f"{self.name}{f', line {line}' if line else ''}: {message}")

    def _line(self, key: str, table: str, inside: str) -> int:
        """Line of a key, or of its table's head; of the table or line that it is inside of, if it is."""
        if inside:
            return self._inner_line(key, table, inside)
        lines = self.text.splitlines()
        head = re.compile(rf"\s*\[\s*policy\s*\.\s*[\"']?{re.escape(table)}[\"']?\s*\]")
        start = next((number for number, line in enumerate(lines) if head.match(line)), 0) if table else 0
        wanted = re.compile(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=") if key else head
        return next((number for number, line in enumerate(lines[start:], start + 1) if wanted.match(line)), 0)

    def _inner_line(self, key: str, table: str, inside: str) -> int:
        lines = self.text.splitlines()
        path = rf"policy\s*\.\s*[\"']?{re.escape(table)}[\"']?\s*\.\s*" if table else ""
        head = re.compile(rf"\s*\[\[?\s*{path}{re.escape(inside)}\b|\s*{re.escape(inside)}\s*=")
        wanted = re.compile(rf"(?:^|[{{,\s])[\"']?{re.escape(key)}[\"']?\s*=")
        heads = [number for number, line in enumerate(lines) if head.match(line)]
        for start in heads:
            for number, line in enumerate(lines[start:], start + 1):
                if number > start + 1 and line.lstrip().startswith("["):
                    break
                if wanted.search(line):
                    return number
        return heads[0] + 1 if heads else 0


def read(source: str | Path, *, name: str | None = None) -> Policy:
    """Read a policy; see `Policy.from_toml`.

    Parameters
    ----------
    source : path, or str
        A TOML file, or the text of one.
    name : str, optional
        Which policy, where there are several.

    Returns
    -------
    Policy
        The policy.

    Raises
    ------
    PolicyError
        The source is missing or wrong; the message says where.
    """
    where = _open(source)
    try:
        document = tomllib.loads(where.text)
    except tomllib.TOMLDecodeError as error:
        raise where.error(f"this is no TOML: {error}") from None
    table, values = _choose(document, name, where)
    try:
        checked = PolicyTable.model_validate(values)
    except ValidationError as error:
        raise _located(error, where, table) from None
    given: dict[str, Any] = {key: getattr(checked, key) for key in checked.model_fields_set}
    if table:
        given["name"] = table
    try:
        return Policy(**given)
    except PolicyError as error:
        # Every message about one parameter starts with its name.
        first = re.split(r"\W", str(error), maxsplit=1)[0]
        raise where.error(str(error), key=first if first in given else "", table=table) from None


def _open(source: str | Path) -> _Source:
    if isinstance(source, str) and ("\n" in source or "=" in source):
        return _Source(source, "policy text")
    path = Path(source)
    try:
        return _Source(path.read_text(encoding="utf-8-sig"), path.name)
    except FileNotFoundError:
        raise PolicyError(f"policy file {path} does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(f"policy file {path} cannot be read: {error}") from None


def _choose(document: dict[str, Any], name: str | None, where: _Source) -> tuple[str, dict[str, Any]]:
    """Return the name of the policy's table ("" for the top level) and its keys."""
    policies = document.get("policy")
    if policies is None:
        if name is not None and document.get("name", "") != name:
            raise where.error(f"there is no policy {name!r}")
        return "", document
    if not isinstance(policies, dict) or not all(isinstance(values, dict) for values in policies.values()):
        raise where.error("each policy has a table of its own: write [policy.NAME]")
    others = sorted(set(document) - {"policy"})
    if others:
        raise where.error(f"key {others[0]!r} stands outside of the tables [policy.NAME]", key=others[0])
    if name is None and len(policies) != 1:
        raise where.error(
            f"there are {len(policies)} policies ({', '.join(policies)}): say which one is meant"
        )
    chosen = next(iter(policies)) if name is None else name
    if chosen not in policies:
        raise where.error(f"there is no policy {chosen!r}: the policies are {', '.join(policies)}")
    if policies[chosen].get("name", chosen) != chosen:
        raise where.error(
            f"name differs from the table's: leave it out of [policy.{chosen}]", key="name", table=chosen
        )
    return chosen, policies[chosen]


def _located(error: ValidationError, where: _Source, table: str) -> PolicyError:
    """Say the first thing that is wrong, where, and what to write instead."""
    path, message = told(error, PolicyTable)
    first, *inner = re.sub(r"\[\d+\]", "", path).split(".") if path else [""]
    place = f"{path}: " if inner else ""
    return where.error(
        f"{place}{message}", key=inner[-1] if inner else first, table=table, inside=first if inner else ""
    )


def write(policy: Policy) -> str:
    """Return a policy as TOML; see `Policy.to_toml`.

    Parameters
    ----------
    policy : Policy
        The policy.

    Returns
    -------
    str
        TOML, with the keys that differ from their defaults.
    """
    said = policy.said()
    said.pop("name", None)
    if policy.schedule is not None and not policy.classes:
        texts = policy.schedule.texts
        said["schedule"] = texts[0] if len(texts) == 1 else list(texts)
    head = f"policy.{_key(policy.name)}" if policy.name else ""
    lines = [f"[{head}]"] if head else []
    tables = []
    for key, value in said.items():
        if isinstance(value, Table):
            tables += ["", f"[{head}.{key}]" if head else f"[{key}]", *_items(value)]
        elif key in {"keep", "archive"}:
            for one in getattr(policy, key):
                tables += ["", f"[[{head}.{key}]]" if head else f"[[{key}]]", *_items(one)]
        elif key == "classes":
            for one in policy.classes:
                items = [line for line in _items(one) if not line.startswith("name = ")]
                place = f"class.{_key(one.name)}"
                tables += ["", f"[{head}.{place}]" if head else f"[{place}]", *items]
        else:
            lines.append(f"{key} = {_value(value)}")
    return "\n".join([*lines, *tables]) + "\n"


def _items(table: Table) -> list[str]:
    return [f"{key} = {_value(value)}" for key, value in _written(table).items()]


def _written(table: Table) -> dict[str, Any]:
    values = table.model_dump(by_alias=True, exclude_defaults=True)
    for key in ("soft", "attributes"):
        if key in values:
            values[key] = dict(values[key])
    return {key: _without_none(value) for key, value in values.items() if value is not None}


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            key: dict(inner) if key == "attributes" else _without_none(inner)
            for key, inner in value.items()
            if inner is not None
        }
    return value


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _value(name)


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_value(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(inner) for inner in value) + "]"
    # JSON's strings and numbers are TOML's, but for DEL, which TOML wants escaped
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
