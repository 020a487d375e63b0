"""Policies evaluated in a second: timeline and space over a year of hourly instants.

Plain policies, whose rules know nothing of each other, are decided by queues; those that decide as another
tool does, by the kernel that looks at everything that exists after each snapshot.
"""

import time
from typing import Any

import snapsim as ss
from benchmarks.measure import Scale, interleaved, rate
from snapsim.engine.lifetimes import LifetimeMatrix

# from few snapshots to about seventy at a time
_POLICIES = {
    "24 hourly, 7 daily": {"keep_hourly": 24, "keep_daily": 7},
    "24 hourly, 7 daily, 4 weekly, 12 monthly": {
        "keep_hourly": 24,
        "keep_daily": 7,
        "keep_weekly": 4,
        "keep_monthly": 12,
    },
    "36 hourly, 14 daily, 12 weekly, 12 monthly": {
        "keep_hourly": 36,
        "keep_daily": 14,
        "keep_weekly": 12,
        "keep_monthly": 12,
    },
    "720 hourly, 90 daily": {"keep_hourly": 720, "keep_daily": 90},
}
_SHARING = ("dm-thin", "qcow2-external")  # one store for all snapshots; a layer for each
_PRIVATE = ("dm-snapshot",)  # a store for each snapshot: all of them change at every instant
_TOOLS = ("borg-1.2", "proxmox", "snapper", "btrbk")
_MANY = 100
"""More snapshots than this at a time are beyond what is promised.  [snapshots]"""
_AT_ONCE = 10
"""Policies that one call is asked for."""


def run(scale: Scale) -> list[dict[str, Any]]:
    """Return a row for each policy and mechanism."""
    days = 7 if scale.name == "smoke" else 365
    trace = ss.synthetic.zipf(
        capacity="64GiB",
        duration=f"{days}d",
        n_requests=min(scale.requests, 2 * 10**6),
        read_share=0.3,
        seed=1,
    )
    lifetimes = ss.count_lifetimes(trace, every="1h", block_size="64KiB")
    few = {name: rules for name, rules in _POLICIES.items() if rules["keep_hourly"] < _MANY}
    cases = [("snapsim", mechanism, name) for mechanism in _SHARING for name in _POLICIES]
    cases += [("snapsim", mechanism, name) for mechanism in _PRIVATE for name in few]
    cases += [(tool, _SHARING[0], name) for tool in _TOOLS for name in few]
    return [_row(lifetimes, name, tool, mechanism, scale) for tool, mechanism, name in cases]


def _row(lifetimes: LifetimeMatrix, name: str, tool: str, mechanism: str, scale: Scale) -> dict[str, Any]:
    policy = ss.Policy(schedule="@hourly", compat=tool, **_POLICIES[name])
    timeline = policy.timeline(lifetimes.instants)
    system = ss.mechanism(mechanism)
    if system.block_size != lifetimes.block_size:
        system = system.with_options(block_size=lifetimes.block_size)
    row = ss.evaluate(lifetimes, [policy], mechanism=system).iloc[0]
    peak = ss.growth(lifetimes, timeline, mechanism=system, bounds=False).peak
    assert row["reserve_peak_bytes"] == peak["reserve_bytes"]

    def evaluate() -> float:
        begin = time.process_time()
        ss.evaluate(lifetimes, [policy] * _AT_ONCE, mechanism=system)
        return (time.process_time() - begin) / _AT_ONCE

    def decide() -> float:
        begin = time.process_time()
        policy.timeline(lifetimes.instants)
        return time.process_time() - begin

    def growth() -> float:
        begin = time.process_time()
        ss.growth(lifetimes, timeline, mechanism=system, bounds=False)
        return time.process_time() - begin

    seconds = interleaved({"both": evaluate, "timeline": decide, "growth": growth}, rounds=scale.rounds)
    return {
        "policy": name,
        "tool": tool,
        "mechanism": mechanism,
        "sharing": system.sharing,
        "instants": len(lifetimes.instants),
        "max_live": timeline.max_live,
        "way": "general" if tool != "snapsim" else "many" if timeline.max_live >= _MANY else system.sharing,
        "rounds": scale.rounds,
        "per_second": rate(1, seconds["both"]),
        "timeline_per_second": rate(1, seconds["timeline"]),
        "growth_per_second": rate(1, seconds["growth"]),
    }
