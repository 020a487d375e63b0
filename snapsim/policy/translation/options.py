"""Options as they are typed, and rules that options can say: what restic, borg, Proxmox and kopia share."""

import re
import shlex
from collections.abc import Collection, Mapping
from typing import NamedTuple

from snapsim.errors import PolicyError
from snapsim.policy.buckets import Every
from snapsim.policy.compat import tools
from snapsim.policy.policy import Policy
from snapsim.policy.retention import Rule
from snapsim.policy.windows import Window
from snapsim.units import DAY, HOUR, MINUTE, SECOND


class Options(NamedTuple):
    """What a command line knows.

    Attributes
    ----------
    program : str
        What it is called in messages.
    takes : mapping of str to str
        Options that are read, each with a value, and what they are called here; short ones as "-d".
    valued, bare : collection of str
        Options that are left aside, with and without a value.
    commands : collection of str
        Words that may stand before the options.
    places : bool
        Whether other words may stand there (a repository).
    """

    program: str
    takes: Mapping[str, str]
    valued: Collection[str] = ()
    bare: Collection[str] = ()
    commands: Collection[str] = ()
    places: bool = False


def read_options(text: str, known: Options) -> tuple[list[tuple[str, str]], tuple[str, ...]]:
    """Read options in the forms `--name value`, `--name=value`, `-n value` and `-nvalue`.

    Parameters
    ----------
    text : str
        Options, or a whole line (or several, of a shell script) with them.
    known : Options
        What there is.

    Returns
    -------
    list of (str, str), tuple of str
        The options that are read, in order, and what was left aside.

    Raises
    ------
    PolicyError
        An option is not known, or has no value.
    """
    try:
        words = shlex.split(text.replace("\\\n", " "), comments=True)
    except ValueError as error:
        raise PolicyError(f"the options of {known.program} cannot be read: {error}") from None
    found: list[tuple[str, str]] = []
    notes = []
    place = _options_from(words, known)
    while place < len(words):
        word = words[place]
        place += 1
        if not word.startswith("-") or word == "-":
            if word.rpartition("/")[2] in known.commands:
                continue
            if not known.places:
                raise PolicyError(
                    f"{word!r} is no option of {known.program}: give options such as "
                    f"{next(iter(known.takes))} 7"
                )
            notes.append(f"{word} is left aside")
            continue
        name, equals, value = word.partition("=")
        if not word.startswith("--") and len(word) > 2:
            name, equals, value = word[:2], "=", word[2:].removeprefix("=")
        if name in known.bare and not equals:
            notes.append(f"{name} is left aside")
            continue
        if name not in known.takes and name not in known.valued:
            raise PolicyError(f"{name} is no option of {known.program} about what is kept")
        if not equals:
            if place == len(words):
                raise PolicyError(f"{name} has no value: write {name}=7 or the like")
            value = words[place]
            place += 1
        if name in known.valued:
            notes.append(f"{name} is left aside")
        else:
            found.append((known.takes[name], value))
    return found, tuple(notes)


def _options_from(words: list[str], known: Options) -> int:
    """Return where a line begins: cron writes times before the program, a shell variables."""
    for place, word in enumerate(words):
        if word.startswith("-") and word != "-":
            return 0  # a value may be called like a command
        if word.rpartition("/")[2] in known.commands:
            return place
    return 0


def whole_number(text: str, option: str, *, least: int = 0) -> int:
    """Read a count.

    Parameters
    ----------
    text : str
        As it was typed.
    option : str
        What it belongs to, for the message.
    least : int
        The smallest that is accepted.

    Returns
    -------
    int
        The count.

    Raises
    ------
    PolicyError
        It is none, or smaller.
    """
    if re.fullmatch(r"-?\d+", text.strip()) is None or int(text) < least:
        wanted = "a whole number" if least < 0 else "a whole number, 0 or more"
        raise PolicyError(f"{option} is {text!r}: give {wanted}")
    return int(text)


class Vocabulary(NamedTuple):
    """Which rules a tool has options for.

    Attributes
    ----------
    counts, windows : mapping of str to str
        The option for a bucket.
    tags : str or None
        The option for rules about tags.
    sequential : bool
        Whether rules run from short buckets to long ones.
    closed : bool
        Whether the edge of a window is inside.
    group_by, select : bool
        Whether groups, and a choice by name, can be said.
    """

    counts: Mapping[str, str]
    windows: Mapping[str, str]
    tags: str | None = None
    sequential: bool = False
    closed: bool = False
    group_by: bool = False
    select: bool = False


