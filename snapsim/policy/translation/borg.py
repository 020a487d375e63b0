"""borg: the options of `borg prune`, of 1.2 and of 2."""

import re
import shlex
from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from typing import Any

from snapsim.errors import PolicyError
from snapsim.policy.compat import tools
from snapsim.policy.policy import Policy
from snapsim.policy.retention import UNLIMITED, Rule
from snapsim.policy.translation.common import Translated, Translator
from snapsim.policy.translation.options import (
    Options,
    Vocabulary,
    exact_length,
    read_options,
    said_by_options,
    whole_number,
    whole_units,
)
from snapsim.units import DAY, HOUR, MINUTE, SECOND

_COUNTS = {"second": "secondly", "minute": "minutely", "hour": "hourly", "day": "daily", "week": "weekly",
           "month": "monthly", "week13": "13weekly", "quarter": "3monthly", "year": "yearly"}  # fmt: skip
_NEW = ("13weekly", "3monthly")
_LETTERS = {"-H": "hourly", "-d": "daily", "-w": "weekly", "-m": "monthly", "-y": "yearly"}
_UNITS = {"y": 365 * DAY, "m": 31 * DAY, "w": 7 * DAY, "d": DAY, "H": HOUR, "M": MINUTE, "S": SECOND}
_WRITTEN = {
    "borg-1.2": {unit: _UNITS[unit] for unit in "dH"},
    "borg-2": {unit: _UNITS[unit] for unit in "dHMS"},
}
_ASIDE: Mapping[str, Any] = {
    "valued": ("--lock-wait", "--remote-path", "--rsh", "--repo", "-r", "--checkpoint-interval", "--umask",
               "--format"),
    "bare": ("--list", "--stats", "-s", "--dry-run", "-n", "--verbose", "-v", "--info", "--progress", "-p",
             "--force",
             "--save-space", "--show-rc", "--log-json", "--debug", "--list-kept", "--list-pruned", "--short"),
    "commands": ("borg", "borg2", "prune", "sudo"),
}  # fmt: skip
_OPTIONS = {
    "borg-1.2": Options(
        "borg prune",
        takes={
            **{f"--keep-{rule}": rule for rule in _COUNTS.values() if rule not in _NEW},
            **_LETTERS, "--keep-last": "last", "--keep-within": "within",
            "--glob-archives": "glob", "-a": "glob", "--prefix": "prefix", "-P": "prefix",
        },
        places=True,
        **_ASIDE,
    ),
    "borg-2": Options(
        "borg prune",
        takes={
            **{f"--keep-{rule}": rule for rule in _COUNTS.values()}, **_LETTERS, "--keep": "last",
            "--match-archives": "match", "-a": "match",
        },
        places=True,
        **_ASIDE,
    ),
}  # fmt: skip
_WORDS = {
    "borg-1.2": Vocabulary(
        counts={
            "each": "--keep-last",
            **{bucket: f"--keep-{rule}" for bucket, rule in _COUNTS.items() if rule not in _NEW},
        },
        windows={"each": "--keep-within"},
        sequential=True,
        select=True,
    ),
    "borg-2": Vocabulary(
        counts=(_new := {"each": "--keep", **{bucket: f"--keep-{rule}" for bucket, rule in _COUNTS.items()}}),
        windows=_new,
        sequential=True,
        closed=True,
        select=True,
    ),
}


def read(text: str, name: str, timezone: str | None, *, tool: str) -> Translated:
    """Read the options of `borg prune`, or the whole line.

    Parameters
    ----------
    text : str
        Such as "--keep-daily 7 --keep-within 2d"; of borg 2, numbers or intervals.
    name : str
        The policy's name.
    timezone : str or None
        Where borg runs; UTC unless given.
    tool : str
        "borg-1.2" or "borg-2".

    Returns
    -------
    Translated
        The policy, and what was left aside.

    Raises
    ------
    PolicyError
        Something cannot be read; the message names the option.
    """
    found, notes = read_options(text, _OPTIONS[tool])
    limits: dict[str, int | str] = {}
    pattern = None
    for key, value in found:
        if key in {"glob", "prefix", "match"}:
            if pattern is not None:
                raise PolicyError("archives are chosen twice: give one of -a and --prefix, once")
            pattern = _pattern(key, value)
            continue
        if key in limits:
            raise PolicyError(f"--keep-{key} is given twice: give it once")
        if tool == "borg-1.2" and {key, *limits} >= {"last", "secondly"}:
            raise PolicyError("--keep-last and --keep-secondly are one option: give it once")
        limits[key] = _limit(key, value, tool)
    limits = {key: limit for key, limit in limits.items() if limit != 0}
    if not limits:
        raise PolicyError("borg prune without a rule does nothing: give an option such as --keep-daily 7")
    values = _short_forms(limits)
    if tool == "borg-2":
        ordered = [limits[key] for key in ("last", *_COUNTS.values()) if key in limits]
        _refuse_nonsense([_nanoseconds(one) if isinstance(one, str) else one for one in ordered])
        values = values or {"keep": _long_forms(limits)}
    select = {"name": pattern} if pattern else None
    return Translated(Policy(compat=tool, name=name, select=select, timezone=timezone, **values), notes)


