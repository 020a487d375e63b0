"""`snapsim device`: models of storage devices, and measuring one's own."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from snapsim.cli.app import group
from snapsim.cli.output import check_writable, print_json, print_table
from snapsim.cli.progress import bar
from snapsim.cli.reading import Json
from snapsim.cli.wording import known

if TYPE_CHECKING:
    from snapsim.devices import Access, Device
    from snapsim.devices.measuring import Plan, Reading
    from snapsim.planning.calibration import Comparison

__all__ = ["app", "find", "list_devices", "measure", "show"]

app = group("device", "List storage devices, and measure your own.")


@app.command(name="list")
def list_devices(*, as_json: Json = False) -> None:
    """List the devices that snapsim comes with.

    Parameters
    ----------
    as_json : bool
        Print JSON.
    """
    from snapsim.devices import device, devices

    found = [device(name) for name in devices()]
    if as_json:
        print_json([{"name": one.name, "title": one.title, "kind": one.kind} for one in found])
        return
    print_table(
        ("name", "device", "random read", "random write", "flush", "at a time"),
        [(one.name, one.title, *_short(one), str(one.channels)) for one in found],
    )
    print("\nsnapsim device show NAME says everything about one, and where each figure comes from.")


def _short(one: "Device") -> tuple[str, str, str]:
    from snapsim.units import format_duration

    times = one.read.random, one.write.random, one.flush
    seek, turn = one.mechanics.average_seek, 30_000_000_000 // one.mechanics.rpm if one.mechanics.rpm else 0
    moved = times[0] + seek + turn, times[1] + seek + turn, times[2]
    return tuple(format_duration(each) for each in moved)  # type: ignore[return-value]


@app.command
def show(name: Annotated[str, Parameter(metavar="NAME")], /, *, as_json: Json = False) -> None:
    """Say everything about a device.

    Parameters
    ----------
    name : str
        A device, or the path of a device file.
    as_json : bool
        Print JSON.
    """
    one = find(name)
    if as_json:
        print_json({**one.document(), "validated": one.validated})
    else:
        print("\n".join(_everything(one)))


def find(name: str) -> "Device":
    """Return a device by its name or the path of its file.

    Parameters
    ----------
    name : str
        As typed.

    Returns
    -------
    Device
        As it comes.

    Raises
    ------
    UsageError
        It is unknown; the message has the nearest one.
    """
    from snapsim.devices import device, devices

    if not name.endswith(".toml"):
        known("device", name, devices(), instead="the path of a device file ending in .toml")
    return device(name)


def _everything(one: "Device") -> Iterator[str]:
    from snapsim.units import format_duration, format_size

    yield f"{one.name}: {one.title}"
    facts = {
        "capacity": format_size(one.capacity),
        "read": _access(one.read),
        "write": _access(one.write),
        "flush": format_duration(one.flush),
        "discard": format_duration(one.discard),
        "at a time": f"{one.channels}, chosen among {one.queue_depth} that wait, "
        + ("the nearest first" if one.order == "nearest" else "in order of arrival"),
    }
    if one.mechanics.rpm:
        part = one.mechanics
        seeks = (part.track_to_track, part.average_seek, part.full_stroke)
        low, mean, high = (format_duration(each) for each in seeks)
        facts["mechanics"] = (
            f"{part.rpm} rpm; seeks of {low} to the next track, {mean} on average, at most {high}"
        )
    if one.cold.unit:
        penalty, unit = format_duration(one.cold.penalty), format_size(one.cold.unit)
        facts["cold reads"] = f"{penalty} more for the first read of each {unit} of a restored volume"
    yield from (f"  {head:<10}  {text}" for head, text in facts.items())
    yield "\nWhere this comes from:"
    yield from (f"  {item.about:<12}  {item.status}: {item.source}" for item in one.evidence)
    if one.caveats:
        yield "\nKeep in mind:"
        yield from (f"  - {text}" for text in one.caveats)


def _access(access: "Access") -> str:
    from snapsim.units import format_duration, format_size

    parts = [f"{format_duration(access.random)} (sequential {format_duration(access.sequential)})"]
    parts += [f"{format_size(access.rate)}/s on a channel"] if access.rate else []
    parts += [f"at most {access.operations:,} a second"] if access.operations else []
    parts += [f"at most {format_size(access.throughput)}/s"] if access.throughput else []
    return ", ".join(parts)


@app.command
def measure(
    *,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"], metavar="FILE")] = None,
    folder: Annotated[Path | None, Parameter(metavar="FOLDER")] = None,
    target: Annotated[Path | None, Parameter(metavar="PATH")] = None,
    size: Annotated[str, Parameter(metavar="SIZE")] = "1GiB",
    seconds: float = 2.0,
    name: Annotated[str | None, Parameter(metavar="NAME")] = None,
    buffered: bool = False,
    plan: bool = False,
    yes: bool = False,
    as_json: Json = False,
) -> None:
    """Measure a disk with fio, and write what it does as a device file.

    Without --target, a temporary file is made, measured on, and removed.

    Parameters
    ----------
    output : Path, optional
        The device file to write, ending in .toml; without it the device is only printed.
    folder : Path, optional
        Where to make the temporary file: on the disk to measure; here unless said.
    target : Path, optional
        Measure on this file or block device instead. ALL THAT IS IN IT IS LOST: needs --yes.
    size : str
        How much to measure on: more than caches hold, or the caches are what is measured.
    seconds : float
        For each of the jobs.
    name : str, optional
        Of the device; the name of the output file unless said.
    buffered : bool
        Through the page cache, where the file system cannot do without it.
    plan : bool
        Only say what would be run.
    yes : bool
        Overwrite the target.
    as_json : bool
        Print JSON.
    """
    from snapsim.devices.measuring import run_plan

    _check(output, target=target, folder=folder)
    with _prepared(target, folder=folder, size=size, seconds=seconds, direct=not buffered) as planned:
        if plan:
            _print_plan(planned, made=target is None, as_json=as_json)
            return
        if target is not None and not yes:
            from snapsim.errors import UsageError

            raise UsageError(
                f"measuring on {target} destroys what is in it: look at the plan with --plan, then add --yes"
            )
        if not as_json:
            _print_plan(planned, made=target is None, as_json=False)
        with bar("measuring", unit="jobs") as progress:
            version, readings = run_plan(planned, progress=progress)
    _conclude(planned, version, readings, output=output, name=name, as_json=as_json)


def _check(output: Path | None, *, target: Path | None, folder: Path | None) -> None:
    from snapsim.errors import UsageError

    check_writable(output)
    if output is not None and output.suffix != ".toml":
        raise UsageError(f"{output} is no name for a device file: let it end in .toml")
    if target is not None and folder is not None:
        raise UsageError("--target and --folder exclude each other: the folder is for a temporary file")
    if target is not None and not (target.is_file() or target.is_block_device()):
        raise UsageError(f"{target} is neither a file nor a block device: name one that exists")
    if folder is not None and not folder.is_dir():
        raise UsageError(f"there is no folder {folder}")


@contextmanager
def _prepared(
    target: Path | None, *, folder: Path | None, size: str, seconds: float, direct: bool
) -> "Iterator[Plan]":
    """Give a plan; a temporary file lives as long as this, whatever happens."""
    from snapsim.devices.measuring import plan_measurement
    from snapsim.errors import MeasurementError
    from snapsim.units import format_size, parse_size

    wanted = parse_size(size)
    if target is not None:
        with target.open("rb") as file:
            there = file.seek(0, os.SEEK_END)
        yield plan_measurement(target, size=min(wanted, there), seconds=seconds, direct=direct)
        return
    place = folder or Path()
    plan = plan_measurement(place / "file", size=wanted, seconds=seconds, direct=direct)
    status = os.statvfs(place)
    if (free := status.f_bavail * status.f_frsize) < plan.size + plan.size // 10:
        raise MeasurementError(
            f"{place.absolute()} has {format_size(free)} left, too little for a file of "
            f"{format_size(plan.size)}: give a smaller --size or another --folder"
        )
    with tempfile.TemporaryDirectory(prefix=".snapsim-measure-", dir=place) as made:
        yield plan_measurement(Path(made) / "file", size=wanted, seconds=seconds, direct=direct)


def _print_plan(plan: "Plan", *, made: bool, as_json: bool) -> None:
    from snapsim.units import format_size

    commands = [plan.layout(), *(plan.command(job) for job in plan.jobs)]
    if as_json:
        print_json({"target": plan.target, "size": plan.size, "temporary": made, "commands": commands})
        return
    what = (
        "a temporary file in " + str(plan.target.absolute().parent.parent)
        if made
        else f"{plan.target} (OVERWRITTEN)"
    )
    print(f"measuring on {format_size(plan.size)} of {what}")
    print(
        "  first       everything is written once\n"
        f"  then        {len(plan.jobs)} jobs of {plan.seconds:g} s each:"
    )
    for job in plan.jobs:
        print(f"              {job}")


def _conclude(
    plan: "Plan",
    version: str,
    readings: "list[Reading]",
    *,
    output: Path | None,
    name: str | None,
    as_json: bool,
) -> None:
    from snapsim.devices import device_toml
    from snapsim.devices.fitting import fit_device
    from snapsim.planning.calibration import compare_readings
    from snapsim.traces.atomic import replacing
    from snapsim.units import format_size

    way = "past the page cache" if plan.direct else "through the page cache"
    length = f"{plan.seconds:g} s for each of {len(plan.jobs)} jobs"
    called = name or (output.stem if output is not None else "measured")
    device = fit_device(
        readings,
        name=called,
        title=f"{called}, measured",
        capacity=plan.size,
        source=f"{version} on {format_size(plan.size)}, {length}, {way}.",
        caveats=() if plan.direct else ("Measured through the page cache: memory, more than the disk.",),
    )
    comparisons = compare_readings(device, readings)
    if output is not None:
        place = output.absolute()
        with replacing(place) as folder:
            (folder / place.name).write_text(device_toml(device), encoding="utf-8")
    if as_json:
        rows = [_row(one) for one in comparisons]
        print_json({"device": device.document(), "jobs": rows, "output": output})
        return
    print()
    print_table(
        ("requests a second", "measured", "model", "off by"),
        [
            (str(one.job), f"{one.measured:,.0f}", f"{one.predicted:,.0f}", f"{one.error:+.0%}")
            for one in comparisons
        ],
    )
    print("\n" + "\n".join(_everything(device)))
    if output is not None:
        print(f"\ndevice file: {output}")


def _row(one: "Comparison") -> dict[str, Any]:
    job = {"pattern": one.job.pattern, "size": one.job.size, "depth": one.job.depth, "flush": one.job.flush}
    return {**job, "measured": one.measured, "predicted": one.predicted}
