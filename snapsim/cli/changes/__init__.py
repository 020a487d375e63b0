"""`snapsim changes`: change traces of snapshots that exist.  A module a command, loaded when needed."""

from snapsim.cli.app import group

__all__ = ["app"]

app = group("changes", "Make a trace of snapshots that exist already, from what changed between them.")
_COMMANDS = {
    "qcow2": ("qcow2:qcow2", "Read the layers of a qcow2 chain, or an image's internal snapshots."),
    "btrfs": ("btrfs:btrfs", "Compare a file in the snapshots of a btrfs subvolume."),
    "import": ("importing:import_", "Read what thin_delta, rbd, EBS, VMware or a list say changed."),
}
for _place, (_name, (_where, _summary)) in enumerate(_COMMANDS.items()):
    app.command(f"snapsim.cli.changes.{_where}", name=_name, help=_summary, sort_key=_place)
