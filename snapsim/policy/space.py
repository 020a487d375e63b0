"""Rules about space: when a pool is full, counts may shrink to soft bounds; while it is empty, all stay.

Rules say what may stay (their counts) and what has to (their soft bounds).  What lies between is deleted, one
after the other, only as long as the pool asks for it.  The loop is pure: how full the pool would be with some
snapshots is somebody else's answer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from snapsim.errors import PolicyError
from snapsim.policy.decisions import age_order, decide
from snapsim.policy.tables import Guards
from snapsim.types import Decision, Int64Array, Snapshot
from snapsim.units import format_size

if TYPE_CHECKING:
    from snapsim.policy.policy import Policy


@dataclass(frozen=True)
class Usage:
    """How full a pool is.

    Attributes
    ----------
    size : int
        What it holds.  [bytes]
    snapshots : int
        What is there for snapshots alone.  [bytes]
    free : int
        What is free.  [bytes]
    """

    size: int
    snapshots: int
    free: int

    @property
    def snapshot_share(self) -> float:
        """Share of the pool that snapshots use."""
        return self.snapshots / self.size

    @property
    def free_share(self) -> float:
        """Share of the pool that is free."""
        return self.free / self.size


Pool = Callable[[Sequence[Snapshot]], Usage]
"""Says how full the pool is if just these snapshots exist."""


PoolAt = Callable[[Int64Array, int], Usage]
"""Says how full the pool is at an instant if the snapshots of some instants exist (both as indices)."""


def decide_with_space(
    policy: "Policy", snapshots: Sequence[Snapshot], now_ns: int, pool: Pool
) -> list[Decision]:
    """Say which snapshots stay, with the pool in mind.

    Rules come first, with their full counts.  Then, while snapshots use more than `snapshots_max`, or (once
    less than `free_min` is free) until `target_free` is, what the soft bounds do not protect goes, in
    `delete_order`.  Guards hold for all of it.

    Parameters
    ----------
    policy : Policy
        The policy; it has a table `space`.
    snapshots : sequence of Snapshot
        What exists.
    now_ns : int
        The time of the decision.  [ns]
    pool : callable
        Says how full the pool is if just some snapshots exist.

    Returns
    -------
    list of Decision
        One for each snapshot, in the order in which they came.

    Raises
    ------
    PolicyError
        The policy has no rules about space.
    """
    space = policy.space
    if space is None:
        raise PolicyError(
            "a pool is given, but the policy has no table space: leave the pool out, or add one"
        )
    decisions = decide(policy, snapshots, now_ns)
    if space.prune_defer_below is not None:
        used = 1 - pool(snapshots).free_share
        if used < space.prune_defer_below:
            told = (
                f"space: the pool is {used:.1%} full, below prune_defer_below {space.prune_defer_below:.0%}"
            )
            return [
                one if one.keep else Decision(one.snapshot, keep=True, reasons=(told,)) for one in decisions
            ]
    if space.snapshots_max is None and space.free_min is None:
        return decisions
    return _shrink(policy, decisions, now_ns, pool)


def _shrink(policy: "Policy", decisions: list[Decision], now_ns: int, pool: Pool) -> list[Decision]:
    """Let go what soft bounds do not protect, as long as the pool asks for it."""
    low = soft_policy(policy)
    kept = {index: one.snapshot for index, one in enumerate(decisions) if one.keep}
    most = _most_deleted(policy, len(decisions))
    gone: dict[int, str] = {}
    for asks in (_too_many_snapshots, _too_little_free):
        started = False
        while True:
            why = asks(policy, pool(list(kept.values())), started=started)
            if why is None or len(decisions) - len(kept) >= most:
                break
            started = True
            victims = _victims(policy, low, kept, now_ns, pool)
            if not victims or len(decisions) - len(kept) + len(victims) > most:
                break
            for index in victims:
                gone[index] = why
                del kept[index]
    return [
        Decision(one.snapshot, keep=False, reasons=(gone[index],)) if index in gone else one
        for index, one in enumerate(decisions)
    ]


def soft_policy(policy: "Policy") -> "Policy":
    """Return the policy with its counts at their soft bounds.

    Parameters
    ----------
    policy : Policy
        The policy; it has a table `space`.

    Returns
    -------
    Policy
        Without rules about space, and without guards.
    """
    soft: dict[str, Any] = dict(policy.space.soft) if policy.space else {}
    soft["classes"] = tuple(
        one if one.soft is None else one.model_copy(update={"keep": one.soft, "soft": None})
        for one in policy.classes
    )
    soft["guards"] = Guards(refuse_delete_all=False)  # the loop watches over what really goes
    try:
        return replace(policy, **soft, space=None)
    except (
        PolicyError
    ):  # nothing is left of the rules: the newest stays, so that there is something to go back to
        return replace(policy, **{**soft, "keep_last": 1}, space=None)


def _most_deleted(policy: "Policy", n: int) -> int:
    """How many of n snapshots the guards let go in one run."""
    share = policy.guards.max_delete_fraction
    most = n if share is None else int(share * n + 1e-9)
    return min(most, n - 1) if policy.guards.refuse_delete_all else most


def _too_many_snapshots(policy: "Policy", usage: Usage, *, started: bool) -> str | None:
    limit = policy.space.snapshots_max if policy.space else None
    if limit is None or usage.snapshot_share < limit:
        return None
    return (
        f"space: snapshots use {format_size(usage.snapshots)}, {usage.snapshot_share:.1%} of the pool; "
        f"snapshots_max is {limit:.0%}{', and more had to go' if started else ''}"
    )


def _too_little_free(policy: "Policy", usage: Usage, *, started: bool) -> str | None:
    space = policy.space
    if space is None or space.free_min is None:
        return None
    wanted = space.free_min if not started or space.target_free is None else space.target_free
    if usage.free_share > wanted:
        return None
    bound = "target_free" if started and space.target_free is not None else "free_min"
    return f"space: {usage.free_share:.1%} of the pool is free; {bound} is {wanted:.0%}"


def _victims(
    policy: "Policy", low: "Policy", kept: dict[int, Snapshot], now_ns: int, pool: Pool
) -> list[int]:
    """Return what goes next: one snapshot, or both halves of a pair."""
    indices = list(kept)
    judged = decide(low, [kept[index] for index in indices], now_ns)
    going = [index for index, one in zip(indices, judged, strict=True) if not one.keep]
    if not going:
        return []
    going.sort(key=lambda index: age_order(policy, kept[index]))
    first = going[0]
    if policy.space and policy.space.delete_order == "largest_exclusive":
        total = pool(list(kept.values())).snapshots
        freed = {
            index: total - pool([one for other, one in kept.items() if other != index]).snapshots
            for index in going
        }
        first = max(going, key=lambda index: freed[index])  # of equal ones the oldest
    other = kept[first].attributes.get("pair") if policy.protect.pairs else None
    return [first, *(index for index in going if index != first and other and kept[index].id == other)]


__all__ = ["Pool", "PoolAt", "Usage", "decide_with_space", "soft_policy"]
