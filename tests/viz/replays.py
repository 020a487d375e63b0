"""Replays made by hand: the columns and attributes that figures of replays read."""

from types import SimpleNamespace

import numpy as np
import pandas as pd

import snapsim as ss
from snapsim.units import MIB, MILLISECOND, MINUTE, SECOND

START = np.datetime64("2026-03-01T00:00:00", "ns").astype(np.int64).item()
_RATES = {"p50": 1.0, "p95": 4.0, "p99": 9.0, "p999": 40.0}


def times(values):
    return pd.to_datetime(np.asarray(values, np.int64), utc=True).as_unit("ns")


def make_replay(
    *, n=120, step=MINUTE, device="nvme", mechanism="qcow2-external", seed=1, factor=1.0, full=0, keep=5
):
    """Return `n` intervals of `step`; a snapshot every tenth, of which `keep` stay."""
    rng = np.random.default_rng(seed)
    age = np.arange(n) % 10
    guest_written = rng.integers(1, 50, n) * MIB
    guest_read = np.where(rng.random(n) < 0.2, 0, rng.integers(1, 20, n) * MIB)
    write = factor * (1 + 14 / (1 + age))
    read = factor * (1 + 5 / (1 + age))
    depth = np.minimum(np.arange(n) // 10, keep) + 1
    middle = 90_000 * factor * (1 + 3 / (1 + age)) * rng.uniform(0.8, 1.4, n)
    saturated = np.arange(n) < full
    busy = np.where(saturated, 1.0, np.minimum(0.2 * factor * (1 + 1 / (1 + age)), 0.95))
    middle = np.where(saturated, middle * 200, middle)
    frame = pd.DataFrame(
        {
            "time": times(START + step * np.arange(n)),
            "requests": rng.integers(100, 900, n),
            "guest_read_bytes": guest_read,
            "guest_written_bytes": guest_written,
            "read_bytes": (guest_read * read + guest_written * (read - 1)).astype(np.int64),
            "written_bytes": (guest_written * write).astype(np.int64),
            "write_amplification": write,
            "space_amplification": 1 + 0.06 * depth,
            "depth": depth,
            "extents_per_mib": 1.0 + 0.4 * depth,
            "utilisation": busy,
            "saturated": saturated,
            **{f"latency_{name}_ns": middle * rate for name, rate in _RATES.items()},
        }
    )
    frame["read_amplification"] = (frame["read_bytes"] / frame["guest_read_bytes"]).where(guest_read > 0)
    taken = START + step * np.arange(0, n, 10)
    gone = taken[keep:]
    operations = pd.DataFrame(
        {
            "time": times(np.concatenate((taken, gone))),
            "action": ["create"] * len(taken) + ["delete"] * len(gone),
            "taken": times(np.concatenate((taken, taken[: len(gone)]))),
            "pause_ns": [3 * MILLISECOND] * len(taken) + [0] * len(gone),
            "moved_bytes": [0] * len(taken) + [300 * MIB] * len(gone),
            "merge_duration_ns": [0] * len(taken) + [2 * step] * len(gone),
        }
    )
    ages = np.array([0, 1, 2, 5, 10, 20, 60, 120, 300, 600]) * SECOND
    shrink = 1 / (1 + np.arange(len(ages)))
    bursts = pd.DataFrame(
        {
            "age_ns": ages,
            "requests": 1000,
            "guest_written_bytes": 20 * MIB,
            "written_bytes": (20 * MIB * factor * (1 + 14 * shrink)).astype(np.int64),
            "write_amplification": factor * (1 + 14 * shrink),
            "latency_mean_ns": 120_000 * (1 + 3 * shrink),
            "latency_p99_ns": 800_000 * (1 + 3 * shrink),
        }
    )
    found = None if device is None else ss.device(device)
    draws = rng.lognormal(np.log(90_000 * factor), 1.0, 20_000).astype(np.int64)
    latencies = {
        "read": ss.Histogram().record(draws[:5000] // 2),
        "write": ss.Histogram().record(draws[5000:]),
    }
    latencies["all"] = ss.Histogram().merge(latencies["read"]).merge(latencies["write"])
    return SimpleNamespace(
        frame=frame,
        operations=operations,
        bursts=bursts,
        interval_ns=step,
        latencies=latencies if found else {},
        load=SimpleNamespace(saturated=full > n // 2, utilisation=0.4) if found else None,
        mechanism=ss.mechanism(mechanism),
        device=found,
        provenance={},
    )


def make_comparison(**changes):
    """Return four mechanisms; the last one is more than the device can do."""
    names = {"dm-snapshot": 1.3, "dm-thin": 1.0, "qcow2-external": 0.9, "qcow2-internal": 3.0}
    runs = {
        name: make_replay(mechanism=name, factor=factor, full=119 * (name == "qcow2-internal"), **changes)
        for name, factor in names.items()
    }
    return SimpleNamespace(runs=runs)


def make_chain_cost(caches=(128, 512, 1024, 2048), layers=(1, 2, 4, 8, 16, 32, 64)):
    """Return what reading costs through layers that each hold a hundredth of the volume."""
    rows = []
    for cache in caches:
        for number in layers:
            looked = sum(0.99**layer for layer in range(number))
            reads = 1 + looked * (1 - cache / 2048)
            moved = 1 - 0.99 ** (number - 1)
            rows.append((number, cache * 1024, 1.01 * reads, reads, 0.01 + 16 * moved, 2e8 / (1 + 5 * moved)))
    names = [
        "layers",
        "cache_bytes",
        "reads_per_read",
        "expected_reads",
        "extents_per_mib",
        "sequential_rate",
    ]
    return pd.DataFrame(rows, columns=names)
