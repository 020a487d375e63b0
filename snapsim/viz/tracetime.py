"""The time axis that all figures of one trace share, and what their captions say about the trace."""

from snapsim.traces.trace import Trace
from snapsim.units import DAY, HOUR, MICROSECOND, MILLISECOND, MINUTE, SECOND, format_duration
from snapsim.viz.scales import TimeScale

_INTERVALS = tuple(
    step * unit
    for unit, steps in (
        (MICROSECOND, (100,)),
        (MILLISECOND, (1, 10, 100)),
        (SECOND, (1, 5, 15)),
        (MINUTE, (1, 5, 15)),
        (HOUR, (1, 6)),
        (DAY, (1, 7)),
    )
    for step in steps
)


def time_scale(trace: Trace) -> TimeScale:
    """Return the time axis of a trace, from its start to its last request."""
    return TimeScale.fitting(trace.start_ns, trace.start_ns + trace.span_ns, known=not trace.start_assumed)


def interval(trace: Trace, *, at_most: int) -> int:
    """Return the shortest usual interval that cuts a trace into no more than so many.  [ns]"""
    return next((length for length in _INTERVALS if trace.span_ns <= at_most * length), _INTERVALS[-1])


def ladder(trace: Trace, *, at_most: int = 7) -> list[int]:
    """Return usual intervals that the trace covers several times, the longest ones.  [ns]"""
    fitting = [length for length in _INTERVALS if 2 * length <= trace.span_ns]
    return fitting[-at_most:]


def source(trace: Trace) -> str:
    """Say which trace it is, how long, and whether its clock was paced."""
    info = trace.info
    paced = "" if info.time_scale == 1 else f", each second standing for {info.time_scale:g}"
    volume = f", volume {trace.volumes[0]}" if trace.volumes != ("",) and len(trace.volumes) == 1 else ""
    return f"{info.source} ({info.format}{volume}), {format_duration(trace.span_ns)}{paced}"
