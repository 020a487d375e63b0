"""Policies by name, to start from."""

import tomllib
from functools import cache
from importlib import resources

from snapsim.errors import PolicyError
from snapsim.policy.policy import Policy


@cache
def _text() -> str:
    return resources.files(__package__).joinpath("presets.toml").read_text(encoding="utf-8")


def presets() -> tuple[str, ...]:
    """Return the names of the presets.

    Returns
    -------
    tuple of str
        What `preset` takes.
    """
    return tuple(tomllib.loads(_text())["policy"])


def preset(name: str) -> Policy:
    """Return a preset.

    Parameters
    ----------
    name : str
        One of `presets()`.

    Returns
    -------
    Policy
        In UTC; `dataclasses.replace` changes what should differ.

    Raises
    ------
    PolicyError
        There is no such preset.

    Examples
    --------
    >>> preset("gfs").describe()
    'gfs: @daily, keep daily 7, weekly 4, monthly 12 (UTC)'
    """
    if name not in presets():
        raise PolicyError(f"preset {name!r} does not exist: the presets are {', '.join(presets())}")
    from snapsim.policy.files import read

    return read(_text(), name=name)
