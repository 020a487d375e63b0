"""Which systems can be compared, and what is compared of each."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from snapsim.traces.trace import Trace
from snapsim.types import Batch
from snapsim.units import GIB, KIB, MIB
from snapsim.validation.btrfs import validate_btrfs
from snapsim.validation.comparison import Outcome
from snapsim.validation.files import filled
from snapsim.validation.operations import REQUESTS, Operation, random_operations, trace_operations
from snapsim.validation.qcow2 import validate_external, validate_internal
from snapsim.validation.qcow2_io import Case, validate_chain_reads, validate_first_touch
from snapsim.validation.qcow2_merging import validate_merging
from snapsim.validation.xfs import validate_xfs

__all__ = ["CHECKS", "SYSTEMS", "Order", "System", "validate"]

CHECKS = ("space", "merging", "io")
"""Space after every step, space while a merge runs, and bytes and tables read and written."""

Progress = Callable[[int], None] | None

_SECTOR = 512
_BLOCK = 4 * KIB  # of the file systems
_LONG_BLOCK = 64 * KIB  # requests to them are of some of these, and of parts
_FEW = 2  # sequences whose merges are watched: that takes time
_READS = 1000  # through a chain
_SPARE = 8  # random sequences without a merge are passed over
_EXTENDED = "qcow2-external-extl2"


class Order(NamedTuple):
    """What is to be compared, and how much of it.

    Attributes
    ----------
    checks : tuple of str
        Some of `CHECKS`.
    block_sizes : tuple of int
        Of qcow2; empty: the system's usual ones.  [bytes]
    sequences : int
        Random sequences of operations for each block size.
    requests : int
        Requests in a sequence.
    seed : int
        Of everything that is random.
    trace : Trace or None
        Takes the requests from one volume, instead of chance.
    """

    checks: tuple[str, ...] = CHECKS
    block_sizes: tuple[int, ...] = ()
    sequences: int = 5
    requests: int = 60
    seed: int = 0
    trace: Trace | None = None


class System(NamedTuple):
    """A system that is driven for real.

    Attributes
    ----------
    title : str
        In words.
    checks : tuple of str
        What can be compared of it.
    block_sizes : tuple of int
        Block sizes that are compared unless others are asked for.  [bytes]
    run : callable
        Compares it.
    root : bool
        Only root can make its file system.
    """

    title: str
    checks: tuple[str, ...]
    block_sizes: tuple[int, ...]
    run: Callable[[Order, tuple[int, ...], Path, Progress], list[Outcome]]
    root: bool = False


def validate(name: str, order: Order, *, folder: Path, progress: Progress = None) -> list[Outcome]:
    """Drive a real system and the simulator through the same operations.

    Parameters
    ----------
    name : str
        A key of `SYSTEMS`.
    order : Order
        What is compared.
    folder : Path
        An empty folder for the files.
    progress : callable, optional
        Called with 1 after each sequence and each image.

    Returns
    -------
    list of Outcome
        One for each check and block size.

    Raises
    ------
    SnapsimError
        A program or a right is missing, or a program failed.
    """
    system = SYSTEMS[name]
    wanted = order._replace(checks=tuple(one for one in order.checks if one in system.checks))
    return system.run(wanted, order.block_sizes or system.block_sizes, folder, progress)


# --- sequences
# -------------------------------------------------------------------------------------------------------


def _sequences(
    order: Order, *, capacity: int, block_size: int, extended_l2: bool = False, frees: bool | None = None
) -> list[list[Operation]]:
    if order.trace is not None:
        taken = trace_operations(
            order.trace.batches(),
            capacity=capacity,
            requests=order.requests,
            every=max(order.requests // 8, 1),
            block_size=block_size,
        )
        freeing = {"discard", "zeroes"} if frees is False or extended_l2 else set()
        return [[one for one in taken if one.kind not in freeing]]
    made = []
    for number in range(order.sequences):
        odd = bool(number % 2)
        chosen = {"frees": not odd, "merges": odd} if extended_l2 else {"frees": frees, "merges": True}
        sequence = random_operations(
            (order.seed, block_size, number),
            capacity=capacity,
            block_size=block_size,
            requests=order.requests,
            **chosen,
        )
        made.append([one._replace(how="commit") for one in sequence] if extended_l2 else sequence)
    return made


def _disk(block_size: int, *, extended_l2: bool = False, trace: bool = False) -> int:
    """Return a disk of several L2 tables where that is small, whose end lies within a cluster."""
    described = block_size * (block_size // (16 if extended_l2 else 8))  # by one L2 table
    wanted: int = max(16 * MIB, 256 * block_size) if trace else min(max(3 * described // 2, 16 * MIB), GIB)
    if trace:
        return wanted
    return wanted // block_size * block_size + (0 if extended_l2 else 3 * _SECTOR)


def _requests(order: Order, capacity: int) -> Batch | None:
    """Return the reads, writes and flushes of the trace, within a small disk."""
    if order.trace is None:
        return None
    taken = trace_operations(
        order.trace.batches(),
        capacity=capacity,
        requests=4 * order.requests,
        every=4 * order.requests + 1,
        reads=True,
    )
    rows = [one for one in taken if one.kind in {"read", "write", "flush"}]
    op = np.array([REQUESTS[one.kind] for one in rows], np.uint8)
    offset, length = (np.array([one[i] for one in rows], np.int64) for i in (1, 2))
    return Batch(np.zeros(len(rows), np.int64), op, offset, length)


# --- systems
# -------------------------------------------------------------------------------------------------------


def _qcow2(
    order: Order, block_sizes: tuple[int, ...], folder: Path, progress: Progress, *, name: str
) -> list[Outcome]:
    extended = name == _EXTENDED
    found = []
    for size in block_sizes:
        capacity = _disk(size, extended_l2=extended, trace=order.trace is not None)
        how = {"capacity": capacity, "folder": folder, "block_size": size, "progress": progress}
        if "space" in order.checks:
            sequences = _sequences(order, capacity=capacity, block_size=size, extended_l2=extended)
            if name == "qcow2-internal":
                found.append(validate_internal(sequences, **how))  # type: ignore[arg-type]
            else:
                found.append(validate_external(sequences, extended_l2=extended, **how))  # type: ignore[arg-type]
        if "merging" in order.checks:
            found.append(_merging(order, capacity=capacity, size=size, folder=folder, progress=progress))
    if "io" in order.checks:
        found += _io(order, block_sizes, folder, progress, name=name)
    return found


def _merging(order: Order, *, capacity: int, size: int, folder: Path, progress: Progress) -> Outcome:
    made = _sequences(
        order._replace(sequences=order.sequences + _SPARE), capacity=capacity, block_size=size, frees=False
    )
    merging = [one for one in made if any(step.kind == "delete" for step in one)]
    sequences = merging[: min(order.sequences, _FEW)]
    return validate_merging(
        sequences,
        capacity=capacity,
        folder=folder,
        block_size=size,
        speed=max(64 * size, MIB),
        progress=progress,
    )


def _io(
    order: Order, block_sizes: tuple[int, ...], folder: Path, progress: Progress, *, name: str
) -> list[Outcome]:
    disk = 64 * MIB
    found = [
        validate_first_touch(
            folder=folder,
            cases=[Case(name, size) for size in block_sizes],
            capacity=disk,
            requests=4 * order.requests,
            seed=order.seed,
            batch=_requests(order, disk),
            progress=progress,
        )
    ]
    if name == "qcow2-external":
        found.append(
            validate_chain_reads(
                folder=folder,
                capacity=256 * MIB,
                requests=min(8 * order.requests, _READS),
                seed=order.seed,
                progress=progress,
            )
        )
    return found


def _file_system(
    order: Order,
    block_sizes: tuple[int, ...],
    folder: Path,
    progress: Progress,
    *,
    compare: Callable[..., Outcome],
) -> list[Outcome]:
    del block_sizes
    if "space" not in order.checks:
        return []
    capacity = 64 * MIB
    sequences = _sequences(order, capacity=capacity, block_size=_LONG_BLOCK)
    # every other one overwrites long extents in part: what is left of them pins the space of all of them
    sequences[::2] = [filled(sequence, capacity=capacity) for sequence in sequences[::2]]
    return [compare(sequences, capacity=capacity, folder=folder, progress=progress)]


def _overlays(name: str, title: str, checks: tuple[str, ...], sizes: tuple[int, ...]) -> System:
    return System(title, checks, sizes, partial(_qcow2, name=name))


SYSTEMS: Mapping[str, System] = MappingProxyType(
    {
        "qcow2-external": _overlays(
            "qcow2-external", "qcow2 overlays", CHECKS, (4 * KIB, 16 * KIB, 64 * KIB, 2 * MIB)
        ),
        _EXTENDED: _overlays(
            _EXTENDED, "qcow2 overlays with subclusters", ("space", "io"), (64 * KIB, 128 * KIB)
        ),
        "qcow2-internal": _overlays(
            "qcow2-internal", "qcow2 internal snapshots", ("space", "io"), (4 * KIB, 16 * KIB, 64 * KIB)
        ),
        "btrfs": System(
            "btrfs", ("space",), (_BLOCK,), partial(_file_system, compare=validate_btrfs), root=True
        ),
        "btrfs-nocow": System(
            "btrfs, nodatacow",
            ("space",),
            (_BLOCK,),
            partial(_file_system, compare=partial(validate_btrfs, in_place=True)),
            root=True,
        ),
        "xfs-reflink": System(
            "XFS, reflink copies",
            ("space",),
            (_BLOCK,),
            partial(_file_system, compare=validate_xfs),
            root=True,
        ),
    }
)
"""What `snapsim validate` knows."""
