"""Policies evaluated in a second: timeline and growth over a year of hourly instants."""

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
}
_MECHANISMS = ("dm-thin", "qcow2-external")


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
    return [
        _row(lifetimes, name, rules, mechanism, scale)
        for mechanism in _MECHANISMS
        for name, rules in _POLICIES.items()
    ]


def _row(
    lifetimes: LifetimeMatrix, name: str, rules: dict[str, int], mechanism: str, scale: Scale
) -> dict[str, Any]:
    policy = ss.Policy(schedule="@hourly", **rules)
    timeline = policy.timeline(lifetimes.instants)
    spent: dict[str, list[float]] = {"timeline": [], "growth": []}

    def both() -> float:
        begin = time.process_time()
        one = policy.timeline(lifetimes.instants)
        middle = time.process_time()
        ss.growth(lifetimes, one, mechanism=mechanism, bounds=False)
        end = time.process_time()
        spent["timeline"].append(middle - begin)
        spent["growth"].append(end - middle)
        return end - begin

    seconds = interleaved({"both": both}, rounds=scale.rounds)
    return {
        "policy": name,
        "mechanism": mechanism,
        "instants": len(lifetimes.instants),
        "max_live": timeline.max_live,
        "rounds": scale.rounds,
        "per_second": rate(1, seconds["both"]),
        "timeline_per_second": rate(1, spent["timeline"][-scale.rounds :]),
        "growth_per_second": rate(1, spent["growth"][-scale.rounds :]),
    }
