"""snapper's configurations: limits of its two algorithms, ages, and space."""

import re
from collections.abc import Mapping
from typing import Any

from snapsim.errors import PolicyError
from snapsim.policy.policy import Policy
from snapsim.policy.tables import Keep, Select
from snapsim.policy.translation import wording
from snapsim.policy.translation.common import Translated, Translator
from snapsim.units import SECOND, parse_duration

LIMITS: Mapping[str, str] = {
    "NUMBER_LIMIT": "keep_last",
    "TIMELINE_LIMIT_HOURLY": "keep_hourly",
    "TIMELINE_LIMIT_DAILY": "keep_daily",
    "TIMELINE_LIMIT_WEEKLY": "keep_weekly",
    "TIMELINE_LIMIT_MONTHLY": "keep_monthly",
    "TIMELINE_LIMIT_QUARTERLY": "keep_quarterly",
    "TIMELINE_LIMIT_YEARLY": "keep_yearly",
}
"""snapper's limits, and the short form of each."""

DEFAULTS: Mapping[str, str] = {
    "NUMBER_CLEANUP": "yes", "NUMBER_MIN_AGE": "1800", "NUMBER_LIMIT": "50", "NUMBER_LIMIT_IMPORTANT": "10",
    "TIMELINE_CLEANUP": "yes", "TIMELINE_MIN_AGE": "1800", "TIMELINE_LIMIT_HOURLY": "10",
    "TIMELINE_LIMIT_DAILY": "10", "TIMELINE_LIMIT_WEEKLY": "0", "TIMELINE_LIMIT_MONTHLY": "10",
    "TIMELINE_LIMIT_QUARTERLY": "0", "TIMELINE_LIMIT_YEARLY": "10",
    "QGROUP": "", "SPACE_LIMIT": "0.5", "FREE_LIMIT": "0.2",
}  # fmt: skip
"""What snapper means where nothing is said."""

_ASIDE = {
    "SUBVOLUME", "FSTYPE", "ALLOW_USERS", "ALLOW_GROUPS", "SYNC_ACL", "BACKGROUND_COMPARISON",
    "TIMELINE_CREATE", "EMPTY_PRE_POST_CLEANUP", "EMPTY_PRE_POST_MIN_AGE",
}  # fmt: skip
_ALGORITHMS = ("number", "timeline")


def read(text: str, name: str, timezone: str | None) -> Translated:
    """Read a configuration.

    Parameters
    ----------
    text : str
        A file of /etc/snapper/configs.
    name : str
        The policy's name.
    timezone : str, optional
        The zone of the process.

    Returns
    -------
    Translated
        The policy, and the keys that are about something else.

    Raises
    ------
    PolicyError
        A line cannot be read.
    """
    said, notes = _said(text)
    on = [one for one in _ALGORITHMS if said[f"{one.upper()}_CLEANUP"] == "yes"]
    if not on:
        raise PolicyError(
            "NUMBER_CLEANUP and TIMELINE_CLEANUP are off, so snapper deletes nothing: there is no policy"
        )
    bounds = {short: _bounds(said[key]) for key, short in LIMITS.items() if key.split("_")[0].lower() in on}
    keep: list[dict[str, Any]] = []
    low, important = _bounds(said["NUMBER_LIMIT_IMPORTANT"])
    if "number" in on and important:
        select = {"attributes": {"cleanup": "number"}, "important": True}
        keep.append({"name": "important", "count": important, "select": select})
        if low < important:
            notes.append(
                f"the lower bound {low} of NUMBER_LIMIT_IMPORTANT: {important} stay, however full it is"
            )
    ages = {one: int(said[f"{one.upper()}_MIN_AGE"]) for one in on}
    same = len(set(ages.values())) == 1
    if not same:
        keep += [_age(one, age) for one, age in ages.items() if age]
    soft = {short: least for short, (least, most) in bounds.items() if least < most}
    policy = Policy(
        compat="snapper",
        name=name,
        timezone=timezone,
        keep=keep,
        min_age=f"{ages[on[0]]}s" if same and ages[on[0]] else None,
        select={"attributes": {"cleanup": on[0]}} if len(on) == 1 else None,
        space=_space(soft, said, notes),
        **{short: most for short, (_, most) in bounds.items()},  # type: ignore[arg-type]
    )
    return Translated(policy, tuple(notes))


def _said(text: str) -> tuple[dict[str, str], list[str]]:
    """Return what holds, checked, and what is left aside."""
    said, notes = dict(DEFAULTS), []
    for number, line in wording.lines(text):
        match = re.fullmatch(r"\s*([A-Z_]+)\s*=\s*(\"[^\"]*\"|'[^']*'|\S*)\s*", line)
        if match is None:
            raise PolicyError(f'line {number}: {line.strip()!r} is not KEY="value"')
        key, value = match[1], match[2].strip("\"'")
        if key in _ASIDE:
            notes.append(f"{key} is not about what stays")
            continue
        if key not in DEFAULTS:
            wording.near(number, key, DEFAULTS)
            notes.append(f"{key} is not known")
            continue
        if "_LIMIT_" in f"{key}_" and key.startswith(("NUMBER", "TIMELINE")):
            if not re.fullmatch(r"\d+(-\d+)?", value) or _bounds(value)[0] > _bounds(value)[1]:
                raise PolicyError(
                    f'line {number}: {key} is {value!r}: give a number, or a range such as "2-10"'
                )
        elif key.endswith("_AGE"):
            wording.whole(number, key, value)
        elif key in {"SPACE_LIMIT", "FREE_LIMIT"} and not re.fullmatch(r"0(\.\d+)?|1(\.0*)?|\.\d+", value):
            raise PolicyError(f"line {number}: {key} is {value!r}: give a share between 0 and 1")
        said[key] = value
    return said, notes


