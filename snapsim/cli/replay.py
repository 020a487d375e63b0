"""`snapsim replay`: what snapshots cost the guest."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

from snapsim.cli.app import group as new_group
from snapsim.cli.happening import Happening, clock_of
from snapsim.cli.output import check_writable, print_json, write_csv
from snapsim.cli.progress import bar, doing
from snapsim.cli.reading import File, Json, Reading
from snapsim.cli.replaying import Replaying, one_volume, timeline_of
from snapsim.cli.rules import Rules, policy_of
from snapsim.cli.simulate import INITIAL_HELP, check_every, check_initial, system_of
from snapsim.cli.wording import worded

__all__ = ["app", "replay"]

app = new_group("replay", "Say what snapshots cost the guest: bytes, latency, merges.")

_OUTPUT = Group("Output", sort_key=20)


@app.default
def replay(
    trace: File,
    /,
    *,
    policy: Annotated[Path | None, Parameter(metavar="FILE")] = None,
    policy_name: Annotated[str | None, Parameter(metavar="NAME")] = None,
    rules: Rules = Rules(),  # noqa: B008  frozen
    happening: Happening = Happening(),  # noqa: B008  frozen
    replaying: Replaying = Replaying(),  # noqa: B008  frozen
    mechanism: Annotated[str, Parameter(metavar="NAME")] = "qcow2-external",
    option: Annotated[Sequence[str], Parameter(metavar="NAME=VALUE")] = (),
    block_size: Annotated[str | None, Parameter(metavar="SIZE")] = None,
    every: Annotated[str | None, Parameter(metavar="DURATION")] = None,
    initial: Annotated[str, Parameter(metavar="WHAT", help=INITIAL_HELP)] = "thick",
    baseline: bool = False,
    reading: Reading = Reading(),  # noqa: B008  frozen
    report: Annotated[Path | None, Parameter(metavar="PAGE.html", group=_OUTPUT)] = None,
    csv: Annotated[Path | None, Parameter(metavar="FILE.csv", group=_OUTPUT)] = None,
    operations: Annotated[Path | None, Parameter(metavar="FILE.csv", group=_OUTPUT)] = None,
    as_json: Annotated[Json, Parameter(group=_OUTPUT)] = False,
) -> None:
    """Say what snapshots cost the guest: bytes, latency, merges, and whether the device copes.

    Every request of the trace is carried out on a chain of snapshots and on a model of a storage device.

    Parameters
    ----------
    trace : Path
        One volume.
    policy : Path, optional
        A policy file (TOML), or the name of a preset.
    policy_name : str, optional
        Which policy of the file, where there are several.
    rules : Rules
        The policy, if there is no file.
    happening : Happening
        What the policy acts on beside its clock.
    replaying : Replaying
        How the trace is replayed.
    mechanism : str
        How the system keeps snapshots: see snapsim mechanisms; or a mechanism file of your own.
    option : sequence of str
        An option of the mechanism as name=value (refcount_bits=16); may be repeated.
    block_size : str, optional
        The mechanism's block size ("64KiB"), instead of its default.
    every : str, optional
        Take snapshots at the multiples of this interval ("5min"), the first after each tick of the schedule.
    initial : str
        What existed before the trace.
    baseline : bool
        Replay the trace once more without any snapshot, to see what snapshots add.
    reading : Reading
        How to read the trace.
    report : Path, optional
        Write one HTML page with figures; it needs nothing from elsewhere.
    csv : Path, optional
        Write what was counted over time, a row an interval.
    operations : Path, optional
        Write what taking and deleting each snapshot cost, a row for each.
    as_json : bool
        Print JSON.
    """
    # what can be refused is refused before a long trace is read
    chosen = policy_of(policy, policy_name, rules)
    system = system_of(mechanism, option, block_size)
    check_initial(initial)
    check_every(every)
    how = replaying.keywords()
    happening.keywords()
    clock_of(chosen, every)
    wanted = (("report", report), ("csv", csv), ("operations", operations))
    files = {kind: path for kind, path in wanted if path is not None}
    for path in files.values():
        check_writable(path)

    volume = one_volume(trace, reading)
    with worded():
        from snapsim.planning.replay import replay as run

        timeline = timeline_of(volume, chosen, happening, every=every, mechanism=system, initial=initial)
        with bar("replaying", unit="requests") as progress:
            answer = run(
                volume, timeline, system, initial=initial, baseline=baseline, progress=progress, **how
            )
    frames = {"csv": answer.frame, "operations": answer.operations}
    for kind in frames.keys() & files.keys():
        write_csv(frames[kind], files[kind])
    if report is not None:
        with doing(f"writing {report}"):
            from snapsim.report import write_replay

            write_replay(answer, report, trace=volume)
    if as_json:
        print_json({**answer.summary(), "files": files})
        return
    print(answer.text())
    for kind, path in files.items():
        print(f"  {kind:<18}  {path}")
