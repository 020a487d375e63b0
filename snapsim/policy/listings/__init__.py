"""What exists today: snapshots as the listings of other tools name them.

Reading is pure: text in, `Snapshot`s out.  `LISTINGS` is the register; a new tool is a module with
`recognises` and `read`, and a line there.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from snapsim.errors import UsageError
from snapsim.policy.listings import borg, btrbk, proxmox, qemu_img, restic, snapper, table, virsh, zfs
from snapsim.policy.listings.source import Source
from snapsim.policy.zones import zone
from snapsim.types import Snapshot

__all__ = ["LISTINGS", "Listing", "parse_listing", "read_listing"]


class Listing(NamedTuple):
    """How a tool lists its snapshots.

    Attributes
    ----------
    command : str
        What writes such a listing.
    recognises : callable
        Tells whether a text is one.
    read : callable
        Yields its snapshots.
    """

    command: str
    recognises: Callable[[Source], bool]
    read: Callable[[Source], Iterator[Snapshot]]


LISTINGS = {
    "restic": Listing("restic snapshots --json", restic.recognises, restic.read),
    "borg": Listing("borg list --json", borg.recognises, borg.read),
    "proxmox": Listing(
        "proxmox-backup-client snapshot list --output-format json", proxmox.recognises, proxmox.read
    ),
    "zfs": Listing(zfs.COMMAND, zfs.recognises, zfs.read),
    "snapper": Listing(snapper.COMMAND, snapper.recognises, snapper.read),
    "virsh": Listing(virsh.COMMAND, virsh.recognises, virsh.read),
    "btrbk": Listing(btrbk.COMMAND, btrbk.recognises, btrbk.read),
    "qemu-img": Listing(qemu_img.COMMAND, qemu_img.recognises, qemu_img.read),
    "csv": Listing(
        "a table with a column time, and name, id, class, tags, ...", table.recognises, table.read
    ),
}
"""Every tool whose listing can be read, by its name; the first that recognises a text reads it."""


def read_listing(
    path: str | os.PathLike[str], *, tool: str | None = None, timezone: str = "UTC"
) -> list[Snapshot]:
    """Read the snapshots that a tool's listing names.

    Parameters
    ----------
    path : str or path-like
        The file with what the tool printed: `restic snapshots --json`, `borg list` (with `--json` or
        without), `proxmox-backup-client snapshot list --output-format json`, `zfs list -t snapshot -H -p -o
        name,creation`, `snapper list` (the table, `--jsonout` or `--csvout`), `virsh snapshot-list`, `btrbk
        list snapshots --format=raw`, `qemu-img snapshot -l`, `qemu-img info`, or a CSV table with a column
        `time` or `time_ns`.
    tool : str, optional
        A name out of `LISTINGS`; found out from the text unless given.
    timezone : str
        IANA name of the zone that times without an offset are in: that of the machine that wrote the listing.
        Of a time that the clock showed twice, the first showing is taken.

    Returns
    -------
    list of Snapshot
        In the listing's order.

    Raises
    ------
    UsageError
        The file cannot be read, no tool writes such a text, a field is missing or senseless, or two
        snapshots have one id; the message says where, and what to run instead.
    PolicyError
        There is no such time zone.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{os.fspath(path)}: {error.strerror}: name the file with the listing") from None
    except UnicodeDecodeError:
        raise UsageError(
            f"{os.fspath(path)}: this is no UTF-8 text: name the file with the listing"
        ) from None
    return parse_listing(text, path=os.fspath(path), tool=tool, timezone=timezone)


def parse_listing(
    text: str, *, path: str = "listing", tool: str | None = None, timezone: str = "UTC"
) -> list[Snapshot]:
    r"""Read the snapshots that a tool's listing names, from its text.

    Parameters
    ----------
    text : str
        What the tool printed.
    path : str
        Where it comes from, for messages.
    tool : str, optional
        A name out of `LISTINGS`; found out from the text unless given.
    timezone : str
        IANA name of the zone that times without an offset are in.

    Returns
    -------
    list of Snapshot
        In the listing's order.

    Raises
    ------
    UsageError
        There is no such tool, or the text cannot be read.

    Examples
    --------
    >>> listing = "tank/vm@autosnap_2024-01-31_23:59:01_daily\t1706745541\n"
    >>> [(snapshot.id, sorted(snapshot.classes)) for snapshot in parse_listing(listing)]
    [('tank/vm@autosnap_2024-01-31_23:59:01_daily', ['daily'])]
    """
    zone(timezone)  # an unknown one is refused here, before any line is blamed
    source = Source(path, text, timezone)
    if tool is not None and tool not in LISTINGS:
        raise UsageError(f"the tool {tool!r} is not known: there are {', '.join(LISTINGS)}")
    if tool is None and source.json == []:
        return []  # several tools say so that there is none
    name = tool or _recognised(source)
    snapshots = list(LISTINGS[name].read(source))
    if not snapshots and source.lines and source.json != [] and not LISTINGS[name].recognises(source):
        raise source.refusal(f"this is no listing of {name}: run {LISTINGS[name].command}")
    seen: set[str] = set()
    for snapshot in snapshots:
        if snapshot.id and snapshot.id in seen:
            raise source.refusal(f"the id {snapshot.id!r} stands there twice: list every snapshot once")
        seen.add(snapshot.id)
    return snapshots


def _recognised(source: Source) -> str:
    for name, listing in LISTINGS.items():
        if listing.recognises(source):
            return name
    commands = "; ".join(f"{name}: {listing.command}" for name, listing in LISTINGS.items())
    what = "the listing is empty" if not source.lines else "no tool is known to list snapshots like this"
    raise source.refusal(f"{what}. Name the tool, or write the listing with one of: {commands}")
