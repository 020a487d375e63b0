"""Proxmox: `prune-backups` of Proxmox VE, prune jobs and options of Proxmox Backup Server."""

import re
from collections.abc import Mapping
from typing import Any

from snapsim.errors import PolicyError
from snapsim.policy.compat import tools
from snapsim.policy.policy import Policy
from snapsim.policy.translation.common import Translated, Translator
from snapsim.policy.translation.options import Vocabulary, said_by_options, whole_number

_RULES = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
_WORDS = Vocabulary(
    counts={"each": "keep-last", "second": "keep-last", "hour": "keep-hourly", "day": "keep-daily",
            "week": "keep-weekly", "month": "keep-monthly", "year": "keep-yearly"},
    windows={},
    sequential=True,
)  # fmt: skip
_WORD = re.compile(r"(?:--)?(?P<key>[a-z][a-z-]*)(?:\s*=\s*|\s+|:\s*)(?P<value>-?\w+)")


def read(text: str, name: str, timezone: str | None) -> Translated:
    """Read "keep-last=3,keep-daily=7", a stanza of `storage.cfg` or `prune.cfg`, or `--keep-daily 7`.

    Parameters
    ----------
    text : str
        One of these.
    name : str
        The policy's name.
    timezone : str or None
        Where Proxmox runs; UTC unless given.

    Returns
    -------
    Translated
        The policy, and what was left aside.

    Raises
    ------
    PolicyError
        Something cannot be read; the message names the option.
    """
    counts: dict[str, Any] = {}
    notes: list[str] = []
    for line in text.splitlines():
        said = line.partition("#")[0].strip()
        if "keep-" not in said and not re.search(r"\bke+p", said):
            notes += [f"{said} is left aside"] if said else []
            continue
        said = re.sub(r"^(?:--)?prune-backups\s*[:=\s]\s*|[\"']", "", said)
        for word in re.split(r"\s*,\s*|\s+(?=--|keep-)", said):
            _read_word(word, counts, notes)
    keep_all = counts.pop("keep_all", 0)
    if not counts and not keep_all:
        raise PolicyError('Proxmox says nothing about what is kept here: write "keep-last=3,keep-daily=7"')
    if keep_all and any(counts.values()):
        raise PolicyError("keep-all keeps everything, so that no other keep- may stand beside it")
    return Translated(Policy(compat="proxmox", name=name, timezone=timezone, **counts), tuple(notes))


def _read_word(word: str, counts: dict[str, Any], notes: list[str]) -> None:
    match = _WORD.fullmatch(word.strip())
    if match is None or not match["key"].startswith("keep-"):
        if word.startswith("--") or "=" in word:
            raise PolicyError(
                f"{word.strip()!r} says nothing about what is kept: write keep-daily=7 or the like"
            )
        notes.append(f"{word.strip()} is left aside")
        return
    key = match["key"].removeprefix("keep-")
    if key not in {*_RULES, "all"}:
        raise PolicyError(f"keep-{key} is not known: Proxmox has keep-{', keep-'.join(_RULES)} and keep-all")
    if f"keep_{key}" in counts:
        raise PolicyError(f"keep-{key} is given twice: give it once")
    value = (
        {"true": "1", "false": "0"}.get(match["value"], match["value"]) if key == "all" else match["value"]
    )
    counts[f"keep_{key}"] = whole_number(value, f"keep-{key}")


def write(policy: Policy) -> str:
    """Write a `prune-backups` string.

    Parameters
    ----------
    policy : Policy
        The policy.

    Returns
    -------
    str
        Such as "keep-last=3,keep-daily=7".

    Raises
    ------
    PolicyError
        Proxmox cannot say it; the message says what.
    """
    words = []
    for option, rule in said_by_options(policy, "proxmox", _WORDS):
        if rule.count is None:
            raise PolicyError(
                f"{tools()['proxmox'].title} cannot express {option} unlimited: give a large number"
            )
        words.append(f"{option}={rule.count}")
    return ",".join(words or ["keep-all=1"]) + "\n"


TRANSLATORS: Mapping[str, Translator] = {"proxmox": Translator(read, write, "keep-last=3,keep-daily=7")}
