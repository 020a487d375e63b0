"""`commit_point`: the depth of a chain from which on a merge costs less than to go on reading through it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from snapsim import schema
from snapsim.devices import Device, ServiceParameters
from snapsim.devices import device as find_device
from snapsim.engine.queueing import Work, serve
from snapsim.errors import UsageError
from snapsim.types import READ, WRITE
from snapsim.units import HOUR, KIB, MIB, parse_duration, parse_size

if TYPE_CHECKING:
    from snapsim.planning.replay import Replayed

__all__ = ["commit_point"]

_LOOKUP_NS = 1000  # processor time to look into one more layer: 0.4 to 1 us was measured with QEMU 7.2
_PIECE = MIB  # what a merge copies at a time
_TRIALS = 256  # operations at random places, of which the mean is taken


def commit_point(
    replayed: "Replayed | None" = None,
    *,
    depths: Sequence[int] = tuple(range(2, 65)),
    reads_per_hour: float | None = None,
    passed: float | None = None,
    missed: float | None = None,
    layer_bytes: int | str | None = None,
    lookup: int | str = _LOOKUP_NS,
    table_bytes: int | str = 4 * KIB,
    device: str | Device | None = None,
) -> pd.DataFrame:
    """Set the cost of reading through a chain against the cost of a merge, by depth.

    A read looks into the layers from the newest on until one has the block.  If each layer lets a share q of
    the reads pass, a read looks into ``1 + q + q**2 + ... + q**(d - 1)`` layers of a chain of d; a merge
    takes one layer away.  What is not given is taken from a replay: its reads per hour, the share q that
    explains its layers per read at the depths it had, the share of lookups whose table was in no cache, and
    the mean size of the layers that it merged.

    Parameters
    ----------
    replayed : Replayed, optional
        An answer of `replay`.
    depths : sequence of int
        Layers of the chain, the active one included; at least 2, so that there is something to merge.
    reads_per_hour : float, optional
        Blocks read in an hour.
    passed : float, optional
        Share of reads that a layer lets pass to the one below: q, from 0 to 1.
    missed : float, optional
        Share of lookups that have to read a part of a table from the device, from 0 to 1.
    layer_bytes : int or str, optional
        Data in the layer that is merged.  [bytes]
    lookup : int or str
        Processor time to look into a layer whose table is in the cache.  [ns]
    table_bytes : int or str
        What a lookup reads that finds no table in the cache.  [bytes]
    device : str or Device, optional
        Where it happens; that of the replay unless said, or "nvme".

    Returns
    -------
    DataFrame
        A row a depth: depth, layers_per_read, extra_read_ns_per_hour (what reads of an hour take longer than
        through one layer), saved_ns_per_hour (what of that a merge saves), commit_ns (what the merge takes
        the device), break_even_hours (after which the merge has paid; infinite where it never does).

    Raises
    ------
    UsageError
        Something is missing, or is no share.

    Examples
    --------
    >>> frame = commit_point(
    ...     depths=[2, 8], reads_per_hour=1e6, passed=1.0, missed=0.1, layer_bytes="1GiB", device="nvme"
    ... )
    >>> frame["layers_per_read"].tolist()
    [2.0, 8.0]
    """
    layers = np.array(depths, np.int64)
    if layers.ndim != 1 or not len(layers) or layers.min() < 2:
        raise UsageError("depths must be at least 2: a chain of one layer has nothing to merge")
    found = {} if replayed is None else _measured(replayed, parse_size(table_bytes))
    given = {
        "reads_per_hour": reads_per_hour,
        "passed": passed,
        "missed": missed,
        "layer_bytes": None if layer_bytes is None else parse_size(layer_bytes),
    }
    values: dict[str, float] = {}
    for name, wanted in given.items():
        value = found.get(name) if wanted is None else float(wanted)
        if value is None:
            told = "give it" if replayed is None else "the replay does not show it, so give it"
            raise UsageError(f"{name} is not known: {told}")
        values[name] = value
        if value < 0 or (name in {"passed", "missed"} and value > 1):
            raise UsageError(
                f"{name} is {value}, but must {'lie between 0 and 1' if value > 1 else 'not be negative'}"
            )
    chosen = device
    if chosen is None:
        chosen = "nvme" if replayed is None or replayed.device is None else replayed.device
    parameters = find_device(chosen).parameters()

    step = parse_duration(lookup) + values["missed"] * _takes(parameters, [READ], parse_size(table_bytes))
    per_read = looked_into(values["passed"], layers)
    hourly = values["reads_per_hour"] * step
    saved = hourly * (per_read - looked_into(values["passed"], layers - 1))
    commit = values["layer_bytes"] / _PIECE * _takes(parameters, [READ, WRITE], _PIECE)
    frame = pd.DataFrame(
        {
            "depth": layers,
            "layers_per_read": per_read,
            "extra_read_ns_per_hour": hourly * (per_read - 1),
            "saved_ns_per_hour": saved,
            "commit_ns": np.full(len(layers), commit),
            "break_even_hours": np.divide(commit, saved, out=np.full(len(layers), np.inf), where=saved > 0),
        }
    )
    schema.check_columns(frame.columns)
    return frame


def looked_into(passed: float, layers: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the layers that a read looks into, of a chain of so many, if each lets a share pass."""
    depth = np.asarray(layers, np.float64)
    if passed == 1:
        return depth
    return np.asarray((1 - passed**depth) / (1 - passed), np.float64)


def _takes(parameters: ServiceParameters, ops: Sequence[int], size: int) -> float:
    """Return how long an idle device takes for operations of a size at random places, one by one.  [ns]"""
    n = _TRIALS * len(ops)
    places = np.random.default_rng(0).integers(0, max(parameters.capacity // size, 1), n) * size
    work = Work.single(np.tile(np.array(ops, np.uint8), _TRIALS), places, np.full(n, size))
    served = serve(parameters, np.zeros(n, np.int64), work, user=np.zeros(n, np.int64))
    return float(served.latency_ns.sum()) / _TRIALS


def _measured(replayed: "Replayed", table_bytes: int) -> dict[str, float]:
    """Return what a replay shows."""
    frame, operations = replayed.frame, replayed.operations
    known = frame["layers_per_read"].notna().to_numpy()
    found: dict[str, float] = {}
    hours = len(frame) * replayed.interval_ns / HOUR
    if known.any() and replayed.layers_per_read is not None:
        blocks = frame["guest_read_bytes"].to_numpy()[known] / replayed.version_bytes
        looked = frame["layers_per_read"].to_numpy()[known]
        layers = frame["depth"].to_numpy()[known] + 1
        found["reads_per_hour"] = float(blocks.sum()) / hours
        found["passed"] = _share_that_explains(float((looked * blocks).sum()), layers, blocks)
        lookups = float((looked * blocks).sum())
        tables = float(frame["metadata_read_bytes"].sum()) / table_bytes
        found["missed"] = min(tables / lookups, 1.0) if lookups else 0.0
    merged = operations[operations["moved_bytes"] > 0]["moved_bytes"]
    if len(merged):
        found["layer_bytes"] = float(merged.mean())
    return found


def _share_that_explains(
    lookups: float, layers: npt.NDArray[np.int64], blocks: npt.NDArray[np.float64]
) -> float:
    """Return the share that passes each layer, so that as many lookups result: more lookups, larger share."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        if float((looked_into(middle, layers) * blocks).sum()) < lookups:
            low = middle
        else:
            high = middle
    return high
