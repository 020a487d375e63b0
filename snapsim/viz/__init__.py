"""Figures: one function each, from result to picture with caption, alternative text and one line of facts."""

from snapsim.viz.addresses import address_over_time, write_share
from snapsim.viz.blocks import chain_blocks, operation
from snapsim.viz.chains import chain_cost, commit_point
from snapsim.viz.changes import change_rate, change_rate_by_interval, working_set
from snapsim.viz.comparison import growth_comparison, peak_comparison
from snapsim.viz.contents import block_contents
from snapsim.viz.figure import Figure
from snapsim.viz.latencies import latency_distribution, mechanisms_compared
from snapsim.viz.lifetimes import lifetime_heatmap
from snapsim.viz.overview import trace_overview
from snapsim.viz.policies import one_shot_view, recovery_calendar, recovery_ladders
from snapsim.viz.replay import amplification, burst, latency_over_time
from snapsim.viz.restore import boot_progress, clone_growth, restore_durations
from snapsim.viz.side_by_side import change_rates, traces_compared
from snapsim.viz.space import snapshot_sizes, storage_growth

__all__ = [
    "Figure",
    "address_over_time",
    "amplification",
    "block_contents",
    "boot_progress",
    "burst",
    "chain_blocks",
    "chain_cost",
    "change_rate",
    "change_rate_by_interval",
    "change_rates",
    "clone_growth",
    "commit_point",
    "growth_comparison",
    "latency_distribution",
    "latency_over_time",
    "lifetime_heatmap",
    "mechanisms_compared",
    "one_shot_view",
    "operation",
    "peak_comparison",
    "recovery_calendar",
    "recovery_ladders",
    "restore_durations",
    "snapshot_sizes",
    "storage_growth",
    "trace_overview",
    "traces_compared",
    "working_set",
    "write_share",
]
