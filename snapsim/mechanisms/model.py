"""What a mechanism is: plain frozen data, the shape of a mechanism file.

The classes are ordinary dataclasses; the loader lets pydantic build them from a TOML document, so that a wrong value or an
unknown key is refused with its place.  Every rule that space answers need is a field here; nothing here computes space.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, ConfigDict, Field

from snapsim.errors import MechanismError
from snapsim.units import format_size, parse_size

Size = Annotated[int, BeforeValidator(parse_size)]
"""Bytes; in a file also text such as "64KiB"."""

Count = Annotated[int, Field(ge=0, strict=True)]
Discard = Literal["death", "ignore", "touch"]
Zeroes = Literal["write", "death", "touch"]
Topic = Literal["data", "metadata", "file length", "pool", "deletion", "limits"]

_STRICT = ConfigDict(extra="forbid")

METADATA_PARAMETERS: Mapping[str, Mapping[str, int | None]] = MappingProxyType({
    "none": {},
    "exception-store": {"exception_bytes": 16},
    "qcow2-overlay": {"refcount_bits": 16, "extended_l2": 0},
    "qcow2-internal": {"refcount_bits": 16, "extended_l2": 0, "name_bytes": 40},
    "btree": {"node_bytes": 4096, "mappings_per_node": 126},
    "grain-table": {
        "entry_bytes": None, "directory_entry_bytes": None, "header_bytes": None, "preallocated": 0, "entries": 4096,
    },
    "sector-bitmap": {"sector_bytes": 512, "fixed_bytes": 3 << 20},
    "block-pointers": {"indirect_bytes": 131072, "pointers": 1024, "copies": 2},
    "object-map": {"object_bytes": 4 << 20, "bits": 2},
    "per-version": {"bytes_per_block": None},
})  # fmt: skip
"""Parameters of each kind of metadata and their defaults; None: the file must say it."""


class MatrixNeed(NamedTuple):
    """One lifetime matrix that a mechanism needs counted.

    Attributes
    ----------
    name : str
        "data", "tables" or "clusters".
    block_size : int
        [bytes]
    discard, zeroes : str
        What the requests do to the blocks of this matrix, as `count_lifetimes` takes them.
    initial : str or None
        What exists before the trace, where the mechanism fixes it; None: the user's choice.
    grain : int
        Discards are first shrunk to whole multiples of this.  [bytes]
    """

    name: str
    block_size: int
    discard: str
    zeroes: str
    initial: str | None
    grain: int

    def counting(self) -> dict[str, Any]:
        """Return the parameters that count this matrix, as keywords of `LifetimeMatrix.recount`."""
        chosen = {} if self.initial is None else {"initial": self.initial}
        return {name: getattr(self, name) for name in ("block_size", "discard", "zeroes", "grain")} | chosen


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """The unit in which the mechanism keeps versions.

    Attributes
    ----------
    name : str
        What the system calls it: chunk, cluster, record, grain.
    default : int
        [bytes]
    minimum, maximum : int
        [bytes]
    multiple_of : int
        Sizes are multiples of this; 0: powers of two.  [bytes]
    """

    __pydantic_config__ = _STRICT
    name: str
    default: Size
    minimum: Size
    maximum: Size
    multiple_of: Size = 0

    def check(self, mechanism: str, size: int) -> None:
        """Refuse a size that the system does not have."""
        if self.multiple_of:
            fits, rule = size % self.multiple_of == 0, f"a multiple of {format_size(self.multiple_of)}"
        else:
            fits, rule = size & (size - 1) == 0, "a power of two"
        if not fits or not self.minimum <= size <= self.maximum:
            lowest, highest = format_size(self.minimum), format_size(self.maximum)
            sizes = f"it must be {lowest}" if lowest == highest else f"it must be {rule} from {lowest} to {highest}"
            raise MechanismError(f"block size {format_size(size)} does not fit {mechanism}: {sizes}")


@dataclass(frozen=True, kw_only=True)
class MatrixRule:
    """How one matrix is counted.  At most one of `parts`, `blocks`, `entry_bytes` and `bytes` says how large its blocks are.

    Attributes
    ----------
    discard, zeroes, initial
        As in `MatrixNeed`.
    parts : int
        The matrix' block is this part of the mechanism's block (subclusters).
    blocks : int
        It is so many blocks (the range of one table).
    entry_bytes : int
        It is what a table of one block describes whose entries have this size.  [bytes]
    bytes : int
        It has this size, whatever the mechanism's block.  [bytes]
    whole_blocks : bool
        Discards are first shrunk to whole blocks of the mechanism.
    """

    __pydantic_config__ = _STRICT
    discard: Discard
    zeroes: Zeroes
    initial: Literal["thick", "read-first", "thin"] | None = None
    parts: Count = 0
    blocks: Count = 0
    entry_bytes: Count = 0
    bytes: Size = 0
    whole_blocks: bool = False

    def __post_init__(self) -> None:
        """Refuse two answers to one question."""
        if sum(map(bool, (self.parts, self.blocks, self.entry_bytes, self.bytes))) > 1:
            raise MechanismError("a matrix takes at most one of parts, blocks, entry_bytes and bytes")

    def need(self, name: str, block_size: int) -> MatrixNeed:
        """Return what has to be counted at a block size."""
        size = block_size
        if self.parts:
            size = block_size // self.parts
        elif self.entry_bytes:
            size = block_size * (block_size // self.entry_bytes)
        elif self.blocks or self.bytes:
            size = self.bytes or block_size * self.blocks
        return MatrixNeed(name, size, self.discard, self.zeroes, self.initial, block_size if self.whole_blocks else 1)


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """Which formula of `snapsim.engine.metadata` gives the tables' size.

    Attributes
    ----------
    kind : str
        A key of `METADATA_PARAMETERS`.
    parameters : mapping of str to int
        Complete: defaults are filled in.
    """

    __pydantic_config__ = _STRICT
    kind: str = "none"
    parameters: Mapping[str, Annotated[int, BeforeValidator(parse_size)]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Fill in the defaults; refuse parameters that the formula does not have."""
        known = METADATA_PARAMETERS.get(self.kind)
        if known is None:
            raise MechanismError(f"kind {self.kind!r} is not one of {', '.join(METADATA_PARAMETERS)}")
        wrong = sorted(set(self.parameters) - set(known))
        if wrong:
            allowed = f"its parameters are {', '.join(known)}" if known else "it has no parameters"
            raise MechanismError(f"kind {self.kind!r} has no parameter {wrong[0]!r}: {allowed}")
        complete = {**known, **self.parameters}
        missing = [name for name, value in complete.items() if value is None]
        if missing:
            raise MechanismError(f"kind {self.kind!r} needs the parameter {missing[0]!r}")
        object.__setattr__(self, "parameters", MappingProxyType(complete))


