"""What all commands of `snapsim changes` do with the change trace that they made."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from snapsim.cli.output import check_writable, print_json
from snapsim.errors import UsageError

if TYPE_CHECKING:
    from snapsim.traces.changes import ChangeTrace

__all__ = ["Target", "check_target", "write"]

Target = Annotated[Path, Parameter(alias="-o", metavar="CHANGES.parquet")]
"""`--output` of every command."""


def check_target(target: Path) -> None:
    """Refuse to write where a slip of the fingers would cost somebody a file.

    Parameters
    ----------
    target : Path
        As typed.

    Raises
    ------
    UsageError
        It is no name for a stored trace, or something else is in its place.
    """
    from snapsim.traces.store import is_stored

    if target.suffix != ".parquet":
        raise UsageError(f"{target} is no name for a stored trace: it has to end in .parquet")
    if target.exists() and not is_stored(target):
        raise UsageError(f"{target} exists and is no stored trace: choose another name, or remove it first")
    check_writable(target)


def write(trace: "ChangeTrace", target: Path, *, as_json: bool) -> None:
    """Store a change trace, and say what is in it.

    Parameters
    ----------
    trace : ChangeTrace
        What was made.
    target : Path
        Where.
    as_json : bool
        Print JSON: the figures of `snapsim trace stats`, and "target".
    """
    from snapsim.traces.change_figures import change_figures

    trace.save(target)
    figures = change_figures(trace)
    if as_json:
        print_json({"target": target, **figures.to_dict()})
        return
    print(figures.text())
    for finding in figures.findings():
        print(f"  {finding}")
    print(f"stored as {target}")
