"""A change trace out of qcow2 files: the layers of a chain, or the internal snapshots of one image.

A layer holds what was written while it was the topmost one.  That is what changed between the snapshot that
began it and the one that ended it.
"""

import json
import re
import subprocess
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from snapsim.errors import TraceError, UsageError
from snapsim.recording.qcow2_layers import (
    DATA,
    ZERO,
    Header,
    Table,
    pieces,
    read_header,
    read_states,
    runs,
)
from snapsim.traces.arrays import When, unix_ns
from snapsim.traces.changes import Changed, ChangeTrace
from snapsim.traces.extents import union
from snapsim.types import Int64Array
from snapsim.units import format_size

__all__ = ["read_qcow2", "read_qcow2_chain", "read_qcow2_snapshots"]

_BY_TIMES = (
    "The moments are when each file was last written, which is when the next layer took over, or a little "
    "before: a guest that had nothing to write leaves them early, and a merge or a copy of files moves them."
)
_ZEROES = "What a layer marks as zero is taken as discarded: a qcow2 file does not tell these apart."
_RESIZED = "The disk was resized along the way: its largest size is taken for the whole time."


class _Layer(NamedTuple):
    """A file of a chain."""

    path: Path
    format: str
    size: int
    header: Header | None  # None for a base that is not qcow2


def read_qcow2(image: Path | str, *, instants: Sequence[When] | None = None) -> ChangeTrace:
    """Read the layers of an image that has backing files, and otherwise its internal snapshots.

    Parameters
    ----------
    image : path
        The topmost file.
    instants : sequence of int, text or datetime, optional
        As in `read_qcow2_chain` and `read_qcow2_snapshots`.

    Returns
    -------
    ChangeTrace
        What changed from one to the next.

    Raises
    ------
    UsageError, TraceError
        As those two.
    """
    layers = _chain(Path(image))
    header = layers[-1].header
    if len(layers) == 1 and header is not None and header.snapshots:
        return read_qcow2_snapshots(image, instants=instants)
    return _of_layers(layers, instants)


def read_qcow2_chain(top_image: Path | str, *, instants: Sequence[When] | None = None) -> ChangeTrace:
    """Make a change trace of the layers of a qcow2 chain.

    Only tables are read, no data: it takes a moment however large the images are.

    Parameters
    ----------
    top_image : path
        The topmost file, which no running guest writes to.
    instants : sequence of int, text or datetime, optional
        When each file, the base first, was last the topmost one: when the snapshot that it holds was taken,
        and for the topmost file when the guest last wrote to it.  Unless given, when the files were last
        written.

    Returns
    -------
    ChangeTrace
        The base is what the volume held at first; then one change a layer.  Its grain is the largest cluster
        (or subcluster) of the layers.

    Raises
    ------
    UsageError
        There is no backing file, or moments are missing or do not increase.
    TraceError
        A file is missing, in use, damaged, or of a kind that cannot be read.
    """
    return _of_layers(_chain(Path(top_image)), instants)


def read_qcow2_snapshots(image: Path | str, *, instants: Sequence[When] | None = None) -> ChangeTrace:
    """Make a change trace of the internal snapshots of a qcow2 image.

    Parameters
    ----------
    image : path
        The file, which no running guest writes to.
    instants : sequence of int, text or datetime, optional
        When each snapshot was taken, and when the image was last written.  Unless given, what the image says,
        and when the file was last written.

    Returns
    -------
    ChangeTrace
        What the first snapshot shows is what the volume held at first; then one change for each further
        snapshot, and one for what the guest sees now.

    Raises
    ------
    UsageError
        There is no internal snapshot, or moments are missing or do not increase.
    TraceError
        The file is missing, in use or damaged.
    """
    layers = _chain(Path(image))
    header, path = layers[-1].header, layers[-1].path
    if header is None or not header.snapshots:
        raise UsageError(
            f"{path} has no internal snapshot: what changed can be told between snapshots only; for a chain "
            "of overlay files give the topmost one"
        )
    states = sorted(read_states(path, header), key=lambda one: one.time_ns)
    tables = [*(one.table for one in states), header.active]
    names = [*(one.name for one in states), "now"]
    times = [*(one.time_ns for one in states), path.stat().st_mtime_ns]
    capacity = max(table.size for table in tables)
    changes = [_between(path, header, before, after) for before, after in pairwise(tables)]
    held: Int64Array | None = _joined(
        runs(first, kinds == DATA, header.unit, tables[0].size)
        for first, kinds, _ in pieces(path, header, tables[0])
    )
    notes = [_ZEROES]
    if len(layers) > 1:  # what shows from below is not in this file's tables
        held = None
        notes.append(
            f"{path.name} has a backing file: what the disk held at first is not known, and what a snapshot "
            "took away to show the backing file again is taken as discarded."
        )
    if len({table.size for table in tables}) > 1:
        notes.append(_RESIZED)
    return ChangeTrace.from_changes(
        _moments(instants, times, names, "snapshot, and the image as it is now,"),
        [None, *changes],
        capacity=capacity,
        grain=header.cluster_size,
        names=names,
        initial=held,
        format="qcow2-snapshots",
        source=path.name,
        notes=notes,
    )


