"""The same operations on real qcow2 images and in the simulator, and what both say after each of them."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from snapsim.engine.chain import ABSENT_BIRTH, Chain
from snapsim.errors import UsageError
from snapsim.mechanisms import mechanism
from snapsim.types import Int64Array
from snapsim.units import format_size
from snapsim.validation.comparison import Outcome, Row
from snapsim.validation.operations import Operation, epochs
from snapsim.validation.qcow2_files import InternalImage, OverlayFiles
from snapsim.validation.qcow2_image import read_image
from snapsim.validation.qcow2_model import InternalModel, OverlayModel
from snapsim.validation.running import need, qemu_version, run

__all__ = ["validate_external", "validate_internal"]

_SECTOR = 512
_SUBCLUSTERS = 32
_TAGS = 255
_APART = (
    "sequences free or merge, not both: a commit below a running machine writes zeros out as data, one of "
    "the topmost file copies pieces of 64 KiB, and a stream of subclusters ends QEMU 7.2 with a failed "
    "assertion"
)
_SKIPPED = (
    "{} lengths are not predicted: a request of several clusters, or a merge, met holes that discards or "
    "zeroes had left, and QEMU may skip those"
)


def validate_external(
    sequences: Sequence[Sequence[Operation]],
    *,
    capacity: int,
    folder: Path,
    block_size: int | None = None,
    extended_l2: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Outcome:
    """Drive overlay files and the simulator through the same operations.

    Parameters
    ----------
    sequences : sequence of sequences of Operation
        Each begins with a new, empty disk.
    capacity : int
        Size of the disk.  [bytes]
    folder : Path
        An empty folder for the files.
    block_size : int, optional
        The cluster size; the mechanism's own by default.  [bytes]
    extended_l2 : bool
        With subclusters.
    progress : callable, optional
        Called with 1 after each sequence.

    Returns
    -------
    Outcome
        After every step, and for every file: clusters in use, length, mapped bytes; contents at the end.

    Raises
    ------
    SnapsimError
        A program is missing, or failed; or the disk ends within a subcluster.
    """
    need("qemu-img", "qemu-io", "qemu-storage-daemon")
    chosen = mechanism("qcow2-external-extl2" if extended_l2 else "qcow2-external")
    size = block_size or chosen.block_size
    if extended_l2 and capacity % (size // _SUBCLUSTERS):
        raise UsageError(
            f"capacity={capacity} is no multiple of a subcluster of {size // _SUBCLUSTERS} bytes: the "
            "last one would be mapped in part"
        )
    rows: list[Row] = []
    skipped = 0
    for number, sequence in enumerate(sequences):
        place = folder / f"sequence{number}"
        place.mkdir()
        model = OverlayModel(chosen, capacity=capacity, block_size=size)
        files = OverlayFiles(place, capacity=capacity, cluster_size=size, extended_l2=extended_l2)
        for step, (requests, then) in enumerate(epochs(sequence)):
            state = f"sequence {number}, step {step}"
            files.request(requests, tag=_tag(model.data))
            for request in requests:
                model.request(request)
            rows += _overlay_rows(model, files, state, extended_l2=extended_l2)
            if then is not None:
                _overlay_step(model, files, then)
                rows += _overlay_rows(model, files, f"{state} {then.kind}", extended_l2=extended_l2)
            skipped += model.certain().count(False)
        rows += _contents(model.data, files.raw, sequence, place, f"sequence {number}")
        _remove(place)
        if progress is not None:
            progress(1)
    notes = (_APART,) if extended_l2 else _notes(skipped)
    return Outcome(chosen.name, tuple(rows), _configuration(capacity, size, sequences), notes)


def validate_internal(
    sequences: Sequence[Sequence[Operation]],
    *,
    capacity: int,
    folder: Path,
    block_size: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Outcome:
    """Drive an image with internal snapshots and the simulator through the same operations.

    Parameters
    ----------
    sequences, capacity, folder, block_size, progress
        As for `validate_external`.

    Returns
    -------
    Outcome
        After every step: clusters in use, length; what each deletion gave back; contents at the end.

    Raises
    ------
    SnapsimError
        A program is missing, or failed.
    """
    need("qemu-img", "qemu-io")
    chosen = mechanism("qcow2-internal")
    size = block_size or chosen.block_size
    rows: list[Row] = []
    skipped = 0
    for number, sequence in enumerate(sequences):
        place = folder / f"sequence{number}"
        place.mkdir()
        model = InternalModel(chosen, capacity=capacity, block_size=size)
        image = InternalImage(place, capacity=capacity, cluster_size=size)
        for step, (requests, then) in enumerate(epochs(sequence)):
            state = f"sequence {number}, step {step}"
            image.request(requests, tag=_tag(model.data))
            for request in requests:
                model.request(request)
            rows += _internal_rows(model, image, state)
            if then is not None:
                rows += _internal_step(model, image, then, state)
                rows += _internal_rows(model, image, f"{state} {then.kind}")
            skipped += not model.certain()
        rows += _contents(model.data, image.raw, sequence, place, f"sequence {number}")
        _remove(place)
        if progress is not None:
            progress(1)
    return Outcome(chosen.name, tuple(rows), _configuration(capacity, size, sequences), _notes(skipped))


# --- overlays
# -------------------------------------------------------------------------------------------------------


def _overlay_rows(
    model: OverlayModel, files: OverlayFiles, state: str, *, extended_l2: bool
) -> Iterator[Row]:
    images = [read_image(file) for file in files.files]
    figures = zip(model.in_use(), model.lengths(), model.certain(), images, strict=True)
    for layer, (in_use, length, certain, image) in enumerate(figures):
        where = f"{state}, layer {layer}"
        yield Row(
            "clusters in use", "bytes", in_use, image.referenced_clusters * image.cluster_size, state=where
        )
        if certain and not extended_l2:
            yield Row("file length", "bytes", length, image.length, state=where)
    if extended_l2:
        for layer, (predicted, file) in enumerate(zip(model.mapped(), files.files, strict=True)):
            yield Row("mapped bytes", "bytes", predicted, _mapped(file), state=f"{state}, layer {layer}")


def _overlay_step(model: OverlayModel, files: OverlayFiles, step: Operation) -> None:
    if step.kind == "snapshot":
        files.snapshot()
        model.snapshot()
    elif step.kind == "revert":
        files.revert(model.place(step.snapshot))
        model.revert(step.snapshot)
    elif step.kind == "delete":
        files.delete(model.place(step.snapshot), step.how)
        model.delete(step.snapshot, step.how)
    else:
        raise UsageError(f"an operation {step.kind!r} is unknown")


def _mapped(file: Path) -> int:
    """Return the bytes that a file itself holds, not the ones below."""
    extents = json.loads(run("qemu-img", "map", "-f", "qcow2", "--output=json", str(file)))
    return sum(extent["length"] for extent in extents if extent["data"] and extent["depth"] == 0)


# --- internal snapshots
# -------------------------------------------------------------------------------------------------------


def _internal_rows(model: InternalModel, image: InternalImage, state: str) -> Iterator[Row]:
    real = read_image(image.files[0])
    size = real.cluster_size
    structures = real.refcount_blocks + real.refcount_table_clusters
    measured = (real.referenced_clusters - structures) * size
    yield Row("clusters in use, without refcounts", "bytes", model.payload() * size, measured, state=state)
    if model.certain():
        yield Row("clusters in use", "bytes", model.in_use(), real.referenced_clusters * size, state=state)
        yield Row(
            "file length, whole clusters",
            "bytes",
            model.length(),
            -(-real.length // size) * size,
            state=state,
        )


def _internal_step(model: InternalModel, image: InternalImage, step: Operation, state: str) -> Iterator[Row]:
    if step.kind == "snapshot":
        image.snapshot()
        model.snapshot()
    elif step.kind == "revert":
        image.revert(model.place(step.snapshot))
        model.revert(step.snapshot)
    elif step.kind == "delete":
        before = read_image(image.files[0])
        image.delete(model.place(step.snapshot))
        after = read_image(image.files[0])
        freed = (before.referenced_clusters - after.referenced_clusters) * before.cluster_size
        yield Row("freed by a deletion", "bytes", model.delete(step.snapshot), freed, state=state)
    else:
        raise UsageError(f"an operation {step.kind!r} is unknown")


# --- contents
# -------------------------------------------------------------------------------------------------------


def _contents(
    chain: Chain,
    raw: Callable[[int | None, Path], None],
    sequence: Sequence[Operation],
    folder: Path,
    state: str,
) -> Iterator[Row]:
    """Compare what the volume and each snapshot show: in which epoch each block was last written."""
    blocks = _touched(sequence, chain.counting.block_size)
    target = folder / "contents.raw"
    for place in [*range(len(chain.snapshots)), None]:
        raw(place, target)
        number = None if place is None else chain.snapshots[place]
        predicted = _births(chain, number, blocks)
        measured = _births_on_disk(target, blocks, chain.counting.block_size)
        who = "the volume" if place is None else f"snapshot {place}"
        same = int(np.count_nonzero(predicted == measured))
        yield Row("blocks with the predicted contents", "count", len(blocks), same, state=f"{state}, {who}")
        target.unlink()


def _touched(sequence: Sequence[Operation], block_size: int) -> Int64Array:
    ranges = [
        np.arange(one.offset // block_size, (one.offset + one.length - 1) // block_size + 1)
        for one in sequence
        if one.length
    ]
    return np.unique(np.concatenate(ranges)) if ranges else np.zeros(0, np.int64)


def _tag(chain: Chain) -> int:
    """Return the byte that writes of the present epoch are filled with: never 0."""
    if chain.epoch > _TAGS - 1:
        raise UsageError(
            f"a sequence has more than {_TAGS} epochs, which bytes cannot tell apart: make it shorter"
        )
    return chain.epoch + 1


def _births(chain: Chain, snapshot: int | None, blocks: Int64Array) -> Int64Array:
    contents = chain.contents(snapshot)
    return contents.birth[np.searchsorted(contents.stop, blocks, side="right")]


def _births_on_disk(path: Path, blocks: Int64Array, block_size: int) -> Int64Array:
    """Return the epoch of the newest write seen in each block, `ABSENT_BIRTH` where only zeros are."""
    found = np.full(len(blocks), ABSENT_BIRTH)
    with path.open("rb") as file:
        for i, block in enumerate(blocks.tolist()):
            file.seek(block * block_size)
            tag = int(np.frombuffer(file.read(block_size), np.uint8)[::_SECTOR].max())
            found[i] = tag - 1 if tag else ABSENT_BIRTH
    return found


# --- what goes with it
# -------------------------------------------------------------------------------------------------------


def _configuration(
    capacity: int, block_size: int, sequences: Sequence[Sequence[Operation]]
) -> dict[str, str | int]:
    return {
        "QEMU": qemu_version(),
        "cluster size": format_size(block_size),
        "disk": format_size(capacity),
        "sequences": len(sequences),
        "operations": sum(map(len, sequences)),
    }


def _notes(skipped: int) -> tuple[str, ...]:
    return (_SKIPPED.format(skipped),) if skipped else ()


def _remove(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
