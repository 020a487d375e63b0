"""snapsim: how much space snapshots need and what they cost, counted from a disk's own trace.

The public names below are loaded when they are first used: importing the package compiles nothing and draws
nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

from snapsim._version import __version__

if TYPE_CHECKING:  # the same names, for type checkers and editors
    from snapsim import errors as errors
    from snapsim import report as report
    from snapsim import units as units
    from snapsim import viz as viz
    from snapsim.devices import Device as Device
    from snapsim.devices import device as device
    from snapsim.devices import devices as devices
    from snapsim.engine.demonstration import Demonstration as Demonstration
    from snapsim.engine.demonstration import demonstrate as demonstrate
    from snapsim.engine.histogram import Histogram as Histogram
    from snapsim.engine.lifetimes import LifetimeMatrix as LifetimeMatrix
    from snapsim.mechanisms import Mechanism as Mechanism
    from snapsim.mechanisms import mechanism as mechanism
    from snapsim.mechanisms import mechanisms as mechanisms
    from snapsim.planning.boot_order import BootOrders as BootOrders
    from snapsim.planning.boot_order import boot_orders as boot_orders
    from snapsim.planning.chain_cost import chain_cost as chain_cost
    from snapsim.planning.clones import Clones as Clones
    from snapsim.planning.clones import clones as clones
    from snapsim.planning.commit_point import commit_point as commit_point
    from snapsim.planning.growth import Growth as Growth
    from snapsim.planning.growth import growth as growth
    from snapsim.planning.lifetimes import count_group as count_group
    from snapsim.planning.lifetimes import count_lifetimes as count_lifetimes
    from snapsim.planning.mechanisms_compared import Comparison as Comparison
    from snapsim.planning.mechanisms_compared import compare_mechanisms as compare_mechanisms
    from snapsim.planning.outlook import evaluate as evaluate
    from snapsim.planning.reclaim import Reclaim as Reclaim
    from snapsim.planning.reclaim import SpaceMeter as SpaceMeter
    from snapsim.planning.reclaim import cheapest_deletion as cheapest_deletion
    from snapsim.planning.reclaim import exclusive as exclusive
    from snapsim.planning.reclaim import freed_if_deleted as freed_if_deleted
    from snapsim.planning.replay import Replayed as Replayed
    from snapsim.planning.replay import replay as replay
    from snapsim.planning.restore import Restores as Restores
    from snapsim.planning.restore import restore_times as restore_times
    from snapsim.planning.running import run_policy as run_policy
    from snapsim.policy.comparing import compare as compare
    from snapsim.policy.comparing import one_shot as one_shot
    from snapsim.policy.comparing import start_up as start_up
    from snapsim.policy.comparing import vary as vary
    from snapsim.policy.explaining import calendar as calendar
    from snapsim.policy.explaining import explain as explain
    from snapsim.policy.listings import read_listing as read_listing
    from snapsim.policy.migrating import migrate as migrate
    from snapsim.policy.policy import Policy as Policy
    from snapsim.policy.timeline import Timeline as Timeline
    from snapsim.recording.btrfs_changes import read_btrfs as read_btrfs
    from snapsim.recording.qcow2_chain import read_qcow2 as read_qcow2
    from snapsim.traces import statistics as statistics
    from snapsim.traces import synthetic as synthetic
    from snapsim.traces.change_files.reading import read_changes as read_changes
    from snapsim.traces.changes import Changed as Changed
    from snapsim.traces.changes import ChangeTrace as ChangeTrace
    from snapsim.traces.comparing import compare_traces as compare_traces
    from snapsim.traces.formats import open_trace as open_trace
    from snapsim.traces.formats import read_trace as read_trace
    from snapsim.traces.library import Recording as Recording
    from snapsim.traces.library import recorded as recorded
    from snapsim.traces.library import recordings as recordings
    from snapsim.traces.trace import Trace as Trace
    from snapsim.tuning.bounds import clairvoyant as clairvoyant
    from snapsim.tuning.bounds import space_bounds as space_bounds
    from snapsim.tuning.ladder import Ladder as Ladder
    from snapsim.tuning.ladder import recovery_ladder as recovery_ladder
    from snapsim.tuning.side_by_side import side_by_side as side_by_side
    from snapsim.types import DISCARD as DISCARD
    from snapsim.types import FLUSH as FLUSH
    from snapsim.types import READ as READ
    from snapsim.types import WRITE as WRITE
    from snapsim.types import WRITE_ZEROES as WRITE_ZEROES
    from snapsim.types import Decision as Decision
    from snapsim.types import Op as Op
    from snapsim.types import Snapshot as Snapshot
    from snapsim.validation.validating import Validation as Validation
    from snapsim.validation.validating import validate as validate

_PUBLIC = {
    "BootOrders": "planning.boot_order",
    "ChangeTrace": "traces.changes",
    "Changed": "traces.changes",
    "Comparison": "planning.mechanisms_compared",
    "Decision": "types",
    "Clones": "planning.clones",
    "DISCARD": "types",
    "Demonstration": "engine.demonstration",
    "Device": "devices",
    "FLUSH": "types",
    "Growth": "planning.growth",
    "Histogram": "engine.histogram",
    "Ladder": "tuning.ladder",
    "run_policy": "planning.running",
    "LifetimeMatrix": "engine.lifetimes",
    "Mechanism": "mechanisms",
    "Op": "types",
    "Policy": "policy.policy",
    "READ": "types",
    "Reclaim": "planning.reclaim",
    "Recording": "traces.library",
    "Replayed": "planning.replay",
    "Restores": "planning.restore",
    "Snapshot": "types",
    "SpaceMeter": "planning.reclaim",
    "Timeline": "policy.timeline",
    "Trace": "traces.trace",
    "Validation": "validation.validating",
    "WRITE": "types",
    "WRITE_ZEROES": "types",
    "boot_orders": "planning.boot_order",
    "calendar": "policy.explaining",
    "chain_cost": "planning.chain_cost",
    "cheapest_deletion": "planning.reclaim",
    "clairvoyant": "tuning.bounds",
    "commit_point": "planning.commit_point",
    "clones": "planning.clones",
    "compare": "policy.comparing",
    "compare_mechanisms": "planning.mechanisms_compared",
    "compare_traces": "traces.comparing",
    "count_group": "planning.lifetimes",
    "count_lifetimes": "planning.lifetimes",
    "demonstrate": "engine.demonstration",
    "device": "devices",
    "devices": "devices",
    "evaluate": "planning.outlook",
    "exclusive": "planning.reclaim",
    "explain": "policy.explaining",
    "freed_if_deleted": "planning.reclaim",
    "growth": "planning.growth",
    "mechanism": "mechanisms",
    "mechanisms": "mechanisms",
    "migrate": "policy.migrating",
    "one_shot": "policy.comparing",
    "open_trace": "traces.formats",
    "read_btrfs": "recording.btrfs_changes",
    "read_changes": "traces.change_files.reading",
    "read_listing": "policy.listings",
    "read_qcow2": "recording.qcow2_chain",
    "read_trace": "traces.formats",
    "recorded": "traces.library",
    "recordings": "traces.library",
    "recovery_ladder": "tuning.ladder",
    "restore_times": "planning.restore",
    "replay": "planning.replay",
    "side_by_side": "tuning.side_by_side",
    "space_bounds": "tuning.bounds",
    "start_up": "policy.comparing",
    "validate": "validation.validating",
    "vary": "policy.comparing",
}
_MODULES = {
    "errors": "errors",
    "report": "report",
    "statistics": "traces.statistics",
    "synthetic": "traces.synthetic",
    "units": "units",
    "viz": "viz",
}

__all__ = ["__version__", *_PUBLIC, *_MODULES]  # noqa: PLE0604  all of them are strings


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
