"""What all translations share: the registry, and what a tool cannot say."""

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from typing import NamedTuple

from snapsim.errors import PolicyError
from snapsim.policy.compat import AXES, tools
from snapsim.policy.policy import Policy
from snapsim.policy.tables import Limits

_MODULES: Mapping[str, str] = {
    "restic": "restic",
    "restic-0.14": "restic",
    "borg-1.2": "borg",
    "borg-2": "borg",
    "proxmox": "proxmox",
    "sanoid": "sanoid",
    "snapper": "snapper",
    "btrbk": "btrbk",
    "zrepl": "zrepl",
    "kopia": "kopia",
    "znapzend": "znapzend",
    "zfs-autobackup": "zfs_autobackup",
    "velero": "velero",
}
"""The module of each tool, in this package."""

_WORDS: Mapping[str, str] = {
    "combine": "its rules work together in another way",
    "reference": "windows count from another moment",
    "oldest": "the oldest snapshot is kept in other cases",
    "adjacency": "a bucket that comes back when a clock is put back is another one",
    "future": "snapshots dated after now are treated differently",
    "order": "something else makes a snapshot newer",
    "tie_break": "of snapshots of one moment others represent the bucket",
    "week_start": "weeks begin on another day",
    "month_starts": "months begin on another day",
}
"""What it means for people that an axis differs."""

ALIASES: Mapping[str, str] = {"borg": "borg-1.2", "pbs": "proxmox", "pve": "proxmox"}
"""Other words for a tool."""


class Translated(NamedTuple):
    """A policy that was read from another tool's words.

    Attributes
    ----------
    policy : Policy
        The policy.
    notes : tuple of str
        What was left aside, because it is not about retention or naming.
    """

    policy: Policy
    notes: tuple[str, ...] = ()


class Translator(NamedTuple):
    """How one tool is read and written.

    Attributes
    ----------
    read : callable
        From the tool's words, the policy's name and its time zone (or None) to `Translated`.
    write : callable or None
        From a policy that decides as the tool does to the tool's own configuration; None if it is only read.
    example : str
        The tool's words, for help and messages.
    unsaid : callable or None
        From a policy to what of it the tool's configuration has no words for, one sentence each.
    """

    read: Callable[[str, str, str | None], Translated]
    write: Callable[[Policy], str] | None
    example: str
    unsaid: Callable[[Policy], tuple[str, ...]] | None = None


@cache
def translators() -> Mapping[str, Translator]:
    """Return the translator of each tool.

    Returns
    -------
    mapping of str to Translator
        By the tool's name, as `compat` has it.
    """
    return {name: _load(name) for name in _MODULES}


def _load(name: str) -> Translator:
    module = import_module(f"{__package__}.{_MODULES[name]}")
    found: Translator = module.TRANSLATORS[name]
    return found


def _translator(tool: str) -> tuple[str, Translator]:
    name = ALIASES.get(tool, tool)
    if name not in _MODULES:
        raise PolicyError(f"{tool!r} is no tool that is translated: the tools are {', '.join(_MODULES)}")
    return name, _load(name)


def import_policy(text: str, tool: str, *, name: str = "", timezone: str | None = None) -> Translated:
    """Read a policy in another tool's words.

    Parameters
    ----------
    text : str
        Options, or a configuration file, as the tool takes them.
    tool : str
        Which tool: a name as `compat` has it.
    name : str
        The policy's name.
    timezone : str, optional
        IANA name of the zone in which the tool runs, if it decides in local time.

    Returns
    -------
    Translated
        The policy, which decides as the tool does, and what was left aside.

    Raises
    ------
    PolicyError
        Something cannot be read; the message says what, and what to write.
    """
    return _translator(tool)[1].read(text, name, timezone)


def export_policy(policy: Policy, tool: str, *, approximate: bool = False) -> str:
    """Write a policy as another tool's own configuration.

    Parameters
    ----------
    policy : Policy
        The policy.
    tool : str
        Which tool: a name as `compat` has it.
    approximate : bool
        Write what comes near, with the differences as comments, where the tool cannot express the policy.

    Returns
    -------
    str
        The tool's words.

    Raises
    ------
    PolicyError
        The tool cannot express the policy; the message says precisely what.
    """
    name, translator = _translator(tool)
    if translator.write is None:
        raise PolicyError(f"policies can be read from {name}, but not written for it")
    differing = differences(policy, name)
    if differing and not approximate:
        listed = "; ".join(differing)
        raise PolicyError(
            f"{tools()[name].title} cannot express this policy: {listed} (approximate writes what comes "
            f"near, with these differences as comments)"
        )
    text = translator.write(policy)
    return "".join(f"# not the same: {one}\n" for one in differing) + text


def differences(policy: Policy, tool: str) -> tuple[str, ...]:
    """Say what of a policy a tool decides differently, or cannot say.

    Parameters
    ----------
    policy : Policy
        The policy.
    tool : str
        Which tool: a name as `compat` has it.

    Returns
    -------
    tuple of str
        One sentence each; empty if the tool decides exactly so.
    """
    other = tools()[tool]
    found = []
    if policy.compat != tool:
        found += [
            f"{_WORDS[axis]} ({axis} is {getattr(policy, axis)!r}, the tool's is "
            f"{other.axes.get(axis, AXES[axis][0])!r})"
            for axis in AXES
            if getattr(policy, axis) != other.axes.get(axis, AXES[axis][0])
            and matters(policy, axis, other.style)
        ]
        if other.timezone is not None and policy.timezone != other.timezone:
            found.append(f"timezone is {policy.timezone!r}, the tool decides in {other.timezone!r}")
        if policy.protect != other.protect and policy.protect != type(policy.protect)():
            found.append("protect differs from what the tool protects")
    found += [
        f"{what} cannot be said"
        for what, said in (
            ("min_age", policy.min_age is not None and tool != "snapper"),
            ("space", policy.space is not None and tool not in {"snapper", "sanoid"}),
            ("limits", policy.limits != Limits()),
            ("expire", policy.expire is not None and tool != "velero"),
            ("grid", policy.grid is not None and tool != "zrepl"),
            ("day_start", policy.day_start != "00:00" and tool != "btrbk"),
            ("guards.max_delete_fraction", policy.guards.max_delete_fraction is not None),
            ("guards.require_dry_run_hash", policy.guards.require_dry_run_hash),
        )
        if said
    ]
    unsaid = _load(tool).unsaid if tool in _MODULES else None
    return (*found, *(unsaid(policy) if unsaid else ()))


def matters(policy: Policy, axis: str, style: str) -> bool:
    """Say whether an axis makes a difference to a policy.

    Parameters
    ----------
    policy : Policy
        The policy.
    axis : str
        Which axis.
    style : str
        How the tool's short forms become rules; where that is not by counting, every axis matters.

    Returns
    -------
    bool
        False only where no snapshots could be told apart by it.
    """
    rules = policy.rules
    if style != "counted":
        return True
    if axis == "reference":
        return any(rule.window or rule.age_ns for rule in rules)
    if axis == "adjacency":
        return policy.timezone != "UTC"  # keys only come back where a clock is put back
    if axis == "month_starts":
        return any(rule.bucket in {"month", "quarter", "year"} for rule in rules)
    if axis == "week_start":
        return any(rule.bucket == "week" for rule in rules) or policy.month_starts == "week_start"
    if axis == "combine":
        return len(rules) > 1
    return True
