"""zfs-autobackup's thinners."""

from collections.abc import Mapping

from snapsim.errors import PolicyError
from snapsim.policy.policy import Policy
from snapsim.policy.translation import wording
from snapsim.policy.translation.common import Translated, Translator

_OPTION = "--keep-source"


def read(text: str, name: str, _timezone: str | None) -> Translated:
    """Read a thinner; its blocks are those of UTC, wherever it runs.

    Parameters
    ----------
    text : str
        Such as "10,1d1w,1w1m,1m1y", by itself or after `--keep-source`.
    name : str
        The policy's name.

    Returns
    -------
    Translated
        The policy, and the options that are about something else.

    Raises
    ------
    PolicyError
        It cannot be read.
    """
    words = text.replace("=", " ").split()
    if _OPTION in words:
        place = words.index(_OPTION)
        if place + 1 == len(words):
            raise PolicyError(f"{_OPTION} has no value: give text such as 10,1d1w")
        plan, aside = words[place + 1], words[:place] + words[place + 2 :]
    elif len(words) == 1:
        plan, aside = words[0], []
    else:
        raise PolicyError(f"{text.strip()!r} cannot be read: give text such as 10,1d1w, or {_OPTION} 10,1d1w")
    notes = tuple(f"{word} is not about what stays of the source" for word in aside if word.startswith("-"))
    return Translated(Policy(compat="zfs-autobackup", name=name, plan=plan), notes)


def write(policy: Policy) -> str:
    """Write a thinner.

    Parameters
    ----------
    policy : Policy
        The policy.

    Returns
    -------
    str
        The option.

    Raises
    ------
    PolicyError
        The policy has no plan.
    """
    if not policy.plan or policy.compat != "zfs-autobackup":
        raise PolicyError(
            'zfs-autobackup has only thinners: write compat = "zfs-autobackup" and plan = "10,1d1w"'
        )
    return f"{_OPTION}={policy.plan}\n"


def unsaid(policy: Policy) -> tuple[str, ...]:
    """Say what a thinner has no words for.

    Parameters
    ----------
    policy : Policy
        The policy.

    Returns
    -------
    tuple of str
        One sentence each.
    """
    return wording.unsaid(policy, {"plan"})


TRANSLATORS: Mapping[str, Translator] = {
    "zfs-autobackup": Translator(read, write, "--keep-source=10,1d1w,1w1m,1m1y", unsaid)
}
"""The translator of this module."""
