"""The promise about qcow2: what the matrix and the formulas predict is what real images take, to the byte."""

import json
import subprocess
from typing import NamedTuple

import numpy as np
import pytest

import snapsim as ss
from snapsim.engine.metadata import Usage, file_bytes, metadata_bytes
from snapsim.engine.qcow2_layout import Qcow2Layout
from snapsim.types import DISCARD, WRITE, WRITE_ZEROES
from snapsim.units import GIB, KIB, MIB
from snapsim.validation.qcow2_image import read_image

pytestmark = [pytest.mark.integration, pytest.mark.needs_program("qemu-img", "qemu-io")]

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
    pytest.param(
        Case(64 * KIB, 1 * GIB + 63 * 512, 640 * MIB), id="64KiB"
    ),  # a disk that is no multiple of a cluster
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


def trace_of(epochs, capacity):
    """Make a trace whose requests of epochs[i] come before instant i."""
    columns = np.array([request for requests in epochs for request in requests], dtype=np.int64).reshape(
        -1, 3
    )
    times = np.repeat(np.arange(len(epochs)) * EPOCH, [len(requests) for requests in epochs])
    return ss.Trace.from_arrays(times, *columns.T, capacity=capacity, start=0)


def instants_of(epochs):
    return (np.arange(len(epochs)) + 1) * EPOCH


def count(epochs, capacity, *, block_size):
    return ss.count_lifetimes(
        trace_of(epochs, capacity), instants=instants_of(epochs), block_size=block_size, initial="thin"
    )


def matrices(mech, block_size, epochs, capacity):
    lifetimes = count(epochs, capacity, block_size=block_size)
    return {need.name: lifetimes.recount(**need.counting()) for need in mech.matrices(block_size)}


