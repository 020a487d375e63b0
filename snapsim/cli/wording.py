"""What the package calls its parameters, people at a shell call options."""

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from snapsim.errors import SnapsimError, UsageError

__all__ = ["as_options", "assignments", "known", "worded"]

_READING = (
    "format", "volume", "start", "capacity", "shift", "time_unit", "address_unit", "length_unit",
    "damage_limit",
)  # fmt: skip
_RULES = (
    "schedule", "keep_last", "keep_hourly", "keep_daily", "keep_weekly", "keep_monthly", "keep_quarterly",
    "keep_yearly", "keep_within", "timezone", "memory", "ram",
)  # fmt: skip
_COUNTING = ("every", "initial")
_RESTORING = ("at", "base", "part", "object_size")
_REPLAY = ("interval", "merge", "merge_speed")
_RECORDING = ("entry", "mark")
_VALIDATION = ("sequences", "requests", "seed")
_NAMES = frozenset(_READING + _RULES + _COUNTING + _REPLAY + _RESTORING + _RECORDING + _VALIDATION)

_VALUE = r"""(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<bare>[^\s,;:()"'`]+))"""
_ASSIGNED = re.compile(rf"`?\b(?P<name>{'|'.join(sorted(_NAMES, key=len, reverse=True))})=(?:{_VALUE})?`?")
_NAMED = re.compile(rf"`?\b(?P<name>{'|'.join(name for name in _NAMES if '_' in name)})\b`?(?!=)")


def as_options(text: str) -> str:
    """Write a message of the package with the names of options in it.

    Parameters
    ----------
    text : str
        The message.

    Returns
    -------
    str
        For example "raise the limit with --damage-limit".

    Examples
    --------
    >>> as_options("say which with format='msr', or raise damage_limit")
    'say which with --format msr, or raise --damage-limit'
    """

    def assigned(match: re.Match[str]) -> str:
        value = next((match[kind] for kind in ("double", "single", "bare") if match[kind]), "")
        shown = f'"{value}"' if " " in value else value
        return f"{_option(match['name'])} {shown}".rstrip()

    text = text.replace("schedules=[policy.schedule]", "without --every")
    return _NAMED.sub(lambda match: _option(match["name"]), _ASSIGNED.sub(assigned, text))


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


@contextmanager
def worded() -> Iterator[None]:
    """Let the errors that are raised inside speak of options."""
    try:
        yield
    except SnapsimError as error:
        error.args = (as_options(str(error)),)
        raise


def assignments(texts: Iterable[str], *, option: str) -> dict[str, str]:
    """Read `name=value` pairs.

    Parameters
    ----------
    texts : iterable of str
        As typed.
    option : str
        Which option they were given to, for messages.

    Returns
    -------
    dict of str to str
        Dashes in names are underscores.

    Raises
    ------
    UsageError
        One of them is no pair, or a name comes twice.
    """
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not name:
            raise UsageError(f"{option} {text!r} is no pair: write it as {option} name=value")
        if name in pairs:
            raise UsageError(f"{option} {name} is given twice")
        pairs[name] = value
    return pairs


def known(kind: str, name: str, choices: Sequence[str], *, instead: str = "") -> str:
    """Return a name if it is one of the choices.

    Parameters
    ----------
    kind : str
        What it names, for the message.
    name : str
        As typed.
    choices : sequence of str
        What there is.
    instead : str
        What else could be given, for the message.

    Returns
    -------
    str
        The name.

    Raises
    ------
    UsageError
        It is none of them; the message has the nearest one.
    """
    if name in choices:
        return name
    near = difflib.get_close_matches(name, choices, n=1)
    hint = f"did you mean {near[0]!r}? There" if near else "there"
    other = f"; or give {instead}" if instead else ""
    raise UsageError(f"{kind} {name!r} is unknown: {hint} are {', '.join(choices)}{other}")
