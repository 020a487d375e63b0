"""Zipf-distributed ranks over any number of items, and a random order of the items that needs no table."""

import numpy as np
import numpy.typing as npt

from snapsim.types import Int64Array

UInt64Array = npt.NDArray[np.uint64]


def draw_ranks(rng: np.random.Generator, n: int, *, items: int, theta: float) -> Int64Array:
    """Draw ranks whose probability is proportional to rank to the power -theta.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    n : int
        How many.
    items : int
        Ranks are 1 to `items`.
    theta : float
        Exponent, more than 0; 1 and more are fine, because the number of items is finite.

    Returns
    -------
    int64 array, shape (n,)
        Independent ranks.

    Notes
    -----
    Rejection-inversion (W. Hörmann and G. Derflinger, "Rejection-inversion to generate variates from
    monotone discrete distributions", ACM TOMACS 6(3), 1996): invert the integral of the density, round, and
    reject the little that rounding added.  Time and memory do not depend on the number of items.
    """
    below, above = _integral(np.array([1.5, items + 0.5]), theta)
    low = below - 1.0
    # ranks this close above the inverted point lie under the density for certain
    sure = 2.0 - _inverse(_integral(np.array([2.5]), theta) - 2.0**-theta, theta)[0]
    ranks = np.empty(n, np.int64)
    open_ = np.arange(n)
    while open_.size:
        level = above + rng.random(open_.size) * (low - above)
        point = _inverse(level, theta)
        rank = np.clip(np.rint(point), 1, items)
        good = (rank - point <= sure) | (level >= _integral(rank + 0.5, theta) - rank**-theta)
        ranks[open_[good]] = rank[good]
        open_ = open_[~good]
    return ranks


class Permutation:
    """A random order of 0 .. items-1, computed item by item.

    Parameters
    ----------
    items : int
        How many there are, up to 2^62.
    seed : numpy.random.SeedSequence
        Picks the order.

    Notes
    -----
    A Feistel network of four rounds permutes the next power of four; a result beyond the last item is
    put through again until it is not (cycle walking: J. Black and P. Rogaway, "Ciphers with arbitrary finite
    domains", CT-RSA 2002).
    """

    def __init__(self, items: int, seed: np.random.SeedSequence) -> None:
        self._items = items
        self._half = np.uint64(max(1, ((items - 1).bit_length() + 1) // 2))
        self._mask = np.uint64((1 << int(self._half)) - 1)
        self._keys = seed.generate_state(4, np.uint64)

    def __call__(self, item: Int64Array) -> Int64Array:
        """Return where each item comes in the order."""
        value = self._encrypt(item.astype(np.uint64))
        while (beyond := np.flatnonzero(value >= self._items)).size:
            value[beyond] = self._encrypt(value[beyond])
        return value.astype(np.int64)

    def _encrypt(self, value: UInt64Array) -> UInt64Array:
        left, right = value >> self._half, value & self._mask
        for key in self._keys:
            left, right = right, left ^ (_mix(right ^ key) & self._mask)
        result: UInt64Array = (left << self._half) | right
        return result


def _mix(value: UInt64Array) -> UInt64Array:
    """Spread each bit over the word (the finaliser of SplitMix64; multiplication wraps)."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    result: UInt64Array = value ^ (value >> np.uint64(31))
    return result


def _integral(x: npt.NDArray[np.float64], theta: float) -> npt.NDArray[np.float64]:
    """Integrate t^-theta from 1 to x; the logarithm where theta is 1."""
    log = np.log(x)
    return log * _over(np.expm1, (1 - theta) * log)


def _inverse(y: npt.NDArray[np.float64], theta: float) -> npt.NDArray[np.float64]:
    """Invert `_integral`."""
    # rounding may carry the argument past the pole of the logarithm
    result: npt.NDArray[np.float64] = np.exp(y * _over(np.log1p, np.maximum(y * (1 - theta), -1 + 1e-15)))
    return result


def _over(function: np.ufunc, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return function(x) / x for expm1 and log1p, whose limit at 0 is 1."""
    small = np.abs(x) < 1e-12
    return np.where(small, 1.0, function(x) / np.where(small, 1.0, x))
