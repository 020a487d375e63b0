"""`snapsim validate`: the simulator beside real systems."""

import tempfile
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
    from snapsim.validation.comparison import Outcome
    from snapsim.validation.systems import Order

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
    place = folder or Path()
    names = _systems(system)
    usual = 60 if trace is None else 400
    order = _order(
        check, block_size, sequences=sequences, requests=usual if requests is None else requests, seed=seed
    )
    _check_sizes(names, order)
    if not place.is_dir():
        from snapsim.errors import UsageError

        raise UsageError(f"there is no folder {place}")
    if trace is not None:
        read = load(trace, reading)
        with worded():
            read.capacity  # noqa: B018  an error unless there is one volume
        order = order._replace(trace=read)
    outcomes = _run(names, order, place)
    if output is not None:
        import pandas as pd

        write_csv(pd.concat([one.frame for one in outcomes], ignore_index=True), output)
    _show(outcomes, output, as_json=as_json)
    return 0 if all(one.agrees for one in outcomes) else 1


def _systems(wanted: Sequence[str]) -> list[str]:
    from snapsim.validation.systems import SYSTEMS

    names = [known("system", one, (*SYSTEMS, "all")) for one in wanted or _USUAL]
    return list(SYSTEMS) if "all" in names else list(dict.fromkeys(names))


def _order(
    checks: Sequence[str], sizes: Sequence[str], *, sequences: int, requests: int, seed: int
) -> "Order":
    from snapsim.errors import UsageError
    from snapsim.units import parse_size
    from snapsim.validation.systems import CHECKS, Order

    for option, value in (("--sequences", sequences), ("--requests", requests)):
        if value < 1:
            raise UsageError(f"{option} {value} compares nothing: give at least 1")
    if seed < 0:
        raise UsageError(f"--seed {seed} is negative: give a whole number from 0 on")
    return Order(
        tuple(known("check", one, CHECKS) for one in checks) or CHECKS,
        tuple(parse_size(one) for one in sizes),
        sequences,
        requests,
        seed,
    )


def _check_sizes(names: Sequence[str], order: "Order") -> None:
    """Refuse cluster sizes that qcow2 does not have, and checks that none of the systems has."""
    from snapsim.errors import UsageError
    from snapsim.mechanisms import mechanism
    from snapsim.validation.systems import SYSTEMS

    for name in names:
        if name.startswith("qcow2"):
            for size in order.block_sizes:
                mechanism(name).matrices(size)
    if not any(set(order.checks) & set(SYSTEMS[name].checks) for name in names):
        raise UsageError(f"there is no check {' or '.join(order.checks)} of {', '.join(names)}")


def _run(names: Sequence[str], order: "Order", place: Path) -> "list[Outcome]":
    from snapsim.validation.systems import validate as compare

    outcomes: list[Outcome] = []
    for name in names:
        with (
            bar(f"comparing {name}", unit="images") as step,
            tempfile.TemporaryDirectory(prefix=".snapsim-validate-", dir=place) as made,
        ):
            outcomes += compare(name, order, folder=Path(made).absolute(), progress=_counter(step))
    return outcomes


def _counter(step: Callable[[int, int | None], None]) -> Callable[[int], None]:
    done = 0

    def more(number: int) -> None:
        nonlocal done
        done += number
        step(done, None)

    return more


def _show(outcomes: "list[Outcome]", output: Path | None, *, as_json: bool) -> None:
    agrees = all(one.agrees for one in outcomes)
    if as_json:
        print_json({"agrees": agrees, "systems": [one.document() for one in outcomes], "output": output})
        return
    print("\n\n".join(one.text() for one in outcomes))
    figures = sum(len(one.rows) for one in outcomes)
    off = sum(not row.agrees for one in outcomes for row in one.rows)
    print(f"\n{figures - off:,} of {figures:,} figures agree")
    for row in [row for one in outcomes for row in one.rows if not row.agrees][:5]:
        warn(f"{row.state}: {row.name}: predicted {row.predicted:g}, measured {row.measured:g}")
    if output is not None:
        print(f"figures: {output}")
