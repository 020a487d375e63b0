"""How a qcow2 file is laid out: integer formulas for the clusters in use and the file's length.

They follow QEMU's allocator (block/qcow2-refcount.c, qcow2-cluster.c, qcow2-snapshot.c) and are compared with
real images, byte for byte, in `tests/integration/test_qcow2_space.py`.  All work on arrays: over layers or
over time.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from snapsim.types import Int64Array

_TABLE_ENTRY = 8  # bytes of an L1 and of a refcount table entry
_LARGEST_FILE = 2**62


class Refcounts(NamedTuple):
    """What counts the references in a qcow2 file.

    Attributes
    ----------
    blocks : int64 array
        Refcount blocks.  [clusters]
    table : int64 array
        The refcount table.  [clusters]
    reserved : int64 array
        End of the area that QEMU set up when it last made the table longer; the file is at least so long.
        [clusters]
    """

    blocks: Int64Array
    table: Int64Array
    reserved: Int64Array


@dataclass(frozen=True, kw_only=True)
class Qcow2Layout:
    """The parameters of a qcow2 file and what follows from them.

    Attributes
    ----------
    cluster_size : int
        [bytes]
    virtual_size : int
        Size of the disk.  [bytes]
    extended_l2 : bool
        L2 entries have 16 bytes and describe 32 subclusters each.
    refcount_bits : int
        Width of a refcount.  [bit]
    name_bytes : int
        Length of an internal snapshot's name.  [bytes]

    Examples
    --------
    >>> layout = Qcow2Layout(cluster_size=65536, virtual_size=256 << 20)
    >>> layout.overlay_bytes([0, 1, 2], [0, 1, 1]).tolist()
    [196616, 393216, 458752]
    """

    cluster_size: int
    virtual_size: int
    extended_l2: bool = False
    refcount_bits: int = 16
    name_bytes: int = 40

    @property
    def l2_range(self) -> int:
        """The part of the disk that one L2 table, a cluster of entries, describes.  [bytes]"""
        return self.cluster_size * (self.cluster_size // (16 if self.extended_l2 else 8))

    @property
    def l1_bytes(self) -> int:
        """The L1 table: 8 bytes for each L2 table that the disk can have.  [bytes]"""
        return -(-self.virtual_size // self.l2_range) * _TABLE_ENTRY

    @property
    def l1_clusters(self) -> int:
        """The L1 table.  [clusters]"""
        return -(-self.l1_bytes // self.cluster_size)

    # --- refcounts
    # --------------------------------------------------------------------------------------------

    @property
    def _per_block(self) -> int:
        """Clusters that one refcount block describes."""
        return self.cluster_size * 8 // self.refcount_bits

    @property
    def _per_table_cluster(self) -> int:
        """Refcount blocks that one cluster of the table names."""
        return self.cluster_size // _TABLE_ENTRY

    @cached_property
    def _steps(self) -> Int64Array:
        """How the table grows; rows: clusters up to which the step holds, table, least blocks, reserved.

        When the first block that no table entry can name is needed, QEMU starts a new area at the next border
        of
        a block's range: blocks that describe the area itself, then a table that is half as long again as
        needed
        (`qcow2_refcount_area`).  The old table becomes free and is used again.
        """
        table, blocks, reserved = 1, 1, 0
        rows: list[tuple[int, int, int, int]] = []
        while not rows or rows[-1][0] * self.cluster_size < _LARGEST_FILE:
            named = table * self._per_table_cluster
            rows.append((named * (self._per_block - 1) - table, table, blocks, reserved))
            start = (named + 1) * self._per_block
            blocks = self._blocks_for(start)
            table = -(-(blocks + -(-blocks // 2)) // self._per_table_cluster)
            reserved = start + blocks - (named + 1) + table
        return np.array(rows, dtype=np.int64).T

    def _blocks_for(self, clusters: int) -> int:
        """Count blocks for `clusters`, themselves and a generous table (`qcow2_refcount_metadata_size`)."""
        generous = True
        table = blocks = total = 0
        while True:
            before = total
            blocks = -(-(clusters + table + blocks) // self._per_block)
            table = -(-blocks // self._per_table_cluster)
            total = clusters + blocks + table
            if total == before:
                if not generous:
                    return blocks
                clusters += -(-table // 2)
                total, generous = 0, False

    def refcounts(self, clusters: npt.ArrayLike) -> Refcounts:
        """Return the refcount structures of a file that has only ever grown.

        The smallest r with r * (8 * cluster_size / refcount_bits) >= clusters + table + r: refcount blocks
        count
        themselves and the table.  With 16 bits the table stays one cluster up to cluster_size^3 / 16 bytes of
        file
        (4 GiB at 4 KiB clusters, 16 TiB at 64 KiB).

        Parameters
        ----------
        clusters : int64 array
            Clusters in use, refcount structures left out.  [clusters]

        Returns
        -------
        Refcounts
            In the shape of `clusters`.

        Examples
        --------
        >>> layout = Qcow2Layout(cluster_size=65536, virtual_size=1 << 40)
        >>> layout.refcounts([2, 32766, 32767]).blocks.tolist()
        [1, 1, 2]
        """
        used = np.asarray(clusters, dtype=np.int64)
        limits, tables, least, ends = self._steps
        step = np.searchsorted(limits, used)
        blocks = -(-(used + tables[step]) // (self._per_block - 1))
        return Refcounts(np.maximum(blocks, least[step]), tables[step], ends[step])

    # --- one file without internal snapshots
    # --------------------------------------------------------------------

    def payload(self, data_clusters: npt.ArrayLike, l2_tables: npt.ArrayLike) -> Int64Array:
        """Return header + L1 + L2 tables + data: what the refcount structures describe besides themselves.

        Parameters
        ----------
        data_clusters : int64 array
            Distinct clusters that hold data.  [clusters]
        l2_tables : int64 array
            Distinct L2 ranges touched; zeroed and discarded clusters need an entry too.  [clusters]

        Returns
        -------
        int64 array
            In the shape of the counts.  [clusters]
        """
        counts = np.asarray(data_clusters, dtype=np.int64) + np.asarray(l2_tables, dtype=np.int64)
        return counts + 1 + self.l1_clusters

    def overlay_clusters(self, data_clusters: npt.ArrayLike, l2_tables: npt.ArrayLike) -> Int64Array:
        """Return the clusters in use in an overlay, or any image without internal snapshots.

        Parameters
        ----------
        data_clusters, l2_tables : int64 array
            As in `payload`.

        Returns
        -------
        int64 array
            header + refcount table + refcount blocks + L1 + L2 tables + data.  [clusters]
        """
        used = self.payload(data_clusters, l2_tables)
        refcounts = self.refcounts(used)
        return used + refcounts.table + refcounts.blocks

    def overlay_bytes(self, data_clusters: npt.ArrayLike, l2_tables: npt.ArrayLike) -> Int64Array:
        """Return the length of an overlay's file.

        Clusters in use times their size: QEMU's allocator leaves no holes as long as nothing is freed.  A
        layer
        that nothing was written to ends with its L1 table, cut off in the middle of a cluster.

        Freed clusters are used again but the file does not get shorter, so after discards, or when a cluster
        that
        held data is zeroed, the real length lies at the high-water mark.  When the refcount table has to grow
        (see `refcounts`), QEMU leaves room that it fills in later; requests longer than a cluster may then
        leave a
        hole as long as the old table until the image is opened the next time.

        Parameters
        ----------
        data_clusters, l2_tables : int64 array
            As in `payload`.

        Returns
        -------
        int64 array
            In the shape of the counts.  [bytes]
        """
        used = self.payload(data_clusters, l2_tables)
        refcounts = self.refcounts(used)
        length = np.maximum(used + refcounts.table + refcounts.blocks, refcounts.reserved) * self.cluster_size
        # the first refcount block is written before the L1 table, any further one after it
        empty = (used == 1 + self.l1_clusters) & (refcounts.blocks == 1)
        return np.where(empty, 3 * self.cluster_size + self.l1_bytes, length)

    # --- internal snapshots
    # ---------------------------------------------------------------------------------------

    def snapshot_table_bytes(self, snapshots: npt.ArrayLike, *, id_bytes: int = 5) -> Int64Array:
        """Return the size of the table of internal snapshots.

        Each entry has a header of 40 bytes, 24 bytes of extra data, the id (a decimal number) and the name,
        and
        starts at a multiple of 8 bytes.

        Parameters
        ----------
        snapshots : int64 array
            Snapshots that exist.
        id_bytes : int
            Digits of an id.  [bytes]

        Returns
        -------
        int64 array
            [bytes]
        """
        number = np.asarray(snapshots, dtype=np.int64)
        entry = 40 + 24 + id_bytes + self.name_bytes
        return np.where(number > 0, (number - 1) * (-(-entry // 8) * 8) + entry, 0)

    def internal_payload(
        self, data_clusters: npt.ArrayLike, l2_tables: npt.ArrayLike, *, snapshots: npt.ArrayLike
    ) -> Int64Array:
        """Return the clusters in use in an image with internal snapshots, refcount structures left out.

        QEMU never frees a refcount block: `refcounts` has to be given the running maximum of this.  Requests
        longer
        than a cluster skip holes that deletions left, and then the file has one more block now and then.

        Parameters
        ----------
        data_clusters : int64 array
            Distinct versions of clusters, live and in snapshots.  [clusters]
        l2_tables : int64 array
            Distinct versions of L2 tables: the first change in a table's range after a snapshot copies the
            table.
            [clusters]
        snapshots : int64 array
            Snapshots that exist; each has an L1 table.

        Returns
        -------
        int64 array
            In the shape of the counts.  [clusters]
        """
        table = -(-self.snapshot_table_bytes(snapshots) // self.cluster_size)
        l1_copies = np.asarray(snapshots, dtype=np.int64) * self.l1_clusters
        return self.payload(data_clusters, l2_tables) + l1_copies + table
