"""Options of the commands that replay a trace, and what they share."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter

from snapsim.cli.device import find
from snapsim.cli.happening import Happening, clock_of
from snapsim.cli.progress import bar
from snapsim.cli.reading import Reading, load, warn_about
from snapsim.errors import UsageError, VolumeSelectionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from snapsim.mechanisms import Mechanism
    from snapsim.policy.policy import Policy
    from snapsim.policy.timeline import Timeline
    from snapsim.traces.trace import Trace

__all__ = ["Replaying", "one_volume", "timeline_of"]


@Parameter(name="*", group=Group("The replay", sort_key=7))
@dataclass(frozen=True, kw_only=True)
class Replaying:
    """How a trace is replayed.

    Attributes
    ----------
    device : str
        Where it happens: see snapsim device list; a device file of your own; or none, to count I/O without
        latencies.
    interval : str or None
        Length of the intervals of the answer ("1h"); so that there are about 200 unless said.
    cache_size : str or None
        Size of the cache of tables ("1MiB"; of each layer, where layers are files), instead of the
        mechanism's.
    cache_entry_size : str or None
        What is read into that cache at a time ("4KiB").
    merge : str
        Where layers are files, a deletion copies the layer above down (commit) or the layer itself up
        (stream).
    merge_speed : str
        Merges copy as much in a second.
    """

    device: Annotated[str, Parameter(metavar="NAME")] = "nvme"
    interval: Annotated[str | None, Parameter(metavar="DURATION")] = None
    cache_size: Annotated[str | None, Parameter(metavar="SIZE")] = None
    cache_entry_size: Annotated[str | None, Parameter(metavar="SIZE")] = None
    merge: Literal["commit", "stream"] = "commit"
    merge_speed: Annotated[str, Parameter(metavar="SIZE")] = "64MiB"

    def keywords(self) -> dict[str, Any]:
        """Return it as keywords of `snapsim.replay`.

        Raises
        ------
        UsageError
            A size or a duration cannot be read, or the device is unknown.
        """
        from snapsim.units import parse_duration, parse_size

        def read(parse: "Callable[[int | str], int]", text: str | None, option: str) -> int | None:
            try:
                value = None if text is None else parse(text)
            except UsageError as error:
                raise UsageError(f"{option}: {error}") from None
            if value == 0:
                raise UsageError(f"{option}: it cannot be zero")
            return value

        return {
            "device": None if self.device.lower() == "none" else find(self.device),
            "interval": read(parse_duration, self.interval, "--interval"),
            "cache_bytes": read(parse_size, self.cache_size, "--cache-size"),
            "cache_entry_bytes": read(parse_size, self.cache_entry_size, "--cache-entry-size"),
            "merge": self.merge,
            "merge_speed": read(parse_size, self.merge_speed, "--merge-speed"),
        }


def one_volume(path: Path, reading: Reading) -> "Trace":
    """Read a trace of one volume.

    Parameters
    ----------
    path : Path
        As typed.
    reading : Reading
        How.

    Returns
    -------
    Trace
        Of one volume.

    Raises
    ------
    VolumeSelectionError
        It has several.
    """
    trace = load(path, reading)
    warn_about(path, trace)
    if len(trace.volumes) > 1:
        names = ", ".join(trace.volumes[:10]) + (", ..." if len(trace.volumes) > 10 else "")
        raise VolumeSelectionError(
            f"{path} has {len(trace.volumes):,} volumes, and one is replayed at a time: choose it with "
            f"--volume NAME: {names}"
        )
    return trace


def timeline_of(
    trace: "Trace",
    policy: "Policy",
    happening: Happening,
    *,
    every: str | None,
    mechanism: "Mechanism",
    initial: str,
) -> "Timeline":
    """Return which snapshots of a policy exist when.

    Parameters
    ----------
    trace : Trace
        Of one volume.
    policy : Policy
        The policy.
    happening : Happening
        What it acts on beside its clock.
    every : str or None
        Distance of instants, instead of the ticks of the schedule.
    mechanism : Mechanism
        How full a pool is depends on it.
    initial : str
        What existed before the trace.

    Returns
    -------
    Timeline
        The policy over time.
    """
    clock, acts_on = clock_of(policy, every), happening.keywords()
    looks = any(one.min_written or one.quiet_ns for one in policy.schedule_classes)
    if looks or acts_on["pool_size"] is not None:
        from snapsim.planning.lifetimes import count_lifetimes
        from snapsim.planning.running import run_policy

        with bar("counting", unit="requests") as progress:
            counted = count_lifetimes(
                trace, **clock, block_size=mechanism.block_size, initial=initial, progress=progress
            )
        return run_policy(policy, counted, mechanism=mechanism, **acts_on)
    from snapsim.planning.instants import from_schedules, regular

    start, last = trace.start_ns, trace.start_ns + trace.last_ns
    if "every" in clock:
        instants = regular(clock["every"], start_ns=start, last_ns=last)
    else:
        instants = from_schedules([policy], start_ns=start, last_ns=last)
    return policy.timeline(instants, downtimes=acts_on["downtimes"], events=acts_on["events"])
