"""Space over time for one volume on one mechanism: which formula, which matrices, which pool rules.

Everything is int64 arrays with one element an instant, unless it says otherwise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from snapsim.engine import space
from snapsim.engine.lifetimes import LifetimeMatrix
from snapsim.engine.metadata import Usage, file_bytes, metadata_bytes
from snapsim.engine.metadata import staircase as metadata_staircase
from snapsim.engine.pools import raidz_bytes, zfs_first_snapshot_reserve, zvol_refreservation
from snapsim.engine.space import Chain
from snapsim.mechanisms.model import Mechanism
from snapsim.types import Int64Array
from snapsim.units import format_size

__all__ = ["Series", "durations", "follow", "levels", "matrices", "time_percentiles"]


@dataclass(frozen=True, kw_only=True)
class Series:
    """What a mechanism holds over time.

    Attributes
    ----------
    live, snapshot, metadata, allocated, files, peak, merged, copied, freed : int64 arrays, shape
    (n_instants,)
        As the columns of the same names that `snapsim.schema` registers.  [bytes]
    tables_most : int64 array, shape (n_instants,)
        Metadata while all snapshots of the instant exist, those about to be deleted too.  [bytes]
    tables_alone : int64 array, shape (n_instants,)
        Metadata that the volume would have without snapshots.  [bytes]
    findings : tuple of str
        What the mechanism's rules and limits have to say.
    """

    live: Int64Array
    snapshot: Int64Array
    metadata: Int64Array
    allocated: Int64Array
    files: Int64Array
    peak: Int64Array
    merged: Int64Array
    copied: Int64Array
    freed: Int64Array
    tables_most: Int64Array
    tables_alone: Int64Array
    findings: tuple[str, ...] = ()


def matrices(lifetimes: LifetimeMatrix, mechanism: Mechanism, **changes: object) -> dict[str, LifetimeMatrix]:
    """Count what a mechanism needs counted.

    Parameters
    ----------
    lifetimes : LifetimeMatrix
        Counted at the mechanism's block size.
    mechanism : Mechanism
        The mechanism.
    **changes
        Fields of `Counting` to change beside, where the mechanism does not fix them.

    Returns
    -------
    dict of str to LifetimeMatrix
        "data", and "clusters" and "tables" where the mechanism has them.
    """
    needs = mechanism.matrices(lifetimes.block_size)
    return {need.name: lifetimes.recount(**{**changes, **need.counting()}) for need in needs}


def follow(
    mechanism: Mechanism,
    counted: Mapping[str, LifetimeMatrix],
    chain: Chain,
    *,
    block_size: int,
    capacity: int,
) -> Series:
    """Follow the space of one volume over all instants.

    Parameters
    ----------
    mechanism : Mechanism
        The mechanism.
    counted : mapping of str to LifetimeMatrix
        What `matrices` returned.
    chain : Chain
        Which snapshots exist when.
    block_size : int
        The mechanism's block size.  [bytes]
    capacity : int
        Size of the volume.  [bytes]

    Returns
    -------
    Series
        The space.
    """
    place = _Place(mechanism, counted, chain, block_size, capacity)
    return {"private": _private, "layers": _layers, "shared": _shared, "detached": _detached}[
        mechanism.sharing
    ](place)


def memory_levels(chain: Chain, ram: int | Int64Array) -> tuple[Int64Array, Int64Array]:
    """Return the guest memory saved at each instant.

    Parameters
    ----------
    chain : Chain
        Which snapshots exist when.
    ram : int, or int64 array of shape (n_snapshots,)
        Guest memory saved with every snapshot, or with each.  [bytes]

    Returns
    -------
    after, most : int64 arrays, shape (n_instants,)
        After the prune, and just before it.  [bytes]
    """
    if isinstance(ram, int):
        return chain.count() * ram, chain.count(before_prune=True) * ram
    came, went = np.zeros((2, chain.n_instants + 1), dtype=np.int64)
    np.add.at(came, chain.created, ram)
    np.add.at(went, chain.deleted, ram)
    after = np.cumsum(came - went)
    return after[:-1], (after + went)[:-1]


def levels(series: Series, chain: Chain, *, ram: int | Int64Array = 0) -> dict[str, Int64Array]:
    """Return what is told about every instant.

    Parameters
    ----------
    series : Series
        The space of one volume.
    chain : Chain
        Which snapshots exist when.
    ram : int, or int64 array of shape (n_snapshots,)
        Guest memory saved with every snapshot, or with each.  [bytes]

    Returns
    -------
    dict of str to int64 array, shape (n_instants,)
        By the names that `snapsim.schema` registers.
    """
    memory, memory_most = memory_levels(chain, ram)
    tables = series.tables_most - series.metadata
    beside = np.maximum(series.tables_most - series.tables_alone, 0) + memory_most
    return {
        "snapshots": chain.count(),
        "live_bytes": series.live,
        "snapshot_bytes": series.snapshot,
        "metadata_bytes": series.metadata,
        "memory_bytes": memory,
        "total_bytes": series.live + series.snapshot + series.metadata + memory,
        "allocated_bytes": series.allocated + memory,
        "file_bytes": series.files,
        "reserve_bytes": series.peak + beside,
        "peak_total_bytes": series.live + series.peak + series.tables_most + memory_most,
        "peak_allocated_bytes": series.allocated + series.peak - series.snapshot + tables + memory_most,
        "peak_bytes": series.peak,
        "merged_bytes": series.merged,
        "copied_bytes": series.copied,
        "freed_bytes": series.freed,
    }


def durations(instants: Int64Array) -> Int64Array:
    """Return how long each instant's state lasts; the last one as long as the one before it.  [ns]"""
    return np.diff(instants, append=instants[-1] + (instants[-1] - instants[-2] if len(instants) > 1 else 1))


