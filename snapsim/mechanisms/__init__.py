"""What each real system does with snapshots, as data: one TOML file for each, checked when it is read."""

from snapsim.mechanisms.loader import build, mechanism, mechanisms
from snapsim.mechanisms.model import (
    Blocks,
    Deletion,
    Evidence,
    Limits,
    MatrixNeed,
    MatrixRule,
    Mechanism,
    Metadata,
    Pool,
)

__all__ = [
    "Blocks",
    "Deletion",
    "Evidence",
    "Limits",
    "MatrixNeed",
    "MatrixRule",
    "Mechanism",
    "Metadata",
    "Pool",
    "build",
    "mechanism",
    "mechanisms",
]