def _bounds(value: str) -> tuple[int, int]:
    low, _, high = value.partition("-")
    return int(low), int(high or low)


def _age(algorithm: str, age_s: int) -> dict[str, Any]:
    return {
        "name": f"{algorithm} age",
        "within": f"{age_s}s",
        "edge": "open",
        "reference": "now",
        "select": {"attributes": {"cleanup": algorithm}},
    }


def _space(soft: dict[str, int], said: Mapping[str, str], notes: list[str]) -> dict[str, Any] | None:
    share = float(said["SPACE_LIMIT"]) if said["QGROUP"] else 0
    free = float(said["FREE_LIMIT"])
    if not soft:
        return None
    if not share and not free:
        notes.append("the lower bounds: neither SPACE_LIMIT (which needs QGROUP) nor FREE_LIMIT is above 0")
        return None
    notes.append(
        "snapper frees space with one algorithm after the other, snapsim with the oldest of both first"
    )
    return {
        "soft": soft,
        **({"snapshots_max": share} if share else {}),
        **({"free_min": free} if 0 < free < 1 else {}),
    }


def write(policy: Policy) -> str:
    """Write a configuration.

    Parameters
    ----------
    policy : Policy
        The policy.

    Returns
    -------
    str
        The keys that are about what stays.
    """
    managed = str(dict(policy.select.attributes).get("cleanup", _ALGORITHMS))
    soft = dict(policy.space.soft) if policy.space else {}
    said = {f"{one.upper()}_CLEANUP": "yes" if one in managed else "no" for one in _ALGORITHMS}
    for key, short in LIMITS.items():
        count = getattr(policy, short)
        count = 999_999_999 if count == "unlimited" else count
        said[key] = f"{soft[short]}-{count}" if soft.get(short, count) < count else str(count)
    common = policy.min_age_ns // SECOND
    ages = dict.fromkeys(_ALGORITHMS, common)
    said["NUMBER_LIMIT_IMPORTANT"] = "0"
    for rule in policy.keep:
        if _is_important(rule):
            said["NUMBER_LIMIT_IMPORTANT"] = str(rule.count)
        elif (algorithm := _age_of(rule)) is not None:
            ages[algorithm] = max(common, parse_duration(rule.within or 0) // SECOND)
    said |= {f"{one.upper()}_MIN_AGE": str(age) for one, age in ages.items()}
    if policy.space is not None and soft:
        said["SPACE_LIMIT"] = str(policy.space.snapshots_max or 0)
        said["FREE_LIMIT"] = str(policy.space.free_min or 0)
        said["QGROUP"] = "1/0" if policy.space.snapshots_max else ""
    return "".join(f'{key}="{value}"\n' for key, value in said.items())


def _is_important(rule: Keep) -> bool:
    select = Select(attributes=(("cleanup", "number"),), important=True)
    plain = Keep(name=rule.name, count=rule.count, select=select)
    return rule == plain and rule.count != "unlimited"


def _age_of(rule: Keep) -> str | None:
    """Return whose minimum age a rule is."""
    for algorithm in _ALGORITHMS:
        if rule.within and rule == Keep(**{**_age(algorithm, 1), "name": rule.name, "within": rule.within}):
            return algorithm
    return None


def unsaid(policy: Policy) -> tuple[str, ...]:
    """Say what a configuration has no key for.

    Parameters
    ----------
    policy : Policy
        The policy.

    Returns
    -------
    tuple of str
        One sentence each.
    """
    found = list(wording.unsaid(policy, {*LIMITS.values(), "keep"}))
    found += [f'{short} is "unlimited", and no limit is' for short in LIMITS.values()
              if getattr(policy, short) == "unlimited"]  # fmt: skip
    found += [
        f"keep rule {rule.name or number} cannot be said"
        for number, rule in enumerate(policy.keep, 1)
        if not _is_important(rule) and _age_of(rule) is None
    ]
    if policy.space is not None and policy.space.prune_defer_below is not None:
        found.append("space.prune_defer_below cannot be said")
    if policy.space is not None and policy.space.delete_order != "oldest":
        found.append(f"space.delete_order is {policy.space.delete_order!r}, the tool's is 'oldest'")
    return tuple(found)


TRANSLATORS: Mapping[str, Translator] = {
    "snapper": Translator(read, write, 'TIMELINE_LIMIT_HOURLY="24"\nTIMELINE_LIMIT_DAILY="7"\n', unsaid)
}
"""The translator of this module."""
