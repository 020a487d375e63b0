"""znapzend's plans."""

import re
from collections.abc import Mapping

from snapsim.errors import PolicyError
from snapsim.policy.policy import Policy
from snapsim.policy.translation import wording
from snapsim.policy.translation.common import Translated, Translator


def read(text: str, name: str, timezone: str | None) -> Translated:
    """Read the plan of a source.

    Parameters
    ----------
    text : str
        A plan such as "7d=>1h,30d=>4h,1y=>1d", or lines such as `znapzendzetup list` prints, of which
        `src_plan` counts.
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
        There is no plan, or it cannot be read.
    """
    plan, notes = "", []
    for number, line in wording.lines(text):
        match = re.fullmatch(r"\s*(?:--)?([a-z]\w*)\s*=(?!>)\s*(.*?)\s*", line)
        if match and match[1] != "src_plan":
            wording.near(number, match[1], {"src_plan"})
            notes.append(f"{match[1]} is not about what stays of the source")
            continue
        said = match[2] if match else line.strip()
        if "=>" not in said and not match:
            notes.append(f"line {number} is no plan")
            continue
        if plan:
            raise PolicyError(f"line {number}: a second plan: give one")
        plan = re.sub(r"\s", "", said)
    if not plan:
        raise PolicyError('there is no plan: give one such as "7d=>1h,30d=>4h"')
    return Translated(Policy(compat="znapzend", name=name, timezone=timezone, plan=plan), tuple(notes))


def write(policy: Policy) -> str:
    """Write the plan of a source.

    Parameters
    ----------
    policy : Policy
        The policy.

    Returns
    -------
    str
        One line.

    Raises
    ------
    PolicyError
        The policy has no plan.
    """
    if not policy.plan or policy.compat != "znapzend":
        raise PolicyError(
            'znapzend says everything by its plan: write compat = "znapzend" and plan = "7d=>1h,30d=>4h"'
        )
    return f"src_plan={policy.plan}\n"


def unsaid(policy: Policy) -> tuple[str, ...]:
    """Say what a plan has no words for.

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


TRANSLATORS: Mapping[str, Translator] = {"znapzend": Translator(read, write, "7d=>1h,30d=>4h,1y=>1d", unsaid)}
"""The translator of this module."""
