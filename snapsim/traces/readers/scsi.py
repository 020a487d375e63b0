"""What SCSI commands do to a disk, as far as a trace of commands without their data can tell."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from snapsim.traces.readers.base import ReadLog
from snapsim.types import DISCARD, FLUSH, READ, WRITE, WRITE_ZEROES, Int64Array, UInt8Array

SECTOR = 512

# SBC-4: READ (6, 10, 16, 12), WRITE, WRITE AND VERIFY, WRITE SAME (10, 16), UNMAP, SYNCHRONIZE CACHE
OPS: Mapping[int, int] = {
    **dict.fromkeys((0x08, 0x28, 0x88, 0xA8), READ),
    **dict.fromkeys((0x0A, 0x2A, 0x8A, 0xAA, 0x2E, 0x8E, 0xAE), WRITE),
    **dict.fromkeys((0x41, 0x93), WRITE_ZEROES),
    0x42: DISCARD,
    **dict.fromkeys((0x35, 0x91), FLUSH),
}
"""Op code of each command that moves data, frees blocks or flushes."""


def known_extents(op: UInt8Array, length: Int64Array, log: ReadLog) -> npt.NDArray[np.bool_]:
    """Tell which requests are to be kept; report what had to be left out or assumed.

    An UNMAP lists its extents in the data that it sends: a record holds an extent only when its length is in
    whole sectors.

    Parameters
    ----------
    op : uint8 array, shape (n,)
        Op codes.
    length : int64 array, shape (n,)
        As the trace has them.  [bytes]
    log : ReadLog
        Takes what was left out and what was assumed.

    Returns
    -------
    bool array, shape (n,)
        False for each UNMAP of unknown extent.
    """
    unknown: npt.NDArray[np.bool_] = (op == DISCARD) & ((length == 0) | (length % SECTOR != 0))
    if unknown.any():
        log.skip(int(unknown.sum()), "UNMAP without its extent")
        log.note("UNMAP commands are left out, as the trace does not tell what they freed")
    if (op == WRITE_ZEROES).any():
        log.note("WRITE SAME commands are taken as writes of zeroes: the trace does not tell what they wrote")
    return ~unknown
