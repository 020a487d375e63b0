"""Real disk traces in, one columnar form out.

The names below are loaded when they are first used: they need pandas and pyarrow.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snapsim.traces.formats import (
        FORMATS,
        TraceFormat,
        convert_trace,
        open_trace,
        read_trace,
        sniff,
    )
    from snapsim.traces.trace import DroppedLine, Trace, TraceInfo

__all__ = [
    "FORMATS",
    "DroppedLine",
    "Trace",
    "TraceFormat",
    "TraceInfo",
    "convert_trace",
    "open_trace",
    "read_trace",
    "sniff",
]

_IN_TRACE = ("DroppedLine", "Trace", "TraceInfo")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(import_module(f"{__name__}.{'trace' if name in _IN_TRACE else 'formats'}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
