"""Rules by age, coarser with every step, as zrepl writes them: `1x1h(keep=all) | 24x1h | 35x1d`."""

import re

from snapsim.errors import PolicyError, UnitError
from snapsim.policy.buckets import Every
from snapsim.policy.retention import Rule
from snapsim.policy.tables import Grid
from snapsim.units import parse_duration

_CELL = re.compile(r"(?P<repeat>\d+)\s*x\s*(?P<length>[^()]+?)\s*(?:\(\s*keep\s*=\s*(?P<keep>all|\d+)\s*\))?")


def grid_rules(grid: Grid) -> list[Rule]:
    """Turn a grid into rules: one for each of its parts.

    Edges run back from the anchor; each stretch of time ends at its edge and does not hold its own beginning.

    Parameters
    ----------
    grid : Grid
        The grid.

    Returns
    -------
    list of Rule
        The rules, from young to old.

    Raises
    ------
    PolicyError
        A part cannot be read, or lengths get shorter.
    """
    rules = []
    start, previous, thinned = 0, 0, False
    for part in grid.spec.split("|"):
        match = _CELL.fullmatch(part.strip())
        if match is None or not int(match["repeat"]):
            raise PolicyError(
                f'grid: {part.strip()!r} cannot be read: write "1x1h(keep=all) | 24x1h | 35x1d"'
            )
        try:
            length = parse_duration(match["length"])
        except UnitError as error:
            raise PolicyError(f"grid: {error}") from None
        if not length:
            raise PolicyError(f"grid: {part.strip()!r} has no length: give a duration such as 1h")
        keep = None if match["keep"] == "all" else int(match["keep"] or 1)
        if thinned and length < previous:
            raise PolicyError(
                f"grid: {part.strip()!r} is shorter than a stretch before it: lengths have to grow with age"
            )
        previous, thinned = length, thinned or keep is not None
        stop = start + int(match["repeat"]) * length
        rules.append(
            Rule(
                f"grid {part.strip()}",
                Every(length, "reference"),
                age_ns=(start, stop),
                pick=grid.pick,
                keep=keep,
                select=grid.select,
                reference=grid.anchor,
            )
        )
        start = stop
    return rules
