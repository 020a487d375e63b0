"""What was predicted beside what was measured."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import pandas as pd

from snapsim.units import format_size

__all__ = ["Outcome", "Row", "Total"]

_HEADS: tuple[str, ...] = (
    "what", "last predicted", "measured", "compared", "agree", "largest difference", "promised",
)  # fmt: skip


class Row(NamedTuple):
    """One figure of one state.

    Attributes
    ----------
    name : str
        What it is: "clusters in use".
    unit : str
        "bytes", "count", or "ratio".
    predicted, measured : float
        By the simulator, and on the real system.
    exact : bool
        The two are to be equal.
    tolerance : float
        Otherwise how far they may be apart, as a part of what was measured.
    state : str
        Where: "sequence 3, step 12".
    """

    name: str
    unit: str
    predicted: float
    measured: float
    exact: bool = True
    tolerance: float = 0.0
    state: str = ""

    @property
    def difference(self) -> float:
        """How much more was predicted than measured."""
        return self.predicted - self.measured

    @property
    def agrees(self) -> bool:
        """Whether the two are as near as they have to be."""
        return abs(self.difference) <= (0 if self.exact else self.tolerance * abs(self.measured))


class Total(NamedTuple):
    """All rows of one name.

    Attributes
    ----------
    name, unit : str
        As in the rows.
    states : int
        How many figures were compared.
    agreeing : int
        How many of them agree.
    predicted, measured : float
        The last of them.
    worst : float
        The largest difference, in either direction.
    promise : str
        "equal", or how far apart the figures may be.
    """

    name: str
    unit: str
    states: int
    agreeing: int
    predicted: float
    measured: float
    worst: float
    promise: str


@dataclass(frozen=True)
class Outcome:
    """One system, compared.

    Attributes
    ----------
    system : str
        The mechanism's name.
    rows : tuple of Row
        All figures.
    configuration : mapping
        What was compared: block size, capacity, sequences, versions of programs.
    notes : tuple of str
        What was left out of the comparison, and why.
    """

    system: str
    rows: tuple[Row, ...]
    configuration: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def agrees(self) -> bool:
        """Whether something was compared, and all of it agrees."""
        return bool(self.rows) and all(row.agrees for row in self.rows)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """Every figure, one a row."""
        columns = ["state", "name", "unit", "predicted", "measured", "difference", "agrees"]
        records = [
            (row.state, row.name, row.unit, row.predicted, row.measured, row.difference, row.agrees)
            for row in self.rows
        ]
        return pd.DataFrame.from_records(records, columns=columns).assign(system=self.system)

    @property
    def totals(self) -> tuple[Total, ...]:
        """One line for each name."""
        names = dict.fromkeys(row.name for row in self.rows)
        return tuple(_total([row for row in self.rows if row.name == name]) for name in names)

    def document(self) -> dict[str, Any]:
        """Return all of it as plain values: totals, rows, configuration, notes."""
        return {
            "system": self.system,
            "agrees": self.agrees,
            "configuration": dict(self.configuration),
            "totals": [total._asdict() for total in self.totals],
            "rows": [{**row._asdict(), "agrees": row.agrees} for row in self.rows],
            "notes": list(self.notes),
        }

    def text(self) -> str:
        """Say it in lines: predicted and measured side by side."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        about = ", ".join(f"{name} {value}" for name, value in self.configuration.items())
        yield f"{self.system} ({about})" if about else self.system
        table = [_HEADS, *map(_cells, self.totals)]
        widths = [max(len(cells[column]) for cells in table) for column in range(len(table[0]))]
        for cells in table:
            padded = (f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True))
            yield f"  {'  '.join(padded)}".rstrip()
        yield from (f"  - {note}" for note in self.notes)


def _total(rows: list[Row]) -> Total:
    last = rows[-1]
    return Total(
        last.name,
        last.unit,
        len(rows),
        sum(row.agrees for row in rows),
        last.predicted,
        last.measured,
        max((row.difference for row in rows), key=abs),
        "equal" if last.exact else f"within {100 * last.tolerance:.3g} %",
    )


def _cells(total: Total) -> tuple[str, ...]:
    figures = [_figure(value, total.unit) for value in (total.predicted, total.measured, total.worst)]
    return (
        total.name, *figures[:2], str(total.states), str(total.agreeing), figures[2], total.promise,
    )  # fmt: skip


def _figure(value: float, unit: str) -> str:
    if unit == "bytes":
        return ("-" if value < 0 else "") + format_size(abs(int(value)))
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.3f}"
