"""Traces by name: those that come with snapsim, and where public ones are found.

Both lists are `data/registry.toml`.  Nothing here uses the network: see `snapsim.traces.fetching`.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from snapsim.errors import StoreError, UsageError
from snapsim.traces.pacing import pace
from snapsim.units import SECOND, format_duration

if TYPE_CHECKING:
    from snapsim.traces.trace import Trace

__all__ = [
    "PublicFile",
    "PublicSet",
    "Recording",
    "public_set",
    "public_sets",
    "recorded",
    "recordings",
]

Entry = TypeVar("Entry")

_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Recording:
    """A trace that comes with snapsim; wherever a path is taken, it stands for its file.

    Attributes
    ----------
    name : str
        As in `snapsim data list`.
    title, about : str
        What was recorded, and what is in it.
    path, provenance_path, initial_map : Path
        The stored trace; how it was recorded; what of the disk was allocated before (`qemu-img map`), for
        `initial=` of `snapsim.count_lifetimes`.
    time_scale : float
        Represented time divided by real time.
    span_seconds : float
        From the first request to the last, represented.  [s]
    requests : int
        Number of requests.
    written_bytes : int
        Sum of the lengths of all writes.  [bytes]
    has : tuple of str
        What not every trace has: "discards", "digests".
    licence : str
        An SPDX name.
    fingerprint : str
        Of the trace.
    """

    name: str
    title: str
    about: str
    path: Path
    provenance_path: Path
    initial_map: Path
    time_scale: float
    span_seconds: float
    requests: int
    written_bytes: int
    has: tuple[str, ...]
    licence: str
    fingerprint: str

    def __fspath__(self) -> str:
        """Return the path of the stored trace."""
        return os.fspath(self.path)

    @property
    def real_seconds(self) -> float:
        """How long the recording took, from the first request to the last.  [s]"""
        return self.span_seconds / self.time_scale

    @property
    def span(self) -> str:
        """How long it is, for people, with its pace if it was paced."""
        represented = format_duration(round(self.span_seconds * SECOND))
        if self.time_scale == 1:
            return represented
        real = format_duration(round(self.real_seconds * SECOND))
        return f"{represented}, recorded in {real}: {pace(self.time_scale)}"

    @property
    def provenance(self) -> dict[str, Any]:
        """How it was recorded, as the provenance file says it."""
        return tomllib.loads(_there(self.provenance_path).read_text(encoding="utf-8"))

    def read(self) -> "Trace":
        """Read the trace into memory."""
        from snapsim.traces import store

        return store.read(_there(self.path))

    def open(self) -> "Trace":
        """Open the trace, to be streamed."""
        from snapsim.traces import store

        return store.open(_there(self.path))


@dataclass(frozen=True)
class PublicFile:
    """A file of a public set that can be downloaded.

    Attributes
    ----------
    name : str
        What it is called here.
    address : str
        Where it is.
    size_bytes : int
        How large it is.  [bytes]
    sha256 : str
        Of the file; "" where nobody has checked one.
    """

    name: str
    address: str
    size_bytes: int
    sha256: str = ""


@dataclass(frozen=True)
class PublicSet:
    """Traces that others have published.

    Attributes
    ----------
    name : str
        As in `snapsim data list`.
    title, gives : str
        What it is, and what one gets.
    format : str
        Name of the format that reads it.
    home : str
        Address of its page.
    licence, citation : str
        Its terms, and what to cite.
    agree : str
        What has to be done on the page before a download; "" where nothing has to.
    files : tuple of PublicFile
        What can be downloaded without.
    """

    name: str
    title: str
    gives: str
    format: str
    home: str
    licence: str
    citation: str
    agree: str = ""
    files: tuple[PublicFile, ...] = ()


def recordings() -> dict[str, Recording]:
    """Return the traces that come with snapsim, by name.

    Returns
    -------
    dict of str to Recording
        In the registry's order.

    Raises
    ------
    StoreError
        The registry is missing: snapsim was installed without its data.

    Examples
    --------
    >>> "postgres" in recordings()
    True
    """
    return dict(_registry(registry_path())[0])


def recorded(name: str) -> Recording:
    """Return a trace that comes with snapsim.

    Parameters
    ----------
    name : str
        As `recordings` lists it.

    Returns
    -------
    Recording
        Its `read` gives the trace; the recording itself is taken wherever the path of a trace is.

    Raises
    ------
    UsageError
        There is none of that name.

    Examples
    --------
    >>> recorded("postgres").read().volumes
    ('',)
    """
    return _named("recording", name, recordings())


def public_sets() -> dict[str, PublicSet]:
    """Return the public sets that are known, by name; errors as for `recordings`."""
    return dict(_registry(registry_path())[1])


def public_set(name: str) -> PublicSet:
    """Return a public set by its name; errors as for `recorded`."""
    return _named("public set", name, public_sets())


def registry_path() -> Path:
    """Return where the registry is: in the package as installed, beside it in the source tree.

    Raises
    ------
    StoreError
        Snapsim was installed without its data.
    """
    places = [folder / "data" / "registry.toml" for folder in (_PACKAGE, _PACKAGE.parent)]
    for place in places:
        if place.is_file():
            return place
    msg = f"{places[0]} is missing: snapsim was installed without its recordings; install it again"
    raise StoreError(msg)


@cache
def _registry(path: Path) -> tuple[Mapping[str, Recording], Mapping[str, PublicSet]]:
    return parse_registry(path.read_text(encoding="utf-8"), path.parent)


def parse_registry(text: str, folder: Path) -> tuple[dict[str, Recording], dict[str, PublicSet]]:
    """Read a registry.

    Parameters
    ----------
    text : str
        TOML.
    folder : Path
        What its file names are relative to.

    Returns
    -------
    tuple of two dicts
        Recordings and public sets, by name.
    """
    document = tomllib.loads(text)
    return (
        {name: _recording(name, table, folder) for name, table in document.get("recordings", {}).items()},
        {name: _set(name, table) for name, table in document.get("sets", {}).items()},
    )


def _recording(name: str, table: Mapping[str, Any], folder: Path) -> Recording:
    values = dict(table)
    return Recording(
        name=name,
        path=folder / values.pop("file"),
        provenance_path=folder / values.pop("provenance"),
        initial_map=folder / values.pop("initial_map"),
        has=tuple(values.pop("has")),
        **values,
    )


def _set(name: str, table: Mapping[str, Any]) -> PublicSet:
    files = tuple(
        PublicFile(one["name"], one["address"], one["bytes"], one.get("sha256", ""))
        for one in table.get("files", ())
    )
    return PublicSet(name=name, **{**table, "files": files})


def _named(kind: str, name: str, known: Mapping[str, Entry]) -> Entry:
    if name not in known:
        msg = f"there is no {kind} {name!r}: choose from {', '.join(known)}"
        raise UsageError(msg)
    return known[name]


def _there(path: Path) -> Path:
    if not path.is_file():
        msg = f"{path} is missing: snapsim was installed without its recordings; install it again"
        raise StoreError(msg)
    return path
