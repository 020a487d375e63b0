"""The simulator beside a real system, in one call."""

import html
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from snapsim.errors import UsageError
from snapsim.mechanisms import mechanism
from snapsim.traces.changes import needs_requests
from snapsim.traces.trace import Trace
from snapsim.units import parse_size
from snapsim.validation.comparison import Outcome
from snapsim.validation.systems import CHECKS, SYSTEMS, Order
from snapsim.validation.systems import validate as _compare

__all__ = ["Validation", "validate"]

_RANDOM, _OF_A_TRACE = 60, 400  # requests in a sequence


@dataclass(frozen=True)
class Validation:
    """What was predicted and what was measured.

    Attributes
    ----------
    outcomes : tuple of Outcome
        One for each check and block size.
    """

    outcomes: tuple[Outcome, ...]

    @property
    def agrees(self) -> bool:
        """Whether something was compared, and all of it agrees."""
        return bool(self.outcomes) and all(one.agrees for one in self.outcomes)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """Every figure, one a row: system, state, name, unit, predicted, measured, difference, agrees."""
        return pd.concat([one.frame for one in self.outcomes], ignore_index=True)

    @cached_property
    def totals(self) -> pd.DataFrame:
        """One row for each kind of figure: how many were compared, how many agree, the largest difference."""
        rows = [
            {"system": one.system, "block": one.configuration.get("cluster size", ""), **total._asdict()}
            for one in self.outcomes
            for total in one.totals
        ]
        return pd.DataFrame(rows)

    def document(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        return {"agrees": self.agrees, "systems": [one.document() for one in self.outcomes]}

    def text(self) -> str:
        """Say it in lines: predicted and measured side by side."""
        good = int(self.frame["agrees"].sum())
        parts = [one.text() for one in self.outcomes]
        return "\n\n".join([*parts, f"{good:,} of {len(self.frame):,} figures agree"])

    def __repr__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return f"<pre style='font-family:monospace'>{html.escape(self.text())}</pre>"


def validate(
    system: str | Sequence[str] = "qcow2-external",
    trace: Trace | None = None,
    *,
    checks: Sequence[str] = CHECKS,
    block_sizes: Sequence[int | str] = (),
    sequences: int = 5,
    requests: int | None = None,
    seed: int = 0,
    folder: str | os.PathLike[str] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Validation:
    """Drive real systems and the simulator through the same operations.

    Images are made in a temporary folder, and removed.  qcow2 needs QEMU's tools and, for "io", strace; btrfs
    and XFS are loop-mounted and need root.

    Parameters
    ----------
    system : str or sequence of str
        "qcow2-external", "qcow2-external-extl2", "qcow2-internal", "btrfs", "btrfs-nocow", "xfs-reflink".
    trace : Trace, optional
        One volume, whose requests are folded into a small disk; otherwise requests are random.
    checks : sequence of str
        Some of "space" (after every step), "merging" (space while a merge runs), "io" (bytes read and
        written); a system is asked for those that it has.
    block_sizes : sequence of int or str
        Cluster sizes of qcow2; several usual ones by default.  [bytes]
    sequences : int
        Random sequences of operations for each block size.
    requests : int, optional
        Requests in a sequence; 60, or 400 of a trace, by default.
    seed : int
        Of what is random.
    folder : path, optional
        Where the temporary folder is made; the current folder by default.
    progress : callable, optional
        Called with 1 after each sequence and each image.

    Returns
    -------
    Validation
        Every figure, predicted and measured.

    Raises
    ------
    UsageError
        A system, a check or a size is unknown, or nothing would be compared.
    VolumeSelectionError
        The trace has several volumes.
    SnapsimError
        A program or a right is missing, or a program failed.
    """
    names = [system] if isinstance(system, str) else list(system)
    usual = _RANDOM if trace is None else _OF_A_TRACE
    order = Order(
        tuple(checks),
        tuple(parse_size(one) for one in block_sizes),
        sequences,
        usual if requests is None else requests,
        seed,
        trace,
    )
    _check(names, order)
    place = Path() if folder is None else Path(folder)
    if not place.is_dir():
        raise UsageError(f"there is no folder {place}")
    outcomes: list[Outcome] = []
    for name in names:
        with tempfile.TemporaryDirectory(prefix=".snapsim-validate-", dir=place) as made:
            outcomes += _compare(name, order, folder=Path(made).absolute(), progress=progress)
    return Validation(tuple(outcomes))


def _check(names: Sequence[str], order: Order) -> None:
    """Refuse what cannot be compared before anything is made."""
    for kind, wanted, known in (("system", names, SYSTEMS), ("check", order.checks, CHECKS)):
        for one in wanted:
            if one not in known:
                raise UsageError(f"{kind} {one!r} is unknown: there are {', '.join(known)}")
    for name, value in (("sequences", order.sequences), ("requests", order.requests)):
        if value < 1:
            raise UsageError(f"{name}={value} compares nothing: give at least 1")
    if order.seed < 0:
        raise UsageError(f"seed={order.seed} is negative: give a whole number from 0 on")
    for name in names:
        if name.startswith("qcow2"):
            for size in order.block_sizes:
                mechanism(name).matrices(size)
    if not any(set(order.checks) & set(SYSTEMS[name].checks) for name in names):
        raise UsageError(f"there is no check {' or '.join(order.checks)} of {', '.join(names)}")
    if order.trace is not None:
        needs_requests(order.trace, "driving a real system")
        order.trace.capacity  # noqa: B018  an error unless there is one volume
