"""`snapsim simulate`: the main job, from traces and a policy to the space that is needed."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from snapsim.cli.app import group as new_group
from snapsim.cli.happening import Happening, clock_of
from snapsim.cli.mechanisms import find
from snapsim.cli.output import check_writable, print_json, write_csv
from snapsim.cli.progress import bar, doing
from snapsim.cli.reading import File, Json, Reading, load, warn_about
from snapsim.cli.rules import Rules, policy_of
from snapsim.cli.wording import assignments, worded
from snapsim.errors import UsageError, VolumeSelectionError

if TYPE_CHECKING:
    from snapsim.engine.lifetimes import LifetimeMatrix
    from snapsim.mechanisms import Mechanism
    from snapsim.planning.growth import Growth
    from snapsim.traces.trace import Trace

__all__ = ["INITIAL_HELP", "app", "check_every", "check_initial", "simulate", "system_of", "volumes_of"]

app = new_group("simulate", "Say how much space the snapshots of a policy need.")

STARTS = ("thick", "thin", "read-first")
INITIAL_HELP = (
    "What existed before the trace: thick (the whole volume), thin (nothing), read-first (what is read "
    "before it is written), or the file that qemu-img map --output=json wrote."
)
_OUTPUT = Group("Output", sort_key=20)


@app.default
def simulate(
    *traces: File,
    policy: Annotated[Path | None, Parameter(metavar="FILE")] = None,
    policy_name: Annotated[str | None, Parameter(metavar="NAME")] = None,
    rules: Rules = Rules(),  # noqa: B008  frozen
    happening: Happening = Happening(),  # noqa: B008  frozen
    mechanism: Annotated[str, Parameter(metavar="NAME")] = "qcow2-external",
    option: Annotated[Sequence[str], Parameter(metavar="NAME=VALUE")] = (),
    block_size: Annotated[str | None, Parameter(metavar="SIZE")] = None,
    every: Annotated[str | None, Parameter(metavar="DURATION")] = None,
    initial: Annotated[str | None, Parameter(metavar="WHAT", help=INITIAL_HELP)] = None,
    group: bool = False,
    reading: Reading = Reading(),  # noqa: B008  frozen
    report: Annotated[Path | None, Parameter(metavar="PAGE.html", group=_OUTPUT)] = None,
    csv: Annotated[Path | None, Parameter(metavar="FILE.csv", group=_OUTPUT)] = None,
    as_json: Annotated[Json, Parameter(group=_OUTPUT)] = False,
) -> None:
    """Say how much space the snapshots of a policy need, from the disk's own trace.

    Several traces, or --group, are the disks of one machine or of one pool: they are summed on one clock,
    so that the answer is the peak of the sum.

    Parameters
    ----------
    *traces : Path
        One volume, or the volumes of a group.
    policy : Path, optional
        A policy file (TOML), or the name of a preset.
    policy_name : str, optional
        Which policy of the file, where there are several.
    rules : Rules
        The policy, if there is no file.
    happening : Happening
        What the policy acts on beside its clock.
    mechanism : str
        How the system keeps snapshots: see snapsim mechanisms; or a mechanism file of your own.
    option : sequence of str
        An option of the mechanism as name=value (refcount_bits=16); may be repeated.
    block_size : str, optional
        The mechanism's block size ("64KiB"), instead of its default.
    every : str, optional
        Count at the multiples of this interval ("5min"), instead of at the ticks of the schedule only.
    initial : str, optional
        What existed before the trace; thick unless said, or what a change trace knows of it.
    group : bool
        Sum all volumes of the trace.
    reading : Reading
        How to read the traces.
    report : Path, optional
        Write the answer as an HTML page, with figures; it needs nothing from elsewhere.
    csv : Path, optional
        Write the space over time, a row an instant.
    as_json : bool
        Print JSON.
    """
    # what can be refused is refused before a long trace is read
    chosen = policy_of(policy, policy_name, rules)
    system = system_of(mechanism, option, block_size)
    check_initial(initial)
    check_every(every)
    acts_on = happening.keywords()
    clock = clock_of(chosen, every)
    for output in (report, csv):
        check_writable(output)

    volumes = volumes_of(traces, reading, group=group)
    with bar("counting", unit="requests") as progress, worded():
        from snapsim.planning.growth import growth
        from snapsim.planning.lifetimes import count_group
        from snapsim.planning.running import run_policy

        counted = count_group(
            volumes, **clock, block_size=system.block_size, initial=initial, progress=progress
        )
        timeline = run_policy(chosen, counted, mechanism=system, **acts_on)
        one = next(iter(counted.values())) if len(counted) == 1 else None
        answer = growth(counted if one is None else one, timeline, mechanism=system)
    if not as_json:  # first the answer: drawing takes longer than counting
        print(answer.text(), flush=True)
    trace = None if one is None else next(iter(volumes.values()))
    files = _write(answer, one, trace, report=report, csv=csv)
    if as_json:
        print_json({**answer.summary(), "files": files})
    else:
        for kind, path in files.items():
            print(f"  {kind:<18}  {path}")


def system_of(name: str, options: Sequence[str], block_size: str | None) -> "Mechanism":
    """Return the mechanism that was asked for, set up as asked for.

    Parameters
    ----------
    name : str
        A mechanism, or the path of a mechanism file.
    options : sequence of str
        As name=value.
    block_size : str or None
        Instead of its own.

    Returns
    -------
    Mechanism
        With these options.

    Raises
    ------
    UsageError, MechanismError
        There is no such mechanism or option.
    """
    pairs = {key: _value(text) for key, text in assignments(options, option="--option").items()}
    if block_size is not None:
        if "block_size" in pairs:
            raise UsageError("--block-size and --option block_size are both given")
        pairs["block_size"] = block_size
    found = find(name)
    return found.with_options(**pairs) if pairs else found


def _value(text: str) -> int | bool | str:
    """Read the value of an option: a whole number, true or false, or text."""
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    return int(text) if text.isdecimal() else text


def check_initial(initial: str | None, starts: Sequence[str] = STARTS) -> None:
    """Refuse what says nothing about what existed before a trace.

    Parameters
    ----------
    initial : str or None
        As typed; None is fine.
    starts : sequence of str
        The words that are understood.

    Raises
    ------
    UsageError
        It is none of them, and no file.
    """
    if initial is not None and initial not in starts and not Path(initial).is_file():
        raise UsageError(
            f"--initial {initial!r} is none of {', '.join(starts)}, and there is no file of that name with "
            "the map of an image"
        )


def check_every(every: str | None, option: str = "--every", *, zero: bool = False) -> None:
    """Refuse what is no interval.

    Parameters
    ----------
    every : str or None
        As typed; None is fine.
    option : str
        Its name, for the message.
    zero : bool
        Whether it may be zero.

    Raises
    ------
    UsageError
        It cannot be read, or is zero.
    """
    from snapsim.units import parse_duration

    try:
        interval = None if every is None else parse_duration(every)
    except UsageError as error:
        raise UsageError(f"{option}: {error}") from None
    if interval == 0 and not zero:
        raise UsageError(f"{option}: an interval cannot be zero")


def volumes_of(paths: Sequence[Path], reading: Reading, *, group: bool) -> "dict[str, Trace]":
    """Read traces, one of each volume, under names that tell them apart.

    Parameters
    ----------
    paths : sequence of Path
        The files.
    reading : Reading
        How to read them.
    group : bool
        Take all volumes of a trace that has several.

    Returns
    -------
    dict of str to Trace
        One volume each.

    Raises
    ------
    UsageError
        A trace is given twice, or has several volumes.
    """
    traces = {path: load(path, reading) for path in paths}
    if len(traces) < len(paths):
        raise UsageError("the same trace is given twice")
    volumes: dict[str, Trace] = {}
    for path, trace in traces.items():
        warn_about(path, trace)
        if len(trace.volumes) > 1 and not group and len(paths) == 1:
            raise VolumeSelectionError(_which(path, trace.volumes))
        for volume in trace.volumes:
            several = len(trace.volumes) > 1
            name = volume if len(paths) == 1 else f"{_stem(path)}/{volume}" if several else _stem(path)
            if name in volumes:  # two folders may hold files of one name
                name = f"{path}/{volume}" if several else str(path)
            volumes[name] = trace.select(volume=volume) if several else trace
    return volumes


def _stem(path: Path) -> str:
    return path.name.split(".")[0] or path.name


def _which(path: Path, volumes: Sequence[str]) -> str:
    names = ", ".join(volumes[:10]) + (f", ... ({len(volumes):,} in all)" if len(volumes) > 10 else "")
    count = len(volumes)
    return f"{path} has {count:,} volumes: choose one with --volume NAME, or sum them with --group: {names}"


def _write(
    answer: "Growth",
    lifetimes: "LifetimeMatrix | None",
    trace: "Trace | None",
    *,
    report: Path | None,
    csv: Path | None,
) -> dict[str, Path]:
    """Write what was asked for; return where it is."""
    files = {}
    if csv is not None:
        write_csv(answer.frame, csv)
        files["csv"] = csv
    if report is not None:
        with doing(f"writing {report}"):
            from snapsim.report import write

            files["report"] = write(answer, report, trace=trace, lifetimes=lifetimes)
    return files
