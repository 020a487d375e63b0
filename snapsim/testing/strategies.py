"""Hypothesis strategies: small traces that reach the corners, instants, and sets of snapshots."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from snapsim.engine.lifetimes import Counting
from snapsim.types import DISCARD, FLUSH, READ, WRITE, WRITE_ZEROES, Batch, Int64Array

__all__ = ["Step", "Volume", "batches", "countings", "existences", "instants", "steps", "volumes"]

_SECTOR = 512
_LONGEST = 200
_LARGE = 3 * 4096 * 4096 + 12 * 4096  # a little more than three leaves of blocks of 4 KiB


class Volume(NamedTuple):
    """A volume and what happens to it.

    Attributes
    ----------
    capacity : int
        [bytes]
    requests : Batch
        In time order, inside the volume.
    """

    capacity: int
    requests: Batch


@st.composite
def volumes(
    draw: st.DrawFn,
    *,
    max_requests: int = 40,
    ops: tuple[int, ...] = (READ, WRITE, DISCARD, WRITE_ZEROES, FLUSH),
    large: bool | None = None,
) -> Volume:
    """Draw a small volume whose requests overlap, touch the edges and cover whole blocks or parts of them.

    Now and then (always, never) it is `large`: several leaves of the block table, requests that span them.
    """
    units = ((1, _SECTOR, 4096) * 5 if not large else ()) + ((_LARGE // 12,) if large is not False else ())
    unit = draw(st.sampled_from(units))
    size = draw(st.integers(1, 12 if unit > 4096 else 24)) * unit
    n = draw(st.integers(0, max_requests))
    time = np.sort(np.array(draw(st.lists(st.integers(0, _LONGEST), min_size=n, max_size=n)), dtype=np.int64))
    op = np.array(draw(st.lists(st.sampled_from(ops), min_size=n, max_size=n)), dtype=np.uint8)
    places = draw(st.lists(st.tuples(st.integers(0, size - 1), st.integers(1, size)), min_size=n, max_size=n))
    offset = np.array([place for place, _ in places], dtype=np.int64)
    length = np.array([min(count, size - place) for place, count in places], dtype=np.int64)
    length[op == FLUSH] = 0
    return Volume(size, Batch(time, op, offset, length))


def batches(requests: Batch, cuts: list[int]) -> list[Batch]:
    """Cut requests into batches at the given places."""
    edges = [0, *sorted({min(cut, len(requests.time_ns)) for cut in cuts}), len(requests.time_ns)]
    columns = requests[:4]
    return [Batch(*(column[low:high] for column in columns)) for low, high in pairwise(edges)]  # type: ignore[arg-type]


def instants(*, max_size: int = 10) -> st.SearchStrategy[Int64Array]:
    """Draw increasing instants, some before the first and some after the last request."""
    points = st.lists(st.integers(-10, _LONGEST + 10), min_size=1, max_size=max_size, unique=True)
    return points.map(lambda values: np.array(sorted(values), dtype=np.int64))


@st.composite
def countings(draw: st.DrawFn, *, capacity: int) -> Counting:
    """Draw a way of counting that suits a volume, block sizes that are no power of two included."""
    extent = st.tuples(st.integers(0, capacity - 1), st.integers(0, capacity)).map(
        lambda pair: (pair[0], min(pair[1], capacity - pair[0]))
    )
    if capacity > _LARGE // 12:
        sizes: tuple[int, ...] = (4096, 65536, 5000)
    else:
        sizes = (512, 1000, 4096, 65536) if capacity > 1000 else (1, 2, 3, 4)
    return Counting(
        block_size=draw(st.sampled_from(sizes)),
        initial=draw(
            st.sampled_from(("thick", "thin", "read-first")) | st.lists(extent, max_size=3).map(tuple)
        ),
        discard=draw(st.sampled_from(("death", "ignore", "touch"))),
        zeroes=draw(st.sampled_from(("write", "death", "touch"))),
        grain=draw(st.sampled_from((1, 3, 4096))),
    )


@st.composite
def existences(draw: st.DrawFn, *, n_instants: int) -> tuple[Int64Array, Int64Array]:
    """Draw snapshots that come and go: instants of creation and of deletion (n_instants: kept).

    One may be deleted at the very instant at which it was taken.
    """
    created = np.array(sorted(draw(st.sets(st.integers(0, n_instants - 1)))), dtype=np.int64)
    deleted = np.array([draw(st.integers(int(one), n_instants)) for one in created], dtype=np.int64)
    return created, deleted


class Step(NamedTuple):
    """One step in the life of a chain.

    Attributes
    ----------
    kind : str
        "requests", "snapshot", "commit" and "stream" (both delete), "revert" or "flatten".
    pick : int
        Chooses among the snapshots that exist, modulo their number; where none does, the step is left out.
    requests : Batch
        Empty unless `kind` is "requests".
    """

    kind: str
    pick: int
    requests: Batch


@st.composite
def steps(draw: st.DrawFn, *, requests: Batch, reverts: bool = True, max_steps: int = 16) -> list[Step]:
    """Draw operations on snapshots between the requests of a volume."""
    kinds = ["snapshot", "snapshot", "snapshot", "commit", "stream", "flatten"]
    kinds += ["revert", "revert"] if reverts else []
    n = len(requests.time_ns)
    operation = st.tuples(st.integers(0, n), st.sampled_from(kinds), st.integers(0, 7))
    operations = sorted(draw(st.lists(operation, max_size=max_steps)), key=lambda one: one[0])
    edges = [0, *(at for at, _, _ in operations), n]
    pieces = [Batch(*(column[low:high] for column in requests[:4])) for low, high in pairwise(edges)]  # type: ignore[arg-type]
    nothing = Batch(*(column[:0] for column in requests[:4]))  # type: ignore[arg-type]
    life = [Step("requests", 0, pieces[0])]
    for piece, (_, kind, pick) in zip(pieces[1:], operations, strict=True):
        life += [Step(kind, pick, nothing), Step("requests", 0, piece)]
    return life
