"""Kernels of log-linear histograms."""

from snapsim._jit import kernel

HALF = 1 << 32


@kernel(allocates=False)
def bucket_of(value, bits):
    """Return the bucket of a value: each power of two is cut into 2^bits equal parts."""
    shift = 0
    top = value >> bits
    # the number of places beyond `bits + 1`, in six steps
    for step in (32, 16, 8, 4, 2, 1):
        if top >> step:
            top >>= step
            shift += step
    if value >> bits == 0:
        return value
    return ((shift + 1) << bits) + ((value >> shift) - (1 << bits))


@kernel(allocates=False)
def record(counts, sums, values, bits):
    """Count values; add to their sum, kept in two halves that cannot overflow."""
    for i in range(values.shape[0]):
        value = values[i]
        counts[bucket_of(value, bits)] += 1
        sums[0] += value >> 32
        sums[1] += value & (HALF - 1)
