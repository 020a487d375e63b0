"""`snapsim mechanisms`: what each real system does with snapshots."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from snapsim.cli.app import group
from snapsim.cli.output import print_json, print_table
from snapsim.cli.reading import Json
from snapsim.cli.wording import known

if TYPE_CHECKING:
    from snapsim.mechanisms import Mechanism

__all__ = ["app", "find", "mechanisms"]

app = group("mechanisms", "List what real systems do with snapshots.")


@app.default
def mechanisms(
    name: Annotated[str | None, Parameter(metavar="NAME")] = None, /, *, as_json: Json = False
) -> None:
    """List the mechanisms, or say everything about one.

    Parameters
    ----------
    name : str, optional
        A mechanism, or a mechanism file of your own.
    as_json : bool
        Print JSON.
    """
    if name is None:
        from snapsim.mechanisms import mechanism
        from snapsim.mechanisms import mechanisms as names

        found = [mechanism(each) for each in names()]
        if as_json:
            print_json([_short(one) for one in found])
        else:
            _list(found)
        return
    one = find(name)
    if as_json:
        print_json({**one.document(), "options": one.options(), "validated": one.validated})
    else:
        print("\n".join(_everything(one)))


def find(name: str) -> "Mechanism":
    """Return a mechanism by its name or the path of its file.

    Parameters
    ----------
    name : str
        As typed.

    Returns
    -------
    Mechanism
        As it comes.

    Raises
    ------
    UsageError
        It is unknown; the message has the nearest one.
    """
    from snapsim.mechanisms import mechanism
    from snapsim.mechanisms import mechanisms as names

    if not name.endswith(".toml"):
        known("mechanism", name, names(), instead="the path of a mechanism file ending in .toml")
    return mechanism(name)


def _short(one: "Mechanism") -> dict[str, Any]:
    return {
        "name": one.name,
        "title": one.title,
        "family": one.family,
        "sharing": one.sharing,
        "block_size": one.block_size,
        "smallest_block_size": one.block.minimum,
        "largest_block_size": one.block.maximum,
        "validated": one.validated,
    }


def _list(found: "list[Mechanism]") -> None:
    from snapsim.units import format_size

    print_table(
        ("name", "system", "family", "block", "possible", "data formula"),
        [
            (
                one.name,
                one.title,
                one.family,
                f"{format_size(one.block_size)} {one.block.name}",
                _range(one),
                "validated" if one.validated else "modelled",
            )
            for one in found
        ],
    )
    print(
        "\nvalidated: compared with the real system and found equal; modelled: from documents or source code."
        "\nsnapsim mechanisms NAME says everything about one."
    )


def _range(one: "Mechanism") -> str:
    from snapsim.units import format_size

    low, high = format_size(one.block.minimum), format_size(one.block.maximum)
    return low if low == high else f"{low} to {high}"


_SHARING = {
    "shared": "one store, in which all snapshots share versions",
    "layers": "a layer for each snapshot, on top of the one before",
    "private": "a store for each snapshot, nothing shared",
    "detached": "a copy elsewhere, in increments",
}
_DELETION = {
    "drop": "the space is free at once",
    "async": "the space is freed in the background",
    "merge": "the layer is first copied into its neighbour",
}


def _everything(one: "Mechanism") -> Iterator[str]:
    from snapsim.units import format_size

    yield f"{one.name}: {one.title}"
    facts = {
        "family": one.family,
        "data": _SHARING[one.sharing],
        "block": f"{one.block.name} of {format_size(one.block_size)} (possible: {_range(one)})",
        "overwriting": "copies the old block aside" if one.copies_old_data else "copies no old data",
        "file length": one.file_length,
        "metadata": one.metadata.kind,
        "deletion": _DELETION[one.deletion.kind],
        "snapshots": _limits(one),
        "block model": "a lower bound" if one.lower_bound else "exact within what is said below",
    }
    yield from (f"  {head:<12}  {text}" for head, text in facts.items())
    yield "\nCounted as:"
    for need in one.matrices():
        initial = f", {need.initial} before the trace" if need.initial else ""
        yield (
            f"  {need.name:<12}  in blocks of {format_size(need.block_size)}, discard: {need.discard}, "
            f"write zeroes: {need.zeroes}{initial}"
        )
    if one.options():
        yield "\nOptions, given as --option name=value:"
        yield from (f"  {name:<20}  {value}" for name, value in one.options().items())
    yield "\nWhere this comes from:"
    yield from (f"  {item.about:<12}  {item.status}: {item.source}" for item in one.evidence)
    if one.caveats:
        yield "\nKeep in mind:"
        yield from (f"  - {text}" for text in one.caveats)


def _limits(one: "Mechanism") -> str:
    known = {"at most": one.limits.hard, "advised at most": one.limits.advised}
    return ", ".join(f"{what} {count}" for what, count in known.items() if count) or "no limit known"
