"""Which ticks of a schedule are run, and when: jitter, missed ticks, the next one.

The simulator asks for a year at once (`planned`), the real run every minute (`due`).  Both go through the
same two steps, `jittered` and `_chosen`, so that whoever wakes up at the same moments takes the same
snapshots.
"""

import hashlib
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from snapsim.errors import PolicyError
from snapsim.policy.schedule import Schedule
from snapsim.policy.times import format_instant
from snapsim.types import Int64Array
from snapsim.units import format_duration

CatchUp = Literal["none", "once", "all"]
"""What happens to ticks that were missed while nothing ran: nothing, one run for all of them, or one each."""

_FARTHEST = 64  # doublings of a schedule's period


class Runs(NamedTuple):
    """Ticks that are run.

    Attributes
    ----------
    tick_ns : int64 array, shape (n_runs,)
        The tick, as the schedule has it, UTC, ascending.  [ns]
    at_ns : int64 array, shape (n_runs,)
        When it is run, UTC; never before the tick, never descending.  [ns]
    """

    tick_ns: Int64Array
    at_ns: Int64Array

    @property
    def max_delay_ns(self) -> int:
        """How long the run that waited longest had to wait.  [ns]"""
        return int((self.at_ns - self.tick_ns).max(initial=0))


def jittered(schedule: Schedule, start_ns: int, stop_ns: int, *, jitter_ns: int = 0, seed: str = "") -> Runs:
    """Return a schedule's ticks, each a little late, so that many machines do not all start at once.

    The delay depends on nothing but the seed and the tick (SplitMix64, Steele, Lea and Flood 2014, of a
    SHA-256 of the seed), is between 0 and `jitter_ns`, and ends before the next tick.

    Parameters
    ----------
    schedule : Schedule
        The schedule.
    start_ns, stop_ns : int
        Half-open span of the delayed ticks, UTC.  [ns]
    jitter_ns : int
        Largest delay.  [ns]
    seed : str
        What tells this policy from others: its name.

    Returns
    -------
    Runs
        The ticks and when they come; ascending and without repetition.

    Raises
    ------
    PolicyError
        The jitter is negative, or there are too many ticks.
    """
    _not_negative("jitter", jitter_ns)
    if stop_ns <= start_ns:
        return Runs(_NONE, _NONE)
    ticks = schedule.ticks(start_ns - jitter_ns, stop_ns + jitter_ns + (jitter_ns > 0))
    at_ns = ticks + _delays(ticks, jitter_ns, seed)
    first, last = np.searchsorted(at_ns, (start_ns, stop_ns))
    return Runs(ticks[first:last], at_ns[first:last])


_NONE = np.zeros(0, dtype=np.int64)


