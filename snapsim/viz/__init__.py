"""Figures: one function each, from result to picture with caption, alternative text and one line of facts."""

from snapsim.viz.addresses import address_over_time, write_share
from snapsim.viz.changes import change_rate, change_rate_by_interval, working_set
from snapsim.viz.comparison import growth_comparison, peak_comparison
from snapsim.viz.figure import Figure
from snapsim.viz.lifetimes import lifetime_heatmap
from snapsim.viz.overview import trace_overview
from snapsim.viz.policies import one_shot_view, recovery_calendar, recovery_ladders
from snapsim.viz.space import snapshot_sizes, storage_growth

__all__ = [
    "Figure",
    "address_over_time",
    "change_rate",
    "change_rate_by_interval",
    "growth_comparison",
    "lifetime_heatmap",
    "one_shot_view",
    "peak_comparison",
    "recovery_calendar",
    "recovery_ladders",
    "snapshot_sizes",
    "storage_growth",
    "trace_overview",
    "working_set",
    "write_share",
]