@dataclass(frozen=True, kw_only=True)
class Pool:
    """What the storage below adds, limits or refuses.  0 means: no limit, or not used.

    Attributes
    ----------
    size : int
        Fixed size of the pool; with `per_snapshot` of each snapshot's store.  [bytes]
    per_snapshot : bool
        `size` is given to each snapshot apart.
    when_full : {"grows", "snapshot-invalid", "writes-fail", "writes-stall"}
        What happens when `size` is used up.
    growth_step : int
        Files and stores grow in steps of this.  [bytes]
    metadata_size : int
        The most metadata that the pool can hold.  [bytes]
    refreservation : bool
        The volume is thick: a snapshot needs as much free space as only the volume references
        (`snapsim.engine.pools.zfs_first_snapshot_reserve`), so that the first one can fail.
    ashift, raidz_width, raidz_parity : int
        Sector size (binary logarithm), disks and parity of the vdev (`snapsim.engine.pools.raidz_bytes`).
    """

    __pydantic_config__ = _STRICT
    size: Size = 0
    per_snapshot: bool = False
    when_full: Literal["grows", "snapshot-invalid", "writes-fail", "writes-stall"] = "grows"
    growth_step: Size = 1
    metadata_size: Size = 0
    refreservation: bool = False
    ashift: Count = 0
    raidz_width: Count = 0
    raidz_parity: Annotated[int, Field(ge=0, le=3, strict=True)] = 0

    def __post_init__(self) -> None:
        """Refuse a vdev that cannot be."""
        if self.growth_step < 1:
            raise MechanismError("growth_step must be at least one byte")
        if bool(self.raidz_width) != bool(self.raidz_parity) or self.raidz_width and self.raidz_width <= self.raidz_parity:
            raise MechanismError("raidz_width and raidz_parity go together, and there must be more disks than parity")


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """What deleting a snapshot does.

    Attributes
    ----------
    kind : {"drop", "async", "merge"}
        The space is free at once; it is freed in the background; the layer has to be copied into its neighbour first.
    """

    __pydantic_config__ = _STRICT
    kind: Literal["drop", "async", "merge"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How many snapshots (with layers: overlays in a chain) there can be.  0: no limit known.

    Attributes
    ----------
    advised : int
        More than this is advised against.
    hard : int
        The system refuses more than this.
    """

    __pydantic_config__ = _STRICT
    advised: Count = 0
    hard: Count = 0


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Where figures come from.

    Attributes
    ----------
    about : str
        Which part of the mechanism.
    status : {"validated", "modelled"}
        Compared with the real system and found equal (or as near as `source` says); or taken from source code, a specification or
        documentation and never compared.
    source : str
        In which way, in our own words.
    """

    __pydantic_config__ = _STRICT
    about: Topic
    status: Literal["validated", "modelled"]
    source: str


@dataclass(frozen=True, kw_only=True)
class Mechanism:
    """How a system implements snapshots: the side of it that decides about space.

    Attributes
    ----------
    name : str
        What `snapsim.mechanism` takes.
    title : str
        For headings.
    family : {"copy-on-write", "redirect-on-write"}
        The old block is copied aside before it is overwritten; or the new data goes to another place.
    sharing : {"shared", "layers", "private", "detached"}
        Which formula counts the data: versions shared by all snapshots; overlay layers; a store for each snapshot; a
        copy elsewhere (see `snapsim.engine.space`).
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
        The matrices that data ("data"; "clusters" where data is counted in parts) and metadata ("tables") need.
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
    """

    __pydantic_config__ = _STRICT
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

    def __post_init__(self) -> None:
        """Check what concerns several parts."""
        self.block.check(self.name, self.block.default)
        if "data" not in self.matrix or not set(self.matrix) <= {"data", "tables", "clusters"}:
            raise MechanismError('matrix must hold "data" and may hold "tables" and "clusters"')
        object.__setattr__(self, "matrix", MappingProxyType(dict(self.matrix)))
        wrong = sorted(set(self.adjustable) - set(self._settings()))
        if wrong:
            raise MechanismError(f"adjustable names {wrong[0]!r}, which is none of {', '.join(self._settings())}")

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
        return tuple(self.matrix[name].need(name, size) for name in names)

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
            allowed = f"its options are {', '.join(self.adjustable)}" if self.adjustable else "it has no options"
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
