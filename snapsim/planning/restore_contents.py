"""What the kept snapshots of a trace show, and where it lies: what a restore has to read and to write."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from snapsim.engine.chain import ABSENT_BIRTH, Chain, Contents
from snapsim.engine.copying import Pieces
from snapsim.engine.lifetimes import Counting
from snapsim.engine.restore_order import BlockReads
from snapsim.errors import UsageError
from snapsim.mechanisms import Mechanism
from snapsim.planning.instants import given
from snapsim.traces.trace import Trace
from snapsim.types import Batch, Int64Array
from snapsim.units import format_size, parse_duration

__all__ = ["States", "choose", "moment_ns", "organisation_of", "pieces", "states"]

Progress = Callable[[int, int], None]


class States(NamedTuple):
    """What was shown at several moments.

    Attributes
    ----------
    snapshots : list of Contents
        What each snapshot shows, oldest first.
    now : Contents
        What the volume shows.
    reads : BlockReads
        What was read until now.
    redirects : bool
        Whether old contents lie where they were written, not where the volume has its blocks.
    block_size, capacity : int
        [bytes]
    """

    snapshots: list[Contents]
    now: Contents
    reads: BlockReads
    redirects: bool
    block_size: int
    capacity: int

    @property
    def n_blocks(self) -> int:
        """Blocks of the volume."""
        return -(-self.capacity // self.block_size)


def moment_ns(trace: Trace, when: object) -> int:
    """Return a moment since the Unix epoch.  [ns]

    Parameters
    ----------
    trace : Trace
        From whose start durations count.
    when : str, int, datetime or Timestamp
        A duration ("90min") counts from the trace's start; whole numbers are nanoseconds since the Unix
        epoch; ISO 8601 text and points in time are UTC unless they say otherwise.

    Returns
    -------
    int
        [ns]

    Raises
    ------
    UsageError
        It cannot be read.
    """
    if isinstance(when, str) and not when[:4].isdigit():
        return trace.start_ns + parse_duration(when)
    return int(given([when])[0])


def organisation_of(mechanism: Mechanism) -> str:
    """Return how a mechanism keeps the past: a key of `ORGANISATIONS`."""
    shared = "shared-tree" if mechanism.family == "redirect-on-write" else "shared-store"
    return {"private": "private-stores", "layers": "overlays"}.get(mechanism.sharing, shared)


def states(
    trace: Trace,
    mechanism: Mechanism,
    taken_ns: Sequence[int] | Int64Array,
    now_ns: int,
    *,
    initial: str | tuple[tuple[int, int], ...] = "thick",
    block_size: int | None = None,
    progress: Progress | None = None,
) -> States:
    """Run a trace through a chain that takes the snapshots which are kept.

    Snapshots that came and went in between change nothing of what the others show.

    Parameters
    ----------
    trace : Trace
        Requests of one volume.
    mechanism : Mechanism
        How the system keeps snapshots.
    taken_ns : int64 array, shape (n_snapshots,)
        When they were taken, increasing.  [ns since the Unix epoch]
    now_ns : int
        Until when the trace is followed; not before the newest snapshot.  [ns since the Unix epoch]
    initial : str or tuple of pairs
        What exists before the trace, where the mechanism does not say.
    block_size : int, optional
        The mechanism's.  [bytes]
    progress : callable, optional
        Called with (requests done, requests in all).

    Returns
    -------
    States
        What every snapshot and the volume show.
    """
    need = mechanism.matrices(block_size)[0]
    counting = Counting(**{"initial": initial, **need.counting()})
    organisation = organisation_of(mechanism)
    chain = Chain(organisation, counting, capacity=trace.capacity, capacity_known=trace.capacity_known)
    reads = BlockReads.none()
    moments = np.append(np.asarray(taken_ns, np.int64), now_ns) - trace.start_ns
    due = passed = 0
    for batch in trace.batches():
        # a snapshot at an instant sees exactly the requests with an earlier time
        edges = np.searchsorted(batch.time_ns, moments)
        done, n = 0, len(batch.time_ns)
        while due < len(moments) and edges[due] < n:
            reads = _advance(chain, reads, _rows(batch, done, int(edges[due])))
            done, due = int(edges[due]), due + 1
            if due < len(moments):
                chain.snapshot()
        if due == len(moments):
            break
        reads = _advance(chain, reads, _rows(batch, done, n))
        passed += n
        if progress is not None:
            progress(passed, len(trace))
    for _ in range(len(moments) - 1 - due):
        chain.snapshot()
    return States(
        [chain.contents(number) for number in chain.snapshots],
        chain.contents(),
        reads,
        chain.organisation.redirects,
        counting.block_size,
        trace.capacity,
    )


def _advance(chain: Chain, reads: BlockReads, batch: Batch) -> BlockReads:
    chain.apply(batch)
    return reads.add(batch, chain.counting.block_size)


def _rows(batch: Batch, low: int, high: int) -> Batch:
    return Batch(*(column[low:high] for column in batch[:4]))  # type: ignore[arg-type]


def choose(state: States, part: str | Sequence[tuple[int, int]]) -> tuple[Int64Array, str]:
    """Return the blocks of a partial restore.

    Parameters
    ----------
    state : States
        What was read until now.
    part : str or sequence of pairs
        The hottest share of the volume ("10%"), or offsets and lengths.  [bytes]

    Returns
    -------
    blocks : int64 array
        Increasing.
    text : str
        What was chosen.

    Raises
    ------
    UsageError
        It is neither, or lies outside the volume.
    """
    if isinstance(part, str):
        share = _percent(part)
        wanted = max(int(state.n_blocks * share / 100), 1)
        hottest = np.sort(state.reads.hottest()[:wanted])
        return hottest, f"the {part.strip()} of the volume that were read most"
    extents = np.asarray(list(part))
    if extents.ndim != 2 or extents.shape[1] != 2 or extents.dtype.kind not in "iu":
        raise UsageError('part is neither a share such as "10%" nor pairs of whole offsets and lengths')
    offset, length = extents.astype(np.int64).T
    if np.any(offset < 0) or np.any(length < 1) or np.any(length > state.capacity - offset):
        raise UsageError(
            f"part holds an extent that is empty or outside the volume of {format_size(state.capacity)}"
        )
    first, stop = offset // state.block_size, (offset + length - 1) // state.block_size + 1
    blocks = np.unique(np.concatenate([np.arange(a, b) for a, b in zip(first, stop, strict=True)]))
    return blocks, f"{format_size(len(blocks) * state.block_size)} that were asked for"


def _percent(part: str) -> float:
    text = part.strip()
    try:
        share = float(text.removesuffix("%"))
    except ValueError:
        share = 0.0
    if not text.endswith("%") or not 0 < share <= 100:
        raise UsageError(f'part={part!r} is no share: write it like "10%", above 0% and at most 100%')
    return share


def _birth_at(contents: Contents, blocks: Int64Array) -> Int64Array:
    return contents.birth[np.searchsorted(contents.first, blocks, side="right") - 1]


def pieces(
    state: States, contents: Contents, *, base: Contents | None = None, only: Int64Array | None = None
) -> tuple[Pieces, int]:
    """Return what a restore copies, and what it has to let go.

    Blocks that the volume still shows lie in place where old contents are copied away; elsewhere what was
    written between two snapshots lies together, in order of address.

    Parameters
    ----------
    state : States
        What the volume shows, to know what lies where.
    contents : Contents
        What is restored.
    base : Contents, optional
        What is there already: only what differs is copied.
    only : int64 array, optional
        Only these blocks.

    Returns
    -------
    pieces : Pieces
        Runs of blocks that are read and written in one go.
    discarded : int
        Content of the base where the snapshot shows none.  [bytes]
    """
    size = state.block_size
    cuts = [contents.first, state.now.first]
    cuts += [] if base is None else [base.first]
    cuts += [] if only is None else [_edges(only)]
    first = _merged(cuts)
    first = first[first < state.n_blocks]
    stop = np.append(first[1:], state.n_blocks)[: len(first)]
    birth = _birth_at(contents, first)
    chosen = np.ones(len(first), np.bool_)
    discarded = 0
    if only is not None:
        place = np.searchsorted(only, first)
        chosen &= (place < len(only)) & (np.append(only, -1)[place] == first)
    if base is not None:
        there = _birth_at(base, first)
        gone = chosen & (birth == ABSENT_BIRTH) & (there != ABSENT_BIRTH)
        discarded = _bytes(first[gone], stop[gone], state)
        chosen &= birth != there
    full = birth != ABSENT_BIRTH
    store = birth if state.redirects else np.where(birth == _birth_at(state.now, first), -1, birth + 1)
    source = first.copy()
    away = np.flatnonzero(full & (store >= 0))
    order = away[np.argsort(store[away], kind="stable")]
    sizes = (stop - first)[order]
    source[order] = state.n_blocks + np.cumsum(sizes) - sizes
    chosen &= full
    low, high, origin = (each[chosen] * size for each in (first, stop, source))
    length = np.minimum(high, state.capacity) - low
    return _joined(Pieces(origin, low, length)), discarded


def _merged(parts: Sequence[Int64Array]) -> Int64Array:
    """Return sorted arrays as one, each value once: a stable sort merges them, hashing them is slower."""
    every: Int64Array = np.sort(np.concatenate(parts), kind="stable")
    begins = np.append(True, every[1:] != every[:-1])[: len(every)]
    merged: Int64Array = every[begins]
    return merged


def _edges(blocks: Int64Array) -> Int64Array:
    """Return where runs of blocks begin and end."""
    return np.setxor1d(blocks, blocks + 1)


def _bytes(first: Int64Array, stop: Int64Array, state: States) -> int:
    ends = np.minimum(stop * state.block_size, state.capacity)
    return int((ends - first * state.block_size).sum())


def _joined(parts: Pieces) -> Pieces:
    if len(parts.length) == 0:
        return parts
    ends = [place[:-1] + parts.length[:-1] for place in (parts.source, parts.target)]
    begins = np.append(True, (parts.source[1:] != ends[0]) | (parts.target[1:] != ends[1]))
    starts = np.flatnonzero(begins)
    return Pieces(parts.source[starts], parts.target[starts], np.add.reduceat(parts.length, starts))
