"""The promise about qcow2: what the matrix and the formulas predict is what real images take, to the byte."""

import json
import runpy
import subprocess
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from snapsim.engine.lifetimes import Counting, LifetimeCounter
from snapsim.engine.metadata import Usage, file_bytes, metadata_bytes, qcow2_l2_range, qcow2_overlay_bytes
from snapsim.mechanisms import mechanism
from snapsim.types import DISCARD, WRITE, WRITE_ZEROES, Batch
from snapsim.units import GIB, KIB, MIB

pytestmark = [pytest.mark.integration, pytest.mark.needs_program("qemu-img", "qemu-io")]

read_image = runpy.run_path(str(Path(__file__).with_name("qcow2_image.py")), run_name="qcow2_image")["read_image"]

EPOCH = 1_000_000_000  # ns
QEMU_IO = {WRITE: "write -q", WRITE_ZEROES: "write -q -z -u", DISCARD: "discard -q"}


class Request(NamedTuple):
    op: int
    offset: int
    length: int


class Case(NamedTuple):
    cluster_size: int
    capacity: int
    span: int  # the part of the disk that requests go to; [bytes]


CASES = [
    pytest.param(Case(4 * KIB, 64 * MIB, 64 * MIB), id="4KiB"),
    pytest.param(Case(64 * KIB, 1 * GIB + 63 * 512, 640 * MIB), id="64KiB"),  # a disk that is no multiple of a cluster
    pytest.param(Case(2 * MIB, 2048 * GIB, 640 * GIB), id="2MiB"),
]


def run(*command, text=None):
    return subprocess.run(command, input=text, text=True, capture_output=True, check=True).stdout


def create(path, case, *, backing=None, **options):
    settings = {"cluster_size": case.cluster_size, **options}
    spec = ",".join(f"{name}={value}" for name, value in settings.items())
    below = ["-b", str(backing), "-F", "qcow2"] if backing else []
    run("qemu-img", "create", "-q", "-f", "qcow2", "-o", spec, *below, str(path), str(case.capacity))


def apply(path, requests):
    """Send requests to an image; all in one process."""
    lines = "".join(f"{QEMU_IO[op]} {offset} {length}\n" for op, offset, length in requests)
    complaints = run("qemu-io", "-f", "qcow2", "-t", "unsafe", "-d", "unmap", str(path), text=lines)
    assert "failed" not in complaints, complaints


def count(epochs, need, capacity, *, initial="thin"):
    """Count a matrix; the requests of epochs[i] come before instant i."""
    times = np.repeat(np.arange(len(epochs)) * EPOCH, [len(requests) for requests in epochs])
    columns = np.array([request for requests in epochs for request in requests], dtype=np.int64).reshape(-1, 3)
    counting = Counting(**{"initial": initial} | need.counting())
    instants = (np.arange(len(epochs)) + 1) * EPOCH - 1
    batch = Batch(times, columns[:, 0].astype(np.uint8), columns[:, 1].copy(), columns[:, 2].copy())
    return LifetimeCounter(instants, counting, capacity=capacity).add(batch).finish()


def matrices(mech, block_size, epochs, capacity):
    return {need.name: count(epochs, need, capacity) for need in mech.matrices(block_size)}


