"""`snapsim record`: what disks are asked to do.  A module for each command, imported when needed."""

from snapsim.cli.app import group

__all__ = ["app"]

app = group("record", "Record what a virtual machine or a disk is asked to do, and check recordings.")
_COMMANDS = {
    "nbd": ("nbd:nbd", "Serve an image to a QEMU guest or any NBD client, and record every request."),
    "bitmaps": (
        "bitmaps:bitmaps",
        "Sample what a running QEMU or libvirt guest changed, interval by interval.",
    ),
    "blktrace": ("blktrace:blktrace", "Record the requests of a block device of this machine."),
    "finish": ("finish:finish", "Make a trace of a recording that was interrupted."),
    "rebuild": ("rebuild:rebuild", "Rebuild an image from a log of writes that carries their data."),
    "check": ("check:check", "Compare the fingerprints in a trace with the image that was recorded."),
}
for _place, (_name, (_where, _summary)) in enumerate(_COMMANDS.items()):
    app.command(f"snapsim.cli.record.{_where}", name=_name, help=_summary, sort_key=_place)
