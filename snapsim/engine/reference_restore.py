"""A volume that is used while it is being restored, in plain Python: the twin of `restore_order`."""

from collections.abc import Iterable, Sequence

from snapsim.types import DISCARD, FLUSH, READ, Batch

__all__ = ["ReferenceRestore"]


class ReferenceRestore:
    """What `snapsim.engine.restore_order.LazyRestore` does, readably.

    Parameters
    ----------
    order : iterable of int
        The blocks in the order in which they are restored; the others are there from the start.
    capacity, block_size : int
        [bytes]
    step_ns : sequence of int
        What each place of the order takes in the background.  [ns]
    fetch_ns : int
        What a block takes that a request waits for.  [ns]
    waits : bool
        Whether the guest waits for each request before it goes on.
    """

    def __init__(
        self,
        order: Iterable[int],
        *,
        capacity: int,
        block_size: int,
        step_ns: Sequence[int],
        fetch_ns: int,
        waits: bool,
    ) -> None:
        self.waiting = list(zip(order, step_ns, strict=True))
        self.ready: dict[int, int] = {}  # blocks of the order that are there, or on their way: since when
        self.missing = {block for block, _ in self.waiting}
        self.capacity, self.block_size = capacity, block_size
        self.fetch, self.waits = fetch_ns, waits
        self.link_free = self.delay = self.fetched = 0

    def use(self, batch: Batch) -> list[tuple[int, int, int]]:
        """Return for each request when it was made, when it was done, and the blocks that it waited for."""
        columns = (batch.time_ns, batch.op, batch.offset, batch.length)
        return [self._one(*map(int, row)) for row in zip(*columns, strict=True)]

    def complete(self) -> int:
        """Restore what is left; return when everything is there.  [ns]"""
        while self.waiting:
            self._next()
        return self.link_free

    def _next(self) -> None:
        block, step = self.waiting.pop(0)
        if block in self.missing:
            self._bring(block, self.link_free + step)

    def _bring(self, block: int, there: int) -> None:
        self.missing.discard(block)
        self.ready[block] = self.link_free = there

    def _one(self, time: int, op: int, offset: int, length: int) -> tuple[int, int, int]:
        now = time + self.delay
        while self.waiting and self.link_free < now:
            self._next()
        needed = []
        for block in range(offset // self.block_size, -(-(offset + length) // self.block_size)):
            first, last = block * self.block_size, min((block + 1) * self.block_size, self.capacity)
            if (
                op == FLUSH
                or length == 0
                or (block not in self.missing and self.ready.get(block, now) <= now)
            ):
                continue
            if op != READ and offset <= first and last <= offset + length:
                self.missing.discard(block)
                self.ready[block] = now
            elif op != DISCARD:
                needed.append(block)
        for block in needed:
            if block in self.missing:
                self._bring(block, max(self.link_free, now) + self.fetch)
                self.fetched += 1
        done = max([now, *(self.ready[block] for block in needed)])
        if self.waits:
            self.delay += done - now
        return now, done, len(needed)
