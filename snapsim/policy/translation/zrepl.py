"""zrepl's lists of rules, `keep_sender`, `keep_receiver` and `keep`, and its grids."""

import json
import re
from collections.abc import Mapping
from typing import Any

from snapsim.errors import PolicyError
from snapsim.policy.policy import Policy
from snapsim.policy.tables import Grid, Keep, Select
from snapsim.policy.translation import wording
from snapsim.policy.translation.common import Translated, Translator

_KEYS: Mapping[str, tuple[str, ...]] = {
    "grid": ("grid", "regex"),
    "last_n": ("count", "regex"),
    "regex": ("regex", "negate"),
    "not_replicated": ("keep_snapshots_at_cursor",),
}
"""The types of rules, and the keys of each."""
_NOT_REPLICATED = Select(attributes=(("replicated", True),), exclude=True)


def read(text: str, name: str, _timezone: str | None) -> Translated:
    """Read a list of rules; zrepl counts lengths of time between instants, in no zone.

    Parameters
    ----------
    text : str
        A grid such as "1x1h(keep=all) | 24x1h", or YAML: a list of rules, by itself or under `keep_sender`
        (or else `keep_receiver`), one key a line.
    name : str
        The policy's name.

    Returns
    -------
    Translated
        The policy, and what is about something else.

    Raises
    ------
    PolicyError
        A line cannot be read, or there are two grids.
    """
    if re.match(r"\s*\d+\s*x", text):
        return Translated(Policy(compat="zrepl", name=name, grid={"spec": _minutes(text.strip())}))
    grid: dict[str, Any] | None = None
    keep: list[dict[str, Any]] = []
    rules, notes = _rules(text)
    for number, rule in rules:
        kind = rule.get("type", "")
        if kind not in _KEYS:
            raise PolicyError(f"line {number}: type is {kind!r}: give one of {', '.join(_KEYS)}")
        for key in rule.keys() - {"type", *_KEYS[kind]}:
            raise PolicyError(f"line {number}: unknown key {key!r}: {kind} has {', '.join(_KEYS[kind])}")
        select = {"name": rule["regex"]} if rule.get("regex") else {}
        if kind == "grid":
            if grid is not None:
                raise PolicyError(
                    f"line {number}: a second grid: one policy has one, so make two policies of it"
                )
            if "grid" not in rule:
                raise PolicyError(f"line {number}: grid is missing: give text such as 24x1h | 7x1d")
            grid = {"spec": _minutes(rule["grid"]), "select": select}
        elif kind == "last_n":
            count = wording.whole(number, "count", rule.get("count", ""))
            if not count:
                raise PolicyError(f"line {number}: count is 0: give 1 or more, or leave the rule out")
            keep.append({"name": "last_n", "count": count, "select": select})
        elif kind == "regex":
            negate = rule.get("negate", "false") == "true"
            keep.append({"name": "regex", "select": {"name": rule.get("regex", ""), "exclude": negate}})
        else:
            keep.append({"name": "not_replicated", "select": _NOT_REPLICATED})
    return Translated(Policy(compat="zrepl", name=name, grid=grid, keep=keep), tuple(notes))


def _minutes(grid: str) -> str:
    """Write minutes as snapsim does; for zrepl, m has no other meaning."""
    return re.sub(r"(\d)\s*m\b", r"\1min", grid)


