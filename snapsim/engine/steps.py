"""One request or one operation on snapshots, as a value, and the steps that it takes, with what they cost.

`snapsim.engine.telling` finds the steps.
"""

from copy import deepcopy
from typing import NamedTuple

from snapsim.engine.reference_chain import ReferenceChain
from snapsim.errors import UsageError
from snapsim.types import DISCARD, READ, WRITE, WRITE_ZEROES
from snapsim.units import format_size

__all__ = ["COUNTS", "OPERATIONS", "REQUESTS", "Operation", "Step", "Steps", "carry_out", "check", "counted"]

REQUESTS = {"read": READ, "write": WRITE, "discard": DISCARD, "write-zeroes": WRITE_ZEROES}
"""Requests of a guest, with their op codes."""

OPERATIONS = ("snapshot", "delete", "revert", "flatten")
"""Operations on snapshots."""

_DIRECTIONS = ("commit", "stream")


class Operation(NamedTuple):
    """One request of the guest, or one operation on snapshots.

    Attributes
    ----------
    kind : str
        A key of `REQUESTS` or one of `OPERATIONS`.
    offset, length : int
        Of a request.  [bytes]
    snapshot : int
        The number of the snapshot that is deleted or returned to.
    how : {"commit", "stream"}
        Which of two layers is copied into the other by a deletion.
    """

    kind: str
    offset: int = 0
    length: int = 0
    snapshot: int = -1
    how: str = "commit"


class Step(NamedTuple):
    """One thing that is done.

    Attributes
    ----------
    text : str
        In words.
    action : str
        "look", "read", "copy", "fill", "write", "free", "rename" (the row `source` goes on as `target`), or
        "note" (tables change, no data moves).
    blocks : tuple of int
        Which blocks it is about.
    source, target : str
        Names of rows (`snapsim.engine.places`) between which data goes; empty where it comes from or goes
        to the guest.
    looked : tuple of str
        The layers that were looked into, newest first.
    reads, writes : int
        Requests to the storage below.
    read_bytes, written_bytes : int
        What they move.  [bytes]
    lookups : int
        Layers looked into, summed over blocks.
    copied_blocks : int
        Blocks whose old contents were copied or filled in.
    freed_blocks : int
        Blocks given back.
    """

    text: str
    action: str
    blocks: tuple[int, ...] = ()
    source: str = ""
    target: str = ""
    looked: tuple[str, ...] = ()
    reads: int = 0
    writes: int = 0
    read_bytes: int = 0
    written_bytes: int = 0
    lookups: int = 0
    copied_blocks: int = 0
    freed_blocks: int = 0


COUNTS = ("reads", "writes", "read_bytes", "written_bytes", "lookups", "copied_blocks", "freed_blocks")


class Steps(tuple[Step, ...]):
    """Steps in their order; shown as a numbered list with what they cost together."""

    __slots__ = ()

    def total(self) -> dict[str, int]:
        """Add up what the steps cost.

        Returns
        -------
        dict of str to int
            By the names of `Step`'s counts; bytes in bytes.
        """
        return {name: sum(getattr(step, name) for step in self) for name in COUNTS}

    def __repr__(self) -> str:
        """Return the steps as a numbered list."""
        lines = [f"{number}. {step.text}" for number, step in enumerate(self, 1)]
        return "\n".join([*lines, self._sum()])

    def _sum(self) -> str:
        total = self.total()
        parts = [
            f"{counted(total['reads'], 'read')} of {format_size(total['read_bytes'])}",
            f"{counted(total['writes'], 'write')} of {format_size(total['written_bytes'])}",
            f"{counted(total['copied_blocks'], 'block')} copied",
        ]
        parts += [counted(total["lookups"], "look-up")] if total["lookups"] else []
        parts += [f"{counted(total['freed_blocks'], 'block')} freed"] if total["freed_blocks"] else []
        return f"= {', '.join(parts)}"


def carry_out(chain: ReferenceChain, operation: Operation) -> ReferenceChain:
    """Return the chain that an operation leads to; the one given stays as it is.

    Parameters
    ----------
    chain : ReferenceChain
        As it is before.
    operation : Operation
        What is done.

    Returns
    -------
    ReferenceChain
        Another one.

    Raises
    ------
    UsageError
        There is no such operation, place or snapshot.
    """
    check(chain, operation)
    after = deepcopy(chain)
    if operation.kind in REQUESTS:
        after.request(0, REQUESTS[operation.kind], operation.offset, operation.length)
    elif operation.kind in {"delete", "revert"}:
        getattr(after, operation.kind)(operation.snapshot)
    else:
        getattr(after, operation.kind)()
    return after


def check(chain: ReferenceChain, operation: Operation) -> None:
    """Refuse what cannot be done.

    Parameters
    ----------
    chain : ReferenceChain
        As it is before.
    operation : Operation
        What is asked for.

    Raises
    ------
    UsageError
        There is no such operation, place, snapshot or way.
    """
    kind, offset, length, snapshot, how = operation
    if kind not in REQUESTS and kind not in OPERATIONS:
        raise UsageError(f"{kind!r} is not one of {', '.join((*REQUESTS, *OPERATIONS))}")
    if kind in REQUESTS and (length < 0 or offset < 0 or offset + length > chain.capacity):
        raise UsageError(
            f"bytes {offset} to {offset + length} lie outside the volume of {format_size(chain.capacity)}"
        )
    if kind in {"delete", "revert"} and snapshot not in chain.kept:
        exist = ", ".join(map(str, chain.kept)) or "none"
        raise UsageError(f"there is no snapshot {snapshot}: those that exist are {exist}")
    if how not in _DIRECTIONS:
        raise UsageError(f"how={how!r} is not one of {', '.join(_DIRECTIONS)}")


def counted(n: int, what: str) -> str:
    """Return a number with its noun: "1 block", "2 blocks"."""
    return f"{n} {what}{'s' * (n != 1)}"
