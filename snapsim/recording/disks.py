"""Which disks a running QEMU has, and whether one of them is still what it was."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from snapsim.errors import UsageError
from snapsim.recording.qmp import CommandRefusedError, Monitor
from snapsim.units import format_size

__all__ = ["Disk", "choose", "disks_of", "node_of", "what_changed"]

# Nodes that jobs and limits put between a device and its disk: writes pass through them to the same node.
_FILTERS = {"copy-before-write", "mirror_top", "commit_top", "throttle", "copy-on-read", "compress"}
_PROTOCOLS = {"file", "host_device", "nbd", "iscsi", "rbd", "null-co", "null-aio", "io_uring", "nvme"}


class Disk(NamedTuple):
    """A disk of a running QEMU.

    Attributes
    ----------
    node : str
        The name of the block node that receives its writes.
    capacity : int
        What the guest sees.  [bytes]
    device : str
        The guest's device in QEMU's own words, "" for a node that no device uses.
    names : tuple of str
        What it may be called, the shortest first.
    file : str
        The image.
    format : str
        Its format: "qcow2", "raw".
    """

    node: str
    capacity: int
    device: str
    names: tuple[str, ...]
    file: str
    format: str

    @property
    def name(self) -> str:
        """What to call it."""
        return self.names[0]


def disks_of(monitor: Monitor, targets: Mapping[str, str] | None = None) -> list[Disk]:
    """Return the disks that can be written to.

    Parameters
    ----------
    monitor : Monitor
        The QEMU.
    targets : mapping of str to str, optional
        Other names for the ids of devices.

    Returns
    -------
    list of Disk
        Those of the guest's devices; where there is none (qemu-storage-daemon), the image nodes with a name.
    """
    attached = [
        _attached(one, targets or {})
        for one in _query_block(monitor)
        if one.get("inserted") and not one["inserted"]["ro"]
    ]
    return attached or [
        Disk(
            node["node-name"],
            node["image"]["virtual-size"],
            "",
            (node["node-name"],),
            node["file"],
            node["drv"],
        )
        for node in _nodes(monitor)
        if not node["ro"] and node["drv"] not in _PROTOCOLS and not node["node-name"].startswith("#")
    ]


def _attached(one: Mapping[str, Any], targets: Mapping[str, str]) -> Disk:
    inserted, device = one["inserted"], one.get("qdev") or one["device"]
    identity = device.removeprefix("/machine/peripheral/").partition("/")[0] if "/" in device else device
    names = (targets.get(identity), identity, one["device"], inserted["node-name"])
    unique = tuple(dict.fromkeys(name for name in names if name))
    size = inserted["image"]["virtual-size"]
    return Disk(inserted["node-name"], size, device, unique, inserted["file"], inserted["drv"])


def _query_block(monitor: Monitor) -> Any:
    try:
        return monitor.execute("query-block")
    except CommandRefusedError as error:
        if error.kind == "CommandNotFound":  # qemu-storage-daemon has nodes, but no devices
            return []
        raise


def _nodes(monitor: Monitor) -> Any:
    return monitor.execute("query-named-block-nodes", flat=True)


def choose(disks: Sequence[Disk], wanted: str | None) -> Disk:
    """Return the disk that is meant.

    Parameters
    ----------
    disks : sequence of Disk
        What there is.
    wanted : str or None
        One of its names, or its file; None is fine where there is one disk only.

    Returns
    -------
    Disk
        That one.

    Raises
    ------
    UsageError
        There is no such disk, or it has to be said which; the message lists them.
    """
    if not disks:
        raise UsageError("this QEMU has no disk that can be written to")
    found = [one for one in disks if wanted is None or wanted in (*one.names, one.file)]
    if len(found) == 1:
        return found[0]
    there = "; ".join(f"{one.name} ({format_size(one.capacity)}, {one.file})" for one in disks)
    told = f"there is no disk {wanted!r}" if wanted is not None else "this QEMU has several disks"
    raise UsageError(f"{told}: say which one with --device, out of {there}")


def node_of(monitor: Monitor, name: str) -> Mapping[str, Any] | None:
    """Return what QEMU knows about a block node, with its dirty bitmaps; None where there is none.

    Parameters
    ----------
    monitor : Monitor
        The QEMU.
    name : str
        The node's name.

    Returns
    -------
    Mapping or None
        QEMU's `BlockDeviceInfo`.
    """
    return next((node for node in _nodes(monitor) if node["node-name"] == name), None)


def what_changed(monitor: Monitor, disk: Disk) -> str | None:
    """Say why writes of a disk may have gone elsewhere than to the node that is watched.

    Parameters
    ----------
    monitor : Monitor
        The QEMU.
    disk : Disk
        As it was.

    Returns
    -------
    str or None
        The reason; None when nothing has changed that matters.
    """
    node = node_of(monitor, disk.node)
    if node is None:
        return f"the disk {disk.name} was detached, or QEMU was started anew"
    if node["image"]["virtual-size"] != disk.capacity:
        return f"the disk {disk.name} was resized"
    now = next(
        (
            one.get("inserted")
            for one in _query_block(monitor)
            if disk.device and disk.device in {one.get("qdev"), one["device"]}
        ),
        node,
    )
    replaced = now is None or (now["node-name"] != disk.node and now["drv"] not in _FILTERS)
    if node["ro"] or replaced:
        return f"the disk {disk.name} writes to another image now (a snapshot, or the merge of one)"
    return None
