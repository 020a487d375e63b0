"""What translations of configuration files share: lines, located errors, and what no key can say."""

import difflib
import re
from collections.abc import Collection, Iterator, Mapping

from snapsim.errors import PolicyError
from snapsim.policy.policy import Policy

ALWAYS = (
    "compat", "name", "schedule", "classes", "archive", "naming", "timezone", "memory", "ram", "protect",
    "guards", "select", "limits", "combine", "reference", "oldest", "adjacency", "future", "order",
    "tie_break", "week_start", "month_starts", "day_start", "min_age", "space", "grid", "expire",
)  # fmt: skip
"""Parameters that are not about which rules there are, or that `common.differences` looks at."""


def lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield what is said in a configuration, without comments and empty lines.

    Parameters
    ----------
    text : str
        The configuration; "#" and ";" at the beginning of a word begin a comment.

    Yields
    ------
    int, str
        Number of the line, from 1, and the line without what ends it.
    """
    for number, line in enumerate(text.splitlines(), 1):
        said = re.sub(r"(^|\s)[#;].*", "", line).rstrip()
        if said:
            yield number, said


def whole(number: int, key: str, value: str) -> int:
    """Return a whole number.

    Parameters
    ----------
    number : int
        Of the line.
    key, value : str
        What it says.

    Returns
    -------
    int
        The value, 0 or more.

    Raises
    ------
    PolicyError
        It is none.
    """
    if not re.fullmatch(r"\d{1,12}", value):
        raise PolicyError(f"line {number}: {key} is {value!r}: give a whole number, 0 or more")
    return int(value)


def near(number: int, key: str, known: Collection[str]) -> None:
    """Refuse a key that is probably a known one with a slip.

    Parameters
    ----------
    number : int
        Of the line.
    key : str
        What it says.
    known : collection of str
        The keys that are read.

    Raises
    ------
    PolicyError
        There is a known key that is nearly the same.
    """
    found = difflib.get_close_matches(key, known, n=1, cutoff=0.9)
    if found:
        raise PolicyError(f"line {number}: unknown key {key!r}: did you mean {found[0]!r}?")


def chosen(sections: Mapping[str, dict[str, str]], name: str, what: str) -> dict[str, str]:
    """Return the section that a policy is to be read from.

    Parameters
    ----------
    sections : mapping of str to dict
        What each section says.
    name : str
        The policy's name, which may be that of a section.
    what : str
        What a section is about ("dataset").

    Returns
    -------
    dict of str to str
        The one of that name; or any, if all say the same.

    Raises
    ------
    PolicyError
        There are several that differ.
    """
    if name in sections:
        return sections[name]
    several = list(sections.values())
    if any(one != several[0] for one in several):
        raise PolicyError(
            f"several {what}s have different rules: name the policy after one of {', '.join(sections)}"
        )
    return several[0]


def unsaid(policy: Policy, known: Collection[str]) -> tuple[str, ...]:
    """Say which rules of a policy have no key in a tool's configuration.

    Parameters
    ----------
    policy : Policy
        The policy.
    known : collection of str
        Parameters that have one.

    Returns
    -------
    tuple of str
        One sentence each.
    """
    return tuple(f"{key} cannot be said" for key in policy.said() if key not in {*ALWAYS, *known})
