"""What overlay files take while one is merged into its neighbour: the job is slowed down and watched."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from snapsim.mechanisms import mechanism
from snapsim.units import MIB, format_size
from snapsim.validation.comparison import Outcome, Row
from snapsim.validation.image_file import physical_extents, union_bytes
from snapsim.validation.operations import Operation, epochs
from snapsim.validation.qcow2_files import OverlayFiles
from snapsim.validation.qcow2_model import OverlayModel
from snapsim.validation.running import need, qemu_version

__all__ = ["validate_merging"]


class _Watch:
    """The most that files took, and how often that was looked at."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = list(files)
        self.length, self.space = self.before = self._now()
        self._lengths: list[int] = []

    def __call__(self) -> None:
        length, space = self._now()
        self._lengths.append(length)
        self.length, self.space = max(self.length, length), max(self.space, space)

    @property
    def looks(self) -> int:
        """How often it looked."""
        return len(self._lengths)

    @property
    def between(self) -> int:
        """How many looks met the job half-way."""
        return sum(self.before[0] < length < self.length for length in self._lengths)

    def _now(self) -> tuple[int, int]:
        """Return lengths and space; blocks in which the file system notes extents are not the image's."""
        extents = np.concatenate([physical_extents(file) for file in self._files])
        return sum(file.stat().st_size for file in self._files), union_bytes(extents)


def validate_merging(
    sequences: Sequence[Sequence[Operation]],
    *,
    capacity: int,
    folder: Path,
    block_size: int | None = None,
    speed: int = 16 * MIB,
    progress: Callable[[int], None] | None = None,
) -> Outcome:
    """Compare the space that merges need for a while: the target grows before the other file goes.

    Parameters
    ----------
    sequences : sequence of sequences of Operation
        Without discards and zeroes: a commit below a running machine writes zeros out.
    capacity : int
        Size of the disk.  [bytes]
    folder : Path
        An empty folder for the files.
    block_size : int, optional
        The cluster size; the mechanism's own by default.  [bytes]
    speed : int
        At most, so that there is time to look.  [bytes/s]
    progress : callable, optional
        Called with 1 after each sequence.

    Returns
    -------
    Outcome
        For every merge: by how much the files got longer and took more, before one of them went.

    Raises
    ------
    SnapsimError
        A program is missing, or failed.
    """
    need("qemu-img", "qemu-io", "qemu-storage-daemon")
    chosen = mechanism("qcow2-external")
    size = block_size or chosen.block_size
    rows: list[Row] = []
    looks = between = 0
    for number, sequence in enumerate(sequences):
        place = folder / f"merging{number}"
        place.mkdir()
        model = OverlayModel(chosen, capacity=capacity, block_size=size)
        files = OverlayFiles(place, capacity=capacity, cluster_size=size)
        for step, (requests, then) in enumerate(epochs(sequence)):
            files.request(requests)
            for request in requests:
                model.request(request)
            if then is None:
                break
            if then.kind == "delete":
                watch = _Watch(files.files)
                where = model.place(then.snapshot)
                files.delete(where, then.how, watch, speed=speed)
                growth = model.delete(then.snapshot, then.how)
                state = f"sequence {number}, step {step}, {then.how}"
                longest, most = watch.length - watch.before[0], watch.space - watch.before[1]
                rows += [
                    Row("extra length while merging", "bytes", growth.length, longest, state=state),
                    Row("extra space while merging", "bytes", growth.space, most, state=state),
                ]
                looks, between = looks + watch.looks, between + watch.between
            else:
                _other(then, model, files)
        for file in place.iterdir():
            file.unlink()
        place.rmdir()
        if progress is not None:
            progress(1)
    about = {
        "QEMU": qemu_version(),
        "cluster size": format_size(size),
        "disk": format_size(capacity),
        "merges": len(rows) // 2,
        "looks": looks,
        "looks that saw it grow": between,
    }
    return Outcome("qcow2-external, merging", tuple(rows), about)


def _other(step: Operation, model: OverlayModel, files: OverlayFiles) -> None:
    if step.kind == "snapshot":
        files.snapshot()
        model.snapshot()
    else:
        files.revert(model.place(step.snapshot))
        model.revert(step.snapshot)
