"""The parts of a mechanism: plain frozen data, the sections of a mechanism file.

The classes are ordinary dataclasses; the loader lets pydantic build them from a TOML document, so that a
wrong value or an unknown key is refused with its place.  Every rule that space answers need is a field here;
nothing here computes space.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
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

STRICT = ConfigDict(extra="forbid")

METADATA_PARAMETERS: Mapping[str, Mapping[str, int | None]] = MappingProxyType(
    {
        "none": {},
        "exception-store": {"exception_bytes": 16},
        "qcow2-overlay": {"refcount_bits": 16, "extended_l2": 0},
        "qcow2-internal": {"refcount_bits": 16, "extended_l2": 0, "name_bytes": 40},
        "btree": {"node_bytes": 4096, "mappings_per_node": 126},
        "grain-table": {
            "entry_bytes": None,
            "directory_entry_bytes": None,
            "header_bytes": None,
            "preallocated": 0,
            "entries": 4096,
        },
        "sector-bitmap": {"sector_bytes": 512, "fixed_bytes": 3 << 20},
        "block-pointers": {"indirect_bytes": 131072, "pointers": 1024, "copies": 2},
        "object-map": {"object_bytes": 4 << 20, "bits": 2},
        "per-version": {"bytes_per_block": None},
    }
)
"""Parameters of each kind of metadata and their defaults; None: the file must say it."""

_CHOICES = {"refcount_bits": (1, 2, 4, 8, 16, 32, 64), "extended_l2": (0, 1), "preallocated": (0, 1)}


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

    __pydantic_config__ = STRICT
    name: str
    default: Size
    minimum: Size
    maximum: Size
    multiple_of: Size = 0

    def check(self, mechanism: str, size: int) -> None:
        """Refuse a size that the system does not have.

        Parameters
        ----------
        mechanism : str
            Its name, for the message.
        size : int
            [bytes]

        Raises
        ------
        MechanismError
            The size is not one of the system's.
        """
        if self.multiple_of:
            fits, rule = size % self.multiple_of == 0, f"a multiple of {format_size(self.multiple_of)}"
        else:
            fits, rule = size & (size - 1) == 0, "a power of two"
        if not fits or not self.minimum <= size <= self.maximum:
            lowest, highest = format_size(self.minimum), format_size(self.maximum)
            sizes = (
                f"it must be {lowest}"
                if lowest == highest
                else f"it must be {rule} from {lowest} to {highest}"
            )
            raise MechanismError(f"block size {format_size(size)} does not fit {mechanism}: {sizes}")


@dataclass(frozen=True, kw_only=True)
class MatrixRule:
    """How one matrix is counted.

    At most one of `parts`, `blocks`, `entry_bytes`, `sectors` and `bytes` says how large its blocks are.

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
    sectors : int
        It is so many times the metadata's parameter `sector_bytes`.
    bytes : int
        It has this size, whatever the mechanism's block.  [bytes]
    whole_blocks : bool
        Discards are first shrunk to whole blocks of the mechanism.
    """

    __pydantic_config__ = STRICT
    discard: Discard
    zeroes: Zeroes
    initial: Literal["thick", "read-first", "thin"] | None = None
    parts: Count = 0
    blocks: Count = 0
    entry_bytes: Count = 0
    sectors: Count = 0
    bytes: Size = 0
    whole_blocks: bool = False

    def __post_init__(self) -> None:
        """Refuse two answers to one question."""
        if sum(map(bool, (self.parts, self.blocks, self.entry_bytes, self.sectors, self.bytes))) > 1:
            raise MechanismError(
                "a matrix takes at most one of parts, blocks, entry_bytes, sectors and bytes"
            )

    def need(self, name: str, block_size: int, *, sector_bytes: int = 0) -> MatrixNeed:
        """Return what has to be counted at a block size.

        Parameters
        ----------
        name : str
            The matrix' name.
        block_size : int
            The mechanism's.  [bytes]
        sector_bytes : int
            The metadata's parameter of that name, where `sectors` needs it.  [bytes]

        Returns
        -------
        MatrixNeed
            With its own block size.
        """
        size = block_size
        if self.parts:
            size = block_size // self.parts
        elif self.entry_bytes:
            size = block_size * (block_size // self.entry_bytes)
        elif self.blocks or self.sectors or self.bytes:
            size = self.bytes or block_size * self.blocks or sector_bytes * self.sectors
        return MatrixNeed(
            name, size, self.discard, self.zeroes, self.initial, block_size if self.whole_blocks else 1
        )


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

    __pydantic_config__ = STRICT
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
        for name, value in complete.items():
            if value not in _CHOICES.get(name, (value or None,)):
                choices = ", ".join(map(str, _CHOICES.get(name, ("at least 1",))))
                raise MechanismError(f"parameter {name} is {value}, but must be {choices}")
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

    __pydantic_config__ = STRICT
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
        if bool(self.raidz_width) != bool(self.raidz_parity) or (
            self.raidz_width and self.raidz_width <= self.raidz_parity
        ):
            raise MechanismError(
                "raidz_width and raidz_parity go together, and there must be more disks than parity"
            )


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """What deleting a snapshot does.

    Attributes
    ----------
    kind : {"drop", "async", "merge"}
        The space is free at once; it is freed in the background; the layer has to be copied into its
        neighbour first.
    """

    __pydantic_config__ = STRICT
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

    __pydantic_config__ = STRICT
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
        Compared with the real system and found equal (or as near as `source` says); or taken from source
        code, a specification or documentation and never compared.
    source : str
        In which way, in our own words.
    """

    __pydantic_config__ = STRICT
    about: Topic
    status: Literal["validated", "modelled"]
    source: str
