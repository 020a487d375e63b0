"""`evaluate`: one row of figures for each of many policies, without a frame for each."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from snapsim import schema
from snapsim.engine import space
from snapsim.engine.lifetimes import LifetimeMatrix
from snapsim.errors import UsageError
from snapsim.mechanisms import Mechanism
from snapsim.mechanisms import mechanism as find_mechanism
from snapsim.planning.growth import capacity_of, members
from snapsim.planning.running import Volumes, run_policy
from snapsim.planning.series import durations, follow, levels, matrices, time_percentiles
from snapsim.policy.policy import Policy
from snapsim.policy.timeline import Timeline
from snapsim.types import Int64Array

__all__ = ["evaluate"]

_PEAKS = {
    "snapshot_peak_bytes": "peak_bytes",
    "reserve_peak_bytes": "reserve_bytes",
    "total_peak_bytes": "peak_total_bytes",
    "allocated_peak_bytes": "peak_allocated_bytes",
}
_PERCENTILES = {"snapshot_p50_bytes": 50, "snapshot_p95_bytes": 95, "snapshot_p99_bytes": 99}
_ENDS = {
    "snapshots_end": "snapshots",
    "snapshot_end_bytes": "snapshot_bytes",
    "metadata_end_bytes": "metadata_bytes",
    "total_end_bytes": "total_bytes",
}
_TOTALS = {
    "merged_total_bytes": "merged_bytes",
    "copied_total_bytes": "copied_bytes",
    "freed_total_bytes": "freed_bytes",
}


def evaluate(
    lifetimes: LifetimeMatrix | Mapping[str, LifetimeMatrix] | Sequence[LifetimeMatrix],
    policies: Iterable[Policy | Timeline],
    *,
    mechanism: str | Mechanism,
) -> pd.DataFrame:
    """Say how much space each of many policies needs, one row a policy.

    The figures are exactly those of `growth(..., bounds=False)`; what policies have in common is counted
    once, and no frame over time is made for each of them.

    Parameters
    ----------
    lifetimes : LifetimeMatrix, or several
        One volume, or the volumes of a group, as `growth` takes them.
    policies : iterable of Policy or Timeline
        Policies, which are followed over the instants of the lifetimes; or timelines over these instants.
    mechanism : str or Mechanism
        Name of a mechanism, or one that was set up with options.

    Returns
    -------
    DataFrame
        One row a policy, in their order: policy, snapshots_peak, reach_ns, steady, peaks, time-weighted mean
        and percentiles, values at the end and totals over time; columns as `snapsim.schema` registers them.

    Raises
    ------
    UsageError
        There is no policy, or a timeline is one of other instants.
    MechanismError
        The mechanism is unknown or does not have the block size.

    Examples
    --------
    >>> import snapsim as ss
    >>> writes = ss.Trace.from_arrays(
    ...     [10, 30, 50], ["write"] * 3, [0] * 3, [4096] * 3, capacity="1MiB", start=0
    ... )
    >>> lifetimes = ss.count_lifetimes(writes, every=20, block_size="4KiB")
    >>> policies = [ss.Policy(schedule="20ns", keep_last=n) for n in (1, 2)]
    >>> ss.evaluate(lifetimes, policies, mechanism="wafl")["snapshot_peak_bytes"].tolist()
    [4096, 8192]
    """
    found = find_mechanism(mechanism)
    volumes = [_Volume(one, found) for one in members(lifetimes).values()]
    instants = volumes[0].instants
    lasts = durations(instants)
    rows = [_row(volumes, _timeline(one, lifetimes, found, instants), lasts) for one in policies]
    if not rows:
        msg = "evaluate needs at least one policy"
        raise UsageError(msg)
    frame = pd.DataFrame(rows)
    schema.check_columns(frame.columns)
    return frame


class _Volume:
    """One volume on one mechanism, prepared for every policy."""

    def __init__(self, lifetimes: LifetimeMatrix, mechanism: Mechanism) -> None:
        self.instants = lifetimes.instants
        self.mechanism = mechanism
        self.block_size = lifetimes.block_size
        self.capacity, self.span_ns = capacity_of(lifetimes)
        self.counted = matrices(lifetimes, mechanism)

    def levels(self, chain: space.Chain, ram: int | Int64Array) -> dict[str, Int64Array]:
        place = {"block_size": self.block_size, "capacity": self.capacity}
        return levels(follow(self.mechanism, self.counted, chain, **place), chain, ram=ram)


def _timeline(policy: object, lifetimes: Volumes, mechanism: Mechanism, instants: Int64Array) -> Timeline:
    if isinstance(policy, Policy):
        return run_policy(policy, lifetimes, mechanism=mechanism)
    if not isinstance(policy, Timeline):
        msg = f"policies hold a {type(policy).__name__}: give policies, or what policy.timeline() returns"
        raise UsageError(msg)
    if not np.array_equal(policy.instants, instants):
        msg = "a timeline is one of other instants: make it with policy.timeline(lifetimes.instants)"
        raise UsageError(msg)
    return policy


def _row(volumes: Sequence[_Volume], timeline: Timeline, lasts: Int64Array) -> dict[str, object]:
    chain = space.chain(timeline.created, timeline.deleted, n_instants=len(lasts))
    held = volumes[0].levels(chain, timeline.ram)
    for volume in volumes[1:]:  # one snapshot of a VM covers all its disks, but saves the memory once
        more = volume.levels(chain, 0)
        held |= {name: held[name] + more[name] for name in held if name != "snapshots"}
    data = held["snapshot_bytes"]
    percentiles = time_percentiles(data, lasts, tuple(_PERCENTILES.values()))
    reach = timeline.policy_reach_ns
    return {
        "policy": timeline.policy.describe(),
        "snapshots_peak": int(chain.count(before_prune=True).max(initial=0)),
        "reach_ns": timeline.reach_ns,
        "steady": bool(len(timeline) and reach is not None and min(one.span_ns for one in volumes) >= reach),
        **{name: int(held[column].max()) for name, column in _PEAKS.items()},
        "snapshot_mean_bytes": float(np.average(data, weights=lasts)),
        **dict(zip(_PERCENTILES, percentiles, strict=True)),
        **{name: int(held[column][-1]) for name, column in _ENDS.items()},
        **{name: int(held[column].sum()) for name, column in _TOTALS.items()},
    }
