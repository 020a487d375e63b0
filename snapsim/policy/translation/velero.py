"""Velero: the life of a backup (`ttl`), as an option, in the YAML of a schedule, or by itself."""

import re
from collections.abc import Mapping
from typing import Any

from snapsim.errors import PolicyError
from snapsim.policy.compat import tools
from snapsim.policy.policy import Policy
from snapsim.policy.translation.common import Translated, Translator
from snapsim.policy.translation.options import exact_length
from snapsim.units import HOUR, MINUTE, SECOND, parse_duration

_UNITS = {"h": HOUR, "m": MINUTE, "s": SECOND}
_TTL = re.compile(r"(?:^|\s)(?:--ttl[ =]|ttl:)\s*[\"']?(?P<ttl>[^\s\"']+)", re.MULTILINE)
_SCHEDULE = re.compile(
    r"(?:^|\s)(?:--schedule[ =]|schedule:)[ \t]*(?P<quote>[\"']?)(?P<cron>[^\"'\n]+?)(?P=quote)[ \t]*$",
    re.MULTILINE,
)
_EVERY = re.compile(r"@every\s+((?:\d+[hms])+)")


def read(text: str, name: str, timezone: str | None) -> Translated:
    """Read "720h0m0s", `--ttl 720h`, or the YAML of a Schedule.

    Parameters
    ----------
    text : str
        One of these.
    name : str
        The policy's name.
    timezone : str or None
        Has to be None: Velero's clock is UTC.

    Returns
    -------
    Translated
        The policy, and what was left aside.

    Raises
    ------
    PolicyError
        The life cannot be read.
    """
    words = text.strip()
    notes = []
    found = _TTL.search(words)
    alone = re.fullmatch(r"\S+", words)
    life = found["ttl"] if found else words if alone else ""
    if not found and not alone and "kind: Schedule" not in words and not _SCHEDULE.search(words):
        raise PolicyError(
            'Velero says nothing about ttl here: write "720h0m0s", or give the YAML of a schedule'
        )
    values: dict[str, Any] = {}
    ttl = _nanoseconds(life) if life else 0
    if ttl:
        values["expire"] = {"ttl": exact_length(ttl)}
    else:
        notes.append("no ttl: Velero takes 720h")
    if (cron := _SCHEDULE.search(words)) is not None:
        every = _EVERY.fullmatch(cron["cron"])
        values["schedule"] = exact_length(_nanoseconds(every[1])) if every else cron["cron"]
        if every:
            notes.append("@every counts from when Velero was started, here from 1970")
    return Translated(Policy(compat="velero", name=name, timezone=timezone, **values), tuple(notes))


def _nanoseconds(text: str) -> int:
    if re.fullmatch(r"(\d+[hms])+|0", text) is None:
        raise PolicyError(f"ttl is {text!r}: Velero reads hours, minutes and seconds, such as 720h0m0s")
    return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)([hms])", text))


def write(policy: Policy) -> str:
    """Write the life of a backup.

    Parameters
    ----------
    policy : Policy
        The policy.

    Returns
    -------
    str
        A line of YAML, such as "ttl: 720h0m0s".

    Raises
    ------
    PolicyError
        Velero cannot say it; the message says what.
    """
    title = tools()["velero"].title
    for rule in policy.rules:
        if rule.name != "expire":
            raise PolicyError(
                f"{title} cannot express the rule {rule.name!r}: it knows one ttl, and nothing else"
            )
    for key in ("select", "group_by", "archive"):
        if getattr(policy, key):
            raise PolicyError(f"{title} cannot express {key}: leave it out")
    if policy.expire is None or policy.expire.ttl is None:
        raise PolicyError(f"{title} cannot express max_count: it knows one ttl, and nothing else")
    if policy.expire.max_count is not None:
        raise PolicyError(f"{title} cannot express max_count: leave it out")
    seconds, rest = divmod(parse_duration(policy.expire.ttl), SECOND)
    if rest:
        raise PolicyError(f"{title} cannot express ttl {policy.expire.ttl}: its smallest unit is the second")
    return f"ttl: {seconds // 3600}h{seconds // 60 % 60}m{seconds % 60}s\n"


TRANSLATORS: Mapping[str, Translator] = {"velero": Translator(read, write, "720h0m0s")}
