"""restic: the options of `restic forget`."""

import re
import shlex
from collections.abc import Mapping
from functools import partial
from typing import Any

from snapsim.errors import PolicyError
from snapsim.policy.compat import tools
from snapsim.policy.policy import Policy
from snapsim.policy.retention import UNLIMITED
from snapsim.policy.translation.common import Translated, Translator
from snapsim.policy.translation.options import (
    Options,
    Vocabulary,
    read_options,
    said_by_options,
    whole_number,
)
from snapsim.policy.windows import Window
from snapsim.units import HOUR

_COUNTS = {
    "each": "last",
    "hour": "hourly",
    "day": "daily",
    "week": "weekly",
    "month": "monthly",
    "year": "yearly",
}
_SHORT = {"l": "last", "H": "hourly", "d": "daily", "w": "weekly", "m": "monthly", "y": "yearly"}
_WITHIN = ["within", *(f"within-{rule}" for rule in list(_COUNTS.values())[1:])]

_OPTIONS = Options(
    "restic forget",
    takes={
        **{f"--keep-{rule}": f"keep_{rule}" for rule in _COUNTS.values()},
        **{f"-{letter}": f"keep_{rule}" for letter, rule in _SHORT.items()},
        **{f"--keep-{rule}": f"keep_{rule.replace('-', '_')}" for rule in _WITHIN},
        "--keep-tag": "keep_tag", "--group-by": "group_by", "-g": "group_by", "--tag": "tag",
        "--host": "host", "--path": "path",
    },
    valued=("--repo", "-r", "--password-file", "-p", "--password-command", "--cacert", "--cache-dir",
            "--key-hint", "--limit-download", "--limit-upload", "-o", "--option", "--max-unused",
            "--max-repack-size",
            "--repository-file", "--retry-lock", "--compression", "--pack-size"),
    bare=("--prune", "--dry-run", "-n", "--compact", "-c", "--json", "--quiet", "-q", "--verbose", "-v",
          "--no-cache", "--no-lock", "--cleanup-cache", "--insecure-tls", "--unsafe-allow-remove-all"),
    commands=("restic", "forget", "sudo"),
)  # fmt: skip
_WORDS = Vocabulary(
    counts={bucket: f"--keep-{rule}" for bucket, rule in _COUNTS.items()},
    windows={
        bucket: "--keep-within" if bucket == "each" else f"--keep-within-{rule}"
        for bucket, rule in _COUNTS.items()
    },
    tags="--keep-tag",
    group_by=True,
    select=True,
)
_GROUPS = {"host": "host", "hosts": "host", "paths": "paths", "path": "paths", "tags": "tags", "tag": "tags"}


def read(text: str, name: str, timezone: str | None, *, tool: str) -> Translated:
    """Read the options of `restic forget`, or the whole line.

    Parameters
    ----------
    text : str
        Such as "--keep-daily 7 --keep-within 2d".
    name : str
        The policy's name.
    timezone : str or None
        Has to be None: restic decides in the clocks of the snapshots.
    tool : str
        "restic" or "restic-0.14".

    Returns
    -------
    Translated
        The policy, and what was left aside.

    Raises
    ------
    PolicyError
        Something cannot be read; the message names the option.
    """
    found, notes = read_options(text, _OPTIONS)
    values: dict[str, Any] = {"group_by": ("host", "paths"), "keep_tag": []}
    for key, value in found:
        option = f"--{key.replace('_', '-')}"
        if key == "keep_tag":
            values[key].append(_tags(value))
        elif key == "group_by":
            values[key] = _groups(value)
        elif key.startswith("keep_within"):
            values[key] = _window(value, option) or None
        elif key.startswith("keep"):
            values[key] = _count(value, option, tool)
            if value.startswith("-"):
                notes = (*notes, f"{option} {value} keeps nothing in restic 0.14, so it is left out")
    if not any(value for key, value in values.items() if key.startswith("keep_")):
        raise PolicyError(
            "restic forget without a policy does nothing: give an option such as --keep-daily 7"
        )
    select = _select(found)
    return Translated(Policy(compat=tool, name=name, select=select, timezone=timezone, **values), notes)


