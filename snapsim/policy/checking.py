"""What is odd about a policy although it can be read: limits that it exceeds, rules that never matter."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from snapsim.policy.comparing import StartUp, start_up
from snapsim.policy.explaining import explain_instant, rule_letters, rules_of
from snapsim.policy.policy import Policy
from snapsim.policy.retention import Rule
from snapsim.policy.timeline import Timeline
from snapsim.types import Decision
from snapsim.units import format_duration, parse_duration

_DATES = 60


@dataclass(frozen=True, eq=False)
class Checkup:
    """What a policy comes to, and what is odd about it.

    Attributes
    ----------
    policy : Policy
        The policy.
    timeline : Timeline or None
        The policy over time, for longer than it reaches; None if it has no schedule.
    progress : callable, optional
        Called with the prunes looked at and all of them.
    """

    policy: Policy
    timeline: Timeline | None
    progress: Callable[[int, int | None], None] | None = None

    @cached_property
    def start_up(self) -> StartUp | None:
        """How long it takes to settle, and with how many snapshots."""
        return None if self.timeline is None else start_up(self.timeline)

    @cached_property
    def decisions(self) -> list[list[Decision]]:
        """What was decided at some prunes of the last third of the run."""
        if self.timeline is None:
            return []
        n = self.timeline.instants.size
        chosen = np.unique(np.linspace(2 * (n // 3), n - 1, _DATES).astype(np.int64)).tolist()
        found = []
        for number, i in enumerate(chosen):
            found.append(list(explain_instant(self.timeline, i).decisions))
            if self.progress is not None:
                self.progress(number + 1, len(chosen))
        return found

    @cached_property
    def findings(self) -> list[str]:
        """One sentence for each thing that is odd."""
        if self.timeline is not None and not self.timeline.max_live:
            told = "no rule is about what the schedule takes: where rules are about classes, "
            return [told + "give each class a schedule"]
        return [*self._endless(), *self._limits(), *self._idle(), *self._guards()]

    def _endless(self) -> Iterator[str]:
        for rule in self.policy.rules:
            if _follows(rule) and (rule.count, rule.window, rule.age_ns, rule.back) == (None,) * 4:
                yield (
                    f"rule {rule.name} has no end, so the number of snapshots grows for as long as the "
                    "policy runs"
                )

    def _limits(self) -> Iterator[str]:
        limits, seen = self.policy.limits, self.start_up
        if seen is None or self.timeline is None:
            return
        most = self.timeline.max_live
        merges = limits.on_violation == "merge_oldest"
        for key, limit in (("chain_max", limits.chain_max), ("the hard limit", limits.hard)):
            if limit is not None and most > limit:
                yield f"limits: rules keep up to {most} snapshots, above {key} {limit}: lower their counts"
            elif limit is not None and merges and most == limit:
                yield (
                    f"limits: the chain is at {key} {limit}, so the oldest may be merged although rules "
                    f"keep it"
                )
            elif limit is not None and key == "the hard limit" and most == limit:
                yield f"limits: up to {most} snapshots fill {key}, and one more exists before each prune"
        if limits.max_age is not None and seen.farthest_ns > parse_duration(limits.max_age):
            yield (
                f"limits: snapshots get {format_duration(seen.farthest_ns)} old, above max_age "
                f"{limits.max_age}: shorten the rules"
            )

    def _idle(self) -> Iterator[str]:
        """Find rules that hold nothing, or nothing that no other rule holds."""
        if not self.decisions:
            return
        letters = rule_letters(self.policy)
        alone: dict[str, bool] = {}  # whether a rule (its letter) ever was the only one that keeps a snapshot
        for decision in (one for prune in self.decisions for one in prune if one.keep):
            held = {letters[name] for name in rules_of(decision, letters)}
            for letter in held:
                alone[letter] = alone.get(letter, False) or len(held) == 1
        seen = f"(at {len(self.decisions)} prunes of the steady state)"
        known = {letters[rule.name]: rule.name for rule in reversed(self.policy.rules) if _follows(rule)}
        for letter, name in reversed(known.items()):
            if letter not in alone:
                yield f"rule {name} keeps nothing {seen}"
            elif self.policy.combine == "any" and not alone[letter]:
                yield f"rule {name} never matters: whatever it keeps, another rule keeps too {seen}"

    def _guards(self) -> Iterator[str]:
        tripped = sum(
            any(reason.startswith("guard:") for one in prune for reason in one.reasons)
            for prune in self.decisions
        )
        if tripped:
            yield (
                f"guards: {tripped} of {len(self.decisions)} usual prunes would be stopped: "
                "raise max_delete_fraction"
            )


def _follows(rule: Rule) -> bool:
    """Say whether what a schedule takes shows what a rule does: people give tags, names and marks.

    A rule with a window of nothing is one that its tool has anyway, switched off.
    """
    asked, off = rule.select, rule.window is not None and rule.window.length_ns == 0
    return not (off or asked.tags or asked.name or asked.attributes or asked.important)
