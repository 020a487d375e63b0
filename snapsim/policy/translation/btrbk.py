"""btrbk.conf: how far back hours, days, weeks, months and years are kept, for each subvolume."""

import re
from collections.abc import Mapping

from snapsim.errors import PolicyError
from snapsim.policy.buckets import WEEKDAYS
from snapsim.policy.policy import Policy
from snapsim.policy.translation import wording
from snapsim.policy.translation.common import Translated, Translator

UNITS: Mapping[str, str] = {
    "h": "keep_hourly", "d": "keep_daily", "w": "keep_weekly", "m": "keep_monthly", "y": "keep_yearly",
}  # fmt: skip
"""btrbk's units, and the short form of each."""

DEFAULTS: Mapping[str, str] = {
    "snapshot_preserve": "no",
    "snapshot_preserve_min": "all",
    "preserve_day_of_week": "sunday",
    "preserve_hour_of_day": "0",
    "timestamp_format": "long",
}
"""What btrbk means where nothing is said."""

_VALUES: Mapping[str, str] = {
    "snapshot_preserve": r"no|(\d+|\*)[hdwmyHDWMY](\s+(\d+|\*)[hdwmyHDWMY])*",
    "snapshot_preserve_min": r"all|latest|[1-9]\d*[hdwmy]",
    "preserve_day_of_week": "|".join(WEEKDAYS),
    "preserve_hour_of_day": r"[01]?\d|2[0-3]",
    "timestamp_format": "short|long|long-iso",
}
_TOLD: Mapping[str, str] = {
    "snapshot_preserve": '"no", or distances such as 24h 7d *w',
    "snapshot_preserve_min": '"all", "latest", or a distance such as 2d',
    "preserve_day_of_week": "a day of the week, in English and small letters",
    "preserve_hour_of_day": "an hour from 0 to 23",
    "timestamp_format": '"short", "long" or "long-iso"',
}

_LAST: Mapping[str, int | str] = {"all": "unlimited", "latest": 1}


def read(text: str, name: str, timezone: str | None) -> Translated:
    """Read the rules for the snapshots of one subvolume.

    Parameters
    ----------
    text : str
        A btrbk.conf.
    name : str
        The policy's name; a subvolume's, where there are several.
    timezone : str, optional
        The zone of the machine that prunes.

    Returns
    -------
    Translated
        The policy, and what is about something else.

    Raises
    ------
    PolicyError
        A line cannot be read.
    """
    sections: dict[str, dict[str, str]] = {}
    everywhere, volume = dict(DEFAULTS), dict(DEFAULTS)
    level, current = "global", everywhere
    aside: list[str] = []
    for number, line in wording.lines(text):
        key, _, value = line.strip().partition(" ")
        value = value.strip()
        if key == "volume":
            level, volume = key, dict(everywhere)
            current = volume
        elif key == "subvolume":
            level = key
            current = sections.setdefault(value, dict(volume if volume is not current else current))
        elif key == "target":
            level = key
        elif key in DEFAULTS:
            if not re.fullmatch(_VALUES[key], value):
                raise PolicyError(f"line {number}: {key} is {value!r}: give {_TOLD[key]}")
            if level != "target":
                current[key] = value
                if level == "global":
                    volume[key] = value
        else:
            wording.near(number, key, DEFAULTS)
            aside.append(key)
    said = wording.chosen(sections or {"": everywhere}, name, "subvolume")
    least = said["snapshot_preserve_min"]
    matrix = {
        unit.lower(): count for count, unit in re.findall(r"(\d+|\*)([a-zA-Z])", said["snapshot_preserve"])
    }
    short = said["timestamp_format"] == "short"
    policy = Policy(
        compat="btrbk",
        name=name,
        timezone=timezone,
        week_start=said["preserve_day_of_week"],
        # a name without a time tells no hour
        day_start="00:00" if short else f"{int(said['preserve_hour_of_day']):02d}:00",
        keep_last=_LAST.get(least, 0),
        plan="" if least in {"all", "latest"} else least,
        **{UNITS[unit]: "unlimited" if count == "*" else int(count) for unit, count in matrix.items()},  # type: ignore[arg-type]
    )
    return Translated(
        policy, tuple(f"{key} is not about which snapshots stay" for key in dict.fromkeys(aside))
    )


def write(policy: Policy) -> str:
    """Write the options for snapshots.

    Parameters
    ----------
    policy : Policy
        The policy.

    Returns
    -------
    str
        Options for the head of a btrbk.conf.
    """
    counts = {unit: getattr(policy, short) for unit, short in UNITS.items()}
    matrix = [
        f"{'*' if count == 'unlimited' else count}{unit}" for unit, count in counts.items() if count != 0
    ]
    least = "all" if policy.keep_last == "unlimited" else policy.plan or "latest"
    said = {
        "snapshot_preserve": " ".join(matrix) or "no",
        "snapshot_preserve_min": least,
        "preserve_day_of_week": policy.week_start,
        "preserve_hour_of_day": int(policy.day_start[:2]),
        "timestamp_format": "long",
    }
    return "".join(f"{key:24}{value}\n" for key, value in said.items())


def unsaid(policy: Policy) -> tuple[str, ...]:
    """Say what btrbk.conf has no option for.

    Parameters
    ----------
    policy : Policy
        The policy.

    Returns
    -------
    tuple of str
        One sentence each.
    """
    found = list(wording.unsaid(policy, {*UNITS.values(), "keep_last", "plan"}))
    if policy.keep_last not in {0, 1, "unlimited"}:
        found.append(f"keep_last is {policy.keep_last}, and only the latest or all can be said")
    if policy.keep_last == 1 and policy.plan:
        found.append("keep_last and plan are both given, and snapshot_preserve_min says one of them")
    if policy.keep_last == 0 and not policy.plan:
        found.append("keep_last is 0, and btrbk always keeps the latest")
    if not policy.day_start.endswith(":00"):
        found.append(f"day_start is {policy.day_start!r}, and days begin on the hour")
    return tuple(found)


TRANSLATORS: Mapping[str, Translator] = {
    "btrbk": Translator(read, write, "snapshot_preserve 24h 7d 4w\nsnapshot_preserve_min latest\n", unsaid)
}
"""The translator of this module."""