def _of_layers(layers: Sequence[_Layer], instants: Sequence[When] | None) -> ChangeTrace:
    names = [layer.path.name for layer in layers]
    headers = [layer.header for layer in layers if layer.header is not None]
    if len(layers) < 2:
        raise UsageError(
            f"{layers[0].path} has neither a backing file nor internal snapshots: what changed can be told "
            "between snapshots only; give the topmost file of a chain"
        )
    odd = next((layer for layer in layers[1:] if layer.header is None), None)
    if odd is not None:
        raise TraceError(
            f"{odd.path} is {odd.format}, not qcow2: only the base of a chain may have another format"
        )
    units = {one.unit for one in headers}
    grain, capacity = max(units), max(layer.size for layer in layers)
    notes = [_ZEROES]
    if instants is None:
        notes.append(_BY_TIMES)
    if len(units) > 1:
        notes.append(
            f"The layers have clusters of different sizes, from {format_size(min(units))}: what changed is "
            f"known in the largest, {format_size(grain)}."
        )
    if len({layer.size for layer in layers}) > 1:
        notes.append(_RESIZED)
    snapshots = sum(one.snapshots for one in headers)
    if snapshots:
        notes.append(f"{snapshots} internal snapshots of the layers are left aside.")
    times = [layer.path.stat().st_mtime_ns for layer in layers]
    return ChangeTrace.from_changes(
        _moments(instants, times, names, "layer,"),
        [None, *(_layer_change(layer, grain, capacity) for layer in layers[1:])],
        capacity=capacity,
        grain=grain,
        names=names,
        initial=_held(layers[0]),
        format="qcow2-chain",
        source=names[-1],
        notes=notes,
    )


def _chain(top: Path) -> list[_Layer]:
    """Return the files of a chain, the base first, as qemu-img finds them."""
    if not top.is_file():
        raise TraceError(f"{top} does not exist, or is no file")
    told = _ask("info", "--backing-chain", "--output=json", _plain(top), about=top)
    layers = []
    for one in reversed(told):
        name, kind = str(one["filename"]), str(one["format"])
        path = Path(name)
        if not path.is_file():
            raise TraceError(f"{name} in the chain of {top} is no file here: copy the chain to local files")
        header = read_header(path) if kind == "qcow2" else None
        layers.append(_Layer(path, kind, int(one["virtual-size"]), header))
    return layers


def _plain(path: Path) -> str:
    """Write a path so that qemu-img takes it for neither an option nor a protocol."""
    return str(path) if path.is_absolute() else f"./{path}"


