"""Kernels that note an operation on the storage below: in the counts of a request and in a device's work."""

import numpy as np

from snapsim._jit import kernel

# places in the counts of one request; the first ones are the fields of `Traffic`, in order
READS, WRITES, READ_BYTES, WRITTEN_BYTES, COPIED, LOOKUPS = 0, 1, 2, 3, 4, 5
TABLE_READS, TABLE_WRITES, TABLE_READ_BYTES, TABLE_WRITTEN_BYTES, FLUSHES = 6, 7, 8, 9, 10
N_FIELDS = 11
STAGE, N_OPS = 11, 12
# kept from request to request: whether something was written since the last flush, and whether a flush is
# left out where nothing was (QEMU's `bdrv_co_flush` compares the numbers of writes)
WRITTEN, SKIPS = 13, 14
N_COUNTS = 15

READ_OP, WRITE_OP, FLUSH_OP = 0, 1, 4
KIND, PLACE, LENGTH, IN_STAGE = 0, 1, 2, 3


@kernel(allocates=False)
def put(counts, ops, kind, place, length):
    """Append an operation to a device's work, where that is wanted."""
    if ops.shape[0] > 0:
        n = counts[N_OPS]
        ops[n, KIND] = kind
        ops[n, PLACE] = place
        ops[n, LENGTH] = length
        ops[n, IN_STAGE] = counts[STAGE]
        counts[N_OPS] = n + 1


@kernel(allocates=False)
def step(counts):
    """Let what follows wait for what was put before."""
    counts[STAGE] += np.int64(1)


@kernel(allocates=False)
def read_table(counts, ops, place, length):
    """Read a part of a table, and wait for it."""
    counts[TABLE_READS] += 1
    counts[TABLE_READ_BYTES] += length
    put(counts, ops, READ_OP, place, length)
    step(counts)


@kernel(allocates=False)
def write_table(counts, ops, place, length):
    """Write a part of a table."""
    counts[WRITTEN] = 1
    counts[TABLE_WRITES] += 1
    counts[TABLE_WRITTEN_BYTES] += length
    put(counts, ops, WRITE_OP, place, length)


@kernel(allocates=False)
def flush(counts, ops):
    """Let the device make durable what was written."""
    if counts[SKIPS] != 0 and counts[WRITTEN] == 0:
        return
    counts[WRITTEN] = 0
    step(counts)
    counts[FLUSHES] += 1
    put(counts, ops, FLUSH_OP, 0, 0)
    step(counts)
