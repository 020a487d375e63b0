"""What drivers allow in the name of a snapshot, and how other tools' names are said as templates: tables."""

from collections.abc import Mapping
from typing import NamedTuple


class Driver(NamedTuple):
    """What a system allows as the name of a snapshot.

    Attributes
    ----------
    most_bytes : int
        Longest name.  [bytes]
    characters : str
        What a name is made of, as the inside of a regular expression's brackets.
    refused : str
        Regular expression of names that it refuses or misunderstands, although the characters are right.
    note : str
        Why.
    """

    most_bytes: int
    characters: str
    refused: str
    note: str


_ANY = r" -.0-~"  # printable ASCII but "/"

DRIVERS: Mapping[str, Driver] = {
    "file": Driver(255, _ANY, r"\.\.?|-.*", "a file name of ext4 or xfs; '-' in front looks like an option"),
    "btrfs": Driver(255, _ANY, r"\.\.?|-.*", "a subvolume is a directory entry"),
    "qcow2": Driver(255, _ANY, r"\d+|-.*", "a tag of digits only is taken for a snapshot's number"),
    "libvirt": Driver(251, _ANY, r"\d+|[.-].*", "kept as NAME.xml, which may not be hidden"),
    "zfs": Driver(255, r" A-Za-z0-9_.:-", r"-.*|\.\.?", "dataset and '@' count too: see `room`"),
}
"""What each driver allows: `zfs_namecheck.c` and `libzfs` (which refuses `%` on creation) for ZFS,
`QEMUSnapshotInfo` for qcow2, `NAME_MAX` for files and subvolumes."""


class Compatible(NamedTuple):
    """How another tool's names can be written.

    Attributes
    ----------
    template : str
        The template; empty if there is none.
    drivers : tuple of str
        The drivers that it is for.
    note : str
        What differs, or why there is none.
    """

    template: str
    drivers: tuple[str, ...]
    note: str


COMPATIBLE: Mapping[str, Compatible] = {
    "zrepl": Compatible(
        "zrepl_{utc:%Y%m%d_%H%M%S}_000", ("zfs",), "milliseconds are always 000; 'zrepl_' is the usual prefix"
    ),
    "zfs-auto-snapshot": Compatible(
        "zfs-auto-snap_{class}-{utc:%Y-%m-%d-%H%M}", ("zfs",), "a second one in a minute gets '-02'"
    ),
    "btrbk-long-iso": Compatible(
        "{vm}.{local:%Y%m%dT%H%M%S%z}", ("btrfs",), "a second one in a second gets '-02' instead of '_1'"
    ),
    "btrbk-long": Compatible("", (), "local time without its offset: use timestamp_format long-iso"),
    "btrbk-short": Compatible("", (), "the day only: use timestamp_format long-iso"),
    "sanoid": Compatible(
        "autosnap_{utc:%Y-%m-%d_%H:%M:%S}_{class}",
        ("zfs",),
        "only where sanoid's host runs in UTC: elsewhere it writes local time without its offset",
    ),
}
"""Templates for the names of other tools, as far as they can be said."""