def _rules(text: str) -> tuple[list[tuple[int, dict[str, str]]], list[str]]:
    """Return each rule of a list, with the number of its first line."""
    said = list(wording.lines(text))
    heads = [
        (place, match[1])
        for place, (_, line) in enumerate(said)
        if (match := re.fullmatch(r"\s*(keep_sender|keep_receiver|keep)\s*:\s*(?:\[\s*\])?", line))
    ]
    notes = []
    if heads:
        start, chosen = min(heads, key=lambda head: head[1] != "keep_sender")
        notes = [
            f"{other}{' of another job' if other == chosen else ''} is a policy of its own"
            for place, other in heads
            if place != start
        ]
        indent = _indent(said[start][1])
        said = said[start + 1 :]
        end = next(
            (
                place
                for place, (_, line) in enumerate(said)
                if _indent(line) < indent or (_indent(line) == indent and not line.lstrip().startswith("-"))
            ),
            len(said),
        )
        said = said[:end]
    rules: list[tuple[int, dict[str, str]]] = []
    for number, line in said:
        match = re.fullmatch(r"\s*(-\s+)?(\w+)\s*:\s*(.*?)\s*", line)
        if match is None or (match[1] is None and not rules):
            raise PolicyError(
                f'line {number}: {line.strip()!r} is no part of a list such as "- type: grid": '
                "give the list of one job's keep_sender, keep_receiver or keep, and nothing else"
            )
        if match[1] is not None:
            rules.append((number, {}))
        rules[-1][1][match[2]] = _scalar(number, match[2], match[3])
    return rules, notes


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _scalar(number: int, key: str, text: str) -> str:
    """Read a YAML scalar: plain, or in quotes of either kind."""
    if text.startswith('"'):
        try:
            return str(json.loads(text))
        except json.JSONDecodeError:
            raise PolicyError(f"line {number}: {key} is {text}: its quotes do not match") from None
    if text.startswith("'"):
        if len(text) < 2 or not text.endswith("'"):
            raise PolicyError(f"line {number}: {key} is {text}: its quotes do not match")
        return text[1:-1].replace("''", "'")
    return text


def write(policy: Policy) -> str:
    """Write a list of rules.

    Parameters
    ----------
    policy : Policy
        The policy.

    Returns
    -------
    str
        YAML, from `keep_sender:` on.
    """
    rules: list[dict[str, str]] = []
    if policy.keep_last not in {0, "unlimited"}:
        rules.append({"type": "last_n", "count": str(policy.keep_last)})
    if policy.grid is not None:
        spec = re.sub(r"(\d)\s*min\b", r"\1m", policy.grid.spec)
        rules.append({"type": "grid", "grid": spec, "regex": policy.grid.select.name or ""})
    for rule in policy.keep:
        if rule.select == _NOT_REPLICATED:
            rules.append({"type": "not_replicated"})
        elif isinstance(rule.count, int):
            rules.append({"type": "last_n", "count": str(rule.count), "regex": rule.select.name or ""})
        elif _is_plain(rule):
            said = {"type": "regex", "regex": rule.select.name or ""}
            rules.append({**said, "negate": "true"} if rule.select.exclude else said)
    lines = []
    for one in rules:
        texts = [
            f"{key}: {json.dumps(value) if key in {'grid', 'regex'} else value}"
            for key, value in one.items()
            if key != "regex" or value or one["type"] == "regex"
        ]
        lines += [f"{'  - ' if place == 0 else '    '}{text}\n" for place, text in enumerate(texts)]
    return "keep_sender:" + ("\n" + "".join(lines) if lines else " []\n")


def _is_plain(rule: Keep) -> bool:
    """Whether a rule is about names and, at most, a count."""
    select = Select(name=rule.select.name, exclude=rule.select.exclude)
    counted = isinstance(rule.count, int)
    return rule == Keep(name=rule.name, count=rule.count, select=select) and not (counted and select.exclude)


def unsaid(policy: Policy) -> tuple[str, ...]:
    """Say what zrepl has no rule for.

    Parameters
    ----------
    policy : Policy
        The policy.

    Returns
    -------
    tuple of str
        One sentence each.
    """
    found = list(wording.unsaid(policy, {"keep", "keep_last"}))
    if policy.keep_last == "unlimited":
        found.append('keep_last is "unlimited", and count is a number')
    found += [
        f"keep rule {rule.name or number} cannot be said"
        for number, rule in enumerate(policy.keep, 1)
        if not _is_plain(rule) and rule.select != _NOT_REPLICATED
    ]
    grid = policy.grid
    if grid is not None:
        plain = Grid(spec=grid.spec, select=Select(name=grid.select.name))
        if grid != plain:
            found.append(
                "grid has its own anchor, pick or selection; the tool's are the newest, the oldest and names"
            )
        for length in re.findall(r"x([^(|]+)", grid.spec):
            if not re.fullmatch(r"\s*\d+\s*(s|min|h|d|w)\s*", length):
                found.append(
                    f"grid has the length {length.strip()}: write a whole number of s, min, h, d or w"
                )
    return tuple(found)


TRANSLATORS: Mapping[str, Translator] = {
    "zrepl": Translator(read, write, "1x1h(keep=all) | 24x1h | 14x1d", unsaid)
}
"""The translator of this module."""
