"""Pool rules: what the storage below a mechanism adds, limits or refuses, each formula with its source."""

import numpy as np
import numpy.typing as npt

from snapsim.types import Int64Array

_KIB = 1 << 10
_MIB = 1 << 20
_GIB = 1 << 30

THIN_METADATA_MAX = 255 * (16384 - 64) * 4 * _KIB
"""Most metadata that a dm-thin pool can use: 255 index entries, 16,320 blocks of 4 KiB each.  [bytes]"""


def raidz_bytes(block_size: int, *, ashift: int, width: int, parity: int) -> int:
    """Return what one block takes on a raidz vdev, parity and padding included.

    ceil(block / 2^ashift) data sectors, `parity` sectors for each started stripe of width - parity, rounded
    up to a multiple of parity + 1 (OpenZFS, vdev_raidz_asize).

    Parameters
    ----------
    block_size : int
        Size of the block as it is written, after compression.  [bytes]
    ashift : int
        Binary logarithm of the sector size.
    width : int
        Disks in the vdev; 0 for a mirror or a single disk, which adds only the rounding to sectors.
    parity : int
        1, 2 or 3.

    Returns
    -------
    int
        [bytes]

    Examples
    --------
    >>> raidz_bytes(8192, ashift=12, width=6, parity=2), raidz_bytes(131072, ashift=12, width=6, parity=2)
    (24576, 196608)
    """
    sectors = _ceil(block_size, 1 << ashift)
    if width:
        sectors += parity * _ceil(sectors, width - parity)
        sectors = _ceil(sectors, parity + 1) * (parity + 1)
    return sectors << ashift


def zvol_refreservation(volume_size: int, *, block_size: int, copies: int = 1) -> int:
    """Return the refreservation of a thick zvol on a pool without raidz.

    The volume, and 128 KiB for each of 7 + (all indirect blocks) metadata blocks, each stored copies + 1
    times, three at most (OpenZFS, zvol_volsize_to_reservation).

    Parameters
    ----------
    volume_size : int
        [bytes]
    block_size : int
        volblocksize.  [bytes]
    copies : int
        The property `copies`.

    Returns
    -------
    int
        [bytes]
    """
    blocks = volume_size // block_size
    metadata_blocks = 7
    while blocks > 1:
        blocks = _ceil(blocks, 1024)
        metadata_blocks += blocks
    return volume_size * copies + metadata_blocks * min(3, copies + 1) * (128 * _KIB)


def zfs_first_snapshot_reserve(referenced: npt.ArrayLike, *, refreservation: int) -> Int64Array:
    """Return the free pool space that a snapshot of a thick zvol needs at the moment at which it is taken.

    min(bytes that only the volume references, refreservation): after the snapshot these belong to it, and the
    reservation has to be met again from free space (OpenZFS, dsl_dataset_snapshot_reserve_space).  With less
    than that free, the snapshot fails.

    Parameters
    ----------
    referenced : int64 array
        Bytes that the volume references and no snapshot does.  [bytes]
    refreservation : int
        0 for a thin zvol, which needs nothing.  [bytes]

    Returns
    -------
    int64 array
        [bytes]
    """
    return np.minimum(np.asarray(referenced, dtype=np.int64), refreservation)


def thin_metadata_rule(pool_size: int, *, block_size: int) -> int:
    """Return the metadata device that dm-thin's documentation advises: 48 bytes per block, 2 MiB to 16 GiB.

    Parameters
    ----------
    pool_size, block_size : int
        [bytes]

    Returns
    -------
    int
        [bytes]
    """
    return min(max(48 * (pool_size // block_size), 2 * _MIB), 16 * _GIB)


def thin_metadata_full(pool_size: int, *, block_size: int, thins: int) -> int:
    """Return the metadata of a full pool, each block mapped once, as the tool `thin_metadata_size` has it.

    A node of 4 KiB for each 126 mappings (half full) and one for each thin device.

    Parameters
    ----------
    pool_size, block_size : int
        [bytes]
    thins : int
        Thin devices, snapshots included.

    Returns
    -------
    int
        [bytes]
    """
    return 4096 * (_ceil(_ceil(pool_size, block_size), 126) + thins)


def dm_snapshot_capacity(store_size: int, *, chunk_size: int) -> int:
    """Return how many chunks a dm-snapshot store of fixed size takes up before it becomes invalid.

    The largest E with chunk * (2 + floor(E / (chunk / 16)) + E) <= store.

    Parameters
    ----------
    store_size, chunk_size : int
        [bytes]

    Returns
    -------
    int
        [chunks]

    Examples
    --------
    >>> dm_snapshot_capacity(1 << 30, chunk_size=4096)
    261122
    """
    room = store_size // chunk_size - 2
    per_area = chunk_size // 16
    full_areas, rest = divmod(room, per_area + 1)
    return max(full_areas * per_area + min(rest, per_area - 1), 0)


def _ceil(value: int, unit: int) -> int:
    return -(-value // unit)
