"""What a mechanism does to the storage below for each request: the section `[io]` of a mechanism file."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import BeforeValidator

from snapsim.errors import MechanismError
from snapsim.mechanisms.parts import STRICT, Count, Size
from snapsim.units import parse_duration

Duration = Annotated[int, BeforeValidator(parse_duration)]
"""Nanoseconds; in a file text such as "5s"."""

TableKind = Literal["none", "cached", "logged", "committed"]


@dataclass(frozen=True, kw_only=True)
class TableIO:
    """How the tables that say where blocks are get read and written.

    Attributes
    ----------
    kind : {"none", "cached", "logged", "committed"}
        They cost nothing that is counted; parts of them are read into a cache and written back (qcow2); each
        copy is entered at once (dm-snapshot); they are trees, written from time to time with all that
        changed and the nodes above.
    entry_bytes : int
        Cached, logged: an entry; a cached table is a block of entries, a logged area too.  [bytes]
    entry_blocks : int
        Cached: blocks of data that an entry describes (32 subclusters).
    cache_bytes : int
        Cached: the cache of a layer, never more than its tables.  [bytes]
    cache_entry_bytes : int
        Cached: what is read and written at a time where the cache cannot hold all tables; otherwise whole
        tables are.  [bytes]
    shared : bool
        Cached: snapshots share the tables of one file, so that a table is copied before it is first changed.
    node_bytes, node_entries : int
        Committed: a node of the tree, and the blocks that a leaf describes.  [bytes, 1]
    copies : int
        Committed: how often each node is written.
    period : int
        Committed: changes are written at least so often.  [ns]
    """

    __pydantic_config__ = STRICT
    kind: TableKind = "none"
    entry_bytes: Count = 8
    entry_blocks: Count = 1
    cache_bytes: Size = 32 << 20
    cache_entry_bytes: Size = 4096
    shared: bool = False
    node_bytes: Size = 4096
    node_entries: Count = 1
    copies: Count = 1
    period: Duration = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be divided by."""
        for name in ("entry_bytes", "entry_blocks", "node_bytes", "node_entries", "copies"):
            if getattr(self, name) < 1:
                raise MechanismError(f"io.tables.{name} must be at least 1")


@dataclass(frozen=True, kw_only=True)
class CreationIO:
    """What has to be done before the guest goes on after a snapshot was taken.

    Attributes
    ----------
    read_blocks, written_blocks : int
        Blocks of the mechanism.
    flushes : int
        Times that the storage has to make durable what was written.
    walks_tables : bool
        All tables and reference counts are read, and the reference counts written.
    """

    __pydantic_config__ = STRICT
    read_blocks: Count = 0
    written_blocks: Count = 0
    flushes: Count = 0
    walks_tables: bool = False


@dataclass(frozen=True, kw_only=True)
class InputOutput:
    """The I/O that stands behind requests and behind operations on snapshots.

    Attributes
    ----------
    organisation : str
        Where the past is kept: a key of `snapsim.engine.chain.ORGANISATIONS`.
    always_redirects : bool
        Every write goes to a new place, with snapshots or without.
    fill : {"rest", "whole", "none"}
        What happens to the rest of a block that a redirected write covers in part.
    merge_gap : int
        With "rest": new contents that are not longer are read over.  [bytes]
    tables : TableIO
        The tables.
    creation : CreationIO
        Taking a snapshot.
    deletion_walks_tables : bool
        Deleting a snapshot reads its tables and changes reference counts.
    merge_chunk : int
        Merges move so much at a time.  [bytes]
    validated : bool
        Compared with the real system; otherwise read in its source code or documentation only.
    source : str
        In which way, in our own words.
    """

    __pydantic_config__ = STRICT
    organisation: Literal["shared-store", "private-stores", "overlays", "shared-tree"]
    source: str
    always_redirects: bool = False
    fill: Literal["rest", "whole", "none"] = "rest"
    merge_gap: Size = 0
    tables: TableIO = field(default_factory=TableIO)
    creation: CreationIO = field(default_factory=CreationIO)
    deletion_walks_tables: bool = False
    merge_chunk: Size = 512 << 10
    validated: bool = False
