"""`chain_cost`: what a read through layers costs, by their number and the size of their caches.

A chain is built layer by layer and read through: nothing is estimated.  Beside what was counted stands the
formula that explains it: one read of data, and in every layer that has to be looked into the chance that its
table is in no cache,

    E[reads] = 1 + sum over layers k of P(no newer layer has the block) * P(layer k has a table there)
                                        * P(that table is not in the cache of layer k)

where, for reads that are spread evenly, a cache of c tables out of t holds the wanted one with c / t.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from snapsim import schema
from snapsim.devices import Device
from snapsim.devices import device as find_device
from snapsim.engine.queueing import Work, serve
from snapsim.engine.replay import Replay
from snapsim.engine.tables import TableSetup
from snapsim.errors import UsageError
from snapsim.mechanisms import Mechanism
from snapsim.mechanisms import mechanism as find_mechanism
from snapsim.types import READ, WRITE, Batch, Int64Array
from snapsim.units import KIB, MIB, SECOND, format_size, parse_size

__all__ = ["chain_cost"]

_READ = 4 * KIB
_SEQUENTIAL_READ = MIB
_SEQUENTIAL_SHARE = 16  # of the volume, read from end to end
_COLUMNS = (
    "layers", "cache_bytes", "layers_per_read", "reads_per_read", "expected_reads", "read_latency_ns",
    "extents_per_mib", "sequential_rate",
)  # fmt: skip


class _Layer(NamedTuple):
    """What a layer holds.

    Attributes
    ----------
    share : float
        Of the volume's blocks.
    tables : int
        Tables that it has.
    """

    share: float
    tables: int


def chain_cost(
    mechanism: str | Mechanism = "qcow2-external",
    *,
    layers: Sequence[int] = (1, 2, 4, 8, 16, 32, 64),
    cache_bytes: Sequence[int | str] = ("128KiB", "512KiB", "1MiB", "2MiB"),
    cache_entry_bytes: int | str | None = None,
    capacity: int | str = "16GiB",
    changed: float = 0.01,
    block_size: int | str | None = None,
    reads: int = 10_000,
    device: str | Device = "hdd",
    seed: int = 0,
) -> pd.DataFrame:
    """Say what reading through a chain costs, by the number of layers and the size of their caches.

    The oldest layer holds the whole volume; every other one holds blocks that are chosen evenly at random.
    At each number of layers, reads of 4 KiB are spread evenly over the volume, one at a time, with caches
    that have already served as many; then a part of the volume is read from end to end.

    Parameters
    ----------
    mechanism : str or Mechanism
        One whose snapshots are layers.
    layers : sequence of int
        How many, the oldest one included: 1 is a volume without snapshots.
    cache_bytes : sequence of int or str
        Sizes of the cache that each layer has for its tables.  [bytes]
    cache_entry_bytes : int or str, optional
        What is read into a cache at a time where it cannot hold all tables; as the mechanism says by default.
        [bytes]
    capacity : int or str
        Size of the volume.  [bytes]
    changed : float
        Writes into each layer over the blocks of the volume: each is one whole block, some come twice.
    block_size : int or str, optional
        The mechanism's own by default.  [bytes]
    reads : int
        How many are counted at each number of layers.
    device : str or Device
        What the layers lie on, all on one.
    seed : int
        Of the random places.

    Returns
    -------
    DataFrame
        A row for each number of layers and cache: layers, cache_bytes, layers_per_read (looked into),
        reads_per_read (from the device, data and tables), expected_reads (the formula), read_latency_ns
        (mean, one at a time), extents_per_mib, sequential_rate (one read of 1 MiB at a time).

    Raises
    ------
    UsageError
        The mechanism has no layers, or a number is out of range.
    """
    found = find_mechanism(mechanism)
    if found.sharing != "layers":
        raise UsageError(
            f"{found.name} does not keep snapshots as layers: its reads do not look through layers; "
            "name one that does, such as qcow2-external"
        )
    size, whole = parse_size(capacity), sorted(set(layers))
    if not whole or whole[0] < 1:
        raise UsageError(f"layers is {list(layers)}: name at least one, none below 1")
    if not 0 < changed <= 1 or reads < 1:
        raise UsageError("changed must lie above 0 and at most at 1, and reads must be at least 1")
    if size < _SEQUENTIAL_SHARE * _SEQUENTIAL_READ:
        raise UsageError(f"capacity is {format_size(size)}, but must be at least 16 MiB")
    if not cache_bytes:
        raise UsageError("cache_bytes names no size: give at least one")
    entry = None if cache_entry_bytes is None else parse_size(cache_entry_bytes)
    block = None if block_size is None else parse_size(block_size)
    rows = []
    for cache in sorted(set(map(parse_size, cache_bytes))):
        chain = Replay.of(
            found,
            capacity=size,
            initial="thick",
            block_size=block,
            cache_bytes=cache,
            cache_entry_bytes=entry,
        )
        setup = TableSetup.of(
            found, block or found.block_size, cache_bytes=cache, cache_entry_bytes=entry
        )  # fmt: skip
        growing = _Growing(chain, setup, writes=max(round(changed * chain.n_blocks), 1), seed=seed)
        rows += [(n, cache, *growing.read(n, reads, find_device(device))) for n in whole]
    schema.check_columns(_COLUMNS)
    return pd.DataFrame(rows, columns=list(_COLUMNS))


class _Growing:
    """A chain with one size of caches, that grows and is read in between."""

    def __init__(self, chain: Replay, setup: TableSetup, *, writes: int, seed: int) -> None:
        self._chain, self._writes = chain, writes
        self._random = np.random.default_rng(seed)
        self._block = chain.counting.block_size
        rules = setup.rules(unit=setup.block_bytes // self._block, n_blocks=chain.n_blocks)
        self._table_blocks = rules.slice_blocks * rules.table_slices
        self._parts, self._slots = rules.table_slices, rules.slots
        self._layers = [_Layer(1.0, -(-chain.n_blocks // self._table_blocks))]

    def read(self, layers: int, reads: int, device: Device) -> tuple[float, ...]:
        """Return what reads cost when the chain has so many layers; it never gets shorter."""
        while len(self._layers) < layers:
            self._add_layer()
        chain, size = self._chain, self._chain.capacity
        places = self._random.integers(0, size // _READ, 2 * reads) * _READ
        chain.replay(_requests(READ, places[:reads], _READ))  # the caches fill
        traffic, work = chain.work(_requests(READ, places[reads:], _READ))
        below = int(traffic.reads.sum() + traffic.metadata_reads.sum())
        pieces, shown = chain.fragments()
        length = size // _SEQUENTIAL_SHARE // _SEQUENTIAL_READ
        _, along = chain.work(_requests(READ, np.arange(length) * _SEQUENTIAL_READ, _SEQUENTIAL_READ))
        return (
            int(traffic.lookups.sum()) / reads,
            below / reads,
            self._expected(),
            _one_at_a_time(device, work) / reads,
            pieces / (shown / MIB),
            length * _SEQUENTIAL_READ * SECOND / _one_at_a_time(device, along),
        )

    def _add_layer(self) -> None:
        self._chain.create()
        places = self._random.integers(0, self._chain.n_blocks, self._writes)
        self._chain.replay(_requests(WRITE, places * self._block, self._block))
        held = np.unique(places)
        share = len(held) / self._chain.n_blocks
        self._layers.append(_Layer(share, len(np.unique(held // self._table_blocks))))

    def _expected(self) -> float:
        """Return the formula at the head of this module."""
        all_tables = self._layers[0].tables
        expected = reached = 1.0
        for layer in reversed(self._layers):
            held = self._slots / (layer.tables * self._parts) if self._slots else 1.0
            expected += reached * (layer.tables / all_tables) * max(1 - held, 0.0)
            reached *= 1 - layer.share
        return expected


def _requests(op: int, offset: Int64Array, length: int) -> Batch:
    n = len(offset)
    return Batch(
        np.zeros(n, np.int64), np.full(n, op, np.uint8), offset.astype(np.int64), np.full(n, length, np.int64)
    )


def _one_at_a_time(device: Device, work: Work) -> int:
    """Return how long requests take when each waits for the one before.  [ns]"""
    n = len(work.first_op) - 1
    nobody_waits = np.zeros(n, np.int64)
    served = serve(device.parameters(), nobody_waits, work, user=nobody_waits)
    return int(served.finish_ns.max())