def layer_usage(counted, case):
    """Blocks in each layer: layer i was written between instants i - 1 and i."""
    layers = range(next(iter(counted.values())).n_instants)
    blocks = {
        name: [matrix.written_bytes(i - 1 if i else None, i) // matrix.block_size for i in layers]
        for name, matrix in counted.items()
    }
    return Usage(counts=blocks, snapshots=0, capacity=case.capacity, block_size=case.cluster_size)


# --- request sequences ----------------------------------------------------------------------------------------


def random_4k(rng, case, n=120):
    return [Request(WRITE, int(page) * 4096, 4096) for page in rng.integers(0, case.span // 4096, n)]


def random_64k(rng, case, n=60):
    return [Request(WRITE, int(page) * 65536, 65536) for page in rng.integers(0, case.span // 65536, n)]


def unaligned(rng, case, n=60):
    starts = rng.integers(0, (case.span - 160 * KIB) // 512, n)
    lengths = rng.integers(1, 300, n)
    return [Request(WRITE, int(start) * 512, int(length) * 512) for start, length in zip(starts, lengths, strict=True)]


def sequential(rng, case, n=80):
    start = int(rng.integers(0, case.span // 2 // 4096)) * 4096
    return [Request(WRITE, start + i * 48 * KIB, 48 * KIB) for i in range(n)]


def last_bytes(rng, case):
    """Writes at the very end of the disk, where the last cluster can be cut off."""
    return [Request(WRITE, case.capacity - 512, 512), Request(WRITE, 0, 512), *random_4k(rng, case, 5)]


PATTERNS = [random_4k, random_64k, unaligned, sequential, last_bytes]


# --- overlays -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_length_of_every_overlay_is_predicted_to_the_byte(tmp_path, case, pattern):
    rng = np.random.default_rng([case.cluster_size, len(pattern.__name__)])
    epochs = [pattern(rng, case) for _ in range(3)] + [[]]  # the last layer stays empty
    paths = chain(tmp_path, case, epochs)

    mech = mechanism("qcow2-external")
    counted = matrices(mech, case.cluster_size, epochs, case.capacity)
    predicted = file_bytes("qcow2-overlay", layer_usage(counted, case), mech.metadata.parameters)

    assert [path.stat().st_size for path in paths] == predicted.tolist()


@pytest.mark.parametrize("case", CASES)
def test_data_and_metadata_add_up_to_the_clusters_in_use(tmp_path, case):
    rng = np.random.default_rng(7)
    epochs = [unaligned(rng, case), random_4k(rng, case), sequential(rng, case)]
    paths = chain(tmp_path, case, epochs)

    mech = mechanism("qcow2-external")
    usage = layer_usage(matrices(mech, case.cluster_size, epochs, case.capacity), case)
    predicted = usage.count("data") * case.cluster_size + metadata_bytes("qcow2-overlay", usage, mech.metadata.parameters)

    assert [read_image(path).referenced_clusters * case.cluster_size for path in paths] == predicted.tolist()


@pytest.mark.parametrize("case", CASES[:2])
def test_zeroed_and_discarded_clusters_take_an_entry_and_no_data(tmp_path, case):
    """Exact as long as a layer does not free what it holds: each slot of four clusters is used in one way per layer."""
    rng = np.random.default_rng(11)
    slot = 4 * case.cluster_size
    slots = rng.choice(case.span // slot, 60, replace=False)
    base = [Request(WRITE, int(s) * slot, slot) for s in slots]
    epochs = [base]
    zeroed = set()  # where clusters read as zeros: there QEMU widens a partial WRITE_ZEROES to the cluster
    for _ in range(3):
        requests = []
        for s in rng.permutation(slots)[:45].tolist():
            use = rng.integers(0, 4)
            start, end = s * slot, (s + 1) * slot
            cut = int(rng.integers(1, case.cluster_size // 512)) * 512
            if use == 0:
                requests.append(Request(WRITE, start + cut, 512))
            elif use == 1:
                requests.append(Request(WRITE_ZEROES, start, slot))
                zeroed.add(s)
            elif use == 2 and s not in zeroed:
                requests.append(Request(WRITE_ZEROES, start + cut, end - start - cut))  # the first cluster in part
                zeroed.add(s)
            else:
                requests.append(Request(DISCARD, start + cut, end - start - 512 - cut))  # shrunk to whole clusters
                zeroed.add(s)
        epochs.append(requests)
    paths = chain(tmp_path, case, epochs)

    mech = mechanism("qcow2-external")
    counted = matrices(mech, case.cluster_size, epochs, case.capacity)
    predicted = file_bytes("qcow2-overlay", layer_usage(counted, case), mech.metadata.parameters)

    assert [path.stat().st_size for path in paths] == predicted.tolist()


@pytest.mark.parametrize("capacity", [MIB, 256 * MIB, 4 * GIB + 512, 3072 * GIB])
@pytest.mark.parametrize("cluster_size", [512, 4 * KIB, 64 * KIB, 2 * MIB])
def test_an_empty_overlay_ends_with_its_l1_table(tmp_path, capacity, cluster_size):
    if cluster_size == 512:
        capacity = min(capacity, 4 * GIB)  # beyond that QEMU refuses the L1 table, or it outgrows the refcount table at once
    path = tmp_path / "empty.qcow2"
    create(path, Case(cluster_size, capacity, 0))
    predicted = qcow2_overlay_bytes(0, 0, cluster_size=cluster_size, virtual_size=capacity)
    assert path.stat().st_size == int(predicted)


def test_the_refcount_table_grows_as_predicted(tmp_path):
    """At 512-byte clusters the table is full after 8 MiB and has to be replaced; at 64 KiB that takes 16 TiB."""
    case = Case(512, 64 * MIB, 64 * MIB)
    path = tmp_path / "grow.qcow2"
    create(path, case)
    clusters = 0
    stops = [15_800, 15_930, 15_935, 15_936, 15_937, 15_938, 15_939, 15_940, 15_945, 16_100, 16_191, 16_250, 32_000, 32_050, 32_300]
    real, predicted = [], []
    for stop in [*stops, 64_150, 70_000]:
        apply(path, [Request(WRITE, i * 512, 512) for i in range(clusters, stop)])
        clusters = stop
        real.append(path.stat().st_size)
        tables = -(-clusters * 512 // qcow2_l2_range(512))
        predicted.append(int(qcow2_overlay_bytes(clusters, tables, cluster_size=512, virtual_size=case.capacity)))
    assert real == predicted


@pytest.mark.parametrize("refcount_bits", [8, 32, 64])
def test_other_widths_of_refcounts(tmp_path, refcount_bits):
    case = Case(4 * KIB, 64 * MIB, 64 * MIB)
    rng = np.random.default_rng(refcount_bits)
    epochs = [sequential(rng, case, 400), random_4k(rng, case, 900)]
    paths = chain(tmp_path, case, epochs, refcount_bits=refcount_bits)

    mech = mechanism("qcow2-external").with_options(refcount_bits=refcount_bits)
    usage = layer_usage(matrices(mech, case.cluster_size, epochs, case.capacity), case)
    assert [path.stat().st_size for path in paths] == file_bytes("qcow2-overlay", usage, mech.metadata.parameters).tolist()


def chain(folder, case, epochs, **options):
    """Make a chain of images, one for each epoch, and write the epoch's requests into it."""
    paths = []
    for number, requests in enumerate(epochs):
        path = folder / f"layer{number}.qcow2"
        create(path, case, backing=paths[-1] if paths else None, **options)
        apply(path, requests)
        paths.append(path)
    return paths


# --- extended L2 ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", [random_4k, unaligned, sequential])
@pytest.mark.parametrize("cluster_size", [64 * KIB, 128 * KIB])
def test_extended_l2_maps_exactly_the_subclusters_written(tmp_path, cluster_size, pattern):
    case = Case(cluster_size, 3 * GIB, 2 * GIB)
    rng = np.random.default_rng(cluster_size)
    epochs = [pattern(rng, case) for _ in range(3)]
    paths = chain(tmp_path, case, epochs, extended_l2="on")

    mech = mechanism("qcow2-external-extl2")
    counted = matrices(mech, cluster_size, epochs, case.capacity)
    usage = layer_usage(counted, case)

    mapped = []
    for path in paths:
        extents = json.loads(run("qemu-img", "map", "-f", "qcow2", "--output=json", str(path)))
        mapped.append(sum(extent["length"] for extent in extents if extent["data"] and extent["depth"] == 0))
    subcluster = counted["data"].block_size
    assert subcluster == cluster_size // 32
    assert mapped == (usage.count("data") * subcluster).tolist()

    in_use = usage.count("clusters") * cluster_size + metadata_bytes("qcow2-overlay", usage, mech.metadata.parameters)
    assert [read_image(path).referenced_clusters * cluster_size for path in paths] == in_use.tolist()
    # a last cluster that was written in part ends the file early
    predicted = file_bytes("qcow2-overlay", usage, mech.metadata.parameters)
    short = predicted - [path.stat().st_size for path in paths]
    assert np.all((short >= 0) & (short < cluster_size))


# --- internal snapshots ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("cluster_size", [4 * KIB, 64 * KIB])
def test_internal_snapshots_reference_the_predicted_number_of_clusters(tmp_path, cluster_size, seed):
    """Create, write and delete at random; after every step the refcount blocks of the real image are read."""
    rng = np.random.default_rng([cluster_size, seed])
    case = Case(cluster_size, 24 * MIB if cluster_size == 4096 else 1 * GIB, 24 * MIB if cluster_size == 4096 else 600 * MIB)
    path = tmp_path / "internal.qcow2"
    create(path, case)
    epochs, kept, history, real = [], [], [], []
    for step in range(9):
        requests = random_4k(rng, case, 60) + unaligned(rng, case, 20)
        if step > 2:
            whole = rng.integers(0, case.span // cluster_size, 5).tolist()
            requests += [Request(DISCARD, c * cluster_size, cluster_size) for c in whole]
            whole = rng.integers(0, case.span // cluster_size, 5).tolist()
            requests += [Request(WRITE_ZEROES, c * cluster_size, cluster_size) for c in whole]
        apply(path, requests)
        epochs.append(requests)
        if step % 4 != 3:
            run("qemu-img", "snapshot", "-c", f"snapshot-{step:030d}", str(path))
            kept.append(step)
        if len(kept) > 3 or (step == 8 and seed == 0):
            for gone in rng.choice(kept, 2, replace=False).tolist():
                run("qemu-img", "snapshot", "-d", f"snapshot-{gone:030d}", str(path))
                kept.remove(gone)
        history.append(tuple(kept))
        real.append(read_image(path))

    mech = mechanism("qcow2-internal").with_options(name_bytes=40)
    counted = matrices(mech, cluster_size, epochs, case.capacity)
    blocks = {
        name: [
            (matrix.live_bytes(now) + matrix.snapshot_bytes(kept, now)) // matrix.block_size
            for now, kept in enumerate(history)
        ]
        for name, matrix in counted.items()
    }
    usage = Usage(counts=blocks, snapshots=[len(kept) for kept in history], capacity=case.capacity, block_size=cluster_size)
    predicted = usage.count("data") * cluster_size + metadata_bytes("qcow2-internal", usage, mech.metadata.parameters)

    assert [image.referenced_clusters for image in real] == (predicted // cluster_size).tolist()
    assert [image.snapshots for image in real] == usage.snapshots