def layer_usage(counted, case):
    """Blocks in each layer: layer i was written between instants i - 1 and i."""
    layers = range(next(iter(counted.values())).n_instants)
    blocks = {
        name: [matrix.written_bytes(i - 1 if i else None, i) // matrix.block_size for i in layers]
        for name, matrix in counted.items()
    }
    return Usage(counts=blocks, snapshots=0, capacity=case.capacity, block_size=case.cluster_size)


# --- request sequences --------------------------------------------------------------------------------------


def random_4k(rng, case, n=120):
    return [Request(WRITE, int(page) * 4096, 4096) for page in rng.integers(0, case.span // 4096, n)]


def random_64k(rng, case, n=60):
    return [Request(WRITE, int(page) * 65536, 65536) for page in rng.integers(0, case.span // 65536, n)]


def unaligned(rng, case, n=60):
    starts = rng.integers(0, (case.span - 160 * KIB) // 512, n)
    lengths = rng.integers(1, 300, n)
    return [
        Request(WRITE, int(start) * 512, int(length) * 512)
        for start, length in zip(starts, lengths, strict=True)
    ]


def sequential(rng, case, n=80):
    start = int(rng.integers(0, case.span // 2 // 4096)) * 4096
    return [Request(WRITE, start + i * 48 * KIB, 48 * KIB) for i in range(n)]


def last_bytes(rng, case):
    """Writes at the very end of the disk, where the last cluster can be cut off."""
    return [Request(WRITE, case.capacity - 512, 512), Request(WRITE, 0, 512), *random_4k(rng, case, 5)]


PATTERNS = [random_4k, random_64k, unaligned, sequential, last_bytes]


# --- overlays -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_length_of_every_overlay_is_predicted_to_the_byte(tmp_path, case, pattern):
    rng = np.random.default_rng([case.cluster_size, len(pattern.__name__)])
    epochs = [pattern(rng, case) for _ in range(3)] + [[]]  # the last layer stays empty
    paths = chain(tmp_path, case, epochs)

    mech = ss.mechanism("qcow2-external")
    counted = matrices(mech, case.cluster_size, epochs, case.capacity)
    predicted = file_bytes("qcow2-overlay", layer_usage(counted, case), mech.metadata.parameters)

    assert [path.stat().st_size for path in paths] == predicted.tolist()


@pytest.mark.parametrize("case", CASES)
def test_data_and_metadata_add_up_to_the_clusters_in_use(tmp_path, case):
    rng = np.random.default_rng(7)
    epochs = [unaligned(rng, case), random_4k(rng, case), sequential(rng, case)]
    paths = chain(tmp_path, case, epochs)

    mech = ss.mechanism("qcow2-external")
    usage = layer_usage(matrices(mech, case.cluster_size, epochs, case.capacity), case)
    predicted = usage.count("data") * case.cluster_size + metadata_bytes(
        "qcow2-overlay", usage, mech.metadata.parameters
    )

    assert [read_image(path).referenced_clusters * case.cluster_size for path in paths] == predicted.tolist()


@pytest.mark.parametrize("case", CASES[:2])
def test_zeroed_and_discarded_clusters_take_an_entry_and_no_data(tmp_path, case):
    """Exact as long as a layer does not free what it holds: each slot is used in one way per layer."""
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
                requests.append(
                    Request(WRITE_ZEROES, start + cut, end - start - cut)
                )  # the first cluster in part
                zeroed.add(s)
            else:
                requests.append(
                    Request(DISCARD, start + cut, end - start - 512 - cut)
                )  # shrunk to whole clusters
                zeroed.add(s)
        epochs.append(requests)
    paths = chain(tmp_path, case, epochs)

    mech = ss.mechanism("qcow2-external")
    counted = matrices(mech, case.cluster_size, epochs, case.capacity)
    predicted = file_bytes("qcow2-overlay", layer_usage(counted, case), mech.metadata.parameters)

    assert [path.stat().st_size for path in paths] == predicted.tolist()


@pytest.mark.parametrize("capacity", [MIB, 256 * MIB, 4 * GIB + 512, 3072 * GIB])
@pytest.mark.parametrize("cluster_size", [512, 4 * KIB, 64 * KIB, 2 * MIB])
def test_an_empty_overlay_ends_with_its_l1_table(tmp_path, capacity, cluster_size):
    if cluster_size == 512:
        capacity = min(
            capacity, 4 * GIB
        )  # beyond that QEMU refuses the L1 table, or it outgrows the refcount table at once
    path = tmp_path / "empty.qcow2"
    create(path, Case(cluster_size, capacity, 0))
    layout = Qcow2Layout(cluster_size=cluster_size, virtual_size=capacity)
    assert path.stat().st_size == int(layout.overlay_bytes(0, 0))


def test_the_refcount_table_grows_as_predicted(tmp_path):
    """At 512-byte clusters the table is full after 8 MiB and is replaced; at 64 KiB that takes 16 TiB."""
    case = Case(512, 64 * MIB, 64 * MIB)
    path = tmp_path / "grow.qcow2"
    create(path, case)
    layout = Qcow2Layout(cluster_size=512, virtual_size=case.capacity)
    clusters = 0
    stops = [
        15_800,
        15_930,
        15_935,
        15_936,
        15_937,
        15_938,
        15_939,
        15_940,
        15_945,
        16_100,
        16_191,
        16_250,
        32_000,
        32_050,
        32_300,
    ]
    real, predicted = [], []
    for stop in [*stops, 64_150, 70_000]:
        apply(path, [Request(WRITE, i * 512, 512) for i in range(clusters, stop)])
        clusters = stop
        real.append(path.stat().st_size)
        predicted.append(int(layout.overlay_bytes(clusters, -(-clusters * 512 // layout.l2_range))))
    assert real == predicted


@pytest.mark.parametrize("refcount_bits", [8, 32, 64])
def test_other_widths_of_refcounts(tmp_path, refcount_bits):
    case = Case(4 * KIB, 64 * MIB, 64 * MIB)
    rng = np.random.default_rng(refcount_bits)
    epochs = [sequential(rng, case, 400), random_4k(rng, case, 900)]
    paths = chain(tmp_path, case, epochs, refcount_bits=refcount_bits)

    mech = ss.mechanism("qcow2-external").with_options(refcount_bits=refcount_bits)
    usage = layer_usage(matrices(mech, case.cluster_size, epochs, case.capacity), case)
    assert [path.stat().st_size for path in paths] == file_bytes(
        "qcow2-overlay", usage, mech.metadata.parameters
    ).tolist()


def chain(folder, case, epochs, **options):
    """Make a chain of images, one for each epoch, and write the epoch's requests into it."""
    paths = []
    for number, requests in enumerate(epochs):
        path = folder / f"layer{number}.qcow2"
        create(path, case, backing=paths[-1] if paths else None, **options)
        apply(path, requests)
        paths.append(path)
    return paths


# --- the product's answer -----------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [None, 3, 1])
@pytest.mark.parametrize("case", CASES[:2])
def test_growth_gives_the_length_of_all_files_after_every_step(tmp_path, case, keep):
    """Write, snapshot, prune by committing into the layer below; growth knows the files' length."""
    rng = np.random.default_rng([case.cluster_size, keep or 0])
    epochs = [
        pattern(rng, case) for pattern in (unaligned, random_64k, random_4k, sequential, unaligned, random_4k)
    ]
    real = []
    files = [tmp_path / "base.qcow2"]  # the volume, then one overlay for each snapshot
    create(files[0], case)
    for step, requests in enumerate(epochs):
        apply(files[-1], requests)
        files.append(tmp_path / f"layer{step}.qcow2")
        create(files[-1], case, backing=files[-2])
        while keep is not None and len(files) - 1 > keep:
            commit_oldest(files)
        real.append(sum(path.stat().st_size for path in files))

    lifetimes = count(epochs, case.capacity, block_size=case.cluster_size)
    policy = ss.Policy(schedule=f"{EPOCH}ns", keep_last=keep or len(epochs))
    timeline = policy.timeline(lifetimes.instants)
    growth = ss.growth(lifetimes, timeline, mechanism="qcow2-external")
    assert growth.frame["snapshots"].iloc[-1] == min(keep or len(epochs), len(epochs))
    assert growth.frame["file_bytes"].tolist() == real


def commit_oldest(files):
    """Delete the oldest snapshot: commit the overlay above the base, and hang the rest onto the base."""
    run("qemu-img", "commit", "-q", "-d", "-t", "unsafe", "-b", str(files[0]), str(files[1]))
    if len(files) > 2:
        run("qemu-img", "rebase", "-q", "-u", "-b", str(files[0]), "-F", "qcow2", str(files[2]))
    files.pop(1).unlink()


# --- extended L2 --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", [random_4k, unaligned, sequential])
@pytest.mark.parametrize("cluster_size", [64 * KIB, 128 * KIB])
def test_extended_l2_maps_exactly_the_subclusters_written(tmp_path, cluster_size, pattern):
    case = Case(cluster_size, 3 * GIB, 2 * GIB)
    rng = np.random.default_rng(cluster_size)
    epochs = [pattern(rng, case) for _ in range(3)]
    paths = chain(tmp_path, case, epochs, extended_l2="on")

    mech = ss.mechanism("qcow2-external-extl2")
    counted = matrices(mech, cluster_size, epochs, case.capacity)
    usage = layer_usage(counted, case)

    mapped = []
    for path in paths:
        extents = json.loads(run("qemu-img", "map", "-f", "qcow2", "--output=json", str(path)))
        mapped.append(sum(extent["length"] for extent in extents if extent["data"] and extent["depth"] == 0))
    subcluster = counted["data"].block_size
    assert subcluster == cluster_size // 32
    assert mapped == (usage.count("data") * subcluster).tolist()

    in_use = usage.count("clusters") * cluster_size + metadata_bytes(
        "qcow2-overlay", usage, mech.metadata.parameters
    )
    assert [read_image(path).referenced_clusters * cluster_size for path in paths] == in_use.tolist()
    # a last cluster that was written in part ends the file early
    predicted = file_bytes("qcow2-overlay", usage, mech.metadata.parameters)
    short = predicted - [path.stat().st_size for path in paths]
    assert np.all((short >= 0) & (short < cluster_size))


# --- internal snapshots -------------------------------------------------------------------------------------


class History(NamedTuple):
    """What happened to an image with internal snapshots, and what it looked like after each step."""

    epochs: list
    created: list  # steps whose snapshots existed after the creation of each step
    kept: list  # and after its deletions
    images: list


def snapshot(path, what, step):
    unsafe = f"driver=qcow2,cache.no-flush=on,file.driver=file,file.filename={path},file.cache.no-flush=on"
    run("qemu-img", "snapshot", what, f"snapshot-{step:031d}", "--image-opts", unsafe)  # names of 40 bytes


def live_through(path, case, rng, pattern, *, steps=10):
    """Write, take and delete snapshots at random; read the real image after every step."""
    create(path, case)
    history = History([], [], [], [])
    kept = []
    for step in range(steps):
        requests = pattern(rng, case)
        if step > 2:
            for op in (DISCARD, WRITE_ZEROES):
                starts = rng.integers(0, case.span // case.cluster_size - 3, 6)
                requests += [Request(op, int(c) * case.cluster_size, 3 * case.cluster_size) for c in starts]
        apply(path, requests)
        if step % 4 != 3:
            snapshot(path, "-c", step)
            kept.append(step)
        history.created.append(tuple(kept))
        while kept and rng.random() < 0.4:
            gone = int(rng.choice(kept))
            snapshot(path, "-d", gone)
            kept.remove(gone)
        history.epochs.append(requests)
        history.kept.append(tuple(kept))
        history.images.append(read_image(path))
    return history


def internal_usage(history, case):
    counted = matrices(ss.mechanism("qcow2-internal"), case.cluster_size, history.epochs, case.capacity)

    def usage(states, **more):
        blocks = {
            name: [
                (matrix.live_bytes(now) + matrix.snapshot_bytes(kept, now)) // matrix.block_size
                for now, kept in enumerate(states)
            ]
            for name, matrix in counted.items()
        }
        snapshots = [len(kept) for kept in states]
        return Usage(
            counts=blocks, snapshots=snapshots, capacity=case.capacity, block_size=case.cluster_size, **more
        )

    return usage(history.kept, before_prune=usage(history.created))


def short_writes(rng, case):
    """Random writes that stay within a cluster."""
    return random_4k(rng, case, 400)


def long_writes(rng, case):
    return random_4k(rng, case, 60) + unaligned(rng, case, 60)


INTERNAL = [
    pytest.param(Case(4 * KIB, 24 * MIB, 24 * MIB), id="4KiB"),
    pytest.param(Case(64 * KIB, 1 * GIB, 600 * MIB), id="64KiB"),
]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("case", INTERNAL)
def test_internal_snapshots_reference_the_predicted_number_of_clusters(tmp_path, case, seed):
    rng = np.random.default_rng([case.cluster_size, seed])
    history = live_through(tmp_path / "internal.qcow2", case, rng, short_writes)
    usage = internal_usage(history, case)
    parameters = ss.mechanism("qcow2-internal").metadata.parameters
    predicted = usage.count("data") + metadata_bytes("qcow2-internal", usage, parameters) // case.cluster_size

    assert [image.referenced_clusters for image in history.images] == predicted.tolist()
    assert [image.snapshots for image in history.images] == usage.snapshots


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("case", INTERNAL)
def test_long_writes_and_deletions_may_cost_one_more_refcount_block_and_nothing_else(tmp_path, case, seed):
    """A request longer than a cluster skips the holes that deletions leave, so that the file grows."""
    rng = np.random.default_rng([case.cluster_size, seed, 99])
    history = live_through(tmp_path / "internal.qcow2", case, rng, long_writes)
    usage = internal_usage(history, case)
    layout = Qcow2Layout(cluster_size=case.cluster_size, virtual_size=case.capacity)
    payload, most = (
        layout.internal_payload(state.count("data"), state.count("tables"), snapshots=state.snapshots)
        for state in (usage, usage.before_prune)
    )
    refcounts = layout.refcounts(np.maximum.accumulate(np.maximum(payload, most)))

    structures = [image.refcount_blocks + image.refcount_table_clusters for image in history.images]
    referenced = [image.referenced_clusters for image in history.images]
    assert payload.tolist() == [a - b for a, b in zip(referenced, structures, strict=True)]
    more = np.array([image.refcount_blocks for image in history.images]) - refcounts.blocks
    assert set(more.tolist()) <= {0, 1}


@pytest.mark.parametrize("keep", [1, 3])
@pytest.mark.parametrize("case", INTERNAL)
def test_growth_gives_the_clusters_in_use_and_the_length_after_every_step(tmp_path, case, keep):
    """Write, take a snapshot, prune: what growth says is allocated is what the image references."""
    path = tmp_path / "internal.qcow2"
    create(path, case)
    rng = np.random.default_rng([case.cluster_size, keep])
    epochs, images = [], []
    for step in range(8):
        epochs.append(short_writes(rng, case))
        apply(path, epochs[-1])
        snapshot(path, "-c", step)
        if step >= keep:
            snapshot(path, "-d", step - keep)
        images.append(read_image(path))

    lifetimes = count(epochs, case.capacity, block_size=case.cluster_size)
    timeline = ss.Policy(schedule=f"{EPOCH}ns", keep_last=keep).timeline(lifetimes.instants)
    frame = ss.growth(lifetimes, timeline, mechanism="qcow2-internal").frame
    referenced = [image.referenced_clusters * case.cluster_size for image in images]
    assert frame["allocated_bytes"].tolist() == referenced
    # QEMU writes a new snapshot table before it frees the old one, and a last one is not padded to a cluster
    off = frame["file_bytes"] - [image.length for image in images]
    assert off.abs().max() < case.cluster_size
