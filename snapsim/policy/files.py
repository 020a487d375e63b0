"""Policies as TOML: read with located errors, written so that reading gives back an equal policy."""

import difflib
import json
import re
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from snapsim.errors import PolicyError
from snapsim.policy.policy import DEFAULTS, Policy

_COUNT = 'a whole number, 0 for none, or "unlimited"'
_Count = Annotated[int | Literal["unlimited"], Field(description=_COUNT)]


class PolicyTable(BaseModel):
    """The keys of a policy in TOML; each description says what a value has to be."""

    model_config = ConfigDict(extra="forbid", strict=True)

    schedule: Annotated[
        str | list[str],
        Field(description='text such as "15min", "@hourly" or "0 */6 * * *", or a list of such texts'),
    ]
    keep_last: _Count = 0
    keep_hourly: _Count = 0
    keep_daily: _Count = 0
    keep_weekly: _Count = 0
    keep_monthly: _Count = 0
    keep_quarterly: _Count = 0
    keep_yearly: _Count = 0
    keep_within: Annotated[str | None, Field(description='text such as "48h", "7d" or "1mo"')] = None
    timezone: Annotated[str, Field(description='the IANA name of a time zone, such as "UTC"')] = "UTC"
    name: Annotated[str, Field(description="text")] = ""
    memory: Annotated[Literal["disk", "memory", "full"], Field(description='"disk", "memory" or "full"')] = (
        "disk"
    )
    ram: Annotated[int | str | None, Field(description='bytes, or text such as "4GiB"')] = None


class _Source:
    """Where a policy came from, for messages."""

    def __init__(self, text: str, name: str) -> None:
        self.text, self.name = text, name

    def error(self, message: str, *, key: str = "", table: str = "") -> PolicyError:
        line = self._line(key, table)
        return PolicyError(f"{self.name}{f', line {line}' if line else ''}: {message}")

    def _line(self, key: str, table: str) -> int:
        """Line of a key, or of its table's head; 0 if it is not found (an inline table, say)."""
        lines = self.text.splitlines()
        head = re.compile(rf"\s*\[\s*policy\s*\.\s*[\"']?{re.escape(table)}[\"']?\s*\]")
        start = next((number for number, line in enumerate(lines) if head.match(line)), 0) if table else 0
        wanted = re.compile(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=") if key else head
        return next((number for number, line in enumerate(lines[start:], start + 1) if wanted.match(line)), 0)


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
    given = checked.model_dump(exclude_unset=True)
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
    # a key that nobody knows explains why another one is missing
    first = min(error.errors(include_url=False), key=lambda one: one["type"] != "extra_forbidden")
    key = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, PolicyTable.model_fields, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"the keys are {', '.join(PolicyTable.model_fields)}"
        return where.error(f"unknown key {key!r}: {hint}", key=key, table=table)
    wanted = PolicyTable.model_fields[key].description
    if first["type"] == "missing":
        return where.error(f"{key} is missing: give {wanted}", table=table)
    return where.error(f"{key} is {first['input']!r}: give {wanted}", key=key, table=table)


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
    lines = [f"[policy.{_key(policy.name)}]"] if policy.name else []
    values = {field.name: getattr(policy, field.name) for field in fields(policy)}
    values["schedule"] = (
        policy.schedule.texts[0] if len(policy.schedule.texts) == 1 else list(policy.schedule.texts)
    )
    lines += [
        f"{key} = {_value(value)}"
        for key, value in values.items()
        if key != "name" and value != DEFAULTS.get(key)
    ]
    return "\n".join(lines) + "\n"


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _value(name)


def _value(value: object) -> str:
    # JSON's strings, whole numbers and lists of strings are TOML's, but for DEL, which TOML wants escaped
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
