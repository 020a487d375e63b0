"""`snapsim validate`: the simulator beside real systems."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from snapsim.cli.app import group
from snapsim.cli.output import check_writable, print_json, warn, write_csv
from snapsim.cli.progress import bar
from snapsim.cli.reading import Json, Reading, load
from snapsim.cli.wording import known, worded

if TYPE_CHECKING:
    from snapsim.validation.validating import Validation

__all__ = ["app", "validate"]

app = group("validate", "Drive real systems and the simulator through the same operations, and compare.")

_USUAL = ("qcow2-external", "qcow2-external-extl2", "qcow2-internal")


@app.default
def validate(
    trace: Annotated[Path | None, Parameter(help="A trace that the requests are taken from.")] = None,
    /,
    *,
    system: Annotated[Sequence[str], Parameter(metavar="NAME")] = (),
    check: Annotated[Sequence[str], Parameter(metavar="CHECK")] = (),
    block_size: Annotated[Sequence[str], Parameter(metavar="SIZE")] = (),
    sequences: int = 5,
    requests: int | None = None,
    seed: int = 0,
    folder: Annotated[Path | None, Parameter(metavar="FOLDER")] = None,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"], metavar="FILE.csv")] = None,
    reading: Reading = Reading(),  # noqa: B008  frozen
    as_json: Json = False,
) -> int:
    """Drive real systems and the simulator through the same operations; show predicted and measured figures.

    Images are made in a temporary folder, and removed. No virtual machine is needed; qcow2 needs no root,
    btrfs and XFS do. Exit status 1 says that some figures do not agree.

    Parameters
    ----------
    trace : Path, optional
        Its first requests are used, folded into a small disk; without one they are random.
    system : sequence of str
        qcow2-external, qcow2-external-extl2, qcow2-internal, btrfs, btrfs-nocow, xfs-reflink, or all; may be
        repeated. All of qcow2 unless said.
    check : sequence of str
        space (after every step), merging (space while a merge runs) or io (bytes read and written); may be
        repeated. All unless said.
    block_size : sequence of str
        A cluster size of qcow2 ("64KiB"); may be repeated.
    sequences : int
        Random sequences of operations for each system and block size.
    requests : int
        Requests in a sequence: 60 unless said, 400 of a trace.
    seed : int
        Of what is random.
    folder : Path, optional
        Where to make the images; here unless said.
    output : Path, optional
        Write every figure as CSV.
    reading : Reading
        How to read the trace.
    as_json : bool
        Print JSON.

    Returns
    -------
    int
        0 when all that was compared agrees, otherwise 1.
    """
    check_writable(output)
    names = _systems(system)
    with worded():
        read = None if trace is None else load(trace, reading)
        with bar("comparing", unit="images") as step:
            from snapsim.validation.validating import validate as compare

            found = compare(
                names,
                read,
                checks=_checks(check),
                block_sizes=block_size,
                sequences=sequences,
                requests=requests,
                seed=seed,
                folder=folder,
                progress=_counter(step),
            )
    if output is not None:
        write_csv(found.frame, output)
    _show(found, output, as_json=as_json)
    return 0 if found.agrees else 1


def _systems(wanted: Sequence[str]) -> list[str]:
    from snapsim.validation.systems import SYSTEMS

    names = [known("system", one, (*SYSTEMS, "all")) for one in wanted or _USUAL]
    return list(SYSTEMS) if "all" in names else list(dict.fromkeys(names))


def _checks(wanted: Sequence[str]) -> Sequence[str]:
    from snapsim.validation.systems import CHECKS

    return [known("check", one, CHECKS) for one in wanted] or CHECKS


def _counter(step: Callable[[int, int | None], None]) -> Callable[[int], None]:
    done = 0

    def more(number: int) -> None:
        nonlocal done
        done += number
        step(done, None)

    return more


def _show(found: "Validation", output: Path | None, *, as_json: bool) -> None:
    if as_json:
        print_json({**found.document(), "output": output})
        return
    print(found.text())
    for row in [row for one in found.outcomes for row in one.rows if not row.agrees][:5]:
        warn(f"{row.state}: {row.name}: predicted {row.predicted:g}, measured {row.measured:g}")
    if output is not None:
        print(f"figures: {output}")