def _pattern(key: str, value: str) -> str:
    """Turn a choice of archives into a regular expression."""
    if key == "prefix":
        value = f"{value}*"
    if key == "match":
        style, colon, rest = value.partition(":")
        if colon and style == "re":
            return f"^(?:{rest})$"
        if colon and style != "sh":
            raise PolicyError(f"-a {value}: only sh: and re: are read here")
        value = rest if colon else value
    if set("[]{}") & set(value):
        raise PolicyError(
            f"-a {value}: of a glob, only * and ? are read here: write what {{hostname}} and such stand for"
        )
    parts = {"*": ".*", "?": "."}
    return "^" + "".join(parts.get(one, re.escape(one)) for one in value) + "$"


def _limit(key: str, value: str, tool: str) -> int | str:
    """Return a count (negative: unlimited), or an interval."""
    option = "--keep" if key == "last" and tool == "borg-2" else f"--keep-{key}"
    is_interval = key == "within" or (tool == "borg-2" and re.fullmatch(r"\d+[A-Za-z]", value) is not None)
    if not is_interval:
        return whole_number(value, option, least=-(10**9))
    units = "ymwdH" if tool == "borg-1.2" else "ymwdHMS"
    if re.fullmatch(rf"\d+[{units}]", value) is None or not int(value[:-1]):
        raise PolicyError(f"{option} is {value!r}: give a number and one of {', '.join(units)}, such as 2d")
    return value


def _nanoseconds(interval: str) -> str:
    return str(int(interval[:-1]) * _UNITS[interval[-1]])


def _words(limit: int | str) -> tuple[str, int | str]:
    if isinstance(limit, str):
        return "within", exact_length(int(_nanoseconds(limit)))
    return "count", UNLIMITED if limit < 0 else limit


def _short_forms(limits: Mapping[str, int | str]) -> dict[str, Any]:
    """Return short forms, or nothing where one is missing."""
    result = {}
    for key, limit in limits.items():
        kind, value = _words(limit)
        short = {"3monthly": "quarterly"}.get(key, key)
        if key == "13weekly" or (kind == "within" and key in {"secondly", "minutely", "3monthly"}):
            return {}
        within = "keep_within" if key in {"last", "within"} else f"keep_within_{short}"
        result[within if kind == "within" else f"keep_{short}"] = value
    return result


def _long_forms(limits: Mapping[str, int | str]) -> list[dict[str, Any]]:
    buckets = {"last": "each", **{rule: bucket for bucket, rule in _COUNTS.items()}}
    return [
        {"name": key, "bucket": bucket, **dict([_words(limits[key])])}
        for key, bucket in buckets.items()
        if key in limits
    ]


def _refuse_nonsense(limits: list[int | str]) -> None:
    """Refuse what borg 2 refuses; intervals are text with nanoseconds."""
    lengths = [int(one) for one in limits if isinstance(one, str)]
    if any(later <= earlier for earlier, later in pairwise(lengths)):
        raise PolicyError("borg 2 refuses intervals that do not get longer from rule to rule")
    unlimited = [place for place, one in enumerate(limits) if isinstance(one, int) and one < 0]
    if unlimited and any(isinstance(one, int) for one in limits[unlimited[0] + 1 :]):
        raise PolicyError("borg 2 refuses a number after a rule without limit")


def write(policy: Policy, *, tool: str) -> str:
    """Write the options of `borg prune`.

    Parameters
    ----------
    policy : Policy
        The policy.
    tool : str
        "borg-1.2" or "borg-2".

    Returns
    -------
    str
        One line.

    Raises
    ------
    PolicyError
        borg cannot say it; the message says what.
    """
    title = tools()[tool].title
    words: list[str] = []
    limits: list[int | str] = []
    said = said_by_options(policy, tool, _WORDS[tool])
    for option, rule in said:
        words += [_called(option, rule), _said(rule, option, title, tool)]
        limits.append(
            str(rule.window.duration_ns) if rule.window else -1 if rule.count is None else rule.count
        )
    if {"--keep-last", "--keep-secondly"} <= set(words):
        raise PolicyError(f"{title} cannot express last and secondly: they are one option there")
    if tool == "borg-2":
        _refuse_nonsense(limits)
    return shlex.join([*words, *_chosen(policy, title, tool)]) + "\n"


def _called(option: str, rule: Rule) -> str:
    return "--keep-last" if option == "--keep-secondly" and rule.name == "last" else option


def _said(rule: Rule, option: str, title: str, tool: str) -> str:
    if rule.window is not None:
        return whole_units(rule.window, _WRITTEN[tool], option=option, title=title)
    return "-1" if rule.count is None else str(rule.count)


def _chosen(policy: Policy, title: str, tool: str) -> list[str]:
    select = policy.select
    if not select:
        return []
    if select.name is None or select != type(select)(name=select.name):
        raise PolicyError(f"{title} cannot express select, except by name")
    body = re.fullmatch(r"\^(.*)\$", select.name)
    rest = re.sub(r"\.\*|\.|\\.", "", body[1]) if body else "("
    if body is None or re.search(r"[\\^$*+?{}\[\]()|]", rest):
        raise PolicyError(f"{title} cannot express select.name {select.name!r}: write it as ^prefix.*$")
    glob = re.sub(
        r"\\(.)|\.\*|\.", lambda found: found[1] or {".*": "*", ".": "?"}[found[0]], body[1]
    )  # what is escaped is literal
    return ["-a", f"sh:{glob}" if tool == "borg-2" else glob]


TRANSLATORS: Mapping[str, Translator] = {
    tool: Translator(partial(read, tool=tool), partial(write, tool=tool), "--keep-daily 7 --keep-weekly 4")
    for tool in ("borg-1.2", "borg-2")
}