def time_percentiles(values: Int64Array, lasts: Int64Array, percents: Sequence[int]) -> list[int]:
    """Return what a quantity does not exceed for so many per cent of the time.

    Parameters
    ----------
    values : int64 array, shape (n_instants,)
        The quantity.
    lasts : int64 array, shape (n_instants,)
        How long it has each value.  [ns]
    percents : sequence of int
        From 1 to 100.

    Returns
    -------
    list of int
        The least values that hold for at least that part of the time, exactly: sums of integers.
    """
    order = np.argsort(values)
    passed = np.cumsum(lasts[order])
    total = int(passed[-1])
    return [int(values[order[np.searchsorted(passed, -(-total * one // 100))]]) for one in percents]


@dataclass(frozen=True)
class _Place:
    """What the formulas of one volume need."""

    mechanism: Mechanism
    counted: Mapping[str, LifetimeMatrix]
    chain: Chain
    block_size: int
    capacity: int

    @property
    def data(self) -> LifetimeMatrix:
        return self.counted["data"]

    @property
    def n(self) -> int:
        return self.chain.n_instants

    def gaps(self) -> dict[str, space.GapCounts]:
        return {name: space.count_gaps(matrix, self.chain) for name, matrix in self.counted.items()}

    def usage(self, counts: Mapping[str, Int64Array], snapshots: Int64Array | int) -> Usage:
        return Usage(counts=counts, snapshots=snapshots, capacity=self.capacity, block_size=self.block_size)

    def tables(self, usage: Usage) -> Int64Array:
        return metadata_bytes(self.mechanism.metadata.kind, usage, self.mechanism.metadata.parameters)

    def length(self, usage: Usage) -> Int64Array:
        metadata = self.mechanism.metadata
        return file_bytes(
            metadata.kind, usage, metadata.parameters, growth_step=self.mechanism.pool.growth_step
        )

    def stored(self, data_bytes: Int64Array) -> Int64Array:
        """What data takes on the vdev, parity and padding included."""
        pool, unit = self.mechanism.pool, self.data.block_size
        if not pool.ashift:
            return data_bytes
        each = raidz_bytes(unit, ashift=pool.ashift, width=pool.raidz_width, parity=pool.raidz_parity)
        return data_bytes // unit * each


def _shared(place: _Place) -> Series:
    """Versions that all snapshots share, in one store."""
    chain, n, unit = place.chain, place.n, place.data.block_size
    gaps = place.gaps()
    lives = {name: counts.live for name, counts in gaps.items()}
    shares = {name: space.shared(counts, chain) for name, counts in gaps.items()}
    live, held = lives["data"], shares["data"]
    fullest = place.usage(
        {name: lives[name] + shares[name].before for name in lives}, chain.count(before_prune=True)
    )
    states = place.usage({name: lives[name] + shares[name].after for name in lives}, chain.count())
    tables, tables_most = place.tables(replace(states, before_prune=fullest)), place.tables(fullest)
    allocated = place.stored((live + held.after) * unit) + tables
    most = np.maximum(allocated, place.stored((live + held.before) * unit) + tables_most)
    findings = []
    if place.mechanism.pool.refreservation:
        allocated, finding = _refreserved(place, allocated, live * unit)
        findings.append(finding)
    files = (
        np.maximum.accumulate(most) if place.mechanism.file_length == "high-water" else np.zeros(n, np.int64)
    )
    copied = held.died * unit if place.mechanism.copies_old_data else np.zeros(n, np.int64)
    return Series(
        live=live * unit,
        snapshot=held.after * unit,
        metadata=tables,
        allocated=allocated,
        files=files,
        peak=space.peaks(held, chain) * unit,
        merged=np.zeros(n, np.int64),
        copied=copied,
        freed=chain.deletions.per_instant(held.freed) * unit,
        tables_most=np.maximum(tables, tables_most),
        tables_alone=place.tables(place.usage(lives, np.zeros(n, np.int64))),
        findings=(*findings, *_limits(place, tables_most)),
    )


def _refreserved(place: _Place, allocated: Int64Array, live: Int64Array) -> tuple[Int64Array, str]:
    """Add what a thick zvol reserves: all that the volume could still need to be written anew."""
    reservation = zvol_refreservation(place.capacity, block_size=place.block_size)
    first = int(place.chain.created[0]) if len(place.chain.created) else 0
    needed = int(zfs_first_snapshot_reserve(live[first], refreservation=reservation))
    text = (
        f"The volume is thick: its refreservation of {format_size(reservation)} stays reserved beside the "
        f"snapshots, and the first snapshot "
        f"fails unless {format_size(needed)} are free in the pool at that moment."
    )
    return allocated - place.stored(live) + np.maximum(place.stored(live), reservation), text


def _layers(place: _Place) -> Series:
    """Overlay layers: every snapshot freezes one, a deletion merges two."""
    chain, n, unit = place.chain, place.n, place.data.block_size
    gaps, gone = place.gaps(), chain.deletions
    held, moves = space.shared(gaps["data"], chain), space.merges(gaps["data"], chain)
    layers = place.usage({name: counts.layers for name, counts in gaps.items()}, 1)
    each = place.tables(layers)
    tables = space.sum_over_layers(each, chain)
    merged_away = each[chain.gaps.older] + each[chain.gaps.newer] - each[n:-1]
    files = space.sum_over_layers(place.length(layers), chain)
    live = gaps["data"].live * unit
    step = place.mechanism.pool.growth_step
    allocated = files if step > 1 else live + held.after * unit + tables
    volume = {name: counts.live for name, counts in gaps.items()}
    return Series(
        live=live,
        snapshot=held.after * unit,
        metadata=tables,
        allocated=allocated,
        files=files,
        peak=space.peaks(held, chain, moves.extra) * unit,
        merged=gone.per_instant(moves.moved) * unit,
        copied=held.died * unit if place.mechanism.copies_old_data else np.zeros(n, np.int64),
        freed=gone.per_instant(held.freed) * unit,
        tables_most=tables + gone.per_instant(merged_away),
        tables_alone=place.tables(place.usage(volume, 1)),
        findings=_limits(place, tables),
    )


def _private(place: _Place) -> Series:
    """A store for each snapshot, into which old blocks are copied; nothing is shared between stores."""
    chain, n, unit = place.chain, place.n, place.data.block_size
    size = place.mechanism.pool.size if place.mechanism.pool.per_snapshot else 0
    metadata = place.mechanism.metadata
    staircase = metadata_staircase(metadata.kind, place.block_size, metadata.parameters)
    stores = space.private_stores(place.data, chain, staircase=staircase, size=size)
    needed, tables_final = stores.final * unit, staircase.climb(stores.final)
    # an invalid store stays as large as it was made
    taken = np.minimum(needed, size) if size else needed
    gone = chain.deletions
    freed = gone.per_instant(taken[gone.number])
    held, tables = stores.held - freed, stores.tables - gone.per_instant(tables_final[gone.number])
    allocated = chain.count() * size if size else held + tables
    copied = stores.held - np.concatenate((np.zeros(1, np.int64), held[:-1]))
    live, none = place.data.live_blocks * unit, np.zeros(n, np.int64)
    findings = list(_limits(place, stores.tables))
    full = np.count_nonzero(needed + tables_final > size) if size else 0
    if full:
        largest = int((needed + tables_final).max())
        findings.append(
            f"{full} of {len(chain.created)} snapshots fill their store of {format_size(size)} and "
            f"become invalid: the figures are those of full stores; {format_size(largest)} each would do."
        )
    return Series(
        live=live, snapshot=held, metadata=tables, allocated=live + allocated, files=none,
        peak=stores.held, merged=none, copied=copied, freed=freed, tables_most=stores.tables,
        tables_alone=none, findings=tuple(findings),
    )  # fmt: skip


def _detached(place: _Place) -> Series:
    """An incremental store elsewhere."""
    chain, n, unit = place.chain, place.n, place.data.block_size
    stores = {name: space.detached(counts, chain) for name, counts in place.gaps().items()}
    held, live = stores["data"], place.data.live_blocks * unit
    tables = place.tables(place.usage({name: one.after for name, one in stores.items()}, chain.count()))
    fullest = {name: one.before for name, one in stores.items()}
    added = np.diff(held.after, prepend=0) + chain.deletions.per_instant(held.freed)
    return Series(
        live=live,
        snapshot=held.after * unit,
        metadata=tables,
        allocated=held.after * unit + tables,
        files=np.zeros(n, np.int64),
        peak=space.peaks(held, chain) * unit,
        merged=np.zeros(n, np.int64),
        copied=added * unit,
        freed=chain.deletions.per_instant(held.freed) * unit,
        tables_most=place.tables(place.usage(fullest, chain.count(before_prune=True))),
        tables_alone=np.zeros(n, np.int64),
        findings=_limits(place, tables),
    )


def _limits(place: _Place, tables: Int64Array) -> tuple[str, ...]:
    """Compare snapshots and metadata with what the mechanism allows."""
    pool, limits = place.mechanism.pool, place.mechanism.limits
    most = int(place.chain.count(before_prune=True).max(initial=0))
    findings = []
    if pool.metadata_size and int(tables.max(initial=0)) > pool.metadata_size:
        findings.append(f"Metadata grows past the {format_size(pool.metadata_size)} that the pool can hold.")
    if limits.hard and most > limits.hard:
        findings.append(f"{most} snapshots exist at once, but {place.mechanism.title} allows {limits.hard}.")
    elif limits.advised and most > limits.advised:
        findings.append(
            f"{most} snapshots exist at once; for {place.mechanism.title} at most {limits.advised} are "
            f"advised."
        )
    return tuple(findings)
