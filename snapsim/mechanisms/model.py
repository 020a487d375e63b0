"""What a mechanism is: everything about a system that decides what its snapshots take and cost."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Literal

from snapsim.errors import MechanismError
from snapsim.mechanisms.io import InputOutput
from snapsim.mechanisms.parts import (
    STRICT,
    Blocks,
    Deletion,
    Evidence,
    Limits,
    MatrixNeed,
    MatrixRule,
    Metadata,
    Pool,
)
from snapsim.units import parse_size


@dataclass(frozen=True, kw_only=True)
class Mechanism:
    """How a system implements snapshots: what decides about their space and about their I/O.

    Attributes
    ----------
    name : str
        What `snapsim.mechanism` takes.
    title : str
        For headings.
    family : {"copy-on-write", "redirect-on-write"}
        The old block is copied aside before it is overwritten; or the new data goes to another place.
    sharing : {"shared", "layers", "private", "detached"}
        Which formula counts the data: versions shared by all snapshots; overlay layers; a store for each
        snapshot; a copy elsewhere (see `snapsim.engine.space`).
    copies_old_data : bool
        The first overwrite after a snapshot copies the old block aside, which costs I/O.
    file_length : {"none", "high-water", "sum of layers"}
        There is no file to speak of; one file that never gets shorter; a file for each layer.
    lower_bound : bool
        The block model is known to give too little.
    adjustable : tuple of str
        What `with_options` may change: "block_size", parameters of the metadata, fields of the pool.
    block : Blocks
        The unit.
    matrix : mapping of str to MatrixRule
        The matrices that data ("data"; "clusters" where data is counted in parts) and metadata ("tables")
        need.
    metadata : Metadata
        The tables.
    pool : Pool
        The storage below.
    deletion : Deletion
        What deleting does.
    limits : Limits
        How many snapshots there can be.
    evidence : tuple of Evidence
        Where the figures come from.
    caveats : tuple of str
        What an answer must repeat.
    io : InputOutput, optional
        What requests and operations on snapshots do to the storage below; without it there is no replay.
    """

    __pydantic_config__ = STRICT
    name: str
    title: str
    family: Literal["copy-on-write", "redirect-on-write"]
    sharing: Literal["shared", "layers", "private", "detached"]
    copies_old_data: bool
    file_length: Literal["none", "high-water", "sum of layers"]
    block: Blocks
    matrix: Mapping[str, MatrixRule]
    deletion: Deletion
    evidence: tuple[Evidence, ...]
    metadata: Metadata = field(default_factory=Metadata)
    pool: Pool = field(default_factory=Pool)
    limits: Limits = field(default_factory=Limits)
    lower_bound: bool = False
    adjustable: tuple[str, ...] = ("block_size",)
    caveats: tuple[str, ...] = ()
    io: InputOutput | None = None

    def __post_init__(self) -> None:
        """Check what concerns several parts."""
        self.block.check(self.name, self.block.default)
        if "data" not in self.matrix or not set(self.matrix) <= {"data", "tables", "clusters"}:
            raise MechanismError('matrix must hold "data" and may hold "tables" and "clusters"')
        for name, rule in self.matrix.items():
            if rule.sectors and "sector_bytes" not in self.metadata.parameters:
                raise MechanismError(
                    f"matrix.{name}.sectors needs metadata with the parameter sector_bytes: "
                    f"kind {self.metadata.kind!r} has none"
                )
        object.__setattr__(self, "matrix", MappingProxyType(dict(self.matrix)))
        wrong = sorted(set(self.adjustable) - set(self._settings()))
        if wrong:
            raise MechanismError(
                f"adjustable names {wrong[0]!r}, which is none of {', '.join(self._settings())}"
            )

    @property
    def block_size(self) -> int:
        """The block size that is used unless another one is asked for.  [bytes]"""
        return self.block.default

    @property
    def validated(self) -> bool:
        """Whether the data formula was compared with the real system."""
        return any(item.about == "data" and item.status == "validated" for item in self.evidence)

    def matrices(self, block_size: int | str | None = None) -> tuple[MatrixNeed, ...]:
        """Return the lifetime matrices that have to be counted.

        Parameters
        ----------
        block_size : int or str, optional
            The mechanism's block size; its own by default.  [bytes]

        Returns
        -------
        tuple of MatrixNeed
            "data" first.

        Raises
        ------
        MechanismError
            The system does not have this block size.
        """
        size = self.block_size if block_size is None else parse_size(block_size)
        self.block.check(self.name, size)
        names = sorted(self.matrix, key=("data", "clusters", "tables").index)
        sector = self.metadata.parameters.get("sector_bytes", 0)
        return tuple(self.matrix[name].need(name, size, sector_bytes=sector) for name in names)

    def options(self) -> dict[str, int | bool | str]:
        """Return what `with_options` can change, with the values in force."""
        settings = self._settings()
        return {name: settings[name] for name in self.adjustable}

    def with_options(self, **options: int | bool | str) -> "Mechanism":
        """Return the same mechanism, set up another way.

        Parameters
        ----------
        **options
            Names from `options`; sizes may be text: `block_size="128KiB"`, `size="10GiB"`, `raidz_width=6`.

        Returns
        -------
        Mechanism
            A new one.

        Raises
        ------
        MechanismError
            There is no such option, or the value does not fit.

        Examples
        --------
        >>> from snapsim.mechanisms import mechanism
        >>> mechanism("dm-snapshot").with_options(block_size="64KiB", size="10GiB").pool.size
        10737418240
        """
        from snapsim.mechanisms.loader import build

        wrong = sorted(set(options) - set(self.adjustable))
        if wrong:
            allowed = (
                f"its options are {', '.join(self.adjustable)}" if self.adjustable else "it has no options"
            )
            raise MechanismError(f"{self.name} has no option {wrong[0]!r}: {allowed}")
        document = self.document()
        for name, value in options.items():
            if name == "block_size":
                document["block"]["default"] = value
            elif name in self.metadata.parameters:
                document["metadata"]["parameters"][name] = value
            else:
                document["pool"][name] = value
        return build(document, source=self.name)

    def _settings(self) -> dict[str, int | bool | str]:
        pool = {item.name: getattr(self.pool, item.name) for item in fields(self.pool)}
        return {"block_size": self.block_size, **self.metadata.parameters, **pool}

    def document(self) -> dict[str, Any]:
        """Return the mechanism as the document that its file would hold."""
        return {item.name: _plain(getattr(self, item.name)) for item in fields(self)}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "__dataclass_fields__"):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    return value
