"""Where a chain keeps its versions: one row for each layer, store or table, in each way of keeping the past.

The dicts of `ReferenceChain` say what is shown; this says where it lies, in the four organisations of
`snapsim.engine.chain`.  It is for teaching and drawing: small volumes, plain Python.
"""

from typing import NamedTuple

from snapsim.engine.chain import ORGANISATIONS
from snapsim.engine.reference import Version
from snapsim.engine.reference_chain import ReferenceChain
from snapsim.errors import UsageError

__all__ = ["ACTIVE", "VOLUME", "Row", "held", "place_of", "rows"]

VOLUME = "volume"
ACTIVE = "active layer"


class Row(NamedTuple):
    """One layer, store or table.

    Attributes
    ----------
    name : str
        "volume", "active layer", "layer of snapshot 2", "store of snapshot 2", "snapshot 2", ...
    cells : dict of int to (Version or None)
        What it has for a block; None: a mark that nothing is there, which hides what is below.
    shared : frozenset of int
        Blocks for which it only points to what another row holds.
    """

    name: str
    cells: dict[int, Version | None]
    shared: frozenset[int] = frozenset()

    def own(self) -> dict[int, Version]:
        """Return the versions that this row holds itself, by block."""
        return {
            block: version
            for block, version in self.cells.items()
            if version is not None and block not in self.shared
        }


def place_of(snapshot: int, organisation: str) -> str:
    """Name the row of a snapshot.

    Parameters
    ----------
    snapshot : int
        Its number.
    organisation : str
        A key of `ORGANISATIONS`.

    Returns
    -------
    str
        The name of its layer, of its store, or of its table.
    """
    if organisation == "overlays":
        return f"layer of snapshot {snapshot}"
    if organisation == "shared-tree":
        return f"snapshot {snapshot}"
    return f"store of snapshot {snapshot}"


def rows(chain: ReferenceChain, organisation: str) -> tuple[Row, ...]:
    """Return where the versions of a chain lie, the oldest row first and the present last.

    Parameters
    ----------
    chain : ReferenceChain
        A volume and its snapshots.
    organisation : str
        A key of `ORGANISATIONS`.

    Returns
    -------
    tuple of Row
        One for each snapshot and one for the present.  What all rows hold themselves is what the chain takes.

    Raises
    ------
    UsageError
        The organisation is not known.

    Examples
    --------
    >>> chain = ReferenceChain(block_size=4096, capacity=8192)
    >>> _ = chain.snapshot()
    >>> chain.write(0, 4096)
    >>> [(row.name, sorted(row.own())) for row in rows(chain, "overlays")]
    [('layer of snapshot 0', [0, 1]), ('active layer', [0])]
    >>> [(row.name, sorted(row.own())) for row in rows(chain, "shared-store")]
    [('store of snapshot 0', [0]), ('volume', [0, 1])]
    """
    if organisation not in ORGANISATIONS:
        raise UsageError(f"organisation={organisation!r} is not one of {', '.join(ORGANISATIONS)}")
    way = ORGANISATIONS[organisation]
    names = [place_of(one, organisation) for one in chain.kept]
    states = list(chain.kept.values())
    if not way.redirects:
        later = [chain.now] * len(states) if way.private else [*states, chain.now][1:]
        stores = [_less(state, after) for state, after in zip(states, later, strict=True)]
        return (
            *(Row(name, {**one}) for name, one in zip(names, stores, strict=True)),
            Row(VOLUME, dict(chain.now)),
        )
    found, before = [], dict[int, Version]()
    last = ACTIVE if way.copies_layers else VOLUME
    for name, state in zip([*names, last], [*states, chain.now], strict=True):
        added = _less(state, before)
        if way.copies_layers:
            hidden = dict.fromkeys(sorted(before.keys() - state.keys()))
            found.append(Row(name, {**added, **hidden}))
        else:
            found.append(Row(name, dict(state), frozenset(state.keys() - added.keys())))
        before = state
    return tuple(found)


def held(chain: ReferenceChain, organisation: str) -> int:
    """Count the blocks that a chain takes; copies of one version in several stores count each.

    Parameters
    ----------
    chain : ReferenceChain
        A volume and its snapshots.
    organisation : str
        A key of `ORGANISATIONS`.

    Returns
    -------
    int
        Blocks with content.
    """
    return sum(len(row.own()) for row in rows(chain, organisation))


def _less(state: dict[int, Version], other: dict[int, Version]) -> dict[int, Version]:
    """Return what a state shows and another does not."""
    return {block: version for block, version in state.items() if other.get(block) != version}
