"""Requests through a chain, and the I/O on data that stands behind each of them.

Counted is what systems do with *data*: the rest of a block that is filled in from below, old contents that
are copied away, layers that a read looks through.  Tables are not counted here, and neither are places on the
disk: blocks that lie side by side in one layer count as one request.

The rules are those of QEMU's qcow2 driver (`perform_cow` in block/qcow2-cluster.c) for `fill="rest"`, of the
Linux dm-snapshot and dm-thin targets for copies.
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from snapsim.engine import replay_kernels as kernels
from snapsim.engine.chain import Chain
from snapsim.engine.chain_kernels import BLOCK, STUCK
from snapsim.engine.lifetimes import Counting
from snapsim.engine.replay_kernels import Traffic
from snapsim.errors import UsageError
from snapsim.types import Batch

__all__ = ["FILLS", "MERGE_GAP", "Replay", "Traffic"]

FILLS: Mapping[str, int] = MappingProxyType(
    {"none": kernels.FILL_NONE, "rest": kernels.FILL_REST, "whole": kernels.FILL_WHOLE}
)
"""What happens to the rest of a block that a redirected write covers in part: see `Replay`."""

MERGE_GAP = 16384
"""QEMU reads the rest before and behind new contents at once where these are not longer.  [bytes]"""


class Replay(Chain):
    """A chain that also counts the I/O behind its requests.

    Parameters
    ----------
    organisation, counting, capacity, capacity_known
        As for `Chain`.
    fill : {"rest", "whole", "none"}
        Where new contents go to a new place and cover a block in part: the rest is read from below and
        written with them (qcow2); the whole block is copied first, then written (dm-thin); or parts of
        blocks are kept track of (sector bitmaps).  Copy-on-write copies whole blocks in any case.
    merge_gap : int
        With "rest": new contents that are not longer are read over, so that the rest on both sides takes
        one read.  [bytes]

    Raises
    ------
    UsageError
        The chain cannot be, or the way of filling is not known.

    Examples
    --------
    >>> chain = Replay("overlays", Counting(block_size=65536), capacity=1 << 30)
    >>> _ = chain.snapshot()
    >>> one = Batch(np.array([0]), np.array([1], np.uint8), np.array([8192]), np.array([4096]))
    >>> first, again = chain.replay(one), chain.replay(one)
    >>> first.read_bytes.tolist(), first.written_bytes.tolist(), again.written_bytes.tolist()
    ([65536], [65536], [4096])
    """

    def __init__(
        self,
        organisation: str,
        counting: Counting,
        *,
        capacity: int,
        capacity_known: bool = True,
        fill: str = "rest",
        merge_gap: int = MERGE_GAP,
    ) -> None:
        if fill not in FILLS:
            raise UsageError(f"fill={fill!r} is not one of {', '.join(FILLS)}")
        super().__init__(organisation, counting, capacity=capacity, capacity_known=capacity_known)
        self._habits = kernels.Habits(
            redirects=int(self.organisation.redirects),
            fill=FILLS[fill],
            merge_gap=merge_gap,
            private=int(self.organisation.private),
            layered=int(self.organisation.copies_layers),
        )

    def replay(self, batch: Batch) -> Traffic:
        """Carry out requests and count the I/O behind each.

        Parameters
        ----------
        batch : Batch
            Requests of one volume, in order.

        Returns
        -------
        Traffic
            One row for each request; cutting batches elsewhere changes nothing.

        Raises
        ------
        UsageError
            A request lies outside the volume; none of the batch was carried out.
        """
        columns = self._columns(batch)
        n = len(columns[0])
        traffic = Traffic(*np.zeros((len(Traffic._fields), n), np.int64))
        between = len(self._taken) - np.searchsorted(self._taken, np.arange(-1, self.epoch + 1))
        cursor = self._state.cursor
        cursor[BLOCK] = cursor[STUCK] = 0
        done = 0
        while True:
            arrays = self._table.arrays
            done = kernels.replay_requests(
                *columns, done, self._rules, self._habits, *arrays, self.epoch, self._limit, between,
                self._state, traffic,
            )  # fmt: skip
            if done == n:
                return traffic
            self._make_room()