def said_by_options(policy: Policy, tool: str, words: Vocabulary) -> list[tuple[str, Rule]]:
    """Find the option for each rule.

    Parameters
    ----------
    policy : Policy
        The policy.
    tool : str
        The name of the tool, as `compat` has it.
    words : Vocabulary
        What it has options for.

    Returns
    -------
    list of (str, Rule)
        An option for each rule, in order.

    Raises
    ------
    PolicyError
        There is none; the message says for which rule, and why.
    """
    title = tools()[tool].title
    for what, said in (
        ("group_by", policy.group_by and not words.group_by),
        ("select", policy.select and not words.select),
        ("week_start", policy.week_start != "monday"),
        ("archive", policy.archive),
        (
            "protect",
            policy.compat == tool and _protects(policy) != _protects(Policy(compat=tool, keep_last=1)),
        ),
    ):
        if said:
            raise PolicyError(f"{title} cannot express {what}: leave it out, or do that by hand")
    found: list[tuple[str, Rule]] = []
    order = list(dict.fromkeys([*words.windows, *words.counts]))
    for rule in policy.rules:
        if rule.name == "no rule":
            continue
        option = _option(rule, policy, title, words)
        if option != words.tags and option in dict(found):
            raise PolicyError(f"{title} cannot express the rule {rule.name!r}: {option} is said already")
        found.append((option, rule))
    places = [order.index(str(rule.bucket)) for _, rule in found if str(rule.bucket) in order]
    if words.sequential and places != sorted(places):
        raise PolicyError(
            f"{title} cannot express the order of the rules: it goes from short buckets to long ones"
        )
    return found


def _protects(policy: Policy) -> object:
    return policy.protect.model_dump(exclude={"incomplete_newest"})


def _option(rule: Rule, policy: Policy, title: str, words: Vocabulary) -> str:
    bucket = "" if isinstance(rule.bucket, Every) else str(rule.bucket)
    tagged = rule.select.tags is not None and rule.select == type(rule.select)(tags=rule.select.tags)
    about = (
        rule.select and tagged and words.tags and rule.count is None and not rule.limited and bucket == "each"
    )
    if about and words.tags:
        return words.tags
    options = words.counts if rule.window is None else words.windows
    for why, hinders in (
        ("it is about some snapshots only (select)", bool(rule.select)),
        ("it keeps the oldest of a bucket, the tool the newest", rule.pick != "newest"),
        ("it keeps more than one of a bucket", rule.keep != 1 and bucket != "each"),
        ("it counts empty buckets, too (back)", rule.back is not None),
        ("it is about a band of ages (age)", rule.age_ns is not None),
        (f"it counts from {rule.reference}", rule.window is not None and rule.reference != policy.reference),
        ("it has a count and a window", rule.window is not None and rule.count is not None),
        (
            f"its window is {'closed' if rule.closed else 'open'} at the edge",
            rule.window is not None and rule.closed != words.closed and policy.compat != "snapsim",
        ),
        (f"there is no such option for {bucket or 'buckets of a fixed length'}", bucket not in options),
    ):
        if hinders:
            raise PolicyError(f"{title} cannot express the rule {rule.name!r}: {why}")
    return options[bucket]


def whole_units(window: Window, units: Mapping[str, int], *, option: str, title: str) -> str:
    """Write a length without calendar months, in the largest unit that it is a multiple of.

    Parameters
    ----------
    window : Window
        The length.
    units : mapping of str to int
        The tool's units, the largest first.  [ns]
    option, title : str
        For messages.

    Returns
    -------
    str
        Such as "36H".

    Raises
    ------
    PolicyError
        It has months, or is no multiple of the smallest unit.
    """
    if window.months:
        raise PolicyError(
            f"{title} cannot express {option} {window.text}: it has no calendar months, write days"
        )
    for unit, length in units.items():
        if window.duration_ns % length == 0:
            return f"{window.duration_ns // length}{unit}"
    smallest = list(units)[-1]
    raise PolicyError(f"{title} cannot express {option} {window.text}: its smallest unit is {smallest}")


def exact_length(length_ns: int) -> str:
    """Write a length of whole seconds in our own words, and exactly.

    Parameters
    ----------
    length_ns : int
        The length.  [ns]

    Returns
    -------
    str
        Such as "90min".
    """
    units = {"d": DAY, "h": HOUR, "min": MINUTE, "s": SECOND}
    unit = next(name for name, length in units.items() if length_ns % length == 0)
    return f"{length_ns // units[unit]}{unit}"


__all__ = [
    "Options",
    "Vocabulary",
    "exact_length",
    "read_options",
    "said_by_options",
    "whole_number",
    "whole_units",
]
