"""sanoid.conf: stanzas with how many of each class stay, and templates."""

import re
from collections.abc import Mapping

from snapsim.errors import PolicyError
from snapsim.policy.policy import Policy
from snapsim.policy.translation import wording
from snapsim.policy.translation.common import Translated, Translator

CLASSES: Mapping[str, str] = {
    "frequently": "keep_minutely",
    "hourly": "keep_hourly",
    "daily": "keep_daily",
    "weekly": "keep_weekly",
    "monthly": "keep_monthly",
    "yearly": "keep_yearly",
}
"""sanoid's classes, and the short form of each."""

DEFAULTS: Mapping[str, str] = {
    "frequently": "0", "hourly": "48", "daily": "90", "weekly": "0", "monthly": "6", "yearly": "0",
    "frequent_period": "15", "prune_defer": "0", "autoprune": "yes",
}  # fmt: skip
"""What sanoid means where nothing is said."""

_ASIDE = re.compile(
    r"autosnap|recursive|process_children_only|skip_children|path|monitor|monitor_\w+|capacity_\w+|"
    r"(frequent|hour|dai|week|month|year)\w*_(min|hour|wday|mday|mon|warn|crit)|\w+_script|script_timeout|"
    r"no_inconsistent_snapshot|force_post_snapshot_script|use_template"
)
_TRUE = {"yes", "true", "1"}


def read(text: str, name: str, _timezone: str | None) -> Translated:
    """Read the rules of one dataset; sanoid's ages are differences of instants, in no zone.

    Parameters
    ----------
    text : str
        A sanoid.conf.
    name : str
        The policy's name; a dataset's, where there are several.

    Returns
    -------
    Translated
        The policy, and the keys that are about something else.

    Raises
    ------
    PolicyError
        A line cannot be read, or a template is missing.
    """
    stanzas: dict[str, dict[str, str]] = {}
    aside: list[str] = []
    stanza: dict[str, str] | None = None
    for number, line in wording.lines(text):
        header = re.fullmatch(r"\s*\[\s*(.+?)\s*\]", line)
        key, equals, value = (part.strip() for part in line.partition("="))
        if header:
            stanza = stanzas.setdefault(header[1], {})
        elif not equals:
            raise PolicyError(f"line {number}: {line.strip()!r} is neither [dataset] nor key = value")
        elif stanza is None:
            raise PolicyError(f"line {number}: {key} stands before the first [dataset]: begin with one")
        elif key in DEFAULTS:
            if key != "autoprune":
                wording.whole(number, key, value)
            stanza[key] = value
        elif _ASIDE.fullmatch(key):
            stanza[key] = value
            aside += [key] if key != "use_template" else []
        else:
            wording.near(number, key, DEFAULTS)
            raise PolicyError(f"line {number}: unknown key {key!r}: what stays is {', '.join(DEFAULTS)}")
    said = _settings(stanzas, name)
    counts: dict[str, int | str] = {short: int(said[key]) for key, short in CLASSES.items()}
    notes = [f"{key} is not about what stays" for key in dict.fromkeys(aside)]
    if said["autoprune"].lower() not in _TRUE:
        counts = dict.fromkeys(counts, "unlimited")
        notes.append("autoprune is off, so everything stays")
    # sanoid defers while the percentage, of which it leaves out the fraction, is at most the limit
    defer = min(int(said["prune_defer"]) + 1, 100) / 100 if int(said["prune_defer"]) else None
    policy = Policy(
        compat="sanoid",
        name=name,
        plan="" if said["frequent_period"] == "15" else f"{said['frequent_period']}min",
        space=None if defer is None else {"prune_defer_below": defer},
        **counts,  # type: ignore[arg-type]
    )
    return Translated(policy, tuple(notes))


def _settings(stanzas: Mapping[str, dict[str, str]], name: str) -> dict[str, str]:
    """Return what holds for a dataset: defaults, the default template, its templates, its own."""
    templates = {key: value for key, value in stanzas.items() if key.startswith("template_")}
    resolved = {}
    for dataset, own in stanzas.items():
        if dataset in templates and len(templates) < len(stanzas):
            continue  # templates by themselves are taken for datasets
        said = {**DEFAULTS, **stanzas.get("template_default", {})}
        for template in re.split(r"\s*,\s*", own.get("use_template", "")):
            if template and f"template_{template}" not in templates:
                raise PolicyError(f"[{dataset}] uses the template {template!r}: add [template_{template}]")
            said |= templates.get(f"template_{template}", {})
        said |= own
        resolved[dataset] = {key: value for key, value in said.items() if key in DEFAULTS}
    if not resolved:
        raise PolicyError("nothing is said: begin with a dataset such as [tank/vm]")
    return wording.chosen(resolved, name, "dataset")


def write(policy: Policy) -> str:
    """Write a stanza.

    Parameters
    ----------
    policy : Policy
        The policy.

    Returns
    -------
    str
        A sanoid.conf with one dataset, which has the policy's name.
    """
    counts = {key: getattr(policy, short) for key, short in CLASSES.items()}
    said: dict[str, object] = {"autosnap": "no", "autoprune": "yes", **counts}
    if all(count == "unlimited" for count in counts.values()):
        said = {"autosnap": "no", "autoprune": "no"}
    if policy.plan:
        said["frequent_period"] = policy.plan.removesuffix("min")
    if policy.space is not None and policy.space.prune_defer_below is not None:
        said["prune_defer"] = round(policy.space.prune_defer_below * 100) - 1
    return f"[{policy.name or 'tank/vm'}]\n" + "".join(
        f"    {key} = {value}\n" for key, value in said.items()
    )


def unsaid(policy: Policy) -> tuple[str, ...]:
    """Say what sanoid.conf has no key for.

    Parameters
    ----------
    policy : Policy
        The policy.

    Returns
    -------
    tuple of str
        One sentence each.
    """
    counts = [getattr(policy, short) for short in CLASSES.values()]
    found = list(wording.unsaid(policy, {*CLASSES.values(), "plan"}))
    if "unlimited" in counts and any(count != "unlimited" for count in counts):
        found.append('"unlimited" cannot be said of one class alone')
    if policy.plan and not re.fullmatch(r"[1-9]\d*min", policy.plan):
        found.append(f"plan is {policy.plan!r}, but frequent_period is in minutes")
    if policy.space is not None and policy.space.soft:
        found.append("space.soft cannot be said")
    return tuple(found)


TRANSLATORS: Mapping[str, Translator] = {
    "sanoid": Translator(read, write, "[tank/vm]\nhourly = 24\ndaily = 7\nmonthly = 6\n", unsaid)
}
"""The translator of this module."""
