"""Volumes that a trace names by numbers or texts, one for each request."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from snapsim.traces.readers.base import ReadLog
from snapsim.types import Int64Array


def volume_codes(log: ReadLog, keys: Int64Array, name: Callable[[int], str]) -> npt.NDArray[np.int32]:
    """Give each request the code of its volume; volumes are numbered in the order in which they first occur.

    Parameters
    ----------
    log : ReadLog
        Gives out the codes.
    keys : integer array, shape (n,)
        What tells the volumes apart.
    name : callable
        A key's volume name; called once for each different key.

    Returns
    -------
    int32 array, shape (n,)
        The codes.
    """
    different: Any = np.unique(keys, return_index=True, return_inverse=True)
    values, first, inverse = different
    order = np.argsort(first)
    codes = np.empty(len(values), np.int32)
    codes[order] = log.volume_codes(name(key) for key in values[order].tolist())
    every: npt.NDArray[np.int32] = codes[inverse]
    return every
