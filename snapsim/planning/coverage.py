"""How far an answer can be trusted: does the trace last as long as the policy reaches back?"""

from collections.abc import Sequence
from dataclasses import dataclass

from snapsim.policy.timeline import Timeline
from snapsim.units import format_duration

__all__ = ["Coverage", "coverage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """The coverage verdict: no peak is shown without it.

    Attributes
    ----------
    verdict : str
        One or two sentences for people.
    policy_reach_ns : int or None
        How far back the policy reaches once it has run for long enough; None without a limit.  [ns]
    trace_span_ns : int
        From the first instant to the last request.  [ns]
    steady : bool
        Whether the trace lasts at least as long as the policy reaches, so that the oldest snapshots that it
        would keep
        were seen to come and go.
    steady_from_ns : int or None
        Time from the first instant after which that is so.  [ns]
    time_scale : float
        Represented time divided by real time of the recording; 1 for one that was not paced.
    """

    verdict: str
    policy_reach_ns: int | None
    trace_span_ns: int
    steady: bool
    steady_from_ns: int | None
    time_scale: float = 1.0


def coverage(
    timeline: Timeline, *, trace_span_ns: int, time_scale: float = 1.0, remarks: Sequence[str] = ()
) -> Coverage:
    """Judge how far a trace covers a policy.

    Parameters
    ----------
    timeline : Timeline
        The policy over the trace's instants.
    trace_span_ns : int
        From the first instant to the last request.  [ns]
    time_scale : float
        As in `Coverage`.
    remarks : sequence of str
        What else has to be said with every peak: sentences.

    Returns
    -------
    Coverage
        The verdict.
    """
    reach = timeline.policy_reach_ns
    span = format_duration(trace_span_ns)
    steady = reach is not None and trace_span_ns >= reach
    if not len(timeline.created):
        steady = False
        verdict = "No snapshot was taken: no tick of the schedule lies within the instants."
    elif reach is None:
        verdict = (
            f"The policy keeps some snapshots without end, the trace lasts {span}: space goes on growing, "
            f"and the peak is only "
            "that of the trace."
        )
    elif not steady:
        share = min(100 * trace_span_ns / reach, 99.9)
        verdict = (
            f"The policy reaches back {format_duration(reach)}, the trace lasts {span} ({share:.3g} % of "
            f"it): only the start-up "
            "was seen, and the steady state needs more space than the peak shown."
        )
    elif trace_span_ns < 2 * reach:
        verdict = (
            f"The policy reaches back {format_duration(reach)}, the trace lasts {span}: the steady state "
            f"was reached, but the "
            "trace shows less than one more reach of it."
        )
    else:
        verdict = (
            f"The policy reaches back {format_duration(reach)}, the trace lasts {span}: "
            "the steady state was reached."
        )
    if timeline.merged_ticks:
        verdict += (
            f" The schedule is finer than the instants: {timeline.merged_ticks} of its ticks fell together."
        )
    if time_scale != 1.0:
        verdict += f" The recording was paced: one second of it stands for {time_scale:g} seconds."
    return Coverage(
        verdict=" ".join((verdict, *remarks)),
        policy_reach_ns=reach,
        trace_span_ns=trace_span_ns,
        steady=steady,
        steady_from_ns=reach if steady else None,
        time_scale=time_scale,
    )