def _select(found: list[tuple[str, str]]) -> dict[str, Any] | None:
    """Read the options that choose snapshots."""
    chosen: dict[str, Any] = {}
    hosts = tuple(value for key, value in found if key == "host")
    tags = [_tags(value) for key, value in found if key == "tag"]
    if any(key == "path" for key, _ in found):
        raise PolicyError("--path cannot be read: make a listing with that --path, and leave it out here")
    if len(tags) > 1:
        raise PolicyError("--tag is given twice, which means either: write one policy for each")
    if tags:
        chosen["tags"] = tags[0]
    if hosts:
        chosen["attributes"] = {"host": hosts[0] if len(hosts) == 1 else hosts}
    return chosen or None


def _tags(value: str) -> tuple[str, ...]:
    return tuple(tag for tag in value.split(",") if tag)


def _groups(value: str) -> tuple[str, ...]:
    groups = [one for one in value.split(",") if one]
    for one in groups:
        if one not in _GROUPS:
            raise PolicyError(f"--group-by {value}: {one!r} is none of host, paths, tags")
    return tuple(_GROUPS[one] for one in groups)


def _count(value: str, option: str, tool: str) -> int | str:
    if tool == "restic":
        if value == UNLIMITED:
            return UNLIMITED
        if value.startswith("-"):
            raise PolicyError(f"{option} is {value}: restic refuses negative counts, write unlimited")
    return max(whole_number(value, option, least=-(10**9) if tool == "restic-0.14" else 0), 0)


def _window(value: str, option: str) -> str:
    """Read "1y5m7d2h"; a unit that is given twice has its last value."""
    if re.fullmatch(r"(\d+[ymdh])+", value) is None:
        raise PolicyError(
            f"{option} is {value!r}: restic reads years, months, days and hours, such as 1y5m7d2h"
        )
    parts = {unit: int(number) for number, unit in re.findall(r"(\d+)([ymdh])", value)}
    ours = {"y": "y", "m": "mo", "d": "d", "h": "h"}
    return "".join(f"{parts[unit]}{word}" for unit, word in ours.items() if parts.get(unit))


def write(policy: Policy, *, tool: str) -> str:
    """Write the options of `restic forget`.

    Parameters
    ----------
    policy : Policy
        The policy.
    tool : str
        "restic" or "restic-0.14".

    Returns
    -------
    str
        One line.

    Raises
    ------
    PolicyError
        restic cannot say it; the message says what.
    """
    title = tools()[tool].title
    words: list[str] = []
    for option, rule in said_by_options(policy, tool, _WORDS):
        if option == "--keep-tag":
            words += [option, ",".join(rule.select.tags or ())]
        elif rule.window is not None:
            words += [option, _length(rule.window, option, title)]
        elif rule.count is None and tool == "restic-0.14":
            raise PolicyError(f"{title} cannot express {option} unlimited: give a large number")
        else:
            words += [option, UNLIMITED if rule.count is None else str(rule.count)]
    words += ["--group-by", ",".join(_written_groups(policy, title))]
    return shlex.join([*words, *_filters(policy, title)]) + "\n"


def _written_groups(policy: Policy, title: str) -> tuple[str, ...]:
    for one in policy.group_by:
        if one not in _GROUPS.values():
            raise PolicyError(f"{title} cannot express group_by {one!r}: it knows host, paths and tags")
    return policy.group_by


def _filters(policy: Policy, title: str) -> list[str]:
    select = policy.select
    known = dict(select.attributes)
    hosts = known.pop("host", ())
    if known or select != type(select)(tags=select.tags, attributes=select.attributes):
        raise PolicyError(f"{title} cannot express select, except by tags and host")
    words = [] if select.tags is None else ["--tag", ",".join(select.tags)]
    for host in hosts if isinstance(hosts, tuple) else (hosts,):
        words += ["--host", str(host)]
    return words


def _length(window: Window, option: str, title: str) -> str:
    hours, rest = divmod(window.duration_ns, HOUR)
    if rest:
        raise PolicyError(f"{title} cannot express {option} {window.text}: its smallest unit is the hour")
    parts = {
        "y": window.months // 12,
        "m": window.months % 12,
        "d": window.days + hours // 24,
        "h": hours % 24,
    }
    return "".join(f"{number}{unit}" for unit, number in parts.items() if number)


TRANSLATORS: Mapping[str, Translator] = {
    tool: Translator(partial(read, tool=tool), partial(write, tool=tool), "--keep-daily 7 --keep-within 2d")
    for tool in ("restic", "restic-0.14")
}
