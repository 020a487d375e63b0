"""`snapsim compare-mechanisms`: what several systems' snapshots cost the guest, side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

from snapsim.cli.app import group as new_group
from snapsim.cli.happening import Happening, clock_of
from snapsim.cli.output import check_writable, print_json, write_csv
from snapsim.cli.progress import bar
from snapsim.cli.reading import File, Json, Reading
from snapsim.cli.replaying import Replaying, one_volume, timeline_of
from snapsim.cli.rules import Rules, policy_of
from snapsim.cli.simulate import INITIAL_HELP, check_every, check_initial, system_of
from snapsim.cli.wording import worded
from snapsim.errors import UsageError

__all__ = ["app", "compare_mechanisms"]

app = new_group("compare-mechanisms", "Put side by side what several systems' snapshots cost the guest.")

_OUTPUT = Group("Output", sort_key=20)
_DEFAULT = "dm-snapshot, dm-thin, qcow2-internal and qcow2-external"


@app.default
def compare_mechanisms(
    trace: File,
    /,
    *,
    mechanism: Annotated[
        Sequence[str],
        Parameter(
            metavar="NAME",
            help="A system, or a mechanism file of your own; is given once for each that is compared. "
            f"Unless said: {_DEFAULT}.",
        ),
    ] = (),
    policy: Annotated[Path | None, Parameter(metavar="FILE")] = None,
    policy_name: Annotated[str | None, Parameter(metavar="NAME")] = None,
    rules: Rules = Rules(),  # noqa: B008  frozen
    happening: Happening = Happening(),  # noqa: B008  frozen
    replaying: Replaying = Replaying(),  # noqa: B008  frozen
    block_size: Annotated[str | None, Parameter(metavar="SIZE")] = None,
    every: Annotated[str | None, Parameter(metavar="DURATION")] = None,
    initial: Annotated[str, Parameter(metavar="WHAT", help=INITIAL_HELP)] = "thick",
    reading: Reading = Reading(),  # noqa: B008  frozen
    csv: Annotated[Path | None, Parameter(metavar="FILE.csv", group=_OUTPUT)] = None,
    as_json: Annotated[Json, Parameter(group=_OUTPUT)] = False,
) -> None:
    """Put side by side what several systems' snapshots cost the guest, on one trace and one device.

    Copy-on-write systems copy old contents away before they write; redirect-on-write systems write elsewhere,
    and read through what they left behind.

    Parameters
    ----------
    trace : Path
        One volume.
    mechanism : sequence of str
        The systems.
    policy : Path, optional
        A policy file (TOML), or the name of a preset.
    policy_name : str, optional
        Which policy of the file, where there are several.
    rules : Rules
        The policy, if there is no file.
    happening : Happening
        What the policy acts on beside its clock; where it acts on the pool, the first system fills it.
    replaying : Replaying
        How the trace is replayed.
    block_size : str, optional
        One block size for all ("64KiB"), instead of the default of each.
    every : str, optional
        Take snapshots at the multiples of this interval ("5min"), the first after each tick of the schedule.
    initial : str
        What existed before the trace.
    reading : Reading
        How to read the trace.
    csv : Path, optional
        Write the comparison, a row a system.
    as_json : bool
        Print JSON.
    """
    chosen = policy_of(policy, policy_name, rules)
    if len(set(mechanism)) < len(mechanism):
        raise UsageError("--mechanism: the same system is given twice")
    from snapsim.planning.mechanisms_compared import COMPARED

    systems = [system_of(name, (), block_size) for name in mechanism or COMPARED]
    check_initial(initial)
    check_every(every)
    how = replaying.keywords()
    happening.keywords()
    clock_of(chosen, every)
    check_writable(csv)

    volume = one_volume(trace, reading)
    with worded():
        from snapsim.planning.mechanisms_compared import compare_mechanisms as compare

        timeline = timeline_of(volume, chosen, happening, every=every, mechanism=systems[0], initial=initial)
        with bar("replaying", unit="requests") as progress:
            answer = compare(volume, timeline, systems, initial=initial, progress=progress, **how)
    if csv is not None:
        write_csv(answer.frame, csv)
    files = {} if csv is None else {"csv": csv}
    if as_json:
        print_json({**answer.summary(), "files": files})
        return
    print(answer.text())
    if csv is not None:
        print(f"csv: {csv}")
