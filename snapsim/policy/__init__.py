"""Policies: when snapshots are taken, which of them stay, and why.

Pure decisions about snapshot metadata; this package knows no volume and no trace.
"""

from snapsim.policy.naming import SnapshotName, format_name, parse_name
from snapsim.policy.policy import Policy
from snapsim.policy.presets import preset, presets
from snapsim.policy.schedule import Schedule
from snapsim.policy.timeline import Timeline

__all__ = ["Policy", "Schedule", "SnapshotName", "Timeline", "format_name", "parse_name", "preset", "presets"]
