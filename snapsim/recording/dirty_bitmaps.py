"""Dirty bitmaps of our own in a running QEMU.

A bitmap's name says whose it is and since when it watches: `snapsim-RECORDING-NANOSECONDS`.  One of them is
recording; those that are not each end where the next begins.  So QEMU itself remembers what a recorder that
was killed had not yet read, and bitmaps of other tools are never mistaken for ours.
"""

import re
from typing import Any, NamedTuple

from snapsim.recording.disks import node_of
from snapsim.recording.qmp import Monitor

__all__ = ["Bitmap", "begin", "bitmaps_of", "cut", "ours_everywhere", "remove"]

_NAME = re.compile(r"snapsim-(?P<recording>[0-9a-f]{8})-(?P<since>\d{1,19})")


class Bitmap(NamedTuple):
    """A dirty bitmap of ours.

    Attributes
    ----------
    node : str
        The block node that it watches.
    recording : str
        Whose it is.
    since_ns : int
        When it began to watch, Unix time.  [ns]
    """

    node: str
    recording: str
    since_ns: int

    @property
    def name(self) -> str:
        """Its name in QEMU."""
        return f"snapsim-{self.recording}-{self.since_ns}"


def begin(monitor: Monitor, bitmap: Bitmap, *, grain: int) -> None:
    """Begin to watch a node.

    Parameters
    ----------
    monitor : Monitor
        The QEMU.
    bitmap : Bitmap
        The bitmap to make.
    grain : int
        What one bit stands for, a power of two.  [bytes]
    """
    monitor.execute("block-dirty-bitmap-add", **_made(bitmap, grain))


def cut(monitor: Monitor, before: Bitmap, after: Bitmap, *, grain: int) -> None:
    """Let one bitmap go on where another stops, in one step.

    The new one is there before the old one stops: a write that ends in between is in both, none is in
    neither.

    Parameters
    ----------
    monitor : Monitor
        The QEMU.
    before, after : Bitmap
        The one that stops, and the one to make.
    grain : int
        What one bit stands for.  [bytes]
    """
    stop = {"node": before.node, "name": before.name}
    monitor.execute(
        "transaction",
        actions=[
            {"type": "block-dirty-bitmap-add", "data": _made(after, grain)},
            {"type": "block-dirty-bitmap-disable", "data": stop},
        ],
    )


def _made(bitmap: Bitmap, grain: int) -> dict[str, Any]:
    return {"node": bitmap.node, "name": bitmap.name, "granularity": grain}


def remove(monitor: Monitor, bitmap: Bitmap) -> None:
    """Remove a bitmap.

    Parameters
    ----------
    monitor : Monitor
        The QEMU.
    bitmap : Bitmap
        One of ours.
    """
    monitor.execute("block-dirty-bitmap-remove", node=bitmap.node, name=bitmap.name)


def bitmaps_of(monitor: Monitor, node: str, recording: str) -> list[Bitmap]:
    """Return the bitmaps of one recording on a node.

    Parameters
    ----------
    monitor : Monitor
        The QEMU.
    node : str
        The node.
    recording : str
        Whose they are.

    Returns
    -------
    list of Bitmap
        The oldest first; the last one is recording.
    """
    known = node_of(monitor, node)
    return [one for one in _ours(known or {}) if one.recording == recording]


def ours_everywhere(monitor: Monitor) -> list[Bitmap]:
    """Return every bitmap of ours on any node, the oldest first.

    Parameters
    ----------
    monitor : Monitor
        The QEMU.

    Returns
    -------
    list of Bitmap
        Of all recordings.
    """
    nodes = monitor.execute("query-named-block-nodes", flat=True)
    return sorted((one for node in nodes for one in _ours(node)), key=lambda one: one.since_ns)


def _ours(node: Any) -> list[Bitmap]:
    names = [_NAME.fullmatch(one.get("name", "")) for one in node.get("dirty-bitmaps", ())]
    found = [Bitmap(node["node-name"], name["recording"], int(name["since"])) for name in names if name]
    return sorted(found, key=lambda one: one.since_ns)
