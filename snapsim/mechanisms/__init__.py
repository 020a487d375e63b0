"""What each real system does with snapshots, as data: one TOML file for each, checked when it is read."""

import sys
from types import ModuleType

from snapsim.mechanisms.io import CreationIO, InputOutput, TableIO
from snapsim.mechanisms.loader import build, mechanism, mechanisms
from snapsim.mechanisms.model import Mechanism
from snapsim.mechanisms.parts import (
    Blocks,
    Deletion,
    Evidence,
    Limits,
    MatrixNeed,
    MatrixRule,
    Metadata,
    Pool,
)

__all__ = [
    "Blocks",
    "CreationIO",
    "Deletion",
    "Evidence",
    "InputOutput",
    "Limits",
    "MatrixNeed",
    "MatrixRule",
    "Mechanism",
    "Metadata",
    "Pool",
    "TableIO",
    "build",
    "mechanism",
    "mechanisms",
]


class _Package(ModuleType):
    """Importing a package binds it to its name in `snapsim`, where people call `snapsim.mechanisms()`."""

    def __call__(self) -> tuple[str, ...]:
        return mechanisms()


sys.modules[__name__].__class__ = _Package
