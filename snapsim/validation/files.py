"""Drive an image file of a real file system, and its model, and compare them after every step."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from snapsim.engine.extent_chain import ExtentChain
from snapsim.types import Batch
from snapsim.units import MIB
from snapsim.validation.comparison import Row
from snapsim.validation.image_file import ImageFile, Stamps, read_stamps
from snapsim.validation.operations import REQUESTS, Operation, epochs

__all__ = ["Image", "batch", "compare", "filled"]


class Image(Protocol):
    """An image file with snapshots, which have numbers."""

    def path(self, snapshot: int | None = None) -> Path:
        """Return the file of a snapshot, or of the present."""
        ...

    def open(self) -> ImageFile:
        """Open the present for requests."""
        ...

    def snapshot(self, number: int) -> None:
        """Take a snapshot."""
        ...

    def delete(self, number: int) -> None:
        """Delete a snapshot, and wait until its space is free."""
        ...

    def revert(self, number: int) -> None:
        """Return to a snapshot; delete the newer ones."""
        ...

    def used(self) -> int:
        """Return what the data of the image and its snapshots takes on the disk.  [bytes]"""
        ...

    def mapped(self) -> int:
        """Return the blocks of the image that are no holes.  [bytes]"""
        ...


def compare(
    image: Image, model: ExtentChain, sequence: Sequence[Operation], *, capacity: int, about: str
) -> Iterator[Row]:
    """Take the steps of one sequence on both sides.

    Parameters
    ----------
    image : Image
        New and empty.
    model : ExtentChain
        The same.
    sequence : sequence of Operation
        Requests in whole sectors, and what happens to snapshots.
    capacity : int
        Size of the image.  [bytes]
    about : str
        Names the sequence in the rows.

    Yields
    ------
    Row
        All of them promise equality.
    """
    stamps = Stamps(capacity)
    numbers: dict[int, int] = {}  # the model counts reverts too
    taken = 0
    for step, (requests, then) in enumerate(epochs(sequence)):
        state = f"{about}, step {step}"
        with image.open() as file:
            for request in requests:
                file.request(request, stamps.request(request))
        model.apply(batch(requests))
        before = image.used()
        yield Row("data on the disk", "bytes", model.data_used, before, state=state)
        yield Row("data of the image", "bytes", model.mapped, image.mapped(), state=state)
        if then is None:
            break
        if then.kind == "snapshot":
            image.snapshot(taken)
            stamps.snapshot(taken)
            numbers[taken] = model.snapshot()
            taken += 1
        else:
            number = numbers[then.snapshot]
            if then.kind == "delete":
                image.delete(then.snapshot)
                del stamps.kept[then.snapshot]
                freed = model.exclusive(number)
                model.delete(number)
            else:
                image.revert(then.snapshot)
                stamps.revert(then.snapshot)
                freed = model.revert(number)
            yield Row(f"freed by {then.kind}", "bytes", freed, before - image.used(), state=state)
    for one in (None, *stamps.kept):
        due = stamps.now if one is None else stamps.kept[one]
        wrong = np.count_nonzero(read_stamps(image.path(one)) != due)
        yield Row("sectors with other contents", "count", 0, int(wrong), state=about)


def filled(sequence: Sequence[Operation], *, capacity: int, length: int = MIB) -> list[Operation]:
    """Let a sequence begin with a full image.

    Parameters
    ----------
    sequence : sequence of Operation
        What comes after that.
    capacity : int
        Size of the image.  [bytes]
    length : int
        Of the requests that fill it, and so of its extents.  [bytes]

    Returns
    -------
    list of Operation
        Longer by those requests.
    """
    offsets = range(0, capacity, length)
    return [*(Operation("write", offset, min(length, capacity - offset)) for offset in offsets), *sequence]


def batch(requests: Sequence[Operation]) -> Batch:
    """Return requests as the columns that the engine takes."""
    n = len(requests)
    return Batch(
        np.zeros(n, np.int64),
        np.array([REQUESTS[one.kind] for one in requests], np.uint8),
        np.array([one.offset for one in requests], np.int64),
        np.array([one.length for one in requests], np.int64),
    )
