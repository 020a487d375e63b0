"""One prune of what exists: snapshots to arrays, the kernel, and back to decisions with reasons."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from snapsim.errors import PolicyError
from snapsim.policy import judgement_kernels as judgement
from snapsim.policy import retention
from snapsim.policy.buckets import RECORDED, CalendarKeys
from snapsim.policy.times import format_instant
from snapsim.types import Decision, Int64Array, Snapshot
from snapsim.units import SECOND, format_duration, parse_duration

if TYPE_CHECKING:
    from snapsim.policy.policy import Policy
    from snapsim.policy.tables import Protect

_MOST_CLASSES = 64  # a bit of a uint64 each


def decide(policy: "Policy", snapshots: Sequence[Snapshot], now_ns: int) -> list[Decision]:
    """Say which snapshots stay, and why; see `Policy.decide`.

    Parameters
    ----------
    policy : Policy
        The policy.
    snapshots : sequence of Snapshot
        What exists.
    now_ns : int
        The time of the decision.  [ns]

    Returns
    -------
    list of Decision
        One for each snapshot, in the order in which they came.
    """
    decisions: list[Decision | None] = [None] * len(snapshots)
    for members in _groups(policy.group_by, snapshots).values():
        members.sort(key=lambda index: age_order(policy, snapshots[index]))
        ranked = [snapshots[index] for index in members]
        for index, decision in zip(members, _decide_group(policy, ranked, now_ns), strict=True):
            decisions[index] = decision
    return [decision for decision in decisions if decision is not None]


def age_order(policy: "Policy", snapshot: Snapshot) -> tuple[object, ...]:
    """Return what snapshots are sorted by, the oldest first.

    Parameters
    ----------
    policy : Policy
        By time or by number.
    snapshot : Snapshot
        The snapshot.

    Returns
    -------
    tuple
        By time (or number), then by id; the rest of it makes the order of the input irrelevant.
    """
    number = snapshot.attributes.get("number", 0) if policy.order == "number" else 0
    return (
        number,
        snapshot.time_ns,
        snapshot.id,
        snapshot.name,
        snapshot.kind,
        sorted(snapshot.classes),
        sorted(snapshot.tags),
    )


def _groups(keys: Sequence[str], snapshots: Sequence[Snapshot]) -> Mapping[object, list[int]]:
    groups: dict[object, list[int]] = {}
    for index, snapshot in enumerate(snapshots):
        groups.setdefault(tuple(_group_value(key, snapshot) for key in keys), []).append(index)
    return groups


def _group_value(key: str, snapshot: Snapshot) -> object:
    if key in {"class", "classes"}:
        return snapshot.classes
    if key == "tags":
        return snapshot.tags
    if key == "kind":
        return snapshot.kind
    value = snapshot.attributes.get(key)
    return frozenset(value) if isinstance(value, list | tuple | set | frozenset) else value


def marks(protect: "Protect", select: object, ranked: Sequence[Snapshot]) -> Int64Array:
    """Mark what rules do not decide about.

    Parameters
    ----------
    protect : Protect
        What is protected.
    select : Select
        What the policy manages.
    ranked : sequence of Snapshot
        One group, the oldest first.

    Returns
    -------
    int64 array, shape (n_snapshots,)
        As `Candidates.mark`.
    """
    since = _running_since(protect, ranked)
    return np.array([_mark(protect, select, snapshot, since) for snapshot in ranked], dtype=np.int64)


def _running_since(protect: "Protect", ranked: Sequence[Snapshot]) -> int:
    """Return from when on an unfinished snapshot may still be under way, and stays."""
    newest = max((snapshot.time_ns for snapshot in ranked), default=0)
    finished = [one.time_ns for one in ranked if not one.attributes.get("incomplete")]
    after = max(finished, default=None)
    running = sorted({one.time_ns for one in ranked if after is None or one.time_ns > after}, reverse=True)
    young = 0 if protect.incomplete_within is None else parse_duration(protect.incomplete_within)
    staying = [
        time_ns
        for place, time_ns in enumerate(running)
        if place < protect.incomplete_count or newest - time_ns < young
    ]
    return min(staying, default=newest + 1)


def _mark(protect: "Protect", select: object, snapshot: Snapshot, running_since_ns: int) -> int:
    known = snapshot.attributes
    if select and not retention.matches(select, snapshot):  # type: ignore[arg-type]
        return judgement.UNMANAGED
    if (
        not snapshot.tags.isdisjoint(protect.tags)
        or (protect.important and known.get("important"))
        or (protect.in_use and (known.get("in_use") or known.get("protected")))
        or (protect.incremental_base and known.get("incremental_base"))
        or (protect.not_replicated and known.get("replicated") is False)
    ):
        return judgement.MARKED
    if protect.incomplete_newest and known.get("incomplete"):
        return judgement.MARKED if snapshot.time_ns >= running_since_ns else -judgement.UNFINISHED
    return 0


def _decide_group(policy: "Policy", ranked: Sequence[Snapshot], now_ns: int) -> list[Decision]:
    rules = policy.rules
    time_ns = np.array([snapshot.time_ns for snapshot in ranked], dtype=np.int64)
    offset = None
    if policy.timezone == RECORDED:
        offsets = [int(snapshot.attributes.get("utc_offset_s", 0)) * SECOND for snapshot in ranked]
        offset = np.array([*offsets, 0], dtype=np.int64)
    keys = CalendarKeys(np.append(time_ns, now_ns), policy.calendar, offset)
    classes = sorted(set().union(*(snapshot.classes for snapshot in ranked)))
    if policy.protect.last_of_class and len(classes) > _MOST_CLASSES:
        raise PolicyError(
            f"protect.last_of_class: the snapshots have {len(classes)} classes, and at most {_MOST_CLASSES} "
            f"can be told apart: select fewer, or group_by class"
        )
    after, until = retention.window_table(rules, keys)
    candidates = judgement.Candidates(
        time_ns,
        np.arange(time_ns.size),
        keys.table([rule.bucket for rule in rules]),
        number_table(rules, keys),
        after,
        until,
        retention.selection_table(rules, ranked),
        marks(policy.protect, policy.select, ranked),
        np.array([not snapshot.attributes.get("incomplete") for snapshot in ranked], dtype=np.bool_),
        np.array(
            [
                sum(1 << place for place, name in enumerate(classes[:_MOST_CLASSES]) if name in one.classes)
                for one in ranked
            ],
            dtype=np.uint64,
        ),
    )
    verdicts, stays = judgement.decide_once(
        np.arange(time_ns.size)[::-1].copy(),
        time_ns.size,
        now_ns,
        retention.to_table(rules),
        policy.semantics,
        candidates,
        retention.key_count(rules, keys),
    )
    past = time_ns[time_ns <= now_ns]
    reference = now_ns if policy.reference == "now" or not past.size else int(past.max())
    told = retention.Explainer(
        rules,
        verdicts,
        time_ns,
        policy.calendar.zone,
        lambda index: label(ranked[index]),
        stays,
        words(policy),
    )
    decisions = [
        Decision(
            snapshot,
            keep := bool(verdicts.step[place] == time_ns.size),
            told.reasons(place, keep=keep, reference_ns=reference),
        )
        for place, snapshot in enumerate(ranked)
    ]
    return _with_pairs(decisions) if policy.protect.pairs else decisions


def number_table(rules: Sequence[retention.Rule], keys: CalendarKeys) -> Int64Array:
    """Return consecutive bucket numbers for the rules that count buckets back.

    Parameters
    ----------
    rules : sequence of Rule
        The rules.
    keys : CalendarKeys
        All instants.

    Returns
    -------
    int64 array, shape (2 n_numbers, n_instants)
        A row for each rule that has `back`, and then one each for the instants as the present.
    """
    counted = [rule.back_in or rule.bucket for rule in rules if rule.back is not None]
    rows = [*map(keys.numbers, counted), *map(keys.present, counted)]
    return np.stack(rows) if rows else np.empty((0, keys.time_ns.size), dtype=np.int64)


def _with_pairs(decisions: list[Decision]) -> list[Decision]:
    """Keep one half of a pair as long as the other stays, whichever of them knows of the other."""
    decisions = list(decisions)
    halves: dict[object, list[int]] = {}
    for place, decision in enumerate(decisions):
        halves.setdefault(decision.snapshot.id, []).append(place)
    others: list[list[int]] = [[] for _ in decisions]
    for place, decision in enumerate(decisions):
        for other in halves.get(decision.snapshot.attributes.get("pair"), ()):
            others[place].append(other)
            others[other].append(place)
    for place, decision in enumerate(decisions):
        cleanup = decision.snapshot.attributes.get("cleanup")
        for other in others[place]:
            if not decision.keep and decisions[other].snapshot.attributes.get("cleanup") != cleanup:
                # each algorithm runs by itself, and finds the half that is the other's still there
                reason = f"pair: {label(decisions[other].snapshot)} is cleaned up apart"
                decisions[place] = Decision(decision.snapshot, keep=True, reasons=(reason,))
    staying = [place for place, decision in enumerate(decisions) if decision.keep and others[place]]
    while staying:
        one = staying.pop()
        for other in others[one]:
            if not decisions[other].keep:
                reason = f"pair: {label(decisions[one].snapshot)} stays"
                decisions[other] = Decision(decisions[other].snapshot, keep=True, reasons=(reason,))
                staying.append(other)
    return decisions


def words(policy: "Policy") -> dict[str, str]:
    """Return what reasons call the figures of a policy.

    Parameters
    ----------
    policy : Policy
        The policy.

    Returns
    -------
    dict of str to str
        For `retention.Explainer`.
    """
    guards = policy.guards
    guard = []
    if guards.refuse_delete_all:
        guard.append("everything would go")
    if guards.max_delete_fraction is not None:
        guard.append(f"more than {guards.max_delete_fraction:.0%} of the snapshots would go")
    return {
        "min_age": format_duration(policy.min_age_ns),
        "newest": str(policy.protect.newest),
        "guard": " or ".join(guard),
        "chain_max": str(policy.limits.chain_max),
        "max_age": str(policy.limits.max_age),
    }


def label(snapshot: Snapshot) -> str:
    """Return what people call a snapshot."""
    return snapshot.name or snapshot.id or format_instant(snapshot.time_ns)


def fingerprint(decisions: Iterable[Decision]) -> str:
    """Return a short text that is the same for the same decisions about the same snapshots.

    Parameters
    ----------
    decisions : iterable of Decision
        What a dry run showed.

    Returns
    -------
    str
        Sixteen hexadecimal digits.
    """
    lines = sorted(
        f"{'keep' if one.keep else 'delete'}\t{one.snapshot.id}\t{one.snapshot.name}\t{one.snapshot.time_ns}"
        for one in decisions
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def confirm(policy: "Policy", decisions: Iterable[Decision], shown: str | None) -> None:
    """Refuse decisions that are not those of the dry run.

    Parameters
    ----------
    policy : Policy
        Whose guards count.
    decisions : iterable of Decision
        What is about to be applied.
    shown : str or None
        The fingerprint of the dry run.

    Raises
    ------
    PolicyError
        The policy asks for a dry run, and there was none, or it showed something else.
    """
    if not policy.guards.require_dry_run_hash and shown is None:
        return
    if shown is None:
        raise PolicyError(
            "guards.require_dry_run_hash: show the decisions in a dry run first, and give its fingerprint"
        )
    found = fingerprint(decisions)
    if found != shown:
        raise PolicyError(
            f"guards: the dry run had the fingerprint {shown}, the decisions now have {found}, so something "
            f"has changed since: look at a new dry run"
        )
