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
    """By how much files grow, and how often that was looked at."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = list(files)
        self._space = self._extents()
        self._looks = [self._status()]
        self.space = 0

    def __call__(self, *, last: bool) -> None:
        """Look at them; when the job has ended, more closely."""
        self._looks.append(self._status())
        if last:
            most = max(blocks for _, blocks in self._looks)
            self.space = self._extents() + (most - self._looks[-1][1]) - self._space

    @property
    def length(self) -> int:
        """By how much they were longer at most.  [bytes]"""
        return max(length for length, _ in self._looks) - self._looks[0][0]

    @property
    def looks(self) -> int:
        """How often it looked."""
        return len(self._looks) - 1

    @property
    def between(self) -> int:
        """How many looks met the job half-way."""
        before = self._looks[0][0]
        return sum(0 < length - before < self.length for length, _ in self._looks)

    def _status(self) -> tuple[int, int]:
        found = [file.stat() for file in self._files]
        return sum(one.st_size for one in found), 512 * sum(one.st_blocks for one in found)

    def _extents(self) -> int:
        """Return what they take, without the blocks in which the file system notes where that is.  [bytes]"""
        return union_bytes(np.concatenate([physical_extents(file) for file in self._files]))


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
                rows += [
                    Row("extra length while merging", "bytes", growth.length, watch.length, state=state),
                    Row("extra space while merging", "bytes", growth.space, watch.space, state=state),
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
