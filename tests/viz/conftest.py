"""One small volume and everything that is drawn from it."""

import numpy as np
import pytest

import snapsim as ss
from snapsim.units import HOUR, KIB, MINUTE

DAYS = 4


def make_trace(**changes):
    """Four days: 64 KiB written every hour, round 16 places; 4 KiB read every hour of the first day."""
    hours = np.arange(24 * DAYS, dtype=np.int64)
    first = hours[:24]
    return ss.Trace.from_arrays(
        np.concatenate([hours * HOUR + 30 * MINUTE, first * HOUR + 45 * MINUTE]),
        ["write"] * len(hours) + ["read"] * len(first),
        np.concatenate([hours % 16 * 64 * KIB, first * 4 * KIB]),
        np.concatenate([np.full(len(hours), 64 * KIB), np.full(len(first), 4 * KIB)]),
        **{"capacity": "2MiB", "start": "2026-01-01T00:00:00Z", **changes},
    )


def make_growth(lifetimes, *, mechanism="qcow2-external", **policy):
    asked = ss.Policy(schedule="@hourly", **(policy or {"keep_hourly": 6, "keep_daily": 3}))
    return ss.growth(lifetimes, asked.timeline(lifetimes.instants), mechanism=mechanism)


@pytest.fixture(scope="session")
def trace():
    return make_trace()


@pytest.fixture(scope="session")
def lifetimes(trace):
    return ss.count_lifetimes(trace, every="1h", block_size="64KiB")


@pytest.fixture(scope="session")
def growth(lifetimes):
    return make_growth(lifetimes)


@pytest.fixture
def grow():
    """Give the function that makes other answers."""
    return make_growth


@pytest.fixture
def record():
    """Give the function that makes other traces of the same requests."""
    return make_trace
