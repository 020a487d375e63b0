"""Record what a virtual machine or an image is asked to do, and learn from snapshots that exist."""

import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from snapsim.traces.library import Recording


class _Package(ModuleType):
    """Importing a package binds it to its name in `snapsim`, where people call `snapsim.recording(name)`."""

    def __call__(self, name: str) -> "Recording":
        from snapsim.traces.library import recording

        return recording(name)


sys.modules[__name__].__class__ = _Package
