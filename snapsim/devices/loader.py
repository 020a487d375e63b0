"""Device files in, devices out, and back: TOML is read, checked and written here; errors name the key."""

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from snapsim.devices.model import Device
from snapsim.devices.parts import Cold, Mechanics
from snapsim.errors import DeviceError

_ADAPTER = TypeAdapter(Device)
_UNUSED = {"mechanics": asdict(Mechanics()), "cold": asdict(Cold())}
_DURATIONS = frozenset(
    {"random", "sequential", "flush", "discard", "penalty", "track_to_track", "average_seek", "full_stroke"}
)


@cache
def devices() -> tuple[str, ...]:
    """Return the names of the devices that snapsim comes with.

    Returns
    -------
    tuple of str
        In alphabetical order.

    Examples
    --------
    >>> "hdd" in devices()
    True
    """
    folder = resources.files("snapsim.devices")
    return tuple(
        sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml"))
    )


def device(name: str | Path | Device) -> Device:
    """Return a model of a storage device.

    Parameters
    ----------
    name : str, path or Device
        A name from `devices()`; or the path of a device file, ending in `.toml` (`snapsim device measure`
        writes one); a device is returned as it is.

    Returns
    -------
    Device
        Frozen.

    Raises
    ------
    DeviceError
        The name is unknown, or the file cannot be read or says something that a device cannot say.

    Examples
    --------
    >>> device("hdd").channels
    1
    """
    if isinstance(name, Device):
        return name
    plain = str(name).strip().lower()
    if plain in devices():
        return _bundled(plain)
    path = Path(str(name))
    if path.suffix != ".toml":
        raise DeviceError(
            f"device {str(name)!r} is unknown: it must be one of {', '.join(devices())}, "
            "or a .toml file's path"
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise DeviceError(f"device file {path} cannot be read: {reason}") from error
    return parse_device(text, source=str(path))


@cache
def _bundled(name: str) -> Device:
    text = resources.files("snapsim.devices").joinpath(f"{name}.toml").read_text(encoding="utf-8")
    return parse_device(text, source=f"{name}.toml")


def parse_device(text: str, *, source: str) -> Device:
    """Make a device from the text of a device file.

    Parameters
    ----------
    text : str
        TOML.
    source : str
        What an error message calls it.

    Returns
    -------
    Device
        Checked.

    Raises
    ------
    DeviceError
        The first thing that is wrong, with its place.
    """
    try:
        return _ADAPTER.validate_python(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise DeviceError(f"device file {source} is not TOML: {error}") from error
    except ValidationError as error:
        raise DeviceError(f"device file {source}: {_sentence(error)}") from error


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


def device_toml(one: Device) -> str:
    """Write a device as the text of a device file.

    Parameters
    ----------
    one : Device
        Any.

    Returns
    -------
    str
        TOML; reading it gives the same device.
    """
    return "\n".join(_lines(one.document())) + "\n"


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    tables = {key: value for key, value in document.items() if isinstance(value, Mapping)}
    for key, value in document.items():
        if key not in tables and not (key == "evidence" and value):
            yield f"{key} = {_value(key, value)}"
    for key, table in tables.items():
        if table == _UNUSED.get(key):
            continue
        yield f"\n[{key}]"
        yield from (f"{name} = {_value(name, value)}" for name, value in table.items())
    for item in document["evidence"]:
        yield "\n[[evidence]]"
        yield from (f"{name} = {_value(name, value)}" for name, value in item.items())


def _value(key: str, value: Any) -> str:
    """Return a TOML value; strings are written as in JSON, which TOML's basic strings include."""
    if key in _DURATIONS:
        return f'"{value}ns"'
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