def _ask(command: str, *arguments: str, about: Path) -> list[dict[str, Any]]:
    line = ["qemu-img", command, *arguments]
    try:
        done = subprocess.run(line, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        raise TraceError(
            "the program qemu-img is missing: install it (on Debian and Ubuntu: the package qemu-utils)"
        ) from None
    if done.returncode:
        said = done.stderr.strip()
        if re.search(r"Failed to get \S* ?(\"\w+\" )?lock", said):
            raise TraceError(
                f"{about} is in use by another process, perhaps by a running guest: shut it down, or give "
                "the layer below, which nobody writes to"
            )
        reason = said.splitlines()[0].removeprefix("qemu-img: ") if said else "it says nothing"
        raise TraceError(f"qemu-img cannot read {about}: {reason}")
    return list(json.loads(done.stdout))


def _moments(
    given: Sequence[When] | None, found: Sequence[int], names: Sequence[str], each: str
) -> list[int]:
    """Return when each state was the current one; refuse what does not increase."""
    if given is not None and len(given) != len(names):
        raise UsageError(
            f"points in time given: {len(given)}, but there are {len(names)} states ({', '.join(names)}): "
            f"give one for each {each} the oldest first"
        )
    times = list(found) if given is None else [unix_ns(when) for when in given]
    for number in range(1, len(times)):
        if times[number] <= times[number - 1]:
            told = "says that it is" if given is None else "is given as"
            raise UsageError(
                f"{names[number]} {told} not newer than {names[number - 1]}, which it follows: give a point "
                f"in time for each of the {len(names)}, the oldest first"
            )
    return times


def _held(base: _Layer) -> Int64Array:
    """Return what the base of a chain holds: offsets and lengths."""
    if base.header is None:
        told = _ask("map", "--output=json", "-f", base.format, _plain(base.path), about=base.path)
        held = [(one["start"], one["length"]) for one in told if one["data"] and not one["zero"]]
        return np.array(held, np.int64).reshape(-1, 2)
    header = base.header
    return _joined(
        runs(first, kinds == DATA, header.unit, base.size)
        for first, kinds, _ in pieces(base.path, header, header.active)
    )


def _layer_change(layer: _Layer, grain: int, capacity: int) -> Changed:
    header = layer.header
    assert header is not None  # noqa: S101  refused before
    written, gone = [], []
    for first, kinds, _ in pieces(layer.path, header, header.active):
        written.append(runs(first, kinds == DATA, header.unit, capacity))
        gone.append(runs(first, kinds == ZERO, header.unit, capacity))
    return Changed(_widened(_joined(written), grain), _shrunk(_joined(gone), grain, capacity))


def _between(path: Path, header: Header, before: Table, after: Table) -> Changed:
    """Compare two states of one image, cluster by cluster: what was written lies in another place."""
    old, new = (_clusters(path, header, table) for table in (before, after))
    size = max(before.size, after.size)
    written, gone = [], []
    for first in sorted(old.keys() | new.keys()):
        had, there = old.get(first, _nothing(header))
        has, place = new.get(first, _nothing(header))
        written.append(runs(first, has & (~had | (place != there)), header.cluster_size, size))
        gone.append(runs(first, had & ~has, header.cluster_size, size))
    return Changed(_joined(written), _joined(gone))


_State = tuple[npt.NDArray[np.bool_], Int64Array]


def _clusters(path: Path, header: Header, table: Table) -> dict[int, _State]:
    """Return for each L2 table, by the number of its first cluster, which clusters hold data, and where."""
    each = header.cluster_size // header.unit
    found = {}
    for first, kinds, places in pieces(path, header, table):
        has, place = _nothing(header)
        n = -(-len(kinds) // each)
        data = np.zeros(n * each, np.bool_)
        data[: len(kinds)] = kinds == DATA
        has[:n] = data.reshape(n, each).any(axis=1)
        place[:n] = places[::each]
        found[first // each] = has, place
    return found


def _nothing(header: Header) -> _State:
    return np.zeros(header.l2_entries, np.bool_), np.zeros(header.l2_entries, np.int64)


def _joined(parts: Iterable[Int64Array]) -> Int64Array:
    return np.concatenate((np.empty((0, 2), np.int64), *parts))


def _widened(extents: Int64Array, grain: int) -> Int64Array:
    """Return the units that extents touch."""
    start = extents[:, 0] // grain * grain
    end = -(-extents.sum(axis=1) // grain) * grain
    return np.column_stack((start, end - start))


def _shrunk(extents: Int64Array, grain: int, capacity: int) -> Int64Array:
    """Return the units that extents cover whole."""
    joined = union(extents[:, 0], extents.sum(axis=1))
    start = -(-joined.start // grain) * grain
    end = np.where(joined.end < capacity, joined.end // grain * grain, capacity)
    return np.column_stack((start, end - start))[end > start]
