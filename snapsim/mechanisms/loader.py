"""Mechanism files in, mechanisms out: TOML is read and checked here; errors name the key."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from snapsim.errors import MechanismError
from snapsim.mechanisms.model import Mechanism

_ADAPTER = TypeAdapter(Mechanism)


@cache
def mechanisms() -> tuple[str, ...]:
    """Return the names of the mechanisms that snapsim comes with.

    Returns
    -------
    tuple of str
        In alphabetical order.

    Examples
    --------
    >>> "qcow2-external" in mechanisms()
    True
    """
    folder = resources.files("snapsim.mechanisms")
    return tuple(
        sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml"))
    )


def mechanism(name: str | Path | Mechanism) -> Mechanism:
    """Return a mechanism.

    Parameters
    ----------
    name : str, path or Mechanism
        A name from `mechanisms()`, in capitals or small letters and with or without its hyphens; or the path
        of a mechanism file of your own, ending in `.toml` (write one by copying one of the package's); a
        mechanism is returned as it is.

    Returns
    -------
    Mechanism
        Frozen; `with_options` makes variants.

    Raises
    ------
    MechanismError
        The name is unknown, or the file cannot be read or says something that a mechanism cannot say.

    Examples
    --------
    >>> mechanism("qcow2-external").sharing
    'layers'
    """
    if isinstance(name, Mechanism):
        return name
    plain = _plain(str(name))
    bundled = next((one for one in mechanisms() if _plain(one) == plain), None)
    if bundled is not None:
        return _bundled(bundled)
    path = Path(str(name))
    if path.suffix != ".toml":
        names = ", ".join(mechanisms())
        raise MechanismError(
            f"mechanism {str(name)!r} is unknown: it must be one of {names}, or a .toml file's path"
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise MechanismError(f"mechanism file {path} cannot be read: {reason}") from error
    return _parse(text, source=str(path))


def _plain(name: str) -> str:
    return name.strip().lower().replace("-", "").replace("_", "")


@cache
def _bundled(name: str) -> Mechanism:
    text = resources.files("snapsim.mechanisms").joinpath(f"{name}.toml").read_text(encoding="utf-8")
    return _parse(text, source=f"{name}.toml")


def _parse(text: str, *, source: str) -> Mechanism:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise MechanismError(f"mechanism file {source} is not TOML: {error}") from error
    return build(document, source=source)


def build(document: Mapping[str, Any], *, source: str) -> Mechanism:
    """Make a mechanism from the document that a mechanism file holds.

    Parameters
    ----------
    document : mapping
        As TOML gives it.
    source : str
        What an error message calls it.

    Returns
    -------
    Mechanism
        Checked.

    Raises
    ------
    MechanismError
        The first thing that is wrong, with its place.
    """
    try:
        return _ADAPTER.validate_python(document)
    except ValidationError as error:
        raise MechanismError(f"mechanism {source}: {_sentence(error)}") from error


def _sentence(error: ValidationError) -> str:
    """Say the first thing that is wrong: where, what, what to do; a misspelt key before a missing one."""
    errors = error.errors(include_url=False)
    first = min(errors, key=lambda one: one["type"] != "unexpected_keyword_argument")
    where = ".".join(str(part) for part in first["loc"])
    match first["type"]:
        case "unexpected_keyword_argument":
            return f"{where} is not a known key: remove it or correct its spelling"
        case "missing":
            return f"{where} is missing: add it"
        case "literal_error":
            return f"{where} is {first['input']!r}, but must be one of {first['ctx']['expected']}"
        case "value_error":
            return f"{where}: {first['ctx']['error']}" if where else str(first["ctx"]["error"])
        case _:
            return f"{where} is {first['input']!r}: {first['msg']}"
