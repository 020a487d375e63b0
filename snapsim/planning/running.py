"""`run_policy`: a policy over the instants of lifetimes, with everything that it can act on."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from snapsim.engine.lifetimes import LifetimeMatrix
from snapsim.errors import UsageError
from snapsim.mechanisms import Mechanism
from snapsim.planning.reclaim import SpaceMeter
from snapsim.policy.policy import Policy
from snapsim.policy.space import PoolAt, Usage
from snapsim.policy.timeline import Timeline
from snapsim.policy.triggers import Event
from snapsim.traces.changes import ChangeTrace
from snapsim.types import Int64Array
from snapsim.units import format_size, parse_size

__all__ = ["run_policy", "writes_per_epoch"]

Volumes = LifetimeMatrix | Mapping[str, LifetimeMatrix] | Sequence[LifetimeMatrix]


def run_policy(
    policy: Policy,
    lifetimes: Volumes,
    *,
    mechanism: str | Mechanism | None = None,
    pool_size: int | str | None = None,
    downtimes: Sequence[tuple[int, int]] = (),
    events: Sequence[Event] = (),
    duration_ns: int = 0,
    progress: Callable[[int, int | None], None] | None = None,
) -> Timeline:
    """Run a policy over the instants of a trace: with what is written, and with how full the pool is.

    For a plain schedule without rules about space it is `policy.timeline(lifetimes.instants)`; of a
    `ChangeTrace`, with `coalesce`.

    Parameters
    ----------
    policy : Policy
        The policy.
    lifetimes : LifetimeMatrix, or several
        One volume, or the volumes of a group on the same instants.
    mechanism : str or Mechanism, optional
        How the system keeps snapshots; needed where rules about space have to know what they hold.
    pool_size : int or str, optional
        Size of the pool in which the volumes and their snapshots live ("100GiB"); with it rules about space
        act.  [bytes]
    downtimes, events, duration_ns
        See `Policy.timeline`.
    progress : callable, optional
        Called with the instants done and all of them.

    Returns
    -------
    Timeline
        Which snapshots exist when, and why.

    Raises
    ------
    UsageError
        A pool is given and no mechanism, or the volume does not fit into the pool.
    PolicyError
        The policy does not fit the instants, or has no rules about space although a pool is given.
    """
    volumes = _volumes(lifetimes)
    looks = any(one.min_written or one.quiet_ns for one in policy.schedule_classes)
    return policy.timeline(
        volumes[0].instants,
        writes=sum(writes_per_epoch(one) for one in volumes) if looks else None,
        downtimes=downtimes,
        events=events,
        duration_ns=duration_ns,
        pool=None if pool_size is None else _pool(volumes, mechanism, parse_size(pool_size)),
        # between snapshots that exist there is no instant, however fine the schedule
        coalesce=any(isinstance(one.origin, ChangeTrace) for one in volumes),
        progress=progress,
    )


def writes_per_epoch(lifetimes: LifetimeMatrix) -> Int64Array:
    """Return what is written in each epoch, whole blocks each time.

    Parameters
    ----------
    lifetimes : LifetimeMatrix
        One volume.

    Returns
    -------
    int64 array, shape (n_instants + 1,)
        Before the first instant, between two of them, after the last one.  [bytes]
    """
    return lifetimes.births * lifetimes.block_size


def _volumes(lifetimes: Volumes) -> list[LifetimeMatrix]:
    if isinstance(lifetimes, LifetimeMatrix):
        return [lifetimes]
    volumes = list(lifetimes.values() if isinstance(lifetimes, Mapping) else lifetimes)
    if not volumes:
        msg = "lifetimes hold no volume: count them with snapsim.count_lifetimes"
        raise UsageError(msg)
    return volumes


def _pool(volumes: Sequence[LifetimeMatrix], mechanism: str | Mechanism | None, size: int) -> PoolAt:
    """Return how full a pool is: the volumes, and the data that only snapshots hold."""
    if mechanism is None:
        msg = "pool_size is given, but what snapshots hold depends on the mechanism: give mechanism too"
        raise UsageError(msg)
    meters = [SpaceMeter(one, mechanism) for one in volumes]
    live = np.sum([meter.matrix.live_blocks * meter.matrix.block_size for meter in meters], axis=0)
    if int(live.max(initial=0)) > size:
        msg = (
            f"the volume alone grows to {format_size(int(live.max()))}, and pool_size is "
            f"{format_size(size)}: give the size of a pool that holds it"
        )
        raise UsageError(msg)

    def usage(kept: Int64Array, now: int) -> Usage:
        held = sum(meter(kept, now) for meter in meters)
        return Usage(size, held, max(size - int(live[now]) - held, 0))

    return usage
