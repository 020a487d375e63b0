"""Bytes and tables that real qcow2 images read and write, and the same of the replay.

The image is opened past the page cache (`-t none`), one request at a time, in one process, so that its caches
are what they are in a machine.  Opening it is not counted; writing the caches when it is closed is.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from snapsim.engine.replay import Replay
from snapsim.mechanisms import mechanism
from snapsim.types import FLUSH, READ, WRITE, Batch, Int64Array
from snapsim.units import KIB, MIB, format_size
from snapsim.validation.comparison import Outcome, Row
from snapsim.validation.counting import READ_CALL, WRITTEN, Calls, count_calls
from snapsim.validation.qcow2_image import table_clusters
from snapsim.validation.running import need, qemu_version, run

__all__ = ["CASES", "DEPTHS", "Case", "validate_chain_reads", "validate_first_touch"]

_PAGE = 4 * KIB
_WITHIN = 0.03
_WITHIN_READS = 0.10
_CHAIN_CLUSTER = 64 * KIB
_SMALL_CACHE = {"l2-cache-size": 8 * KIB, "l2-cache-entry-size": 4 * KIB}


class Case(NamedTuple):
    """Images that are written to.

    Attributes
    ----------
    mechanism : str
        Its name.
    block_size : int
        The cluster size.  [bytes]
    """

    mechanism: str
    block_size: int

    @property
    def internal(self) -> bool:
        """The snapshot lies in the file itself."""
        return self.mechanism == "qcow2-internal"

    @property
    def extended_l2(self) -> bool:
        """Clusters have subclusters."""
        return self.mechanism.endswith("extl2")


CASES = (
    Case("qcow2-external", 4 * KIB),
    Case("qcow2-external", 16 * KIB),
    Case("qcow2-external", 64 * KIB),
    Case("qcow2-external", 2 * MIB),
    Case("qcow2-external-extl2", 64 * KIB),
    Case("qcow2-external-extl2", 128 * KIB),
    Case("qcow2-internal", 4 * KIB),
    Case("qcow2-internal", 16 * KIB),
    Case("qcow2-internal", 64 * KIB),
)
DEPTHS = (1, 4, 16)


def validate_first_touch(
    *,
    folder: Path,
    cases: Sequence[Case] = CASES,
    capacity: int = 256 * MIB,
    requests: int = 600,
    seed: int = 0,
    batch: Batch | None = None,
    progress: Callable[[int], None] | None = None,
) -> Outcome:
    """Compare the I/O of random 4 KiB writes, or of other requests, over a full volume with one snapshot.

    Parameters
    ----------
    folder : Path
        An empty folder for the images; on a file system that can be written to past the page cache.
    cases : sequence of Case
        What to write to.
    capacity : int
        Size of the disk.  [bytes]
    requests : int
        How many writes.
    seed : int
        Of their places.
    batch : Batch, optional
        Reads, writes and flushes within the disk, instead of these.
    progress : callable, optional
        Called with 1 after each case.

    Returns
    -------
    Outcome
        For each case: bytes written for each that the guest wrote, and bytes read for each that it read or
        wrote.

    Raises
    ------
    SnapsimError
        A program is missing, or failed.
    """
    need("qemu-img", "qemu-io", "strace")
    rng = np.random.default_rng(seed)
    chosen = batch or _batch(WRITE, rng.integers(0, capacity // _PAGE, requests) * _PAGE)
    rows: list[Row] = []
    for number, case in enumerate(cases):
        place = folder / f"case{number}"
        place.mkdir()
        image = _prepare(case, place, capacity)
        calls = _drive({"driver": "qcow2", "file": {"driver": "file", "filename": str(image)}}, chosen)
        rows += _amplification(case, capacity, chosen, calls)
        _remove(place)
        if progress is not None:
            progress(1)
    what = "random 4 KiB writes" if batch is None else "requests"
    about = {"QEMU": qemu_version(), "disk": format_size(capacity), what: len(chosen.op)}
    return Outcome("qcow2, I/O after a snapshot", tuple(rows), about)


def _amplification(case: Case, capacity: int, batch: Batch, calls: Calls) -> list[Row]:
    chain = Replay.of(mechanism(case.mechanism), capacity=capacity, block_size=case.block_size)
    chain.snapshot()
    parts = (chain.replay(batch), chain.metadata_flush())
    read = sum(int((one.read_bytes + one.metadata_read_bytes).sum()) for one in parts)
    written = sum(int((one.written_bytes + one.metadata_written_bytes).sum()) for one in parts)
    n = len(batch.op)
    real_read, real_written = (int(calls.bytes(kind, n)[1:].sum()) for kind in (READ_CALL, WRITTEN))
    guest, guest_written = int(batch.length.sum()), int(batch.length[batch.op == WRITE].sum())
    what = f"{case.mechanism}, {format_size(case.block_size)}"
    pairs = (("write", written, real_written, guest_written), ("read", read, real_read, guest))
    return [
        Row(f"{name} amplification, {what}", "ratio", predicted / base, measured / base, False, _WITHIN)
        for name, predicted, measured, base in pairs
        if base
    ]


def validate_chain_reads(
    *,
    folder: Path,
    depths: Sequence[int] = DEPTHS,
    capacity: int = 1024 * MIB,
    requests: int = 1000,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Outcome:
    """Compare the table reads of random 4 KiB reads through chains, with a cache of two entries a layer.

    Parameters
    ----------
    folder, capacity, requests, seed, progress
        As for `validate_first_touch`.
    depths : sequence of int
        Layers; each cluster lies in one of them, whichever chance chose.

    Returns
    -------
    Outcome
        For each depth: table reads, and all reads, per request.

    Raises
    ------
    SnapsimError
        A program is missing, or failed.
    """
    need("qemu-img", "qemu-io", "strace")
    rows: list[Row] = []
    for depth in depths:
        rng = np.random.default_rng((seed, depth))
        owner = rng.integers(0, depth, capacity // _CHAIN_CLUSTER)
        batch = _batch(READ, rng.integers(0, capacity // _PAGE, requests) * _PAGE)
        place = folder / f"depth{depth}"
        place.mkdir()
        files = list(_layers(place, owner, depth, capacity))
        calls = _drive(_chain_options(files), batch)
        tables = _table_reads(calls, [str(file) for file in files])
        traffic = _chain_replay(owner, depth, capacity).replay(batch)
        looked = int(traffic.metadata_reads.sum())
        rows.append(
            Row(f"table reads a request, {depth} deep", "ratio", looked / requests, tables / requests, False,
                _WITHIN_READS)
        )  # fmt: skip
        everything = int(calls.number(READ_CALL, requests)[1:].sum())
        reads = looked + int(traffic.reads.sum())
        rows.append(
            Row(f"reads a request, {depth} deep", "ratio", reads / requests, everything / requests, False,
                _WITHIN_READS)
        )  # fmt: skip
        _remove(place)
        if progress is not None:
            progress(1)
    about = {
        "QEMU": qemu_version(),
        "disk": format_size(capacity),
        "random 4 KiB reads": requests,
        "cache of a layer": "2 entries of 4 KiB",
    }
    return Outcome("qcow2-external, reads through a chain", tuple(rows), about)


# --- images
# -------------------------------------------------------------------------------------------------------


def _prepare(case: Case, folder: Path, capacity: int) -> Path:
    """Make a volume that is written all over and has a snapshot; return the file that is written to."""
    options = f"cluster_size={case.block_size},extended_l2={'on' if case.extended_l2 else 'off'}"
    base = folder / "base.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, str(base), str(capacity))
    piece = 64 * MIB
    _write(base, [(start, min(piece, capacity - start)) for start in range(0, capacity, piece)], 1)
    if case.internal:
        run("qemu-img", "snapshot", "-c", f"snapshot-{0:031d}", str(base))
        return base
    top = folder / "top.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, "-b", str(base), "-F", "qcow2", str(top))
    return top


def _layers(folder: Path, owner: Int64Array, depth: int, capacity: int) -> Iterator[Path]:
    """Make a chain in which each layer holds the clusters that it owns; the lowest first."""
    below: tuple[str, ...] = ()
    for layer in range(depth):
        path = folder / f"layer{layer}.qcow2"
        run(
            "qemu-img", "create", "-q", "-f", "qcow2", "-o", f"cluster_size={_CHAIN_CLUSTER}", *below,
            str(path), str(capacity),
        )  # fmt: skip
        own = np.flatnonzero(owner == layer)
        pieces = np.split(own, np.flatnonzero(np.diff(own) > 1) + 1)
        extents = [(int(one[0]) * _CHAIN_CLUSTER, len(one) * _CHAIN_CLUSTER) for one in pieces if len(one)]
        _write(path, extents, layer + 1)
        below = ("-b", str(path), "-F", "qcow2")
        yield path


def _write(path: Path, extents: Sequence[tuple[int, int]], tag: int) -> None:
    lines = "".join(f"write -q -P {tag} {offset} {length}\n" for offset, length in extents)
    run("qemu-io", "-f", "qcow2", "-t", "unsafe", str(path), text=lines)


def _chain_options(files: Sequence[Path]) -> dict[str, object]:
    node: dict[str, object] = {}
    for file in files:
        below = {"backing": node} if node else {}
        node = {"driver": "qcow2", "file": {"driver": "file", "filename": str(file)}, **_SMALL_CACHE, **below}
    return node


def _remove(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


# --- requests
# -------------------------------------------------------------------------------------------------------


def _batch(op: int, offsets: Int64Array) -> Batch:
    n = len(offsets)
    return Batch(np.zeros(n, np.int64), np.full(n, op, np.uint8), offsets, np.full(n, _PAGE))


def _drive(image: dict[str, object], batch: Batch) -> Calls:
    """Send requests to an image, one by one, and count what it does to its files."""
    verbs = {READ: "read -q {} {}", WRITE: "write -q -P 2 {} {}", FLUSH: "flush"}
    columns = (batch.op.tolist(), batch.offset.tolist(), batch.length.tolist())
    lines = [verbs[op].format(offset, length) for op, offset, length in zip(*columns, strict=True)]
    calls = count_calls(["qemu-io", "-t", "none", f"json:{json.dumps(image)}"], lines)
    ours = np.array([name.endswith(".qcow2") for name in calls.files])
    return calls.select(ours[calls.file])


def _table_reads(calls: Calls, files: Sequence[str]) -> int:
    """Return how many reads, once the chain was open, met a table."""
    total = 0
    for name in files:
        if name in calls.files:
            some = calls.select(
                (calls.file == calls.files.index(name)) & (calls.step > 0) & (calls.kind == READ_CALL)
            )
            total += int(np.isin(some.offset // _CHAIN_CLUSTER, table_clusters(name)).sum())
    return total


def _chain_replay(owner: Int64Array, depth: int, capacity: int) -> Replay:
    chain = Replay.of(
        mechanism("qcow2-external"),
        capacity=capacity,
        initial="thin",
        block_size=_CHAIN_CLUSTER,
        cache_bytes=_SMALL_CACHE["l2-cache-size"],
        cache_entry_bytes=_SMALL_CACHE["l2-cache-entry-size"],
    )
    for layer in range(depth):
        if layer:
            chain.snapshot()
        own = np.flatnonzero(owner == layer)
        n = len(own)
        length = np.full(n, _CHAIN_CLUSTER)
        chain.replay(Batch(np.zeros(n, np.int64), np.full(n, WRITE, np.uint8), own * _CHAIN_CLUSTER, length))
    chain.metadata_flush()
    return chain
