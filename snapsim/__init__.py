"""snapsim: how much space snapshots need and what they cost, counted from a disk's own trace.

The public names below are loaded when they are first used: importing the package compiles nothing and draws nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snapsim import errors, report, units, viz
    from snapsim.engine.lifetimes import LifetimeMatrix
    from snapsim.mechanisms import Mechanism, mechanism, mechanisms
    from snapsim.planning.growth import Growth, growth
    from snapsim.planning.lifetimes import count_lifetimes
    from snapsim.policy.policy import Policy
    from snapsim.policy.timeline import Timeline
    from snapsim.traces import statistics, synthetic
    from snapsim.traces.formats import open_trace, read_trace
    from snapsim.traces.trace import Trace
    from snapsim.types import DISCARD, FLUSH, READ, WRITE, WRITE_ZEROES, Decision, Op, Snapshot

__version__ = "0.1.0"

_PUBLIC = {
    "Decision": "types",
    "DISCARD": "types",
    "FLUSH": "types",
    "Growth": "planning.growth",
    "LifetimeMatrix": "engine.lifetimes",
    "Mechanism": "mechanisms",
    "Op": "types",
    "Policy": "policy.policy",
    "READ": "types",
    "Snapshot": "types",
    "Timeline": "policy.timeline",
    "Trace": "traces.trace",
    "WRITE": "types",
    "WRITE_ZEROES": "types",
    "count_lifetimes": "planning.lifetimes",
    "growth": "planning.growth",
    "mechanism": "mechanisms",
    "mechanisms": "mechanisms",
    "open_trace": "traces.formats",
    "read_trace": "traces.formats",
}
_MODULES = {
    "errors": "errors",
    "report": "report",
    "statistics": "traces.statistics",
    "synthetic": "traces.synthetic",
    "units": "units",
    "viz": "viz",
}

__all__ = [*sorted(_PUBLIC), *sorted(_MODULES), "__version__"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        value = getattr(importlib.import_module(f"snapsim.{_PUBLIC[name]}"), name)
    elif name in _MODULES:
        value = importlib.import_module(f"snapsim.{_MODULES[name]}")
    else:
        msg = f"module 'snapsim' has no attribute {name!r}"
        raise AttributeError(msg)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
