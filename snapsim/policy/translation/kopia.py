"""kopia: the retention of `kopia policy show --json`, and the options of `kopia policy set`."""

import json
from collections.abc import Mapping
from typing import Any

from snapsim.errors import PolicyError
from snapsim.policy.compat import KEEP_BUCKETS, WITHIN_BUCKETS, tools
from snapsim.policy.policy import Policy
from snapsim.policy.retention import UNLIMITED
from snapsim.policy.translation.common import Translated, Translator
from snapsim.policy.translation.options import Options, read_options, whole_number

_DEFAULTS = {"latest": 10, "hourly": 48, "daily": 7, "weekly": 4, "monthly": 24, "annual": 3}
"""What kopia's global policy says where nobody has changed it."""
_OURS = {rule: f"keep_{rule}" for rule in _DEFAULTS} | {"latest": "keep_last", "annual": "keep_yearly"}
_OPTIONS = Options(
    "kopia policy set",
    takes={f"--keep-{rule}": rule for rule in _DEFAULTS},
    bare=("--global",),
    commands=("kopia", "policy", "set", "sudo"),
    places=True,
)


def read(text: str, name: str, timezone: str | None) -> Translated:
    """Read the JSON of a policy, or options; what is inherited is taken from kopia's own defaults.

    Parameters
    ----------
    text : str
        The output of `kopia policy show --json`, its part "retention", or "--keep-daily 7".
    name : str
        The policy's name.
    timezone : str or None
        Has to be None: kopia's days are those of UTC.

    Returns
    -------
    Translated
        The policy, and what was left aside or inherited.

    Raises
    ------
    PolicyError
        Something cannot be read; the message names the option.
    """
    found, notes = _from_json(text) if text.lstrip().startswith("{") else read_options(text, _OPTIONS)
    counts = {}
    for rule, value in found:
        if rule in counts:
            raise PolicyError(f"--keep-{rule} is given twice: give it once")
        if value != "inherit":
            counts[rule] = whole_number(value, f"--keep-{rule}")
    missing = [rule for rule in _DEFAULTS if rule not in counts]
    if not found:
        raise PolicyError("kopia says nothing about what is kept here: give --keep-daily 7 or the like")
    notes = (*notes, *(f"{rule} is inherited: {_DEFAULTS[rule]}, as kopia has it" for rule in missing))
    values: dict[str, Any] = {_OURS[rule]: count for rule, count in (_DEFAULTS | counts).items()}
    return Translated(Policy(compat="kopia", name=name, timezone=timezone, **values), notes)


def _from_json(text: str) -> tuple[list[tuple[str, str]], tuple[str, ...]]:
    try:
        told = json.loads(text)
    except json.JSONDecodeError as error:
        raise PolicyError(f"kopia's policy is no JSON: {error}") from None
    told = told.get("policy", told)
    retention = told.get("retention", told if any(key.startswith("keep") for key in told) else {})
    found = []
    notes = [f"{key} is left aside" for key in told if key != "retention" and not key.startswith("keep")]
    for key, value in retention.items():
        rule = key.removeprefix("keep").lower()
        if rule not in _DEFAULTS:
            notes.append(f"retention.{key} is left aside")
        elif value is not None:
            found.append((rule, str(value)))
    return found, tuple(notes)


def write(policy: Policy) -> str:
    """Write the options of `kopia policy set`.

    Parameters
    ----------
    policy : Policy
        The policy.

    Returns
    -------
    str
        One line, with all of the options, so that nothing is inherited.

    Raises
    ------
    PolicyError
        kopia cannot say it; the message says what.
    """
    title = tools()["kopia"].title
    said = policy.said()
    known = {*_OURS.values(), "schedule", "name", "compat", "timezone", "guards", "memory", "ram", "naming"}
    for key in said:
        if key not in known and (key in {*KEEP_BUCKETS, *WITHIN_BUCKETS} or policy.compat == "kopia"):
            raise PolicyError(f"{title} cannot express {key}: leave it out")
        if key in {"keep", "keep_tag", "classes", "select", "archive", "group_by"}:
            raise PolicyError(f"{title} cannot express {key}: leave it out")
        if said[key] == UNLIMITED:
            raise PolicyError(f"{title} cannot express {key} unlimited: give a large number")
    return " ".join(f"--keep-{rule} {getattr(policy, key)}" for rule, key in _OURS.items()) + "\n"


TRANSLATORS: Mapping[str, Translator] = {"kopia": Translator(read, write, "--keep-latest 10 --keep-daily 7")}