def _delays(ticks: Int64Array, jitter_ns: int, seed: str) -> Int64Array:
    """Return each tick's delay; the last tick's is right only if no tick follows within the jitter."""
    if not jitter_ns:
        return np.zeros_like(ticks)
    most = np.full(ticks.size, jitter_ns, dtype=np.int64)
    most[:-1] = np.minimum(jitter_ns, np.diff(ticks) - 1)
    salt = np.frombuffer(hashlib.sha256(seed.encode("utf-8", "surrogatepass")).digest()[:8], dtype="<u8")
    bits = ticks.view(np.uint64) ^ salt.astype(np.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits = (bits ^ (bits >> np.uint64(shift))) * np.uint64(factor)
    bits ^= bits >> np.uint64(31)
    delays: Int64Array = (bits % (most.view(np.uint64) + np.uint64(1))).view(np.int64)
    return delays


def _chosen(
    planned_ns: Int64Array, at_ns: Int64Array, catch_up: CatchUp, grace_ns: int
) -> npt.NDArray[np.intp]:
    """Return which ticks are run, where each could be run at `at_ns` at the earliest.

    A tick that waits longer than the grace is a missed one.  What comes at one moment is one run, unless all
    are asked for: of several snapshots of the same moment all but one are for nothing.
    """
    if catch_up not in get_args(CatchUp):
        raise PolicyError(f'catch_up is {catch_up!r}: give "none", "once" or "all"')
    _not_negative("grace", grace_ns)
    if catch_up == "all":
        return np.arange(planned_ns.size)
    run: npt.NDArray[np.intp] = np.arange(planned_ns.size)
    if catch_up == "none":
        run = np.flatnonzero(at_ns - planned_ns <= grace_ns)
    newest: npt.NDArray[np.bool_] = np.append(at_ns[run][1:] != at_ns[run][:-1], True)[: run.size]
    return run[newest]


def with_downtime(
    ticks: Int64Array,
    downtimes: Sequence[tuple[int, int]] = (),
    catch_up: CatchUp = "once",
    *,
    grace_ns: int = 0,
) -> Runs:
    """Return which ticks are run, and when, if nothing can run during some spans.

    Parameters
    ----------
    ticks : int64 array, shape (n_ticks,)
        When something is planned, UTC, ascending.  [ns]
    downtimes : sequence of (int, int)
        Half-open spans in which nothing runs, in any order; they may overlap.  [ns]
    catch_up : {"none", "once", "all"}
        What happens at the end of a span to the ticks in it.
    grace_ns : int
        How late a tick may be run and still not count as missed.  [ns]

    Returns
    -------
    Runs
        The ticks that are run: on time, or at the end of the span that they fell into.

    Raises
    ------
    PolicyError
        A span ends before it starts, or an option is wrong.
    """
    at_ns = _first_up(ticks, downtimes)
    run = _chosen(ticks, at_ns, catch_up, grace_ns)
    return Runs(ticks[run], at_ns[run])


def _first_up(ticks: Int64Array, downtimes: Sequence[tuple[int, int]]) -> Int64Array:
    """Return the first moment not before each tick that is in no downtime."""
    spans = np.array(sorted(span for span in downtimes), dtype=np.int64).reshape(-1, 2)
    for start, stop in spans[spans[:, 1] < spans[:, 0]].tolist():
        raise PolicyError(
            f"downtime from {format_instant(start)} to {format_instant(stop)} ends before it starts: "
            "give its start first"
        )
    spans = spans[spans[:, 1] > spans[:, 0]]
    if not spans.size:
        return ticks
    ends = np.maximum.accumulate(spans[:, 1])
    fresh = np.append(True, spans[1:, 0] > ends[:-1])  # spans that touch are one
    starts, stops = spans[fresh, 0], ends[np.append(np.flatnonzero(fresh)[1:] - 1, ends.size - 1)]
    span = np.searchsorted(starts, ticks, side="right") - 1
    return np.where((span >= 0) & (ticks < stops[span]), stops[span], ticks)


def planned(
    schedule: Schedule,
    start_ns: int,
    stop_ns: int,
    *,
    downtimes: Sequence[tuple[int, int]] = (),
    catch_up: CatchUp = "once",
    grace_ns: int = 0,
    jitter_ns: int = 0,
    seed: str = "",
) -> Runs:
    """Return all runs of a schedule over a span of time: the simulator's question.

    Parameters
    ----------
    schedule : Schedule
        The schedule.
    start_ns, stop_ns : int
        Half-open span, UTC; ticks before it are none of its business.  [ns]
    downtimes : sequence of (int, int)
        Half-open spans in which nothing runs.  [ns]
    catch_up : {"none", "once", "all"}
        What happens to ticks that were missed.
    grace_ns : int
        How late a tick may be run and still not count as missed.  [ns]
    jitter_ns : int
        Largest delay; see `jittered`.  [ns]
    seed : str
        The policy's name; see `jittered`.

    Returns
    -------
    Runs
        The ticks and when they are run.

    Raises
    ------
    PolicyError
        An option is wrong, or there are too many ticks.
    """
    plan = jittered(schedule, start_ns, stop_ns, jitter_ns=jitter_ns, seed=seed)
    at_ns = _first_up(plan.at_ns, downtimes)
    run = _chosen(plan.at_ns, at_ns, catch_up, grace_ns)
    run = run[at_ns[run] < stop_ns]
    return Runs(plan.tick_ns[run], at_ns[run])


def due(
    schedule: Schedule,
    last_run_ns: int | None,
    now_ns: int,
    catch_up: CatchUp = "once",
    *,
    grace_ns: int = 0,
    jitter_ns: int = 0,
    seed: str = "",
) -> Runs:
    """Return the ticks that are to be run now: the real run's question.

    Parameters
    ----------
    schedule : Schedule
        The schedule.
    last_run_ns : int or None
        When the last one was run (or was looked for), UTC; None if never, and then none was missed.  [ns]
    now_ns : int
        Now, UTC.  If the clock was put back behind `last_run_ns`, nothing is due.  [ns]
    catch_up : {"none", "once", "all"}
        What happens to ticks that were missed.
    grace_ns : int
        How late a tick may be run and still not count as missed: at least the distance at which this
        function is called, where `catch_up` is "none".  [ns]
    jitter_ns : int
        Largest delay; see `jittered`.  [ns]
    seed : str
        The policy's name; see `jittered`.

    Returns
    -------
    Runs
        The ticks, all at `now_ns`; at most one, unless `catch_up` is "all".

    Raises
    ------
    PolicyError
        An option is wrong, or there are too many ticks.
    """
    since = now_ns - grace_ns if last_run_ns is None else last_run_ns + 1
    plan = jittered(schedule, since, now_ns + 1, jitter_ns=jitter_ns, seed=seed)
    at_ns = np.full(plan.at_ns.size, now_ns, dtype=np.int64)
    run = _chosen(plan.at_ns, at_ns, catch_up, grace_ns)
    return Runs(plan.tick_ns[run], at_ns[run])


def next_run(schedule: Schedule, after_ns: int, *, jitter_ns: int = 0, seed: str = "") -> int:
    """Return when a schedule comes next.

    Parameters
    ----------
    schedule : Schedule
        The schedule.
    after_ns : int
        Moment before it, UTC.  [ns]
    jitter_ns : int
        Largest delay; see `jittered`.  [ns]
    seed : str
        The policy's name; see `jittered`.

    Returns
    -------
    int
        The first (delayed) tick after that moment, UTC.  [ns]

    Raises
    ------
    PolicyError
        There is none before the year 2116 (62 bits of nanoseconds).
    """
    span = schedule.period_ns + jitter_ns + 1
    latest = np.iinfo(np.int64).max // 2
    for _ in range(_FARTHEST):
        stop_ns = min(after_ns + 1 + span, latest)
        found = jittered(schedule, after_ns + 1, stop_ns, jitter_ns=jitter_ns, seed=seed).at_ns
        if found.size:
            return int(found[0])
        if stop_ns == latest:
            break
        span *= 2
    raise PolicyError(f"schedule {str(schedule)!r} has no tick after {format_instant(after_ns)}")


def _not_negative(what: str, value_ns: int) -> None:
    if value_ns < 0:
        raise PolicyError(f"{what} is -{format_duration(-value_ns)}: give a duration that is not negative")
