"""`snapsim clones`: many clones of one base image."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

from snapsim.cli.app import group as new_group
from snapsim.cli.device import find as find_device
from snapsim.cli.output import check_writable, print_json, write_csv
from snapsim.cli.progress import bar
from snapsim.cli.reading import File, Json, Reading
from snapsim.cli.restore_time import check_figure, check_size
from snapsim.cli.simulate import check_every, check_initial, system_of, volumes_of
from snapsim.cli.wording import worded
from snapsim.errors import UsageError

__all__ = ["app", "clones"]

app = new_group("clones", "Follow many clones of one base image: growth, and resets of all of them.")

_STARTS = ("thick",)
_INITIAL_HELP = (
    "What the base holds: thick (the whole volume), or the file that qemu-img map --output=json wrote."
)
_OUTPUT = Group("Output", sort_key=20)


@app.default
def clones(
    *traces: File,
    count: Annotated[int, Parameter(name=["--count", "-n"], metavar="N")],
    mechanism: Annotated[str, Parameter(metavar="NAME")] = "qcow2-external",
    option: Annotated[Sequence[str], Parameter(metavar="NAME=VALUE")] = (),
    block_size: Annotated[str | None, Parameter(metavar="SIZE")] = None,
    device: Annotated[str, Parameter(metavar="NAME")] = "nvme",
    initial: Annotated[str, Parameter(metavar="WHAT", help=_INITIAL_HELP)] = "thick",
    stagger: Annotated[str | None, Parameter(metavar="DURATION")] = None,
    reset: Annotated[str | None, Parameter(metavar="DURATION")] = None,
    every: Annotated[str | None, Parameter(metavar="DURATION")] = None,
    object_size: Annotated[str, Parameter(metavar="SIZE")] = "4MiB",
    reading: Reading = Reading(),  # noqa: B008  frozen
    figure: Annotated[Path | None, Parameter(metavar="FILE.svg", group=_OUTPUT)] = None,
    csv: Annotated[Path | None, Parameter(metavar="FILE.csv", group=_OUTPUT)] = None,
    as_json: Annotated[Json, Parameter(group=_OUTPUT)] = False,
) -> None:
    """Follow many clones of one base image: a classroom, a test farm.

    What each clone writes goes to an overlay of its own; the base is shared.  With several traces, or one of
    several volumes, these are dealt out to the clones in turn.

    Parameters
    ----------
    *traces : Path
        What the clones do.
    count : int
        Number of clones.
    mechanism : str
        How overlays are kept: see snapsim mechanisms; or a mechanism file of your own.
    option : sequence of str
        An option of the mechanism as name=value (refcount_bits=16); may be repeated.
    block_size : str, optional
        The mechanism's block size ("64KiB"), instead of its default.
    device : str
        Where they lie, for how long resets take: see snapsim device list.
    initial : str
        What the base holds.
    stagger : str, optional
        From the start of one clone to that of the next ("10min"); all at once unless said.
    reset : str, optional
        Throw all clones away and make them anew at the multiples of this ("1d"); never unless said.
    every : str, optional
        Distance of the instants; some 200 of them unless said.
    object_size : str
        For comparison: clones of objects that are copied up whole at their first write (rbd clone).
    reading : Reading
        How to read the traces.
    figure : Path, optional
        Draw the growth into a file that ends in .svg, .png or .pdf.
    csv : Path, optional
        Write the space over time, a row an instant.
    as_json : bool
        Print JSON.
    """
    system = system_of(mechanism, option, block_size)
    check_initial(initial, _STARTS)
    check_every(every)
    check_every(reset, "--reset")
    check_every(stagger, "--stagger", zero=True)
    check_size(object_size, "--object-size")
    find_device(device)
    if count < 1:
        raise UsageError("--count must be at least 1")
    for output in (figure, csv):
        check_writable(output)
    check_figure(figure)

    volumes = volumes_of(traces, reading, group=True)
    with bar("counting", unit="requests") as progress, worded():
        from snapsim.planning.clones import clones as follow

        answer = follow(
            volumes, count, mechanism=system, device=device, initial=initial, stagger=stagger or 0,
            reset=reset, every=every, object_size=object_size, progress=progress,
        )  # fmt: skip
    files = {}
    if csv is not None:
        write_csv(answer.frame, csv)
        files["csv"] = csv
    if figure is not None:
        from snapsim.viz.restore import clone_growth

        files["figure"] = clone_growth(answer).save(figure)
    if as_json:
        print_json({**answer.summary(), "files": files})
        return
    print(answer.text())
    for kind, path in files.items():
        print(f"  {kind:<18}  {path}")
